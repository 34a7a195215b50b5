/* SPDX-License-Identifier: MIT */
/* The memory of events: what counts as the same, and how much of it there is. */
#include "bridge/intake/seen.h"
#include <malloc.h>
#include <stdio.h>
#include "bridge/lib/mem.h"
#include "tests/support/event.h"

#define NO_WINDOW ((struct duration){ 0 })

static struct seen *seen;

static struct fingerprint of(const char *scope, struct event fields)
{
    const struct event *ev = event_like(fields);
    struct fingerprint f = seen_fingerprint(seen, str_of(scope), ev, true);
    event_unref(ev);
    return f;
}

static bool same_identity(struct fingerprint a, struct fingerprint b)
{
    return memcmp(a.identity, b.identity, sizeof a.identity) == 0;
}

TEST(identity)
{
    seen = seen_new(8, NO_WINDOW);
    const struct event ev = { .id = STR("1"), .source = STR("/s") };
    struct fingerprint f = of("a", ev);
    assert_true(same_identity(f, of("a", (struct event){ .id = STR("1"), .source = STR("/s"), .type = STR("other") })));
    assert_false(same_identity(f, of("b", ev)));
    assert_false(same_identity(f, of(NULL, ev)));
    assert_true(same_identity(of("", ev), of(NULL, ev)));
    assert_false(same_identity(f, of("a", (struct event){ .id = STR("2"), .source = STR("/s") })));
    assert_false(same_identity(f, of("a", (struct event){ .id = STR("1"), .source = STR("/t") })));
    assert_false(same_identity(f, of("a", (struct event){ .id = STR("s1"), .source = STR("/") })));
    struct fingerprint other = of("b", ev);
    const struct event *born = event_like(ev);
    seen_rescope(seen, &other, STR("a"), born);
    assert_true(same_identity(f, other));
    event_unref(born);
    seen_free(seen);
}

TEST(content)
{
    seen = seen_new(8, NO_WINDOW);
    const struct header one_two[] = { { STR("one"), STR("1") }, { STR("two"), STR("2") } };
    const struct header two_one[] = { { STR("two"), STR("2") },
                                      { STR("traceparent"), STR("x") },
                                      { STR("one"), STR("1") } };
    const struct header crossed[] = { { STR("one"), STR("2") }, { STR("two"), STR("1") } };
    const struct event plain = { .datacontenttype = STR("application/json"),
                                 .data = STR("{\"a\": 1}"),
                                 .extensions = one_two,
                                 .extension_count = 2 };
    uint64_t content = of("a", plain).content;
    struct event ev = plain;
    ev.time = STR("2026-01-01T00:00:00Z");
    assert_true(of("b", ev).content == content); /* a repeat has another time */
    ev = plain, ev.data = STR(" \n{\"a\": 1}\r\n\t");
    assert_true(of("a", ev).content == content);
    ev = plain, ev.extensions = two_one, ev.extension_count = 3; /* another order, and another trace */
    assert_true(of("a", ev).content == content);
    ev = plain, ev.extensions = crossed;
    assert_true(of("a", ev).content != content);
    ev = plain, ev.data = STR("{\"a\":1}");
    assert_true(of("a", ev).content != content);
    ev = plain, ev.type = STR("other");
    assert_true(of("a", ev).content != content);
    ev = plain, ev.subject = STR("x");
    assert_true(of("a", ev).content != content);
    ev = plain, ev.dataschema = STR("https://example.com/s");
    assert_true(of("a", ev).content != content);
    ev = plain, ev.datacontenttype = STR("application/json; charset=utf-8");
    assert_true(of("a", ev).content == content);
    ev = plain, ev.datacontenttype = STR("text/plain");
    assert_true(of("a", ev).content != content);
    ev.data = STR(" {\"a\": 1}"); /* blanks of a text are content */
    assert_true(of("a", ev).content != of("a", (ev.data = STR("{\"a\": 1}"), ev)).content);
    assert_true(of("a", (struct event){ .data = STR("") }).content == of("a", (struct event){ 0 }).content);
    seen_free(seen);
}

