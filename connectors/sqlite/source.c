/* SPDX-License-Identifier: MIT */
/* The SQLite source as the core sees it: its options and the contract's functions. */
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/uri.h"
#include "bridge/map/map.h"
#include "connectors/sqlite/render.h"
#include "connectors/sqlite/review.h"
#include "connectors/sqlite/wait.h"
#include <stdio.h>
#include <stdlib.h>

METRIC_COUNTER(aqueduct_sqlite_rows_read_total, "Rows read from the application's database.", "source");
METRIC_COUNTER(aqueduct_sqlite_busy_total, "Reads put off because the application was writing.", "source");
METRIC_HISTOGRAM(aqueduct_sqlite_hold_seconds, "How long one read held the database.", "source");
METRIC_COUNTER(aqueduct_sqlite_events_total, "Events captured.", "source");
METRIC_COUNTER(aqueduct_sqlite_refused_total, "Rows that could not be made into an event, and became dead letters.",
               "source");
METRIC_COUNTER(aqueduct_sqlite_truncated_total, "Events with columns left out because of max_event.", "source");
METRIC_COUNTER(
    aqueduct_sqlite_incomplete_total,
    "Events that lack what their type must have, as a column was empty or too large; told without dataschema.",
    "source");
METRIC_COUNTER(
    aqueduct_sqlite_repaired_total,
    "Rows with what JSON cannot say: text that is no UTF-8, whose bad bytes became U+FFFD, or an infinite number, "
    "which became null.",
    "source");
METRIC_COUNTER(aqueduct_sqlite_restarts_total, "Times that the ids of a table started again.", "source");
METRIC_COUNTER(aqueduct_sqlite_behind_total,
               "New rows that came behind the cursor of their rule and were not captured.", "source");
METRIC_COUNTER(aqueduct_sqlite_changed_total,
               "Newest rows of append rules that were changed, or deleted and replaced under the same id (no "
               "AUTOINCREMENT), after they were told; not told again.",
               "source");
METRIC_COUNTER(aqueduct_sqlite_unkeyed_total, "Rows that were not captured because their key is NULL.", "source");
METRIC_COUNTER(aqueduct_sqlite_reopened_total, "Times that the file was replaced and opened anew.", "source");
METRIC_COUNTER(aqueduct_sqlite_lost_total,
               "Changes that were taken away from an outbox before they were read, and are not told.", "source");
METRIC_GAUGE(
    aqueduct_sqlite_untriggered_rules,
    "Outbox rules whose triggers are missing or others than they need, so that changes may not be written down.",
    "source");
METRIC_GAUGE(aqueduct_sqlite_last_look_timestamp_seconds,
             "When the database was last looked at with success, in seconds since 1970.", "source");
METRIC_GAUGE(aqueduct_sqlite_last_change_timestamp_seconds,
             "When the last change was captured, in seconds since 1970; 0: none yet.", "source");
METRIC_GAUGE(aqueduct_sqlite_rules_unusable, "Capture rules that do not fit the database's tables, or stand still.",
             "source");
METRIC_HISTOGRAM(aqueduct_sqlite_ack_seconds, "From noticing a change to its acknowledgement by the broker.", "source");

extern const struct source_ops sqlite_source;

/* What a preset file holds. */
struct preset_file {
    char *about, *app;
    struct list capture;
};
static const struct option source_preset_rows[] = {
    OPTION(struct preset_file, about, .doc = "One sentence about the preset."),
    OPTION(struct preset_file, app, .doc = "What events call the application: app.name."),
    OPTION(struct preset_file, capture, .required = true, .of = rule_rows, .of_size = sizeof(struct rule_options),
           .min = 1, .max = RULES, .doc = "Its capture rules."),
    { 0 }
};

static const struct option_value source_starts[] = { { START_NOW, "now" }, { START_SNAPSHOT, "snapshot" }, { 0 } };

static const struct option_value source_raws[] = { { RAW_NONE, "none" }, { RAW_ROW, "row" }, { 0 } };

