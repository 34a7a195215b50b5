/* SPDX-License-Identifier: MIT */
/* `aqueduct doctor`: what the check says of the configuration, and whether all that it names is within reach. Each object is looked
 * at on a thread of its own, so that one that does not answer holds up no other. */
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/admin/control_client.h"
#include "bridge/cli/around.h"
#include "bridge/cli/commands.h"
#include "bridge/config/config.h"
#include "bridge/event/trail.h"
#include "bridge/lib/descriptors.h"
#include "bridge/lib/json.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/thread.h"

enum { DOCTOR_AT_ONCE = 32, DOCTOR_SECONDS = 10, DOCTOR_MORE_MS = 1500, DOCTOR_TURN_MS = 100 };

struct doctor_flags {
    int64_t timeout;
    bool json;
};

static const struct flag doctor_flags[] = {
    FLAG(struct doctor_flags, timeout, .name = "--timeout", .value = "SECONDS", .min = 1, .max = 300,
         .doc = "for each receiver, database and broker; 10"),
    FLAG(struct doctor_flags, json, .name = "--json", .doc = "one JSON object"),
    { 0 },
};

static const char doctor_notes[] =
    "Besides all that aqueduct check says: the broker and what it lets us do, databases and the log (also whether a page of them\n"
    "is damaged), receivers (name, connection, TLS and until when its certificate is good; no event is sent), the collector of\n"
    "traces, folders with their room and how long a durable write takes, ports, clock, descriptors. Each line is ok, slow, risky\n"
    "or broken, with what to do. It may run beside the daemon.\n"
    "Exit code 1: something is broken.\n\n"
    "Examples:\n"
    "  aqueduct doctor\n"
    "  aqueduct doctor --json | jq '.findings[] | select(.finding != \"ok\")'\n";

struct doctor;

struct doctor_job {
    struct doctor *doctor;
    char *object; /* "sinks.crm" */
    void (*look)(struct doctor_job *job);
    const struct source *source;
    const struct sink *sink;
    const struct endpoint *endpoint;
    const char *text; /* a folder, an address, a file */
    json_t *findings; /* the doctor's lock */
    int64_t began_ms; /* clock_mono_ms; 0: not yet */
    pthread_t thread;
    bool is_thread; /* it could be started */
    bool ended, given_up;
};

