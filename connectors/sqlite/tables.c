/* SPDX-License-Identifier: MIT */
/* Rules with `tables`: the tables that are there, each with a rule for itself. */
#include <stdlib.h>
#include "connectors/sqlite/sqlite.h"

static void tables_add(struct sqlite_source *s, struct rule *pattern, const char *table)
{
    char *name = str_join(pattern->name, ".", table);
    size_t count = s->rule_count;
    bool known = false;
    for (size_t i = 0; i < count; i++)
        known = known || strcmp(s->rules[i]->name, name) == 0;
    if (!known && count == RULES) {
        rule_warn(s, pattern, "tables: there are more of them than the 64 rules that a source may have");
    } else if (!known) {
        struct rule *r = rule_of(s, str_of(name));
        instance_make(r, pattern->o);
        if (pattern->ready && !s->told)
            state_store_ready(s, r);
    }
    free(name);
}

/* The tables of one rule. */
static void tables_find_of(struct sqlite_source *s, struct rule *pattern)
{
    static const char sql[] = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid";
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) != SQLITE_OK)
        return;
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const char *table = (const char *)sqlite3_column_text(stmt, 0);
        if (table && instance_fits(pattern->o, str_of(table)))
            tables_add(s, pattern, table);
    }
    sqlite3_finalize(stmt);
}

void tables_find(struct sqlite_source *s)
{
    for (size_t i = 0, count = s->rule_count; i < count; i++)
        if (s->rules[i]->o->tables)
            tables_find_of(s, s->rules[i]);
}