static const struct option source_options[] = {
    OPTION(struct sqlite_source, path, .required = true,
           .doc = "The application's database file; its folder must be reachable too. Only ever read."),
    OPTION(
        struct sqlite_source, preset, .of = source_preset_rows, .of_size = sizeof(struct preset_file),
        .doc =
            "Ready-made capture rules for an application (anythingllm, flowise, kotaemon, n8n, open-webui; anythingllm-0: as before the vocabulary), or the path of a preset file."),
    OPTION(struct sqlite_source, capture, .of = rule_rows, .of_size = sizeof(struct rule_options), .max = RULES,
           .doc = "Capture rules of your own, besides or instead of a preset."),
    OPTION(struct sqlite_source, start, .fallback = "now", .values = source_starts,
           .doc =
               "A rule's first start: report only what changes from now on, or also everything that is there (with the "
               "attribute snapshot: true)."),
    OPTION(
        struct sqlite_source, poll, .fallback = "250ms", .min = 10, .max = 3600000,
        .doc =
            "How often to look when no notice of a change comes (network and container mounts); changes are otherwise "
            "noticed at once."),
    OPTION(struct sqlite_source, hold, .fallback = "5ms", .min = 1, .max = 1000,
           .doc = "Longest time that one read may keep the application from writing; a longer one is done in pieces."),
    OPTION(struct sqlite_source, batch, .fallback = "256", .min = 1, .max = 10000, .doc = "Rows per statement."),
    OPTION(
        struct sqlite_source, max_event, .fallback = "900KiB", .min = 1024, .max = 32 << 20,
        .doc =
            "Largest data of an event; from a larger row the largest columns are left out and named in the attribute "
            "truncated. The default fits, with its attributes, into the 1 MB of a Kafka record."),
    OPTION(
        struct sqlite_source, source,
        .doc =
            "The events' source attribute; default: /<app of the preset, its name, or sqlite>/<name of the source>."),
    OPTION(struct sqlite_source, time_zone,
           .doc = "Time zone of all rules that do not name their own: of times without an offset. Default: UTC."),
    TELL_ROWS(struct sqlite_source, telling, "default: what the preset says. For rules with `map`.",
              "For rules with `map`; others are refused unless it is full.", "max_event"),
    OPTION(struct sqlite_source, raw, .fallback = "none", .values = source_raws,
           .doc =
               "row: events of `map` have the row itself, too (raw.table, raw.row), without `never`, with `mask`, and "
               "without content_columns unless `content` is full."),
    { 0 }
};

/* ---- set-up ---- */

static void source_free_rules(struct sqlite_source *s)
{
    for (size_t i = 0; i < s->rule_count; i++)
        rule_free(s->rules[i]);
    free(s->rules);
    s->rules = NULL;
    s->rule_count = 0;
}

static bool source_check_rule(const struct sqlite_source *s, const struct rule_options *o, struct err *e)
{
    return rule_check(o, e) && privacy_check_rule(s, o, e);
}

const char *source_app(const struct sqlite_source *s)
{
    const struct preset_file *preset = s->preset.content;
    return s->telling.app && *s->telling.app ? s->telling.app : preset ? preset->app : NULL;
}

/* Checks the rules as written and appends them to `order`, with what was restored for them. */
static bool source_add_rules(struct sqlite_source *s, struct list capture, struct rule **order, size_t *count,
                             struct err *e)
{
    const struct rule_options *o = capture.at;
    for (size_t i = 0; i < capture.count; i++) {
        if (!source_check_rule(s, &o[i], e))
            return err_prefix(e, "capture: %s", o[i].name);
        struct rule *r = rule_of(s, str_of(o[i].name));
        if (r->o)
            return err_set(e, "capture: there are two rules named %s", o[i].name);
        if (*count == RULES)
            return err_set(e, "capture: more than %d rules", RULES);
        r->o = &o[i];
        order[(*count)++] = r;
    }
    return true;
}

/* A rule that was restored, of a table of one with `tables`: goes to `order`. */
static bool source_keep_instance(struct rule *r, struct rule **order, size_t *count)
{
    for (size_t i = 0; i < *count && *count < RULES; i++)
        if (instance_is_of(order[i]->o, str_of(r->name))) {
            instance_make(r, order[i]->o);
            order[(*count)++] = r;
            return true;
        }
    return false;
}

