/* SPDX-License-Identifier: MIT */
/* Compares attempts with what is asked for. */
#include "bridge/delivery/attempts_filter.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/json.h"

static bool attempts_is(const json_t *of, const char *name, struct str want)
{
    return !want.at || str_eq(str_of(json_text(of, name)), want);
}

static bool attempts_in_time(const struct attempts_filter *f, const json_t *a)
{
    int64_t time = 0;
    if (!f->since_ms && !f->until_ms)
        return true;
    return clock_parse(str_of(json_text(a, "time")), &time) && time >= f->since_ms
           && (!f->until_ms || time < f->until_ms);
}

bool attempts_are_of(const struct attempts_filter *f, const json_t *a)
{
    return json_is_object(a) && attempts_is(a, "sink", f->sink) && attempts_is(a, "endpoint", f->endpoint);
}

bool attempts_match(const struct attempts_filter *f, const json_t *a)
{
    const json_t *event = json_object_get(a, "event");
    return attempts_are_of(f, a) && attempts_in_time(f, a) && attempts_is(event, "id", f->event)
           && attempts_is(event, "type", f->type) && attempts_is(a, "end", f->end)
           && (!f->failures || strcmp(json_text(a, "verdict"), "delivered") != 0);
}
