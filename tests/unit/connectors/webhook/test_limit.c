/* SPDX-License-Identifier: MIT */
/* How many requests a receiver gets at the same time, by what it answers and how soon. */
#include "connectors/webhook/endpoint.h"
#include "tests/support/connector.h"
#include "tests/support/test.h"

extern const struct sink_ops webhook_sink;

static struct sink *s;
static struct webhook_endpoint *ep;

static int setup(void **state)
{
    (void)state;
    s = sink_opened(&webhook_sink, "limit", "url: http://127.0.0.1:9/\nunsigned: true\nconcurrency: 100\n");
    ep = (struct webhook_endpoint *)s->endpoint;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sink_end(s);
    return 0;
}

/* What an attempt comes to that was answered so; 0: not at all. */
static struct result result_of(int status)
{
    struct answer a = { .code = status ? CURLE_OK : CURLE_GOT_NOTHING, .status = status, .text = "" };
    struct result r = { 0 };
    answer_judge(&a, &ep->target.rules, &r);
    return r;
}

/* One round: as many attempts as it may have, answered alike. */
static void round_of(int status, int64_t us)
{
    struct result r = result_of(status);
    uint64_t numbers[1024];
    size_t n = ep->base.limit;
    for (size_t i = 0; i < n; i++)
        numbers[i] = endpoint_began(ep);
    for (size_t i = 0; i < n; i++)
        endpoint_ended(ep, numbers[i], &r, us);
}

static void one(int status, int64_t us)
{
    struct result r = result_of(status);
    endpoint_ended(ep, endpoint_began(ep), &r, us);
}

static void rounds(int n, int status, int64_t us)
{
    while (n-- > 0)
        round_of(status, us);
}

TEST(it_grows_to_concurrency_while_the_receiver_keeps_up)
{
    assert_int_equal(ep->base.limit, 16);
    round_of(204, 20000);
    assert_int_equal(ep->base.limit, 32);
    round_of(204, 20000);
    assert_int_equal(ep->base.limit, 64);
    round_of(204, 20000);
    assert_int_equal(ep->base.limit, 100);
}

TEST(it_does_not_grow_when_not_all_are_used)
{
    for (int i = 0; i < 1000; i++)
        one(204, 20000);
    assert_int_equal(ep->base.limit, 16);
}

TEST(it_stops_growing_when_answers_come_later)
{
    round_of(204, 20000);
    size_t limit = ep->base.limit;
    rounds(5, 204, 60000);
    assert_int_equal(ep->base.limit, limit);
}

TEST(a_receiver_may_become_slower_for_good)
{
    round_of(204, 20000);
    size_t limit = ep->base.limit;
    rounds(200, 204, 60000);
    assert_true(ep->base.limit > limit);
}

TEST(it_halves_once_a_round_when_the_receiver_has_too_much)
{
    static const int statuses[] = { 429, 502, 503, 504, 0 };
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        rounds(300, 204, 20000);
        assert_int_equal(ep->base.limit, 100);
        round_of(statuses[i], 20000);
        assert_int_equal(ep->base.limit, 50);
        round_of(statuses[i], 20000);
        assert_int_equal(ep->base.limit, 25);
        rounds(10, statuses[i], 20000);
        assert_int_equal(ep->base.limit, 1);
    }
}

TEST(after_an_overload_it_doubles_up_to_half_and_goes_on_slowly)
{
    rounds(3, 204, 20000);
    rounds(8, 503, 20000);
    assert_int_equal(ep->base.limit, 1);
    rounds(6, 204, 20000);
    assert_in_range(ep->base.limit, 50, 51);
    size_t limit = ep->base.limit;
    rounds(10, 204, 20000);
    assert_in_range(ep->base.limit, limit + 9, limit + 10);
}

/* A circuit that is open sends one attempt now and then. */
TEST(after_an_outage_with_probes_it_begins_with_one_and_doubles)
{
    rounds(3, 204, 20000);
    round_of(0, 20000);
    for (int probe = 0; probe < 6; probe++)
        one(0, 20000);
    assert_int_equal(ep->base.limit, 1);
    one(204, 20000); /* the probe that closes it */
    for (size_t limit = 2; limit <= 32; limit *= 2) {
        assert_int_equal(ep->base.limit, limit);
        round_of(204, 20000);
    }
    assert_in_range(ep->base.limit, 50, 51);
}

TEST(a_refusal_is_no_overload)
{
    rounds(300, 204, 20000);
    rounds(3, 404, 20000);
    rounds(3, 500, 20000);
    assert_int_equal(ep->base.limit, 100);
}

TEST(what_could_not_be_tried_says_nothing)
{
    struct result r = { .verdict = VERDICT_UNTRIED };
    for (int i = 0; i < 100; i++)
        endpoint_ended(ep, endpoint_began(ep), &r, 0);
    assert_int_equal(ep->base.limit, 16);
    assert_int_equal(ep->flying, 0);
}

#define LIMIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIMIT(it_grows_to_concurrency_while_the_receiver_keeps_up),
        LIMIT(it_does_not_grow_when_not_all_are_used),
        LIMIT(it_stops_growing_when_answers_come_later),
        LIMIT(a_receiver_may_become_slower_for_good),
        LIMIT(it_halves_once_a_round_when_the_receiver_has_too_much),
        LIMIT(after_an_overload_it_doubles_up_to_half_and_goes_on_slowly),
        LIMIT(after_an_outage_with_probes_it_begins_with_one_and_doubles),
        LIMIT(a_refusal_is_no_overload),
        LIMIT(what_could_not_be_tried_says_nothing),
    };
    return cmocka_run_group_tests_name("limit", tests, NULL, NULL);
}