/* Rules in the order written. */
static bool source_make_rules(struct sqlite_source *s, struct err *e)
{
    const struct preset_file *preset = s->preset.content;
    struct list ready = preset ? preset->capture : (struct list){ 0 };
    s->app_name = source_app(s);
    if (!ready.count && !s->capture.count)
        return err_set(e, "nothing to capture: give a preset or capture rules");
    struct rule **order = mem_alloc(RULES * sizeof *order);
    size_t count = 0;
    if (!source_add_rules(s, ready, order, &count, e) || !source_add_rules(s, s->capture, order, &count, e)) {
        free(order);
        return false;
    }
    free(s->rules);
    s->rules = order;
    s->rule_count = count;
    return true;
}

/* All of the state is restored; what is of rules that are not written any more is let go. */
static void source_end_restore(struct sqlite_source *s)
{
    struct rule **order = mem_alloc(RULES * sizeof *order);
    size_t count = 0;
    for (size_t i = 0; i < s->rule_count; i++)
        if (s->rules[i]->o)
            order[count++] = s->rules[i];
    for (size_t i = 0; i < s->rule_count; i++)
        if (!s->rules[i]->o && !source_keep_instance(s->rules[i], order, &count))
            rule_free(s->rules[i]);
    free(s->rules);
    s->rules = order;
    s->rule_count = count;
    s->restoring = false;
}

/* The events' source attribute. */
static void source_make_origin(struct sqlite_source *s)
{
    struct buf text = buf_new(1024);
    if (s->source && *s->source) {
        buf_add_c(&text, s->source);
    } else {
        const struct preset_file *file = s->preset.content;
        const char *preset = file && file->app                   ? file->app
                             : s->preset.name && *s->preset.name ? s->preset.name
                                                                 : "sqlite",
                   *slash = strrchr(preset, '/');
        struct str kind = str_of(slash ? slash + 1 : preset);
        if (str_ends(kind, STR(".yaml")))
            kind.n -= strlen(".yaml");
        buf_printf(&text, "/%.*s/%s", kind.n > 100 ? 100 : (int)kind.n, kind.at, s->base.id);
    }
    s->origin = str_dup(buf_str(&text));
    buf_free(&text);
}

static void source_make_metrics(struct sqlite_source *s)
{
    const char *const *labels = LABELS(s->base.id);
    s->rows_read = metric_get(&aqueduct_sqlite_rows_read_total, labels);
    s->busy = metric_get(&aqueduct_sqlite_busy_total, labels);
    s->held = metric_get(&aqueduct_sqlite_hold_seconds, labels);
    s->events = metric_get(&aqueduct_sqlite_events_total, labels);
    s->refused = metric_get(&aqueduct_sqlite_refused_total, labels);
    s->truncated = metric_get(&aqueduct_sqlite_truncated_total, labels);
    s->incomplete = metric_get(&aqueduct_sqlite_incomplete_total, labels);
    s->repaired = metric_get(&aqueduct_sqlite_repaired_total, labels);
    s->restarts = metric_get(&aqueduct_sqlite_restarts_total, labels);
    s->reopened = metric_get(&aqueduct_sqlite_reopened_total, labels);
    s->behind = metric_get(&aqueduct_sqlite_behind_total, labels);
    s->changed = metric_get(&aqueduct_sqlite_changed_total, labels);
    s->unkeyed = metric_get(&aqueduct_sqlite_unkeyed_total, labels);
    s->lost = metric_get(&aqueduct_sqlite_lost_total, labels);
    s->untriggered_rules = metric_get(&aqueduct_sqlite_untriggered_rules, labels);
    s->last_look = metric_get(&aqueduct_sqlite_last_look_timestamp_seconds, labels);
    s->last_change = metric_get(&aqueduct_sqlite_last_change_timestamp_seconds, labels);
    s->unusable = metric_get(&aqueduct_sqlite_rules_unusable, labels);
    s->ack = metric_get(&aqueduct_sqlite_ack_seconds, labels);
}

/* Before a large state is restored: can the file be read? read() goes on from there. */
static void source_glance(struct sqlite_source *s)
{
    struct err why;
    wait_watch(s);
    if (database_open(s, &why) == DB_OK)
        s->sight = SIGHT_GOOD;
}

