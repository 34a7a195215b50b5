/* SPDX-License-Identifier: MIT */
/* Sends one event to a receiver now, for a person who wants to see whether it gets there.
 *
 * A sink of its own is opened for it, as the configuration has it, with this receiver alone: so what goes out is made,
 * signed and guarded (addresses that it never connects to) as always, but it is no event of any topic, nothing of the running
 * sink knows of it, and nothing is tried again. Waits for the answer: not on the main thread. */
#pragma once
#include <stdatomic.h>
#include "bridge/config/made.h"
#include "bridge/lib/buf.h"

enum { KNOCK_MS = 30000, KNOCK_SENT = 32 << 10, KNOCK_EXCERPT = 512 };

struct knock {
    struct result result;        /* its answer: excerpt */
    char excerpt[KNOCK_EXCERPT]; /* the beginning of the answer */
    size_t excerpt_n;
    struct buf sent; /* header lines, an empty one, and the beginning of the body */
};

/* `m` is opened and closed again; when *stop becomes true, soon. False with *e: it could not even be opened. knock_free in any
 * case. */
bool knock(struct made *m, const struct sink_config *s, const struct event *ev, const atomic_bool *stop,
           struct knock *out, struct err *e);
void knock_free(struct knock *k);
