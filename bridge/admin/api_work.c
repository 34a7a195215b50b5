/* SPDX-License-Identifier: MIT */
/* Works: kept, done beside the main thread, answered; and the jobs that are told of. */
#include "bridge/admin/api_work.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/admin/paged.h"
#include "bridge/admin/private.h"
#include "bridge/config/known.h"
#include "bridge/delivery/roster.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/thread.h"

enum { WORK_PUBLISH_MS = 30000, WORK_NUMBER = 24 };

struct api_job {                 /* of a long work */
    uint64_t number;             /* 0: none yet */
    const struct api_work *work; /* NULL: it has ended */
    const char *operation;
    char who[TOKEN_FILE_NAME];
    int64_t began_ms, ended_ms; /* wall clock */
    int64_t done, of;
    json_t *result;
    struct err why;
};

struct api_works {
    struct jobs *jobs;
    uint64_t serial;
    struct api_job list[API_JOBS];
};

struct api_works *api_works_new(void)
{
    struct api_works *works = mem_alloc(sizeof *works);
    works->jobs = jobs_new();
    return works;
}

void api_works_free(struct api_works *works)
{
    if (!works)
        return;
    jobs_free(works->jobs);
    for (size_t i = 0; i < API_JOBS; i++)
        json_decref(works->list[i].result);
    free(works);
}

int api_works_fd(const struct api_works *works)
{
    return jobs_fd(works->jobs);
}

void api_works_turn(struct api_works *works)
{
    jobs_turn(works->jobs);
}

bool api_works_any(const struct api_works *works)
{
    return jobs_any(works->jobs);
}

/* ---- a work ---- */

static struct api_works *works_of(const struct api_work *w)
{
    return api_works(w->ticket.api);
}

static void work_free(struct api_work *w)
{
    for (size_t i = 0; i < API_PARAMETERS; i++)
        free(w->parameters[i]);
    json_decref(w->query);
    json_decref(w->body);
    json_decref(w->answer);
    free(w->text);
    free(w);
}

static struct api_job *works_job(struct api_works *works, uint64_t number)
{
    struct api_job *job = &works->list[number % API_JOBS];
    return number && job->number == number ? job : NULL;
}

/* What became of a long one is kept; its request was answered before. */
static void work_keep(struct api_work *w)
{
    struct api_job *job = works_job(works_of(w), w->number);
    if (!job)
        return;
    job->work = NULL;
    job->ended_ms = clock_wall_ms();
    job->done = atomic_load(&w->done);
    job->of = atomic_load(&w->of);
    job->result = json_incref(w->answer);
    job->why = w->why;
    if (!w->ticket.row->paged)
        return;
    bool interrupted = json_is_true(json_object_get(w->answer, "interrupted"));
    json_t *told = paged_result(w->body, w->why.text[0] ? "failed" : interrupted ? "interrupted" : "done", w->answer);
    api_tell(&w->ticket, w->why.text[0] ? 503 : 200, told);
    json_decref(told);
}

/* Of a page it is told, or not, what it is a page of. */
static json_t *work_tell(struct api_work *w, int status)
{
    if (!w->ticket.row->paged)
        return NULL;
    json_t *told = paged_page(api_paged(w->ticket.api), &w->ticket, w->body, status, w->answer);
    w->ticket.untold = !told;
    w->ticket.result = told;
    return told;
}

static void work_end(struct job *j)
{
    struct api_work *w = (struct api_work *)j;
    if (!w->answer && !w->why.text[0])
        api_work_fail(w, 503, "the daemon stops");
    int status = w->status ? w->status : w->ticket.row->done;
    json_t *told = w->number ? NULL : work_tell(w, status);
    if (w->number)
        work_keep(w);
    else if (w->answer)
        api_answer(&w->ticket, status, json_incref(w->answer));
    else
        api_problem(&w->ticket, w->status, "%s", w->why.text);
    json_decref(told);
    work_free(w);
}

static void work_do(struct job *j)
{
    struct api_work *w = (struct api_work *)j;
    w->run(w);
}

