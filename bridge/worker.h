/* SPDX-License-Identifier: MIT */
/* Workers: one thread each, which runs one engine. They are known by the kind of the engine and the name of the source or
 * sink: several of one name are its copies. They may come and go while others run.
 *
 *   worker_add -> workers_start -> ... the engine's steps ... -> workers_stop -> workers_close -> workers_drop
 *
 * A worker owns its engine. An engine that had to be abandoned is freed by workers_free, after the broker is closed; others
 * by workers_drop. Main thread only. */
#pragma once
#include "bridge/engine.h"
#include "bridge/lib/err.h"

struct worker;
struct workers {                      /* zeroed: none */
    struct worker *first, *abandoned; /* by the rank of their engines, then as they came */
    void (*idle)(void *ctx);          /* called several times a second while a thread is waited for; NULL: nothing */
    void *ctx;                        /* of idle */
};

/* Adds a worker without starting it. `id`: the source's or sink's name, borrowed. */
void worker_add(struct workers *ws, const struct engine_ops *ops, void *engine, const char *id);

/* The first name of that kind that stands behind `id`; NULL: there is none. `id` NULL: of all. */
const char *workers_next(const struct workers *ws, const struct engine_ops *ops, const char *id);

/* What follows is about all of one kind and name; `ops` NULL: of every kind, `id` NULL: of every name. */

bool workers_start(struct workers *ws, const struct engine_ops *ops, const char *id,
                   struct err *e); /* false: some may run */
/* Calls each() with every engine. */
void workers_each(const struct workers *ws, const struct engine_ops *ops, const char *id,
                  void (*each)(void *ctx, void *engine), void *ctx);
void workers_tell(struct workers *ws, const struct engine_ops *ops, const char *id,
                  int64_t end_ms); /* to stop, without waiting for it */
/* Stops all of them and waits for all of them, until end_ms (clock_mono_ms); their engines stay open. */
void workers_stop(struct workers *ws, const struct engine_ops *ops, const char *id, int64_t end_ms);
void workers_close(struct workers *ws, const struct engine_ops *ops,
                   const char *id);                                                  /* the last one first; none runs */
void workers_drop(struct workers *ws, const struct engine_ops *ops, const char *id); /* they are closed: gone */

bool workers_run(const struct workers *ws);                     /* does any? */
bool workers_failed(const struct workers *ws, struct err *why); /* has an engine? */
/* Forgets all of them and frees their engines: after the broker is closed, or when no thread ever ran. */
void workers_free(struct workers *ws);
