/* SPDX-License-Identifier: MIT */
/* The embedded broker: damaged files, two owners, topics and groups. */
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "tests/support/local.h"
#include "tests/support/metric.h"

/* ---- damage: refused with a message that says what to do, and left as it is ---- */

TEST(a_changed_bit_of_a_record_is_found)
{
    struct err e = { "" };
    local_open();
    local_topic("t", 2, FOREVER, UNBOUNDED);
    local_put_numbers("t", 0, 0, 20);
    local_put_numbers("t", 1, 0, 5);
    local_close();
    local_flip("aqueduct.db", local_find("aqueduct.db", "number-7;"));
    clock_fake(1000000, 1700000000000);
    local_open();
    struct consumer *c = local_reader("g", "t");
    assert_in_range(local_until_error(c, &e), 7, 12); /* 7 of one partition, and what came of the other */
    assert_non_null(strstr(e.text, "t/"));
    assert_non_null(strstr(e.text, "@7: "));
    assert_non_null(strstr(e.text, "checksum"));
    clock_fake_advance(2000);
    local_until_error(c, &e); /* it stays there, it is never skipped */
    assert_non_null(strstr(e.text, "@7: "));
    clock_fake_advance(2000);
    local_put_numbers("t", 0, 20, 1);
    local_put_numbers("t", 1, 5, 1);
    local_until_error(c, &e);
    assert_non_null(strstr(e.text, "@7: "));
    consumer_close(c);
}

TEST(a_shorter_file_is_refused)
{
    local_open();
    local_topic("t", 1, FOREVER, UNBOUNDED);
    for (int i = 0; i < 40; i++)
        local_put_numbers("t", 0, i * 100, 100);
    local_close();
    long long full = local_size("aqueduct.db"),
              sizes[] = { 0, 1, 99, 512, 4095, 4096, 4097, 8192, full / 2, full - 4096, full - 1 };
    assert_true(full > 20 * 4096);
    assert_true(local_size("aqueduct.db-wal") <= 0);
    for (size_t i = sizeof sizes / sizeof sizes[0]; i-- > 0;) { /* from long to short */
        assert_int_equal(truncate(local_path("aqueduct.db"), sizes[i]), 0);
        assert_true(local_refused(local_path("aqueduct.db")));
        assert_int_equal(local_size("aqueduct.db"), sizes[i]);
    }
    assert_true(local_refused("0 bytes"));
}

