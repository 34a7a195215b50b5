/* SPDX-License-Identifier: MIT */
/* From files to struct config: read, merge, fill, check. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/config/environment.h"
#include "bridge/config/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/expand.h"
#include "bridge/lib/mem.h"

enum { LOAD_WAIT_MS = 5000 };

struct load_how {
    bool review;
    const struct config_trial *trial; /* of a review; NULL: none */
    struct str text;                  /* of the only file; absent: the files are read */
    const char *sink_type;            /* only what the sinks of this type need; NULL: everything */
};

/* Reads what the descriptor gives within LOAD_WAIT_MS: a pipe that nobody writes to must not make us wait for ever. */
static bool load_read(int fd, struct buf *out)
{
    int64_t until = clock_mono_ms() + LOAD_WAIT_MS;
    struct pollfd news = { .fd = fd, .events = POLLIN };
    for (int64_t left; (left = until - clock_mono_ms()) > 0;) {
        if (poll(&news, 1, (int)left) <= 0)
            continue;
        char piece[4096];
        ssize_t n = read(fd, piece, sizeof piece);
        if (n == 0)
            return true;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (n > 0)
            buf_add(out, piece, (size_t)n);
        if (out->failed || out->n > CONFIG_FILE_BYTES) {
            errno = EFBIG;
            return false;
        }
    }
    errno = ETIMEDOUT;
    return false;
}

static bool load_text(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return false;
    bool ok = load_read(fd, out);
    int why = errno;
    close(fd);
    errno = why;
    return ok;
}

static struct node *load_file(struct arena *tree, const char *path, const struct load_how *how, struct problems *out)
{
    struct buf text = buf_new(CONFIG_FILE_BYTES + 1);
    struct node *n = NULL;
    if (how->text.at)
        buf_add_str(&text, how->text);
    if (how->text.at || load_text(path, &text))
        n = (how->sink_type ? tree_load_part : tree_load)(tree, path, buf_str(&text), out);
    else if (errno == EFBIG)
        problem_add(out, path, 1, 1, "is longer than %d KiB", CONFIG_FILE_BYTES >> 10);
    else if (errno == ETIMEDOUT)
        problem_add(out, path, 0, 0, "cannot be read: it is no regular file, and did not end within %d s",
                    LOAD_WAIT_MS / 1000);
    else
        problem_add(out, path, 0, 0, "cannot be read: %s", strerror(errno));
    if (n && n->kind != NODE_MAPPING) {
        problem_add(out, path, n->line, n->column, "must be a mapping of sections (sources:, routes:, sinks:, ...)");
        n = NULL;
    }
    buf_free(&text);
    return n;
}

/* The tree of all files together; NULL when one of them gives none. */
static struct node *load_files(struct arena *tree, const char *const *files, size_t count, const struct load_how *how,
                               struct problems *out)
{
    struct node *root = NULL;
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        struct node *n = load_file(tree, files[i], how, out);
        ok = ok && n;
        if (n && root)
            tree_merge(tree, root, n, out);
        else if (n)
            root = n;
    }
    if (ok && !how->text.at && !environment_apply(tree, &root, how->sink_type != NULL, out))
        problem_add(
            out, NULL, 0, 0,
            "no configuration file: name one with -c FILE or AQUEDUCT_CONFIG, or write ./bridge.yaml, or say it by "
            "the environment (aqueduct help environment)");
    return ok ? root : NULL;
}

/* Notes the files that ${file:...} names. */
static void load_note_files(struct config *c, const struct node *n)
{
    struct str rest = n->written, path;
    while (n->kind == NODE_SCALAR && rest.at && expand_next_file(&rest, &path)) {
        if (strings_have(&c->files, path))
            continue;
        char **more = arena_alloc(c->arena, (c->files.count + 1) * sizeof *more);
        if (c->files.count)
            memcpy(more, c->files.at, c->files.count * sizeof *more);
        more[c->files.count++] = arena_text(c->arena, path);
        c->files.at = more;
    }
    for (size_t i = 0; i < n->count; i++)
        load_note_files(c, n->at[i].value);
}

static void load_say_missing(const struct node *n, struct problems *out)
{
    const struct node *missing = tree_find_why(n);
    if (missing)
        problem_add(out, missing->file, missing->line, missing->column, "%s", missing->why);
}

/* Is all there that is needed of the configuration? */
static void load_check_part(struct config *c, const struct node *root, const char *sink_type, struct problems *out)
{
    const struct node *sinks = node_get(root, "sinks"), *broker = tree_find_why(node_get(root, "broker"));
    struct err e;
    load_say_missing(node_get(root, "log"), out);
    for (size_t i = 0; i < c->sink_count; i++) {
        const struct sink *s = c->sinks[i].sink;
        const struct node *n = node_get(sinks, s->id);
        if (strcmp(s->ops->type, sink_type) != 0)
            continue;
        load_say_missing(n, out);
        if (s->ops->check && !s->ops->check(s, &e))
            problem_at(out, n, &(struct where){ .key = str_of(s->id) }, "%s", e.text);
    }
    load_say_missing(c->broker.prefix ? NULL : node_get(root, "broker"), out); /* it names all topics */
    if (broker)
        c->broker_missing = arena_text(c->arena, str_of(broker->why));
}

