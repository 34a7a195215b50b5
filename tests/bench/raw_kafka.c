/* SPDX-License-Identifier: MIT */
/* librdkafka alone: a fixed number of records in flight, each delivery report sends the next one. The raw limit of the Kafka broker.
 *
 *   bench.raw_kafka SERVERS TOPIC [in flight] [seconds] [bytes]
 *
 * Prints one JSON object. CPU is this process only, librdkafka's threads included. */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"

enum { DELAYS = 1 << 16, STEP_US = 5 };

static rd_kafka_topic_t *topic;
static char *value;
static size_t bytes = 1024;
static int64_t end_us;
static uint64_t stored, failed, delays[DELAYS];

static double cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double delay_ms(double quantile)
{
    uint64_t sum = 0, rank = (uint64_t)((double)stored * quantile);
    for (size_t i = 0; i < DELAYS; i++)
        if ((sum += delays[i]) > rank)
            return (double)(i + 1) * STEP_US / 1000;
    return (double)DELAYS * STEP_US / 1000;
}

static void produce(void)
{
    void *sent = (void *)(intptr_t)clock_mono_us();
    CHECK(rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, value, bytes, NULL, 0, sent) == 0);
}

static void reported(rd_kafka_t *rk, const rd_kafka_message_t *m, void *ctx)
{
    (void)rk, (void)ctx;
    int64_t now = clock_mono_us(), step = (now - (int64_t)(intptr_t)m->_private) / STEP_US;
    delays[step < DELAYS ? step : DELAYS - 1]++;
    stored += !m->err;
    failed += m->err != 0;
    if (now < end_us)
        produce();
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *to)
{
    char why[256];
    if (rd_kafka_conf_set(conf, name, to, why, sizeof why) == RD_KAFKA_CONF_OK)
        return;
    fprintf(stderr, "%s\n", why);
    exit(1);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: bench.raw_kafka SERVERS TOPIC [in flight] [seconds] [bytes]\n");
        return 2;
    }
    int in_flight = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 64;
    double seconds = argc > 4 ? strtod(argv[4], NULL) : 5;
    bytes = argc > 5 ? strtoul(argv[5], NULL, 10) : bytes;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", argv[1]);
    set(conf, "enable.idempotence", "true");
    set(conf, "linger.ms", "0");
    rd_kafka_conf_set_dr_msg_cb(conf, reported);
    char why[256];
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    CHECK(rk);
    topic = rd_kafka_topic_new(rk, argv[2], NULL);
    value = mem_alloc(bytes);
    memset(value, 'x', bytes);

    produce();                          /* metadata, the connection and the producer's id are not measured */
    CHECK(rd_kafka_flush(rk, 30000) == 0 && !failed);
    stored = 0;
    memset(delays, 0, sizeof delays);
    double cpu = cpu_now();
    int64_t start_us = clock_mono_us();
    end_us = start_us + (int64_t)(seconds * 1e6);
    for (int i = 0; i < in_flight; i++)
        produce();
    while (clock_mono_us() < end_us)
        rd_kafka_poll(rk, 10);
    cpu = cpu_now() - cpu;
    double wall = (double)(clock_mono_us() - start_us) / 1e6;
    uint64_t count = stored;
    double p50 = delay_ms(0.5), p99 = delay_ms(0.99);
    rd_kafka_flush(rk, 30000);
    printf("{\"bench\":\"raw_kafka\",\"in_flight\":%d,\"bytes\":%zu,\"stored\":%llu,\"failed\":%llu,\"seconds\":%.2f,\"records_per_s\":%.0f,"
           "\"cpu_us_per_record\":%.2f,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n", in_flight, bytes, (unsigned long long)count,
           (unsigned long long)failed, wall, (double)count / wall, cpu / (double)count * 1e6, p50, p99);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(rk);
    free(value);
    return failed ? 1 : 0;
}
