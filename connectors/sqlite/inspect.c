/* SPDX-License-Identifier: MIT */
/* Looks at a database file: which application's it is, its tables, their sizes. */
#include "connectors/sqlite/inspect.h"
#include "connectors/sqlite/review.h"
#include "connectors/sqlite/trial.h"
#include "connectors/sqlite/triggers.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/lib/mem.h"

enum {
    INSPECT_TABLE_MS = 200, /* counting the rows of one table */
    INSPECT_ALL_MS = 3000,  /* and of all */
    INSPECT_MAX_EVENT = 900 << 10,
    INSPECT_FORMAT_AT = 18, /* in the header: 2 is WAL */
};

extern const struct source_ops sqlite_source;

static sqlite3_stmt *inspect_prepare(struct sqlite_source *s, const char *sql, const char *bound)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) == SQLITE_OK && bound)
        sqlite3_bind_text(stmt, 1, bound, -1, SQLITE_STATIC);
    s->read_began_us = clock_mono_us();
    return stmt;
}

static char *inspect_text(sqlite3_stmt *row, int column)
{
    const unsigned char *text = sqlite3_column_text(row, column);
    return str_dup(str_of(text ? (const char *)text : ""));
}

/* ---- the file ---- */

static int64_t inspect_size(const char *path, const char *suffix)
{
    struct stat st;
    char *name = beside_path(path, suffix);
    int64_t size = stat(name, &st) == 0 ? st.st_size : 0;
    free(name);
    return size;
}

/* By the file's header: opened as a file that nobody writes, SQLite itself takes any for one without WAL. Before SQLite has
 * it open, as closing it drops this process's locks. */
static bool inspect_is_wal(const char *path)
{
    char format = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool wal = fd >= 0 && pread(fd, &format, 1, INSPECT_FORMAT_AT) == 1 && format == 2;
    if (fd >= 0)
        close(fd);
    return wal;
}

static void inspect_file(struct inspection *in, bool wal)
{
    sqlite3_stmt *stmt = inspect_prepare(in->s, "PRAGMA page_size", NULL);
    in->page_size = stmt && sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    sqlite3_finalize(stmt);
    stmt = inspect_prepare(in->s, "PRAGMA journal_mode", NULL);
    const char *mode = stmt && sqlite3_step(stmt) == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
    snprintf(in->journal, sizeof in->journal, "%s", wal ? "wal" : mode ? mode : "unknown");
    sqlite3_finalize(stmt);
    in->bytes = inspect_size(in->s->path, "");
    in->wal_bytes = inspect_size(in->s->path, "-wal");
}

/* ---- tables ---- */

static void inspect_columns(struct inspection *in, struct table *t)
{
    static const char
        sql[] = "SELECT name, upper(type) LIKE '%BLOB%', pk, (SELECT sum(pk > 0) FROM pragma_table_info(?1))"
                " FROM pragma_table_info(?1)";
    sqlite3_stmt *stmt = inspect_prepare(in->s, sql, t->name);
    t->columns = mem_alloc(INSPECT_COLUMNS * sizeof *t->columns);
    while (stmt && t->column_count < INSPECT_COLUMNS && sqlite3_step(stmt) == SQLITE_ROW) {
        if (sqlite3_column_int(stmt, 2) == 1 && sqlite3_column_int(stmt, 3) == 1)
            t->key = inspect_text(stmt, 0);
        t->columns[t->column_count++] = (struct column){ inspect_text(stmt, 0), sqlite3_column_int(stmt, 1) != 0 };
    }
    sqlite3_finalize(stmt);
}

/* The tables that an application writes: neither views nor what a virtual table consists of. */
static void inspect_tables(struct inspection *in)
{
    static const char
        sql[] = "SELECT l.name, NOT l.wr, coalesce(s.sql LIKE '%AUTOINCREMENT%', 0) FROM pragma_table_list l"
                " JOIN sqlite_schema s ON s.type = 'table' AND s.name = l.name"
                " WHERE l.schema = 'main' AND l.type = 'table' AND l.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
                " AND l.name NOT LIKE '" TRIGGERS_PREFIX "%'"
                " ORDER BY l.name";
    sqlite3_stmt *stmt = inspect_prepare(in->s, sql, NULL);
    in->tables = mem_alloc(INSPECT_TABLES * sizeof *in->tables);
    while (stmt && sqlite3_step(stmt) == SQLITE_ROW) {
        in->more = in->table_count == INSPECT_TABLES;
        if (in->more)
            break;
        in->tables[in->table_count++] = (struct table){ .name = inspect_text(stmt, 0),
                                                        .has_rowid = sqlite3_column_int(stmt, 1) != 0,
                                                        .keeps_ids = sqlite3_column_int(stmt, 2) != 0 };
    }
    sqlite3_finalize(stmt);
}

static void inspect_count(struct inspection *in)
{
    int64_t until = clock_mono_ms() + INSPECT_ALL_MS;
    for (size_t i = 0; i < in->table_count; i++) {
        struct table *t = &in->tables[i];
        int64_t left = until - clock_mono_ms();
        inspect_columns(in, t);
        t->rows = trial_count(in->s, t->name,
                              left > INSPECT_TABLE_MS ? INSPECT_TABLE_MS
                              : left > 1              ? left
                                                      : 1,
                              &t->exact);
    }
}

static bool inspect_has(void *ctx, const char *table)
{
    const struct inspection *in = ctx;
    for (size_t i = 0; i < in->table_count; i++)
        if (str_eq_nocase(str_of(in->tables[i].name), str_of(table)))
            return true;
    return false;
}

/* ---- all of it ---- */

/* The file is a word of the command, not an option `path`. False. */
static bool inspect_fail(struct err *e)
{
    struct str text = str_of(e->text), option = STR("path: ");
    if (str_starts(text, option))
        memmove(e->text, e->text + option.n, text.n - option.n + 1);
    return false;
}

bool inspect_open(struct inspection *in, const char *path, struct err *e)
{
    bool refused;
    *in = (struct inspection){ .s = mem_alloc(sqlite_source.size) };
    in->s->base = (struct source){ .ops = &sqlite_source, .id = "inspect" };
    in->s->path = str_dup(str_of(path));
    in->s->max_event.n = INSPECT_MAX_EVENT;
    source_begin_look(in->s);
    bool wal = inspect_is_wal(path);
    switch (review_open(in->s, &refused, e)) {
    case DB_OK: break;
    case DB_BUSY: return err_set(e, "%s: is locked, as its application is writing; try again", path);
    case DB_GONE: return inspect_fail(e);
    }
    inspect_file(in, wal);
    inspect_tables(in);
    inspect_count(in);
    in->app = apps_find(inspect_has, in);
    database_close(in->s);
    return true;
}

void inspect_free(struct inspection *in)
{
    for (size_t i = 0; i < in->table_count; i++) {
        struct table *t = &in->tables[i];
        for (size_t k = 0; k < t->column_count; k++)
            free(t->columns[k].name);
        free(t->columns);
        free(t->key);
        free(t->name);
    }
    free(in->tables);
    source_end_look(in->s);
    free(in->s->path);
    free(in->s);
}
