/* SPDX-License-Identifier: MIT */
/* What a statement over a body may do, and how much of it. */
#include "connectors/http/sandbox.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/str.h"

enum {
    SANDBOX_STEPS = 2000,      /* thousands of steps of SQLite's machine a request: some 50 ms */
    SANDBOX_BYTES = 128 << 20, /* of JSON a request, some 500 ms */
    SANDBOX_LENGTH = 1 << 20,  /* beside twice the longest body: of a value */
    SANDBOX_SQL = 64 << 10,    /* bytes of a statement */
    SANDBOX_PATTERN = 1 << 10, /* of LIKE and GLOB */
};

static bool sandbox_is_refused(const char *function)
{
    static const char *const names[] = { "load_extension", "fts3_tokenizer", "sqlite_log",       "random",
                                         "randomblob",     "changes",        "total_changes",    "last_insert_rowid",
                                         "current_date",   "current_time",   "current_timestamp" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (sqlite3_stricmp(function, names[i]) == 0)
            return true;
    return false;
}

static int sandbox_authorize(void *none, int code, const char *a, const char *b, const char *database,
                             const char *inner)
{
    (void)none, (void)database, (void)inner;
    switch (code) {
    case SQLITE_SELECT: return SQLITE_OK;
    case SQLITE_FUNCTION: return sandbox_is_refused(b) ? SQLITE_DENY : SQLITE_OK;
    case SQLITE_READ:
        return sqlite3_stricmp(a, "json_each") == 0 || sqlite3_stricmp(a, "json_tree") == 0 ? SQLITE_OK : SQLITE_DENY;
    }
    return SQLITE_DENY;
}

static int sandbox_count(void *box)
{
    struct sandbox *b = box;
    return b->steps-- <= 0;
}

void sandbox_open(struct sandbox *b, size_t length)
{
    CHECK(sqlite3_open_v2(":memory:", &b->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX, NULL)
          == SQLITE_OK);
    sqlite3_db_config(b->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(b->db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
    sqlite3_limit(b->db, SQLITE_LIMIT_LENGTH, (int)(2 * length + SANDBOX_LENGTH));
    sqlite3_limit(b->db, SQLITE_LIMIT_SQL_LENGTH, SANDBOX_SQL);
    sqlite3_limit(b->db, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, SANDBOX_PATTERN);
    sqlite3_limit(b->db, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_limit(b->db, SQLITE_LIMIT_WORKER_THREADS, 0);
    /* Their first use declares them, which the authorizer would deny. */
    CHECK(sqlite3_exec(b->db, "SELECT 1 FROM json_each('[]'), json_tree('[]')", NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_set_authorizer(b->db, sandbox_authorize, NULL);
    sqlite3_progress_handler(b->db, 1000, sandbox_count, b);
    sandbox_begin(b);
}

void sandbox_close(struct sandbox *b)
{
    CHECK(sqlite3_close(b->db) == SQLITE_OK);
    b->db = NULL;
}

void sandbox_begin(struct sandbox *b)
{
    b->steps = SANDBOX_STEPS;
    b->bytes = SANDBOX_BYTES;
}

bool sandbox_may_read(struct sandbox *b, size_t bytes, struct err *e)
{
    b->bytes -= (int64_t)bytes;
    return b->bytes >= 0 || err_set(e, "the SQL of too many elements reads all of such a long body");
}

/* Everything that is bound is one of these. */
static bool sandbox_check_parameters(sqlite3_stmt *stmt, struct err *e)
{
    static const char *const known[] = { ":body", ":headers", ":key", ":value", ":type", NULL };
    for (int i = 1; i <= sqlite3_bind_parameter_count(stmt); i++) {
        const char *name = sqlite3_bind_parameter_name(stmt, i);
        size_t k = 0;
        while (known[k] && (!name || strcmp(known[k], name) != 0))
            k++;
        if (!known[k])
            return err_set(e, "there is no parameter %s (:body, :headers)", name ? name : "?");
    }
    return true;
}

sqlite3_stmt *sandbox_prepare(struct sandbox *b, sqlite3_str *sql, int columns, struct err *e)
{
    sqlite3_stmt *stmt = NULL;
    const char *rest;
    char *text = sqlite3_str_finish(sql);
    if (!text) {
        err_set(e, "it is longer than SQL may be here");
        return NULL;
    }
    bool good = true;
    if (sqlite3_prepare_v3(b->db, text, -1, SQLITE_PREPARE_PERSISTENT, &stmt, &rest) != SQLITE_OK)
        good = err_set(e, "%s", sqlite3_errmsg(b->db));
    else if (!stmt || *rest || sqlite3_column_count(stmt) != columns)
        good = err_set(e, "one expression is wanted");
    good = good && sandbox_check_parameters(stmt, e);
    sqlite3_free(text);
    if (good)
        return stmt;
    sqlite3_finalize(stmt);
    return NULL;
}
