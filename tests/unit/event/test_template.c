/* SPDX-License-Identifier: MIT */
/* Templates: what expressions give at each place, what is missing, and what is refused. */
#include "bridge/event/template.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/jscan.h"
#include "tests/support/event.h"
#include "tests/support/test.h"

static const char
    data[] = "{\"output\":{\"text\":\"He said \\\"hi\\\"\\n\\u00e9 <b> & c\"},\"user\":{\"name\":null},"
             "\"n\":1.50,\"yes\":true,\"list\":[{\"x\":\"a b/c?d=e&f\"},[1,2]],\"a.b\":\"dot\",\"empty\":\"\"}";

static const struct event *event_with(struct str type, struct str content)
{
    static struct header extensions[] = { { { "partitionkey", 12 }, { "k1", 2 } }, { { "tries", 5 }, { "7", 1 } } };
    return event_born(&(struct event){ .id = STR("17"),
                                       .source = STR("/s"),
                                       .type = STR("chat.done"),
                                       .subject = STR("a/\"b\""),
                                       .datacontenttype = type,
                                       .extensions = extensions,
                                       .extension_count = 2,
                                       .integers = 2,
                                       .data = content });
}

/* What the template gives, or "!" and why not, or "-" when it is left out. */
static char *rendered(const struct event *ev, const char *text, enum template_place place, bool structure)
{
    struct err e = { "" };
    struct template_set *set = template_set_new();
    struct buf out = buf_new(4096);
    json_t *json = structure ? json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL) : NULL;
    assert_true(!structure || json);
    const struct template *t = structure ? template_of_json(set, NULL, json, &e)
                                         : template_of_text(set, str_of(text), place, &e);
    if (!t)
        fail_msg("%s: %s", text, e.text);
    template_see(set, ev, STR("msg_1"));
    enum template_result r = template_render(set, t, &out, &e);
    if (r == TEMPLATE_FAILED)
        buf_reset(&out);
    buf_add_c(&out, r == TEMPLATE_FAILED ? "!" : r == TEMPLATE_OMITTED ? "-" : "");
    buf_add_c(&out, r == TEMPLATE_FAILED ? e.text : "");
    char *got = str_dup(buf_str(&out));
    if (structure && r == TEMPLATE_RENDERED) {
        struct jscan_value value;
        if (!jscan_check(buf_str(&out), &value, &e))
            fail_msg("%s: %s: %s", text, got, e.text);
    }
    buf_free(&out);
    json_decref(json);
    template_set_free(set);
    return got;
}

static void expect(const struct event *ev, const char *text, enum template_place place, bool structure,
                   const char *want)
{
    char *got = rendered(ev, text, place, structure);
    if (strcmp(got, want) != 0)
        fail_msg("%s: %s, not %s", text, got, want);
    free(got);
}

TEST(structures)
{
    static const char *const cases[][2] = {
        { "{\"a\":1,\"b\":[true,null,\"x\"]}", "{\"a\":1,\"b\":[true,null,\"x\"]}" },
        { "\"{{subject}}\"", "\"a/\\\"b\\\"\"" },
        { "{\"text\":\"{{data.output.text}}\"}", "{\"text\":\"He said \\\"hi\\\"\\n\\u00e9 <b> & c\"}" },
        { "{\"text\":\"{{type}}: {{data.output.text}}!\"}",
          "{\"text\":\"chat.done: He said \\\"hi\\\"\\n\\u00e9 <b> & c!\"}" },
        { "{\"text\":\"in \\\"{{subject}}\\\"\"}", "{\"text\":\"in \\\"a/\\\"b\\\"\\\"\"}" },
        { "[\"{{data.n}}\",\"{{/yes}}\",\"{{ data.list.1 }}\",\"{{/list/1/0}}\"]", "[1.50,true,[1,2],1]" },
        { "[\"n={{data.n}} {{data.yes}} {{data.list.1}}\"]", "[\"n=1.50 true [1,2]\"]" },
        { "\"{{data.user}} \"", "\"{\\\"name\\\":null} \"" },
        { "\"{{tries}}\"", "7" },
        { "\"{{partitionkey}}-{{tries}}\"", "\"k1-7\"" },
        { "\"{{webhook.id}}\"", "\"msg_1\"" },
        { "\"{{data.user.name}}\"", "null" },
        { "\"{{data.user.name | \\\"some\\\\u0020one\\\"}}\"", "\"some\\u0020one\"" },
        { "\"by {{data.user.name | \\\"some\\\\u0020one\\\"}}\"", "\"by some\\u0020one\"" },
        { "\"{{data.user.age | 18}}\"", "18" },
        { "\"{{data.user.age | null}}\"", "null" },
        { "\"{{data.empty | \\\"x\\\"}}\"", "\"\"" },
        { "{\"a\":\"{{data.none | omit}}\",\"b\":1,\"c\":\"{{data.user.name|omit}}\"}", "{\"b\":1}" },
        { "[\"{{data.none | omit}}\",\"{{data.n | omit}}\",\"x {{data.none | omit}}\"]", "[1.50]" },
        { "{\"a\":{\"b\":\"{{data.none | omit}}\"}}", "{\"a\":{}}" },
        { "\"{{data.output.text | cut 10}}\"", "\"He said \\\"h\"" },
        { "\"{{data.output.text | cut 13}}\"", "\"He said \\\"hi\\\"\\n\"" },
        { "\"{{data.output.text | cut 14}}\"", "\"He said \\\"hi\\\"\\n\xc3\xa9\"" },
        { "\"{{data.output.text | html | cut 18}}.\"", "\"He said \\\"hi\\\"\\n\xc3\xa9 &lt;b&gt;.\"" },
        { "\"{{data.n | html}}\"", "1.50" },
        { "\"{{/a.b}}{{/list/0/x}}\"", "\"dota b/c?d=e&f\"" },
        { "\"{{\\\"{{\\\"}} {{ \\\"}}\\\" }}\"", "\"{{ }}\"" },
        { "\"{{data.none}}\"", "!{{data.none}}: the event has none" },
        { "\"x{{data.user.name}}\"", "!{{data.user.name}}: it is null" },
        { "\"{{nosuch}}\"", "!{{nosuch}}: the event has none" },
        { "\"{{data.list.2}}\"", "!{{data.list.2}}: the event has none" },
    };
    const struct event *ev = event_with(STR_ABSENT, STR(data));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(ev, cases[i][0], 0, true, cases[i][1]);
    expect(ev, "{\"all\":\"{{data}}\"}", 0, true,
           "{\"all\":"
           "{\"output\":{\"text\":\"He said \\\"hi\\\"\\n\\u00e9 <b> & c\"},\"user\":{\"name\":null},"
           "\"n\":1.50,\"yes\":true,\"list\":[{\"x\":\"a b/c?d=e&f\"},[1,2]],\"a.b\":\"dot\",\"empty\":\"\"}}");
    char *whole = rendered(ev, "\"{{event}}\"", 0, true);
    assert_int_equal(strncmp(whole, "{\"specversion\":\"1.0\",\"id\":\"17\"", 30), 0);
    free(whole);
    event_unref(ev);
}

