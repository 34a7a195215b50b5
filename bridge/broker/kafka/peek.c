/* SPDX-License-Identifier: MIT */
/* Looks at a cluster from outside, beside a daemon or without one: where a group stands in a topic, and its records. A
 * client of its own for each look, which joins no group and makes nothing. */
#include <stdlib.h>
#include <string.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"

enum { PEEK_ASK_MS = 10000, PEEK_TRY_MS = 1000, PEEK_SILENCE_MS = 15000 };

/* ---- the cluster ---- */

struct kafka *kafka_peek_open(const struct broker_config *config)
{
    struct kafka *b = mem_alloc(sizeof *b);
    *b = (struct kafka){ .config = config, .outside = true };
    kafka_access_open(b);
    return b;
}

void kafka_peek_close(struct kafka *b, rd_kafka_t *rk)
{
    if (rk)
        kafka_client_reader_end(rk, b);
    if (atomic_load(&b->outlived)) /* the client may still call back */
        return;
    kafka_access_close(b);
    free(b);
}

/* What the client has heard goes to access.c. */
static void peek_hear(rd_kafka_t *rk)
{
    for (rd_kafka_message_t *m; (m = rd_kafka_consumer_poll(rk, 0));)
        rd_kafka_message_destroy(m);
}

static bool peek_fail(struct kafka *b, rd_kafka_t *rk, rd_kafka_resp_err_t code, const char *topic, const char *group,
                      struct err *e)
{
    peek_hear(rk);
    return kafka_access_fail(b, code, topic, group, e);
}

/* All topics; asked for as long as that may help. */
static const struct rd_kafka_metadata *peek_metadata(struct kafka *b, rd_kafka_t *rk, struct err *e)
{
    const struct rd_kafka_metadata *md = NULL;
    int64_t until = clock_mono_ms() + PEEK_ASK_MS;
    rd_kafka_resp_err_t code;
    while ((code = rd_kafka_metadata(rk, 1, NULL, &md, PEEK_TRY_MS)) && clock_mono_ms() < until) {
        peek_hear(rk);
        if (kafka_access_is_refused(b))
            break;
    }
    if (!code)
        return md;
    peek_fail(b, rk, code, NULL, NULL, e);
    return NULL;
}

/* All topics are asked for: to ask for one by its name could make it. */
rd_kafka_topic_partition_list_t *kafka_peek_partitions(struct kafka *b, rd_kafka_t *rk, const char *topic,
                                                       struct err *e)
{
    const struct rd_kafka_metadata *md = peek_metadata(b, rk, e);
    if (!md)
        return NULL;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    for (int i = 0; i < md->topic_cnt; i++)
        for (int p = 0; strcmp(md->topics[i].topic, topic) == 0 && p < md->topics[i].partition_cnt; p++)
            rd_kafka_topic_partition_list_add(list, topic, md->topics[i].partitions[p].id);
    rd_kafka_metadata_destroy(md);
    rd_kafka_topic_partition_list_sort(list, NULL, NULL);
    return list;
}

/* ---- where a group stands ---- */

static bool peek_stand(struct kafka *b, rd_kafka_t *rk, const rd_kafka_topic_partition_t *p,
                       void (*each)(void *, const struct standing *), void *ctx, struct err *e)
{
    int64_t low = 0, high = 0;
    rd_kafka_resp_err_t code = p->err ? p->err : kafka_ends(rk, p->topic, p->partition, &low, &high);
    if (code)
        return peek_fail(b, rk, code, p->topic, NULL, e)
               || err_prefix(e, "topic %s, partition %d", p->topic, (int)p->partition);
    struct ranges beyond = kafka_position_beyond(p);
    each(ctx, &(struct standing){ .topic = p->topic,
                                  .partition = p->partition,
                                  .position = p->offset < 0 ? -1 : p->offset,
                                  .start = low,
                                  .end = high,
                                  .beyond = &beyond });
    ranges_free(&beyond);
    return true;
}

static bool peek_stands(struct kafka *b, rd_kafka_t *rk, const char *group, const rd_kafka_topic_partition_list_t *list,
                        void (*each)(void *, const struct standing *), void *ctx, struct err *e)
{
    const rd_kafka_topic_partition_list_t *positions = NULL;
    rd_kafka_event_t *ev = kafka_group_positions(b, rk, group, list, PEEK_ASK_MS, &positions, e);
    bool ok = ev != NULL;
    for (int i = 0; ok && i < positions->cnt; i++)
        ok = peek_stand(b, rk, &positions->elems[i], each, ctx, e);
    if (ev)
        rd_kafka_event_destroy(ev);
    return ok;
}

