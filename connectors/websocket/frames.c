/* SPDX-License-Identifier: MIT */
/* Frames and blocks from an event's JSON. */
#include "connectors/websocket/frames.h"
#include "bridge/event/event.h"
#include "bridge/net/ws.h"

void frames_open(struct frames *f, size_t longest)
{
    *f = (struct frames){ .frame = buf_new(longest + WS_HEAD),
                          .blocks = { buf_new(longest), buf_new(longest) },
                          .deflated = { buf_new(longest + WS_HEAD), buf_new(longest + WS_HEAD) },
                          .op = buf_new(longest + WS_HEAD) };
}

void frames_close(struct frames *f)
{
    buf_free(&f->frame);
    buf_free(&f->op);
    for (int i = 0; i < 2; i++) {
        buf_free(&f->blocks[i]);
        buf_free(&f->deflated[i]);
        ws_deflater_free(f->deflaters[i]);
    }
}

struct str frames_websocket(struct frames *f, const struct event *ev)
{
    unsigned char head[WS_HEAD] = { 0 };
    f->json = STR_ABSENT;
    buf_reset(&f->frame);
    buf_add(&f->frame, head, WS_HEAD);
    event_to_json(ev, &f->frame);
    if (f->frame.failed)
        return STR_ABSENT;
    f->json = str_from(buf_str(&f->frame), WS_HEAD);
    /* The head is written backwards from where the JSON begins. */
    size_t n = ws_head(head, WS_TEXT, f->json.n);
    char *at = f->frame.at + WS_HEAD - n;
    memcpy(at, head, n);
    f->plain = (struct str){ at, n + f->json.n };
    return f->plain;
}

struct str frames_deflated(struct frames *f, enum ws_window window)
{
    bool small = window == WS_WINDOW_SMALL;
    struct buf *b = &f->deflated[small];
    unsigned char head[WS_HEAD];
    if (!f->json.at)
        return STR_ABSENT;
    if (!f->deflaters[small])
        f->deflaters[small] = ws_deflater_new(window);
    struct str payload = ws_deflate(f->deflaters[small], f->json);
    if (!payload.at)
        return f->plain;
    buf_reset(b);
    buf_add(b, head, ws_head(head, WS_TEXT | WS_DEFLATED, payload.n));
    buf_add_str(b, payload);
    return buf_str(b);
}

struct str frames_op(struct frames *f, const char *sub)
{
    unsigned char head[WS_HEAD] = { 0 };
    if (!f->json.at)
        return STR_ABSENT;
    buf_reset(&f->op);
    buf_add(&f->op, head, WS_HEAD);
    buf_printf(&f->op, "{\"op\":\"ev\",\"sub\":%s,\"d\":[", sub);
    buf_add_str(&f->op, f->json);
    buf_add_c(&f->op, "]}");
    if (f->op.failed)
        return STR_ABSENT;
    /* As above. */
    size_t n = ws_head(head, WS_TEXT, f->op.n - WS_HEAD);
    char *at = f->op.at + WS_HEAD - n;
    memcpy(at, head, n);
    return (struct str){ at, n + f->op.n - WS_HEAD };
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

struct str frames_sse(struct frames *f, const struct message *m, bool named)
{
    struct buf *b = &f->blocks[named];
    if (!f->json.at)
        return STR_ABSENT;
    buf_reset(b);
    buf_add_c(b, "id: ");
    buf_add_str(b, m->record->topic);
    buf_printf(b, "/%d@%lld\n", m->record->partition, (long long)m->record->offset);
    if (named && !frames_is_reserved(m->event->type)) {
        buf_add_c(b, "event: ");
        buf_add_str(b, m->event->type);
        buf_add_char(b, '\n');
    }
    frames_add_data(b, f->json);
    buf_add_char(b, '\n');
    return b->failed ? STR_ABSENT : buf_str(b);
}
