/* SPDX-License-Identifier: MIT */
/* `aqueduct test`: what the configuration makes of events, requests and rows, against what is expected of it. No network, no daemon, no
 * broker: the router, the filters, the mapping and the requests are those of a run. */
#include <glob.h>
#include <jansson.h>
#include <stdlib.h>
#include "bridge/cli/case.h"
#include "bridge/cli/commands.h"
#include "bridge/cli/match.h"
#include "bridge/cli/show_event.h"
#include "bridge/cli/usage.h"
#include "bridge/config/sheet.h"
#include "bridge/event/trail.h"
#include "bridge/intake/route.h"
#include "bridge/lib/json.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum { TEST_EVENTS = 1000, TEST_FILES = 4096, TEST_EVENT = 16 << 20, TEST_PATH = 256 };

struct test_flags {
    bool json;
};

static const struct flag test_flags[] = {
    FLAG(struct test_flags, json, .name = "--json", .doc = "one JSON object"),
    { 0 },
};

static const char test_notes[] =
    "A file has cases: an event, a request to a path of an HTTP source, or rows of a database that change, and what is\n"
    "expected of it. What is not said is not looked at.\n\n"
    "  cases:\n"
    "    - name: an answer goes to the CRM\n"
    "      event: {type: chat.response.generated, subject: c/1, data: {output: {text: Hi}}}\n"
    "      topics: [ai.events]\n"
    "      keys: {ai.events: c/1}\n"
    "      sinks: [crm, live]                  # all that take it; `not: [audit]` names some that do not\n"
    "      requests:\n"
    "        - {to: crm, signed_by: standard, headers: {webhook-id: \"*\"}, body: {data: {output: {text: Hi}}}}\n"
    "    - name: a push of GitHub\n"
    "      request: {path: /v1/github, headers: {X-GitHub-Event: push}, body: {ref: refs/heads/main}}\n"
    "      events: [{type: github.push}]\n"
    "    - name: without a signature it is refused\n"
    "      request: {path: /v1/github, signed: false, body: {}}\n"
    "      status: 401\n"
    "    - name: a person gets another role\n"
    "      rows:                               # a SQLite source: its own rules, on a database that is made for the case\n"
    "        source: desk\n"
    "        before: {people: [{id: 7, name: Ann, role: user}]}\n"
    "        after: {people: [{id: 7, role: admin}]}    # a row that is missing here was deleted\n"
    "      events: [{type: user.updated, data: {user: {id: \"7\", role: admin}, before: {user: {role: user}}}}]\n\n"
    "FILE may be a pattern in quotes. Each expectation that fails is said with its file, line and column; exit code 1. Its JSON\n"
    "Schema, for editors: aqueduct schema --test.\n";

struct test {
    const struct config *config;
    struct router *router;
    json_t *failures, *doubts; /* of the case at hand: what its source said of its rules */
    const struct sheet *sheet; /* of the file at hand */
    const char *file;
    const struct test_case *at;
    size_t index, cases, failed, here; /* `here`: failures of the case at hand */
    const struct event *events[TEST_EVENTS];
    size_t event_count;
};

/* ---- what fails ---- */

/* At a part of the case ("requests[0].body"). */
static void test_fail(struct test *t, const char *part, const json_t *wanted, const json_t *got, const char *why)
{
    char path[TEST_PATH + 32];
    int line, column;
    snprintf(path, sizeof path, "cases[%zu]%s%s", t->index, *part ? "." : "", part);
    sheet_place(t->sheet, path, &line, &column);
    t->here++;
    json_array_append_new(t->failures, json_pack("{s:s, s:i, s:i, s:s, s:s, s:O*, s:O*, s:s?}", "file", t->file, "line",
                                                 line, "column", column, "case", t->at->name, "what", part, "expected",
                                                 wanted, "got", got, "why", why));
}

static void test_differs(void *ctx, const char *path, const json_t *wanted, const json_t *got)
{
    test_fail(ctx, path, wanted, got, got ? NULL : "is not there");
}

