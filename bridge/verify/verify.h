/* SPDX-License-Identifier: MIT */
/* Is this request from who it claims to be? Checks the signature or token of one path, on the raw bytes, before
 * anything is parsed.
 *
 *   verifier_new -> verifier_check per request -> verifier_free
 *
 * VERIFY_SCHEMES lists the schemes: the styles of bridge/auth/signature.h, and others, each with a file here (scheme.h says
 * how to add one). Every secret is tried, always
 * all of them, in constant time; one that has ended (until) only tells why a request is refused. One thread per
 * verifier; its options stay borrowed. */
#pragma once
#include "bridge/auth/signature.h"
#include "bridge/net/http/http.h"
#include "bridge/verify/cover.h"
#include "bridge/verify/refusal.h"

/* Enum value, name in the YAML, what `aqueduct help http` says. Besides the styles of signatures: */
#define VERIFY_OWN(SCHEME)                                                                                             \
    SCHEME(BEARER, bearer, "a token in the Authorization header")                                                      \
    SCHEME(NONE, none, "nothing, everybody may send")
#define VERIFY_SCHEMES(SCHEME) SIGNATURE_STYLES(SCHEME) VERIFY_OWN(SCHEME)

#define VERIFY_VALUE(VALUE, name, doc) VERIFY_##VALUE,
enum verify_scheme { VERIFY_UNSET, VERIFY_SCHEMES(VERIFY_VALUE) VERIFY_COUNT };
#undef VERIFY_VALUE

struct verify_options { /* `verify:` as the user wrote it */
    enum verify_scheme scheme;
    struct secrets secrets;
    char *header;
    struct duration tolerance;
};
extern const struct option verify_rows[];

struct verifier;

/* What of a verified request is its sender's word. */
enum cover verify_covers(enum verify_scheme scheme);
const char *verify_name(enum verify_scheme scheme); /* as in the YAML */
/* Can a header have this name? */
bool verify_check_name(const char *header, struct err *e);
/* NULL with *e when secrets and scheme do not go together. */
struct verifier *verifier_new(const struct verify_options *o, struct err *e);
/* True with *why: all of its secrets end soon, or have ended. */
bool verify_warning(const struct verify_options *o, int64_t wall_ms, struct err *why);
void verifier_free(struct verifier *v); /* accepts NULL; wipes the secrets' copies */
/* True: verifier_check needs only the head. */
bool verifier_by_head(const struct verifier *v);
enum refusal verifier_check(struct verifier *v, const struct http_request *r);
/* The sender's own id of this delivery by the scheme's header, absent when there is none. */
struct str verifier_id(const struct verifier *v, const struct http_request *r);
/* Is what this header says the sender's word? Else whoever saw a request can send it again with another value. */
bool verifier_vouches(const struct verifier *v, const struct http_request *r, const char *header);
/* What the scheme proposes as type of the events, and as the header whose value is put behind it; NULL: nothing. */
const char *verifier_type(const struct verifier *v);
const char *verifier_type_header(const struct verifier *v);
/* The row of its signatures; NULL: it has none. */
const struct signature_style *verifier_style(const struct verifier *v);
