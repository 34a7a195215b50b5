/* SPDX-License-Identifier: MIT */
/* The index of filters: what it finds is what the filters themselves take, and it looks at little else. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/event/filter_index.h"
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

enum { MOST = 4096 };

struct search {
    bool taken[MOST];
};

static void take(void *ctx, size_t i)
{
    struct search *s = ctx;
    assert_false(s->taken[i]); /* once */
    s->taken[i] = true;
}

/* What the index finds is what the filters that are there take. Returns how many it asked. */
static size_t holds(struct filter_index *x, struct filter *const *filters, const bool *there, size_t n,
                    const struct event *ev)
{
    static struct search s;
    s = (struct search){ 0 };
    size_t asked = filter_index_find(x, ev, take, &s);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(s.taken[i], there[i] && filter_match(filters[i], ev));
    return asked;
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
    struct filter_index *x = filter_index_new();
    bool there[64];
    assert_int_equal(filter_index_add(x, NULL), 0);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (size_t w = 0; words[w][0]; w++) {
            char text[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            snprintf(text, sizeof text, shapes[s], words[w]);
#pragma GCC diagnostic pop
            filters[n] = compile(text);
            assert_int_equal(filter_index_add(x, filters[n]), n);
            n++;
        }
    static const char *const types[] = { "a", "a.", "a.b", "a.bc", "a.b.c", "b", "bc", "c", "zz" };
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        const struct event *ev = event_like((struct event){
            .id = STR("a"),
            .type = str_of(types[t]),
            .data = t % 2 ? STR("{\"k\":\"a.b\",\"n\":[{\"x\":12}]}") : STR("{\"n\":[{\"x\":2},true],\"k\":\"b\"}") });
        memset(there, 1, sizeof there);
        holds(x, filters, there, n, ev);
        event_unref(ev);
    }
    filter_index_free(x);
    for (size_t i = 0; i < n; i++)
        filter_free(filters[i]);
}

TEST(an_event_costs_what_may_take_it)
{
    enum { MANY = 2000 };
    static struct filter *filters[MANY];
    struct filter_index *x = filter_index_new();
    for (size_t i = 0; i < MANY; i++) {
        char text[64];
        snprintf(text, sizeof text,
                 i % 2 ? "{\"prefix\":{\"type\":\"t%04zu.\"}}" : "{\"exact\":{\"type\":\"t%04zu.x\"}}", i);
        filters[i] = compile(text);
        filter_index_add(x, filters[i]);
    }
    for (size_t i = 0; i < MANY; i++) {
        char type[16];
        snprintf(type, sizeof type, "t%04zu.x", i);
        const struct event *ev = event_like((struct event){ .type = str_of(type) });
        struct search s = { 0 };
        assert_int_equal(filter_index_find(x, ev, take, &s), 1);
        assert_true(s.taken[i]);
        event_unref(ev);
    }
    filter_index_free(x);
    for (size_t i = 0; i < MANY; i++)
        filter_free(filters[i]);
    filter_index_free(NULL);
}

/* What the dearest listeners ask for: 171 conditions each, of which one in a thousand events fulfils some. Beside them the
 * same type for all, which is no way to tell them apart. */
TEST(filters_of_many_conditions_cost_what_they_match)
{
    enum { FILTERS = 256, CONDITIONS = 171, TEXT = 65536 };
    static struct filter *filters[FILTERS];
    static char text[TEXT];
    struct filter_index *x = filter_index_new();
    for (size_t i = 0; i < FILTERS; i++) {
        size_t n = (size_t)snprintf(text, TEXT, "[{\"exact\":{\"type\":\"t\"}},{\"any\":[");
        for (size_t k = 0; k < CONDITIONS; k++)
            n += (size_t)snprintf(text + n, TEXT - n, "%s{\"%s\":{\"subject\":\"s/%zu/%zu\"}}", k ? "," : "",
                                  k % 2 ? "prefix" : "exact", i, k + 100);
        snprintf(text + n, TEXT - n, "]}]");
        filters[i] = compile(text);
        filter_index_add(x, filters[i]);
    }
    static const char *const subjects[] = { "s/7/100", "s/255/101/more", "s/3/999", "x", NULL };
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        const struct event *ev = event_like(
            (struct event){ .type = STR("t"), .subject = subjects[i] ? str_of(subjects[i]) : STR_ABSENT });
        struct search s = { 0 };
        /* the first came when nobody shared its type, and stands below that */
        assert_true(filter_index_find(x, ev, take, &s) <= 2);
        for (size_t k = 0; k < FILTERS; k++)
            assert_int_equal(s.taken[k], filter_match(filters[k], ev));
        event_unref(ev);
    }
    filter_index_free(x);
    for (size_t i = 0; i < FILTERS; i++)
        filter_free(filters[i]);
}

