/* SPDX-License-Identifier: MIT */
/* An event stream: it says the same however its bytes are cut. */
#include "bridge/lib/mem.h"
#include "bridge/net/event_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool keep(void *ctx, const struct event_stream_block *b)
{
    struct buf *out = ctx;
    CHECK(!b->type.at || b->type.n);
    buf_printf(out, "%d ", b->data.at != NULL);
    buf_add_str(out, b->id);
    buf_add_str(out, b->type.at ? b->type : STR(""));
    buf_add_str(out, b->data.at ? b->data : STR(""));
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct event_stream whole = event_stream_new(256), cut = event_stream_new(256);
    struct buf a = buf_new(1 << 20), b = buf_new(1 << 20);
    struct err e = { "" };
    struct str wire = { (const char *)data, n };
    bool good = event_stream_feed(&whole, wire, keep, &a, &e), same = true;
    for (size_t i = 0; i < n && same; i++)
        same = event_stream_feed(&cut, (struct str){ wire.at + i, 1 }, keep, &b, &e);
    CHECK(good == same && str_eq(buf_str(&a), buf_str(&b)) && (good || e.text[0]));
    event_stream_free(&whole);
    event_stream_free(&cut);
    buf_free(&a);
    buf_free(&b);
    return 0;
}
