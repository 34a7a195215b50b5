/* SPDX-License-Identifier: MIT */
/* A reload: the running bridge becomes what its configuration's files say by now, object by object, or stays as it is.
 *
 *   read and check the files -> plan (config/plan.h) -> topics -> what is new is opened
 *     -> what goes, or begins anew, is stopped: it finishes what it has begun, and its position is stored
 *     -> what begins anew is opened -> endpoints in place, the admin listener
 *     -> from here on it holds: routes, log level, threads start; what is gone is forgotten
 *
 * What fails before it holds is undone: what was opened is closed, and what was stopped is opened once more as it was and
 * goes on where it stood. What stays is not touched: its threads, listeners and connections go on.
 *
 * Memory: versions of the configuration (version.h) live as long as something of them is used. Main thread, which may wait for
 * `drain` where something stops: meanwhile /healthz is answered, other pages with 503, and commands wait. */
#pragma once
#include "bridge/admin/admin.h"
#include "bridge/answers.h"
#include "bridge/engines.h"
#include "bridge/version.h"

struct bridge_files { /* from which the configuration was read, and is read again */
    const struct connectors *connectors;
    const char *const *at;
    size_t count;
};

struct reload {                       /* filled once; everything is borrowed */
    const struct bridge_files *files; /* NULL: a dry run, which stays as it is */
    struct broker *broker;
    struct routing *routing;
    struct engines *engines;
    struct admin *admin;
    struct answers *answers;
    struct version *versions; /* the one that holds, then older ones of which something is used; the first one stays */
};

/* What it would do (`apply` false), or does. Returns whether that is possible, or done; *answer says what changes, or what is
 * wrong, and is the caller's:
 *   {"ok": true, "applied": true, "changes": [...]}   as plan_json
 *   {"ok": false, "problems": [...], "changes": [...]}   as problems_json */
bool reload_run(struct reload *r, bool apply, json_t **answer);
void reload_count(void); /* at the start: its metric is there from 0 on, so that the first refusal is a rise */
void reload_sweep(struct reload *r); /* now and then: frees versions of which nothing is used any more */
void reload_free(struct reload *r);  /* the versions; nothing of them is used */