static void test_match(struct test *t, const char *part, const json_t *wanted, const json_t *got)
{
    struct buf path = buf_new(MATCH_PATH);
    buf_add_c(&path, part);
    match_json(wanted, got, &path, test_differs, t);
    buf_free(&path);
}

static bool test_says(const struct test *t, const char *part)
{
    char path[TEST_PATH];
    snprintf(path, sizeof path, "cases[%zu].%s", t->index, part);
    return sheet_have(t->sheet, path);
}

/* ---- the events ---- */

static json_t *test_tree(const struct tree *tree)
{
    return tree->json ? json_loads(tree->json, JSON_DECODE_ANY, NULL) : NULL;
}

static void test_take_event(struct test *t)
{
    struct err e;
    json_t *given = test_tree(&t->at->event);
    json_t *whole = case_whole_event(given);
    char *text = json_short(whole, JSON_COMPACT);
    const struct event *ev = event_from_json(str_of(text), &e);
    if (ev)
        t->events[t->event_count++] = ev;
    else
        test_fail(t, "event", NULL, NULL, e.text);
    free(text);
    json_decref(whole);
    json_decref(given);
}

static int test_post(struct test *t, const struct posted *p, int *status, struct err *e)
{
    int n = -1;
    *status = 404;
    err_set(e, "no HTTP source of the configuration has this path");
    for (size_t i = 0; i < t->config->source_count && *status == 404; i++) {
        const struct source *s = t->config->sources[i].source;
        if (s->ops->rehearse)
            n = s->ops->rehearse(s, p, t->events, TEST_EVENTS, status, e);
    }
    return n;
}

static void test_take_request(struct test *t)
{
    const struct case_request *r = &t->at->request;
    struct header *headers = mem_alloc((r->headers.count + 1) * sizeof *headers);
    for (size_t i = 0; i < r->headers.count; i++)
        headers[i] = (struct header){ str_of(r->headers.at[i].key), str_of(r->headers.at[i].value) };
    struct posted p = { .path = str_of(r->path),
                        .headers = headers,
                        .header_count = r->headers.count,
                        .body = str_of(r->text        ? r->text
                                       : r->body.json ? r->body.json
                                                      : ""),
                        .bare = !r->signed_ };
    struct err e = { "" };
    int status, n = test_post(t, &p, &status, &e);
    free(headers);
    t->event_count = n > 0 ? (size_t)n : 0;
    json_t *got = json_integer(status), *wanted = json_integer(t->at->status);
    if (status == 0)
        test_fail(t, "request", NULL, NULL, e.text);
    else if (t->at->status ? status != t->at->status : n < 0)
        test_fail(t, t->at->status ? "status" : "request", t->at->status ? wanted : NULL, got, n < 0 ? e.text : NULL);
    json_decref(got);
    json_decref(wanted);
}

/* ---- rows ---- */

static void test_wrong_rows(void *ctx, const char *place, const char *why)
{
    char part[TEST_PATH];
    snprintf(part, sizeof part, "rows%s%.200s", *place ? "." : "", place);
    test_fail(ctx, part, NULL, NULL, why);
}

static void test_doubt_rows(void *ctx, const char *place, const char *why)
{
    struct test *t = ctx;
    (void)place;
    json_array_append_new(t->doubts, json_string(why));
}

/* No source has that name. */
static void test_no_source(struct test *t, const char *name)
{
    struct err e;
    const char **names = mem_alloc((t->config->source_count + 1) * sizeof *names);
    for (size_t i = 0; i < t->config->source_count; i++)
        names[i] = t->config->sources[i].source->id;
    const char *near = str_nearest(str_of(name), names);
    err_set(&e, "there is no source %.80s%s%.80s%s", name, near ? " (did you mean " : "", near ? near : "",
            near ? "?)" : "");
    test_fail(t, "rows.source", NULL, NULL, e.text);
    free(names);
}

