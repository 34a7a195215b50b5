/* SPDX-License-Identifier: MIT */
/* Listeners of the sink `websocket` against the log: where they begin, how they come back, and what becomes of slow ones. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "connectors/websocket/private.h"
#include "tests/support/live_log.h"
#include "tests/support/metric.h"

/* ---- a client that checks the order ---- */

struct ear {
    struct client c;
    bool sse;
    int64_t next[LOG_PLACES]; /* what must come next of each partition; -1: whatever comes first */
    size_t heard;
    char cursor[1024];              /* the last position */
    char notice[512];               /* the last thing it was told */
    size_t unplaced, unplaced_most; /* events since the last position */
    int closed;                     /* with this code */
};

static void ear_hear_event(struct ear *ear, struct str json)
{
    int place, n = 0;
    long long offset;
    char *text = str_dup(json);
    const char *id = strstr(text, "\"id\":\""), *cursor = strstr(text, "\"aqueductcursor\":\""),
               *data = strstr(text, "\"type\":\"aqueduct.resume\",\"data\":");
    if (data) {
        snprintf(ear->notice, sizeof ear->notice, "%s", data + 32);
    } else {
        assert_true(sscanf(id, "\"id\":\"%d/%lld\"%n", &place, &offset, &n) == 2 && n);
        if (ear->next[place] >= 0 && ear->next[place] != offset)
            fail_msg("partition %d: %lld came, not %lld", place, offset, (long long)ear->next[place]);
        ear->next[place] = offset + 1;
        ear->heard++;
    }
    if (cursor)
        snprintf(ear->cursor, sizeof ear->cursor, "%.*s", (int)strcspn(cursor + 18, "\""), cursor + 18);
    free(text);
}

static void ear_hear_block(struct ear *ear, struct str block)
{
    struct str line;
    bool told = false;
    while (str_cut(&block, '\n', &line)) {
        if (str_starts(line, STR("id: "))) {
            ear->unplaced = 0;
            snprintf(ear->cursor, sizeof ear->cursor, "%.*s", (int)line.n - 4, line.at + 4);
        }
        told |= str_eq(line, STR("event: resume"));
        if (str_starts(line, STR("data: ")) && told)
            snprintf(ear->notice, sizeof ear->notice, "%.*s", (int)line.n - 6, line.at + 6);
        else if (str_starts(line, STR("data: ")))
            ear_hear_event(ear, str_from(line, 6)), ear->unplaced++;
    }
    if (ear->unplaced > ear->unplaced_most)
        ear->unplaced_most = ear->unplaced;
}

/* Takes what is whole of what has come. */
static void ear_take(struct ear *ear)
{
    size_t at = 0, n;
    struct str in = buf_str(&ear->c.in), payload;
    int opcode;
    const char *end;
    while (ear->sse && (end = memmem(in.at + at, in.n - at, "\n\n", 2))) {
        ear_hear_block(ear, (struct str){ in.at + at, (size_t)(end - in.at) - at });
        at = (size_t)(end - in.at) + 2;
    }
    while (!ear->sse && (n = live_frame(str_from(in, at), &opcode, &payload))) {
        if (opcode == 0x81)
            ear_hear_event(ear, payload);
        else if (opcode == 0x88)
            ear->closed = (unsigned char)payload.at[0] << 8 | (unsigned char)payload.at[1];
        at += n;
    }
    buf_drop(&ear->c.in, at);
}

/* Connects, from its cursor if it has one. */
static void ear_open(struct ear *ear, const char *query)
{
    char target[2048];
    ear->closed = 0;
    snprintf(target, sizeof target, "/?%s%s%s%s", query, ear->sse ? "" : "&cursor=1",
             *ear->cursor ? "&last_event_id=" : "", ear->cursor);
    ear->c = live_listener(target, ear->sse ? EVENTS : UPGRADE, ear->sse ? 200 : 101);
}

static void ear_new(struct ear *ear, bool sse, const char *query)
{
    *ear = (struct ear){ .sse = sse, .next = { -1, -1, -1, -1 } };
    ear_open(ear, query);
}

/* Listens until it is where the log is. */
static void ear_catch_up(struct ear *ear)
{
    for (int i = 0; i < 20000; i++) {
        bool level = true;
        for (int p = 0; p < LOG_PLACES; p++)
            level &= log_places[p].end == 0 || ear->next[p] == log_places[p].end;
        if (level)
            return;
        live_turn();
        client_read(&ear->c);
        ear_take(ear);
    }
    fail_msg("after %zu events it stands at %lld %lld %lld %lld", ear->heard, (long long)ear->next[0],
             (long long)ear->next[1], (long long)ear->next[2], (long long)ear->next[3]);
}