/* A reference of the plainest kind: the last `most` stored ids, oldest first. */
TEST(the_last_ones_are_known)
{
    enum { MOST = 50, ROUNDS = 5000 };
    int stored[ROUNDS], count = 0;
    char id[16];
    unsigned random = 7;
    bool same;
    seen = seen_new(MOST, NO_WINDOW);
    for (int i = 0; i < ROUNDS; i++) {
        random = random * 1103515245u + 12345u;
        int n = (int)(random >> 16) % 200;
        snprintf(id, sizeof id, "%d", n);
        struct fingerprint f = of("a", (struct event){ .id = str_of(id) });
        bool known = false;
        for (int k = count > MOST ? count - MOST : 0; k < count; k++)
            known |= stored[k] == n;
        assert_int_equal(seen_find(seen, &f, &same), known ? SEEN_STORED : SEEN_UNKNOWN);
        assert_int_equal(same, known);
        if (known)
            continue;
        if (i % 3 == 0) {
            seen_add(seen, &f, SEEN_EVERYWHERE, clock_wall_ms());
            seen_add(seen, &f, SEEN_EVERYWHERE, clock_wall_ms());
        } else {
            seen_begin(seen, &f, (uint32_t)(i % 7));
            assert_int_equal(seen_find(seen, &f, &same), i % 7);
            seen_end(seen, (uint32_t)(i % 7), i % 3 == 1);
        }
        if (i % 3 < 2)
            stored[count++] = n;
    }
    assert_true(count > 2 * MOST);
    seen_free(seen);
}

static bool knows(const char *scope, int n)
{
    char id[16];
    bool same;
    snprintf(id, sizeof id, "%d", n);
    struct fingerprint f = of(scope, (struct event){ .id = str_of(id) });
    return seen_find(seen, &f, &same) == SEEN_STORED;
}

static void store(const char *scope, int n)
{
    char id[16];
    snprintf(id, sizeof id, "%d", n);
    struct fingerprint f = of(scope, (struct event){ .id = str_of(id) });
    seen_add(seen, &f, SEEN_EVERYWHERE, clock_wall_ms());
}

/* Whoever may send to one path cannot make the bridge forget what came on another one, in however many ways he counts. */
TEST(no_sender_drives_out_another)
{
    char scope[64];
    seen = seen_new(100, NO_WINDOW);
    for (int i = 0; i < 20; i++)
        store("h/signed", i);
    for (int i = 0; i < 70; i++)
        store("h/busy", i);
    for (int i = 0; i < 1000; i++) {
        snprintf(scope, sizeof scope, "h/open?%d", i);
        store(scope, i);
    }
    for (int i = 0; i < 20; i++)
        assert_true(knows("h/signed", i));
    int busy = 0, open = 0;
    for (int i = 0; i < 70; i++)
        busy += knows("h/busy", i);
    for (int i = 0; i < 1000; i++) {
        snprintf(scope, sizeof scope, "h/open?%d", i);
        open += knows(scope, i);
        assert_true(i < 1000 - 40 || knows(scope, i));
    }
    assert_int_equal(busy, 40); /* each its share of what the first one leaves */
    assert_int_equal(open, 40);
    assert_true(knows("h/busy", 69));
    assert_false(knows("h/busy", 0));
    seen_free(seen);
}

/* More senders than have queues of their own: the memory stays bounded, and the newest is known. */
TEST(many_senders)
{
    char scope[64];
    seen = seen_new(3000, NO_WINDOW);
    for (int i = 0; i < 10000; i++) {
        snprintf(scope, sizeof scope, "h/%d", i);
        store(scope, i);
        assert_true(knows(scope, i));
    }
    int known = 0;
    for (int i = 0; i < 10000; i++) {
        snprintf(scope, sizeof scope, "h/%d", i);
        known += knows(scope, i);
    }
    assert_int_equal(known, 3000);
    seen_free(seen);
}

