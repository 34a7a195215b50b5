/* SPDX-License-Identifier: MIT */
/* The roster's life: reads the state, follows it, and brings what it says to the sinks. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bridge/delivery/roster_private.h"
#include "bridge/event/trail.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/thread.h"

enum {
    ROSTER_AGAIN_MS = 1000,
    IDLE_MS = 60000,
    HELD_MS = 15000,        /* until one that cannot be read is tried again */
    ROSTER_SINK_MS = 10000, /* that a sink has for a change */
    ROSTER_POLL = 64,
    REMOVED_MS = 24 * 3600000, /* how long a version counts that says it is removed */
};

/* ---- turns ---- */

bool roster_take_turn(struct roster *r)
{
    pthread_mutex_lock(&r->lock);
    r->waiting++;
    while (r->busy && !r->ended)
        pthread_cond_wait(&r->changed, &r->lock);
    r->waiting--;
    bool fine = !r->ended;
    r->busy = r->busy || fine;
    pthread_mutex_unlock(&r->lock);
    return fine;
}

void roster_give_turn(struct roster *r)
{
    pthread_mutex_lock(&r->lock);
    r->busy = false;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static bool roster_is_wanted(struct roster *r)
{
    pthread_mutex_lock(&r->lock);
    bool wanted = r->waiting > 0;
    pthread_mutex_unlock(&r->lock);
    return wanted;
}

/* A sink that was opened and not started, or that was stopped, has no thread that would take an order. */
static bool roster_runs(struct roster *r, const struct served *to)
{
    pthread_mutex_lock(&r->lock);
    bool runs = to->runs;
    pthread_mutex_unlock(&r->lock);
    return runs;
}

const struct served *roster_served(const struct roster *r, const char *sink)
{
    for (size_t i = 0; i < r->served_count; i++)
        if (strcmp(r->served[i].s->sink->id, sink) == 0)
            return &r->served[i];
    return NULL;
}

struct place *roster_find(const struct roster *r, const char *sink, const char *name)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->places[i]->sink, sink) == 0 && strcmp(r->places[i]->name, name) == 0)
            return r->places[i];
    return NULL;
}

bool roster_is_ours(const struct sink_config *s, const char *name)
{
    for (size_t i = 0; i < s->endpoint_count; i++)
        if (strcmp(s->endpoints[i].endpoint->name, name) == 0)
            return true;
    return false;
}

struct seal_keys *roster_keys(const struct roster *r, struct err *e)
{
    const char *file = r->config->admin.key_file;
    *e = (struct err){ "" };
    if (!file || !*file)
        return NULL;
    struct seal_keys *keys = seal_read(file, e);
    return keys ? keys : (err_prefix(e, "admin.key_file"), NULL);
}

/* ---- what the state says ---- */

static bool roster_same_options(const struct placed *a, const struct placed *b)
{
    return a->removed == b->removed && json_equal(a->core, b->core) && a->own && b->own && json_equal(a->own, b->own);
}

static struct place *place_new(struct str thing)
{
    struct place *p = mem_alloc(sizeof *p);
    struct str name = thing, sink;
    str_cut(&name, '/', &sink);
    p->thing = str_dup(thing);
    p->sink = str_dup(sink);
    p->name = str_dup(name.at ? name : STR(""));
    return p;
}

static void place_free(struct place *p)
{
    placed_free(&p->is);
    free(p->thing);
    free(p->sink);
    free(p->name);
    free(p);
}

void roster_set(struct roster *r, struct place **at, const struct vote *v, struct placed *is)
{
    struct place *p = *at ? *at : place_new(v->thing);
    pthread_mutex_lock(&r->lock);
    p->anew = p->anew || !*at || !roster_same_options(&p->is, is);
    p->due = true;
    placed_free(&p->is);
    p->is = *is;
    p->size = (int64_t)v->value.n;
    snprintf(p->word, sizeof p->word, "%s", v->word);
    if (!*at) {
        r->places = mem_grow(r->places, r->count + 1, sizeof(struct place *));
        r->places[r->count++] = p;
    }
    pthread_mutex_unlock(&r->lock);
    *at = p;
    *is = (struct placed){ 0 };
}

static void roster_say(struct roster *r, struct place *p, const char *why)
{
    pthread_mutex_lock(&r->lock);
    snprintf(p->why, sizeof p->why, "%s", why);
    pthread_mutex_unlock(&r->lock);
}

/* The same of what is seen without the turn, too. */
static void roster_mark(struct roster *r, bool *what, bool value)
{
    pthread_mutex_lock(&r->lock);
    *what = value;
    pthread_mutex_unlock(&r->lock);
}

struct roster_reading {
    struct roster *r;
    const struct seal_keys *keys;
    const char *no_keys; /* why there are none */
};

