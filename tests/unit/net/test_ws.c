/* SPDX-License-Identifier: MIT */
/* WebSocket frames: a table of inputs and the events they give, whole, in two pieces and byte by byte. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/net/ws.h"
#include "tests/support/test.h"

enum { MAX_MESSAGE = 1000 };

/* One client frame; more than 125 bytes of payload get the shortest longer head, unless length_bytes says otherwise. */
struct frame {
    int first; /* FIN, reserved bits, opcode */
    const char *payload;
    size_t n; /* 0: strlen(payload) */
    bool unmasked;
    int length_bytes; /* 2 or 8: written so even if shorter would do */
    int64_t claims;   /* > 0: this length in the head, no payload */
};

struct ws_case {
    const char *name;
    struct frame frames[6];
    const char *events; /* "text:hello|ping:x|close 1000:bye|error 1002" */
};

#define FIN  0x80
#define A50  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A125 A50 A50 "aaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct ws_case cases[] = {
    { "text", { { .first = FIN | WS_TEXT, .payload = "hello" } }, "text:hello" },
    { "empty text", { { .first = FIN | WS_TEXT, .payload = "" } }, "text:" },
    { "binary", { { .first = FIN | WS_BINARY, .payload = "a\xff" } }, "binary:a\xff" },
    { "two messages",
      { { .first = FIN | WS_TEXT, .payload = "a" }, { .first = FIN | WS_BINARY, .payload = "b" } },
      "text:a|binary:b" },
    { "126 bytes", { { .first = FIN | WS_TEXT, .payload = A125 "b" } }, "text:" A125 "b" },
    { "fragments",
      { { .first = WS_TEXT, .payload = "a" },
        { .first = WS_CONTINUATION, .payload = "" },
        { .first = WS_CONTINUATION, .payload = "bc" },
        { .first = FIN | WS_CONTINUATION, .payload = "d" } },
      "text:abcd" },
    { "control between fragments",
      { { .first = WS_TEXT, .payload = "a" },
        { .first = FIN | WS_PING, .payload = "p" },
        { .first = WS_CONTINUATION, .payload = "b" },
        { .first = FIN | WS_PONG, .payload = "q" },
        { .first = FIN | WS_CONTINUATION, .payload = "c" } },
      "ping:p|pong:q|text:abc" },
    { "ping of 125", { { .first = FIN | WS_PING, .payload = A125 } }, "ping:" A125 },
    { "ping of 126", { { .first = FIN | WS_PING, .payload = A125 "a" } }, "error 1002" },
    { "fragmented ping", { { .first = WS_PING, .payload = "a" } }, "error 1002" },
    { "not masked", { { .first = FIN | WS_TEXT, .payload = "a", .unmasked = true } }, "error 1002" },
    { "RSV1", { { .first = FIN | 0x40 | WS_TEXT, .payload = "a" } }, "error 1002" },
    { "RSV2", { { .first = FIN | 0x20 | WS_TEXT, .payload = "a" } }, "error 1002" },
    { "RSV3", { { .first = FIN | 0x10 | WS_PING, .payload = "a" } }, "error 1002" },
    { "opcode 3", { { .first = FIN | 3, .payload = "a" } }, "error 1002" },
    { "opcode 7", { { .first = FIN | 7, .payload = "a" } }, "error 1002" },
    { "opcode 11", { { .first = FIN | 11, .payload = "a" } }, "error 1002" },
    { "opcode 15", { { .first = FIN | 15, .payload = "a" } }, "error 1002" },
    { "continuation of nothing", { { .first = FIN | WS_CONTINUATION, .payload = "a" } }, "error 1002" },
    { "continuation after the end",
      { { .first = FIN | WS_TEXT, .payload = "a" }, { .first = WS_CONTINUATION, .payload = "a" } },
      "text:a|error 1002" },
    { "new message inside another",
      { { .first = WS_TEXT, .payload = "a" }, { .first = FIN | WS_TEXT, .payload = "b" } },
      "error 1002" },
    { "new binary inside text",
      { { .first = WS_TEXT, .payload = "a" }, { .first = WS_BINARY, .payload = "b" } },
      "error 1002" },
    { "5 bytes with a 16-bit length",
      { { .first = FIN | WS_TEXT, .payload = "hello", .length_bytes = 2 } },
      "error 1002" },
    { "5 bytes with a 64-bit length",
      { { .first = FIN | WS_TEXT, .payload = "hello", .length_bytes = 8 } },
      "error 1002" },
    { "a length with the top bit", { { .first = FIN | WS_BINARY, .payload = "", .claims = INT64_MIN } }, "error 1002" },
    { "too big at once", { { .first = FIN | WS_BINARY, .payload = "", .claims = MAX_MESSAGE + 1 } }, "error 1009" },
    { "much too big", { { .first = FIN | WS_BINARY, .payload = "", .claims = INT64_MAX } }, "error 1009" },
    { "too big together",
      { { .first = WS_BINARY, .payload = "a" },
        { .first = FIN | WS_CONTINUATION, .payload = "", .claims = MAX_MESSAGE } },
      "error 1009" },
    { "as big as allowed",
      { { .first = WS_BINARY, .payload = "a" },
        { .first = WS_CONTINUATION, .payload = "", .claims = MAX_MESSAGE - 1 } },
      "" },

    { "UTF-8",
      { { .first = FIN | WS_TEXT, .payload = "\xce\xba\xe2\x82\xac\xf0\x9f\x98\x80" } },
      "text:\xce\xba\xe2\x82\xac\xf0\x9f\x98\x80" },
    { "UTF-8 cut between fragments",
      { { .first = WS_TEXT, .payload = "12345678\xf0\x9f" },
        { .first = FIN | WS_PING, .payload = "" },
        { .first = FIN | WS_CONTINUATION,
          .payload = "\x98\x80"
                     "9" } },
      "ping:|text:12345678\xf0\x9f\x98\x80"
      "9" },
    { "noncharacters are fine",
      { { .first = FIN | WS_TEXT, .payload = "\xef\xbf\xbe\xf4\x8f\xbf\xbf" } },
      "text:\xef\xbf\xbe\xf4\x8f\xbf\xbf" },
    { "NUL in text", { { .first = FIN | WS_TEXT, .payload = "\0", .n = 1 } }, "text:\0" },
    { "lone continuation byte", { { .first = FIN | WS_TEXT, .payload = "a\x80" } }, "error 1007" },
    { "overlong", { { .first = FIN | WS_TEXT, .payload = "\xc0\xaf" } }, "error 1007" },
    { "overlong in three", { { .first = FIN | WS_TEXT, .payload = "\xe0\x80\xaf" } }, "error 1007" },
    { "overlong in four", { { .first = FIN | WS_TEXT, .payload = "\xf0\x80\x80\xaf" } }, "error 1007" },
    { "surrogate", { { .first = FIN | WS_TEXT, .payload = "\xed\xa0\x80" } }, "error 1007" },
    { "above U+10FFFF", { { .first = FIN | WS_TEXT, .payload = "\xf4\x90\x80\x80" } }, "error 1007" },
    { "0xff", { { .first = FIN | WS_TEXT, .payload = "12345678\xff" } }, "error 1007" },
    { "cut off", { { .first = FIN | WS_TEXT, .payload = "\xe2\x82" } }, "error 1007" },
    { "bad before the end: at once", { { .first = WS_TEXT, .payload = "\xff" } }, "error 1007" },
    { "the next message starts afresh",
      { { .first = FIN | WS_BINARY, .payload = "\xe2" }, { .first = FIN | WS_TEXT, .payload = "a" } },
      "binary:\xe2|text:a" },

    { "close",
      { { .first = FIN | WS_CLOSE,
          .payload = "\x03\xe8"
                     "bye" } },
      "close 1000:bye" },
    { "close without code", { { .first = FIN | WS_CLOSE, .payload = "" } }, "close 1005:" },
    { "close between fragments",
      { { .first = WS_TEXT, .payload = "a" }, { .first = FIN | WS_CLOSE, .payload = "\x03\xe8" } },
      "close 1000:" },
    { "close with one byte", { { .first = FIN | WS_CLOSE, .payload = "\x03" } }, "error 1002" },
    { "close with bad UTF-8", { { .first = FIN | WS_CLOSE, .payload = "\x03\xe8\xff" } }, "error 1007" },
    { "close of 125",
      { { .first = FIN | WS_CLOSE, .payload = "\x03\xe8" A50 A50 "aaaaaaaaaaaaaaaaaaaaaaa" } },
      "close 1000:" A50 A50 "aaaaaaaaaaaaaaaaaaaaaaa" },
};

