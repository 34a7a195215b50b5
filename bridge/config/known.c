/* SPDX-License-Identifier: MIT */
/* Makes the lists of names of a configuration. */
#include "bridge/config/known.h"
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/mem.h"

/* The names beside each sink. */
static struct command_names *known_names(const struct config *c)
{
    struct command_names *names = mem_alloc((c->sink_count + 1) * sizeof *names);
    for (size_t i = 0; i < c->sink_count; i++) {
        const struct sink_config *s = &c->sinks[i];
        names[i].formerly = s->formerly;
        names[i].many = s->many;
        struct endpoint **receivers = mem_alloc((s->endpoint_count + 1) * sizeof *receivers);
        names[i].endpoints.at = mem_alloc((s->endpoint_count + 1) * sizeof *names[i].endpoints.at);
        for (size_t j = 0; j < s->endpoint_count; j++) {
            receivers[j] = s->endpoints[j].endpoint;
            names[i].endpoints.at[names[i].endpoints.count++] = (char *)s->endpoints[j].endpoint->name;
        }
        names[i].receivers = receivers;
    }
    return names;
}

void known_fill(struct command_call *call, const struct config *c)
{
    struct sink **sinks = mem_alloc((c->sink_count + 1) * sizeof *sinks);
    const char **sources = mem_alloc((c->source_count + 1) * sizeof *sources);
    for (size_t i = 0; i < c->source_count; i++)
        sources[i] = c->sources[i].source->id;
    for (size_t i = 0; i < c->sink_count; i++)
        sinks[i] = c->sinks[i].sink;
    call->config = c;
    call->sinks = sinks;
    call->names = known_names(c);
    call->sink_count = c->sink_count;
    call->sources = sources;
    call->prefix = c->broker.prefix;
}

void known_add(struct command_call *call, const char *sink, const char *endpoint)
{
    for (size_t i = 0; i < call->sink_count; i++) {
        struct command_names *names = (struct command_names *)(uintptr_t)&call->names[i];
        size_t n = names->endpoints.count;
        if (strcmp(call->sinks[i]->id, sink) != 0 || strings_have(&names->endpoints, str_of(endpoint)))
            continue;
        names->endpoints.at = mem_grow(names->endpoints.at, n + 1, sizeof *names->endpoints.at);
        names->endpoints.at[names->endpoints.count++] = (char *)(uintptr_t)endpoint;
        names->receivers = mem_grow((void *)(uintptr_t)names->receivers, n + 1, sizeof(struct endpoint *));
        ((struct endpoint **)(uintptr_t)names->receivers)[n] = NULL;
    }
}

/* What was made here; const is for the command. */
static void known_free_list(const void *list)
{
    free((void *)(uintptr_t)list);
}

void known_free(struct command_call *call)
{
    for (size_t i = 0; i < call->sink_count; i++) {
        free(call->names[i].endpoints.at);
        known_free_list(call->names[i].receivers);
    }
    known_free_list(call->names);
    known_free_list(call->sinks);
    known_free_list(call->sources);
}
