/* SPDX-License-Identifier: MIT */
/* Consumers: every partition has its own queue, polled only while there is room and it is not held, so that
 * backpressure needs no pause (which throws the prefetched records away).
 *
 * Everything here runs on the consumer's thread, rebalances too (inside rd_kafka_consumer_poll); only the end of the
 * client, which may wait for a broker that does not answer, is left to a thread of its own and waited for a while. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/broker/kafka/consumer.h"
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/descriptors.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"

METRIC_COUNTER(
    aqueduct_kafka_fenced_total,
    "Consumers that another daemon with the same broker.instance put out of their group; they went on without "
    "a name.",
    NULL);

enum {
    CLOSE_MS = 4000,
    RETRY_MS = 1000,
    SEEK_MS = 1000,
    SEEK_AGAIN_MS = 100,
    CONSUMER_DESCRIPTORS = 32,
    GATHER_MS = 30000
};

/* ---- rebalances ---- */

/* The partitions are being taken: whoever works on them finishes and commits now. */
static void consumer_revoke(struct kafka_consumer *c)
{
    if (!c->assigned_count)
        return;
    struct topic_partition *taken = mem_alloc(c->assigned_count * sizeof *taken);
    for (size_t i = 0; i < c->assigned_count; i++)
        taken[i] = c->assigned[i].which;
    if (c->revoked)
        c->revoked(c->ctx, taken, c->assigned_count);
    free(taken);
}

/* Ends the assignment. */
static void consumer_release(struct kafka_consumer *c, bool lost)
{
    consumer_revoke(c);
    if (!lost) /* else they are somebody else's already */
        kafka_positions_flush(c);
    kafka_assigned_drop(c);
}

static void consumer_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list,
                                  void *opaque)
{
    struct kafka_consumer *c = opaque;
    bool closing = c->closing || rk != c->rk; /* or a client that was fenced */
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && !closing) {
        if (c->assigned_count) /* two rebalances at once: librdkafka may leave out the end of the first */
            consumer_release(c, false);
        for (int i = 0; i < list->cnt; i++)
            kafka_assigned_add(c, list->elems[i].topic, list->elems[i].partition);
        kafka_assignment_begin(c, list);
        kafka_assignment_set(c, list);
        kafka_access_granted(c->b, KAFKA_GROUP, c->group);
        LOG(INFO, "partitions assigned", LOG_C("group", c->group), LOG_INT("count", list->cnt));
        return;
    }
    if (!closing) {
        LOG(INFO, "partitions revoked", LOG_C("group", c->group), LOG_INT("count", list->cnt),
            LOG_C("lost", rd_kafka_assignment_lost(rk) ? "yes" : "no"));
        consumer_release(c, rd_kafka_assignment_lost(rk));
    }
    /* The group goes on only now. */
    rd_kafka_assign(rk, NULL);
}

static void consumer_on_error(rd_kafka_t *rk, int code, const char *text, void *opaque)
{
    (void)rk;
    kafka_access_error(((struct kafka_consumer *)opaque)->b, code, text);
}

/* Lines at level 7 are there for doubt.c alone, unless the user asks for them. */
static void consumer_on_log(const rd_kafka_t *rk, int level, const char *kind, const char *text)
{
    struct kafka_consumer *c = rd_kafka_opaque(rk);
    if (c && strcmp(kind, "BROKERUA") == 0)
        kafka_doubt_hear(c, text);
    if (level < 7 || (c && atomic_load(&c->debug)))
        kafka_conf_on_log(rk, level, kind, text);
}

/* ---- open ---- */

/* How many partitions its topics have; one that is not known yet counts as one. */
static int64_t consumer_partitions(const struct kafka_consumer *c)
{
    int64_t count = 0;
    for (size_t i = 0; i < c->topic_count; i++) {
        int32_t partitions = kafka_topic_partitions(c->b, c->topics[i]);
        count += partitions > 0 ? partitions : 1;
    }
    return count;
}

