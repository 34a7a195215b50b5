/* SPDX-License-Identifier: MIT */
/* Requests that become no listener. */
#include "bridge/lib/jscan.h"
#include "connectors/websocket/access.h"
#include "connectors/websocket/private.h"

/* One line per listener that was refused, but never more than the log can bear. */
static void refuse_log(struct websocket_sink *s, struct str peer, int status, const char *detail)
{
    int64_t left_out;
    bool pass = log_limit_pass(&s->log_limit, &left_out) || s->audit;
    if (left_out)
        LOG(INFO, "more listeners refused", LOG_C("sink", s->base.id), LOG_INT("lines_left_out", left_out));
    if (pass)
        LOG(INFO, "listener refused", LOG_C("sink", s->base.id), LOG_STR("peer", peer), LOG_INT("status", status),
            LOG_C("why", detail));
}

void refuse_text(struct buf *out, int status, const char *detail)
{
    buf_printf(out, "{\"title\":\"%s\",\"status\":%d,\"detail\":", http_status_text(status), status);
    jscan_add_string(out, str_of(detail));
    buf_add_char(out, '}');
}

void refuse_answer(struct websocket_sink *s, const struct http_request *r, int status, const char *detail)
{
    struct buf body = buf_new(REFUSE_BYTES);
    refuse_text(&body, status, detail);
    struct header headers[3 + ACCESS_CORS] = { { STR("Content-Type"), STR("application/problem+json") } };
    size_t n = 1;
    if (access_origin_ok(r, &s->origins)) /* so that a script can tell why */
        n += access_cors(http_header(r, "Origin", NULL), s->token_cookie, headers + n);
    if (status == 401)
        headers[n++] = (struct header){ STR("WWW-Authenticate"), verifier_challenge(s->verifier) };
    if (status == 405)
        headers[n++] = (struct header){ STR("Allow"), STR("GET, HEAD") };
    if (status == 426) {
        headers[n++] = (struct header){ STR("Upgrade"), STR("websocket") };
        headers[n++] = (struct header){ STR("Connection"), STR("Upgrade") };
    }
    if (status == 429 || status == 503)
        headers[n++] = (struct header){ STR("Retry-After"), STR("10") };
    http_server_reply(s->server, r->id, status, headers, n, buf_str(&body));
    buf_free(&body);
}

METRIC_COUNTER(aqueduct_listeners_refused_total,
               "Listeners refused because of what they showed to be let in, by reason.", "sink", "reason");

void refuse_unverified(struct websocket_sink *s, struct str peer, const struct verified *is, int status)
{
    metric_add(metric_get(&aqueduct_listeners_refused_total, LABELS(s->base.id, refusal_text(is->no))), 1);
    refuse_log(s, peer, status, is->why ? is->why : refusal_text(is->no));
}

void refuse_audit(const struct websocket_sink *s, const struct listener *l, const char *what, const char *more)
{
    if (s->audit)
        LOG(INFO, what, LOG_C("sink", s->base.id), LOG_STR("peer", l->peer->name),
            LOG_STR("user", l->user == l->peer ? STR("-") : l->user->name), LOG_C("what", *more ? more : "-"),
            LOG_INT("connection", http_stream_number(l->stream)));
}

void refuse_request(struct websocket_sink *s, const struct http_request *r, int status, const char *detail)
{
    refuse_log(s, r->peer, status, detail);
    refuse_answer(s, r, status, detail);
}
