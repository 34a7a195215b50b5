/* SPDX-License-Identifier: MIT */
/* One attempt, from the built request to the result: a libcurl transfer, or, of HTTP/1.1, a request on a connection
 * that libcurl has opened (direct.h).
 *
 *   transfer_start -> (multi_run ... multi_done) -> transfer_end -> its result     false: it goes on, see below
 *
 * A kept connection may be gone by the time it is used again: receivers close idle ones at any moment. A transfer that
 * fails on a kept connection before the first byte of an answer is no failure of the receiver: it is repeated at once on a
 * connection of its own, once, within the same attempt. The receiver may have seen both: they are the same request, with
 * the same webhook-id.
 *
 * libcurl's handle remembers more than one should think (how often connections died under it, the last errno, the last
 * certificate's fault). Only one that has done nothing but deliver on a kept connection is used again; others are made
 * anew, which costs little beside the connection that they made. */
#pragma once
#include "connectors/webhook/batches.h"
#include "connectors/webhook/lack.h"
#include "connectors/webhook/target.h"

enum { TRANSFER_EXCERPT = 512 }; /* bytes of an answer that are kept */

/* It is idle, in flight, or ended (its result waits to be taken). */
struct transfer {
    struct transfer *next; /* in one of the sink's lists */
    struct transfer_target *target;
    CURL *easy;  /* made when needed */
    bool reuse;  /* the handle may serve another event of the same receiver */
    bool repeat; /* a kept connection was gone: this is the second go of the attempt */
    bool in_flight;
    struct message message; /* what it sends */
    struct parcel *batch;   /* ... which is the first of these; NULL: it alone */
    uint64_t number;        /* among the attempts of its receiver */
    struct request request;
    struct direct_request direct;
    bool on_plain;                   /* it is in flight there, not in libcurl's hands */
    int64_t began_us;                /* this go of the attempt */
    struct buf head;                 /* its lines */
    struct buf zipped;               /* its body, when it is sent so */
    struct curl_slist token_line;    /* the receiver's token, if it wants one: also in front of them */
    struct curl_slist encoding_line; /* in front of the request's own header lines */
    struct multi_opened opened;
    struct buf authorization;       /* the line of the token that it is sent with; empty: none */
    uint64_t generation;            /* of that token */
    bool renewed;                   /* that is the second one of this attempt */
    bool asks;                      /* the receiver for its consent, before it sends its event */
    struct token *fetches;          /* the token that it fetches; NULL: it sends an event */
    struct buf *whole;              /* takes the answer's body, too; NULL: the excerpt is enough */
    char text[CURL_ERROR_SIZE];     /* libcurl's words of the failure */
    char excerpt[TRANSFER_EXCERPT]; /* of the answer's body */
    size_t excerpt_n, body_n;
    struct result result;
    bool gone;  /* that says so of whatever is sent there */
    int64_t us; /* how long it took */
};

/* Has the request carry this header line (copied) of the token's generation; NULL: none. */
void transfer_authorize(struct transfer *t, const char *line, uint64_t generation);
/* Begins to send t->request there. */
void transfer_start(struct transfer *t, struct transfer_target *to);
/* Fills result and us when libcurl says that it has ended. False: it does not, but was begun again. */
bool transfer_end(struct transfer *t, CURLcode code);
/* A header of the answer, until the next start; absent: it has none, or did not come by libcurl. */
struct str transfer_header(const struct transfer *t, const char *name);
void transfer_stop(struct transfer *t); /* breaks off what is in flight */
/* Gives back the memory of an unusually large request. */
void transfer_trim(struct transfer *t);
/* Gives back what holds on to its target, which may end now; nothing is in flight. */
void transfer_forget(struct transfer *t);
/* Breaks off what is in flight, and frees everything but the struct. */
void transfer_free(struct transfer *t);
