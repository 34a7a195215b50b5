/* SPDX-License-Identifier: MIT */
/* Schemes that sign the body and nothing else with HMAC-SHA256, in hex behind a prefix: one row of data each. */
#include "connectors/http/verify/scheme.h"

static bool hmac_add_secret(struct verifier *v, struct str secret, struct err *e)
{
    if (!secret_check(secret, SECRET_LEAST, e))
        return false;
    scheme_add_key(v, hmac_new(secret));
    return true;
}

static enum refusal hmac_check(struct verifier *v, const struct http_request *r)
{
    struct str prefix = str_of(v->scheme->prefix), value;
    enum refusal no = scheme_header(r, scheme_header_name(v), &value);
    if (no)
        return no;
    buf_reset(&v->decoded);
    if (!str_starts(value, prefix) || value.n != prefix.n + 2 * SHA256_BYTES
        || !hex_decode(&v->decoded, str_from(value, prefix.n)))
        return REFUSAL_MALFORMED;
    scheme_sign(v, &r->body, 1);
    return scheme_matches(v, buf_str(&v->decoded)) ? REFUSAL_NONE : REFUSAL_MISMATCH;
}

const struct scheme scheme_github = {
    .covers = COVER_BODY,
    .add_secret = hmac_add_secret,
    .check = hmac_check,
    .header = "X-Hub-Signature-256",
    .prefix = "sha256=",
    .id_header = "X-GitHub-Delivery",
    .type = "github",
    .type_header = "X-GitHub-Event",
};
