/* SPDX-License-Identifier: MIT */
/* A key that verifies the signatures of JSON Web Tokens (RFC 7517, 7518, 8037): a secret, or the public half of a pair.
 *
 * Its kind says by which algorithms, so that no token can have a public key taken for a secret. Immutable once it is made:
 * any thread. No error holds anything of a secret. */
#pragma once
#include <jansson.h>
#include "bridge/lib/err.h"
#include "bridge/lib/str.h"

/* Enum value, name in tokens, kind of key, digest, bytes of the signature (ES*: of each half of it), PSS. */
#define JWT_ALGORITHMS(ALGORITHM)                                                                                      \
    ALGORITHM(HS256, "HS256", SECRET, EVP_sha256, 32, false)                                                           \
    ALGORITHM(HS384, "HS384", SECRET, EVP_sha384, 48, false)                                                           \
    ALGORITHM(HS512, "HS512", SECRET, EVP_sha512, 64, false)                                                           \
    ALGORITHM(RS256, "RS256", RSA, EVP_sha256, 0, false)                                                               \
    ALGORITHM(RS384, "RS384", RSA, EVP_sha384, 0, false)                                                               \
    ALGORITHM(RS512, "RS512", RSA, EVP_sha512, 0, false)                                                               \
    ALGORITHM(PS256, "PS256", RSA, EVP_sha256, 0, true)                                                                \
    ALGORITHM(PS384, "PS384", RSA, EVP_sha384, 0, true)                                                                \
    ALGORITHM(PS512, "PS512", RSA, EVP_sha512, 0, true)                                                                \
    ALGORITHM(ES256, "ES256", P256, EVP_sha256, 32, false)                                                             \
    ALGORITHM(ES384, "ES384", P384, EVP_sha384, 48, false)                                                             \
    ALGORITHM(ES512, "ES512", P521, EVP_sha512, 66, false)                                                             \
    ALGORITHM(EDDSA, "EdDSA", ED25519, jwk_no_digest, 64, false)

#define JWT_VALUE(VALUE, name, kind, digest, bytes, pss) JWT_##VALUE,
enum jwt_algorithm { JWT_NONE, JWT_ALGORITHMS(JWT_VALUE) JWT_COUNT }; /* JWT_NONE: it is none of these */
#undef JWT_VALUE

enum jwk_kind { JWK_SECRET = 1, JWK_RSA, JWK_P256, JWK_P384, JWK_P521, JWK_ED25519 };

struct jwk;
enum jwt_algorithm jwt_algorithm_of(struct str name); /* exactly as in tokens */
const char *jwt_algorithm_name(enum jwt_algorithm a);

/* Of a secret text, as it is: 32 bytes at least. The caller looks at the end (until). */
struct jwk *jwk_of_secret(struct str secret, int64_t until_ms, struct err *e);
/* Of a member of a JWK set. NULL with *e: it verifies no signatures (use, key_ops), is of a kind or for an algorithm that
 * is unknown, or is broken. `secrets`: may it be one? */
struct jwk *jwk_of_json(const json_t *json, bool secrets, struct err *e);
/* Of the next PEM block, which is cut off: PUBLIC KEY or CERTIFICATE. NULL with *e; "" there: there are no more. */
struct jwk *jwk_of_pem(struct str *pem, struct err *e);
void jwk_free(struct jwk *k); /* accepts NULL; wipes it */

bool jwk_is_secret(const struct jwk *k);
const char *jwk_id(const struct jwk *k);   /* its kid; NULL: it has none */
int64_t jwk_until_ms(const struct jwk *k); /* when it ends; 0: never */
/* Is it a key for this algorithm? Of a secret, it must be as long as the digest (RFC 7518 section 3.2). */
bool jwk_fits(const struct jwk *k, enum jwt_algorithm a);
/* Is this the key's signature of the text by an algorithm that fits? Of a secret in constant time. */
bool jwk_verify(const struct jwk *k, enum jwt_algorithm a, struct str text, struct str signature);
