/* SPDX-License-Identifier: MIT */
/* Requests to look at. */
#include "connectors/webhook/show.h"
#include <stdlib.h>
#include "bridge/auth/diagnose.h"
#include "bridge/lib/mem.h"
#include "connectors/webhook/endpoint.h"

enum { SHOW_BATCH = 256 << 20 };

/* libcurl's ways to say a line: "Name: value", "Name;" (empty), "Name:" (not sent). */
static size_t show_headers(const struct request *r, struct header *out)
{
    size_t n = 0;
    for (size_t i = 0; i < r->line_count; i++) {
        struct str value = str_of(r->lines[i].data), name;
        str_cut(&value, ':', &name);
        if (!value.at && str_ends(name, STR(";")))
            out[n++] = (struct header){ { name.at, name.n - 1 }, STR("") };
        else if (str_trim(value).n)
            out[n++] = (struct header){ name, str_trim(value) };
    }
    return n;
}

static bool show_verify(const struct webhook_endpoint *ep, const struct shown_request *r, struct err *e)
{
    struct diagnosis found;
    struct received got = { .header_count = r->header_count, .body = r->body };
    struct diagnose d = {
        .style = ep->signer.style,
        .scheme = ep->signature.scheme,
        .header = ep->signer.header,
        .secrets = ep->secrets.at,
        .count = ep->secrets.count,
        .now_s = clock_wall_ms() / 1000,
        .tolerance_s = 300,
    };
    if (r->header_count > RECEIVED_HEADERS)
        return err_set(e, "it has more than %d headers", RECEIVED_HEADERS);
    memcpy(got.headers, r->headers, r->header_count * sizeof *r->headers);
    if (!diagnose(&d, &got, &found, e))
        return false;
    return found.part == DIFFERS_NOTHING || err_set(e, "its signature is not right: %s", found.why.text);
}

/* A request of a receiver of batches carries an array, here of one event. */
static bool show_build(struct request *r, const struct webhook_endpoint *ep, const struct message *m, struct buf *json,
                       struct err *e)
{
    char id[REQUEST_ID + 1];
    if (!endpoint_batches(ep))
        return request_build(r, &ep->template, m, clock_wall_ms(), e);
    buf_add_char(json, '[');
    if (!request_add_element(json, &ep->template, m, e))
        return false;
    buf_add_char(json, ']');
    return request_build_batch(r, &ep->template, m, request_id(m, id), buf_str(json), clock_wall_ms(), e);
}

bool show_request(const struct sink *s, const struct endpoint *base, const struct message *m,
                  void (*use)(void *ctx, const struct shown_request *r), void *ctx, struct err *e)
{
    struct webhook_endpoint ep = *(const struct webhook_endpoint *)base; /* nothing of it is open yet */
    struct request r = { 0 };
    struct buf json = buf_new(SHOW_BATCH);
    bool ok = endpoint_load(s, &ep, e);
    if (ok)
        endpoint_begin_template(&ep);
    ok = ok && show_build(&r, &ep, m, &json, e);
    if (ok) {
        struct header *headers = mem_alloc((r.line_count + 1) * sizeof *headers);
        struct shown_request shown = {
            .method = target_method(&ep.target),
            .url = r.url.n ? buf_str(&r.url) : str_of(ep.template.url),
            .headers = headers,
            .header_count = show_headers(&r, headers),
            .body = r.body,
            .signed_by = ep.signer.count ? signature_name(ep.signature.scheme) : NULL,
        };
        ok = !shown.signed_by || show_verify(&ep, &shown, e);
        if (ok)
            use(ctx, &shown);
        free(headers);
    }
    request_free(&r);
    buf_free(&json);
    endpoint_unload(&ep);
    return ok;
}
