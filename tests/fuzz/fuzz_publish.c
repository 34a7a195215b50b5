/* SPDX-License-Identifier: MIT */
/* What a listener publishes: whatever it says, it is an error with a text, or an event of the sink's source. */
#include <stdlib.h>
#include "bridge/lib/mem.h"
#include "connectors/websocket/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const struct author by = { STR("/mine"), n % 2 ? STR("anna") : STR_ABSENT, STR("live/anna") };
    struct published_event pe;
    struct err e = { "" };
    if (!message_read((struct str){ (const char *)data, n }, &by, &pe, &e)) {
        CHECK(e.text[0]);
        return 0;
    }
    CHECK(str_eq(pe.event->source, by.source) && pe.event->time.n && pe.event->id.n);
    CHECK(str_eq(event_attribute(pe.event, STR("authid")), by.user));
    CHECK(str_starts(str_of(pe.scope), by.scope));
    event_unref(pe.event);
    free(pe.scope);
    return 0;
}
