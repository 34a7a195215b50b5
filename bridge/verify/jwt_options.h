/* SPDX-License-Identifier: MIT */
/* Which tokens are accepted, as the user wrote it; and what became of one. */
#pragma once
#include "bridge/lib/option.h"
#include "bridge/net/address.h"

struct jwt_options {
    struct secrets secrets;
    char *keys_file, *keys_url, *openid, *ca_file;
    bool plain_http;
    enum address_guard guard;
    struct strings allow;
    struct duration refresh;
    struct strings algorithms, issuer, audience;
    char *scope;
    struct tree required; /* a JSON object: claim, or JSON pointer -> value, or list of values */
    struct duration leeway, max_age;
    bool needs_exp;
};
extern const struct option jwt_rows[];

bool jwt_is_given(const struct jwt_options *o); /* does it say anything that is no default? */

enum jwt_verdict {
    JWT_GOOD = 1,
    JWT_MALFORMED,   /* no token, or one that could be read in two ways */
    JWT_UNKNOWN_KEY, /* no key of that kid, or none for that algorithm */
    JWT_MISMATCH,    /* the signature is none by our keys */
    JWT_ENDED,       /* ... but by a secret that has ended (until) */
    JWT_STALE,       /* expired, not valid yet, too old */
    JWT_FOREIGN,     /* of another issuer, for another audience, or not allowed to what is asked */
    JWT_AWAITED,     /* the keys are still being fetched: whoever asks again soon is told */
};