/* The source that is named, or the only one that reads rows; NULL: why there is none was said. */
static const struct source *test_source_of_rows(struct test *t)
{
    const char *name = t->at->rows.source;
    const struct source *found = NULL;
    struct buf readers = buf_new(WHY_BYTES);
    struct err e;
    size_t count = 0;
    for (size_t i = 0; i < t->config->source_count; i++) {
        const struct source *s = t->config->sources[i].source;
        if (name ? strcmp(s->id, name) != 0 : !s->ops->rehearse_rows)
            continue;
        found = s;
        buf_printf(&readers, "%s%s", count++ ? ", " : "", s->id);
    }
    if (name && !found)
        test_no_source(t, name);
    else if (count == 0)
        test_fail(t, "rows", NULL, NULL, "no source of the configuration reads rows");
    else if (count > 1)
        err_set(&e, "several sources read rows: say which by source (%s)", buf_c(&readers) ? buf_c(&readers) : "...");
    else if (!found->ops->rehearse_rows)
        err_set(&e, "%.80s reads no rows: it is of type %s", found->id, found->ops->type);
    bool one = count == 1 && found->ops->rehearse_rows;
    if (count && !one)
        test_fail(t, name ? "rows.source" : "rows", NULL, NULL, e.text);
    buf_free(&readers);
    return one ? found : NULL;
}

static void test_take_rows(struct test *t)
{
    const struct case_change *c = &t->at->rows;
    const struct source *s = test_source_of_rows(t);
    json_t *before = test_tree(&c->before), *after = test_tree(&c->after);
    struct staged of = { c->schema, before, after };
    if (s && !after)
        test_fail(t, "rows", NULL, NULL, "by `after` rows say what becomes of them: after: {people: [{id: 7}]}");
    else if (s)
        t->event_count = s->ops->rehearse_rows(s, &of, t->events, TEST_EVENTS, test_wrong_rows, test_doubt_rows, t);
    json_decref(before);
    json_decref(after);
}

/* What the source said of its rules may be why a case fails. */
static void test_tell_doubts(struct test *t)
{
    size_t i;
    const json_t *one;
    if (t->here > 0)
        json_array_foreach(t->doubts, i, one) test_fail(t, "rows", NULL, NULL, json_string_value(one));
    json_array_clear(t->doubts);
}

/* ---- topics and keys ---- */

static void test_add_once(json_t *list, const char *text)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        if (strcmp(json_string_value(one), text) == 0)
            return;
    }
    json_array_append_new(list, json_string(text));
}

static bool test_has(const json_t *list, const char *text)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        if (strcmp(json_string_value(one), text) == 0)
            return true;
    }
    return false;
}

