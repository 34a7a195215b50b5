/* SPDX-License-Identifier: MIT */
/* The tokens of listeners: what each allows, and that it expires.
 *
 *                    plain, or an event stream: closed with 4410, once what it got of a frame is whole
 *   [good] --expires-+
 *      ^             `-> aqueduct.v1: told so, [paused] --30 s--> closed with 4410
 *      `------------------ op refresh ------------'
 *
 * Whoever takes the rest of a frame only later gets that, and nothing else. Only tokens that say something have a ticket. One thread. */
#pragma once
#include "connectors/websocket/cohort.h"
#include "connectors/websocket/rights.h"

struct ticket {
    struct ticket *next, *before;
    struct listener *listener;
    struct rights rights;
    int64_t ends_ms; /* paused: when it is closed; wall clock */
    bool paused;
};

/* Takes the rights over; the listener's former ticket ends. */
void ticket_give(struct ticket **all, struct listener *l, struct rights *r);
void ticket_drop(struct ticket **all, struct listener *l);
/* Now and then: ends what has expired. tell() hears of who is paused, close() of who has to go. */
void tickets_turn(struct ticket *all, int64_t wall_ms, void (*tell)(struct listener *l),
                  void (*end)(struct listener *l));
/* NULL: all rights. */
static inline const struct rights *ticket_rights(const struct listener *l)
{
    return l->ticket ? &l->ticket->rights : NULL;
}
