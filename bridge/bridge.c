/* SPDX-License-Identifier: MIT */
/* The supervisor: the order of start and of stop. */
#include "bridge/bridge.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bridge/admin/admin.h"
#include "bridge/delivery/attempts.h"
#include "bridge/delivery/delivery.h"
#include "bridge/delivery/ladder.h"
#include "bridge/delivery/register.h"
#include "bridge/delivery/waiter.h"
#include "bridge/dry.h"
#include "bridge/intake/account.h"
#include "bridge/intake/intake.h"
#include "bridge/lib/descriptors.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/thread.h"
#include "bridge/lib/watch.h"
#include "bridge/signals.h"
#include "bridge/worker.h"
#include "bridge/event/trail.h"

enum {
    ACCOUNT_MS = 500,        /* how long the sinks have to give their accounts */
    START_AGAIN_MS = 2000,   /* between attempts to reach a broker that does not answer yet */
    LOOK_MS = 500,           /* how often main looks at the broker's health */
    WORKER_DESCRIPTORS = 16, /* files and wake-ups of one source or sink, or of the waiter; connections come on top */
};

struct bridge {
    const struct config *config;
    struct broker *broker;
    struct router *router;
    struct admin *admin;
    struct workers workers; /* sinks first, then the waiter, then sources */
    struct fresh *fresh;    /* of each sink, endpoint and source */
    size_t fresh_count;
    int signal_fd;
    bool started;
    bool declaring;                                /* topics are only named, not waited for */
    char not_ready[sizeof((struct err *)0)->text]; /* why the start is not through; main thread only */
};

/* ---- start ---- */

static bool bridge_ask_for(struct bridge *b, const struct topic_config *topic, struct err *e)
{
    if (!b->declaring)
        return broker_topic(b->broker, topic, e);
    broker_declare(b->broker, topic);
    return true;
}

/* A topic that nobody listed; `group` NULL: no consumer group decides what may go. The bridge's own keep what they hold
 * for ever, or until their group has finished it. */
static bool bridge_topic(void *ctx, const char *name, const char *group, struct err *e)
{
    struct bridge *b = ctx;
    bool own = str_starts(str_of(name), str_of(b->config->broker.prefix));
    return bridge_ask_for(b,
                          &(struct topic_config){ .name = (char *)(uintptr_t)name,
                                                  .partitions = own ? 1 : 0,
                                                  .retention = { own ? 0 : RETENTION_UNSAID },
                                                  .consumed_by = group },
                          e);
}

static bool bridge_lists_topic(const struct config *c, const char *name)
{
    const struct topic_config *topics = c->topics.at;
    for (size_t i = 0; i < c->topics.count; i++)
        if (strcmp(topics[i].name, name) == 0)
            return true;
    return false;
}

/* A blocked log: with as many partitions as its topic has. */
static bool bridge_blocked_topic(void *ctx, const char *name, const char *like, const char *group, struct err *e)
{
    struct bridge *b = ctx;
    int32_t partitions = broker_partitions(b->broker, like);
    return bridge_ask_for(b,
                          &(struct topic_config){ .name = (char *)(uintptr_t)name,
                                                  .partitions = partitions ? partitions : 1,
                                                  .consumed_by = group,
                                                  .like = like },
                          e);
}

/* Asks for every topic: listed, named by a route, or the bridge's own. */
static bool bridge_each_topic(struct bridge *b, struct err *e)
{
    const struct config *c = b->config;
    const struct topic_config *topics = c->topics.at;
    const struct route_config *routes = c->routes.at;
    for (size_t i = 0; i < c->topics.count; i++)
        if (!bridge_ask_for(b, &topics[i], e))
            return false;
    for (size_t i = 0; i < c->routes.count; i++)
        if (!bridge_lists_topic(c, routes[i].topic) && !bridge_topic(b, routes[i].topic, NULL, e))
            return false;
    char *dead_letters = topic_name(c->broker.prefix, TOPIC_DEAD_LETTER, NULL);
    bool opened = bridge_topic(b, dead_letters, NULL, e);
    free(dead_letters);
    if (!opened)
        return false;
    bool waits = false;
    for (size_t i = 0; i < c->sink_count; i++) {
        waits = waits || delivery_waits(&c->sinks[i]);
        if (!delivery_topics(&c->sinks[i], &c->broker, bridge_topic, b, e))
            return false;
    }
    return !waits || ladder_topics(&c->broker, bridge_topic, b, e);
}

