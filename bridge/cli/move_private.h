/* SPDX-License-Identifier: MIT */
/* Inside `aqueduct move`: all that a local log holds goes to another broker, each record at its old offset (broker/copy.h).
 *
 *   move_work.c   what there is here and there; the way through the steps
 *   move_log.c    topics and records, and whether both logs hold the same
 *   move_state.c  state, positions in it, and where groups stand
 *
 *   survey -> mark -> topics -> records -> state -> positions -> verify -> marks: finished there, left here
 *
 * The mark over there says whose move it is. It is the first thing that is stored; with it, any step may be done once more: records
 * go on where the partition ends, state and positions are written whole. The log is held open all the time, so that no
 * daemon starts with it; once it is left, none does. Main thread. */
#pragma once
#include "bridge/broker/copy.h"
#include "bridge/cli/progress.h"
#include "bridge/command.h"
#include "bridge/config/config.h"
#include "bridge/lib/buf.h"

struct move_part {        /* a partition */
    int64_t start, end;   /* of the log */
    int64_t there;        /* how far it is copied */
    int64_t count, lost;  /* records that both have; those that the other one's retention has removed by now */
    uint64_t here, found; /* sums of these, here and there */
};

struct move_topic {
    char *name;
    struct move_part *parts;
    int32_t count;
};

struct move {
    /* Set these: */
    const struct config *from, *to;
    /* What was found, and done: */
    struct move_topic *topics;
    size_t topic_count;
    int64_t records, copied; /* in the log; of these by this run */
    int64_t lost;            /* that retention has removed over there already */
    int64_t elsewhere;       /* whose key puts new records into another partition over there */
    int64_t pairs;           /* of state */
    int64_t groups, positions, cut;
    bool resumed, interrupted;
    bool finished; /* it was before */
    /* Private: */
    struct broker *source, *target;
    struct copy *copy;
    const struct copy_ops *ops;
    char *identity; /* of the log */
    struct progress progress;
    struct {
        enum outcome outcome; /* 0: none yet */
        char why[WHY_BYTES];
    } answer;
    struct err *e;
};

/* Opens both, and finds what there is. False with *e: it cannot be moved, or not there. move_close in any case. */
bool move_open(struct move *m, struct err *e);
bool move_do(struct move *m, struct err *e); /* false with *e, or interrupted: it can be gone on with */
void move_close(struct move *m);

/* ---- move_state.c ---- */

/* Publishes changes of one scope over there (or here), and waits. */
bool move_change(struct move *m, struct broker *b, const char *scope, const struct change *changes, size_t count);
/* The value of that key; NULL: there is none, or with *m->e that is not known. free() it. */
bool move_state_value(struct move *m, struct broker *b, const char *scope, const char *key, char **out);
bool move_state(struct move *m);
bool move_positions(struct move *m);

/* ---- move_log.c ---- */

bool move_topics(struct move *m); /* makes them */
bool move_records(struct move *m);
bool move_verify(struct move *m);
