/* SPDX-License-Identifier: MIT */
/* The embedded broker: publish and acknowledge, and its raw limits: plain SQLite inserting the same bytes in groups of
 * the same size, and a file that only grows, in the same run.
 *
 *   bench.local [in flight] [seconds] [bytes] [threads] [folder]
 *
 * Prints one JSON object. CPU is the whole process: publishers, writer and, in the last part, a reader. */
#include <fcntl.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/broker/broker.h"
#include "bridge/lib/metrics.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "meter.h"
#include "tests/support/folder.h"

extern struct metric_family aqueduct_broker_commits_total;

enum { THREADS_MAX = 64, LATENCIES = 1 << 22 };

static int in_flight = 64, threads = 4;
static double seconds = 3;
static size_t bytes = 1024;
static char folder[256] = "/tmp/aqueduct-bench-XXXXXX";
static char *value;
static uint32_t *latency_us; /* of each record, in the order of the outcomes */
static size_t done_count;    /* the writer's alone */

struct publisher {
    pthread_t thread;
    struct mailbox box;
    struct broker *b;
    int64_t until_us;
};

struct figures {
    double rate, cpu_us, p50_ms, p99_ms;
};

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static struct figures figures_of(size_t records, double wall, double cpu, size_t samples)
{
    struct figures f = { .rate = (double)records / wall, .cpu_us = cpu * 1e6 / (double)records };
    qsort(latency_us, samples, sizeof *latency_us, by_size);
    if (samples) {
        f.p50_ms = latency_us[samples / 2] / 1e3;
        f.p99_ms = latency_us[samples * 99 / 100] / 1e3;
    }
    return f;
}

/* ---- the broker ---- */

static void note_done(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    struct publisher *p = ctx;
    if (o != OUTCOME_STORED)
        fprintf(stderr, "refused: %s\n", why);
    CHECK(o == OUTCOME_STORED);
    if (done_count < LATENCIES)
        latency_us[done_count] = (uint32_t)((uint64_t)clock_mono_us() - tag);
    done_count++;
    mailbox_put(&p->box, tag, (int32_t)o, NULL);
}

static void *publish(void *arg)
{
    struct publisher *p = arg;
    struct header headers[] = { { STR("ce_specversion"), STR("1.0") },
                                { STR("ce_id"), STR("4dfcd8dc-11c3-5e7c-9d50-4f0b3b3a3f2a") },
                                { STR("ce_type"), STR("chat.response.generated") },
                                { STR("ce_source"), STR("/sqlite/anythingllm") } };
    struct record r = {
        .topic = STR("bench"), .partition = -1, .value = { value, bytes }, .headers = headers, .header_count = 4
    };
    struct notice notices[256];
    struct pollfd wake = { .fd = p->box.wake_fd, .events = POLLIN };
    size_t room = (size_t)(in_flight / threads);
    for (int64_t now = clock_mono_us(); now < p->until_us; now = clock_mono_us()) {
        for (; room; room--)
            broker_publish(p->b,
                           &(struct publication){
                               .records = &r, .record_count = 1, .done = note_done, .ctx = p, .tag = (uint64_t)now });
        poll(&wake, 1, 1000);
        wake_clear(wake.fd);
        for (size_t n; (n = mailbox_take(&p->box, notices, 256)) > 0;)
            room += n;
    }
    return NULL;
}

static struct figures bench_publish(struct broker *b)
{
    struct publisher p[THREADS_MAX];
    int64_t began = clock_mono_us();
    double cpu = meter_cpu_s(0);
    for (int i = 0; i < threads; i++) {
        p[i] = (struct publisher){ .b = b, .until_us = began + (int64_t)(seconds * 1e6) };
        mailbox_open(&p[i].box, wake_new());
        CHECK(pthread_create(&p[i].thread, NULL, publish, &p[i]) == 0);
    }
    for (int i = 0; i < threads; i++)
        pthread_join(p[i].thread, NULL);
    CHECK(broker_flush(b, (struct duration){ 60000 }));
    double wall = (double)(clock_mono_us() - began) / 1e6;
    return figures_of(done_count, wall, meter_cpu_s(0) - cpu, done_count < LATENCIES ? done_count : LATENCIES);
}

static struct figures bench_read(struct broker *b)
{
    struct record *out[256];
    struct err e = { "" };
    const char *topic = "bench";
    struct consumer_options o = {
        .group = "bench", .topics = &topic, .topic_count = 1, .from_start = true, .wake_fd = wake_new()
    };
    struct consumer *c = consumer_open(b, &o, &e);
    CHECK(c);
    size_t records = 0;
    int64_t began = clock_mono_us();
    double cpu = meter_cpu_s(0);
    for (int n; (n = consumer_poll(c, out, 256, &e)) > 0; records += (size_t)n)
        for (int i = 0; i < n; i++)
            record_free(out[i]);
    double wall = (double)(clock_mono_us() - began) / 1e6;
    cpu = meter_cpu_s(0) - cpu;
    consumer_close(c);
    CHECK(records == done_count);
    return figures_of(records, wall, cpu, 0);
}

/* ---- plain SQLite ---- */

static void run_sql(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(db));
}

