/* SPDX-License-Identifier: MIT */
/* A stored event once more: found by its id in the log, beside a daemon that runs or none, and given to one place. What
 * `aqueduct resend` and the API share. One thread. */
#pragma once
#include "bridge/command.h"
#include "bridge/config/config.h"
#include "bridge/event/trail.h"

enum { RESEND_FOUND = 20 }; /* events of the same id that are told apart */

struct resend {
    /* What is looked for; set these: */
    const struct config *config;
    struct str id, source, topic; /* source, topic absent: any; topics are those that the configuration names */
    int64_t since_ms;             /* none that were stored before; 0: all */
    /* Is asked at each record; false ends the search, of which `whole` tells. NULL: it goes on. */
    bool (*go_on)(void *ctx, const char *topic, int64_t read);
    void *ctx;
    /* What was found: */
    struct record *found[RESEND_FOUND]; /* of each topic and source the newest */
    size_t count;
    struct buf looked; /* where it was searched, for a person */
    bool whole;        /* all that was to be searched was */
    /* Private: */
    const char *reading;
    int64_t read;
    struct err *e;
};

bool resend_search(struct resend *s, struct err *e); /* resend_free in either case */
/* Of a search that found nothing: says so, and where it looked. */
void resend_none(const struct resend *s, struct err *e);
void resend_free(struct resend *s);

struct
    resent { /* what is published, together: the event for the sink, and that the sink got it, for the dead letters */
    struct moved event, note;
    struct record records[2];
    char *redrive, *dead;
};
void resent_make(struct resent *out, const struct record *r, const char *prefix, const struct command_place *to);
void resent_free(struct resent *m);
