/* SPDX-License-Identifier: MIT */
/* The scheme `api_key`: a key alone in a header, or in a parameter of the URL. */
#include "bridge/lib/query.h"
#include "bridge/verify/scheme.h"

static const char *api_key_header(const struct verifier *v)
{
    return v->header ? v->header : v->query ? NULL : v->scheme->header;
}

static enum refusal api_key_check(struct verifier *v, const struct http_request *r)
{
    size_t headers = 0, parameters = 0;
    struct str key = STR_ABSENT;
    if (api_key_header(v))
        key = http_header(r, api_key_header(v), &headers);
    buf_reset(&v->decoded);
    bool sound = !v->query || query_value(r->query, str_of(v->query), &v->decoded, &parameters) || parameters == 0;
    if (headers + parameters > 1)
        return REFUSAL_REPEATED;
    if (!sound)
        return REFUSAL_MALFORMED;
    if (parameters)
        key = buf_str(&v->decoded);
    enum refusal no = key.n ? scheme_check_token(v, key) : REFUSAL_MISSING;
    if (v->decoded.at)
        crypto_wipe(v->decoded.at, v->decoded.n);
    return no;
}

const struct scheme scheme_api_key = {
    .covers = COVER_REQUEST,
    .asks = ASKS_WHO,
    .by_head = true,
    .takes_query = true,
    .shows_secret = true,
    .add_secret = scheme_add_token,
    .check = api_key_check,
    .header = "X-API-Key",
};