/* What the vote says, with its options open; false: nothing that is to be kept. *why: what keeps it from working. */
static bool roster_understand(const struct roster_reading *reading, const struct vote *v, const char *thing, bool known,
                              struct placed *is, struct err *why)
{
    if (!placed_read(v->value, is, why)) {
        placed_free(is);
        is->core = json_object();
    } else if (is->removed && !known && clock_wall_ms() - is->changed_ms > REMOVED_MS) {
        ballot_forget(reading->r->broker, v);
        return false;
    } else if (!is->removed && !placed_open(is, thing, reading->keys, why) && reading->no_keys[0])
        err_set(why, "%s", reading->no_keys);
    is->version = v->version;
    return true;
}

static void roster_see(void *ctx, const struct vote *v)
{
    const struct roster_reading *reading = ctx;
    struct place *fresh = place_new(v->thing), *p = roster_find(reading->r, fresh->sink, fresh->name);
    struct placed is = { 0 };
    struct err why = { "" };
    bool same = p && p->is.version == v->version && strcmp(p->word, v->word) == 0 && (p->is.own || p->is.removed);
    if (!same && roster_understand(reading, v, fresh->thing, p != NULL, &is, &why)) {
        roster_set(reading->r, &p, v, &is);
        roster_say(reading->r, p, why.text);
    }
    place_free(fresh);
}

bool roster_read(struct roster *r, struct err *e)
{
    struct err why;
    struct seal_keys *keys = roster_keys(r, &why);
    struct roster_reading reading = { r, keys, why.text };
    bool fine = ballot_read(r->broker, roster_see, &reading, e);
    seal_free(keys);
    return fine;
}

/* ---- to the sinks ---- */

static void roster_release(void *made)
{
    made_free(made);
}

/* What the sink is to have of it: an endpoint, or, with p->held, one that stands for it. */
static struct made *roster_make(struct roster *r, struct place *p, const struct sink_config *s)
{
    struct problems problems = { 0 };
    struct made *made = p->is.own ? revise_make(s, p->name, &p->is, &problems) : NULL;
    if (!made && problems.count)
        roster_say(r, p, problems.at[0].text);
    else if (made)
        roster_say(r, p, "");
    problems_free(&problems);
    roster_mark(r, &p->held, !made);
    return made ? made : made_held(s, p->name, p->is.core);
}

static bool roster_give(const struct served *to, const struct place *p, const struct endpoint_order *o, bool begins,
                        struct timespec until, struct err *e)
{
    if (begins)
        return delivery_begin_endpoint(to->d, o, e);
    return p->applied ? delivery_change_endpoint(to->d, o, until, e) : delivery_add_endpoint(to->d, o, until, e);
}

/* Gives the sink the endpoint; when it cannot be opened, one that is held. `begins`: the sink's thread does not run. */
static bool roster_hand_over(struct roster *r, struct place *p, const struct served *to, bool begins,
                             struct timespec until, struct err *e)
{
    for (int turn = 0; turn < 2; turn++) {
        struct made *made = turn == 0 ? roster_make(r, p, to->s) : made_held(to->s, p->name, p->is.core);
        roster_mark(r, &p->held, p->held || turn > 0);
        if (p->held && !delivery_takes_order(to->s))
            made->config.order = ORDER_NONE;
        struct endpoint_order o = { .config = &made->config, .held = p->held, .release = roster_release, .ctx = made };
        if (roster_give(to, p, &o, begins, until, e))
            return true;
        made_free(made);
        roster_say(r, p, e->text);
        if (p->held)
            return false;
    }
    return false;
}

/* The sink has the right options: only whether it is paused changes. */
static bool roster_pause(const struct place *p, const struct served *to, struct timespec until, struct err *e)
{
    struct str name = str_of(p->name);
    return p->is.paused ? delivery_pause(to->d, name, until, e) : delivery_resume(to->d, name, until, e);
}

/* Of those without a line of their own; what follows is told anew. */
static void roster_log_alike(struct roster *r)
{
    if (r->alike)
        LOG(WARN, "more endpoints are held for the same reason", LOG_INT("endpoints", (int64_t)r->alike),
            LOG_C("reason", r->told));
    r->alike = 0;
    r->told[0] = '\0';
}

/* Many can be held for one reason, such as a key that is not there: one line is about the first, one about the rest. */
static void roster_log(struct roster *r, const struct place *p, bool fine, const char *reason)
{
    bool held = fine && p->why[0];
    if (held && strcmp(p->why, r->told) == 0)
        r->alike++;
    else if (held) {
        roster_log_alike(r);
        snprintf(r->told, sizeof r->told, "%s", p->why);
        LOG(WARN, "an endpoint is held: what is for it waits", LOG_C("sink", p->sink), LOG_C("endpoint", p->name),
            LOG_C("reason", p->why));
    }
    if (!fine)
        LOG(WARN, "an endpoint could not be brought to its sink; trying again", LOG_C("sink", p->sink),
            LOG_C("endpoint", p->name), LOG_C("reason", reason));
}

