/* SPDX-License-Identifier: MIT */
/* Subscriptions that are equal are a cohort: they share one ring of ready wire bytes, and each of them is just a position
 * in it.
 *
 *   cohort_add(frame)                    once per event and cohort
 *   [ ... | frame | frame | frame ]      the ring
 *       ^ slow seat        ^ head        cohort_flush: one write of everything between position and head, per seat
 *
 * A listener is a connection. It has a seat for each of its subscriptions: the first is part of it, further ones are its
 * owner's. One seat writes at a time, from its position as far as the kernel takes bytes; another one's turn comes only at
 * the boundary of a frame: a frame that went out in part is finished first (`unfinished`).
 *
 *          seat_take             cohort_join
 *   [none] ----------> [no cohort] ----------> [live]
 *      ^                |  ^                      |
 *      +----------------+  +----------------------+
 *         seat_give_up           seat_leave
 *
 * A seat may have a window (window.h): when what it got and has not acknowledged fills it, it goes behind, too, and waits there.
 *
 * There is no queue per seat. One whose next byte would be overwritten is too slow for the ring, which nobody else notices:
 * it goes behind (connectors/websocket/replay.h) and is fed from the log until it can come back; or its listener is
 * closed, if it wants that or there is no log to read. One thread. */
#pragma once
#include "bridge/net/http/http.h"
#include "connectors/websocket/frames.h"
#include "connectors/websocket/marks.h"
#include "connectors/websocket/position.h"
#include "connectors/websocket/ring.h"
#include "connectors/websocket/subscription.h"
#include "connectors/websocket/window.h"

enum slow { /* what becomes of a seat that is too slow */
            SLOW_CATCHUP = 1,
            SLOW_LATEST,           /* goes on with what comes now */
            SLOW_CONFLATE_SUBJECT, /* gets the newest event of each subject */
            SLOW_CONFLATE_KEY,     /* of each record key */
            SLOW_CLOSE,
};

struct behind;

/* One subscription of a listener. */
struct seat {
    struct listener *listener;
    struct seat *next;     /* of the same listener */
    struct cohort *cohort; /* NULL: in none */
    union {
        uint64_t position;     /* in the cohort's ring */
        struct behind *behind; /* if it is */
    };
    uint32_t index;        /* in the cohort's list; SEAT_BEHIND: it is not there, but behind */
    unsigned slow : 3;     /* enum slow */
    unsigned windowed : 1; /* it is a struct windowed_seat */
    unsigned frames : 28;  /* of the cohort when this one was last level with it; only the difference counts */
};
#define SEAT_SLOW   7u
#define SEAT_FRAMES 0xfffffffu
#define SEAT_BEHIND UINT32_MAX

/* One that gets no more than its window has room for. */
struct windowed_seat {
    struct seat seat;
    struct window window;
};
static inline struct window *seat_window(struct seat *t) /* NULL: it gets everything */
{
    return t->windowed ? &((struct windowed_seat *)t)->window : NULL;
}

struct listener {
    struct http_stream *stream; /* NULL: not yet */
    struct peer *peer, *user;   /* its address; whose token it showed, or the address as well */
    struct ticket *ticket;      /* what its token allows (ticket.h); NULL: everything, for ever */
    struct talk *talk;          /* it speaks aqueduct.v1 (subs.h); NULL: plain */
    struct seat *seats;         /* all of them, the latest first */
    struct seat *unfinished;    /* a frame of this one went out in part; NULL: the next byte begins a frame */
    struct seat first;
    uint32_t moved_s; /* blocked: when the kernel last took something (clock_mono_ms() / 1000) */
    bool blocked;     /* the kernel takes no more for now, or nothing more is given to it */
    bool finishing;   /* inside of listener_finish */
    bool sent_away;   /* we closed it; else the other side went */
    bool in_batch;    /* cohort_flush is about to write to it */
};

struct tally {             /* since somebody looked */
    int64_t frames, bytes; /* handed to the kernel */
    int64_t slow;          /* listeners closed as too slow */
    int64_t stalled;       /* closed because they took nothing */
};

/* What to do with seats that go behind, for all cohorts of a sink. */
struct fallback {
    /* A seat stands where its next bytes are about to go (cohort_where tells): true: it is behind now, or its listener is
     * closed; false: close it as too slow. */
    bool (*fell)(void *ctx, struct seat *t);
    void (*leave)(void *ctx, struct seat *t);    /* a seat that is behind leaves its cohort */
    void (*writable)(void *ctx, struct seat *t); /* the kernel takes bytes for a seat that is behind */
    void (*end)(void *ctx, struct cohort *c);    /* the cohort ends */
    void *ctx;
};

