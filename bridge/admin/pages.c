/* SPDX-License-Identifier: MIT */
/* The pages of metrics and health. */
#include "bridge/admin/pages.h"
#include <stdio.h>
#include "bridge/lib/buf.h"
#include "bridge/lib/descriptors.h"
#include "bridge/lib/metrics.h"

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

void pages_answer(void *ctx, const struct http_request *r)
{
    const struct pages *p = ctx;
    if (!str_eq(r->method, STR("GET")) && !str_eq(r->method, STR("HEAD")))
        pages_reply(p, r, 405, "text/plain", STR("only GET\n"));
    else if (str_eq(r->path, STR("/metrics")))
        pages_metrics(p, r);
    else if (str_eq(r->path, STR("/readyz")))
        pages_ready(p, r);
    else if (str_eq(r->path, STR("/healthz")))
        pages_reply(p, r, 200, "text/plain; charset=utf-8", STR("ok\n"));
    else
        pages_reply(p, r, 404, "text/plain", STR("there are /metrics, /healthz and /readyz\n"));
}
