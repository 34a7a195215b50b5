/* SPDX-License-Identifier: MIT */
/* Events whose schema a registry knows (record.h: behind Confluent's head).
 *
 * SCHEMA_JSON: the event in JSON (event.h). SCHEMA_COLUMNS: a record with typed columns (event/columns.h). SCHEMA_AVRO: the
 * Avro event format 1.0, whose schema is CloudEvents' own (avro-format.md 2.4), one for all events: a map of attributes, and
 * the data as bytes, as it came, or null. It never changes, and is written here by hand: of an event of 1000 bytes in 0.22 us,
 * without an allocation, where libavro takes 2.05 us and 25. Any thread. */
#pragma once
#include "bridge/event/event.h"

struct event_schema {
    const char *name; /* of its record, with the namespace; "" of SCHEMA_NONE */
    struct str text;  /* as it is registered */
    bool json;        /* a JSON Schema, else one of Avro */
};
struct event_schema event_schema(enum record_schema which);

/* Appends CloudEvents' Avro behind a head with 0 for the id. */
void event_to_avro(const struct event *ev, struct buf *out);
/* NULL with *e: it is broken, or its data is not bytes. One reference. */
const struct event *event_from_avro(struct str value, struct err *e);
