/* SPDX-License-Identifier: MIT */
/* Frames and blocks from an event's JSON or CBOR. */
#include "connectors/websocket/frames.h"
#include <string.h>
#include "bridge/event/event.h"
#include "bridge/lib/cbor.h"
#include "bridge/net/ws.h"

enum { CURSOR_ROOM = 64 * 1024 }; /* for a position */

void frames_open(struct frames *f, size_t longest)
{
    *f = (struct frames){ .frame = buf_new(longest + WS_HEAD),
                          .blocks = { buf_new(longest), buf_new(longest) },
                          .placed = buf_new(longest + WS_HEAD + CURSOR_ROOM),
                          .placed_deflated = buf_new(longest + WS_HEAD + CURSOR_ROOM),
                          .deflated = { buf_new(longest + WS_HEAD), buf_new(longest + WS_HEAD) },
                          .cbor = buf_new(longest + WS_HEAD),
                          .op = buf_new(longest + WS_HEAD + CURSOR_ROOM),
                          .op_deflated = buf_new(longest + WS_HEAD + CURSOR_ROOM) };
}

void frames_close(struct frames *f)
{
    buf_free(&f->frame);
    buf_free(&f->cbor);
    buf_free(&f->op);
    buf_free(&f->op_deflated);
    buf_free(&f->placed);
    buf_free(&f->placed_deflated);
    for (int i = 0; i < 2; i++) {
        buf_free(&f->blocks[i]);
        buf_free(&f->deflated[i]);
        ws_deflater_free(f->deflaters[i]);
    }
}

void frames_begin(struct frames *f, const struct event *ev)
{
    f->event = ev;
    f->json = f->plain = STR_ABSENT;
    f->made = f->cbor_made = f->block_made[0] = f->block_made[1] = f->deflated_made[0] = f->deflated_made[1] = false;
}

/* Ends a frame whose payload stands in the buffer behind room for a head, which is written backwards from there. */
static struct str frames_head(struct buf *b, int opcode)
{
    unsigned char head[WS_HEAD];
    size_t n = ws_head(head, opcode, b->n - WS_HEAD);
    char *at = b->at + WS_HEAD - n;
    memcpy(at, head, n);
    return (struct str){ at, b->n - WS_HEAD + n };
}

static void frames_begin_payload(struct buf *b)
{
    static const char room[WS_HEAD];
    buf_reset(b);
    buf_add(b, room, WS_HEAD);
}

/* Makes the event JSON, once. */
static bool frames_make(struct frames *f)
{
    if (f->made)
        return f->json.at;
    f->made = true;
    frames_begin_payload(&f->frame);
    event_to_json(f->event, &f->frame);
    if (f->frame.failed)
        return false;
    f->json = str_from(buf_str(&f->frame), WS_HEAD);
    f->plain = frames_head(&f->frame, WS_TEXT);
    return true;
}

/* The frame with the payload deflated, in `b`; as it is when that is no shorter. */
static struct str frames_deflate(struct frames *f, struct buf *b, enum ws_window window, int opcode,
                                 struct str long_one, struct str plain)
{
    bool small = window == WS_WINDOW_SMALL;
    unsigned char head[WS_HEAD];
    if (!f->deflaters[small])
        f->deflaters[small] = ws_deflater_new(window);
    struct str payload = ws_deflate(f->deflaters[small], long_one);
    if (!payload.at)
        return plain;
    buf_reset(b);
    buf_add(b, head, ws_head(head, opcode | WS_DEFLATED, payload.n));
    buf_add_str(b, payload);
    return buf_str(b);
}

/* Its text frame, for one window once. */
static struct str frames_text(struct frames *f, enum ws_window window)
{
    bool small = window == WS_WINDOW_SMALL;
    if (window == WS_WINDOW_NONE)
        return f->plain;
    if (!f->deflated_made[small])
        f->deflated_frame[small] = frames_deflate(f, &f->deflated[small], window, WS_TEXT, f->json, f->plain);
    f->deflated_made[small] = true;
    return f->deflated_frame[small];
}

/* The text frame with one attribute more in its JSON. */
static bool frames_place(struct frames *f, enum ws_window window, struct str cursor, struct wire *out)
{
    frames_begin_payload(&f->placed);
    buf_add(&f->placed, f->json.at, f->json.n - 1);
    buf_printf(&f->placed, ",\"" EVENT_CURSOR_NAME "\":\"%.*s\"}", STR_ARG(cursor));
    if (f->placed.failed)
        return false;
    struct str json = str_from(buf_str(&f->placed), WS_HEAD);
    out->body = frames_head(&f->placed, WS_TEXT);
    if (window != WS_WINDOW_NONE)
        out->body = frames_deflate(f, &f->placed_deflated, window, WS_TEXT, json, out->body);
    return true;
}

