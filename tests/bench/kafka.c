/* SPDX-License-Identifier: MIT */
/* Records to a real Kafka with a fixed number in flight, each answered by the broker before the next takes its place;
 * then some of them are read back.
 *
 *   AQUEDUCT_TEST_KAFKA=host:port bench.kafka raw|broker [in flight] [seconds] [bytes] [partitions] [keyed|spread]
 *       [KEY=VALUE ...]
 *
 * raw: librdkafka alone, with the same settings (but linger.ms 0) and one poll thread; broker: through broker_publish and
 * consumer_poll, with eight headers, as an event has. keyed: each record has a key of its own; spread: none, so librdkafka
 * stays with a partition for a while. KEY=VALUE: properties. Prints one JSON object; CPU is this process's, without
 * Kafka's. */
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

enum { IN_FLIGHT_MOST = 4096, HEADERS = 8, READ_MOST = 200000 };

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
static int32_t
    to = RD_KAFKA_PARTITION_UA; /* to warm up: this one; a broker's first record of a partition takes 25 ms */
static bool keyed; /* each record has a key of its own, else none: librdkafka then stays with a partition for a while */
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
    static uint64_t count;
    char key[24];
    struct str k = { key, (size_t)snprintf(key, sizeof key, "key-%llu", (unsigned long long)count++) };
    sent_us[slot] = clock_mono_us();
    if (raw) {
        rd_kafka_producev(raw, RD_KAFKA_VTYPE_RKT, raw_topic, RD_KAFKA_VTYPE_PARTITION, to, RD_KAFKA_VTYPE_MSGFLAGS,
                          RD_KAFKA_MSG_F_COPY, RD_KAFKA_VTYPE_KEY, keyed ? k.at : NULL, keyed ? k.n : 0,
                          RD_KAFKA_VTYPE_VALUE, value, bytes, RD_KAFKA_VTYPE_OPAQUE, (void *)(uintptr_t)slot,
                          RD_KAFKA_VTYPE_END);
        return;
    }
    struct record r = { .topic = str_of(topic),
                        .partition = to,
                        .key = keyed ? k : STR_ABSENT,
                        .value = { value, bytes },
                        .headers = headers,
                        .header_count = HEADERS };
    broker_publish(broker, &(struct publication){ .records = &r, .record_count = 1, .done = on_done, .tag = slot });
}

static void wait_for_more(void)
{
    poll(&(struct pollfd){ .fd = wake_fd, .events = POLLIN }, 1, 1000);
    wake_clear(wake_fd);
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
        if (n == 0)
            wait_for_more();
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

/* Reads so many records through the broker. */
static void read_back(uint64_t count)
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
    for (uint64_t got = 0; got < count;) {
        int n = consumer_poll(c, out, 256, &e);
        for (int i = 0; i < n; i++)
            record_free(out[i]);
        got += n > 0 ? (uint64_t)n : 0;
        if (n == 0)
            wait_for_more();
    }
    consumer_close(c);
}

/* The same with librdkafka alone. */
static void read_back_raw(uint64_t count)
{
    struct err e = { "" };
    rd_kafka_conf_t *conf = kafka_conf(&config, KAFKA_MEMBER, "bench.raw", &e);
    kafka_conf_prefetch(conf, &config, partitions, &e);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, NULL, 0);
    rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new((int)partitions);
    rd_kafka_poll_set_consumer(rk);
    for (int32_t p = 0; p < partitions; p++)
        rd_kafka_topic_partition_list_add(all, topic, p)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(rk, all);
    rd_kafka_topic_partition_list_destroy(all);
    for (uint64_t got = 0; got < count;) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 1000);
        got += m && !m->err;
        if (m)
            rd_kafka_message_destroy(m);
    }
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
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
    if (!kafka_conf_has(&config, "linger.ms"))
        rd_kafka_conf_set(conf, "linger.ms", "0", NULL, 0); /* nobody flushes here */
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    raw = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
    raw_topic = rd_kafka_topic_new(raw, topic, NULL);
    return true;
}

/* Words KEY=VALUE are properties. */
static bool set_properties(int count, char **words)
{
    config.properties.at = calloc((size_t)count + 1, sizeof *config.properties.at);
    for (int i = 0; i < count; i++) {
        char *is = strchr(words[i], '=');
        if (!is)
            return false;
        *is = '\0';
        config.properties.at[config.properties.count++] = (struct map_entry){ .key = words[i], .value = is + 1 };
    }
    return true;
}

static bool set_arguments(int argc, char **argv)
{
    in_flight = argc > 2 ? (int)strtol(argv[2], NULL, 10) : in_flight;
    bytes = argc > 4 ? (size_t)strtol(argv[4], NULL, 10) : bytes;
    partitions = argc > 5 ? strtol(argv[5], NULL, 10) : partitions;
    keyed = argc > 6 && strcmp(argv[6], "keyed") == 0;
    config.servers = getenv("AQUEDUCT_TEST_KAFKA");
    return config.servers && in_flight >= 1 && in_flight <= IN_FLIGHT_MOST && bytes <= sizeof value && partitions >= 1
           && (argc <= 7 || set_properties(argc - 7, argv + 7));
}

/* Every partition has its first records, and the clients are connected. */
static void warm(void)
{
    for (to = 0; to < partitions; to++)
        produce(0.02);
    to = RD_KAFKA_PARTITION_UA;
    produce(0.3);
}

int main(int argc, char **argv)
{
    if (!set_arguments(argc, argv)) {
        fprintf(stderr,
                "AQUEDUCT_TEST_KAFKA=host:port %s raw|broker [in flight] [seconds] [bytes] [partitions] [keyed|spread] "
                "[KEY=VALUE ...]\n",
                argv[0]);
        return 2;
    }
    const char *kind = argc > 1 ? argv[1] : "broker";
    log_setup(LOG_ERROR, LOG_LOGFMT);
    memset(value, 'x', bytes);
    mailbox_open(&box, wake_fd = wake_new());
    if (!set_up(strcmp(kind, "raw") == 0))
        return 1;
    pthread_t poller;
    if (raw)
        pthread_create(&poller, NULL, raw_poll, NULL);
    warm();
    memset(&delays, 0, sizeof delays);
    uint64_t before = stored;
    double cpu = meter_cpu_s(0);
    int64_t began = clock_mono_us();
    produce(argc > 3 ? strtod(argv[3], NULL) : 5);
    double took = (double)(clock_mono_us() - began) / 1e6, spent = meter_cpu_s(0) - cpu;
    uint64_t count = stored - before, back = stored < READ_MOST ? stored : READ_MOST;
    cpu = meter_cpu_s(0);
    raw ? read_back_raw(back) : read_back(back);
    printf(
        "{\"bench\":\"kafka\",\"kind\":\"%s\",\"keyed\":%s,\"in_flight\":%d,\"bytes\":%zu,\"partitions\":%lld,"
        "\"records\":%llu,\"refused\":%llu,\"rate\":%.0f,\"cpu_us\":%.2f,\"read_us\":%.2f,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n",
        kind, keyed ? "true" : "false", in_flight, bytes, (long long)partitions, (unsigned long long)count,
        (unsigned long long)refused, (double)count / took, spent * 1e6 / (double)(count ? count : 1),
        (meter_cpu_s(0) - cpu) * 1e6 / (double)back, delays_ms(&delays, 0.5), delays_ms(&delays, 0.99));
    stopping = true;
    if (raw) {
        pthread_join(poller, NULL);
        rd_kafka_topic_destroy(raw_topic);
        rd_kafka_destroy(raw);
    }
    broker_close(broker);
    return 0;
}
