/* SPDX-License-Identifier: MIT */
/* Answers off the wire: where they end, what they say, and whether the connection can serve another request. */
#include "connectors/webhook/reply.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"
#include "tests/support/test.h"

static bool take(void *ctx, const char *bytes, size_t n)
{
    struct buf *b = ctx;
    buf_add(b, bytes, n);
    return !b->failed;
}

#define OK "HTTP/1.1 200 OK\r\n"

static const struct {
    const char *text;
    enum reply_result result; /* MORE: the connection's end would make it whole, or not (`whole`) */
    int status;
    const char *body;
    size_t behind; /* bytes that are not the answer's */
    bool keep_open, whole;
} cases[] = {
    { "HTTP/1.1 204 No Content\r\n\r\n", REPLY_WHOLE, 204, "", 0, true, false },
    { "HTTP/1.1 204\n\n", REPLY_WHOLE, 204, "", 0, true, false },
    { "HTTP/1.0 204 No Content\r\n\r\n", REPLY_WHOLE, 204, "", 0, false, false },
    { "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", REPLY_WHOLE, 304, "", 0, true, false },
    { "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nab", REPLY_WHOLE, 204, "", 2, false, false },
    { "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", REPLY_WHOLE, 204, "", 0, false, false },
    { "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", REPLY_WHOLE, 204, "", 0, true, false },
    { OK "Content-Length: 5\r\n\r\nabcde", REPLY_WHOLE, 200, "abcde", 0, true, false },
    { OK "content-LENGTH:5\r\n\r\nabcdefg", REPLY_WHOLE, 200, "abcde", 2, true, false },
    { OK "Content-Length: 0\r\nConnection: Close\r\n\r\n", REPLY_WHOLE, 200, "", 0, false, false },
    { OK "Content-Length: 0\r\nConnection: keep-alive, close\r\n\r\n", REPLY_WHOLE, 200, "", 0, false, false },
    { OK "Content-Length: 5\r\n\r\nabc", REPLY_MORE, 200, "abc", 0, true, false },
    { OK "\r\nabc", REPLY_MORE, 200, "abc", 0, false, true },
    { OK "Transfer-Encoding: gzip\r\n\r\nabc", REPLY_MORE, 200, "abc", 0, false, true },
    { OK "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n", REPLY_WHOLE, 200,
      "abc0123456789", 0, true, false },
    { OK "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\nTrailer: 1\r\n\r\nX", REPLY_WHOLE, 200, "", 1,
      false, false },
    { OK "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", REPLY_MORE, 200, "abc", 0, true, false },
    { OK "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", REPLY_BROKEN, 200, "", 0, true, false },
    { OK "Transfer-Encoding: chunked\r\n\r\n\r\n", REPLY_BROKEN, 200, "", 0, true, false },
    { OK "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", REPLY_BROKEN, 200, "abc", 0, true, false },
    { OK "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n", REPLY_BROKEN, 200, "", 0, true, false },
    { "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nContent-Length: 9\r\n\r\nHTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
      REPLY_WHOLE, 500, "", 0, true, false },
    { "HTTP/1.1 100 Continue\r\n\r\n", REPLY_MORE, 0, "", 0, true, false },
    { "HTTP/1.1 101 Switching Protocols\r\n\r\n", REPLY_GARBAGE, 0, "", 0, false, false },
    { "HTTP/2 200\r\n\r\n", REPLY_GARBAGE, 0, "", 0, false, false },
    { "HTTP/1.1 20 OK\r\n\r\n", REPLY_GARBAGE, 0, "", 0, false, false },
    { "HTTP/1.1 2000 OK\r\n\r\n", REPLY_GARBAGE, 0, "", 0, false, false },
    { "HTTP/1.1  200 OK\r\n\r\n", REPLY_GARBAGE, 0, "", 0, false, false },
    { "SSH-2.0", REPLY_GARBAGE, 0, "", 0, false, false },
    { "\x15\x03\x01", REPLY_GARBAGE, 0, "", 0, false, false },
    { OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde", REPLY_WHOLE, 200, "abcde", 0, true, false },
    { OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", REPLY_GARBAGE, 200, "", 0, true, false },
    { OK "Content-Length: -1\r\n\r\n", REPLY_GARBAGE, 200, "", 0, true, false },
    { OK "Content-Length: 5, 5\r\n\r\n", REPLY_GARBAGE, 200, "", 0, true, false },
    { OK "Content-Length: 99999999999999999999\r\n\r\n", REPLY_GARBAGE, 200, "", 0, true, false },
};

static void check_case(size_t i, size_t piece)
{
    struct reply r = { 0 };
    struct buf body = buf_new(1024);
    size_t n = strlen(cases[i].text), used = 0;
    enum reply_result result = REPLY_MORE;
    reply_begin(&r, take, &body);
    while (result == REPLY_MORE && used < n) {
        size_t taken;
        result = reply_feed(&r, cases[i].text + used, n - used < piece ? n - used : piece, &taken);
        used += taken;
    }
    if (result != cases[i].result || r.status != cases[i].status)
        fail_msg("%s by %zu: result %d, status %d", cases[i].text, piece, result, r.status);
    assert_true(str_eq(buf_str(&body), str_of(cases[i].body)));
    if (result == REPLY_WHOLE)
        assert_int_equal(n - used, cases[i].behind);
    if (result == REPLY_WHOLE || result == REPLY_MORE)
        assert_int_equal(r.keep_open, cases[i].keep_open);
    assert_int_equal(reply_ends_whole(&r), cases[i].whole);
    buf_free(&body);
    reply_free(&r);
}

TEST(where_answers_end)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t piece = 1; piece <= 1024; piece *= 4)
            check_case(i, piece);
}

