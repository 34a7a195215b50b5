/* SPDX-License-Identifier: MIT */
/* Filters: what they match, what is refused and where, and their canonical text. */
#include "bridge/event/filter.h"
#include "tests/support/event.h"
#include "tests/support/test.h"

static struct filter *compile(const char *text, struct err *e)
{
    json_error_t where;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);
    if (!json)
        fail_msg("%s: %s", text, where.text);
    struct filter *f = filter_new(json, e);
    json_decref(json);
    return f;
}

static struct filter *must_compile(const char *text)
{
    struct err e = { "" };
    struct filter *f = compile(text, &e);
    if (!f)
        fail_msg("%s: %s", text, e.text);
    return f;
}

TEST(an_event_of_which_the_type_alone_is_known)
{
    static const struct {
        const char *text;
        enum filter_answer answer;
    } cases[] = {
        { "{\"exact\":{\"type\":\"chat.edited\"}}", FILTER_YES },
        { "{\"prefix\":{\"type\":\"chat.\"}}", FILTER_YES },
        { "{\"suffix\":{\"type\":\".edited\"}}", FILTER_YES },
        { "{\"suffix\":{\"type\":\".deleted\"}}", FILTER_NO },
        { "{\"exact\":{\"type\":\"chat\"}}", FILTER_NO },
        { "{\"exact\":{\"subject\":\"chat.edited\"}}", FILTER_PERHAPS },
        { "{\"data\":{\"/type\":\"chat.edited\"}}", FILTER_PERHAPS },
        { "{\"exact\":{\"type\":\"user.login\",\"data\":{\"/a\":\"x\"}}}", FILTER_NO },
        { "{\"not\":{\"exact\":{\"subject\":\"x\"}}}", FILTER_PERHAPS },
        { "{\"not\":{\"prefix\":{\"type\":\"chat.\"}}}", FILTER_NO },
        { "{\"not\":{\"prefix\":{\"type\":\"user.\"}}}", FILTER_YES },
        { "{\"exact\":{\"type\":\"chat.edited\",\"subject\":\"x\"}}", FILTER_PERHAPS },
        { "{\"exact\":{\"type\":\"user.login\",\"subject\":\"x\"}}", FILTER_NO },
        { "{\"any\":[{\"exact\":{\"subject\":\"x\"}},{\"prefix\":{\"type\":\"chat.\"}}]}", FILTER_YES },
        { "{\"any\":[{\"exact\":{\"subject\":\"x\"}},{\"prefix\":{\"type\":\"user.\"}}]}", FILTER_PERHAPS },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct filter *f = must_compile(cases[i].text);
        if (filter_match_type(f, STR("chat.edited")) != cases[i].answer)
            fail_msg("%s", cases[i].text);
        filter_free(f);
    }
    assert_int_equal(filter_match_type(NULL, STR("chat.edited")), FILTER_YES);
}

