/* SPDX-License-Identifier: MIT */
/* What slow listeners of the sink `websocket` do to themselves and not to others: the ring. */
#include <stdio.h>
#include <sys/socket.h>
#include "bridge/lib/log.h"
#include "bridge/net/ws.h"
#include "connectors/websocket/pace.h"
#include "connectors/websocket/private.h"
#include "tests/support/live.h"
#include "tests/support/metric.h"

static int64_t ring_closed_for(const char *reason)
{
    return metric_value(metric_named("aqueduct_listeners_closed_total", LABELS("live", reason)));
}

/* Many sizes through a small ring, read in odd pieces: every byte must be the one that was sent. */
TEST(wrap_around)
{
    enum { EVENTS_SENT = 3000 };
    live_open("buffer: 4KiB");
    struct client fast = live_listener("/", UPGRADE, 101);
    struct client filtered = live_listener("/?type=a", UPGRADE, 101);
    struct buf expected = buf_new(64 << 20), expected_a = buf_new(64 << 20);
    char data[3003];
    for (int i = 0; i < EVENTS_SENT; i++) {
        char id[16];
        size_t n = (size_t)(i * 7919) % 3000 + 3;
        snprintf(id, sizeof id, "%d", i);
        memset(data, 'a' + i % 26, n);
        data[0] = data[n - 1] = '"';
        data[n] = '\0';
        live_send("ai.chats", id, i % 3 ? "t" : "a", NULL, data);
        struct buf json = buf_new(8192);
        buf_printf(&json, "{\"specversion\":\"1.0\",\"id\":\"%s\",\"source\":\"/s\",\"type\":\"%s\",\"data\":%s}", id,
                   i % 3 ? "t" : "a", data);
        unsigned char h[WS_HEAD];
        size_t length = ws_head(h, WS_TEXT, json.n);
        buf_add(&expected, h, length);
        buf_add_str(&expected, buf_str(&json));
        if (i % 3 == 0) {
            buf_add(&expected_a, h, length);
            buf_add_str(&expected_a, buf_str(&json));
        }
        buf_free(&json);
        if (i % 5 == 0)
            live_turn();
        if (i % 7 == 0) {
            client_read(&fast);
            client_read(&filtered);
        }
    }
    for (int i = 0; i < 10000 && (fast.in.n < expected.n || filtered.in.n < expected_a.n); i++) {
        live_turn();
        client_read(&fast);
        client_read(&filtered);
    }
    assert_int_equal(fast.in.n, expected.n);
    assert_memory_equal(fast.in.at, expected.at, expected.n);
    assert_int_equal(filtered.in.n, expected_a.n);
    assert_memory_equal(filtered.in.at, expected_a.at, expected_a.n);
    client_close(&fast);
    client_close(&filtered);
    buf_free(&expected);
    buf_free(&expected_a);
}

