/* SPDX-License-Identifier: MIT */
/* Who may listen: tokens, browsers' origins, and how many listeners one address may have. One thread. */
#pragma once
#include "bridge/net/http/http.h"

/* Where the request carries its token: the Authorization header, a WebSocket subprotocol
 * "base64url.bearer.aqueduct.<base64url of the token>", or, only if in_query, the parameter `token`. In constant time. */
bool access_token_ok(const struct http_request *r, const struct secrets *tokens, bool in_query);

/* A browser always says which site its script is from. No Origin: no browser. */
bool access_origin_ok(const struct http_request *r, const struct strings *origins);

/* Did it come by an address, localhost, or the host of one of the origins? A name of somebody else's that he made
 * point to this machine (DNS rebinding) would let his site's scripts in as if they were ours. */
bool access_host_ok(const struct http_request *r, const struct strings *origins);

/* Does `listen` reach this machine only? */
bool access_is_local(const char *listen);

struct peer { /* one address */
    struct peer *next;
    uint32_t listeners;
    struct str address;
};

struct peers {
    struct peer *buckets[1024];
};

/* Counts one more listener of "address:port"; NULL when it has `most` already. */
struct peer *peers_enter(struct peers *p, struct str from, int64_t most);
void peers_leave(struct peers *p, struct peer *one);
