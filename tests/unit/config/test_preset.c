/* SPDX-License-Identifier: MIT */
/* Where presets are found, and what is said when they are not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bridge/lib/option.h"
#include "bridge/config/preset.h"
#include "tests/support/test.h"

struct thing {
    char *about;
    struct list capture;
};
struct part {
    char *name;
};
static const struct option part_rows[] = { OPTION(struct part, name, .doc = "Name."), { 0 } };
static const struct option rows[] = { OPTION(struct thing, about, .doc = "About."),
                                      OPTION(struct thing, capture, .of = part_rows, .of_size = sizeof(struct part),
                                             .max = 9, .doc = "Parts."),
                                      { 0 } };

static char folder[64];

static void write_preset(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/aqueduct-preset-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int clean_up(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    unsetenv("AQUEDUCT_PRESETS");
    return system(command);
}

TEST(by_path_and_folder)
{
    struct err e = { 0 };
    struct thing thing = { 0 };
    char path[128];
    write_preset("mine.yaml", "about: of my own\ncapture:\n- name: one\n- name: two\n");
    snprintf(path, sizeof path, "%s/mine.yaml", folder);
    assert_true(preset_load(path, rows, &thing, &e));
    assert_string_equal(thing.about, "of my own");
    assert_int_equal(thing.capture.count, 2);
    assert_string_equal(((struct part *)thing.capture.at)[1].name, "two");
    thing = (struct thing){ 0 };
    assert_false(preset_load("mine", rows, &thing, &e));
    setenv("AQUEDUCT_PRESETS", folder, 1);
    assert_true(preset_load("mine", rows, &thing, &e));
    assert_string_equal(thing.about, "of my own");
}

/* Every file of schemas/presets is compiled in, byte for byte; a file in AQUEDUCT_PRESETS goes before. */
TEST(compiled_in)
{
    static char text[1 << 20];
    size_t count = 0;
    for (const struct preset *p = presets; p->name; p++, count++) {
        char path[256];
        snprintf(path, sizeof path, SCHEMAS_DIR "/presets/%s.yaml", p->name);
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        size_t n = fread(text, 1, sizeof text, f);
        fclose(f);
        assert_int_equal(n, p->text.n);
        assert_memory_equal(text, p->text.at, n);
    }
    assert_true(count >= 1);
    struct err e = { 0 };
    struct thing thing = { 0 };
    write_preset("anythingllm.yaml", "about: other\n");
    setenv("AQUEDUCT_PRESETS", folder, 1);
    assert_true(preset_load("anythingllm", rows, &thing, &e));
    assert_string_equal(thing.about, "other");
}

TEST(failures)
{
    struct err e = { 0 };
    struct thing thing = { 0 };
    assert_false(preset_load("anythinglm", rows, &thing, &e));
    assert_non_null(strstr(e.text, "did you mean \"anythingllm\""));
    assert_false(preset_load("zzzzzzzzz", rows, &thing, &e));
    assert_non_null(strstr(e.text, "there are: "));
    assert_false(preset_load("/no/such/file.yaml", rows, &thing, &e));
    assert_non_null(strstr(e.text, "/no/such/file.yaml: No such file"));
    write_preset("bad.yaml", "about: x\nabuot: y\n");
    setenv("AQUEDUCT_PRESETS", folder, 1);
    assert_false(preset_load("bad", rows, &thing, &e));
    assert_non_null(strstr(e.text, "bad.yaml:2:1: "));
    assert_false(preset_load("../bad", rows, &thing, &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(by_path_and_folder, set_up, clean_up),
        cmocka_unit_test_setup_teardown(compiled_in, set_up, clean_up),
        cmocka_unit_test_setup_teardown(failures, set_up, clean_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
