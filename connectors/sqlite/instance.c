/* SPDX-License-Identifier: MIT */
/* A rule for each table that a pattern of `tables` fits: the rule as written, with {table_n} in its SQL replaced. It is
 * named <rule>.<table>, which no written rule can be, so that its state is its own; it stays when its table goes. */
#include <ctype.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"
#include "bridge/map/map.h"
#include "connectors/sqlite/rules.h"

enum { INSTANCE_SQL = 64 << 10 };

struct instance {
    struct rule_options o;
    struct map_options *map;
    char **texts; /* all that was replaced */
    size_t count;
    struct str n; /* what * stands for */
    char *table;
};

static const struct str instance_mark = { "{table_n}", 9 };

/* What the * of the pattern stands for in that name; absent: it does not fit. Letters, digits, _ and - only, as it becomes
 * part of SQL. */
static struct str instance_n(const char *pattern, struct str table)
{
    const char *star = strchr(pattern, '*');
    struct str before = { pattern, (size_t)(star - pattern) }, after = str_of(star + 1);
    if (!table.at || table.n < before.n + after.n + 1 || !str_starts(table, before) || !str_ends(table, after))
        return STR_ABSENT;
    struct str n = { table.at + before.n, table.n - before.n - after.n };
    for (size_t i = 0; i < n.n; i++)
        if (!isalnum((unsigned char)n.at[i]) && n.at[i] != '_' && n.at[i] != '-')
            return STR_ABSENT;
    return n;
}

bool instance_fits(const struct rule_options *o, struct str table)
{
    return instance_n(o->tables, table).at != NULL;
}

/* The table in the name of an instance; absent: it is none of that rule. */
static struct str instance_table(const struct rule_options *o, struct str name)
{
    struct str head = str_of(o->name);
    if (!o->tables || name.n < head.n + 2 || !str_starts(name, head) || name.at[head.n] != '.')
        return STR_ABSENT;
    struct str table = str_from(name, head.n + 1);
    return instance_n(o->tables, table).at ? table : STR_ABSENT;
}

bool instance_is_of(const struct rule_options *o, struct str name)
{
    return instance_table(o, name).at != NULL;
}

/* The SQL with every {table_n} replaced; NULL stays. */
static char *instance_text(struct instance *i, char *sql)
{
    if (!sql || !strstr(sql, instance_mark.at))
        return sql;
    struct buf out = buf_new(INSTANCE_SQL);
    for (const char *at = sql, *mark; *at; at = mark + instance_mark.n) {
        mark = strstr(at, instance_mark.at);
        if (!mark) {
            buf_add_c(&out, at);
            break;
        }
        buf_add(&out, at, (size_t)(mark - at));
        buf_add_str(&out, i->n);
    }
    i->texts = mem_grow(i->texts, i->count + 1, sizeof *i->texts);
    char *text = str_dup(buf_str(&out));
    i->texts[i->count++] = text;
    buf_free(&out);
    return text;
}

/* A copy of the mapping with its SQL replaced; owned as a text. */
static struct map instance_map(struct instance *i, struct map from)
{
    struct map copy = { .count = from.count };
    if (!from.count)
        return copy;
    copy.at = mem_alloc(from.count * sizeof *copy.at);
    i->texts = mem_grow(i->texts, i->count + 1, sizeof *i->texts);
    i->texts[i->count++] = (char *)copy.at;
    for (size_t k = 0; k < from.count; k++)
        copy.at[k] = (struct map_entry){ .key = from.at[k].key, .value = instance_text(i, from.at[k].value) };
    return copy;
}

void instance_make(struct rule *r, const struct rule_options *o)
{
    struct instance *i = mem_alloc(sizeof *i);
    const struct map_options *map = o->map.at;
    i->table = str_dup(instance_table(o, str_of(r->name)));
    i->n = instance_n(o->tables, str_of(i->table));
    i->o = *o;
    i->o.table = i->table;
    i->o.tables = NULL;
    char **all[] = { &i->o.select, &i->o.where, &i->o.done, &i->o.join, &i->o.part };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        *all[k] = instance_text(i, *all[k]);
    i->o.data = instance_map(i, o->data);
    i->map = mem_alloc((o->map.count ? o->map.count : 1) * sizeof *i->map);
    for (size_t k = 0; k < o->map.count; k++) {
        i->map[k] = map[k];
        i->map[k].when = instance_text(i, map[k].when);
        i->map[k].subject = instance_text(i, map[k].subject);
        i->map[k].partitionkey = instance_text(i, map[k].partitionkey);
        i->map[k].data = instance_map(i, map[k].data);
    }
    i->o.map.at = i->map;
    r->instance = i;
    r->o = &i->o;
}

void instance_free(struct instance *i)
{
    if (!i)
        return;
    for (size_t k = 0; k < i->count; k++)
        free(i->texts[k]);
    free(i->texts);
    free(i->map);
    free(i->table);
    free(i);
}
