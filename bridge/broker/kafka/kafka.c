/* SPDX-License-Identifier: MIT */
/* The broker `kafka`: topics live in a cluster, reached through librdkafka. Here: open, ready, close, and the table. */
#include <stdlib.h>
#include "bridge/broker/kafka/consumer.h"
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/descriptors.h"
#include "bridge/lib/mem.h"

METRIC_COUNTER(aqueduct_kafka_producer_restarts_total, "kafka: new producers after a fatal error.", NULL);

enum {
    KAFKA_DESCRIPTORS = 64, /* of the producer and of readers: connections to the servers, wake-ups */
    TOPIC_MS = 2000,
};

static void kafka_free(struct kafka *b)
{
    for (size_t i = 0; i < b->topic_count; i++) {
        free(b->topics[i].name);
        free(b->topics[i].consumed_by);
        free(b->topics[i].like);
    }
    free(b->topics);
    free(b->state_topic);
    kafka_registry_free(b);
    kafka_instance_close(b);
    kafka_access_close(b);
    kafka_follow_close(b->follow);
    descriptors_reserve(-KAFKA_DESCRIPTORS);
    pthread_mutex_destroy(&b->holes_lock);
    pthread_mutex_destroy(&b->client_lock);
    pthread_mutex_destroy(&b->idle_lock);
    pthread_mutex_destroy(&b->storing.lock);
    pthread_mutex_destroy(&b->wave_lock);
    pthread_mutex_destroy(&b->claims_lock);
    pthread_cond_destroy(&b->wave_there);
    pthread_mutex_destroy(&b->topics_lock);
    pthread_cond_destroy(&b->idle);
    pthread_cond_destroy(&b->topics_changed);
    free(b);
}

static struct broker_facts kafka_facts(const struct broker_config *config)
{
    (void)config;
    return (struct broker_facts){ .needs_servers = true, .may_be_away = true, .is_shared = true };
}

static struct broker *kafka_open(const struct broker_config *config, struct err *e)
{
    if (!kafka_conf_check(config, e))
        return NULL;
    struct kafka *b = mem_alloc(sizeof *b);
    *b = (struct kafka){ .base.ops = &broker_kafka, .config = config, .down = true };
    b->state_topic = topic_name(config->prefix, TOPIC_STATE, NULL);
    b->follow = kafka_follow_open(config, e);
    kafka_access_open(b);
    kafka_asker_open(b);
    kafka_instance_open(b);
    descriptors_reserve(KAFKA_DESCRIPTORS);
    pthread_mutex_init(&b->client_lock, NULL);
    pthread_mutex_init(&b->idle_lock, NULL);
    pthread_mutex_init(&b->storing.lock, NULL);
    pthread_mutex_init(&b->wave_lock, NULL);
    pthread_mutex_init(&b->claims_lock, NULL);
    pthread_mutex_init(&b->holes_lock, NULL);
    pthread_cond_init(&b->wave_there, NULL);
    b->wave_end = &b->wave;
    pthread_mutex_init(&b->topics_lock, NULL);
    pthread_cond_init(&b->idle, NULL);
    pthread_cond_init(&b->topics_changed, NULL);
    b->stored = metric_get(&aqueduct_broker_stored_total, NULL);
    b->took = metric_get(&aqueduct_broker_commit_seconds, NULL);
    b->reborn = metric_get(&aqueduct_kafka_producer_restarts_total, NULL);
    b->cut = metric_get(&aqueduct_broker_positions_cut_total, NULL);
    b->lost = metric_get(&aqueduct_records_lost_total, NULL);
    if (!b->follow || !kafka_producer_start(b, e)) {
        kafka_free(b);
        return NULL;
    }
    kafka_registry_start(b);
    kafka_topics_start(b);
    return &b->base;
}

static bool kafka_ready(struct broker *base, struct err *why)
{
    struct kafka *b = (struct kafka *)base;
    if (atomic_load(&b->down))
        return kafka_access_down(b, why);
    bool ready = !kafka_topic_failed(b, why) && kafka_access_ready(b, why) && kafka_registry_ready(b, why)
                 && kafka_storing_ready(b, why);
    if (ready)
        kafka_follow_note(b, why);
    return ready;
}

/* A fatal error of librdkafka ends a producer, not the broker: it gets another. */
static bool kafka_failed(struct broker *base)
{
    (void)base;
    return false;
}

static void kafka_close(struct broker *base)
{
    static struct kafka *outlived; /* brokers that a client outlives: what it reports goes there */
    struct kafka *b = (struct kafka *)base;
    kafka_holes_settle(b);
    atomic_store(&b->stop, true);
    kafka_claims_end(b);
    kafka_registry_stop(b);
    kafka_topics_stop(b);
    kafka_producer_stop(b);
    kafka_asker_close(b);
    kafka_holes_close(b);
    if (!atomic_load(&b->outlived)) {
        kafka_free(b);
        return;
    }
    b->outlived_too = outlived;
    outlived = b;
}

/* What may go is the cluster's business. */
static void kafka_retain(struct broker *base)
{
    kafka_registry_retain((struct kafka *)base);
}

static int32_t kafka_partitions(struct broker *base, const char *topic)
{
    return kafka_topic_wait((struct kafka *)base, topic, (struct duration){ TOPIC_MS }, NULL);
}

const struct broker_ops broker_kafka = {
    .type = "kafka",
    .doc = "Topics in an Apache Kafka cluster (or one that speaks its protocol).",
    .facts = kafka_facts,
    .check = kafka_conf_check,
    .advise = kafka_login_advise,
    .can_make = kafka_can_make,
    .standing = kafka_standing,
    .look = kafka_look,
    .look_on = kafka_look_on,
    .look_close = kafka_look_close,
    .open = kafka_open,
    .may_follow = kafka_follow_check,
    .follow = kafka_follow,
    .declare = kafka_topic_declare,
    .topic = kafka_topic,
    .topics = kafka_topics,
    .partitions = kafka_partitions,
    .groups = kafka_groups,
    .groups_outside = kafka_groups_outside,
    .forget = kafka_forget,
    .gather = kafka_gather,
    .retain = kafka_retain,
    .claim = kafka_claim,
    .claimed = kafka_claimed,
    .release = kafka_release,
    .publish = kafka_publish,
    .flush = kafka_flush,
    .ready = kafka_ready,
    .failed = kafka_failed,
    .state = kafka_state,
    .is_settled = kafka_is_settled,
    .tail = kafka_tail,
    .close = kafka_close,
    .consume = kafka_consume,
    .poll = kafka_poll,
    .hold = kafka_hold,
    .seek = kafka_seek,
    .next = kafka_next,
    .log = kafka_replay,
    .log_close = kafka_replay_close,
    .remove = kafka_remove,
    .copy = &kafka_copy,
    .commit = kafka_commit,
    .stands = kafka_stands,
    .leave = kafka_leave,
};