/* The full event has type com.example.someevent, source /mycontext/subcontext, partitionkey k1; no expirytime. */
TEST(matching)
{
    static const struct {
        const char *text;
        bool matches;
    } cases[] = {
        { "{\"exact\":{\"type\":\"com.example.someevent\"}}", true },
        { "{\"exact\":{\"type\":\"com.example\"}}", false },
        { "{\"exact\":{\"type\":\"COM.example.someevent\"}}", false },
        { "{\"prefix\":{\"type\":\"com.\"}}", true },
        { "{\"prefix\":{\"type\":\"com.example.someevent\"}}", true },
        { "{\"prefix\":{\"type\":\"com.example.someevents\"}}", false },
        { "{\"prefix\":{\"type\":\"example\"}}", false },
        { "{\"suffix\":{\"type\":\".someevent\"}}", true },
        { "{\"suffix\":{\"type\":\"com\"}}", false },
        { "{\"exact\":{\"partitionkey\":\"k1\"}}", true },
        { "{\"exact\":{\"specversion\":\"1.0\"}}", true },
        { "{\"exact\":{\"expirytime\":\"x\"}}", false },
        { "{\"prefix\":{\"expirytime\":\"x\"}}", false },
        { "{\"suffix\":{\"expirytime\":\"x\"}}", false },
        { "{\"not\":{\"exact\":{\"expirytime\":\"x\"}}}", true },
        { "{\"not\":{\"prefix\":{\"type\":\"com.\"}}}", false },
        { "{\"exact\":{\"partitionkey\":\"k1\",\"type\":\"com.example.someevent\"}}", true },
        { "{\"exact\":{\"partitionkey\":\"k2\",\"type\":\"com.example.someevent\"}}", false },
        { "{\"prefix\":{\"type\":\"com.\"},\"suffix\":{\"type\":\"event\"}}", true },
        { "{\"prefix\":{\"type\":\"com.\"},\"suffix\":{\"type\":\"x\"}}", false },
        { "{\"all\":[{\"prefix\":{\"type\":\"com.\"}},{\"exact\":{\"partitionkey\":\"k1\"}}]}", true },
        { "{\"all\":[{\"prefix\":{\"type\":\"com.\"}},{\"exact\":{\"partitionkey\":\"k2\"}}]}", false },
        { "{\"any\":[{\"prefix\":{\"type\":\"x\"}},{\"exact\":{\"partitionkey\":\"k1\"}}]}", true },
        { "{\"any\":[{\"prefix\":{\"type\":\"x\"}},{\"exact\":{\"partitionkey\":\"k2\"}}]}", false },
        { "{\"any\":[{\"prefix\":{\"type\":\"com\"}}]}", true },
        { "[{\"prefix\":{\"type\":\"com.\"}},{\"not\":{\"exact\":{\"partitionkey\":\"k2\"}}}]", true },
        { "[{\"prefix\":{\"type\":\"com.\"}},{\"exact\":{\"id\":\"2\"}}]", false },
        { "{\"not\":{\"not\":{\"prefix\":{\"type\":\"com.\"}}}}", true },
        { "{\"not\":{\"any\":[{\"exact\":{\"id\":\"1\"}},{\"all\":[{\"exact\":{\"id\":\"2\"}},{\"prefix\":{\"type\":\"com.\"}}]}]}}",
          true },
    };
    const struct event *ev = event_born(&event_full);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct filter *f = must_compile(cases[i].text);
        if (filter_match(f, ev) != cases[i].matches)
            fail_msg("%s", cases[i].text);
        filter_free(f);
    }
    assert_true(filter_match(NULL, ev));
    filter_free(NULL);
    event_unref(ev);
}

static const char
    data[] = "{\"collection\":{\"key\":\"hr\",\"name\":\"Caf\\u00e9 \\\"R\\\"\"},\"n\":12,\"f\":1.50,\"yes\":true,"
             "\"no\":false,\"none\":null,\"empty\":\"\",\"list\":[{\"x\":\"a\"},7],\"a/b\":\"s\",\"word\":\"true\"}";

/* Whether the filter takes an event with that data. */
static bool takes(const char *text, struct str type, struct str content)
{
    struct event fields = event_full;
    fields.datacontenttype = type;
    fields.data = content;
    const struct event *ev = event_born(&fields);
    struct filter *f = must_compile(text);
    bool taken = filter_match(f, ev);
    filter_free(f);
    event_unref(ev);
    return taken;
}

