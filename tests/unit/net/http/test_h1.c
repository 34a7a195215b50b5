/* SPDX-License-Identifier: MIT */
/* The HTTP/1.1 syntax: a table of heads and chunked bodies, each also in every possible pair of pieces and byte by
 * byte. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/net/http/h1.h"
#include "tests/support/test.h"

#define HOST "Host: a\r\n"
#define GET  "GET / HTTP/1.1\r\n" HOST
#define POST "POST / HTTP/1.1\r\n" HOST
enum { MAX_HEAD = 16 * 1024 };

struct head_case {
    const char *name;
    struct str in;
    int status;
}; /* status 200: taken; 0: incomplete */
#define CASE(name, text, status)                                                                                       \
    {                                                                                                                  \
        name, { text, sizeof(text) - 1 }, status                                                                       \
    }

static const struct head_case heads[] = {
    CASE("plain", GET "\r\n", 200),
    CASE("all token characters in method and name",
         "!#$%&'*+-.^_`|~09azAZ / HTTP/1.1\r\n" HOST "!#$%&'*+-.^_`|~09azAZ: v\r\n\r\n", 200),
    CASE("one empty line before", "\r\n" GET "\r\n", 200),
    CASE("two empty lines before", "\r\n\r\n" GET "\r\n", 400),
    CASE("bare LF before", "\n" GET "\r\n", 400),
    CASE("incomplete line", "GET / HT", 0),
    CASE("incomplete head", GET, 0),
    CASE("empty", "", 0),

    CASE("no version (HTTP/0.9)", "GET /\r\n\r\n", 400),
    CASE("no target", "GET HTTP/1.1\r\n" HOST "\r\n", 400),
    CASE("lower case version", "GET / http/1.1\r\n" HOST "\r\n", 400),
    CASE("HTTP/1.10", "GET / HTTP/1.10\r\n" HOST "\r\n", 400),
    CASE("HTTP/1", "GET / HTTP/1\r\n" HOST "\r\n", 400),
    CASE("HTTP/1.x", "GET / HTTP/1.x\r\n" HOST "\r\n", 400),
    CASE("HTTP/+1.1", "GET / HTTP/+1.1\r\n" HOST "\r\n", 400),
    CASE("HTTP/1.9 is read as 1.1", "GET / HTTP/1.9\r\n" HOST "\r\n", 200),
    CASE("HTTP/2.0", "GET / HTTP/2.0\r\n" HOST "\r\n", 505),
    CASE("HTTP/0.9 written out", "GET / HTTP/0.9\r\n\r\n", 505),
    CASE("the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    CASE("two spaces before the target", "GET  / HTTP/1.1\r\n" HOST "\r\n", 400),
    CASE("two spaces before the version", "GET /  HTTP/1.1\r\n" HOST "\r\n", 400),
    CASE("space behind the version", "GET / HTTP/1.1 \r\n" HOST "\r\n", 400),
    CASE("tab as separator", "GET\t/ HTTP/1.1\r\n" HOST "\r\n", 400),
    CASE("space before the method", " GET / HTTP/1.1\r\n" HOST "\r\n", 400),
    CASE("bad method", "G(T / HTTP/1.1\r\n" HOST "\r\n", 400),
    CASE("empty method", " / HTTP/1.1\r\n" HOST "\r\n", 400),
    CASE("endless method", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n" HOST "\r\n", 501),
    CASE("CONNECT", "CONNECT a:80 HTTP/1.1\r\n" HOST "\r\n", 501),
    CASE("TLS on a plain port", "\x16\x03\x01\x02\x00\x01\x00", 400),

    CASE("target with query", "GET /a?b=c&d=%20{}|[]^` HTTP/1.1\r\n" HOST "\r\n", 200),
    CASE("target without slash", "GET a HTTP/1.1\r\n" HOST "\r\n", 400),
    CASE("fragment", "GET /a#b HTTP/1.1\r\n" HOST "\r\n", 400),
    CASE("backslash", "GET /a\\b HTTP/1.1\r\n" HOST "\r\n", 400),
    CASE("quote", "GET /\" HTTP/1.1\r\n" HOST "\r\n", 400),
    CASE("byte above ASCII in the target", "GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n", 400),
    CASE("NUL in the target", "GET /\0 HTTP/1.1\r\n" HOST "\r\n", 400),
    CASE("DEL in the target", "GET /\x7f HTTP/1.1\r\n" HOST "\r\n", 400),
    CASE("absolute form", "GET http://a/b HTTP/1.1\r\n" HOST "\r\n", 200),
    CASE("absolute form, https, port, no path", "GET HTTPS://a:8080 HTTP/1.1\r\nHost: A:8080\r\n\r\n", 200),
    CASE("absolute form with a query only", "GET http://a?x HTTP/1.1\r\n" HOST "\r\n", 200),
    CASE("absolute form of another host", "GET http://b/ HTTP/1.1\r\n" HOST "\r\n", 400),
    CASE("absolute form with user", "GET http://u@a/ HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    CASE("absolute form without host", "GET http:/// HTTP/1.1\r\n" HOST "\r\n", 400),
    CASE("absolute form of another scheme", "GET ftp://a/ HTTP/1.1\r\n" HOST "\r\n", 400),
    CASE("OPTIONS *", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 200),
    CASE("GET *", "GET * HTTP/1.1\r\n" HOST "\r\n", 400),
    CASE("OPTIONS **", "OPTIONS ** HTTP/1.1\r\n" HOST "\r\n", 400),

    CASE("no Host", "GET / HTTP/1.1\r\n\r\n", 400),
    CASE("no Host in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 200),
    CASE("two Hosts", "GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400),
    CASE("two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\n" HOST HOST "\r\n", 400),
    CASE("empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    CASE("a list as Host", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
    CASE("a list as Host without space", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400),
    CASE("Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    CASE("Host with user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    CASE("Host with IPv6 and port", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200),

    CASE("bare LF ends the request line", "GET / HTTP/1.1\n" HOST "\r\n", 400),
    CASE("bare LF ends a header", GET "A: b\n\r\n", 400),
    CASE("bare LF ends the head", GET "\n", 400),
    CASE("bare CR ends the request line", "GET / HTTP/1.1\r" HOST "\r\n", 400),
    CASE("bare CR in a value", GET "A: b\rc\r\n\r\n", 400),
    CASE("CR CR LF", GET "A: b\r\r\n\r\n", 400),
    CASE("bare CR instead of the empty line", GET "\rA", 400),
    CASE("NUL in a value", GET "A: b\0c\r\n\r\n", 400),
    CASE("NUL in a name", GET "A\0: b\r\n\r\n", 400),
    CASE("control character in a value", GET "A: \x01\r\n\r\n", 400),
    CASE("DEL in a value", GET "A: \x7f\r\n\r\n", 400),
    CASE("bytes above ASCII in a value", GET "A: \xc3\xa4\r\n\r\n", 200),
    CASE("tab in a value", GET "A: b\tc\r\n\r\n", 200),
    CASE("obs-fold with space", GET "A: b\r\n c\r\n\r\n", 400),
    CASE("obs-fold with tab", GET "A: b\r\n\tc\r\n\r\n", 400),
    CASE("space before the first header", "GET / HTTP/1.1\r\n " HOST "\r\n", 400),
    CASE("space before the colon", GET "A : b\r\n\r\n", 400),
    CASE("tab before the colon", GET "A\t: b\r\n\r\n", 400),
    CASE("space in a name", GET "A B: c\r\n\r\n", 400),
    CASE("no name", GET ": c\r\n\r\n", 400),
    CASE("no colon", GET "Abc\r\n\r\n", 400),
    CASE("bad character in a name", GET "A(: b\r\n\r\n", 400),
    CASE("byte above ASCII in a name", GET "\xc3\xa4: b\r\n\r\n", 400),
    CASE("empty value", GET "A:\r\n\r\n", 200),

    CASE("Content-Length", POST "Content-Length: 5\r\n\r\n", 200),
    CASE("Content-Length with leading zeros", POST "Content-Length: 005\r\n\r\n", 200),
    CASE("a flood of leading zeros", POST "Content-Length: 00000000000000000005\r\n\r\n", 400),
    CASE("the largest length", POST "Content-Length: 9223372036854775807\r\n\r\n", 200),
    CASE("above the largest", POST "Content-Length: 9223372036854775808\r\n\r\n", 400),
    CASE("far above the largest", POST "Content-Length: 99999999999999999999\r\n\r\n", 400),
    CASE("wraps around at 64 bits", POST "Content-Length: 18446744073709551621\r\n\r\n", 400),
    CASE("+5", POST "Content-Length: +5\r\n\r\n", 400),
    CASE("-5", POST "Content-Length: -5\r\n\r\n", 400),
    CASE("0x5", POST "Content-Length: 0x5\r\n\r\n", 400),
    CASE("5 5", POST "Content-Length: 5 5\r\n\r\n", 400),
    CASE("5.0", POST "Content-Length: 5.0\r\n\r\n", 400),
    CASE("empty length", POST "Content-Length:\r\n\r\n", 400),
    CASE("list of equal lengths", POST "Content-Length: 5, 5\r\n\r\n", 400),
    CASE("list of lengths", POST "Content-Length: 5,6\r\n\r\n", 400),
    CASE("two lengths", POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
    CASE("the same length twice", POST "Content-Length: 5\r\ncontent-length: 5\r\n\r\n", 400),
    CASE("Content_Length is another header", POST "Content_Length: x\r\n\r\n", 200),

    CASE("chunked", POST "Transfer-Encoding: chunked\r\n\r\n", 200),
    CASE("Chunked", POST "transfer-ENCODING: Chunked \r\n\r\n", 200),
    CASE("length and coding", POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    CASE("coding and length", POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400),
    CASE("xchunked", POST "Transfer-Encoding: xchunked\r\n\r\n", 400),
    CASE("chunked x", POST "Transfer-Encoding: chunked x\r\n\r\n", 400),
    CASE("quoted", POST "Transfer-Encoding: \"chunked\"\r\n\r\n", 400),
    CASE("gzip, chunked", POST "Transfer-Encoding: gzip, chunked\r\n\r\n", 400),
    CASE("chunked, identity", POST "Transfer-Encoding: chunked, identity\r\n\r\n", 400),
    CASE("chunked, chunked", POST "Transfer-Encoding: chunked, chunked\r\n\r\n", 400),
    CASE("a comma before", POST "Transfer-Encoding: , chunked\r\n\r\n", 400),
    CASE("identity", POST "Transfer-Encoding: identity\r\n\r\n", 400),
    CASE("empty coding", POST "Transfer-Encoding:\r\n\r\n", 400),
    CASE("vertical tab before chunked",
         POST "Transfer-Encoding: \x0b"
              "chunked\r\n\r\n",
         400),
    CASE("two codings", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    CASE("two codings, one of them odd", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n", 400),
    CASE("coding in HTTP/1.0", "POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 400),
    CASE("space before the colon of a coding", POST "Transfer-Encoding : chunked\r\n\r\n", 400),
    CASE("folded coding", POST "Transfer-Encoding:\r\n chunked\r\n\r\n", 400),

    CASE("Expect", POST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n", 200),
    CASE("another Expect", POST "Expect: 200-ok\r\n\r\n", 417),
    CASE("another Expect in HTTP/1.0 is nothing", "POST / HTTP/1.0\r\nExpect: 200-ok\r\n\r\n", 200),
};

static int status_of(long n)
{
    return n > 0 ? 200 : (int)-n;
}

/* An exact copy on the heap, so that a sanitizer sees a read past the end. */
static long parse(struct str in, size_t n, size_t max_head)
{
    char *exact = malloc(n ? n : 1);
    memcpy(exact, in.at, n);
    struct http1_head head;
    long result = http1_head((struct str){ exact, n }, max_head, &head);
    free(exact);
    return result;
}

TEST(heads_get_their_status)
{
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        int status = status_of(parse(heads[i].in, heads[i].in.n, MAX_HEAD));
        if (status != heads[i].status)
            fail_msg("%s: %d instead of %d", heads[i].name, status, heads[i].status);
    }
}

/* However the bytes arrive: no prefix may be taken for a whole head that differs, none refused that is fine in the
 * end. */
TEST(heads_do_not_depend_on_pieces)
{
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        long whole = parse(heads[i].in, heads[i].in.n, MAX_HEAD);
        for (size_t n = 0; n < heads[i].in.n; n++) {
            long part = parse(heads[i].in, n, MAX_HEAD);
            bool agrees = part == 0 || (part < 0 && part == whole) || (part > 0 && part == whole && (size_t)part <= n);
            if (!agrees)
                fail_msg("%s: %ld after %zu bytes, %ld in the end", heads[i].name, part, n, whole);
        }
    }
}

TEST(a_head_is_cut_where_the_body_begins)
{
    struct str in = STR(POST "Content-Length: 3\r\nX:  \t y z \t\r\n\r\nabcGET / HTTP/1.1\r\n");
    struct http1_head head;
    long n = http1_head(in, MAX_HEAD, &head);
    assert_int_equal(n, strstr(in.at, "abc") - in.at);
    assert_true(str_eq(head.method, STR("POST")) && str_eq(head.target, STR("/")));
    assert_int_equal(head.minor, 1);
    assert_int_equal(head.header_count, 3);
    assert_int_equal(head.content_length, 3);
    assert_true(str_eq(head.headers[2].name, STR("X")) && str_eq(head.headers[2].value, STR("y z")));
    assert_true(head.keep_alive && !head.chunked && !head.expect_continue && !head.upgrade);
}

struct flags_case {
    struct str in;
    bool keep_alive, chunked, expect, upgrade;
};

TEST(flags_are_read)
{
    const struct flags_case cases[] = {
        { STR(GET "\r\n"), true, false, false, false },
        { STR(GET "Connection: close\r\n\r\n"), false, false, false, false },
        { STR(GET "Connection: x, CLOSE , y\r\n\r\n"), false, false, false, false },
        { STR(GET "Connection: keep-alive\r\nConnection: close\r\n\r\n"), false, false, false, false },
        { STR(GET "Connection: closed\r\n\r\n"), true, false, false, false },
        { STR("GET / HTTP/1.0\r\n\r\n"), false, false, false, false },
        { STR("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), true, false, false, false },
        { STR("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n"), false, false, false, false },
        { STR(POST "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"), true, true, true, false },
        { STR("POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"), false, false, false, false },
        { STR(GET "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), true, false, false, true },
        { STR(GET "Upgrade: websocket\r\n\r\n"), true, false, false, false },
        { STR(GET "Connection: upgrade\r\n\r\n"), true, false, false, false },
        { STR("GET / HTTP/1.0\r\nConnection: Upgrade, keep-alive\r\nUpgrade: websocket\r\n\r\n"), true, false, false,
          false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http1_head head;
        if (http1_head(cases[i].in, MAX_HEAD, &head) <= 0)
            fail_msg("case %zu is refused", i);
        if (head.keep_alive != cases[i].keep_alive || head.chunked != cases[i].chunked
            || head.expect_continue != cases[i].expect || head.upgrade != cases[i].upgrade)
            fail_msg("case %zu: wrong flags", i);
    }
}

/* A head of `n` bytes: the target or a value is stretched. */
static struct buf stretched(const char *before, size_t n, const char *after)
{
    struct buf b = buf_new(1 << 20);
    buf_add_c(&b, before);
    while (b.n + strlen(after) < n)
        buf_add_char(&b, 'a');
    buf_add_c(&b, after);
    return b;
}

static void expect_stretched(const char *before, size_t n, const char *after, int status)
{
    struct buf b = stretched(before, n, after);
    assert_int_equal(status_of(parse(buf_str(&b), b.n, MAX_HEAD)), status);
    /* Also when the rest has not arrived: the limit is found without it. */
    if (status >= 400)
        assert_int_equal(status_of(parse(buf_str(&b), b.n - strlen(after) - 1, MAX_HEAD)),
                         b.n - strlen(after) - 1 < 8192 ? 0 : status);
    buf_free(&b);
}

TEST(lengths_are_limited)
{
    const char *line_end = " HTTP/1.1\r\n", *rest = " HTTP/1.1\r\n" HOST "\r\n";
    expect_stretched("GET /", 8192 + strlen(rest) - strlen(line_end), rest, 200);
    expect_stretched("GET /", 8192 + 1024, rest, 414);
    expect_stretched("GET /", 60000, rest, 414);
    expect_stretched(GET "A: ", MAX_HEAD, "\r\n\r\n", 200);
    expect_stretched(GET "A: ", MAX_HEAD + 8, "\r\n\r\n", 431);
    expect_stretched(GET "A: ", 100 * 1024, "\r\n\r\n", 431);
    expect_stretched(GET, 100 * 1024, ": a\r\n\r\n", 431);
}

TEST(a_hundred_headers_are_enough)
{
    for (int count = HTTP1_HEADERS - 1; count <= HTTP1_HEADERS + 1; count++) {
        struct buf b = buf_new(1 << 20);
        buf_add_c(&b, GET);
        for (int i = 1; i < count; i++)
            buf_add_c(&b, "A: b\r\n");
        buf_add_c(&b, "\r\n");
        assert_int_equal(status_of(parse(buf_str(&b), b.n, MAX_HEAD)), count <= HTTP1_HEADERS ? 200 : 431);
        buf_free(&b);
    }
}

struct chunk_case {
    const char *name;
    struct str in;
    int status;
    const char *body;
}; /* 200: whole; 0: incomplete */
#define CHUNKS(name, text, status, body)                                                                               \
    {                                                                                                                  \
        name, { text, sizeof(text) - 1 }, status, body                                                                 \
    }
#define LONG_64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct chunk_case chunked[] = {
    CHUNKS("nothing", "0\r\n\r\n", 200, ""),
    CHUNKS("one", "5\r\nhello\r\n0\r\n\r\n", 200, "hello"),
    CHUNKS("two", "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", 200, "hello!"),
    CHUNKS("hexadecimal", "A\r\n0123456789\r\n000b\r\n0123456789a\r\n00\r\n\r\n", 200, "01234567890123456789a"),
    CHUNKS("rest stays", "1\r\na\r\n0\r\n\r\nGET /", 200, "a"),
    CHUNKS("extension", "1;a=b;c=\"d e\"\r\nx\r\n0;z\r\n\r\n", 200, "x"),
    CHUNKS("space before an extension", "1 ;a\r\nx\r\n0\r\n\r\n", 200, "x"),
    CHUNKS("spaces in extensions", "1 ; a =\t\"b;\\\"c\" ;d= e;f\r\nx\r\n0\r\n\r\n", 200, "x"),
    CHUNKS("extension without name", "5;\r\nhello\r\n0\r\n\r\n", 400, ""),
    CHUNKS("extensions without names", "5;;\r\nhello\r\n0\r\n\r\n", 400, ""),
    CHUNKS("extension behind none", "5;;a\r\nhello\r\n0\r\n\r\n", 400, ""),
    CHUNKS("extension with a bad name", "5;bad[=x\r\nhello\r\n0\r\n\r\n", 400, ""),
    CHUNKS("extension without value", "5;a=\r\nhello\r\n0\r\n\r\n", 400, ""),
    CHUNKS("extension without value before another", "5;a=;b\r\nhello\r\n0\r\n\r\n", 400, ""),
    CHUNKS("extension with two values", "5;a=b=c\r\nhello\r\n0\r\n\r\n", 400, ""),
    CHUNKS("extension with two names", "5;a b\r\nhello\r\n0\r\n\r\n", 400, ""),
    CHUNKS("extension with a space behind it", "5;a \r\nhello\r\n0\r\n\r\n", 400, ""),
    CHUNKS("open quotes", "5;a=\"b\r\nhello\r\n0\r\n\r\n", 400, ""),
    CHUNKS("quotes opened by a backslash", "5;a=\"b\\\"\r\nhello\r\n0\r\n\r\n", 400, ""),
    CHUNKS("text behind quotes", "5;a=\"b\"c\r\nhello\r\n0\r\n\r\n", 400, ""),
    CHUNKS("quotes in a token", "5;a=b\"c\"\r\nhello\r\n0\r\n\r\n", 400, ""),
    CHUNKS("trailers", "1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n", 200, "x"),
    CHUNKS("incomplete", "5\r\nhel", 0, "hel"),
    CHUNKS("incomplete end", "1\r\nx\r\n0\r\n", 0, "x"),
    CHUNKS("at the limit", "40\r\n" LONG_64 "\r\n0\r\n\r\n", 200, LONG_64),
    CHUNKS("above the limit", "41\r\n", 413, ""),
    CHUNKS("above the limit together", "40\r\n" LONG_64 "\r\n1\r\n", 413, LONG_64),
    CHUNKS("huge", "7fffffffffffffff\r\n", 413, ""),
    CHUNKS("overflow", "8000000000000000\r\n", 400, ""),
    CHUNKS("overflow by a digit", "10000000000000000\r\n", 400, ""),
    CHUNKS("wraps around to 5", "10000000000000005\r\nhello\r\n0\r\n\r\n", 400, ""),
    CHUNKS("no size", "\r\nhello\r\n0\r\n\r\n", 400, ""),
    CHUNKS("negative", "-1\r\nx\r\n0\r\n\r\n", 400, ""),
    CHUNKS("sign", "+1\r\nx\r\n0\r\n\r\n", 400, ""),
    CHUNKS("0x1", "0x1\r\nx\r\n0\r\n\r\n", 400, ""),
    CHUNKS("1_0", "1_0\r\n", 400, ""),
    CHUNKS("space before the size", " 1\r\nx\r\n0\r\n\r\n", 400, ""),
    CHUNKS("space behind the size", "1 \r\nx\r\n0\r\n\r\n", 400, ""),
    CHUNKS("space in the size", "1 1\r\n", 400, ""),
    CHUNKS("bare LF behind the size", "1\nx\r\n0\r\n\r\n", 400, ""),
    CHUNKS("bare CR behind the size", "1\rx\r\n0\r\n\r\n", 400, ""),
    CHUNKS("bare LF in an extension", "1;a\nx\r\n0\r\n\r\n", 400, ""),
    CHUNKS("NUL in an extension", "1;\0\r\n", 400, ""),
    CHUNKS("bare LF behind the data", "1\r\nx\n0\r\n\r\n", 400, "x"),
    CHUNKS("data too long", "1\r\nxy\r\n0\r\n\r\n", 400, "x"),
    CHUNKS("data too short", "3\r\nx\r\n0\r\n\r\n", 400, "x\r\n"),
    CHUNKS("bare LF at the end", "0\r\n\n", 400, ""),
    CHUNKS("bare CR at the end", "0\r\n\rX", 400, ""),
    CHUNKS("trailer without colon", "0\r\nA\r\n\r\n", 400, ""),
    CHUNKS("trailer with a space before the colon", "0\r\nA : b\r\n\r\n", 400, ""),
    CHUNKS("folded trailer", "0\r\nA: b\r\n c\r\n\r\n", 400, ""),
    CHUNKS("bare LF in a trailer", "0\r\nA: b\n\r\n", 400, ""),
    CHUNKS("NUL in a trailer", "0\r\nA: \0\r\n\r\n", 400, ""),
};

static int decode(const struct chunk_case *t, size_t split, bool bytewise, struct buf *out)
{
    struct http1_chunks c = { 0 };
    int result = 0;
    for (size_t from = 0; from < t->in.n && result == 0;) {
        size_t to = bytewise ? from + 1 : from < split ? split : t->in.n;
        struct str piece = { t->in.at + from, to - from };
        result = http1_chunks(&c, &piece, out, 64);
        from = to;
    }
    return result > 0 ? 200 : -result;
}

static void expect_chunks(const struct chunk_case *t, size_t split, bool bytewise)
{
    struct buf out = buf_new(64);
    int status = decode(t, split, bytewise, &out);
    if (status != t->status || !str_eq(buf_str(&out), str_of(t->body)))
        fail_msg("%s, cut at %zu: %d \"%.*s\" instead of %d \"%s\"", t->name, split, status, STR_ARG(buf_str(&out)),
                 t->status, t->body);
    buf_free(&out);
}

TEST(chunks_are_decoded)
{
    for (size_t i = 0; i < sizeof chunked / sizeof *chunked; i++) {
        for (size_t split = 0; split <= chunked[i].in.n; split++)
            expect_chunks(&chunked[i], split, false);
        expect_chunks(&chunked[i], 0, true);
    }
}

TEST(chunks_leave_what_follows)
{
    struct http1_chunks c = { 0 };
    struct buf out = buf_new(64);
    struct str in = STR("1\r\na\r\n0\r\n\r\nGET /");
    assert_int_equal(http1_chunks(&c, &in, &out, 64), 1);
    assert_true(str_eq(in, STR("GET /")));
    buf_free(&out);
}

static void feed_long(const char *start, size_t n, const char *end, int expected)
{
    struct buf in = stretched(start, n, end), out = buf_new(64);
    struct http1_chunks c = { 0 };
    struct str s = buf_str(&in);
    assert_int_equal(http1_chunks(&c, &s, &out, 64), expected);
    buf_free(&in);
    buf_free(&out);
}

TEST(extensions_and_trailers_are_bounded)
{
    feed_long("1;", HTTP1_CHUNK_LINE - 10, "\r\nx\r\n0\r\n\r\n", 1);
    feed_long("1;", HTTP1_CHUNK_LINE + 100, "\r\nx\r\n0\r\n\r\n", -400);
    feed_long("1;", 100000, "", -400);
    feed_long("0\r\nA: ", 8000, "\r\n\r\n", 1);
    feed_long("0\r\nA: ", 9000, "\r\n\r\n", -400);
    struct str zeros = STR("0000000000000000000000000000000000000000000000000000000000000000");
    struct buf out = buf_new(64);
    struct http1_chunks c = { 0 };
    int result = 0;
    for (int i = 0; i < 10 && result == 0; i++) {
        struct str piece = zeros;
        result = http1_chunks(&c, &piece, &out, 64);
    }
    assert_int_equal(result, -400);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_get_their_status),
        cmocka_unit_test(heads_do_not_depend_on_pieces),
        cmocka_unit_test(a_head_is_cut_where_the_body_begins),
        cmocka_unit_test(flags_are_read),
        cmocka_unit_test(lengths_are_limited),
        cmocka_unit_test(a_hundred_headers_are_enough),
        cmocka_unit_test(chunks_are_decoded),
        cmocka_unit_test(chunks_leave_what_follows),
        cmocka_unit_test(extensions_and_trailers_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
