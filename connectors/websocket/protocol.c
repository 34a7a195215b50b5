/* SPDX-License-Identifier: MIT */
/* Frames of answers. */
#include "connectors/websocket/protocol.h"
#include "bridge/lib/jscan.h"

bool code_is_temporary(enum code code)
{
    return code == CODE_TOO_MANY || code >= 4500;
}

/* `{"op":"ok","id":3`, or its plain form. */
static void protocol_begin(struct buf *out, const struct asked *a, const char *op, const char *status)
{
    if (!a->op)
        buf_printf(out, "{\"type\":\"status\",\"status\":\"%s\"", status);
    else
        buf_printf(out, "{\"op\":\"%s\"", op);
    if (a->id[0])
        buf_printf(out, ",\"id\":%s", a->id);
}

static void protocol_add_text(struct buf *out, const char *name, struct str text)
{
    if (text.n == 0)
        return;
    buf_printf(out, ",\"%s\":", name);
    jscan_add_string(out, text);
}

void protocol_stored(struct buf *out, const struct asked *a, struct str event_id, const char *note)
{
    protocol_begin(out, a, "ok", "stored");
    protocol_add_text(out, "event", event_id);
    protocol_add_text(out, "note", str_of(note ? note : ""));
    buf_add_char(out, '}');
}

void protocol_refused(struct buf *out, const struct asked *a, struct str event_id, enum code code, const char *why)
{
    protocol_begin(out, a, "err", "refused");
    protocol_add_text(out, "event", event_id);
    buf_printf(out, ",\"code\":%d", (int)code);
    protocol_add_text(out, a->op ? "msg" : "why", str_of(why));
    buf_printf(out, ",\"temp\":%s}", code_is_temporary(code) ? "true" : "false");
}

void protocol_ok(struct buf *out, const struct asked *a, const char *sub, struct str position)
{
    protocol_begin(out, a, "ok", "");
    if (*sub)
        buf_printf(out, ",\"sub\":%s", sub);
    protocol_add_text(out, "pos", position);
    buf_add_char(out, '}');
}

void protocol_welcome(struct buf *out, const struct asked *a, int64_t ping_ms, int64_t max_message, int64_t subs)
{
    protocol_begin(out, a, "welcome", "");
    buf_printf(out, ",\"ping_ms\":%lld,\"limits\":{\"message\":%lld,\"subs\":%lld}}", (long long)ping_ms,
               (long long)max_message, (long long)subs);
}

void protocol_drain(struct buf *out, uint32_t reconnect_ms)
{
    buf_printf(out, "{\"op\":\"drain\",\"reconnect_ms\":%u", reconnect_ms);
}

void protocol_drain_place(struct buf *out, bool first, const char *sub, struct str position)
{
    buf_printf(out, "%s%s:\"%.*s\"", first ? ",\"pos\":{" : ",", sub, STR_ARG(position));
}

void protocol_drain_end(struct buf *out, bool any)
{
    buf_add_c(out, any ? "}}" : "}");
}

void protocol_place(struct buf *out, const char *op, const char *sub, struct str position)
{
    buf_printf(out, "{\"op\":\"%s\",\"sub\":%s", op, sub);
    protocol_add_text(out, "pos", position);
    buf_add_char(out, '}');
}
