/* SPDX-License-Identifier: MIT */
/* A configuration for a database: the preset of its application, or a rule for each table. */
#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/auth/secret.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/yaml.h"
#include "connectors/sqlite/inspect.h"

enum {
    PROPOSE_DIFF_ROWS = 100000, /* a diff of more is costly: only new rows */
    PROPOSE_NAME = 40,
};

const char propose_advice[] =
    "Look through the columns that each rule tells for passwords, keys and other secrets: what `never` lists is not read.";

/* A name of small letters, digits and _ made of the table's. */
static void propose_word(const char *text, char out[PROPOSE_NAME + 1])
{
    size_t n = 0;
    for (; *text && n < PROPOSE_NAME - 4; text++)
        out[n++] = isalnum((unsigned char)*text) ? (char)tolower((unsigned char)*text) : '_';
    out[n] = '\0';
}

/* The time at which a row came, by its column's name; NULL: none is called like that. */
static const char *propose_time(const struct table *t)
{
    static const char *const names[] = { "created_at", "createdat",   "created",   "createddate", "date_created",
                                         "occurredat", "occurred_at", "timestamp", "inserted_at", "time" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t k = 0; k < t->column_count; k++)
            if (str_eq_nocase(str_of(t->columns[k].name), str_of(names[i])))
                return t->columns[k].name;
    return NULL;
}

/* More names than secret_is_name() knows: what is proposed to be kept back is looked at by a person. */
static bool propose_is_secret(const char *column)
{
    static const char *const ends[] = { "hash", "salt", "pwd", "pass", "passcode", "otp", "cookie" };
    bool secret = secret_is_name(str_of(column));
    size_t n = strlen(column);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t m = strlen(ends[i]);
        secret = secret || (n >= m && str_eq_nocase(str_of(column + n - m), str_of(ends[i])));
    }
    return secret;
}

static bool propose_watches(const struct table *t, const struct column *c)
{
    static const char *const moving[] = { "updated_at",   "updatedat",    "last_active_at", "lastupdatedat",
                                          "last_read_at", "last_seen_at", "updateddate" };
    bool watched = !c->blob && !propose_is_secret(c->name) && !(t->key && strcmp(c->name, t->key) == 0);
    for (size_t i = 0; i < sizeof moving / sizeof *moving; i++)
        watched = watched && !str_eq_nocase(str_of(c->name), str_of(moving[i]));
    return watched;
}

enum columns { COLUMNS_WATCHED, COLUMNS_SECRET, COLUMNS_TOLD };

static bool propose_lists(const struct table *t, const struct column *c, enum columns which)
{
    switch (which) {
    case COLUMNS_WATCHED: return propose_watches(t, c);
    case COLUMNS_SECRET: return propose_is_secret(c->name);
    case COLUMNS_TOLD: break;
    }
    return !propose_is_secret(c->name);
}

/* `<key>: [columns]`, of those; nothing when there are none. */
static void propose_columns(struct buf *out, const struct table *t, const char *key, enum columns which)
{
    size_t n = 0, most = which == COLUMNS_WATCHED ? RULE_WATCH : SIZE_MAX;
    for (size_t i = 0; i < t->column_count && n < most; i++) {
        const struct column *c = &t->columns[i];
        if (!propose_lists(t, c, which))
            continue;
        if (n++)
            buf_add_c(out, ", ");
        else
            buf_printf(out, "        %s: [", key);
        yaml_add_text(out, c->name);
    }
    if (n)
        buf_add_c(out, "]\n");
}

/* Stands in every event's subject, so it is no secret; NULL: there is none. */
static const char *propose_key(const struct table *t)
{
    return t->key && !propose_is_secret(t->key) ? t->key : t->has_rowid ? "rowid" : NULL;
}

/* Schema versions and the like, which say nothing of what happens. */
static bool propose_is_machinery(const char *table)
{
    static const char *const parts[] = { "migration", "alembic", "knex", "_prisma" };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(table, parts[i]))
            return true;
    return false;
}

