/* SPDX-License-Identifier: MIT */
/* The table of requests that are not answered yet, and the queue of their events to the core. */
#include "connectors/http/exchange.h"
#include <stdlib.h>
#include "bridge/lib/jscan.h"
#include "bridge/lib/mem.h"

enum {
    INDEX_BITS = 16,
    LISTED_WITH_WHY = 16 * 1024, /* bytes of a list: what follows is told by its index alone, but told */
    LISTED_WHY = 8192,           /* most bytes of one entry */
    LISTED_INDEX = 24,           /* of one without its cause */
};

void exchanges_open(struct exchanges *xs, struct exchanges_held *held, size_t most, size_t most_bytes)
{
    *xs = (struct exchanges){ .held = held, .most = most, .most_bytes = most_bytes };
    xs->at = mem_alloc((most + 1) * sizeof *xs->at);
    xs->queue = mem_alloc(most * sizeof *xs->queue);
    for (size_t i = most; i > 0; i--) {
        xs->at[i].after = xs->free;
        xs->free = (uint32_t)i;
    }
}

void exchanges_close(struct exchanges *xs)
{
    for (size_t i = 0; i < xs->queued; i++)
        event_unref(xs->queue[(xs->queue_head + i) % xs->most].event);
    for (size_t i = 1; xs->at && i <= xs->most; i++) {
        event_unref(xs->at[i].event);
        buf_free(&xs->at[i].details);
        buf_free(&xs->at[i].scopes);
        free(xs->at[i].kept);
    }
    free(xs->at);
    free(xs->queue);
    *xs = (struct exchanges){ 0 };
}

bool exchanges_fit(const struct exchanges *xs, size_t events, size_t bytes)
{
    size_t open = atomic_load(&xs->held->open), held = atomic_load(&xs->held->bytes);
    return open + events <= xs->most && (held == 0 || held + bytes <= xs->most_bytes);
}

bool exchanges_reserve(struct exchanges *xs, size_t events, size_t bytes)
{
    size_t open = atomic_fetch_add(&xs->held->open, events), held = atomic_fetch_add(&xs->held->bytes, bytes);
    if (open + events <= xs->most && (held == 0 || held + bytes <= xs->most_bytes))
        return true;
    atomic_fetch_sub(&xs->held->open, events);
    atomic_fetch_sub(&xs->held->bytes, bytes);
    return false;
}

void exchange_list_refused(struct buf *list, uint32_t *count, size_t index, const char *why)
{
    bool with_why = list->n < LISTED_WITH_WHY;
    if ((*count)++)
        buf_add_char(list, ',');
    buf_printf(list, "{\"index\":%zu", index);
    if (with_why) {
        buf_add_str(list, STR(",\"detail\":"));
        jscan_add_string(list, str_of(why ? why : "invalid"));
    }
    buf_add_char(list, '}');
}

size_t exchange_list_room(size_t events)
{
    return LISTED_WITH_WHY + LISTED_WHY + events * LISTED_INDEX;
}

struct exchange *exchanges_begin(struct exchanges *xs, uint64_t request, const struct event *const *events,
                                 size_t count, bool batch)
{
    CHECK(count > 0 && count <= UINT16_MAX && xs->free);
    uint32_t slot = xs->free;
    struct exchange *x = &xs->at[slot];
    xs->free = x->after;
    *x = (struct exchange){ .request = request, .count = (uint32_t)count, .batch = batch };
    x->details = buf_new(exchange_list_room(count));
    if (!batch)
        x->event = event_ref(events[0]);
    x->before = xs->at[0].before; /* the newest is before the end */
    xs->at[x->before].after = slot;
    xs->at[0].before = slot;
    for (size_t i = 0; i < count; i++) {
        if (!events[i])
            continue;
        CHECK(xs->queued < xs->most);
        x->left++;
        size_t end = (xs->queue_head + xs->queued++) % xs->most;
        xs->queue[end] = (struct queued_event){ events[i], (uint64_t)slot << INDEX_BITS | i };
        x->bytes += event_bytes(events[i]);
    }
    return x;
}