/* Asks for every blocked log, once the topics that they are like exist. */
static bool bridge_each_blocked(struct bridge *b, struct err *e)
{
    const struct config *c = b->config;
    for (size_t i = 0; i < c->sink_count; i++)
        if (!blocked_topics(&c->sinks[i], &c->broker, bridge_blocked_topic, b, e))
            return false;
    return true;
}

/* Declares all of them first, so that the broker can make them together. */
static bool bridge_together(struct bridge *b, bool (*each)(struct bridge *, struct err *), struct err *e)
{
    b->declaring = true;
    bool declared = each(b, e);
    b->declaring = false;
    return declared && each(b, e);
}

/* Makes sure that every topic exists. */
static bool bridge_open_topics(struct bridge *b, struct err *e)
{
    return bridge_together(b, bridge_each_topic, e) && attempts_topic(b->config, b->broker, e)
           && bridge_together(b, bridge_each_blocked, e);
}

/* A connector's struct as the configuration filled it. */
struct fresh {
    void *at, *copy;
    size_t n;
};

static void bridge_keep_fresh(struct bridge *b, void *at, size_t n)
{
    b->fresh = mem_grow(b->fresh, b->fresh_count + 1, sizeof *b->fresh);
    b->fresh[b->fresh_count++] = (struct fresh){ at, memcpy(mem_alloc(n), at, n), n };
}

static void bridge_keep_sink_fresh(struct bridge *b, const struct sink_config *c)
{
    const struct sink_ops *ops = c->sink->ops;
    bridge_keep_fresh(b, c->sink, ops->size);
    if (c->sink->endpoint)
        bridge_keep_fresh(b, c->sink->endpoint, ops->endpoints->size);
    for (size_t i = 0; i < c->endpoint_count; i++)
        bridge_keep_fresh(b, c->endpoints[i].endpoint, ops->endpoints->size);
}

/* A connector is opened with nothing but its options in its struct: undoes what an earlier attempt to start left there. */
static void bridge_fresh_connectors(struct bridge *b)
{
    const struct config *c = b->config;
    for (size_t i = 0; i < b->fresh_count; i++)
        memcpy(b->fresh[i].at, b->fresh[i].copy, b->fresh[i].n);
    if (b->fresh_count)
        return;
    for (size_t i = 0; i < c->sink_count; i++)
        bridge_keep_sink_fresh(b, &c->sinks[i]);
    for (size_t i = 0; i < c->source_count; i++)
        bridge_keep_fresh(b, c->sources[i].source, c->sources[i].source->ops->size);
}

/* Opens every sink, and the waiter of those whose events can wait; without any it only looks around. */
static bool bridge_open_sinks(struct bridge *b, struct err *e)
{
    const struct config *c = b->config;
    struct waiter *waiter = waiter_new(&c->broker, b->broker);
    bool opened = true;
    for (size_t i = 0; i < c->sink_count && opened; i++) {
        struct delivery *d = delivery_new(&c->sinks[i], &c->broker, b->broker, e);
        opened = d != NULL;
        if (d)
            worker_add(&b->workers, &engine_delivery, d, c->sinks[i].sink->id);
        if (d && delivery_waits(&c->sinks[i]))
            waiter_serve(waiter, &c->sinks[i], d);
    }
    worker_add(&b->workers, &engine_waiter, waiter, "waiter");
    waiter_look_around(waiter, c);
    return opened && (waiter_serves(waiter) == 0 || waiter_open(waiter, e));
}

/* Opens every sink and every source; no thread runs yet. */
static bool bridge_open_engines(struct bridge *b, struct err *e)
{
    const struct config *c = b->config;
    bridge_fresh_connectors(b);
    if (!bridge_open_sinks(b, e))
        return false;
    for (size_t i = 0; i < c->source_count; i++) {
        struct intake *in = intake_new(&c->sources[i], c, b->broker, b->router, e);
        for (int64_t n = 1; in; n++) {
            worker_add(&b->workers, &engine_intake, in, c->sources[i].source->id);
            if (n >= c->sources[i].threads)
                break;
            in = intake_copy(in, e);
        }
        if (!in)
            return false;
    }
    return true;
}

