/* SPDX-License-Identifier: MIT */
/* What runs on a thread of its own, as the supervisor sees it: a source's intake, a sink's delivery, or the waiter. */
#pragma once
#include <stdbool.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/err.h"

struct engine_ops {
    const char *kind; /* "source", "sink", "engine": its name's field in the log */
    /* Niceness of its thread on top of the process's, where cores are short: 0 for what takes events from others, who
     * wait; more for what hands them out. */
    int nice;
    /* One turn, on the engine's thread: may wait, but returns soon after stop or abandon. False: nothing is left to do;
     * it is not called again. */
    bool (*step)(void *engine);
    /* The end of that thread, at most so long: a broadcast sink takes leave of its listeners. NULL: nothing. */
    void (*leave)(void *engine, struct duration limit);
    /* Any thread: did it end because it cannot do its work? Then *why says what is wrong. NULL: it never does. */
    bool (*failed)(void *engine, struct err *why);
    void (*stop)(void *engine);    /* any thread: no new work; what is on its way is finished */
    void (*abandon)(void *engine); /* any thread: step returns false as soon as possible; nothing is finished */
    void (*close)(void *engine);   /* main thread, after the last step */
    /* Main thread, after close. Not before the broker is closed when it was abandoned: the broker still reports its
     * publications. */
    void (*free)(void *engine);
    int rank; /* of what reports to others lower: freed in this order, closed the other way round */
};

extern const struct engine_ops engine_intake;   /* of a struct intake */
extern const struct engine_ops engine_delivery; /* of a struct delivery */
extern const struct engine_ops engine_waiter;   /* of a struct waiter */
