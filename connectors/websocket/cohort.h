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
 * There is no queue per seat. When the next byte of one would be overwritten, its listener is too slow: it is closed, and
 * nobody else notices. One thread. */
#pragma once
#include "bridge/net/http/http.h"
#include "connectors/websocket/ring.h"
#include "connectors/websocket/subscription.h"

/* One subscription of a listener. */
struct seat {
    struct listener *listener;
    struct seat *next;     /* of the same listener */
    struct cohort *cohort; /* NULL: in none */
    uint64_t position;     /* in the cohort's ring */
    uint32_t index;        /* in the cohort's list */
    uint32_t frames;       /* of the cohort when this one was last level with it; only the difference counts */
};

struct listener {
    struct http_stream *stream; /* NULL: not yet */
    struct peer *peer, *user;   /* its address; whose token it showed, or the address as well */
    struct ticket *ticket;      /* what its token allows (ticket.h); NULL: everything, for ever */
    struct talk *talk;          /* it speaks aqueduct.v1 (subs.h); NULL: plain */
    struct seat *seats;         /* all of them, the latest first */
    struct seat *unfinished;    /* a frame of this one went out in part; NULL: the next byte begins a frame */
    struct seat first;
    bool blocked;   /* the kernel takes no more for now */
    bool sent_away; /* we closed it; else the other side went */
};

struct tally {             /* since somebody looked */
    int64_t frames, bytes; /* handed to the kernel */
    int64_t slow;          /* listeners closed as too slow */
};

struct cohort {
    struct cohort *next;
    size_t number;                 /* of its filter, in the index of all */
    struct cohort **dirty_cohorts; /* the list of those with news, and whether it is one of them */
    struct cohort *next_dirty;
    bool is_listed;
    struct subscription subscription;
    struct ring ring;
    uint64_t frames;  /* ever added */
    uint64_t low;     /* no seat's position is below */
    int64_t added_ms; /* when the last frame was */
    struct seat **seats;
    uint32_t count, cap;
    uint64_t flushed;       /* the head at the last flush */
    uint32_t behind;        /* seats whose position is below it: their listener was blocked */
    bool dirty;             /* bytes were added since then */
    struct peer *owners[2]; /* address and user for whom it was made: it counts as theirs */
    struct tally *tally;
};

/* Takes the subscription over on success. NULL with *e when there is no memory for the ring. */
struct cohort *cohort_new(struct subscription *s, size_t ring_size, size_t *held, struct tally *t, struct err *e);
void cohort_free(struct cohort *c); /* without seats */
/* Adds one whole frame; false: it is longer than the ring. Listeners with a seat that it overwrites are closed as too
 * slow. */
bool cohort_add(struct cohort *c, struct str frame);
/* Adds bytes that are no event (a comment in an event stream). */
void cohort_comment(struct cohort *c, struct str bytes);
void cohort_flush(struct cohort *c);
/* Sends what can be sent and keeps memory only for what somebody still waits for; returns how many bytes that are. */
size_t cohort_trim(struct cohort *c);
/* Gives the rest of the ring's memory back: whoever waits for it is closed as too slow. Right after cohort_trim. */
void cohort_relieve(struct cohort *c);

/* ---- seats ---- */

void seat_take(struct seat *t, struct listener *l); /* in no cohort */
void cohort_join(struct cohort *c, struct seat *t); /* from the head on */
void seat_leave(struct seat *t);                    /* out of its cohort, still the listener's */
/* Off the listener, which keeps others; not while it is the one that is unfinished. */
void seat_give_up(struct seat *t);

/* ---- listeners ---- */

void listener_writable(struct listener *l); /* the kernel takes bytes again */
void listener_leave(struct listener *l);    /* all its seats leave */
/* Takes the listener out and ends its stream; `l` may be gone afterwards. */
void listener_close(struct listener *l, int code, const char *text);