/* A number for its topics, in any order. */
static uint64_t consumer_topics(const struct kafka_consumer *c)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < c->topic_count; i++)
        sum += str_hash(str_of(c->topics[i]));
    return sum;
}

static rd_kafka_t *consumer_client_new(struct kafka_consumer *c, struct err *e)
{
    char group[256];
    /* librdkafka wants a group even from who joins none; it is never seen by the cluster. */
    snprintf(group, sizeof group, "%sbroadcast", c->b->config->group_prefix);
    c->login = kafka_follow_version(c->b);
    atomic_store(&c->debug, kafka_conf_has(c->b->config, "debug"));
    rd_kafka_conf_t *conf = kafka_conf_of(c->b, KAFKA_MEMBER, c->group ? c->group : group, e);
    if (!conf)
        return NULL;
    const char *name = c->group && !c->nameless ? kafka_instance(c->b) : NULL;
    if (!kafka_conf_prefetch(conf, c->b->config, consumer_partitions(c), e)
        || (name && !kafka_conf_instance(conf, name, c->group, consumer_topics(c), e))) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    rd_kafka_conf_set_opaque(conf, c);
    rd_kafka_conf_set_log_cb(conf, consumer_on_log);
    rd_kafka_conf_set_error_cb(conf, consumer_on_error);
    rd_kafka_conf_set_rebalance_cb(conf, consumer_on_rebalance);
    rd_kafka_t *rk = kafka_client_begin(RD_KAFKA_CONSUMER, conf, e);
    if (!rk)
        err_prefix(e, "a kafka consumer of group %s", c->group ? c->group : "(none)");
    return rk;
}

