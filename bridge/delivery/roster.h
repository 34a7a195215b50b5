/* SPDX-License-Identifier: MIT */
/* The roster: the endpoints of sinks that were made at run time, beside those of the configuration.
 *
 * They live in the bridge's state (ballot.h): each change is compared with the version it is made from, so of two daemons of the same
 * broker one is first, and on Kafka each follows what the others change. What the configuration names is read-only here, and
 * wins: an endpoint of the state with the same name is kept, and does nothing. Their options are checked as the
 * configuration's are (config/made.h); those of the connector, secrets among them, lie sealed under `admin.key_file`
 * (placed.h), and without such a file an endpoint with secrets is refused. One whose options cannot be read or opened is held: it
 * is there, paused, and what is for it waits until that is mended.
 *
 *   roster_new -> roster_begin per sink -> roster_start ... roster_stop -> roster_free
 *
 * roster_start comes again when sinks were begun later: what others change meanwhile reaches these from then on.
 *
 * The state is read when the first sink begins; without one nothing is. After a start that failed all begin anew (roster_forget).
 * A sink that comes later, while the bridge runs, is begun before its thread runs, and left before that ends.
 *
 * Threads: one of its own, which follows the state and brings what changed to the sinks; roster_do on any other than the main one
 * and the sinks', for it waits for both; several may call it. roster_list and roster_get never wait. The rest: main thread. */
#pragma once
#include <jansson.h>
#include "bridge/config/config.h"

struct delivery;
struct roster;

enum { ROSTER_MOST = 1000, ROSTER_WHY = 1024 }; /* endpoints of one sink that are made at run time */

/* Both are borrowed. */
struct roster *roster_new(const struct config *config, struct broker *broker);
/* The sink, which has `endpoints:`, gets those that are its, before its thread runs; both stay borrowed until roster_leave, or
 * roster_stop. False with *e: the state could not be read. */
bool roster_begin(struct roster *r, const struct sink_config *s, struct delivery *d, struct err *e);
void roster_leave(struct roster *r, const struct delivery *d);
void roster_forget(struct roster *r); /* all sinks are gone */
/* The sink, which runs, has other options from now on: they are defaults of its endpoints, which are filled anew, soon. What the
 * configuration adds and removes itself comes before that; where the sink has one of that name from here (roster_has), it
 * is to be changed (delivery_change_endpoint), not added: it is the configuration's from then on. */
void roster_refit(struct roster *r, const struct sink_config *s, struct delivery *d);
bool roster_has(struct roster *r, const char *sink, const char *name);
bool roster_uses(struct roster *r, const struct config *c); /* does it borrow one of its sinks? */
void roster_start(struct roster *r);
void roster_stop(struct roster *r); /* accepts NULL; nothing is done any more. Before the broker is closed */
void roster_free(struct roster *r); /* accepts NULL */

enum roster_what {
    ROSTER_ADD = 1,
    ROSTER_CHANGE,
    ROSTER_PAUSE,
    ROSTER_RESUME,
    ROSTER_ROTATE, /* body: {"secret": ..., "overlap": "24h"}, both may be missing */
    ROSTER_REMOVE,
    ROSTER_TEST,   /* body: {"type": ..., "data": ...}, both may be missing; also of the configuration's */
    ROSTER_RESEAL, /* all of them, under the first key of the file; no sink, no name */
};

struct roster_order { /* borrowed */
    enum roster_what what;
    const char *sink, *name;
    const json_t *body; /* ROSTER_ADD, ROSTER_CHANGE: options; NULL: none */
    int64_t version;    /* that it is to have; 0: whichever it has */
};

struct roster_answer {
    int status;           /* as of HTTP: 200, 201; 400, 404, 409, 412, 503 */
    int64_t version;      /* of the endpoint, after the change; 0: none */
    json_t *json;         /* when it is done. The caller's reference */
    char why[ROSTER_WHY]; /* when not: for a person, with what to do */
};

/* Does it, and waits until it is stored and the sink has it. */
void roster_do(struct roster *r, const struct roster_order *o, struct roster_answer *a);
/* All endpoints of the sink (NULL: of all), the configuration's as well: a list. `veil`: what of a URL may be a token is hidden.
 * The caller's reference. */
json_t *roster_list(struct roster *r, const char *sink, bool veil);
/* One, with its options, of which the secrets are hidden; NULL: there is none. *version: 0 for the configuration's. */
json_t *roster_get(struct roster *r, const char *sink, const char *name, bool veil, int64_t *version);
