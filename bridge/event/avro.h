/* SPDX-License-Identifier: MIT */
/* Events whose schema a registry knows: the Avro event format 1.0 and the JSON one, each behind Confluent's wire format.
 *
 * The format: a byte 0, the schema's id in the registry (4 bytes, big endian), the event. Without the first five it is the
 * plain format: neither an event in JSON nor one in Avro begins with a 0, so a reader takes both.
 *
 * The Avro schema is CloudEvents' own (avro-format.md 2.4), one for all events: a map of attributes, and the data as bytes,
 * as it came, or null. It never changes, so it is read and written here by hand; a schema of another writer is another format. Any thread. */
#pragma once
#include "bridge/event/event.h"

enum { SCHEMA_HEAD = 5 };

extern const char event_avro_schema[], event_json_schema[]; /* as they are registered */

/* Appends the wire format, with 0 for the id. */
void event_to_avro(const struct event *ev, struct buf *out);
/* NULL with *e: it is broken, or its data is not bytes. One reference. */
const struct event *event_from_avro(struct str value, struct err *e);
/* What stands behind the head, if it has one. */
struct str event_without_schema(struct str value);
