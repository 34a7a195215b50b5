/* SPDX-License-Identifier: MIT */
/* One receiver of the webhook sink: its options, what follows from them, and how many requests it gets at the same time. */
#pragma once
#include "connectors/webhook/basic.h"
#include "connectors/webhook/consent.h"
#include "connectors/webhook/login.h"
#include "connectors/webhook/oauth.h"
#include "connectors/webhook/token.h"

/* The sink as its receivers know it; struct webhook begins with it. */
struct webhook_base {
    struct sink base;
    enum address_guard guard;
    struct strings allow;
    struct secret proxy;
    struct address_rules rules; /* of these two, once it is open */
};

enum { ENDPOINT_CLASSES = 6 }; /* of answers: none, 1xx .. 5xx (whatever is above counts as 5xx) */

struct webhook_endpoint {
    struct endpoint base;
    char *url;
    struct secrets secrets;
    bool unsigned_;
    struct signature_options signature;
    struct defaults for_;
    struct tree body;
    enum transfer_method method;
    char *content_type, *path;
    struct map query;
    struct duration timeout, connect_timeout;
    int64_t concurrency;
    struct map headers;
    char *ca_file, *cert_file, *key_file;
    enum tls_version tls_min;
    enum http_version http;
    bool gzip;
    struct basic basic;
    struct oauth oauth;
    struct login login;
    char *username;
    struct secret password;
    char *validate_origin;
    struct strings success, reject, success_unless;
    struct batches_options batch;

    struct signer signer;
    struct shape shape;
    struct request_template template;
    struct transfer_target target;
    struct consent consent;
    struct token *token;                                                            /* NULL: it wants none */
    struct metric *answers[ENDPOINT_CLASSES], *sent_batches, *sent_events, *splits; /* the last three: of batches */

    struct batches batches;
    struct webhook_endpoint *next_collecting; /* among those with events in them */
    bool collecting;

    size_t at_once;  /* requests that it may have at the same time; base.limit is that in events */
    size_t flying;   /* attempts in flight */
    uint64_t begun;  /* attempts so far */
    uint64_t full;   /* the last of them that was begun with the limit in use; up to it, an answer raises the limit */
    uint64_t eased;  /* the last of them when the limit was last lowered: what is older says nothing new */
    size_t doubt;    /* from this limit on it once had too much to do, and grows slowly; 0: not known */
    bool raised;     /* since it was last lowered */
    size_t credit;   /* answers that count for the next step there */
    uint64_t faded;  /* the last attempt begun when best_us last faded: it does once a round */
    int64_t best_us; /* how long an answer takes when the receiver is at ease; 0: not known yet */
};

extern const struct option endpoint_rows[];

/* The receiver of a message. */
static inline struct webhook_endpoint *endpoint_of(const struct webhook_base *w, const struct message *m)
{
    return (struct webhook_endpoint *)(m->endpoint ? m->endpoint : w->base.endpoint);
}

bool endpoint_check(const struct sink *s, const struct endpoint *ep, struct err *e);
void endpoint_review(const struct sink *s, const struct endpoint *base, fault_fn *wrong, fault_fn *doubtful, void *ctx);
void endpoint_faults(const struct sink *s, const struct endpoint *base, fault_fn *each, void *ctx);
/* Checks all options of a copy that is not open, and keeps what was parsed; false with *e. endpoint_unload in any case. */
bool endpoint_load(const struct sink *s, struct webhook_endpoint *ep, struct err *e);
/* Makes its template whole, by which requests are built. */
void endpoint_begin_template(struct webhook_endpoint *ep);
void endpoint_unload(struct webhook_endpoint *ep);
/* The sink's own half of open and close is webhook.c's. */
bool endpoint_open(const struct sink *s, struct webhook_endpoint *ep, struct multi *m, struct err *e);
void endpoint_close(struct webhook_endpoint *ep);
/* How it gets its token. False: it wants none. */
bool endpoint_grant(const struct webhook_endpoint *ep, struct grant *g);
bool endpoint_batches(const struct webhook_endpoint *ep);              /* does it get many events in one request? */
void endpoint_count_batch(struct webhook_endpoint *ep, size_t events); /* one is sent */
void endpoint_count_split(struct webhook_endpoint *ep);
/* Before an attempt. False with *e: no key signs any more. */
bool endpoint_may_sign(const struct sink *s, struct webhook_endpoint *ep, int64_t wall_ms, struct err *e);
/* How many requests a receiver gets at the same time (its limit) follows from how it keeps up: it begins with a few, takes
 * one more with each answer that comes about as soon as when it had little to do, if all that it may have were in use
 * meanwhile, so it doubles in a round; and it goes down to half, once a round, when the receiver says that it is overloaded
 * (429, 502, 503, 504) or does not answer. From half of where that began it then takes one more a round.
 * `concurrency` is the most. */
uint64_t endpoint_began(struct webhook_endpoint *ep); /* the attempt's number */
/* Counts the end of an attempt, which took so long, and sets the limit. */
void endpoint_ended(struct webhook_endpoint *ep, uint64_t number, const struct result *r, int64_t us);
