/* SPDX-License-Identifier: MIT */
/* What one poll of a consumer does: errors, partitions in trouble, where each has to go, and the records that are there.
 *
 * Every partition has its own queue, polled only while there is room and it is not held, so that backpressure needs no pause (which
 * throws the prefetched records away). */
#include "bridge/broker/kafka/consumer.h"
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"

enum { RETRY_MS = 1000, SEEK_MS = 1000, SEEK_AGAIN_MS = 100 };

/* ---- errors ---- */

bool kafka_is_passing(rd_kafka_resp_err_t code)
{
    switch ((int)code) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET: return true;
    default: return false;
    }
}

/* Remembers what the cluster denies; false with *e. */
static bool poll_denied(struct kafka_consumer *c, const rd_kafka_message_t *m, struct err *e)
{
    if (m->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        kafka_access_denied(c->b, KAFKA_READ, m->rkt ? rd_kafka_topic_name(m->rkt) : c->topics[0]);
    else
        kafka_access_denied(c->b, KAFKA_GROUP, c->group ? c->group : "");
    return kafka_access_ready(c->b, e);
}

/* Records come by the partitions' own queues; but librdkafka may make a partition of a topic that was deleted and made anew a second
 * time inside, and then knows no more of its queue. */
static void poll_stray(struct kafka_consumer *c, const rd_kafka_message_t *m)
{
    const char *topic = rd_kafka_topic_name(m->rkt);
    struct kafka_assigned *assigned = kafka_assigned_find(c, (struct topic_partition){ topic, m->partition });
    if (!assigned || assigned->damaged)
        return;
    LOG(INFO, "records came by another way, and are read again", LOG_C("topic", topic),
        LOG_INT("partition", m->partition));
    kafka_assigned_stray(c, assigned);
}

/* Rebalances and errors. False with *e when this consumer cannot go on. */
static bool poll_serve(struct kafka_consumer *c, struct err *e)
{
    bool fine = true;
    for (rd_kafka_message_t *m; (m = rd_kafka_consumer_poll(c->rk, 0)); rd_kafka_message_destroy(m)) {
        if (!m->err) {
            poll_stray(c, m);
            continue;
        }
        if (m->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART && m->rkt)
            kafka_topic_want(c->b, str_of(rd_kafka_topic_name(m->rkt)), true);
        if (kafka_is_passing(m->err))
            kafka_log(6, rd_kafka_err2name(m->err), rd_kafka_message_errstr(m));
        else if (kafka_access_is_denial(m->err))
            fine = poll_denied(c, m, e);
        else
            fine = err_set(e, "group %s: %s", c->group ? c->group : "(none)", rd_kafka_message_errstr(m));
    }
    char text[KAFKA_ERRSTR];
    rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(c->rk, text, sizeof text);
    if (fatal && !c->nameless)
        return kafka_consumer_join_again(c, text, e);
    return fatal ? err_set(e, "group %s: %s", c->group, text) : fine;
}

/* Marks the partition as adrift or damaged when librdkafka could not give a record; false with *e: damaged. */
static bool poll_trouble(struct kafka_consumer *c, struct kafka_assigned *assigned, const rd_kafka_message_t *m,
                         struct err *e)
{
    if (m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET) {
        assigned->adrift = true;
        return true;
    }
    if (kafka_is_passing(m->err)) {
        kafka_log(6, rd_kafka_err2name(m->err), rd_kafka_message_errstr(m));
        return true;
    }
    assigned->damaged = true;
    assigned->next = assigned->next >= 0 ? assigned->next : m->offset;
    assigned->retry_ms = clock_mono_ms() + RETRY_MS;
    if (kafka_access_is_denial(m->err))
        return poll_denied(c, m, e);
    return err_set(e, "%s/%d@%lld: %s", assigned->which.topic, assigned->which.partition, (long long)m->offset,
                   rd_kafka_message_errstr(m));
}

static bool poll_is_lost(const struct kafka_assigned *assigned)
{
    return assigned->adrift || assigned->damaged || assigned->anew;
}

static bool poll_in_trouble(const struct kafka_assigned *assigned)
{
    return poll_is_lost(assigned) || assigned->doubted;
}

/* Where a partition has to go by itself, the others undisturbed: where the reader wants, or to the record by which its topic is
 * known; -1: nowhere. */
static int64_t poll_target(struct kafka_assigned *assigned)
{
    if (poll_is_lost(assigned) || assigned->vanished)
        return -1;
    int64_t target = assigned->doubted ? kafka_assigned_known(assigned) : assigned->sought ? assigned->next : -1;
    if (target < 0)
        assigned->doubted = false; /* it was nowhere yet */
    return target;
}

/* Not by assigning again, as poll_mend does: that ends the fetches of all partitions, and begins none before the commits
 * under way are answered, by a coordinator that may be down; and often and soon one after the other it ends in an assertion of
 * librdkafka. What it refuses now (a partition that is not fetched yet) is tried again; one in doubt may be at a position that is
 * gone, and what librdkafka said of that went with the records in doubt. */
static void poll_go(struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    int64_t now = clock_mono_ms();
    for (size_t i = 0; i < c->assigned_count; i++) {
        struct kafka_assigned *assigned = &c->assigned[i];
        int64_t target = assigned->seek_ms > now ? -1 : poll_target(assigned);
        if (target < 0)
            continue;
        list = list ? list : rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, assigned->which.topic, assigned->which.partition)->offset = target;
        assigned->seek_ms = now + SEEK_AGAIN_MS;
    }
    if (!list)
        return;
    kafka_client_seek(c->rk, list, SEEK_MS);
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *p = &list->elems[i];
        struct kafka_assigned *assigned = kafka_assigned_find(c, (struct topic_partition){ p->topic, p->partition });
        if (p->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            assigned->sought = assigned->doubted = false;
        else if (p->err == RD_KAFKA_RESP_ERR__STATE && assigned->doubted)
            assigned->adrift = true;
    }
    rd_kafka_topic_partition_list_destroy(list);
}