static struct api_work *work_new(const struct api_call *call, void (*run)(struct api_work *w))
{
    struct api_work *w = mem_alloc(sizeof *w);
    w->job = (struct job){ .work = work_do, .end = work_end };
    w->home = call->home;
    w->ticket = call->ticket;
    w->run = run;
    w->until_ms = clock_mono_ms() + API_LONGEST_MS;
    for (size_t i = 0; i < API_PARAMETERS && call->parameters[i].at; i++)
        w->parameters[i] = str_dup(call->parameters[i]);
    w->query = json_deep_copy(call->query);
    w->body = call->body ? json_deep_copy(call->body) : NULL;
    w->text = call->ticket.row->media ? str_dup(call->request->body) : NULL;
    w->jobs = works_of(w)->jobs;
    return w;
}

void api_later(struct api_call *call, enum lane lane, void (*run)(struct api_work *w))
{
    struct api_work *w = work_new(call, run);
    if (jobs_add(works_of(w)->jobs, lane, &w->job))
        return;
    api_busy(&call->ticket);
    work_free(w);
}

void api_long(struct api_call *call, void (*run)(struct api_work *w))
{
    struct api_work *w = work_new(call, run);
    struct api_works *works = works_of(w);
    char number[WORK_NUMBER];
    w->until_ms = INT64_MAX;
    w->number = works->serial + 1;
    struct api_job *job = &works->list[w->number % API_JOBS];
    if (job->work || !jobs_add(works->jobs, LANE_BULK, &w->job)) {
        api_busy(&call->ticket);
        work_free(w);
        return;
    }
    works->serial++;
    json_decref(job->result);
    *job = (struct api_job){
        .number = w->number, .work = w, .operation = call->ticket.row->name, .began_ms = clock_wall_ms()
    };
    memcpy(job->who, call->ticket.who.is.name, sizeof job->who);
    snprintf(number, sizeof number, "%" PRIu64, w->number);
    json_t *told = call->ticket.row->paged ? paged_result(call->body, "begun", NULL) : NULL;
    call->ticket.result = told;
    api_answer(&call->ticket, 202, json_pack("{s:s}", "job", number));
    json_decref(told);
}

bool api_work_is_over(const struct api_work *w)
{
    return jobs_stopping(w->jobs) || clock_mono_ms() >= w->until_ms;
}

void api_work_fail(struct api_work *w, int status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(w->why.text, sizeof w->why.text, fmt, args);
    va_end(args);
    w->status = status;
    json_decref(w->answer);
    w->answer = NULL;
}

const char *api_work_text(const struct api_work *w, const char *name)
{
    return json_string_value(json_object_get(w->query, name));
}

size_t api_work_limit(const struct api_work *w)
{
    const json_t *limit = json_object_get(w->query, "limit");
    return limit ? (size_t)json_number_value(limit) : API_LIMIT;
}

/* ---- publishing ---- */

struct work_put {         /* shared with the broker's thread; who comes last frees it */
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool done, left;
    enum outcome outcome;
    char why[WHY_BYTES];
};

static void work_put_free(struct work_put *p)
{
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    free(p);
}

static void work_stored(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    struct work_put *p = ctx;
    (void)tag;
    pthread_mutex_lock(&p->lock);
    p->done = true;
    p->outcome = o;
    why_copy(p->why, why);
    bool left = p->left;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
    if (left)
        work_put_free(p);
}

json_t *api_work_known(const struct api_work *w, struct command_call *call)
{
    json_t *made = w->home->roster ? roster_list(w->home->roster, NULL, true) : json_array();
    const json_t *one;
    size_t i;
    known_fill(call, w->home->config);
    json_array_foreach(made, i, one)
    {
        known_add(call, json_text(one, "sink"), json_text(one, "name"));
    }
    return made;
}