TEST(data_that_is_no_json)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        { "\"{{data}}\"", "\"a \\\"b\\\"\"" },
        { "\"<{{data}}>\"", "\"<a \\\"b\\\">\"" },
        { "\"{{data.x}}\"", "!{{data.x}}: the event has none" },
        { "\"{{data.x | 1}}\"", "1" },
    };
    const struct event *ev = event_with(STR("text/plain"), STR("a \"b\""));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(ev, cases[i].text, 0, true, cases[i].want);
    event_unref(ev);
    ev = event_with(STR("image/png"), STR("\x89PNG\xff"));
    expect(ev, "\"{{data}}\"", 0, true, "!{{data}}: the event has none");
    event_unref(ev);
    ev = event_with(STR("image/png"), STR_ABSENT);
    expect(ev, "\"{{data}}\"", 0, true, "!{{data}}: the event has none");
    event_unref(ev);
}

TEST(texts_by_place)
{
    static const struct {
        enum template_place place;
        const char *text, *want;
    } cases[] = {
        { TEMPLATE_TEXT, "{{type}} {{data.output.text}}", "chat.done He said \"hi\"\n\xc3\xa9 <b> & c" },
        { TEMPLATE_TEXT, "", "" },
        { TEMPLATE_TEXT, "{{data.none | omit}}", "-" },
        { TEMPLATE_URL, "/{{subject}}/{{data.list.0.x}}", "/a%2F%22b%22/a%20b%2Fc%3Fd%3De%26f" },
        { TEMPLATE_URL, "{{data.output.text}}", "He%20said%20%22hi%22%0A%C3%A9%20%3Cb%3E%20%26%20c" },
        { TEMPLATE_URL, "v={{data.n}}-_.~", "v=1.50-_.~" },
        { TEMPLATE_QUERY, "a b&{{data.n}}", "a%20b%261.50" },
        { TEMPLATE_LINE, "Key {{subject}}", "Key a/\"b\"" },
        { TEMPLATE_LINE, "{{data.output.text}}",
          "!{{data.output.text}}: it has a control character, such as the end of a line" },
        { TEMPLATE_LINE, "{{data.none | \"a\\r\\nX: y\"}}",
          "!{{data.none | \"a\\r\\nX: y\"}}: it has a control character, such as the end of a line" },
        { TEMPLATE_JSON, "{\"a\": {{data.n}}, \"b\": \"{{data.n}}\", \"c\": \"t {{subject}}\"}",
          "{\"a\":1.50,\"b\":\"1.50\",\"c\":\"t a/\\\"b\\\"\"}" },
        { TEMPLATE_JSON, "{{data.output}}", "{\"text\":\"He said \\\"hi\\\"\\n\\u00e9 <b> & c\"}" },
        { TEMPLATE_JSON, "[\"\\\"{{type}}\", {{data.user.name | \"x\\\"y\"}}, \"{{data.user.name | \"x\\\"y\"}}\"]",
          "[\"\\\"chat.done\",\"x\\\"y\",\"x\\\"y\"]" },
        { TEMPLATE_JSON, "{\"a\": {{data.none | omit}}, \"b\": {{type}}}", "{\"b\":\"chat.done\"}" },
    };
    const struct event *ev = event_with(STR_ABSENT, STR(data));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(ev, cases[i].text, cases[i].place, false, cases[i].want);
    event_unref(ev);
}