bool kafka_standing(const struct broker_config *config, const char *group, const char *topic,
                    void (*each)(void *, const struct standing *), void *ctx, struct err *e)
{
    struct kafka *b = kafka_peek_open(config);
    rd_kafka_t *rk = kafka_client_reader(config, b, e);
    rd_kafka_topic_partition_list_t *list = rk ? kafka_peek_partitions(b, rk, topic, e) : NULL;
    bool ok = list && (list->cnt == 0 || peek_stands(b, rk, group, list, each, ctx, e));
    if (list)
        rd_kafka_topic_partition_list_destroy(list);
    kafka_peek_close(b, rk);
    return ok;
}

bool kafka_can_make(const struct broker_config *config, const char *topic, struct err *e)
{
    struct err why;
    struct kafka *b = kafka_peek_open(config);
    rd_kafka_t *rk = kafka_client_reader(config, b, e);
    bool ok = rk && config->create_topics && kafka_making_could(b, rk, topic, e);
    if (rk && !config->create_topics) {
        err_set(&why, "it is not there and broker.create_topics is off, or we may not describe it");
        kafka_access_grant(b, "topic", topic, "Describe", why.text, sizeof why.text);
        err_set(e, "%s", why.text);
    }
    kafka_peek_close(b, rk);
    return ok;
}

bool kafka_groups_outside(const struct broker_config *config, const char *prefix, const struct group_seen *seen,
                          struct err *e)
{
    struct kafka *b = kafka_peek_open(config);
    rd_kafka_t *rk = kafka_client_reader(config, b, e);
    bool fine = rk && kafka_groups_each(b, rk, NULL, prefix, seen, e);
    kafka_peek_close(b, rk);
    return fine;
}

/* ---- records ---- */

struct peek_part { /* a partition of the topic */
    int64_t next;  /* the first offset that was not handed out */
    int64_t end;   /* one past the last; -1: nothing more is wanted of it */
    bool begun;
    struct ranges finished; /* by the group, beyond where it stood */
};

struct kafka_look {
    struct look base;
    struct kafka *b;
    rd_kafka_t *rk;      /* NULL: none yet, or it failed */
    char *topic, *group; /* group NULL: everything is handed out */
    int64_t since_ms, most;
    bool may_lack, enough;
    int64_t (*begin)(void *ctx, const struct topic_partition *p, int64_t start, int64_t end); /* NULL: see most */
    void *ctx;
    struct peek_part *parts; /* by number */
    int32_t count;
    int open;
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
                              .begin = o->begin,
                              .ctx = o->ctx };
    return &l->base;
}

static void peek_grow(struct kafka_look *l, int32_t partition)
{
    if (partition < l->count)
        return;
    l->parts = mem_grow(l->parts, (size_t)partition + 1, sizeof *l->parts);
    while (l->count <= partition)
        l->parts[l->count++] = (struct peek_part){ .end = -1 };
}

/* The group stands there. */
static void peek_begin(void *ctx, const struct standing *s)
{
    static const struct ranges nothing;
    struct kafka_look *l = ctx;
    struct peek_part *p = &l->parts[s->partition];
    p->next = s->position > p->next ? s->position : p->next;
    p->finished = ranges_union(s->beyond, &nothing);
}

/* Sets where to begin in each partition, and where it ends now; leaves those in the list that have something. */
static bool peek_plan(struct kafka_look *l, rd_kafka_topic_partition_list_t *list, struct err *e)
{
    int64_t share = l->most ? l->most / list->cnt + 1 : INT64_MAX;
    for (int i = list->cnt; i-- > 0;) {
        int64_t low = 0, high = 0;
        rd_kafka_topic_partition_t *at = &list->elems[i];
        struct peek_part *p = &l->parts[at->partition];
        rd_kafka_resp_err_t code = kafka_ends(l->rk, at->topic, at->partition, &low, &high);
        if (code)
            return peek_fail(l->b, l->rk, code, at->topic, NULL, e)
                   || err_prefix(e, "topic %s, partition %d", at->topic, (int)at->partition);
        if (!p->begun && high - low > share)
            low = high - share;
        if (!p->begun && l->begin)
            p->next = l->begin(l->ctx, &(struct topic_partition){ at->topic, at->partition }, low, high);
        p->begun = true;
        p->next = p->next < low || p->next > high ? low : p->next; /* beyond the end: the topic was made anew */
        p->end = high > p->next ? high : -1;
        at->offset = p->next;
        l->open += p->end >= 0;
        if (p->end < 0)
            rd_kafka_topic_partition_list_del_by_idx(list, i);
    }
    return true;
}

