/* SPDX-License-Identifier: MIT */
/* Events by plain requests: GET <path>events answers with what follows a position, and with the next one.
 *
 *     GET    /events?from=<cursor>&wait=25&max=100      what a listener may ask for, in JSON; waits if there is none yet
 *     GET    /events?position=nightly                   from where that name stands
 *     GET    /events?position=nightly&ack=<cursor>      the same, once the name stands there durably
 *     GET    /events/positions                          the names
 *     GET, PUT, DELETE /events/positions/nightly        one of them: where it stands, set it, forget it
 *
 *   [keeps: ack=] --> [asks: where it begins] --> [keeps: a new name] --> [reads] <--> [waits] --> answered
 *
 * An answer has at most `max` events and about PULL_BYTES, in order within each partition; what the filter leaves out is
 * passed by, and the cursor with it. A name moves by what is acknowledged and by nothing else, never back but by PUT, and
 * before it is answered: who acknowledges what it has done gets everything at least once. With `claims` a name is its maker's
 * alone. A request ends with its token at the latest.
 *
 * Requests take turns in reading, a bounded amount each; a client that is gone is noticed when it is answered. One thread. */
#pragma once
#include "bridge/lib/crypto.h"
#include "bridge/lib/metrics.h"

struct pulling;

struct pull {
    struct pulling *first;
    struct hmac *key; /* of cursors; NULL: not known yet */
    uint64_t tag;     /* of the latest bookmark */
    uint64_t sent;    /* how often send() was called */
    struct metric *answers, *events;
};
