/* SPDX-License-Identifier: MIT */
/* What happens to events at a sink, as spans of their traces. */
#include "bridge/delivery/private.h"

static struct span_attribute traced_text(const char *name, struct str text)
{
    return (struct span_attribute){ .name = name, .text = text };
}

static struct span_attribute traced_number(const char *name, int64_t number)
{
    return (struct span_attribute){ .name = name, .text = STR_ABSENT, .number = number };
}

/* The wait before this attempt, which may have been another daemon's. */
static void traced_wait(const struct delivery *d, const struct entry *en, const struct span_root *root,
                        int64_t until_us)
{
    span_add(root, &(struct span){ .name = "wait",
                                   .kind = SPAN_INTERNAL,
                                   .id = span_new(),
                                   .parent = root->published,
                                   .began_us = en->last_ms * 1000,
                                   .ended_us = until_us,
                                   .attributes = { traced_text("aqueduct.sink", str_of(d->s->id)),
                                                   traced_text("aqueduct.endpoint", str_of(en->to->name)) } });
}

void traced_attempt(const struct delivery *d, const struct entry *en, const struct result *r)
{
    struct span_root root;
    if (!en->of->event || !span_root_of(en->of->event, &root))
        return;
    int64_t now = clock_wall_us(), began = now - r->took.ms * 1000;
    if (en->attempts > 1 && en->last_ms)
        traced_wait(d, en, &root, began);
    bool files = d->s->ops->dead_letters;
    span_add(&root, &(struct span){ .name = files ? "file" : "deliver",
                                    .kind = files ? SPAN_INTERNAL : SPAN_CLIENT,
                                    .id = en->span,
                                    .parent = root.published,
                                    .began_us = began,
                                    .ended_us = now,
                                    .failed = r->verdict == VERDICT_DELIVERED ? NULL : r->why,
                                    .attributes = { traced_text("aqueduct.sink", str_of(d->s->id)),
                                                    traced_text("aqueduct.endpoint", str_of(en->to->name)),
                                                    traced_number("aqueduct.attempt", en->attempts),
                                                    traced_number("http.response.status_code", r->status) } });
}

void traced_dead_letter(const struct delivery *d, const struct entry *en)
{
    struct span_root root;
    if (!en->of->event || !span_root_of(en->of->event, &root))
        return;
    span_add(&root, &(struct span){ .name = "dead letter",
                                    .kind = SPAN_PRODUCER,
                                    .id = span_new(),
                                    .parent = root.published,
                                    .began_us = en->last_ms * 1000,
                                    .ended_us = clock_wall_us(),
                                    .failed = en->last.why,
                                    .attributes = { traced_text("aqueduct.sink", str_of(d->s->id)),
                                                    traced_text("aqueduct.endpoint", str_of(en->to->name)),
                                                    traced_text("aqueduct.class", str_of(en->dead_class)) } });
}

void traced_fan_out(const struct delivery *d, const struct event *ev, const struct record *r, int64_t began_us)
{
    struct span_root root;
    if (!span_root_of(ev, &root))
        return;
    span_add(&root, &(struct span){ .name = "fan out",
                                    .kind = SPAN_PRODUCER,
                                    .id = span_new(),
                                    .parent = root.published,
                                    .began_us = began_us,
                                    .ended_us = clock_wall_us(),
                                    .attributes = { traced_text("aqueduct.sink", str_of(d->s->id)),
                                                    traced_text("messaging.destination.name", r->topic),
                                                    traced_number("messaging.destination.partition.id", r->partition),
                                                    traced_number("messaging.kafka.offset", r->offset) } });
}
