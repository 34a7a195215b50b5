/* SPDX-License-Identifier: MIT */
/* The verdict on a receiver's answer: pure functions of status, headers and what libcurl knows of the transfer.
 *
 *   a whole answer     what the receiver's rules say of its status (statuses.h); a retry not before the time that
 *                      Retry-After names, and a reject in its place when webhook-delivery is abort-message or disable
 *   no whole answer    retry: connection, time-out, TLS, an answer that breaks off (even behind a 2xx: it may be a
 *                      proxy's; a repeat has the same id)
 *   no address that is allowed  reject: nothing was sent
 *   a lack of our own           untried
 */
#pragma once
#include <curl/curl.h>
#include "bridge/net/address.h"
#include "connectors/webhook/statuses.h"

enum { ANSWER_EXCERPT = 60 }; /* most characters of the answer's body that a person gets to see */

/* How far an attempt came. */
enum answer_phase {
    PHASE_RESOLVING = 1,
    PHASE_CONNECTING,
    PHASE_TLS, /* the handshake */
    PHASE_SENT,
};

/* What a receiver's answers mean. */
struct answer_rules {
    struct statuses statuses;
    struct strings success_unless; /* each makes a success a retry when the body's beginning has it */
};

/* One attempt's end. */
struct answer {
    CURLcode code;
    int lack;               /* errno of what our own machine lacked: it was no attempt; 0: nothing */
    int status;             /* 0: none came */
    bool cut;               /* we stopped reading a body that was too long: as good as a whole answer */
    struct str body;        /* its beginning */
    struct str retry_after; /* absent when not sent */
    struct str delivery;    /* webhook-delivery; the same */
    enum answer_phase phase;
    struct duration limit; /* after which it timed out, if it did */
    int os_errno;          /* of a failed connection; 0 unknown */
    long tls_verify;       /* X509_V_...; 0 fine */
    struct str host;       /* of the URL, for the text */
    const char *blocked;   /* what kind of address the guard blocked; NULL: none, or it had others, too */
    char blocked_at[ADDRESS_TEXT];
    bool tls;            /* https */
    bool proxied;        /* through a proxy of ours */
    const char *tls_min; /* oldest version that is spoken: "1.2" */
    const char *text;    /* libcurl's own words, "" when it had none */
};

/* Fills everything of `out` but the tag. */
void answer_judge(const struct answer *a, const struct answer_rules *rules, struct result *out);
/* Does the receiver want nothing any more, whatever the event? */
bool answer_is_of_receiver(const struct answer *a);
/* Retry-After: seconds or an HTTP date; at most a day, never negative; 0 when it is neither. */
struct duration answer_patience(struct str retry_after, int64_t wall_ms);
