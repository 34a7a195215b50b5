/* SPDX-License-Identifier: MIT */
/* What becomes of an event on its way into the log, and the state that travels with it: words that sources, the intake
 * and the broker share. */
#pragma once
#include <stdbool.h>
#include "bridge/lib/str.h"

/* No zero on purpose. */
enum outcome {
    OUTCOME_STORED = 1,  /* acknowledged by the broker, for good (or known to be there already: a repeat) */
    OUTCOME_INVALID,     /* it can never be stored or matches no route: do not send it again (HTTP 422) */
    OUTCOME_CONFLICT,    /* another event has its id: not stored, and never will be under this id (HTTP 409) */
    OUTCOME_UNAVAILABLE, /* the broker did not take it in time: do send it again (HTTP 503) */
};

/* A piece of a source's own durable state: what it must remember to go on where it stood (a cursor, a row's version). */
struct change {
    struct str key;   /* 1 to 512 bytes, no '\0' needed */
    struct str value; /* absent: forget the key; at most 64 KiB */
    /* The broker may not be able to store state and event in one step (Kafka). Then the broker first stores
     * an intent of this change, and after a crash between the two restore() gets it with ahead = true: "this may or may
     * not have been published". An intent takes the place of an earlier one of its key: whoever makes one while another is in
     * doubt says in it what that said. */
    bool ahead;
};
