/* SPDX-License-Identifier: MIT */
/* The option tables of the whole program: complete, without clashes, and the schema made from them is the one that
 * is kept. */
#include <stdlib.h>
#include "bridge/config/private.h"
#include "bridge/lib/mem.h"
#include "connectors/connectors.h"
#include "tests/support/test.h"

static void check_rows(const char *what, const struct option *rows)
{
    for (const struct option *row = rows; row->key; row++) {
        if (!row->doc || !*row->doc)
            fail_msg("%s.%s has no documentation", what, row->key);
        for (const struct option *other = rows; other < row; other++)
            if (strcmp(other->key, row->key) == 0)
                fail_msg("%s.%s is there twice", what, row->key);
        if (row->type == OPT_LIST || row->type == OPT_GROUP)
            check_rows(row->key, row->of);
    }
}

static void no_clash(const char *what, const struct option *own, const struct option *core)
{
    for (const struct option *row = own; row->key; row++)
        for (const struct option *other = core; other->key; other++)
            if (strcmp(other->key, row->key) == 0 || strcmp(row->key, "type") == 0)
                fail_msg("%s.%s is a key of the core", what, row->key);
}

TEST(test_tables)
{
    check_rows("config", config_options);
    check_rows("topics", topic_options);
    check_rows("source", source_options);
    check_rows("sink", sink_options);
    for (size_t i = 0; connectors.sources[i]; i++) {
        check_rows(connectors.sources[i]->type, connectors.sources[i]->options);
        no_clash(connectors.sources[i]->type, connectors.sources[i]->options, source_options);
    }
    for (size_t i = 0; connectors.sinks[i]; i++) {
        check_rows(connectors.sinks[i]->type, connectors.sinks[i]->options);
        no_clash(connectors.sinks[i]->type, connectors.sinks[i]->options, sink_options);
    }
}

/* Every default must pass its own row; fill_mapping aborts otherwise. */
TEST(test_defaults_fit)
{
    struct arena a = { 0 };
    struct problems none = { 0 };
    struct fill f = { &a, &none, NULL };
    for (size_t i = 0; connectors.sources[i]; i++)
        fill_mapping(&f, NULL,
                     &(struct fill_target){ connectors.sources[i]->options,
                                            arena_alloc(&a, connectors.sources[i]->size), NULL },
                     1, NULL, NULL);
    for (size_t i = 0; connectors.sinks[i]; i++)
        fill_mapping(&f, NULL,
                     &(struct fill_target){ connectors.sinks[i]->options, arena_alloc(&a, connectors.sinks[i]->size),
                                            NULL },
                     1, NULL, NULL);
    assert_int_equal(none.count, 0);
    arena_free(&a);
}

TEST(test_schema_is_fresh)
{
    char *made = NULL, *kept = NULL;
    size_t n = 0, room = 0;
    FILE *out = open_memstream(&made, &n);
    config_schema(&connectors, out);
    fclose(out);
    FILE *in = fopen(SCHEMAS_DIR "/config.schema.json", "re");
    ssize_t read = in ? getdelim(&kept, &room, '\0', in) : -1;
    if (in)
        fclose(in);
    bool fresh = read == (ssize_t)n && memcmp(made, kept, n) == 0;
    free(made);
    free(kept);
    if (!fresh)
        fail_msg("schemas/config.schema.json is stale; renew it: aqueduct schema > schemas/config.schema.json");
}

TEST(test_help_about_everything)
{
    for (const char *const *name = config_help_names(&connectors); *name; name++) {
        char *text = NULL;
        size_t n = 0;
        FILE *out = open_memstream(&text, &n);
        bool found = config_help(&connectors, *name, out);
        fclose(out);
        if (!found)
            fail_msg("there is no help about %s", *name);
        free(text);
    }
    assert_false(config_help(&connectors, "nothing", stderr));
}

/* What check refuses of the core's options is in no help and no schema of that type. */
TEST(test_options_without_use_are_not_offered)
{
    for (size_t i = 0; connectors.sinks[i]; i++) {
        const struct sink_ops *ops = connectors.sinks[i];
        const struct connector_type t = {
            .type = ops->type, .broadcast = ops->broadcast, .copies = ops->copies, .dead_letters = ops->dead_letters
        };
        for (const struct option *row = sink_options; row->key; row++) {
            char *text = NULL;
            size_t n = 0;
            FILE *out = open_memstream(&text, &n);
            bool offered = config_help_option(&connectors, ops->type, row->key, out);
            fclose(out);
            assert_int_equal(offered, sections_no_use(&t, row->key) == NULL);
            free(text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_defaults_fit),
        cmocka_unit_test(test_schema_is_fresh),
        cmocka_unit_test(test_help_about_everything),
        cmocka_unit_test(test_options_without_use_are_not_offered),
    };
    return cmocka_run_group_tests_name("schema", tests, NULL, NULL);
}
