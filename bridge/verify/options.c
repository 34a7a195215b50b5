/* SPDX-License-Identifier: MIT */
/* The options that choose schemes of verification, and what follows from them alone. */
#include "bridge/verify/options.h"
#include <stdio.h>
#include "bridge/net/networks.h"
#include "bridge/verify/scheme.h"

enum { PARTS_MOST = 16, PLACE_BYTES = 64 };

#define VERIFY_DOC(VALUE, name, doc) " " #name ": " doc "."

static const char options_secrets[] =
    "Signing secrets, tokens, passwords or keys of at least 16 characters (scheme standard: whsec_ and the base64 of 24 bytes or more, a text of 24 characters, or the public half of a pair, whpk_); all of them are valid, so that they can be rotated.";
static const char options_header[] = "Header with the signature, token or key, when it is not the scheme's own.";
static const char options_query[] = "Scheme api_key: parameter of the URL with the key, for who can do no better; URLs "
                                    "are logged in many places. In place of X-API-Key, unless `header` is set, too.";
static const char options_tolerance[] = "How far the signed time may be from ours, when the scheme signs one; default "
                                        "5m.";
static const char options_url[] = "The path's address as senders see it, such as https://hooks.example.com/v1/twilio, "
                                  "where that is signed (twilio; {url}).";
static const char options_allow[] = "Scheme address: networks (10.0.0.0/8, 2001:db8::/32), addresses, or unix for who "
                                    "comes by a unix socket.";
static const char options_jwt[] = "Scheme jwt: whose tokens are accepted, and what they must say.";
static const char options_subject[] =
    "Scheme certificate: subjects, of which the certificate has one (CN=sender,O=Example); a * stands for a whole label. "
    "Default: all.";
static const char
    options_san[] = "Scheme certificate: DNS names, URIs and addresses of mail, of which the certificate has one "
                    "(*.example.com, spiffe://example.com/sa/a). Default: all.";
static const char options_any[] = "Several of these, of which one will do, the first that fits; an entry may also be "
                                  "`all` of some.";
static const char options_all[] = "Several of these, all of which must fit: an address and a signature.";

/* The rows of one scheme, beside `any` and `all` and in them; behind the schemes, what signatures alone have. */
#define VERIFY_LEAF(names, schemes, ...)                                                                               \
    OPTION(struct verify_options, scheme, .values = (names),                                                           \
           .doc = "How senders prove who they are; or `any` or `all`." schemes(VERIFY_DOC)),                           \
        OPTION(struct verify_options, secrets, .of = named_secret_rows, .doc = options_secrets),                       \
        OPTION(struct verify_options, header, .doc = options_header),                                                  \
        OPTION(struct verify_options, query, .doc = options_query),                                                    \
        OPTION(struct verify_options, allow, .doc = options_allow),                                                    \
        OPTION_GROUP(struct verify_options, jwt, jwt_rows, .doc = options_jwt),                                        \
        OPTION(struct verify_options, subject, .doc = options_subject),                                                \
        OPTION(struct verify_options, san, .doc = options_san), __VA_ARGS__

#define VERIFY_PARTS(field, rows, text)                                                                                \
    {                                                                                                                  \
        .key = #field, .type = OPT_LIST, .offset = offsetof(struct verify_options, field), .of = (rows),               \
        .of_size = sizeof(struct verify_options), .min = 1, .max = PARTS_MOST, .folded = true, .doc = (text)           \
    }