/* One attempt to start everything. */
static bool bridge_start(struct bridge *b, struct err *e)
{
    if (!bridge_open_topics(b, e) || !bridge_open_engines(b, e))
        return false;
    broker_gather(b->broker);
    if (!workers_start(&b->workers, e))
        return false;
    broker_retain(b->broker);
    b->started = true;
    b->not_ready[0] = '\0';
    LOG(INFO, "running", LOG_INT("sources", b->config->source_count), LOG_INT("sinks", b->config->sink_count),
        LOG_C("broker", broker_facts(&b->config->broker).type));
    return true;
}

/* ---- stop ---- */

static void bridge_free_fresh(struct bridge *b)
{
    for (size_t i = 0; i < b->fresh_count; i++)
        free(b->fresh[i].copy);
    free(b->fresh);
}

/* Stops sources, then sinks, then the broker's queue, all within the deadline. */
static void bridge_stop(struct bridge *b)
{
    pthread_t second;
    bool watched = signals_watch(b->signal_fd, &second);
    int64_t end = clock_mono_ms() + b->config->drain.ms;
    workers_stop(&b->workers, &engine_intake, end);
    workers_stop(&b->workers, &engine_delivery, end);
    workers_stop(&b->workers, &engine_waiter, end);
    if (b->broker) {
        int64_t left = end - clock_mono_ms();
        broker_flush(b->broker, (struct duration){ left > 0 ? left : 0 });
    }
    workers_close(&b->workers);
    if (watched)
        signals_unwatch(second);
}

/* ---- main thread ---- */

struct readiness {
    struct err *why;
    bool is;
};

static void bridge_source_ready(void *ctx, void *engine)
{
    struct readiness *r = ctx;
    r->is = r->is && intake_ready(engine, r->why);
}

/* Does every source see what it is to watch? */
static bool bridge_sources_ready(const struct bridge *b, struct err *why)
{
    struct readiness r = { why, true };
    workers_each(&b->workers, &engine_intake, bridge_source_ready, &r);
    return r.is;
}

/* Can every sink serve? */
static bool bridge_sinks_ready(const struct config *c, struct err *why)
{
    for (size_t i = 0; i < c->sink_count; i++) {
        const struct sink *s = c->sinks[i].sink;
        if (s->ops->ready && !s->ops->ready(s, why))
            return err_prefix(why, "sink %s", s->id);
    }
    return true;
}

static bool bridge_ready(void *ctx, struct err *why)
{
    struct bridge *b = ctx;
    if (!b->started)
        return err_set(why, "%s", b->not_ready);
    return descriptors_ready(why) && broker_ready(b->broker, why) && bridge_sources_ready(b, why)
           && bridge_sinks_ready(b->config, why);
}

/* ---- the account ---- */

struct accounts {
    const struct account_question *question;
    struct timespec until;
    struct buf *out;
    bool any;
};

static void bridge_ask_account(void *ctx, void *engine)
{
    const struct accounts *a = ctx;
    account_ask(engine, a->question);
}

static void bridge_take_account(void *ctx, void *engine)
{
    struct accounts *a = ctx;
    char *text = account_take(engine, a->until);
    if (text)
        buf_printf(a->out, "%s%s", a->any ? "," : "", text);
    a->any = a->any || text;
    free(text);
}

/* Main thread: the sinks' threads give their accounts between two of their turns. */
static void bridge_account(void *ctx, const struct account_question *question, struct buf *out)
{
    struct bridge *b = ctx;
    struct err why = { "" };
    char at[CLOCK_TEXT];
    bool ready = bridge_ready(b, &why);
    struct accounts a = { .question = question, .until = thread_until((struct duration){ ACCOUNT_MS }), .out = out };
    clock_text(clock_wall_ms(), at);
    buf_printf(out, "{\"from\":\"daemon\",\"at\":\"%s\",\"broker\":\"%s\",\"ready\":%s,\"not_ready\":", at,
               broker_facts(&b->config->broker).type, ready ? "true" : "false");
    if (ready)
        buf_add_c(out, "null");
    else
        jscan_add_string(out, str_of(why.text));
    buf_add_c(out, ",\"sources\":[");
    for (size_t i = 0; i < b->config->source_count; i++) {
        buf_add_c(out, i ? "," : "");
        intake_account(b->config->sources[i].source, b->started, out);
    }
    buf_add_c(out, "],\"sinks\":[");
    if (b->started) {
        workers_each(&b->workers, &engine_delivery, bridge_ask_account, &a);
        workers_each(&b->workers, &engine_delivery, bridge_take_account, &a);
    }
    buf_add_c(out, "],\"unserved\":");
    if (b->started)
        register_write(out);
    else
        buf_add_c(out, "null");
    buf_add_c(out, "}\n");
}

