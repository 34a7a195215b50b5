/* SPDX-License-Identifier: MIT */
/* What the sections of a configuration say about each other: topics that nobody fills, routes that nothing reaches,
 * and the like. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/config/private.h"
#include "bridge/lib/mem.h"
#include "bridge/net/listen.h"
#include "bridge/event/trail.h"
#include "bridge/verify/listener.h"

struct check {
    const struct config *c;
    const struct node *root;
    struct problems *out;
};

enum { PREFIX_BYTES = 100, RETRY_MOST_MS = 7 * 86400000 };
#define RATE_LEAST 0.00002

static const struct node *check_either(const struct node *n, const struct node *otherwise)
{
    return n ? n : otherwise;
}

static struct node *check_element(const struct node *list, size_t i)
{
    return list && list->kind == NODE_LIST && i < list->count ? list->at[i].value : NULL;
}

/* ---- broker ---- */

/* "broker.properties.linger.ms: ..." is said at that key, as far as it is written. */
static void check_say_of_broker(const struct check *k, const struct node *n, const struct where *top, const char *why)
{
    char key[64], property[128];
    const char *colon = strstr(why, ": ");
    if (!colon || !str_starts(str_of(why), STR("broker."))) {
        problem_at(k->out, n, top, "%s", why);
        return;
    }
    struct str text = { why + 7, (size_t)(colon - why) - 7 }, rest = text, first;
    str_cut(&rest, '.', &first);
    snprintf(key, sizeof key, "%.*s", STR_ARG(first));
    snprintf(property, sizeof property, "%.*s", STR_ARG(rest));
    const struct node *at = check_either(node_get(n, key), n);
    problem_at(k->out, check_either(node_get(at, property), at), &(struct where){ top, text, 0 }, "%s", colon + 2);
}

/* Takes out the property that the error is about; false: it is about something else. */
static bool check_drop_property(struct map *m, const char *why)
{
    static const char start[] = "broker.properties.";
    size_t kept = 0;
    for (size_t i = 0; i < m->count; i++) {
        size_t n = strlen(m->at[i].key);
        bool named = strncmp(why, start, sizeof start - 1) == 0 && strncmp(why + sizeof start - 1, m->at[i].key, n) == 0
                     && strncmp(why + sizeof start - 1 + n, ": ", 2) == 0;
        if (!named)
            m->at[kept++] = m->at[i];
    }
    bool dropped = kept < m->count;
    m->count = kept;
    return dropped;
}

/* What broker_open would refuse; of its properties each. */
static void check_broker_opens(const struct check *k, const struct node *n, const struct where *top)
{
    struct err e;
    struct broker_config rest = k->c->broker;
    size_t count = rest.properties.count;
    rest.properties.at = mem_grow(NULL, count + 1, sizeof *rest.properties.at);
    for (size_t i = 0; i < count; i++)
        rest.properties.at[i] = k->c->broker.properties.at[i];
    while (!broker_check(&rest, &e)) {
        check_say_of_broker(k, n, top, e.text);
        if (!check_drop_property(&rest.properties, e.text))
            break;
    }
    free(rest.properties.at);
}

static void check_broker(const struct check *k)
{
    const struct broker_config *b = &k->c->broker;
    const struct node *n = check_either(node_get(k->root, "broker"), k->root);
    struct where top = { .key = STR("broker") };
    struct str prefix = str_of(b->prefix);
    if (prefix.n > PREFIX_BYTES || (prefix.n && !topic_name_ok(prefix)))
        problem_at(k->out, check_either(node_get(n, "prefix"), n), &(struct where){ &top, STR("prefix"), 0 },
                   "is no beginning of a topic name: use letters, digits, . _ and -, at most %d characters",
                   PREFIX_BYTES);
    if (broker_facts(b).needs_servers && !(b->servers && b->servers[0]))
        problem_at(k->out, n, &(struct where){ &top, STR("servers"), 0 },
                   "is missing: the bootstrap servers, for example kafka-1:9092");
    else
        check_broker_opens(k, n, &top);
}

/* ---- topics and routes ---- */

