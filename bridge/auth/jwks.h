/* SPDX-License-Identifier: MIT */
/* Sets of keys that verify tokens: of secrets, of a file, of the JSON that an issuer publishes (RFC 7517).
 *
 *   jwks_new -> jwks_add_... -> jwks_find ... -> jwks_unref
 *
 * Once all are added a set does not change: any thread that has a reference may search. No error holds anything of a secret. */
#pragma once
#include "bridge/auth/jwk.h"
#include "bridge/lib/option.h"

enum { JWKS_KEYS = 100, JWKS_BYTES = 256 * 1024 }; /* most of a set, and of its JSON or PEM */

struct jwks;
struct jwks *jwks_new(void); /* one reference */
struct jwks *jwks_ref(struct jwks *s);
void jwks_unref(struct jwks *s); /* accepts NULL; the last one frees it, and wipes */
size_t jwks_count(const struct jwks *s);

bool jwks_add_secrets(struct jwks *s, const struct secrets *secrets, struct err *e); /* *e: "secrets[0]: ..." */
/* The keys of a JWK set that verify; the others are passed over. False with *e: there are none, or it is no set.
 * `secrets`: may there be some? */
bool jwks_add_json(struct jwks *s, struct str json, bool secrets, struct err *e);
/* A JWK set, which may have secrets, or PEM: PUBLIC KEY and CERTIFICATE. */
bool jwks_add_text(struct jwks *s, struct str text, struct err *e);
/* The same of a file, which others cannot read if it has secrets. */
bool jwks_add_file(struct jwks *s, const char *path, struct err *e);

/* The next key for this algorithm and kid, behind *at, which begins at 0; NULL: no more. Those without a kid are for
 * every one; an absent kid fits all. */
const struct jwk *jwks_find(const struct jwks *s, size_t *at, enum jwt_algorithm a, struct str id);
bool jwks_has_id(const struct jwks *s, struct str id); /* has a key just this kid? */
