/* SPDX-License-Identifier: MIT */
/* Carries a plan out, or undoes what was begun of it. */
#include "bridge/reload.h"
#include <stdlib.h>
#include <string.h>
#include "bridge/config/plan.h"
#include "bridge/delivery/control.h"
#include "bridge/lib/descriptors.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/metrics.h"
#include "bridge/lib/thread.h"
#include "bridge/net/listen.h"
#include "bridge/topics.h"

METRIC_COUNTER(aqueduct_config_reloads_total, "Reloads of the configuration, by whether they were taken or refused.",
               "result");

enum { RELOAD_ENDPOINT_MS = 10000 }; /* for a turn of a sink's thread */

struct change_of { /* one reload under way */
    struct reload *r;
    struct config *before, *after;
    struct version *version; /* of after */
    struct plan plan;
    bool stopped;     /* what goes is stopped */
    size_t endpoints; /* entries of the plan whose endpoints were done */
};

/* ---- who goes, who comes ---- */

static bool reload_is(const struct change_of *c, enum plan_what what, const char *id, bool comes)
{
    const struct plan_entry *en = plan_find(&c->plan, what, id);
    return en && en->change != (comes ? PLAN_REMOVE : PLAN_ADD);
}

/* Does the source, of the old configuration or the new one, go or come? One of a sink's listeners does with the sink. */
static bool reload_moves_source(const struct change_of *c, const struct source *s, bool comes)
{
    return reload_is(c, s->sink ? PLAN_SINK : PLAN_SOURCE, s->id, comes);
}

static const struct source_config *reload_source(const struct config *c, const char *id)
{
    for (size_t i = 0; i < c->source_count; i++)
        if (strcmp(c->sources[i].source->id, id) == 0)
            return &c->sources[i];
    return NULL;
}

static const struct sink_config *reload_sink(const struct config *c, const char *id)
{
    for (size_t i = 0; i < c->sink_count; i++)
        if (strcmp(c->sinks[i].sink->id, id) == 0)
            return &c->sinks[i];
    return NULL;
}

static bool reload_stops_source(void *ctx, const char *id)
{
    const struct change_of *c = ctx;
    const struct source_config *s = reload_source(c->before, id);
    return s && reload_moves_source(c, s->source, false);
}

static bool reload_stops_sink(void *ctx, const char *id)
{
    return reload_is(ctx, PLAN_SINK, id, false);
}

/* ---- open and close ---- */

static struct version *reload_version_of(const struct change_of *c, const void *connector)
{
    struct version *v = c->r->versions;
    while (v && !version_has(v, connector))
        v = v->next;
    return v ? v : c->version;
}

/* Its struct is as it was filled, whatever became of an attempt to open it. */
static void reload_fill(const struct change_of *c, const void *connector)
{
    if (connector)
        version_restore(reload_version_of(c, connector), connector);
}

static bool reload_open_sink(const struct change_of *c, const struct sink_config *s, struct err *e)
{
    reload_fill(c, s->sink);
    reload_fill(c, s->sink->endpoint);
    for (size_t i = 0; i < s->endpoint_count; i++)
        reload_fill(c, s->endpoints[i].endpoint);
    return engines_open_sink(c->r->engines, s, e);
}

static bool reload_open_source(const struct change_of *c, const struct source_config *s, struct err *e)
{
    reload_fill(c, s->source);
    return engines_open_source(c->r->engines, s, c->r->routing, e);
}

enum opening {
    OPEN_NEW = 1, /* only what has no former self that must end before */
    OPEN_WANTED,  /* what comes with the configuration; until the first that fails */
    OPEN_AGAIN,   /* the same; also what follows one that fails, of which *e tells */
    OPEN_MISSING, /* all that is not there, in the same way */
};

static bool reload_skips(enum opening how, const struct plan_entry *entry, bool renamed)
{
    return how == OPEN_NEW && entry && (entry->change != PLAN_ADD || renamed);
}

static bool reload_open_sinks(const struct change_of *c, const struct config *config, bool after, enum opening how,
                              struct err *e)
{
    bool all = true;
    for (size_t i = 0; i < config->sink_count && (all || how >= OPEN_AGAIN); i++) {
        const struct sink_config *s = &config->sinks[i];
        struct err why;
        const struct plan_entry *entry = plan_find(&c->plan, PLAN_SINK, s->sink->id);
        bool wanted = how == OPEN_MISSING || reload_is(c, PLAN_SINK, s->sink->id, after);
        if (!wanted || reload_skips(how, entry, s->formerly.count > 0)
            || engines_have(c->r->engines, &engine_delivery, s->sink->id) || reload_open_sink(c, s, &why))
            continue;
        *e = all ? why : *e;
        all = false;
    }
    return all;
}

