/* SPDX-License-Identifier: MIT */
/* The attributes of an event that a path takes from the request: by templates (bridge/event/template.h) over {{body.id}},
 * {{headers.x-name}}, {{query.name}} and {{path.name}}, and headers that are kept.
 *
 *   attributes_new -> attributes_see, attributes_read per request -> attributes_free
 *
 * Where there is nothing, and no other value stands in the template, the attribute is left out; so is, and that is counted,
 * what no attribute can be. The body is the word of whoever was verified. Of the rest, what the scheme does not vouch for may
 * have been changed by whoever saw an earlier request: what it went into is told apart (`loose`), so that it counts with the
 * event's id. Without any option, an `event_id` in the body is the id where the sender names no other. One thread. */
#pragma once
#include "bridge/event/event.h"
#include "connectors/http/path_options.h"

struct attributes;

struct attributed { /* absent: left out, or not asked for; good until the next attributes_see */
    struct str id, time, type, source, subject;
    struct header extensions[EVENT_ATTRIBUTES];
    size_t extension_count;
    bool id_is_loose;
    struct str loose; /* names and values of other attributes that nobody vouches for */
};

/* The type as the path says it, or its preset; NULL: neither does. */
const char *attributes_type_text(const struct path_options *o);
/* Is it looked for in the body, where the scheme knows a place? */
bool attributes_wants_type(const struct path_options *o, const struct verifier *v);
bool attributes_check(const struct path_options *o, struct err *e);
/* Borrows all of it. */
struct attributes *attributes_new(const struct path_options *o, const struct verifier *v, const char *source_id,
                                  const char *label);
void attributes_free(struct attributes *a); /* accepts NULL */
/* Looks at a request whose body is `body`; `named`: a header has its id, so that the body is not asked for one. False with *e: the
 * body was said to be JSON, and is not. */
bool attributes_see(struct attributes *a, const struct http_request *r, struct str body, bool json, bool named,
                    struct err *e);
void attributes_read(struct attributes *a, struct attributed *out);
bool attributes_gave_id(const struct attributes *a); /* of the last request: the id is by the path's template */
/* What the signed body of the request has at the places that the scheme's row knows (bridge/auth/signature.h), where the
 * path's options say nothing of it, and what the body calls itself (event_id, a text), where nothing was said of an id; absent:
 * nothing. Each is good until the next request. */
struct str attributes_scheme_id(struct attributes *a);
struct str attributes_scheme_type(struct attributes *a);
struct str attributes_body_id(struct attributes *a);
bool attributes_named(const struct attributes *a); /* the last request has attributes_scheme_id, which was asked for */
/* The headers that are kept, added to out[*count]; not those that `ev` (NULL: none) has as attributes. */
void attributes_keep(struct attributes *a, const struct http_request *r, const struct event *ev, struct header *out,
                     size_t *count);
/* An event got an id at random: where the path asks for one that is counted, and said once. */
void attributes_unnamed(struct attributes *a);
void attributes_left_out(struct attributes *a); /* counts what cannot be an attribute */
/* Appends the type that a template of the path gives, with {x} for what is not known. False: it has none. */
bool attributes_outline(const struct path_options *o, struct buf *out);