/* All of these, in whatever order. */
static void test_compare_set(struct test *t, const char *part, const struct strings *wanted, const json_t *got)
{
    json_t *all = json_array();
    bool same = wanted->count == json_array_size(got);
    for (size_t i = 0; i < wanted->count; i++) {
        json_array_append_new(all, json_string(wanted->at[i]));
        same = same && test_has(got, wanted->at[i]);
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
            test_add_once(topics, targets[k].topic);
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
            test_add_once(ctx, p->name);
    return false;
}

static bool test_add_name(struct test *t, const struct test_place *p, void *ctx)
{
    (void)t;
    test_add_once(ctx, p->name);
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
    if (!test_has(all, name))
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
        if (test_has(takers, t->at->not .at[i]))
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
    json_t *body = test_tree(&w->body);
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

/* ---- cases and files ---- */

static void test_events(struct test *t)
{
    json_t *wanted = test_tree(&t->at->events), *got = json_array();
    for (size_t i = 0; i < t->event_count; i++)
        json_array_append_new(got, show_event_json(t->events[i]));
    if (wanted)
        test_match(t, "events", wanted, got);
    json_decref(wanted);
    json_decref(got);
}

static void test_run_case(struct test *t)
{
    t->here = t->event_count = 0;
    bool event = t->at->event.json, request = t->at->request.path, rows = test_says(t, "rows");
    if (event + request + rows != 1)
        test_fail(t, "", NULL, NULL, "a case has an event, a request with its path, or rows");
    else if (request)
        test_take_request(t);
    else if (rows)
        test_take_rows(t);
    else
        test_take_event(t);
    if (t->here == 0) {
        test_events(t);
        test_topics(t);
        test_sinks(t);
        test_requests(t);
    }
    test_tell_doubts(t);
    for (size_t i = 0; i < t->event_count; i++)
        event_unref(t->events[i]);
    t->cases++;
    t->failed += t->here > 0;
}

static bool test_run_file(struct test *t, const char *file, struct problems *problems)
{
    struct sheet *sheet = sheet_load(file, case_file_rows, sizeof(struct case_file), problems);
    const struct case_file *f = sheet ? sheet_object(sheet) : NULL;
    t->sheet = sheet;
    t->file = file;
    for (t->index = 0; f && t->index < f->cases.count; t->index++) {
        t->at = (const struct test_case *)f->cases.at + t->index;
        test_run_case(t);
    }
    sheet_free(sheet);
    return f != NULL;
}

/* Of a word that is a pattern, each file; a word that fits none is a file that is not there. */
static bool test_run_word(struct test *t, const char *word, struct problems *problems)
{
    glob_t files;
    bool good = true;
    if (glob(word, GLOB_NOCHECK, NULL, &files) != 0)
        return test_run_file(t, word, problems);
    for (size_t i = 0; i < files.gl_pathc; i++)
        good = test_run_file(t, files.gl_pathv[i], problems) && good;
    globfree(&files);
    return good;
}

/* ---- what is said ---- */

static void test_say_value(const char *sign, const json_t *failure, const char *member)
{
    const json_t *value = json_object_get(failure, member);
    char *text = value ? json_short(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    if (text) {
        str_make_shown(text);
        printf("  %s %s\n", sign, text);
    }
    free(text);
}

static void test_say(const json_t *failure)
{
    char name[256], why[512];
    snprintf(name, sizeof name, "%s", json_text(failure, "case"));
    snprintf(why, sizeof why, "%s", json_text(failure, "why"));
    str_make_shown(name);
    str_make_shown(why);
    printf("%s:%" JSON_INTEGER_FORMAT ":%" JSON_INTEGER_FORMAT ": %s: %s%s%s\n", json_text(failure, "file"),
           json_integer_value(json_object_get(failure, "line")), json_integer_value(json_object_get(failure, "column")),
           name, json_text(failure, "what"), *why ? ": " : "", why);
    test_say_value("- expected", failure, "expected");
    test_say_value("+ got     ", failure, "got");
}

static void test_say_all(const struct test *t, const struct problems *problems, bool good, bool as_json)
{
    size_t i;
    const json_t *one;
    if (as_json) {
        json_t *more = json_pack("{s:b, s:I, s:I, s:O}", "ok", (int)good, "cases", (json_int_t)t->cases, "failed",
                                 (json_int_t)t->failed, "failures", t->failures);
        problems_print_json(problems, more, stdout);
        json_decref(more);
        return;
    }
    problems_print(problems, stderr);
    json_array_foreach(t->failures, i, one) test_say(one);
    printf("%zu case%s, %zu failed\n", t->cases, t->cases == 1 ? "" : "s", t->failed);
}

static int test_run(struct command_call *call)
{
    const struct test_flags *f = call->flags;
    struct problems problems = { 0 };
    bool good = true;
    log_setup(LOG_ERROR, LOG_LOGFMT); /* what is wrong is told of its case */
    struct test *t = mem_alloc(sizeof *t);
    *t = (struct test){
        .config = call->config, .router = router_new(call->config), .failures = json_array(), .doubts = json_array()
    };
    for (size_t i = 0; i < call->word_count; i++)
        good = test_run_word(t, call->words[i], &problems) && good;
    good = good && t->failed == 0;
    test_say_all(t, &problems, good, f->json);
    problems_free(&problems);
    json_decref(t->failures);
    json_decref(t->doubts);
    router_free(t->router);
    free(t);
    return good ? COMMAND_DONE : COMMAND_FAILED;
}

const struct command command_test = {
    .name = "test",
    .synopsis = "[-c FILE]... FILE... [--json]",
    .doc = "Run cases: an event, a request or rows in, expected topics, sinks and requests out.",
    .notes = test_notes,
    .flags = test_flags,
    .size = sizeof(struct test_flags),
    .min_words = 1,
    .max_words = TEST_FILES,
    .config = true,
    .run = test_run,
};