static bool reload_open_sources(const struct change_of *c, const struct config *config, bool after, enum opening how,
                                struct err *e)
{
    bool all = true;
    for (size_t i = 0; i < config->source_count && (all || how >= OPEN_AGAIN); i++) {
        const struct source_config *s = &config->sources[i];
        struct err why;
        const struct plan_entry *entry = plan_find(&c->plan, s->source->sink ? PLAN_SINK : PLAN_SOURCE, s->source->id);
        bool wanted = how == OPEN_MISSING || reload_moves_source(c, s->source, after);
        if (!wanted || reload_skips(how, entry, false) || engines_have(c->r->engines, &engine_intake, s->source->id)
            || reload_open_source(c, s, &why))
            continue;
        *e = all ? why : *e;
        all = false;
    }
    return all;
}

/* Opens what is not there of `config`. False with *e: the first that could not be opened. */
static bool reload_open(const struct change_of *c, const struct config *config, bool after, enum opening how,
                        struct err *e)
{
    struct err why;
    bool sinks = reload_open_sinks(c, config, after, how, e);
    if (!sinks && how < OPEN_AGAIN)
        return false;
    bool sources = reload_open_sources(c, config, after, how, &why);
    if (sinks && !sources)
        *e = why;
    return sinks && sources;
}

/* Has everything that was stopped for a reload begun again? Else /readyz says what has not, until a reload can. */
static void reload_tell_missing(const struct change_of *c, bool whole, const struct err *why)
{
    c->r->answers->missing.text[0] = '\0';
    if (whole)
        return;
    err_set(&c->r->answers->missing, "what was stopped for a reload cannot be opened again: %s. Mend that, and reload",
            why->text);
    LOG(ERROR, "what was stopped for a reload cannot be opened again: mend that, and reload",
        LOG_C("reason", why->text));
}

/* Ends what was stopped, or never ran: of the old configuration (after false), or of the new one; before what goes has
 * stopped only what is quite new. */
static void reload_end(struct change_of *c, const struct config *config, bool after)
{
    struct engines *en = c->r->engines;
    for (size_t i = 0; i < config->source_count; i++) {
        const struct source *s = config->sources[i].source;
        const struct plan_entry *entry = plan_find(&c->plan, s->sink ? PLAN_SINK : PLAN_SOURCE, s->id);
        if (reload_moves_source(c, s, after) && (c->stopped || entry->change == PLAN_ADD))
            engines_end(en, &engine_intake, s->id);
    }
    for (size_t i = 0; i < config->sink_count; i++) {
        const char *id = config->sinks[i].sink->id;
        if (reload_is(c, PLAN_SINK, id, after)
            && (c->stopped || plan_find(&c->plan, PLAN_SINK, id)->change == PLAN_ADD))
            engines_end(en, &engine_delivery, id);
    }
}

/* Stops what goes, sources first. */
static bool reload_stop(struct change_of *c, struct err *e)
{
    struct engines *en = c->r->engines;
    int64_t end = clock_mono_ms() + c->before->drain.ms;
    if (!engines_hold_some(en, reload_stops_sink, c, e))
        return false;
    engines_stop_some(en, &engine_intake, reload_stops_source, c, end);
    engines_stop_some(en, &engine_delivery, reload_stops_sink, c, end);
    c->stopped = true;
    reload_end(c, c->before, false);
    return true;
}

/* ---- endpoints in place ---- */

static bool reload_is_endpoint(const struct change_of *c, const struct plan_entry *en)
{
    return en->what == PLAN_ENDPOINT && en->change != PLAN_KEEP && !plan_find(&c->plan, PLAN_SINK, en->name);
}

static const struct endpoint_config *reload_endpoint(const struct config *c, const struct plan_entry *en)
{
    const struct sink_config *s = reload_sink(c, en->name);
    for (size_t i = 0; s && i < s->endpoint_count; i++)
        if (strcmp(s->endpoints[i].endpoint->name, en->endpoint) == 0)
            return &s->endpoints[i];
    return NULL;
}

