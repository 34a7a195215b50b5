/* SPDX-License-Identifier: MIT */
/* Builds verifiers of options, and checks requests by them. */
#include "bridge/verify/verify.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"
#include "bridge/verify/jwt_claims.h"
#include "bridge/verify/scheme.h"

enum {
    DECODED_BYTES = 4096,
    CHALLENGE_BYTES = 512,
    TOLERANCE_MS = 300000,
    URL_BYTES = 1 << 20,
    FIELDS_BYTES = 64 << 20,
};

/* ---- one scheme ---- */

/* The style of its signatures, if it has any; and the URL that they are over. */
static bool verify_set_style(struct verifier *v, const struct verify_options *o, struct err *e)
{
    struct err why;
    bool signed_ = table_style(o->scheme) != NULL;
    v->which = signed_ ? (enum signature)o->scheme : SIGNATURE_STANDARD;
    const struct signature_style *style = described_style(v->which, &o->described, &v->described, &why);
    if (!style)
        return err_set(e, "%s.%s", v->place, why.text);
    v->style = signed_ ? style : NULL;
    v->url = o->url && *o->url ? o->url : NULL;
    bool signs = signed_ && signature_signs(style, "{url}");
    if (signs && !v->url)
        return err_set(e, "%s.url: is missing: scheme %s signs the path's address as the sender sees it", v->place,
                       table_name(o->scheme));
    if (v->url && !signs)
        return err_set(e, "%s.url: scheme %s signs no URL: leave it away", v->place, table_name(o->scheme));
    struct str url = str_of(v->url);
    bool good = !v->url
                || ((str_starts(url, STR("https://")) || str_starts(url, STR("http://"))) && !strpbrk(v->url, "?# "));
    return good || err_set(e, "%s.url: begins with https:// or http://, and has no query", v->place);
}

/* Takes over the user's names of a header and a parameter, if the scheme leaves a choice. */
static bool verify_set_places(struct verifier *v, const struct verify_options *o, struct err *e)
{
    bool choice = v->style ? !v->style->other.signature : v->scheme->header != NULL;
    v->header = o->header && *o->header ? o->header : NULL;
    v->query = o->query && *o->query ? o->query : NULL;
    if (v->header && !choice)
        return err_set(e, "%s.header: scheme %s has no header to choose", v->place, table_name(o->scheme));
    if (!v->header && v->style && !v->style->headers.signature)
        return err_set(e, "%s.header: is missing: scheme %s has no header of its own", v->place, table_name(o->scheme));
    if (v->query && !v->scheme->takes_query)
        return err_set(e, "%s.query: scheme %s reads nothing in the URL: leave it away", v->place,
                       table_name(o->scheme));
    return !v->header || verify_check_name(v->header, e) || err_prefix(e, "%s.header", v->place);
}

static bool verify_set_tolerance(struct verifier *v, const struct verify_options *o, struct err *e)
{
    v->tolerance_s = (o->tolerance.ms ? o->tolerance.ms : TOLERANCE_MS) / 1000;
    return o->tolerance.ms == 0 || (v->style && signature_signs(v->style, "{timestamp}"))
           || err_set(e, "%s.tolerance: scheme %s signs no time: leave it away", v->place, table_name(o->scheme));
}

static bool verify_check_jwt(const struct verifier *v, const struct verify_options *o, struct err *e)
{
    return v->scheme->takes_jwt || !jwt_is_given(&o->jwt)
           || err_set(e, "%s.jwt: scheme %s looks at no tokens of that kind: scheme: jwt does", v->place,
                      table_name(o->scheme));
}

static bool verify_check_allow(const struct verifier *v, const struct verify_options *o, struct err *e)
{
    if (o->allow.count && !v->scheme->takes_allow)
        return err_set(e, "%s.allow: scheme %s does not look at addresses: put `scheme: address` beside it, in `all`",
                       v->place, table_name(o->scheme));
    return o->allow.count || !v->scheme->takes_allow
           || err_set(e, "%s.allow: scheme %s needs at least one network", v->place, table_name(o->scheme));
}

