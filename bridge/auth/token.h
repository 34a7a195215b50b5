/* SPDX-License-Identifier: MIT */
/* Is a presented token one of the valid ones? For bearer tokens, wherever they come in.
 *
 *   tokens_new -> tokens_add ... -> tokens_match ... -> tokens_free
 *
 * The set keeps no token, only its HMAC under a key drawn at random for this set. tokens_match compares the HMAC of what
 * was presented with every one of them, always all, in constant time: how long it takes says neither which token
 * matched, nor how much of one was right, nor how long a valid one is. One thread per set. */
#pragma once
#include "bridge/lib/str.h"

struct tokens;
struct tokens *tokens_new(void);    /* matches nothing yet */
void tokens_free(struct tokens *t); /* accepts NULL; wipes what it holds */
/* Copies nothing of the token but its HMAC. Adding an empty token changes nothing: it would match whoever has none. `id`: what
 * tokens_match calls it. */
void tokens_add(struct tokens *t, struct str token, size_t id);
/* False for an empty or absent token. *id, if not NULL: which one it is, the last added of equal ones; else untouched. */
bool tokens_match(struct tokens *t, struct str token, size_t *id);

/* What stands behind the scheme in an Authorization header, "Bearer <token>" (the word in any case, space around the token
 * dropped); absent when the header has another form. Points into the header. */
struct str token_of_authorization(struct str header, const char *scheme);
