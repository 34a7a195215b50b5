/* SPDX-License-Identifier: MIT */
/* W3C Trace Context: what `traceparent` and `tracestate` say, if they are valid; what is not valid is dropped, as if it
 * had not been sent, so that a trace never costs an event.
 *
 *   struct trace t;
 *   trace_read(&t, headers, count);      of a request, or the extensions of an event: both are lists of headers
 *
 * The result points into t alone, so it outlives the headers. */
#pragma once
#include <stdbool.h>
#include "bridge/lib/header.h"

enum { TRACE_PARENT_BYTES = 55, TRACE_STATE_BYTES = 512 };

struct trace {
    struct str parent; /* in version 00; absent: no trace, then no state either */
    struct str state;  /* several headers joined, without blanks around the members; absent: none */
    char parent_text[TRACE_PARENT_BYTES], state_text[TRACE_STATE_BYTES];
};

/* Names in any case. A traceparent of a later version is read as one of version 00. A tracestate of more than
 * TRACE_STATE_BYTES loses its members above 128 bytes first, then those at its end. */
void trace_read(struct trace *t, const struct header *headers, size_t count);
bool trace_is_header(struct str name); /* traceparent or tracestate */
