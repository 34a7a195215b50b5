/* SPDX-License-Identifier: MIT */
/* The pages of metrics and health. */
#include "bridge/admin/pages.h"
#include <stdio.h>
#include "bridge/lib/buf.h"
#include "bridge/lib/descriptors.h"
#include "bridge/lib/metrics.h"
#include "bridge/net/host.h"

METRIC_COUNTER(aqueduct_admin_refused_total, "Requests for the pages of the admin listener that were refused.",
               "reason");

enum { PAGE_BYTES = 16 << 20 };

static void pages_reply(const struct pages *p, const struct http_request *r, int status, const char *type,
                        struct str body)
{
    const struct header headers[] = { { STR("Content-Type"), str_of(type) },
                                      { STR("Cache-Control"), STR("no-store") } };
    http_server_reply(p->server, r->id, status, headers, 2, body);
}

static void pages_metrics(const struct pages *p, const struct http_request *r)
{
    struct buf page = buf_new(PAGE_BYTES);
    descriptors_measure();
    metrics_write(&page);
    pages_reply(p, r, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&page));
    buf_free(&page);
}

static void pages_ready(const struct pages *p, const struct http_request *r)
{
    struct err why = { "" };
    bool ready = p->ready(p->ctx, &why);
    char text[sizeof why.text + 16];
    snprintf(text, sizeof text, "%s%s\n", ready ? "ready" : "not ready: ", ready ? "" : why.text);
    pages_reply(p, r, ready ? 200 : 503, "text/plain; charset=utf-8", str_of(text));
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

static bool pages_has_token(const struct pages *p, const struct http_request *r)
{
    size_t count;
    struct str token = token_of_authorization(http_header(r, "Authorization", &count));
    return count == 1 && tokens_match(p->tokens, token);
}

/* False: the request is answered. */
static bool pages_may_see(const struct pages *p, const struct http_request *r)
{
    if (str_eq(r->path, STR("/healthz")))
        return true;
    if (p->tokens && !pages_has_token(p, r)) {
        metric_add(metric_get(&aqueduct_admin_refused_total, LABELS("token")), 1);
        pages_refuse(p, r, 401, (struct header){ STR("WWW-Authenticate"), STR("Bearer") },
                     "a token of admin.tokens is needed: Authorization: Bearer ...\n");
        return false;
    }
    if (p->tokens || pages_knows_host(p, http_header(r, "Host", NULL)))
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
        pages_ready(p, r);
    else if (str_eq(r->path, STR("/healthz")))
        pages_reply(p, r, 200, "text/plain; charset=utf-8", STR("ok\n"));
    else
        pages_reply(p, r, 404, "text/plain", STR("there are /metrics, /healthz and /readyz\n"));
}