static void bridge_take_counters(void *ctx, void *engine)
{
    const struct accounts *a = ctx;
    free(account_take(engine, a->until));
}

/* Main thread: each sink's thread keeps its counters for the page between two of its turns. Of one that is busy for longer
 * the page shows those that it kept for the page before. */
static void bridge_gather(void *ctx)
{
    struct bridge *b = ctx;
    const struct account_question question = { .counters = true };
    struct accounts a = { .question = &question, .until = thread_until((struct duration){ ACCOUNT_MS }) };
    if (!b->started)
        return;
    workers_each(&b->workers, &engine_delivery, bridge_ask_account, &a);
    workers_each(&b->workers, &engine_delivery, bridge_take_counters, &a);
}

/* While a broker that may be away does not answer, the start is tried again; everything else that fails is for a
 * person to mend. */
static bool bridge_start_or_wait(struct bridge *b, int64_t *again_ms)
{
    struct err e = { "" };
    if (clock_mono_ms() < *again_ms)
        return true;
    if (bridge_start(b, &e))
        return true;
    snprintf(b->not_ready, sizeof b->not_ready, "%s", e.text);
    LOG(ERROR, "cannot start", LOG_C("reason", e.text));
    if (workers_run(&b->workers))
        return false;
    workers_close(&b->workers);
    workers_free(&b->workers);
    struct err why;
    if (!broker_facts(&b->config->broker).may_be_away || broker_ready(b->broker, &why))
        return false;
    *again_ms = clock_mono_ms() + START_AGAIN_MS;
    return true;
}

/* Starts, and serves the admin listeners until a signal or a failed broker; returns the exit code. */
static int bridge_run(struct bridge *b)
{
    int64_t again_ms = 0;
    for (;;) {
        if (!b->started && !bridge_start_or_wait(b, &again_ms))
            return 1;
        admin_run(b->admin, b->signal_fd, LOOK_MS);
        int sig = signals_take();
        if (sig == SIGHUP) {
            LOG(INFO, "certificates and secrets are read again", LOG_INT("signal", sig));
            watch_ask();
        } else if (sig) {
            LOG(INFO, "stopping", LOG_INT("signal", sig), LOG_INT("drain_ms", b->config->drain.ms));
            return 0;
        }
        struct err why = { "" };
        if (workers_failed(&b->workers, &why)) {
            LOG(ERROR, "cannot start", LOG_C("reason", why.text));
            return 1;
        }
        if (broker_failed(b->broker)) {
            broker_ready(b->broker, &why);
            LOG(ERROR, "the broker failed for good: nothing more is acknowledged; start again when it is mended",
                LOG_C("reason", why.text));
            return 1;
        }
    }
}

/* Workers that it has: of sources, of sinks, and the waiter. */
static int64_t bridge_threads(const struct config *c)
{
    int64_t n = (int64_t)c->sink_count + 1;
    for (size_t i = 0; i < c->source_count; i++)
        n += c->sources[i].threads;
    return n;
}

static int bridge_main_as(const struct config *config, bool dry)
{
    struct bridge b = { .config = config, .not_ready = "starting" };
    struct err e = { "" };
    int code = 1;
    descriptors_raise();
    descriptors_reserve(bridge_threads(config) * WORKER_DESCRIPTORS);
    b.signal_fd = signals_open();
    b.broker = dry ? dry_open(config) : broker_open(&config->broker, &e);
    if (b.broker)
        b.admin = admin_new(config, b.broker,
                            &(struct admin_questions){ bridge_ready, bridge_account, bridge_gather, &b }, &e);
    if (b.admin) {
        b.router = router_new(config);
        code = bridge_run(&b);
        bridge_stop(&b);
    } else
        LOG(ERROR, "cannot start", LOG_C("reason", e.text));
    broker_close(b.broker); /* first: it reports what it has not stored to the engines that published it */
    workers_free(&b.workers);
    bridge_free_fresh(&b);
    admin_free(b.admin);
    router_free(b.router);
    close(b.signal_fd);
    if (code == 0)
        LOG(INFO, "stopped", LOG_INT("code", code));
    return code;
}

int bridge_main(const struct config *config)
{
    return bridge_main_as(config, false);
}

int bridge_dry_run(const struct config *config)
{
    struct config dry = dry_config(config);
    return bridge_main_as(&dry, true);
}
