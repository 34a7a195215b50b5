/* SPDX-License-Identifier: MIT */
/* What is kept of each `aqueduct replay`: what it does, how far it is and who runs it, as records of the topic <prefix>replays. One
 * is written behind each batch of events, so that whoever goes on with it, here or elsewhere, repeats one batch at most.
 *
 *   {"name", "topic", "to", "filter": [...], "from", "until", "began", "at", "partitions": [[number, next, end], ...], "read",
 *    "replayed", "refused", "no_events", "gone", "finished", "run": {...}, "step", "over"}
 *
 * Of a name the last record counts, but for those of a run that has no right to it. A run gets it by its first record, if nobody has
 * it then, or if that names the run that it takes it from (over); it gives it back with its last one. So of two that begin at once all
 * who read the topic see the same one as the first (replay_claim.h).
 *
 * Times are milliseconds since 1970. One thread. */
#pragma once
#include <jansson.h>
#include "bridge/cli/replay_run.h"
#include "bridge/config/config.h"
#include "bridge/event/record.h"
#include "bridge/lib/buf.h"

enum { REPLAY_NAME = 100, REPLAY_PARTS = 10000 };

struct replay_part {   /* a partition of the topic */
    int32_t partition; /* its number */
    int64_t next, end; /* the first record that is left, and one past the last that is wanted */
    int64_t reading;   /* the first that was not read; not kept */
};

enum replay_step { /* what a record says of its run */
                   REPLAY_GOES_ON,
                   REPLAY_BEGINS, /* a new replay, or a finished one's name once more */
                   REPLAY_CLAIMS, /* it goes on with one, of which this says nothing else */
                   REPLAY_ENDS,
};

struct replay {
    char *name, *topic, *to;   /* owned */
    json_t *filter;            /* a list of conditions; owned */
    int64_t from_ms, until_ms; /* stored in [from, until); from 0: all */
    int64_t began_ms, at_ms;   /* when it was asked for, and when this was kept */
    struct replay_part *parts; /* owned */
    size_t part_count;
    int64_t read, replayed, refused,
        no_events; /* records of the topic, and what became of them: the rest was filtered */
    int64_t gone;  /* that retention removed before they were read */
    bool finished;
    struct replay_run run; /* who runs it; owned; id NULL: nobody */
    enum replay_step step; /* of this record */
    char *over;            /* the id of the run from which this one takes it; owned; NULL: none */
};

void replay_kept_write(const struct replay *r, struct buf *out);
/* False: it is none. Free it in either case. */
bool replay_kept_read(struct str text, struct replay *out);
void replay_free(struct replay *r);
/* The part of that number, made with next and end 0 when there is none; dies with the next call that makes one. */
struct replay_part *replay_part(struct replay *r, int32_t partition, bool *made);

/* What is known of each name, by their names; records that cannot be read are left out. False with *e; free the list in
 * either case. */
struct replays {
    struct replay *at;
    size_t count;
};
bool replays_find(const struct config *c, struct replays *out, struct err *e);
struct replay *replays_named(const struct replays *list, struct str name); /* NULL: none */
void replays_free(struct replays *list);