/* Topics that begin with the bridge's own prefix hold its retries, dead letters and state. */
static bool check_is_own_topic(const struct check *k, const char *topic)
{
    struct str prefix = str_of(k->c->broker.prefix);
    return prefix.n && str_starts(str_of(topic), prefix);
}

static void check_topic(const struct check *k, const struct node *n, const char *topic, const struct where *at)
{
    if (!topic_name_ok(str_of(topic)))
        problem_at(k->out, n, at,
                   "\"%.*s\" is not a topic name: use letters, digits, . _ and -, at most 249 characters",
                   SHOWN(str_of(topic)));
    else if (check_is_own_topic(k, topic))
        problem_at(k->out, n, at, "\"%s\" begins with %s, which the bridge keeps for its own topics (broker.prefix)",
                   topic, k->c->broker.prefix);
}

static void check_topics(const struct check *k)
{
    const struct node *section = node_get(k->root, "topics");
    struct where top = { .key = STR("topics") };
    const struct topic_config *topics = k->c->topics.at;
    for (size_t i = 0; i < k->c->topics.count; i++)
        if (check_is_own_topic(k, topics[i].name))
            problem_at(k->out, section->at[i].key, &(struct where){ &top, str_of(topics[i].name), 0 },
                       "begins with %s, which the bridge keeps for its own topics (broker.prefix)",
                       k->c->broker.prefix);
}

static void check_key(const struct check *k, const struct node *n, const char *key, const struct where *at)
{
    size_t n_good = strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789");
    if (key[n_good] != '\0' || n_good == 0 || n_good > 20)
        problem_at(k->out, n, at,
                   "\"%.*s\" is not the name of an attribute (a-z and 0-9, at most 20), for example subject",
                   SHOWN(str_of(key)));
}

static void check_registry(const struct check *k, const struct node *n, const struct where *at)
{
    const char *url = k->c->broker.registry.url;
    if (!broker_facts(&k->c->broker).is_shared)
        problem_at(k->out, n, at, "is for broker.type kafka: the local log has no schema registry");
    else if (!url || !*url)
        problem_at(k->out, n, at, "needs a schema registry: set broker.registry.url");
}

static void check_routes(const struct check *k)
{
    const struct node *section = node_get(k->root, "routes");
    const struct route_config *routes = k->c->routes.at;
    struct where top = { .key = STR("routes") };
    size_t chain = 0; /* targets that one event may have so far */
    bool closed = false;
    for (size_t i = 0; i < k->c->routes.count; i++) {
        struct where at = { .up = &top, .index = i };
        const struct node *n = check_element(section, i);
        check_topic(k, node_get(n, "topic"), routes[i].topic, &(struct where){ &at, STR("topic"), 0 });
        if (routes[i].key)
            check_key(k, node_get(n, "key"), routes[i].key, &(struct where){ &at, STR("key"), 0 });
        if (routes[i].encoding >= ENCODING_AVRO)
            check_registry(k, node_get(n, "encoding"), &(struct where){ &at, STR("encoding"), 0 });
        if (closed)
            problem_at(k->out, n, &at,
                       "is never reached: a route before it takes every event (`also: true` there lets them go on)");
        closed = closed || (!routes[i].filter && !routes[i].also);
        chain += routes[i].also ? 1 : 0;
        if (routes[i].also && chain == ROUTE_TARGETS)
            problem_at(k->out, n, &at, "is one `also` too many: an event goes to at most %d topics", ROUTE_TARGETS);
    }
    if (k->c->source_count && !k->c->routes.count)
        problem_at(
            k->out, k->root, NULL,
            "routes: is missing: sources bring events, so say where they go, for example routes: [{topic: events}]");
}

/* ---- sinks ---- */

/* Does some sink write to the delivery log? */
static bool check_attempts_are_logged(const struct check *k)
{
    bool logged = false;
    for (size_t i = 0; i < k->c->sink_count; i++)
        logged = logged || sink_logs_attempts(&k->c->sinks[i]);
    return logged;
}