/* Takes one record, or the news that a partition has no more. */
static bool peek_message(struct kafka_look *l, rd_kafka_message_t *m, bool (*each)(void *, const struct record *),
                         void *ctx, struct err *e)
{
    bool ended = m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
    if (!m->rkt || m->partition < 0 || m->partition >= l->count || l->parts[m->partition].end < 0)
        return true;
    struct peek_part *p = &l->parts[m->partition];
    if (kafka_access_is_denial(m->err))
        return kafka_access_fail(l->b, m->err, l->topic, l->group, e);
    if (m->err && !ended)
        return err_set(e, "partition %d, offset %lld: %s", (int)m->partition, (long long)m->offset,
                       rd_kafka_message_errstr(m));
    if (!ended && m->offset < p->end && ranges_skip(&p->finished, m->offset) == m->offset) {
        struct record *r = kafka_record(m);
        l->enough = r->timestamp_ms >= l->since_ms && !each(ctx, r);
        record_free(r);
    }
    p->next = ended ? p->next : m->offset + 1;
    if ((ended ? m->offset : m->offset + 1) >= p->end) {
        p->end = -1;
        l->open--;
    }
    return true;
}

/* Reads until every partition has reached its end, however long that takes, as long as something comes. */
static bool peek_read(struct kafka_look *l, bool (*each)(void *, const struct record *), void *ctx, struct err *e)
{
    bool ok = true;
    int64_t until = clock_mono_ms() + PEEK_SILENCE_MS;
    while (ok && l->open > 0 && !l->enough) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(l->rk, 100);
        if (m) {
            ok = peek_message(l, m, each, ctx, e);
            until = m->err ? until : clock_mono_ms() + PEEK_SILENCE_MS; /* each() may take its time */
            rd_kafka_message_destroy(m);
        }
        if (ok && clock_mono_ms() > until)
            ok = err_set(e, "nothing came for %d s", PEEK_SILENCE_MS / 1000);
    }
    return ok;
}

/* Finds the partitions, and of those that are new where the group stands. */
static bool peek_find(struct kafka_look *l, rd_kafka_topic_partition_list_t *list, struct err *e)
{
    if (list->cnt == 0)
        return l->may_lack || err_set(e, "there is no topic %s yet", l->topic);
    rd_kafka_topic_partition_list_t *fresh = rd_kafka_topic_partition_list_new(list->cnt);
    for (int i = 0; i < list->cnt; i++) {
        peek_grow(l, list->elems[i].partition);
        if (l->group && !l->parts[list->elems[i].partition].begun)
            rd_kafka_topic_partition_list_add(fresh, l->topic, list->elems[i].partition);
    }
    bool ok = fresh->cnt == 0 || peek_stands(l->b, l->rk, l->group, fresh, peek_begin, l, e);
    rd_kafka_topic_partition_list_destroy(fresh);
    return ok && peek_plan(l, list, e);
}

static void peek_client_end(struct kafka_look *l)
{
    if (l->rk)
        kafka_client_reader_end(l->rk, l->b);
    l->rk = NULL;
}

bool kafka_look_on(struct look *base, bool (*each)(void *, const struct record *), void *ctx, struct err *e)
{
    struct kafka_look *l = (struct kafka_look *)base;
    l->rk = l->rk ? l->rk : kafka_client_reader(l->b->config, l->b, e);
    rd_kafka_topic_partition_list_t *list = l->rk ? kafka_peek_partitions(l->b, l->rk, l->topic, e) : NULL;
    l->enough = false;
    l->open = 0;
    bool ok = list && peek_find(l, list, e);
    if (ok && l->open > 0) {
        rd_kafka_assign(l->rk, list);
        ok = peek_read(l, each, ctx, e) || err_prefix(e, "topic %s", l->topic);
        rd_kafka_assign(l->rk, NULL);
    }
    if (list)
        rd_kafka_topic_partition_list_destroy(list);
    if (!ok)
        peek_client_end(l);
    return ok;
}

void kafka_look_close(struct look *base)
{
    struct kafka_look *l = (struct kafka_look *)base;
    kafka_peek_close(l->b, l->rk);
    for (int32_t i = 0; i < l->count; i++)
        ranges_free(&l->parts[i].finished);
    free(l->parts);
    free(l->topic);
    free(l->group);
    free(l);
}
