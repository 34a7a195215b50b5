/* SPDX-License-Identifier: MIT */
/* The plan: what is different between two configurations, object by object, and what a running daemon does about it.
 *
 * Objects are sources, sinks, the endpoints of a sink, topics, and the sections routes, admin, log, broker and the rest.
 * Two are compared by the rows of their options, so that what only is written in another way is no difference; of secrets
 * nothing but their key is told. A sink of which nothing but endpoints differ goes on; otherwise a source or sink that
 * differs stops and begins anew where it stood. Main thread. */
#pragma once
#include "bridge/config/config.h"

enum plan_what {
    PLAN_BROKER = 1,
    PLAN_TOPIC,
    PLAN_SOURCE,
    PLAN_SINK,
    PLAN_ENDPOINT,
    PLAN_ROUTES,
    PLAN_ADMIN,
    PLAN_LOG,
    PLAN_SETTING, /* a key of the top that is no section: drain */
};
enum plan_change { PLAN_KEEP = 1, PLAN_ADD, PLAN_REMOVE, PLAN_CHANGE };

struct plan_entry {
    enum plan_what what;
    enum plan_change change;
    /* of a source, sink, topic, setting; of an endpoint: its sink's. Borrowed from the configurations */
    const char *name;
    const char *endpoint; /* or NULL */
    char **keys;          /* of PLAN_CHANGE: what differs ("circuit.probe") */
    size_t key_count;
    bool restart; /* only a start of the daemon can do it */
};

struct plan {
    struct plan_entry *at;
    size_t count;
};

/* `filled` gives a connector's struct as its configuration filled it, also when it is open by now; NULL: none is. */
struct plan plan_make(const struct config *before, const struct config *after,
                      const void *(*filled)(void *ctx, const void *connector), void *ctx);
void plan_free(struct plan *p);
size_t plan_changes(const struct plan *p);                  /* entries that are not PLAN_KEEP */
bool plan_is_possible(const struct plan *p, struct err *e); /* false: what needs a start of the daemon */
/* NULL: it stays, or has no entry. */
const struct plan_entry *plan_find(const struct plan *p, enum plan_what what, const char *name);
/* {"changes": [{"what": "sink crm", "change": "change", "detail": ["url"], "needs": "nothing"}]}; the caller's. */
json_t *plan_json(const struct plan *p);
/* One line each, for a person, of a list of that form; false: it is none. */
bool plan_print_json(const json_t *plan, FILE *out);