/* A copy of an endpoint as it was configured, for the time in which that one may still be open. */
struct endpoint_copy {
    struct endpoint_config config;
    struct version *of;
};

static void reload_free_copy(void *ctx)
{
    struct endpoint_copy *copy = ctx;
    version_unpin(copy->of);
    free(copy->config.endpoint);
    free(copy);
}

static bool reload_order(struct change_of *c, const struct plan_entry *en, const struct endpoint_config *config,
                         bool there, struct err *e)
{
    struct delivery *d = engines_delivery(c->r->engines, en->name);
    struct timespec until = thread_until((struct duration){ RELOAD_ENDPOINT_MS });
    struct version *of = reload_version_of(c, config->endpoint);
    const struct sink_config *s = reload_sink(c->after, en->name);
    size_t n = s->sink->ops->endpoints->size;
    struct endpoint_copy *copy = mem_alloc(sizeof *copy);
    *copy = (struct endpoint_copy){ *config, of };
    copy->config.endpoint = memcpy(mem_alloc(n), version_filled(of, config->endpoint), n);
    version_pin(of);
    const struct endpoint_order o = { .config = &copy->config, .release = reload_free_copy, .ctx = copy };
    if (there ? delivery_change_endpoint(d, &o, until, e) : delivery_add_endpoint(d, &o, until, e))
        return true;
    reload_free_copy(copy);
    return false;
}

/* A name that an endpoint has which was made at run time is taken. */
static bool reload_check_names(const struct change_of *c, struct err *e)
{
    struct roster *roster = c->r->engines->roster;
    for (size_t i = 0; roster && i < c->plan.count; i++) {
        const struct plan_entry *en = &c->plan.at[i];
        if (en->what == PLAN_ENDPOINT && en->change == PLAN_ADD && roster_has(roster, en->name, en->endpoint))
            return err_set(
                e,
                "sinks.%s.endpoints.%s: an endpoint that was made while the bridge runs has this name: remove "
                "that one (aqueduct endpoints), or choose another name",
                en->name, en->endpoint);
    }
    return true;
}

static bool reload_check_broker(const struct change_of *c, struct err *e)
{
    return !plan_find(&c->plan, PLAN_BROKER, "broker") || broker_may_follow(&c->after->broker, e);
}

/* Adds and changes endpoints of sinks that go on. */
static bool reload_endpoints(struct change_of *c, struct err *e)
{
    for (; c->endpoints < c->plan.count; c->endpoints++) {
        const struct plan_entry *en = &c->plan.at[c->endpoints];
        if (reload_is_endpoint(c, en) && en->change != PLAN_REMOVE
            && !reload_order(c, en, reload_endpoint(c->after, en), en->change == PLAN_CHANGE, e))
            return false;
    }
    return true;
}

static void reload_remove_endpoint(const struct change_of *c, const struct plan_entry *en)
{
    struct err e = { "" };
    struct delivery *d = engines_delivery(c->r->engines, en->name);
    struct timespec until = thread_until((struct duration){ RELOAD_ENDPOINT_MS });
    if (!delivery_remove_endpoint(d, str_of(en->endpoint), until, &e))
        LOG(ERROR, "an endpoint that is no longer configured stays until the next start", LOG_C("reason", e.text));
}

static void reload_undo_endpoints(struct change_of *c)
{
    struct err e = { "" };
    while (c->endpoints-- > 0) {
        const struct plan_entry *en = &c->plan.at[c->endpoints];
        if (!reload_is_endpoint(c, en))
            continue;
        if (en->change == PLAN_ADD)
            reload_remove_endpoint(c, en);
        else if (en->change == PLAN_CHANGE && !reload_order(c, en, reload_endpoint(c->before, en), true, &e))
            LOG(ERROR, "an endpoint is not as it was before the reload", LOG_C("reason", e.text));
    }
}

/* ---- all of it ---- */

/* Everything is as it was. */
static void reload_undo(struct change_of *c)
{
    struct err e = { "" }, ignored = { "" };
    admin_follow(c->r->admin, c->before);
    reload_undo_endpoints(c);
    reload_end(c, c->after, true);
    for (size_t i = 0; i < c->plan.count; i++)
        if (c->plan.at[i].what == PLAN_SINK && c->plan.at[i].change == PLAN_ADD)
            engines_dismiss(c->r->engines, c->plan.at[i].name);
    for (size_t i = 0; !c->stopped && i < c->before->sink_count; i++)
        engines_serve_again(c->r->engines, &c->before->sinks[i]);
    topics_open(c->before, c->r->broker, &ignored);
    if (!c->stopped)
        return;
    bool opened = reload_open(c, c->before, false, OPEN_AGAIN, &e), started = engines_start(c->r->engines, &ignored);
    reload_tell_missing(c, opened && started, opened ? &ignored : &e);
}

