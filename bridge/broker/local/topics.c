/* SPDX-License-Identifier: MIT */
/* The topics and partitions of the embedded log in memory, and what an open transaction has changed of them. */
#include <stdlib.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/mem.h"

struct topic *local_topic_find(struct local *b, struct str name)
{
    uint64_t hash = str_hash(name);
    for (size_t i = 0; i < b->topic_count; i++)
        if (b->topics[i]->hash == hash && str_eq(str_of(b->topics[i]->name), name))
            return b->topics[i];
    return NULL;
}

void local_topic_set_limits(struct local *b, struct topic *t, struct duration retention, struct bytes retention_bytes)
{
    t->retention = retention;
    t->retention_bytes = retention_bytes;
    b->retains = b->retains || retention.ms > 0 || retention_bytes.n > 0;
}

void local_topic_set_use(struct local *b, struct topic *t, const struct topic_config *settings)
{
    const char *group = settings->consumed_by;
    free(t->consumed_by);
    t->consumed_by = group ? str_dup(str_of(group)) : NULL;
    t->retention_strict = settings->retention_strict;
    b->retains = b->retains || group;
}

struct topic *local_topic_add(struct local *b, struct str name)
{
    struct topic *t = mem_alloc(sizeof *t);
    t->name = str_dup(name);
    t->hash = str_hash(name);
    pthread_mutex_lock(&b->topics_lock);
    b->topics = mem_grow(b->topics, b->topic_count + 1, sizeof(struct topic *));
    b->topics[b->topic_count++] = t;
    pthread_mutex_unlock(&b->topics_lock);
    return t;
}

struct partition *local_topic_add_partition(struct local *b, struct topic *t, int64_t id)
{
    struct partition *p = mem_alloc(sizeof *p);
    p->id = id;
    p->topic = t;
    local_shelf_open(&p->shelf);
    pthread_mutex_lock(&b->topics_lock);
    p->number = t->partition_count;
    t->partitions = mem_grow(t->partitions, (size_t)t->partition_count + 1, sizeof(struct partition *));
    t->partitions[t->partition_count++] = p;
    b->partition_count++;
    pthread_mutex_unlock(&b->topics_lock);
    return p;
}

void local_partition_set(struct partition *p, int64_t start, int64_t end, int64_t bytes)
{
    atomic_store(&p->start, start);
    atomic_store(&p->end, end);
    p->next = end;
    p->start_before = start;
    p->bytes = p->end_bytes = bytes;
}

static struct reader_group *topics_reader(struct partition *p, const char *group, bool former)
{
    struct reader_group *g = atomic_load(&p->readers);
    while (g && (g->former != former || strcmp(g->name, group) != 0))
        g = g->next;
    return g;
}

void local_partition_add_reader(struct partition *p, const char *group, bool former)
{
    struct reader_group *g = topics_reader(p, group, former);
    size_t n = strlen(group) + 1;
    if (!g) {
        g = mem_alloc(sizeof *g + n);
        g->next = atomic_load(&p->readers);
        g->former = former;
        memcpy(g->name, group, n);
    }
    atomic_fetch_add(&g->consumers, 1);
    atomic_store(&g->served, true);
    if (!topics_reader(p, group, former))
        atomic_store(&p->readers, g);
}

void local_partition_drop_reader(struct partition *p, const char *group, bool former)
{
    atomic_fetch_sub(&topics_reader(p, group, former)->consumers, 1);
}

void local_topics_serve(struct local *b)
{
    pthread_mutex_lock(&b->topics_lock);
    for (size_t i = 0; i < b->topic_count; i++)
        for (int32_t k = 0; k < b->topics[i]->partition_count; k++)
            for (struct reader_group *g = atomic_load(&b->topics[i]->partitions[k]->readers); g; g = g->next)
                atomic_store(&g->served, atomic_load(&g->consumers) > 0);
    pthread_mutex_unlock(&b->topics_lock);
}

static void topics_free_partition(struct partition *p)
{
    local_shelf_close(&p->shelf);
    for (struct reader_group *g = atomic_load(&p->readers), *next; g; g = next) {
        next = g->next;
        free(g);
    }
    sqlite3_finalize(p->insert);
    free(p);
}

void local_topics_free(struct local *b)
{
    for (size_t i = 0; i < b->topic_count; i++) {
        struct topic *t = b->topics[i];
        for (int32_t k = 0; k < t->partition_count; k++)
            topics_free_partition(t->partitions[k]);
        free(t->partitions);
        free(t->name);
        free(t->consumed_by);
        free(t);
    }
    free(b->topics);
}

/* ---- the open transaction ---- */

void local_topics_touch(struct local *b, struct partition *p)
{
    if (p->touched)
        return;
    p->touched = true;
    p->next_touched = b->touched;
    b->touched = p;
}

void local_topics_untouch(struct local *b)
{
    for (struct partition *p = b->touched; p; p = p->next_touched)
        p->touched = false;
    b->touched = NULL;
}

void local_topics_finish(struct local *b, bool committed)
{
    for (struct partition *p = b->touched; p; p = p->next_touched) {
        if (committed) {
            p->start_before = atomic_load(&p->start);
            p->end_bytes = p->bytes;
            atomic_store(&p->end, p->next);
        } else {
            atomic_store(&p->start, p->start_before);
            p->bytes = p->end_bytes;
            p->next = atomic_load(&p->end);
        }
    }
    if (!committed)
        local_topics_untouch(b);
}
