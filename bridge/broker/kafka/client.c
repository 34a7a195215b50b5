/* SPDX-License-Identifier: MIT */
/* A librdkafka producer and its handles of topics, shared by everyone who asks the cluster or sends to it. */
#include <stdlib.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum { CLIENT_END_MS = 5000 };

struct kafka_topic_handle { /* librdkafka's handle of a topic, by name */
    char *name;
    uint64_t hash;
    rd_kafka_topic_t *rkt; /* NULL: not a topic name */
};

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

bool kafka_client_end(rd_kafka_t *rk, struct duration limit)
{
    return thread_run(client_consumer_end, rk, limit);
}