/* What senders choose is not kept: 15,000 events with 16 KiB of id and source were 257 MB once. */
TEST(long_ids_cost_no_more_than_short_ones)
{
    enum { EVENTS = 15000 };
    static char id[EVENT_ATTRIBUTE_BYTES + 1];
    memset(id, 'i', EVENT_ATTRIBUTE_BYTES);
    seen = seen_new(EVENTS, NO_WINDOW);
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < EVENTS; i++) {
        snprintf(id, sizeof id, "%05d", i);
        id[5] = 'i';
        struct fingerprint f = of("a", (struct event){ .id = str_of(id), .source = str_of(id) });
        seen_add(seen, &f, SEEN_EVERYWHERE, clock_wall_ms());
    }
    size_t after = mallinfo2().uordblks;
    assert_true(after - before < 2000000);
    seen_free(seen);
}

/* An event that is in some of its places may begin again, and what is dropped is found no more, nor is it evicted twice. */
TEST(places)
{
    bool same;
    seen = seen_new(4, NO_WINDOW);
    struct fingerprint f = of("a", (struct event){ .id = STR("1") });
    struct fingerprint other = of("a", (struct event){ .id = STR("1"), .type = STR("other") });
    assert_int_equal(seen_places(seen, &f), 0);
    seen_drop(seen, &f);
    seen_add(seen, &f, 1, clock_wall_ms());
    seen_add(seen, &other, 2, clock_wall_ms()); /* not the same event */
    assert_int_equal(seen_places(seen, &f), 1);
    seen_add(seen, &f, 4, clock_wall_ms());
    assert_int_equal(seen_places(seen, &f), 5);
    seen_drop(seen, &f);
    assert_int_equal(seen_find(seen, &f, &same), SEEN_UNKNOWN);
    seen_begin(seen, &f, 7);
    assert_int_equal(seen_places(seen, &f), 0); /* on its way */
    seen_drop(seen, &f);
    assert_int_equal(seen_find(seen, &f, &same), 7);
    seen_end(seen, 7, true);
    assert_int_equal(seen_places(seen, &f), SEEN_EVERYWHERE);
    for (int i = 0; i < 20; i++) { /* the dropped one leaves, then the stored one, then theirs */
        char id[8];
        snprintf(id, sizeof id, "x%d", i);
        struct fingerprint g = of("a", (struct event){ .id = str_of(id) });
        seen_add(seen, &g, 1, clock_wall_ms());
        if (i % 3 == 0)
            seen_drop(seen, &g);
        assert_int_equal(seen_find(seen, &g, &same), i % 3 ? SEEN_STORED : SEEN_UNKNOWN);
    }
    assert_int_equal(seen_find(seen, &f, &same), SEEN_UNKNOWN);
    seen_free(seen);
}

/* ---- time ---- */

#define T0   INT64_C(1700000000000)
#define DAY  INT64_C(86400000)
#define WEEK ((struct duration){ 7 * DAY })

static void store_at(const char *scope, int n, int64_t wall_ms)
{
    char id[16];
    snprintf(id, sizeof id, "%d", n);
    struct fingerprint f = of(scope, (struct event){ .id = str_of(id) });
    seen_add(seen, &f, SEEN_EVERYWHERE, wall_ms);
}

/* How many of from..to-1 are known. */
static int known(const char *scope, int from, int to)
{
    int n = 0;
    for (int i = from; i < to; i++)
        n += knows(scope, i);
    return n;
}

