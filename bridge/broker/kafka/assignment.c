/* SPDX-License-Identifier: MIT */
/* Where a consumer goes on when librdkafka does not know: no committed place, or one that the log no longer has.
 *
 * librdkafka is told to report that (auto.offset.reset=error) instead of jumping, because a jump to the end loses
 * records and says nothing. Rules: a group that is to begin at the end gets its place written down before it reads
 * anything, so every partition without one after that is new and is read from its start; a place that retention took
 * is followed by the oldest record there is, and what lies between is counted as lost. */
#include <stdlib.h>
#include <string.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"

enum { ASK_MS = 2000, LOOK_MS = 30000, LOOK_SOON_MS = 1000 };

/* Every partition of the consumer's topics, as far as known. */
static rd_kafka_topic_partition_list_t *all_places(struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (size_t i = 0; i < c->topic_count; i++) {
        int32_t count = kafka_topic_partitions(c->b, c->topics[i]);
        for (int32_t p = 0; p < count; p++)
            rd_kafka_topic_partition_list_add(list, c->topics[i], p);
    }
    return list;
}

static bool ends_of(struct kafka_consumer *c, const char *topic, int32_t partition, int64_t *low, int64_t *high,
                    struct err *e)
{
    rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(c->rk, topic, partition, low, high, ASK_MS);
    return !code
           || err_set(e, "topic %s, partition %d: cannot ask for its offsets: %s", topic, partition,
                      rd_kafka_err2str(code));
}

