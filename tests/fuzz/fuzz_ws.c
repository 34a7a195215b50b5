/* SPDX-License-Identifier: MIT */
/* WebSocket frames: the events, and the code of the failure, do not depend on how the bytes were cut in pieces.
 *
 * Input: one byte that chooses the pieces' length, or with the bit 0x80 also that messages may be deflated, then the
 * stream; or with the bit 0x40 what a client offers of permessage-deflate. */
#include <stdlib.h>
#include "bridge/lib/mem.h"
#include "bridge/net/ws.h"

enum { MAX_MESSAGE = 1024, LOG_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_event(const struct ws_event *ev)
{
    switch (ev->opcode) {
    case WS_TEXT: CHECK(str_is_utf8(ev->payload) && ev->payload.n <= MAX_MESSAGE); return;
    case WS_BINARY: CHECK(ev->payload.n <= MAX_MESSAGE); return;
    case WS_CLOSE:
        CHECK(str_is_utf8(ev->payload) && ev->payload.n <= 123 && ev->close_code >= 1000 && ev->close_code < 5000);
        return;
    default: CHECK((ev->opcode == WS_PING || ev->opcode == WS_PONG) && ev->payload.n <= 125);
    }
}

/* Writes all events to `out`; returns the failure's code, 0 when there is none. */
static int events(struct str in, size_t piece, bool deflate, struct buf *out)
{
    struct ws_parser *p = ws_parser_new(MAX_MESSAGE);
    struct ws_inflater *z = deflate ? ws_inflater_new() : NULL;
    ws_parser_begin(p, z);
    int code = 0;
    while (in.n && code == 0) {
        size_t n = in.n < piece ? in.n : piece;
        char *exact = malloc(n);
        CHECK(exact);
        memcpy(exact, in.at, n);
        struct str part = { exact, n };
        struct ws_event ev;
        int result;
        while ((result = ws_parse(p, &part, &ev, &code)) > 0) {
            check_event(&ev);
            buf_printf(out, "%d %d %zu:", ev.opcode, ev.close_code, ev.payload.n);
            buf_add_str(out, ev.payload);
        }
        CHECK(result < 0 ? code == 1002 || code == 1007 || code == 1009 : part.n == 0);
        free(exact);
        in.at += n;
        in.n -= n;
    }
    ws_parser_free(p);
    ws_inflater_free(z);
    return code;
}

static void try_offers(struct str offers)
{
    enum ws_window window = WS_WINDOW_NONE;
    if (ws_deflate_choose(offers, &window))
        CHECK(window == WS_WINDOW_NONE || window == WS_WINDOW_SMALL || window == WS_WINDOW_FULL);
    else
        CHECK(offers.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct str in = { (const char *)data + 1, size - 1 };
    if (data[0] & 0x40) {
        try_offers(in);
        return 0;
    }
    bool deflate = data[0] & 0x80;
    struct buf whole = buf_new(LOG_MAX), parts = buf_new(LOG_MAX);
    int a = events(in, in.n, deflate, &whole), b = events(in, 1 + data[0] % 32, deflate, &parts);
    CHECK(a == b && str_eq(buf_str(&whole), buf_str(&parts)));
    buf_free(&whole);
    buf_free(&parts);
    return 0;
}