static bool source_restore(struct source *base, struct str key, struct str value, bool ahead, struct err *e)
{
    struct sqlite_source *s = (struct sqlite_source *)base;
    if (!s->restoring)
        source_glance(s);
    s->restoring = true;
    return state_restore(s, key, value, ahead)
           || err_set(e, "its stored state \"%.*s\" cannot be read", key.n > 200 ? 200 : (int)key.n, key.at);
}

/* Would open() find its rules good? */
static bool source_check_origin(const struct sqlite_source *s, struct err *e)
{
    if (!privacy_check(s, e) || !rule_check_zone(s->time_zone, e))
        return false;
    if (!s->source || uri_is_reference(str_of(s->source)))
        return true;
    return err_set(e, "source: is not a URI reference (RFC 3986), such as /my/app or https://app.example.com/");
}

static bool source_check(const struct source *base, struct err *e)
{
    struct sqlite_source copy = *(const struct sqlite_source *)base;
    if (!source_check_origin(&copy, e))
        return false;
    copy.rules = NULL;
    copy.rule_count = 0;
    bool good = source_make_rules(&copy, e);
    source_free_rules(&copy);
    return good;
}

/* Is there a rule of that name before the i-th of `list`, there or in `first`? */
static bool source_is_named_twice(struct list first, struct list list, size_t i)
{
    const struct rule_options *a = first.at, *b = list.at;
    bool twice = false;
    for (size_t k = 0; k < first.count; k++)
        twice = twice || strcmp(a[k].name, b[i].name) == 0;
    for (size_t k = 0; k < i; k++)
        twice = twice || strcmp(b[k].name, b[i].name) == 0;
    return twice;
}

/* The faults of rules that stand below `first`; a preset's stand in another file, so they are told at its name. */
static void source_rule_faults(const struct sqlite_source *s, struct list first, struct list list, bool preset,
                               fault_fn *each, void *ctx)
{
    const struct rule_options *o = list.at;
    for (size_t i = 0; i < list.count; i++) {
        struct err e = { "" };
        char place[32];
        snprintf(place, sizeof place, "capture[%zu]", i);
        if (source_check_rule(s, &o[i], &e)) {
            if (!source_is_named_twice(first, list, i))
                continue;
            err_set(&e, "name: there are two rules named %s", o[i].name);
        }
        if (preset)
            err_prefix(&e, "capture[%zu]", i);
        each(ctx, preset ? "preset" : place, e.text);
    }
}

/* All that check() could say. */
static void source_faults(const struct source *base, fault_fn *each, void *ctx)
{
    struct sqlite_source copy = *(const struct sqlite_source *)base, *s = &copy;
    const struct preset_file *preset = s->preset.content;
    struct list ready = preset ? preset->capture : (struct list){ 0 }, none = { 0 };
    struct err e;
    s->app_name = source_app(s);
    if (!source_check_origin(s, &e))
        each(ctx, "", e.text);
    if (!ready.count && !s->capture.count)
        each(ctx, "", "nothing to capture: give a preset or capture rules");
    if (ready.count + s->capture.count > RULES) {
        err_set(&e, "capture: more than %d rules", RULES);
        each(ctx, "", e.text);
    }
    source_rule_faults(s, none, ready, true, each, ctx);
    source_rule_faults(s, ready, s->capture, false, each, ctx);
}

static void source_review(const struct source *base, fault_fn *wrong, fault_fn *doubtful, void *ctx)
{
    struct err e;
    struct sqlite_source copy = *(const struct sqlite_source *)base;
    copy.rules = NULL;
    copy.rule_count = 0;
    source_make_metrics(&copy);
    if (source_make_rules(&copy, &e))
        review_rules(&copy, &(struct review_how){ .wrong = wrong, .doubtful = doubtful, .ctx = ctx });
    source_free_rules(&copy);
}

/* The types of a rule's `map`; with `content`, only of those events that have what people wrote. */
static void source_map_types(const struct sqlite_source *s, const struct rule_options *o, bool content,
                             void (*each)(void *ctx, const char *type), void *ctx)
{
    const struct map_options *m = o->map.at;
    for (size_t i = 0; i < o->map.count; i++) {
        if (content && !map_tells_content(&o->data, &m[i]))
            continue;
        char *type = str_join(s->telling.type_prefix ? s->telling.type_prefix : "", m[i].type, "");
        each(ctx, type);
        free(type);
    }
}

