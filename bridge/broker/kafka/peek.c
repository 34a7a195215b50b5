/* SPDX-License-Identifier: MIT */
/* Looks at a cluster from outside, beside a daemon or without one: where a group stands in a topic, and its records. A
 * client of its own for each look, which joins no group and makes nothing. */
#include <stdlib.h>
#include <string.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"

enum { PEEK_ASK_MS = 10000, PEEK_SILENCE_MS = 15000, PEEK_END_MS = 2000 };

/* The topic's partitions, none when there is no such topic; NULL with *e. (All topics are asked for: to ask for one by its name could make it.) */
static rd_kafka_topic_partition_list_t *peek_partitions(const struct broker_config *config, rd_kafka_t *rk,
                                                        const char *topic, struct err *e)
{
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 1, NULL, &md, PEEK_ASK_MS);
    if (code) {
        err_set(e, "Kafka at %s does not list its topics: %s", config->servers, rd_kafka_err2str(code));
        return NULL;
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    for (int i = 0; i < md->topic_cnt; i++)
        for (int p = 0; strcmp(md->topics[i].topic, topic) == 0 && p < md->topics[i].partition_cnt; p++)
            rd_kafka_topic_partition_list_add(list, topic, md->topics[i].partitions[p].id);
    rd_kafka_metadata_destroy(md);
    rd_kafka_topic_partition_list_sort(list, NULL, NULL);
    return list;
}

/* ---- where a group stands ---- */

static bool peek_stand(rd_kafka_t *rk, const rd_kafka_topic_partition_t *p,
                       void (*each)(void *, const struct standing *), void *ctx, struct err *e)
{
    int64_t low = 0, high = 0;
    rd_kafka_resp_err_t code = p->err ? p->err
                                      : rd_kafka_query_watermark_offsets(rk, p->topic, p->partition, &low, &high,
                                                                         PEEK_ASK_MS);
    if (code)
        return err_set(e, "topic %s, partition %d: %s", p->topic, (int)p->partition, rd_kafka_err2str(code));
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

static bool peek_stands(rd_kafka_t *rk, const char *group, const rd_kafka_topic_partition_list_t *list,
                        void (*each)(void *, const struct standing *), void *ctx, struct err *e)
{
    const rd_kafka_topic_partition_list_t *positions = NULL;
    rd_kafka_event_t *ev = kafka_group_positions(rk, group, list, PEEK_ASK_MS, &positions, e);
    bool ok = ev != NULL;
    for (int i = 0; ok && i < positions->cnt; i++)
        ok = peek_stand(rk, &positions->elems[i], each, ctx, e);
    if (ev)
        rd_kafka_event_destroy(ev);
    return ok;
}

bool kafka_standing(const struct broker_config *config, const char *group, const char *topic,
                    void (*each)(void *, const struct standing *), void *ctx, struct err *e)
{
    rd_kafka_t *rk = kafka_client_reader(config, NULL, e);
    rd_kafka_topic_partition_list_t *list = rk ? peek_partitions(config, rk, topic, e) : NULL;
    bool ok = list && (list->cnt == 0 || peek_stands(rk, group, list, each, ctx, e));
    if (list)
        rd_kafka_topic_partition_list_destroy(list);
    if (rk)
        kafka_client_end(rk, (struct duration){ PEEK_END_MS });
    return ok;
}

/* ---- records ---- */

struct peek {
    struct scan_limits how;
    bool (*each)(void *, const struct record *);
    void *ctx;
    int64_t *ends; /* by partition; -1: nothing more is wanted of it */
    int partitions, open;
    bool enough;
};

/* Sets where to begin in each partition, and where it ends now. */
static bool peek_plan(rd_kafka_t *rk, struct peek *p, rd_kafka_topic_partition_list_t *list, struct err *e)
{
    int64_t share = p->how.most ? p->how.most / list->cnt + 1 : INT64_MAX;
    for (int i = list->cnt; i-- > 0;) {
        int64_t low = 0, high = 0;
        int32_t partition = list->elems[i].partition;
        rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(rk, list->elems[i].topic, partition, &low, &high,
                                                                    PEEK_ASK_MS);
        if (code || partition >= p->partitions)
            return err_set(e, "topic %s, partition %d: %s", list->elems[i].topic, (int)partition,
                           rd_kafka_err2str(code));
        p->ends[partition] = high > low ? high : -1;
        list->elems[i].offset = high - low > share ? high - share : low;
        if (high > low)
            p->open++;
        else
            rd_kafka_topic_partition_list_del_by_idx(list, i);
    }
    return true;
}

/* Takes one record, or the news that a partition has no more. */
static bool peek_message(struct peek *p, rd_kafka_message_t *m, struct err *e)
{
    bool ended = m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
    if (!m->rkt || m->partition < 0 || m->partition >= p->partitions || p->ends[m->partition] < 0)
        return true;
    if (m->err && !ended)
        return err_set(e, "partition %d, offset %lld: %s", (int)m->partition, (long long)m->offset,
                       rd_kafka_message_errstr(m));
    if (!ended && m->offset < p->ends[m->partition]) {
        struct record *r = kafka_record(m);
        p->enough = r->timestamp_ms >= p->how.since_ms && !p->each(p->ctx, r);
        record_free(r);
    }
    if ((ended ? m->offset : m->offset + 1) >= p->ends[m->partition]) {
        p->ends[m->partition] = -1;
        p->open--;
    }
    return true;
}

static bool peek_read(rd_kafka_t *rk, struct peek *p, struct err *e)
{
    bool ok = true;
    int64_t until = clock_mono_ms() + PEEK_SILENCE_MS;
    while (ok && p->open > 0 && !p->enough) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 100);
        if (m) {
            until = m->err ? until : clock_mono_ms() + PEEK_SILENCE_MS;
            ok = peek_message(p, m, e);
            rd_kafka_message_destroy(m);
        }
        if (ok && clock_mono_ms() > until)
            ok = err_set(e, "nothing came for %d s", PEEK_SILENCE_MS / 1000);
    }
    return ok;
}

bool kafka_scan(const struct broker_config *config, const char *topic, struct scan_limits how,
                bool (*each)(void *, const struct record *), void *ctx, struct err *e)
{
    struct peek p = { .how = how, .each = each, .ctx = ctx };
    rd_kafka_t *rk = kafka_client_reader(config, NULL, e);
    rd_kafka_topic_partition_list_t *list = rk ? peek_partitions(config, rk, topic, e) : NULL;
    bool ok = list != NULL;
    if (ok && list->cnt > 0) {
        p.partitions = list->elems[list->cnt - 1].partition + 1;
        p.ends = mem_alloc((size_t)p.partitions * sizeof *p.ends);
        ok = peek_plan(rk, &p, list, e);
        if (ok && p.open > 0) {
            rd_kafka_assign(rk, list);
            ok = peek_read(rk, &p, e) || err_prefix(e, "topic %s", topic);
        }
    }
    free(p.ends);
    if (list)
        rd_kafka_topic_partition_list_destroy(list);
    if (rk)
        kafka_client_end(rk, (struct duration){ PEEK_END_MS });
    return ok;
}
