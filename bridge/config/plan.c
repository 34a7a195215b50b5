/* SPDX-License-Identifier: MIT */
/* Compares two configurations object by object. */
#include "bridge/config/plan.h"
#include <stdlib.h>
#include "bridge/config/private.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

struct planner {
    const struct config *before, *after;
    const void *(*filled)(void *ctx, const void *connector);
    void *ctx;
    struct plan *out;
};

static const char *const plan_whats[] = {
    [PLAN_BROKER] = "broker", [PLAN_TOPIC] = "topic",       [PLAN_SOURCE] = "source",
    [PLAN_SINK] = "sink",     [PLAN_ENDPOINT] = "endpoint", [PLAN_ROUTES] = "routes",
    [PLAN_ADMIN] = "admin",   [PLAN_LOG] = "log",           [PLAN_SETTING] = "setting"
};
static const char *const plan_words[] = {
    [PLAN_KEEP] = "keep", [PLAN_ADD] = "add", [PLAN_REMOVE] = "remove", [PLAN_CHANGE] = "change"
};

static const void *plan_filled(const struct planner *p, const void *connector)
{
    return p->filled ? p->filled(p->ctx, connector) : connector;
}

static struct plan_entry *plan_add(struct planner *p, enum plan_what what, enum plan_change change, const char *name)
{
    struct plan *out = p->out;
    out->at = mem_grow(out->at, out->count + 1, sizeof *out->at);
    out->at[out->count] = (struct plan_entry){ .what = what, .change = change, .name = name };
    return &out->at[out->count++];
}

/* An object that both have; takes the differences over. */
static struct plan_entry *plan_compare(struct planner *p, enum plan_what what, const char *name, struct differences d)
{
    struct plan_entry *en = plan_add(p, what, d.count ? PLAN_CHANGE : PLAN_KEEP, name);
    en->keys = d.keys;
    en->key_count = d.count;
    return en;
}

/* ---- endpoints ---- */

static const struct endpoint_config *plan_endpoint(const struct sink_config *s, const char *name)
{
    for (size_t i = 0; i < s->endpoint_count; i++)
        if (strcmp(s->endpoints[i].endpoint->name, name) == 0)
            return &s->endpoints[i];
    return NULL;
}

static struct differences plan_endpoint_differs(const struct planner *p, const struct endpoint_ops *ops,
                                                const struct endpoint_config *a, const struct endpoint_config *b)
{
    struct differences d = { 0 };
    differ_rows(endpoint_options, a, b, "", &d);
    differ_rows(ops->options, plan_filled(p, a->endpoint), b->endpoint, "", &d);
    return d;
}

static void plan_endpoints(struct planner *p, const struct sink_config *a, const struct sink_config *b)
{
    const struct endpoint_ops *ops = b->sink->ops->endpoints;
    for (size_t i = 0; i < a->endpoint_count; i++)
        if (!plan_endpoint(b, a->endpoints[i].endpoint->name))
            plan_add(p, PLAN_ENDPOINT, PLAN_REMOVE, a->sink->id)->endpoint = a->endpoints[i].endpoint->name;
    for (size_t i = 0; i < b->endpoint_count; i++) {
        const struct endpoint_config *after = &b->endpoints[i], *before = plan_endpoint(a, after->endpoint->name);
        struct plan_entry *en = before ? plan_compare(p, PLAN_ENDPOINT, b->sink->id,
                                                      plan_endpoint_differs(p, ops, before, after))
                                       : plan_add(p, PLAN_ENDPOINT, PLAN_ADD, b->sink->id);
        en->endpoint = after->endpoint->name;
    }
}

static bool plan_has_order(const struct sink_config *s)
{
    bool has = false;
    for (size_t i = 0; i < s->endpoint_count; i++)
        has = has || s->endpoints[i].order == ORDER_KEY;
    return has;
}

/* The order of an endpoint needs topics of the sink, which it takes when it begins. */
static bool plan_order_differs(const struct sink_config *a, const struct sink_config *b)
{
    for (size_t i = 0; i < b->endpoint_count; i++) {
        const struct endpoint_config *before = plan_endpoint(a, b->endpoints[i].endpoint->name);
        if (before ? before->order != b->endpoints[i].order : b->endpoints[i].order == ORDER_KEY && !plan_has_order(a))
            return true;
    }
    return false;
}

/* ---- sources and sinks ---- */

static const struct sink_config *plan_sink(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->sink_count; i++)
        if (strcmp(c->sinks[i].sink->id, name) == 0)
            return &c->sinks[i];
    return NULL;
}

/* But for its endpoints, as long as it has some. */
static struct differences plan_sink_differs(const struct planner *p, const struct sink_config *a,
                                            const struct sink_config *b)
{
    struct differences d = { 0 };
    const struct sink_ops *ops = b->sink->ops;
    if (a->sink->ops != ops) {
        differ_add(&d, "type");
        return d;
    }
    differ_rows(sink_options, a, b, "", &d);
    differ_rows(ops->options, plan_filled(p, a->sink), b->sink, "", &d);
    if (a->sink->endpoint && b->sink->endpoint)
        differ_rows(ops->endpoints->options, plan_filled(p, a->sink->endpoint), b->sink->endpoint, "", &d);
    else if (a->many != b->many)
        differ_add(&d, "endpoints");
    if (plan_order_differs(a, b))
        differ_add(&d, "endpoints.order");
    return d;
}

