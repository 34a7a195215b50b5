/* SPDX-License-Identifier: MIT */
/* Workers: one thread each, which runs one engine. They may be added and removed one at a time while others run.
 *
 *   worker_add -> worker_start -> ... the engine's steps ... -> worker_remove
 *
 * A worker owns its engine. Removing one: it is told to stop and its thread joined; the engine is closed, and freed when
 * it finished what it had begun. An engine that had to be abandoned is freed by workers_free, after the broker is
 * closed. Main thread only. */
#pragma once
#include "bridge/engine.h"
#include "bridge/lib/err.h"

struct worker;
struct workers { /* zeroed: none */
    struct worker *first, *abandoned;
};

/* Adds a worker without starting it. `id`: the source's or sink's name, borrowed. */
struct worker *worker_add(struct workers *ws, const struct engine_ops *ops, void *engine, const char *id);
bool worker_start(struct worker *w, struct err *e);
/* Stops it, waits at most `limit` until it has finished, and closes it; then w is gone. */
void worker_remove(struct workers *ws, struct worker *w, struct duration limit);

bool workers_start(struct workers *ws, struct err *e); /* all, in the order of worker_add; false: some may run */
bool workers_run(const struct workers *ws);            /* does any? */
bool workers_failed(const struct workers *ws, struct err *why); /* has an engine? */
/* Calls each() with every engine of one kind, in the order of worker_add. */
void workers_each(const struct workers *ws, const struct engine_ops *ops, void (*each)(void *ctx, void *engine),
                  void *ctx);
/* Stops all of one kind and waits for all of them, until end_ms (clock_mono_ms); their engines stay open. */
void workers_stop(struct workers *ws, const struct engine_ops *ops, int64_t end_ms);
void workers_close(struct workers *ws); /* closes the engines, the last one first; no thread runs */
/* Forgets all of them and frees their engines: after the broker is closed, or when no thread ever ran. */
void workers_free(struct workers *ws);
