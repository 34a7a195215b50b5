/* SPDX-License-Identifier: MIT */
/* The index of filters: what it finds is what the filters themselves take, and it looks at little else. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/delivery/index.h"
#include "tests/support/event.h"
#include "tests/support/test.h"

static struct filter *compile(const char *text)
{
    json_t *json = json_loads(text, 0, NULL);
    struct filter *f = filter_new(json, NULL);
    json_decref(json);
    assert_non_null(f);
    return f;
}

struct search {
    struct filter_index *x;
    struct filter **filters;
    const struct event *event;
    bool taken[4096];
    size_t looked_at;
};

static void look(void *ctx, size_t i)
{
    struct search *s = ctx;
    s->looked_at++;
    bool matches = index_match(s->x, i);
    assert_int_equal(matches, filter_match(s->filters[i], s->event));
    s->taken[i] = s->taken[i] || matches;
}

/* Every filter of a few words, alone and combined. */
TEST(it_finds_what_the_filters_take)
{
    static const char *const words[] = { "a", "a.", "a.b", "a.b.c", "b", "" };
    static const char *const shapes[] = {
        "{\"exact\":{\"type\":\"%s\"}}",
        "{\"prefix\":{\"type\":\"%s\"}}",
        "{\"suffix\":{\"type\":\"%s\"}}",
        "{\"not\":{\"exact\":{\"type\":\"%s\"}}}",
        "{\"exact\":{\"id\":\"%s\"}}",
        "{\"any\":[{\"exact\":{\"type\":\"%s\"}},{\"prefix\":{\"type\":\"a.b\"}}]}",
        "{\"any\":[{\"exact\":{\"type\":\"%s\"}},{\"suffix\":{\"type\":\"c\"}}]}",
        "{\"all\":[{\"prefix\":{\"type\":\"%s\"}},{\"suffix\":{\"type\":\"c\"}}]}",
        "{\"all\":[{\"any\":[{\"exact\":{\"type\":\"%s\"}},{\"exact\":{\"type\":\"b\"}}]},{\"not\":{\"exact\":{\"id\":\"x\"}}}]}",
        "{\"data\":{\"/k\":\"%s\"}}",
        "{\"prefix\":{\"type\":\"%s\",\"data\":{\"/n/0/x\":\"1\"}},\"not\":{\"data\":{\"/k\":null}}}",
        "{\"any\":[{\"data\":{\"/n/1\":true}},{\"exact\":{\"type\":\"%s\"}}]}",
    };
    struct filter *filters[64] = { NULL };
    size_t n = 1; /* the first one takes everything */
    struct filter_index *x = index_new();
    index_add(x, NULL);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (size_t w = 0; words[w][0]; w++) {
            char text[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            snprintf(text, sizeof text, shapes[s], words[w]);
#pragma GCC diagnostic pop
            filters[n] = compile(text);
            index_add(x, filters[n]);
            n++;
        }
    static const char *const types[] = { "a", "a.", "a.b", "a.bc", "a.b.c", "b", "bc", "c", "zz" };
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        const struct event *ev = event_like((struct event){
            .id = STR("a"),
            .type = str_of(types[t]),
            .data = t % 2 ? STR("{\"k\":\"a.b\",\"n\":[{\"x\":12}]}") : STR("{\"n\":[{\"x\":2},true],\"k\":\"b\"}") });
        struct search s = { .x = x, .filters = filters, .event = ev };
        index_find(x, ev, look, &s);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(s.taken[i], filter_match(filters[i], ev));
        event_unref(ev);
    }
    index_free(x);
    for (size_t i = 0; i < n; i++)
        filter_free(filters[i]);
}

TEST(an_event_costs_what_may_take_it)
{
    enum { MANY = 2000 };
    static struct filter *filters[MANY];
    struct filter_index *x = index_new();
    for (size_t i = 0; i < MANY; i++) {
        char text[64];
        snprintf(text, sizeof text,
                 i % 2 ? "{\"prefix\":{\"type\":\"t%04zu.\"}}" : "{\"exact\":{\"type\":\"t%04zu.x\"}}", i);
        filters[i] = compile(text);
        index_add(x, filters[i]);
    }
    for (size_t i = 0; i < MANY; i++) {
        char type[16];
        snprintf(type, sizeof type, "t%04zu.x", i);
        const struct event *ev = event_like((struct event){ .type = str_of(type) });
        struct search s = { .x = x, .filters = filters, .event = ev };
        index_find(x, ev, look, &s);
        assert_int_equal(s.looked_at, 1);
        assert_true(s.taken[i]);
        event_unref(ev);
    }
    index_free(x);
    for (size_t i = 0; i < MANY; i++)
        filter_free(filters[i]);
    index_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(it_finds_what_the_filters_take),
                                        cmocka_unit_test(an_event_costs_what_may_take_it) };
    return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}
