/* SPDX-License-Identifier: MIT */
/* Writes the account of a source out of its metrics. */
#include "bridge/intake/account.h"
#include <inttypes.h>
#include <string.h>
#include "bridge/intake/intake.h"
#include "bridge/lib/jscan.h"

struct account_refused {
    const char *source;
    struct buf *out;
    bool any;
};

static void account_add_refused(void *ctx, const char *const *values, int64_t value)
{
    struct account_refused *r = ctx;
    if (value == 0 || strcmp(values[0], r->source) != 0)
        return;
    if (r->any)
        buf_add_char(r->out, ',');
    jscan_add_string(r->out, str_of(values[1]));
    buf_printf(r->out, ":%" PRId64, value);
    r->any = true;
}

/* Does it see what it is to watch, and if not, why? */
static void account_add_ready(const struct source *s, bool runs, struct buf *out)
{
    struct err why = { "" };
    bool ready = runs && (!s->ops->ready || s->ops->ready(s, &why));
    buf_printf(out, ",\"ready\":%s,\"not_ready\":", !runs ? "null" : ready ? "true" : "false");
    if (runs && !ready)
        jscan_add_string(out, str_of(why.text));
    else
        buf_add_c(out, "null");
}

void intake_account(const struct source *s, bool runs, struct buf *out)
{
    buf_add_c(out, "{\"source\":");
    jscan_add_string(out, str_of(s->id));
    buf_printf(out, ",\"type\":\"%s\"", s->ops->type);
    if (runs) {
        struct account_refused r = { s->id, out, false };
        buf_printf(out, ",\"stored\":%" PRId64 ",\"repeats\":%" PRId64 ",\"refused\":{",
                   metric_value(metric_get(&aqueduct_source_stored_total, LABELS(s->id))),
                   metric_value(metric_get(&aqueduct_source_repeats_total, LABELS(s->id))));
        metric_each(&aqueduct_source_refused_total, account_add_refused, &r);
        buf_add_char(out, '}');
    } else
        buf_add_c(out, ",\"stored\":null,\"repeats\":null,\"refused\":null");
    account_add_ready(s, runs, out);
    if (s->ops->account)
        s->ops->account(s, runs, out);
    buf_add_char(out, '}');
}
