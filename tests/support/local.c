/* SPDX-License-Identifier: MIT */
/* The embedded broker in a folder. */
#include "tests/support/local.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "tests/support/outcomes.h"

char local_folder[FOLDER_BYTES];
struct broker *local_broker;
struct broker_config local_config;

int local_set_up(void **state)
{
    (void)state;
    folder_make(local_folder);
    local_config = (struct broker_config){ .type = BROKER_LOCAL, .path = local_folder };
    return 0;
}

int local_tear_down(void **state)
{
    (void)state;
    clock_real();
    local_close();
    folder_remove(local_folder);
    return 0;
}

void local_open(void)
{
    struct err e = { "" };
    local_broker = broker_open(&local_config, &e);
    if (!local_broker)
        fail_msg("broker_open: %s", e.text);
}

void local_close(void)
{
    broker_close(local_broker);
    local_broker = NULL;
}

bool local_refused(const char *part)
{
    struct err e = { "" };
    local_broker = broker_open(&local_config, &e);
    if (!local_broker && strstr(e.text, part))
        return true;
    print_error("wanted a refusal with \"%s\", got \"%s\"\n", part, local_broker ? "open" : e.text);
    return false;
}

void local_topic(const char *name, int64_t partitions, struct duration retention, struct bytes bytes)
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

/* ---- its files ---- */

const char *local_path(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", local_folder, name);
    return path;
}

long long local_size(const char *name)
{
    struct stat st;
    return stat(local_path(name), &st) == 0 ? (long long)st.st_size : -1;
}

void local_flip(const char *name, long long at)
{
    unsigned char byte;
    int fd = open(local_path(name), O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 16;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

long long local_find(const char *name, const char *bytes)
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

/* ---- its records ---- */

bool local_put(const char *topic, int32_t partition, struct str value, char *why)
{
    struct record r = { .topic = str_of(topic), .partition = partition, .value = value };
    return outcomes_publish(local_broker, (struct publication){ .records = &r, .record_count = 1 }, why);
}

bool local_put_number(const char *topic, int32_t partition, int n)
{
    char text[24];
    snprintf(text, sizeof text, "number-%d;", n);
    return local_put(topic, partition, str_of(text), NULL);
}

void local_put_numbers(const char *topic, int32_t partition, int from, int count)
{
    struct outcomes *o = outcomes_new();
    for (int i = 0; i < count; i++) {
        char text[24];
        snprintf(text, sizeof text, "number-%d;", from + i);
        struct record r = { .topic = str_of(topic), .partition = partition, .value = str_of(text) };
        broker_publish(local_broker,
                       &(struct publication){ .records = &r, .record_count = 1, .done = outcomes_count, .ctx = o });
    }
    outcomes_wait(o, count);
    assert_int_equal(o->stored, count);
    outcomes_free(o);
}

struct consumer *local_reader(const char *group, const char *topic)
{
    return local_renamed(group, NULL, topic);
}

struct consumer *local_renamed(const char *group, const char *formerly, const char *topic)
{
    static int wake_fd = -1;
    struct err e = { "" };
    if (wake_fd < 0)
        wake_fd = wake_new();
    struct consumer_options o = { .group = group,
                                  .topics = &topic,
                                  .topic_count = 1,
                                  .formerly = &formerly,
                                  .formerly_count = formerly ? 1 : 0,
                                  .from_start = true,
                                  .wake_fd = wake_fd };
    struct consumer *c = consumer_open(local_broker, &o, &e);
    if (!c)
        fail_msg("consumer_open: %s", e.text);
    return c;
}

static int local_number_of(const struct record *r)
{
    char text[24] = "";
    assert_true(r->value.n < sizeof text);
    memcpy(text, r->value.at, r->value.n);
    assert_true(str_starts(str_of(text), STR("number-")));
    return (int)strtol(text + strlen("number-"), NULL, 10);
}

void local_expect(struct consumer *c, int first, int count)
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

int local_until_error(struct consumer *c, struct err *e)
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