static void plan_sinks(struct planner *p)
{
    for (size_t i = 0; i < p->before->sink_count; i++)
        if (!plan_sink(p->after, p->before->sinks[i].sink->id))
            plan_add(p, PLAN_SINK, PLAN_REMOVE, p->before->sinks[i].sink->id);
    for (size_t i = 0; i < p->after->sink_count; i++) {
        const struct sink_config *b = &p->after->sinks[i], *a = plan_sink(p->before, b->sink->id);
        if (!a) {
            plan_add(p, PLAN_SINK, PLAN_ADD, b->sink->id);
            continue;
        }
        plan_compare(p, PLAN_SINK, b->sink->id, plan_sink_differs(p, a, b));
        if (a->sink->ops == b->sink->ops && a->many && b->many)
            plan_endpoints(p, a, b);
    }
}

/* One that stands below `sources:`; what a sink's listeners bring goes with the sink. */
static const struct source_config *plan_source(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->source_count; i++)
        if (!c->sources[i].source->sink && strcmp(c->sources[i].source->id, name) == 0)
            return &c->sources[i];
    return NULL;
}

static struct differences plan_source_differs(const struct planner *p, const struct source_config *a,
                                              const struct source_config *b)
{
    struct differences d = { 0 };
    if (a->source->ops != b->source->ops) {
        differ_add(&d, "type");
        return d;
    }
    differ_rows(source_options, a, b, "", &d);
    differ_rows(b->source->ops->options, plan_filled(p, a->source), b->source, "", &d);
    return d;
}

static void plan_sources(struct planner *p)
{
    const struct config *a = p->before, *b = p->after;
    for (size_t i = 0; i < a->source_count; i++)
        if (!a->sources[i].source->sink && !plan_source(b, a->sources[i].source->id))
            plan_add(p, PLAN_SOURCE, PLAN_REMOVE, a->sources[i].source->id);
    for (size_t i = 0; i < b->source_count; i++) {
        const struct source_config *after = &b->sources[i], *before = plan_source(a, after->source->id);
        if (after->source->sink)
            continue;
        if (before)
            plan_compare(p, PLAN_SOURCE, after->source->id, plan_source_differs(p, before, after));
        else
            plan_add(p, PLAN_SOURCE, PLAN_ADD, after->source->id);
    }
}

/* ---- topics and sections ---- */

static const struct topic_config *plan_topic(const struct config *c, const char *name)
{
    const struct topic_config *topics = c->topics.at;
    for (size_t i = 0; i < c->topics.count; i++)
        if (strcmp(topics[i].name, name) == 0)
            return &topics[i];
    return NULL;
}

static void plan_topics(struct planner *p)
{
    const struct topic_config *before = p->before->topics.at, *after = p->after->topics.at;
    for (size_t i = 0; i < p->before->topics.count; i++)
        if (!plan_topic(p->after, before[i].name))
            plan_add(p, PLAN_TOPIC, PLAN_REMOVE, before[i].name);
    for (size_t i = 0; i < p->after->topics.count; i++) {
        const struct topic_config *a = plan_topic(p->before, after[i].name);
        struct differences d = { 0 };
        if (!a) {
            plan_add(p, PLAN_TOPIC, PLAN_ADD, after[i].name);
            continue;
        }
        differ_rows(topic_options, a, &after[i], "", &d);
        plan_compare(p, PLAN_TOPIC, after[i].name, d);
    }
}

static enum plan_what plan_section(const char *key)
{
    for (int what = PLAN_BROKER; what < PLAN_SETTING; what++)
        if (strcmp(plan_whats[what], key) == 0)
            return (enum plan_what)what;
    return strcmp(key, "unrouted") == 0 ? PLAN_ROUTES : PLAN_SETTING;
}

/* Can only a start of the daemon take it? */
static bool plan_key_restarts(const struct plan_entry *en, const char *key)
{
    return (en->what == PLAN_BROKER && !broker_follows(key))
           || (en->what == PLAN_ADMIN && (strcmp(key, "control") == 0 || strcmp(key, "key_file") == 0))
           || (en->what == PLAN_SETTING && strcmp(en->name, "traces") == 0);
}

