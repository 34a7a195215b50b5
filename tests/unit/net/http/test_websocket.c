/* SPDX-License-Identifier: MIT */
/* Connections that were taken over: WebSocket, and answers without end. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include "bridge/net/http/private.h"
#include "bridge/net/sends.h"
#include "bridge/net/ws.h"
#include "tests/support/dialogue.h"

#define HANDSHAKE                                                                                                      \
    "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"                         \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

static struct client websocket(void)
{
    user.upgrade = true;
    struct client c = client_new();
    SAY(&c, HANDSHAKE "\r\n");
    expect(&c, "\r\n\r\n");
    assert_true(said(&c, "101 Switching Protocols\r\n")
                && said(&c, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_non_null(user.stream);
    assert_true(http_stream_is_websocket(user.stream));
    forget(&c);
    return c;
}

/* A masked frame of at most 125 bytes; the mask is zero, so the bytes stay readable. */
static void say_frame(struct client *c, int first, struct str payload)
{
    char frame[6 + 125] = { (char)first, (char)(0x80 | payload.n) };
    memcpy(frame + 6, payload.at, payload.n);
    say(c, (struct str){ frame, 6 + payload.n });
}

TEST(messages_come_and_go)
{
    START();
    struct client c = websocket();
    say_frame(&c, 0x81, STR("hello"));
    say_frame(&c, 0x02, STR("a"));
    say_frame(&c, 0x89, STR("ping"));
    say_frame(&c, 0x80, STR("b"));
    expect(&c, "\x8a\x04ping");
    assert_string_equal(buf_c(&user.messages), "text:hello|binary:ab|");
    assert_int_equal(http_stream_write(user.stream, "\x81\x02hi", 4, true), 4);
    expect(&c, "\x81\x02hi");
    say_frame(&c, 0x88,
              STR("\x03\xe8"
                  "bye"));
    expect_end(&c);
    assert_true(said(&c, "\x88\x02\x03\xe8"));
    UNTIL(&c, user.closed == 1);
    client_close(&c);
}

TEST(frames_behind_the_handshake_are_not_lost)
{
    START();
    user.upgrade = true;
    struct client c = client_new();
    say(&c, STR(HANDSHAKE "\r\n\x81\x82\0\0\0\0ab"));
    UNTIL(&c, user.messages.n);
    assert_string_equal(buf_c(&user.messages), "text:ab|");
    client_close(&c);
    UNTIL(&nobody, user.closed == 1);
}

/* A listener that offers permessage-deflate; the server's user takes it. */
static struct client deflating(const char *offer, const char *answer)
{
    user.upgrade = user.deflate = true;
    struct client c = client_new();
    struct buf request = buf_new(1 << 16);
    buf_printf(&request, HANDSHAKE "Sec-WebSocket-Extensions: %s\r\n\r\n", offer);
    say(&c, buf_str(&request));
    buf_free(&request);
    expect(&c, "\r\n\r\n");
    if (!said(&c, answer))
        fail_msg("%s: %s", offer, buf_c(&c.in));
    forget(&c);
    return c;
}

#define NO_CONTEXTS "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
#define HELLO       "\xf2\x48\xcd\xc9\xc9\x07\x00" /* RFC 7692 7.2.3.1 */

TEST(deflated_messages)
{
    START();
    struct client c = deflating("x, permessage-deflate; client_max_window_bits",
                                "Sec-WebSocket-Extensions: " NO_CONTEXTS "\r\n\r\n");
    say_frame(&c, 0xc1, (struct str){ HELLO, 7 });
    say_frame(&c, 0x81, STR("plain"));
    say_frame(&c, 0x42, (struct str){ HELLO, 3 });
    say_frame(&c, 0x80, str_from((struct str){ HELLO, 7 }, 3));
    UNTIL(&c, user.messages.n == strlen("text:Hello|text:plain|binary:Hello|"));
    assert_string_equal(buf_c(&user.messages), "text:Hello|text:plain|binary:Hello|");
    say_frame(&c, 0xc1, STR("Hello"));
    expect(&c, "\x88\x02\x03\xef"); /* 1007 */
    client_close(&c);
    UNTIL(&nobody, user.closed == 1);
    c = deflating("permessage-deflate; server_max_window_bits=12", NO_CONTEXTS "; server_max_window_bits=9\r\n\r\n");
    client_close(&c);
    UNTIL(&nobody, user.closed == 2);
}

