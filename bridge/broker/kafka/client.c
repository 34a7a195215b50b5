/* SPDX-License-Identifier: MIT */
/* A librdkafka producer and its handles of topics, shared by everyone who asks the cluster or sends to it. */
#include <stdlib.h>
#include <sys/prctl.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum {
    CLIENT_END_MS = 5000,
    READER_END_MS = 2000,
    /* librdkafka's threads inherit it. Its main thread spins in the last millisecond before a timer is due (up to 2.4),
     * a fifth of what an idle client costs; woken that much later, it finds the timer due. */
    SLACK_NS = 2000000,
};

struct kafka_topic_handle { /* librdkafka's handle of a topic, by name */
    char *name;
    uint64_t hash;
    rd_kafka_topic_t *rkt; /* NULL: not a topic name */
};

rd_kafka_t *kafka_client_begin(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct err *e)
{
    char text[KAFKA_ERRSTR];
    int slack_ns = prctl(PR_GET_TIMERSLACK);
    prctl(PR_SET_TIMERSLACK, SLACK_NS);
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof text);
    prctl(PR_SET_TIMERSLACK, slack_ns);
    if (rk) {
        kafka_token_serve(rk);
        return rk;
    }
    rd_kafka_conf_destroy(conf);
    err_set(e, "%s", text);
    return NULL;
}

static void client_on_error(rd_kafka_t *rk, int code, const char *text, void *opaque)
{
    (void)rk;
    kafka_access_error(opaque, code, text);
}

rd_kafka_t *kafka_client_reader(const struct broker_config *config, struct kafka *b, struct err *e)
{
    return kafka_client_reader_of(config, b, 0, e);
}

rd_kafka_t *kafka_client_reader_of(const struct broker_config *config, struct kafka *b, int64_t partitions,
                                   struct err *e)
{
    char *group = str_join(config->group_prefix, "reader", "");
    rd_kafka_conf_t *conf = b ? kafka_conf_of(b, KAFKA_READER, group, e) : kafka_conf(config, KAFKA_READER, group, e);
    free(group);
    if (!conf)
        return NULL;
    if (partitions && !kafka_conf_prefetch(conf, config, partitions, e)) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    rd_kafka_conf_set_opaque(conf, b);
    rd_kafka_conf_set_error_cb(conf, client_on_error);
    rd_kafka_t *rk = kafka_client_begin(RD_KAFKA_CONSUMER, conf, e);
    if (rk)
        rd_kafka_poll_set_consumer(rk);
    else
        err_prefix(e, "a kafka reader");
    return rk;
}

struct kafka_client *kafka_client_new(rd_kafka_t *rk)
{
    struct kafka_client *client = mem_alloc(sizeof *client);
    client->rk = rk;
    pthread_mutex_init(&client->lock, NULL);
    return client;
}

/* Waits for librdkafka, which may take long; the client goes with it. */
static void *client_producer_end(void *arg)
{
    struct kafka_client *client = arg;
    for (size_t i = 0; i < client->topic_count; i++) {
        if (client->topics[i].rkt)
            rd_kafka_topic_destroy(client->topics[i].rkt);
        free(client->topics[i].name);
    }
    free(client->topics);
    if (client->news) {
        rd_kafka_queue_cb_event_enable(client->news, NULL, NULL);
        rd_kafka_queue_destroy(client->news);
    }
    rd_kafka_destroy(client->rk);
    pthread_mutex_destroy(&client->lock);
    free(client);
    return NULL;
}

void kafka_client_free(struct kafka_client *client)
{
    if (!thread_run(client_producer_end, client, (struct duration){ CLIENT_END_MS }))
        LOG(WARN, "kafka producer does not end; it is left behind", LOG_C("client", "producer"));
}

struct kafka_client *kafka_client_take(struct kafka *b)
{
    pthread_mutex_lock(&b->client_lock);
    struct kafka_client *client = b->client;
    atomic_fetch_add(&client->users, 1);
    pthread_mutex_unlock(&b->client_lock);
    return client;
}

void kafka_client_give(struct kafka_client *client)
{
    atomic_fetch_sub(&client->users, 1);
}