TEST(an_id_is_known_as_long_as_the_window)
{
    bool same;
    clock_fake(1000, T0);
    seen = seen_new(100, WEEK);
    struct fingerprint f = of("a", (struct event){ .id = STR("1") });
    seen_begin(seen, &f, 0);
    clock_fake_advance(DAY);
    seen_end(seen, 0, true); /* from now on */
    clock_fake_advance(7 * DAY);
    assert_int_equal(seen_find(seen, &f, &same), SEEN_STORED);
    clock_fake_advance(1000);
    assert_int_equal(seen_find(seen, &f, &same), SEEN_UNKNOWN);
    assert_false(same);
    assert_int_equal(seen_places(seen, &f), 0);
    seen_begin(seen, &f, 3); /* it is new */
    seen_end(seen, 3, true);
    clock_fake_advance(7 * DAY);
    assert_int_equal(seen_find(seen, &f, &same), SEEN_STORED);
    clock_fake_advance(-40 * DAY); /* a clock that goes back forgets nothing */
    assert_int_equal(seen_find(seen, &f, &same), SEEN_STORED);
    seen_free(seen);
    clock_real();
}

TEST(what_is_older_than_the_window_makes_room_first)
{
    int64_t needed;
    clock_fake(1000, T0);
    seen = seen_new(100, WEEK);
    for (int i = 0; i < 40; i++)
        store_at("h/old", i, T0);
    clock_fake_advance(6 * DAY);
    for (int i = 0; i < 60; i++)
        store_at("h/busy", i, T0 + 6 * DAY);
    clock_fake_advance(2 * DAY);
    for (int i = 60; i < 100; i++)
        store_at("h/busy", i, T0 + 8 * DAY);
    assert_int_equal(known("h/busy", 0, 100), 100);
    assert_int_equal(known("h/old", 0, 40), 0);
    assert_int_equal(seen_crowded(seen, &needed), 0);
    store_at("h/new", 0, T0 + 8 * DAY); /* now somebody has to go */
    assert_int_equal(known("h/busy", 0, 100), 99);
    assert_false(knows("h/busy", 0));
    assert_int_equal(seen_crowded(seen, &needed), 1);
    assert_int_equal(needed, 1 + 100 * 7 / 2); /* a hundred in two days, and that one */
    assert_int_equal(seen_crowded(seen, &needed), 0);
    seen_free(seen);
    clock_real();
}

/* As several topics and partitions give it, one after the other. */
TEST(the_newest_stay_in_whatever_order_they_come)
{
    enum { MOST = 100, EACH = 90, LISTS = 5 };
    int64_t needed;
    clock_fake(1000, T0 + DAY);
    seen = seen_new(MOST, WEEK);
    for (int list = 0; list < LISTS; list++) /* 0, 5, 10 ...; 1, 6, 11 ... */
        for (int i = 0; i < EACH; i++)
            store_at("h/p", i * LISTS + list, T0 + (i * LISTS + list) * INT64_C(1000));
    seen_settle(seen);
    assert_int_equal(known("h/p", 0, EACH * LISTS - MOST), 0);
    assert_int_equal(known("h/p", EACH * LISTS - MOST, EACH * LISTS), MOST);
    assert_int_equal(seen_crowded(seen, &needed), EACH * LISTS - MOST);
    for (int i = 0; i < 3; i++) { /* and from now on in their order */
        store_at("h/p", 1000 + i, T0 + DAY);
        assert_false(knows("h/p", EACH * LISTS - MOST + i));
        assert_int_equal(known("h/p", EACH * LISTS - MOST + i + 1, EACH * LISTS), MOST - i - 1);
    }
    seen_free(seen);
    clock_real();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity),
        cmocka_unit_test(content),
        cmocka_unit_test(places),
        cmocka_unit_test(the_last_ones_are_known),
        cmocka_unit_test(no_sender_drives_out_another),
        cmocka_unit_test(many_senders),
        cmocka_unit_test(long_ids_cost_no_more_than_short_ones),
        cmocka_unit_test(an_id_is_known_as_long_as_the_window),
        cmocka_unit_test(what_is_older_than_the_window_makes_room_first),
        cmocka_unit_test(the_newest_stay_in_whatever_order_they_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
