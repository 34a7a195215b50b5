/* SPDX-License-Identifier: MIT */
/* Compiling filters: whatever JSON comes, and the canonical text of what was compiled means the same. */
#include <stdlib.h>
#include "bridge/event/filter.h"
#include "bridge/lib/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct filter *compile(const char *text, size_t n, struct err *e)
{
    json_t *json = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    struct filter *f = json ? filter_new(json, e) : NULL;
    json_decref(json);
    return f;
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
        filter_free(again);
        free(text);
    }
    filter_free(f);
    event_unref(ev);
    return 0;
}
