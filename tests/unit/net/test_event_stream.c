/* SPDX-License-Identifier: MIT */
/* Event streams as browsers read them: the cases of the web platform's tests, whole and cut at every byte. */
#include "bridge/net/event_stream.h"
#include <stdio.h>
#include "tests/support/test.h"

enum { MOST = 64 };

static char said[1024]; /* "type id data|" of each block */
static size_t enough_after;

static bool hear(void *ctx, const struct event_stream_block *b)
{
    size_t n = strlen(said);
    (void)ctx;
    snprintf(said + n, sizeof said - n, "%.*s %.*s %.*s|", STR_ARG(b->type), STR_ARG(b->id),
             STR_ARG(b->data.at ? b->data : STR("-")));
    return enough_after == 0 || --enough_after > 0;
}

static const char *read_cut(struct str wire, size_t step)
{
    struct event_stream s = event_stream_new(MOST);
    struct err e = { "" };
    *said = '\0';
    for (size_t at = 0; at < wire.n; at += step) {
        struct str part = str_from(wire, at);
        part.n = part.n < step ? part.n : step;
        assert_true(event_stream_feed(&s, part, hear, NULL, &e));
    }
    event_stream_free(&s);
    return said;
}

TEST(blocks_are_read_as_browsers_do)
{
    const struct {
        struct str wire;
        const char *blocks;
    } cases[] = {
        { STR("\xef\xbb\xbf"
              "data:1\n\n\xef\xbb\xbf"
              "data:2\n\ndata:3\n\n"),
          "  1|  3|" },
        { STR(":\r\ndata:a\rdata:b\n\r\n"), "  a\nb|" },
        { STR("data\n\ndata\ndata\n\ndata:test\n\n"), "  |  \n|  test|" },
        { STR("data: x\r\n\r\ndata:  y\r\r"), "  x|   y|" },
        { STR("id: 1\nevent: a\ndata: x\n\nevent: b\n\ndata: y\n\nid\ndata: z\n\n"), "a 1 x| 1 y|  z|" },
        { STR("id: 7\n\ndata: x\n\n"), " 7 -| 7 x|" },
        { STR("id: 1\0 2\ndata: x\n\n"), "  x|" },
        { STR("Data: x\n data: y\ndata : z\nfoo: 1\n\ndata: never ends\n"), "" },
        { STR(": comment\nretry: 1x\nevent: \ndata: a:b\n\n"), "  a:b|" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 1; step <= cases[i].wire.n; step++)
            assert_string_equal(read_cut(cases[i].wire, step), cases[i].blocks);
}

TEST(what_is_too_long_is_refused_and_never_cut)
{
    struct event_stream s = event_stream_new(MOST);
    struct err e = { "" };
    *said = '\0';
    for (int i = 0; i < 3; i++)
        assert_true(event_stream_feed(&s, STR("data: 0123456789abcdef\n"), hear, NULL, &e));
    assert_false(event_stream_feed(&s, STR("data: 0123456789abcdef\n\n"), hear, NULL, &e));
    assert_string_equal(e.text, "an event is longer than 64 bytes");
    assert_string_equal(said, "");
    event_stream_restart(&s);
    for (int i = 0; i < 5; i++)
        if (!event_stream_feed(&s, STR("0123456789abcdef0123456789abcdef"), hear, NULL, &e))
            break;
    assert_true(s.line.failed);
    event_stream_free(&s);
}

TEST(a_new_connection_keeps_the_id_and_forgets_the_half)
{
    struct event_stream s = event_stream_new(MOST);
    struct err e = { "" };
    *said = '\0';
    assert_true(event_stream_feed(&s, STR("retry: 250\nid: 9\ndata: x\n\nid: 10\ndata: half"), hear, NULL, &e));
    assert_int_equal(s.retry_ms, 250);
    event_stream_restart(&s);
    assert_true(event_stream_feed(&s, STR("data: y\n\n"), hear, NULL, &e));
    assert_string_equal(said, " 9 x| 10 y|");
    enough_after = 1;
    assert_false(event_stream_feed(&s, STR("data: z\n\ndata: not looked at\n\n"), hear, NULL, &e));
    assert_string_equal(said, " 9 x| 10 y| 10 z|");
    assert_string_equal(e.text, "");
    event_stream_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_read_as_browsers_do),
        cmocka_unit_test(what_is_too_long_is_refused_and_never_cut),
        cmocka_unit_test(a_new_connection_keeps_the_id_and_forgets_the_half),
    };
    return cmocka_run_group_tests_name("event_stream", tests, NULL, NULL);
}
