/* SPDX-License-Identifier: MIT */
/* The client of those who ask while they fetch or write. A cluster answers what comes by one connection one after the other: a
 * fetch that finds nothing after fetch.wait.max.ms, a write when all replicas in sync have it, which takes as long as one that
 * died counts as in sync. A question by the same client waits for that. This one does neither, sees what is committed, is made
 * when somebody asks, and ends when nobody has for a while. */
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"

enum { ASKER_IDLE_MS = 60000 };

/* NULL: none can be made, which is logged. Give it back soon. */
static rd_kafka_t *asker_take(struct kafka *b)
{
    struct kafka_asker *a = &b->asker;
    struct err e = { "" };
    pthread_mutex_lock(&a->lock);
    if (!a->rk) {
        a->login = kafka_follow_version(b);
        a->rk = kafka_client_reader(b->config, b, &e);
    }
    a->users += a->rk != NULL;
    a->used_ms = clock_mono_ms();
    rd_kafka_t *rk = a->rk;
    pthread_mutex_unlock(&a->lock);
    if (!rk)
        LOG(ERROR, "the cluster cannot be asked", LOG_C("reason", e.text));
    return rk;
}

static void asker_give(struct kafka *b)
{
    pthread_mutex_lock(&b->asker.lock);
    b->asker.users--;
    pthread_mutex_unlock(&b->asker.lock);
}

static void asker_end(struct kafka *b, bool always)
{
    struct kafka_asker *a = &b->asker;
    rd_kafka_t *over = NULL;
    pthread_mutex_lock(&a->lock);
    if (a->rk && a->users == 0
        && (always || clock_mono_ms() - a->used_ms > ASKER_IDLE_MS || kafka_follow_is_old(b, a->rk, &a->login))) {
        over = a->rk;
        a->rk = NULL;
    }
    pthread_mutex_unlock(&a->lock);
    if (over)
        kafka_client_reader_end(over, b);
}

void kafka_asker_open(struct kafka *b)
{
    pthread_mutex_init(&b->asker.lock, NULL);
}

void kafka_asker_turn(struct kafka *b)
{
    asker_end(b, false);
}

void kafka_asker_close(struct kafka *b)
{
    asker_end(b, true);
    pthread_mutex_destroy(&b->asker.lock);
}

rd_kafka_resp_err_t kafka_ask_ends(struct kafka *b, const char *topic, int32_t partition, int64_t *low, int64_t *high,
                                   int wait_ms)
{
    rd_kafka_t *rk = asker_take(b);
    if (!rk)
        return RD_KAFKA_RESP_ERR__FAIL;
    rd_kafka_resp_err_t code = kafka_watermarks(rk, topic, partition, low, high, wait_ms);
    asker_give(b);
    return code;
}

rd_kafka_resp_err_t kafka_ask_time(struct kafka *b, const char *topic, int32_t partition, int64_t ms, int64_t *offset,
                                   int wait_ms)
{
    rd_kafka_t *rk = asker_take(b);
    if (!rk)
        return RD_KAFKA_RESP_ERR__FAIL;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *at = rd_kafka_topic_partition_list_add(list, topic, partition);
    at->offset = ms;
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(rk, list, wait_ms);
    code = code ? code : at->err;
    *offset = at->offset;
    rd_kafka_topic_partition_list_destroy(list);
    asker_give(b);
    return code;
}

bool kafka_ask_alive(struct kafka *b, int wait_ms)
{
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_t *rk = asker_take(b);
    if (!rk)
        return false;
    rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 0, NULL, &md, wait_ms);
    asker_give(b);
    if (md)
        rd_kafka_metadata_destroy(md);
    return !code;
}
