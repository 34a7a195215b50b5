/* SPDX-License-Identifier: MIT */
/* The sections of the configuration: their rows, and the way from files to struct config. */
#include "bridge/config/config.h"
#include <errno.h>
#include <stdlib.h>
#include "bridge/config/private.h"
#include "bridge/lib/file.h"
#include "bridge/event/trail.h"
#include "bridge/lib/mem.h"

enum { DAY_MS = 86400000, HOUR_MS = 3600000 };

static const struct option_value order_values[] = { { ORDER_NONE, "none" }, { ORDER_KEY, "key" }, { 0 } };
static const struct option_value start_values[] = { { START_EARLIEST, "earliest" }, { START_LATEST, "latest" }, { 0 } };
static const struct option_value encoding_values[] = { { ENCODING_BINARY, "binary" },
                                                       { ENCODING_STRUCTURED, "structured" },
                                                       { 0 } };
static const struct option_value unrouted_values[] = { { UNROUTED_ERROR, "error" }, { UNROUTED_DROP, "drop" }, { 0 } };
static const struct option_value level_values[] = {
    { LOG_DEBUG, "debug" }, { LOG_INFO, "info" }, { LOG_WARN, "warn" }, { LOG_ERROR, "error" }, { 0 }
};
static const struct option_value format_values[] = { { LOG_LOGFMT, "logfmt" }, { LOG_JSON, "json" }, { 0 } };

const struct option source_options[] = {
    OPTION(struct source_config, in_flight, .fallback = "1024", .min = 1, .max = 65536,
           .doc = "Most events taken from the source that are not stored yet."),
    OPTION(struct source_config, dedupe_size, .fallback = "100000", .min = 0, .max = 10000000,
           .doc =
               "How many event ids are remembered, so that a repeat is not published twice (sources that can repeat)."),
    { 0 },
};

const struct option sink_options[] = {
    OPTION(struct sink_config, topics, .max = 1000, .doc = "The topics whose events the sink gets."),
    OPTION(struct sink_config, filter,
           .doc = "Which of those events: exact, prefix, suffix, all, any, not. Without it: every one."),
    OPTION(
        struct sink_config, retry, .fallback = "[1s, 5s, 30s, 2m, 10m, 1h]", .max = 20,
        .doc =
            "The waits between attempts; after the last one the event becomes a dead letter. []: no second attempt."),
    OPTION(struct sink_config, retry_memory, .fallback = "30s", .max = 10 * 60000,
           .doc = "Waits up to this stay in memory, longer ones go through retry topics on the broker."),
    OPTION(struct sink_config, window, .fallback = "256", .min = 1, .max = 65536,
           .doc = "Most events on their way at the same time."),
    OPTION(struct sink_config, order, .fallback = "none", .values = order_values,
           .doc = "key: events with the same record key are delivered one after the other."),
    OPTION(
        struct sink_config, start, .fallback = "earliest", .values = start_values,
        .doc =
            "Where a sink begins that has no position yet: at the oldest event stored, or with what comes from now on."),
    { 0 },
};

const struct option route_options[] = {
    OPTION(struct route_config, filter,
           .doc = "Which events: exact, prefix, suffix, all, any, not. Without it: every one."),
    OPTION(struct route_config, topic, .required = true, .doc = "The topic that the events go to."),
    OPTION(struct route_config, key,
           .doc = "The attribute whose value becomes the record key. Without it: partitionkey, else the subject."),
    OPTION(struct route_config, encoding, .fallback = "binary", .values = encoding_values,
           .doc = "binary: attributes as ce_ headers and the data untouched. structured: one JSON object."),
    OPTION(struct route_config, also,
           .doc = "Let the events go on to later routes too; otherwise the first match ends the search."),
    { 0 },
};

const struct option topic_options[] = {
    OPTION(struct topic_config, partitions, .fallback = "1", .min = 1, .max = 1024,
           .doc = "How many partitions; records of one key stay in one."),
    OPTION(struct topic_config, retention, .max = INT64_C(36500) * DAY_MS,
           .doc = "How long records are kept; 0: for ever."),
    OPTION(struct topic_config, retention_bytes, .doc = "How much of a partition is kept; 0: no limit."),
    { 0 },
};

static const struct option admin_options[] = {
    OPTION(struct admin_config, listen, .fallback = "127.0.0.1:9464",
           .doc = "Address of /metrics, /healthz and /readyz; \"\": none."),
    { 0 },
};

static const struct option log_options[] = {
    OPTION(struct log_config, level, .fallback = "info", .values = level_values,
           .doc = "The least important lines to write."),
    OPTION(struct log_config, format, .fallback = "logfmt", .values = format_values, .doc = "How a line is written."),
    { 0 },
};