static struct config *load_all(const struct connectors *connectors, const char *const *files, size_t count,
                               struct load_how how, struct problems *out)
{
    struct config *c = mem_alloc(sizeof *c);
    c->arena = mem_alloc(sizeof(struct arena));
    c->connectors = connectors;
    struct node *root = load_files(c->arena, files, count, &how, out); /* stays: see made.h */
    if (root)
        sections_fill(connectors, c, root, out);
    if (root)
        load_note_files(c, root);
    c->broker_written = root ? node_get(root, "broker") : NULL;
    c->broker.readers = (int64_t)c->sink_count + 1; /* and the waiter */
    if (root && how.sink_type)
        load_check_part(c, root, how.sink_type, out);
    else if (root && out->count == 0) /* what the sections say about each other can be judged only when each is right */
        config_check(c, root, out);
    if (root && !how.text.at)
        environment_review(c->arena, root, count == 0, out);
    if (root && how.review && problems_errors(out) == 0)
        config_review(c, root, how.trial, out);
    problems_sort(out, files, count);
    if (problems_errors(out) == 0)
        return c;
    config_free(c);
    return NULL;
}

struct config *config_load(const struct connectors *connectors, const char *const *files, size_t count,
                           struct problems *out)
{
    return load_all(connectors, files, count, (struct load_how){ 0 }, out);
}

struct config *config_load_reviewed(const struct connectors *connectors, const char *const *files, size_t count,
                                    const struct config_trial *trial, struct problems *out)
{
    return load_all(connectors, files, count, (struct load_how){ .review = true, .trial = trial }, out);
}

struct config *config_load_text(const struct connectors *connectors, const char *name, struct str yaml,
                                struct problems *out)
{
    return load_all(connectors, &name, 1, (struct load_how){ .text = yaml }, out);
}

json_t *config_json(struct str yaml, struct err *e)
{
    struct arena arena = { 0 };
    struct problems problems = { 0 };
    struct node *root = tree_load(&arena, "the text", yaml, &problems);
    json_t *json = root && problems.count == 0 ? fill_json(root) : NULL;
    if (problems.count)
        err_set(e, "line %d, column %d: %s", problems.at[0].line, problems.at[0].column, problems.at[0].text);
    else if (!json)
        err_set(e, root ? "is not UTF-8" : "says nothing");
    problems_free(&problems);
    arena_free(&arena);
    return json;
}

json_t *config_broker_json(const struct config *c)
{
    json_t *json = c->broker_written ? fill_json(c->broker_written) : NULL;
    return json ? json : json_object();
}

struct config *config_load_part(const struct connectors *connectors, const char *const *files, size_t count,
                                const char *sink_type, struct problems *out)
{
    return load_all(connectors, files, count, (struct load_how){ .sink_type = sink_type }, out);
}

/* Of a mapping by name. */
static void load_each_key(const struct node *n, void (*each)(void *ctx, const char *name), void *ctx)
{
    for (size_t i = 0; n && n->kind == NODE_MAPPING && i < n->count; i++)
        each(ctx, n->at[i].key->text.at);
}

static void load_each_place(const struct node *sinks, void (*each)(void *ctx, const char *name), void *ctx)
{
    for (size_t i = 0; sinks && sinks->kind == NODE_MAPPING && i < sinks->count; i++) {
        const struct node *endpoints = node_get(sinks->at[i].value, "endpoints");
        for (size_t k = 0; endpoints && endpoints->kind == NODE_MAPPING && k < endpoints->count; k++) {
            char *place = str_join(sinks->at[i].key->text.at, "/", endpoints->at[k].key->text.at);
            each(ctx, place);
            free(place);
        }
        if (!endpoints)
            each(ctx, sinks->at[i].key->text.at);
    }
}

void config_each_name(const char *const *files, size_t count, const char *which,
                      void (*each)(void *ctx, const char *name), void *ctx)
{
    struct arena tree = { 0 };
    struct problems problems = { 0 };
    const struct load_how part = { .sink_type = "" };
    const struct node *root = load_files(&tree, files, count, &part, &problems), *routes = node_get(root, "routes");
    bool topics = strcmp(which, "topics") == 0;
    if (strcmp(which, "places") == 0)
        load_each_place(node_get(root, "sinks"), each, ctx);
    else
        load_each_key(node_get(root, which), each, ctx);
    for (size_t i = 0; topics && routes && routes->kind == NODE_LIST && i < routes->count; i++) {
        const struct node *topic = node_get(routes->at[i].value, "topic");
        if (topic && topic->kind == NODE_SCALAR)
            each(ctx, topic->text.at);
    }
    problems_free(&problems);
    arena_free(&tree);
}

void config_free(struct config *c)
{
    if (!c)
        return;
    view_free(&c->view);
    arena_free(c->arena);
    free(c->arena);
    free(c);
}
