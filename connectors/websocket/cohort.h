/* SPDX-License-Identifier: MIT */
/* Listeners with equal subscriptions are a cohort: they share one ring of ready wire bytes, and a listener is just a
 * position in it.
 *
 *   cohort_add(frame)                      once per event and cohort
 *   [ ... | frame | frame | frame ]        the ring
 *       ^ slow listener      ^ head        cohort_flush: one write of everything between position and head, per listener
 *
 * There is no queue per listener. One whose next byte would be overwritten is too slow: it is closed, and nobody
 * else notices. One thread. */
#pragma once
#include "bridge/net/http/http.h"
#include "connectors/websocket/ring.h"
#include "connectors/websocket/subscription.h"

struct listener {
    struct http_stream *stream;
    struct cohort *cohort; /* NULL: being closed */
    uint64_t position;     /* in the cohort's ring */
    uint64_t frames;       /* of the cohort when this one was last level with it */
    uint32_t index;        /* in the cohort's list */
    bool blocked;          /* the kernel takes no more for now */
    struct peer *peer;
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
    uint64_t low;     /* no listener's position is below */
    int64_t added_ms; /* when the last frame was */
    struct listener **listeners;
    uint32_t count, cap, blocked;
    bool dirty; /* somebody who is not blocked is behind */
    struct tally *tally;
};

/* Takes the subscription over on success. NULL with *e when there is no memory for the ring. */
struct cohort *cohort_new(struct subscription *s, size_t ring_size, size_t *held, struct tally *t, struct err *e);
void cohort_free(struct cohort *c);                     /* without listeners */
void cohort_join(struct cohort *c, struct listener *l); /* from the head on */
void cohort_leave(struct listener *l);
/* Adds one whole frame; false: it is longer than the ring. Listeners that it overwrites are closed as too slow. */
bool cohort_add(struct cohort *c, struct str frame);
/* Adds bytes that are no event (a comment in an event stream). */
void cohort_comment(struct cohort *c, struct str bytes);
void cohort_flush(struct cohort *c);
/* Sends what can be sent and keeps memory only for what somebody still waits for; returns how many bytes that are. */
size_t cohort_trim(struct cohort *c);
/* Gives the rest of the ring's memory back: whoever waits for it is closed as too slow. Right after cohort_trim. */
void cohort_relieve(struct cohort *c);
void cohort_writable(struct listener *l); /* the kernel takes bytes again */
/* Takes the listener out and ends its stream; `l` may be gone afterwards. */
void listener_close(struct listener *l, int code, const char *text);
