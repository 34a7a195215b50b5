/* SPDX-License-Identifier: MIT */
/* The form of a receiver's requests: what its options body, content_type, path, query and headers say, compiled.
 *
 *   shape_open                              when the receiver is opened: names the option that is wrong, and why
 *   shape_see -> shape_add_...              for each request; one thread
 *   shape_close
 *
 * Whatever holds no expression ({{subject}}, bridge/event/template.h) costs nothing at a request. Where an event lacks what an
 * expression asks for, its request cannot be built, ever. */
#pragma once
#include <curl/curl.h>
#include "bridge/connector.h"
#include "bridge/event/template.h"

enum body_mode {
    BODY_STANDARD,   /* the payload that Standard Webhooks recommends: what most receivers parse without being told */
    BODY_STRUCTURED, /* the CloudEvent as one JSON */
    BODY_BINARY,     /* its attributes as headers, the data as it is */
    BODY_DATA,       /* the data as it is, and nothing else of the event */
    BODY_TEMPLATE,   /* what the user wrote, with expressions */
};
extern const struct option_value shape_bodies[]; /* those that have a name */

struct shape_options { /* borrowed until the shape is closed */
    const struct tree *body;
    const char *content_type, *path; /* NULL: not said */
    const struct map *query, *headers;
};

struct shape_part { /* a header or a parameter of the query */
    const char *name;
    const struct template *value; /* NULL: `plain` */
    const char *plain;
};

struct shape {
    enum body_mode body;
    const char *content_type; /* NULL: what the body is by itself */
    const struct template *type, *text,
        *path; /* NULL: no expression in the content type, no template as body, no path */
    struct shape_part *headers, *query;
    size_t header_count, query_count;
    struct template_set *set;
    bool uses_event; /* something has to be rendered */
};

bool shape_open(struct shape *s, const struct shape_options *o, struct err *e);
void shape_faults(const struct shape_options *o, fault_fn *each, void *ctx); /* all that is wrong with them */
bool shape_body_is_text(const struct shape_options *o); /* is it a template of something else than JSON? */
void shape_close(struct shape *s);                      /* also fit for a zeroed one */

void shape_see(struct shape *s, const struct event *ev, struct str webhook_id);
bool shape_has_url(const struct shape *s); /* does each request have a URL of its own? */
/* Appends `url` with path and query behind its own. */
bool shape_add_url(struct shape *s, struct str url, struct buf *out, struct err *e);
bool shape_add_body(struct shape *s, struct buf *out, struct err *e); /* of BODY_TEMPLATE */
/* The content type; `own` when the user says none. */
bool shape_add_type(struct shape *s, const char *own, struct buf *out, struct err *e);
/* The value of the i-th header; *omitted: it is not sent. */
bool shape_add_header(struct shape *s, size_t i, struct buf *out, bool *omitted, struct err *e);

/* May a user set this content type? */
bool shape_content_type_ok(const char *type, struct err *e);
/* May a user set this header? */
bool shape_header_ok(const char *name, const char *value, struct err *e);