struct cohort {
    struct cohort *next;
    size_t number;                 /* of its filter, in the index of all */
    struct cohort **dirty_cohorts; /* the list of those with news, and whether it is one of them */
    struct cohort *next_dirty;
    bool is_listed;
    struct subscription subscription;
    struct ring ring;
    struct marks marks; /* of what is in the ring */
    uint64_t frames;    /* ever added */
    uint64_t low;       /* no seat's position is below */
    int64_t added_ms;   /* when the last frame was */
    int64_t oldest_ms;  /* when the first record since the last flush was stored (wall clock); 0: there is none */
    struct seat **seats;
    uint32_t count, cap;
    uint32_t away; /* its seats that are behind */
    uint32_t
        awaited; /* how often somebody means to come back to a place between low and head: it does not start over */
    uint64_t flushed;  /* the head at the last flush */
    uint32_t behind;   /* seats whose position is below it: their listener was blocked */
    bool dirty;        /* bytes were added since then */
    struct want *want; /* the subscription among those of all threads */
    struct tally *tally;
    const struct fallback *fallback;
    struct position position;
    uint32_t unplaced; /* event streams: what went out since the last position, without one */
    int64_t placed_ms; /* when that was */
};

/* Takes the subscription over on success. NULL with *e when there is no memory for the ring. */
struct cohort *cohort_new(struct subscription *s, size_t ring_size, size_t *held, struct tally *t, struct err *e);
void cohort_free(struct cohort *c); /* without seats */
/* Adds one whole frame; false: it is longer than the ring. Seats that it overwrites fall behind. */
bool cohort_add(struct cohort *c, const struct wire *frame, uint32_t place, int64_t offset);
/* An event that the cohort wants comes while nobody is in the ring or means to come back to it: no place in it leads on from
 * here. */
void cohort_skip(struct cohort *c);
/* Adds bytes that are no event (a comment in an event stream). */
void cohort_comment(struct cohort *c, struct str bytes);
void cohort_flush(struct cohort *c);
/* Closes listeners that are blocked and took nothing for so long. */
void cohort_close_stalled(struct cohort *c, uint32_t now_s, uint32_t stall_s);
/* Sends what can be sent and keeps memory only for what somebody still waits for; returns how many bytes that are. */
size_t cohort_trim(struct cohort *c);
/* Gives the rest of the ring's memory back: whoever waits for it falls behind. Right after cohort_trim. */
void cohort_relieve(struct cohort *c);
/* Is what begins at that position of the ring still there? */
bool cohort_has(const struct cohort *c, uint64_t position);
/* Where a seat in the ring stands in the log: *spot is the position of the ring's head on entry, and the seat's once *rest
 * has gone out, the end of a frame that it got in part. */
void cohort_where(const struct seat *t, struct str *rest, int64_t *next);

/* ---- seats ---- */

void seat_take(struct seat *t, struct listener *l); /* in no cohort */
void cohort_join(struct cohort *c, struct seat *t); /* from the head on */
/* From behind: at a position that cohort_has. */
void cohort_return(struct seat *t, uint64_t position);
void cohort_away(struct seat *t, struct behind *b); /* goes behind, from the ring or from none */
void seat_leave(struct seat *t);                    /* out of its cohort, still the listener's */
/* Off the listener, which keeps others; not while it is the one that is unfinished. */
void seat_give_up(struct seat *t);

/* ---- listeners ---- */

/* Of `pending` bytes of that seat (NULL: none's) the kernel took so many. */
void listener_took(struct listener *l, struct seat *t, size_t taken, size_t pending);
void listener_writable(struct listener *l); /* the kernel takes bytes again */
/* Of one that is to get nothing more: sends the rest of a frame that went out in part, and stays blocked. True: whatever it
 * got is whole, so that it can be told why. */
bool listener_finish(struct listener *l);
void listener_leave(struct listener *l);         /* all its seats leave */
void listener_close_stalled(struct listener *l); /* who took nothing for too long */
/* Takes the listener out and ends its stream; `l` may be gone afterwards. */
void listener_close(struct listener *l, int code, const char *text);
