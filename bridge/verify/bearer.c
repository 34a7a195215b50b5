/* SPDX-License-Identifier: MIT */
/* The scheme `bearer`: a token in the Authorization header, or alone in a header that the user names. */
#include "bridge/auth/token.h"
#include "bridge/verify/scheme.h"

static bool bearer_add_secret(struct verifier *v, struct str secret, bool ended, struct err *e)
{
    if (!secret_check(secret, SECRET_LEAST, e))
        return false;
    tokens_add(ended ? v->ended : v->tokens, secret);
    return true;
}

static enum refusal bearer_check(struct verifier *v, const struct http_request *r)
{
    struct str token;
    enum refusal no = scheme_header(r, v->header ? v->header : v->scheme->header, &token);
    if (no)
        return no;
    if (!v->header)
        token = token_of_authorization(token);
    if (!token.at)
        return REFUSAL_MALFORMED;
    bool good = tokens_match(v->tokens, token), ended = tokens_match(v->ended, token);
    return good ? REFUSAL_NONE : ended ? REFUSAL_ENDED : REFUSAL_MISMATCH;
}

const struct scheme scheme_bearer = {
    .covers = COVER_REQUEST,
    .by_head = true,
    .add_secret = bearer_add_secret,
    .check = bearer_check,
    .header = "Authorization",
};
