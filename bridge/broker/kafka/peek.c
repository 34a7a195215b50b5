/* SPDX-License-Identifier: MIT */
/* Looks at a cluster from outside, beside a daemon or without one: which partitions a topic has, where a group stands in it. A
 * client of its own for each look, which joins no group and makes nothing. */
#include <stdlib.h>
#include <string.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"

enum { PEEK_ASK_MS = 10000, PEEK_DESERTED_MS = 2000, PEEK_TRY_MS = 1000 };

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
void kafka_peek_hear(rd_kafka_t *rk)
{
    for (rd_kafka_message_t *m; (m = rd_kafka_consumer_poll(rk, 0));)
        rd_kafka_message_destroy(m);
}

bool kafka_peek_fail(struct kafka *b, rd_kafka_t *rk, rd_kafka_resp_err_t code, const char *topic, const char *group,
                     struct err *e)
{
    kafka_peek_hear(rk);
    return kafka_access_fail(b, code, topic, group, e);
}

/* All topics; asked for as long as that may help. */
static const struct rd_kafka_metadata *peek_metadata(struct kafka *b, rd_kafka_t *rk, struct err *e)
{
    const struct rd_kafka_metadata *md = NULL;
    int64_t until = clock_mono_ms() + PEEK_ASK_MS, deserted = clock_mono_ms() + PEEK_DESERTED_MS;
    rd_kafka_resp_err_t code;
    while ((code = rd_kafka_metadata(rk, 1, NULL, &md, PEEK_TRY_MS)) && clock_mono_ms() < until) {
        kafka_peek_hear(rk);
        if (kafka_access_is_refused(b) || (kafka_access_is_deserted(b) && clock_mono_ms() > deserted))
            break;
    }
    if (!code)
        return md;
    kafka_peek_fail(b, rk, code, NULL, NULL, e);
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
        return kafka_peek_fail(b, rk, code, p->topic, NULL, e) || err_prefix(e, "%s/%d", p->topic, (int)p->partition);
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

bool kafka_peek_stands(struct kafka *b, rd_kafka_t *rk, const char *group, const rd_kafka_topic_partition_list_t *list,
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
    bool ok = list && (list->cnt == 0 || kafka_peek_stands(b, rk, group, list, each, ctx, e));
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