TEST(deflated_messages_are_refused_without_agreement)
{
    START();
    struct client c = deflating("permessage-deflate; unknown",
                                "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    say_frame(&c, 0xc1, (struct str){ HELLO, 7 });
    expect(&c, "\x88\x02\x03\xea"); /* 1002 */
    client_close(&c);
    UNTIL(&nobody, user.closed == 1);
    user.deflate = false; /* the user does not want it */
    c = client_new();
    SAY(&c, HANDSHAKE "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    expect(&c, "\r\n\r\n");
    assert_false(said(&c, "Extensions"));
    client_close(&c);
    UNTIL(&nobody, user.closed == 2);
}

/* Messages that come in pieces, of connections that have one parser between them when they are quiet. */
TEST(messages_of_many_at_once)
{
    enum { COUNT = 3, LENGTH = 13, PIECE = 4 };
    START();
    user.many = true;
    struct client all[COUNT];
    for (int i = 0; i < COUNT; i++)
        all[i] = deflating("permessage-deflate", NO_CONTEXTS);
    for (int round = 0; round < 2; round++) {
        for (size_t at = 0; at < LENGTH; at += PIECE)
            for (int i = 0; i < COUNT; i++) {
                char frame[LENGTH] = { (char)0xc1, (char)0x87 };
                memcpy(frame + 6, HELLO, 7);
                say(&all[i], (struct str){ frame + at, at + PIECE < LENGTH ? PIECE : LENGTH - at });
            }
        UNTIL(&nobody, user.messages.n == COUNT * strlen("text:Hello|"));
        assert_string_equal(buf_c(&user.messages), "text:Hello|text:Hello|text:Hello|");
        buf_reset(&user.messages);
    }
    for (int i = 0; i < COUNT; i++)
        client_close(&all[i]);
    UNTIL(&nobody, user.closed == COUNT);
}

/* Fewer bytes of memory than that for each that is quiet; 28 more in tables that grow by half now and then, which the least of
 * several batches leaves out. (Where a sanitizer counts memory, it tells nothing.) */
TEST(a_quiet_websocket_is_small)
{
    enum { BATCH = 8, BATCHES = 5, MOST = 260 };
    static struct client all[BATCH * BATCHES];
    size_t least = SIZE_MAX;
    START(.max_connections = BATCH * BATCHES, .ping = { 30000 });
    user.many = true;
    for (int b = 0; b < BATCHES; b++) {
        size_t before = mallinfo2().uordblks;
        for (int i = b * BATCH; i < (b + 1) * BATCH; i++) {
            all[i] = deflating("permessage-deflate", NO_CONTEXTS);
            say_frame(&all[i], 0xc1, (struct str){ HELLO, 7 });
            buf_free(&all[i].in);
        }
        buf_free(&user.messages);
        buf_free(&user.paths);
        size_t each = (mallinfo2().uordblks - before) / BATCH;
        least = each < least ? each : least;
    }
    assert_in_range(least, 0, MOST);
    for (int i = 0; i < BATCH * BATCHES; i++)
        client_close(&all[i]);
}

TEST(bad_handshakes)
{
    static const struct {
        const char *text, *status;
    } cases[] = {
        { GET("/ws"), "426 Upgrade Required" },
        { GET("/ws"), "Upgrade: websocket\r\nConnection: Upgrade\r\n" }, /* RFC 9110 7.8: never without the other */
        { "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
          "Sec-WebSocket-Version: 13" },
        { "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
          "426 Upgrade Required" },
        { "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
          "426 Upgrade Required" },
        { "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n",
          "400 Bad Request" },
        { "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: short\r\n\r\n",
          "400 Bad Request" },
        { "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j????\r\n\r\n",
          "400 Bad Request" },
        { "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
          "400 Bad Request" },
        { "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
          "400 Bad Request" },
        { HANDSHAKE "Sec-WebSocket-Extensions: permessage-deflate;\r\n\r\n", "400 Bad Request" },
        { "GET / HTTP/1.0\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
          "400 Bad Request" },
    };
    START();
    user.upgrade = true;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c = client_new();
        say(&c, str_of(cases[i].text));
        expect_end(&c);
        if (!said(&c, cases[i].status) || user.stream)
            fail_msg("case %zu: %s", i, buf_c(&c.in));
        client_close(&c);
    }
    assert_int_equal(user.closed, 0);
}

TEST(protocol_errors_close_with_their_code)
{
    START(.max_message = { 100 });
    static const struct {
        int first;
        const char *payload;
        const char *close;
    } cases[] = {
        { 0xc1, "rsv", "\x88\x02\x03\xea" },
        { 0x83, "opcode", "\x88\x02\x03\xea" },
        { 0x81, "\xff", "\x88\x02\x03\xef" },
        { 0x82, "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789+",
          "\x88\x02\x03\xf1" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c = websocket();
        say_frame(&c, cases[i].first, str_of(cases[i].payload));
        expect_end(&c);
        assert_true(said(&c, cases[i].close));
        client_close(&c);
        UNTIL(&nobody, user.closed == (int)i + 1);
    }
    assert_int_equal(user.messages.n, 0);
}

TEST(we_close)
{
    START();
    struct client c = websocket();
    http_stream_close(user.stream, 1012, "restart");
    assert_int_equal(http_stream_write(user.stream, "\x81\x00", 2, true), -1);
    expect(&c, "\x88\x09\x03\xf4restart");
    assert_false(c.ended); /* the client's own close frame is waited for */
    say_frame(&c, 0x81, STR("late"));
    say_frame(&c, 0x88, STR("\x03\xf4"));
    expect_end(&c);
    UNTIL(&c, user.closed == 1);
    assert_int_equal(user.messages.n, 0);
    client_close(&c);

    c = websocket(); /* but not for ever */
    http_stream_close(user.stream, 1001, NULL);
    expect(&c, "\x88\x02\x03\xe9");
    clock_fake_advance(5001);
    expect_end(&c);
    assert_int_equal(user.closed, 2);
    client_close(&c);
}

TEST(silence_is_met_with_pings)
{
    START(.ping = { 30000 }, .stream_idle = { 90000 });
    struct client c = websocket();
    clock_fake_advance(30001);
    expect(&c, "\x89\x00");
    say_frame(&c, 0x8a, STR(""));
    forget(&c);
    clock_fake_advance(60000);
    expect(&c, "\x89\x00");
    clock_fake_advance(59000);
    rounds(3);
    assert_int_equal(user.closed, 0);
    clock_fake_advance(1001);
    expect(&c, "\x03\xe9");
    client_close(&c);
}

/* Fills the kernel's buffers with one endless frame; returns how much went. */
static size_t stuff(struct http_stream *st, const char *frame, size_t n)
{
    size_t done = 0;
    long k;
    while (done < n && (k = http_stream_write(st, frame + done, n - done, true)) > 0)
        done += (size_t)k;
    return done;
}

/* The same, when writable() said that there is room again. */
static size_t stuff_again(struct http_stream *st, const char *frame, size_t n)
{
    if (!user.writable || !st)
        return 0;
    user.writable = 0;
    return stuff(st, frame, n);
}

TEST(control_frames_wait_for_a_boundary)
{
    START();
    enum { N = 64 << 20 };
    struct client c = websocket();
    c.in.max = 2 * (size_t)N;
    char *frames = malloc(WS_HEAD + N + 4);
    size_t head = ws_head((unsigned char *)frames, WS_BINARY, N), total = head + N + 4;
    memset(frames + head, 'x', N);
    memcpy(frames + head + N, "\x81\x02hi", 4);
    size_t done = stuff(user.stream, frames, total);
    assert_true(done > head && done < total);
    say_frame(&c, 0x89, STR("ping"));
    UNTIL(&c, (done += stuff_again(user.stream, frames + done, total - done)) == total && c.in.n == total + 6);
    /* The pong is between the two frames though both were given in one piece. */
    assert_memory_equal(c.in.at + head + N, "\x8a\x04ping\x81\x02hi", 10);
    free(frames);
    client_close(&c);
}

/* Pongs are not kept without limit for a client that reads none of them. */
TEST(a_flood_of_pings)
{
    START();
    struct client c = websocket();
    char ping[6 + 125] = { (char)0x89, (char)(0x80 | 125) };
    size_t pings = 0;
    for (int full = 0; full < 200 && pings < 400000;) {
        ssize_t n = send(c.fd, ping, sizeof ping, MSG_NOSIGNAL);
        full += n < 0;
        pings += n > 0;
        if (n > 0 && (size_t)n < sizeof ping)
            say(&c, (struct str){ ping + n, sizeof ping - (size_t)n });
        if (pings % 100 == 0 || n < 0)
            rounds(1);
    }
    assert_int_equal(pings, 400000); /* all were read, so that nothing stands still */
    rounds(20);
    buf_reset(&c.in);
    say_frame(&c, 0x88, STR("\x03\xe8"));
    UNTIL(&c, c.ended);
    size_t pongs = times(&c, "\x8a\x7d");
    assert_true(pongs > 1000 && pongs < pings);
    assert_memory_equal(c.in.at + c.in.n - 4, "\x88\x02\x03\xe8", 4);
    client_close(&c);
}

TEST(closing_in_the_middle_of_a_frame)
{
    START();
    enum { N = 64 << 20 };
    struct client c = websocket();
    c.in.max = 2 * (size_t)N;
    char *frames = malloc(WS_HEAD + N);
    size_t head = ws_head((unsigned char *)frames, WS_BINARY, N), total = head + N;
    memset(frames + head, 'x', N);
    size_t done = stuff(user.stream, frames, total);
    assert_true(done < total);
    http_stream_close(user.stream, 1013, "slow");
    /* The frame may still be ended, so that the close frame gets its place. */
    UNTIL(&c, (done += stuff_again(user.stream, frames + done, total - done)) == total && c.in.n == total + 8);
    assert_memory_equal(c.in.at + total, "\x88\x06\x03\xf5slow", 8);
    assert_int_equal(http_stream_write(user.stream, "\x81\x00", 2, true), -1);
    free(frames);
    client_close(&c);
}

TEST(an_endless_answer)
{
    START();
    user.endless = true;
    struct client c = client_new();
    SAY(&c, GET("/events"));
    expect(&c, "\r\n\r\n");
    assert_true(said(&c, "200 OK") && said(&c, "text/event-stream") && said(&c, "Connection: close"));
    assert_false(said(&c, "Content-Length"));
    assert_false(http_stream_is_websocket(user.stream));
    clock_fake_advance(3600 * 1000);
    rounds(3);
    assert_int_equal(http_stream_write(user.stream, "data: 1\n\n", 9, true), 9);
    expect(&c, "data: 1\n\n");
    http_stream_close(user.stream, 0, NULL);
    expect_end(&c);
    UNTIL(&c, user.closed == 1);
    client_close(&c);

    c = client_new();
    SAY(&c, GET("/events"));
    expect(&c, "\r\n\r\n");
    client_close(&c);
    UNTIL(&nobody, user.closed == 2);
}

/* Twenty listeners, of which one has reset its connection and one takes no more; each other gets every frame. */
static void write_to_many(void)
{
    enum { COUNT = 20, GONE = 3, FULL = 5, ROUNDS = 3, N = 64 << 20 };
    struct client all[COUNT];
    struct http_stream *streams[COUNT];
    START(.max_connections = COUNT);
    user.many = true;
    for (int i = 0; i < COUNT; i++) {
        all[i] = websocket();
        streams[i] = user.stream;
    }
    char *endless = calloc(1, N);
    ws_head((unsigned char *)endless, WS_BINARY, N - WS_HEAD);
    assert_true(stuff(streams[FULL], endless, N) < N);
    setsockopt(all[GONE].fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
    client_close(&all[GONE]);
    for (int round = 0; round < ROUNDS; round++) {
        char frame[4] = { (char)0x81, 2, 'a', (char)('0' + round) };
        struct http_write writes[COUNT];
        for (int i = 0; i < COUNT; i++)
            writes[i] = (struct http_write){ streams[i], { frame, sizeof frame }, 99 };
        http_stream_write_all(writes, COUNT);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(writes[i].taken, i == GONE ? -1 : i == FULL ? 0 : 4);
    }
    for (int i = 0; i < COUNT; i++) {
        if (i == GONE)
            continue;
        if (i != FULL) {
            UNTIL(&all[i], all[i].in.n == ROUNDS * 4);
            assert_memory_equal(all[i].in.at,
                                "\x81\x02"
                                "a0"
                                "\x81\x02"
                                "a1"
                                "\x81\x02"
                                "a2",
                                ROUNDS * 4);
        }
        client_close(&all[i]);
    }
    UNTIL(&nobody, user.closed == COUNT);
    free(endless);
}

TEST(frames_for_many_go_out_together)
{
    write_to_many();
    struct sends *there = sends_new(); /* else the kernel has none, and this is the next test */
    assert_true((there != NULL) == (server->sends != NULL));
    sends_free(there);
}

/* As in a container that forbids io_uring; the last test, since there is no way back. */
TEST(frames_for_many_go_out_one_by_one_where_the_kernel_does_not_allow_more)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &(struct sock_fprog){ 4, rules }), 0);
    assert_null(sends_new());
    write_to_many();
    assert_null(server->sends);
}

TEST(freeing_closes_streams)
{
    START();
    struct client c = websocket();
    http_server_free(server);
    server = NULL;
    assert_int_equal(user.closed, 1);
    client_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DIALOGUE(messages_come_and_go),
        DIALOGUE(frames_behind_the_handshake_are_not_lost),
        DIALOGUE(deflated_messages),
        DIALOGUE(deflated_messages_are_refused_without_agreement),
        DIALOGUE(messages_of_many_at_once),
        DIALOGUE(a_quiet_websocket_is_small),
        DIALOGUE(bad_handshakes),
        DIALOGUE(protocol_errors_close_with_their_code),
        DIALOGUE(we_close),
        DIALOGUE(silence_is_met_with_pings),
        DIALOGUE(control_frames_wait_for_a_boundary),
        DIALOGUE(a_flood_of_pings),
        DIALOGUE(closing_in_the_middle_of_a_frame),
        DIALOGUE(an_endless_answer),
        DIALOGUE(freeing_closes_streams),
        DIALOGUE(frames_for_many_go_out_together),
        DIALOGUE(frames_for_many_go_out_one_by_one_where_the_kernel_does_not_allow_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