static void add_frame(struct buf *b, const struct frame *f)
{
    static const unsigned char mask[4] = { 0x37, 0xfa, 0x21, 0x3d };
    size_t n = f->n ? f->n : strlen(f->payload);
    uint64_t length = f->claims ? (uint64_t)f->claims : n;
    size_t extra = f->length_bytes ? (size_t)f->length_bytes : length > UINT16_MAX ? 8 : length > 125 ? 2 : 0;
    buf_add_char(b, (char)f->first);
    buf_add_char(b, (char)((f->unmasked ? 0 : 0x80) | (extra == 8 ? 127 : extra == 2 ? 126 : (int)length)));
    for (size_t i = 0; i < extra; i++)
        buf_add_char(b, (char)(length >> 8 * (extra - 1 - i)));
    if (!f->unmasked)
        buf_add(b, mask, 4);
    for (size_t i = 0; i < n; i++)
        buf_add_char(b, (char)(f->payload[i] ^ (f->unmasked ? 0 : mask[i % 4])));
}

static void add_event(struct buf *out, const struct ws_event *ev)
{
    static const char *const names[] = {
        [WS_TEXT] = "text", [WS_BINARY] = "binary", [WS_PING] = "ping", [WS_PONG] = "pong"
    };
    if (out->n)
        buf_add_char(out, '|');
    if (ev->opcode == WS_CLOSE)
        buf_printf(out, "close %d:", ev->close_code);
    else
        buf_printf(out, "%s:", names[ev->opcode]);
    buf_add_str(out, ev->payload);
}

