/* SPDX-License-Identifier: MIT */
/* The memory of events: what counts as the same, and how much of it there is. */
#include "bridge/intake/seen.h"
#include <malloc.h>
#include <stdio.h>
#include "bridge/lib/mem.h"
#include "tests/support/event.h"

static struct seen *seen;

static struct fingerprint of(const char *scope, struct event fields)
{
    const struct event *ev = event_like(fields);
    struct fingerprint f = seen_fingerprint(seen, str_of(scope), ev);
    event_unref(ev);
    return f;
}

static bool same_identity(struct fingerprint a, struct fingerprint b)
{
    return memcmp(a.identity, b.identity, sizeof a.identity) == 0;
}

TEST(identity)
{
    seen = seen_new(8);
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
    seen = seen_new(8);
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
    seen = seen_new(MOST);
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
            seen_add(seen, &f, SEEN_EVERYWHERE);
            seen_add(seen, &f, SEEN_EVERYWHERE);
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
    seen_add(seen, &f, SEEN_EVERYWHERE);
}

/* Whoever may send to one path cannot make the bridge forget what came on another one, in however many ways he counts. */
TEST(no_sender_drives_out_another)
{
    char scope[64];
    seen = seen_new(100);
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
    seen = seen_new(3000);
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
    seen = seen_new(EVENTS);
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < EVENTS; i++) {
        snprintf(id, sizeof id, "%05d", i);
        id[5] = 'i';
        struct fingerprint f = of("a", (struct event){ .id = str_of(id), .source = str_of(id) });
        seen_add(seen, &f, SEEN_EVERYWHERE);
    }
    size_t after = mallinfo2().uordblks;
    assert_true(after - before < 2000000);
    seen_free(seen);
}

/* An event that is in some of its places may begin again, and what is dropped is found no more, nor is it evicted twice. */
TEST(places)
{
    bool same;
    seen = seen_new(4);
    struct fingerprint f = of("a", (struct event){ .id = STR("1") });
    struct fingerprint other = of("a", (struct event){ .id = STR("1"), .type = STR("other") });
    assert_int_equal(seen_places(seen, &f), 0);
    seen_drop(seen, &f);
    seen_add(seen, &f, 1);
    seen_add(seen, &other, 2); /* not the same event */
    assert_int_equal(seen_places(seen, &f), 1);
    seen_add(seen, &f, 4);
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
        seen_add(seen, &g, 1);
        if (i % 3 == 0)
            seen_drop(seen, &g);
        assert_int_equal(seen_find(seen, &g, &same), i % 3 ? SEEN_STORED : SEEN_UNKNOWN);
    }
    assert_int_equal(seen_find(seen, &f, &same), SEEN_UNKNOWN);
    seen_free(seen);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
