/* SPDX-License-Identifier: MIT */
/* The pages of metrics and health. */
#include "bridge/admin/pages.h"
#include <stdio.h>
#include "bridge/lib/buf.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/descriptors.h"
#include "bridge/lib/metrics.h"
#include "bridge/net/host.h"

METRIC_COUNTER(aqueduct_admin_refused_total, "Requests for the pages of the admin listener that were refused.",
               "reason");

enum { PAGE_BYTES = 16 << 20, STATUS_BYTES = 64 << 20, ID_BYTES = 4096 };

static void pages_send(struct http_server *server, const struct http_request *r, int status, const char *type,
                       struct str body)
{
    const struct header headers[] = { { STR("Content-Type"), str_of(type) },
                                      { STR("Cache-Control"), STR("no-store") } };
    http_server_reply(server, r->id, status, headers, 2, body);
}

static void pages_reply(const struct pages *p, const struct http_request *r, int status, const char *type,
                        struct str body)
{
    pages_send(p->server, r, status, type, body);
}

static void pages_metrics(const struct pages *p, const struct http_request *r)
{
    struct buf page = buf_new(PAGE_BYTES);
    descriptors_measure();
    p->gather(p->ctx);
    metrics_write(&page);
    pages_reply(p, r, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&page));
    buf_free(&page);
}

void pages_ready(const struct pages *p, struct http_server *server, const struct http_request *r)
{
    struct err why = { "" };
    bool ready = p->ready(p->ctx, &why);
    char text[sizeof why.text + 16];
    snprintf(text, sizeof text, "%s%s\n", !ready ? "not ready: " : why.text[0] ? "ready; but " : "ready", why.text);
    pages_send(server, r, ready ? 200 : 503, "text/plain; charset=utf-8", str_of(text));
}

/* %XX in what a query says; what is no such thing stands for itself. */
static struct str pages_decode(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.at[i] == '%' && i + 2 < s.n && hex_decode(out, (struct str){ s.at + i + 1, 2 }))
            i += 2;
        else
            buf_add_char(out, s.at[i]);
    }
    return buf_str(out);
}

/* The question in the query; the id is decoded into `id`. False: it is none. */
static bool pages_question(const struct pages *p, struct str query, struct account_question *q, struct buf *id)
{
    struct str rest = query, pair, name;
    uint64_t n = 0;
    while (query.at && str_cut(&rest, '&', &pair)) {
        struct str value = pair;
        if (!str_cut(&value, '=', &name))
            return false;
        if (p->verifier && verify_reads_query(p->verify, name))
            continue;
        if (str_eq(name, STR("events")) && str_to_u64(value, &n) && n <= ACCOUNT_EVENTS)
            q->events = (size_t)n;
        else if (str_eq(name, STR("listeners")) && str_to_u64(value, &n) && n <= ACCOUNT_LISTENERS)
            q->listeners.most = (size_t)n;
        else if (str_eq(name, STR("connection")) && str_to_u64(value, &n))
            q->listeners.connection = n;
        else if (str_eq(name, STR("id")) && !id->n)
            q->id = pages_decode(id, value);
        else
            return false;
    }
    return !id->failed;
}

void pages_status(const struct pages *p, struct http_server *server, const struct http_request *r)
{
    struct account_question question = { 0 };
    struct buf out = buf_new(STATUS_BYTES), id = buf_new(ID_BYTES);
    if (!pages_question(p, r->query, &question, &id))
        pages_send(server, r, 400, "text/plain; charset=utf-8",
                   STR("GET /status[?events=N&id=ID&listeners=N&connection=C], N at most 1000\n"));
    else {
        p->account(p->ctx, &question, &out);
        pages_send(server, r, out.failed ? 500 : 200, "application/json", buf_str(&out));
    }
    buf_free(&id);
    buf_free(&out);
}

/* Answers with one header more. */
static void pages_refuse(const struct pages *p, const struct http_request *r, int status, struct header more,
                         const char *text)
{
    const struct header headers[] = { { STR("Content-Type"), STR("text/plain; charset=utf-8") },
                                      { STR("Cache-Control"), STR("no-store") },
                                      more };
    http_server_reply(p->server, r->id, status, headers, more.name.n ? 3 : 2, str_of(text));
}

static bool pages_knows_host(const struct pages *p, struct str host)
{
    if (!p->hosts || host_is_address(host))
        return true;
    for (size_t i = 0; i < p->hosts->count; i++)
        if (str_eq_nocase(str_of(p->hosts->at[i]), host_name(host)))
            return true;
    return false;
}

/* False: the request is answered. */
static bool pages_is_verified(const struct pages *p, const struct http_request *r)
{
    enum refusal no = p->verifier ? verifier_check(p->verifier, r).no : REFUSAL_NONE;
    if (p->access && (no || !p->verifier) && access_asks(p->access))
        no = access_shows(p->access, r) ? REFUSAL_NONE : no ? no : REFUSAL_MISSING;
    if (!no)
        return true;
    metric_add(metric_get(&aqueduct_admin_refused_total, LABELS(p->by_tokens ? "token" : refusal_text(no))), 1);
    if (no == REFUSAL_AWAITED) {
        pages_refuse(p, r, 503, (struct header){ STR("Retry-After"), STR("1") },
                     "the keys that requests are verified with are not there yet\n");
        return false;
    }
    struct str challenge = p->verifier ? verifier_challenge(p->verifier) : STR("Bearer");
    pages_refuse(p, r, 401, (struct header){ STR("WWW-Authenticate"), challenge },
                 p->by_tokens ? "a token of admin.tokens is needed: Authorization: Bearer ...\n"
                              : "the request could not be verified\n");
    return false;
}

/* The same. */
static bool pages_may_see(const struct pages *p, const struct http_request *r)
{
    if (str_eq(r->path, STR("/healthz")))
        return true;
    if (!pages_is_verified(p, r))
        return false;
    if ((p->verifier && verify_asks(p->verify) == ASKS_WHO) || pages_knows_host(p, http_header(r, "Host", NULL)))
        return true;
    metric_add(metric_get(&aqueduct_admin_refused_total, LABELS("host")), 1);
    pages_refuse(
        p, r, 403, (struct header){ STR_ABSENT, STR_ABSENT },
        "this name is none of the listener's: use its address or localhost, or put the name into admin.hosts\n");
    return false;
}

void pages_answer(void *ctx, const struct http_request *r)
{
    const struct pages *p = ctx;
    if (!str_eq(r->method, STR("GET")) && !str_eq(r->method, STR("HEAD")))
        pages_refuse(p, r, 405, (struct header){ STR("Allow"), STR("GET, HEAD") }, "only GET and HEAD\n");
    else if (!pages_may_see(p, r))
        return;
    else if (str_eq(r->path, STR("/metrics")))
        pages_metrics(p, r);
    else if (str_eq(r->path, STR("/readyz")))
        pages_ready(p, p->server, r);
    else if (str_eq(r->path, STR("/status")))
        pages_status(p, p->server, r);
    else if (str_eq(r->path, STR("/healthz")))
        pages_reply(p, r, 200, "text/plain; charset=utf-8", STR("ok\n"));
    else
        pages_reply(p, r, 404, "text/plain", STR("there are /metrics, /status, /healthz and /readyz\n"));
}
