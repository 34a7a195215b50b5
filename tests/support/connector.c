/* SPDX-License-Identifier: MIT */
/* Filling, opening and closing connectors for tests. */
#include "tests/support/connector.h"
#include <stdlib.h>
#include "bridge/config/private.h"
#include "bridge/lib/mem.h"
#include "tests/support/test.h"

static bool read_targets(const char *file, struct str yaml, const struct fill_target *targets, size_t count,
                         struct problems *out)
{
    static struct arena until_exit;
    struct arena tree = { 0 };
    struct fill f = { &until_exit, out, NULL };
    struct node *n = tree_load(&tree, file, yaml, out);
    if (n && fill_is_mapping(&f, n, NULL))
        fill_mapping(&f, n, targets, count, NULL, NULL);
    arena_free(&tree);
    problems_sort(out, &file, 1);
    return out->count == 0;
}

bool options_read(const char *file, struct str yaml, const struct option *rows, void *obj, struct problems *out)
{
    return read_targets(file, yaml, &(struct fill_target){ rows, obj, NULL }, 1, out);
}

static char *targets_problem(const struct fill_target *targets, size_t count, const char *yaml)
{
    struct problems p = { 0 };
    bool good = read_targets("test.yaml", str_of(yaml), targets, count, &p);
    char *text = good ? NULL : str_dup(str_of(p.count ? p.at[0].text : "?"));
    problems_free(&p);
    return text;
}

char *options_problem(const struct option *rows, void *obj, const char *yaml)
{
    return targets_problem(&(struct fill_target){ rows, obj, NULL }, 1, yaml);
}

static void fill_targets(const struct fill_target *targets, size_t count, const char *yaml)
{
    char *text = targets_problem(targets, count, yaml);
    if (text)
        print_error("options: %s\n", text);
    assert_null(text);
}

void options_fill(const struct option *rows, void *obj, const char *yaml)
{
    fill_targets(&(struct fill_target){ rows, obj, NULL }, 1, yaml);
}

struct source *source_filled(const struct source_ops *ops, const char *id, const char *yaml)
{
    struct source *s = mem_alloc(ops->size);
    s->ops = ops;
    s->id = id;
    options_fill(ops->options, s, yaml);
    return s;
}

struct sink *sink_filled(const struct sink_ops *ops, const char *id, const char *yaml)
{
    static const struct strings no_topics;
    struct sink *s = mem_alloc(ops->size);
    s->ops = ops;
    s->id = id;
    s->topics = &no_topics;
    struct fill_target targets[2] = { { ops->options, s, NULL } };
    if (ops->endpoints) {
        s->endpoint = mem_alloc(ops->endpoints->size);
        targets[1] = (struct fill_target){ ops->endpoints->options, s->endpoint, NULL };
    }
    fill_targets(targets, ops->endpoints ? 2 : 1, yaml);
    return s;
}

struct source *source_opened(const struct source_ops *ops, const char *id, const char *yaml)
{
    struct source *s = source_filled(ops, id, yaml);
    source_start(s);
    return s;
}

struct sink *sink_opened(const struct sink_ops *ops, const char *id, const char *yaml)
{
    struct sink *s = sink_filled(ops, id, yaml);
    sink_start(s);
    return s;
}

void source_start(struct source *s)
{
    struct err e = { "" };
    if (!s->ops->open(s, &e))
        fail_msg("%s: %s", s->id, e.text);
}

static bool sink_try(struct sink *s, struct err *e)
{
    if (!s->ops->open(s, e))
        return false;
    if (!s->endpoint || s->ops->endpoints->open(s, s->endpoint, e))
        return true;
    s->ops->close(s);
    return false;
}

void sink_start(struct sink *s)
{
    struct err e = { "" };
    if (!sink_try(s, &e))
        fail_msg("%s: %s", s->id, e.text);
}

struct err source_refused(const struct source_ops *ops, const char *yaml)
{
    struct source *s = source_filled(ops, "refused", yaml);
    struct err e = { "" };
    if (ops->open(s, &e))
        fail_msg("%s opened with options that it should refuse: %s", ops->type, yaml);
    free(s);
    return e;
}

void sink_free(struct sink *s)
{
    free(s->endpoint);
    free(s);
}

struct err sink_refused(const struct sink_ops *ops, const char *yaml)
{
    struct sink *s = sink_filled(ops, "refused", yaml);
    struct err e = { "" };
    if (sink_try(s, &e))
        fail_msg("%s opened with options that it should refuse: %s", ops->type, yaml);
    sink_free(s);
    return e;
}

struct result sink_deliver(struct sink *s, const struct event *ev)
{
    static uint64_t tag;
    struct message m = { .event = ev, .attempt = 1, .tag = ++tag };
    struct result r = { 0 };
    s->ops->send(s, &m);
    assert_int_equal(s->ops->work(s, -1, (struct duration){ 3600 * 1000 }, &r, 1), 1); /* a missed wake-up hangs here */
    assert_int_equal(r.tag, tag);
    assert_int_equal(s->ops->work(s, -1, (struct duration){ 0 }, &r, 1), 0);
    return r;
}

void source_end(struct source *s)
{
    if (s)
        s->ops->close(s);
    free(s);
}

void sink_end(struct sink *s)
{
    if (!s)
        return;
    if (s->endpoint)
        s->ops->endpoints->close(s, s->endpoint);
    s->ops->close(s);
    sink_free(s);
}