static int64_t resumed(const char *verdict)
{
    return metric_value(metric_named("aqueduct_listener_resumes_total", LABELS("live", verdict)));
}

/* ---- where it begins ---- */

TEST(begins_where_it_wants)
{
    struct ear a;
    log_open();
    live_open("");
    log_pass(0, 30);
    log_pass(3, 10);
    log_pass(1, 40);
    ear_new(&a, true, "from=earliest");
    a.next[0] = a.next[1] = a.next[3] = 0;
    ear_catch_up(&a);
    assert_int_equal(a.heard, 80);
    assert_string_equal(a.notice, "{\"resume\":\"new\"}");
    log_pass(1, 3);
    ear_catch_up(&a);
    client_close(&a.c);
    ear_new(&a, false, "from=last:8");
    a.next[0] = 27, a.next[1] = 40, a.next[2] = 0, a.next[3] = 2; /* of each topic, the same share of its partitions */
    ear_catch_up(&a);
    assert_int_equal(a.heard, 14);
    client_close(&a.c);
    ear_new(&a, false, "topics=ai.events&from=earliest");
    a.next[3] = 0;
    a.next[0] = 30, a.next[1] = 43, a.next[2] = 0; /* those of others do not come */
    ear_catch_up(&a);
    assert_int_equal(a.heard, 10);
    client_close(&a.c);
}

TEST(begins_at_a_time)
{
    struct ear a;
    clock_fake(100000, 1600000000000);
    log_open();
    live_open("");
    log_pass(0, 5);
    clock_fake_advance(60000);
    log_pass(0, 5);
    ear_new(&a, true, "from=2020-09-13T12:27:00Z");
    a.next[0] = 5;
    ear_catch_up(&a);
    assert_int_equal(a.heard, 5);
    client_close(&a.c);
    ear_new(&a, true, "from=30s"); /* ago */
    a.next[0] = 5;
    ear_catch_up(&a);
    assert_int_equal(a.heard, 5);
    client_close(&a.c);
}

TEST(garbage_is_refused)
{
    log_open();
    live_open("");
    log_pass(0, 5);
    live_refused("/?from=yesterday", UPGRADE, 400, "from: not a cursor");
    live_refused("/?from=last:0", UPGRADE, 400, "from: last:<n> takes a number");
    live_refused("/?from=last:x", UPGRADE, 400, "from: last:<n> takes a number");
    live_refused("/?last_event_id=AQAB", EVENTS, 400, "last_event_id: not a cursor");
    live_refused("/", EVENTS "Last-Event-ID: ai.chats/0@3\r\n", 400, "Last-Event-ID: not a cursor");
    live_refused("/?slow=never", UPGRADE, 400, "slow: there are catchup");
    live_refused("/?slow=close&by=subject", UPGRADE, 400, "by: goes with slow=conflate alone");
    live_refused("/?slow=conflate&by=id", UPGRADE, 400, "by: there are subject and key");
    live_refused("/?cursor=1", EVENTS, 400, "cursor: server-sent events have it as their id");
    live_refused("/?cursor=2", UPGRADE, 400, "cursor: there is only cursor=1");
    struct ear a;
    ear_new(&a, true, "from=earliest");
    a.next[0] = 0;
    ear_catch_up(&a);
    client_close(&a.c);
    a.cursor[10] = a.cursor[10] == 'A' ? 'B' : 'A';
    char target[2048];
    snprintf(target, sizeof target, "/?from=%s", a.cursor);
    live_refused(target, UPGRADE, 400, "altered, or signed with another key");
    live_close(NULL);
    live_log = NULL;
    live_open("");
    live_refused("/?from=earliest", UPGRADE, 400, "events come live alone");
}

TEST(event_streams_begin_with_their_position)
{
    log_open();
    live_open("");
    log_pass(0, 5);
    struct client c = live_request("/", EVENTS);
    char *head = live_head(&c);
    assert_says(head, "Aqueduct-Resume: new\r\n");
    free(head);
    live_turn();
    client_close(&c);
    struct ear a;
    ear_new(&a, true, "");
    for (int i = 0; i < 20; i++)
        live_turn();
    client_read(&a.c);
    ear_take(&a);
    assert_true(a.cursor[0]);
    client_close(&a.c);
    log_pass(0, 5); /* meanwhile */
    a.next[0] = 5;
    ear_open(&a, "");
    ear_catch_up(&a);
    assert_string_equal(a.notice, "{\"resume\":\"exact\"}");
    client_close(&a.c);
}

/* ---- coming back ---- */

static uint32_t resume_random(uint32_t below)
{
    static uint32_t state = 2463534242;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % below;
}

