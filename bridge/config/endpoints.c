/* SPDX-License-Identifier: MIT */
/* The receivers of a sink that can have several: one, whose options stand beside the sink's own, or those of `endpoints:`,
 * for which what stands beside it is the default. */
#include "bridge/config/private.h"
#include "bridge/lib/mem.h"

static const struct node *endpoints_of(const struct connector_type *t, const struct node *n)
{
    return t->endpoints ? node_get(n, "endpoints") : NULL;
}

struct endpoint *endpoints_only(struct fill *f, const struct connector_type *t, const struct node *n,
                                struct fill_target *target)
{
    if (!t->endpoints || endpoints_of(t, n))
        return NULL;
    struct endpoint *ep = arena_alloc(f->arena, t->endpoints->size);
    *target = (struct fill_target){ t->endpoints->options, ep, NULL };
    return ep;
}

void endpoints_keys(const struct connector_type *t, const struct node *n, const char *keys[SINK_KEYS])
{
    size_t count = 0;
    keys[count++] = "type";
    if (t->endpoints)
        keys[count++] = "endpoints";
    for (const struct option *row = endpoints_of(t, n) ? t->endpoints->options : NULL; row && row->key; row++) {
        CHECK(count < SINK_KEYS - 1);
        keys[count++] = row->key;
    }
    keys[count] = NULL;
}

/* What is each endpoint's own has no use beside `endpoints:`. */
static void endpoints_check_beside(struct fill *f, const struct connector_type *t, const struct node *n,
                                   const struct where *at)
{
    for (const struct option *row = t->endpoints->options; row->key; row++) {
        const struct node *value = row->own ? node_get(n, row->key) : NULL;
        if (value && !value->broken)
            problem_at(f->out, value, &(struct where){ .up = at, .key = str_of(row->key) },
                       "has no use beside endpoints: each of them has its own");
    }
}

void endpoints_fill_one(struct fill *f, const struct endpoint_ops *ops, struct endpoint_config *c,
                        const struct entry *entry, const struct node *sink, const struct where *up)
{
    struct where at = { .up = up, .key = entry->key->written };
    name_check(f, entry->key, &at);
    c->endpoint = arena_alloc(f->arena, ops->size);
    c->endpoint->name = arena_text(f->arena, entry->key->text);
    if (!fill_is_mapping(f, entry->value, &at))
        return;
    const struct fill_target targets[] = { { endpoint_options, c, sink }, { ops->options, c->endpoint, sink } };
    fill_mapping(f, entry->value, targets, 2, NULL, &at);
    c->endpoint->rate = c->rate;
}

void endpoints_fill(struct fill *f, const struct connector_type *t, struct sink_config *s, const struct node *n,
                    const struct where *at)
{
    const struct node *list = endpoints_of(t, n);
    struct where here = { .up = at, .key = STR("endpoints") };
    if (!list)
        return;
    endpoints_check_beside(f, t, n, at);
    if (!fill_is_mapping(f, list, &here))
        return;
    s->many = true;
    s->endpoints = arena_alloc(f->arena, list->count * sizeof *s->endpoints);
    for (size_t i = 0; i < list->count; i++)
        endpoints_fill_one(f, t->endpoints, &s->endpoints[s->endpoint_count++], &list->at[i], n, &here);
}
