/* SPDX-License-Identifier: MIT */
/* Looks at the pages of a SQLite database. */
#include "bridge/lib/intact.h"
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/mem.h"

enum {
    INTACT_SMALL = 64 << 20, /* bytes: quick_check(), which nothing can stop, takes a moment */
    INTACT_ROWS = 8192,      /* of a piece */
    INTACT_TURN_OPS = 10000, /* SQLite's, between two looks at the clock */
};

static int intact_is_late(void *arg)
{
    return clock_mono_ms() > *(const int64_t *)arg;
}

/* The statement's first number; false: it has none. */
static bool intact_number(sqlite3 *db, const char *sql, int64_t *out)
{
    sqlite3_stmt *s = NULL;
    bool has = sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW;
    *out = has ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_finalize(s);
    return has;
}

static int intact_check(sqlite3 *db, struct err *why)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &s, NULL);
    const char *said = rc == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW ? (const char *)sqlite3_column_text(s, 0)
                                                                        : NULL;
    bool sound = !said || strcmp(said, "ok") == 0;
    if (!sound)
        err_set(why, "%.200s", said);
    int end = sqlite3_finalize(s);
    return !sound ? SQLITE_CORRUPT : rc ? rc : end;
}

/* By its rowids; one without any at once. */
static int intact_table(sqlite3 *db, const char *table)
{
    sqlite3_stmt *s = NULL;
    int64_t from = INT64_MIN, count = INTACT_ROWS;
    char *sql = sqlite3_mprintf("SELECT count(*), max(i) FROM (SELECT rowid AS i FROM \"%w\" WHERE rowid >= ?1"
                                " ORDER BY rowid LIMIT %d)",
                                table, INTACT_ROWS),
         *whole = sqlite3_mprintf("SELECT count(*), 0 FROM \"%w\" NOT INDEXED WHERE ?1 < 0", table);
    CHECK(sql && whole);
    int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
    bool pieces = rc == SQLITE_OK;
    if (rc == SQLITE_ERROR)
        rc = sqlite3_prepare_v2(db, whole, -1, &s, NULL);
    while (rc == SQLITE_OK && count == INTACT_ROWS) {
        sqlite3_bind_int64(s, 1, from);
        bool has = sqlite3_step(s) == SQLITE_ROW;
        count = has && pieces ? sqlite3_column_int64(s, 0) : 0;
        from = has ? sqlite3_column_int64(s, 1) : 0;
        rc = sqlite3_reset(s);
        if (from == INT64_MAX)
            break;
        from++;
    }
    sqlite3_finalize(s);
    sqlite3_free(sql);
    sqlite3_free(whole);
    return rc;
}

static int intact_tables(sqlite3 *db)
{
    static const char sql[] = "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0";
    char **names = NULL;
    size_t count = 0;
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
    while (rc == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(s, 0);
        names = mem_grow(names, count + 1, sizeof *names);
        names[count++] = str_dup(str_of(name ? name : ""));
    }
    int end = sqlite3_finalize(s);
    rc = rc ? rc : end;
    for (size_t i = 0; i < count; i++) {
        rc = rc ? rc : intact_table(db, names[i]);
        free(names[i]);
    }
    free(names);
    return rc;
}

enum intact intact_look(sqlite3 *db, struct duration limit, struct err *why)
{
    int64_t until = clock_mono_ms() + limit.ms, pages, size;
    why->text[0] = '\0';
    sqlite3_progress_handler(db, INTACT_TURN_OPS, intact_is_late, &until);
    bool known = intact_number(db, "PRAGMA page_count", &pages) && intact_number(db, "PRAGMA page_size", &size);
    bool small = known && pages <= INTACT_SMALL / size;
    int rc = !known ? sqlite3_errcode(db) : small ? intact_check(db, why) : intact_tables(db);
    switch (rc & 0xff) {
    case SQLITE_OK: break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_IOERR:
        if (!why->text[0])
            err_set(why, "%s", sqlite3_errstr(rc));
        break;
    default: small = false; break;
    }
    sqlite3_progress_handler(db, 0, NULL, NULL);
    return why->text[0] ? INTACT_DAMAGED : rc ? INTACT_SO_FAR : small ? INTACT_WHOLE : INTACT_TABLES;
}

const char *intact_says(enum intact found)
{
    static const char *const words[] = {
        [INTACT_WHOLE] = "all of its pages are sound",
        [INTACT_TABLES] = "the pages of its tables are sound; it is too large for a look at its indexes",
        [INTACT_SO_FAR] = "its pages are sound, as far as there was time to look",
        [INTACT_DAMAGED] = "is damaged",
    };
    return words[found];
}