static bool verify_check_rules(const struct verifier *v, const struct verify_options *o, struct err *e)
{
    return v->scheme->takes_rules || o->subject.count + o->san.count == 0
           || err_set(e, "%s.%s: scheme %s looks at no certificate: leave it away", v->place,
                      o->subject.count ? "subject" : "san", table_name(o->scheme));
}

/* Can the log and metrics show it? */
static bool verify_check_secret_name(const struct verifier *v, const char *name, struct err *e)
{
    struct str rest = str_of(name ? name : "");
    if (!rest.n)
        return !v->scheme->needs_names || err_set(e, "is missing: it is the user");
    if (rest.n > SECRET_NAME_MOST)
        return err_set(e, "is longer than %d bytes", SECRET_NAME_MOST);
    if (v->scheme->needs_names && memchr(rest.at, ':', rest.n))
        return err_set(e, "has a colon, which no user can have (RFC 7617)");
    for (size_t n; rest.n; rest = str_from(rest, n)) {
        n = str_utf8_length(rest);
        if (n == 0 || !str_is_shown((struct str){ rest.at, n }))
            return err_set(e, "is no text that can be shown");
    }
    return true;
}

/* Are there secrets where the scheme wants some, and else none? */
static bool verify_check_secrets(const struct verifier *v, const struct verify_options *o, struct err *e)
{
    bool takes = v->scheme->add_secret;
    if (takes && o->secrets.count == 0)
        return err_set(e, "%s.secrets: scheme %s needs at least one secret", v->place, table_name(o->scheme));
    if (takes || o->secrets.count == 0)
        return true;
    if (v->scheme->takes_jwt)
        return err_set(e, "%s.secrets: those that tokens are signed with stand below jwt: jwt: {secrets: [...]}",
                       v->place);
    return err_set(e, "%s.secrets: scheme %s checks none, so secrets make no sense", v->place, table_name(o->scheme));
}

/* Do they go together with the scheme? */
static bool verify_add_secrets(struct verifier *v, const struct verify_options *o, struct err *e)
{
    bool takes = v->scheme->add_secret;
    for (size_t i = 0; i < o->secrets.count; i++)
        if (!verify_check_secret_name(v, o->secrets.at[i].name, e))
            return err_prefix(e, "%s.secrets[%zu].name", v->place, i);
    v->secrets = o->secrets;
    secret_files_open(&v->files, &o->secrets);
    return !takes || scheme_load(v, clock_wall_ms(), e);
}

static bool verify_fill(struct verifier *v, const struct verify_options *o, struct err *e)
{
    if (o->scheme == VERIFY_UNSET)
        return err_set(e, "%s.scheme: is missing", v->place);
    v->scheme = table_scheme(o->scheme);
    v->name = table_name(o->scheme);
    v->by_head = v->scheme->by_head;
    v->decoded = buf_new(DECODED_BYTES);
    v->url_text = buf_new(URL_BYTES);
    v->fields = buf_new(FIELDS_BYTES);
    if (!verify_set_style(v, o, e) || !verify_set_places(v, o, e) || !verify_set_tolerance(v, o, e)
        || !verify_check_allow(v, o, e) || !verify_check_jwt(v, o, e) || !verify_check_rules(v, o, e)
        || !verify_check_secrets(v, o, e))
        return false;
    return (!v->scheme->open || v->scheme->open(v, o, e)) && verify_add_secrets(v, o, e);
}

/* ---- several together ---- */

static struct verifier *verify_build(const struct verify_options *o, const struct verifier *whole, const char *list,
                                     size_t i, struct err *e);

static bool verify_check_combined(const struct verifier *v, const struct verify_options *o, struct err *e)
{
    const char *list = o->any.count ? "any" : "all", *beside = verify_first_option(o);
    if (o->any.count && o->all.count)
        return err_set(e, "%s.all: stands beside any: put it into an entry of any", v->place);
    if (o->scheme != VERIFY_UNSET || beside)
        return err_set(e, "%s.%s: stands beside %s: put it into an entry of %s", v->place, beside ? beside : "scheme",
                       list, list);
    return true;
}

