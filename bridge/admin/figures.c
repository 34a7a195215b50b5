/* SPDX-License-Identifier: MIT */
/* Adds up what a sink's account says of its destinations. */
#include "bridge/admin/figures.h"
#include <string.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/json.h"
#include "bridge/lib/str.h"

static int64_t figures_number(const json_t *of, const char *key)
{
    const json_t *n = json_object_get(of, key);
    return json_is_integer(n) ? json_integer_value(n) : -1;
}

/* Adds what is known; the sum is unknown as long as nothing was. */
static void figures_add(int64_t *sum, int64_t n)
{
    if (n >= 0)
        *sum = (*sum > 0 ? *sum : 0) + n;
}

static void figures_oldest(struct figures *f, const json_t *of, const char *key)
{
    int64_t ms;
    const char *text = json_string_value(json_object_get(of, key));
    if (text && clock_parse(str_of(text), &ms) && (f->oldest_ms < 0 || ms < f->oldest_ms))
        f->oldest_ms = ms;
}

static void figures_add_destination(struct figures *f, const json_t *d, bool waits)
{
    figures_add(&f->delivered, figures_number(d, "delivered"));
    figures_add(&f->retries, figures_number(d, "retries"));
    figures_add(&f->dead, figures_number(d, "dead"));
    figures_add(&f->pending, figures_number(d, "pending"));
    figures_add(&f->waiting, figures_number(d, "waiting"));
    figures_oldest(f, d, "oldest");
    if (waits)
        figures_oldest(f, json_object_get(d, "failing"), "since");
}

struct figures figures_of(const json_t *sink)
{
    struct figures f = { -1, -1, -1, -1, -1, -1, -1 };
    size_t i;
    const json_t *one;
    json_array_foreach(json_object_get(sink, "destinations"), i, one)
    {
        figures_add_destination(&f, one, figures_number(sink, "waiting") > 0);
    }
    json_array_foreach(json_object_get(sink, "topics"), i, one)
    {
        figures_add(&f.lag, figures_number(one, "pending"));
    }
    figures_add(&f.waiting, figures_number(sink, "waiting"));
    figures_add(&f.waiting, figures_number(sink, "blocked"));
    if (json_is_true(json_object_get(sink, "live"))) /* it owes nobody anything */
        f.pending = f.waiting = f.lag = f.oldest_ms = -1;
    return f;
}

static bool figures_is_open(const json_t *destination)
{
    const char *state = json_string_value(json_object_get(json_object_get(destination, "circuit"), "state"));
    return state && strcmp(state, "closed") != 0;
}

static enum sink_state figures_state_of(const json_t *d)
{
    if (figures_is_open(d))
        return SINK_OPEN;
    if (json_is_object(json_object_get(d, "failing")))
        return SINK_FAILING;
    if (json_is_object(json_object_get(d, "held")))
        return SINK_HELD;
    return json_is_true(json_object_get(d, "paused")) ? SINK_PAUSED : SINK_ACTIVE;
}

static char *figures_reason(const json_t *d)
{
    const json_t *said = json_object_get(d, "failing");
    const char *reason = json_text(json_is_object(said) ? said : json_object_get(d, "held"), "reason");
    const char *endpoint = json_text(d, "endpoint");
    return reason[0] ? str_join(endpoint, endpoint[0] ? ": " : "", reason) : NULL;
}

enum sink_state figures_state(const json_t *sink, char **detail)
{
    const json_t *d, *worst = NULL, *list = json_object_get(sink, "destinations");
    enum sink_state state = SINK_ACTIVE;
    const char *nothing = json_text(sink, "no_account");
    size_t i;
    if (nothing[0]) {
        *detail = str_dup(str_of(nothing));
        return SINK_UNKNOWN;
    }
    json_array_foreach(list, i, d)
    {
        enum sink_state own = figures_state_of(d);
        if (json_is_true(json_object_get(d, "removed")) || own <= state)
            continue;
        state = own;
        worst = d;
    }
    *detail = worst ? figures_reason(worst) : NULL;
    return state;
}

const char *figures_state_text(enum sink_state state)
{
    switch (state) {
    case SINK_ACTIVE: return "active";
    case SINK_PAUSED: return "paused";
    case SINK_HELD: return "held";
    case SINK_FAILING: return "failing";
    case SINK_OPEN: return "open";
    case SINK_UNKNOWN: return "unknown";
    }
    return "";
}
