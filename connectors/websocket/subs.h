/* SPDX-License-Identifier: MIT */
/* The subscriptions of a connection that speaks aqueduct.v1: each has a name that the client gave it, and a seat in the
 * cohort of what it asks for.
 *
 *   subs_add -> [arriving: where its name stands is asked -> subs_arrive] -> [live, or behind] -> subs_drop -> gone at once, or once the frame of it that is on its way has ended: subs_turn
 *
 * One thread. */
#pragma once
#include "connectors/websocket/cohorts.h"
#include "connectors/websocket/named.h"
#include "connectors/websocket/op.h"
#include "connectors/websocket/replay.h"

struct arriving;

struct sub {
    union {
        struct seat seat;
        struct windowed_seat windowed; /* it has a name */
    };
    struct sub *next;
    char *name; /* in JSON, with quotes */
    bool ending;
    struct asked asked;        /* by which it ends, or begins */
    struct named *named;       /* where it stands durably; NULL: nowhere */
    struct arriving *arriving; /* that is not known yet; NULL: it is, and the seat has a cohort */
};

struct subs_house { /* where they live */
    struct cohorts *cohorts;
    struct replay *replay;
    struct places *places;
    struct names *names;
    const struct strings *topics;
    int64_t most; /* of one connection */
};

struct talk { /* a connection */
    struct talk *next, *before;
    struct listener *listener;
    char *address; /* of the client, in full, for tokens that come later */
    struct sub *subs;
    int64_t count;
    int64_t hello_by_ms; /* it has shown nothing, and must by then; 0: it has */
    bool cbor;           /* it speaks CBOR, else JSON */
    enum ws_window deflate;
};

/* What was asked for is narrowed to the rights of the listener's token. It is the first in the list; one with a name is
 * `arriving`, until subs_arrive. */
enum code subs_add(struct talk *t, const struct subs_house *h, const struct op *o, struct err *e);
/* GRANT_NOT_YET: ask again; GRANT_NO with *code and *e: it is gone. */
enum grant subs_arrive(struct talk *t, const struct subs_house *h, struct sub *s, enum code *code, struct err *e);
/* What a subscription with a name has done; 0: it is answered by named_turn. */
enum code subs_acknowledge(struct talk *t, const struct subs_house *h, const struct op *o, struct err *e);
/* 0: it ends, and subs_turn says when it has. */
enum code subs_drop(struct talk *t, const struct op *o, struct err *e);
/* Frees what has ended; tell() hears of each. After subs_drop, and when a frame that went out in part may be whole. */
void subs_turn(struct talk *t, void (*tell)(struct talk *t, const struct sub *s));
void subs_close(struct talk *t); /* all of them: the connection has gone */