static bool commit_now(struct kafka_consumer *c, rd_kafka_topic_partition_list_t *list, struct err *e)
{
    if (list->cnt == 0)
        return true;
    rd_kafka_queue_t *q = rd_kafka_queue_new(c->rk);
    rd_kafka_resp_err_t code = rd_kafka_commit_queue(c->rk, list, q, NULL, NULL);
    rd_kafka_event_t *ev = code ? NULL : rd_kafka_queue_poll(q, ASK_MS);
    if (!code)
        code = ev ? rd_kafka_event_error(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (ev)
        rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(q);
    return !code || err_set(e, "group %s: cannot write down where it begins: %s", c->group, rd_kafka_err2str(code));
}

/* Has the group a committed place in the topic? Then partitions without one were added since, and are read from
 * their start. */
static bool began(const rd_kafka_topic_partition_list_t *list, const char *topic)
{
    for (int i = 0; i < list->cnt; i++)
        if (list->elems[i].offset >= 0 && strcmp(list->elems[i].topic, topic) == 0)
            return true;
    return false;
}

bool kafka_places_pin(struct kafka_consumer *c, struct err *e)
{
    rd_kafka_topic_partition_list_t *list = all_places(c);
    rd_kafka_topic_partition_list_t *fresh = rd_kafka_topic_partition_list_new(16);
    rd_kafka_resp_err_t code = list->cnt ? rd_kafka_committed(c->rk, list, ASK_MS) : RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
    bool fine = !code || err_set(e, "group %s: cannot ask where it stands: %s", c->group, rd_kafka_err2str(code));
    for (int i = 0; i < list->cnt && fine; i++) {
        int64_t low = 0, high = 0;
        if (list->elems[i].offset >= 0)
            continue;
        fine = ends_of(c, list->elems[i].topic, list->elems[i].partition, &low, &high, e);
        rd_kafka_topic_partition_list_add(fresh, list->elems[i].topic, list->elems[i].partition)
            ->offset = began(list, list->elems[i].topic) ? low : high;
    }
    c->pinned = fine && commit_now(c, fresh, e);
    rd_kafka_topic_partition_list_destroy(fresh);
    rd_kafka_topic_partition_list_destroy(list);
    return c->pinned;
}

static bool assigned(const rd_kafka_topic_partition_list_t *mine, const rd_kafka_topic_partition_t *p)
{
    return rd_kafka_topic_partition_list_find(mine, p->topic, p->partition) != NULL;
}

void kafka_places_look(struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *mine = NULL, *list = all_places(c);
    c->look_ms = clock_mono_ms() + (c->pinned ? LOOK_MS : LOOK_SOON_MS);
    if (list->cnt > (int)c->part_count && rd_kafka_assignment(c->rk, &mine) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_topic_partition_list_t *fresh = rd_kafka_topic_partition_list_new(list->cnt);
        bool fine = true;
        for (int i = 0; i < list->cnt; i++) {
            int64_t low = 0, high = 0;
            const rd_kafka_topic_partition_t *p = &list->elems[i];
            if (assigned(mine, p))
                continue;
            fine = fine && ends_of(c, p->topic, p->partition, &low, &high, NULL);
            rd_kafka_topic_partition_list_add(fresh, p->topic, p->partition)->offset = c->pinned ? low : high;
        }
        for (int i = 0; i < fresh->cnt && fine; i++)
            kafka_part_add(c, fresh->elems[i].topic, fresh->elems[i].partition);
        if (fine) {
            rd_kafka_error_destroy(rd_kafka_incremental_assign(c->rk, fresh));
            c->pinned = true;
            c->look_ms = clock_mono_ms() + LOOK_MS;
        }
        rd_kafka_topic_partition_list_destroy(fresh);
        rd_kafka_topic_partition_list_destroy(mine);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

/* What the group has committed for the part; -1 when nothing. */
static bool committed(struct kafka_consumer *c, const struct kafka_part *part, int64_t *offset, struct err *e)
{
    *offset = -1;
    if (!c->group)
        return true;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, part->place.topic, part->place.partition);
    rd_kafka_resp_err_t code = rd_kafka_committed(c->rk, list, ASK_MS);
    if (!code && list->elems[0].offset >= 0)
        *offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    return !code || err_set(e, "group %s: cannot ask where it stands: %s", c->group, rd_kafka_err2str(code));
}

static int64_t choose(struct kafka_consumer *c, const struct kafka_part *part, int64_t stood, int64_t low, int64_t high)
{
    const char *group = c->group ? c->group : "(none)";
    if (stood > high) {
        LOG(ERROR, "the topic is shorter than the position: reading it from its start", LOG_C("group", group),
            LOG_C("topic", part->place.topic), LOG_INT("partition", part->place.partition), LOG_INT("position", stood),
            LOG_INT("end", high));
        return low;
    }
    if (stood >= 0 && stood < low) {
        LOG(ERROR, "records were removed before they were read", LOG_C("group", group),
            LOG_C("topic", part->place.topic), LOG_INT("partition", part->place.partition), LOG_INT("position", stood),
            LOG_INT("lost", low - stood));
        metric_add(c->b->lost, low - stood);
    }
    return stood >= low ? stood : low;
}

bool kafka_places_find(struct kafka_consumer *c, struct kafka_part *part, struct err *e)
{
    int64_t low = 0, high = 0, stood = part->next;
    if (c->group && !c->from_start && !c->pinned && !kafka_places_pin(c, e))
        return false;
    if (stood < 0 && !committed(c, part, &stood, e))
        return false;
    if (!ends_of(c, part->place.topic, part->place.partition, &low, &high, e))
        return false;
    part->next = choose(c, part, stood, low, high);
    part->adrift = part->damaged = false;
    return true;
}

void kafka_places_go(struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)c->part_count);
    for (size_t i = 0; i < c->part_count; i++)
        rd_kafka_topic_partition_list_add(list, c->parts[i].place.topic, c->parts[i].place.partition)
            ->offset = c->parts[i].next >= 0 ? c->parts[i].next : RD_KAFKA_OFFSET_INVALID;
    rd_kafka_assign(c->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
}

void kafka_places_begin(struct kafka_consumer *c, rd_kafka_topic_partition_list_t *list)
{
    struct err e = { "" };
    if (!c->from_start && !c->pinned && !kafka_places_pin(c, &e))
        return;
    if (rd_kafka_committed(c->rk, list, ASK_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    for (int i = 0; i < list->cnt; i++) {
        int64_t low = 0, high = 0;
        if (list->elems[i].offset < 0 && ends_of(c, list->elems[i].topic, list->elems[i].partition, &low, &high, &e))
            list->elems[i].offset = low;
    }
}
