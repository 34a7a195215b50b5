/* SPDX-License-Identifier: MIT */
/* A listener's query: whatever it says, it is an error with a text, or a subscription with a key and a wish. */
#include "bridge/lib/mem.h"
#include "connectors/websocket/wish.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct subscription s;
    struct err e = { "" };
    struct str query = { (const char *)data, n };
    if (!subscription_parse(&s, query, n % 2, NULL, NULL, NULL, &e)) {
        CHECK(e.text[0]);
        return 0;
    }
    CHECK(s.key && *s.key);
    struct wish w;
    struct err wrong = { "" };
    if (wish_parse(&w, query, STR_ABSENT, &wrong))
        CHECK(w.slow && w.start.from && (w.start.from == CURSOR_RESUME) == (w.text != NULL));
    else
        CHECK(wrong.text[0]);
    wish_free(&w);
    const struct event *ev = event_new(&(struct event){ .id = STR("1"),
                                                        .source = STR("/s"),
                                                        .type = STR("chat.a"),
                                                        .subject = STR("x") },
                                       &e);
    subscription_has_topic(&s, STR("a"));
    filter_match(s.filter, ev);
    event_unref(ev);
    subscription_free(&s);
    return 0;
}
