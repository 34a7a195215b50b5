/* SPDX-License-Identifier: MIT */
/* The scheme `none`: whoever can reach the port may send. */
#include "bridge/verify/scheme.h"

static enum refusal none_check(struct verifier *v, const struct http_request *r)
{
    (void)v, (void)r;
    return REFUSAL_NONE;
}

const struct scheme scheme_none = {
    .covers = COVER_REQUEST,
    .asks = ASKS_NOTHING,
    .by_head = true,
    .check = none_check,
};