/* Cut at any byte, and resumed from the last position that came whole: nothing is missing, twice, or out of its order. */
static void resume_from_cuts(bool sse, const char *query, int patience, const char *options)
{
    struct ear a = { .sse = sse, .next = { 0, 0, 0, 0 } };
    log_open();
    log_patience = patience;
    live_open(options);
    ear_open(&a, query);
    for (int round = 0; round < 60; round++) {
        for (uint32_t n = resume_random(6); n > 0; n--) {
            log_store((int)resume_random(LOG_PLACES), (int)resume_random(20));
            if (resume_random(3))
                log_send();
            if (resume_random(2))
                live_turn();
        }
        for (uint32_t n = resume_random(40); n > 0; n--) {
            live_turn();
            if (resume_random(2))
                client_read(&a.c);
        }
        if (a.c.in.n)
            a.c.in.n -= resume_random((uint32_t)(a.c.in.n < 3000 ? a.c.in.n : 3000)); /* what the network swallowed */
        ear_take(&a);
        client_close(&a.c);
        ear_open(&a, *a.cursor ? query : "from=earliest");
    }
    log_send();
    ear_catch_up(&a);
    client_close(&a.c);
}

TEST(event_streams_resume)
{
    resume_from_cuts(true, "", 0, "buffer: 64KiB");
}

TEST(websockets_resume)
{
    resume_from_cuts(false, "", 0, "buffer: 64KiB");
}

TEST(slow_logs_are_waited_for)
{
    resume_from_cuts(true, "", 3, "buffer: 4KiB");
}

TEST(what_is_gone_is_counted)
{
    struct ear a;
    log_open();
    live_open("");
    ear_new(&a, true, "");
    log_pass(0, 10);
    log_pass(1, 10);
    a.next[0] = a.next[1] = 0;
    ear_catch_up(&a);
    client_close(&a.c);
    log_pass(0, 10);
    log_pass(1, 10);
    log_places[0].start = 14;
    log_places[1].start = 10;
    int64_t gaps = resumed("gap"),
            lost = metric_value(metric_named("aqueduct_listener_records_lost_total", LABELS("live")));
    a.next[0] = 14;
    char headers[1100];
    snprintf(headers, sizeof headers, EVENTS "Last-Event-ID: %s\r\n", a.cursor);
    struct client c = live_request("/", headers);
    char *head = live_head(&c);
    assert_says(head, "Aqueduct-Resume: gap; lost=4\r\n");
    free(head);
    client_close(&c);
    ear_open(&a, "");
    ear_catch_up(&a);
    assert_string_equal(a.notice, "{\"resume\":\"gap\",\"lost\":{\"ai.chats/0\":4}}");
    assert_int_equal(resumed("gap"), gaps + 2);
    assert_int_equal(metric_value(metric_named("aqueduct_listener_records_lost_total", LABELS("live"))), lost + 8);
    client_close(&a.c);
}

/* The topic was deleted and made again: what the position says is of another one, so it goes on by time. */
TEST(a_topic_made_anew)
{
    struct ear a;
    clock_fake(100000, 1600000000000);
    log_open();
    live_open("");
    ear_new(&a, false, "topics=ai.chats");
    log_pass(0, 10);
    a.next[0] = 0, a.next[1] = a.next[2] = a.next[3] = 0;
    ear_catch_up(&a);
    client_close(&a.c);
    live_close(NULL);
    log_close(NULL);
    clock_fake(100000, 1600000060000);
    log_open();
    log_identity_now = 8;
    live_open("");
    log_pass(0, 3);
    a.next[0] = 0;
    ear_open(&a, "topics=ai.chats");
    ear_catch_up(&a);
    assert_string_equal(a.notice, "{\"resume\":\"reset\"}}");
    client_close(&a.c);
}

/* Nothing but what send() brings tells of it. */
TEST(a_topic_made_anew_while_they_listen)
{
    struct ear ears[2];
    log_open();
    live_open("");
    log_pass(0, 10);
    for (int sse = 0; sse < 2; sse++) {
        ear_new(&ears[sse], sse, "topics=ai.chats&from=earliest");
        ear_catch_up(&ears[sse]);
        ears[sse].notice[0] = '\0';
    }
    log_renew(0);
    log_pass(0, 3);
    for (int sse = 0; sse < 2; sse++) {
        ears[sse].next[0] = 0;
        ear_catch_up(&ears[sse]);
        assert_string_equal(ears[sse].notice, sse ? "{\"resume\":\"reset\"}" : "{\"resume\":\"reset\"}}");
        client_close(&ears[sse].c);
        log_pass(0, 1);
        ear_open(&ears[sse], "topics=ai.chats");
        ear_catch_up(&ears[sse]);
        assert_int_equal(ears[sse].heard, 10 + 4 + sse);
        client_close(&ears[sse].c);
    }
}

