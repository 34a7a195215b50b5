/* SPDX-License-Identifier: MIT */
/* The HTTP/1.1 syntax: what is decided about bytes does not depend on how they were cut in pieces, and all spans stay
 * inside.
 *
 * Input: one byte that chooses where to cut, then the stream. */
#include <stdlib.h>
#include "bridge/lib/mem.h"
#include "bridge/net/http/h1.h"

enum { MAX_HEAD = 4096, MAX_BODY = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_span(struct str s, struct str in)
{
    CHECK(s.at >= in.at && s.at + s.n <= in.at + in.n);
}

static void check_head(const struct http1_head *head, struct str in)
{
    check_span(head->method, in);
    check_span(head->target, in);
    CHECK(head->method.n > 0 && head->target.n > 0 && head->header_count <= HTTP1_HEADERS);
    CHECK(head->content_length >= 0 && !(head->chunked && head->content_length));
    for (size_t i = 0; i < head->header_count; i++) {
        check_span(head->headers[i].name, in);
        check_span(head->headers[i].value, in);
        CHECK(head->headers[i].name.n > 0);
        CHECK(!memchr(head->headers[i].value.at, '\r', head->headers[i].value.n));
        CHECK(!memchr(head->headers[i].value.at, '\n', head->headers[i].value.n));
    }
}

/* A prefix is undecided or decided as the whole is. */
static void compare_prefix(struct str in, size_t n, long whole)
{
    char *exact = malloc(n ? n : 1);
    CHECK(exact);
    if (n)
        memcpy(exact, in.at, n);
    struct http1_head head;
    long part = http1_head((struct str){ exact, n }, MAX_HEAD, &head);
    CHECK(part == 0 || part == whole);
    CHECK(part <= (long)n);
    free(exact);
}

static int decode(struct str in, size_t piece, struct buf *out, size_t *rest)
{
    struct http1_chunks c = { 0 };
    int result = 0;
    while (in.n && result == 0) {
        size_t n = in.n < piece ? in.n : piece;
        struct str part = { in.at, n };
        result = http1_chunks(&c, &part, out, MAX_BODY);
        CHECK(result != 0 || part.n == 0);
        in.at += n - part.n;
        in.n -= n - part.n;
    }
    *rest = in.n;
    return result;
}

static void compare_chunks(struct str in, size_t piece)
{
    struct buf whole = buf_new(MAX_BODY), parts = buf_new(MAX_BODY);
    size_t whole_rest, parts_rest;
    int a = decode(in, in.n, &whole, &whole_rest), b = decode(in, piece, &parts, &parts_rest);
    CHECK(a == b && str_eq(buf_str(&whole), buf_str(&parts)));
    CHECK(a < 0 || whole_rest == parts_rest);
    buf_free(&whole);
    buf_free(&parts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct str in = { (const char *)data + 1, size - 1 };
    struct http1_head head;
    long n = http1_head(in, MAX_HEAD, &head);
    if (n > 0)
        check_head(&head, in);
    size_t step = 1 + data[0] % 16;
    for (size_t cut = data[0] / 16; cut < in.n && cut < 2 * MAX_HEAD; cut += step)
        compare_prefix(in, cut, n);
    size_t body = n > 0 ? (size_t)n : 0;
    compare_chunks((struct str){ in.at + body, in.n - body }, step);
    return 0;
}
