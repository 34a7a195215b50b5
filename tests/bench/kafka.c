/* SPDX-License-Identifier: MIT */
/* Records to a real Kafka with a fixed number in flight, each answered by the broker before the next takes its place.
 *
 *   AQUEDUCT_TEST_KAFKA=host:port bench.kafka raw|broker|consume [in flight] [seconds] [bytes] [partitions]
 *
 * raw: librdkafka alone, with the same settings (but linger.ms 0) and one poll thread; broker: through
 * broker_publish with eight headers, as an event has; consume: reads back what was written. Prints one JSON object;
 * CPU is this process's, without Kafka's. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "meter.h"

enum { IN_FLIGHT_MOST = 4096, HEADERS = 8 };

static struct broker_config config = { .type = BROKER_KAFKA,
                                       .create_topics = true,
                                       .replication = -1,
                                       .prefix = "bench.",
                                       .group_prefix = "bench.",
                                       .instance = "",
                                       .session_timeout = { 6000 } };
static char topic[64];
static char value[1 << 20];
static size_t bytes = 1024;
static int in_flight = 64;
static int64_t partitions = 4;
static int64_t sent_us[IN_FLIGHT_MOST];
static uint64_t stored, refused; /* of the thread that sends */
static struct delays delays;
static struct mailbox box;
static int wake_fd;

/* Both kinds of producer answer through the same mailbox, so its cost is in both. */
static void on_done(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    (void)ctx;
    mailbox_put(&box, tag, (int32_t)o, why);
}

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    (void)rk;
    (void)opaque;
    mailbox_put(&box, (uint64_t)(uintptr_t)m->_private, m->err ? OUTCOME_UNAVAILABLE : OUTCOME_STORED, NULL);
}

static struct broker *broker;
static rd_kafka_t *raw;
static rd_kafka_topic_t *raw_topic;
static _Atomic bool stopping;

static void *raw_poll(void *arg)
{
    (void)arg;
    while (!stopping)
        rd_kafka_poll(raw, 100);
    return NULL;
}

static void send_one(uint64_t slot)
{
    const struct header headers[HEADERS] = {
        { STR("ce_specversion"), STR("1.0") },
        { STR("ce_id"), STR("0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b") },
        { STR("ce_source"), STR("/anythingllm/main") },
        { STR("ce_type"), STR("chat.response.generated") },
        { STR("ce_subject"), STR("workspace_chats/17") },
        { STR("ce_time"), STR("2026-11-20T10:00:00.123Z") },
        { STR("ce_traceparent"), STR("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01") },
        { STR("content-type"), STR("application/json") },
    };
    sent_us[slot] = clock_mono_us();
    if (raw) {
        rd_kafka_producev(raw, RD_KAFKA_VTYPE_RKT, raw_topic, RD_KAFKA_VTYPE_PARTITION, RD_KAFKA_PARTITION_UA,
                          RD_KAFKA_VTYPE_MSGFLAGS, RD_KAFKA_MSG_F_COPY, RD_KAFKA_VTYPE_VALUE, value, bytes,
                          RD_KAFKA_VTYPE_OPAQUE, (void *)(uintptr_t)slot, RD_KAFKA_VTYPE_END);
        return;
    }
    struct record r = {
        .topic = str_of(topic), .partition = -1, .value = { value, bytes }, .headers = headers, .header_count = HEADERS
    };
    broker_publish(broker, &(struct publication){ .records = &r, .record_count = 1, .done = on_done, .tag = slot });
}

static void produce(double seconds)
{
    int64_t end = clock_mono_us() + (int64_t)(seconds * 1e6);
    int open = in_flight;
    for (int i = 0; i < in_flight; i++)
        send_one((uint64_t)i);
    while (open > 0) {
        struct notice notices[256];
        size_t n = mailbox_take(&box, notices, 256);
        if (n == 0) {
            poll(&(struct pollfd){ .fd = wake_fd, .events = POLLIN }, 1, 1000);
            wake_clear(wake_fd);
        }
        for (size_t i = 0; i < n; i++) {
            int64_t now = clock_mono_us();
            delays_add(&delays, now - sent_us[notices[i].tag]);
            notices[i].code == OUTCOME_STORED ? stored++ : refused++;
            if (now < end)
                send_one(notices[i].tag);
            else
                open--;
        }
    }
}

