/* SPDX-License-Identifier: MIT */
/* Endpoints as the sink has them open. One that a destination has left stays open until nothing is in flight to it. */
#include <stdlib.h>
#include "bridge/delivery/private.h"
#include "bridge/lib/mem.h"

struct outlet *outlet_new(struct delivery *d, struct endpoint *ep, const struct endpoint_order *from)
{
    struct outlet *o = mem_alloc(sizeof *o);
    *o = (struct outlet){ .next = d->outlets, .endpoint = ep };
    if (from) {
        o->release = from->release;
        o->ctx = from->ctx;
    }
    return d->outlets = o;
}

bool outlet_open(struct delivery *d, struct outlet *o, struct err *e)
{
    o->open = !o->endpoint || d->s->ops->endpoints->open(d->s, o->endpoint, e);
    return o->open;
}

static void outlet_close(struct delivery *d, struct outlet *o)
{
    if (o->open && o->endpoint)
        d->s->ops->endpoints->close(d->s, o->endpoint);
    o->open = false;
}

void outlet_forget(struct delivery *d, struct outlet *o)
{
    struct outlet **at = &d->outlets;
    while (*at != o)
        at = &(*at)->next;
    *at = o->next;
    d->left -= o->left;
    outlet_close(d, o);
    if (o->release)
        o->release(o->ctx);
    free(o);
}

void outlet_leave(struct delivery *d, struct outlet *o)
{
    o->left = true;
    d->left++;
}

void outlets_close(struct delivery *d, bool all)
{
    if (d->left == 0 && !all)
        return;
    for (struct outlet *o = d->outlets, *next; o; o = next) {
        next = o->next;
        if (all)
            outlet_close(d, o);
        else if (o->left && o->flying == 0)
            outlet_forget(d, o);
    }
}

void outlets_free(struct delivery *d)
{
    while (d->outlets)
        outlet_forget(d, d->outlets);
}
