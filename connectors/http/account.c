/* SPDX-License-Identifier: MIT */
/* What an HTTP source tells `aqueduct status` of itself: where it listens, its paths, and how many requests got which answer. */
#include <inttypes.h>
#include "bridge/lib/jscan.h"
#include "connectors/http/called.h"
#include "connectors/http/private.h"

struct account_path { /* at hand */
    const char *source, *path;
    struct buf *out;
    bool any;
};

static void account_add_count(void *ctx, const char *const *values, int64_t value)
{
    struct account_path *p = ctx;
    if (value == 0 || strcmp(values[0], p->source) != 0 || strcmp(values[1], p->path) != 0)
        return;
    buf_printf(p->out, "%s\"%s\":%" PRId64, p->any ? "," : "", values[2], value);
    p->any = true;
}

/* By the last label: {"202":17,"401":2}. */
static void account_add_counts(const char *name, const struct metric_family *of, struct account_path p)
{
    buf_printf(p.out, ",\"%s\":{", name);
    metric_each(of, account_add_count, &p);
    buf_add_char(p.out, '}');
}

static void account_add_path(const struct http_source *s, const struct path_options *o, bool runs, struct buf *out)
{
    struct buf label = buf_new(2 * EVENT_ATTRIBUTE_BYTES);
    called_add_label(o, &label);
    buf_add_c(out, "{\"path\":");
    jscan_add_string(out, buf_str(&label));
    buf_printf(out, ",\"scheme\":\"%s\"",
               o->verify.any.count   ? "any"
               : o->verify.all.count ? "all"
                                     : verify_name(&o->verify));
    if (runs) {
        struct account_path p = { s->base.id, buf_c(&label), out, false };
        account_add_counts("answers", &aqueduct_http_requests_total, p);
        account_add_counts("unverified", &aqueduct_http_refused_total, p);
    } else
        buf_add_c(out, ",\"answers\":null,\"unverified\":null");
    buf_add_char(out, '}');
    buf_free(&label);
}

void source_account(const struct source *base, bool runs, struct buf *out)
{
    const struct http_source *s = (const struct http_source *)base;
    buf_add_c(out, ",\"listen\":");
    jscan_add_string(out, str_of(s->server_options.listen));
    buf_add_c(out, ",\"paths\":[");
    for (size_t i = 0; i < s->path_options.count; i++) {
        if (i)
            buf_add_char(out, ',');
        account_add_path(s, (const struct path_options *)s->path_options.at + i, runs, out);
    }
    buf_add_char(out, ']');
}
