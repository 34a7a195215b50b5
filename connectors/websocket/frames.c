/* SPDX-License-Identifier: MIT */
/* Frames and blocks from an event's JSON. */
#include "connectors/websocket/frames.h"
#include <string.h>
#include "bridge/event/event.h"
#include "bridge/net/ws.h"

enum { CURSOR_ROOM = 64 * 1024 }; /* for a position */

void frames_open(struct frames *f, size_t longest)
{
    *f = (struct frames){ .frame = buf_new(longest + WS_HEAD),
                          .blocks = { buf_new(longest), buf_new(longest) },
                          .placed = buf_new(longest + WS_HEAD + CURSOR_ROOM),
                          .placed_deflated = buf_new(longest + WS_HEAD + CURSOR_ROOM),
                          .deflated = { buf_new(longest + WS_HEAD), buf_new(longest + WS_HEAD) },
                          .op = buf_new(longest + WS_HEAD + CURSOR_ROOM) };
}

void frames_close(struct frames *f)
{
    buf_free(&f->frame);
    buf_free(&f->op);
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
    f->made = f->block_made[0] = f->block_made[1] = f->deflated_made[0] = f->deflated_made[1] = false;
}

/* Ends a text frame whose payload stands in the buffer behind room for a head, which is written backwards from there. */
static struct str frames_head(struct buf *b)
{
    unsigned char head[WS_HEAD];
    size_t n = ws_head(head, WS_TEXT, b->n - WS_HEAD);
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
    f->plain = frames_head(&f->frame);
    return true;
}

/* The frame with the JSON deflated, in `b`; as it is when that is no shorter. */
static struct str frames_deflate(struct frames *f, struct buf *b, enum ws_window window, struct str json,
                                 struct str plain)
{
    bool small = window == WS_WINDOW_SMALL;
    unsigned char head[WS_HEAD];
    if (!f->deflaters[small])
        f->deflaters[small] = ws_deflater_new(window);
    struct str payload = ws_deflate(f->deflaters[small], json);
    if (!payload.at)
        return plain;
    buf_reset(b);
    buf_add(b, head, ws_head(head, WS_TEXT | WS_DEFLATED, payload.n));
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
        f->deflated_frame[small] = frames_deflate(f, &f->deflated[small], window, f->json, f->plain);
    f->deflated_made[small] = true;
    return f->deflated_frame[small];
}

/* The text frame with one attribute more in its JSON. */
static bool frames_place(struct frames *f, enum ws_window window, struct str cursor, struct wire *out)
{
    frames_begin_payload(&f->placed);
    buf_add(&f->placed, f->json.at, f->json.n - 1);
    buf_printf(&f->placed, ",\"aqueductcursor\":\"%.*s\"}", STR_ARG(cursor));
    if (f->placed.failed)
        return false;
    struct str json = str_from(buf_str(&f->placed), WS_HEAD);
    out->body = frames_head(&f->placed);
    if (window != WS_WINDOW_NONE)
        out->body = frames_deflate(f, &f->placed_deflated, window, json, out->body);
    return true;
}

/* The same event as an op `ev` of aqueduct.v1. */
static bool frames_op(struct frames *f, const char *sub, struct str cursor, struct wire *out)
{
    frames_begin_payload(&f->op);
    buf_printf(&f->op, "{\"op\":\"ev\",\"sub\":%s,", sub);
    if (cursor.n)
        buf_printf(&f->op, "\"pos\":\"%.*s\",", STR_ARG(cursor));
    buf_add_c(&f->op, "\"d\":[");
    buf_add_str(&f->op, f->json);
    buf_add_c(&f->op, "]}");
    if (f->op.failed)
        return false;
    out->body = frames_head(&f->op);
    return true;
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
    if (!frames_make(f))
        return false;
    if (s->sub)
        return frames_op(f, s->sub, cursor, out);
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
