/* SPDX-License-Identifier: MIT */
/* The life of a consumer: its client is made, begins, is given partitions and loses them, gets successors, and ends.
 *
 * All of it runs on the consumer's thread, rebalances too (inside rd_kafka_consumer_poll), but for what waits for a cluster: the
 * opening, if that is wanted, and the end of the client have threads of their own. */
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

enum { CLOSE_MS = 4000, CONSUMER_DESCRIPTORS = 32, GATHER_MS = 30000 };

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

bool kafka_consumer_is_open(struct kafka_consumer *c, struct err *e)
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

/* ---- its successors ---- */

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

bool kafka_consumer_follow(struct kafka_consumer *c, struct err *e)
{
    LOG(INFO, "a consumer begins again with the login and the properties of now",
        LOG_C("group", c->group ? c->group : "(none)"));
    if (c->group) {
        consumer_revoke(c);
        kafka_positions_flush(c);
    }
    return consumer_begin_again(c, e);
}

bool kafka_consumer_join_again(struct kafka_consumer *c, const char *why, struct err *e)
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

/* ---- its end ---- */

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
