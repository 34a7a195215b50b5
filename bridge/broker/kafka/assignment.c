/* SPDX-License-Identifier: MIT */
/* The partitions that a consumer has: its list of them, and where each goes on when librdkafka does not know: no
 * committed position, or one that the log no longer has.
 *
 * librdkafka is told to report that (auto.offset.reset=error) instead of jumping, because a jump to the end loses
 * records and says nothing. Rules: a group that is to begin at the end commits that position before it reads
 * anything, so every partition without one after that is new and is read from its start, and where that is is committed as well,
 * so that what retention takes from there on is known as lost, also before anything was finished; a position that retention
 * passed is followed by the oldest record there is, and what lies between is counted as lost. */
#include <stdlib.h>
#include <string.h>
#include "bridge/broker/kafka/consumer.h"
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"

METRIC_COUNTER(
    aqueduct_kafka_topics_anew_total,
    "Partitions of topics that were deleted and made anew while they were read; they are read from their start.", NULL);

/* While a question waits for a node that is down, what the others lead is not delivered: so it begins short. */
enum { ASK_MS = 2000, ASK_SHORT_MS = 500, LOOK_MS = 30000, LOOK_SOON_MS = 1000 };

/* ---- the list ---- */

void kafka_queue_wake(rd_kafka_queue_t *q, int wake_fd)
{
    static const uint64_t one = 1;
    rd_kafka_queue_io_event_enable(q, wake_fd, &one, sizeof one);
}

struct kafka_assigned *kafka_assigned_find(struct kafka_consumer *c, struct topic_partition p)
{
    for (size_t i = 0; i < c->assigned_count; i++)
        if (c->assigned[i].which.partition == p.partition && strcmp(c->assigned[i].which.topic, p.topic) == 0)
            return &c->assigned[i];
    return NULL;
}

static void assignment_queue(struct kafka_consumer *c, struct kafka_assigned *assigned)
{
    assigned->queue = kafka_queue_own(c->rk, assigned->which.topic, assigned->which.partition);
    kafka_queue_wake(assigned->queue, c->wake_fd);
}

struct kafka_assigned *kafka_assigned_add(struct kafka_consumer *c, const char *topic, int32_t partition)
{
    c->assigned = mem_grow(c->assigned, c->assigned_count + 1, sizeof *c->assigned);
    struct kafka_assigned *assigned = &c->assigned[c->assigned_count++];
    *assigned = (struct kafka_assigned){ .which = { str_dup(str_of(topic)), partition },
                                         .next = -1,
                                         .ask_ms = ASK_SHORT_MS };
    kafka_doubt_recall(c, assigned);
    assignment_queue(c, assigned);
    return assigned;
}

static void assignment_queue_end(struct kafka_assigned *assigned)
{
    if (!assigned->queue)
        return;
    kafka_queue_wake(assigned->queue, -1);
    rd_kafka_queue_destroy(assigned->queue);
    assigned->queue = NULL;
}

void kafka_assigned_stray(struct kafka_consumer *c, struct kafka_assigned *assigned)
{
    assignment_queue_end(assigned);
    assignment_queue(c, assigned);
    assigned->damaged = true;
}

void kafka_assigned_drop(struct kafka_consumer *c)
{
    for (size_t i = 0; i < c->assigned_count; i++) {
        kafka_hole_leave(c, &c->assigned[i]);
        kafka_doubt_remember(c, &c->assigned[i]);
        assignment_queue_end(&c->assigned[i]);
        ranges_free(&c->assigned[i].restored);
        ranges_free(&c->assigned[i].beyond);
        free((char *)(uintptr_t)c->assigned[i].which.topic);
    }
    c->assigned_count = 0;
}

int64_t kafka_assigned_known(const struct kafka_assigned *assigned)
{
    int64_t last = assigned->last.offset, past = assigned->past.offset, next = assigned->next;
    if (last >= 0 && (next < 0 || last < next)) /* it is not when `next` was sought */
        return last;
    return past >= 0 && past < next && next - past <= 2 ? past : next;
}

/* ---- where they begin ---- */

rd_kafka_topic_partition_list_t *kafka_assignment_all(struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (size_t i = 0; i < c->topic_count; i++) {
        int32_t count = kafka_topic_partitions(c->b, c->topics[i]);
        for (int32_t p = 0; p < count; p++)
            rd_kafka_topic_partition_list_add(list, c->topics[i], p);
    }
    return list;
}