TEST(refused_where_and_why)
{
    static const char *const structures[][2] = {
        { "{\"blocks\":[1,{\"text\":\"x {{data..a}}\"}]}", "blocks[1].text: {{data..a: an empty name on the way" },
        { "\"{{data.}}\"", "{{data.: an empty name on the way" },
        { "\"{{subject\"", "{{subject: }} is missing" },
        { "\"{{subject }\"", "{{subject : }} is missing" },
        { "\"{{}}\"",
          "{{: not an attribute (subject), a path (data.output.text), a JSON pointer (/output/text), event or "
          "webhook.id" },
        { "\"{{user.name}}\"", "{{user.name: what is in the data begins with data: {{data.user.name}}" },
        { "\"{{/a~2}}\"", "{{/a~2: in a JSON pointer only ~0 (for ~) and ~1 (for /) follow a ~" },
        { "\"{{type | upper}}\"",
          "{{type | upper: behind | stands another value (\"text\", a number, true, false, null), "
          "omit, html or cut 2000" },
        { "\"{{type | cut x}}\"", "{{type | cut x: behind cut stands a number of characters, for example cut 2000" },
        { "\"{{type | cut 0}}\"", "{{type | cut 0: behind cut stands a number of characters, for example cut 2000" },
        { "\"{{type | omit | 1}}\"", "{{type | omit | 1: omit and another value exclude each other" },
        { "\"{{type | 2 | 1}}\"", "{{type | 2 | 1: it has another value already" },
        { "\"{{type | [1]}}\"", "{{type | [1]: behind | stands another value (\"text\", a number, true, false, null), "
                                "omit, html or cut 2000" },
        { "{\"{{type}}\":1}", "{{type}}: an expression stands for a value, not for a name" },
    };
    static const char *const texts[][2] = {
        { "{\"a\": {{type}}", "not JSON with values for its expressions: line 1: '}' expected near end of file" },
        { "{\"a\": x{{type}}}", "not JSON with values for its expressions: line 1: invalid token near 'x'" },
        { "{{{type}}: 1}", "" },
    };
    for (size_t i = 0; i < sizeof structures / sizeof *structures; i++) {
        struct err e = { "" };
        struct template_set *set = template_set_new();
        json_t *json = json_loads(structures[i][0], JSON_DECODE_ANY, NULL);
        assert_null(template_of_json(set, NULL, json, &e));
        assert_string_equal(e.text, structures[i][1]);
        json_decref(json);
        template_set_free(set);
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct err e = { "" };
        struct template_set *set = template_set_new();
        assert_null(template_of_text(set, str_of(texts[i][0]), TEMPLATE_JSON, &e));
        if (*texts[i][1])
            assert_string_equal(e.text, texts[i][1]);
        template_set_free(set);
    }
    template_set_free(NULL);
}

TEST(bounded)
{
    struct err e = { "" };
    struct template_set *set = template_set_new();
    json_t *list = json_array(), *deep = json_string("{{type}}");
    for (int i = 0; i < TEMPLATE_PARTS; i++)
        json_array_append_new(list, json_integer(i));
    assert_null(template_of_json(set, "body", list, &e));
    assert_string_equal(e.text, "body[4095]: more than 4096 parts");
    template_set_free(set);
    set = template_set_new();
    for (int i = 0; i <= TEMPLATE_DEPTH; i++)
        deep = json_pack("[o]", deep);
    assert_null(template_of_json(set, NULL, deep, &e));
    assert_non_null(strstr(e.text, "nested deeper than 32"));
    template_set_free(set);
    set = template_set_new();
    for (int i = 0; i < TEMPLATE_PLACES; i++) {
        char text[32];
        snprintf(text, sizeof text, "{{data.p%d}}", i);
        assert_int_equal(template_of_text(set, str_of(text), TEMPLATE_TEXT, &e) != NULL, i < TEMPLATE_PLACES - 1);
    }
    assert_non_null(strstr(e.text, "more than 256 places of the data are looked at"));
    json_decref(list);
    json_decref(deep);
    template_set_free(set);
    set = template_set_new();
    struct buf out = buf_new(10);
    const struct event *ev = event_with(STR_ABSENT, STR(data));
    const struct template *t = template_of_text(set, STR("{{type}}{{type}}"), TEMPLATE_TEXT, &e);
    template_see(set, ev, STR("m"));
    assert_int_equal(template_render(set, t, &out, &e), TEMPLATE_FAILED);
    assert_string_equal(e.text, "what is rendered is larger than 10 bytes");
    buf_free(&out);
    event_unref(ev);
    template_set_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(structures), cmocka_unit_test(data_that_is_no_json),
                                        cmocka_unit_test(texts_by_place), cmocka_unit_test(refused_where_and_why),
                                        cmocka_unit_test(bounded) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
