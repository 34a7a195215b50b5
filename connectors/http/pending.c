/* SPDX-License-Identifier: MIT */
/* The table of requests that wait for the log, and their events' queue to the core. */
#include "connectors/http/pending.h"
#include <stdlib.h>
#include "bridge/lib/jscan.h"
#include "bridge/lib/mem.h"

enum { INDEX_BITS = 16, DETAILS_BYTES = 16 * 1024 };

void pendings_open(struct pendings *p, size_t most, size_t most_bytes)
{
    *p = (struct pendings){ .most = most, .most_bytes = most_bytes };
    p->at = mem_alloc((most + 1) * sizeof *p->at);
    p->queue = mem_alloc(most * sizeof *p->queue);
    for (size_t i = most; i > 0; i--) {
        p->at[i].after = p->free;
        p->free = (uint32_t)i;
    }
}

void pendings_close(struct pendings *p)
{
    for (size_t i = 0; i < p->queued; i++)
        event_unref(p->queue[(p->queue_head + i) % p->most].event);
    for (size_t i = 1; p->at && i <= p->most; i++) {
        event_unref(p->at[i].event);
        buf_free(&p->at[i].details);
    }
    free(p->at);
    free(p->queue);
    *p = (struct pendings){ 0 };
}

bool pendings_fit(const struct pendings *p, size_t events, size_t bytes)
{
    return p->open + events <= p->most && p->bytes + bytes <= p->most_bytes;
}

struct pending *pendings_begin(struct pendings *p, uint64_t request, const struct event *const *events, size_t count,
                               bool batch)
{
    CHECK(count > 0 && count <= UINT16_MAX && p->open + count <= p->most);
    uint32_t slot = p->free;
    struct pending *x = &p->at[slot];
    p->free = x->after;
    *x = (struct pending){ .request = request, .count = (uint32_t)count, .left = (uint32_t)count, .batch = batch };
    x->details = buf_new(DETAILS_BYTES);
    if (!batch)
        x->event = event_ref(events[0]);
    x->before = p->at[0].before; /* the newest is before the end */
    p->at[x->before].after = slot;
    p->at[0].before = slot;
    for (size_t i = 0; i < count; i++) {
        size_t end = (p->queue_head + p->queued++) % p->most;
        p->queue[end] = (struct waiting){ events[i], (uint64_t)slot << INDEX_BITS | i };
        x->bytes += events[i]->data.n;
    }
    p->open += count;
    p->bytes += x->bytes;
    return x;
}

void pendings_answered(struct pendings *p, struct pending *x)
{
    if (x->answered)
        return;
    x->answered = true;
    p->at[x->before].after = x->after;
    p->at[x->after].before = x->before;
}

void pendings_end(struct pendings *p, struct pending *x)
{
    CHECK(x->left == 0);
    pendings_answered(p, x);
    event_unref(x->event);
    x->event = NULL;
    buf_free(&x->details);
    p->bytes -= x->bytes;
    x->after = p->free;
    p->free = (uint32_t)(x - p->at);
}

size_t pendings_take(struct pendings *p, struct emission *out, size_t room)
{
    size_t n = 0;
    while (n < room && p->queued) {
        struct waiting w = p->queue[p->queue_head];
        p->queue_head = (p->queue_head + 1) % p->most;
        p->queued--;
        struct pending *x = &p->at[w.tag >> INDEX_BITS];
        if (!x->answered) {
            out[n++] = (struct emission){ .event = w.event, .tag = w.tag };
            continue;
        }
        event_unref(w.event);
        p->open--;
        if (--x->left == 0)
            pendings_end(p, x);
    }
    return n;
}

/* When the list is full it simply ends: the sender has the number. */
static void note_refused(struct pending *x, uint64_t index, const char *why)
{
    size_t whole = x->details.n;
    if (x->refused++)
        buf_add_char(&x->details, ',');
    buf_printf(&x->details, "{\"index\":%u,\"detail\":", (unsigned)index);
    jscan_add_string(&x->details, str_of(why ? why : "invalid"));
    buf_add_char(&x->details, '}');
    if (x->details.failed)
        x->details.n = whole;
}

struct pending *pendings_settle(struct pendings *p, uint64_t tag, enum outcome o, const char *why)
{
    struct pending *x = &p->at[tag >> INDEX_BITS];
    CHECK(tag >> INDEX_BITS <= p->most && x->left > 0);
    switch (o) {
    case OUTCOME_STORED: break;
    case OUTCOME_INVALID: note_refused(x, tag & UINT16_MAX, why); break;
    case OUTCOME_UNAVAILABLE: x->unavailable = true; break;
    }
    p->open--;
    return --x->left == 0 ? x : NULL;
}

struct pending *pendings_oldest(const struct pendings *p)
{
    uint32_t first = p->at[0].after;
    return first ? &p->at[first] : NULL;
}
