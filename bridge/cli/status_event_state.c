/* SPDX-License-Identifier: MIT */
/* What became of a record of an event at one destination. */
#include <stdlib.h>
#include <string.h>
#include "bridge/cli/status_event_private.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

bool status_event_same(const json_t *note, const char *key, const char *text)
{
    const char *own = json_string_value(json_object_get(note, key));
    return own && text ? strcmp(own, text) == 0 : !own && !text;
}

/* What became of a letter is said, behind it, with the letter's own last attempt. */
static bool event_is_newer(const json_t *note, const json_t *than)
{
    const char *a = json_string_value(json_object_get(note, "last")),
               *b = json_string_value(json_object_get(than, "last"));
    int order = strcmp(a ? a : "", b ? b : "");
    return !than || order > 0 || (order == 0 && !status_event_same(note, "kind", "dead"));
}

const json_t *status_event_noted(const struct event_find *f, const char *kind, const char *sink, const char *endpoint,
                                 const char *origin)
{
    size_t i;
    const json_t *note, *newest = NULL;
    json_array_foreach(f->notes, i, note)
    {
        bool whole = status_event_same(note, "endpoint", NULL) || status_event_same(note, "endpoint", endpoint);
        bool is = kind ? status_event_same(note, "kind", kind)
                       : status_event_same(note, "kind", "dead") || status_event_same(note, "kind", "redriven")
                             || status_event_same(note, "kind", "discarded");
        if (is && whole && status_event_same(note, "sink", sink) && status_event_same(note, "origin", origin)
            && event_is_newer(note, newest))
            newest = note;
    }
    return newest;
}

/* What the daemon has in memory of this event for the destination; `any`: for whichever of the sink. */
static const json_t *event_in_memory(const struct event_find *f, const char *sink, const char *endpoint, bool any)
{
    size_t i, k;
    const json_t *one, *ev;
    json_array_foreach(json_object_get(f->account, "sinks"), i, one)
    {
        if (!status_event_same(one, "sink", sink))
            continue;
        json_array_foreach(json_object_get(one, "events"), k,
                           ev) if (any || status_event_same(ev, "endpoint", endpoint)) return ev;
    }
    return NULL;
}

/* Was the letter given to another place than its own? */
static bool event_is_redirected(const json_t *letter, const char *sink, const char *endpoint)
{
    const char *to = json_text(letter, "to");
    if (!status_event_same(letter, "kind", "redriven") || !to[0])
        return false;
    char *own = trail_place(sink, endpoint);
    bool is = strcmp(own, to) != 0;
    free(own);
    return is;
}

/* Is it paused, with what the daemon has for it? */
static bool event_is_paused(const struct event_find *f, const char *sink, const char *endpoint)
{
    size_t i, k;
    const json_t *one, *to;
    json_array_foreach(json_object_get(f->account, "sinks"), i, one)
    {
        json_array_foreach(json_object_get(one, "destinations"), k, to)
        {
            if (status_event_same(one, "sink", sink) && status_event_same(to, "endpoint", endpoint))
                return json_is_true(json_object_get(to, "paused"));
        }
    }
    return false;
}

const char *status_event_state(const struct event_find *f, const char *sink, const char *endpoint, const char *origin,
                               bool finished, const json_t **why)
{
    const json_t *memory = event_in_memory(f, sink, endpoint, false);
    const json_t *letter = status_event_noted(f, NULL, sink, endpoint, origin);
    *why = memory;
    if (memory && status_event_same(memory, "state", "ready") && event_is_paused(f, sink, endpoint))
        return "paused";
    if (memory)
        return json_string_value(json_object_get(memory, "state"));
    if ((*why = status_event_noted(f, "waiting", sink, endpoint, origin)))
        return "waiting";
    if ((*why = status_event_noted(f, "redrive", sink, endpoint, origin)))
        return "redriven";
    if ((*why = status_event_noted(f, "resend", sink, endpoint, origin)))
        return "resent";
    *why = status_event_noted(f, "dead", sink, endpoint, origin); /* that it was discarded says no more */
    if (letter && !status_event_same(letter, "kind", "redriven"))
        return json_text(letter, "kind");
    if (event_is_redirected(letter, sink, endpoint))
        return EVENT_REDIRECTED;
    *why = NULL;
    /* of a record that is open at others of the sink alone */
    return finished || (f->account && event_in_memory(f, sink, endpoint, true)) ? "finished" : "pending";
}

bool status_event_came(const struct event_find *f, const char *sink, const char *endpoint, const char *origin)
{
    size_t i;
    const json_t *note;
    json_array_foreach(f->notes, i, note)
    {
        if (status_event_same(note, "sink", sink) && status_event_same(note, "endpoint", endpoint)
            && status_event_same(note, "origin", origin) && !status_event_same(note, "kind", "unserved"))
            return true;
    }
    return event_in_memory(f, sink, endpoint, false) != NULL;
}

void status_event_destination(json_t *list, const char *sink, const char *endpoint, const char *state,
                              const json_t *why)
{
    static const char *const keys[] = { "attempts", "due", "last", "status", "class", "reason" };
    json_t *j = json_pack("{s:s,s:o,s:s}", "sink", sink, "endpoint", json_of_text(str_of(endpoint)), "state", state);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        json_t *value = json_object_get(why, keys[i]);
        json_object_set_new(j, keys[i], value ? json_deep_copy(value) : json_null());
    }
    json_array_append_new(list, j);
}
