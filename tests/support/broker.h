/* SPDX-License-Identifier: MIT */
/* The broker that the contract's tests are played on, whichever it is, and short words for what they do with it.
 *
 *     const char *t = topic(0, 3);
 *     put_numbers(t, 0, 0, 10);
 *     struct reader *in = read_all(fresh(1), t);
 *     reader_wait(in, 10);
 *
 * A test's main() is `return broker_play(tests, count)`: they run on `local` in memory and in a file, and on the Kafka that
 * AQUEDUCT_TEST_KAFKA=host:port names; AQUEDUCT_TEST_BROKER=local|kafka chooses. */
#pragma once
#include "bridge/broker/broker.h"
#include "tests/support/outcomes.h"
#include "tests/support/test.h"

enum { PATIENCE_MS = 60000, MOST = OUTCOMES_MOST };

extern struct broker *broker;
extern bool survives;     /* its records are still there after broker_close */
extern char names[8][96]; /* topics and groups of the running test, new for every test */

int broker_begin(void **state);
int broker_end(void **state);
#define BROKER_TEST(f) cmocka_unit_test_setup_teardown(f, broker_begin, broker_end)
int broker_play(const struct CMUnitTest *tests, size_t count);

void restart(void);
const char *fresh(size_t i);                     /* a name that no other test and no other run used */
const char *topic(size_t i, int64_t partitions); /* a new one */

bool groups_outside(const char *prefix, const struct group_seen *seen, struct err *e); /* broker_groups_outside */
/* look_open of this broker; NULL with *e. */
struct look *look_at(const struct look_options *o, struct err *e);

/* ---- publishing ---- */

bool publish(struct publication p); /* and waits: was it stored? */
struct record record_of(const char *t, int32_t partition, const char *key, const char *value);
void put(const char *t, int32_t partition, const char *key, const char *value);
/* Publishes `count` records with the values from, from + 1 ... in order, without waiting for one before the next. */
void put_numbers(const char *t, int32_t partition, int from, int count);

/* What is before that offset goes, as retention takes it. */
void remove_before(const char *t, int32_t partition, int64_t offset);

/* ---- consuming ---- */

struct reader {
    struct consumer *c;
    int wake_fd;
    struct record *got[MOST];
    size_t count;
};

struct reader *reader_open(const char *group, const char *const *topics, size_t topic_count, bool from_start);
struct reader *read_all(const char *group, const char *t); /* of one topic, from its start */
/* The same for a group that had another name before. */
struct reader *read_renamed(const char *group, const char *formerly, const char *t, bool from_start);
void reader_forget(struct reader *r);
void reader_close(struct reader *r);
size_t reader_poll(struct reader *r, size_t room);
/* Polls until `count` records are there (more may come with them), as the delivery does: sleep on the wake fd. */
void reader_wait(struct reader *r, size_t count);
/* Polls a while to see that nothing comes. A record that comes later than this is missed: the check can only be too
 * kind. */
void reader_expect_silence(struct reader *r);

int number_of(const struct record *r);
void assert_text(struct str got, const char *want); /* NULL: it is absent */
void assert_offsets_rise(const struct reader *r);   /* those of each partition */
