/* SPDX-License-Identifier: MIT */
/* Compiling filters: whatever JSON comes, the canonical text of what was compiled means the same, and so does the index. */
#include <stdlib.h>
#include "bridge/event/filter_index.h"
#include "bridge/lib/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct filter *compile(const char *text, size_t n, struct err *e)
{
    json_t *json = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    struct filter *f = json ? filter_new(json, e) : NULL;
    json_decref(json);
    return f;
}

static void found(void *ctx, size_t number)
{
    CHECK(number == 0);
    ++*(int *)ctx;
}

/* An index of this filter alone finds what the filter takes, and nothing once it has gone. */
static void look_it_up(const struct filter *f, const struct event *ev)
{
    struct filter_index *x = filter_index_new();
    int times = 0;
    CHECK(filter_index_add(x, f) == 0);
    filter_index_find(x, ev, found, &times);
    CHECK(times == filter_match(f, ev));
    filter_index_remove(x, 0);
    filter_index_find(x, ev, found, &times);
    CHECK(times == filter_match(f, ev));
    filter_index_free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct event fields = { .id = STR("1"),
                                  .source = STR("/s"),
                                  .type = STR("chat.created"),
                                  .data = STR("{\"a\":{\"b\":\"x\\n\"},\"c\":[1,true,null]}") };
    const struct event *ev = event_new(&fields, NULL);
    struct err e = { "" };
    struct filter *f = compile((const char *)data, size, &e);
    if (f) {
        char *text = filter_text(f);
        struct filter *again = compile(text, strlen(text), &e);
        CHECK(again || strstr(e.text, "more than")
              || strstr(e.text, "deeper than")); /* the canonical form is more verbose */
        if (again) {
            char *same = filter_text(again);
            CHECK(strcmp(same, text) == 0);
            CHECK(filter_match(again, ev) == filter_match(f, ev));
            free(same);
        }
        look_it_up(f, ev);
        filter_free(again);
        free(text);
    }
    filter_free(f);
    event_unref(ev);
    return 0;
}
