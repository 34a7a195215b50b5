/* SPDX-License-Identifier: MIT */
/* One event: the CloudEvents 1.0 attributes and the data's bytes. Immutable after birth, reference counted, one
 * allocation.
 *
 *   struct event f = { .id = ..., .source = ..., .type = ..., .data = ... };
 *   const struct event *ev = event_new(&f, &e);         one reference, everything copied
 *   event_unref(ev);
 *
 * One that is decoded from a record on the way in may be a view of it instead (event_of_record).
 *
 * Encodings: a Kafka record in binary mode (`ce_` headers, value = the data untouched) or structured mode; an HTTP
 * message in binary mode (`ce-` headers, percent-encoded) or structured mode; JSON. Any thread may hold a reference. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/err.h"
#include "bridge/lib/str.h"
#include "bridge/event/record.h"

enum {
    EVENT_ATTRIBUTES = 64,                /* most extension attributes of one event */
    EVENT_NAME_BYTES = 128,               /* longest name of one; CloudEvents says that it SHOULD NOT exceed 20 */
    EVENT_ATTRIBUTE_BYTES = 8 * 1024,     /* longest attribute value */
    EVENT_DATA_BYTES = 64 << 20,          /* longest data */
    EVENT_HEADERS = EVENT_ATTRIBUTES + 9, /* most headers that event_to_headers writes */
};

#define EVENT_HEADER_PREFIX "ce_" /* begins the names of a record's headers */
#define EVENT_RESUME_TYPE                                                                                              \
    "aqueduct.resume"                      /* what listeners are told of their position (connectors/websocket/told.h) */
#define EVENT_CURSOR_NAME "aqueductcursor" /* their position after an event */
#define EVENT_KEPT_PREFIX "http" /* begins the names of attributes that tell of the request an event came with */

struct event {
    struct str id, source, type;                           /* required, not empty */
    struct str subject, time, datacontenttype, dataschema; /* absent when not set; time is RFC 3339 as it came */
    /* name: [a-z0-9]{1,128}; value without control characters; traceparent is one. In a born event
     * each name stands behind EVENT_HEADER_PREFIX, so that the name of a record's header is there, too. */
    const struct header *extensions;
    size_t extension_count;
    /* Bit i: extension i is a 32-bit Integer, or a Boolean ("true", "false"); the others are Strings. Only JSON has types;
     * the record of an event in binary mode keeps them in the header TRAIL_TYPES. */
    uint64_t integers, booleans;
    struct str data; /* absent: no data */
};

/* A copy of the fields as an event with one reference, or NULL with *e naming the attribute that is missing or wrong
 * (CloudEvents 1.0 section 3). */
const struct event *event_new(const struct event *fields, struct err *e);
/* The same without a copy, for event_of_record: the fields are bytes of the record, or last for ever. */
const struct event *event_borrow(const struct event *fields, struct record *r, struct err *e);
/* The event that the readers of a record share, with one reference more: the first that was offered, any other ends. NULL:
 * none is there, and none was offered. */
const struct event *event_of_share(struct record_share *share, const struct event *offered);
const struct event *event_ref(const struct event *ev);
void event_unref(const struct event *ev); /* accepts NULL */
/* The memory that it takes, attributes and all: what limits count. */
size_t event_bytes(const struct event *ev);
bool event_is_value(struct str value); /* can an attribute have it? */
/* Does the extension say what the event is? A trace and what tells of the request do not: a repeat has others. */
bool event_is_content(struct str extension);
/* The types of a born event's extensions as the header TRAIL_TYPES has them; absent when all are strings. */
struct str event_types(const struct event *ev);
/* Are source and dataschema what CloudEvents wants: a URI reference and a URI? Asked where events come in, not of stored
 * ones. */
bool event_check_uris(const struct event *ev, struct err *e);
/* Why no source may bring it: it has a type or an attribute by which the bridge itself tells listeners something. NULL: it
 * may. Asked where events come in, not of stored ones. */
const char *event_is_reserved(const struct event *ev);

/* The value of an attribute or extension by its CloudEvents name ("type", "subject", "partitionkey"); absent when
 * not set. */
struct str event_attribute(const struct event *ev, struct str name);
/* Where the value of an attribute stands that is a member of struct event; NULL: the name is no member's. */
struct str *event_member(struct event *fields, struct str name);

/* What its data is, said by datacontenttype or not: without one JSON (JSON format 3.1), unless the data is none. Points
 * into ev, or lasts for ever. */
struct str event_content_type(const struct event *ev);
/* Kafka binary mode (kafka-protocol-binding 3.2): writes the `ce_` and content-type headers, which point into ev or last for
 * ever, to out (room for EVENT_HEADERS); returns how many. content-type is always among them: event_content_type. The
 * record's value is ev->data. */
size_t event_to_headers(const struct event *ev, struct header *out);
/* Decodes a record of either mode: binary when it has ce_specversion, structured when its content-type starts with
 * application/cloudevents. NULL with *e when it is neither or is broken. */
const struct event *event_from_record(const struct record *r, struct err *e);

/* The same of a record on the way in, decoded once for all who ask: an event in binary mode borrows the record's bytes
 * and holds a reference to it instead of copying them. One reference; any thread. */
const struct event *event_of_record(struct record *r, struct err *e);

/* JSON format 1.0 ("structured"): JSON data is spliced in byte for byte, text as a string, the rest as data_base64. */
void event_to_json(const struct event *ev, struct buf *out);
/* The same members in CBOR (bridge/lib/cbor.h): JSON data embedded byte for byte (tag 262), text as text, the rest as bytes
 * by the name data_base64. */
void event_to_cbor(const struct event *ev, struct buf *out);
/* The payload that Standard Webhooks recommends: type, timestamp, data (null when there is none; as above), and beside them
 * id, source, subject, the extensions, and the data's type when it is not JSON. `time` is its timestamp. */
void event_to_payload(const struct event *ev, struct str time, struct buf *out);
const struct event *event_from_json(struct str json, struct err *e);
/* An application/cloudevents-batch+json array; returns how many events were written to out (each with one
 * reference), or -1 with *e naming the index of the bad one; more than room is an error. */
int event_from_json_batch(struct str json, const struct event **out, size_t room, struct err *e);
/* The same, but one that is no event costs the others nothing: `bad` is told its index and why, and its place in out is
 * NULL. */
typedef void event_bad_fn(void *ctx, size_t index, const char *why);
int event_from_json_each(struct str json, const struct event **out, size_t room, event_bad_fn *bad, void *ctx,
                         struct err *e);

/* HTTP binary mode (http-protocol-binding 3.1): appends `value` percent-encoded as a header value. */
void event_http_encode(struct buf *out, struct str value);
/* An event from HTTP headers (names in any case) and body. NULL with *e. */
const struct event *event_from_http(const struct header *headers, size_t count, struct str body, struct err *e);
/* Does this Content-Type mean JSON (application/json, text/json, any +json; parameters ignored; absent means yes)? */
bool event_type_is_json(struct str datacontenttype);