TEST(the_headers_that_matter)
{
    static const char text[] = OK "Retry-After: \t30 \r\nX-Retry-After: 7\r\nWebhook-Delivery: abort-message\r\n\r\n";
    struct reply r = { 0 };
    struct buf body = buf_new(16);
    size_t taken;
    reply_begin(&r, take, &body);
    assert_int_equal(reply_feed(&r, text, strlen(text), &taken), REPLY_MORE);
    assert_string_equal(r.retry_after, "30");
    assert_string_equal(r.delivery, "abort-message");
    assert_int_equal(reply_feed(&r, "more than sixteen bytes", 23, &taken), REPLY_ENOUGH);
    reply_begin(&r, take, &body); /* nothing of it is left */
    assert_string_equal(r.retry_after, "");
    reply_free(&r);
    buf_free(&body);
}

/* Feeds `times` times the same. */
static enum reply_result feed_many(struct reply *r, const char *text, int times)
{
    enum reply_result result = REPLY_MORE;
    size_t taken;
    for (int i = 0; i < times && result == REPLY_MORE; i++)
        result = reply_feed(r, text, strlen(text), &taken);
    return result;
}

TEST(what_has_no_end_is_bounded)
{
    struct reply r = { 0 };
    struct buf body = buf_new(16);
    reply_begin(&r, take, &body);
    assert_int_equal(feed_many(&r, OK "X: ", 1), REPLY_MORE);
    assert_int_equal(feed_many(&r, "0123456789", 20000), REPLY_LONG_HEADER);
    assert_int_equal(r.status, 200);
    reply_begin(&r, take, &body);
    assert_int_equal(feed_many(&r, OK, 1), REPLY_MORE);
    assert_int_equal(feed_many(&r, "X: 0123456789\r\n", 100000), REPLY_LONG_HEADERS);
    reply_begin(&r, take, &body);
    assert_int_equal(feed_many(&r, "HTTP/1.1 100 Continue\r\n\r\n", 100000), REPLY_LONG_HEADERS);
    assert_int_equal(r.status, 0);
    buf_free(&body);
    body = buf_new(1 << 20);
    reply_begin(&r, take, &body);
    assert_int_equal(feed_many(&r, OK "Transfer-Encoding: chunked\r\n\r\n", 1), REPLY_MORE);
    assert_int_equal(feed_many(&r, "1\r\nx\r\n", 16384), REPLY_MORE); /* as many as there is body at most */
    assert_int_equal(feed_many(&r, "1;a=0123456789\r\nx\r\n", 100000), REPLY_BROKEN);
    reply_free(&r);
    buf_free(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_answers_end),
        cmocka_unit_test(the_headers_that_matter),
        cmocka_unit_test(what_has_no_end_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
