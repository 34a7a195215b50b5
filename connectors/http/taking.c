/* SPDX-License-Identifier: MIT */
/* One request on its way to events: what is the same for CloudEvents and other bodies. */
#include "connectors/http/taking.h"
#include "bridge/event/trace.h"
#include "bridge/lib/crypto.h"

int taking_fail(struct taking *t, int status)
{
    *t->status = status;
    return -1;
}

/* Puts the trace context of the request's headers, if it is valid, into out; returns how many extensions it is. */
static size_t taking_trace_headers(const struct http_request *r, struct trace *t, struct header out[2])
{
    trace_read(t, r->headers, r->header_count);
    size_t n = 0;
    if (t->parent.at)
        out[n++] = (struct header){ STR("traceparent"), t->parent };
    if (t->state.at)
        out[n++] = (struct header){ STR("tracestate"), t->state };
    return n;
}

size_t taking_context(const struct taking *t, const struct event *ev, struct trace *trace, struct header *out, size_t n)
{
    bool traced = ev && (event_attribute(ev, STR("traceparent")).at || event_attribute(ev, STR("tracestate")).at);
    if (!traced && n + 2 <= EVENT_ATTRIBUTES)
        n += taking_trace_headers(t->r, trace, out + n);
    attributes_keep(t->p->attributes, t->r, ev, out, &n);
    return n;
}

void taking_add_origin(const struct taking *t, const char *kind, struct str what)
{
    char digest[UUID_TEXT];
    uuid_of((const struct str[]){ str_of(kind), what }, 2, digest);
    buf_add(t->origins, digest, PATH_ORIGIN);
}
