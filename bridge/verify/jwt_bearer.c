/* SPDX-License-Identifier: MIT */
/* The scheme `jwt`: a JSON Web Token in the Authorization header, or alone in a header that the user names. Whose request it
 * is, its `sub` says. */
#include "bridge/verify/jwt.h"
#include "bridge/verify/options.h"
#include "bridge/verify/scheme.h"

static bool jwt_bearer_open(struct verifier *v, const struct verify_options *o, struct err *e)
{
    struct err why;
    v->own = jwt_new(&o->jwt, &why);
    return v->own || err_set(e, "%s.jwt.%s", v->place, why.text);
}

static void jwt_bearer_close(struct verifier *v)
{
    jwt_free(v->own);
}

static void jwt_bearer_start(struct verifier *v)
{
    jwt_start(v->own);
}

static bool jwt_bearer_ready(const struct verifier *v, struct err *why)
{
    return jwt_ready(v->own, why);
}

static enum refusal jwt_bearer_refusal(enum jwt_verdict verdict)
{
    switch (verdict) {
    case JWT_GOOD: return REFUSAL_NONE;
    case JWT_MALFORMED: return REFUSAL_MALFORMED;
    case JWT_UNKNOWN_KEY: return REFUSAL_KEY;
    case JWT_MISMATCH: return REFUSAL_MISMATCH;
    case JWT_ENDED: return REFUSAL_ENDED;
    case JWT_STALE: return REFUSAL_STALE;
    case JWT_FOREIGN: return REFUSAL_CLAIM;
    case JWT_AWAITED: return REFUSAL_AWAITED;
    }
    return REFUSAL_MALFORMED;
}

static enum refusal jwt_bearer_check(struct verifier *v, const struct http_request *r)
{
    struct str token;
    enum refusal no = scheme_token(v, r, &token);
    if (no)
        return no;
    no = jwt_bearer_refusal(jwt_check(v->own, token, &v->why));
    v->key = jwt_subject(v->own);
    v->claims = jwt_told(v->own);
    if (!no && !v->key.at)
        scheme_set_unnamed(v, "jwt");
    return no;
}

const struct scheme scheme_jwt = {
    .covers = COVER_REQUEST,
    .asks = ASKS_WHO,
    .by_head = true,
    .takes_jwt = true,
    .shows_secret = true,
    .open = jwt_bearer_open,
    .close = jwt_bearer_close,
    .start = jwt_bearer_start,
    .ready = jwt_bearer_ready,
    .check = jwt_bearer_check,
    .header = "Authorization",
    .challenge = "Bearer",
};
