/* SPDX-License-Identifier: MIT */
/* What a case of `aqueduct test` expects of its events: how they are, which topics and sinks take them, and the
 * requests that receivers get. */
#include <stdlib.h>
#include "bridge/cli/show_event.h"
#include "bridge/cli/test_private.h"
#include "bridge/event/trail.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

static void test_events(struct test *t)
{
    json_t *wanted = case_json(&t->at->events), *got = json_array();
    for (size_t i = 0; i < t->event_count; i++)
        json_array_append_new(got, show_event_json(t->events[i]));
    if (wanted)
        test_match(t, "events", wanted, got);
    json_decref(wanted);
    json_decref(got);
}

/* ---- topics and keys ---- */

/* All of these, in whatever order. */
static void test_compare_set(struct test *t, const char *part, const struct strings *wanted, const json_t *got)
{
    json_t *all = json_array();
    bool same = wanted->count == json_array_size(got);
    for (size_t i = 0; i < wanted->count; i++) {
        json_array_append_new(all, json_string(wanted->at[i]));
        same = same && json_has(got, wanted->at[i]);
    }
    if (!same)
        test_fail(t, part, all, got, NULL);
    json_decref(all);
}

static void test_topics(struct test *t)
{
    struct target targets[ROUTE_TARGETS];
    json_t *topics = json_array(), *keys = json_object(), *wanted = json_object();
    for (size_t i = 0; i < t->event_count; i++) {
        size_t n = router_targets(t->router, t->events[i], targets);
        for (size_t k = 0; k < n; k++) {
            json_add_once(topics, targets[k].topic);
            if (!json_object_get(keys, targets[k].topic))
                json_object_set_new(keys, targets[k].topic, json_of_text(targets[k].key.at ? targets[k].key : STR("")));
        }
    }
    for (size_t i = 0; i < t->at->keys.count; i++)
        json_object_set_new(wanted, t->at->keys.at[i].key, json_string(t->at->keys.at[i].value));
    if (test_says(t, "topics"))
        test_compare_set(t, "topics", &t->at->topics, topics);
    test_match(t, "keys", wanted, keys);
    json_decref(wanted);
    json_decref(keys);
    json_decref(topics);
}

/* ---- sinks ---- */

struct test_place {
    const struct sink_config *sink;
    const struct endpoint *endpoint; /* that which gets its requests */
    const struct filter *filter;
    char *name;
};

/* *bare: the topic that it comes from forgets its data (a tombstone). */
static bool test_takes(const struct test *t, const struct test_place *p, const struct event *ev, bool *bare)
{
    struct target targets[ROUTE_TARGETS];
    size_t n = router_targets(t->router, ev, targets);
    for (size_t i = 0; i < n; i++)
        if (strings_have(&p->sink->topics, str_of(targets[i].topic))) {
            *bare = targets[i].tombstone;
            return filter_match(p->sink->filter, ev) && filter_match(p->filter, ev);
        }
    return false;
}

/* Calls each() with every place; true as soon as that says so. */
static bool test_places(struct test *t, bool (*each)(struct test *t, const struct test_place *p, void *ctx), void *ctx)
{
    bool done = false;
    for (size_t i = 0; i < t->config->sink_count; i++) {
        const struct sink_config *s = &t->config->sinks[i];
        for (size_t k = 0;
             !done && !s->sink->ops->dead_letters && k < (s->endpoint_count ? s->endpoint_count : !s->many); k++) {
            const struct endpoint_config *ep = s->endpoint_count ? &s->endpoints[k] : NULL;
            struct test_place p = { s, ep ? ep->endpoint : s->sink->endpoint, ep ? ep->filter : NULL,
                                    trail_place(s->sink->id, ep ? ep->endpoint->name : NULL) };
            done = each(t, &p, ctx);
            free(p.name);
        }
    }
    return done;
}

static bool test_add_taker(struct test *t, const struct test_place *p, void *ctx)
{
    bool bare;
    for (size_t i = 0; i < t->event_count; i++)
        if (test_takes(t, p, t->events[i], &bare))
            json_add_once(ctx, p->name);
    return false;
}

static bool test_add_name(struct test *t, const struct test_place *p, void *ctx)
{
    (void)t;
    json_add_once(ctx, p->name);
    return false;
}

/* Why there is no such place to test. */
static const char *test_no_place(const struct test *t, const char *name)
{
    struct str rest = str_of(name), sink;
    str_cut(&rest, '/', &sink);
    for (size_t i = 0; i < t->config->sink_count; i++) {
        const struct sink_config *s = &t->config->sinks[i];
        if (!str_eq(sink, str_of(s->sink->id)))
            continue;
        if (s->sink->ops->dead_letters)
            return "a dead_letter sink takes no events of topics";
        if (s->many)
            return "the configuration has no such endpoint, and those made at run time cannot be tested without the "
                   "daemon: aqueduct explain asks it";
    }
    return "there is no such sink, or endpoint of a sink";
}

