/* SPDX-License-Identifier: MIT */
/* What a broker's configuration says of it before it is opened. */
#include "bridge/broker/broker.h"
#include <string.h>
#include "tests/support/test.h"

TEST(the_embedded_log_owns_its_folder)
{
    struct broker_facts f = broker_facts(&(struct broker_config){ .type = "local", .path = "./data" });
    assert_string_equal(f.own_folder, "./data");
    assert_false(f.may_be_away || f.is_shared || f.needs_servers);
}

TEST(in_memory_there_is_no_folder)
{
    assert_null(broker_facts(&(struct broker_config){ .type = "local", .path = ":memory:" }).own_folder);
}

TEST(a_cluster_is_shared_and_may_be_away)
{
    struct broker_facts f = broker_facts(&(struct broker_config){ .type = "kafka", .path = "./data" });
    assert_true(f.may_be_away && f.is_shared && f.needs_servers);
    assert_null(f.own_folder);
}

TEST(an_unknown_type_is_refused)
{
    struct err e = { "" };
    struct broker_config config = { .type = "carrier pigeon" };
    assert_null(broker_facts(&config).own_folder);
    assert_null(broker_open(&config, &e));
    assert_non_null(strstr(e.text, "\"carrier pigeon\" is not a type of broker"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_embedded_log_owns_its_folder),
        cmocka_unit_test(in_memory_there_is_no_folder),
        cmocka_unit_test(a_cluster_is_shared_and_may_be_away),
        cmocka_unit_test(an_unknown_type_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