rd_kafka_topic_t *kafka_client_topic(struct kafka_client *client, struct str name, bool *created)
{
    uint64_t hash = str_hash(name);
    rd_kafka_topic_t *rkt = NULL;
    pthread_mutex_lock(&client->lock);
    for (size_t i = 0; i < client->topic_count && !rkt; i++)
        if (client->topics[i].hash == hash && str_eq(str_of(client->topics[i].name), name))
            rkt = client->topics[i].rkt;
    *created = !rkt;
    if (!rkt) {
        char *copy = str_dup(name);
        rkt = rd_kafka_topic_new(client->rk, copy, NULL);
        client->topics = mem_grow(client->topics, client->topic_count + 1, sizeof *client->topics);
        client->topics[client->topic_count++] = (struct kafka_topic_handle){ .name = copy, .hash = hash, .rkt = rkt };
    }
    pthread_mutex_unlock(&client->lock);
    return rkt;
}

static void *client_consumer_end(void *arg)
{
    rd_kafka_consumer_close(arg);
    rd_kafka_destroy(arg);
    return NULL;
}

static rd_kafka_resp_err_t client_watermarks(rd_kafka_t *rk, const char *topic, int32_t partition, int64_t *low,
                                             int64_t *high, int64_t until_ms)
{
    static const int64_t wanted[] = { RD_KAFKA_OFFSET_BEGINNING, RD_KAFKA_OFFSET_END };
    int64_t *const out[] = { low, high };
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int i = 0; i < 2 && !code; i++) {
        int64_t left = until_ms - clock_mono_ms();
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_t *p = rd_kafka_topic_partition_list_add(list, topic, partition);
        p->offset = wanted[i];
        code = rd_kafka_offsets_for_times(rk, list, left > 0 ? (int)left : 0);
        code = code ? code : p->err ? p->err : p->offset < 0 ? RD_KAFKA_RESP_ERR__BAD_MSG : code;
        *out[i] = p->offset;
        rd_kafka_topic_partition_list_destroy(list);
    }
    return code;
}

/* Asks who leads the topic's partitions, and how many they are: what the client remembers may be a quarter of an hour old. */
static void client_refresh(rd_kafka_t *rk, const char *topic, int64_t until_ms)
{
    int64_t left = until_ms - clock_mono_ms();
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_topic_t *rkt = left > 0 ? rd_kafka_topic_new(rk, topic, NULL) : NULL;
    if (rkt && rd_kafka_metadata(rk, 0, rkt, &md, (int)left) == RD_KAFKA_RESP_ERR_NO_ERROR)
        rd_kafka_metadata_destroy(md);
    if (rkt)
        rd_kafka_topic_destroy(rkt);
}

rd_kafka_resp_err_t kafka_watermarks(rd_kafka_t *rk, const char *topic, int32_t partition, int64_t *low, int64_t *high,
                                     int wait_ms)
{
    enum { TRY_MS = 500 };
    int64_t begin = clock_mono_ms(), end = begin + wait_ms;
    rd_kafka_resp_err_t code = client_watermarks(rk, topic, partition, low, high,
                                                 begin + (wait_ms < 2 * TRY_MS ? wait_ms / 2 : TRY_MS));
    if (!code)
        return code;
    client_refresh(rk, topic, end);
    return client_watermarks(rk, topic, partition, low, high, end);
}

rd_kafka_queue_t *kafka_queue_own(rd_kafka_t *rk, const char *topic, int32_t partition)
{
    rd_kafka_queue_t *q = rd_kafka_queue_get_partition(rk, topic, partition);
    CHECK(q);
    rd_kafka_queue_forward(q, NULL);
    return q;
}

bool kafka_client_seek(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int wait_ms)
{
    bool in_us = rd_kafka_version()
                 < 0x02010000; /* what it takes for the limit; as milliseconds it is hardly ever enough */
    rd_kafka_error_t *error = rd_kafka_seek_partitions(rk, list, in_us ? wait_ms * 1000 : wait_ms);
    bool fine = !error;
    rd_kafka_error_destroy(error);
    return fine;
}

bool kafka_client_end(rd_kafka_t *rk, struct duration limit)
{
    return thread_run(client_consumer_end, rk, limit);
}

void kafka_client_reader_end(rd_kafka_t *rk, struct kafka *b)
{
    if (!kafka_client_end(rk, (struct duration){ READER_END_MS }))
        atomic_store(&b->outlived, true);
}