/* Feeds a piece; false after an error. */
static bool feed(struct ws_parser *p, struct str piece, struct buf *out)
{
    char *exact = malloc(piece.n ? piece.n : 1);
    memcpy(exact, piece.at, piece.n);
    struct str in = { exact, piece.n };
    struct ws_event ev;
    int code = 0, n;
    while ((n = ws_parse(p, &in, &ev, &code)) > 0)
        add_event(out, &ev);
    if (n < 0)
        buf_printf(out, "%serror %d", out->n ? "|" : "", code);
    else
        assert_int_equal(in.n, 0);
    free(exact);
    return n == 0;
}

static void expect_events(const struct ws_case *t, struct str in, size_t split, bool bytewise)
{
    struct ws_parser *p = ws_parser_new(MAX_MESSAGE);
    struct buf out = buf_new(1 << 16);
    for (size_t from = 0, to; from < in.n; from = to) {
        to = bytewise ? from + 1 : from < split ? split : in.n;
        if (!feed(p, (struct str){ in.at + from, to - from }, &out))
            break;
    }
    if (strcmp(buf_c(&out), t->events) != 0)
        fail_msg("%s, cut at %zu: \"%s\" instead of \"%s\"", t->name, split, buf_c(&out), t->events);
    buf_free(&out);
    ws_parser_free(p);
}

TEST(frames_give_events)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf in = buf_new(1 << 16);
        for (size_t k = 0; k < 6 && cases[i].frames[k].payload; k++)
            add_frame(&in, &cases[i].frames[k]);
        for (size_t split = 0; split <= in.n; split++)
            expect_events(&cases[i], buf_str(&in), split, false);
        expect_events(&cases[i], buf_str(&in), 0, true);
        buf_free(&in);
    }
}

