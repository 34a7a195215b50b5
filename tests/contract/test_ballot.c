/* SPDX-License-Identifier: MIT */
/* Things of the state that are compared and set (bridge/delivery/ballot.h): of several who change one, exactly one is first, and
 * all agree on it, also after a restart. */
#include "bridge/delivery/ballot.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "tests/support/broker.h"

enum { RIVALS = 6 };

struct seen {
    const char *thing;
    int64_t version;
    char value[64];
    size_t count;
};

static void see(void *ctx, const struct vote *v)
{
    struct seen *s = ctx;
    if (!str_eq(v->thing, str_of(s->thing)))
        return;
    s->count++;
    s->version = v->version;
    snprintf(s->value, sizeof s->value, "%.*s", STR_ARG(v->value));
}

static void is(const char *thing, int64_t version, const char *value)
{
    struct err e;
    struct seen s = { .thing = thing };
    assert_true(ballot_read(broker, see, &s, &e));
    assert_int_equal(s.count, version > 0);
    assert_int_equal(s.version, version);
    assert_string_equal(s.value, value);
}

static enum ballot_end put_version(const char *thing, int64_t version, const char *value, struct vote *made,
                                   const struct vote *before)
{
    struct err e;
    *made = (struct vote){ .thing = str_of(thing), .version = version, .value = str_of(value) };
    return ballot_put(broker, true, made, before, NULL, &e);
}

/* On the local broker there is one daemon, whose changes come one after the other. */
static void needs_rivals(void)
{
    if (strcmp(broker->ops->type, "local") == 0)
        skip();
}

TEST(a_thing_is_its_last_version)
{
    struct vote one, two;
    const char *thing = fresh(1);
    is(thing, 0, "");
    assert_int_equal(put_version(thing, 1, "a", &one, NULL), BALLOT_WON);
    is(thing, 1, "a");
    assert_int_equal(put_version(thing, 2, "b", &two, &one), BALLOT_WON);
    is(thing, 2, "b");
    if (survives) {
        restart();
        is(thing, 2, "b");
    }
}

TEST(who_knows_an_old_version_has_lost)
{
    needs_rivals();
    struct vote one, two, late;
    const char *thing = fresh(1);
    put_version(thing, 1, "a", &one, NULL);
    put_version(thing, 2, "b", &two, &one);
    assert_int_equal(put_version(thing, 2, "c", &late, &one), BALLOT_LOST);
    assert_int_equal(put_version(thing, 1, "d", &late, NULL), BALLOT_LOST);
    is(thing, 2, "b");
    assert_int_equal(put_version(thing, 3, "e", &late, &two), BALLOT_WON);
    is(thing, 3, "e");
}

struct rival {
    const char *thing;
    int number;
    enum ballot_end end;
    pthread_t thread;
};

static void *run(void *arg)
{
    char value[16];
    struct vote made;
    struct rival *r = arg;
    snprintf(value, sizeof value, "%d", r->number);
    r->end = put_version(r->thing, 1, value, &made, NULL);
    return NULL;
}

TEST(of_several_at_once_one_is_first)
{
    needs_rivals();
    struct rival rivals[RIVALS];
    const char *thing = fresh(1);
    char want[16] = "";
    size_t won = 0;
    for (int i = 0; i < RIVALS; i++) {
        rivals[i] = (struct rival){ .thing = thing, .number = i };
        assert_int_equal(pthread_create(&rivals[i].thread, NULL, run, &rivals[i]), 0);
    }
    for (int i = 0; i < RIVALS; i++) {
        pthread_join(rivals[i].thread, NULL);
        if (rivals[i].end == BALLOT_WON && ++won)
            snprintf(want, sizeof want, "%d", i);
        else
            assert_int_equal(rivals[i].end, BALLOT_LOST);
    }
    assert_int_equal(won, 1);
    is(thing, 1, want);
}

TEST(who_is_to_stop_gives_up)
{
    struct err e;
    atomic_bool stop = true;
    const char *thing = fresh(1);
    struct vote v = { .thing = str_of(thing), .version = 1, .value = STR("a") };
    enum ballot_end end = ballot_put(broker, false, &v, NULL, &stop, &e); /* it may be stored by then */
    assert_true(end == BALLOT_WON || end == BALLOT_FAILED);
    assert_true(broker_flush(broker, (struct duration){ PATIENCE_MS }));
    is(thing, 1, "a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BROKER_TEST(a_thing_is_its_last_version),
        BROKER_TEST(who_knows_an_old_version_has_lost),
        BROKER_TEST(of_several_at_once_one_is_first),
        BROKER_TEST(who_is_to_stop_gives_up),
    };
    return broker_play(tests, sizeof tests / sizeof *tests);
}
