/* SPDX-License-Identifier: MIT */
/* The form of requests: what bodies, content types, URLs and headers come of a receiver's options, and what is refused. */
#include "connectors/webhook/shape.h"
#include <stdio.h>
#include <stdlib.h>
#include "connectors/webhook/request.h"
#include "tests/support/event.h"
#include "tests/support/test.h"

static const struct event *ev;

static int set_up(void **state)
{
    (void)state;
    ev = event_born(&(struct event){
        .id = STR("01HZX3V7QK8N2M4P6R8T0W2Y4Z"),
        .source = STR("/s"),
        .type = STR("chat.done"),
        .subject = STR("chats/1"),
        .datacontenttype = STR("application/json"),
        .data = STR("{\"text\":\"say \\\"hi\\\" & <go>\",\"flow\":\"a/b\",\"up\":\"..\",\"empty\":\"\",\"n\":2}") });
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    event_unref(ev);
    return 0;
}

static struct shape_options options_of(struct tree *body, struct map *none)
{
    return (struct shape_options){ .body = body, .query = none, .headers = none };
}

/* The request that comes of the options; false: its error. */
static bool build(const struct shape_options *o, struct request *r, struct err *e)
{
    struct shape shape;
    struct signer none = { .style = signature_style(SIGNATURE_STANDARD) };
    struct request_template template = { .signer = &none,
                                         .shape = &shape,
                                         .url = (char[]){ "https://x.example.com/in/?v=1" } };
    if (!shape_open(&shape, o, e))
        return false;
    bool good = request_build(r, &template, &(struct message){ .event = ev }, 1764115200123, e);
    shape_close(&shape);
    return good;
}

static const char *header(const struct request *r, const char *name)
{
    for (const struct curl_slist *line = r->lines; line; line = line->next)
        if (strncmp(line->data, name, strlen(name)) == 0 && line->data[strlen(name)] == ':')
            return line->data + strlen(name) + 1 + (line->data[strlen(name) + 1] == ' ');
    return NULL;
}

