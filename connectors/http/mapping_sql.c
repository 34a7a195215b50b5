/* SPDX-License-Identifier: MIT */
/* The SQL of a map, prepared. */
#include "bridge/map/data.h"
#include "connectors/http/mapping_sql.h"

void mapping_add_column(sqlite3_str *sql, const char *expression)
{
    sqlite3_str_appendf(sql, ",(%s\n)", mapping_is_set(expression) ? expression : "NULL");
}

static void mapping_add_from(sqlite3_str *sql, const struct mapping_rules *r, bool choose)
{
    if (mapping_is_set(r->each) && choose)
        sqlite3_str_appendf(sql, " FROM json_each(:body, %Q) r", r->each);
    else if (mapping_is_set(r->each))
        sqlite3_str_appendall(sql, " FROM (SELECT :key AS key, :value AS value, :type AS type) r");
}

sqlite3_stmt *mapping_prepare_choose(struct sandbox *b, const struct mapping_rules *r, bool id, struct err *e)
{
    const struct map_options *m = r->map.at;
    sqlite3_str *sql = sqlite3_str_new(b->db);
    sqlite3_str_appendf(sql, "SELECT (%s\n)", id ? r->id : "NULL");
    mapping_add_column(sql, mapping_is_sql(r->time) ? r->time : NULL);
    mapping_add_column(sql, r->part);
    sqlite3_str_appendall(sql, mapping_is_set(r->each) ? ",r.key,r.value,r.type" : ",NULL,NULL,NULL");
    for (size_t i = 0; i < r->map.count; i++)
        sqlite3_str_appendf(sql, ",((%s\n) IS TRUE)", mapping_is_set(m[i].when) ? m[i].when : "1");
    mapping_add_from(sql, r, true);
    return sandbox_prepare(b, sql, CHOOSE_WHEN + (int)r->map.count, e);
}

sqlite3_stmt *mapping_prepare_entry(struct sandbox *b, const struct mapping_rules *r, const struct outline *of,
                                    struct err *e)
{
    sqlite3_str *sql = sqlite3_str_new(b->db);
    sqlite3_str_appendall(sql, "SELECT NULL");
    mapping_add_column(sql, of->o->subject);
    mapping_add_column(sql, of->o->partitionkey);
    for (size_t i = 0; i < of->count; i++)
        mapping_add_column(sql, of->bindings[i].sql);
    mapping_add_from(sql, r, false);
    return sandbox_prepare(b, sql, DATA_HEAD + (int)of->count, e);
}

/* One expression alone; with `row`, where it may read the element `r`. */
sqlite3_stmt *mapping_prepare_alone(struct sandbox *b, const struct mapping_rules *r, const char *expression, bool row,
                                    struct err *e)
{
    sqlite3_str *sql = sqlite3_str_new(b->db);
    sqlite3_str_appendf(sql, "SELECT (%s\n)", expression);
    if (row)
        mapping_add_from(sql, r, false);
    return sandbox_prepare(b, sql, 1, e);
}

bool mapping_reads_headers(sqlite3_stmt *stmt)
{
    return stmt && sqlite3_bind_parameter_index(stmt, ":headers") > 0;
}

/* Does SQL that was checked read the element? */
bool mapping_is_of_part(struct sandbox *b, const struct mapping_rules *r, const char *expression)
{
    sqlite3_stmt *stmt = mapping_prepare_alone(b, r, expression, false, NULL);
    sqlite3_finalize(stmt);
    return !stmt;
}