static bool check_is_filled(const struct check *k, const char *topic)
{
    const struct route_config *routes = k->c->routes.at;
    const struct topic_config *topics = k->c->topics.at;
    for (size_t i = 0; i < k->c->routes.count; i++)
        if (strcmp(routes[i].topic, topic) == 0)
            return true;
    for (size_t i = 0; i < k->c->topics.count; i++)
        if (strcmp(topics[i].name, topic) == 0)
            return true;
    char *dead_letters = topic_name(k->c->broker.prefix, TOPIC_DEAD_LETTER, NULL);
    char *attempts = topic_name(k->c->broker.prefix, TOPIC_ATTEMPTS, NULL);
    char *audit = topic_name(k->c->broker.prefix, TOPIC_AUDIT, NULL);
    bool is_own = strcmp(topic, dead_letters) == 0 || (check_attempts_are_logged(k) && strcmp(topic, attempts) == 0)
                  || (k->c->admin.audit && strcmp(topic, audit) == 0);
    free(audit);
    free(attempts);
    free(dead_letters);
    return is_own || broker_facts(&k->c->broker).is_shared;
}

static void check_say_unfilled(const struct check *k, const struct node *n, const char *topic, const struct where *at)
{
    const struct route_config *routes = k->c->routes.at;
    const struct topic_config *topics = k->c->topics.at;
    size_t count = 0;
    const char **names = mem_alloc((k->c->routes.count + k->c->topics.count + 1) * sizeof *names);
    for (size_t i = 0; i < k->c->routes.count; i++)
        names[count++] = routes[i].topic;
    for (size_t i = 0; i < k->c->topics.count; i++)
        names[count++] = topics[i].name;
    char hint[HINT_TEXT];
    problem_at(k->out, n, at, "no route fills the topic \"%.*s\" and topics: does not list it%s", SHOWN(str_of(topic)),
               problem_hint(str_of(topic), names, hint));
    free(names);
}

static void check_sink_topics(const struct check *k, const struct sink_config *s, const struct node *n,
                              const struct where *up)
{
    struct where at = { .up = up, .key = STR("topics") };
    const struct node *list = node_get(n, "topics");
    if (!s->sink->ops->dead_letters && !s->topics.count)
        problem_at(k->out, check_either(list, n), &at, "is missing: which topics' events the sink gets");
    for (size_t i = 0; i < s->topics.count; i++) {
        struct where inside = { .up = &at, .index = i };
        const char *topic = s->topics.at[i];
        for (size_t j = 0; j < i; j++)
            if (strcmp(topic, s->topics.at[j]) == 0)
                problem_at(k->out, check_element(list, i), &inside, "\"%.*s\" is listed twice", SHOWN(str_of(topic)));
        if (!topic_name_ok(str_of(topic)))
            check_topic(k, check_element(list, i), topic, &inside);
        else if (!check_is_filled(k, topic))
            check_say_unfilled(k, check_element(list, i), topic, &inside);
    }
}

static void check_retry(const struct check *k, const struct durations *waits, const struct node *n,
                        const struct where *up)
{
    struct where retry = { .up = up, .key = STR("retry") };
    for (size_t i = 0; i < waits->count; i++)
        if (waits->at[i].ms > RETRY_MOST_MS)
            problem_at(k->out, check_element(node_get(n, "retry"), i), &(struct where){ .up = &retry, .index = i },
                       "is longer than 7d");
}

/* n: the mapping that says `circuit`; beside: the sink's, when that is an endpoint, which may switch its default off. */
static void check_circuit(const struct check *k, const struct circuit_config *c, const struct node *n,
                          const struct node *beside, const struct where *up)
{
    const struct node *circuit = node_get(n, "circuit");
    bool off = node_get(beside, "circuit") && (node_get(circuit, "failures") || node_get(circuit, "share"));
    if (circuit && !off && !circuit->broken && c->failures == 0 && c->share == 0)
        problem_at(k->out, circuit, &(struct where){ .up = up, .key = STR("circuit") },
                   "needs failures or share: with neither it never opens");
}

/* n: the mapping that says `rate`. */
static void check_rate(const struct check *k, double rate, const struct node *n, const struct where *up)
{
    const struct node *said = node_get(n, "rate");
    if (said && !said->broken && rate > 0 && rate < RATE_LEAST)
        problem_at(
            k->out, said, &(struct where){ .up = up, .key = STR("rate") },
            "is too low: at least 0.00002 (an attempt in 14 hours), or 0 for no limit; paused: true lets none go");
}

