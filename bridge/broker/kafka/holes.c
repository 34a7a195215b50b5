/* SPDX-License-Identifier: MIT */
/* Offsets without a record between two that came: compaction took records from there, or there are the marks of transactions, or
 * what those undid. Which of them, the policy of the topic says as it was when they were met, or since; it may have to be asked for.
 *
 *   met --the policy is known--> compacted: told, and finished like records, so that nobody else tells it
 *    |                       `-> not: forgotten
 *    `--the partition goes-----> what the group stands behind is left to the broker, which tells it once the policy is known, at its
 *                                own end at the latest; whoever gets the partition meets the rest again, and tells that */
#include <stdlib.h>
#include "bridge/broker/kafka/consumer.h"
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum { SAY_MS = 10000, SETTLE_MS = 2000 };

struct kafka_left_hole { /* of a partition that no consumer here has any more */
    struct kafka_left_hole *next;
    char *group, *topic;
    int32_t partition;
    struct kafka_hole hole; /* nothing is ahead */
};

static bool hole_is_none(const struct kafka_hole *hole)
{
    return !hole->behind && !hole->ahead.count;
}

static void hole_tell(struct kafka *b, const char *group, struct topic_partition which, const struct kafka_hole *hole,
                      bool say)
{
    int64_t lost = hole->behind + ranges_within(&hole->ahead, hole->from, hole->to + 1);
    metric_add(b->lost, lost);
    if (say)
        LOG(ERROR, "records were compacted away before they were read", LOG_C("group", group),
            LOG_C("topic", which.topic), LOG_INT("partition", which.partition), LOG_INT("from", hole->from),
            LOG_INT("to", hole->to), LOG_INT("lost", lost));
}

/* ---- of a partition that a consumer has ---- */

void kafka_hole_forget(struct kafka_assigned *assigned)
{
    ranges_free(&assigned->hole.ahead);
    assigned->hole = (struct kafka_hole){ 0 };
}

void kafka_hole_judge(struct kafka_consumer *c, struct kafka_assigned *assigned)
{
    const struct kafka_hole *hole = &assigned->hole;
    bool compacts;
    if (hole_is_none(hole)
        || !kafka_topic_compacts(c->b, assigned->which.topic, hole->since_ms, (struct duration){ 0 }, &compacts))
        return;
    if (compacts) {
        int64_t now = clock_mono_ms();
        bool say = !assigned->gap_ms || now - assigned->gap_ms >= SAY_MS;
        assigned->gap_ms = say ? now : assigned->gap_ms;
        hole_tell(c->b, c->group, assigned->which, hole, say);
        kafka_position_finish(assigned, &hole->ahead);
    }
    kafka_hole_forget(assigned);
}

void kafka_hole_meet(struct kafka_consumer *c, struct kafka_assigned *assigned, int64_t next, int64_t offset)
{
    struct kafka_hole *hole = &assigned->hole;
    int64_t at = next > assigned->owed ? next : assigned->owed;
    at = ranges_skip(&assigned->restored, at > assigned->wanted ? at : assigned->wanted);
    if (!c->group || next < 0 || at >= offset)
        return;
    if (hole_is_none(hole))
        *hole = (struct kafka_hole){ .from = at, .since_ms = clock_mono_ms() };
    for (int64_t to; at < offset; at = ranges_skip(&assigned->restored, to)) {
        const struct range *finished = ranges_behind(&assigned->restored, at);
        to = finished && finished->from < offset ? finished->from : offset;
        ranges_add(&hole->ahead, at, to);
        hole->to = to - 1;
    }
    kafka_hole_judge(c, assigned);
}

void kafka_hole_pass(struct kafka_assigned *assigned, int64_t position)
{
    struct kafka_hole *hole = &assigned->hole;
    if (!hole->ahead.count)
        return;
    hole->behind += ranges_within(&hole->ahead, hole->from, position);
    ranges_cut(&hole->ahead, position);
}

/* ---- left to the broker ---- */

static void holes_keep(struct kafka *b, struct kafka_left_hole *left)
{
    pthread_mutex_lock(&b->holes_lock);
    left->next = b->holes;
    b->holes = left;
    pthread_mutex_unlock(&b->holes_lock);
}

static void holes_free(struct kafka_left_hole *left)
{
    free(left->group);
    free(left->topic);
    free(left);
}

/* What is ahead is not told any more: that could not be committed. */
void kafka_hole_leave(struct kafka_consumer *c, struct kafka_assigned *assigned)
{
    const struct kafka_hole *hole = &assigned->hole;
    if (hole->behind) {
        struct kafka_left_hole *left = mem_alloc(sizeof *left);
        int64_t to = hole->ahead.count ? hole->ahead.at[0].from - 1 : hole->to;
        *left = (struct kafka_left_hole){ .group = str_dup(str_of(c->group)),
                                          .topic = str_dup(str_of(assigned->which.topic)),
                                          .partition = assigned->which.partition,
                                          .hole = { hole->from, to, hole->behind, .since_ms = hole->since_ms } };
        holes_keep(c->b, left);
    }
    kafka_hole_forget(assigned);
}

static struct kafka_left_hole *holes_take(struct kafka *b)
{
    pthread_mutex_lock(&b->holes_lock);
    struct kafka_left_hole *all = b->holes;
    b->holes = NULL;
    pthread_mutex_unlock(&b->holes_lock);
    return all;
}

/* Tells of those whose policy is known; it may be waited for, for all of them at most so long. */
static void holes_judge(struct kafka *b, int64_t wait_ms)
{
    int64_t until = clock_mono_ms() + wait_ms;
    for (struct kafka_left_hole *left = holes_take(b), *next; left; left = next) {
        bool compacts;
        int64_t wait = until - clock_mono_ms();
        next = left->next;
        if (!kafka_topic_compacts(b, left->topic, left->hole.since_ms, (struct duration){ wait > 0 ? wait : 0 },
                                  &compacts)) {
            holes_keep(b, left);
            continue;
        }
        if (compacts)
            hole_tell(b, left->group, (struct topic_partition){ left->topic, left->partition }, &left->hole, true);
        holes_free(left);
    }
}

void kafka_holes_turn(struct kafka *b)
{
    holes_judge(b, 0);
}

void kafka_holes_settle(struct kafka *b)
{
    holes_judge(b, SETTLE_MS);
}

void kafka_holes_close(struct kafka *b)
{
    for (struct kafka_left_hole *left = holes_take(b), *next; left; left = next) {
        next = left->next;
        LOG(WARN, "offsets without a record were passed, and the cluster did not say whether their topic is compacted",
            LOG_C("group", left->group), LOG_C("topic", left->topic), LOG_INT("partition", left->partition),
            LOG_INT("from", left->hole.from), LOG_INT("to", left->hole.to), LOG_INT("count", left->hole.behind));
        holes_free(left);
    }
}
