/* SPDX-License-Identifier: MIT */
/* The supervisor: start order, threads, signals, stop order. */
#include "bridge/bridge.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "bridge/admin/admin.h"
#include "bridge/delivery/delivery.h"
#include "bridge/intake/intake.h"
#include "bridge/lib/descriptors.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/thread.h"
#include "bridge/event/trail.h"

enum {
    START_AGAIN_MS = 2000,   /* between attempts to reach a broker that does not answer yet */
    TURN_MS = 1000,          /* longest wait of a sink's turn */
    LOOK_MS = 500,           /* how often main looks at the broker's health */
    WORKER_DESCRIPTORS = 16, /* files and wake-ups of one source or sink; connections come on top */
    ABANDON_MS = 5000,       /* a thread that was told to abandon its work ends within this */
};

struct worker { /* one thread: a source's or a sink's */
    pthread_t thread;
    bool running;
    struct intake *intake; /* one of the two */
    struct delivery *delivery;
    _Atomic int64_t end_ms; /* of the stop; set before the worker is told */
};

struct bridge {
    const struct config *config;
    struct broker *broker;
    struct router *router;
    struct admin *admin;
    struct worker *workers; /* sinks first, then sources */
    size_t worker_count;
    void **fresh; /* each sink, then each source, as the configuration filled it */
    int signal_fd;
    bool started;
    char not_ready[sizeof((struct err *)0)->text]; /* why the start is not through; main thread only */
};

/* ---- threads ---- */

static void *run_intake(void *ctx)
{
    struct worker *w = ctx;
    while (intake_step(w->intake))
        continue;
    return NULL;
}

static void *run_delivery(void *ctx)
{
    struct worker *w = ctx;
    while (delivery_step(w->delivery, (struct duration){ TURN_MS }))
        continue;
    int64_t left = atomic_load(&w->end_ms) - clock_mono_ms();
    delivery_drain(w->delivery, (struct duration){ left > 0 ? left : 0 });
    return NULL;
}

static bool worker_start(struct worker *w, struct err *e)
{
    int code = pthread_create(&w->thread, NULL, w->intake ? run_intake : run_delivery, w);
    w->running = code == 0;
    return w->running || err_set(e, "cannot start a thread: %s", strerror(code));
}

/* ---- start ---- */

/* A topic that nobody listed; `group` NULL: no consumer group decides what may go. */
static bool plain_topic(void *ctx, const char *name, const char *group, struct err *e)
{
    struct bridge *b = ctx;
    return broker_topic(b->broker,
                        &(struct topic_config){
                            .name = (char *)(uintptr_t)name, .partitions = 1, .consumed_by = group },
                        e);
}

static bool is_listed(const struct config *c, const char *name)
{
    const struct topic_config *topics = c->topics.at;
    for (size_t i = 0; i < c->topics.count; i++)
        if (strcmp(topics[i].name, name) == 0)
            return true;
    return false;
}

static bool topics_open(struct bridge *b, struct err *e)
{
    const struct config *c = b->config;
    const struct topic_config *topics = c->topics.at;
    const struct route_config *routes = c->routes.at;
    for (size_t i = 0; i < c->topics.count; i++)
        if (!broker_topic(b->broker, &topics[i], e))
            return false;
    for (size_t i = 0; i < c->routes.count; i++)
        if (!is_listed(c, routes[i].topic) && !plain_topic(b, routes[i].topic, NULL, e))
            return false;
    char *dead_letters = topic_name(c->broker.prefix, TOPIC_DEAD_LETTER, NULL);
    bool opened = plain_topic(b, dead_letters, NULL, e);
    free(dead_letters);
    if (!opened)
        return false;
    for (size_t i = 0; i < c->sink_count; i++)
        if (!delivery_topics(&c->sinks[i], &c->broker, plain_topic, b, e))
            return false;
    return true;
}

static void *copy_of(const void *at, size_t n)
{
    return memcpy(mem_alloc(n), at, n);
}

/* A connector is opened with nothing but its options in its struct, so what an earlier attempt to start left there
 * goes. */
