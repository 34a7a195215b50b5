/* SPDX-License-Identifier: MIT */
/* The records of a topic from outside (broker.h: look_open): all of its partitions as they come, or merged by time.
 *
 * As they come: one queue for all. Merged: each partition has its own, of which the first record is taken into `head`, and the
 * oldest head is the next one; what the client reads ahead is bounded over all of them. The client then stays assigned from one call
 * to the next, until all have reached the ends that they had: so it can be told to stop as often as one likes.
 *
 * A partition whose next record was removed meanwhile says so: then all begin once more, and what is gone is told. */
#include <stdlib.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"

enum { LOOK_SILENCE_MS = 15000, LOOK_SLICE_MS = 100 };

struct look_part { /* a partition of the topic */
    int64_t next;  /* the first offset that was not handed out */
    int64_t end;   /* one past the last; -1: nothing more is wanted of it */
    bool begun;
    struct ranges finished;  /* by the group, beyond where it stood */
    rd_kafka_queue_t *queue; /* merged: its own; NULL: not assigned */
    struct record *head;     /* merged: the next one; NULL: not here yet */
};

struct kafka_look {
    struct look base;
    struct kafka *b;
    rd_kafka_t *rk;      /* NULL: none yet, or it failed */
    char *topic, *group; /* group NULL: everything is handed out */
    int64_t since_ms, most;
    bool may_lack, by_time, enough;
    int64_t (*begin)(void *ctx, const struct topic_partition *p, int64_t start, int64_t end); /* NULL: see most */
    void (*gone)(void *ctx, const struct topic_partition *p, int64_t from, int64_t to);       /* NULL: never mind */
    void *ctx;
    struct look_part *parts; /* by number */
    int32_t count;
    int open;        /* partitions that have not reached their end */
    bool moved;      /* what is next of one was removed: begin once more */
    int64_t until;   /* something must come before */
    int64_t readers; /* merged: for so many partitions the client reads ahead */
};

struct look *kafka_look(const struct broker_config *config, const struct look_options *o, struct err *e)
{
    struct kafka *b = kafka_peek_open(config);
    rd_kafka_t *rk = kafka_client_reader(config, b, e);
    if (!rk) {
        kafka_peek_close(b, NULL);
        return NULL;
    }
    struct kafka_look *l = mem_alloc(sizeof *l);
    *l = (struct kafka_look){ .base.ops = &broker_kafka,
                              .b = b,
                              .rk = rk,
                              .topic = str_dup(str_of(o->topic)),
                              .group = o->group ? str_dup(str_of(o->group)) : NULL,
                              .since_ms = o->since_ms,
                              .most = o->most,
                              .may_lack = o->may_lack,
                              .by_time = o->by_time,
                              .begin = o->begin,
                              .gone = o->gone,
                              .ctx = o->ctx };
    return &l->base;
}

/* ---- where it begins ---- */

static void look_grow(struct kafka_look *l, int32_t partition)
{
    if (partition < l->count)
        return;
    l->parts = mem_grow(l->parts, (size_t)partition + 1, sizeof *l->parts);
    while (l->count <= partition)
        l->parts[l->count++] = (struct look_part){ .end = -1 };
}

/* The group stands there. */
static void look_stands(void *ctx, const struct standing *s)
{
    static const struct ranges nothing;
    struct kafka_look *l = ctx;
    struct look_part *p = &l->parts[s->partition];
    p->next = s->position > p->next ? s->position : p->next;
    p->finished = ranges_union(s->beyond, &nothing);
}

static void look_begin(const struct kafka_look *l, const struct topic_partition *which, int64_t low, int64_t high)
{
    struct look_part *p = &l->parts[which->partition];
    bool begins = !p->begun;
    int64_t share = l->most ? l->most / l->count + 1 : INT64_MAX, first = high - low > share ? high - share : low;
    if (begins && l->begin)
        p->next = l->begin(l->ctx, which, first, high);
    p->begun = true;
    if (p->next > high) /* the topic was made anew */
        p->next = begins ? first : low;
    if (p->next < low && l->gone && (!begins || l->begin))
        l->gone(l->ctx, which, p->next, low);
    low = begins ? first : low;
    p->next = p->next < low ? low : p->next;
    p->end = high > p->next ? high : -1;
}