void exchange_set_scopes(struct exchange *x, struct str scope, struct str origins, size_t size)
{
    size_t count = origins.n / size;
    CHECK(count == x->count || (count == 2 && x->count == 1));
    x->formers = (uint32_t)count - x->count;
    x->scopes = buf_new(count * (scope.n + 1 + size));
    for (size_t i = 0; i < count; i++) {
        buf_add_str(&x->scopes, scope);
        buf_add_char(&x->scopes, '?');
        buf_add(&x->scopes, origins.at + i * size, size);
    }
}

void exchange_keep(struct exchanges *xs, struct exchange *x, struct request_kept *kept, size_t bytes)
{
    x->kept = kept;
    x->bytes += bytes;
    atomic_fetch_add(&xs->held->bytes, bytes);
}

static struct str exchange_scope(const struct exchange *x, uint64_t index)
{
    size_t one = x->scopes.n / (x->count + x->formers);
    return one ? (struct str){ x->scopes.at + index * one, one } : x->scope;
}

void exchanges_answered(struct exchanges *xs, struct exchange *x)
{
    if (x->answered)
        return;
    x->answered = true;
    xs->at[x->before].after = x->after;
    xs->at[x->after].before = x->before;
}

void exchanges_end(struct exchanges *xs, struct exchange *x)
{
    CHECK(x->left == 0);
    exchanges_answered(xs, x);
    event_unref(x->event);
    x->event = NULL;
    buf_free(&x->details);
    buf_free(&x->scopes);
    free(x->kept);
    x->kept = NULL;
    atomic_fetch_sub(&xs->held->bytes, x->bytes);
    x->after = xs->free;
    xs->free = (uint32_t)(x - xs->at);
}

size_t exchanges_take(struct exchanges *xs, struct emission *out, size_t room, size_t room_bytes)
{
    size_t n = 0, bytes = 0;
    while (n < room && xs->queued && (room_bytes == 0 || bytes < room_bytes)) {
        struct queued_event w = xs->queue[xs->queue_head];
        xs->queue_head = (xs->queue_head + 1) % xs->most;
        xs->queued--;
        struct exchange *x = &xs->at[w.tag >> INDEX_BITS];
        if (!x->answered) {
            bytes += event_bytes(w.event);
            out[n++] = (struct emission){ .event = w.event,
                                          .tag = w.tag,
                                          .scope = exchange_scope(x, w.tag & UINT16_MAX),
                                          .named = x->named,
                                          .former_scopes = { x->scopes.n ? x->scope : STR_ABSENT,
                                                             x->formers ? exchange_scope(x, 1) : STR_ABSENT } };
            continue;
        }
        event_unref(w.event);
        atomic_fetch_sub(&xs->held->open, 1);
        if (--x->left == 0)
            exchanges_end(xs, x);
    }
    return n;
}

struct exchange *exchanges_settle(struct exchanges *xs, uint64_t tag, enum outcome o, const char *why)
{
    struct exchange *x = &xs->at[tag >> INDEX_BITS];
    CHECK(tag >> INDEX_BITS <= xs->most && x->left > 0);
    switch (o) {
    case OUTCOME_STORED: x->repeats += why && *why; break;
    case OUTCOME_CONFLICT: x->conflict = true; /* fall through */
    case OUTCOME_INVALID: exchange_list_refused(&x->details, &x->refused, tag & UINT16_MAX, why); break;
    case OUTCOME_UNAVAILABLE: x->unavailable = true; break;
    }
    atomic_fetch_sub(&xs->held->open, 1);
    return --x->left == 0 ? x : NULL;
}

struct exchange *exchanges_oldest(const struct exchanges *xs)
{
    uint32_t first = xs->at[0].after;
    return first ? &xs->at[first] : NULL;
}
