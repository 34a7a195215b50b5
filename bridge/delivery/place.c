/* SPDX-License-Identifier: MIT */
/* Finds a sink and its endpoint by what a person wrote, and whether the sink would find what it is given. */
#include "bridge/delivery/place.h"
#include <stdlib.h>
#include "bridge/broker/broker.h"
#include "bridge/config/config.h"
#include "bridge/connector.h"
#include "bridge/event/trail.h"
#include "bridge/lib/buf.h"
#include "bridge/lib/mem.h"

static bool place_takes(const struct sink *s)
{
    return !s->ops->broadcast && !s->ops->dead_letters;
}

/* What there is: every place, or those of one sink. */
static bool place_none(const struct command_call *call, const struct sink *of, const char *what, struct str text,
                       struct err *e)
{
    struct buf there = buf_new(sizeof e->text / 2);
    for (size_t i = 0; i < call->sink_count; i++) {
        const struct strings *endpoints = &call->names[i].endpoints;
        if (!place_takes(call->sinks[i]) || (of && of != call->sinks[i]))
            continue;
        for (size_t j = 0; j < (endpoints->count ? endpoints->count : 1); j++) {
            char *one = trail_place(call->sinks[i]->id, endpoints->count ? endpoints->at[j] : NULL);
            buf_printf(&there, "%s%s", there.n ? ", " : "", one);
            free(one);
        }
    }
    err_set(e, "--to %.*s: %s; there %s %.*s%s", STR_ARG(text), what, there.n ? "is" : "is none",
            STR_ARG(buf_str(&there)), there.failed ? ", ..." : "");
    buf_free(&there);
    return false;
}

bool place_named(const struct command_call *call, struct str text, struct command_place *out, struct err *e)
{
    struct str endpoint = text, sink;
    bool has_endpoint = memchr(text.at, '/', text.n) != NULL;
    size_t i = 0;
    str_cut(&endpoint, '/', &sink);
    while (i < call->sink_count
           && !(str_eq(sink, str_of(call->sinks[i]->id)) || strings_have(&call->names[i].formerly, sink)))
        i++;
    if (i == call->sink_count)
        return place_none(call, NULL, "there is no such sink", text, e);
    const struct sink *s = call->sinks[i];
    const struct strings *endpoints = &call->names[i].endpoints;
    if (!place_takes(s))
        return place_none(call, NULL, "that sink takes no single events", text, e);
    if (has_endpoint && !strings_have(endpoints, endpoint))
        return place_none(call, s, "the sink has no such endpoint", text, e);
    if (!has_endpoint && (endpoints->count || call->names[i].many))
        return place_none(call, s, "say which of the sink's endpoints", text, e);
    *out = (struct command_place){ .sink = s->id };
    for (size_t j = 0; has_endpoint && j < endpoints->count; j++)
        if (str_eq(endpoint, str_of(endpoints->at[j])))
            out->endpoint = endpoints->at[j];
    return true;
}

static void place_stands(void *ctx, const struct standing *s)
{
    bool *ran = ctx;
    *ran = *ran || s->position >= 0;
}

/* Would the sink read what is put into its redrive topic now? One that never ran begins where that ends by then. */
static bool place_reads(const struct config *c, const char *sink, bool *reads, struct err *e)
{
    char *group = str_join(c->broker.group_prefix, sink, ""),
         *topic = topic_name(c->broker.prefix, TOPIC_REDRIVE, sink);
    *reads = false;
    bool ok = broker_standing(&c->broker, group, topic, place_stands, reads, e);
    for (size_t i = 0; i < c->sink_count; i++)
        *reads = *reads || (strcmp(c->sinks[i].sink->id, sink) == 0 && c->sinks[i].start == START_EARLIEST);
    free(topic);
    free(group);
    return ok;
}

bool place_find(const struct command_call *call, struct str text, struct command_place *out, struct err *e)
{
    bool reads;
    if (!place_named(call, text, out, e))
        return false;
    if (call->config->broker_missing)
        return err_set(e, "the broker's configuration is not whole: %s", call->config->broker_missing);
    if (!place_reads(call->config, out->sink, &reads, e))
        return false;
    return reads
           || err_set(
               e,
               "--to %.*s: the sink never ran with this broker and would not find the event; start the daemon with "
               "this configuration first",
               STR_ARG(text));
}
