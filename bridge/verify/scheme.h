/* SPDX-License-Identifier: MIT */
/* What a verification scheme is made of, and what schemes share. For the files of this folder only.
 *
 * A scheme is one constant, `scheme_<name>`, in a file of its own; its line in VERIFY_OWN (verify.h) brings it into the
 * options, `aqueduct help`, the JSON Schema and the fuzzer. The styles of signatures need no code: they are rows of
 * bridge/auth/signature.c, all verified by signed.c. */
#pragma once
#include "bridge/auth/signature.h"
#include "bridge/lib/err.h"
#include "bridge/net/http/http.h"
#include "bridge/verify/cover.h"
#include "bridge/verify/refusal.h"

struct mac {
    unsigned char bytes[KEY_SIGNATURE_MOST];
};

struct verifier { /* one path's scheme with its secrets */
    const struct scheme *scheme;
    const struct signature_style *style; /* NULL: the scheme is none of them */
    enum cover covers;                   /* what a verified request vouches for */
    const char *header;                  /* named by the user, borrowed from the options; NULL: the scheme's own */
    int64_t tolerance_s;                 /* between the signed time and ours */
    struct key **keys;
    struct mac *macs;             /* one per key, of the message at hand */
    size_t key_count, live_count; /* those that have not ended come first */
    struct tokens *tokens, *ended;
    struct secrets secrets; /* of the options */
    int64_t turn_ms;        /* wall clock: when the next of them ends; INT64_MAX: none does */
    struct buf decoded;     /* the signature at hand */
};

struct scheme {
    enum cover covers; /* what a verified request vouches for */
    /* True: `check` needs the head alone, and runs before the body is read. */
    bool by_head;
    /* Takes one of the secrets; `ended`: it only tells why a request is refused. NULL: the scheme has none. False: the
     * error says what is wrong with it (secret.h), and nothing of itself. */
    bool (*add_secret)(struct verifier *v, struct str secret, bool ended, struct err *e);
    /* In constant time with regard to the secrets; tries all of them. Nothing of the request was parsed yet. */
    enum refusal (*check)(struct verifier *v, const struct http_request *r);
    const char *header; /* with the token; the user may name another. NULL: no choice */
};

/* The scheme of all styles of signatures: signed.c. */
extern const struct scheme scheme_signed;
/* Which headers this request is signed with. */
const struct signature_headers *signed_headers(const struct verifier *v, const struct http_request *r);
void signed_free_keys(struct verifier *v); /* wipes them; there are none then */

/* A header that must be there once, with a value. */
enum refusal scheme_header(const struct http_request *r, const char *name, struct str *out);