static bool assignment_ends(struct kafka_consumer *c, const char *topic, int32_t partition, int wait_ms, int64_t *low,
                            int64_t *high, struct err *e)
{
    rd_kafka_resp_err_t code = kafka_ask_ends(c->b, topic, partition, low, high, wait_ms);
    return !code || kafka_access_fail(c->b, code, topic, c->group, e)
           || err_prefix(e, "%s/%d: cannot ask for its offsets", topic, partition);
}

bool kafka_assignment_commit(struct kafka_consumer *c, rd_kafka_topic_partition_list_t *list, struct err *e)
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
    return !code || kafka_access_fail(c->b, code, list->elems[0].topic, c->group, e)
           || err_prefix(e, "group %s: cannot write down where it begins", c->group);
}

/* Has the group a committed position in the topic? Then partitions without one were added since, and are read from
 * their start. */
static bool assignment_began(const rd_kafka_topic_partition_list_t *list, const char *topic)
{
    for (int i = 0; i < list->cnt; i++)
        if (list->elems[i].offset >= 0 && strcmp(list->elems[i].topic, topic) == 0)
            return true;
    return false;
}

bool kafka_assignment_pin(struct kafka_consumer *c, struct err *e)
{
    rd_kafka_topic_partition_list_t *list = kafka_assignment_all(c);
    rd_kafka_topic_partition_list_t *fresh = rd_kafka_topic_partition_list_new(16);
    rd_kafka_resp_err_t code = list->cnt ? rd_kafka_committed(c->rk, list, ASK_MS) : RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
    bool fine = !code || kafka_access_fail(c->b, code, c->topics[0], c->group, e)
                || err_prefix(e, "group %s: cannot ask where it stands", c->group);
    for (int i = 0; i < list->cnt && fine; i++) {
        int64_t low = 0, high = 0;
        if (list->elems[i].offset >= 0)
            continue;
        fine = assignment_ends(c, list->elems[i].topic, list->elems[i].partition, ASK_MS, &low, &high, e);
        rd_kafka_topic_partition_list_add(fresh, list->elems[i].topic, list->elems[i].partition)
            ->offset = assignment_began(list, list->elems[i].topic) ? low : high;
    }
    c->pinned = fine && kafka_assignment_commit(c, fresh, e);
    rd_kafka_topic_partition_list_destroy(fresh);
    rd_kafka_topic_partition_list_destroy(list);
    return c->pinned;
}

static bool assignment_has(const rd_kafka_topic_partition_list_t *mine, const rd_kafka_topic_partition_t *p)
{
    return rd_kafka_topic_partition_list_find(mine, p->topic, p->partition) != NULL;
}

