/* SPDX-License-Identifier: MIT */
/* How the decoders of an event (record, JSON, HTTP) put it together: attribute by attribute, then birth. Private to
 * them.
 *
 *   struct draft d;
 *   draft_begin(&d)
 *   draft_set(&d, name, value, e) for each attribute, d.fields.data = ..., draft_event(&d, e)
 *
 * A draft borrows all that is set and owns nothing. */
#pragma once
#include "bridge/event/event.h"

struct draft {
    struct event fields;
    bool has_version;
    struct header extensions[EVENT_ATTRIBUTES]; /* fields.extension_count of them are set; 2 KiB that nobody clears */
};

/* Nothing is set yet. */
static inline void draft_begin(struct draft *d)
{
    d->fields = (struct event){ 0 };
    d->has_version = false;
}

/* Sets an attribute by its CloudEvents name. False with *e when it was set before, when there are too many, or when
 * it is a specversion other than 1.0. A trace context that no attribute can hold is left out: it may cost no event. */
bool draft_set(struct draft *d, struct str name, struct str value, struct err *e);
/* Sets the type of the extension of that name, which was set, if its value is one of that type. */
void draft_set_type(struct draft *d, struct str name, bool integer);
/* The same of all that the header TRAIL_TYPES tells of. */
void draft_set_types(struct draft *d, struct str types);
/* A 32-bit integer as JSON writes it? */
bool draft_is_integer(struct str text);
/* event_new of the draft, or event_borrow of a record; without a specversion it is not an event. */
const struct event *draft_event(struct draft *d, struct record *from, struct err *e); /* from NULL: a copy */
/* What a Content-Type says of the message: an event in JSON, a batch or a format that we do not know (*e says so), or
 * nothing, so that it is the type of the data of an event in binary mode. */
enum draft_mode { DRAFT_BINARY, DRAFT_JSON, DRAFT_UNKNOWN };
enum draft_mode draft_mode(struct str content_type, struct err *e);