/* One listener never reads: it is closed, what it got until then has no hole, and the other one misses nothing. */
TEST(slow_listener)
{
    enum { EVENTS_SENT = 4000 };
    live_open("buffer: 64KiB");
    int64_t slow_before = ring_closed_for("slow");
    struct client slow = live_listener("/", UPGRADE, 101), fast = live_listener("/", UPGRADE, 101);
    int small = 4096;
    setsockopt(slow.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    char data[502];
    memset(data, 'x', 500);
    data[0] = data[499] = '"';
    data[500] = '\0';
    size_t seen = 0;
    int opcode;
    struct str payload;
    for (int i = 0; i < EVENTS_SENT; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        live_send("ai.chats", id, "t", NULL, data);
        if (i % 20 == 19)
            live_turn();
        client_read(&fast);
    }
    for (int i = 0; i < 10000 && seen < EVENTS_SENT; i++) {
        live_turn();
        client_read(&fast);
        size_t at = 0, n;
        while ((n = live_frame((struct str){ fast.in.at + at, fast.in.n - at }, &opcode, &payload))) {
            char expected[32];
            snprintf(expected, sizeof expected, "\"id\":\"%zu\"", seen++);
            assert_non_null(memmem(payload.at, payload.n, expected, strlen(expected)));
            at += n;
        }
        buf_drop(&fast.in, at);
    }
    assert_int_equal(seen, EVENTS_SENT);
    for (int i = 0; i < 10000 && ring_closed_for("slow") == slow_before; i++) {
        live_turn();
        client_read(&slow); /* now it reads: at the latest here it learns that it was closed */
    }
    assert_int_equal(ring_closed_for("slow"), slow_before + 1);
    client_read(&slow);
    size_t at = 0, n, whole = 0;
    while ((n = live_frame((struct str){ slow.in.at + at, slow.in.n - at }, &opcode, &payload)) && opcode == 0x81) {
        char expected[32];
        snprintf(expected, sizeof expected, "\"id\":\"%zu\"", whole++);
        assert_non_null(memmem(payload.at, payload.n, expected, strlen(expected)));
        at += n;
    }
    assert_true(whole < EVENTS_SENT);
    client_close(&slow);
    client_close(&fast);
}

/* Each lags less than a whole buffer, but all together more than max_buffered: who lags is closed, who reads misses
 * nothing. */
TEST(laggards_share_a_bound)
{
    enum { LAGGARDS = 4, EVENTS_SENT = 1000 };
    live_open("buffer: 1MiB\nmax_buffered: 1MiB");
    int64_t slow_before = ring_closed_for("slow");
    struct client fast = live_listener("/", UPGRADE, 101), laggards[LAGGARDS];
    for (int i = 0; i < LAGGARDS; i++) {
        char target[64];
        snprintf(target, sizeof target, "/?filter={%%22not%%22:{%%22exact%%22:{%%22type%%22:%%22x%d%%22}}}", i);
        laggards[i] = live_listener(target, UPGRADE, 101);
    }
    char data[902];
    memset(data, 'x', 900);
    data[0] = data[899] = '"';
    data[900] = '\0';
    size_t seen = 0, n;
    int opcode;
    struct str payload;
    for (int i = 0; i < 20000 && seen < EVENTS_SENT; i++) {
        if (i < EVENTS_SENT)
            live_send("ai.chats", "id", "t", NULL, data);
        live_turn();
        client_read(&fast);
        while ((n = live_frame(buf_str(&fast.in), &opcode, &payload))) {
            seen++;
            buf_drop(&fast.in, n);
        }
    }
    int64_t closed = ring_closed_for("slow") - slow_before;
    assert_in_range(closed, 1, LAGGARDS);
    assert_int_equal(seen, EVENTS_SENT);
    client_close(&fast);
    for (int i = 0; i < LAGGARDS; i++)
        client_close(&laggards[i]);
}

/* A listener that stops for a while and comes back within the buffer gets everything, with pings in between frames
 * only. */
TEST(pause_within_the_buffer)
{
    enum { EVENTS_SENT = 1500 };
    live_open("buffer: 2MiB");
    struct client c = live_listener("/", UPGRADE, 101);
    char data[1002];
    memset(data, 'x', 1000);
    data[0] = data[999] = '"';
    data[1000] = '\0';
    for (int i = 0; i < EVENTS_SENT; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        live_send("ai.chats", id, "t", NULL, data);
        if (i % 10 == 0)
            live_turn();
        if (i == 700)
            client_write(&c, STR("\x89\x82\0\0\0\0hi")); /* a ping that must be answered at a boundary */
    }
    size_t seen = 0, pongs = 0;
    for (int i = 0; i < 10000 && seen < EVENTS_SENT; i++) {
        size_t at = 0, n;
        int opcode;
        struct str payload;
        live_turn();
        client_read(&c);
        while ((n = live_frame((struct str){ c.in.at + at, c.in.n - at }, &opcode, &payload))) {
            char expected[32];
            snprintf(expected, sizeof expected, "\"id\":\"%zu\"", seen);
            at += n;
            if (opcode == 0x8a) {
                pongs++;
                continue;
            }
            assert_int_equal(opcode, 0x81);
            assert_non_null(memmem(payload.at, payload.n, expected, strlen(expected)));
            seen++;
        }
        buf_drop(&c.in, at);
    }
    assert_int_equal(seen, EVENTS_SENT);
    assert_int_equal(pongs, 1);
    client_close(&c);
}

/* Gives the only listener a seat more, for events of that type. */
static void ring_second_seat(struct seat *t, const char *query)
{
    struct cohorts *all = &((struct websocket_sink *)live_sink)->cohorts;
    struct subscription wanted;
    struct err e;
    struct listener *l = all->first->seats[0]->listener;
    assert_true(subscription_parse(&wanted, str_of(query), false, NULL, NULL, NULL, &e));
    seat_take(t, l);
    cohort_join(cohorts_get(all, &wanted, NULL, &e), t);
}

/* Two subscriptions of one connection, which stops reading: every frame is whole, and each subscription in its order. */
TEST(seats_change_between_frames)
{
    enum { EVENTS_SENT = 1200 };
    live_open("buffer: 4MiB");
    struct client c = live_listener("/?type=a", UPGRADE, 101);
    struct seat second;
    ring_second_seat(&second, "type=b");
    char data[1002];
    memset(data, 'x', 1000);
    data[0] = data[999] = '"';
    data[1000] = '\0';
    for (int i = 0; i < EVENTS_SENT; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        live_send("ai.chats", id, i % 3 ? "a" : "b", NULL, data);
        if (i % 10 == 0)
            live_turn();
    }
    size_t seen[2] = { 1, 0 }, total = 0; /* the next of each */
    for (int i = 0; i < 10000 && total < EVENTS_SENT; i++) {
        size_t at = 0, n;
        int opcode;
        struct str payload;
        live_turn();
        client_read(&c);
        while ((n = live_frame((struct str){ c.in.at + at, c.in.n - at }, &opcode, &payload))) {
            bool b = memmem(payload.at, payload.n, "\"type\":\"b\"", 10);
            char expected[32];
            snprintf(expected, sizeof expected, "\"id\":\"%zu\"", seen[b]);
            assert_int_equal(opcode, 0x81);
            assert_non_null(memmem(payload.at, payload.n, expected, strlen(expected)));
            seen[b] += b ? 3 : seen[b] % 3 == 2 ? 2 : 1;
            total++;
            at += n;
        }
        buf_drop(&c.in, at);
    }
    assert_int_equal(total, EVENTS_SENT);
    seat_give_up(&second);
    live_send("ai.chats", "b", "b", NULL, "1");
    live_send("ai.chats", "a", "a", NULL, "1");
    live_expect(&c, JSON("a", "a", ",\"data\":1"));
    client_close(&c);
}

TEST(event_longer_than_the_buffer)
{
    live_open("buffer: 4KiB");
    struct client c = live_listener("/", UPGRADE, 101);
    char data[5000];
    memset(data, '1', sizeof data - 1);
    data[sizeof data - 1] = '\0';
    int64_t before = metric_value(metric_named("aqueduct_listener_events_too_long_total", LABELS("live")));
    live_send("ai.chats", "1", "t", NULL, data);
    live_send("ai.chats", "2", "t", NULL, "2");
    live_expect(&c, JSON("2", "t", ",\"data\":2"));
    assert_int_equal(metric_value(metric_named("aqueduct_listener_events_too_long_total", LABELS("live"))), before + 1);
    client_close(&c);
}

/* Serves what waits, which takes so long. Returns when it is done. */
static int64_t pace_serve(struct pace *p, int64_t begin_us, int64_t cost_us)
{
    pace_begin(p, begin_us);
    pace_end(p, begin_us + cost_us);
    return begin_us + cost_us;
}

TEST(an_event_after_silence_is_served_at_once)
{
    struct pace p = { 0 };
    pace_add(&p, 5000000, 400);
    assert_true(pace_left_us(&p, 5000000) <= 0);
    int64_t now = pace_serve(&p, 5000000, 4500);
    /* one at a time, each a while after the one before was served */
    for (int i = 0; i < 10; i++) {
        pace_add(&p, now += 5500, 400);
        assert_true(pace_left_us(&p, now) <= 0);
        now = pace_serve(&p, now, 4500);
    }
}

TEST(an_event_that_is_one_of_several_waits_for_those_behind_it)
{
    struct pace p = { 0 };
    pace_add(&p, 1000, 400);
    int64_t now = pace_serve(&p, 1000, 20000);
    for (int i = 0; i < 8; i++)
        pace_add(&p, now, 400);
    assert_int_equal(pace_left_us(&p, now), 5000); /* a quarter of what serving takes */
    assert_int_equal(pace_left_us(&p, now + 5000), 0);
    now = pace_serve(&p, now + 5000, 20000);
    pace_add(&p, now + 300, 400); /* the first of the next ones: the last were several */
    assert_int_equal(pace_left_us(&p, now + 300), 5000);
    for (int i = 0; i < 200; i++)
        pace_add(&p, now + 400, 400);
    assert_int_equal(pace_left_us(&p, now + 400), 0); /* enough */
    now = pace_serve(&p, now + 400, 20000);
    pace_add(&p, now + 20001, 400); /* after silence, whatever was before */
    assert_true(pace_left_us(&p, now + 20001) <= 0);
}

TEST(nobody_is_served_more_often_than_every_millisecond)
{
    struct pace p = { 0 };
    pace_add(&p, 7000, 400);
    int64_t now = pace_serve(&p, 7000, 10);
    pace_add(&p, now + 40, 400);
    assert_int_equal(pace_left_us(&p, now + 40), PACE_US - 50);
    now = pace_serve(&p, 8000, 500000);
    pace_add(&p, now, 400);
    pace_add(&p, now, 400);
    assert_int_equal(pace_left_us(&p, now), PACE_MOST_US);
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
    const struct CMUnitTest tests[] = { LIVE(wrap_around),
                                        LIVE(slow_listener),
                                        LIVE(laggards_share_a_bound),
                                        LIVE(pause_within_the_buffer),
                                        LIVE(seats_change_between_frames),
                                        LIVE(event_longer_than_the_buffer),
                                        cmocka_unit_test(an_event_after_silence_is_served_at_once),
                                        cmocka_unit_test(an_event_that_is_one_of_several_waits_for_those_behind_it),
                                        cmocka_unit_test(nobody_is_served_more_often_than_every_millisecond) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
