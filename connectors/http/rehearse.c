/* SPDX-License-Identifier: MIT */
/* Opens one path, proves who the sender is as `aqueduct send` does, and reads the request as one that came. */
#include "connectors/http/rehearse.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"
#include "bridge/net/http/http.h"
#include "connectors/http/path.h"
#include "connectors/http/pattern.h"
#include "connectors/http/private.h"
#include "connectors/http/proof.h"
#include "connectors/http/unpack.h"

enum { REHEARSE_HEADERS = 64, REHEARSE_ORIGINS = 4 };

/* One path, open. */
struct rehearsal {
    const struct http_source *s;
    struct sandbox sandbox;
    struct path path;
    struct header headers[REHEARSE_HEADERS];
    size_t count;
    struct buf proof, key; /* headers; what belongs into the query */
};

static const struct path_options *rehearse_path(const struct http_source *s, struct str name)
{
    const struct path_options *o = s->path_options.at;
    for (int pattern = 0; pattern <= 1; pattern++)
        for (size_t i = 0; i < s->path_options.count; i++)
            if (pattern ? pattern_is(o[i].path) && pattern_matches(str_of(o[i].path), name)
                        : str_eq(str_of(o[i].path), name) && !pattern_is(o[i].path))
                return &o[i];
    return NULL;
}

static bool rehearse_has(const struct rehearsal *h, struct str name)
{
    for (size_t i = 0; i < h->count; i++)
        if (str_eq_nocase(h->headers[i].name, name))
            return true;
    return false;
}

/* Those of the case, what proves the sender, and a content type. */
static bool rehearse_headers(struct rehearsal *h, const struct posted *p, const struct path_options *o, struct err *e)
{
    char id[UUID_TEXT];
    if (p->header_count > REHEARSE_HEADERS / 2)
        return err_set(e, "a request of a case has at most %d headers", REHEARSE_HEADERS / 2);
    for (; h->count < p->header_count; h->count++)
        h->headers[h->count] = p->headers[h->count];
    uuid_random(id);
    struct proof proof = { .o = &o->verify, .id = str_of(id), .wall_ms = clock_wall_ms(), .query = &h->key };
    if (!p->bare && !proof_add(&proof, p->body, &h->proof, e))
        return false;
    for (size_t at = 0; at < h->proof.n && h->count < REHEARSE_HEADERS - 1; at += strlen(h->proof.at + at) + 1) {
        struct str value = str_of(h->proof.at + at), name;
        str_cut(&value, ':', &name);
        if (!rehearse_has(h, name)) /* an id may be the case's own only where nothing signs it */
            h->headers[h->count++] = (struct header){ name, str_trim(value) };
    }
    if (!rehearse_has(h, STR("content-type")))
        h->headers[h->count++] = (struct header){ STR("content-type"), str_of(o->content_type && *o->content_type
                                                                                  ? o->content_type
                                                                                  : verify_media(&o->verify)) };
    return true;
}

static int rehearse_read(struct rehearsal *h, const struct http_request *r, const struct event **out, size_t room,
                         int *status, struct err *e)
{
    struct unpacker *unpacker = unpacker_new();
    struct buf form = buf_new((size_t)h->s->server_options.max_body.n + 1);
    struct buf origins = buf_new((room + 1) * PATH_ORIGIN * REHEARSE_ORIGINS);
    const struct path_limits most = { .events = room < (size_t)h->s->max_batch ? room : (size_t)h->s->max_batch,
                                      .attributes = (size_t)h->s->max_attributes,
                                      .body = (size_t)h->s->server_options.max_body.n,
                                      .unpacker = unpacker,
                                      .form = &form };
    struct verified v = verifier_check(h->path.verifier, r);
    int n = -1;
    if (v.no != REFUSAL_NONE) {
        *status = v.no == REFUSAL_AWAITED ? 503 : 401;
        err_set(e, "verify: %s%s%s", refusal_text(v.no), v.why ? ": " : "", v.why ? v.why : "");
    } else if (path_answers(&h->path, r, &form)) {
        *status = path_status(&h->path);
        n = 0;
    } else {
        n = path_events(&h->path, r, &most, out, &origins, status, e);
        *status = n < 0 ? *status : path_status(&h->path);
    }
    unpacker_free(unpacker);
    buf_free(&form);
    buf_free(&origins);
    return n;
}

int rehearse_request(const struct source *base, const struct posted *p, const struct event **out, size_t room,
                     int *status, struct err *e)
{
    struct rehearsal h = { .s = (const struct http_source *)base,
                           .proof = buf_new(PROOF_BYTES),
                           .key = buf_new(PROOF_BYTES) };
    struct str query = p->path, name;
    int n = -1;
    str_cut(&query, '?', &name);
    const struct path_options *o = rehearse_path(h.s, name);
    *status = o ? 0 : 404;
    if (!o)
        err_set(e, "there is nothing at this path");
    struct http_request r = { .id = 1,
                              .method = STR("POST"),
                              .target = p->path,
                              .path = name,
                              .query = query,
                              .headers = h.headers,
                              .body = p->body,
                              .peer = STR("127.0.0.1:1"),
                              .network = STR("127.0.0.1") };
    if (o && (size_t)h.s->server_options.max_body.n < p->body.n) {
        *status = 413;
        err_set(e, "the body is longer than max_body");
    } else if (o && rehearse_headers(&h, p, o, e)) {
        if (mapping_is_asked(&o->mapping))
            sandbox_open(&h.sandbox, (size_t)h.s->server_options.max_body.n);
        r.header_count = h.count;
        if (h.key.n && query.n)
            buf_printf(&h.key, "&%.*s", STR_ARG(query));
        r.query = h.key.n ? buf_str(&h.key) : query;
        if (path_open(&h.path, o, &h.sandbox, base->id, e))
            n = rehearse_read(&h, &r, out, room, status, e);
        path_close(&h.path);
        sandbox_close(&h.sandbox);
    }
    crypto_wipe_buf(&h.key);
    crypto_wipe_buf(&h.proof);
    return n;
}
