/* SPDX-License-Identifier: MIT */
/* What the tests of the SQLite source share: an application's database, the source driven by read() and settle()
 * without a core, a store of its state as a broker would keep it, and the events seen. */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/config/config.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "connectors/sqlite/sqlite.h"
#include "tests/support/test.h"

extern const struct source_ops sqlite_source;

struct pair {
    char *key, *value;
    size_t value_n;
    bool forget;
};

struct rig {
    char folder[64], path[128];
    sqlite3 *app;
    char *yaml;
    struct config *config; /* owns the options' strings */
    struct source *s;
    int wake;
    struct pair *state, *ahead; /* what the broker has; notes of the last batch */
    size_t state_count, ahead_count;
    const struct event *seen[4096];
    size_t seen_count;
    size_t room;
    bool confirm; /* false: the core dies between the events and their state */
};

static inline void app_exec(struct rig *rig, const char *sql)
{
    char *why = NULL;
    if (sqlite3_exec(rig->app, sql, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s: %s", sql, why);
}

__attribute__((format(printf, 2, 3))) static inline void app_do(struct rig *rig, const char *format, ...)
{
    char sql[4096];
    va_list args;
    va_start(args, format);
    assert_true(vsnprintf(sql, sizeof sql, format, args) < (int)sizeof sql);
    va_end(args);
    app_exec(rig, sql);
}

static inline void app_open(struct rig *rig, const char *journal)
{
    assert_int_equal(sqlite3_open(rig->path, &rig->app), SQLITE_OK);
    sqlite3_busy_timeout(rig->app, 2000);
    app_do(rig, "PRAGMA journal_mode = %s", journal);
}

static inline void app_schema(struct rig *rig)
{
    FILE *f = fopen(TESTS_DIR "/data/anythingllm.sql", "r");
    assert_non_null(f);
    static char sql[64 << 10];
    size_t n = fread(sql, 1, sizeof sql - 1, f);
    fclose(f);
    sql[n] = '\0';
    app_exec(rig, sql);
}

/* A folder of its own and an empty database in it. */
static inline void rig_new(struct rig *rig, const char *journal)
{
    *rig = (struct rig){ .room = 256, .confirm = true };
    snprintf(rig->folder, sizeof rig->folder, "/tmp/aqueduct-sqlite-XXXXXX");
    assert_non_null(mkdtemp(rig->folder));
    snprintf(rig->path, sizeof rig->path, "%s/app.db", rig->folder);
    rig->wake = wake_new();
    app_open(rig, journal);
}

static inline void pair_set(struct pair **list, size_t *count, struct str key, struct str value)
{
    size_t i = 0;
    while (i < *count && !str_eq(str_of((*list)[i].key), key))
        i++;
    if (i == *count) {
        *list = mem_grow(*list, ++*count, sizeof **list);
        (*list)[i] = (struct pair){ .key = str_dup(key) };
    }
    free((*list)[i].value);
    (*list)[i].value = value.at ? str_dup(value) : NULL;
    (*list)[i].value_n = value.n;
    (*list)[i].forget = value.at == NULL;
}

static inline void pairs_free(struct pair **list, size_t *count)
{
    for (size_t i = 0; i < *count; i++) {
        free((*list)[i].key);
        free((*list)[i].value);
    }
    free(*list);
    *list = NULL;
    *count = 0;
}

static inline struct str state_get(const struct rig *rig, const char *key)
{
    for (size_t i = 0; i < rig->state_count; i++)
        if (strcmp(rig->state[i].key, key) == 0 && !rig->state[i].forget)
            return (struct str){ rig->state[i].value, rig->state[i].value_n };
    return STR_ABSENT;
}

/* Fills and opens a source from YAML; the state that the rig holds is restored first, as the core does it. */
static inline bool rig_try(struct rig *rig, const char *yaml, struct err *e)
{
    struct problems problems = { 0 };
    free(rig->yaml);
    rig->yaml = yaml ? strdup(yaml) : NULL;
    struct buf text = buf_new(64 << 10);
    buf_printf(&text, "path: %s\n%s", rig->path, yaml ? yaml : "preset: anythingllm\n");
    rig->s = mem_alloc(sqlite_source.size);
    rig->s->ops = &sqlite_source;
    rig->s->id = "app";
    bool good = config_fill("test.yaml", buf_str(&text), sqlite_source.options, rig->s, NULL, &problems);
    if (!good)
        err_set(e, "%s", problems.at[0].text);
    problems_free(&problems);
    buf_free(&text);
    good = good && sqlite_source.check(rig->s, e);
    for (size_t i = 0; good && i < rig->state_count; i++)
        if (!rig->state[i].forget)
            good = sqlite_source.restore(rig->s, str_of(rig->state[i].key),
                                         (struct str){ rig->state[i].value, rig->state[i].value_n }, false, e);
    for (size_t i = 0; good && i < rig->ahead_count; i++)
        good = sqlite_source.restore(rig->s, str_of(rig->ahead[i].key),
                                     rig->ahead[i].forget ? STR_ABSENT
                                                          : (struct str){ rig->ahead[i].value, rig->ahead[i].value_n },
                                     true, e);
    pairs_free(&rig->ahead, &rig->ahead_count);
    good = good && sqlite_source.open(rig->s, e);
    if (!good) {
        free(rig->s);
        rig->s = NULL;
    }
    return good;
}

static inline void rig_open(struct rig *rig, const char *yaml)
{
    struct err e = { 0 };
    if (!rig_try(rig, yaml, &e))
        fail_msg("%s", e.text);
}

static inline void rig_close(struct rig *rig)
{
    if (rig->s)
        sqlite_source.close(rig->s);
    free(rig->s);
    rig->s = NULL;
}

/* The daemon is gone and comes back with what the broker has. */
static inline void rig_restart(struct rig *rig)
{
    char *yaml = rig->yaml ? strdup(rig->yaml) : NULL;
    rig_close(rig);
    rig_open(rig, yaml);
    free(yaml);
}

static inline void rig_forget_events(struct rig *rig)
{
    for (size_t i = 0; i < rig->seen_count; i++)
        event_unref(rig->seen[i]);
    rig->seen_count = 0;
}

static inline void rig_end(struct rig *rig)
{
    rig_close(rig);
    rig_forget_events(rig);
    pairs_free(&rig->state, &rig->state_count);
    pairs_free(&rig->ahead, &rig->ahead_count);
    sqlite3_close(rig->app);
    free(rig->yaml);
    close(rig->wake);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", rig->folder);
    assert_int_equal(system(command), 0);
}

/* One read() as an ordered core does it: the batch is stored whole, with its state, and settled. */
static inline int rig_read(struct rig *rig, struct err *e)
{
    struct emission out[256];
    int n = sqlite_source.read(rig->s, rig->wake, out, rig->room, e);
    pairs_free(&rig->ahead, &rig->ahead_count);
    for (int i = 0; i < n; i++) {
        for (size_t k = 0; k < out[i].change_count; k++) {
            const struct change *c = &out[i].changes[k];
            assert_true(c->key.n >= 1 && c->key.n <= 512 && c->value.n <= 64 << 10);
            if (rig->confirm)
                pair_set(&rig->state, &rig->state_count, c->key, c->value);
            else if (c->ahead)
                pair_set(&rig->ahead, &rig->ahead_count, c->key, c->value);
        }
        if (out[i].event) {
            assert_true(rig->seen_count < 4096);
            rig->seen[rig->seen_count++] = out[i].event;
        }
    }
    for (int i = 0; i < n && rig->confirm; i++)
        sqlite_source.settle(rig->s, out[i].tag, OUTCOME_STORED, "");
    return n;
}

/* Has the source handed out all that is committed? */
static inline bool rig_idle(struct rig *rig)
{
    struct sqlite_source *s = (struct sqlite_source *)rig->s;
    struct err e;
    int64_t version = -1;
    return s->db && !s->pass.running && s->seen_version >= 0 && s->found.given == s->found.event_count
           && s->found.change_count == 0 && !database_replaced(s) && database_version(s, &version, &e) == DB_OK
           && version == s->seen_version;
}

static inline void rig_settle_down(struct rig *rig)
{
    int64_t limit = clock_mono_ms() + 60000;
    while (!rig_idle(rig)) {
        struct err e = { 0 };
        if (rig_read(rig, &e) < 0)
            fail_msg("%s", e.text);
        assert_true(clock_mono_ms() < limit);
    }
}

/* The first read that fails, as text; "" when the source works. */
static inline void rig_failure(struct rig *rig, struct err *e)
{
    *e = (struct err){ 0 };
    for (int i = 0; i < 50; i++)
        if (rig_read(rig, e) < 0)
            return;
}

static inline struct str attribute(const struct event *ev, const char *name)
{
    struct str value = event_attribute(ev, str_of(name));
    return value.at ? value : STR("");
}

/* How many events of that type and subject (NULL: any) were seen. */
static inline size_t count_of(const struct rig *rig, const char *type, const char *subject)
{
    size_t n = 0;
    for (size_t i = 0; i < rig->seen_count; i++)
        n += (!type || str_eq(rig->seen[i]->type, str_of(type)))
             && (!subject || str_eq(rig->seen[i]->subject, str_of(subject)));
    return n;
}

/* The i-th event of that type and subject. */
static inline const struct event *event_of(const struct rig *rig, const char *type, const char *subject, size_t i)
{
    for (size_t k = 0; k < rig->seen_count; k++)
        if (str_eq(rig->seen[k]->type, str_of(type)) && (!subject || str_eq(rig->seen[k]->subject, str_of(subject)))
            && i-- == 0)
            return rig->seen[k];
    fail_msg("no event %s of %s", type, subject ? subject : "anything");
    return NULL;
}

static inline bool data_has(const struct event *ev, const char *piece)
{
    return memmem(ev->data.at, ev->data.n, piece, strlen(piece)) != NULL;
}

/* Types of all events seen, in order, as "a b c". */
static inline const char *types_seen(const struct rig *rig)
{
    static char text[8192];
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < rig->seen_count && at < sizeof text - 200; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%.*s", i ? " " : "", STR_ARG(rig->seen[i]->type));
    return text;
}

static inline void assert_types(struct rig *rig, const char *wanted)
{
    assert_string_equal(types_seen(rig), wanted);
    rig_forget_events(rig);
}