/* What stays goes on with the struct that is open. */
static void reload_adopt(struct change_of *c)
{
    for (size_t i = 0; i < c->after->sink_count; i++) {
        struct sink_config *s = &c->after->sinks[i];
        const struct sink_config *old = reload_sink(c->before, s->sink->id);
        if (old && !plan_find(&c->plan, PLAN_SINK, s->sink->id))
            s->sink = old->sink;
    }
    for (size_t i = 0; i < c->after->source_count; i++) {
        struct source_config *s = &c->after->sources[i];
        const struct source_config *old = reload_source(c->before, s->source->id);
        if (old && !reload_moves_source(c, s->source, true))
            s->source = old->source;
    }
}

/* Endpoints that were made at run time stand beside others now. */
static void reload_refit(const struct change_of *c, const struct sink_config *s)
{
    bool differs = false;
    for (size_t i = 0; i < c->plan.count; i++)
        differs = differs || (reload_is_endpoint(c, &c->plan.at[i]) && strcmp(c->plan.at[i].name, s->sink->id) == 0);
    if (differs && c->r->engines->roster)
        roster_refit(c->r->engines->roster, s, engines_delivery(c->r->engines, s->sink->id));
}

/* From here on it holds. */
static void reload_commit(struct change_of *c)
{
    struct reload *r = c->r;
    struct err e = { "" };
    reload_adopt(c);
    c->version->next = r->versions;
    r->versions = c->version;
    r->answers->config = c->after;
    admin_follow(r->admin, c->after);
    routing_change(r->routing, c->after);
    if (plan_find(&c->plan, PLAN_BROKER, "broker")) { /* whose threads may look at it from here on to its end */
        version_pin(c->version);
        broker_follow(r->broker, &c->after->broker);
    }
    log_setup(c->after->log.level, c->after->log.format);
    descriptors_reserve(engines_descriptors(c->after) - engines_descriptors(c->before));
    bool whole = !r->answers->missing.text[0] || reload_open(c, c->after, true, OPEN_MISSING, &e);
    broker_gather(r->broker);
    reload_tell_missing(c, whole, &e);
    if (!engines_start(r->engines, &e))
        LOG(ERROR, "not all that was to start did", LOG_C("reason", e.text));
    for (size_t i = 0; i < c->plan.count; i++) {
        const struct plan_entry *en = &c->plan.at[i];
        if (en->what == PLAN_SINK && en->change == PLAN_REMOVE)
            engines_dismiss(r->engines, en->name);
        else if (reload_is_endpoint(c, en) && en->change == PLAN_REMOVE)
            reload_remove_endpoint(c, en);
    }
    for (size_t i = 0; i < c->after->sink_count; i++)
        reload_refit(c, &c->after->sinks[i]);
    engines_look_around(r->engines, c->after);
    broker_retain(r->broker);
}

/* May it need other topics, or others of their settings? What does not is done also while the broker is away, such as another
 * login, which may be why it is. */
static bool reload_moves_topics(const struct change_of *c)
{
    for (size_t i = 0; i < c->plan.count; i++)
        switch (c->plan.at[i].what) {
        case PLAN_BROKER:
        case PLAN_LOG:
        case PLAN_SETTING: break;
        case PLAN_ADMIN: /* its audit */
        case PLAN_TOPIC:
        case PLAN_SOURCE:
        case PLAN_SINK:
        case PLAN_ENDPOINT:
        case PLAN_ROUTES:
            if (c->plan.at[i].change != PLAN_KEEP)
                return true;
        }
    return false;
}

static bool reload_apply(struct change_of *c, struct err *e)
{
    struct err early = { "" };
    bool ok = !reload_moves_topics(c) || topics_open(c->after, c->r->broker, e);
    if (ok) /* while nothing was stopped; what needs something that the old ones have is tried again */
        reload_open(c, c->after, true, OPEN_NEW, &early);
    listen_hold(true);
    ok = ok && reload_stop(c, e) && reload_open(c, c->after, true, OPEN_WANTED, e) && reload_endpoints(c, e)
         && (!plan_find(&c->plan, PLAN_ADMIN, "admin") || admin_change(c->r->admin, c->after, e));
    if (ok)
        reload_commit(c);
    else
        reload_undo(c);
    listen_hold(false);
    return ok;
}

