/* SPDX-License-Identifier: MIT */
/* The scheme `bearer`: a token in the Authorization header, or alone in a header that the user names. */
#include "bridge/verify/scheme.h"

static enum refusal bearer_check(struct verifier *v, const struct http_request *r)
{
    struct str token;
    enum refusal no = scheme_token(v, r, &token);
    if (no)
        return no;
    return token.at ? scheme_check_token(v, token) : REFUSAL_MALFORMED;
}

const struct scheme scheme_bearer = {
    .covers = COVER_REQUEST,
    .asks = ASKS_WHO,
    .by_head = true,
    .shows_secret = true,
    .add_secret = scheme_add_token,
    .check = bearer_check,
    .header = "Authorization",
    .challenge = "Bearer",
};
