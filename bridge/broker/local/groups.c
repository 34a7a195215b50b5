/* SPDX-License-Identifier: MIT */
/* Where groups stand, whether they are configured or not. */
#include <stdlib.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/mem.h"

struct group_sum { /* of one group in one topic */
    char *group, *topic;
    int64_t unread;
};

/* What the row's group has not finished in the partition: from `next` on, but for the set. */
static int64_t groups_unread(const struct partition *p, int64_t next, struct str bytes)
{
    struct ranges beyond = { 0 };
    int64_t start = atomic_load(&p->start), end = atomic_load(&p->end), from = next > start ? next : start;
    if (bytes.n > 0)
        ranges_decode(&beyond, next, bytes);
    int64_t unread = end > from ? end - from - ranges_within(&beyond, from, end) : 0;
    ranges_free(&beyond);
    return unread;
}

static struct partition *groups_partition(struct local *b, int64_t id)
{
    for (size_t i = 0; i < b->topic_count; i++)
        for (int32_t k = 0; k < b->topics[i]->partition_count; k++)
            if (b->topics[i]->partitions[k]->id == id)
                return b->topics[i]->partitions[k];
    return NULL;
}

static void groups_add(struct group_sum **sums, size_t *count, const char *group, const char *topic, int64_t unread)
{
    size_t i = 0;
    while (i < *count && (strcmp((*sums)[i].group, group) != 0 || strcmp((*sums)[i].topic, topic) != 0))
        i++;
    if (i == *count) {
        *sums = mem_grow(*sums, *count + 1, sizeof **sums);
        (*sums)[(*count)++] = (struct group_sum){ str_dup(str_of(group)), str_dup(str_of(topic)), 0 };
    }
    (*sums)[i].unread += unread;
}

static bool groups_idle(struct local *b, const char *group)
{
    bool idle = true;
    pthread_mutex_lock(&b->consumers_lock);
    for (const struct local_consumer *c = b->consumers; c; c = c->next)
        idle = idle && !(c->group && strcmp(c->group, group) == 0);
    pthread_mutex_unlock(&b->consumers_lock);
    return idle;
}

/* Reads every position; SQLite's code. */
static int groups_read(struct local *b, sqlite3_stmt *s, const char *prefix, struct group_sum **sums, size_t *count)
{
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        const char *group = (const char *)sqlite3_column_text(s, 0);
        const char *blob = sqlite3_column_blob(s, 3);
        struct str beyond = { blob ? blob : "", (size_t)sqlite3_column_bytes(s, 3) };
        if (!group || !str_starts(str_of(group), str_of(prefix)))
            continue;
        pthread_mutex_lock(&b->topics_lock);
        const struct partition *p = groups_partition(b, sqlite3_column_int64(s, 1));
        if (p)
            groups_add(sums, count, group, p->topic->name, groups_unread(p, sqlite3_column_int64(s, 2), beyond));
        pthread_mutex_unlock(&b->topics_lock);
    }
    return rc;
}

bool local_groups(struct broker *base, const char *prefix, const struct group_seen *seen, struct err *e)
{
    struct local *b = (struct local *)base;
    struct link l;
    sqlite3_stmt *s = NULL;
    struct group_sum *sums = NULL;
    size_t count = 0;
    if (!local_link_open(b, &l, e))
        return false;
    local_link_lock(&l);
    bool ok = local_store_prepare(&l, &s, e, "SELECT grp, part, next, beyond FROM position ORDER BY grp");
    if (ok) {
        int rc = groups_read(b, s, prefix, &sums, &count);
        ok = rc == SQLITE_DONE || err_set(e, "broker.path: reading the positions: %s", sqlite3_errstr(rc));
    }
    sqlite3_finalize(s);
    local_link_unlock(&l);
    local_link_close(&l);
    for (size_t i = 0; i < count; i++) {
        if (ok)
            seen->each(seen->ctx, sums[i].group, groups_idle(b, sums[i].group), sums[i].topic, sums[i].unread);
        free(sums[i].group);
        free(sums[i].topic);
    }
    free(sums);
    return ok;
}
