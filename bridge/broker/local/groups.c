/* SPDX-License-Identifier: MIT */
/* Where groups stand, whether they are configured or not; and that one stands nowhere any more. */
#include <stdlib.h>
#include "bridge/broker/local/private.h"

/* Does a consumer of this process have the group, and the topic (NULL: any)? */
static bool groups_consume(struct local *b, const char *group, const char *topic)
{
    bool found = false;
    pthread_mutex_lock(&b->consumers_lock);
    for (const struct local_consumer *c = b->consumers; c; c = c->next) {
        bool is = c->group && strcmp(c->group, group) == 0;
        for (size_t i = 0; topic && i < c->assigned_count; i++)
            found = found || (is && strcmp(c->assigned[i]->partition->topic->name, topic) == 0);
        found = found || (is && !topic);
    }
    pthread_mutex_unlock(&b->consumers_lock);
    return found;
}

static void groups_add(void *ctx, const struct standing *s)
{
    int64_t *unread = ctx, pending = standing_pending(s);
    *unread += pending > 0 ? pending : 0;
}

/* Each group's topics; SQLite's code. `b` NULL: nobody knows who consumes. */
static int groups_each(sqlite3 *db, struct local *b, const char *prefix, const struct group_seen *seen)
{
    static const char sql[] = "SELECT DISTINCT grp, topic FROM position JOIN partition ON id=part ORDER BY grp, topic";
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
    while (rc == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
        const char *group = (const char *)sqlite3_column_text(s, 0), *topic = (const char *)sqlite3_column_text(s, 1);
        int64_t unread = 0;
        if (!group || !topic || !str_starts(str_of(group), str_of(prefix)))
            continue;
        rc = local_standing_rows(db, group, topic, groups_add, &unread);
        if (rc == SQLITE_OK)
            seen->each(seen->ctx, group, !b || !groups_consume(b, group, NULL), topic, unread);
    }
    int end = sqlite3_finalize(s);
    return rc == SQLITE_OK ? end : rc;
}

bool local_groups(struct broker *base, const char *prefix, const struct group_seen *seen, struct err *e)
{
    struct local *b = (struct local *)base;
    struct link l;
    if (!local_link_open(b, &l, e))
        return false;
    local_link_lock(&l);
    int rc = groups_each(l.db, b, prefix, seen);
    local_link_unlock(&l);
    local_link_close(&l);
    return rc == SQLITE_OK || err_set(e, "broker.path: reading the positions: %s", sqlite3_errstr(rc));
}

bool local_groups_outside(const struct broker_config *config, const char *prefix, const struct group_seen *seen,
                          struct err *e)
{
    sqlite3 *db = local_standing_open(config, e);
    return db && local_standing_close(config, db, groups_each(db, NULL, prefix, seen), e);
}

bool local_forget(struct broker *base, const char *group, const char *topic, struct err *e)
{
    struct local *b = (struct local *)base;
    const struct topic_config named = { .name = (char *)(uintptr_t)topic };
    if (groups_consume(b, group, topic))
        return err_set(e, "group %s: its sink runs and reads topic %s", group, topic);
    return local_queue_ask(b, &(struct topic_request){ .topic = &named, .forget = group, .e = e });
}
