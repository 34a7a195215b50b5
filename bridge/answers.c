/* SPDX-License-Identifier: MIT */
/* Readiness, the account, and the counters that add up. */
#include "bridge/answers.h"
#include <stdlib.h>
#include "bridge/delivery/delivery.h"
#include "bridge/delivery/register.h"
#include "bridge/intake/account.h"
#include "bridge/intake/intake.h"
#include "bridge/lib/descriptors.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/thread.h"

enum { ACCOUNT_MS = 500 }; /* how long the sinks have to give their accounts */

struct readiness {
    struct err *why;
    bool is;
};

static void answers_source_ready(void *ctx, void *engine)
{
    struct readiness *r = ctx;
    r->is = r->is && intake_ready(engine, r->why);
}

/* Does every source see what it is to watch? */
static bool answers_sources_ready(const struct answers *a, struct err *why)
{
    struct readiness r = { why, true };
    workers_each(&a->engines->workers, &engine_intake, NULL, answers_source_ready, &r);
    return r.is;
}

static void answers_sink_ready(void *ctx, void *engine)
{
    struct readiness *r = ctx;
    r->is = r->is && delivery_ready(engine, r->why);
}

/* Can every sink serve? */
static bool answers_sinks_ready(const struct answers *a, struct err *why)
{
    struct readiness r = { why, true };
    workers_each(&a->engines->workers, &engine_delivery, NULL, answers_sink_ready, &r);
    return r.is;
}

bool answers_ready(void *ctx, struct err *why)
{
    struct answers *a = ctx;
    if (!a->started)
        return err_set(why, "%s", a->not_ready);
    if (a->missing.text[0])
        return err_set(why, "%s", a->missing.text);
    struct err note = { "" };
    if (!descriptors_ready(why))
        return false;
    bool able = broker_ready(a->broker, &note);
    bool ready = able && answers_sources_ready(a, why) && answers_sinks_ready(a, why);
    if (ready || !able)
        *why = note;
    return ready;
}

/* ---- the account ---- */

struct accounts {
    const struct account_question *question;
    struct timespec until;
};

static void answers_ask_account(void *ctx, void *engine)
{
    const struct accounts *of = ctx;
    account_ask(engine, of->question);
}

/* Why there is no account of a sink. */
static void answers_no_account(const struct answers *a, const struct delivery *d, struct err *why)
{
    if (!a->started)
        err_set(why, "%s%s", a->waits ? "the daemon has not started it, it waits for its broker: " : "the daemon is ",
                a->not_ready);
    else if (d)
        err_set(why, "it is busy, and did not say within %d ms", ACCOUNT_MS);
    else
        err_set(why, "it does not run: %s", a->missing.text);
}

/* Of every sink of the configuration; those of one that cannot say more of itself say why. */
static void answers_sinks(const struct answers *a, const struct account_question *question, struct buf *out)
{
    const struct config *c = a->config;
    struct accounts of = { .question = question, .until = thread_until((struct duration){ ACCOUNT_MS }) };
    struct err why;
    if (a->started)
        workers_each(&a->engines->workers, &engine_delivery, NULL, answers_ask_account, &of);
    for (size_t i = 0; i < c->sink_count; i++) {
        struct delivery *d = a->started ? engines_delivery(a->engines, c->sinks[i].sink->id) : NULL;
        char *text = d ? account_take(d, of.until) : NULL;
        if (!text) {
            answers_no_account(a, d, &why);
            text = account_unknown(&c->sinks[i], &c->broker, why.text);
        }
        buf_printf(out, "%s%s", i ? "," : "", text);
        free(text);
    }
}

/* Main thread: the sinks' threads give their accounts between two of their turns. */
void answers_account(void *ctx, const struct account_question *question, struct buf *out)
{
    struct answers *a = ctx;
    struct err why = { "" };
    char at[CLOCK_TEXT];
    bool ready = answers_ready(a, &why);
    clock_text(clock_wall_ms(), at);
    buf_printf(out, "{\"from\":\"daemon\",\"at\":\"%s\",\"broker\":\"%s\",\"ready\":%s,\"not_ready\":", at,
               broker_facts(&a->config->broker).type, ready ? "true" : "false");
    if (ready)
        buf_add_c(out, "null");
    else
        jscan_add_string(out, str_of(why.text));
    buf_add_c(out, ",\"sources\":[");
    for (size_t i = 0; i < a->config->source_count; i++) {
        buf_add_c(out, i ? "," : "");
        intake_account(a->config->sources[i].source, a->started, out);
    }
    buf_add_c(out, "],\"sinks\":[");
    answers_sinks(a, question, out);
    buf_add_c(out, "],\"unserved\":");
    if (a->started)
        register_write(out);
    else
        buf_add_c(out, "null");
    buf_add_c(out, "}\n");
}

static void answers_take_counters(void *ctx, void *engine)
{
    const struct accounts *of = ctx;
    free(account_take(engine, of->until));
}

/* Main thread: each sink's thread keeps its counters for the page between two of its turns. Of one that is busy for longer
 * the page shows those that it kept for the page before. */
void answers_gather(void *ctx)
{
    struct answers *a = ctx;
    const struct account_question question = { .counters = true };
    struct accounts of = { .question = &question, .until = thread_until((struct duration){ ACCOUNT_MS }) };
    if (!a->started)
        return;
    workers_each(&a->engines->workers, &engine_delivery, NULL, answers_ask_account, &of);
    workers_each(&a->engines->workers, &engine_delivery, NULL, answers_take_counters, &of);
}

bool answers_reload(void *ctx, bool apply, const struct api_ticket *t)
{
    struct answers *a = ctx;
    if (a->asked.is)
        return false;
    a->asked.is = true;
    a->asked.apply = apply;
    a->asked.ticket = *t;
    return true;
}