static void connectors_fresh(struct bridge *b)
{
    const struct config *c = b->config;
    bool first = !b->fresh;
    if (first)
        b->fresh = mem_alloc((c->sink_count + c->source_count + 1) * sizeof *b->fresh);
    for (size_t i = 0; i < c->sink_count + c->source_count; i++) {
        bool is_sink = i < c->sink_count;
        void *at = is_sink ? (void *)c->sinks[i].sink : (void *)c->sources[i - c->sink_count].source;
        size_t n = is_sink ? c->sinks[i].sink->ops->size : c->sources[i - c->sink_count].source->ops->size;
        if (first)
            b->fresh[i] = copy_of(at, n);
        else
            memcpy(at, b->fresh[i], n);
    }
}

static bool workers_open(struct bridge *b, struct err *e)
{
    const struct config *c = b->config;
    connectors_fresh(b);
    b->workers = mem_alloc((c->sink_count + c->source_count + 1) * sizeof *b->workers);
    for (size_t i = 0; i < c->sink_count; i++) {
        struct worker *w = &b->workers[b->worker_count++];
        w->delivery = delivery_new(&c->sinks[i], &c->broker, b->broker, e);
        if (!w->delivery)
            return false;
    }
    for (size_t i = 0; i < c->source_count; i++) {
        struct worker *w = &b->workers[b->worker_count++];
        w->intake = intake_new(&c->sources[i], c, b->broker, b->router, e);
        if (!w->intake)
            return false;
    }
    return true;
}

static bool start(struct bridge *b, struct err *e)
{
    if (!topics_open(b, e) || !workers_open(b, e))
        return false;
    for (size_t i = 0; i < b->worker_count; i++)
        if (!worker_start(&b->workers[i], e))
            return false;
    b->started = true;
    b->not_ready[0] = '\0';
    LOG(INFO, "running", LOG_INT("sources", b->config->source_count), LOG_INT("sinks", b->config->sink_count),
        LOG_C("broker", b->config->broker.type));
    return true;
}

/* ---- stop ---- */

static void worker_stop(struct worker *w, int64_t end_ms)
{
    atomic_store(&w->end_ms, end_ms);
    if (w->intake)
        intake_stop(w->intake);
    else
        delivery_stop(w->delivery);
}

static void worker_abandon(struct worker *w)
{
    if (w->intake)
        intake_abandon(w->intake);
    else
        delivery_abandon(w->delivery);
}

/* Stops the sources or the sinks; all of them share the time until `end`. A thread that does not come back even when
 * told to abandon its work is in a library that hangs: then the process leaves, which loses nothing. */
static void stop_workers(struct bridge *b, bool sources, int64_t end_ms)
{
    for (size_t i = 0; i < b->worker_count; i++)
        if (b->workers[i].running && sources == (b->workers[i].intake != NULL))
            worker_stop(&b->workers[i], end_ms);
    for (size_t i = 0; i < b->worker_count; i++) {
        struct worker *w = &b->workers[i];
        if (!w->running || sources != (w->intake != NULL))
            continue;
        int64_t left = end_ms - clock_mono_ms();
        if (!thread_join(w->thread, (struct duration){ left })) {
            LOG(WARN, "the drain deadline passed; what is left is delivered after the next start",
                LOG_C("part", sources ? "source" : "sink"));
            worker_abandon(w);
            if (!thread_join(w->thread, (struct duration){ ABANDON_MS })) {
                LOG(ERROR, "a thread does not end; leaving", LOG_C("part", sources ? "source" : "sink"));
                _exit(1);
            }
        }
        w->running = false;
    }
}

static void workers_close(struct bridge *b)
{
    for (size_t i = b->worker_count; i-- > 0;) {
        intake_close(b->workers[i].intake);
        delivery_close(b->workers[i].delivery);
    }
}

/* After the broker is closed, which reports what was abandoned; or when no thread ever ran, so that nothing was
 * published. */
static void workers_free(struct bridge *b)
{
    for (size_t i = b->worker_count; i-- > 0;) {
        intake_free(b->workers[i].intake);
        delivery_free(b->workers[i].delivery);
    }
    free(b->workers);
    b->workers = NULL;
    b->worker_count = 0;
}

static void fresh_free(struct bridge *b)
{
    for (size_t i = 0; b->fresh && i < b->config->sink_count + b->config->source_count; i++)
        free(b->fresh[i]);
    free(b->fresh);
}

