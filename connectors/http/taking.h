/* SPDX-License-Identifier: MIT */
/* One request of a path on its way to events (path_events.c): a CloudEvent, or several, that are completed, or a body
 * that is wrapped (wrapped.h); and what is the same for both. One thread. */
#pragma once
#include "connectors/http/attributes.h"
#include "connectors/http/path.h"

struct trace;

struct taking {
    const struct path *p;
    const struct http_request *r;
    const struct path_limits *most;
    struct str content_type;
    struct str body;              /* unpacked, and without a byte order mark, if it is JSON */
    struct attributed attributes; /* of what is no CloudEvent */
    const struct event **out;
    struct buf *origins;
    bool drop;   /* there are to be no events of it */
    bool random; /* its sender named none */
    int *status;
    struct err *e;
};

/* -1: no events; the caller has set the error's text. */
int taking_fail(struct taking *t, int status);
/* Puts what is kept of the request's headers, and its trace unless the event (NULL: none) has one, behind the n
 * extensions in `out`; returns how many that makes. The trace's texts are in `trace`. */
size_t taking_context(const struct taking *t, const struct event *ev, struct trace *trace, struct header *out,
                      size_t n);
/* Adds a digest of that to what counts with the event's id, beside the path. */
void taking_add_origin(const struct taking *t, const char *kind, struct str what);
