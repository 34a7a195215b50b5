/* SPDX-License-Identifier: MIT */
/* Where a group stands: as the file has it, without opening it as its owner, and as its consumer has asked for. */
#include <stdlib.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/mem.h"

enum { STANDING_WAIT_MS = 5000 };

/* ---- in the file ---- */

/* The first record that is kept and one past the last; both `base` when the partition is empty. */
static int standing_ends(sqlite3 *db, int64_t id, int64_t base, struct standing *out)
{
    sqlite3_stmt *s = NULL;
    char *sql = sqlite3_mprintf("SELECT (SELECT min(offset) FROM log_%lld), (SELECT max(offset)+1 FROM log_%lld)",
                                (long long)id, (long long)id);
    CHECK(sql);
    out->start = out->end = base;
    int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
    sqlite3_free(sql);
    if (rc == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW && sqlite3_column_type(s, 0) != SQLITE_NULL) {
        out->start = sqlite3_column_int64(s, 0);
        out->end = sqlite3_column_int64(s, 1);
    }
    int end = sqlite3_finalize(s);
    return rc == SQLITE_OK ? end : rc;
}

/* Hands out one partition; columns: id, number, base, next, beyond. */
static int standing_row(sqlite3 *db, const char *topic, sqlite3_stmt *s, void (*each)(void *, const struct standing *),
                        void *ctx)
{
    struct ranges beyond = { 0 };
    struct standing out = { .topic = topic,
                            .partition = sqlite3_column_int(s, 1),
                            .position = sqlite3_column_type(s, 3) == SQLITE_NULL ? -1 : sqlite3_column_int64(s, 3),
                            .beyond = &beyond };
    const char *bytes = sqlite3_column_blob(s, 4);
    int rc = standing_ends(db, sqlite3_column_int64(s, 0), sqlite3_column_int64(s, 2), &out);
    if (bytes && out.position >= 0) /* what cannot be read counts as not finished, as it does for the consumer */
        ranges_decode(&beyond, out.position, (struct str){ bytes, (size_t)sqlite3_column_bytes(s, 4) });
    if (rc == SQLITE_OK)
        each(ctx, &out);
    ranges_free(&beyond);
    return rc;
}

int local_standing_rows(sqlite3 *db, const char *group, const char *topic,
                        void (*each)(void *, const struct standing *), void *ctx)
{
    sqlite3_stmt *s = NULL;
    static const char sql[] = "SELECT id, number, base, next, beyond FROM partition LEFT JOIN position"
                              " ON part=id AND grp=?1 WHERE topic=?2 ORDER BY number";
    int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(s, 1, group, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(s, 2, topic, -1, SQLITE_STATIC);
    while (rc == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        rc = standing_row(db, topic, s, each, ctx);
    int end = sqlite3_finalize(s);
    return rc == SQLITE_OK ? end : rc;
}

sqlite3 *local_standing_open(const struct broker_config *config, struct err *e)
{
    if (!local_backlog_readable(config, e))
        return NULL;
    sqlite3 *db = local_backlog_open(config->path);
    if (!db)
        err_set(e, "%s: the log cannot be opened", config->path);
    if (db)
        sqlite3_busy_timeout(db, STANDING_WAIT_MS);
    return db;
}

bool local_standing_close(const struct broker_config *config, sqlite3 *db, int rc, struct err *e)
{
    if (rc != SQLITE_OK)
        err_set(e, "%s: %s", config->path, sqlite3_errmsg(db));
    sqlite3_close(db);
    return rc == SQLITE_OK;
}

bool local_standing(const struct broker_config *config, const char *group, const char *topic,
                    void (*each)(void *, const struct standing *), void *ctx, struct err *e)
{
    sqlite3 *db = local_standing_open(config, e);
    return db && local_standing_close(config, db, local_standing_rows(db, group, topic, each, ctx), e);
}

/* ---- by the consumer ---- */

/* What is finished beyond the position that was asked for last; free it. Under consumers_lock. */
static struct ranges standing_beyond(const struct local_assigned *at)
{
    static const struct ranges nothing;
    struct ranges beyond = { 0 };
    if (!at->beyond)
        return ranges_union(&at->restored, &nothing);
    ranges_decode(&beyond, at->wanted, (struct str){ (const char *)at->beyond, at->beyond_n });
    return beyond;
}

void local_stands(struct consumer *base, void (*each)(void *, const struct standing *), void *ctx)
{
    struct local_consumer *c = (struct local_consumer *)base;
    for (size_t i = 0; i < c->assigned_count; i++) {
        const struct local_assigned *at = c->assigned[i];
        pthread_mutex_lock(&c->b->consumers_lock);
        struct ranges beyond = standing_beyond(at);
        int64_t wanted = at->wanted;
        pthread_mutex_unlock(&c->b->consumers_lock);
        each(ctx, &(struct standing){ .topic = at->partition->topic->name,
                                      .partition = at->partition->number,
                                      .position = c->group ? wanted : at->next,
                                      .start = atomic_load(&at->partition->start),
                                      .end = atomic_load(&at->partition->end),
                                      .beyond = &beyond });
        ranges_free(&beyond);
    }
}