/* An endpoint's options of the core; `beside`: the sink's mapping. */
static void check_endpoint_core(const struct check *k, const struct endpoint_config *c, const struct node *own,
                                const struct node *beside, const struct where *at)
{
    check_rate(k, c->rate, own, at);
    if (node_get(own, "retry")) /* else it is the sink's */
        check_retry(k, &c->retry, own, at);
    check_circuit(k, &c->circuit, own, beside, at);
}

/* Is the name a sink's, or an earlier name of another one, or of the same one twice? */
static const char *check_name_taken(const struct check *k, const struct sink_config *s, size_t at)
{
    const char *name = s->formerly.at[at];
    for (size_t i = 0; i < k->c->sink_count; i++) {
        const struct sink_config *other = &k->c->sinks[i];
        if (strcmp(other->sink->id, name) == 0)
            return "is a sink of this configuration: only a name that is no longer used can be taken over";
        for (size_t j = 0; j < other->formerly.count && (other != s || j < at); j++)
            if (strcmp(other->formerly.at[j], name) == 0)
                return other == s ? "is listed twice" : "is taken over by another sink as well";
    }
    return NULL;
}

static void check_formerly(const struct check *k, const struct sink_config *s, const struct node *n,
                           const struct where *up)
{
    struct where at = { .up = up, .key = STR("formerly") };
    for (size_t i = 0; i < s->formerly.count; i++) {
        struct str name = str_of(s->formerly.at[i]);
        const char *why = sections_is_name(name) ? check_name_taken(k, s, i) : "is no name of a sink";
        if (why)
            problem_at(k->out, check_element(node_get(n, "formerly"), i), &(struct where){ .up = &at, .index = i },
                       "\"%.*s\" %s", SHOWN(name), why);
    }
}

/* Options of the core that its type has no use for. */
static void check_uses(const struct check *k, const struct connector_kind *kind, const struct connector_type *t,
                       const struct node *n, const struct where *at)
{
    for (const struct option *row = kind->core; row->key; row++) {
        const struct node *value = node_get(n, row->key);
        const char *why = value ? sections_no_use(t, row->key) : NULL;
        if (why)
            problem_at(k->out, value, &(struct where){ at, str_of(row->key), 0 }, "has no use here: a %s %s %s",
                       t->type, kind->name, why);
    }
}

static void check_sink(const struct check *k, const struct sink_config *s)
{
    const struct sink_ops *ops = s->sink->ops;
    const struct connector_type type = {
        .type = ops->type, .broadcast = ops->broadcast, .copies = ops->copies, .dead_letters = ops->dead_letters
    };
    struct where top = { .key = STR("sinks") }, at = { .up = &top, .key = str_of(s->sink->id) };
    const struct node *n = node_get(node_get(k->root, "sinks"), s->sink->id);
    check_sink_topics(k, s, n, &at);
    check_formerly(k, s, n, &at);
    check_uses(k, &connector_kinds[KIND_SINK], &type, n, &at);
    check_rate(k, s->rate, n, &at);
    check_retry(k, &s->retry, n, &at);
    check_circuit(k, &s->circuit, n, NULL, &at);
    struct where endpoints = { .up = &at, .key = STR("endpoints") };
    for (size_t i = 0; i < s->endpoint_count; i++) {
        const char *name = s->endpoints[i].endpoint->name;
        check_endpoint_core(k, &s->endpoints[i], node_get(node_get(n, "endpoints"), name), n,
                            &(struct where){ &endpoints, str_of(name), 0 });
    }
}

/* ---- listeners ---- */

struct listener {
    const char *address, *section, *id;
};

struct listeners {
    struct listener *all;
    size_t count;
};

static void check_add_listener(void *ctx, const char *section, const char *name, const char *listen,
                               const char *certificate)
{
    struct listeners *l = ctx;
    (void)certificate;
    l->all[l->count++] = (struct listener){ listen, *name ? section : NULL, *name ? name : section };
}

static bool check_can_clash(const char *address)
{
    return !str_ends(str_of(address), STR(":0")); /* port 0 is any free one */
}