void kafka_assignment_look(struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *mine = NULL, *list = kafka_assignment_all(c);
    c->look_ms = clock_mono_ms() + (c->pinned ? LOOK_MS : LOOK_SOON_MS);
    if (list->cnt > (int)c->assigned_count && rd_kafka_assignment(c->rk, &mine) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_topic_partition_list_t *fresh = rd_kafka_topic_partition_list_new(list->cnt);
        bool fine = true;
        for (int i = 0; i < list->cnt; i++) {
            int64_t low = 0, high = 0;
            const rd_kafka_topic_partition_t *p = &list->elems[i];
            if (assignment_has(mine, p))
                continue;
            fine = fine && assignment_ends(c, p->topic, p->partition, ASK_MS, &low, &high, NULL);
            rd_kafka_topic_partition_list_add(fresh, p->topic, p->partition)->offset = c->pinned ? low : high;
        }
        for (int i = 0; i < fresh->cnt && fine; i++)
            kafka_assigned_add(c, fresh->elems[i].topic, fresh->elems[i].partition)->next = fresh->elems[i].offset;
        if (fine) {
            wake_up(c->wake_fd);
            rd_kafka_error_destroy(rd_kafka_incremental_assign(c->rk, fresh));
            c->pinned = true;
            c->look_ms = clock_mono_ms() + LOOK_MS;
        }
        rd_kafka_topic_partition_list_destroy(fresh);
        rd_kafka_topic_partition_list_destroy(mine);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

/* The position that the group has committed; -1 when there is none. What is finished beyond it is restored. */
static bool assignment_committed(struct kafka_consumer *c, struct kafka_assigned *assigned, int64_t *offset,
                                 struct err *e)
{
    *offset = -1;
    if (!c->group)
        return true;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, assigned->which.topic, assigned->which.partition);
    rd_kafka_resp_err_t code = rd_kafka_committed(c->rk, list, assigned->ask_ms);
    if (!code)
        *offset = kafka_position_restore(c, assigned, &list->elems[0]);
    rd_kafka_topic_partition_list_destroy(list);
    return !code || kafka_access_fail(c->b, code, assigned->which.topic, c->group, e)
           || err_prefix(e, "group %s: cannot ask where it stands", c->group);
}

/* What is finished beyond the end was finished in an earlier topic of that name. */
static void assignment_believe(struct kafka_assigned *assigned, int64_t high)
{
    if (assigned->restored.count && assigned->restored.at[assigned->restored.count - 1].to > high)
        ranges_free(&assigned->restored);
}

/* It begins there, and that is written down. */
static void assignment_begins(struct kafka_consumer *c, struct kafka_assigned *assigned, int64_t low)
{
    assigned->wanted = low;
    assigned->asked = c->group != NULL;
}

/* What is lost is told once: the position passes it, also when nothing is read behind it. */
static int64_t assignment_choose(struct kafka_consumer *c, struct kafka_assigned *assigned, int64_t stood, int64_t low)
{
    const char *group = c->group ? c->group : "(none)";
    if (stood >= 0 && stood < low) {
        int64_t lost = low - stood - ranges_within(&assigned->restored, stood, low);
        LOG(ERROR, "records were removed before they were read", LOG_C("group", group),
            LOG_C("topic", assigned->which.topic), LOG_INT("partition", assigned->which.partition),
            LOG_INT("from", stood), LOG_INT("to", low - 1), LOG_INT("lost", lost));
        metric_add(c->b->lost, lost);
        kafka_position_end(c, assigned, low);
    }
    return stood >= low ? stood : low;
}

static void assignment_say_anew(const struct kafka_consumer *c, struct kafka_assigned *assigned, int64_t stood,
                                int64_t low)
{
    LOG(ERROR, "the topic was deleted and made anew: reading it from its start",
        LOG_C("group", c->group ? c->group : "(none)"), LOG_C("topic", assigned->which.topic),
        LOG_INT("partition", assigned->which.partition), LOG_INT("position", stood), LOG_INT("start", low));
    metric_add(metric_get(&aqueduct_kafka_topics_anew_total, NULL), 1);
    assigned->last.offset = assigned->past.offset = -1;
}

/* The topic was made anew: what is open of the old one is nobody's any more, and the group stands at its start. */
static bool assignment_anew(struct kafka_consumer *c, struct kafka_assigned *assigned, int64_t stood, int64_t low,
                            struct err *e)
{
    assigned->anew = true; /* from here on no position in the old one is taken */
    if (c->revoked)
        c->revoked(c->ctx, &assigned->which, 1);
    ranges_free(&assigned->restored);
    ranges_free(&assigned->beyond);
    kafka_hole_forget(assigned);
    assigned->asked = false;
    assigned->wanted = low;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, assigned->which.topic, assigned->which.partition)->offset = low;
    bool fine = !c->group || kafka_assignment_commit(c, list, e);
    rd_kafka_topic_partition_list_destroy(list);
    if (!fine)
        return false;
    assignment_say_anew(c, assigned, stood, low);
    assigned->next = low;
    assigned->anew = false;
    return true;
}

/* Asks the cluster where it stands, and where the partition begins and ends. */
static bool assignment_ask(struct kafka_consumer *c, struct kafka_assigned *assigned, int64_t *stood, int64_t *low,
                           int64_t *high, struct err *e)
{
    if (c->group && !kafka_adopt(c, e))
        return false;
    if (c->group && !c->from_start && !c->pinned && !kafka_assignment_pin(c, e))
        return false;
    if (*stood < 0 && !assignment_committed(c, assigned, stood, e))
        return false;
    return assignment_ends(c, assigned->which.topic, assigned->which.partition, assigned->ask_ms, low, high, e);
}

bool kafka_assignment_locate(struct kafka_consumer *c, struct kafka_assigned *assigned, struct err *e)
{
    int64_t low = 0, high = 0, stood = assigned->next;
    if (!assignment_ask(c, assigned, &stood, &low, &high, e)) {
        if (assigned->ask_ms < ASK_MS && kafka_access_ready(c->b, NULL))
            e->text[0] = '\0'; /* no failure yet */
        assigned->ask_ms = assigned->ask_ms * 2 < ASK_MS ? assigned->ask_ms * 2 : ASK_MS;
        return false;
    }
    assigned->ask_ms = ASK_SHORT_MS;
    if (!assigned->anew && stood <= high) {
        assignment_believe(assigned, high);
        assigned->next = assignment_choose(c, assigned, stood, low);
    } else if (!assignment_anew(c, assigned, stood, low, e)) {
        return false;
    }
    if (stood < 0 && !assigned->has_committed)
        assigned->owed = high;
    if (stood < 0 && assigned->wanted < 0)
        assignment_begins(c, assigned, low);
    if (assigned->last.offset < low)
        assigned->last.offset = -1;
    if (assigned->past.offset < low)
        assigned->past.offset = -1;
    assigned->adrift = assigned->damaged = assigned->doubted = assigned->vanished = false;
    return true;
}