/* Sets where to begin in each partition, and where it ends now; leaves those in the list that have something. */
static bool look_plan(struct kafka_look *l, rd_kafka_topic_partition_list_t *list, struct err *e)
{
    for (int i = list->cnt; i-- > 0;) {
        int64_t low = 0, high = 0;
        rd_kafka_topic_partition_t *at = &list->elems[i];
        rd_kafka_resp_err_t code = kafka_ends(l->rk, at->topic, at->partition, &low, &high);
        if (code)
            return kafka_peek_fail(l->b, l->rk, code, at->topic, NULL, e)
                   || err_prefix(e, "%s/%d", at->topic, (int)at->partition);
        look_begin(l, &(struct topic_partition){ at->topic, at->partition }, low, high);
        at->offset = l->parts[at->partition].next;
        if (l->parts[at->partition].end < 0)
            rd_kafka_topic_partition_list_del_by_idx(list, i);
        else
            l->open++;
    }
    return true;
}

/* Finds the partitions, and of those that are new where the group stands. */
static bool look_find(struct kafka_look *l, rd_kafka_topic_partition_list_t *list, struct err *e)
{
    if (list->cnt == 0)
        return l->may_lack || err_set(e, "there is no topic %s yet", l->topic);
    rd_kafka_topic_partition_list_t *fresh = rd_kafka_topic_partition_list_new(list->cnt);
    for (int i = 0; i < list->cnt; i++) {
        look_grow(l, list->elems[i].partition);
        if (l->group && !l->parts[list->elems[i].partition].begun)
            rd_kafka_topic_partition_list_add(fresh, l->topic, list->elems[i].partition);
    }
    bool ok = fresh->cnt == 0 || kafka_peek_stands(l->b, l->rk, l->group, fresh, look_stands, l, e);
    rd_kafka_topic_partition_list_destroy(fresh);
    return ok && look_plan(l, list, e);
}

/* ---- the client ---- */

static void look_drop_heads(const struct kafka_look *l)
{
    for (int32_t i = 0; i < l->count; i++) {
        record_free(l->parts[i].head);
        l->parts[i].head = NULL;
    }
}

/* The client reads nothing more. */
static void look_unassign(struct kafka_look *l)
{
    look_drop_heads(l);
    l->open = 0;
    for (int32_t i = 0; i < l->count; i++) {
        if (l->parts[i].queue)
            rd_kafka_queue_destroy(l->parts[i].queue);
        l->parts[i].queue = NULL;
    }
    if (l->rk)
        rd_kafka_assign(l->rk, NULL);
}

static void look_client_end(struct kafka_look *l)
{
    look_unassign(l);
    if (l->rk)
        kafka_client_reader_end(l->rk, l->b);
    l->rk = NULL;
}

/* A client; when partitions are merged one that reads ahead for so many. */
static bool look_client(struct kafka_look *l, int64_t partitions, struct err *e)
{
    if (l->by_time && partitions != l->readers)
        look_client_end(l);
    l->readers = l->by_time ? partitions : 0;
    l->rk = l->rk ? l->rk : kafka_client_reader_of(l->b->config, l->b, l->readers, e);
    return l->rk != NULL;
}

static void look_assign(struct kafka_look *l, const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; l->by_time && i < list->cnt; i++) {
        struct look_part *p = &l->parts[list->elems[i].partition];
        p->queue = kafka_queue_own(l->rk, l->topic, list->elems[i].partition);
    }
    rd_kafka_assign(l->rk, list);
}

/* ---- what comes ---- */

static void look_ended(struct kafka_look *l, struct look_part *p)
{
    p->end = -1;
    l->open--;
}

static void look_hand(struct kafka_look *l, struct look_part *p, const struct record *r,
                      bool (*each)(void *, const struct record *), void *ctx)
{
    p->next = r->offset + 1;
    if (r->offset < p->end && ranges_skip(&p->finished, r->offset) == r->offset)
        l->enough = r->timestamp_ms >= l->since_ms && !each(ctx, r);
    if (p->next >= p->end)
        look_ended(l, p);
}