static void check_say_at_listener(const struct check *k, const struct listener *l, const char *why)
{
    struct where top = { .key = str_of(l->section) }, at = { .up = l->section ? &top : NULL, .key = str_of(l->id) };
    const struct node *n = node_get(l->section ? node_get(k->root, l->section) : k->root, l->id);
    problem_at(k->out, check_either(check_either(node_get(n, "listen"), n), k->root),
               &(struct where){ &at, STR("listen"), 0 }, "%s", why);
}

static void check_control(const struct check *k)
{
    struct err e;
    const char *path = k->c->admin.control;
    char *address = str_join("unix:", path, "");
    const struct node *n = node_get(node_get(k->root, "admin"), "control");
    const struct where top = { .key = STR("admin") };
    if (path[0] && !listen_check(address, &e))
        problem_at(k->out, check_either(n, k->root), &(struct where){ &top, STR("control"), 0 }, "%s", e.text);
    free(address);
}

static void check_listeners(const struct check *k)
{
    struct err e;
    struct listener *all = mem_alloc((k->c->source_count + k->c->sink_count + 1) * sizeof *all);
    struct listeners l = { all, 0 };
    config_each_listener(k->c, check_add_listener, &l);
    for (size_t i = 0; i < l.count; i++) {
        if (!listen_check(all[i].address, &e))
            check_say_at_listener(k, &all[i], e.text);
        for (size_t j = 0; j < i; j++) {
            if (!check_can_clash(all[i].address) || strcmp(all[i].address, all[j].address) != 0)
                continue;
            err_set(&e, "%s is taken by %s.%s", all[i].address, all[j].section, all[j].id);
            check_say_at_listener(k, &all[i], e.text);
        }
    }
    free(all);
}

/* ---- connectors ---- */

/* Its options of the core. */
static void check_source_core(const struct check *k, const struct source_config *c)
{
    const struct source_ops *ops = c->source->ops;
    const struct connector_type type = { .type = ops->type, .copies = ops->copies, .ordered = ops->ordered };
    struct where sources = { .key = STR("sources") }, at = { &sources, str_of(c->source->id), 0 };
    const struct node *n = node_get(node_get(k->root, "sources"), c->source->id);
    check_uses(k, &connector_kinds[KIND_SOURCE], &type, n, &at);
    if (c->threads > c->in_flight)
        problem_at(k->out, check_either(node_get(n, "threads"), n), &(struct where){ &at, STR("threads"), 0 },
                   "is more than in_flight, so that some of them could take nothing");
}

static void check_source(const struct check *k, const struct source *s)
{
    struct err e;
    struct where sources = { .key = STR("sources") }, at = { &sources, str_of(s->id), 0 };
    struct faults f = { k->out, node_get(node_get(k->root, "sources"), s->id), &at, 0 };
    if (!s->ops->check || s->ops->check(s, &e))
        return;
    if (s->ops->faults)
        s->ops->faults(s, fault_say, &f);
    if (f.count == 0)
        fault_say(&f, "", e.text);
}

static void check_endpoint(const struct check *k, const struct sink *s, const struct endpoint *ep, const struct node *n,
                           const struct where *at)
{
    struct err e;
    const struct endpoint_ops *ops = s->ops->endpoints;
    struct faults f = { k->out, n, at, 0 };
    if (ops->check(s, ep, &e))
        return;
    if (ops->faults)
        ops->faults(s, ep, fault_say, &f);
    if (f.count == 0)
        fault_say(&f, "", e.text);
}

static void check_endpoints(const struct check *k, const struct sink_config *c, const struct node *n,
                            const struct where *at)
{
    const struct sink *s = c->sink;
    struct where endpoints = { .up = at, .key = STR("endpoints") };
    if (s->endpoint)
        check_endpoint(k, s, s->endpoint, n, at);
    for (size_t i = 0; i < c->endpoint_count; i++) {
        const struct endpoint *ep = c->endpoints[i].endpoint;
        check_endpoint(k, s, ep, node_get(node_get(n, "endpoints"), ep->name),
                       &(struct where){ &endpoints, str_of(ep->name), 0 });
    }
}

