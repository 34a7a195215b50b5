/* SPDX-License-Identifier: MIT */
/* Small hands for tests of the embedded broker: a folder, a broker, publish and wait, read. In a header, so that
 * only its users link the broker. */
#pragma once
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/broker/broker.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "tests/support/test.h"

#define FOREVER                                                                                                        \
    (struct duration)                                                                                                  \
    {                                                                                                                  \
        0                                                                                                              \
    }
#define UNBOUNDED                                                                                                      \
    (struct bytes)                                                                                                     \
    {                                                                                                                  \
        0                                                                                                              \
    }

static char local_folder[64]; /* of the running test */
static struct broker *local_broker;
static struct broker_config local_config;

static inline void local_open(void)
{
    struct err e = { "" };
    local_broker = broker_open(&local_config, &e);
    if (!local_broker)
        fail_msg("broker_open: %s", e.text);
}

static inline void local_close(void)
{
    broker_close(local_broker);
    local_broker = NULL;
}

/* Makes the folder, opens nothing. */
static inline int local_set_up(void **state)
{
    (void)state;
    snprintf(local_folder, sizeof local_folder, "/tmp/aqueduct-local-XXXXXX");
    local_config = (struct broker_config){ .type = "local", .path = local_folder };
    return mkdtemp(local_folder) ? 0 : -1;
}

/* Closes what is open, removes the folder. */
static inline int local_tear_down(void **state)
{
    char command[96];
    (void)state;
    clock_real();
    local_close();
    snprintf(command, sizeof command, "rm -r %s", local_folder);
    return system(command);
}

/* Does opening fail with a message that contains `part`? */
static inline bool local_refused(const char *part)
{
    struct err e = { "" };
    local_broker = broker_open(&local_config, &e);
    if (!local_broker && strstr(e.text, part))
        return true;
    print_error("wanted a refusal with \"%s\", got \"%s\"\n", part, local_broker ? "open" : e.text);
    return false;
}

/* Of a file in the folder; overwritten by the next call. */
static inline const char *local_path(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", local_folder, name);
    return path;
}

/* -1: it is not there. */
static inline long long local_size(const char *name)
{
    struct stat st;
    return stat(local_path(name), &st) == 0 ? (long long)st.st_size : -1;
}

/* Changes one bit of that byte. */
static inline void local_flip(const char *name, long long at)
{
    unsigned char byte;
    int fd = open(local_path(name), O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 16;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* Where the bytes stand first, or -1. */
static inline long long local_find(const char *name, const char *bytes)
{
    long long n = local_size(name);
    assert_true(n > 0);
    char *all = mem_alloc((size_t)n);
    int fd = open(local_path(name), O_RDONLY);
    assert_int_equal(read(fd, all, (size_t)n), n);
    close(fd);
    const char *at = memmem(all, (size_t)n, bytes, strlen(bytes));
    long long found = at ? at - all : -1;
    free(all);
    return found;
}

static inline void local_topic(const char *name, int64_t partitions, struct duration retention, struct bytes bytes)
{
    struct err e = { "" };
    char copy[64];
    snprintf(copy, sizeof copy, "%s", name);
    struct topic_config t = {
        .name = copy, .partitions = partitions, .retention = retention, .retention_bytes = bytes
    };
    if (!broker_topic(local_broker, &t, &e))
        fail_msg("broker_topic: %s", e.text);
}

struct local_waiting {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int stored, refused;
    char why[WHY_BYTES];
};

static inline void local_note_done(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    struct local_waiting *w = ctx;
    (void)tag;
    pthread_mutex_lock(&w->lock);
    *(o == OUTCOME_STORED ? &w->stored : &w->refused) += 1;
    if (why)
        snprintf(w->why, sizeof w->why, "%s", why);
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static inline void local_wait_for(struct local_waiting *w, int count)
{
    pthread_mutex_lock(&w->lock);
    while (w->stored + w->refused < count)
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

static inline void local_send(struct local_waiting *w, const char *topic, int32_t partition, struct str value)
{
    struct record r = { .topic = str_of(topic), .partition = partition, .value = value };
    broker_publish(local_broker,
                   &(struct publication){ .records = &r, .record_count = 1, .done = local_note_done, .ctx = w });
}

/* Publishes one record and waits; true: stored. `why` (WHY_BYTES) may be NULL. */
static inline bool local_put(const char *topic, int32_t partition, struct str value, char *why)
{
    struct local_waiting w = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
    local_send(&w, topic, partition, value);
    local_wait_for(&w, 1);
    if (why)
        snprintf(why, sizeof w.why, "%s", w.why);
    return w.stored == 1;
}

static inline bool local_put_number(const char *topic, int32_t partition, int n)
{
    char text[24];
    snprintf(text, sizeof text, "number-%d;", n);
    return local_put(topic, partition, str_of(text), NULL);
}

static inline void local_put_numbers(const char *topic, int32_t partition, int from, int count)
{
    struct local_waiting w = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
    for (int i = 0; i < count; i++) {
        char text[24];
        snprintf(text, sizeof text, "number-%d;", from + i);
        local_send(&w, topic, partition, str_of(text));
    }
    local_wait_for(&w, count);
    assert_int_equal(w.stored, count);
}

static inline struct consumer *local_reader(const char *group, const char *topic)
{
    static int wake_fd = -1;
    struct err e = { "" };
    if (wake_fd < 0)
        wake_fd = wake_new();
    struct consumer_options o = {
        .group = group, .topics = &topic, .topic_count = 1, .from_start = true, .wake_fd = wake_fd
    };
    struct consumer *c = consumer_open(local_broker, &o, &e);
    if (!c)
        fail_msg("consumer_open: %s", e.text);
    return c;
}

static inline int local_number_of(const struct record *r)
{
    char text[24] = "";
    assert_true(r->value.n < sizeof text);
    memcpy(text, r->value.at, r->value.n);
    assert_true(str_starts(str_of(text), STR("number-")));
    return (int)strtol(text + strlen("number-"), NULL, 10);
}

/* The next `count` records are the numbers from `first` on. */
static inline void local_expect(struct consumer *c, int first, int count)
{
    struct record *out[64];
    struct err e = { "" };
    for (int seen = 0; seen < count;) {
        int n = consumer_poll(c, out, 64, &e);
        if (n < 0)
            fail_msg("consumer_poll: %s", e.text);
        if (n == 0)
            fail_msg("only %d of %d records", seen, count);
        for (int i = 0; i < n; i++) {
            assert_int_equal(local_number_of(out[i]), first + seen++);
            record_free(out[i]);
        }
        assert_true(seen <= count);
    }
}

/* Polls until it fails; how many records came before. */
static inline int local_until_error(struct consumer *c, struct err *e)
{
    struct record *out[64];
    int seen = 0;
    for (int tries = 0; tries < 1000; tries++) {
        int n = consumer_poll(c, out, 64, e);
        if (n < 0)
            return seen;
        for (int i = 0; i < n; i++)
            record_free(out[i]);
        seen += n;
    }
    fail_msg("no error came");
    return -1;
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, local_set_up, local_tear_down)
