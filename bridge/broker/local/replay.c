/* SPDX-License-Identifier: MIT */
/* The embedded log as a sink reads it from any position (event/log.h): a connection of its own, on the sink's thread. */
#include <stdlib.h>
#include "bridge/broker/chunks.h"
#include "bridge/broker/local/private.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/crypto.h"

enum { REPLAY_RECORDS = 256, REPLAY_BYTES = 1 << 20, REPLAY_KEPT = 8 << 20 };

struct local_replay {
    struct broker_log base;
    struct local *b;
    struct link link;
    struct chunks *chunks;
};

struct local_replay_reader {
    struct log_reader base;
    struct partition *partition;
};

static const struct log_ops replay_ops;

struct log *local_replay(struct broker *base, const struct log_options *o, struct err *e)
{
    struct local_replay *r = mem_alloc(sizeof *r);
    *r = (struct local_replay){ .base = { .base.ops = &replay_ops, .options = *o }, .b = (struct local *)base };
    if (!local_link_open(r->b, &r->link, e)) {
        free(r);
        return NULL;
    }
    r->chunks = chunks_new(REPLAY_KEPT);
    return &r->base.base;
}

void local_replay_close(struct log *base)
{
    struct local_replay *r = (struct local_replay *)base;
    chunks_free(r->chunks);
    local_link_close(&r->link);
    free(r);
}

/* ---- what is known ---- */

static struct partition *replay_partition(struct local_replay *r, struct topic_partition p)
{
    pthread_mutex_lock(&r->b->topics_lock);
    struct topic *t = local_topic_find(r->b, str_of(p.topic));
    struct partition *found = t && p.partition >= 0 && p.partition < t->partition_count ? t->partitions[p.partition]
                                                                                        : NULL;
    pthread_mutex_unlock(&r->b->topics_lock);
    return found;
}

static int32_t replay_partitions(struct log *base, const char *topic)
{
    return broker_partitions(&((struct local_replay *)base)->b->base, topic);
}

/* A topic stays as long as the file does. */
static bool replay_identity(struct log *base, const char *topic, uint64_t *out)
{
    struct local_replay *r = (struct local_replay *)base;
    if (!r->b->identity || !replay_partition(r, (struct topic_partition){ topic, 0 }))
        return false;
    unsigned char digest[SHA256_BYTES];
    char *named = str_join(r->b->identity, "/", topic);
    sha256_of(str_of(named), digest);
    free(named);
    memcpy(out, digest, sizeof *out);
    return true;
}

static bool replay_bounds(struct log *base, struct topic_partition p, struct log_bounds *out)
{
    const struct partition *at = replay_partition((struct local_replay *)base, p);
    if (at)
        *out = (struct log_bounds){ .start = atomic_load(&at->start), .end = atomic_load(&at->end) };
    return at != NULL;
}

static bool replay_offset_at(struct log *base, struct topic_partition p, int64_t ms, int64_t *out)
{
    struct local_replay *r = (struct local_replay *)base;
    struct log_bounds bounds;
    if (!replay_bounds(base, p, &bounds))
        return false;
    local_link_lock(&r->link);
    *out = local_look_since(r->link.db, replay_partition(r, p)->id, bounds.start, bounds.end, ms);
    local_link_unlock(&r->link);
    return true;
}

/* ---- readers ---- */

static struct log_reader *replay_open(struct log *base, struct topic_partition p, uint64_t identity, int64_t offset)
{
    struct local_replay *r = (struct local_replay *)base;
    struct local_replay_reader *reader = mem_alloc(sizeof *reader);
    uint64_t now = 0;
    reader->partition = replay_partition(r, p);
    reader->base.next = offset;
    reader->base.anew = !reader->partition || !replay_identity(base, p.topic, &now) || now != identity;
    return &reader->base;
}

static void replay_close(struct log *base, struct log_reader *reader)
{
    (void)base;
    free(reader);
}

/* Goes to the first record that is kept. */
static void replay_skip(struct local_replay_reader *reader)
{
    int64_t start = atomic_load(&reader->partition->start);
    if (reader->base.next >= start)
        return;
    reader->base.lost += start - reader->base.next;
    reader->base.next = start;
}

/* Reads the next stretch, one for all readers that come here; false with *e. */
static bool replay_fetch(struct local_replay *r, struct local_replay_reader *reader, struct err *e)
{
    const struct partition *p = reader->partition;
    struct record *records[REPLAY_RECORDS];
    int64_t from = reader->base.next;
    local_link_lock(&r->link);
    int n = local_look_rows(r->link.db,
                            &(struct local_rows){ .topic = p->topic->name,
                                                  .number = p->number,
                                                  .id = p->id,
                                                  .from = from,
                                                  .most = REPLAY_RECORDS,
                                                  .bytes = REPLAY_BYTES },
                            records, e);
    local_link_unlock(&r->link);
    replay_skip(reader); /* what retention removed just now */
    if (n > 0 && records[0]->offset > reader->base.next) {
        while (n > 0)
            record_free(records[--n]);
        return err_set(e, "%s/%d@%lld: the record cannot be read: it is missing from the file", p->topic->name,
                       (int)p->number, (long long)reader->base.next);
    }
    if (n > 0)
        chunks_put(r->chunks, p, from, records[n - 1]->offset + 1, records, (size_t)n);
    return n >= 0;
}

static int replay_read(struct log *base, struct log_reader *out_reader, int64_t until, struct record **out, size_t room,
                       size_t bytes, struct err *e)
{
    struct local_replay *r = (struct local_replay *)base;
    struct local_replay_reader *reader = (struct local_replay_reader *)out_reader;
    if (reader->base.anew || room == 0)
        return 0;
    replay_skip(reader);
    size_t n = chunks_take(r->chunks, reader->partition, &reader->base.next, until, out, room, bytes);
    if (n > 0 || reader->base.next >= until || reader->base.next >= atomic_load(&reader->partition->end))
        return (int)n;
    if (!replay_fetch(r, reader, e))
        return -1;
    return (int)chunks_take(r->chunks, reader->partition, &reader->base.next, until, out, room, bytes);
}

static const struct log_ops replay_ops = {
    .partitions = replay_partitions,
    .identity = replay_identity,
    .bounds = replay_bounds,
    .offset_at = replay_offset_at,
    .live = broker_log_live,
    .wanted = broker_log_wanted,
    .open = replay_open,
    .read = replay_read,
    .close = replay_close,
};
