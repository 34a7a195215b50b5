/* SPDX-License-Identifier: MIT */
/* What a verification scheme is made of, and what schemes share. For the files of this folder only.
 *
 * A scheme is one constant, `scheme_<name>`, in a file of its own; its line in VERIFY_SCHEMES (verify.h) brings it into
 * the options, `aqueduct help`, the JSON Schema and the fuzzer. A provider that signs the body and nothing else with
 * HMAC-SHA256 needs no code: it is a row of hmac.c. */
#pragma once
#include "bridge/auth/secret.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/err.h"
#include "bridge/net/http/http.h"
#include "connectors/http/verify/cover.h"
#include "connectors/http/verify/refusal.h"

struct mac {
    unsigned char bytes[SHA256_BYTES];
};

struct verifier { /* one path's scheme with its secrets */
    const struct scheme *scheme;
    const char *header;  /* named by the user, borrowed from the options; NULL: the scheme's own */
    int64_t tolerance_s; /* between the signed time and ours */
    struct hmac **keys;  /* scheme_add_key */
    struct mac *macs;    /* one per key, of the message at hand: scheme_sign */
    size_t key_count;
    struct tokens *tokens;
    struct buf decoded; /* the signature at hand */
};

struct scheme {
    /* What a verified request vouches for. */
    enum cover covers;
    /* True: `check` needs the head alone, and runs before the body is read. */
    bool by_head;
    /* True: it signs a time, which `tolerance` is about. */
    bool signs_time;
    /* Takes one of the secrets. NULL: the scheme has none. False: the error says what is wrong with it (secret.h), and
     * nothing of itself. */
    bool (*add_secret)(struct verifier *v, struct str secret, struct err *e);
    /* In constant time with regard to the secrets; tries all of them. Nothing of the request was parsed yet. */
    enum refusal (*check)(struct verifier *v, const struct http_request *r);
    /* Which header has the sender's own id of the delivery, by which repeats are known. NULL: id_header. */
    const char *(*id)(const struct http_request *r);
    /* Data of the functions above and defaults of the path; NULL: none. */
    const char *header;             /* with the signature or token; the user may name another. NULL: no choice */
    const char *prefix;             /* what stands before the signature in it */
    const char *id_header;          /* with the sender's id of the delivery */
    const char *type, *type_header; /* of the events: a prefix, and the header with what stands behind it */
};

/* For add_secret: takes over an HMAC-SHA256 key. */
void scheme_add_key(struct verifier *v, struct hmac *key);
void scheme_free_keys(struct verifier *v); /* wipes them */
/* The header with the signature or token: the user's, or the scheme's own. */
const char *scheme_header_name(const struct verifier *v);
/* A header that must be there once, with a value. */
enum refusal scheme_header(const struct http_request *r, const char *name, struct str *out);
/* Signs the parts, as if joined, with every key. */
void scheme_sign(struct verifier *v, const struct str *parts, size_t count);
/* Is this the MAC by one of the keys of what scheme_sign had last? */
bool scheme_matches(const struct verifier *v, struct str mac);
