/* SPDX-License-Identifier: MIT */
/* The scheme `standard`: Standard Webhooks v1, which signs id, time and body; with its own header names or Svix's. */
#include "bridge/lib/clock.h"
#include "connectors/http/verify/scheme.h"

enum { TIMESTAMP_DIGITS = 12 };

struct standard_names {
    const char *id, *timestamp, *signature;
};

static const struct standard_names standard_own = { "webhook-id", "webhook-timestamp", "webhook-signature" };
static const struct standard_names standard_svix = { "svix-id", "svix-timestamp", "svix-signature" };

/* Which set of names this request signs with. */
static const struct standard_names *standard_names(const struct http_request *r)
{
    size_t count = 0;
    http_header(r, standard_own.signature, &count);
    return count ? &standard_own : &standard_svix;
}

/* "whsec_" + base64. Without the prefix people have both base64 and plain text, so both readings are keys. */
static bool standard_add_secret(struct verifier *v, struct str secret, struct err *e)
{
    struct hmac *key = secret_hmac(secret, e);
    if (!key)
        return false;
    scheme_add_key(v, key);
    struct buf decoded = buf_new(secret.n + 1);
    if (!secret_has_prefix(secret) && base64_decode(&decoded, secret))
        scheme_add_key(v, hmac_new(buf_str(&decoded)));
    if (decoded.at)
        crypto_wipe(decoded.at, decoded.cap);
    buf_free(&decoded);
    return true;
}

static enum refusal standard_check_time(const struct verifier *v, struct str timestamp)
{
    uint64_t signed_at = 0;
    if (timestamp.n > TIMESTAMP_DIGITS || !str_to_u64(timestamp, &signed_at))
        return REFUSAL_MALFORMED;
    int64_t age = clock_wall_ms() / 1000 - (int64_t)signed_at;
    return age > v->tolerance_s || age < -v->tolerance_s ? REFUSAL_STALE : REFUSAL_NONE;
}

/* "v1,<base64> v1,<base64> ...": one of them must match; other versions are passed over. */
static bool standard_matches(struct verifier *v, struct str signatures)
{
    bool found = false;
    struct str one;
    while (str_cut(&signatures, ' ', &one)) {
        if (!str_starts(one, STR("v1,")))
            continue;
        buf_reset(&v->decoded);
        if (base64_decode(&v->decoded, str_from(one, 3)))
            found |= scheme_matches(v, buf_str(&v->decoded));
    }
    return found;
}

static enum refusal standard_check(struct verifier *v, const struct http_request *r)
{
    const struct standard_names *names = standard_names(r);
    struct str id, timestamp, signatures;
    enum refusal no;
    if ((no = scheme_header(r, names->id, &id)) || (no = scheme_header(r, names->timestamp, &timestamp))
        || (no = scheme_header(r, names->signature, &signatures)) || (no = standard_check_time(v, timestamp)))
        return no;
    scheme_sign(v, (const struct str[]){ id, STR("."), timestamp, STR("."), r->body }, 5);
    return standard_matches(v, signatures) ? REFUSAL_NONE : REFUSAL_MISMATCH;
}

static const char *standard_id(const struct http_request *r)
{
    return standard_names(r)->id;
}

const struct scheme scheme_standard = {
    .covers = COVER_ID_BODY,
    .signs_time = true,
    .add_secret = standard_add_secret,
    .check = standard_check,
    .id = standard_id,
};
