/* SPDX-License-Identifier: MIT */
/* What is told, as frames. */
#include "connectors/websocket/told.h"
#include "bridge/event/event.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/jscan.h"
#include "connectors/websocket/frames.h"

const char *resume_text(enum resume r)
{
    switch (r) {
    case RESUME_EXACT: return "exact";
    case RESUME_GAP: return "gap";
    case RESUME_RESET: return "reset";
    case RESUME_NEW: return "new";
    case RESUME_SKIPPED: return "skipped";
    }
    return "";
}

/* "resume":"gap","lost":{"ai.chats/3":1204}} */
static void told_add_members(struct buf *out, const struct told *n)
{
    const char *separator = ",\"lost\":{";
    buf_printf(out, "\"resume\":\"%s\"", resume_text(n->resume));
    for (uint32_t i = 0; n->lost && i < n->places->count; i++) {
        const struct place *p = &n->places->at[i];
        if (n->lost[i] == 0)
            continue;
        buf_printf(out, "%s\"%s/%d\":%lld", separator, p->topic, (int)p->partition, (long long)n->lost[i]);
        separator = ",";
    }
    buf_add_c(out, separator[1] ? "}" : "}}");
}

/* A frame with a CloudEvent, or with an op of the subscription. */
static void told_add_message(struct buf *out, const struct subscription *s, const struct told *n)
{
    struct buf json = buf_new(TOLD_BYTES);
    if (s->sub)
        buf_printf(&json, "{\"op\":\"state\",\"sub\":%s,", s->sub);
    else
        buf_printf(
            &json,
            "{\"specversion\":\"1.0\",\"id\":\"resume-%lld\",\"source\":\"/aqueduct\",\"type\":\"" EVENT_RESUME_TYPE
            "\",\"data\":{",
            (long long)clock_mono_us());
    told_add_members(&json, n);
    if (!s->sub)
        buf_add_char(&json, '}');
    frames_add_op(out, s, buf_str(&json));
    out->failed |= json.failed;
    buf_free(&json);
}

void told_add(struct buf *out, const struct subscription *s, const struct told *n)
{
    if (s->sse) {
        buf_add_c(out, "event: resume\ndata: {");
        told_add_members(out, n);
        buf_add_c(out, "\n\n");
    } else if (s->sub || (n->resume != RESUME_EXACT && n->resume != RESUME_NEW)) {
        told_add_message(out, s, n);
    }
}