static bool consumer_subscribe(struct kafka_consumer *c, struct err *e)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)c->topic_count);
    for (size_t i = 0; i < c->topic_count; i++)
        rd_kafka_topic_partition_list_add(list, c->topics[i], RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(c->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR
           || err_set(e, "group %s cannot subscribe: %s", c->group, rd_kafka_err2str(code));
}

static void consumer_free(struct kafka_consumer *c)
{
    if (c->leaked)
        return;
    descriptors_reserve(-CONSUMER_DESCRIPTORS);
    for (size_t i = 0; i < c->topic_count; i++)
        free(c->topics[i]);
    for (size_t i = 0; i < c->formerly_count; i++)
        free(c->formerly[i]);
    free(c->formerly);
    free(c->topics);
    free(c->group);
    free(c->assigned);
    kafka_doubt_close(c);
    free(c);
}

/* May wait long for a broker; the consumer goes with it, whenever that is. */
static void *consumer_client_end(void *arg)
{
    struct kafka_consumer *c = arg;
    kafka_consumed_end(c);
    if (c->positions) {
        kafka_positions_flush(c);
        rd_kafka_queue_destroy(c->positions);
    }
    rd_kafka_consumer_close(c->rk);
    rd_kafka_destroy(c->rk);
    consumer_free(c);
    return NULL;
}

/* Copies the names of topics and former groups. */
static void consumer_names(struct kafka_consumer *c, const struct consumer_options *o)
{
    c->topics = mem_alloc((o->topic_count + 1) * sizeof *c->topics);
    for (size_t i = 0; i < o->topic_count; i++)
        c->topics[c->topic_count++] = str_dup(str_of(o->topics[i]));
    c->formerly = mem_alloc((o->formerly_count + 1) * sizeof *c->formerly);
    for (size_t i = 0; i < o->formerly_count; i++)
        c->formerly[c->formerly_count++] = str_dup(str_of(o->formerly[i]));
    c->adopted = c->formerly_count == 0;
}

static bool consumer_client_open(struct kafka_consumer *c, struct err *e)
{
    c->rk = consumer_client_new(c, e);
    if (!c->rk)
        return false;
    rd_kafka_poll_set_consumer(c->rk);
    c->queue = rd_kafka_queue_get_consumer(c->rk);
    kafka_queue_wake(c->queue, c->wake_fd);
    if (c->group) {
        c->positions = rd_kafka_queue_new(c->rk);
        kafka_queue_wake(c->positions, c->wake_fd);
    }
    return true;
}

/* What waits for the cluster: its topics, where it begins. False with *e when it can never begin. */
static bool consumer_begin(struct kafka_consumer *c, struct err *e)
{
    /* A topic that is not there yet is made now; a cluster that does not answer now is waited for later. */
    for (size_t i = 0; i < c->topic_count; i++)
        kafka_topic_wait(c->b, c->topics[i], (struct duration){ i == 0 || !atomic_load(&c->b->down) ? 2000 : 0 }, NULL);
    if (!consumer_client_open(c, e))
        return false;
    if (!c->group) {
        kafka_assignment_again(c);
        kafka_assignment_look(c);
        return true;
    }
    if (kafka_adopt(c, NULL) && !c->from_start)
        kafka_assignment_pin(c, NULL);
    return consumer_subscribe(c, e);
}

static void *consumer_open_run(void *arg)
{
    struct kafka_consumer *c = arg;
    struct kafka *b = c->b;
    consumer_begin(c, &c->open_error);
    atomic_store(&c->opened, true);
    if (c->wake_fd >= 0)
        wake_up(c->wake_fd);
    pthread_mutex_lock(&b->idle_lock);
    atomic_fetch_sub(&b->opening, 1);
    pthread_cond_broadcast(&b->idle);
    pthread_mutex_unlock(&b->idle_lock);
    return NULL;
}

void kafka_gather(struct broker *base)
{
    struct kafka *b = (struct kafka *)base;
    struct timespec until = thread_until((struct duration){ GATHER_MS });
    pthread_mutex_lock(&b->idle_lock);
    while (atomic_load(&b->opening) > 0 && thread_wait(&b->idle, &b->idle_lock, until))
        continue;
    pthread_mutex_unlock(&b->idle_lock);
}

/* Takes it back from its opener; false while that is at work, and with *e when it failed. */
static bool consumer_is_open(struct kafka_consumer *c, struct err *e)
{
    if (c->opening && atomic_load(&c->opened)) {
        pthread_join(c->opener, NULL);
        c->opening = false;
    }
    if (!c->opening && c->open_error.text[0])
        return err_set(e, "%s", c->open_error.text);
    return !c->opening;
}

static struct kafka_consumer *consumer_new(struct broker *base, const struct consumer_options *o)
{
    struct kafka_consumer *c = mem_alloc(sizeof *c);
    descriptors_reserve(CONSUMER_DESCRIPTORS);
    *c = (struct kafka_consumer){ .base.ops = base->ops,
                                  .b = (struct kafka *)base,
                                  .group = o->group ? str_dup(str_of(o->group)) : NULL,
                                  .from_start = o->from_start,
                                  .wake_fd = o->wake_fd,
                                  .metadata_max = KAFKA_METADATA,
                                  .revoked = o->revoked,
                                  .ctx = o->ctx };
    kafka_doubt_open(c);
    consumer_names(c, o);
    return c;
}

struct consumer *kafka_consume(struct broker *base, const struct consumer_options *o, struct err *e)
{
    struct kafka_consumer *c = consumer_new(base, o);
    if (o->beside) {
        c->opening = true;
        atomic_fetch_add(&c->b->opening, 1);
        CHECK(pthread_create(&c->opener, NULL, consumer_open_run, c) == 0);
        return &c->base;
    }
    if (consumer_begin(c, e))
        return &c->base;
    kafka_leave(&c->base);
    return NULL;
}

/* ---- poll ---- */

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
static bool consumer_denied(struct kafka_consumer *c, const rd_kafka_message_t *m, struct err *e)
{
    if (m->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        kafka_access_denied(c->b, KAFKA_READ, m->rkt ? rd_kafka_topic_name(m->rkt) : c->topics[0]);
    else
        kafka_access_denied(c->b, KAFKA_GROUP, c->group ? c->group : "");
    return kafka_access_ready(c->b, e);
}

/* Ends its client, and begins with another. What was assigned to it is given up, but for a broadcast one's, which goes on where it
 * stands. */
static bool consumer_begin_again(struct kafka_consumer *c, struct err *e)
{
    kafka_queue_wake(c->queue, -1);
    if (c->positions)
        kafka_queue_wake(c->positions, -1);
    if (c->group)
        kafka_assigned_drop(c);
    else
        kafka_assignment_pause(c);
    kafka_consumed_end(c);
    rd_kafka_queue_destroy(c->queue);
    if (c->positions)
        rd_kafka_queue_destroy(c->positions);
    c->committing = 0;
    c->closing = true; /* the last callbacks of the client find nothing to do */
    bool ended = kafka_client_end(c->rk, (struct duration){ CLOSE_MS });
    if (!ended)
        atomic_store(&c->b->outlived, true);
    c->leaked = c->leaked || !ended;
    c->closing = false;
    c->rk = NULL;
    c->queue = c->positions = NULL;
    if (consumer_begin(c, e))
        return true;
    kafka_assigned_drop(c);
    c->open_error = *e;
    return false;
}

/* Its login is over: what is under way is finished and committed, as when a partition goes to another member. */
static bool consumer_follow(struct kafka_consumer *c, struct err *e)
{
    LOG(INFO, "a consumer begins again with the login and the properties of now",
        LOG_C("group", c->group ? c->group : "(none)"));
    if (c->group) {
        consumer_revoke(c);
        kafka_positions_flush(c);
    }
    return consumer_begin_again(c, e);
}

/* Another member has our name, so the cluster has put us out of the group: joins again. The other may be we ourselves: after the
 * coordinator's death librdkafka may send for its old session what comes when the new one has begun. So it keeps its name the
 * first time, and goes without when that is taken from it again at once. What is under way goes to whoever has the partitions
 * now. */
static bool consumer_join_again(struct kafka_consumer *c, const char *why, struct err *e)
{
    enum { AT_ONCE_MS = 30000 };
    int64_t now = clock_mono_ms();
    c->nameless = c->fenced_ms && now - c->fenced_ms < AT_ONCE_MS;
    c->fenced_ms = now;
    if (c->nameless) {
        metric_add(metric_get(&aqueduct_kafka_fenced_total, NULL), 1);
        LOG(ERROR, "another daemon has the same broker.instance: this one goes on without, give each a name of its own",
            LOG_C("group", c->group), LOG_C("instance", kafka_instance(c->b)), LOG_C("why", why));
    } else {
        LOG(INFO, "joining the group again, by the same name", LOG_C("group", c->group), LOG_C("why", why));
    }
    consumer_revoke(c);
    return consumer_begin_again(c, e);
}

/* Records come by the partitions' own queues; but librdkafka may make a partition of a topic that was deleted and made anew a second
 * time inside, and then knows no more of its queue. */
static void consumer_stray(struct kafka_consumer *c, const rd_kafka_message_t *m)
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
static bool consumer_serve(struct kafka_consumer *c, struct err *e)
{
    bool fine = true;
    for (rd_kafka_message_t *m; (m = rd_kafka_consumer_poll(c->rk, 0)); rd_kafka_message_destroy(m)) {
        if (!m->err) {
            consumer_stray(c, m);
            continue;
        }
        if (m->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART && m->rkt)
            kafka_topic_want(c->b, str_of(rd_kafka_topic_name(m->rkt)), true);
        if (kafka_is_passing(m->err))
            kafka_log(6, rd_kafka_err2name(m->err), rd_kafka_message_errstr(m));
        else if (kafka_access_is_denial(m->err))
            fine = consumer_denied(c, m, e);
        else
            fine = err_set(e, "group %s: %s", c->group ? c->group : "(none)", rd_kafka_message_errstr(m));
    }
    char text[KAFKA_ERRSTR];
    rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(c->rk, text, sizeof text);
    if (fatal && !c->nameless)
        return consumer_join_again(c, text, e);
    return fatal ? err_set(e, "group %s: %s", c->group, text) : fine;
}

/* Marks the partition as adrift or damaged when librdkafka could not give a record; false with *e: damaged. */
static bool consumer_trouble(struct kafka_consumer *c, struct kafka_assigned *assigned, const rd_kafka_message_t *m,
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
        return consumer_denied(c, m, e);
    return err_set(e, "%s/%d@%lld: %s", assigned->which.topic, assigned->which.partition, (long long)m->offset,
                   rd_kafka_message_errstr(m));
}

static bool consumer_is_lost(const struct kafka_assigned *assigned)
{
    return assigned->adrift || assigned->damaged || assigned->anew;
}

static bool consumer_in_trouble(const struct kafka_assigned *assigned)
{
    return consumer_is_lost(assigned) || assigned->doubted;
}

/* Where a partition has to go by itself, the others undisturbed: where the reader wants, or to the record by which its topic is
 * known; -1: nowhere. */
static int64_t consumer_target(struct kafka_assigned *assigned)
{
    if (consumer_is_lost(assigned) || assigned->vanished)
        return -1;
    int64_t target = assigned->doubted ? kafka_assigned_known(assigned) : assigned->sought ? assigned->next : -1;
    if (target < 0)
        assigned->doubted = false; /* it was nowhere yet */
    return target;
}

/* Not by assigning again, as consumer_mend does: that ends the fetches of all partitions, and begins none before the commits
 * under way are answered, by a coordinator that may be down; and often and soon one after the other it ends in an assertion of
 * librdkafka. What it refuses now (a partition that is not fetched yet) is tried again; one in doubt may be at a position that is
 * gone, and what librdkafka said of that went with the records in doubt. */
static void consumer_go(struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    int64_t now = clock_mono_ms();
    for (size_t i = 0; i < c->assigned_count; i++) {
        struct kafka_assigned *assigned = &c->assigned[i];
        int64_t target = assigned->seek_ms > now ? -1 : consumer_target(assigned);
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
static bool consumer_mend(struct kafka_consumer *c, struct err *e)
{
    struct err why = { "" };
    bool asked = true, found = false;
    for (size_t i = 0; i < c->assigned_count && asked; i++) {
        struct kafka_assigned *assigned = &c->assigned[i];
        bool stays = assigned->vanished && !consumer_is_lost(assigned) && kafka_assigned_known(assigned) >= 0;
        if (!(consumer_is_lost(assigned) || assigned->vanished) || clock_mono_ms() < assigned->retry_ms)
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

static bool consumer_may_take(struct kafka_consumer *c, const struct kafka_assigned *assigned)
{
    return !consumer_in_trouble(assigned) && !assigned->sought && !atomic_load(&c->doubt);
}

/* Compaction leaves holes, and so do the marks of transactions: once it is known which, what compaction took is counted, and said
 * now and then. */
static void consumer_judge_hole(struct kafka_consumer *c, struct kafka_assigned *assigned)
{
    enum { SAY_MS = 10000 };
    struct kafka_hole hole = assigned->hole;
    bool compacts;
    int64_t now = clock_mono_ms();
    if (!hole.count || !kafka_topic_compacts(c->b, assigned->which.topic, hole.since_ms, &compacts))
        return;
    assigned->hole = (struct kafka_hole){ 0 };
    if (!compacts)
        return;
    metric_add(c->b->lost, hole.count);
    if (assigned->gap_ms && now - assigned->gap_ms < SAY_MS)
        return;
    assigned->gap_ms = now;
    LOG(ERROR, "records were compacted away before they were read", LOG_C("group", c->group),
        LOG_C("topic", assigned->which.topic), LOG_INT("partition", assigned->which.partition),
        LOG_INT("from", hole.from), LOG_INT("to", hole.to), LOG_INT("lost", hole.count));
}

/* What is missing between the last record and this one. */
static void consumer_mind_hole(struct kafka_consumer *c, struct kafka_assigned *assigned, int64_t next, int64_t offset)
{
    struct kafka_hole *hole = &assigned->hole;
    int64_t from = next > assigned->owed ? next : assigned->owed;
    int64_t lost = next < 0 || offset <= from ? 0 : offset - from - ranges_within(&assigned->restored, from, offset);
    if (lost <= 0 || !c->group)
        return;
    if (!hole->count)
        *hole = (struct kafka_hole){ .from = from, .since_ms = clock_mono_ms() };
    hole->to = offset - 1;
    hole->count += lost;
    consumer_judge_hole(c, assigned);
}

/* Takes what is there; -1 - n with *e when this partition is in trouble after n records. */
static int consumer_take(struct kafka_consumer *c, struct kafka_assigned *assigned, struct record **out, size_t room,
                         struct err *e)
{
    int n = 0;
    bool fine = true;
    consumer_judge_hole(c, assigned);
    for (rd_kafka_message_t *m; fine && consumer_may_take(c, assigned) && (size_t)n < room
                                && (m = rd_kafka_consume_queue(assigned->queue, 0));) {
        int64_t before = assigned->next;
        if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            kafka_position_end(c, assigned, m->offset);
        } else if (m->err) {
            fine = consumer_trouble(c, assigned, m, e);
        } else if (!atomic_load(&c->doubt) && kafka_doubt_is_new(assigned, m)) {
            consumer_mind_hole(c, assigned, before, m->offset);
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
    if (!consumer_is_open(c, e))
        return c->opening ? 0 : -1;
    if (kafka_follow_is_old(c->b, c->rk, &c->login) && !consumer_follow(c, e))
        return -1;
    bool fine = consumer_serve(c, e);
    kafka_doubt_serve(c);
    if (!c->group && clock_mono_ms() >= c->look_ms)
        kafka_assignment_look(c);
    fine = consumer_mend(c, e) && fine;
    consumer_go(c);
    kafka_positions_serve(c);
    kafka_consumed_serve(c);
    size_t n = 0;
    for (size_t i = 0; i < c->assigned_count && n < room; i++) {
        struct kafka_assigned *assigned = &c->assigned[(c->turn + i) % c->assigned_count];
        if (assigned->held)
            continue;
        int got = consumer_take(c, assigned, out + n, room - n, e);
        fine = fine && got >= 0;
        n += (size_t)(got >= 0 ? got : -1 - got);
    }
    c->turn++;
    kafka_doubt_serve(c);
    if (n == 0) { /* what came to light just now */
        fine = consumer_mend(c, e) && fine;
        consumer_go(c);
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
    if (!consumer_is_open(c, NULL))
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

void kafka_leave(struct consumer *base)
{
    struct kafka_consumer *c = (struct kafka_consumer *)base;
    if (c->opening)
        pthread_join(c->opener, NULL);
    if (!c->rk) {
        consumer_free(c);
        return;
    }
    consumer_revoke(c);
    kafka_positions_keep(c);
    c->closing = true;
    if (c->group)
        kafka_access_forget(c->b, KAFKA_GROUP, c->group);
    kafka_queue_wake(c->queue, -1);
    if (c->positions)
        kafka_queue_wake(c->positions, -1);
    kafka_assigned_drop(c);
    rd_kafka_queue_destroy(c->queue);
    struct kafka *b = c->b; /* c may be gone at once */
    if (!thread_run(consumer_client_end, c, (struct duration){ CLOSE_MS })) {
        atomic_store(&b->outlived, true);
        LOG(WARN, "a kafka consumer does not end; it is left behind", LOG_INT("waited_ms", CLOSE_MS));
    }
}
