/* SPDX-License-Identifier: MIT */
/* What would have made a signature right, for a line in the log. */
#include "bridge/auth/diagnose.h"
#include "bridge/lib/clock.h"
#include "bridge/verify/scheme.h"
#include "bridge/verify/verify.h"

enum { EXPLAIN_BODY = 32 << 10, EXPLAIN_SECRETS = 8 }; /* it tries some thirty versions of a body with each key */

static void explain_headers(const struct http_request *r, struct received *out)
{
    *out = (struct received){ .body = r->body };
    while (out->header_count < r->header_count && out->header_count < RECEIVED_HEADERS) {
        out->headers[out->header_count] = r->headers[out->header_count];
        out->header_count++;
    }
}

bool verifier_explain(struct verifier *v, const struct http_request *r, struct err *why)
{
    struct received received;
    struct diagnosis found = { 0 };
    for (size_t i = 0; i < v->part_count; i++) /* the first that knows */
        if (verifier_explain(v->parts[i], r, why))
            return true;
    if (!v->style || r->body.n > EXPLAIN_BODY)
        return false;
    struct diagnose d = {
        .scheme = v->which,
        .style = v->style,
        .header = v->header,
        .url = v->url ? signed_url(v, r, false) : STR_ABSENT,
        .secrets = v->secrets.at,
        .count = v->secrets.count < EXPLAIN_SECRETS ? v->secrets.count : EXPLAIN_SECRETS,
        .now_s = clock_wall_ms() / 1000,
        .tolerance_s = v->tolerance_s,
        .quick = true,
    };
    explain_headers(r, &received);
    if (!diagnose(&d, &received, &found, why) || found.part == DIFFERS_NOTHING)
        return false;
    return err_set(why, "%s: %s", differs_name(found.part), found.why.text), true;
}
