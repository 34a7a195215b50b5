/* SPDX-License-Identifier: MIT */
/* What a case of `aqueduct test` gives, as events: its event, its request as an HTTP source takes it, or its rows as
 * they change before the source that reads them. */
#include <stdlib.h>
#include "bridge/cli/test_private.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

void test_take_event(struct test *t)
{
    struct err e;
    json_t *given = case_json(&t->at->event);
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

void test_take_request(struct test *t)
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

void test_take_rows(struct test *t)
{
    const struct case_change *c = &t->at->rows;
    const struct source *s = test_source_of_rows(t);
    json_t *before = case_json(&c->before), *after = case_json(&c->after);
    struct staged of = { c->schema, before, after };
    if (s && !after)
        test_fail(t, "rows", NULL, NULL, "by `after` rows say what becomes of them: after: {people: [{id: 7}]}");
    else if (s)
        t->event_count = s->ops->rehearse_rows(s, &of, t->events, TEST_EVENTS, test_wrong_rows, test_doubt_rows, t);
    json_decref(before);
    json_decref(after);
}
