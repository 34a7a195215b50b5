/* SPDX-License-Identifier: MIT */
/* Verification of requests by Standard Webhooks, GitHub's signature or a bearer token. */
#include "connectors/http/verify/verify.h"
#include <stdlib.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"

enum { TIMESTAMP_DIGITS = 12, SIGNATURE_BYTES = 256 };

const struct option http_verify_rows[] = {
    OPTION(
        struct http_verify, scheme, .required = true, .choices = "standard|github|bearer|none",
        .doc =
            "How senders prove who they are: Standard Webhooks signature, GitHub signature, a token, or not at all."),
    OPTION(struct http_verify, secrets,
           .doc = "Signing secrets or tokens; all of them are valid, so that they can be rotated."),
    OPTION(struct http_verify, header,
           .doc = "Header with the signature (github) or the token (bearer), when it is not the scheme's own."),
    OPTION(struct http_verify, tolerance, .fallback = "5m", .min = 1000, .max = 86400000,
           .doc = "How far the signed time may be from ours (standard)."),
    { 0 },
};

enum scheme { SCHEME_STANDARD, SCHEME_GITHUB, SCHEME_BEARER, SCHEME_NONE };

struct mac {
    unsigned char bytes[SHA256_BYTES];
};

struct verifier {
    enum scheme scheme;
    const char *header; /* borrowed from the options */
    int64_t tolerance_s;
    struct hmac **keys; /* one per secret; bearer: one random key that tokens are compared under */
    size_t key_count;
    struct mac *macs; /* of the message at hand, one per key; bearer: of the valid tokens */
    size_t mac_count;
    struct buf scratch; /* a decoded signature */
};

static const char *const signature_names[2][3] = {
    { "webhook-id", "webhook-timestamp", "webhook-signature" },
    { "svix-id", "svix-timestamp", "svix-signature" },
};

const char *refusal_text(enum refusal r)
{
    static const char *const texts[REFUSAL_COUNT] = { "none", "missing", "repeated", "malformed", "stale", "mismatch" };
    return texts[r];
}

static void add_key(struct verifier *v, struct str key)
{
    v->keys = mem_grow(v->keys, v->key_count + 1, sizeof *v->keys);
    v->keys[v->key_count++] = hmac_new(key);
}

static void wipe(struct buf *b)
{
    if (b->at)
        crypto_wipe(b->at, b->cap);
    buf_free(b);
}

/* "whsec_" + base64. Without the prefix people have both base64 and plain text, so both readings are keys. */
static bool add_standard_key(struct verifier *v, struct str secret, struct err *e)
{
    struct str prefix = STR("whsec_");
    struct str text = secret;
    bool prefixed = str_starts(secret, prefix);
    if (prefixed)
        text = (struct str){ secret.at + prefix.n, secret.n - prefix.n };
    struct buf key = buf_new(text.n + 4);
    bool decoded = base64_decode(&key, text) && key.n > 0;
    if (decoded)
        add_key(v, buf_str(&key));
    wipe(&key);
    if (prefixed && !decoded)
        return err_set(e, "verify.secrets: what stands behind whsec_ is not base64, or nothing");
    if (!prefixed)
        add_key(v, secret);
    return true;
}

static bool add_secret(struct verifier *v, struct str secret, struct err *e)
{
    if (secret.n == 0)
        return err_set(e, "verify.secrets: a secret is empty");
    switch (v->scheme) {
    case SCHEME_STANDARD: return add_standard_key(v, secret, e);
    case SCHEME_GITHUB: add_key(v, secret); return true;
    case SCHEME_BEARER:
        v->macs = mem_grow(v->macs, v->mac_count + 1, sizeof *v->macs);
        hmac_sign(v->keys[0], &secret, 1, v->macs[v->mac_count++].bytes);
        return true;
    case SCHEME_NONE: return err_set(e, "verify.secrets: scheme none checks nothing, so secrets make no sense");
    }
    return false;
}

static bool scheme_of(struct str name, enum scheme *out)
{
    static const char *const names[] = { "standard", "github", "bearer", "none" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_eq(name, str_of(names[i]))) {
            *out = (enum scheme)i;
            return true;
        }
    return false;
}

static bool fill(struct verifier *v, const struct http_verify *o, struct err *e)
{
    if (!scheme_of(str_of(o->scheme), &v->scheme))
        return err_set(e, "verify.scheme: \"%.40s\" is not one of standard, github, bearer, none",
                       o->scheme ? o->scheme : "");
    if (v->scheme != SCHEME_NONE && o->secrets.count == 0)
        return err_set(e, "verify.secrets: scheme %s needs at least one secret", o->scheme);
    v->header = o->header && *o->header ? o->header : NULL;
    if (v->header && (v->scheme == SCHEME_STANDARD || v->scheme == SCHEME_NONE))
        return err_set(e, "verify.header: scheme %s has no header to choose", o->scheme);
    v->tolerance_s = o->tolerance.ms / 1000;
    if (v->scheme == SCHEME_BEARER) {
        unsigned char random[SHA256_BYTES];
        crypto_random(random, sizeof random);
        add_key(v, (struct str){ (const char *)random, sizeof random });
        crypto_wipe(random, sizeof random);
    }
    for (size_t i = 0; i < o->secrets.count; i++)
        if (!add_secret(v, str_of(o->secrets.at[i].text), e))
            return false;
    if (v->scheme != SCHEME_BEARER) {
        v->mac_count = v->key_count;
        v->macs = mem_alloc((v->mac_count + 1) * sizeof *v->macs);
    }
    return true;
}

