/* SPDX-License-Identifier: MIT */
/* Is this request from who it claims to be? Checks what it shows (a signature, a token, a password, where it comes from) on
 * the raw bytes, before anything is parsed.
 *
 *   verifier_new -> verifier_start -> verifier_check_head per head, verifier_check per request -> verifier_free
 *
 * table.h lists the schemes, options.h has the options. Several schemes go together as `any` of them or `all`. Every secret of
 * a scheme is tried, always all of them, in constant time; one that has ended (until) only tells why a request is refused. One
 * thread per verifier; its options stay borrowed. */
#pragma once
#include <jansson.h>
#include "bridge/net/http/http.h"
#include "bridge/verify/options.h"
#include "bridge/verify/refusal.h"

struct verified {
    enum refusal no;
    const char *why;    /* a sentence about that, for the log; NULL: there is no more to say */
    const char *scheme; /* of several, the one that said no; NULL: there is one alone */
    /* Whose request it is: the name of the secret that it shows, else which one that is ("#2"; of several schemes "1#2", the
     * second of the first); the `sub` of a JSON Web Token. No secret. Absent: it is nobody's in particular. Valid until the next check. */
    struct str key;
};

struct verifier;

/* NULL with *e ("verify.any[1].secrets: ...") when the options do not go together. */
struct verifier *verifier_new(const struct verify_options *o, struct err *e);
/* Begins what goes on beside requests: keys are fetched. Not for one that only checks options. */
void verifier_start(struct verifier *v);
/* False with *why: there is nothing yet to check requests with (REFUSAL_AWAITED). Any thread. */
bool verifier_ready(const struct verifier *v, struct err *why);
void verifier_free(struct verifier *v); /* accepts NULL; wipes the secrets' copies */
/* Takes over the secrets that files say by now; before a check, and now and then. `of`: whose verifier it is, for the log. */
void verifier_refresh(struct verifier *v, const char *of);
bool verifier_follows(const struct verifier *v); /* do any of its secrets come from files? */
/* True: the head says all of it, verifier_check needs no body. */
bool verifier_by_head(const struct verifier *v);
/* As much as the head says, before the body is read. Let in so far, not by_head: the body has the last word. */
struct verified verifier_check_head(struct verifier *v, const struct http_request *r);
struct verified verifier_check(struct verifier *v, const struct http_request *r);

/* What would have made a request's signature right, as far as that is found at a bounded cost: for the log, never for the
 * sender. False: nothing is known of it. */
bool verifier_explain(struct verifier *v, const struct http_request *r, struct err *why);

/* ---- of the request that was let in last ---- */

/* The sender's own id of this delivery by the scheme's header, absent when there is none. */
struct str verifier_id(const struct verifier *v, const struct http_request *r);
/* Is what this header says the sender's word? Else whoever saw a request can send it again with another value. */
bool verifier_vouches(const struct verifier *v, const struct http_request *r, const char *header);

/* A claim of the JSON Web Token that it showed, by name or JSON pointer; NULL: there is none. Until the next check. */
const json_t *verifier_claim(const struct verifier *v, const char *name);

/* ---- of every request ---- */

/* The row of its signatures; NULL: it has none. Of `any`, the one that all of them have; of `all`, the one that signs most. */
const struct signature_style *verifier_style(const struct verifier *v);
/* What that proposes as type of the events, and as the header whose value is put behind it; NULL: nothing. */
const char *verifier_type(const struct verifier *v);
const char *verifier_type_header(const struct verifier *v);
/* For WWW-Authenticate of a refusal (RFC 9110, 11.6.1). */
struct str verifier_challenge(const struct verifier *v);
/* The same of the request that was refused last: who has shown a token hears that it is none that counts (RFC 6750 section 3),
 * whatever the cause. */
struct str verifier_challenge_of(const struct verifier *v, enum refusal no);
