/* SPDX-License-Identifier: MIT */
/* Answers to requests for events. */
#include <stdio.h>
#include "connectors/websocket/access.h"
#include "connectors/websocket/pull_private.h"

void pull_reply(struct websocket_sink *s, const struct pulling *p, int status, const struct header *more, size_t count,
                struct str body)
{
    struct header headers[8 + ACCESS_CORS];
    size_t n = 0;
    for (; n < count; n++)
        headers[n] = more[n];
    headers[n++] = (struct header){ STR("Cache-Control"), STR("no-store") };
    n += access_cors(str_of(p->origin), s->token_cookie, headers + n);
    http_server_reply(s->server, p->id, status, headers, n, body);
}

void pull_fail(struct websocket_sink *s, const struct pulling *p, int status, const char *why)
{
    struct buf body = buf_new(REFUSE_BYTES);
    refuse_text(&body, status, why);
    struct header headers[2] = { { STR("Content-Type"), STR("application/problem+json") } };
    size_t n = 1;
    if (status == 401)
        headers[n++] = (struct header){ STR("WWW-Authenticate"), verifier_challenge(s->verifier) };
    if (status == 405)
        headers[n++] = (struct header){ STR("Allow"), STR("GET, HEAD, PUT, DELETE") };
    if (status == 503)
        headers[n++] = (struct header){ STR("Retry-After"), STR("5") };
    pull_reply(s, p, status, headers, n, buf_str(&body));
    buf_free(&body);
}

static void pull_body(const struct pulling *p, struct str cursor, struct buf *out)
{
    struct str events = buf_str(&p->body);
    switch (p->format) {
    case PULL_LINES:
        buf_add_str(out, events);
        buf_add_c(out, events.n ? "\n" : "");
        return;
    case PULL_BATCH:
        buf_add_char(out, '[');
        buf_add_str(out, events);
        buf_add_c(out, "]\n");
        return;
    case PULL_JSON:
        buf_add_c(out, "{\"cursor\":\"");
        buf_add_str(out, cursor);
        buf_printf(out, "\",\"resume\":\"%s\",\"lost\":%lld,\"more\":%s,\"events\":[", cursor_verdict_text(p->verdict),
                   (long long)p->lost, p->more ? "true" : "false");
        buf_add_str(out, events);
        buf_add_c(out, "]}\n");
        return;
    }
}

void pull_answer(struct pulling *p, struct websocket_sink *s)
{
    static const char *const types[] = { [PULL_JSON] = "application/json",
                                         [PULL_LINES] = "application/x-ndjson",
                                         [PULL_BATCH] = "application/cloudevents-batch+json" };
    char resume[64];
    struct buf cursor = buf_new(CURSOR_TEXT_MAX), body = buf_new(p->body.n + CURSOR_TEXT_MAX + 256);
    p->more = pull_has_more(p, s);
    pull_close_readers(p, s);
    cursor_write(p->cursor, s->pull.key, &cursor);
    snprintf(resume, sizeof resume, "%s;lost=%lld", cursor_verdict_text(p->verdict), (long long)p->lost);
    pull_body(p, buf_str(&cursor), &body);
    const struct header headers[] = {
        { STR("Content-Type"), str_of(types[p->format]) },
        { STR("Aqueduct-Cursor"), buf_str(&cursor) },
        { STR("Aqueduct-Resume"), str_of(resume) },
        { STR("Aqueduct-More"), p->more ? STR("true") : STR("false") },
    };
    metric_add(s->pull.answers, 1);
    metric_add(s->pull.events, (int64_t)p->count);
    pull_reply(s, p, 200, headers, sizeof headers / sizeof *headers, buf_str(&body));
    buf_free(&cursor);
    buf_free(&body);
}