TEST(close_codes_are_checked)
{
    for (int code = 0; code <= 5100; code++) {
        bool good = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code < 5000);
        char payload[2] = { (char)(code >> 8), (char)code };
        struct buf in = buf_new(100), out = buf_new(100), expected = buf_new(100);
        add_frame(&in, &(struct frame){ .first = FIN | WS_CLOSE, .payload = payload, .n = 2 });
        buf_printf(&expected, good ? "close %d:" : "error 1002", code);
        struct ws_parser *p = ws_parser_new(MAX_MESSAGE);
        feed(p, buf_str(&in), &out);
        assert_string_equal(buf_c(&out), buf_c(&expected));
        ws_parser_free(p);
        buf_free(&in);
        buf_free(&out);
        buf_free(&expected);
    }
}

/* The 64-bit length and the word-wise unmasking, at every alignment of the first piece. */
TEST(large_messages_come_whole)
{
    enum { N = 70001 };
    char *payload = malloc(N + 1);
    for (size_t i = 0; i < N; i++)
        payload[i] = (char)('a' + i % 23);
    payload[N] = 0;
    struct buf in = buf_new(1 << 20);
    add_frame(&in, &(struct frame){ .first = FIN | WS_TEXT, .payload = payload });
    for (size_t split = 1; split < 40; split++) {
        struct ws_parser *p = ws_parser_new(N);
        struct str first = { in.at, split }, rest = { in.at + split, in.n - split };
        struct ws_event ev;
        int code;
        assert_int_equal(ws_parse(p, &first, &ev, &code), 0);
        assert_int_equal(ws_parse(p, &rest, &ev, &code), 1);
        assert_int_equal(ev.payload.n, N);
        assert_memory_equal(ev.payload.at, payload, N);
        ws_parser_free(p);
    }
    buf_free(&in);
    free(payload);
}

TEST(heads_are_as_short_as_can_be)
{
    unsigned char head[WS_HEAD];
    assert_int_equal(ws_head(head, WS_TEXT, 0), 2);
    assert_memory_equal(head, "\x81\x00", 2);
    assert_int_equal(ws_head(head, WS_BINARY, 125), 2);
    assert_memory_equal(head, "\x82\x7d", 2);
    assert_int_equal(ws_head(head, WS_TEXT, 126), 4);
    assert_memory_equal(head, "\x81\x7e\x00\x7e", 4);
    assert_int_equal(ws_head(head, WS_TEXT, 65535), 4);
    assert_memory_equal(head, "\x81\x7e\xff\xff", 4);
    assert_int_equal(ws_head(head, WS_CLOSE, 65536), 10);
    assert_memory_equal(head, "\x88\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10);
}

/* RFC 6455 section 1.3. */
TEST(accept_key)
{
    char accept[29];
    ws_accept(STR("dGhlIHNhbXBsZSBub25jZQ=="), accept);
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

/* Frames with heads of each length, cut in pieces of any size: the boundaries are where the frames end. */
TEST(the_walk_knows_the_boundaries)
{
    static const size_t payloads[] = { 0, 125, 126, 70000, 1 };
    enum { COUNT = sizeof payloads / sizeof *payloads };
    static char bytes[COUNT * WS_HEAD + 71000];
    size_t ends[COUNT], n = 0;
    for (size_t i = 0; i < COUNT; i++) {
        n += ws_head((unsigned char *)bytes + n, WS_BINARY, payloads[i]) + payloads[i];
        ends[i] = n;
    }
    for (size_t piece = 1; piece < 80000; piece = piece * 3 + 1) {
        struct ws_walk w = { 0 };
        size_t at = 0;
        assert_true(ws_at_boundary(&w));
        for (size_t i = 0; i < COUNT; i++) {
            while (at < ends[i]) {
                size_t end = at + piece < n ? at + piece : n;
                at += ws_walk(&w, bytes + at, end - at, true);
                assert_int_equal(ws_at_boundary(&w), at == ends[i]);
            }
            assert_int_equal(at, ends[i]);
        }
    }
    struct ws_walk w = { 0 };
    assert_int_equal(ws_walk(&w, bytes, n, false), n);
    assert_true(ws_at_boundary(&w));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_give_events),
        cmocka_unit_test(close_codes_are_checked),
        cmocka_unit_test(large_messages_come_whole),
        cmocka_unit_test(heads_are_as_short_as_can_be),
        cmocka_unit_test(accept_key),
        cmocka_unit_test(the_walk_knows_the_boundaries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