void check_receiver(const struct sink_config *s, const struct endpoint_config *c, const struct node *own,
                    const struct where *at, struct problems *out)
{
    struct check k = { .out = out };
    check_endpoint_core(&k, c, own, s->written, at);
    if (s->sink->ops->endpoints->check)
        check_endpoint(&k, s->sink, c->endpoint, own, at);
}

/* Does it go together with the sources before it? */
static void check_beside(const struct check *k, size_t i)
{
    const struct source *s = k->c->sources[i].source;
    struct where sources = { .key = STR("sources") }, at = { &sources, str_of(s->id), 0 };
    struct faults f = { k->out, node_get(node_get(k->root, "sources"), s->id), &at, 0 };
    for (size_t j = 0; j < i && s->ops->beside; j++)
        if (k->c->sources[j].source->ops == s->ops)
            s->ops->beside(s, k->c->sources[j].source, fault_say, &f);
}

/* What only the connectors know about their options. */
static void check_connectors(const struct check *k)
{
    struct err e;
    struct where sinks = { .key = STR("sinks") };
    for (size_t i = 0; i < k->c->source_count; i++)
        check_source_core(k, &k->c->sources[i]), check_source(k, k->c->sources[i].source), check_beside(k, i);
    for (size_t i = 0; i < k->c->sink_count; i++) {
        const struct sink *s = k->c->sinks[i].sink;
        struct where at = { &sinks, str_of(s->id), 0 };
        if (s->ops->check && !s->ops->check(s, &e))
            fault_say_at_key(k->out, node_get(node_get(k->root, "sinks"), s->id), &at, e.text);
        if (s->ops->endpoints && s->ops->endpoints->check)
            check_endpoints(k, &k->c->sinks[i], node_get(node_get(k->root, "sinks"), s->id), &at);
    }
}

/* The API is nobody's in particular only for who is on this machine. */
static void check_api(const struct check *k, const struct node *n, const struct where *at)
{
    const struct admin_config *a = &k->c->admin;
    const struct verify_options verify = listener_verify(&a->tokens, &a->verify);
    bool asks = (verify_is_set(&verify) && verify_asks(&verify) == ASKS_WHO) || (a->token_file && *a->token_file);
    if (!admin_has_api(a) || asks || listen_is_private(a->listen))
        return;
    const char *key = a->api ? "api" : "console";
    const struct node *value = check_either(node_get(n, key), n);
    problem_at(k->out, value, &(struct where){ at, str_of(key), 0 },
               "others reach %s: say who may, by token_file, tokens or verify, or listen on 127.0.0.1", a->listen);
}

static void check_admin(const struct check *k)
{
    struct err e;
    const struct admin_config *a = &k->c->admin;
    const struct node *n = check_either(node_get(k->root, "admin"), k->root);
    struct where at = { .key = STR("admin") };
    const struct tls_options tls = admin_tls(a);
    if (!listener_check(&a->tokens, &a->verify, &e) || !verify_fits_tls(&a->verify, &tls, &e))
        fault_say_at_key(k->out, n, &at, e.text);
    if (!tls_fits(&tls, &e))
        problem_at(k->out, n, &at, "%s", e.text);
    check_api(k, n, &at);
}

static void check_traces(const struct check *k)
{
    const char *endpoint = k->c->traces.endpoint;
    if (!endpoint || !*endpoint || strncmp(endpoint, "https://", 8) == 0 || strncmp(endpoint, "http://", 7) == 0)
        return;
    const struct node *n = check_either(node_get(k->root, "traces"), k->root);
    struct where at = { .key = STR("traces") };
    fault_say_at_key(k->out, n, &at,
                     "endpoint: must begin with https:// or http://, such as https://collector:4318/v1/traces");
}

void config_check(const struct config *c, const struct node *root, struct problems *out)
{
    struct check k = { c, root, out };
    check_broker(&k);
    check_topics(&k);
    check_routes(&k);
    for (size_t i = 0; i < c->sink_count; i++)
        check_sink(&k, &c->sinks[i]);
    check_control(&k);
    check_listeners(&k);
    if (!c->source_count && !c->sink_count)
        problem_at(out, root, NULL, "nothing to do: write at least one entry under sources: or sinks:");
    check_connectors(&k);
    check_admin(&k);
    check_traces(&k);
}
