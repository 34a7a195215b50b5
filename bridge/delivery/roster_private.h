/* SPDX-License-Identifier: MIT */
/* What the files of the roster share: roster_life.c, its life, and how it brings what the state says to the sinks; roster_do.c, what
 * people ask of it.
 *
 * One at a time has the turn: the roster's thread, or who asks. Only who has the turn changes anything, and may
 * read without the lock; who has it not reads with the lock. So nobody holds the lock while the broker or a sink takes its time. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include "bridge/delivery/ballot.h"
#include "bridge/delivery/control.h"
#include "bridge/delivery/revise.h"
#include "bridge/delivery/roster.h"

struct place {                 /* an endpoint of the state */
    char *sink, *name, *thing; /* thing: sink/name */
    char word[BALLOT_WORD];
    struct placed is;        /* own NULL: it cannot be read */
    int64_t size;            /* of its text in the state */
    bool applied;            /* the sink has it, */
    bool paused;             /* paused, by what is.paused was then, */
    bool held, ceded;        /* though it cannot be opened; the configuration has one of that name */
    bool due;                /* the sink is to hear of it */
    bool anew;               /* ... because of its options */
    char why[WHY_BYTES * 2]; /* of held, ceded, and what else keeps it from working; "": all is well */
};

extern struct metric_family aqueduct_sink_paused, aqueduct_sink_circuit_open, aqueduct_sink_pending;

struct served {
    const struct sink_config *s;
    struct delivery *d;
    bool runs; /* its thread takes orders; under the roster's lock */
};

struct roster {
    const struct config *config;
    struct broker *broker;
    bool shared;
    struct consumer *follow; /* of the topic that holds the state, where others write it, too */
    int wake_fd;
    pthread_t thread;
    bool runs;
    bool open;            /* the state was read; with the turn */
    atomic_bool doubt;    /* the state is to be read again */
    atomic_bool stop;     /* tests are to end */
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool busy, ended; /* somebody has the turn; nobody gets it any more */
    size_t waiting;   /* for the turn */
    size_t tests;     /* under way */
    struct place **places;
    size_t count;
    struct served *served;
    size_t served_count;
    char told[WHY_BYTES
              * 2]; /* with the turn: why the last one is held that has a line in the log; "": none in this round */
    size_t alike;   /* the same: others that are held for that reason, and have none */
};

/* False: the roster has ended. */
bool roster_take_turn(struct roster *r);
void roster_give_turn(struct roster *r);
/* ---- with the turn ---- */
const struct served *roster_served(const struct roster *r, const char *sink);          /* NULL: it is not there */
struct place *roster_find(const struct roster *r, const char *sink, const char *name); /* NULL: there never was one */
/* The keys of admin.key_file; NULL without *e: none is named. */
struct seal_keys *roster_keys(const struct roster *r, struct err *e);
/* It is that from now on: takes `is` over. *at NULL: it is new. */
void roster_set(struct roster *r, struct place **at, const struct vote *v, struct placed *is);
/* Brings it to its sink; false: the sink had no time, and it stays due. */
bool roster_apply(struct roster *r, struct place *p);
/* The state, read again. */
bool roster_read(struct roster *r, struct err *e);
/* Has the configuration one of that name? */
bool roster_is_ours(const struct sink_config *s, const char *name);