static bool verify_fill_parts(struct verifier *v, const struct verify_options *o, struct err *e)
{
    const struct list *parts = o->any.count ? &o->any : &o->all;
    const struct verify_options *at = parts->at;
    if (!verify_check_combined(v, o, e))
        return false;
    v->scheme = o->any.count ? &scheme_any : &scheme_all;
    v->by_head = true;
    v->parts = mem_alloc(parts->count * sizeof *v->parts);
    for (size_t i = 0; i < parts->count; i++) {
        struct verifier *part = verify_build(&at[i], v, o->any.count ? "any" : "all", i, e);
        if (!part)
            return false;
        v->parts[v->part_count++] = part;
        v->by_head = v->by_head && part->by_head;
        if (at[i].scheme == VERIFY_NONE)
            return err_set(e, "%s.scheme: none asks for nothing, so it makes no sense beside others", part->place);
    }
    return true;
}

/* whole: NULL, or what it is the i-th part of. */
static struct verifier *verify_build(const struct verify_options *o, const struct verifier *whole, const char *list,
                                     size_t i, struct err *e)
{
    struct verifier *v = mem_alloc(sizeof *v);
    int n = 0;
    if (whole) {
        snprintf(v->place, sizeof v->place, "%.*s.%s[%zu]", VERIFY_PLACE / 2, whole->place, list, i);
        n = snprintf(v->number, VERIFY_NUMBER / 2, "%.*s%s%zu", (int)whole->number_length, whole->number,
                     whole->number_length ? "." : "", i + 1);
    } else
        snprintf(v->place, sizeof v->place, "verify");
    v->number_length = (size_t)n;
    v->covers = verify_covers(o);
    v->passed = v->refused = v;
    v->turn_ms = INT64_MAX;
    if (o->any.count || o->all.count ? verify_fill_parts(v, o, e) : verify_fill(v, o, e))
        return v;
    verifier_free(v);
    return NULL;
}

/* Each that a scheme has, once. */
static void verify_add_challenges(const struct verifier *v, struct buf *out)
{
    struct str one = str_of(v->scheme->challenge);
    for (size_t i = 0; i < v->part_count; i++)
        verify_add_challenges(v->parts[i], out);
    if (one.n == 0 || memmem(buf_str(out).at, out->n, one.at, one.n))
        return;
    if (out->n)
        buf_add_c(out, ", ");
    buf_add_str(out, one);
}

struct verifier *verifier_new(const struct verify_options *o, struct err *e)
{
    struct verifier *v = verify_build(o, NULL, NULL, 0, e);
    if (!v)
        return NULL;
    v->challenge = buf_new(CHALLENGE_BYTES);
    verify_add_challenges(v, &v->challenge);
    if (v->challenge.n == 0)
        buf_add_c(&v->challenge, "Bearer"); /* there must be one, and no scheme is registered for signatures */
    return v;
}

void verifier_free(struct verifier *v)
{
    if (!v)
        return;
    for (size_t i = 0; i < v->part_count; i++)
        verifier_free(v->parts[i]);
    free(v->parts);
    if (v->scheme) {
        scheme_unload(v);
        if (v->scheme->close)
            v->scheme->close(v);
    }
    secret_files_close(&v->files);
    buf_free(&v->decoded);
    buf_free(&v->url_text);
    buf_free(&v->fields);
    buf_free(&v->challenge);
    free(v);
}

void verifier_start(struct verifier *v)
{
    for (size_t i = 0; i < v->part_count; i++)
        verifier_start(v->parts[i]);
    if (v->scheme->start)
        v->scheme->start(v);
}

bool verifier_ready(const struct verifier *v, struct err *why)
{
    for (size_t i = 0; i < v->part_count; i++)
        if (!verifier_ready(v->parts[i], why))
            return false;
    return !v->scheme->ready || v->scheme->ready(v, why);
}

