/* SPDX-License-Identifier: MIT */
/* Keeps the connectors' structs as the configuration filled them. */
#include "bridge/version.h"
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/mem.h"

struct fresh { /* a connector's struct as the configuration filled it */
    void *at, *copy;
    size_t n;
};

static void version_keep(struct version *v, void *at, size_t n)
{
    v->fresh = mem_grow(v->fresh, v->count + 1, sizeof *v->fresh);
    v->fresh[v->count++] = (struct fresh){ at, memcpy(mem_alloc(n), at, n), n };
}

static void version_keep_sink(struct version *v, const struct sink_config *c)
{
    const struct sink_ops *ops = c->sink->ops;
    version_keep(v, c->sink, ops->size);
    if (c->sink->endpoint)
        version_keep(v, c->sink->endpoint, ops->endpoints->size);
    for (size_t i = 0; i < c->endpoint_count; i++)
        version_keep(v, c->endpoints[i].endpoint, ops->endpoints->size);
}

struct version *version_new(struct config *config, bool owned)
{
    struct version *v = mem_alloc(sizeof *v);
    v->config = config;
    v->owned = owned;
    for (size_t i = 0; i < config->sink_count; i++)
        version_keep_sink(v, &config->sinks[i]);
    for (size_t i = 0; i < config->source_count; i++)
        version_keep(v, config->sources[i].source, config->sources[i].source->ops->size);
    return v;
}

void version_free(struct version *v)
{
    if (!v)
        return;
    for (size_t i = 0; i < v->count; i++)
        free(v->fresh[i].copy);
    free(v->fresh);
    if (v->owned)
        config_free(v->config);
    free(v);
}

void version_restore(struct version *v, const void *connector)
{
    for (size_t i = 0; i < v->count; i++)
        if (!connector || v->fresh[i].at == connector)
            memcpy(v->fresh[i].at, v->fresh[i].copy, v->fresh[i].n);
}

static const struct fresh *version_find(const struct version *v, const void *connector)
{
    for (size_t i = 0; i < v->count; i++)
        if (v->fresh[i].at == connector)
            return &v->fresh[i];
    return NULL;
}

bool version_has(const struct version *v, const void *connector)
{
    return version_find(v, connector) != NULL;
}

const void *version_filled(const struct version *newest, const void *connector)
{
    const struct fresh *found = NULL;
    for (const struct version *v = newest; v && !found; v = v->next)
        found = version_find(v, connector);
    CHECK(found);
    return found->copy;
}

void version_pin(struct version *v)
{
    atomic_fetch_add(&v->pins, 1);
}

void version_unpin(void *version)
{
    atomic_fetch_sub(&((struct version *)version)->pins, 1);
}
