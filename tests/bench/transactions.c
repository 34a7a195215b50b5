/* SPDX-License-Identifier: MIT */
/* Transactions into a real Kafka, one after the other, each with so many records.
 *
 *   AQUEDUCT_TEST_KAFKA=host:port bench.transactions raw|claimed [records] [seconds] [bytes]
 *
 * raw: librdkafka alone, with the same settings; claimed: through broker_publish of a source that was claimed, with eight headers,
 * as an event has, and the source's state. Prints one JSON object; CPU is this process's, without Kafka's. */
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

enum { PARTITIONS = 4, BEGIN_MS = 30000 };

static struct broker_config config = { .type = BROKER_KAFKA,
                                       .create_topics = true,
                                       .replication = -1,
                                       .prefix = "bench.",
                                       .group_prefix = "bench.",
                                       .instance = "",
                                       .session_timeout = { 6000 } };
enum { HEADERS = 8 };
static struct header headers[HEADERS];
static char topic[64];
static char value[1 << 20];
static size_t bytes = 1024, count = 1000;
static struct broker *broker;
static struct mailbox box;
static int wake_fd;
static rd_kafka_t *raw;
static rd_kafka_topic_t *raw_topic;
static struct record *records;

static void on_done(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    (void)ctx;
    mailbox_put(&box, tag, (int32_t)o, why);
}

static bool raw_transaction(void)
{
    rd_kafka_error_t *error = rd_kafka_begin_transaction(raw);
    for (size_t i = 0; i < count && !error; i++)
        rd_kafka_producev(raw, RD_KAFKA_VTYPE_RKT, raw_topic, RD_KAFKA_VTYPE_PARTITION, RD_KAFKA_PARTITION_UA,
                          RD_KAFKA_VTYPE_MSGFLAGS, RD_KAFKA_MSG_F_COPY, RD_KAFKA_VTYPE_VALUE, value, bytes,
                          RD_KAFKA_VTYPE_END);
    error = error ? error : rd_kafka_commit_transaction(raw, -1);
    rd_kafka_error_destroy(error);
    return !error;
}

static bool claimed_transaction(void)
{
    struct notice notice;
    const struct change change = { STR("cursor"), STR("i12345"), false };
    broker_publish(broker, &(struct publication){ .records = records,
                                                  .record_count = count,
                                                  .state_of = topic,
                                                  .changes = &change,
                                                  .change_count = 1,
                                                  .exactly_once = true,
                                                  .done = on_done });
    while (mailbox_take(&box, &notice, 1) == 0) {
        poll(&(struct pollfd){ .fd = wake_fd, .events = POLLIN }, 1, 1000);
        wake_clear(wake_fd);
    }
    return notice.code == OUTCOME_STORED;
}

static bool set_up(bool use_raw, struct err *e)
{
    const struct header event[HEADERS] = {
        { STR("ce_specversion"), STR("1.0") },
        { STR("ce_id"), STR("0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b") },
        { STR("ce_source"), STR("/anythingllm/main") },
        { STR("ce_type"), STR("chat.response.generated") },
        { STR("ce_subject"), STR("workspace_chats/17") },
        { STR("ce_time"), STR("2026-11-20T10:00:00.123Z") },
        { STR("ce_traceparent"), STR("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01") },
        { STR("content-type"), STR("application/json") },
    };
    memcpy(headers, event, sizeof event);
    broker = broker_open(&config, e);
    snprintf(topic, sizeof topic, "bench.%d", (int)getpid());
    if (!broker || !broker_topic(broker, &(struct topic_config){ .name = topic, .partitions = PARTITIONS }, e))
        return false;
    records = mem_alloc(count * sizeof *records);
    for (size_t i = 0; i < count; i++)
        records[i] = (struct record){ .topic = str_of(topic),
                                      .partition = -1,
                                      .value = { value, bytes },
                                      .headers = headers,
                                      .header_count = HEADERS };
    if (!use_raw)
        return broker_claim(broker, topic, e);
    rd_kafka_conf_t *conf = kafka_conf(&config, KAFKA_PRODUCER, NULL, e);
    if (!conf || !kafka_conf_transactional(conf, &config, topic, e))
        return false;
    raw = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
    raw_topic = rd_kafka_topic_new(raw, topic, NULL);
    return !rd_kafka_init_transactions(raw, BEGIN_MS) || err_set(e, "no transactions");
}

int main(int argc, char **argv)
{
    const char *kind = argc > 1 ? argv[1] : "claimed";
    struct err e = { "" };
    struct delays delays = { 0 };
    count = argc > 2 ? (size_t)strtol(argv[2], NULL, 10) : count;
    double seconds = argc > 3 ? strtod(argv[3], NULL) : 5;
    bytes = argc > 4 ? (size_t)strtol(argv[4], NULL, 10) : bytes;
    config.servers = getenv("AQUEDUCT_TEST_KAFKA");
    if (!config.servers || count < 1 || bytes > sizeof value) {
        fprintf(stderr, "AQUEDUCT_TEST_KAFKA=host:port %s raw|claimed [records] [seconds] [bytes]\n", argv[0]);
        return 2;
    }
    log_setup(LOG_ERROR, LOG_LOGFMT);
    memset(value, 'x', bytes);
    mailbox_open(&box, wake_fd = wake_new());
    bool use_raw = strcmp(kind, "raw") == 0;
    if (!set_up(use_raw, &e))
        return fprintf(stderr, "%s\n", e.text), 1;
    bool (*transaction)(void) = use_raw ? raw_transaction : claimed_transaction;
    for (int i = 0; i < 20; i++) /* warm */
        transaction();
    uint64_t stored = 0, refused = 0;
    double cpu = meter_cpu_s(0);
    int64_t began = clock_mono_us(), end = began + (int64_t)(seconds * 1e6);
    for (int64_t now = began, then; now < end; now = then) {
        *(transaction() ? &stored : &refused) += count;
        then = clock_mono_us();
        delays_add(&delays, then - now);
    }
    double took = (double)(clock_mono_us() - began) / 1e6;
    printf("{\"bench\":\"transactions\",\"kind\":\"%s\",\"records\":%zu,\"bytes\":%zu,\"refused\":%llu,\"rate\":%.0f,"
           "\"cpu_us\":%.2f,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n",
           kind, count, bytes, (unsigned long long)refused, (double)stored / took,
           (meter_cpu_s(0) - cpu) * 1e6 / (double)(stored ? stored : 1), delays_ms(&delays, 0.5),
           delays_ms(&delays, 0.99));
    if (raw) {
        rd_kafka_topic_destroy(raw_topic);
        rd_kafka_destroy(raw);
    }
    free(records);
    broker_close(broker);
    return 0;
}
