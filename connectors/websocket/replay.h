/* SPDX-License-Identifier: MIT */
/* Seats that are behind: fed from the log until they can come back to the ring of their cohort.
 *
 *              replay_begin (a listener comes with a position), or the ring overwrites what a seat has not got
 *                                                  v
 *     [asks: its position is not known yet] --> [has a turn] --> [waits: for a chunk, or for memory]
 *                                                ^    |    ^-----------|
 *                                writable() |    |    | its chunk joins
 *                            [blocked: the kernel  <--+    +-> [live]: cohort_return
 *                             takes no more]
 *
 * One whose window is full is held until something is acknowledged: replay_acknowledged.
 *
 * A seat that is behind has no bytes of its own but the rest of a frame that went out in part and what it is to be told; what
 * comes next is a spot, or a place in a chunk, which all seats at the same spot share. Chunks and rests together take at
 * most `most` bytes: for the next one the oldest that nobody needs goes, then blocked seats give theirs back, then seats
 * wait. One thread; nothing of it inside of send(), but that seats fall. The threads of a sink share the bounds; each may
 * have one chunk whatever the others hold, so that none stands still. */
#pragma once
#include <stdatomic.h>
#include "connectors/websocket/chunk.h"
#include "connectors/websocket/wish.h"

struct behind_list {
    struct behind *first, **last;
};

struct replay_sum {      /* of all threads of a sink */
    _Atomic size_t held; /* bytes */
    _Atomic int64_t seats;
};

struct replay {
    struct replay_sum *sum;
    struct chunk_maker maker;
    struct fallback fallback;
    size_t most, held;         /* bytes: of all threads, of this one */
    int64_t most_seats, seats; /* the same */
    struct chunk *chunks;
    uint32_t turn;
    struct behind_list asking, ready, waiting, blocked, full;
    struct metric *catching_up, *bytes, *resumes[RESUME_SKIPPED + 1];
};

void replay_open(struct replay *r);
void replay_close(struct replay *r); /* without seats */
/* The seat, in no cohort, becomes one of `c` that is behind: at the spot (taken over), once it was told `told` (may be empty). */
void replay_begin(struct replay *r, struct cohort *c, struct seat *t, struct spot *spot, struct str told);
/* The same for one whose position is not known yet: the wish is taken over. */
void replay_ask(struct replay *r, struct cohort *c, struct seat *t, struct wish *w, struct str told);
/* May another one begin? Of threads that ask at the same moment each may. */
bool replay_has_room(const struct replay *r);
/* One turn, of a few ms at most. Returns whether there is more to do at once. */
bool replay_turn(struct replay *r);
/* Counts what became of a position. */
void replay_note(struct replay *r, const struct granted *g);
/* What the seat gets next, once the frame that it got in part is whole; to be unreferenced. NULL: it is not known. Outside of
 * send(), right after places_look. */
struct spot *replay_where(const struct replay *r, const struct seat *t);
void replay_acknowledged(struct replay *r, struct seat *t); /* its window may have room now */
/* What one that is behind waits for, for a person. */
const char *replay_state(const struct replay *r, const struct seat *t);
void replay_each(struct replay *r, void (*each)(void *ctx, struct seat *t), void *ctx); /* all that are behind */
struct seat *replay_any(const struct replay *r); /* one that is behind; NULL: there is none */
/* Gives back memory that nobody needs soon, and closes blocked listeners that took nothing for stall_s (0: never). */
void replay_every_second(struct replay *r, uint32_t now_s, uint32_t stall_s);
