/* SPDX-License-Identifier: MIT */
/* What is said of a source's options before it is open. */
#include <stdio.h>
#include "bridge/net/listen.h"
#include "connectors/http/called.h"
#include "connectors/http/path_check.h"
#include "connectors/http/pattern.h"
#include "connectors/http/private.h"
#include "connectors/http/slip.h"

/* Their ids would be taken for ids of one sender. */
static bool source_are_called_alike(const struct path_options *a, const struct path_options *b)
{
    struct buf one = buf_new(2 * EVENT_ATTRIBUTE_BYTES), other = buf_new(2 * EVENT_ATTRIBUTE_BYTES);
    called_add(a, &one);
    called_add(b, &other);
    bool alike = str_eq(buf_str(&one), buf_str(&other));
    buf_free(&one);
    buf_free(&other);
    return alike;
}

/* The path's own source as it is compared. */
static void source_own_source(const struct http_source *s, const struct path_options *o, struct owner *out)
{
    struct buf source = buf_new(2 * EVENT_ATTRIBUTE_BYTES);
    called_add_source(o, s->base.id, &source);
    owner_open(out, buf_str(&source));
    buf_free(&source);
}

/* Each could pass for the other. */
static bool source_check_sources(const struct http_source *s, const struct path_options *a,
                                 const struct path_options *b, struct err *e)
{
    struct owner one, other;
    source_own_source(s, a, &one);
    source_own_source(s, b, &other);
    if (strcmp(one.own, other.own) == 0)
        err_set(e, "source: %.100s and %.100s have the same source %.100s%s: each could pass for the other", a->path,
                b->path, one.own,
                !a->source || !*a->source   ? " (the first one's default)"
                : !b->source || !*b->source ? " (the second one's default)"
                                            : "");
    bool ok = strcmp(one.own, other.own) != 0;
    owner_close(&one);
    owner_close(&other);
    return ok;
}

/* Do two paths go together? */
static bool source_check_pair(const struct http_source *s, const struct path_options *a, const struct path_options *b,
                              struct err *e)
{
    if (!path_check_pair(a, b, e))
        return false;
    if (source_are_called_alike(a, b))
        return err_set(e, "name: another path is called like the name %.100s, and their ids would mix",
                       b->name ? b->name : a->name);
    return source_check_sources(s, a, b, e);
}

/* Is none of the headers that the request log tells one that a path is verified by? */
static bool source_check_told(const struct http_source *s, const struct path_options *o, struct err *e)
{
    for (size_t i = 0; i < s->request_log.headers.count; i++)
        if (verify_reads_header(&o->verify, str_of(s->request_log.headers.at[i])))
            return request_log_refuse(s->request_log.headers.at[i], e);
    return true;
}

/* Is the i-th path right, also beside those before it? */
static bool source_check_path(const struct http_source *s, const struct path_options *paths, size_t i, struct err *e)
{
    const struct tls_options tls = http_tls_options(&s->server_options);
    if (!path_check(&paths[i], e) || !verify_fits_tls(&paths[i].verify, &tls, e) || !source_check_told(s, &paths[i], e))
        return false;
    for (size_t k = 0; k < i; k++)
        if (!source_check_pair(s, &paths[k], &paths[i], e))
            return false;
    return true;
}

static bool source_check_whole(const struct http_source *s, struct err *e)
{
    if (s->max_pending_bytes.n < s->server_options.max_body.n)
        return err_set(e, "max_pending_bytes: is less than max_body, so that a long body could never be taken");
    if (!http_server_check(&s->server_options, e) || !limits_check(&s->limits, e)
        || !request_log_check(&s->request_log, e))
        return false;
    return s->path_options.count || err_set(e, "paths: there is none, so nothing could come in");
}

bool source_check(const struct source *base, struct err *e)
{
    const struct http_source *s = (const struct http_source *)base;
    const struct path_options *paths = s->path_options.at;
    if (!source_check_whole(s, e))
        return false;
    for (size_t i = 0; i < s->path_options.count; i++)
        if (!source_check_path(s, paths, i, e))
            return err_prefix(e, "paths: %.100s", paths[i].path ? paths[i].path : "");
    return true;
}

void source_faults(const struct source *base, fault_fn *each, void *ctx)
{
    const struct http_source *s = (const struct http_source *)base;
    struct err e;
    if (!source_check_whole(s, &e))
        each(ctx, "", e.text);
    for (size_t i = 0; i < s->path_options.count; i++) {
        char place[64];
        int n = snprintf(place, sizeof place, "paths[%zu]", i);
        if (source_check_path(s, s->path_options.at, i, &e))
            continue;
        const char *why = strncmp(e.text, "map[", 4) == 0 ? strstr(e.text, ": ") : NULL; /* an entry of `map` */
        if (why)
            snprintf(place + n, sizeof place - (size_t)n, ".%.*s", (int)(why - e.text), e.text);
        each(ctx, place, why ? why + 2 : e.text);
    }
}