/* Takes one record, or news of its partition: *out is the record, if it is one that is wanted. */
static bool look_take(struct kafka_look *l, rd_kafka_message_t *m, struct record **out, struct err *e)
{
    *out = NULL;
    if (!m->rkt || m->partition < 0 || m->partition >= l->count || l->parts[m->partition].end < 0)
        return true;
    struct look_part *p = &l->parts[m->partition];
    l->until = m->err ? l->until : clock_mono_ms() + LOOK_SILENCE_MS;
    if (!m->err && m->offset >= p->next)
        *out = kafka_record(m);
    else if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && m->offset >= p->end)
        look_ended(l, p);
    else if (m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
        l->moved = true;
    else if (kafka_access_is_denial(m->err))
        return kafka_access_fail(l->b, m->err, l->topic, l->group, e);
    else if (m->err && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
        return err_set(e, "%s/%d@%lld: %s", l->topic, (int)m->partition, (long long)m->offset,
                       rd_kafka_message_errstr(m));
    return true;
}

static bool look_in_time(const struct kafka_look *l, struct err *e)
{
    return clock_mono_ms() <= l->until || err_set(e, "nothing came for %d s", LOOK_SILENCE_MS / 1000);
}

/* As they come. */
static bool look_read(struct kafka_look *l, bool (*each)(void *, const struct record *), void *ctx, struct err *e)
{
    struct record *r = NULL;
    rd_kafka_message_t *m = rd_kafka_consumer_poll(l->rk, LOOK_SLICE_MS);
    bool ok = !m || look_take(l, m, &r, e);
    if (r) {
        look_hand(l, &l->parts[r->partition], r, each, ctx);
        l->until = clock_mono_ms() + LOOK_SILENCE_MS; /* each() may take its time */
    }
    record_free(r);
    if (m)
        rd_kafka_message_destroy(m);
    return ok && look_in_time(l, e);
}

/* ---- merged ---- */

/* Waits until the partition's next record is here, or it is known that there is none. */
static bool look_head(struct kafka_look *l, struct look_part *p, struct err *e)
{
    bool ok = true;
    while (ok && !p->head && p->end >= 0 && !l->moved) {
        rd_kafka_message_t *m = rd_kafka_consume_queue(p->queue, LOOK_SLICE_MS);
        if (m) {
            ok = look_take(l, m, &p->head, e);
            rd_kafka_message_destroy(m);
        } else {
            kafka_peek_hear(l->rk);
            ok = look_in_time(l, e);
        }
    }
    return ok;
}

/* The oldest head is handed out. */
static bool look_merge(struct kafka_look *l, bool (*each)(void *, const struct record *), void *ctx, struct err *e)
{
    struct look_part *next = NULL;
    l->until = clock_mono_ms() + LOOK_SILENCE_MS;
    for (int32_t i = 0; i < l->count; i++) {
        struct look_part *p = &l->parts[i];
        if (!look_head(l, p, e))
            return false;
        if (p->head && (!next || p->head->stored_ms < next->head->stored_ms))
            next = p;
    }
    if (!next || l->moved)
        return true;
    struct record *r = next->head;
    next->head = NULL;
    look_hand(l, next, r, each, ctx);
    record_free(r);
    return true;
}

/* ---- the whole of it ---- */

/* Finds where the partitions end by now, and has the client read up to there. */
static bool look_again(struct kafka_look *l, struct err *e)
{
    look_unassign(l);
    l->moved = false;
    if (!l->rk && !look_client(l, l->readers, e))
        return false;
    rd_kafka_topic_partition_list_t *list = kafka_peek_partitions(l->b, l->rk, l->topic, e);
    bool ok = list && look_client(l, list->cnt, e) && look_find(l, list, e);
    if (ok && l->open > 0)
        look_assign(l, list);
    if (list)
        rd_kafka_topic_partition_list_destroy(list);
    return ok;
}

/* Reads until every partition has reached its end, however long that takes, as long as something comes. */
bool kafka_look_on(struct look *base, bool (*each)(void *, const struct record *), void *ctx, struct err *e)
{
    struct kafka_look *l = (struct kafka_look *)base;
    l->enough = false;
    bool ok = l->open > 0 || look_again(l, e);
    l->until = clock_mono_ms() + LOOK_SILENCE_MS;
    while (ok && l->open > 0 && !l->enough) {
        ok = (l->by_time ? look_merge(l, each, ctx, e) : look_read(l, each, ctx, e))
             || err_prefix(e, "topic %s", l->topic);
        if (ok && l->moved)
            ok = look_again(l, e);
    }
    if (!ok)
        look_client_end(l);
    else if (!l->by_time || l->open == 0)
        look_unassign(l);
    return ok;
}

void kafka_look_close(struct look *base)
{
    struct kafka_look *l = (struct kafka_look *)base;
    look_unassign(l);
    kafka_peek_close(l->b, l->rk);
    for (int32_t i = 0; i < l->count; i++)
        ranges_free(&l->parts[i].finished);
    free(l->parts);
    free(l->topic);
    free(l->group);
    free(l);
}
