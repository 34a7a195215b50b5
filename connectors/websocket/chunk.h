/* SPDX-License-Identifier: MIT */
/* Wire bytes made from the log: what a cohort's seats that stand at one spot get next, one chunk for all of them.
 *
 *   chunk_new(cohort, from) --> [filling] --chunk_fill()--> [ready: bytes from..to] --> seats at `from` write it, go on at `to`
 *
 * A chunk takes up to CHUNK_BYTES, of the partition first that was read least far in time. Its aim is where send() stood
 * when it was made (`aim`, with the head of the cohort's ring): one that got there `joins`: who has written it stands at
 * that head, and comes back to the ring there, if the ring still has it; it does not start over meanwhile. One thread. */
#pragma once
#include "bridge/lib/log.h"
#include "connectors/websocket/cohort.h"
#include "connectors/websocket/position.h"

enum { CHUNK_BYTES = 64 * 1024 };

struct chunk {
    struct chunk *next; /* the owner's list, the last one used first */
    struct cohort *cohort;
    enum slow how;  /* the two that conflate, else SLOW_CATCHUP */
    uint32_t refs;  /* seats at it */
    size_t counted; /* the owner's, as is used_s: when the last seat left it */
    uint32_t used_s;
    bool ready, joins;
    uint64_t join_at; /* in the cohort's ring */
    struct spot *from, *to;
    struct buf bytes;
    struct marks marks;
    struct filling *filling; /* NULL: ready */
};

/* What chunks are made with. */
struct chunk_maker {
    const char *sink; /* its name, for the log */
    struct places *places;
    struct frames *frames;
    size_t longest; /* frame */
    struct metric *lost;
    struct log_limit log_limit;
};

/* `from` is referenced. */
struct chunk *chunk_new(struct chunk_maker *m, struct cohort *c, struct spot *from, enum slow how);
/* Reads what is there now, a bounded amount. Returns whether it could go on at once; done when `ready`. */
bool chunk_fill(struct chunk_maker *m, struct chunk *k);
void chunk_free(struct chunk_maker *m, struct chunk *k); /* without seats */
size_t chunk_size(const struct chunk *k);                /* memory that it takes */
/* Where a seat stands that has its bytes up to `at`: the rest of the frame that it got in part, and the spot after it, to be
 * unreferenced. */
struct spot *chunk_where(const struct chunk_maker *m, const struct chunk *k, size_t at, struct str *rest);