static uint64_t dice_state;

static size_t dice(size_t sides)
{
    dice_state ^= dice_state << 13;
    dice_state ^= dice_state >> 7;
    dice_state ^= dice_state << 17;
    return dice_state % sides;
}

static const char *const dice_words[] = { "a", "b", "a.", "a.b", "a.b.c", "aa", "c", "ab" };

static const char *dice_word(void)
{
    return dice_words[dice(sizeof dice_words / sizeof *dice_words)];
}

static json_t *dice_filter(int depth)
{
    static const char *const leaves[] = { "exact", "prefix", "suffix" };
    static const char *const names[] = { "type", "subject", "source", "id", "tenant" };
    size_t kind = dice(depth ? 10 : 6);
    if (kind == 5)
        return json_pack("{s:{s:s}}", "data", dice(2) ? "/k" : "/n/0", dice_word());
    if (kind < 6)
        return json_pack("{s:{s:s}}", leaves[dice(8) % 3], names[dice(5)], dice_word());
    if (kind == 6)
        return json_pack("{s:o}", "not", dice_filter(depth - 1));
    json_t *list = json_array();
    for (size_t n = 1 + dice(4); n > 0; n--)
        json_array_append_new(list, dice_filter(depth - 1));
    return json_pack("{s:o}", kind % 2 ? "all" : "any", list);
}

static const struct event *dice_event(void)
{
    char data[64];
    const struct header tenant = { STR("tenant"), str_of(dice_word()) };
    snprintf(data, sizeof data, "{\"k\":\"%s\",\"n\":[\"%s\"]}", dice_word(), dice_word());
    return event_like((struct event){ .id = str_of(dice_word()),
                                      .type = str_of(dice_word()),
                                      .source = str_of(dice_word()),
                                      .subject = dice(3) ? str_of(dice_word()) : STR_ABSENT,
                                      .extensions = &tenant,
                                      .extension_count = dice(2),
                                      .data = str_of(data) });
}

/* Filters come and go at random; what is found is always what those that are there take. */
TEST(filters_come_and_go)
{
    enum { ROUNDS = 3000, FILTERS = 60 };
    struct filter *filters[FILTERS] = { NULL };
    bool there[FILTERS] = { false };
    struct filter_index *x = filter_index_new();
    dice_state = 88172645463325252u;
    for (int round = 0; round < ROUNDS; round++) {
        size_t i = dice(FILTERS), lowest = 0;
        while (lowest < FILTERS && there[lowest])
            lowest++;
        if (there[i]) {
            filter_index_remove(x, i);
            filter_free(filters[i]);
        } else {
            json_t *json = dice_filter(3);
            i = lowest;
            filters[i] = filter_new(json, NULL);
            json_decref(json);
            assert_int_equal(filter_index_add(x, filters[i]), i);
        }
        there[i] = !there[i];
        const struct event *ev = dice_event();
        holds(x, filters, there, FILTERS, ev);
        event_unref(ev);
    }
    for (size_t i = 0; i < FILTERS; i++)
        if (there[i]) {
            filter_index_remove(x, i);
            filter_free(filters[i]);
        }
    const struct event *ev = dice_event();
    assert_int_equal(holds(x, filters, memset(there, 0, sizeof there), FILTERS, ev), 0);
    event_unref(ev);
    filter_index_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(it_finds_what_the_filters_take),
                                        cmocka_unit_test(an_event_costs_what_may_take_it),
                                        cmocka_unit_test(filters_of_many_conditions_cost_what_they_match),
                                        cmocka_unit_test(filters_come_and_go) };
    return cmocka_run_group_tests_name("filter_index", tests, NULL, NULL);
}