/* The sections whose rows say all of them. */
static void plan_sections(struct planner *p)
{
    struct differences routes = { 0 };
    for (const struct option *row = config_options; row->key; row++) {
        const struct option one[] = { *row, { 0 } };
        enum plan_what what = plan_section(row->key);
        struct differences d = { 0 };
        if (what == PLAN_ROUTES) {
            differ_rows(one, p->before, p->after, "", &routes);
            continue;
        }
        if (row->type == OPT_GROUP)
            differ_rows(row->of, (const char *)p->before + row->offset, (const char *)p->after + row->offset, "", &d);
        else
            differ_rows(one, p->before, p->after, "", &d);
        struct plan_entry *en = plan_compare(p, what, row->key, d);
        for (size_t k = 0; k < en->key_count; k++)
            en->restart = en->restart || plan_key_restarts(en, en->keys[k]);
    }
    plan_compare(p, PLAN_ROUTES, "routes", routes);
}

struct plan plan_make(const struct config *before, const struct config *after,
                      const void *(*filled)(void *ctx, const void *connector), void *ctx)
{
    struct plan out = { 0 };
    struct planner p = { before, after, filled, ctx, &out };
    plan_sections(&p);
    plan_topics(&p);
    plan_sources(&p);
    plan_sinks(&p);
    return out;
}

/* ---- what it says ---- */

void plan_free(struct plan *p)
{
    for (size_t i = 0; i < p->count; i++) {
        for (size_t k = 0; k < p->at[i].key_count; k++)
            free(p->at[i].keys[k]);
        free(p->at[i].keys);
    }
    free(p->at);
    *p = (struct plan){ 0 };
}

size_t plan_changes(const struct plan *p)
{
    size_t count = 0;
    for (size_t i = 0; i < p->count; i++)
        count += p->at[i].change != PLAN_KEEP;
    return count;
}

const struct plan_entry *plan_find(const struct plan *p, enum plan_what what, const char *name)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->at[i].what == what && p->at[i].change != PLAN_KEEP && strcmp(p->at[i].name, name) == 0)
            return &p->at[i];
    return NULL;
}

bool plan_is_possible(const struct plan *p, struct err *e)
{
    struct buf keys = buf_new(sizeof e->text / 2);
    for (size_t i = 0; i < p->count; i++)
        for (size_t k = 0; p->at[i].restart && k < p->at[i].key_count; k++)
            if (plan_key_restarts(&p->at[i], p->at[i].keys[k]))
                buf_printf(&keys, "%s%s.%s", keys.n ? ", " : "", p->at[i].name, p->at[i].keys[k]);
    bool possible = keys.n == 0;
    if (!possible)
        err_set(e, "%.*s cannot change while the daemon runs: start it again for that", STR_ARG(buf_str(&keys)));
    buf_free(&keys);
    return possible;
}

/* "sink crm", "endpoint crm/hr", "routes" */
static void plan_say_what(const struct plan_entry *en, struct buf *out)
{
    bool named = en->what == PLAN_TOPIC || en->what == PLAN_SOURCE || en->what == PLAN_SINK
                 || en->what == PLAN_ENDPOINT;
    buf_printf(out, "%s%s%s", named ? plan_whats[en->what] : "", named ? " " : "", en->name);
    if (en->endpoint)
        buf_printf(out, "/%s", en->endpoint);
}

json_t *plan_json(const struct plan *p)
{
    json_t *list = json_array();
    for (size_t i = 0; i < p->count; i++) {
        const struct plan_entry *en = &p->at[i];
        json_t *detail = json_array();
        struct buf what = buf_new(1024);
        for (size_t k = 0; k < en->key_count; k++)
            json_array_append_new(detail, json_of_text(str_of(en->keys[k])));
        plan_say_what(en, &what);
        json_array_append_new(list, json_pack("{s:o,s:s,s:o,s:s}", "what", json_of_text(buf_str(&what)), "change",
                                              plan_words[en->change], "detail", detail, "needs",
                                              en->restart ? "restart" : "nothing"));
        buf_free(&what);
    }
    return list;
}

bool plan_print_json(const json_t *plan, FILE *out)
{
    static const char signs[] = { [PLAN_KEEP] = '=', [PLAN_ADD] = '+', [PLAN_REMOVE] = '-', [PLAN_CHANGE] = '~' };
    size_t i, k, kept = 0;
    const json_t *entry, *key;
    if (!json_is_array(plan))
        return false;
    json_array_foreach(plan, i, entry)
    {
        const char *what = json_string_value(json_object_get(entry, "what")),
                   *change = json_string_value(json_object_get(entry, "change")),
                   *needs = json_string_value(json_object_get(entry, "needs"));
        int sign = PLAN_KEEP;
        while (change && sign < PLAN_CHANGE && strcmp(plan_words[sign], change) != 0)
            sign++;
        if (!what || !change || !needs)
            return false;
        kept += sign == PLAN_KEEP;
        if (sign == PLAN_KEEP)
            continue;
        fprintf(out, "%c %s", signs[sign], what);
        json_array_foreach(json_object_get(entry, "detail"), k, key)
            fprintf(out, "%s%s", k ? ", " : ": ", json_string_value(key));
        fprintf(out, "%s\n", strcmp(needs, "restart") == 0 ? " (needs a restart)" : "");
    }
    fprintf(out, "%s%zu stay as they are\n", kept == i ? "nothing changes; " : "", kept);
    return true;
}
