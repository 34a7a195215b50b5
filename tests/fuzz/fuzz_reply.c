/* SPDX-License-Identifier: MIT */
/* Answers to a POST off the wire: however the bytes are cut, the verdict, the body and what belongs to the answer are the same. */
#include <string.h>
#include "bridge/lib/mem.h"
#include "connectors/webhook/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { BODY = 1 << 16 };

static bool take(void *ctx, const char *bytes, size_t n)
{
    struct buf *b = ctx;
    buf_add(b, bytes, n);
    return !b->failed;
}

/* Feeds pieces of so many bytes. */
static enum reply_result feed(struct reply *r, struct buf *body, const char *data, size_t n, size_t piece, size_t *used)
{
    enum reply_result result = REPLY_MORE;
    reply_begin(r, take, body);
    for (*used = 0; result == REPLY_MORE && *used < n;) {
        size_t taken, most = n - *used < piece ? n - *used : piece;
        result = reply_feed(r, data + *used, most, &taken);
        CHECK(taken <= most && (taken == most || result != REPLY_MORE));
        *used += taken;
    }
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf whole = buf_new(BODY), cut = buf_new(BODY);
    struct reply a = { 0 }, b = { 0 };
    size_t used_a, used_b, piece = n ? data[0] % 7 + 1 : 1;
    const char *text = (const char *)data + (n > 0);
    n -= n > 0;
    enum reply_result ra = feed(&a, &whole, text, n, n + 1, &used_a), rb = feed(&b, &cut, text, n, piece, &used_b);
    CHECK(ra == rb && a.status == b.status && a.keep_open == b.keep_open);
    CHECK(ra == REPLY_ENOUGH || str_eq(buf_str(&whole), buf_str(&cut)));
    CHECK(ra != REPLY_WHOLE || (used_a == used_b && a.status >= 200 && a.status != 101));
    CHECK(strcmp(a.retry_after, b.retry_after) == 0 && strcmp(a.delivery, b.delivery) == 0);
    CHECK(a.line.n <= REPLY_LINE);
    buf_free(&whole);
    buf_free(&cut);
    reply_free(&a);
    reply_free(&b);
    return 0;
}
