/* SPDX-License-Identifier: MIT */
/* The table of verification schemes, and the options that choose one. */
#include "bridge/verify/verify.h"
#include <stdlib.h>
#include "bridge/auth/token.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"
#include "bridge/verify/scheme.h"

enum { SIGNATURE_BYTES = 256, TOLERANCE_MS = 300000 };

#define VERIFY_DECLARE(VALUE, name, doc) extern const struct scheme scheme_##name;
VERIFY_OWN(VERIFY_DECLARE)

#define VERIFY_ENTRY(VALUE, name, doc)  [VERIFY_##VALUE] = &scheme_##name,
#define VERIFY_SIGNED(VALUE, name, doc) [VERIFY_##VALUE] = &scheme_signed,
static const struct scheme *const verify_schemes[VERIFY_COUNT] = { VERIFY_OWN(VERIFY_ENTRY)
                                                                       SIGNATURE_STYLES(VERIFY_SIGNED) };

/* Both enums begin with the same list. NULL: it is no style of signatures. */
static const struct signature_style *verify_style(enum verify_scheme scheme)
{
    return (unsigned)scheme < SIGNATURE_COUNT ? signature_style((enum signature)scheme) : NULL;
}

#define VERIFY_NAME(VALUE, name, doc) { VERIFY_##VALUE, #name },
static const struct option_value verify_names[] = { VERIFY_SCHEMES(VERIFY_NAME){ 0 } };

#define VERIFY_DOC(VALUE, name, doc) " " #name ": " doc "."
const struct option verify_rows[] = {
    OPTION(struct verify_options, scheme, .required = true, .values = verify_names,
           .doc = "How senders prove who they are." VERIFY_SCHEMES(VERIFY_DOC)),
    OPTION(
        struct verify_options, secrets, .of = secret_rows,
        .doc =
            "Signing secrets or tokens of at least 16 characters (scheme standard: whsec_ and the base64 of 24 bytes or more, a text of 24 characters, or the public half of a pair, whpk_); all of them are valid, so that they can be rotated."),
    OPTION(struct verify_options, header,
           .doc = "Header with the signature or the token, when it is not the scheme's own."),
    OPTION(struct verify_options, tolerance, .min = 1000, .max = 86400000,
           .doc = "How far the signed time may be from ours, when the scheme signs one; default 5m."),
    { 0 },
};

const char *verify_name(enum verify_scheme scheme)
{
    return verify_names[scheme - 1].text;
}

enum cover verify_covers(enum verify_scheme scheme)
{
    const struct signature_style *style = verify_style(scheme);
    return !style ? verify_schemes[scheme]->covers : style->signs_id ? COVER_ID_BODY : COVER_BODY;
}

bool verify_check_name(const char *header, struct err *e)
{
    static const char token[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~";
    size_t n = strspn(header, token);
    return (n > 0 && !header[n]) || err_set(e, "is no name of a header, such as X-Request-Id: no request can have it");
}

/* Takes over the user's header name, if the scheme leaves a choice. */
static bool verify_set_header(struct verifier *v, const struct verify_options *o, struct err *e)
{
    bool choice = v->style ? !v->style->other.signature : v->scheme->header != NULL;
    v->header = o->header && *o->header ? o->header : NULL;
    if (v->header && !choice)
        return err_set(e, "verify.header: scheme %s has no header to choose", verify_name(o->scheme));
    if (!v->header && v->style && !v->style->headers.signature)
        return err_set(e, "verify.header: is missing: scheme %s has no header of its own", verify_name(o->scheme));
    return !v->header || verify_check_name(v->header, e) || err_prefix(e, "verify.header");
}

static bool verify_set_tolerance(struct verifier *v, const struct verify_options *o, struct err *e)
{
    v->tolerance_s = (o->tolerance.ms ? o->tolerance.ms : TOLERANCE_MS) / 1000;
    return o->tolerance.ms == 0 || (v->style && v->style->signs_time)
           || err_set(e, "verify.tolerance: scheme %s signs no time: leave it away", verify_name(o->scheme));
}

/* Hands the scheme its secrets: those that have not ended, then the others. */
static bool verify_load(struct verifier *v, int64_t wall_ms, struct err *e)
{
    signed_free_keys(v);
    tokens_free(v->tokens);
    tokens_free(v->ended);
    v->tokens = tokens_new();
    v->ended = tokens_new();
    v->turn_ms = INT64_MAX;
    for (int ended = 0; ended <= 1; ended++)
        for (size_t i = 0; i < v->secrets.count; i++) {
            const struct secret *s = &v->secrets.at[i];
            if (secret_has_ended(s, wall_ms) != ended)
                continue;
            if (!v->scheme->add_secret(v, str_of(s->text), ended, e))
                return err_prefix(e, "verify.secrets[%zu]", i);
            if (s->until.ms && !ended && s->until.ms < v->turn_ms)
                v->turn_ms = s->until.ms;
        }
    return true;
}

/* Do they go together with the scheme? */
static bool verify_add_secrets(struct verifier *v, const struct verify_options *o, struct err *e)
{
    bool takes = v->scheme->add_secret;
    if (takes && o->secrets.count == 0)
        return err_set(e, "verify.secrets: scheme %s needs at least one secret", verify_name(o->scheme));
    if (!takes && o->secrets.count > 0)
        return err_set(e, "verify.secrets: scheme %s checks nothing, so secrets make no sense", verify_name(o->scheme));
    v->secrets = o->secrets;
    return !takes || verify_load(v, clock_wall_ms(), e);
}

struct verifier *verifier_new(const struct verify_options *o, struct err *e)
{
    if (o->scheme == VERIFY_UNSET) {
        err_set(e, "verify.scheme: is missing");
        return NULL;
    }
    struct verifier *v = mem_alloc(sizeof *v);
    v->scheme = verify_schemes[o->scheme];
    v->style = verify_style(o->scheme);
    v->covers = verify_covers(o->scheme);
    v->turn_ms = INT64_MAX;
    v->decoded = buf_new(SIGNATURE_BYTES);
    if (verify_set_header(v, o, e) && verify_set_tolerance(v, o, e) && verify_add_secrets(v, o, e))
        return v;
    verifier_free(v);
    return NULL;
}

void verifier_free(struct verifier *v)
{
    if (!v)
        return;
    signed_free_keys(v);
    tokens_free(v->tokens);
    tokens_free(v->ended);
    buf_free(&v->decoded);
    free(v);
}

bool verify_warning(const struct verify_options *o, int64_t wall_ms, struct err *why)
{
    struct err e;
    bool warned = secrets_warning(&o->secrets, wall_ms, "every request is refused", &e);
    if (warned)
        err_set(why, "verify.%s", e.text);
    return warned;
}

bool verifier_by_head(const struct verifier *v)
{
    return v->scheme->by_head;
}

enum refusal verifier_check(struct verifier *v, const struct http_request *r)
{
    struct err e;
    if (v->turn_ms != INT64_MAX && clock_wall_ms() >= v->turn_ms)
        CHECK(verify_load(v, clock_wall_ms(), &e)); /* verifier_new has taken all of them */
    return v->scheme->check(v, r);
}

static const char *verifier_id_header(const struct verifier *v, const struct http_request *r)
{
    return v->style ? signed_headers(v, r)->id : NULL;
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

const char *verifier_type(const struct verifier *v)
{
    return v->style ? v->style->type : NULL;
}

const char *verifier_type_header(const struct verifier *v)
{
    return v->style ? v->style->type_header : NULL;
}

const struct signature_style *verifier_style(const struct verifier *v)
{
    return v->style;
}