static void write_file(const char *name, const char *bytes, size_t n)
{
    int fd = open(local_path(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
}

TEST(a_file_that_is_no_database_is_refused)
{
    char noise[20000];
    crypto_random(noise, sizeof noise);
    write_file("aqueduct.db", noise, sizeof noise);
    assert_true(local_refused("not a SQLite database"));
    assert_int_equal(local_size("aqueduct.db"), sizeof noise);
    write_file("aqueduct.db", "hello\n", 6);
    assert_true(local_refused("not a SQLite database"));
    assert_int_equal(unlink(local_path("aqueduct.db")), 0);
    assert_int_equal(mkdir(local_path("aqueduct.db"), 0700), 0);
    assert_true(local_refused("not a regular file"));
}

static void run_sql(const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(local_path("aqueduct.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

TEST(a_database_of_somebody_else_is_refused)
{
    run_sql("CREATE TABLE users(name)");
    assert_true(local_refused("another program"));
    run_sql("INSERT INTO users VALUES('still here')");
}

TEST(a_newer_format_is_refused)
{
    local_open();
    local_close();
    run_sql("PRAGMA user_version=3");
    assert_true(local_refused("format 3"));
    run_sql("PRAGMA user_version=2");
    local_open();
}

/* As the first release made it: position has three columns. */
static const char format_1[] =
    "PRAGMA page_size=4096; PRAGMA journal_mode=WAL;"
    "CREATE TABLE topic(name TEXT PRIMARY KEY, retention INTEGER NOT NULL, retention_bytes INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE partition(id INTEGER PRIMARY KEY, topic TEXT NOT NULL, number INTEGER NOT NULL,"
    " base INTEGER NOT NULL DEFAULT 0, base_bytes INTEGER NOT NULL DEFAULT 0, UNIQUE(topic, number));"
    "CREATE TABLE position(grp TEXT, part INTEGER, next INTEGER NOT NULL, PRIMARY KEY(grp, part)) WITHOUT ROWID;"
    "CREATE TABLE state(source TEXT, key BLOB, value BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY(source, key)) WITHOUT ROWID;"
    "CREATE TABLE probe(filler BLOB);"
    "CREATE TABLE log_1(offset INTEGER PRIMARY KEY, stored INTEGER NOT NULL, bytes INTEGER NOT NULL, record BLOB NOT NULL);"
    "INSERT INTO topic VALUES('t', 0, 0);"
    "INSERT INTO partition VALUES(1, 't', 0, 0, 0);"
    "INSERT INTO log_1 VALUES"
    "(0, 1700000000000, 24, x'01020068e5cf8b010000006e756d6265722d303bae446a73'),"
    "(1, 1700000000000, 48, x'01020068e5cf8b010000006e756d6265722d313bde635032'),"
    "(2, 1700000000000, 72, x'01020068e5cf8b010000006e756d6265722d323b4e0a1ef1');"
    "INSERT INTO position VALUES('g', 1, 2);"
    "PRAGMA application_id=1097946468; PRAGMA user_version=1;";

TEST(a_file_of_the_first_format_is_taken_over)
{
    run_sql(format_1);
    for (int i = 0; i < 2; i++) { /* once, and then it is one of ours */
        local_open();
        struct consumer *c = local_reader("g", "t");
        local_expect(c, 2, 1);
        consumer_close(c);
        local_close();
    }
    local_open();
    struct ranges beyond = { 0 };
    local_put_numbers("t", 0, 3, 5);
    struct consumer *c = local_reader("g", "t");
    local_expect(c, 2, 6);
    ranges_add(&beyond, 3, 8);
    consumer_commit(c, (struct topic_partition){ "t", 0 }, 2, &beyond);
    ranges_free(&beyond);
    consumer_close(c);
    local_close();
    local_open();
    c = local_reader("g", "t");
    local_expect(c, 2, 1);
    consumer_close(c);
}

static uint64_t identity_of(const char *topic)
{
    struct err e = { "" };
    uint64_t identity = 0;
    struct log *l = broker_log(local_broker, &(struct log_options){ .wake_fd = -1 }, &e);
    assert_true(l->ops->identity(l, topic, &identity));
    broker_log_close(local_broker, l);
    return identity;
}

TEST(a_file_of_today_gets_an_identity_once)
{
    run_sql(format_1);
    local_open();
    uint64_t identity = identity_of("t");
    local_close();
    local_open();
    assert_true(identity_of("t") == identity);
    local_close();
    unlink(local_path("aqueduct.db"));
    run_sql(format_1);
    local_open();
    assert_true(identity_of("t") != identity);
}

TEST(a_finished_set_that_cannot_be_is_not_believed)
{
    static const char *const blobs[] = {
        "x''", "x'00'", "'text'", "x'019c661b93030101'", "x'01124d85ac000164'", "zeroblob(100000)"
    };
    for (size_t i = 0; i < sizeof blobs / sizeof *blobs; i++) {
        char sql[200];
        local_open();
        if (i == 0)
            local_put_numbers("t", 0, 0, 5);
        local_close();
        snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO position VALUES('g', 1, 0, %s)", blobs[i]);
        run_sql(sql);
        local_open();
        struct consumer *c = local_reader("g", "t");
        local_expect(c, 0, 5);
        consumer_close(c);
        local_close();
    }
    local_open();
}

TEST(rows_that_vanished_are_noticed)
{
    struct err e = { "" };
    local_open();
    local_topic("t", 1, FOREVER, UNBOUNDED);
    local_put_numbers("t", 0, 0, 10);
    local_close();
    run_sql("DELETE FROM log_1 WHERE offset=4");
    local_open();
    struct consumer *c = local_reader("g", "t");
    assert_int_equal(local_until_error(c, &e), 4);
    assert_non_null(strstr(e.text, "t/0@4: the record cannot be read"));
    assert_non_null(strstr(e.text, "missing"));
    consumer_close(c);
    local_close();
    run_sql("DELETE FROM log_1 WHERE offset<4");
    assert_true(local_refused("t/0 begins at offset 5 instead of 0"));
}

static bool no_pair(void *ctx, struct str key, struct str value, bool ahead, struct err *e)
{
    (void)ctx, (void)key, (void)value, (void)ahead, (void)e;
    fail_msg("a damaged pair was handed out");
    return true;
}

static void note_stored(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    (void)tag, (void)why;
    *(enum outcome *)ctx = o;
}

TEST(changed_state_is_found)
{
    struct err e = { "" };
    enum outcome o = 0;
    struct change c = { STR("cursor"), STR("position-4711"), false };
    local_open();
    broker_publish(local_broker,
                   &(struct publication){
                       .state_of = "src", .changes = &c, .change_count = 1, .done = note_stored, .ctx = &o });
    assert_true(broker_flush(local_broker, (struct duration){ 10000 }));
    assert_int_equal(o, OUTCOME_STORED);
    local_close();
    local_flip("aqueduct.db", local_find("aqueduct.db", "position-4711") + 10);
    local_open();
    assert_false(broker_state(local_broker, "src", no_pair, NULL, &e));
    assert_non_null(strstr(e.text, "checksum of key \"cursor\""));
}

/* ---- the folder ---- */

TEST(only_one_owner)
{
    char who[64];
    struct err e = { "" };
    local_open();
    snprintf(who, sizeof who, "is in use by process %d", (int)getpid());
    assert_null(broker_open(&local_config, &e));
    assert_non_null(strstr(e.text, who));
    local_close();
    local_open();
}

TEST(the_folder_is_made_when_there_is_a_place_for_it)
{
    char deep[96];
    snprintf(deep, sizeof deep, "%s/data", local_folder);
    local_config.path = deep;
    local_open();
    local_close();
    snprintf(deep, sizeof deep, "%s/no/such/data", local_folder);
    assert_true(local_refused("the folder above it does not exist"));
    write_file("file", "x", 1);
    snprintf(deep, sizeof deep, "%s/file", local_folder);
    assert_true(local_refused("is not a folder"));
    local_config.path = "";
    assert_true(local_refused("is empty"));
}

TEST(bad_topics_are_refused)
{
    struct err e = { "" };
    char why[WHY_BYTES], longest[252];
    memset(longest, 'x', sizeof longest - 1);
    longest[251] = '\0';
    char *bad[] = { "", "a b", "a/b", "..", "\xc3\xa9", "x'; DROP TABLE topic; --", longest };
    local_open();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(broker_topic(local_broker, &(struct topic_config){ .name = bad[i], .partitions = 1 }, &e));
        assert_false(local_put(bad[i], -1, STR("x"), why));
        assert_non_null(strstr(why, "not a name"));
    }
    assert_false(broker_topic(local_broker, &(struct topic_config){ .name = "t", .partitions = -1 }, &e));
    assert_false(broker_topic(local_broker, &(struct topic_config){ .name = "t", .partitions = 1025 }, &e));
    assert_true(local_put("good", -1, STR("x"), why));
}

TEST(a_bad_record_does_not_hurt_its_neighbours)
{
    local_open();
    local_topic("t", 1, FOREVER, UNBOUNDED);
    assert_false(local_put("t", 5, STR("x"), NULL));
    local_put_numbers("t", 0, 0, 3);
    char *big = mem_alloc(17 << 20), why[WHY_BYTES];
    assert_false(local_put("t", 0, (struct str){ big, 17 << 20 }, why));
    assert_non_null(strstr(why, "more than the log takes"));
    assert_true(local_put("u", 0, (struct str){ big, 15 << 20 }, why));
    free(big);
    struct consumer *c = local_reader("g", "t");
    local_expect(c, 0, 3);
    consumer_close(c);
}

TEST(records_without_a_key_are_spread)
{
    local_open();
    local_topic("t", 4, FOREVER, UNBOUNDED);
    local_put_numbers("t", -1, 0, 40);
    struct consumer *c = local_reader("g", "t");
    struct record *out[64];
    struct err e;
    int per[4] = { 0 };
    assert_int_equal(consumer_poll(c, out, 64, &e), 40);
    for (int i = 0; i < 40; i++) {
        per[out[i]->partition]++;
        record_free(out[i]);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(per[i], 10);
    consumer_close(c);
}

/* ---- groups ---- */

TEST(a_group_has_one_consumer)
{
    struct err e = { "" };
    const char *t = "t";
    local_open();
    struct consumer *c = local_reader("g", "t");
    assert_null(consumer_open(local_broker,
                              &(struct consumer_options){ .group = "g", .topics = &t, .topic_count = 1, .wake_fd = -1 },
                              &e));
    assert_non_null(strstr(e.text, "group g"));
    consumer_close(c);
    consumer_close(local_reader("g", "t"));
}

TEST(the_end_where_a_group_began_is_remembered)
{
    struct err e = { "" };
    const char *t = "t";
    struct consumer_options o = { .group = "g", .topics = &t, .topic_count = 1, .wake_fd = wake_new() };
    local_open();
    local_put_numbers("t", 0, 0, 10);
    struct consumer *c = consumer_open(local_broker, &o, &e);
    consumer_close(c); /* ends before it commits anything */
    local_put_numbers("t", 0, 10, 5);
    local_close();
    local_open();
    c = consumer_open(local_broker, &o, &e);
    local_expect(c, 10, 5);
    consumer_commit(c, (struct topic_partition){ t, 0 }, 12, NULL);
    consumer_commit(c, (struct topic_partition){ t, 0 }, 11, NULL); /* never backwards */
    consumer_close(c);
    c = consumer_open(local_broker, &o, &e);
    local_expect(c, 12, 3);
    consumer_close(c);
    close(o.wake_fd);
}

TEST(a_position_behind_the_end_is_damage)
{
    struct err e = { "" };
    const char *t = "t";
    local_open();
    local_put_numbers("t", 0, 0, 3);
    local_close();
    run_sql("INSERT INTO position(grp, part, next) VALUES('g', 1, 4)");
    local_open();
    assert_null(consumer_open(local_broker,
                              &(struct consumer_options){ .group = "g", .topics = &t, .topic_count = 1, .wake_fd = -1 },
                              &e));
    assert_non_null(strstr(e.text, "t/0"));
    assert_non_null(strstr(e.text, "ends at 3"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOCAL_TEST(a_changed_bit_of_a_record_is_found),
        LOCAL_TEST(a_shorter_file_is_refused),
        LOCAL_TEST(a_file_that_is_no_database_is_refused),
        LOCAL_TEST(a_database_of_somebody_else_is_refused),
        LOCAL_TEST(a_newer_format_is_refused),
        LOCAL_TEST(a_file_of_the_first_format_is_taken_over),
        LOCAL_TEST(a_file_of_today_gets_an_identity_once),
        LOCAL_TEST(a_finished_set_that_cannot_be_is_not_believed),
        LOCAL_TEST(rows_that_vanished_are_noticed),
        LOCAL_TEST(changed_state_is_found),
        LOCAL_TEST(only_one_owner),
        LOCAL_TEST(the_folder_is_made_when_there_is_a_place_for_it),
        LOCAL_TEST(bad_topics_are_refused),
        LOCAL_TEST(a_bad_record_does_not_hurt_its_neighbours),
        LOCAL_TEST(records_without_a_key_are_spread),
        LOCAL_TEST(a_group_has_one_consumer),
        LOCAL_TEST(the_end_where_a_group_began_is_remembered),
        LOCAL_TEST(a_position_behind_the_end_is_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