static struct figures bench_raw(int batch)
{
    sqlite3 *db;
    sqlite3_stmt *insert;
    char file[300];
    snprintf(file, sizeof file, "%s/raw.db", folder);
    CHECK(sqlite3_open_v2(file, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL)
          == SQLITE_OK);
    run_sql(
        db,
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=1000; CREATE TABLE log(offset INTEGER PRIMARY KEY, record BLOB)");
    CHECK(sqlite3_prepare_v2(db, "INSERT INTO log(record) VALUES(?1)", -1, &insert, NULL) == SQLITE_OK);
    size_t records = 0, samples = 0;
    int64_t began = clock_mono_us(), until = began + (int64_t)(seconds * 1e6), now = began;
    double cpu = meter_cpu_s(0);
    while (now < until) {
        int64_t group = now;
        run_sql(db, "BEGIN");
        for (int i = 0; i < batch; i++) {
            sqlite3_bind_blob(insert, 1, value, (int)bytes, SQLITE_STATIC);
            sqlite3_step(insert);
            sqlite3_reset(insert);
        }
        run_sql(db, "COMMIT");
        records += (size_t)batch;
        now = clock_mono_us();
        if (samples < LATENCIES)
            latency_us[samples++] = (uint32_t)(now - group);
    }
    double wall = (double)(now - began) / 1e6;
    cpu = meter_cpu_s(0) - cpu;
    sqlite3_finalize(insert);
    sqlite3_close(db);
    return figures_of(records, wall, cpu, samples);
}

/* ---- a file that only grows ---- */

enum { SEGMENT_STEP = 64 << 20 }; /* bytes that are reserved ahead, so that a sync writes no metadata */

/* What a log of segment files could cost at best: one write and one sync per group. */
static struct figures bench_append(int batch)
{
    char file[300];
    snprintf(file, sizeof file, "%s/append", folder);
    int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    size_t group_bytes = (size_t)batch * bytes, records = 0, samples = 0;
    char *group = mem_alloc(group_bytes);
    CHECK(fd >= 0);
    off_t at = 0, reserved = 0;
    int64_t began = clock_mono_us(), until = began + (int64_t)(seconds * 1e6), now = began;
    double cpu = meter_cpu_s(0);
    while (now < until) {
        int64_t group_began = now;
        if (at + (off_t)group_bytes > reserved)
            CHECK(posix_fallocate(fd, reserved, SEGMENT_STEP) == 0);
        if (at + (off_t)group_bytes > reserved)
            reserved += SEGMENT_STEP;
        for (int i = 0; i < batch; i++)
            memcpy(group + (size_t)i * bytes, value, bytes);
        CHECK(pwrite(fd, group, group_bytes, at) == (ssize_t)group_bytes && fdatasync(fd) == 0);
        at += (off_t)group_bytes;
        records += (size_t)batch;
        now = clock_mono_us();
        if (samples < LATENCIES)
            latency_us[samples++] = (uint32_t)(now - group_began);
    }
    double wall = (double)(now - began) / 1e6;
    cpu = meter_cpu_s(0) - cpu;
    close(fd);
    free(group);
    return figures_of(records, wall, cpu, samples);
}

static void print(const char *name, struct figures f, const char *end)
{
    printf("\"%s\": {\"records_per_s\": %.0f, \"cpu_us\": %.2f, \"p50_ms\": %.2f, \"p99_ms\": %.2f}%s", name, f.rate,
           f.cpu_us, f.p50_ms, f.p99_ms, end);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        in_flight = (int)strtol(argv[1], NULL, 10);
    if (argc > 2)
        seconds = strtod(argv[2], NULL);
    if (argc > 3)
        bytes = (size_t)strtol(argv[3], NULL, 10);
    if (argc > 4)
        threads = (int)strtol(argv[4], NULL, 10);
    if (argc > 5)
        snprintf(folder, sizeof folder, "%s/aqueduct-bench-XXXXXX", argv[5]);
    CHECK(threads > 0 && threads <= THREADS_MAX && in_flight >= threads && bytes < (1 << 20) && mkdtemp(folder));
    struct err e = { "" };
    struct broker_config config = { .type = BROKER_LOCAL, .path = folder };
    struct broker *b = broker_open(&config, &e);
    CHECK(b);
    value = mem_alloc(bytes);
    latency_us = mem_alloc(LATENCIES * sizeof *latency_us);
    struct figures published = bench_publish(b);
    int64_t commits = metric_value(metric_get(&aqueduct_broker_commits_total, NULL));
    int batch = (int)((int64_t)done_count / (commits ? commits : 1));
    struct figures read = bench_read(b);
    broker_close(b);
    struct figures raw = bench_raw(batch ? batch : 1);
    struct figures append = bench_append(batch ? batch : 1);
    printf("{\"bench\": \"local\", \"in_flight\": %d, \"threads\": %d, \"bytes\": %zu, \"records_per_commit\": %d, ",
           in_flight, threads, bytes, batch);
    print("broker", published, ", ");
    print("raw", raw, ", ");
    print("append", append, ", ");
    print("read", read, ", ");
    printf("\"cpu_ratio\": %.2f, \"rate_ratio\": %.2f}\n", published.cpu_us / raw.cpu_us, published.rate / raw.rate);
    folder_remove(folder);
    return 0;
}