#define VERIFY_ROWS(PREFIX, ...)                                                                                       \
    static const struct option PREFIX##_leaf[] = { VERIFY_LEAF(__VA_ARGS__){ 0 } };                                    \
    static const struct option PREFIX##_any[] = {                                                                      \
        VERIFY_LEAF(__VA_ARGS__) VERIFY_PARTS(all, PREFIX##_leaf, options_all),                                        \
        { 0 },                                                                                                         \
    };                                                                                                                 \
    const struct option PREFIX##_rows[] = {                                                                            \
        VERIFY_LEAF(__VA_ARGS__) VERIFY_PARTS(any, PREFIX##_any, options_any),                                         \
        VERIFY_PARTS(all, PREFIX##_leaf, options_all),                                                                 \
        { 0 },                                                                                                         \
    }
VERIFY_ROWS(verify, table_names, VERIFY_SCHEMES,
            OPTION(struct verify_options, tolerance, .min = 1000, .max = 86400000, .doc = options_tolerance),
            OPTION(struct verify_options, url, .doc = options_url), DESCRIBED_ROWS(struct verify_options, described), );
VERIFY_ROWS(verify_head, table_head_names, VERIFY_OWN, );

const char *verify_first_option(const struct verify_options *o)
{
    const struct {
        const char *key;
        bool set;
    } options[] = {
        { "secrets", o->secrets.count },  { "header", o->header && *o->header }, { "query", o->query && *o->query },
        { "tolerance", o->tolerance.ms }, { "allow", o->allow.count },           { "subject", o->subject.count },
        { "san", o->san.count },          { "jwt", jwt_is_given(&o->jwt) },      { "url", o->url && *o->url },
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (options[i].set)
            return options[i].key;
    return described_first(&o->described);
}

bool verify_is_set(const struct verify_options *o)
{
    return o->scheme != VERIFY_UNSET || o->any.count || o->all.count || verify_first_option(o);
}

static bool options_part_reads(const struct verify_options *o, struct str name,
                               bool (*reads)(const struct verify_options *o, struct str name))
{
    const struct list *parts = o->any.count ? &o->any : &o->all;
    bool found = false;
    for (size_t i = 0; i < parts->count && !found; i++)
        found = reads((const struct verify_options *)parts->at + i, name);
    return found;
}

static bool options_is_signature(const struct verify_options *o, struct str name)
{
    const struct signature_style *style = o->scheme == VERIFY_UNSET ? NULL : table_style(o->scheme);
    return style
           && (str_eq_nocase(name, str_of(style->headers.signature))
               || str_eq_nocase(name, str_of(style->other.signature)));
}

bool verify_reads_header(const struct verify_options *o, struct str name)
{
    const char *own = o->header && *o->header     ? o->header
                      : o->scheme != VERIFY_UNSET ? table_scheme(o->scheme)->header
                                                  : NULL;
    return (own && str_eq_nocase(name, str_of(own))) || options_is_signature(o, name)
           || options_part_reads(o, name, verify_reads_header);
}

bool verify_reads_query(const struct verify_options *o, struct str name)
{
    return (o->query && *o->query && str_eq(name, str_of(o->query))) || options_part_reads(o, name, verify_reads_query);
}

bool verify_fits_tls(const struct verify_options *o, const struct tls_options *tls, struct err *e)
{
    const struct list *lists[] = { &o->any, &o->all };
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < lists[k]->count; i++)
            if (!verify_fits_tls((const struct verify_options *)lists[k]->at + i, tls, e))
                return false;
    return o->scheme == VERIFY_UNSET || !table_scheme(o->scheme)->takes_rules || tls_asks(tls)
           || err_set(e, "verify: scheme %s needs tls_client_ca: no client is asked for a certificate",
                      table_name(o->scheme));
}

bool verify_check_name(const char *header, struct err *e)
{
    return described_check_header(header, e);
}

/* ---- what they say of requests ---- */

struct said { /* of one scheme, or of several together */
    enum cover covers;
    enum asks asks;
    enum verify_scheme scheme; /* the one that says so */
};

static bool options_signs_id(const struct verify_options *o, const struct signature_style *style)
{
    const char *signs = o->scheme == VERIFY_HMAC ? o->described.signs : NULL;
    return signs ? strstr(signs, "{id}") != NULL : signature_signs(style, "{id}");
}

static struct said options_leaf(const struct verify_options *o)
{
    const struct signature_style *style = table_style(o->scheme);
    struct said s = { COVER_REQUEST, ASKS_NOTHING, o->scheme };
    if (o->scheme == VERIFY_UNSET)
        return s;
    s.covers = !style ? table_scheme(o->scheme)->covers : options_signs_id(o, style) ? COVER_ID_BODY : COVER_BODY;
    s.asks = table_scheme(o->scheme)->asks;
    return s;
}

static struct said options_say(const struct verify_options *o);

/* Whoever gets in by one is held to what that one says. */
static struct said options_say_any(const struct list *parts)
{
    const struct verify_options *at = parts->at;
    struct said s = options_say(&at[0]);
    for (size_t i = 1; i < parts->count; i++) {
        struct said one = options_say(&at[i]);
        if (one.asks < s.asks)
            s.asks = one.asks;
        if (one.covers < s.covers)
            s.covers = one.covers, s.scheme = one.scheme;
    }
    return s;
}

/* What says who sends counts; an address beside it is nobody's word for the headers. */
static struct said options_say_all(const struct list *parts)
{
    const struct verify_options *at = parts->at;
    struct said s = options_say(&at[0]);
    for (size_t i = 1; i < parts->count; i++) {
        struct said one = options_say(&at[i]);
        if (one.asks > s.asks || (one.asks == s.asks && one.covers > s.covers))
            s = one;
    }
    return s;
}

static struct said options_say(const struct verify_options *o)
{
    return o->any.count ? options_say_any(&o->any) : o->all.count ? options_say_all(&o->all) : options_leaf(o);
}

enum cover verify_covers(const struct verify_options *o)
{
    return options_say(o).covers;
}

enum asks verify_asks(const struct verify_options *o)
{
    return options_say(o).asks;
}

enum verify_scheme verify_decides(const struct verify_options *o)
{
    return options_say(o).scheme;
}

const char *verify_name(const struct verify_options *o)
{
    return table_name(verify_decides(o));
}

const char *verify_media(const struct verify_options *o)
{
    enum verify_scheme scheme = verify_decides(o);
    const struct signature_style *style = scheme == VERIFY_UNSET ? NULL : table_style(scheme);
    return style && style->media ? style->media : "application/json";
}

const char *verify_shown(const struct verify_options *o)
{
    const struct list *parts = o->any.count ? &o->any : &o->all;
    const struct verify_options *at = parts->at;
    const char *shown = NULL;
    if (parts->count == 0)
        return o->scheme != VERIFY_UNSET && table_scheme(o->scheme)->shows_secret ? table_name(o->scheme) : NULL;
    for (size_t i = 0; i < parts->count; i++) {
        const char *one = verify_shown(&at[i]);
        if (o->all.count && !one && verify_asks(&at[i]) == ASKS_WHO)
            return NULL; /* who has read the secret lacks this */
        shown = shown ? shown : one;
    }
    return shown;
}

/* ---- doubts ---- */

struct doubts {
    int64_t wall_ms;
    void (*each)(void *ctx, const char *text);
    void *ctx;
};

static void options_doubt(const struct doubts *d, const char *place, const char *text)
{
    struct err e;
    err_set(&e, "%s.%s", place, text);
    d->each(d->ctx, e.text);
}

/* Secrets that are there twice: which one a sender shows cannot be told then. */
static void options_doubt_repeated(const struct doubts *d, const struct secrets *s, bool by_name, const char *place)
{
    struct err e;
    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < i; k++) {
            const char *a = s->at[i].name ? s->at[i].name : "", *b = s->at[k].name ? s->at[k].name : "";
            if (strcmp(s->at[i].text, s->at[k].text) != 0 || (by_name && strcmp(a, b) != 0))
                continue;
            err_set(&e, "secrets[%zu]: is the same as secrets[%zu]: write another one, or leave it away", i, k);
            options_doubt(d, place, e.text);
        }
}

