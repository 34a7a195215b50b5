/* SPDX-License-Identifier: MIT */
/* Filling, opening and closing connectors for tests. */
#include "tests/support/connector.h"
#include <stdlib.h>
#include "bridge/config/private.h"
#include "bridge/lib/mem.h"
#include "tests/support/test.h"

bool options_read(const char *file, struct str yaml, const struct option *rows, void *obj, struct problems *out)
{
    static struct arena until_exit;
    struct arena tree = { 0 };
    struct fill f = { &until_exit, out };
    struct node *n = tree_load(&tree, file, yaml, out);
    if (n && fill_is_mapping(&f, n, NULL))
        fill_mapping(&f, n, &(struct fill_target){ rows, obj }, 1, NULL, NULL);
    arena_free(&tree);
    problems_sort(out, &file, 1);
    return out->count == 0;
}

char *options_problem(const struct option *rows, void *obj, const char *yaml)
{
    struct problems p = { 0 };
    bool good = options_read("test.yaml", str_of(yaml), rows, obj, &p);
    char *text = good ? NULL : str_dup(str_of(p.count ? p.at[0].text : "?"));
    problems_free(&p);
    return text;
}

void options_fill(const struct option *rows, void *obj, const char *yaml)
{
    char *text = options_problem(rows, obj, yaml);
    if (text)
        print_error("options: %s\n", text);
    assert_null(text);
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
    options_fill(ops->options, s, yaml);
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

void sink_start(struct sink *s)
{
    struct err e = { "" };
    if (!s->ops->open(s, &e))
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

struct err sink_refused(const struct sink_ops *ops, const char *yaml)
{
    struct sink *s = sink_filled(ops, "refused", yaml);
    struct err e = { "" };
    if (ops->open(s, &e))
        fail_msg("%s opened with options that it should refuse: %s", ops->type, yaml);
    free(s);
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
    if (s)
        s->ops->close(s);
    free(s);
}
