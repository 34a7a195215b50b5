/* SPDX-License-Identifier: MIT */
/* Fetches small documents by HTTP GET, such as the keys of an issuer of tokens, or by POST; and follows an answer, perhaps
 * without end.
 *
 *   fetch_new -> fetch_get, fetch_post ... -> fetch_free      one thread, which waits as long as it takes
 *   fetch_stop                                                any thread: the one at hand ends soon, and no other begins
 *
 * No redirect is followed; an address is judged right before a connection to it is opened (address.h). Errors hold the
 * host, and nothing else of the URL or the answer. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/header.h"
#include "bridge/net/address.h"
#include "bridge/net/transport.h"

struct fetch;
/* Borrows both. */
struct fetch *fetch_new(const struct transport *way, const struct address_rules *rules);
void fetch_free(struct fetch *f); /* accepts NULL */
/* Is it a URL that could be fetched? Begins with https://, or http:// if that may be; no address that is blocked. */
bool fetch_check_url(const char *url, bool plain, const struct address_rules *rules, struct err *e);
/* Appends the body of a 200; it fails when there is more than the buffer takes. *max_age_s: how long it is fresh, as
 * Cache-Control says; -1: it does not. */
bool fetch_get(struct fetch *f, const char *url, struct buf *out, int64_t *max_age_s, struct err *e);
void fetch_stop(struct fetch *f);

struct fetch_stream { /* an answer that is read while it comes, perhaps without end; of any address */
    const char *url;
    struct str post; /* sent by POST; absent: a GET */
    const struct header *headers;
    size_t header_count;
    bool (*on_bytes)(void *ctx, struct str bytes); /* of a 200; false: enough */
    bool (*go_on)(void *ctx);                      /* asked several times a second; false: enough */
    void *ctx;
    int64_t silence_ms;    /* it fails when nothing came for so long */
    struct buf *refused;   /* gets the body of any other answer, as far as it has room */
    long status;           /* of the answer; 0: none came */
    int64_t retry_after_s; /* as it says; -1: it does not */
};
/* Until it ends or enough has come: then true. False with *e: no connection, it broke, or another status than 200. */
bool fetch_follow(struct fetch *f, struct fetch_stream *s, struct err *e);
struct fetch_question { /* a small document that is posted; to any address */
    const char *url;
    struct str body;
    const struct header *headers;
    size_t header_count;
    int64_t limit_ms;         /* for all of it */
    bool (*go_on)(void *ctx); /* asked several times a second; false: nobody waits any more; NULL: somebody does */
    void *ctx;
};
/* Posts it, and appends the body of the answer, also of one that is no 200. False with *e: no such answer came, in time, or it is
 * no 200. *status: of the answer; 0: none came. */
bool fetch_post(struct fetch *f, const struct fetch_question *q, struct buf *answer, long *status, struct err *e);
char *fetch_host(const char *url); /* for messages; free() it */
