/* SPDX-License-Identifier: MIT */
/* What a broker's configuration says of it before it is opened. */
#include "bridge/broker/broker.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
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
        entries[config.properties.count++] = (struct map_entry){ (char *)(uintptr_t)pairs[0],
                                                                 (char *)(uintptr_t)pairs[1] };
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_embedded_log_owns_its_folder),
        cmocka_unit_test(in_memory_there_is_no_folder),
        cmocka_unit_test(a_cluster_is_shared_and_may_be_away),
        cmocka_unit_test(every_type_has_its_table),
        cmocka_unit_test_setup_teardown(the_folder_is_checked, folder_set_up, folder_tear_down),
        cmocka_unit_test(properties_are_checked),
        cmocka_unit_test_setup_teardown(files_of_properties_are_checked, folder_set_up, folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