enum outcome api_work_publish(const struct api_home *home, const struct record *records, size_t count, struct err *e)
{
    struct work_put *p = mem_alloc(sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    broker_publish(home->broker,
                   &(struct publication){ .records = records, .record_count = count, .done = work_stored, .ctx = p });
    struct timespec until = thread_until((struct duration){ WORK_PUBLISH_MS });
    pthread_mutex_lock(&p->lock);
    while (!p->done && thread_wait(&p->changed, &p->lock, until))
        continue;
    bool done = p->done;
    enum outcome o = done ? p->outcome : OUTCOME_UNAVAILABLE;
    p->left = !done;
    if (o != OUTCOME_STORED)
        err_set(e, "not stored: %s", done && p->why[0] ? p->why : "no answer in time");
    pthread_mutex_unlock(&p->lock);
    if (done)
        work_put_free(p);
    return o;
}

/* ---- jobs ---- */

static json_t *job_json(const struct api_job *job)
{
    char number[WORK_NUMBER];
    const char *state = job->work ? "running" : job->why.text[0] ? "failed" : "done";
    snprintf(number, sizeof number, "%" PRIu64, job->number);
    return json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:I,s:I,s:o,s:O?}", "job", number, "operation", job->operation, "who",
                     job->who, "state", state, "began", json_of_moment(job->began_ms), "ended",
                     json_of_moment(job->ended_ms), "done",
                     (json_int_t)(job->work ? atomic_load(&job->work->done) : job->done), "of",
                     (json_int_t)(job->work ? atomic_load(&job->work->of) : job->of), "error",
                     job->why.text[0] ? json_of_text(str_of(job->why.text)) : json_null(), "result", job->result);
}

static void job_get(struct api_call *call)
{
    uint64_t number = 0;
    const struct api_job *job = str_to_u64(call->parameters[0], &number)
                                    ? works_job(api_works(call->ticket.api), number)
                                    : NULL;
    if (job)
        api_answer(&call->ticket, 200, job_json(job));
    else
        api_problem(&call->ticket, 404, "there is no such job: the last %d are remembered, until the daemon ends",
                    API_JOBS);
}

static void job_list(struct api_call *call)
{
    const struct api_works *works = api_works(call->ticket.api);
    json_t *items = json_array();
    for (uint64_t n = works->serial; n > 0 && n + API_JOBS > works->serial; n--)
        json_array_append_new(items, job_json(&works->list[n % API_JOBS]));
    api_answer(&call->ticket, 200, json_pack("{s:o,s:n}", "items", items, "next"));
}

static const struct shape job_answer[] = {
    { "job", SHAPE_TEXT, .required = true, .doc = "Its number." },
    { "operation", SHAPE_TEXT, .required = true, .doc = "The operation that it is of." },
    { "who", SHAPE_TEXT, .required = true, .doc = "Who asked for it." },
    { "state", SHAPE_TEXT, .required = true, .values = "running|done|failed", .doc = "How it is." },
    { "began", SHAPE_MOMENT, .required = true, .doc = "When it was asked for." },
    { "ended", SHAPE_MOMENT, .required = true, .nullable = true, .doc = "When it was through." },
    { "done", SHAPE_INTEGER, .required = true, .doc = "How much is done." },
    { "of", SHAPE_INTEGER, .required = true, .doc = "Of how much; 0: not known yet." },
    { "error", SHAPE_TEXT, .required = true, .nullable = true, .doc = "Why it failed." },
    { "result", SHAPE_OBJECT, .required = true, .nullable = true, .doc = "What came of it." },
    { 0 },
};
static const struct shape job_items[] = {
    { "items", SHAPE_OBJECT, .list = true, .required = true, .of = job_answer, .doc = "The newest first." },
    API_LIST_NEXT,
    { 0 },
};

extern const struct api_row api_job_rows[];
const struct api_row api_job_rows[] = {
    { "GET", "/api/v1/jobs", "listJobs", ROLE_VIEWER, "Long work of this daemon, the newest first.", .done = 200,
      .answer = job_items, .handle = job_list },
    { "GET", "/api/v1/jobs/{job}", "getJob", ROLE_VIEWER, "How far a long work is.", .done = 200, .answer = job_answer,
      .handle = job_get },
    { 0 },
};
