/* SPDX-License-Identifier: MIT */
/* What a broker's configuration says of it before it is opened. */
#include "bridge/broker/broker.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/broker/chunks.h"
#include "tests/support/folder.h"
#include "tests/support/test.h"

TEST(the_embedded_log_owns_its_folder)
{
    struct broker_facts f = broker_facts(&(struct broker_config){ .type = BROKER_LOCAL, .path = "./data" });
    assert_string_equal(f.own_folder, "./data");
    assert_false(f.may_be_away || f.is_shared || f.needs_servers);
}

TEST(in_memory_there_is_no_folder)
{
    assert_null(broker_facts(&(struct broker_config){ .type = BROKER_LOCAL, .path = ":memory:" }).own_folder);
}

TEST(a_cluster_is_shared_and_may_be_away)
{
    struct broker_facts f = broker_facts(&(struct broker_config){ .type = BROKER_KAFKA, .path = "./data" });
    assert_true(f.may_be_away && f.is_shared && f.needs_servers);
    assert_null(f.own_folder);
}

TEST(every_type_has_its_table)
{
    const struct option *row = broker_options;
    while (strcmp(row->key, "type") != 0)
        row++;
    size_t n = 0;
    for (const struct option_value *v = row->values; v->text; v++, n++) {
        struct broker_config config = { .type = (enum broker_type)v->value, .path = "./data" };
        assert_string_equal(broker_facts(&config).type, v->text);
    }
    assert_int_equal(n, 2);
}

/* ---- check: nothing is opened, made or reached ---- */

static char folder[FOLDER_BYTES];

static int folder_set_up(void **state)
{
    (void)state;
    folder_make(folder);
    return 0;
}