/* ---- slow ones ---- */

static void make_small(struct ear *ear)
{
    int small = 4096;
    setsockopt(ear->c.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
}

static char filler[900];

static void slow_data(void)
{
    memset(filler, 'x', sizeof filler - 1);
    filler[0] = filler[sizeof filler - 2] = '"';
    log_data = filler;
}

static int64_t replay_bytes(void)
{
    return metric_value(metric_named("aqueduct_replay_bytes", LABELS("live")));
}

/* It stops reading, falls off the ring, costs no memory, and gets everything when it reads again. */
TEST(a_stopped_reader_catches_up)
{
    struct ear slow, fast;
    clock_fake(100000, 1600000000000);
    log_open();
    slow_data();
    live_open("buffer: 64KiB");
    for (int sse = 0; sse < 2; sse++) {
        ear_new(&slow, sse, "");
        ear_new(&fast, sse, "");
        make_small(&slow);
        for (int p = 0; p < LOG_PLACES; p++)
            slow.next[p] = fast.next[p] = log_places[p].end;
        for (int i = 0; i < 1500; i++) {
            log_pass(i % 3, 1);
            clock_fake_advance(2);
            live_turn();
            client_read(&fast.c);
            ear_take(&fast);
        }
        ear_catch_up(&fast);
        clock_fake_advance(3000);
        live_turn();
        assert_int_equal(metric_value(metric_named("aqueduct_listeners_catching_up", LABELS("live"))), 1);
        assert_in_range(replay_bytes(), 0, 4096); /* the rest of its frame */
        ear_catch_up(&slow);
        assert_int_equal(metric_value(metric_named("aqueduct_listeners_catching_up", LABELS("live"))), 0);
        log_pass(1, 1);
        ear_catch_up(&slow);
        assert_int_equal(slow.heard, 1501);
        client_close(&slow.c);
        client_close(&fast.c);
    }
}

TEST(slow_ones_may_want_the_latest)
{
    struct ear slow;
    log_open();
    slow_data();
    live_open("buffer: 64KiB");
    int64_t skipped = resumed("skipped");
    ear_new(&slow, false, "slow=latest");
    make_small(&slow);
    slow.next[0] = 0;
    for (int i = 0; i < 1500; i++) {
        log_pass(0, 1);
        live_turn();
    }
    for (int i = 0; i < 1000 && !*slow.notice; i++) {
        live_turn();
        client_read(&slow.c);
        ear_take(&slow);
    }
    long long left_out = strtoll(slow.notice + strlen("{\"resume\":\"skipped\",\"lost\":{\"ai.chats/0\":"), NULL, 10);
    assert_int_equal(slow.heard + (size_t)left_out, 1500);
    assert_int_equal(resumed("skipped"), skipped + 1);
    slow.next[0] = 1500;
    log_pass(0, 3);
    ear_catch_up(&slow);
    client_close(&slow.c);
}

/* The newest of each of ten subjects, in the order in which these came. */
TEST(slow_ones_may_want_the_newest_of_each_subject)
{
    struct ear slow;
    log_open();
    slow_data();
    live_open("buffer: 64KiB");
    ear_new(&slow, true, "slow=conflate");
    make_small(&slow);
    for (int i = 0; i < 1500; i++) {
        log_pass(0, 1);
        live_turn();
    }
    size_t heard = 0;
    for (int i = 0; i < 2000 && slow.next[0] != 1500; i++) {
        slow.next[0] = -1; /* it may leave out any but the last of each */
        live_turn();
        client_read(&slow.c);
        char *at = slow.c.in.at;
        for (size_t k = 0; k + 3 < slow.c.in.n; k++)
            heard += memcmp(at + k, "id\":", 4) == 0;
        slow.c.in.n = 0;
        if (log_places[0].live == 1500
            && metric_value(metric_named("aqueduct_listeners_catching_up", LABELS("live"))) == 0)
            break;
    }
    assert_in_range(heard, 20, 1000);
    log_pass(0, 2);
    slow.next[0] = 1500;
    ear_catch_up(&slow);
    client_close(&slow.c);
}

TEST(slow_ones_may_want_to_be_closed)
{
    struct ear slow;
    log_open();
    slow_data();
    live_open("buffer: 64KiB");
    int64_t before = metric_value(metric_named("aqueduct_listeners_closed_total", LABELS("live", "slow")));
    ear_new(&slow, false, "slow=close");
    make_small(&slow);
    slow.next[0] = 0;
    for (int i = 0; i < 1500; i++) {
        log_pass(0, 1);
        live_turn();
    }
    assert_int_equal(metric_value(metric_named("aqueduct_listeners_closed_total", LABELS("live", "slow"))), before + 1);
    client_read(&slow.c);
    ear_take(&slow); /* without a hole */
    assert_in_range(slow.heard, 1, 1499);
    client_close(&slow.c);
}

/* Who takes nothing for `stall` is closed, in the ring and behind it; who takes a little is not. */
TEST(stalled_ones_are_closed)
{
    struct ear in_ring, behind;
    clock_fake(100000, 1600000000000);
    log_open();
    slow_data();
    live_open("buffer: 1MiB\nstall: 30s");
    struct metric *stalled = metric_named("aqueduct_listeners_closed_total", LABELS("live", "stalled"));
    int64_t before = metric_value(stalled);
    log_pass(0, 1000);
    ear_new(&in_ring, false, "");
    ear_new(&behind, false, "from=earliest");
    for (int i = 0; i < 600; i++) {
        log_pass(0, 1);
        clock_fake_advance(10);
        live_turn();
    }
    clock_fake_advance(20000);
    live_turn();
    assert_int_equal(metric_value(stalled), before);
    client_read(&in_ring.c); /* it takes something */
    for (int i = 0; i < 10; i++)
        live_turn();
    clock_fake_advance(6000);
    live_turn();
    assert_int_equal(metric_value(stalled), before + 1);
    clock_fake_advance(31000);
    live_turn();
    assert_int_equal(metric_value(stalled), before + 2);
    client_close(&in_ring.c);
    client_close(&behind.c);
}

/* ---- many ---- */

/* So many, if the environment does not say otherwise. */
static int many_listeners(int usual)
{
    const char *text = getenv("AQUEDUCT_TEST_LISTENERS");
    int n = text ? (int)strtol(text, NULL, 10) : usual;
    struct rlimit files;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    int most = files.rlim_max < 1 << 20 ? (int)files.rlim_max / 2 - 100 : n; /* both ends are here */
    return n < most ? n : most;
}

/* They come back at the same time from the same place: each reading and each chunk serves all. */
TEST(many_share_what_is_read)
{
    enum { EVENTS_BEHIND = 1000 };
    int count = many_listeners(100);
    struct ear *many = mem_alloc((size_t)count * sizeof *many);
    log_open();
    live_open("replay_bytes: 256KiB\nmax_listeners: 20000");
    ear_new(&many[0], true, "");
    for (int p = 0; p < 3; p++)
        log_pass(p, 1);
    for (int p = 0; p < 3; p++)
        many[0].next[p] = 0;
    ear_catch_up(&many[0]);
    client_close(&many[0].c);
    for (int i = 0; i < EVENTS_BEHIND; i++)
        log_pass(i % 3, 1);
    for (int i = 1; i < count; i++)
        memcpy(&many[i], &many[0], sizeof many[0]);
    log_reads = 0;
    for (int i = 0; i < count; i++)
        ear_open(&many[i], "");
    for (int i = 0; i < count; i++) {
        ear_catch_up(&many[i]);
        assert_in_range(replay_bytes(), 0, 256 << 10);
        client_close(&many[i].c);
    }
    assert_in_range(log_reads, 1, 40 * EVENTS_BEHIND / 16 * (count / 100));
    free(many);
}

/* Each from another place, with memory for a few of them: the others wait for their turn. */
TEST(many_take_turns)
{
    enum { MANY = 40 };
    static struct ear many[MANY];
    log_open();
    slow_data();
    live_open("replay_bytes: 256KiB");
    for (int i = 0; i < MANY; i++) {
        ear_new(&many[i], true, "");
        log_pass(0, 10);
        many[i].next[0] = 10 * i;
        for (int k = 0; k < 100 && !*many[i].cursor; k++) {
            live_turn();
            client_read(&many[i].c);
            ear_take(&many[i]);
        }
        client_close(&many[i].c);
    }
    log_pass(0, 300);
    for (int i = 0; i < MANY; i++)
        ear_open(&many[i], "");
    for (int i = MANY; i-- > 0;) {
        ear_catch_up(&many[i]);
        assert_in_range(replay_bytes(), 0, 320 << 10);
    }
    for (int i = 0; i < MANY; i++)
        client_close(&many[i].c);
}

TEST(only_so_many_catch_up)
{
    struct ear a;
    log_open();
    slow_data();
    live_open("max_catching_up: 1");
    log_pass(0, 2000);
    ear_new(&a, true, "from=earliest");
    a.next[0] = 0;
    live_refused("/?from=earliest", EVENTS, 503, "max_catching_up");
    ear_catch_up(&a);
    client_close(&a.c);
    for (int i = 0; i < 20; i++)
        live_turn();
    ear_new(&a, true, "from=earliest");
    client_close(&a.c);
}

/* ---- positions without events ---- */

TEST(heartbeats_move_the_position)
{
    struct ear a;
    clock_fake(100000, 1600000000000);
    log_open();
    live_open("");
    ear_new(&a, true, "type=none");
    for (int i = 0; i < 20; i++)
        live_turn();
    client_read(&a.c);
    ear_take(&a);
    char first[sizeof a.cursor];
    snprintf(first, sizeof first, "%s", a.cursor);
    log_pass(0, 100);
    for (int i = 0; i < 3; i++) {
        clock_fake_advance(20000);
        for (int k = 0; k < 20; k++)
            live_turn();
    }
    client_read(&a.c);
    ear_take(&a);
    assert_string_not_equal(a.cursor, first);
    client_close(&a.c);
    log_places[0].start = 100; /* it is not asked for what was not for it */
    a.next[0] = 100;
    ear_open(&a, "type=none");
    for (int k = 0; k < 20; k++)
        live_turn();
    client_read(&a.c);
    ear_take(&a);
    assert_string_equal(a.notice, "{\"resume\":\"exact\"}");
    client_close(&a.c);
}

/* More partitions than a position is given with each event for: it comes in blocks of its own, behind and live. */
TEST(wide_topics_get_positions_now_and_then)
{
    struct ear a;
    clock_fake(100000, 1600000000000);
    log_open();
    log_partitions = 40;
    live_open("");
    log_pass(0, 300);
    ear_new(&a, true, "topics=ai.chats&from=earliest");
    a.next[0] = 0, a.next[1] = a.next[2] = a.next[3] = 0;
    ear_catch_up(&a);
    assert_in_range(a.unplaced_most, 2, 65);
    for (int i = 0; i < 20; i++) {
        log_pass(1, 10);
        clock_fake_advance(20);
        live_turn();
    }
    ear_catch_up(&a);
    clock_fake_advance(200);
    for (int i = 0; i < 10; i++)
        live_turn();
    client_read(&a.c);
    ear_take(&a);
    assert_in_range(a.unplaced_most, 2, 75);
    assert_int_equal(a.unplaced, 0);
    client_close(&a.c);
    ear_open(&a, "topics=ai.chats");
    log_pass(0, 5);
    ear_catch_up(&a);
    client_close(&a.c);
}

/* Two subscriptions of one connection that stops reading: both are behind, and each gets all, in whole frames. */
TEST(seats_of_one_listener_are_behind_apart)
{
    struct ear a;
    struct seat second;
    struct cohorts *all;
    struct subscription wanted;
    struct err e;
    log_open();
    slow_data();
    live_open("buffer: 64KiB");
    ear_new(&a, false, "topics=ai.chats");
    all = &((struct websocket_sink *)live_sink)->cohorts;
    struct listener *l = all->first->seats[0]->listener;
    assert_true(subscription_parse(&wanted, STR("topics=ai.events"), false, NULL, NULL, NULL, &e));
    seat_take(&second, l);
    cohort_join(cohorts_get(all, &wanted, l, &e), &second);
    for (int p = 0; p < LOG_PLACES; p++)
        a.next[p] = 0;
    for (int i = 0; i < 1500; i++) {
        log_pass(i % LOG_PLACES, 1);
        live_turn();
    }
    assert_int_equal(metric_value(metric_named("aqueduct_listeners_catching_up", LABELS("live"))), 2);
    ear_catch_up(&a);
    log_pass(3, 1);
    log_pass(0, 1);
    ear_catch_up(&a);
    assert_int_equal(a.heard, 1502);
    client_close(&a.c);
    for (int i = 0; i < 20; i++)
        live_turn();
}

TEST(farewell_by_appointment)
{
    struct ear a, b;
    log_open();
    live_open("");
    ear_new(&a, true, "");
    ear_new(&b, false, "");
    log_pass(0, 3);
    websocket_sink.drain(live_sink, (struct duration){ 200 });
    client_read(&a.c);
    client_read(&b.c);
    const char *last = NULL;
    for (const char *at = buf_c(&a.c.in); (at = strstr(at, "retry: ")); at++)
        last = at;
    assert_in_range(strtol(last + 7, NULL, 10), 500, 1499);
    a.next[0] = b.next[0] = 0;
    ear_take(&a);
    ear_take(&b);
    assert_int_equal(a.heard, 3);
    assert_int_equal(b.closed, 1012);
    client_close(&a.c);
    client_close(&b.c);
    live_close(NULL);
    live_open("");
    log_pass(0, 2);
    ear_open(&a, "");
    ear_catch_up(&a);
    client_close(&a.c);
}

#define TALK UPGRADE "Sec-WebSocket-Protocol: aqueduct.v1+json\r\n"

static struct client talker(void)
{
    int opcode;
    struct client c = live_listener("/", TALK, 101);
    free(live_next(&c, &opcode));
    return c;
}

/* The next frame says where the subscription stands, by that op; in *cursor if it is not NULL. */
static void expect_place(struct client *c, const char *op, const char *sub, char cursor[1024])
{
    int opcode;
    char begin[128], *text = live_next(c, &opcode);
    int n = snprintf(begin, sizeof begin, "{\"op\":\"%s\",\"sub\":\"%s\",\"pos\":\"", op, sub);
    if (strncmp(text, begin, (size_t)n) != 0)
        fail_msg("%s, not %s", text, begin);
    assert_string_equal(text + n + strcspn(text + n, "\""), "\"}");
    if (cursor)
        snprintf(cursor, 1024, "%.*s", (int)strcspn(text + n, "\""), text + n);
    free(text);
}

/* One that came back to where nothing was new, and comes back there at once, gets what came in between. */
TEST(a_second_return_to_the_same_place)
{
    struct ear a;
    log_open();
    live_open("");
    log_pass(0, 5);
    ear_new(&a, true, "from=earliest");
    ear_catch_up(&a);
    for (int i = 0; i < 2; i++) {
        client_close(&a.c);
        ear_open(&a, "");
        for (int k = 0; k < 5; k++)
            live_turn();
    }
    client_close(&a.c);
    live_turn();
    log_pass(0, 1);
    ear_open(&a, "");
    ear_catch_up(&a);
    assert_int_equal(a.heard, 6);
    client_close(&a.c);
}

/* Quiet subscriptions of aqueduct.v1 are told where they are, so that what their filters left out is not looked at again: live
 * as well as on the way there. */
TEST(subscriptions_move_without_events)
{
    char cursor[1024], said[2048];
    clock_fake(100000, 1600000000000);
    log_open();
    live_open("");
    log_pass(0, 1);
    struct client c = talker();
    live_say(&c, "{\"op\":\"sub\",\"sub\":\"a\",\"type\":\"none\"}");
    expect_place(&c, "ok", "a", NULL);
    log_pass(0, 99);
    live_silent(&c);
    clock_fake_advance(20000);
    live_turn();
    expect_place(&c, "hb", "a", cursor);
    live_silent(&c);
    log_places[0].start = 100;
    snprintf(said, sizeof said, "{\"op\":\"sub\",\"sub\":\"b\",\"type\":\"none\",\"from\":\"%s\"}", cursor);
    live_say(&c, said);
    live_expect(&c, "{\"op\":\"ok\",\"sub\":\"b\"}");
    live_expect(&c, "{\"op\":\"state\",\"sub\":\"b\",\"resume\":\"exact\"}");
    expect_place(&c, "live", "b", NULL);
    log_pass(0, 9000); /* more than is looked at for one chunk */
    live_say(&c, "{\"op\":\"sub\",\"sub\":\"c\",\"type\":\"none\",\"from\":\"earliest\"}");
    live_expect(&c, "{\"op\":\"ok\",\"sub\":\"c\"}");
    live_expect(&c, "{\"op\":\"state\",\"sub\":\"c\",\"resume\":\"new\"}");
    expect_place(&c, "hb", "c", NULL);
    expect_place(&c, "hb", "c", NULL);
    expect_place(&c, "live", "c", NULL);
    client_close(&c);
}

/* Each connection has its own time to come back, and where each of its subscriptions stands. */
TEST(leave_says_where_all_subscriptions_stand)
{
    int opcode;
    char position[1024], said[2048];
    log_open();
    live_open("");
    log_pass(0, 3);
    struct client c = talker();
    live_say(&c, "{\"op\":\"sub\",\"sub\":\"a\"}");
    live_say(&c, "{\"op\":\"sub\",\"sub\":\"b\",\"type\":\"none\"}");
    free(live_next(&c, &opcode));
    free(live_next(&c, &opcode));
    log_pass(0, 2);
    websocket_sink.drain(live_sink, (struct duration){ 200 });
    for (int i = 0; i < 2; i++)
        free(live_next(&c, &opcode)); /* 0/3 and 0/4 */
    char *text = live_next(&c, &opcode), *a = strstr(text, "\"a\":\""), *b = strstr(text, "\"b\":\"");
    assert_true(str_starts(str_of(text), STR("{\"op\":\"drain\",\"reconnect_ms\":")));
    assert_true(a && b);
    assert_in_range(strtol(strstr(text, "_ms\":") + 5, NULL, 10), 500, 1499);
    snprintf(position, sizeof position, "%.*s", (int)strcspn(a + 5, "\""), a + 5);
    free(text);
    text = live_next(&c, &opcode);
    assert_int_equal(opcode, 0x88);
    free(text);
    client_close(&c);
    live_close(NULL);
    live_open("");
    log_pass(0, 1);
    c = talker();
    snprintf(said, sizeof said, "{\"op\":\"sub\",\"sub\":\"a\",\"from\":\"%s\"}", position);
    live_say(&c, said);
    live_expect(&c, "{\"op\":\"ok\",\"sub\":\"a\"}");
    live_expect(&c, "{\"op\":\"state\",\"sub\":\"a\",\"resume\":\"exact\"}");
    text = live_next(&c, &opcode);
    assert_non_null(strstr(text, "\"id\":\"0/5\""));
    free(text);
    client_close(&c);
}

/* A subscription of aqueduct.v1 begins at any point, too, and each frame of it says the position after it. */
TEST(named_subscriptions_begin_anywhere)
{
    int opcode;
    log_open();
    live_open("");
    log_pass(0, 3);
    struct client c = talker();
    live_say(&c, "{\"op\":\"sub\",\"sub\":\"x\",\"from\":\"no position\"}");
    char *text = live_next(&c, &opcode);
    assert_non_null(strstr(text, "{\"op\":\"err\",\"code\":44"));
    free(text);
    live_say(&c, "{\"op\":\"sub\",\"id\":1,\"sub\":\"a\",\"from\":\"earliest\"}");
    live_expect(&c, "{\"op\":\"ok\",\"id\":1,\"sub\":\"a\"}");
    live_expect(&c, "{\"op\":\"state\",\"sub\":\"a\",\"resume\":\"new\"}");
    char position[1024] = "";
    for (int i = 0; i < 3; i++) {
        char id[32];
        text = live_next(&c, &opcode);
        snprintf(id, sizeof id, "\"id\":\"0/%d\"", i);
        assert_true(strstr(text, "{\"op\":\"ev\",\"sub\":\"a\",\"pos\":\"") == text && strstr(text, id));
        if (i == 1)
            snprintf(position, sizeof position, "%.*s", (int)strcspn(text + 28, "\""), text + 28);
        free(text);
    }
    expect_place(&c, "live", "a", NULL);
    char said[2048];
    snprintf(said, sizeof said, "{\"op\":\"sub\",\"sub\":\"b\",\"from\":\"%s\"}", position);
    live_say(&c, said);
    live_expect(&c, "{\"op\":\"ok\",\"sub\":\"b\"}");
    live_expect(&c, "{\"op\":\"state\",\"sub\":\"b\",\"resume\":\"exact\"}");
    text = live_next(&c, &opcode);
    assert_true(strstr(text, "\"sub\":\"b\"") && strstr(text, "\"id\":\"0/2\""));
    free(text);
    expect_place(&c, "live", "b", NULL);
    log_pass(0, 1);
    for (int i = 0; i < 2; i++) {
        text = live_next(&c, &opcode);
        assert_non_null(strstr(text, "\"id\":\"0/3\""));
        free(text);
    }
    client_close(&c);
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
    const struct CMUnitTest tests[] = {
        LOGGED(begins_where_it_wants),
        LOGGED(begins_at_a_time),
        LOGGED(garbage_is_refused),
        LOGGED(event_streams_begin_with_their_position),
        LOGGED(event_streams_resume),
        LOGGED(websockets_resume),
        LOGGED(slow_logs_are_waited_for),
        LOGGED(what_is_gone_is_counted),
        LOGGED(a_topic_made_anew),
        LOGGED(a_topic_made_anew_while_they_listen),
        LOGGED(a_stopped_reader_catches_up),
        LOGGED(slow_ones_may_want_the_latest),
        LOGGED(slow_ones_may_want_the_newest_of_each_subject),
        LOGGED(slow_ones_may_want_to_be_closed),
        LOGGED(stalled_ones_are_closed),
        LOGGED(many_share_what_is_read),
        LOGGED(many_take_turns),
        LOGGED(only_so_many_catch_up),
        LOGGED(heartbeats_move_the_position),
        LOGGED(wide_topics_get_positions_now_and_then),
        LOGGED(seats_of_one_listener_are_behind_apart),
        LOGGED(named_subscriptions_begin_anywhere),
        LOGGED(a_second_return_to_the_same_place),
        LOGGED(subscriptions_move_without_events),
        LOGGED(leave_says_where_all_subscriptions_stand),
        LOGGED(farewell_by_appointment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
