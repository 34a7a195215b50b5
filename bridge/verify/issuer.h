/* SPDX-License-Identifier: MIT */
/* The keys that an issuer of tokens publishes at a URL, fetched and kept fresh on a thread of its own.
 *
 *   issuer_start -> issuer_keys, issuer_ask, issuer_ready ... -> issuer_stop
 *
 *   at the start        fetched at once; again after a second, and then after twice as long each time, until there are some
 *   each `refresh`      or sooner, as Cache-Control says, but not more often than once a minute; when that fails, the keys
 *                       there are stay
 *   issuer_ask          at once, but not more often than once in half a minute: a token names a key that is not among them
 *
 * Any thread but for start and stop, which are one's. */
#pragma once
#include "bridge/auth/jwks.h"
#include "bridge/net/fetch.h"

enum { ISSUER_REFRESH_LEAST_MS = 60000 };

struct issuer_options { /* all of it is borrowed until the end */
    const char *url;    /* of the keys; NULL: the OpenID configuration of the issuer `openid` has it (jwks_uri) */
    const char *openid; /* "https://login.example.com" */
    bool plain;         /* may that one begin with http://? */
    const struct transport *way;
    const struct address_rules *rules;
    struct duration refresh;
};

struct issuer;
struct issuer *issuer_start(const struct issuer_options *o);
void issuer_stop(struct issuer *i); /* accepts NULL; a fetch under way is broken off */
/* The newest keys, with a reference; NULL: there are none yet. */
struct jwks *issuer_keys(struct issuer *i);
/* True: they are being fetched, or will be at once. */
bool issuer_ask(struct issuer *i);
/* False with *why: there are no keys yet. */
bool issuer_ready(struct issuer *i, struct err *why);
