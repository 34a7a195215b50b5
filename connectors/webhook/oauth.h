/* SPDX-License-Identifier: MIT */
/* Tokens by OAuth 2.0 client credentials (RFC 6749 section 4.4). */
#pragma once
#include "connectors/webhook/grant.h"
#include "connectors/webhook/target.h"

struct oauth { /* options */
    char *token_url, *client_id;
    struct secret client_secret;
    char *scope, *audience;
    enum oauth_auth {
        OAUTH_BASIC, /* id and secret in the header Authorization */
        OAUTH_BODY,  /* in the form */
    } auth;
};

extern const struct option oauth_rows[];

/* Is there a URL, an identity? False with *e ("oauth.token_url: ..."). Nothing set at all is fine. */
bool oauth_check(const struct oauth *o, const struct address_rules *rules, struct err *e);
void oauth_grant(const struct oauth *o, struct grant *g); /* of what was checked */