static bool roster_do_apply(struct roster *r, struct place *p, const struct served *to, bool begins, struct err *e)
{
    struct timespec until = thread_until((struct duration){ ROSTER_SINK_MS });
    bool wanted = !p->is.removed && !p->ceded, fine = true;
    if (!wanted && p->applied)
        fine = p->ceded || delivery_remove_endpoint(to->d, str_of(p->name), until, e);
    else if (wanted && p->applied && !p->anew && !p->held)
        fine = p->is.paused == p->paused || roster_pause(p, to, until, e);
    else if (wanted)
        fine = roster_hand_over(r, p, to, begins, until, e);
    if (fine) {
        roster_mark(r, &p->applied, wanted);
        p->paused = p->is.paused;
        p->anew = false;
    }
    return fine;
}

static bool roster_bring(struct roster *r, struct place *p, bool begins)
{
    struct err e = { "" };
    const struct served *to = roster_served(r, p->sink);
    p->due = to != NULL;
    if (!to)
        return true;
    if (!begins && !roster_runs(r, to))
        return false; /* with the next round */
    bool ceded = roster_is_ours(to->s, p->name);
    if (ceded && !p->ceded && !p->is.removed) {
        roster_say(
            r, p, "the configuration has an endpoint of that name, which wins: rename one of them, or remove this one");
        LOG(WARN, "an endpoint that was made at run time does nothing: the configuration has one of that name",
            LOG_C("sink", p->sink), LOG_C("endpoint", p->name));
    }
    p->anew = p->anew || p->ceded != ceded;
    roster_mark(r, &p->ceded, ceded);
    bool fine = roster_do_apply(r, p, to, begins, &e);
    if (!ceded)
        roster_log(r, p, fine, e.text);
    p->due = !fine;
    return fine;
}

bool roster_apply(struct roster *r, struct place *p)
{
    return roster_bring(r, p, false);
}

/* ---- its thread ---- */

/* Has somebody changed an endpoint? */
static void roster_poll(struct roster *r, bool *failing)
{
    struct record *records[ROSTER_POLL];
    struct err e = { "" };
    for (int n; r->follow && (n = consumer_poll(r->follow, records, ROSTER_POLL, &e)) != 0;) {
        if (n < 0) {
            if (!*failing)
                LOG(WARN, "what other daemons change of endpoints is not heard now; trying again",
                    LOG_C("reason", e.text));
            *failing = true;
            atomic_store(&r->doubt, true);
            return;
        }
        for (int i = 0; i < n; i++) {
            if (ballot_is_about(records[i]))
                atomic_store(&r->doubt, true);
            record_free(records[i]);
        }
        *failing = false;
    }
}

/* One turn: what is in doubt is read, what is due goes to the sinks. When to look again, in ms. */
static int roster_turn(struct roster *r, bool *failing, int64_t *held_ms)
{
    struct err e = { "" };
    int wait = -1;
    int64_t now = clock_mono_ms();
    if (!roster_take_turn(r))
        return 0;
    roster_poll(r, failing);
    if (now >= *held_ms || atomic_exchange(&r->doubt, false)) {
        *held_ms = INT64_MAX;
        if (!roster_read(r, &e)) {
            LOG(WARN, "the endpoints of the state cannot be read; trying again", LOG_C("reason", e.text));
            atomic_store(&r->doubt, true);
            wait = ROSTER_AGAIN_MS;
        }
    }
    for (size_t i = 0; i < r->count; i++) {
        struct place *p = r->places[i];
        if (p->due && !roster_apply(r, p)) {
            wait = ROSTER_AGAIN_MS;
            if (roster_is_wanted(r)) /* a reload does not wait for one after the other */
                break;
        }
        if (!p->is.removed && !p->is.own && *held_ms == INT64_MAX) /* the key may come back */
            *held_ms = now + HELD_MS;
    }
    roster_log_alike(r);
    roster_give_turn(r);
    return wait;
}

static void *roster_run(void *arg)
{
    struct roster *r = arg;
    int64_t held_ms = INT64_MAX;
    bool failing = false, ended = false;
    while (!ended) {
        wake_clear(r->wake_fd);
        int wait = roster_turn(r, &failing, &held_ms);
        if (wait < 0)
            wait = r->shared || held_ms != INT64_MAX ? ROSTER_AGAIN_MS : IDLE_MS;
        poll(&(struct pollfd){ .fd = r->wake_fd, .events = POLLIN }, 1, wait);
        pthread_mutex_lock(&r->lock);
        ended = r->ended;
        pthread_mutex_unlock(&r->lock);
    }
    return NULL;
}

/* ---- life ---- */