TEST(bodies_and_their_content_types)
{
    static const struct {
        const char *body, *content_type, *want, *type;
    } cases[] = {
        { "{\"text\":\"{{data.text}}\",\"n\":\"{{data.n}}\"}", NULL, "{\"text\":\"say \\\"hi\\\" & <go>\",\"n\":2}",
          "application/json" },
        { "[\"{{type}}\"]", "application/vnd.x+json", "[\"chat.done\"]", "application/vnd.x+json" },
        { "\"{{type}}: {{data.text}}\"", NULL, "chat.done: say \"hi\" & <go>", "text/plain; charset=utf-8" },
        { "\"{{data.text}}\"", NULL, "\"say \\\"hi\\\" & <go>\"", "application/json" },
        { "\" {{data}} \"", "text/plain",
          " {\"text\":\"say \\\"hi\\\" & <go>\",\"flow\":\"a/b\",\"up\":\"..\",\"empty\":\"\",\"n\":2} ",
          "text/plain" },
        { "\"{\\\"text\\\": \\\"{{data.text}}\\\", \\\"n\\\": {{data.n}}, \\\"s\\\": \\\"{{data.n}}\\\"}\"", NULL,
          "{\"text\":\"say \\\"hi\\\" & <go>\",\"n\":2,\"s\":\"2\"}", "application/json" },
        { "\"[{{type}}] done\"", "text/plain", "[chat.done] done", "text/plain" },
        { "\"text={{data.text}}&type={{type}}\"", "application/x-www-form-urlencoded",
          "text=say%20%22hi%22%20%26%20%3Cgo%3E&type=chat.done", "application/x-www-form-urlencoded" },
        { "\"<p>{{data.text | html}}</p>\"", "text/html", "<p>say \"hi\" &amp; &lt;go&gt;</p>", "text/html" },
        { "\"{{data.n}}\"", "{{datacontenttype}}; v={{data.n}}", "2", "application/json; v=2" },
        { "\"data\"", NULL,
          "{\"text\":\"say \\\"hi\\\" & <go>\",\"flow\":\"a/b\",\"up\":\"..\",\"empty\":\"\",\"n\":2}",
          "application/json" },
        { "{\"id\":\"{{webhook.id}}\"}", NULL, "{\"id\":\"01HZX3V7QK8N2M4P6R8T0W2Y4Z\"}", "application/json" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tree body = { str_dup(str_of(cases[i].body)) };
        struct map none = { 0 };
        struct shape_options o = options_of(&body, &none);
        struct request r = { 0 };
        struct err e = { "" };
        o.content_type = cases[i].content_type;
        if (!build(&o, &r, &e))
            fail_msg("%s: %s", cases[i].body, e.text);
        if (!str_eq(r.body, str_of(cases[i].want)))
            fail_msg("%s: %.*s", cases[i].body, STR_ARG(r.body));
        assert_string_equal(header(&r, "Content-Type"), cases[i].type);
        assert_int_equal(r.url.n, 0); /* the receiver's own */
        request_free(&r);
        free(body.json);
    }
}

TEST(urls)
{
    static const struct {
        const char *path, *name, *value, *want;
    } cases[] = {
        { "/dags/{{data.flow}}/runs", NULL, NULL, "https://x.example.com/in/dags/a%2Fb/runs?v=1" },
        { "/{{data.text}}", "to", "{{data.flow}} &",
          "https://x.example.com/in/say%20%22hi%22%20%26%20%3Cgo%3E?v=1&to=a%2Fb%20%26" },
        { NULL, "a b", "x=1", "https://x.example.com/in/?v=1&a%20b=x%3D1" },
        { NULL, "q", "{{data.none | omit}}", "https://x.example.com/in/?v=1" },
        { NULL, "q", "{{data.empty}}", "https://x.example.com/in/?v=1&q=" },
        { "/{{data.up}}/admin", NULL, NULL, "!path: \"/../admin\" has a step that is empty, . or .." },
        { "/x/{{data.empty}}/y", NULL, NULL, "!path: \"/x//y\" has a step that is empty, . or .." },
        { "/x/", NULL, NULL, "https://x.example.com/in/x/?v=1" },
        { "/{{data.none}}", NULL, NULL, "!path: {{data.none}}: the event has none" },
        { NULL, "q", "{{data.none}}", "!query: q: {{data.none}}: the event has none" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tree body = { (char[]){ "\"standard\"" } };
        struct map none = { 0 };
        struct map_entry entry = { .key = (char *)cases[i].name, .value = (char *)cases[i].value };
        struct map query = { &entry, cases[i].name ? 1 : 0 };
        struct shape_options o = options_of(&body, &none);
        struct request r = { 0 };
        struct err e = { "" };
        o.path = cases[i].path;
        o.query = &query;
        bool good = build(&o, &r, &e);
        assert_string_equal(good ? r.url.at : e.text, cases[i].want + !good);
        request_free(&r);
    }
}

TEST(headers)
{
    struct map_entry entries[] = { { .key = (char[]){ "X-Flow" }, .value = (char[]){ "{{data.flow}} ({{type}})" } },
                                   { .key = (char[]){ "X-None" }, .value = (char[]){ "{{data.none | omit}}" } },
                                   { .key = (char[]){ "X-Empty" }, .value = (char[]){ "{{data.empty}}" } },
                                   { .key = (char[]){ "X-Plain" }, .value = (char[]){ "as it is" } } };
    struct tree body = { (char[]){ "\"standard\"" } };
    struct map none = { 0 }, map = { entries, 4 };
    struct shape_options o = options_of(&body, &none);
    struct request r = { 0 };
    struct err e = { "" };
    o.headers = &map;
    assert_true(build(&o, &r, &e));
    assert_string_equal(header(&r, "X-Flow"), "a/b (chat.done)");
    assert_null(header(&r, "X-None"));
    bool empty = false; /* libcurl's way to say it */
    for (const struct curl_slist *line = r.lines; line; line = line->next)
        empty = empty || strcmp(line->data, "X-Empty;") == 0;
    assert_true(empty);
    assert_string_equal(header(&r, "X-Plain"), "as it is");
    request_free(&r);
}

static char said[4096];

static void say(void *ctx, const char *place, const char *why)
{
    (void)ctx;
    assert_string_equal(place, "");
    snprintf(said + strlen(said), sizeof said - strlen(said), "%s\n", why);
}

TEST(all_that_is_wrong_is_said)
{
    struct tree body = { (char[]){ "{\"blocks\":[{\"text\":\"{{data.}}\"}]}" } };
    struct map_entry query = { .key = (char[]){ "q" }, .value = (char[]){ "{{type" } },
                     header_entry = { .key = (char[]){ "X-A" }, .value = (char[]){ "{{type | up}}" } };
    struct map queries = { &query, 1 }, headers_map = { &header_entry, 1 };
    struct shape_options o = { &body, "no type", "dags", &queries, &headers_map };
    said[0] = '\0';
    shape_faults(&o, say, NULL);
    assert_string_equal(said,
                        "content_type: \"no type\" is not a media type such as application/json\n"
                        "body.blocks[0].text: {{data.: an empty name on the way\n"
                        "path: begins with / (it stands behind that of the url)\n"
                        "query: q: {{type: }} is missing\n"
                        "headers: X-A: {{type | up: behind | stands another value (\"text\", a number, true, false, "
                        "null), omit, html or cut 2000\n");
    struct shape s;
    struct err e = { "" };
    assert_false(shape_open(&s, &o, &e));
    assert_string_equal(e.text, "content_type: \"no type\" is not a media type such as application/json");
    said[0] = '\0';
    body.json = (char[]){ "\"{ \\\"a\\\": {{type}\"" };
    o = (struct shape_options){ .body = &body, .query = &(struct map){ 0 }, .headers = &(struct map){ 0 } };
    shape_faults(&o, say, NULL);
    assert_string_equal(said, "body: {{type: }} is missing\n");
    said[0] = '\0';
    body.json = (char[]){ "\"[{{type}}] done\"" };
    shape_faults(&o, say, NULL);
    assert_string_equal(said,
                        "body: not JSON with values for its expressions: line 1: end of file expected near 'done' "
                        "(content_type: text/plain makes it a text)\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bodies_and_their_content_types, set_up, tear_down),
        cmocka_unit_test_setup_teardown(urls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(headers, set_up, tear_down),
        cmocka_unit_test(all_that_is_wrong_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