static void options_doubt_jwt(const struct doubts *d, const struct jwt_options *o, const char *place)
{
    if (o->openid && *o->openid && o->audience.count == 0)
        options_doubt(
            d, place,
            "jwt.audience: is missing: a token that has an aud is refused then, as for somebody else, and those of "
            "OpenID issuers have one");
}

/* The attributes of a subject in the order of `openssl x509`, and not of RFC 4514? */
static void options_doubt_subject(const struct doubts *d, const struct strings *subjects, const char *place)
{
    struct err e;
    for (size_t i = 0; i < subjects->count; i++)
        if (str_starts(str_of(subjects->at[i]), STR("C=")) && strstr(subjects->at[i], ",CN=")) {
            err_set(
                &e,
                "subject[%zu]: begins with the country, as openssl x509 writes it: subjects are compared as RFC 4514 "
                "writes them, CN=...,O=...,C=... (the log shows that of who is refused)",
                i);
            options_doubt(d, place, e.text);
        }
}

static void options_doubts(const struct doubts *d, const struct verify_options *o, const char *place)
{
    struct err e;
    const struct {
        const char *key;
        const struct list *parts;
    } several[] = { { "any", &o->any }, { "all", &o->all } };
    if (secrets_warning(&o->secrets, d->wall_ms, "secrets", "every request is refused", &e))
        options_doubt(d, place, e.text);
    if (secrets_warning(&o->jwt.secrets, d->wall_ms, "jwt.secrets", "every token is refused", &e))
        options_doubt(d, place, e.text);
    options_doubt_repeated(d, &o->secrets, o->scheme == VERIFY_BASIC, place);
    for (size_t i = 0; i < o->allow.count; i++)
        if (network_is_doubtful(o->allow.at[i], &e)) {
            char key[32];
            snprintf(key, sizeof key, "allow[%zu]", i);
            err_prefix(&e, "%s", key);
            options_doubt(d, place, e.text);
        }
    options_doubt_jwt(d, &o->jwt, place);
    options_doubt_subject(d, &o->subject, place);
    for (size_t k = 0; k < sizeof several / sizeof *several; k++)
        for (size_t i = 0; i < several[k].parts->count; i++) {
            char below[PLACE_BYTES];
            snprintf(below, sizeof below, "%.*s.%s[%zu]", PLACE_BYTES / 2, place, several[k].key, i);
            options_doubts(d, (const struct verify_options *)several[k].parts->at + i, below);
        }
}

void verify_doubts(const struct verify_options *o, int64_t wall_ms, void (*each)(void *ctx, const char *text),
                   void *ctx)
{
    options_doubts(&(struct doubts){ wall_ms, each, ctx }, o, "verify");
}