TEST(matching_in_the_data)
{
    static const struct {
        const char *text;
        bool matches;
    } cases[] = {
        { "{\"data\":{\"/collection/key\":\"hr\"}}", true },
        { "{\"exact\":{\"data\":{\"/collection/key\":\"hr\"}}}", true },
        { "{\"data\":{\"/collection/key\":\"h\"}}", false },
        { "{\"prefix\":{\"data\":{\"/collection/key\":\"h\"}}}", true },
        { "{\"suffix\":{\"data\":{\"/collection/key\":\"r\"}}}", true },
        { "{\"suffix\":{\"data\":{\"/collection/key\":\"h\"}}}", false },
        { "{\"data\":{\"/collection/name\":\"Caf\xc3\xa9 \\\"R\\\"\"}}", true },
        { "{\"prefix\":{\"data\":{\"/collection/name\":\"Caf\xc3\xa9\"}}}", true },
        { "{\"suffix\":{\"data\":{\"/collection/name\":\"\\\"\"}}}", true },
        { "{\"data\":{\"/collection/name\":\"Caf\\\\u00e9\"}}", false },
        { "{\"data\":{\"/n\":12}}", true },
        { "{\"data\":{\"/n\":\"12\"}}", true },
        { "{\"data\":{\"/n\":1}}", false },
        { "{\"data\":{\"/f\":\"1.50\"}}", true },
        { "{\"data\":{\"/f\":\"1.5\"}}", false },
        { "{\"data\":{\"/yes\":true,\"/no\":false}}", true },
        { "{\"data\":{\"/yes\":\"true\"}}", true },
        { "{\"data\":{\"/word\":true}}", true },
        { "{\"data\":{\"/yes\":false}}", false },
        { "{\"data\":{\"/none\":null}}", true },
        { "{\"data\":{\"/absent\":null}}", true },
        { "{\"data\":{\"/collection/key/x\":null}}", true },
        { "{\"data\":{\"/empty\":null}}", false },
        { "{\"data\":{\"/no\":null}}", false },
        { "{\"data\":{\"/collection\":null}}", false },
        { "{\"not\":{\"data\":{\"/list\":null}}}", true },
        { "{\"data\":{\"/none\":\"null\"}}", false },
        { "{\"data\":{\"/empty\":\"\"}}", true },
        { "{\"data\":{\"/absent\":\"\"}}", false },
        { "{\"data\":{\"/list/0/x\":\"a\",\"/list/1\":7}}", true },
        { "{\"data\":{\"/list/2\":7}}", false },
        { "{\"prefix\":{\"data\":{\"/list\":\"[\"}}}", false },
        { "{\"prefix\":{\"data\":{\"/collection\":\"{\"}}}", false },
        { "{\"data\":{\"\":\"x\"}}", false },
        { "{\"data\":{\"/a~1b\":\"s\"}}", true },
        { "{\"exact\":{\"type\":\"com.example.someevent\",\"data\":{\"/n\":12}}}", true },
        { "{\"exact\":{\"type\":\"x\",\"data\":{\"/n\":12}}}", false },
        { "{\"prefix\":{\"type\":\"com.\"},\"data\":{\"/n\":12,\"/yes\":true}}", true },
        { "{\"prefix\":{\"type\":\"com.\"},\"data\":{\"/n\":12,\"/yes\":false}}", false },
        { "{\"any\":[{\"data\":{\"/n\":1}},{\"not\":{\"data\":{\"/n\":13}}}]}", true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (takes(cases[i].text, STR_ABSENT, STR(data)) != cases[i].matches)
            fail_msg("%s", cases[i].text);
}

TEST(data_in_which_there_is_nothing)
{
    static const char key[] = "{\"data\":{\"/a\":\"x\"}}", none[] = "{\"data\":{\"/a\":null}}";
    const struct {
        struct str type, content;
        bool found;
    } cases[] = {
        { STR_ABSENT, STR("{\"a\":\"x\"}"), true },
        { STR("application/json"), STR("{\"a\":\"x\"}"), true },
        { STR("application/vnd.x+json; charset=utf-8"), STR("{\"a\":\"x\"}"), true },
        { STR("text/plain"), STR("{\"a\":\"x\"}"), false },
        { STR_ABSENT, STR("{\"a\":\"x\"} "), true },
        { STR_ABSENT, STR("{\"a\":\"x\"}x"), false },
        { STR_ABSENT, STR(""), false },
        { STR_ABSENT, STR_ABSENT, false },
        { STR_ABSENT, STR("{\"a\":\"y\",\"a\":\"x\"}"), true }, /* as the receiver reads it */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(takes(key, cases[i].type, cases[i].content), cases[i].found);
        assert_int_equal(takes(none, cases[i].type, cases[i].content), !cases[i].found);
    }
}

TEST(refused_where_and_why)
{
    static const char *const cases[][2] = {
        { "{}", "not a filter, which is a mapping of one or more of exact, prefix, suffix, all, any, not, data" },
        { "\"x\"", "not a filter, which is a mapping of one or more of exact, prefix, suffix, all, any, not, data" },
        { "[]", "not a list of at least one filter" },
        { "[1]", "[0]: not a filter, which is a mapping of one or more of exact, prefix, suffix, all, any, not, data" },
        { "{\"all\":[]}", "all: not a list of at least one filter" },
        { "{\"any\":{}}", "any: not a list of at least one filter" },
        { "{\"not\":[]}",
          "not: not a filter, which is a mapping of one or more of exact, prefix, suffix, all, any, not, data" },
        { "{\"any\":[{\"exact\":{\"type\":\"x\"}},{\"prefix\":{\"type\":7}}]}", "any[1].prefix.type: not a string" },
        { "[{\"not\":{\"suffix\":{\"type\":\"\"}}}]", "[0].not.suffix.type: an empty string" },
        { "{\"exact\":{}}", "exact: not a mapping of attribute names to strings" },
        { "{\"exact\":\"x\"}", "exact: not a mapping of attribute names to strings" },
        { "{\"exact\":{\"Type\":\"x\"}}", "exact.Type: not the name of an attribute" },
        { "{\"exact\":{\"data\":\"x\"}}", "exact.data: not a mapping of JSON pointers to values" },
        { "{\"data\":{}}", "data: not a mapping of JSON pointers to values" },
        { "{\"data\":[\"/a\"]}", "data: not a mapping of JSON pointers to values" },
        { "{\"dat\":{\"/a\":\"x\"}}", "dat: no part of a filter, did you mean data?" },
        { "{\"data\":{\"a\":\"x\"}}", "data.a: a JSON pointer begins with /" },
        { "{\"any\":[{\"data\":{\"/a~2\":\"x\"}}]}",
          "any[0].data./a~2: in a JSON pointer only ~0 (for ~) and ~1 (for /) follow a ~" },
        { "{\"data\":{\"/a\":[\"x\"]}}", "data./a: not a string, a number or a boolean, nor null" },
        { "{\"data\":{\"/a\":1.5}}",
          "data./a: a number with a fraction is compared as it is written: put it into quotes" },
        { "{\"prefix\":{\"data\":{\"/a\":null}}}", "prefix.data./a: not a string, a number or a boolean" },
        { "{\"suffix\":{\"data\":{\"/a\":\"\"}}}", "suffix.data./a: an empty string" },
        { "{\"exact\":{\"/a\":\"x\"}}",
          "exact./a: not the name of an attribute; for what is in the data, write data: {/a: ...}" },
        { "{\"exact\":{\"\":\"x\"}}", "exact.: not the name of an attribute" },
        { "{\"exact\":{\"a.b\":\"x\"}}", "exact.a.b: not the name of an attribute" },
        { "{\"prefx\":{\"type\":\"x\"}}", "prefx: no part of a filter, did you mean prefix?" },
        { "{\"sql\":{}}", "sql: no part of a filter (exact, prefix, suffix, all, any, not, data)" },
        { "{\"type\":\"x\"}", "type: no part of a filter; for events whose type is this, write exact: {type: ...}" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = { "" };
        assert_null(compile(cases[i][0], &e));
        assert_string_equal(e.text, cases[i][1]);
    }
}

static json_t *nested(int depth)
{
    json_t *json = json_pack("{s:{s:s}}", "exact", "type", "x");
    while (--depth > 0)
        json = json_pack("{s:[o]}", "all", json);
    return json;
}

TEST(limits)
{
    struct err e = { "" };
    json_t *json = nested(FILTER_DEPTH);
    struct filter *f = filter_new(json, &e);
    assert_non_null(f);
    filter_free(f);
    json_decref(json);
    json = nested(FILTER_DEPTH + 1);
    assert_null(filter_new(json, &e));
    assert_non_null(strstr(e.text, "nested deeper than 16 filters"));
    json_decref(json);
    json = json_array();
    for (int i = 0; i < FILTER_NODES; i++)
        json_array_append_new(json, nested(1));
    assert_null(filter_new(json, &e));
    assert_non_null(strstr(e.text, "the filter has more than 1000 parts"));
    json_decref(json);
    json = json_object();
    for (int i = 0; i < FILTER_PLACES; i++) {
        char pointer[16];
        snprintf(pointer, sizeof pointer, "/%d", i);
        json_object_set_new(json, pointer, json_string("x"));
    }
    json = json_pack("{s:o}", "data", json);
    assert_null(filter_new(json, &e)); /* the whole data is a place, too */
    assert_non_null(strstr(e.text, "the filter looks at more than 256 places of the data"));
    json_object_del(json_object_get(json, "data"), "/7");
    f = filter_new(json, &e);
    assert_non_null(f);
    filter_free(f);
    json_decref(json);
}

TEST(canonical_text)
{
    static const char *const groups[][4] = {
        { "{\"exact\":{\"type\":\"x\"}}", "[{\"exact\":{\"type\":\"x\"}}]",
          "{\"all\":[{\"any\":[{\"exact\":{\"type\":\"x\"}}]}]}",
          "[{\"exact\":{\"type\":\"\\u0078\"}},{\"exact\":{\"type\":\"x\"}}]" },
        { "{\"exact\":{\"type\":\"x\",\"id\":\"1\"}}", "[{\"exact\":{\"id\":\"1\"}},{\"exact\":{\"type\":\"x\"}}]",
          "{\"all\":[{\"exact\":{\"type\":\"x\"}},{\"all\":[{\"exact\":{\"id\":\"1\"}}]}]}",
          "[{\"exact\":{\"id\":\"1\",\"type\":\"x\"}},{\"exact\":{\"id\":\"1\"}}]" },
        { "{\"any\":[{\"prefix\":{\"id\":\"b\"}},{\"prefix\":{\"id\":\"a\"}}]}",
          "{\"any\":[{\"prefix\":{\"id\":\"a\"}},{\"prefix\":{\"id\":\"b\"}}]}",
          "{\"any\":[{\"any\":[{\"prefix\":{\"id\":\"b\"}}]},{\"prefix\":{\"id\":\"a\"}}]}",
          "{\"any\":[{\"any\":[{\"prefix\":{\"id\":\"b\"}},{\"prefix\":{\"id\":\"a\"}}]},{\"prefix\":{\"id\":\"a\"}}]}" },
        { "{\"not\":{\"suffix\":{\"id\":\"\\\"\"}}}", "[{\"not\":{\"suffix\":{\"id\":\"\\\"\"}}}]",
          "{\"not\":{\"all\":[{\"suffix\":{\"id\":\"\\u0022\"}}]}}",
          "{\"not\":{\"any\":[{\"suffix\":{\"id\":\"\\\"\"}}]}}" },
        { "{\"data\":{\"/a\":\"1\",\"/b\":null},\"prefix\":{\"type\":\"x\"}}",
          "[{\"prefix\":{\"type\":\"x\"}},{\"exact\":{\"data\":{\"/b\":null,\"/a\":1}}}]",
          "{\"all\":[{\"data\":{\"/b\":null}},{\"data\":{\"/a\":1}},{\"prefix\":{\"type\":\"x\"}}]}",
          "[{\"data\":{\"/a\":1}},{\"data\":{\"/b\":null}},{\"data\":{\"/a\":\"1\"}},{\"prefix\":{\"type\":\"x\"}}]" },
        { "{\"data\":{\"\":\"\"}}", "{\"exact\":{\"data\":{\"\":\"\"}}}", "[{\"data\":{\"\":\"\"}}]",
          "{\"any\":[{\"data\":{\"\":\"\"}}]}" },
    };
    static const char *const texts[] = {
        "{\"exact\":{\"type\":\"x\"}}",
        "{\"all\":[{\"exact\":{\"id\":\"1\"}},{\"exact\":{\"type\":\"x\"}}]}",
        "{\"any\":[{\"prefix\":{\"id\":\"a\"}},{\"prefix\":{\"id\":\"b\"}}]}",
        "{\"not\":{\"suffix\":{\"id\":\"\\\"\"}}}",
        ("{\"all\":[{\"prefix\":{\"type\":\"x\"}},{\"exact\":{\"data\":{\"/a\":\"1\"}}},"
         "{\"exact\":{\"data\":{\"/b\":null}}}]}"),
        "{\"exact\":{\"data\":{\"\":\"\"}}}"
    };
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        for (size_t j = 0; j < 4; j++) {
            struct filter *f = must_compile(groups[i][j]);
            char *text = filter_text(f);
            assert_string_equal(text, texts[i]);
            filter_free(f);
            f = must_compile(text); /* the text is a filter itself */
            free(text);
            text = filter_text(f);
            assert_string_equal(text, texts[i]);
            free(text);
            filter_free(f);
        }
    }
    char *text = filter_text(NULL);
    assert_string_equal(text, "{}");
    free(text);
}

TEST(why_an_event_is_not_taken)
{
    static const struct {
        const char *filter, *reason;
    } cases[] = {
        { "{\"exact\":{\"type\":\"x\"}}", "type \"com.example.someevent\" is not \"x\"" },
        { "{\"prefix\":{\"type\":\"chat.\"}}", "type \"com.example.someevent\" does not begin with \"chat.\"" },
        { "{\"suffix\":{\"type\":\"x\"}}", "type \"com.example.someevent\" does not end with \"x\"" },
        { "{\"exact\":{\"expirytime\":\"1\"}}", "expirytime is absent, and is not \"1\"" },
        { "{\"not\":{\"prefix\":{\"type\":\"com.\"}}}", "type \"com.example.someevent\" begins with \"com.\"" },
        { "{\"all\":[{\"prefix\":{\"type\":\"com.\"}},{\"exact\":{\"partitionkey\":\"k2\"}}]}",
          "partitionkey \"k1\" is not \"k2\"" },
        { "{\"any\":[{\"exact\":{\"partitionkey\":\"a\"}},{\"exact\":{\"partitionkey\":\"b\"}}]}",
          "partitionkey \"k1\" is not \"a\"; partitionkey \"k1\" is not \"b\"" },
        { "{\"data\":{\"/none\":\"1\"}}", "data /none is absent, and is not \"1\"" },
        { "{\"prefix\":{\"type\":\"com.\"}}", "" },
    };
    const struct event *ev = event_born(&event_full);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct filter *f = must_compile(cases[i].filter);
        struct buf why = buf_new(1000);
        filter_add_reason(f, ev, &why);
        assert_string_equal(buf_c(&why), cases[i].reason);
        buf_free(&why);
        filter_free(f);
    }
    event_unref(ev);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(an_event_of_which_the_type_alone_is_known),
                                        cmocka_unit_test(matching),
                                        cmocka_unit_test(matching_in_the_data),
                                        cmocka_unit_test(data_in_which_there_is_nothing),
                                        cmocka_unit_test(refused_where_and_why),
                                        cmocka_unit_test(limits),
                                        cmocka_unit_test(canonical_text),
                                        cmocka_unit_test(why_an_event_is_not_taken) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