struct verifier *verifier_new(const struct http_verify *o, struct err *e)
{
    struct verifier *v = mem_alloc(sizeof *v);
    v->scratch = buf_new(SIGNATURE_BYTES);
    if (fill(v, o, e))
        return v;
    verifier_free(v);
    return NULL;
}

void verifier_free(struct verifier *v)
{
    if (!v)
        return;
    for (size_t i = 0; i < v->key_count; i++)
        hmac_free(v->keys[i]);
    free(v->keys);
    if (v->macs)
        crypto_wipe(v->macs, v->mac_count * sizeof *v->macs);
    free(v->macs);
    buf_free(&v->scratch);
    free(v);
}

bool verifier_by_head(const struct verifier *v)
{
    return v->scheme == SCHEME_BEARER || v->scheme == SCHEME_NONE;
}

/* The one value of a header that may not be repeated. */
static enum refusal only(const struct http_request *r, const char *name, struct str *out)
{
    size_t count = 0;
    *out = http_header(r, name, &count);
    if (count > 1)
        return REFUSAL_REPEATED;
    return out->n ? REFUSAL_NONE : REFUSAL_MISSING;
}

/* Which set of names this request signs with. */
static const char *const *standard_names(const struct http_request *r)
{
    size_t count = 0;
    http_header(r, signature_names[0][2], &count);
    return signature_names[count == 0];
}

static void sign(struct verifier *v, const struct str *parts, size_t count)
{
    for (size_t i = 0; i < v->key_count; i++)
        hmac_sign(v->keys[i], parts, count, v->macs[i].bytes);
}

/* No early way out: the time taken does not say which secret matched, or whether one did. */
static bool matches(const struct verifier *v, struct str mac)
{
    bool found = false;
    if (mac.n != SHA256_BYTES)
        return false;
    for (size_t i = 0; i < v->mac_count; i++)
        found |= crypto_equal(mac, (struct str){ (const char *)v->macs[i].bytes, SHA256_BYTES });
    return found;
}

static enum refusal check_standard(struct verifier *v, const struct http_request *r)
{
    const char *const *names = standard_names(r);
    struct str values[3]; /* id, timestamp, signatures */
    for (int i = 0; i < 3; i++) {
        enum refusal no = only(r, names[i], &values[i]);
        if (no)
            return no;
    }
    uint64_t signed_at = 0;
    if (values[1].n > TIMESTAMP_DIGITS || !str_to_u64(values[1], &signed_at))
        return REFUSAL_MALFORMED;
    int64_t age = clock_wall_ms() / 1000 - (int64_t)signed_at;
    if (age > v->tolerance_s || age < -v->tolerance_s)
        return REFUSAL_STALE;

    sign(v, (const struct str[]){ values[0], STR("."), values[1], STR("."), r->body }, 5);
    bool found = false;
    struct str rest = values[2], one;
    while (str_cut(&rest, ' ', &one)) {
        if (!str_starts(one, STR("v1,")))
            continue;
        buf_reset(&v->scratch);
        if (base64_decode(&v->scratch, (struct str){ one.at + 3, one.n - 3 }))
            found |= matches(v, buf_str(&v->scratch));
    }
    return found ? REFUSAL_NONE : REFUSAL_MISMATCH;
}

static enum refusal check_github(struct verifier *v, const struct http_request *r)
{
    struct str prefix = STR("sha256="), value;
    enum refusal no = only(r, v->header ? v->header : "X-Hub-Signature-256", &value);
    if (no)
        return no;
    buf_reset(&v->scratch);
    if (!str_starts(value, prefix) || value.n != prefix.n + 2 * SHA256_BYTES
        || !hex_decode(&v->scratch, (struct str){ value.at + prefix.n, value.n - prefix.n }))
        return REFUSAL_MALFORMED;
    sign(v, &r->body, 1);
    return matches(v, buf_str(&v->scratch)) ? REFUSAL_NONE : REFUSAL_MISMATCH;
}

/* Tokens are compared by their MAC under a random key, so neither content nor length shows in the time. */
static enum refusal check_bearer(struct verifier *v, const struct http_request *r)
{
    struct str prefix = STR("Bearer "), token;
    enum refusal no = only(r, v->header ? v->header : "Authorization", &token);
    if (no)
        return no;
    if (!v->header) {
        if (!str_starts_nocase(token, prefix))
            return REFUSAL_MALFORMED;
        token = str_trim((struct str){ token.at + prefix.n, token.n - prefix.n });
    }
    struct mac mac;
    hmac_sign(v->keys[0], &token, 1, mac.bytes);
    return matches(v, (struct str){ (const char *)mac.bytes, SHA256_BYTES }) ? REFUSAL_NONE : REFUSAL_MISMATCH;
}

enum refusal verifier_check(struct verifier *v, const struct http_request *r)
{
    switch (v->scheme) {
    case SCHEME_STANDARD: return check_standard(v, r);
    case SCHEME_GITHUB: return check_github(v, r);
    case SCHEME_BEARER: return check_bearer(v, r);
    case SCHEME_NONE: return REFUSAL_NONE;
    }
    return REFUSAL_MISMATCH;
}

struct str verifier_id(const struct verifier *v, const struct http_request *r)
{
    switch (v->scheme) {
    case SCHEME_STANDARD: return http_header(r, standard_names(r)[0], NULL);
    case SCHEME_GITHUB: return http_header(r, "X-GitHub-Delivery", NULL);
    case SCHEME_BEARER:
    case SCHEME_NONE: break;
    }
    return STR_ABSENT;
}
