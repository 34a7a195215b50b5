/* SPDX-License-Identifier: MIT */
/* Is a JSON Web Token (RFC 7519) from whom we trust, for us, and valid now? For bearer tokens, wherever they come in.
 *
 *   jwt_new -> jwt_start -> jwt_check ... -> jwt_free
 *
 * Keys are secrets (HS*), a file (PEM, or a JWK set), both of which are read again when they change, and what an issuer
 * publishes at a URL (issuer.h). A token chooses
 * among them by its `kid`, and among the algorithms that the key and the options allow by its `alg`; nothing else in it
 * counts before the signature is verified: no key or URL of its own (`jwk`, `jku`, `x5c`, `x5u`), and `crit` is refused.
 * Whatever could be read in two ways is refused: a repeated member, padding, bits left over. How long checking takes says
 * nothing of a secret. jwt_check is one thread's, jwt_ready any one's. Nothing here logs a token or quotes it. */
#pragma once
#include <jansson.h>
#include "bridge/lib/buf.h"
#include "bridge/lib/err.h"
#include "bridge/verify/jwt_options.h"

enum { JWT_BYTES = 16 * 1024, JWT_SUBJECT = 255 }; /* most of a token, and of its subject */

struct jwt;
/* Reads the secrets and the file. NULL with *e ("keys_file: ..."). Starts nothing: options can be checked so. */
struct jwt *jwt_new(const struct jwt_options *o, struct err *e);
void jwt_start(struct jwt *j); /* begins to fetch the keys, if there is a URL */
void jwt_free(struct jwt *j);  /* accepts NULL; wipes secrets */
/* *why: a sentence without anything of the token; NULL when it is good. */
enum jwt_verdict jwt_check(struct jwt *j, struct str token, const char **why);
/* The `sub` of the last token that was good: until the next one is checked. Absent: it has none that is 1 to JWT_SUBJECT
 * bytes of text that can be shown. */
struct str jwt_subject(const struct jwt *j);
/* All that it says; NULL: the last token was not good. As long. */
const json_t *jwt_told(const struct jwt *j);
/* False with *why: there are no keys yet. */
bool jwt_ready(const struct jwt *j, struct err *why);