/* {"op":"ev","sub":..,"pos":..,"d":[..]} */
static void frames_op_json(struct frames *f, const char *sub, struct str cursor)
{
    buf_printf(&f->op, "{\"op\":\"ev\",\"sub\":%s,", sub);
    if (cursor.n)
        buf_printf(&f->op, "\"pos\":\"%.*s\",", STR_ARG(cursor));
    buf_add_c(&f->op, "\"d\":[");
    buf_add_str(&f->op, f->json);
    buf_add_c(&f->op, "]}");
}

/* The same in CBOR; the event is encoded once for all. */
static void frames_op_cbor(struct frames *f, const char *sub, struct str cursor)
{
    if (!f->cbor_made) {
        buf_reset(&f->cbor);
        event_to_cbor(f->event, &f->cbor);
        f->cbor_made = true;
    }
    cbor_add_head(&f->op, CBOR_MAP, cursor.n ? 4 : 3);
    cbor_add_text(&f->op, STR("op"));
    cbor_add_text(&f->op, STR("ev"));
    cbor_add_text(&f->op, STR("sub"));
    cbor_add_json(&f->op, str_of(sub));
    if (cursor.n) {
        cbor_add_text(&f->op, STR("pos"));
        cbor_add_text(&f->op, cursor);
    }
    cbor_add_text(&f->op, STR("d"));
    cbor_add_head(&f->op, CBOR_ARRAY, 1);
    buf_add_str(&f->op, buf_str(&f->cbor));
    f->op.failed |= f->cbor.failed;
}

/* The same event as an op `ev` of aqueduct.v1. */
static bool frames_op(struct frames *f, const struct subscription *s, struct str cursor, struct wire *out)
{
    int opcode = s->cbor ? WS_BINARY : WS_TEXT;
    frames_begin_payload(&f->op);
    if (s->cbor)
        frames_op_cbor(f, s->sub, cursor);
    else
        frames_op_json(f, s->sub, cursor);
    if (f->op.failed)
        return false;
    struct str payload = str_from(buf_str(&f->op), WS_HEAD);
    out->body = frames_head(&f->op, opcode);
    if (s->deflate != WS_WINDOW_NONE)
        out->body = frames_deflate(f, &f->op_deflated, s->deflate, opcode, payload, out->body);
    return true;
}

void frames_add_op(struct buf *out, const struct subscription *s, struct str json)
{
    unsigned char head[WS_HEAD];
    struct buf cbor = buf_new(SIZE_MAX / 2);
    if (s->cbor)
        cbor_add_json(&cbor, json);
    struct str payload = s->cbor ? buf_str(&cbor) : json;
    buf_add(out, head, ws_head(head, s->cbor ? WS_BINARY : WS_TEXT, payload.n));
    buf_add_str(out, payload);
    out->failed |= cbor.failed;
    buf_free(&cbor);
}

size_t frames_bytes(const struct frames *f)
{
    return f->made ? f->frame.n : f->cbor.n;
}

/* JSON may contain line breaks, between its values; each line is a field of its own. */
static void frames_add_data(struct buf *out, struct str json)
{
    while (json.n) {
        size_t n = 0;
        while (n < json.n && json.at[n] != '\n' && json.at[n] != '\r')
            n++;
        buf_add_c(out, "data: ");
        buf_add(out, json.at, n);
        buf_add_char(out, '\n');
        if (n + 1 < json.n && json.at[n] == '\r' && json.at[n + 1] == '\n')
            n++;
        n += n < json.n;
        json = str_from(json, n);
    }
}

/* An event of these names would pass for a connection that broke or opened. */
static bool frames_is_reserved(struct str type)
{
    return str_eq(type, STR("error")) || str_eq(type, STR("open"));
}

/* The block without its position, once for those with names and those without. */
static bool frames_make_block(struct frames *f, bool named)
{
    struct buf *b = &f->blocks[named];
    if (f->block_made[named])
        return !b->failed;
    f->block_made[named] = true;
    buf_reset(b);
    if (named && !frames_is_reserved(f->event->type)) {
        buf_add_c(b, "event: ");
        buf_add_str(b, f->event->type);
        buf_add_char(b, '\n');
    }
    frames_add_data(b, f->json);
    buf_add_char(b, '\n');
    return !b->failed;
}

bool frames_wire(struct frames *f, const struct subscription *s, struct str cursor, struct wire *out)
{
    *out = (struct wire){ STR(""), STR("") };
    if (!s->cbor && !frames_make(f))
        return false;
    if (s->sub)
        return frames_op(f, s, cursor, out);
    if (!s->sse && s->with_cursor && cursor.n)
        return frames_place(f, s->deflate, cursor, out);
    if (!s->sse) {
        out->body = frames_text(f, s->deflate);
        return true;
    }
    if (!frames_make_block(f, s->named))
        return false;
    out->body = buf_str(&f->blocks[s->named]);
    buf_reset(&f->placed);
    if (cursor.n)
        buf_printf(&f->placed, "id: %.*s\n", STR_ARG(cursor));
    out->head = buf_str(&f->placed);
    return !f->placed.failed;
}