static void source_each_type(const struct sqlite_source *s, bool content, void (*each)(void *ctx, const char *type),
                             void *ctx)
{
    const struct preset_file *preset = s->preset.content;
    const struct list all[] = { preset ? preset->capture : (struct list){ 0 }, s->capture };
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < all[i].count; k++) {
            const struct rule_options *o = (const struct rule_options *)all[i].at + k;
            for (size_t t = 0; !content && t < o->types.count; t++)
                each(ctx, o->types.at[t].value);
            source_map_types(s, o, content, each, ctx);
        }
}

static void source_types(const struct source *base, void (*each)(void *ctx, const char *type), void *ctx)
{
    source_each_type((const struct sqlite_source *)base, false, each, ctx);
}

/* What the columns of a rule without `map` are, nobody knows. */
static void source_content(const struct source *base, void (*each)(void *ctx, const char *type, const char *why),
                           void *ctx)
{
    const struct sqlite_source *s = (const struct sqlite_source *)base;
    if (s->telling.content == TELL_FULL)
        source_each_type(s, true, tell_content, &(struct tell_caller){ each, ctx });
}

static bool source_open(struct source *base, struct err *e)
{
    struct sqlite_source *s = (struct sqlite_source *)base;
    if (!source_check_origin(s, e) || !source_make_rules(s, e)) {
        source_free_rules(s);
        return false;
    }
    uuid_random(s->identity);
    wait_open(s);
    source_begin_look(s);
    return true;
}

static bool source_ready(const struct source *base, struct err *why)
{
    const struct sqlite_source *s = (const struct sqlite_source *)base;
    switch ((enum sight)s->sight) {
    case SIGHT_GOOD:
        return !s->untriggered
               || err_set(why, "%s: %d outbox rule(s) without the triggers they need; run `aqueduct sqlite setup`",
                          s->path, s->untriggered);
    case SIGHT_LOST: return err_set(why, "%s cannot be read; the log says why", s->path);
    case SIGHT_NONE: break;
    }
    return err_set(why, "%s has not been looked at yet", s->path);
}

static void source_close(struct source *base)
{
    struct sqlite_source *s = (struct sqlite_source *)base;
    if (s->db)
        database_close(s);
    wait_close(s);
    pages_free(&s->pages);
    source_end_look(s);
}

/* ---- reading ---- */

/* Opens the file. Once that has failed it waits here, trying again at each notice, so that the file's coming is seen
 * at once and the same failure is told once. Returns what read() returns. */
static int source_open_file(struct sqlite_source *s, int wake_fd, struct err *e)
{
    struct file_id before = s->file;
    bool let_go = s->idle.let_go;
    for (;;) {
        struct err why = { 0 };
        if (s->wait.lock_ms && wait_for_lock(s, wake_fd) == WAKE_CORE)
            return 0;
        if (s->failure.text[0] && wait_for(s, wake_fd, s->poll.ms, true) == WAKE_CORE)
            return 0;
        wait_watch(s);
        switch (database_open(s, &why)) {
        case DB_OK:
            s->wait.lock_ms = 0;
            s->idle.let_go = false;
            s->idle.resumed = let_go && before.dev == s->file.dev && before.ino == s->file.ino;
            if (let_go && !s->idle.resumed)
                database_note_replaced(s);
            return 0;
        case DB_BUSY: wait_locked(s); break;
        case DB_GONE:
            s->wait.lock_ms = 0;
            s->idle.let_go = false;
            if (strcmp(s->failure.text, why.text) != 0)
                return database_fail(s, &why, e);
            break;
        }
    }
}

/* Is there reason to open the database that was let go? */
static bool source_is_due(struct sqlite_source *s, int wake_fd)
{
    enum wake wake = wait_let_go(s, wake_fd);
    return wake == WAKE_NOTICE || wake == WAKE_TIME;
}

