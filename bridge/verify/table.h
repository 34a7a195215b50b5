/* SPDX-License-Identifier: MIT */
/* The verification schemes: the styles of bridge/auth/signature.h, and others, each with a file here (scheme.h says how to
 * add one). */
#pragma once
#include "bridge/auth/signature.h"
#include "bridge/lib/option.h"

/* Enum value, name in the YAML, what `aqueduct help http` says. Besides the styles of signatures: */
#define VERIFY_OWN(SCHEME)                                                                                             \
    SCHEME(BEARER, bearer, "a token in the Authorization header")                                                      \
    SCHEME(JWT, jwt, "a JSON Web Token in the Authorization header, by the keys that `jwt` names")                     \
    SCHEME(BASIC, basic, "a user and a password (RFC 7617), of secrets whose `name` is the user")                      \
    SCHEME(API_KEY, api_key, "a key in the header X-API-Key, in another, or in a parameter of the URL (`query`)")      \
    SCHEME(ADDRESS, address, "no secret, but an address within the networks of `allow`")                               \
    SCHEME(CERTIFICATE, certificate, "a TLS certificate of a CA in tls_client_ca, by `subject` and `san`")             \
    SCHEME(NONE, none, "nothing, everybody may send")
#define VERIFY_SCHEMES(SCHEME) SIGNATURE_STYLES(SCHEME) VERIFY_OWN(SCHEME)

#define VERIFY_VALUE(VALUE, name, doc) VERIFY_##VALUE,
enum verify_scheme { VERIFY_UNSET, VERIFY_SCHEMES(VERIFY_VALUE) VERIFY_COUNT };
#undef VERIFY_VALUE

struct scheme;

/* Of schemes that are set. */
const struct scheme *table_scheme(enum verify_scheme scheme);
const struct signature_style *table_style(enum verify_scheme scheme); /* NULL: it is no style of signatures */
const char *table_name(enum verify_scheme scheme);                    /* as in the YAML */
/* All, and those that need no body. */
extern const struct option_value table_names[], table_head_names[];
