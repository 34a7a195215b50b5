/* SPDX-License-Identifier: MIT */
/* An operation of the API that takes time: what was asked is kept, done on a lane (jobs.h), and answered then.
 *
 *   static void attempts_work(struct api_work *w) { w->answer = ...; }             on the lane's thread
 *   static void attempts_get(struct api_call *call) { api_later(call, LANE_READ, attempts_work); }
 *
 * A work may be reported on while it is done (api_long): its request is answered 202 with the number of a job, and GET
 * /api/v1/jobs/{job} says how far it is. The last API_JOBS of these are remembered. */
#pragma once
#include <stdatomic.h>
#include "bridge/admin/api.h"
#include "bridge/admin/jobs.h"

enum { API_JOBS = 64, API_LONGEST_MS = 20000 }; /* a reading ends within that, with what it has found by then */

struct api_work {
    struct job job; /* first */
    const struct api_home *home;
    struct api_ticket ticket;
    char *parameters[API_PARAMETERS]; /* NULL: there are no more */
    json_t *query, *body;             /* body NULL: none came */
    char *text;                       /* of a body that is no JSON, which ends with NUL; NULL: none */
    int64_t until_ms;                 /* clock_mono_ms: readings end then */
    const struct jobs *jobs;
    void (*run)(struct api_work *w);
    uint64_t number;               /* of a long one; 0: it is short */
    atomic_int_least64_t done, of; /* how far a long one is; any thread */
    /* What run() sets: */
    int status;     /* 0: the row's `done` */
    json_t *answer; /* NULL: the status is a problem's, and why says it */
    struct err why;
};

/* Answers 429 when too much waits. */
void api_later(struct api_call *call, enum lane lane, void (*run)(struct api_work *w));
void api_long(struct api_call *call, void (*run)(struct api_work *w));
/* run(): is it time to end? */
bool api_work_is_over(const struct api_work *w);
/* run(): it failed: with this status and text. */
void api_work_fail(struct api_work *w, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
const char *api_work_text(const struct api_work *w, const char *name); /* of the query; NULL: not said */
size_t api_work_limit(const struct api_work *w);
/* What commands know (config/known.h), with the endpoints that were made at run time. known_free, and then a json_decref of
 * what this gives. */
json_t *api_work_known(const struct api_work *w, struct command_call *call);
/* Publishes durably and waits for it: lanes alone. */
enum outcome api_work_publish(const struct api_home *home, const struct record *records, size_t count, struct err *e);