void kafka_assignment_set(struct kafka_consumer *c, const rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_topic_partition_list_t *now;
    rd_kafka_assign(c->rk, list);
    if (rd_kafka_assignment(c->rk, &now) == RD_KAFKA_RESP_ERR_NO_ERROR) /* is answered after it */
        rd_kafka_topic_partition_list_destroy(now);
}

void kafka_assignment_resume(struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)c->assigned_count);
    for (size_t i = 0; i < c->assigned_count; i++) {
        int64_t offset = kafka_assigned_known(&c->assigned[i]);
        rd_kafka_topic_partition_list_add(list, c->assigned[i].which.topic, c->assigned[i].which.partition)
            ->offset = offset < 0 ? RD_KAFKA_OFFSET_INVALID : offset;
    }
    kafka_assignment_set(c, list);
    rd_kafka_topic_partition_list_destroy(list);
}

void kafka_assignment_pause(struct kafka_consumer *c)
{
    for (size_t i = 0; i < c->assigned_count; i++)
        assignment_queue_end(&c->assigned[i]);
}

void kafka_assignment_again(struct kafka_consumer *c)
{
    for (size_t i = 0; i < c->assigned_count; i++)
        assignment_queue(c, &c->assigned[i]);
    if (c->assigned_count)
        kafka_assignment_resume(c);
}

/* The group has no position here. If it had one, the cluster forgot it together with the topic. */
static int64_t assignment_without(struct kafka_consumer *c, struct kafka_assigned *assigned, int64_t low)
{
    if (assigned->has_committed && assigned->past.offset >= 0)
        assignment_say_anew(c, assigned, assigned->past.offset + 1, low);
    return low;
}

/* Where one begins, and what it passes over; `p` holds the committed position and its metadata. It begins before the
 * position, so that there is a record to know the topic by (doubt.c), also where the mark of a transaction follows it; it is
 * not handed out. When it is gone, or nobody says by then what is asked of it, the partition is adrift and located. */
static void assignment_begin_one(struct kafka_consumer *c, rd_kafka_topic_partition_t *p, int64_t until)
{
    int64_t low = 0, high = 0, left = until - clock_mono_ms();
    struct kafka_assigned *assigned = kafka_assigned_find(c, (struct topic_partition){ p->topic, p->partition });
    CHECK(assigned);
    int64_t stands = kafka_position_restore(c, assigned, p);
    p->offset = stands < 0 ? p->offset : stands;
    if (p->offset < 0 || assigned->restored.count) {
        if (left <= 0
            || !assignment_ends(c, p->topic, p->partition, left < ASK_SHORT_MS ? (int)left : ASK_SHORT_MS, &low, &high,
                                NULL)) {
            assigned->adrift = true;
            return;
        }
        if (!assigned->has_committed)
            assigned->owed = high;
        if (p->offset < 0)
            assignment_begins(c, assigned, p->offset = assignment_without(c, assigned, low));
        else
            assignment_believe(assigned, high);
    }
    if (p->offset <= low)
        return;
    assigned->next = p->offset;
    p->offset = p->offset > low + 1 ? p->offset - 2 : low;
}

void kafka_assignment_begin(struct kafka_consumer *c, rd_kafka_topic_partition_list_t *list)
{
    struct err e = { "" };
    if (!kafka_adopt(c, &e) || (!c->from_start && !c->pinned && !kafka_assignment_pin(c, &e))
        || rd_kafka_committed(c->rk, list, ASK_MS) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        /* librdkafka would find the offsets without us, but not what is finished beyond them. */
        for (size_t i = 0; i < c->assigned_count; i++)
            c->assigned[i].adrift = true;
        return;
    }
    int64_t until = clock_mono_ms() + ASK_MS;
    for (int i = 0; i < list->cnt; i++)
        assignment_begin_one(c, &list->elems[i], until);
}
