/* SPDX-License-Identifier: MIT */
/* Hands what is to be changed to the sink's thread, which does it between two turns. */
#include "bridge/delivery/control.h"
#include "bridge/delivery/private.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/thread.h"

enum control_what {
    CONTROL_ADD = 1,
    CONTROL_CHANGE,
    CONTROL_REMOVE,
    CONTROL_PAUSE,
    CONTROL_RESUME,
};

struct control_order {
    enum control_what what;
    struct str name;                       /* absent: the sink as a whole */
    const struct endpoint_order *endpoint; /* CONTROL_ADD, CONTROL_CHANGE */
};

struct control {
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t done;
    const struct control_order *order; /* NULL: nothing is to be done, or it is done */
    bool taken;                        /* a caller has not heard yet: others wait */
    bool ok;
    struct err e;
    atomic_bool asked;
};

struct control *control_new(void)
{
    struct control *c = mem_alloc(sizeof *c);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->done, NULL);
    return c;
}

void control_free(struct control *c)
{
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->done);
    free(c);
}

/* ---- the sink's thread ---- */

static bool control_pause(struct delivery *d, struct destination *to, bool paused, struct err *e)
{
    if (d->s->ops->broadcast)
        return err_set(e, "a %s sink shows what comes and cannot be paused", d->s->ops->type);
    if (!paused && d->many && to->outlet && !to->outlet->endpoint)
        return err_set(e, "it cannot be opened, and gets nothing until it is changed");
    gates_pause(d, to, paused);
    return true;
}

static bool control_do(struct delivery *d, const struct control_order *o, struct err *e)
{
    bool whole = !o->name.at;
    struct destination *to = whole ? &d->self : destinations_find(d, o->name);
    if (!whole && !d->many)
        return err_set(e, "the sink has no endpoints: it is its only receiver itself");
    if (!to && o->what != CONTROL_ADD)
        return err_set(e, "the sink has no such endpoint");
    if (to && o->what == CONTROL_ADD)
        return err_set(e, "the sink has an endpoint of that name");
    switch (o->what) {
    case CONTROL_ADD: return destinations_add(d, o->endpoint, e);
    case CONTROL_CHANGE: return destinations_change(d, to, o->endpoint, e);
    case CONTROL_REMOVE:
        if (whole)
            return err_set(e, "an endpoint needs a name");
        destinations_remove(d, to);
        blocked_orphan_all(d, to);
        return true;
    case CONTROL_PAUSE: return control_pause(d, to, true, e);
    case CONTROL_RESUME: return control_pause(d, to, false, e);
    }
    return false;
}

void control_answer(struct delivery *d)
{
    struct control *c = d->control;
    if (!atomic_load_explicit(&c->asked, memory_order_relaxed))
        return;
    pthread_mutex_lock(&c->lock);
    if (c->order)
        c->ok = control_do(d, c->order, &c->e);
    c->order = NULL;
    atomic_store(&c->asked, false);
    pthread_cond_broadcast(&c->done);
    pthread_mutex_unlock(&c->lock);
}

/* ---- the caller's ---- */

/* With the lock held: gives the order, and waits. */
static bool control_order(struct delivery *d, const struct control_order *o, struct timespec until)
{
    struct control *c = d->control;
    c->taken = true;
    c->order = o;
    c->e = (struct err){ "" };
    atomic_store(&c->asked, true);
    wake_up(d->wake_fd);
    while (c->order && thread_wait(&c->done, &c->lock, until))
        continue;
    bool done = !c->order;
    c->order = NULL;
    c->taken = false;
    pthread_cond_broadcast(&c->done);
    return done;
}

static bool control_run(struct delivery *d, const struct control_order *o, struct timespec until, struct err *e)
{
    struct control *c = d->control;
    pthread_mutex_lock(&c->lock);
    while (c->taken && thread_wait(&c->done, &c->lock, until))
        continue;
    bool done = !c->taken && control_order(d, o, until), ok = done && c->ok;
    if (!done)
        err_set(e, "the sink's thread has no time for it; nothing was changed");
    else if (!ok)
        *e = c->e;
    pthread_mutex_unlock(&c->lock);
    if (!ok && o->name.at)
        err_prefix(e, "endpoints.%.*s", STR_ARG(o->name));
    return ok || err_prefix(e, "sinks.%s", d->s->id);
}

bool delivery_add_endpoint(struct delivery *d, const struct endpoint_order *o, struct timespec until, struct err *e)
{
    return control_run(d, &(struct control_order){ CONTROL_ADD, str_of(o->config->endpoint->name), o }, until, e);
}

bool delivery_begin_endpoint(struct delivery *d, const struct endpoint_order *o, struct err *e)
{
    struct str name = str_of(o->config->endpoint->name);
    return control_do(d, &(struct control_order){ CONTROL_ADD, name, o }, e)
           || err_prefix(e, "sinks.%s: endpoints.%.*s", d->s->id, STR_ARG(name));
}

bool delivery_change_endpoint(struct delivery *d, const struct endpoint_order *o, struct timespec until, struct err *e)
{
    return control_run(d, &(struct control_order){ CONTROL_CHANGE, str_of(o->config->endpoint->name), o }, until, e);
}

bool delivery_remove_endpoint(struct delivery *d, struct str name, struct timespec until, struct err *e)
{
    return control_run(d, &(struct control_order){ CONTROL_REMOVE, name, NULL }, until, e);
}

bool delivery_pause(struct delivery *d, struct str name, struct timespec until, struct err *e)
{
    return control_run(d, &(struct control_order){ CONTROL_PAUSE, name, NULL }, until, e);
}

bool delivery_resume(struct delivery *d, struct str name, struct timespec until, struct err *e)
{
    return control_run(d, &(struct control_order){ CONTROL_RESUME, name, NULL }, until, e);
}