/* ---- plan and answer ---- */

static const void *reload_filled(void *ctx, const void *connector)
{
    return version_filled(ctx, connector);
}

static void reload_problem(struct problems *p, const struct err *e)
{
    p->at = mem_grow(p->at, p->count + 1, sizeof *p->at);
    p->at[p->count++] = (struct problem){ .text = str_dup(str_of(e->text)) };
}

/* It cannot be reloaded now. */
static void reload_refuse(const struct reload *r, struct problems *p)
{
    struct err e = { "a dry run stays as it is" };
    if (r->files)
        err_set(&e, "the daemon is still starting: %s", r->answers->not_ready);
    reload_problem(p, &e);
}

static json_t *reload_answer(bool ok, bool apply, const struct change_of *c, const struct problems *p)
{
    json_t *answer = json_pack("{s:b}", "ok", ok);
    if (ok)
        json_object_set_new(answer, "applied", json_boolean(apply));
    else
        json_object_set_new(answer, "problems", problems_json(p));
    if (c->after)
        json_object_set_new(answer, "changes", plan_json(&c->plan));
    return answer;
}

static struct metric *reload_counter(bool ok)
{
    return metric_get(&aqueduct_config_reloads_total, LABELS(ok ? "taken" : "refused"));
}

void reload_count(void)
{
    reload_counter(true);
    reload_counter(false);
}

static void reload_say(bool ok, const struct change_of *c, const struct problems *p)
{
    metric_add(reload_counter(ok), 1);
    if (ok) {
        LOG(INFO, "reloaded", LOG_INT("changes", (int64_t)plan_changes(&c->plan)),
            LOG_INT("sources", (int64_t)c->after->source_count), LOG_INT("sinks", (int64_t)c->after->sink_count));
        return;
    }
    for (size_t i = 0; i < p->count; i++)
        if (!p->at[i].warning)
            LOG(ERROR, "reload refused: everything stays as it is", LOG_SOME("file", p->at[i].file),
                LOG_INT("line", p->at[i].line), LOG_C("reason", p->at[i].text));
}

bool reload_run(struct reload *r, bool apply, json_t **answer)
{
    struct problems problems = { 0 };
    struct err e = { "" };
    struct change_of c = { .r = r, .before = r->versions->config };
    bool ok = r->files && r->answers->started;
    if (ok)
        c.after = config_load(r->files->connectors, r->files->at, r->files->count, &problems);
    else
        reload_refuse(r, &problems);
    ok = c.after != NULL;
    if (ok) {
        c.version = version_new(c.after, true);
        c.plan = plan_make(c.before, c.after, reload_filled, r->versions);
        ok = plan_is_possible(&c.plan, &e) && reload_check_broker(&c, &e) && reload_check_names(&c, &e)
             && (!apply || reload_apply(&c, &e));
        if (!ok)
            reload_problem(&problems, &e);
    }
    *answer = reload_answer(ok, apply, &c, &problems);
    if (apply)
        reload_say(ok, &c, &problems);
    plan_free(&c.plan);
    problems_free(&problems);
    if (!ok || !apply)
        version_free(c.version);
    reload_sweep(r);
    return ok;
}

/* ---- versions that are over ---- */

static bool reload_uses(const struct reload *r, const struct version *v)
{
    const struct config *now = r->versions->config;
    bool uses = atomic_load(&v->pins) > 0 || routing_uses(r->routing, v->config) || admin_uses(r->admin, v->config)
                || r->engines->workers.abandoned;
    for (size_t i = 0; i < now->sink_count; i++)
        uses = uses || version_has(v, now->sinks[i].sink);
    for (size_t i = 0; i < now->source_count; i++)
        uses = uses || version_has(v, now->sources[i].source);
    return uses;
}

void reload_sweep(struct reload *r)
{
    for (struct version **at = &r->versions->next, *v; (v = *at) && v->next;) {
        if (reload_uses(r, v)) {
            at = &v->next;
            continue;
        }
        *at = v->next;
        version_free(v);
    }
}

void reload_free(struct reload *r)
{
    for (struct version *v = r->versions, *next; v; v = next) {
        next = v->next;
        version_free(v);
    }
}
