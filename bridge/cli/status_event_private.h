/* SPDX-License-Identifier: MIT */
/* Inside `aqueduct status --event`:
 *
 *   status_event_notes.c  what the bridge's own topics say of the event
 *   status_event_state.c  what that, and the daemon's memory, come to at one destination
 *   status_event.c        the records of the event, and what became of each everywhere
 *
 * One thread. */
#pragma once
#include <jansson.h>
#include "bridge/config/config.h"
#include "bridge/event/event.h"
#include "bridge/event/trail.h"
#include "bridge/lib/ranges.h"

#define EVENT_REDIRECTED "redirected"

enum { EVENT_STORED = 20, EVENT_ORIGIN = TOPIC_NAME_MAX + 40 };

struct event_find {
    const struct config *config;
    const json_t *account, *made;
    struct str id;
    int64_t since_ms;
    json_t *stored, *refused;
    json_t *notes;                /* what the bridge's own topics say: kind, sink, endpoint, origin and more */
    const char *kind, *reading;   /* of what is being read now, and its topic */
    const struct sink_config *of; /* whose topics these are */
    struct event_copy {
        char *topic; /* where the record stood first */
        int64_t partition, offset, time_ms;
        const struct event *event;
    } copies[EVENT_STORED]; /* in the bridge's own topics, one of each record */
    size_t copy_count;
    struct event_stand {
        int64_t position;
        struct ranges beyond;
    } * stands; /* of the group that reads that topic, by partition */
    size_t stand_count;
    struct err *e;
};

/* ---- status_event_notes.c ---- */

/* Hands out the newest records of a topic, as far back as was asked for. */
bool status_event_look(struct event_find *f, const char *topic, const char *group,
                       bool (*each)(void *ctx, const struct record *r), struct err *e);
/* Reads all of them, and remembers the copies of records that may be gone. */
bool status_event_notes(struct event_find *f, struct err *e);

/* ---- status_event_state.c ---- */

bool status_event_same(const json_t *note, const char *key, const char *text); /* text NULL: it has none */
/* The newest note of that kind about this destination and record (or, with `kind` NULL, any of dead letters). */
const json_t *status_event_noted(const struct event_find *f, const char *kind, const char *sink, const char *endpoint,
                                 const char *origin);
/* Its state and what that rests on (a note, an event in memory, or nothing). */
const char *status_event_state(const struct event_find *f, const char *sink, const char *endpoint, const char *origin,
                               bool finished, const json_t **why);
/* Was it given to the destination once more, whatever that reads, or is it there now? */
bool status_event_came(const struct event_find *f, const char *sink, const char *endpoint, const char *origin);
/* Adds what is said of it there to the list. */
void status_event_destination(json_t *list, const char *sink, const char *endpoint, const char *state,
                              const json_t *why);