/* `topics`, `sources` and `sinks` are mappings by name and are read by code below. */
const struct option config_options[] = {
    OPTION_GROUP(struct config, broker, broker_options, .doc = "The durable log behind the topics."),
    OPTION(struct config, routes, .of = route_options, .of_size = sizeof(struct route_config),
           .doc = "Which events go to which topics; the first match wins."),
    OPTION(struct config, unrouted, .fallback = "error", .values = unrouted_values,
           .doc = "What happens to an event that no route takes: refused as an error, or counted and dropped."),
    OPTION_GROUP(struct config, admin, admin_options, .doc = "The listener for metrics and health."),
    OPTION_GROUP(struct config, log, log_options, .doc = "The log on standard error."),
    OPTION(struct config, drain, .fallback = "10s", .max = HOUR_MS, .doc = "How long a graceful stop may take."),
    { 0 },
};

static const char *const by_name[] = { "topics", "sources", "sinks", NULL };
static const char *const only_type[] = { "type", NULL };

/* ---- names and types ---- */

static bool lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!lower_or_digit(s.at[i]) && !(i > 0 && (s.at[i] == '-' || s.at[i] == '_')))
            return false;
    return s.n > 0 && s.n <= 63;
}

static void check_name(struct fill *f, const struct node *key, const struct where *at)
{
    if (!key->broken && !is_name(key->text))
        problem_at(f->out, key, at,
                   "is not a name: use a-z, 0-9, - and _, beginning with a letter or digit, at most 63 characters");
}

enum { TYPES = 64 };

/* The `type:` of a source or sink: its index in names, or -1 with a problem. */
static int pick_type(struct fill *f, const struct node *n, const char *const names[TYPES], const struct where *at)
{
    struct where inside = { .up = at, .key = STR("type") };
    char hint[HINT_TEXT];
    struct buf list = buf_new(1024);
    for (int i = 0; names[i]; i++)
        buf_printf(&list, "%s%s", i ? ", " : "", names[i]);
    const struct node *type = node_get(n, "type");
    int found = -1;
    for (int i = 0; type && type->kind == NODE_SCALAR && names[i]; i++)
        if (str_eq(type->text, str_of(names[i])))
            found = i;
    if (!type)
        problem_at(f->out, n, &inside, "is missing: one of %.*s", STR_ARG(buf_str(&list)));
    else if (found < 0 && !type->broken)
        problem_at(f->out, type, &inside, "\"%.*s\" is not one of %.*s%s", SHOWN(type->written),
                   STR_ARG(buf_str(&list)), fill_hint(type->text, names, hint));
    buf_free(&list);
    return found;
}

static void fill_source(struct fill *f, struct config *c, const struct entry *entry, const struct where *up)
{
    const struct node *n = entry->value;
    struct where at = { .up = up, .key = entry->key->written };
    const char *names[TYPES] = { 0 };
    for (size_t i = 0; source_types[i] && i < TYPES - 1; i++)
        names[i] = source_types[i]->type;
    check_name(f, entry->key, &at);
    if (!fill_is_mapping(f, n, &at))
        return;
    int type = pick_type(f, n, names, &at);
    if (type < 0)
        return;
    const struct source_ops *ops = source_types[type];
    CHECK(ops->size >= sizeof(struct source));
    struct source_config *s = &c->sources[c->source_count++];
    s->source = arena_alloc(f->arena, ops->size);
    s->source->ops = ops;
    s->source->id = arena_text(f->arena, entry->key->text);
    fill_mapping(f, n, (const struct part[]){ { source_options, s }, { ops->options, s->source } }, 2, only_type, &at);
}

static void fill_sink(struct fill *f, struct config *c, const struct entry *entry, const struct where *up)
{
    const struct node *n = entry->value;
    struct where at = { .up = up, .key = entry->key->written };
    const char *names[TYPES] = { 0 };
    for (size_t i = 0; sink_types[i] && i < TYPES - 1; i++)
        names[i] = sink_types[i]->type;
    check_name(f, entry->key, &at);
    if (!fill_is_mapping(f, n, &at))
        return;
    int type = pick_type(f, n, names, &at);
    if (type < 0)
        return;
    const struct sink_ops *ops = sink_types[type];
    CHECK(ops->size >= sizeof(struct sink));
    struct sink_config *s = &c->sinks[c->sink_count++];
    s->sink = arena_alloc(f->arena, ops->size);
    s->sink->ops = ops;
    s->sink->id = arena_text(f->arena, entry->key->text);
    fill_mapping(f, n, (const struct part[]){ { sink_options, s }, { ops->options, s->sink } }, 2, only_type, &at);
}

static void fill_topic(struct fill *f, struct config *c, const struct entry *entry, const struct where *up)
{
    struct where at = { .up = up, .key = entry->key->written };
    if (!entry->key->broken && !topic_name_ok(entry->key->text))
        problem_at(f->out, entry->key, &at,
                   "is not a topic name: use letters, digits, . _ and -, at most 249 characters");
    if (!fill_is_mapping(f, entry->value, &at))
        return;
    struct topic_config *topic = (struct topic_config *)c->topics.at + c->topics.count++;
    topic->name = arena_text(f->arena, entry->key->text);
    fill_mapping(f, entry->value, &(struct part){ topic_options, topic }, 1, NULL, &at);
}

/* ---- the whole ---- */