static void *leave_on_second_signal(void *ctx)
{
    const struct bridge *b = ctx;
    struct signalfd_siginfo info;
    if (read(b->signal_fd, &info, sizeof info) > 0) {
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL); /* not in the middle of the log, which has a lock */
        LOG(WARN, "second signal: leaving at once", LOG_INT("signal", info.ssi_signo));
        _exit(1);
    }
    return NULL;
}

static void stop(struct bridge *b)
{
    pthread_t second;
    bool watched = pthread_create(&second, NULL, leave_on_second_signal, b) == 0;
    int64_t end = clock_mono_ms() + b->config->drain.ms;
    stop_workers(b, true, end);
    stop_workers(b, false, end);
    if (b->broker) {
        int64_t left = end - clock_mono_ms();
        broker_flush(b->broker, (struct duration){ left > 0 ? left : 0 });
    }
    workers_close(b);
    if (watched) {
        pthread_cancel(second);
        pthread_join(second, NULL);
    }
}

/* ---- main thread ---- */

static bool is_ready(void *ctx, struct err *why)
{
    struct bridge *b = ctx;
    if (!b->started)
        return err_set(why, "%s", b->not_ready);
    return descriptors_ready(why) && broker_ready(b->broker, why);
}

static sigset_t stop_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return set;
}

static int signals_open(void)
{
    sigset_t set = stop_signals();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Reads a pending signal; 0 when there is none. */
static int signal_take(void)
{
    sigset_t set = stop_signals();
    int n = sigtimedwait(&set, NULL, &(struct timespec){ 0 });
    return n > 0 ? n : 0;
}

/* While a broker that may be away does not answer, the start is tried again; everything else that fails is for a
 * person to mend. */
static bool start_or_wait(struct bridge *b, int64_t *again_ms)
{
    struct err e = { "" };
    if (clock_mono_ms() < *again_ms)
        return true;
    if (start(b, &e))
        return true;
    snprintf(b->not_ready, sizeof b->not_ready, "%s", e.text);
    LOG(ERROR, "cannot start", LOG_C("reason", e.text));
    for (size_t i = 0; i < b->worker_count; i++)
        if (b->workers[i].running)
            return false;
    workers_free(b);
    struct err why;
    if (!broker_facts(&b->config->broker).may_be_away || broker_ready(b->broker, &why))
        return false;
    *again_ms = clock_mono_ms() + START_AGAIN_MS;
    return true;
}

static int run(struct bridge *b)
{
    int64_t again_ms = 0;
    for (;;) {
        if (!b->started && !start_or_wait(b, &again_ms))
            return 1;
        admin_run(b->admin, b->signal_fd, LOOK_MS);
        int sig = signal_take();
        if (sig) {
            LOG(INFO, "stopping", LOG_INT("signal", sig), LOG_INT("drain_ms", b->config->drain.ms));
            return 0;
        }
        if (broker_failed(b->broker)) {
            struct err why = { "" };
            broker_ready(b->broker, &why);
            LOG(ERROR, "the broker failed for good: nothing more is acknowledged; start again when it is mended",
                LOG_C("reason", why.text));
            return 1;
        }
    }
}

int bridge_main(const struct config *config)
{
    struct bridge b = { .config = config, .not_ready = "starting" };
    struct err e = { "" };
    int code = 1;
    descriptors_raise();
    descriptors_reserve((int64_t)(config->sink_count + config->source_count) * WORKER_DESCRIPTORS);
    b.signal_fd = signals_open();
    b.broker = broker_open(&config->broker, &e);
    if (b.broker)
        b.admin = admin_new(config, b.broker, is_ready, &b, &e);
    if (b.admin) {
        b.router = router_new(config);
        code = run(&b);
        stop(&b);
    } else
        LOG(ERROR, "cannot start", LOG_C("reason", e.text));
    broker_close(b.broker); /* first: it has its say to whoever published */
    workers_free(&b);
    fresh_free(&b);
    admin_free(b.admin);
    router_free(b.router);
    close(b.signal_fd);
    if (code == 0)
        LOG(INFO, "stopped", LOG_INT("code", code));
    return code;
}
