/* SPDX-License-Identifier: MIT */
/* Things of the bridge's state that several daemons change, each by compare-and-set: who was first has won, and all agree who
 * that was.
 *
 * A thing has versions, which rise by one. To change it, a daemon stores the next version under a key of its own, thing,
 * version and a random word, and then reads back (local: needs not, it is alone): of several of the same version the one that was stored
 * first counts, for ever; who finds another one before its own has lost, and takes its own back. The highest version
 * is what the thing is. As no two daemons write the same key, Kafka's compaction takes none of them away.
 *
 * So a thing must not be forgotten altogether: a daemon that knew an old version could bring that back. What is removed stays
 * as a version that says so, for as long as a publication can be on its way.
 *
 * Waits for the broker: not on the main thread while it serves, nor on a sink's. */
#pragma once
#include <stdatomic.h>
#include "bridge/broker/broker.h"

#define BALLOT_SCOPE "aqueduct/endpoints" /* of the state; no source has such a name */

enum { BALLOT_WORD = 17, BALLOT_THINGS = 20000, BALLOT_BYTES = 64 << 20 };

struct vote { /* what a thing is */
    struct str thing;
    int64_t version;
    char word[BALLOT_WORD];
    struct str value;
};

/* Tells what each thing is, in no order, and forgets what no longer counts. Beyond BALLOT_THINGS, or BALLOT_BYTES of values:
 * false with *e. */
bool ballot_read(struct broker *b, void (*each)(void *ctx, const struct vote *v), void *ctx, struct err *e);

enum ballot_end {
    BALLOT_WON = 1, /* no zero on purpose */
    BALLOT_LOST,    /* another daemon was first */
    BALLOT_FAILED,  /* the broker could not store it now; it may be stored all the same: read */
};
/* Stores v->value as that version, and says by which word. `before`: what it was, which is forgotten; NULL: nothing. With *e
 * unless it won. Gives up soon when *stop becomes true (NULL: never). */
enum ballot_end ballot_put(struct broker *b, bool shared, struct vote *v, const struct vote *before,
                           const atomic_bool *stop, struct err *e);
void ballot_forget(struct broker *b, const struct vote *v); /* does not wait */
/* Is that record, of the topic that holds the state, about such things? */
bool ballot_is_about(const struct record *r);