struct doctor {
    struct config *config;
    struct duration limit;
    bool runs; /* a daemon with this configuration does */
    struct doctor_job **jobs;
    size_t job_count;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

/* ---- what is found ---- */

static const char *doctor_word(enum finding f)
{
    static const char *const words[] = {
        [FINDING_OK] = "ok", [FINDING_SLOW] = "slow", [FINDING_RISKY] = "risky", [FINDING_BROKEN] = "broken"
    };
    return words[f];
}

static json_t *doctor_row(enum finding f, const char *object, const char *what, const char *how, const char *todo)
{
    return json_pack("{s:s, s:s, s:o, s:o, s:s?}", "finding", doctor_word(f), "object", object, "what",
                     json_of_text(str_of(what)), "how", json_of_text(str_of(how)), "todo", todo);
}

/* finding_fn of a job's thread. */
static void doctor_find(void *ctx, enum finding f, const char *what, const char *how, const char *todo)
{
    struct doctor_job *job = ctx;
    pthread_mutex_lock(&job->doctor->lock);
    if (!job->given_up)
        json_array_append_new(job->findings, doctor_row(f, job->object, what, how, todo));
    pthread_mutex_unlock(&job->doctor->lock);
}

/* ---- jobs ---- */

static void doctor_look_machine(struct doctor_job *job)
{
    around_machine(job->doctor->config, doctor_find, job);
}

static void doctor_look_folder(struct doctor_job *job)
{
    around_folder(job->text, doctor_find, job);
}

static void doctor_look_port(struct doctor_job *job)
{
    around_port(job->text, job->doctor->runs, doctor_find, job);
}

static void doctor_look_certificate(struct doctor_job *job)
{
    around_certificate(job->text, doctor_find, job);
}

static void doctor_look_broker(struct doctor_job *job)
{
    around_broker(job->doctor->config, job->doctor->limit, doctor_find, job);
}

static void doctor_look_collector(struct doctor_job *job)
{
    around_collector(&job->doctor->config->traces, job->doctor->limit, doctor_find, job);
}

static void doctor_look_source(struct doctor_job *job)
{
    job->source->ops->probe(job->source, job->doctor->limit, doctor_find, job);
}

static void doctor_look_sink(struct doctor_job *job)
{
    job->sink->ops->probe(job->sink, job->doctor->limit, doctor_find, job);
}

static void doctor_look_endpoint(struct doctor_job *job)
{
    job->sink->ops->endpoints->probe(job->sink, job->endpoint, job->doctor->limit, doctor_find, job);
}

static struct doctor_job *doctor_add(struct doctor *d, const char *section, const char *name,
                                     void (*look)(struct doctor_job *job))
{
    struct doctor_job *job = mem_alloc(sizeof *job);
    *job = (struct doctor_job){
        .doctor = d, .object = str_join(section, *name ? "." : "", name), .look = look, .findings = json_array()
    };
    d->jobs = mem_grow(d->jobs, d->job_count + 1, sizeof *d->jobs);
    return d->jobs[d->job_count++] = job;
}

static void doctor_add_listener(void *ctx, const char *section, const char *name, const char *listen,
                                const char *certificate)
{
    doctor_add(ctx, section, name, doctor_look_port)->text = listen;
    if (certificate && *certificate)
        doctor_add(ctx, section, name, doctor_look_certificate)->text = certificate;
}

static void doctor_add_endpoint(struct doctor *d, const struct sink *s, const struct endpoint *ep)
{
    char *name = trail_place(s->id, ep->name);
    struct doctor_job *job = doctor_add(d, "sinks", name, doctor_look_endpoint);
    job->sink = s;
    job->endpoint = ep;
    free(name);
}

static void doctor_add_sink(struct doctor *d, const struct sink_config *c)
{
    const struct endpoint_ops *ops = c->sink->ops->endpoints;
    if (c->sink->ops->probe)
        doctor_add(d, "sinks", c->sink->id, doctor_look_sink)->sink = c->sink;
    for (size_t i = 0; ops && ops->probe && i < c->endpoint_count; i++)
        doctor_add_endpoint(d, c->sink, c->endpoints[i].endpoint);
    if (ops && ops->probe && !c->endpoint_count && c->sink->endpoint)
        doctor_add_endpoint(d, c->sink, c->sink->endpoint);
}

static void doctor_add_all(struct doctor *d)
{
    const struct config *c = d->config;
    struct broker_facts facts = broker_facts(&c->broker);
    doctor_add(d, "machine", "", doctor_look_machine);
    if (facts.own_folder)
        doctor_add(d, "broker", "", doctor_look_folder)->text = facts.own_folder;
    doctor_add(d, "broker", "", doctor_look_broker);
    if (c->traces.endpoint && *c->traces.endpoint)
        doctor_add(d, "traces", "endpoint", doctor_look_collector);
    config_each_listener(c, doctor_add_listener, d);
    for (size_t i = 0; i < c->source_count; i++)
        if (c->sources[i].source->ops->probe)
            doctor_add(d, "sources", c->sources[i].source->id, doctor_look_source)->source = c->sources[i].source;
    for (size_t i = 0; i < c->sink_count; i++)
        doctor_add_sink(d, &c->sinks[i]);
}

/* ---- their threads ---- */

static void *doctor_thread(void *arg)
{
    struct doctor_job *job = arg;
    job->look(job);
    pthread_mutex_lock(&job->doctor->lock);
    job->ended = true;
    pthread_cond_signal(&job->doctor->changed);
    pthread_mutex_unlock(&job->doctor->lock);
    return NULL;
}

static void doctor_begin(struct doctor_job *job)
{
    job->began_ms = clock_mono_ms();
    job->is_thread = pthread_create(&job->thread, NULL, doctor_thread, job) == 0;
    if (job->is_thread)
        return;
    json_array_append_new(job->findings, doctor_row(FINDING_BROKEN, job->object, "look", "no thread could be started",
                                                    "raise the limit of processes (ulimit -u)"));
    job->ended = true;
}

/* Those that have found what there is to find end now, with what libraries keep for them; the others are left alone. */
static void doctor_end_threads(struct doctor *d)
{
    for (size_t i = 0; i < d->job_count; i++) {
        struct doctor_job *job = d->jobs[i];
        pthread_mutex_lock(&d->lock);
        bool ended = job->ended;
        pthread_mutex_unlock(&d->lock);
        if (job->is_thread && ended)
            pthread_join(job->thread, NULL);
        else if (job->is_thread)
            pthread_detach(job->thread);
    }
}

/* The job has had its time: what it finds later is not told. */
static void doctor_give_up(struct doctor_job *job)
{
    char how[64];
    snprintf(how, sizeof how, "no answer within %d s", (int)(job->doctor->limit.ms / 1000));
    json_array_append_new(job->findings, doctor_row(FINDING_BROKEN, job->object, "answer", how,
                                                    "is it up, and the way to it? --timeout SECONDS waits longer"));
    job->given_up = true;
}

/* Runs them all, some at the same time. True: all of their threads have ended. */
static bool doctor_run_jobs(struct doctor *d)
{
    size_t left = d->job_count, begun = 0, running = 0;
    bool all = true;
    pthread_mutex_lock(&d->lock);
    while (left) {
        while (running < DOCTOR_AT_ONCE && begun < d->job_count) {
            doctor_begin(d->jobs[begun++]);
            running++;
        }
        thread_wait(&d->changed, &d->lock, thread_until((struct duration){ DOCTOR_TURN_MS }));
        left = d->job_count - begun;
        running = 0;
        for (size_t i = 0; i < begun; i++) {
            struct doctor_job *job = d->jobs[i];
            if (!job->ended && !job->given_up && clock_mono_ms() - job->began_ms > d->limit.ms + DOCTOR_MORE_MS)
                doctor_give_up(job);
            running += !job->ended && !job->given_up;
        }
        left += running;
    }
    for (size_t i = 0; i < d->job_count; i++)
        all = all && d->jobs[i]->ended;
    pthread_mutex_unlock(&d->lock);
    doctor_end_threads(d);
    return all;
}

/* ---- what is said ---- */

static void doctor_say(const json_t *row)
{
    char text[1024];
    const char *todo = json_text(row, "todo");
    snprintf(text, sizeof text, "%-7s %s: %s: %s%s%s", json_text(row, "finding"), json_text(row, "object"),
             json_text(row, "what"), json_text(row, "how"), *todo ? " -- " : "", todo);
    str_make_shown(text);
    puts(text);
}

/* What the check says: an error is something broken, a warning a risk. */
static void doctor_add_problems(json_t *all, const struct problems *problems)
{
    char place[512];
    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *p = &problems->at[i];
        snprintf(place, sizeof place, "%s:%d:%d", p->file ? p->file : "", p->line, p->column);
        json_array_append_new(all, doctor_row(p->warning ? FINDING_RISKY : FINDING_BROKEN, "configuration", place,
                                              p->text, NULL));
    }
    if (problems->count == 0)
        json_array_append_new(all, doctor_row(FINDING_OK, "configuration", "check", "nothing is wrong with it", NULL));
}

