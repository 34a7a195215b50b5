/* SPDX-License-Identifier: MIT */
/* The hops of events as spans of OpenTelemetry, for a collector of traces.
 *
 *   if (span_on()) {                                    all that it costs when it is off
 *       struct span_root root;
 *       if (span_root_of(ev, &root))                     the event is one of the sample
 *           span_add(&root, &(struct span){ "deliver", SPAN_CLIENT, id, root.published, began_us, ended_us, ... });
 *   }
 *
 *   client's span  <- receive (H "receive") <- publish (H "publish") <- deliver (random) <- the receiver's span
 *                                                                    <- wait, dead letter, fan out (random)
 *
 * Nothing is written into events: the trace is that of the event's traceparent or follows from its source and id, and so
 * do the spans that others name as their parent. So every daemon that sees the event, now or after a restart, tells of
 * the same trace. A traceparent says whether its trace is in the sample; without one its id decides, everywhere alike.
 *
 * Spans wait as JSON in one bounded buffer until somebody takes them (spans_take); what it has no room for is counted and
 * dropped: an event never waits for a collector. Any thread. OTLP 1.x (opentelemetry.proto.trace.v1), W3C Trace Context. */
#pragma once
#include <stdatomic.h>
#include "bridge/event/event.h"
#include "bridge/event/trace.h"

enum span_kind { SPAN_INTERNAL = 1, SPAN_SERVER, SPAN_CLIENT, SPAN_PRODUCER, SPAN_CONSUMER }; /* as OTLP numbers them */
enum { SPAN_TRACE_BYTES = 16, SPAN_ATTRIBUTES = 8, SPAN_PARENT_TEXT = TRACE_PARENT_BYTES + 1 };

struct span_root { /* of an event */
    unsigned char trace[SPAN_TRACE_BYTES];
    uint64_t parent;              /* the client's span; 0: there is none */
    uint64_t received, published; /* spans */
    struct str type, id, source;  /* the event's, borrowed */
};

struct span_attribute {
    const char *name; /* NULL ends the list */
    struct str text;  /* UTF-8; absent: it is the number */
    int64_t number;
};

struct span {
    const char *name;
    enum span_kind kind;
    uint64_t id, parent;        /* parent 0: none */
    int64_t began_us, ended_us; /* wall clock */
    const char *failed;         /* why, never a secret; NULL: it went well */
    struct span_attribute attributes[SPAN_ATTRIBUTES];
};

extern atomic_bool span_collected;

static inline bool span_on(void)
{
    return atomic_load_explicit(&span_collected, memory_order_relaxed);
}

/* From here on they are collected; `sample`: the share of traces, 0 to 1. */
void span_collect(double sample);
void span_collect_end(void); /* no more; forgets what nobody took */

bool span_root_of(const struct event *ev, struct span_root *out); /* false: it is not in the sample */
uint64_t span_new(void);                                          /* an id, never 0 */
/* The header `traceparent` of a request that belongs to that span, with a NUL. */
void span_parent_text(const struct span_root *root, uint64_t id, char out[SPAN_PARENT_TEXT]);
void span_add(const struct span_root *root, const struct span *s);

/* Moves what waits to *out, spans in JSON with commas between them; returns how many. */
size_t span_take(struct buf *out);
