/* SPDX-License-Identifier: MIT */
/* Is this request from who it claims to be? Checks the signature or token of one path, on the raw bytes, before
 * anything is parsed.
 *
 *   standard   Standard Webhooks v1: webhook-id, webhook-timestamp, webhook-signature (or the svix- names)
 *   github     X-Hub-Signature-256: sha256=<hex>
 *   bearer     Authorization: Bearer <token>, or the token alone in a header of another name
 *   none       everybody is welcome
 *
 * Every live secret is tried, always all of them, in constant time. One thread per verifier. */
#pragma once
#include "bridge/net/http/server.h"

struct http_verify { /* `verify:` as the user wrote it */
    char *scheme;
    struct secrets secrets;
    char *header;
    struct duration tolerance;
};
extern const struct option http_verify_rows[];

enum refusal { /* for log and metric only: the sender hears one text for all of them */
               REFUSAL_NONE,
               REFUSAL_MISSING,  /* a header that the scheme needs is not there */
               REFUSAL_REPEATED, /* or is there more than once */
               REFUSAL_MALFORMED,
               REFUSAL_STALE, /* signed too long ago, or in the future */
               REFUSAL_MISMATCH,
               REFUSAL_COUNT,
};
const char *refusal_text(enum refusal r); /* "mismatch" */

struct verifier;

/* NULL with *e when secrets and scheme do not go together. */
struct verifier *verifier_new(const struct http_verify *o, struct err *e);
void verifier_free(struct verifier *v); /* accepts NULL; wipes the secrets' copies */
/* Can it be checked before the body is there? */
bool verifier_by_head(const struct verifier *v);
enum refusal verifier_check(struct verifier *v, const struct http_request *r);
/* The sender's own id of this delivery by the scheme's header, absent when there is none. */
struct str verifier_id(const struct verifier *v, const struct http_request *r);
