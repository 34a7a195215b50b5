/* SPDX-License-Identifier: MIT */
/* The subscriptions of a connection that speaks aqueduct.v1: each has a name that the client gave it, and a seat in the
 * cohort of what it asks for.
 *
 *   subs_add -> [live, or behind] -> subs_drop -> gone at once, or once the frame of it that is on its way has ended: subs_turn
 *
 * One thread. */
#pragma once
#include "connectors/websocket/cohorts.h"
#include "connectors/websocket/op.h"
#include "connectors/websocket/replay.h"

struct sub {
    struct seat seat;
    struct sub *next;
    char *name; /* in JSON, with quotes */
    bool ending;
    struct asked asked; /* by which it ends */
};

struct subs_house { /* where they live */
    struct cohorts *cohorts;
    struct replay *replay;
    struct places *places;
    const struct strings *topics;
    int64_t most; /* of one connection */
};

struct talk { /* a connection */
    struct talk *next, *before;
    struct listener *listener;
    struct sub *subs;
    int64_t count;
    int64_t hello_by_ms; /* it has shown nothing, and must by then; 0: it has */
    bool cbor;           /* it speaks CBOR, else JSON */
    enum ws_window deflate;
};

/* What was asked for is narrowed to the rights of the listener's token. */
enum code subs_add(struct talk *t, const struct subs_house *h, const struct op *o, struct err *e);
/* 0: it ends, and subs_turn says when it has. */
enum code subs_drop(struct talk *t, const struct op *o, struct err *e);
/* Frees what has ended; tell() hears of each. After subs_drop, and when a frame that went out in part may be whole. */
void subs_turn(struct talk *t, void (*tell)(struct talk *t, const struct sub *s));
void subs_close(struct talk *t); /* all of them: the connection has gone */