/* ---- secrets of files ---- */

/* All of them, or, with *e, none. */
static bool verifier_take(void *ctx, const struct secrets *now, struct err *e)
{
    struct verifier *v = ctx;
    struct secrets before = v->secrets;
    v->secrets = *now;
    if (scheme_load(v, clock_wall_ms(), e))
        return true;
    v->secrets = before;
    CHECK(scheme_load(v, clock_wall_ms(), NULL)); /* they were taken before */
    return false;
}

void verifier_refresh(struct verifier *v, const char *of)
{
    for (size_t i = 0; i < v->part_count; i++)
        verifier_refresh(v->parts[i], of);
    secret_files_turn(&v->files, verifier_take, v, of);
}

bool verifier_follows(const struct verifier *v)
{
    bool follows = secret_files_any(&v->files);
    for (size_t i = 0; i < v->part_count && !follows; i++)
        follows = verifier_follows(v->parts[i]);
    return follows;
}

/* ---- requests ---- */

bool verifier_by_head(const struct verifier *v)
{
    return v->by_head;
}

static struct verified verifier_verdict(const struct verifier *v, enum refusal no, struct str key)
{
    if (!no)
        return (struct verified){ .key = key };
    return (struct verified){ .no = no, .why = v->why, .scheme = v->part_count ? v->refused->name : NULL };
}

struct verified verifier_check_head(struct verifier *v, const struct http_request *r)
{
    enum refusal no = scheme_check_head(v, r);
    return verifier_verdict(v, no, v->by_head ? v->key : STR_ABSENT);
}

struct verified verifier_check(struct verifier *v, const struct http_request *r)
{
    enum refusal no = scheme_check(v, r);
    return verifier_verdict(v, no, v->key);
}

static const char *verifier_id_header(const struct verifier *v, const struct http_request *r)
{
    return v->passed->style ? signed_headers(v->passed, r)->id : NULL;
}

struct str verifier_id(const struct verifier *v, const struct http_request *r)
{
    const char *name = verifier_id_header(v, r);
    return name ? http_header(r, name, NULL) : STR_ABSENT;
}

bool verifier_vouches(const struct verifier *v, const struct http_request *r, const char *header)
{
    const char *id = verifier_id_header(v, r);
    switch (v->covers) {
    case COVER_BODY: return false;
    case COVER_ID_BODY: return id && str_eq_nocase(str_of(header), str_of(id));
    case COVER_REQUEST: return true;
    }
    return false;
}

const json_t *verifier_claim(const struct verifier *v, const char *name)
{
    return v->claims ? jwt_claims_find(v->claims, name) : NULL;
}

/* ---- what holds for every request ---- */

const struct signature_style *verifier_style(const struct verifier *v)
{
    const struct signature_style *best = v->style;
    const struct verifier *of = NULL;
    for (size_t i = 0; i < v->part_count; i++) {
        const struct signature_style *one = verifier_style(v->parts[i]);
        if (v->scheme == &scheme_any && i > 0 && one != best)
            return NULL;
        if (one && (!of || v->parts[i]->covers > of->covers))
            best = one, of = v->parts[i];
    }
    return best;
}

const char *verifier_type(const struct verifier *v)
{
    const struct signature_style *style = verifier_style(v);
    return style ? style->type : NULL;
}

const char *verifier_type_header(const struct verifier *v)
{
    const struct signature_style *style = verifier_style(v);
    return style ? style->type_header : NULL;
}

struct str verifier_challenge(const struct verifier *v)
{
    return buf_str(&v->challenge);
}

struct str verifier_challenge_of(const struct verifier *v, enum refusal no)
{
    const char *scheme = v->refused->scheme->challenge;
    bool token = scheme && strcmp(scheme, "Bearer") == 0;
    return token && no != REFUSAL_MISSING ? STR("Bearer error=\"invalid_token\"") : verifier_challenge(v);
}