/* Is there such a place? Else a failure. */
static void test_check_place(struct test *t, const char *part, const char *name)
{
    json_t *all = json_array();
    test_places(t, test_add_name, all);
    if (!json_has(all, name))
        test_fail(t, part, NULL, all, test_no_place(t, name));
    json_decref(all);
}

static void test_sinks(struct test *t)
{
    char part[TEST_PATH];
    json_t *takers = json_array();
    test_places(t, test_add_taker, takers);
    for (size_t i = 0; i < t->at->sinks.count; i++) {
        snprintf(part, sizeof part, "sinks[%zu]", i);
        test_check_place(t, part, t->at->sinks.at[i]);
    }
    if (test_says(t, "sinks"))
        test_compare_set(t, "sinks", &t->at->sinks, takers);
    for (size_t i = 0; i < t->at->not .count; i++) {
        snprintf(part, sizeof part, "not[%zu]", i);
        test_check_place(t, part, t->at->not .at[i]);
        if (json_has(takers, t->at->not .at[i]))
            test_fail(t, part, NULL, NULL, "it takes the event");
    }
    json_decref(takers);
}

/* ---- requests ---- */

struct test_delivery {
    struct test *t;
    const struct case_delivery *wanted;
    char part[TEST_PATH / 2];
    bool found;
};

static void test_text(struct test_delivery *d, const char *what, const char *wanted, struct str got)
{
    char part[TEST_PATH];
    if (!wanted)
        return;
    json_t *expected = json_string(wanted), *there = got.at ? json_of_text(got) : NULL;
    snprintf(part, sizeof part, "%s.%s", d->part, what);
    test_match(d->t, part, expected, there);
    json_decref(expected);
    json_decref(there);
}

static struct str test_header(const struct shown_request *r, const char *name)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (str_eq_nocase(r->headers[i].name, str_of(name)))
            return r->headers[i].value;
    return STR_ABSENT;
}

static void test_use(void *ctx, const struct shown_request *r)
{
    struct test_delivery *d = ctx;
    const struct case_delivery *w = d->wanted;
    char part[TEST_PATH];
    test_text(d, "method", w->method, str_of(r->method));
    test_text(d, "url", w->url, r->url);
    test_text(d, "signed_by", w->signed_by, str_of(r->signed_by ? r->signed_by : "none"));
    test_text(d, "text", w->text, r->body);
    for (size_t i = 0; i < w->headers.count; i++) {
        snprintf(part, sizeof part, "headers.%.100s", w->headers.at[i].key);
        test_text(d, part, w->headers.at[i].value, test_header(r, w->headers.at[i].key));
    }
    json_t *body = case_json(&w->body);
    if (!body)
        return;
    json_t *got = json_loadb(r->body.at, r->body.n, JSON_DECODE_ANY, NULL);
    got = got ? got : json_of_text(r->body);
    snprintf(part, sizeof part, "%s.body", d->part);
    test_match(d->t, part, body, got);
    json_decref(got);
    json_decref(body);
}

/* Compares the request with which the sink sends the event. */
static void test_show(struct test_delivery *d, const struct test_place *p, const struct event *ev)
{
    struct err e;
    const struct endpoint_ops *ops = p->sink->sink->ops->endpoints;
    struct message m = { .event = ev, .endpoint = (struct endpoint *)(uintptr_t)p->endpoint, .attempt = 1 };
    if (!ops || !ops->show)
        test_fail(d->t, d->part, NULL, NULL, "a sink of this type sends no requests");
    else if (!ops->show(p->sink->sink, p->endpoint, &m, test_use, d, &e))
        test_fail(d->t, d->part, NULL, NULL, e.text);
}

static bool test_deliver(struct test *t, const struct test_place *p, void *ctx)
{
    struct test_delivery *d = ctx;
    size_t i = 0;
    bool bare = false;
    if (strcmp(p->name, d->wanted->to) != 0)
        return false;
    d->found = true;
    while (i < t->event_count && !test_takes(t, p, t->events[i], &bare))
        i++;
    if (i == t->event_count) {
        test_fail(t, d->part, NULL, NULL, "it does not take the event: aqueduct explain says why");
        return true;
    }
    struct event fields = *t->events[i];
    if (bare)
        fields.data = STR_ABSENT;
    const struct event *ev = event_new(&fields, NULL);
    CHECK(ev);
    test_show(d, p, ev);
    event_unref(ev);
    return true;
}

static void test_requests(struct test *t)
{
    const struct case_delivery *wanted = t->at->requests.at;
    for (size_t i = 0; i < t->at->requests.count; i++) {
        struct test_delivery d = { .t = t, .wanted = &wanted[i] };
        snprintf(d.part, sizeof d.part, "requests[%zu]", i);
        if (!test_places(t, test_deliver, &d))
            test_check_place(t, d.part, wanted[i].to);
    }
}

void test_expect(struct test *t)
{
    test_events(t);
    test_topics(t);
    test_sinks(t);
    test_requests(t);
}
