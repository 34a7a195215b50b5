/* SPDX-License-Identifier: MIT */
/* What a broker's configuration says of it before it is opened. */
#include "bridge/broker/broker.h"
#include <string.h>
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_embedded_log_owns_its_folder),
        cmocka_unit_test(in_memory_there_is_no_folder),
        cmocka_unit_test(a_cluster_is_shared_and_may_be_away),
        cmocka_unit_test(every_type_has_its_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
