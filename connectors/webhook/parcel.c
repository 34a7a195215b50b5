/* SPDX-License-Identifier: MIT */
/* Pieces of one text as the bodies of one request after another. */
#include "connectors/webhook/parcel.h"

#include <stdlib.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"

enum { PARCEL_BYTES = 256 << 20 /* `bytes` of a batch, and one event more */ };

struct parcel *parcel_new(void)
{
    struct parcel *b = mem_alloc(sizeof *b);
    *b = (struct parcel){ .json = buf_new(PARCEL_BYTES) };
    buf_add_char(&b->json, '[');
    return b;
}

void parcel_free(struct parcel *b)
{
    if (!b)
        return;
    buf_free(&b->json);
    free(b->events);
    free(b->why);
    free(b);
}

void parcel_push(struct parcel *b, const struct message *m)
{
    if (b->count == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 16;
        b->events = mem_grow(b->events, b->cap, sizeof *b->events);
    }
    b->events[b->count++] = (struct parcel_event){ *m, b->json.n };
    b->last = b->count;
    buf_add_char(&b->json, ',');
    CHECK(!b->json.failed);
}

static size_t parcel_begin_of(const struct parcel *b, size_t i)
{
    return i ? b->events[i - 1].end + 1 : 1;
}

struct str parcel_body(struct parcel *b)
{
    size_t begin = parcel_begin_of(b, b->first) - 1, end = b->events[b->last - 1].end;
    b->json.at[begin] = '['; /* a comma, or that already; the part before has been sent */
    b->json.at[end] = ']';
    return (struct str){ b->json.at + begin, end + 1 - begin };
}

static int parcel_by_id(const void *a, const void *b)
{
    const struct event *one = (*(const struct parcel_event *const *)a)->message.event,
                       *other = (*(const struct parcel_event *const *)b)->message.event;
    int order = str_order(one->id, other->id);
    return order ? order : str_order(one->source, other->source);
}

struct str parcel_id(const struct parcel *b, char out[REQUEST_ID + 1])
{
    size_t count = b->last - b->first;
    if (count == 1)
        return request_id(&b->events[b->first].message, out);
    const struct parcel_event **sorted = mem_alloc(count * sizeof *sorted);
    struct buf ids = buf_new((REQUEST_ID + 1) * PARCEL_MOST);
    for (size_t i = 0; i < count; i++)
        sorted[i] = &b->events[b->first + i];
    qsort(sorted, count, sizeof *sorted, parcel_by_id);
    for (size_t i = 0; i < count; i++) {
        char one[REQUEST_ID + 1];
        buf_add_str(&ids, request_id(&sorted[i]->message, one));
        buf_add_char(&ids, '\n');
    }
    uuid_of((const struct str[]){ STR("batch"), buf_str(&ids) }, 2, out);
    buf_free(&ids);
    free(sorted);
    return str_of(out);
}

/* Is it about what was sent, and not that nobody is there to look at it? */
static bool parcel_is_answer(const struct result *r)
{
    return r->status && !r->away && r->verdict != VERDICT_UNTRIED;
}

/* Did one of them fail before? */
static bool parcel_was_tried(const struct parcel *b)
{
    for (size_t i = b->first; i < b->last; i++)
        if (b->events[i].message.attempt > 1)
            return true;
    return false;
}

bool parcel_split(struct parcel *b, const struct result *r, bool gone)
{
    size_t count = b->last - b->first;
    bool refused = r->verdict == VERDICT_REJECT || (r->verdict == VERDICT_RETRY && parcel_was_tried(b));
    bool large = r->status == 413 && r->verdict == VERDICT_RETRY;
    if (count < 2 || gone || !parcel_is_answer(r) || !(refused || large))
        return false;
    CHECK(b->parts < PARCEL_PARTS);
    b->ends[b->parts++] = b->last;
    b->last = b->first + count / 2;
    return true;
}

size_t parcel_results(struct parcel *b, const struct result *r, struct result *out, size_t room)
{
    size_t n = 0, carried = b->last - b->first;
    if (!b->end) {
        bool own = r->verdict == VERDICT_DELIVERED || (carried == 1 && parcel_is_answer(r));
        b->end = own || b->parts == 0 ? b->last : b->ends[0];
        b->told = b->first;
    }
    for (; n < room && b->told < b->end; n++, b->told++) {
        out[n] = *r;
        out[n].tag = b->events[b->told].message.tag;
        out[n].batch = (unsigned)carried;
        out[n].same_request = b->told > b->first;
    }
    return n;
}

bool parcel_is_told(const struct parcel *b)
{
    return b->told == b->end;
}

bool parcel_goes_on(struct parcel *b)
{
    if (b->end == b->count)
        return false;
    b->first = b->end;
    b->last = b->ends[--b->parts];
    b->end = 0;
    return true;
}