struct source_doubt { /* of one path */
    fault_fn *doubtful;
    void *ctx;
    char place[32];
};

static void source_say_doubt(void *ctx, const char *text)
{
    const struct source_doubt *d = ctx;
    d->doubtful(d->ctx, d->place, text);
}

/* Of one path, on a listener whose address others reach or do not. */
static void source_review_path(const struct path_options *o, const char *reached, struct source_doubt *d)
{
    struct err e;
    verify_doubts(&o->verify, clock_wall_ms(), source_say_doubt, d);
    slip_doubts(o, source_say_doubt, d);
    if (pattern_is_mistaken(o->path, &e))
        source_say_doubt(d, e.text);
    if (!reader_is_sure(o, &e))
        source_say_doubt(d, e.text);
    if (limit_is_asked(&o->limits.per_key) && verify_asks(&o->verify) != ASKS_WHO)
        source_say_doubt(d, "limits.per_key: limits nobody: no request shows whose it is by scheme none or address");
    if (!reached || verify_asks(&o->verify) != ASKS_NOTHING)
        return;
    err_set(&e, "verify.scheme: none on %.100s, which others reach: whoever connects can send events", reached);
    source_say_doubt(d, e.text);
}

/* A secret that whoever is between reads. A proxy that is trusted is there to have the TLS. */
static void source_review_secrets(const struct http_source *s, struct source_doubt *d)
{
    const struct http_server_options *server = &s->server_options;
    const struct path_options *paths = s->path_options.at;
    if (listen_is_private(server->listen) || server->tls_certificate || server->trusted_proxies.count)
        return;
    for (size_t i = 0; i < s->path_options.count; i++) {
        const char *scheme = verify_shown(&paths[i].verify);
        struct err e;
        if (!scheme)
            continue;
        err_set(
            &e,
            "listen: others reach %.60s, and requests to %.60s show their secret (scheme %s), without TLS to whoever is "
            "between: set tls_certificate and tls_key, or, if a proxy before it has TLS, trusted_proxies",
            server->listen, paths[i].path, scheme);
        source_say_doubt(d, e.text);
        return;
    }
}

void source_review(const struct source *base, fault_fn *wrong, fault_fn *doubtful, void *ctx)
{
    const struct http_source *s = (const struct http_source *)base;
    const struct path_options *paths = s->path_options.at;
    struct source_doubt d = { doubtful, ctx, "" };
    const struct tls_options tls = http_tls_options(&s->server_options);
    bool reached = !listen_is_private(s->server_options.listen) && !tls_demands(&tls), keys = false;
    (void)wrong;
    source_review_secrets(s, &d);
    for (size_t i = 0; i < s->path_options.count; i++) {
        snprintf(d.place, sizeof d.place, "paths[%zu]", i);
        source_review_path(&paths[i], reached ? s->server_options.listen : NULL, &d);
        keys = keys || verify_asks(&paths[i].verify) == ASKS_WHO;
    }
    d.place[0] = '\0';
    if (limit_is_asked(&s->limits.per_key) && !keys)
        source_say_doubt(&d,
                         "limits.per_key: limits nobody: no path has a scheme by which a request shows whose it is");
}

/* No path of another source has the source of one of ours, or each could pass for the other. */
void source_beside(const struct source *base, const struct source *before, fault_fn *each, void *ctx)
{
    const struct http_source *s = (const struct http_source *)base, *t = (const struct http_source *)before;
    const struct path_options *ours = s->path_options.at, *theirs = t->path_options.at;
    for (size_t i = 0; i < s->path_options.count; i++)
        for (size_t k = 0; k < t->path_options.count; k++) {
            char place[32];
            struct owner one, other;
            struct err e;
            source_own_source(s, &ours[i], &one);
            source_own_source(t, &theirs[k], &other);
            snprintf(place, sizeof place, "paths[%zu]", i);
            err_set(&e, "source: %.100s is the source of path %.100s of sources.%s, too: each could pass for the other",
                    one.own, theirs[k].path ? theirs[k].path : "", before->id);
            if (strcmp(one.own, other.own) == 0)
                each(ctx, place, e.text);
            owner_close(&one);
            owner_close(&other);
        }
}