struct roster *roster_new(const struct config *config, struct broker *broker)
{
    struct roster *r = mem_alloc(sizeof *r);
    r->config = config;
    r->broker = broker;
    r->shared = broker_facts(&config->broker).is_shared;
    r->wake_fd = wake_new();
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    return r;
}

/* From before the state is read for the first time, so that nothing is missed. */
static bool roster_follow(struct roster *r, struct err *e)
{
    char *topic = topic_name(r->config->broker.prefix, TOPIC_STATE, NULL);
    if (r->shared && !r->follow)
        r->follow = consumer_open(r->broker,
                                  &(struct consumer_options){ .topics = (const char *const[]){ topic },
                                                              .topic_count = 1,
                                                              .wake_fd = r->wake_fd },
                                  e);
    free(topic);
    return !r->shared || r->follow;
}

/* With the turn. */
static bool roster_open(struct roster *r, struct err *e)
{
    r->open = r->open || (roster_follow(r, e) && roster_read(r, e));
    return r->open || err_prefix(e, "endpoints made at run time");
}

static void roster_serve(struct roster *r, const struct sink_config *s, struct delivery *d)
{
    pthread_mutex_lock(&r->lock);
    r->served = mem_grow(r->served, r->served_count + 1, sizeof *r->served);
    r->served[r->served_count++] = (struct served){ .s = s, .d = d };
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->places[i]->sink, s->sink->id) == 0) {
            r->places[i]->anew = true;
            roster_bring(r, r->places[i], true);
        }
    roster_log_alike(r);
}

bool roster_begin(struct roster *r, const struct sink_config *s, struct delivery *d, struct err *e)
{
    if (!roster_take_turn(r))
        return true; /* the bridge stops */
    bool fine = roster_open(r, e);
    if (fine)
        roster_serve(r, s, d);
    roster_give_turn(r);
    return fine;
}

void roster_forget(struct roster *r)
{
    pthread_mutex_lock(&r->lock);
    r->served_count = 0;
    for (size_t i = 0; i < r->count; i++)
        r->places[i]->applied = false;
    pthread_mutex_unlock(&r->lock);
    r->open = false;
}

void roster_leave(struct roster *r, const struct delivery *d)
{
    if (!roster_take_turn(r))
        return;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->served_count; i++) {
        if (r->served[i].d != d)
            continue;
        for (size_t k = 0; k < r->count; k++)
            if (strcmp(r->places[k]->sink, r->served[i].s->sink->id) == 0)
                r->places[k]->applied = false;
        r->served[i--] = r->served[--r->served_count];
    }
    pthread_mutex_unlock(&r->lock);
    roster_give_turn(r);
}

void roster_refit(struct roster *r, const struct sink_config *s, struct delivery *d)
{
    if (!roster_take_turn(r))
        return;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->served_count; i++)
        if (r->served[i].d == d)
            r->served[i].s = s;
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->places[i]->sink, s->sink->id) == 0) {
            r->places[i]->anew = true;
            r->places[i]->due = true;
        }
    roster_give_turn(r);
    wake_up(r->wake_fd);
}

bool roster_has(struct roster *r, const char *sink, const char *name)
{
    bool has = false;
    pthread_mutex_lock(&r->lock);
    const struct place *p = roster_find(r, sink, name);
    has = p && p->applied;
    pthread_mutex_unlock(&r->lock);
    return has;
}

bool roster_uses(struct roster *r, const struct config *c)
{
    bool uses = false;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->served_count; i++)
        for (size_t k = 0; k < c->sink_count; k++)
            uses = uses || r->served[i].s == &c->sinks[k];
    pthread_mutex_unlock(&r->lock);
    return uses;
}

void roster_start(struct roster *r)
{
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->served_count; i++)
        r->served[i].runs = true;
    pthread_mutex_unlock(&r->lock);
    wake_up(r->wake_fd);
    if (r->runs)
        return;
    CHECK(pthread_create(&r->thread, NULL, roster_run, r) == 0);
    r->runs = true;
}

void roster_stop(struct roster *r)
{
    if (!r)
        return;
    atomic_store(&r->stop, true);
    pthread_mutex_lock(&r->lock);
    r->ended = true;
    pthread_cond_broadcast(&r->changed);
    while (r->busy || r->tests)
        pthread_cond_wait(&r->changed, &r->lock);
    pthread_mutex_unlock(&r->lock);
    wake_up(r->wake_fd);
    if (r->runs)
        pthread_join(r->thread, NULL);
    r->runs = false;
    if (r->follow)
        consumer_close(r->follow);
    r->follow = NULL;
}

void roster_free(struct roster *r)
{
    if (!r)
        return;
    roster_stop(r);
    for (size_t i = 0; i < r->count; i++)
        place_free(r->places[i]);
    free(r->places);
    free(r->served);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->changed);
    close(r->wake_fd);
    free(r);
}
