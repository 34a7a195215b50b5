/* SPDX-License-Identifier: MIT */
/* The supervisor: the order of start and of stop. */
#include "bridge/bridge.h"
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include "bridge/admin/admin.h"
#include "bridge/admin/traces.h"
#include "bridge/answers.h"
#include "bridge/delivery/roster.h"
#include "bridge/dry.h"
#include "bridge/lib/descriptors.h"
#include "bridge/lib/log.h"
#include "bridge/lib/notify.h"
#include "bridge/lib/watch.h"
#include "bridge/reload.h"
#include "bridge/signals.h"
#include "bridge/topics.h"
#include "bridge/version.h"

enum {
    START_AGAIN_MS = 2000, /* between attempts to reach a broker that does not answer yet */
    START_SAY_MS = 60000,  /* a cause that lasts is logged again after this */
    LOOK_MS = 500,         /* how often main looks at the broker's health */
};

struct bridge {
    const struct config *config; /* with which it began */
    struct broker *broker;
    struct routing *routing;
    struct admin *admin;
    struct traces *traces;
    struct engines engines;
    struct answers answers;
    struct reload reload;
    struct watch watch; /* reload: on_change: the files */
    int signal_fd;
};

/* ---- start and stop ---- */

/* One attempt to start everything. */
static bool bridge_start(struct bridge *b, struct err *e)
{
    version_restore(b->reload.versions, NULL);
    if (!topics_open(b->config, b->broker, e) || !broker_is_settled(b->broker, e)
        || !engines_open(&b->engines, b->config, b->routing, e))
        return false;
    broker_gather(b->broker);
    if (!engines_start(&b->engines, e))
        return false;
    broker_retain(b->broker);
    b->answers.started = true;
    b->answers.not_ready[0] = '\0';
    LOG(INFO, "running", LOG_INT("sources", b->config->source_count), LOG_INT("sinks", b->config->sink_count),
        LOG_C("broker", broker_facts(&b->config->broker).type));
    notify_say("READY=1\nSTATUS=running");
    return true;
}

/* Stops sources, then sinks, then the broker's queue, all within the deadline. */
static void bridge_stop(struct bridge *b)
{
    pthread_t second;
    bool watched = signals_watch(b->signal_fd, &second);
    int64_t end = clock_mono_ms() + b->answers.config->drain.ms;
    engines_stop(&b->engines, end);
    if (b->broker) {
        int64_t left = end - clock_mono_ms();
        broker_flush(b->broker, (struct duration){ left > 0 ? left : 0 });
    }
    engines_close(&b->engines);
    if (watched)
        signals_unwatch(second);
}

/* ---- main thread ---- */

/* To the service manager: one line. */
static void bridge_say_status(const char *text)
{
    char line[sizeof((struct err *)0)->text + 16];
    int n = snprintf(line, sizeof line, "STATUS=%s", text);
    for (int i = 0; i < n && line[i]; i++)
        line[i] = line[i] == '\n' ? ' ' : line[i];
    notify_say(line);
}

struct bridge_attempts { /* of the start; clock_mono_ms */
    int64_t again_ms;    /* not before */
    int64_t said_ms;     /* why it failed was logged; 0: never */
};

/* Says why it does not start; while it waits once, again when that is another cause, and once a minute. */
static void bridge_say_unstarted(struct bridge *b, struct bridge_attempts *attempts, const char *why, bool waits)
{
    int64_t now = clock_mono_ms();
    bool is_known = waits && attempts->said_ms && strcmp(b->answers.not_ready, why) == 0;
    snprintf(b->answers.not_ready, sizeof b->answers.not_ready, "%s", why);
    bridge_say_status(why);
    if (is_known && now - attempts->said_ms < START_SAY_MS)
        return;
    attempts->said_ms = now;
    LOG(ERROR, "cannot start", LOG_C("reason", why));
}

/* While a broker that may be away does not answer, the start is tried again; everything else that fails is for a
 * person to mend. */
static bool bridge_start_or_wait(struct bridge *b, struct bridge_attempts *attempts)
{
    struct err e = { "" };
    if (clock_mono_ms() < attempts->again_ms)
        return true;
    if (bridge_start(b, &e))
        return true;
    bool runs = workers_run(&b->engines.workers);
    if (!runs) {
        engines_close(&b->engines);
        engines_free(&b->engines);
    }
    struct err away;
    bool waits = !runs && broker_facts(&b->config->broker).may_be_away && !broker_ready(b->broker, &away);
    b->answers.waits = waits;
    bridge_say_unstarted(b, attempts, e.text, waits);
    if (!waits)
        return false;
    attempts->again_ms = clock_mono_ms() + START_AGAIN_MS;
    return true;
}

/* Watches the files of the configuration that holds, if it says so. */
static void bridge_watch(struct bridge *b)
{
    const struct config *c = b->answers.config;
    const struct bridge_files *files = b->reload.files;
    watch_end(&b->watch);
    for (size_t i = 0; files && c->reload == RELOAD_ON_CHANGE && i < files->count; i++)
        watch_add(&b->watch, files->at[i]);
    for (size_t i = 0; b->watch.count && i < c->files.count; i++)
        watch_add(&b->watch, c->files.at[i]);
    watch_begin(&b->watch);
}