/* The identity is stored alone, before any event uses it. */
static int source_give_identity(struct sqlite_source *s, struct emission *out, size_t room)
{
    s->identity_given = true;
    state_store_identity(s);
    s->found.barrier = true;
    return found_take(s, out, room);
}

static int source_read(struct source *base, int wake_fd, struct emission *out, size_t room, struct err *e)
{
    struct sqlite_source *s = (struct sqlite_source *)base;
    if (s->restoring)
        source_end_restore(s);
    int n = room ? found_take(s, out, room) : 0;
    if (n)
        return n;
    if (!room || (s->found.barrier && s->settled != s->tag)) {
        wait_for(s, wake_fd, s->poll.ms, false);
        return 0;
    }
    if (s->next_failure.text[0])
        return database_fail(s, &s->next_failure, e);
    found_reset(s);
    if (!s->identity_given)
        return source_give_identity(s, out, room);
    if (s->idle.let_go && !source_is_due(s, wake_fd))
        return 0;
    if (!s->db && (n = source_open_file(s, wake_fd, e), n < 0 || !s->db))
        return n;
    if (!s->pass.running && (n = pass_begin(s, wake_fd, e), n < 0 || !s->pass.running))
        return n;
    if (s->wait.lock_ms && wait_for_lock(s, wake_fd) == WAKE_CORE)
        return 0; /* locked in the middle of a pass */
    return pass_slice(s, out, room, e);
}

/* What was handed out is stored; of a rule it counts once all that the slice found is. */
static void source_observe_ack(struct sqlite_source *s)
{
    int64_t took_us = clock_mono_us() - s->pass.began_us;
    metric_observe_us(s->ack, took_us);
    for (size_t i = 0; i < s->rule_count; i++) {
        struct rule *r = s->rules[i];
        if (!r->counts.awaited || s->found.given < s->found.event_count)
            continue;
        metric_observe_us(r->counts.ack, took_us);
        r->counts.awaited = false;
    }
}

static void source_settle(struct source *base, uint64_t tag, enum outcome o, const char *why)
{
    struct sqlite_source *s = (struct sqlite_source *)base;
    (void)o; /* the core keeps what no topic takes as a dead letter; our position moves past it */
    (void)why;
    s->settled = tag;
    if (tag == s->tag && s->pass.began_us)
        source_observe_ack(s);
}

/* ---- on another file ---- */

void source_begin_look(struct sqlite_source *s)
{
    source_make_metrics(s);
    source_make_origin(s);
    privacy_open(s);
    render_open(s);
    s->found.text = buf_new(SIZE_MAX / 2);
}

void source_end_look(struct sqlite_source *s)
{
    source_free_rules(s);
    found_free(s);
    render_close(s);
    privacy_close(s);
    free(s->origin);
}

const struct rule_options *source_rule(const struct sqlite_source *s, size_t i)
{
    const struct preset_file *preset = s->preset.content;
    size_t ready = preset ? preset->capture.count : 0;
    if (i < ready)
        return (const struct rule_options *)preset->capture.at + i;
    return i - ready < s->capture.count ? (const struct rule_options *)s->capture.at + (i - ready) : NULL;
}

static void source_trial(const struct source *base, const struct trial *t)
{
    struct err e;
    struct sqlite_source copy = *(const struct sqlite_source *)base;
    copy.path = (char *)(uintptr_t)t->path;
    copy.rules = NULL;
    copy.rule_count = 0;
    source_begin_look(&copy);
    if (source_make_rules(&copy, &e))
        review_rules(&copy, &(struct review_how){ t->wrong, t->doubtful, t->faults, t });
    source_end_look(&copy);
}

const struct source_ops sqlite_source = {
    .type = "sqlite",
    .doc = "Captures what changes in an application's SQLite database, read-only.",
    .size = sizeof(struct sqlite_source),
    .options = source_options,
    .ordered = true,
    .restore = source_restore,
    .check = source_check,
    .faults = source_faults,
    .review = source_review,
    .trial = source_trial,
    .apps = apps_known,
    .recognise = apps_recognise,
    .probe = probe_source,
    .rehearse_rows = rehearse_staged,
    .types = source_types,
    .content = source_content,
    .open = source_open,
    .ready = source_ready,
    .read = source_read,
    .settle = source_settle,
    .close = source_close,
};
