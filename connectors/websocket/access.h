/* SPDX-License-Identifier: MIT */
/* Who may listen: by token, by the site that a browser's script is from, by the name that the client used for us. */
#pragma once
#include "bridge/lib/option.h"
#include "bridge/net/http/http.h"
#include "bridge/verify/verify.h"

/* Besides in the Authorization header a request may carry its token as a WebSocket subprotocol
 * "base64url.bearer.aqueduct.<base64url of the token>"; in the cookie of that name, unless that is NULL or ""; or, only if
 * in_query, as the parameter `token`. REFUSAL_MISSING: it shows nothing. */
struct verified access_check(struct verifier *v, const struct http_request *r, const char *cookie, bool in_query);
/* The same of a token that came later, as if that stood in the header of the request. */
struct verified access_check_token(struct verifier *v, const struct http_request *r, struct str token);

/* A browser always says which site its script is from. No Origin: no browser. */
bool access_origin_ok(const struct http_request *r, const struct strings *origins);

/* Did it come by an address, localhost, or the host of one of the origins? A name of somebody else's that he made
 * point to this machine (DNS rebinding) would let his site's scripts in as if they were ours. */
bool access_host_ok(const struct http_request *r, const struct strings *origins);

enum { ACCESS_CORS = 4 };
/* What lets a browser's script of that origin, which was checked, see the answer, also when the request brought cookies (if
 * one of them is of use): writes up to ACCESS_CORS headers, none when the origin is absent; returns how many. */
size_t access_cors(struct str origin, const char *cookie, struct header *out);

/* Is the word in the comma-separated list of that header, whatever parameters follow it? */
bool access_header_has(const struct http_request *r, const char *name, struct str word);
/* Does the parameter of the query say who somebody is, and not what he asks for? */
bool access_is_secret(const struct verify_options *o, bool token_in_query, struct str name);