static int doctor_say_all(json_t *all, bool as_json)
{
    static const char *const words[] = { "broken", "risky", "slow", "ok" };
    size_t i, counts[4] = { 0 };
    const json_t *row;
    json_array_foreach(all, i, row) for (size_t k = 0; k < 4; k++)
        counts[k] += strcmp(json_text(row, "finding"), words[k]) == 0;
    if (as_json) {
        json_t *whole = json_pack("{s:b, s:O}", "ok", counts[0] == 0, "findings", all);
        json_dumpf(whole, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
        putchar('\n');
        json_decref(whole);
    } else {
        json_array_foreach(all, i, row) doctor_say(row);
        printf("%zu broken, %zu risky, %zu slow, %zu ok\n", counts[0], counts[1], counts[2], counts[3]);
    }
    return counts[0] ? COMMAND_FAILED : COMMAND_DONE;
}

/* ---- the command ---- */

static bool doctor_has_daemon(const struct config *c)
{
    struct buf account = buf_new(64 << 20);
    struct err e;
    bool nobody = true, runs = control_status(c, "", &account, &nobody, &e);
    buf_free(&account);
    return runs || !nobody;
}

/* True: nobody looks any more. */
static bool doctor_examine(struct doctor *d, json_t *all)
{
    d->runs = doctor_has_daemon(d->config);
    json_array_append_new(all, doctor_row(FINDING_OK, "daemon", "process", d->runs ? "runs" : "does not run", NULL));
    doctor_add_all(d);
    bool ended = doctor_run_jobs(d);
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->job_count; i++)
        json_array_extend(all, d->jobs[i]->findings);
    pthread_mutex_unlock(&d->lock);
    return ended;
}

static void doctor_free(struct doctor *d)
{
    for (size_t i = 0; i < d->job_count; i++) {
        json_decref(d->jobs[i]->findings);
        free(d->jobs[i]->object);
        free(d->jobs[i]);
    }
    free(d->jobs);
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->changed);
}

static int doctor_run(struct command_call *call)
{
    const struct doctor_flags *f = call->flags;
    struct problems problems = { 0 };
    struct doctor d = { .limit = { (f->timeout ? f->timeout : DOCTOR_SECONDS) * 1000 } };
    json_t *all = json_array();
    bool ended = true;
    CHECK(pthread_cond_init(&d.changed, NULL) == 0 && pthread_mutex_init(&d.lock, NULL) == 0);
    log_setup(LOG_ERROR, LOG_LOGFMT);
    descriptors_raise();
    d.config = config_load_reviewed(call->connectors, (const char *const *)call->files.at, call->files.count, NULL,
                                    &problems);
    doctor_add_problems(all, &problems);
    if (d.config)
        ended = doctor_examine(&d, all);
    int code = doctor_say_all(all, f->json);
    if (!ended) { /* a thread still waits for somebody, with what is the configuration's */
        fflush(stdout);
        _exit(code);
    }
    doctor_free(&d);
    json_decref(all);
    config_free(d.config);
    problems_free(&problems);
    return code;
}

const struct command command_doctor = {
    .name = "doctor",
    .synopsis = "[-c FILE]... [--timeout SECONDS] [--json]",
    .doc = "Say what is broken, risky or slow: the configuration, and all that it needs to reach.",
    .notes = doctor_notes,
    .flags = doctor_flags,
    .size = sizeof(struct doctor_flags),
    .run = doctor_run,
};