static int folder_tear_down(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

static const char *below(const char *name)
{
    static char path[FOLDER_BYTES + 64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void expect_path(const char *path, const char *words)
{
    struct err e = { "" };
    bool fine = broker_check(&(struct broker_config){ .type = BROKER_LOCAL, .path = (char *)(uintptr_t)path }, &e);
    assert_int_equal(fine, !words);
    if (words) {
        assert_int_equal(strncmp(e.text, "broker.path: ", 13), 0);
        assert_says(e.text, words);
    }
}

TEST(the_folder_is_checked)
{
    FILE *f = fopen(below("file"), "we");
    assert_non_null(f);
    fclose(f);
    expect_path(":memory:", NULL);
    expect_path(folder, NULL);
    expect_path(below("data"), NULL);
    expect_path(below("data/"), NULL);
    expect_path("data", NULL);
    expect_path("", "is empty");
    expect_path("/no/such/folder", "the folder above it does not exist");
    expect_path(below("file"), "is not a folder");
    expect_path(below("file/x"), "is not a folder");
    assert_int_equal(access(below("data"), F_OK), -1);
    assert_int_equal(access(below("lock"), F_OK), -1);
}

/* Pairs of keys and values end with NULL; `words` NULL: nothing is wrong. */
static void expect_properties(const char *const *pairs, const char *words)
{
    struct err e = { "" };
    struct map_entry entries[8];
    struct broker_config config = { .type = BROKER_KAFKA, .servers = "127.0.0.1:9", .properties = { entries, 0 } };
    for (; *pairs; pairs += 2)
        entries[config.properties.count++] = (struct map_entry){ .key = (char *)(uintptr_t)pairs[0],
                                                                 .value = (char *)(uintptr_t)pairs[1] };
    if (broker_check(&config, &e) != !words || (words && !strstr(e.text, words)))
        fail_msg("wanted \"%s\", got \"%s\"", words ? words : "nothing", e.text);
}
#define EXPECT_PROPERTIES(words, ...) expect_properties((const char *const[]){ __VA_ARGS__, NULL }, words)

TEST(properties_are_checked)
{
    struct err e = { "" };
    assert_false(broker_check(&(struct broker_config){ .type = BROKER_KAFKA, .servers = "" }, &e));
    assert_says(e.text, "broker.servers: ");
    EXPECT_PROPERTIES(NULL, "linger.ms", "1", "fetch.wait.max.ms", "50");
    EXPECT_PROPERTIES("broker.properties.securty.protocol: librdkafka has no such property", "securty.protocol", "ssl");
    EXPECT_PROPERTIES("broker.properties.security.protocol: ", "security.protocol", "tls");
    EXPECT_PROPERTIES("broker.properties.fetch.wait.max.ms: ", "fetch.wait.max.ms", "never"); /* a consumer's */
    EXPECT_PROPERTIES("broker.properties.acks: ", "acks", "1");
    EXPECT_PROPERTIES("broker.properties.sasl.username: is missing, sasl.mechanism PLAIN needs it", "security.protocol",
                      "sasl_ssl", "sasl.mechanism", "PLAIN");
    EXPECT_PROPERTIES("broker.properties.sasl.password: is missing", "security.protocol", "SASL_PLAINTEXT",
                      "sasl.mechanisms", "SCRAM-SHA-256", "sasl.username", "u");
    EXPECT_PROPERTIES(NULL, "security.protocol", "sasl_plaintext", "sasl.mechanism", "PLAIN", "sasl.username", "u",
                      "sasl.password", "p");
}

/* What only librdkafka knows, which looks at all of them when a client is made. */
TEST(properties_that_do_not_go_together_are_not_taken)
{
    struct err e = { "" };
    struct map_entry entries[] = { { .key = (char[]){ "max.poll.interval.ms" }, .value = (char[]){ "7000" } } };
    struct broker_config config = { .type = BROKER_KAFKA,
                                    .servers = (char[]){ "127.0.0.1:9" },
                                    .session_timeout = { 6000 },
                                    .properties = { entries, 1 } };
    if (!broker_may_follow(&config, &e))
        fail_msg("%s", e.text);
    config.session_timeout.ms = 8000;
    assert_true(broker_check(&config, &e));
    assert_false(broker_may_follow(&config, &e));
    assert_says(e.text, "broker: no client can be made of it: `max.poll.interval.ms`");
    assert_true(broker_may_follow(&(struct broker_config){ .type = BROKER_LOCAL }, &e));
}

TEST(files_of_properties_are_checked)
{
    char key[FOLDER_BYTES + 64];
    snprintf(key, sizeof key, "%s", below("key.pem"));
    EXPECT_PROPERTIES("broker.properties.ssl.ca.location: /no/such.pem cannot be read: No such file", "ssl.ca.location",
                      "/no/such.pem");
    EXPECT_PROPERTIES("broker.properties.ssl.key.location: ", "ssl.key.location", key);
    FILE *f = fopen(key, "we");
    assert_non_null(f);
    fclose(f);
    chmod(key, 0644);
    EXPECT_PROPERTIES("broker.properties.ssl.key.location: all users of this machine can read", "ssl.key.location",
                      key);
    EXPECT_PROPERTIES(NULL, "ssl.ca.location", key);
    chmod(key, 0600);
    EXPECT_PROPERTIES(NULL, "ssl.key.location", key, "ssl.ca.location", "probe");
}

/* ---- chunks: what was just read of a log ---- */

static int chunk_records; /* that are there */

static void chunk_release(struct record *r)
{
    chunk_records--;
    free(r->share);
    free(r);
}

static struct record *chunk_record(int64_t offset, size_t bytes)
{
    static const char zeroes[4096];
    struct record *r = calloc(1, sizeof *r);
    assert_non_null(r);
    *r = (struct record){ .offset = offset, .value = { zeroes, bytes }, .release = chunk_release };
    r->share = calloc(1, sizeof *r->share);
    chunk_records++;
    return r;
}

static void chunk_put(struct chunks *c, const void *of, int64_t from, int64_t to, int64_t step, size_t bytes)
{
    struct record *records[64];
    size_t n = 0;
    for (int64_t offset = from; offset < to; offset += step)
        records[n++] = chunk_record(offset, bytes);
    chunks_put(c, of, from, to, records, n);
}

/* Takes; the offsets are first, first + step ... and the place is then `next`. */
static void chunk_expect(struct chunks *c, const void *of, int64_t at, int64_t until, size_t room, size_t bytes,
                         size_t count, int64_t step, int64_t next)
{
    struct record *out[64];
    int64_t place = at;
    assert_int_equal(chunks_take(c, of, &place, until, out, room, bytes), count);
    assert_int_equal(place, next);
    for (size_t i = 0; i < count; i++) {
        assert_true(i == 0 || out[i]->offset == out[i - 1]->offset + step);
        record_free(out[i]);
    }
}

TEST(one_reading_serves_readers_at_all_places_of_it)
{
    struct chunks *c = chunks_new(1 << 20);
    const int a = 0, b = 0;
    chunk_put(c, &a, 0, 20, 1, 100);
    chunk_put(c, &a, 20, 40, 2, 100); /* of every second offset there is none */
    chunk_put(c, &a, 40, 50, 20, 0);
    assert_int_equal(chunks_untaken(c), 3);
    chunk_expect(c, &a, 5, 1000, 4, SIZE_MAX, 4, 1, 9);
    assert_int_equal(chunks_untaken(c), 2);
    chunk_expect(c, &a, 9, 15, 64, SIZE_MAX, 6, 1, 15);
    chunk_expect(c, &a, 19, 1000, 1, SIZE_MAX, 1, 1, 20);
    chunk_expect(c, &a, 21, 30, 64, SIZE_MAX, 4, 2, 30);
    chunk_expect(c, &a, 41, 1000, 64, SIZE_MAX, 0, 1, 50); /* there is nothing, and that is known */
    chunk_expect(c, &a, 0, 1000, 64, 1, 1, 1, 1);          /* one is more than there is room for, and comes */
    chunk_expect(c, &a, 50, 1000, 64, SIZE_MAX, 0, 1, 50);
    chunk_expect(c, &b, 0, 1000, 64, SIZE_MAX, 0, 1, 0);
    chunks_forget(c, &a);
    chunk_expect(c, &a, 0, 1000, 64, SIZE_MAX, 0, 1, 0);
    assert_int_equal(chunk_records, 0);
    chunks_free(c);
}

TEST(what_was_read_long_ago_makes_room)
{
    struct chunks *c = chunks_new(64 << 10);
    const int a = 0;
    for (int64_t i = 0; i < 10; i++) {
        chunk_put(c, &a, i * 10, i * 10 + 10, 1, 1000);
        chunk_expect(c, &a, 0, 1, 1, SIZE_MAX, 1, 1, 1); /* the first one is used all the time */
    }
    chunk_expect(c, &a, 10, 11, 1, SIZE_MAX, 0, 1, 10);
    chunk_expect(c, &a, 90, 91, 1, SIZE_MAX, 1, 1, 91);
    assert_in_range(chunk_records, 30, 60);
    chunks_free(c);
    assert_int_equal(chunk_records, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_embedded_log_owns_its_folder),
        cmocka_unit_test(in_memory_there_is_no_folder),
        cmocka_unit_test(a_cluster_is_shared_and_may_be_away),
        cmocka_unit_test(every_type_has_its_table),
        cmocka_unit_test_setup_teardown(the_folder_is_checked, folder_set_up, folder_tear_down),
        cmocka_unit_test(properties_are_checked),
        cmocka_unit_test(properties_that_do_not_go_together_are_not_taken),
        cmocka_unit_test(one_reading_serves_readers_at_all_places_of_it),
        cmocka_unit_test(what_was_read_long_ago_makes_room),
        cmocka_unit_test_setup_teardown(files_of_properties_are_checked, folder_set_up, folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
