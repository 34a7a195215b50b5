/* SPDX-License-Identifier: MIT */
/* Templates: whatever text comes is refused with a cause or rendered, and what is rendered is fit for its place. The first
 * byte says which place; of a structure, the rest is JSON. */
#include <stdlib.h>
#include "bridge/event/template.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct event *make_event(size_t i)
{
    static const char json[] = "{\"a\":{\"b\":\"x\\n\\u00e9<\\\"\"},\"c\":[1,true,null,{\"d\":1.50}],\"e\":\"\"}";
    static const struct header extension = { { "tries", 5 }, { "7", 1 } };
    struct event fields = { .id = STR("1"),
                            .source = STR("/s"),
                            .type = STR("chat.\"a\""),
                            .extensions = &extension,
                            .extension_count = 1,
                            .integers = 1,
                            .data = STR(json) };
    if (i == 1) {
        fields.datacontenttype = STR("text/plain");
        fields.data = STR("a\r\n\"b\" \xe2\x82\xac");
    }
    if (i == 2) {
        fields.datacontenttype = STR("image/png");
        fields.data = STR("\x89PNG\xff");
    }
    return event_new(&fields, NULL);
}

/* May an expression have left that at the place? What stands around it is the user's. */
static void check_rendered(enum template_place place, bool plain, struct str out)
{
    struct jscan_value value;
    struct err e = { "" };
    if (place == TEMPLATE_JSON)
        CHECK(jscan_check(out, &value, &e));
    for (size_t i = 0; i < out.n; i++) {
        unsigned char c = (unsigned char)out.at[i];
        if (place == TEMPLATE_QUERY)
            CHECK(c > ' ' && c < 0x7f && c != '&' && c != '#' && c != '?' && c != '=');
        if ((place == TEMPLATE_LINE || place == TEMPLATE_TYPE) && plain)
            CHECK(c >= ' ' && c != 0x7f);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    enum template_place place = (enum template_place)(1 + data[0] % 7);
    struct str text = { (const char *)data + 1, size - 1 };
    struct err e = { "" };
    struct template_set *set = template_set_new();
    struct buf out = buf_new(1 << 16);
    json_t *json = place > TEMPLATE_TYPE ? json_loadb(text.at, text.n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL)
                                         : NULL;
    const struct template *t = json                     ? template_of_json(set, "body", json, &e)
                               : place <= TEMPLATE_TYPE ? template_of_text(set, text, place, &e)
                                                        : NULL;
    bool plain = true; /* no control character stands around expressions */
    for (size_t i = 0; i < text.n; i++)
        plain = plain && (unsigned char)text.at[i] >= ' ' && text.at[i] != 0x7f;
    CHECK(t || json || place > TEMPLATE_TYPE || e.text[0]);
    for (size_t i = 0; t && i < 3; i++) {
        const struct event *ev = make_event(i);
        buf_reset(&out);
        e.text[0] = '\0';
        template_see(set, ev, STR("id"));
        enum template_result r = template_render(set, t, &out, &e);
        CHECK((r == TEMPLATE_FAILED) == (e.text[0] != '\0'));
        if (r == TEMPLATE_RENDERED)
            check_rendered(json ? TEMPLATE_JSON : place, plain, buf_str(&out));
        event_unref(ev);
    }
    json_decref(json);
    buf_free(&out);
    template_set_free(set);
    return 0;
}