static void consume(void)
{
    struct err e = { "" };
    const char *t = topic;
    struct consumer *c = consumer_open(broker,
                                       &(struct consumer_options){ .group = "bench.reader",
                                                                   .topics = &t,
                                                                   .topic_count = 1,
                                                                   .from_start = true,
                                                                   .wake_fd = wake_fd },
                                       &e);
    struct record *out[256];
    for (uint64_t got = 0; got < stored;) {
        int n = consumer_poll(c, out, 256, &e);
        for (int i = 0; i < n; i++)
            record_free(out[i]);
        got += n > 0 ? (uint64_t)n : 0;
        if (n == 0) {
            poll(&(struct pollfd){ .fd = wake_fd, .events = POLLIN }, 1, 1000);
            wake_clear(wake_fd);
        }
    }
    consumer_close(c);
}

static bool set_up(bool use_raw)
{
    struct err e = { "" };
    broker = broker_open(&config, &e);
    snprintf(topic, sizeof topic, "bench.%d", (int)getpid());
    for (int i = 0; broker && i < 3; i++)
        if (broker_topic(broker, &(struct topic_config){ .name = topic, .partitions = partitions }, &e))
            break;
        else if (i == 2)
            return fprintf(stderr, "%s\n", e.text), false;
    if (!broker || !use_raw)
        return broker || (fprintf(stderr, "%s\n", e.text), false);
    rd_kafka_conf_t *conf = kafka_conf(&config, KAFKA_PRODUCER, NULL, &e);
    rd_kafka_conf_set(conf, "linger.ms", "0", NULL, 0); /* nobody flushes here */
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    raw = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
    raw_topic = rd_kafka_topic_new(raw, topic, NULL);
    return true;
}

int main(int argc, char **argv)
{
    const char *kind = argc > 1 ? argv[1] : "broker";
    double seconds = argc > 3 ? strtod(argv[3], NULL) : 5;
    in_flight = argc > 2 ? (int)strtol(argv[2], NULL, 10) : in_flight;
    bytes = argc > 4 ? (size_t)strtol(argv[4], NULL, 10) : bytes;
    partitions = argc > 5 ? strtol(argv[5], NULL, 10) : partitions;
    config.servers = getenv("AQUEDUCT_TEST_KAFKA");
    if (!config.servers || in_flight < 1 || in_flight > IN_FLIGHT_MOST || bytes > sizeof value) {
        fprintf(stderr,
                "AQUEDUCT_TEST_KAFKA=host:port %s raw|broker|consume [in flight] [seconds] [bytes] [partitions]\n",
                argv[0]);
        return 2;
    }
    log_setup(LOG_ERROR, LOG_LOGFMT);
    memset(value, 'x', bytes);
    mailbox_open(&box, wake_fd = wake_new());
    if (!set_up(strcmp(kind, "raw") == 0))
        return 1;
    pthread_t poller;
    if (raw)
        pthread_create(&poller, NULL, raw_poll, NULL);
    produce(0.3); /* warm */
    memset(&delays, 0, sizeof delays);
    uint64_t warm = stored;
    stored = strcmp(kind, "consume") == 0 ? stored : 0;
    double cpu = meter_cpu_s(0);
    int64_t began = clock_mono_us();
    produce(seconds);
    if (strcmp(kind, "consume") == 0) {
        cpu = meter_cpu_s(0);
        began = clock_mono_us();
        consume();
    }
    double took = (double)(clock_mono_us() - began) / 1e6;
    printf(
        "{\"bench\":\"kafka\",\"kind\":\"%s\",\"in_flight\":%d,\"bytes\":%zu,\"partitions\":%lld,\"records\":%llu,\"refused\":%llu,\"warm\":%llu,\"rate\":%.0f,"
        "\"cpu_us\":%.2f,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n",
        kind, in_flight, bytes, (long long)partitions, (unsigned long long)stored, (unsigned long long)refused,
        (unsigned long long)warm, (double)stored / took, (meter_cpu_s(0) - cpu) * 1e6 / (double)(stored ? stored : 1),
        delays_ms(&delays, 0.5), delays_ms(&delays, 0.99));
    stopping = true;
    if (raw) {
        pthread_join(poller, NULL);
        rd_kafka_topic_destroy(raw_topic);
        rd_kafka_destroy(raw);
    }
    broker_close(broker);
    return 0;
}
