/* SPDX-License-Identifier: MIT */
/* One attempt as a libcurl transfer, from the built request to the result.
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
#include "connectors/webhook/answer.h"
#include "connectors/webhook/gzip.h"
#include "connectors/webhook/hide.h"
#include "connectors/webhook/lack.h"
#include "connectors/webhook/request.h"
#include "connectors/webhook/transport.h"

/* What all transfers to one receiver share; fixed once it is open. */
struct transfer_target {
    struct multi *multi;
    CURLU *url;
    char *host; /* of the URL, for messages */
    struct transport transport;
    struct duration timeout, connect_timeout;
    struct hidden hidden; /* what no answer may show */
    struct answer_rules rules;
    struct gzip **gzip;                /* the sink's; NULL: bodies are sent as they are */
    const struct address_rules *guard; /* NULL: its host may be at any address */
};

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
    uint64_t number;        /* among the attempts of its receiver */
    struct request request;
    struct buf zipped;               /* its body, when it is sent so */
    struct curl_slist encoding_line; /* in front of the request's own header lines */
    struct multi_opened opened;
    char text[CURL_ERROR_SIZE];     /* libcurl's words of the failure */
    char excerpt[TRANSFER_EXCERPT]; /* of the answer's body */
    size_t excerpt_n, body_n;
    struct result result;
    int64_t us; /* how long it took */
};

/* Begins to send t->request there. */
void transfer_start(struct transfer *t, struct transfer_target *to);
/* Fills result and us when libcurl says that it has ended. False: it does not, but was begun again. */
bool transfer_end(struct transfer *t, CURLcode code);
void transfer_stop(struct transfer *t); /* breaks off what is in flight */
/* Gives back the memory of an unusually large request. */
void transfer_trim(struct transfer *t);
/* Gives back what holds on to its target, which may end now; nothing is in flight. */
void transfer_forget(struct transfer *t);
/* Breaks off what is in flight, and frees everything but the struct. */
void transfer_free(struct transfer *t);