/* The mapping of a section that is read by name; NULL when it is not there, empty or wrong. */
static const struct node *section(struct fill *f, const struct node *root, const char *name, struct where *at)
{
    *at = (struct where){ .key = str_of(name) };
    const struct node *n = node_get(root, name);
    return n && fill_is_mapping(f, n, at) && n->kind == NODE_MAPPING ? n : NULL;
}

static void fill_by_name(struct fill *f, struct config *c, const struct node *root)
{
    struct where at;
    const struct node *n = section(f, root, "topics", &at);
    c->topics.at = arena_alloc(f->arena, (n ? n->count : 0) * sizeof(struct topic_config));
    for (size_t i = 0; n && i < n->count; i++)
        fill_topic(f, c, &n->at[i], &at);
    n = section(f, root, "sources", &at);
    c->sources = arena_alloc(f->arena, (n ? n->count : 0) * sizeof *c->sources);
    for (size_t i = 0; n && i < n->count; i++)
        fill_source(f, c, &n->at[i], &at);
    n = section(f, root, "sinks", &at);
    c->sinks = arena_alloc(f->arena, (n ? n->count : 0) * sizeof *c->sinks);
    for (size_t i = 0; n && i < n->count; i++)
        fill_sink(f, c, &n->at[i], &at);
}

/* An error of a connector that begins with one of its keys ("url: ...", "secrets[1]: ...") is put at that key. */
static void connector_problem(struct problems *out, const struct node *n, const struct where *at, const char *text)
{
    size_t word = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");
    const char *colon = strstr(text, ": ");
    char key[64];
    snprintf(key, sizeof key, "%.*s", (int)(word < sizeof key ? word : 0), text);
    const struct node *value = colon && (text[word] == ':' || text[word] == '[') ? node_get(n, key) : NULL;
    if (value)
        problem_at(out, value, &(struct where){ at, { text, (size_t)(colon - text) }, 0 }, "%s", colon + 2);
    else
        problem_at(out, n, at, "%s", text);
}

/* What only the connectors know about their options. */
static void check_connectors(const struct config *c, const struct node *root, struct problems *out)
{
    struct err e;
    struct where sources = { .key = STR("sources") }, sinks = { .key = STR("sinks") };
    for (size_t i = 0; i < c->source_count; i++) {
        const struct source *s = c->sources[i].source;
        if (s->ops->check && !s->ops->check(s, &e))
            connector_problem(out, node_get(node_get(root, "sources"), s->id),
                              &(struct where){ &sources, str_of(s->id), 0 }, e.text);
    }
    for (size_t i = 0; i < c->sink_count; i++) {
        const struct sink *s = c->sinks[i].sink;
        if (s->ops->check && !s->ops->check(s, &e))
            connector_problem(out, node_get(node_get(root, "sinks"), s->id),
                              &(struct where){ &sinks, str_of(s->id), 0 }, e.text);
    }
}

/* Keys that begin with x- are the user's own: a place for anchors. */
static void drop_own_keys(struct node *root)
{
    size_t kept = 0;
    for (size_t i = 0; i < root->count; i++)
        if (!str_starts(root->at[i].key->text, STR("x-")))
            root->at[kept++] = root->at[i];
    root->count = kept;
}

static void fill_config(struct config *c, struct node *root, struct problems *out)
{
    struct fill f = { c->arena, out };
    drop_own_keys(root);
    fill_mapping(&f, root, &(struct part){ config_options, c }, 1, by_name, NULL);
    fill_by_name(&f, c, root);
    if (out->count) /* what the sections say about each other can be judged only when each is right */
        return;
    config_check(c, root, out);
    check_connectors(c, root, out);
}

static struct node *load_file(struct arena *tree, const char *path, struct problems *out)
{
    struct buf text = buf_new(CONFIG_FILE_BYTES + 1);
    struct node *n = NULL;
    if (file_read(path, CONFIG_FILE_BYTES, &text))
        n = tree_load(tree, path, buf_str(&text), out);
    else if (errno == EFBIG)
        problem_add(out, path, 1, 1, "is longer than %d KiB", CONFIG_FILE_BYTES >> 10);
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
static struct node *load_files(struct arena *tree, const char *const *files, size_t count, struct problems *out)
{
    struct node *root = NULL;
    bool ok = count > 0;
    if (!ok)
        problem_add(out, NULL, 0, 0,
                    "no configuration file: name one with -c FILE or AQUEDUCT_CONFIG, or write ./bridge.yaml");
    for (size_t i = 0; i < count; i++) {
        struct node *n = load_file(tree, files[i], out);
        ok = ok && n;
        if (n && root)
            tree_merge(tree, root, n, out);
        else if (n)
            root = n;
    }
    return ok ? root : NULL;
}

struct config *config_load(const char *const *files, size_t count, struct problems *out)
{
    struct arena tree = { 0 };
    struct config *c = mem_alloc(sizeof *c);
    c->arena = mem_alloc(sizeof(struct arena));
    struct node *root = load_files(&tree, files, count, out);
    if (root)
        fill_config(c, root, out);
    arena_free(&tree);
    problems_sort(out, files, count);
    if (out->count == 0)
        return c;
    config_free(c);
    return NULL;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    arena_free(c->arena);
    free(c->arena);
    free(c);
}
