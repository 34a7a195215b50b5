/* SPDX-License-Identifier: MIT */
/* The rig around a SQLite source. */
#include "tests/support/sqlite_rig.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/lib/buf.h"
#include "connectors/sqlite/wait.h"
#include "tests/support/connector.h"

enum { RIG_PATIENCE_MS = 60000 };

/* ---- the application ---- */

void app_exec(struct rig *rig, const char *sql)
{
    char *why = NULL;
    if (sqlite3_exec(rig->app, sql, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s: %s", sql, why);
}

void app_do(struct rig *rig, const char *format, ...)
{
    char sql[4096];
    va_list args;
    va_start(args, format);
    assert_true(vsnprintf(sql, sizeof sql, format, args) < (int)sizeof sql);
    va_end(args);
    app_exec(rig, sql);
}

void app_open(struct rig *rig, const char *journal)
{
    assert_int_equal(sqlite3_open(rig->path, &rig->app), SQLITE_OK);
    sqlite3_busy_timeout(rig->app, 2000);
    app_do(rig, "PRAGMA journal_mode = %s", journal);
}

void app_close(struct rig *rig)
{
    sqlite3_close(rig->app);
    rig->app = NULL;
}

void app_schema(struct rig *rig)
{
    FILE *f = fopen(TESTS_DIR "/data/anythingllm.sql", "r");
    assert_non_null(f);
    static char sql[64 << 10];
    size_t n = fread(sql, 1, sizeof sql - 1, f);
    fclose(f);
    sql[n] = '\0';
    app_exec(rig, sql);
}

/* ---- the broker's share: state ---- */

static void rig_pair_set(struct rig_pairs *pairs, struct str key, struct str value)
{
    size_t i = 0;
    while (i < pairs->count && !str_eq(str_of(pairs->at[i].key), key))
        i++;
    if (i == pairs->count) {
        pairs->at = mem_grow(pairs->at, ++pairs->count, sizeof *pairs->at);
        pairs->at[i] = (struct rig_pair){ .key = str_dup(key) };
    }
    struct rig_pair *p = &pairs->at[i];
    free(p->value);
    p->value = value.at ? str_dup(value) : NULL;
    p->value_n = value.n;
    p->forget = value.at == NULL;
}

static void rig_pair_drop(struct rig_pairs *pairs, struct str key)
{
    for (size_t i = 0; i < pairs->count; i++)
        if (str_eq(str_of(pairs->at[i].key), key)) {
            free(pairs->at[i].key);
            free(pairs->at[i].value);
            memmove(&pairs->at[i], &pairs->at[i + 1], (--pairs->count - i) * sizeof *pairs->at);
            return;
        }
}

static void rig_pairs_free(struct rig_pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) {
        free(pairs->at[i].key);
        free(pairs->at[i].value);
    }
    free(pairs->at);
    *pairs = (struct rig_pairs){ 0 };
}

static struct str rig_pair_value(const struct rig_pair *p)
{
    return p->forget ? STR_ABSENT : (struct str){ p->value, p->value_n };
}

struct str rig_state(const struct rig *rig, const char *key)
{
    for (size_t i = 0; i < rig->state.count; i++)
        if (strcmp(rig->state.at[i].key, key) == 0)
            return rig_pair_value(&rig->state.at[i]);
    return STR_ABSENT;
}

static bool rig_restore(struct rig *rig, struct err *e)
{
    bool good = true;
    for (size_t i = 0; good && i < rig->state.count; i++) {
        const struct rig_pair *p = &rig->state.at[i];
        if (!p->forget)
            good = sqlite_source.restore(rig->s, str_of(p->key), rig_pair_value(p), false, e);
    }
    for (size_t i = 0; good && i < rig->ahead.count; i++) {
        const struct rig_pair *p = &rig->ahead.at[i];
        good = sqlite_source.restore(rig->s, str_of(p->key), rig_pair_value(p), true, e);
    }
    return good;
}

/* ---- the source ---- */

void rig_new(struct rig *rig, const char *journal)
{
    *rig = (struct rig){ .room = 256, .confirm = true };
    folder_make(rig->folder);
    snprintf(rig->path, sizeof rig->path, "%s/app.db", rig->folder);
    rig->wake = wake_new();
    app_open(rig, journal);
}

bool rig_try(struct rig *rig, const char *yaml, struct err *e)
{
    free(rig->yaml);
    rig->yaml = yaml ? strdup(yaml) : NULL;
    struct buf text = buf_new(64 << 10);
    buf_printf(&text, "path: %s\n%s", rig->path, yaml ? yaml : "preset: anythingllm\n");
    rig->s = mem_alloc(sqlite_source.size);
    rig->s->ops = &sqlite_source;
    rig->s->id = "app";
    char *problem = options_problem(sqlite_source.options, rig->s, buf_c(&text));
    buf_free(&text);
    if (problem)
        err_set(e, "%s", problem);
    bool good = !problem && sqlite_source.check(rig->s, e) && sqlite_source.open(rig->s, e);
    if (good && !rig_restore(rig, e)) {
        sqlite_source.close(rig->s);
        good = false;
    }
    free(problem);
    if (!good) {
        free(rig->s);
        rig->s = NULL;
    }
    return good;
}

void rig_open(struct rig *rig, const char *yaml)
{
    struct err e = { 0 };
    if (!rig_try(rig, yaml, &e))
        fail_msg("%s", e.text);
}

void rig_begin(struct rig *rig, const char *journal, const char *schema, const char *yaml)
{
    rig_new(rig, journal);
    app_exec(rig, schema);
    rig_open(rig, yaml);
    assert_captured(rig, "");
}

void rig_close(struct rig *rig)
{
    source_end(rig->s);
    rig->s = NULL;
}

void rig_restart(struct rig *rig)
{
    char *yaml = rig->yaml ? strdup(rig->yaml) : NULL;
    rig_close(rig);
    rig_open(rig, yaml);
    free(yaml);
}

void rig_end(struct rig *rig)
{
    rig_close(rig);
    rig_forget(rig);
    rig_pairs_free(&rig->state);
    rig_pairs_free(&rig->ahead);
    app_close(rig);
    free(rig->yaml);
    close(rig->wake);
    folder_remove(rig->folder);
}

/* What the broker does with one emission. */
static void rig_store(struct rig *rig, const struct emission *m)
{
    for (size_t i = 0; i < m->change_count; i++) {
        const struct change *c = &m->changes[i];
        assert_true(c->key.n >= 1 && c->key.n <= 512 && c->value.n <= 64 << 10);
        if (rig->confirm) {
            rig_pair_set(&rig->state, c->key, c->value);
            rig_pair_drop(&rig->ahead, c->key);
        } else if (c->ahead)
            rig_pair_set(&rig->ahead, c->key, c->value);
    }
    if (m->refused) {
        assert_true(m->event && rig->dead_count < RIG_DEAD);
        rig->dead[rig->dead_count++] = m->event;
        why_copy(rig->dead_why, m->refused);
    } else if (m->event) {
        assert_true(rig->seen_count < RIG_EVENTS);
        rig->seen[rig->seen_count++] = m->event;
    }
}

int rig_read(struct rig *rig, struct err *e)
{
    struct emission out[256];
    int n = sqlite_source.read(rig->s, rig->wake, out, rig->room, e);
    for (int i = 0; i < n; i++)
        rig_store(rig, &out[i]);
    for (int i = 0; i < n && rig->confirm; i++)
        sqlite_source.settle(rig->s, out[i].tag, out[i].refused ? OUTCOME_INVALID : OUTCOME_STORED, "");
    return n;
}

struct sqlite_source *rig_inside(const struct rig *rig)
{
    return (struct sqlite_source *)rig->s;
}

bool sqlite_is_idle(struct sqlite_source *s)
{
    struct err e;
    int64_t version = -1;
    struct file_mark mark;
    wait_mark(s, &mark);
    if (s->idle.let_go && !s->db)
        return wait_is_marked(s, &mark);
    return s->db && !s->pass.running && s->seen_version >= 0 && s->found.given == s->found.event_count
           && s->found.change_count == 0 && !database_replaced(s) && database_version(s, &version, &e) == DB_OK
           && version == s->seen_version;
}

void rig_settle(struct rig *rig)
{
    int64_t limit = clock_mono_ms() + RIG_PATIENCE_MS;
    while (!sqlite_is_idle(rig_inside(rig))) {
        struct err e = { 0 };
        if (rig_read(rig, &e) < 0)
            fail_msg("%s", e.text);
        assert_true(clock_mono_ms() < limit);
    }
}

void rig_failure(struct rig *rig, struct err *e)
{
    *e = (struct err){ 0 };
    for (int i = 0; i < 50; i++)
        if (rig_read(rig, e) < 0)
            return;
}

/* ---- what was seen ---- */

void rig_forget(struct rig *rig)
{
    for (size_t i = 0; i < rig->seen_count; i++)
        event_unref(rig->seen[i]);
    rig->seen_count = 0;
    for (size_t i = 0; i < rig->dead_count; i++)
        event_unref(rig->dead[i]);
    rig->dead_count = 0;
}

static bool rig_is(const struct event *ev, const char *type, const char *subject)
{
    return (!type || str_eq(ev->type, str_of(type))) && (!subject || str_eq(ev->subject, str_of(subject)));
}

size_t rig_count(const struct rig *rig, const char *type, const char *subject)
{
    size_t n = 0;
    for (size_t i = 0; i < rig->seen_count; i++)
        n += rig_is(rig->seen[i], type, subject);
    return n;
}

const struct event *rig_event(const struct rig *rig, const char *type, const char *subject, size_t i)
{
    for (size_t k = 0; k < rig->seen_count; k++)
        if (rig_is(rig->seen[k], type, subject) && i-- == 0)
            return rig->seen[k];
    fail_msg("no event %s of %s", type, subject ? subject : "anything");
    return NULL;
}

struct str rig_attribute(const struct event *ev, const char *name)
{
    struct str value = event_attribute(ev, str_of(name));
    return value.at ? value : STR("");
}

bool rig_has(const struct event *ev, const char *piece)
{
    return memmem(ev->data.at, ev->data.n, piece, strlen(piece)) != NULL;
}

void assert_types(struct rig *rig, const char *wanted)
{
    static char text[8192];
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < rig->seen_count && at < sizeof text - 200; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%.*s", i ? " " : "", STR_ARG(rig->seen[i]->type));
    assert_string_equal(text, wanted);
    rig_forget(rig);
}

void assert_captured(struct rig *rig, const char *types)
{
    rig_settle(rig);
    assert_types(rig, types);
}
