/* SPDX-License-Identifier: MIT */
/* Where presets are found, and what is said when they are not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/config/config.h"
#include "bridge/config/preset.h"
#include "tests/support/connector.h"
#include "tests/support/folder.h"
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

struct user {
    struct preset preset;
};
static const struct option user_rows[] = {
    OPTION(struct user, preset, .of = rows, .of_size = sizeof(struct thing), .doc = "Which."), { 0 }
};

static char folder[FOLDER_BYTES], problem[600];

/* What an option fills in whose value is the name; NULL: `problem` says why. */
static const struct thing *load(const char *name)
{
    char yaml[200];
    struct user user = { 0 };
    struct problems problems = { 0 };
    snprintf(yaml, sizeof yaml, "preset: %s\n", name);
    bool good = options_read("user.yaml", str_of(yaml), user_rows, &user, &problems);
    assert_int_equal(problems.count, good ? 0 : 1);
    snprintf(problem, sizeof problem, "%d:%d: %s", good ? 0 : problems.at[0].line, good ? 0 : problems.at[0].column,
             good ? "" : problems.at[0].text);
    problems_free(&problems);
    assert_string_equal(user.preset.name, name);
    return good ? user.preset.content : NULL;
}

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
    folder_make(folder);
    return 0;
}

static int clean_up(void **state)
{
    (void)state;
    unsetenv("AQUEDUCT_PRESETS");
    folder_remove(folder);
    return 0;
}

TEST(by_path_and_folder)
{
    char path[128];
    const struct thing *thing;
    write_preset("mine.yaml", "about: of my own\ncapture:\n- name: one\n- name: two\n");
    snprintf(path, sizeof path, "%s/mine.yaml", folder);
    thing = load(path);
    assert_non_null(thing);
    assert_string_equal(thing->about, "of my own");
    assert_int_equal(thing->capture.count, 2);
    assert_string_equal(((struct part *)thing->capture.at)[1].name, "two");
    assert_null(load("mine"));
    setenv("AQUEDUCT_PRESETS", folder, 1);
    thing = load("mine");
    assert_non_null(thing);
    assert_string_equal(thing->about, "of my own");
}

/* Every file of schemas/presets and schemas/inbound is compiled in, byte for byte; a file in AQUEDUCT_PRESETS goes before. */
TEST(compiled_in)
{
    static char text[1 << 20];
    size_t count = 0;
    for (const struct preset_text *p = preset_texts; p->name; p++, count++) {
        char path[256];
        snprintf(path, sizeof path, SCHEMAS_DIR "/%s.yaml", p->name);
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        size_t n = fread(text, 1, sizeof text, f);
        fclose(f);
        assert_int_equal(n, p->text.n);
        assert_memory_equal(text, p->text.at, n);
    }
    assert_true(count >= 1);
    write_preset("anythingllm.yaml", "about: other\n");
    setenv("AQUEDUCT_PRESETS", folder, 1);
    const struct thing *thing = load("anythingllm");
    assert_non_null(thing);
    assert_string_equal(thing->about, "other");
}

/* Those of senders are others than those of databases, whatever their names. */
TEST(of_another_folder)
{
    char file[PRESET_FILE], path[128];
    struct buf text = buf_new(PRESET_BYTES + 1);
    struct err e;
    assert_true(preset_find(PRESET_INBOUND, "open-webui", &text, file, &e));
    assert_non_null(strstr(buf_c(&text), "\nmap:\n"));
    buf_reset(&text);
    assert_true(preset_find(PRESET_FOLDER, "open-webui", &text, file, &e));
    assert_null(strstr(buf_c(&text), "\nmap:\n"));
    assert_false(preset_find(PRESET_INBOUND, "anythingllm", &text, file, &e));
    assert_string_equal(
        e.text, "there is no preset \"anythingllm\" (there are: langfuse, langsmith, message, open-webui, openai)");
    snprintf(path, sizeof path, "%s/inbound", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    write_preset("inbound/openai.yaml", "about: of my own\n");
    setenv("AQUEDUCT_PRESETS", folder, 1);
    buf_reset(&text);
    assert_true(preset_find(PRESET_INBOUND, "openai", &text, file, &e));
    assert_string_equal(buf_c(&text), "about: of my own\n");
    assert_false(preset_find(PRESET_FOLDER, "openai", &text, file, &e));
    snprintf(path, sizeof path, "%s/inbound/openai.yaml", folder);
    unlink(path);
    *strrchr(path, '/') = '\0';
    assert_int_equal(rmdir(path), 0);
    buf_free(&text);
}

TEST(failures)
{
    assert_null(load("anythinglm"));
    assert_non_null(strstr(problem, "1:9: preset: there is no preset"));
    assert_non_null(strstr(problem, "(did you mean anythingllm?)"));
    assert_null(load("zzzzzzzzz"));
    assert_non_null(strstr(problem, "there are: "));
    assert_null(load("/no/such/file.yaml"));
    assert_non_null(strstr(problem, "/no/such/file.yaml: No such file"));
    write_preset("bad.yaml", "about: x\nabuot: y\n");
    setenv("AQUEDUCT_PRESETS", folder, 1);
    assert_null(load("bad"));
    assert_non_null(strstr(problem, "bad.yaml:2:1: "));
    assert_null(load("../bad"));
}

TEST(none)
{
    struct user user = { 0 };
    struct problems problems = { 0 };
    assert_true(options_read("user.yaml", STR("preset: \"\"\n"), user_rows, &user, &problems));
    assert_null(user.preset.content);
    user = (struct user){ 0 };
    assert_true(options_read("user.yaml", STR("{}\n"), user_rows, &user, &problems));
    assert_null(user.preset.name);
    assert_null(user.preset.content);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(by_path_and_folder, set_up, clean_up),
        cmocka_unit_test_setup_teardown(compiled_in, set_up, clean_up),
        cmocka_unit_test_setup_teardown(of_another_folder, set_up, clean_up),
        cmocka_unit_test(none),
        cmocka_unit_test_setup_teardown(failures, set_up, clean_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
