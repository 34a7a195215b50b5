/* SPDX-License-Identifier: MIT */
/* What became of an event, as text for a person. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/cli/status_event_print.h"
#include "bridge/cli/status_print.h"
#include "bridge/lib/str.h"

/* What is said of each state, and whether the cause and the next attempt follow. */
static const struct {
    const char *state, *text;
    bool cause;
} event_states[] = {
    { "finished", "finished: delivered, as far as the log can tell", false },
    { "filtered", "left out by the filter", false },
    { "pending", "pending", false },
    { "ready", "about to be sent", true },
    { "paused", "paused: waits", true },
    { "behind", "behind an earlier event of its key", false },
    { "in_flight", "in flight", true },
    { "storing", "being moved on", true },
    { "waiting", "waiting", true },
    { "dead", "dead", true },
    { "redriven", "redriven, pending", false },
    { "resent", "resent, pending", false },
    { "redirected", "dead, and redriven to ", true },
    { "discarded", "dead, and discarded by a person", true },
    { "unserved", "kept, but nobody reads it any more (aqueduct orphans list)", false },
    { "live", "shown to who listened then", false },
};

static void event_print_cause(const json_t *d, FILE *out)
{
    char due[24], last[24];
    char *class = status_print_text(d, "class"), *reason = status_print_text(d, "reason");
    int64_t attempts = status_print_number(d, "attempts"), status = status_print_number(d, "status");
    if (status_print_when(d, "last", false, last))
        fprintf(out, ", last attempt %s ago", last);
    if (status_print_when(d, "due", true, due))
        fprintf(out, ", the next attempt in %s", due);
    if (attempts > 0)
        fprintf(out, ", attempts: %" PRId64, attempts);
    if (class[0])
        fprintf(out, ", %s", class);
    if (reason[0])
        fprintf(out, ": %s", reason);
    else if (status > 0)
        fprintf(out, ": %" PRId64, status);
    free(reason);
    free(class);
}

static void event_print_destination(const json_t *d, FILE *out)
{
    char resent[24], *sink = status_print_text(d, "sink"), *endpoint = status_print_text(d, "endpoint"),
                     *state = status_print_text(d, "state"), *name = str_join(sink, endpoint[0] ? "/" : "", endpoint);
    size_t i = 0;
    while (i < sizeof event_states / sizeof *event_states - 1 && strcmp(event_states[i].state, state) != 0)
        i++;
    char *to = status_print_text(d, "to");
    fprintf(out, "  %-24s %s%s", name, event_states[i].text, to);
    free(to);
    if (event_states[i].cause)
        event_print_cause(d, out);
    if (status_print_when(d, "resent", false, resent))
        fprintf(out, "; resent %s ago", resent);
    fputc('\n', out);
    free(name);
    free(state);
    free(endpoint);
    free(sink);
}

static void event_print_stored(const json_t *stored, FILE *out)
{
    char *type = status_print_text(stored, "type"), *source = status_print_text(stored, "source"),
         *topic = status_print_text(stored, "topic");
    char ago[24] = "?";
    size_t i;
    const json_t *d, *all = json_object_get(stored, "destinations");
    status_print_when(stored, "time", false, ago);
    fprintf(out, "%s from %s, stored %s ago at %s/%" PRId64 "@%" PRId64 "%s\n", type, source, ago, topic,
            status_print_number(stored, "partition"), status_print_number(stored, "offset"),
            json_is_true(json_object_get(stored, "copy"))
                ? " (seen in a copy alone: the topic has it no longer, or further back than was looked)"
                : "");
    json_array_foreach(all, i, d) event_print_destination(d, out);
    if (json_array_size(all) == 0)
        fputs("  nobody got it: no sink reads this topic, or one whose endpoints were made later\n", out);
    free(topic);
    free(source);
    free(type);
}

void status_event_print(const json_t *event, FILE *out)
{
    size_t i;
    const json_t *one;
    json_array_foreach(json_object_get(event, "stored"), i, one) event_print_stored(one, out);
    json_array_foreach(json_object_get(event, "refused"), i, one)
    {
        char *source = status_print_text(one, "source");
        fprintf(out, "no topic could take it from source %s%s", source,
                json_is_true(json_object_get(one, "discarded")) ? " (discarded by a person)" : "");
        event_print_cause(one, out);
        fputc('\n', out);
        free(source);
    }
}