/* A plan is answered as it is; a reload that was refused is a problem. */
static void bridge_answer(const struct api_ticket *t, bool refused, json_t *answer)
{
    if (refused)
        api_refuse(t, answer, "the reload is refused, and everything is as it was: `problems` says why");
    else
        api_answer(t, 200, answer);
}

/* A signal came or files changed (`by_itself`), or somebody asked, who is answered unless that was on a listener that is another one by now. */
static void bridge_reload(struct bridge *b, bool by_itself)
{
    json_t *answer;
    bool asked = b->answers.asked.is;
    unsigned opened = admin_opened(b->admin);
    bool apply = by_itself || b->answers.asked.apply;
    b->answers.asked.is = false;
    watch_begin(&b->watch);
    if (apply && b->answers.started)
        notify_reloading();
    bool taken = reload_run(&b->reload, apply, &answer);
    if (apply && b->answers.started)
        notify_say(taken ? "READY=1\nSTATUS=running"
                         : "READY=1\nSTATUS=running; the last reload was refused: see the log");
    if (taken)
        bridge_watch(b);
    const struct api_ticket *t = &b->answers.asked.ticket;
    if (asked && (admin_opened(b->admin) == opened || strcmp(t->who.via, "socket") == 0))
        bridge_answer(t, b->answers.asked.apply && !taken, answer);
    else
        json_decref(answer);
}

/* Starts, and serves the admin listeners until a signal or a failed broker; returns the exit code. */
static int bridge_run(struct bridge *b)
{
    struct bridge_attempts attempts = { 0 };
    for (;;) {
        if (!b->answers.started && !bridge_start_or_wait(b, &attempts))
            return 1;
        notify_turn();
        admin_run(b->admin, b->signal_fd, LOOK_MS);
        int sig = signals_take();
        if (sig == SIGHUP)
            watch_ask();
        bool news = sig == SIGHUP || watch_has_news(&b->watch);
        reload_sweep(&b->reload);
        if (news || b->answers.asked.is)
            bridge_reload(b, news);
        else if (sig) {
            LOG(INFO, "stopping", LOG_INT("signal", sig), LOG_INT("drain_ms", b->answers.config->drain.ms));
            notify_say("STOPPING=1\nSTATUS=stopping");
            return 0;
        }
        struct err why = { "" };
        if (workers_failed(&b->engines.workers, &why)) {
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

/* For the start, and for reloads. */
static void bridge_prepare(struct bridge *b, const struct bridge_files *files)
{
    b->routing = routing_new(b->config);
    b->reload = (struct reload){ .files = files,
                                 .broker = b->broker,
                                 .routing = b->routing,
                                 .engines = &b->engines,
                                 .admin = b->admin,
                                 .answers = &b->answers,
                                 .versions = version_new((struct config *)(uintptr_t)b->config, false) };
    reload_count();
    bridge_watch(b);
}

/* The main thread waits for a thread that ends, no longer than a deadline. */
static void bridge_idle(void *ctx)
{
    notify_turn();
    admin_idle(ctx);
}

static int bridge_main_as(const struct config *config, const struct bridge_files *files, bool dry)
{
    struct bridge b = { .config = config,
                        .answers = { .config = config, .engines = &b.engines, .not_ready = "starting" } };
    struct err e = { "" };
    int code = 1;
    notify_open();
    descriptors_raise();
    descriptors_reserve(engines_descriptors(config));
    b.signal_fd = signals_open();
    b.broker = dry ? dry_open(config) : broker_open(&config->broker, &e);
    b.engines = (struct engines){ .broker = b.broker, .names = &config->broker };
    b.engines.roster = b.broker && !dry ? roster_new(config, b.broker) : NULL;
    b.answers.broker = b.broker;
    if (b.broker)
        b.admin = admin_new(config, b.broker, b.engines.roster,
                            &(struct admin_questions){ answers_ready, answers_account, answers_gather, answers_reload,
                                                       &b.answers },
                            &e);
    if (b.admin && (dry || traces_new(&config->traces, &b.traces, &e))) {
        bridge_prepare(&b, files);
        b.engines.workers.idle = bridge_idle;
        b.engines.workers.ctx = b.admin;
        code = bridge_run(&b);
        admin_stop(b.admin);
        bridge_stop(&b);
        watch_end(&b.watch);
    } else
        LOG(ERROR, "cannot start", LOG_C("reason", e.text));
    roster_stop(b.engines.roster);
    broker_close(b.broker); /* first: it reports what it has not stored to the engines that published it */
    engines_free(&b.engines);
    traces_free(b.traces); /* after all that happens to events */
    admin_free(b.admin);
    roster_free(b.engines.roster);
    routing_free(b.routing);
    reload_free(&b.reload);
    close(b.signal_fd);
    if (code == 0)
        LOG(INFO, "stopped", LOG_INT("code", code));
    return code;
}

int bridge_main(const struct config *config, const struct bridge_files *files)
{
    return bridge_main_as(config, files, false);
}

int bridge_dry_run(const struct config *config)
{
    struct config dry = dry_config(config);
    return bridge_main_as(&dry, NULL, true);
}
