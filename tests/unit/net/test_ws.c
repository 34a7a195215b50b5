/* SPDX-License-Identifier: MIT */
/* WebSocket frames: a table of inputs and the events they give, whole, in two pieces and byte by byte. */
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>
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

#define FIN     0x80
#define RSV1    0x40
#define N(text) .payload = (text), .n = sizeof(text) - 1 /* with NULs */
#define A50     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A125    A50 A50 "aaaaaaaaaaaaaaaaaaaaaaaaa"

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

static const struct ws_case deflated_cases[] = {
    /* The examples of RFC 7692 7.2.3. */
    { "deflated", { { .first = FIN | RSV1 | WS_TEXT, N("\xf2\x48\xcd\xc9\xc9\x07\x00") } }, "text:Hello" },
    { "deflated in fragments",
      { { .first = RSV1 | WS_TEXT, N("\xf2\x48\xcd") },
        { .first = FIN | WS_PING, .payload = "p" },
        { .first = FIN | WS_CONTINUATION, N("\xc9\xc9\x07\x00") } },
      "ping:p|text:Hello" },
    { "deflated without compression",
      { { .first = FIN | RSV1 | WS_BINARY, N("\x00\x05\x00\xfa\xffHello\x00") } },
      "binary:Hello" },
    { "a last block", { { .first = FIN | RSV1 | WS_TEXT, N("\xf3\x48\xcd\xc9\xc9\x07\x00\x00") } }, "text:Hello" },
    { "a last block with nothing behind it",
      { { .first = FIN | RSV1 | WS_TEXT, N("\xf3\x48\xcd\xc9\xc9\x07\x00") } },
      "text:Hello" },
    { "two blocks",
      { { .first = FIN | RSV1 | WS_TEXT, N("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00") } },
      "text:Hello" },
    { "deflated and empty", { { .first = FIN | RSV1 | WS_TEXT, N("\x00") } }, "text:" },
    { "deflated or not, one after the other",
      { { .first = FIN | RSV1 | WS_TEXT, N("\xf2\x48\xcd\xc9\xc9\x07\x00") },
        { .first = FIN | WS_TEXT, .payload = "plain" },
        { .first = FIN | RSV1 | WS_BINARY, N("\xf2\x48\xcd\xc9\xc9\x07\x00") } },
      "text:Hello|text:plain|binary:Hello" },
    { "the window is empty each time", /* the second message refers to the first (RFC 7692 7.2.3.2) */
      { { .first = FIN | RSV1 | WS_TEXT, N("\xf2\x48\xcd\xc9\xc9\x07\x00") },
        { .first = FIN | RSV1 | WS_TEXT, N("\xf2\x00\x11\x00\x00") } },
      "text:Hello|error 1007" },
    { "RSV1 in the middle",
      { { .first = RSV1 | WS_TEXT, N("\xf2") }, { .first = FIN | RSV1 | WS_CONTINUATION, N("\x48") } },
      "error 1002" },
    { "a deflated ping", { { .first = FIN | RSV1 | WS_PING, N("\x00") } }, "error 1002" },
    { "RSV1 and RSV2", { { .first = FIN | RSV1 | 0x20 | WS_TEXT, N("\x00") } }, "error 1002" },
    { "not deflated", { { .first = FIN | RSV1 | WS_TEXT, .payload = "Hello" } }, "error 1007" },
    { "deflated, but nothing", { { .first = FIN | RSV1 | WS_TEXT, .payload = "" } }, "error 1007" },
    { "deflated and cut off", { { .first = FIN | RSV1 | WS_TEXT, N("\xf2\x48\xcd\xc9") } }, "error 1007" },
    { "deflated bad UTF-8", { { .first = FIN | RSV1 | WS_TEXT, N("\x00\x01\x00\xfe\xff\xff\x00") } }, "error 1007" },
    { "deflated binary", { { .first = FIN | RSV1 | WS_BINARY, N("\x00\x01\x00\xfe\xff\xff\x00") } }, "binary:\xff" },
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

static void expect_events(const struct ws_case *t, bool deflate, struct str in, size_t split, bool bytewise)
{
    struct ws_parser *p = ws_parser_new(MAX_MESSAGE);
    struct ws_inflater *z = deflate ? ws_inflater_new() : NULL;
    struct buf out = buf_new(1 << 16);
    ws_parser_begin(p, z);
    for (size_t from = 0, to; from < in.n; from = to) {
        to = bytewise ? from + 1 : from < split ? split : in.n;
        if (!feed(p, (struct str){ in.at + from, to - from }, &out))
            break;
    }
    if (strcmp(buf_c(&out), t->events) != 0)
        fail_msg("%s, cut at %zu: \"%s\" instead of \"%s\"", t->name, split, buf_c(&out), t->events);
    buf_free(&out);
    ws_parser_free(p);
    ws_inflater_free(z);
}

static void try_cases(const struct ws_case *all, size_t count, bool deflate)
{
    for (size_t i = 0; i < count; i++) {
        struct buf in = buf_new(1 << 16);
        for (size_t k = 0; k < 6 && all[i].frames[k].payload; k++)
            add_frame(&in, &all[i].frames[k]);
        for (size_t split = 0; split <= in.n; split++)
            expect_events(&all[i], deflate, buf_str(&in), split, false);
        expect_events(&all[i], deflate, buf_str(&in), 0, true);
        buf_free(&in);
    }
}

TEST(frames_give_events)
{
    try_cases(cases, sizeof cases / sizeof *cases, false);
}

TEST(deflated_frames_give_events)
{
    try_cases(deflated_cases, sizeof deflated_cases / sizeof *deflated_cases, true);
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

/* A parser at rest serves whoever comes next, and knows nothing of who was there before. */
TEST(a_parser_goes_from_connection_to_connection)
{
    struct ws_parser *p = ws_parser_new(MAX_MESSAGE);
    struct buf in = buf_new(100), out = buf_new(100);
    assert_true(ws_parser_rest(p));
    add_frame(&in, &(struct frame){ .first = FIN | WS_TEXT, .payload = "a\xe2\x82" }); /* ends in a character */
    for (size_t n = 1; n < in.n; n++) {
        assert_true(feed(p, (struct str){ in.at + n - 1, 1 }, &out));
        assert_false(ws_parser_rest(p));
    }
    assert_false(feed(p, (struct str){ in.at + in.n - 1, 1 }, &out));
    assert_true(ws_parser_rest(p));
    ws_parser_begin(p, NULL);
    buf_reset(&in);
    add_frame(&in, &(struct frame){ .first = WS_TEXT, .payload = "b" });
    add_frame(&in, &(struct frame){ .first = FIN | WS_PING, .payload = "p" });
    assert_true(feed(p, buf_str(&in), &out));
    assert_false(ws_parser_rest(p)); /* a message is open */
    buf_reset(&in);
    add_frame(&in, &(struct frame){ .first = FIN | WS_CONTINUATION, .payload = "c" });
    assert_true(feed(p, buf_str(&in), &out));
    assert_true(ws_parser_rest(p));
    assert_string_equal(buf_c(&out), "error 1007|ping:p|text:bc");
    ws_parser_free(p);
    buf_free(&in);
    buf_free(&out);
}

/* RFC 7692 7.1 and the syntax of RFC 6455 9.1. */
static const struct {
    const char *offers;
    int window; /* -1: malformed */
} offers[] = {
    { "", 0 },
    { "permessage-deflate", 15 },
    { "permessage-deflate; client_max_window_bits", 15 }, /* browsers */
    { "permessage-deflate;client_max_window_bits=10;server_no_context_takeover; client_no_context_takeover", 15 },
    { "permessage-deflate ; server_max_window_bits = 15", 15 },
    { "permessage-deflate; server_max_window_bits=\"15\"", 15 },
    { "permessage-deflate; server_max_window_bits=14", 9 },
    { "permessage-deflate; server_max_window_bits=9", 9 },
    { "permessage-deflate; server_max_window_bits=8", 0 },
    { "permessage-deflate; server_max_window_bits=8, permessage-deflate", 15 },
    { "permessage-deflate; server_max_window_bits=10, permessage-deflate", 9 },
    { "x-webkit-deflate-frame, permessage-deflate", 15 },
    { "x; y=1; z=\"a\", , permessage-deflate,", 15 },
    { "permessage-bzip2; client_max_window_bits", 0 },
    { "permessage-deflate; server_max_window_bits", 0 },
    { "permessage-deflate; server_max_window_bits=16", 0 },
    { "permessage-deflate; server_max_window_bits=7", 0 },
    { "permessage-deflate; server_max_window_bits=09", 0 },
    { "permessage-deflate; server_max_window_bits=9x", 0 },
    { "permessage-deflate; client_max_window_bits=16", 0 },
    { "permessage-deflate; client_max_window_bits=0", 0 },
    { "permessage-deflate; client_no_context_takeover=1", 0 },
    { "permessage-deflate; client_no_context_takeover; client_no_context_takeover", 0 },
    { "permessage-deflate; unknown", 0 },
    { "permessage-deflate; unknown=1, permessage-deflate; client_no_context_takeover", 15 },
    { "permessage-deflate;", -1 },
    { "permessage-deflate; =", -1 },
    { "permessage-deflate; server_max_window_bits=", -1 },
    { "permessage-deflate; server_max_window_bits=\"", -1 },
    { "permessage-deflate; server_max_window_bits=\"9", -1 },
    { "permessage-deflate; server_max_window_bits=\"\"", -1 },
    { "permessage-deflate x", -1 },
    { "permessage-deflate, ;", -1 },
    { "permessage-deflate, \"x\"", -1 },
};

TEST(offers_are_chosen_from)
{
    for (size_t i = 0; i < sizeof offers / sizeof *offers; i++) {
        enum ws_window window = WS_WINDOW_NONE;
        int got = ws_deflate_choose(str_of(offers[i].offers), &window) ? (int)window : -1;
        if (got != offers[i].window)
            fail_msg("\"%s\": %d, not %d", offers[i].offers, got, offers[i].window);
    }
}

/* Inflates as a client with that window would. */
static void inflate_as_client(enum ws_window window, struct str payload, struct str expected)
{
    static unsigned char out[300000];
    z_stream z = { .next_out = out, .avail_out = sizeof out };
    assert_int_equal(inflateInit2(&z, -(int)window), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)payload.at;
    z.avail_in = (unsigned)payload.n;
    assert_int_equal(inflate(&z, Z_SYNC_FLUSH), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t) "\0\0\xff\xff";
    z.avail_in = 4;
    inflate(&z, Z_SYNC_FLUSH);
    assert_int_equal(z.total_out, expected.n);
    assert_memory_equal(out, expected.at, expected.n);
    inflateEnd(&z);
}

TEST(what_is_deflated_is_inflated)
{
    static const size_t sizes[] = { 400, 5000, 70000, 250000 };
    static const enum ws_window windows[] = { WS_WINDOW_SMALL, WS_WINDOW_FULL };
    struct ws_inflater *in = ws_inflater_new();
    char *text = malloc(250001);
    for (int w = 0; w < 2; w++) {
        struct ws_deflater *out = ws_deflater_new(windows[w]);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            uint32_t random = 1;
            for (size_t k = 0; k < sizes[i]; k++)
                text[k] = (char)('a' + ((random = random * 1103515245 + 12345) >> 16) % (k % 3000 < 1500 ? 16 : 2));
            struct str whole = { text, sizes[i] }, deflated = ws_deflate(out, whole), back;
            assert_non_null(deflated.at);
            assert_in_range(deflated.n, 1, whole.n - 1);
            inflate_as_client(windows[w], deflated, whole);
            assert_int_equal(ws_inflate(in, deflated, whole.n, &back), 0);
            assert_true(str_eq(back, whole));
            assert_int_equal(ws_inflate(in, deflated, whole.n - 1, &back), 1009);
        }
        assert_null(ws_deflate(out, STR("")).at);
        assert_null(ws_deflate(out, STR("no shorter")).at);
        ws_deflater_free(out);
    }
    free(text);
    ws_inflater_free(in);
}

/* A megabyte of zeroes in a kilobyte is no message, whatever the limit; 64 KiB are allowed to anybody. */
TEST(bombs_do_not_go_off)
{
    enum { BIG = 1 << 20, FAIR = 64 * 1024 };
    char *zeroes = calloc(1, BIG);
    struct ws_deflater *out = ws_deflater_new(WS_WINDOW_FULL);
    struct ws_inflater *in = ws_inflater_new();
    struct str back, bomb = ws_deflate(out, (struct str){ zeroes, BIG });
    assert_int_equal(ws_inflate(in, bomb, BIG, &back), 1009);
    assert_in_range(back.n, 0, 100 * bomb.n + 1);
    struct str fair = ws_deflate(out, (struct str){ zeroes, FAIR });
    assert_in_range(fair.n, 1, FAIR / 101);
    assert_int_equal(ws_inflate(in, fair, BIG, &back), 0);
    assert_int_equal(back.n, FAIR);
    ws_inflater_free(in);
    ws_deflater_free(out);
    free(zeroes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_give_events),
        cmocka_unit_test(deflated_frames_give_events),
        cmocka_unit_test(close_codes_are_checked),
        cmocka_unit_test(large_messages_come_whole),
        cmocka_unit_test(heads_are_as_short_as_can_be),
        cmocka_unit_test(accept_key),
        cmocka_unit_test(the_walk_knows_the_boundaries),
        cmocka_unit_test(a_parser_goes_from_connection_to_connection),
        cmocka_unit_test(offers_are_chosen_from),
        cmocka_unit_test(what_is_deflated_is_inflated),
        cmocka_unit_test(bombs_do_not_go_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