/* Is it only added to, by its name? */
static bool propose_is_log(const struct table *t)
{
    static const char *const words[] = { "log", "logs", "events", "audit", "history" };
    char name[PROPOSE_NAME + 1];
    propose_word(t->name, name);
    for (size_t i = 0; t->keeps_ids && i < sizeof words / sizeof *words; i++)
        if (str_ends(str_of(name), str_of(words[i])))
            return true;
    return false;
}

static void propose_rule(struct buf *out, const struct table *t, const char *name)
{
    const char *time = propose_time(t);
    bool diff = t->exact && t->rows <= PROPOSE_DIFF_ROWS && !propose_is_log(t);
    buf_printf(out, "      - name: ");
    yaml_add_text(out, name);
    buf_printf(out, "\n        kind: %s\n        table: ", diff ? "diff" : "append");
    yaml_add_text(out, t->name);
    buf_add_c(out, "\n        key: ");
    yaml_add_text(out, propose_key(t));
    buf_add_char(out, '\n');
    if (time) {
        buf_add_c(out, "        time: ");
        yaml_add_text(out, time);
        buf_add_char(out, '\n');
    }
    size_t before = out->n;
    if (diff)
        propose_columns(out, t, "watch", COLUMNS_WATCHED);
    bool watches = out->n > before;
    propose_columns(out, t, "never", COLUMNS_SECRET);
    propose_columns(out, t, "# tells", COLUMNS_TOLD);
    buf_printf(out, "        types: {insert: %s.created%s%s%s", name, watches ? ", update: " : "", watches ? name : "",
               watches ? ".updated" : "");
    buf_printf(out, "%s%s%s}\n", diff ? ", delete: " : "", diff ? name : "", diff ? ".deleted" : "");
}

/* Is that name among those of the tables before the i-th? Then it gets a number. */
static void propose_name(const struct inspection *in, size_t i, char name[PROPOSE_NAME + 1])
{
    char other[PROPOSE_NAME + 1];
    size_t same = 0;
    propose_word(in->tables[i].name, name);
    for (size_t k = 0; k < i; k++) {
        propose_word(in->tables[k].name, other);
        same += strcmp(other, name) == 0;
    }
    size_t n = strlen(name);
    if (same)
        snprintf(name + n, PROPOSE_NAME + 1 - n, "_%zu", same + 1);
}

static bool propose_rules(const struct inspection *in, struct buf *out)
{
    size_t rules = 0;
    buf_printf(out, "    # %s\n    capture:\n", propose_advice);
    for (size_t i = 0; i < in->table_count && rules < RULES; i++) {
        const struct table *t = &in->tables[i];
        char name[PROPOSE_NAME + 1];
        if (propose_is_machinery(t->name) || !propose_key(t))
            continue;
        propose_name(in, i, name);
        propose_rule(out, t, name);
        rules++;
    }
    return rules > 0;
}

bool propose(const struct inspection *in, bool preset, struct buf *out)
{
    char *real = realpath(in->s->path, NULL);
    const char *path = real ? real : in->s->path, *name = in->app ? in->app->preset : "app";
    buf_printf(out, "broker: {path: ./data}\nsources:\n  %s:\n    type: sqlite\n    path: ", name);
    yaml_add_text(out, path);
    buf_add_char(out, '\n');
    bool any = preset;
    if (preset)
        buf_printf(out, "    preset: %s\n", name);
    else
        any = propose_rules(in, out);
    buf_add_c(out, "    start: now # snapshot: first all that is there\n");
    buf_printf(out, "routes:\n  - topic: %s.events\nsinks:\n  failed: {type: dead_letter, path: ./dead-letters.db}\n",
               name);
    buf_add_c(out, "  # crm: {type: webhook, topics: [");
    buf_printf(out, "%s.events], url: \"https://crm.example.com/hooks\", secrets: [\"${CRM_SECRET}\"]}\n", name);
    free(real);
    return any && !out->failed;
}
