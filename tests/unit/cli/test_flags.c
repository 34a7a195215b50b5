/* SPDX-License-Identifier: MIT */
/* The parser of flags: what goes into which field, what is refused and how that is said. */
#include <stdlib.h>
#include "bridge/cli/flags.h"
#include "tests/support/test.h"

struct shown {
    bool loud;
    int64_t times;
    struct str name, colour;
};
static const struct flag rows[] = {
    FLAG(struct shown, loud, .name = "--loud", .letter = "-l", .doc = "in capitals"),
    FLAG(struct shown, times, .name = "--times", .letter = "-n", .value = "N", .min = 1, .max = 9, .doc = "how often"),
    FLAG(struct shown, name, .name = "--name", .value = "NAME", .group = "", .doc = "whom"),
    FLAG(struct shown, colour, .name = "--colour", .value = "COLOUR", .choices = "red|blue", .doc = "red or blue"),
    { 0 },
};
struct common {
    struct strings files;
};
static const struct flag common_rows[] = {
    FLAG(struct common, files, .name = "--file", .letter = "-f", .value = "FILE", .doc = "may be repeated"),
    { 0 },
};

static struct shown got;
static struct common common;
static struct err error;
static char line[256], *argv[16];

/* Parses the words of a line; '' is an empty word. */
static int parse(const char *text, bool front)
{
    int argc = 0;
    char *rest = NULL;
    snprintf(line, sizeof line, "%s", text);
    for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = strcmp(word, "''") == 0 ? strchr(word, '\0') : word;
    flags_free(common_rows, &common);
    got = (struct shown){ 0 };
    common = (struct common){ 0 };
    return flags_parse((const struct flag_target[]){ { rows, &got }, { common_rows, &common } }, 2, front, argc, argv,
                       &error);
}

TEST(values_are_stored_by_the_rows)
{
    assert_int_equal(parse("--loud --times 3 --name=a=b --colour blue", false), 0);
    assert_true(got.loud);
    assert_int_equal(got.times, 3);
    assert_true(str_eq(got.name, STR("a=b")));
    assert_true(str_eq(got.colour, STR("blue")));
    assert_int_equal(parse("-l -n 9 -f x --file=y -f z", false), 0);
    assert_true(got.loud);
    assert_int_equal(got.times, 9);
    assert_null(got.name.at);
    assert_int_equal(common.files.count, 3);
    assert_string_equal(common.files.at[0], "x");
    assert_string_equal(common.files.at[2], "z");
}

TEST(words_and_flags_may_be_mixed)
{
    assert_int_equal(parse("one --loud two -f x - three", false), 4);
    assert_string_equal(argv[0], "one");
    assert_string_equal(argv[1], "two");
    assert_string_equal(argv[2], "-");
    assert_string_equal(argv[3], "three");
    assert_true(got.loud);
    assert_int_equal(parse("--name x -- --loud -- y", false), 3);
    assert_false(got.loud);
    assert_string_equal(argv[0], "--loud");
    assert_string_equal(argv[1], "--");
}

TEST(front_flags_end_at_the_first_word)
{
    assert_int_equal(parse("-f x check --loud -f y", true), 4);
    assert_string_equal(argv[0], "check");
    assert_string_equal(argv[1], "--loud");
    assert_false(got.loud);
    assert_int_equal(common.files.count, 1);
}

TEST(what_is_wrong_is_said)
{
    static const struct {
        const char *text, *said;
    } cases[] = {
        { "--lod", "unknown flag \"--lod\" (did you mean --loud?)" },
        { "--fill=x", "unknown flag \"--fill\" (did you mean --file?)" },
        { "--something-else", "unknown flag \"--something-else\"" },
        { "--loud=yes", "\"--loud\" takes no value" },
        { "--name", "NAME must follow \"--name\"" },
        { "--name=", "NAME must follow \"--name=\"" },
        { "--name ''", "NAME must follow \"--name\"" },
        { "-f", "FILE must follow \"-f\"" },
        { "--times 0", "--times: \"0\" is not a whole number from 1 to 9" },
        { "--times 10", "--times: \"10\" is not a whole number from 1 to 9" },
        { "-n many", "--times: \"many\" is not a whole number from 1 to 9" },
        { "--colour green", "--colour: \"green\" is not one of red, blue" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(parse(cases[i].text, false), -1);
        assert_string_equal(error.text, cases[i].said);
    }
}

TEST(the_rows_are_the_help)
{
    char text[512] = "";
    FILE *out = fmemopen(text, sizeof text, "w");
    flags_print(rows, 18, out);
    fclose(out);
    assert_string_equal(text, "  -l, --loud       in capitals\n"
                              "  -n, --times N    how often\n"
                              "\n"
                              "  --name NAME      whom\n"
                              "  --colour COLOUR  red or blue\n");
}

static int end(void **state)
{
    (void)state;
    flags_free(common_rows, &common);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_stored_by_the_rows),
        cmocka_unit_test(words_and_flags_may_be_mixed),
        cmocka_unit_test(front_flags_end_at_the_first_word),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(the_rows_are_the_help),
    };
    return cmocka_run_group_tests_name("flags", tests, NULL, end);
}
