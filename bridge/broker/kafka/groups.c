/* SPDX-License-Identifier: MIT */
/* What the cluster knows of groups, ours or not: where they stand, and what they have not finished; and that one stands
 * nowhere any more.
 *
 * Only a consumer with a group may ask: when a broker answers that it is not the coordinator, librdkafka 2.0.2 goes
 * to its client's group for another one, and a producer, which has none, crashes. */
#include <poll.h>
#include <stdlib.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"

enum { AGAIN_MS = 100, ASK_MS = 3000, LIST_MS = 5000, FORGET_MS = 10000, PARTITIONS_MOST = 4096 };

/* Asks once; the answer, which holds *out, or NULL and *code. */
static rd_kafka_event_t *groups_ask(rd_kafka_t *rk, const char *group,
                                    const rd_kafka_topic_partition_list_t *partitions, int64_t wait_ms,
                                    const rd_kafka_topic_partition_list_t **out, rd_kafka_resp_err_t *code)
{
    rd_kafka_ListConsumerGroupOffsets_t *request = rd_kafka_ListConsumerGroupOffsets_new(group, partitions);
    rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
    rd_kafka_ListConsumerGroupOffsets(rk, &request, 1, NULL, q);
    rd_kafka_event_t *ev = rd_kafka_queue_poll(q, (int)wait_ms);
    *code = ev ? rd_kafka_event_error(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    size_t count = 0;
    const rd_kafka_group_result_t **groups = NULL;
    if (!*code)
        groups = rd_kafka_ListConsumerGroupOffsets_result_groups(rd_kafka_event_ListConsumerGroupOffsets_result(ev),
                                                                 &count);
    if (count == 1 && rd_kafka_group_result_error(groups[0]))
        *code = rd_kafka_error_code(rd_kafka_group_result_error(groups[0]));
    rd_kafka_queue_destroy(q);
    rd_kafka_ListConsumerGroupOffsets_destroy(request);
    if (!*code && count == 1) {
        *out = rd_kafka_group_result_partitions(groups[0]);
        return ev;
    }
    if (ev)
        rd_kafka_event_destroy(ev);
    return NULL;
}

/* Is the group's coordinator about to be there? So it is after a cluster's start, and while one of its nodes starts anew. */
static bool groups_is_early(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_NOT_COORDINATOR || code == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS
           || code == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE;
}

rd_kafka_event_t *kafka_group_positions(struct kafka *b, rd_kafka_t *rk, const char *group,
                                        const rd_kafka_topic_partition_list_t *partitions, int wait_ms,
                                        const rd_kafka_topic_partition_list_t **out, struct err *e)
{
    CHECK(rd_kafka_type(rk) == RD_KAFKA_CONSUMER);
    int64_t until = clock_mono_ms() + wait_ms;
    rd_kafka_resp_err_t code;
    rd_kafka_event_t *ev;
    while (!(ev = groups_ask(rk, group, partitions, until - clock_mono_ms(), out, &code)) && groups_is_early(code)
           && clock_mono_ms() + AGAIN_MS < until)
        poll(NULL, 0, AGAIN_MS);
    if (ev)
        return ev;
    (void)(kafka_access_fail(b, code, partitions && partitions->cnt ? partitions->elems[0].topic : NULL, group, e)
           || err_prefix(e, "cannot ask where the group %s stands", group));
    return NULL;
}

/* Records that the group has not finished, but for those finished beyond its position; 0 when that cannot be known now. */
static int64_t groups_unread(rd_kafka_t *rk, const rd_kafka_topic_partition_t *p)
{
    int64_t low = 0, high = 0;
    if (p->err || p->offset < 0
        || kafka_watermarks(rk, p->topic, p->partition, &low, &high, ASK_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    struct ranges beyond = kafka_position_beyond(p);
    int64_t from = p->offset > low ? p->offset : low;
    int64_t unread = high > from ? high - from - ranges_within(&beyond, from, high) : 0;
    ranges_free(&beyond);
    return unread;
}

/* Each topic of a group. False with *e. */
static bool groups_topics(struct kafka *b, rd_kafka_t *rk, const char *group, bool idle, size_t *most,
                          const struct group_seen *seen, struct err *e)
{
    const rd_kafka_topic_partition_list_t *positions = NULL;
    rd_kafka_event_t *ev = kafka_group_positions(b, rk, group, NULL, ASK_MS, &positions, e);
    if (!ev)
        return false;
    rd_kafka_topic_partition_list_t *sorted = rd_kafka_topic_partition_list_copy(positions);
    rd_kafka_event_destroy(ev);
    rd_kafka_topic_partition_list_sort(sorted, NULL, NULL);
    for (int i = 0, next; i<sorted->cnt && * most> 0; i = next) {
        int64_t unread = 0;
        for (next = i; next < sorted->cnt && strcmp(sorted->elems[next].topic, sorted->elems[i].topic) == 0; next++) {
            unread += *most > 0 ? groups_unread(rk, &sorted->elems[next]) : 0;
            *most -= *most > 0;
        }
        seen->each(seen->ctx, group, idle, sorted->elems[i].topic, unread);
    }
    rd_kafka_topic_partition_list_destroy(sorted);
    return true;
}

bool kafka_groups_each(struct kafka *b, rd_kafka_t *rk, atomic_bool *stop, const char *prefix,
                       const struct group_seen *seen, struct err *e)
{
    const struct rd_kafka_group_list *list = NULL;
    rd_kafka_resp_err_t code = rd_kafka_list_groups(rk, NULL, &list, LIST_MS);
    if (code)
        kafka_peek_hear(rk); /* why it does not answer */
    bool fine = !code || code == RD_KAFKA_RESP_ERR__PARTIAL || kafka_access_fail(b, code, NULL, NULL, e)
                || err_prefix(e, "Kafka at %s does not list its groups", b->config->servers);
    size_t most = PARTITIONS_MOST;
    for (int i = 0; list && i < list->group_cnt && fine && !(stop && atomic_load(stop)); i++) {
        const struct rd_kafka_group_info *g = &list->groups[i];
        if (!g->err && str_starts(str_of(g->group), str_of(prefix)))
            fine = groups_topics(b, rk, g->group, g->member_cnt == 0 && strcmp(g->state, "Empty") == 0, &most, seen, e);
    }
    if (list)
        rd_kafka_group_list_destroy(list);
    return fine;
}

bool kafka_groups(struct broker *base, const char *prefix, const struct group_seen *seen, struct err *e)
{
    struct kafka *b = (struct kafka *)base;
    rd_kafka_t *rk = kafka_client_reader(b->config, b, e);
    bool fine = rk && kafka_groups_each(b, rk, &b->stop, prefix, seen, e);
    if (rk)
        kafka_client_reader_end(rk, b);
    return fine;
}

/* ---- nowhere ---- */

/* What the cluster says of it; an error of one partition is one of all. */
static rd_kafka_resp_err_t groups_forgotten(rd_kafka_event_t *ev)
{
    size_t count = 0;
    rd_kafka_resp_err_t code = ev ? rd_kafka_event_error(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    const rd_kafka_group_result_t **groups = NULL;
    if (!code)
        groups = rd_kafka_DeleteConsumerGroupOffsets_result_groups(rd_kafka_event_DeleteConsumerGroupOffsets_result(ev),
                                                                   &count);
    for (size_t i = 0; i < count && !code; i++) {
        const rd_kafka_topic_partition_list_t *list = rd_kafka_group_result_partitions(groups[i]);
        if (rd_kafka_group_result_error(groups[i]))
            code = rd_kafka_error_code(rd_kafka_group_result_error(groups[i]));
        for (int k = 0; list && k < list->cnt && !code; k++)
            code = list->elems[k].err;
    }
    return code;
}

static rd_kafka_resp_err_t groups_forget(rd_kafka_t *rk, const char *group,
                                         const rd_kafka_topic_partition_list_t *partitions)
{
    rd_kafka_DeleteConsumerGroupOffsets_t *request = rd_kafka_DeleteConsumerGroupOffsets_new(group, partitions);
    rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
    rd_kafka_DeleteConsumerGroupOffsets(rk, &request, 1, NULL, q);
    rd_kafka_event_t *ev = rd_kafka_queue_poll(q, FORGET_MS);
    rd_kafka_resp_err_t code = groups_forgotten(ev);
    if (ev)
        rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(q);
    rd_kafka_DeleteConsumerGroupOffsets_destroy(request);
    return code;
}

bool kafka_forget(struct broker *base, const char *group, const char *topic, struct err *e)
{
    struct kafka *b = (struct kafka *)base;
    const rd_kafka_topic_partition_list_t *positions = NULL;
    rd_kafka_t *rk = kafka_client_reader(b->config, b, e);
    if (!rk)
        return false;
    rd_kafka_event_t *ev = kafka_group_positions(b, rk, group, NULL, FORGET_MS, &positions, e);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    for (int i = 0; ev && i < positions->cnt; i++)
        if (strcmp(positions->elems[i].topic, topic) == 0)
            rd_kafka_topic_partition_list_add(list, topic, positions->elems[i].partition);
    rd_kafka_resp_err_t code = list->cnt ? groups_forget(rk, group, list) : RD_KAFKA_RESP_ERR_NO_ERROR;
    if (code)
        err_set(e, "group %s: Kafka does not forget where it stands in topic %s: %s", group, topic,
                rd_kafka_err2str(code));
    if (code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED && e)
        kafka_access_grant(b, "group", group, "Delete", e->text, sizeof e->text);
    if (ev)
        rd_kafka_event_destroy(ev);
    rd_kafka_topic_partition_list_destroy(list);
    kafka_client_reader_end(rk, b);
    return ev && !code;
}