/* Finds a position for what librdkafka cannot go on with; that of a topic which was not there stays, but a seek in it would leave
 * a client that never ends. Of those whose position cannot be asked for now one is asked about at a time: the others are read in
 * between. */
static bool poll_mend(struct kafka_consumer *c, struct err *e)
{
    struct err why = { "" };
    bool asked = true, found = false;
    for (size_t i = 0; i < c->assigned_count && asked; i++) {
        struct kafka_assigned *assigned = &c->assigned[i];
        bool stays = assigned->vanished && !poll_is_lost(assigned) && kafka_assigned_known(assigned) >= 0;
        if (!(poll_is_lost(assigned) || assigned->vanished) || clock_mono_ms() < assigned->retry_ms)
            continue;
        assigned->retry_ms = clock_mono_ms() + RETRY_MS;
        asked = stays || kafka_assignment_locate(c, assigned, &why);
        assigned->doubted = assigned->doubted && !stays;
        assigned->vanished = assigned->vanished && !stays;
        found = found || asked;
    }
    if (found)
        kafka_assignment_resume(c);
    return asked || !why.text[0] || err_set(e, "%s", why.text);
}

static bool poll_may_take(struct kafka_consumer *c, const struct kafka_assigned *assigned)
{
    return !poll_in_trouble(assigned) && !assigned->sought && !atomic_load(&c->doubt);
}

/* Takes what is there; -1 - n with *e when this partition is in trouble after n records. */
static int poll_take(struct kafka_consumer *c, struct kafka_assigned *assigned, struct record **out, size_t room,
                     struct err *e)
{
    int n = 0;
    bool fine = true;
    kafka_hole_judge(c, assigned);
    for (rd_kafka_message_t *m;
         fine && poll_may_take(c, assigned) && (size_t)n < room && (m = rd_kafka_consume_queue(assigned->queue, 0));) {
        int64_t before = assigned->next;
        if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            kafka_position_end(c, assigned, m->offset);
        } else if (m->err) {
            fine = poll_trouble(c, assigned, m, e);
        } else if (!atomic_load(&c->doubt) && kafka_doubt_is_new(assigned, m)) {
            kafka_hole_meet(c, assigned, before, m->offset);
            if (ranges_skip(&assigned->restored, m->offset) == m->offset)
                out[n++] = kafka_record(m);
            kafka_access_granted(c->b, KAFKA_READ, assigned->which.topic);
        }
        rd_kafka_message_destroy(m);
    }
    return fine ? n : -1 - n;
}

int kafka_poll(struct consumer *base, struct record **out, size_t room, struct err *e)
{
    struct kafka_consumer *c = (struct kafka_consumer *)base;
    if (!kafka_consumer_is_open(c, e))
        return c->opening ? 0 : -1;
    if (kafka_follow_is_old(c->b, c->rk, &c->login) && !kafka_consumer_follow(c, e))
        return -1;
    bool fine = poll_serve(c, e);
    kafka_doubt_serve(c);
    if (!c->group && clock_mono_ms() >= c->look_ms)
        kafka_assignment_look(c);
    fine = poll_mend(c, e) && fine;
    poll_go(c);
    kafka_positions_serve(c);
    kafka_consumed_serve(c);
    size_t n = 0;
    for (size_t i = 0; i < c->assigned_count && n < room; i++) {
        struct kafka_assigned *assigned = &c->assigned[(c->turn + i) % c->assigned_count];
        if (assigned->held)
            continue;
        int got = poll_take(c, assigned, out + n, room - n, e);
        fine = fine && got >= 0;
        n += (size_t)(got >= 0 ? got : -1 - got);
    }
    c->turn++;
    kafka_doubt_serve(c);
    if (n == 0) { /* what came to light just now */
        fine = poll_mend(c, e) && fine;
        poll_go(c);
    }
    return n > 0 || fine ? (int)n : -1;
}

void kafka_hold(struct consumer *base, struct topic_partition p, bool hold)
{
    struct kafka_assigned *assigned = kafka_assigned_find((struct kafka_consumer *)base, p);
    if (!assigned)
        return;
    if (assigned->held && !hold)
        wake_up(((struct kafka_consumer *)base)->wake_fd);
    assigned->held = hold;
}

void kafka_seek(struct consumer *base, struct topic_partition p, int64_t offset)
{
    struct kafka_assigned *assigned = kafka_assigned_find((struct kafka_consumer *)base, p);
    if (!assigned)
        return;
    assigned->next = offset;
    assigned->sought = true;
    assigned->seek_ms = 0;
    wake_up(((struct kafka_consumer *)base)->wake_fd);
}

bool kafka_next(struct consumer *base, struct topic_partition p, int64_t *out)
{
    struct kafka_consumer *c = (struct kafka_consumer *)base;
    if (!kafka_consumer_is_open(c, NULL))
        return false;
    const struct kafka_assigned *assigned = kafka_assigned_find(c, p);
    int64_t soon = clock_mono_ms() + RETRY_MS;
    if (!assigned && c->look_ms > soon)
        c->look_ms = soon; /* it may have been added */
    if (!assigned || assigned->next < 0 || assigned->anew)
        return false;
    *out = assigned->next;
    return true;
}
