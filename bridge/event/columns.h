/* SPDX-License-Identifier: MIT */
/* Events as columns: one Avro record for all events, with a field for each attribute and, of the vocabulary's events, for
 * each path of their data; behind a head (record.h).
 *
 * The schema is schemas/event.avsc, written by schemas/generate like the table below, so that both have the same columns. First
 * the attributes and `data`, the bytes as they came: these say all of the event and never change, so a reader needs no more of
 * the schema than that it is this one. Behind them stand the columns of the data, each nullable. They only repeat: one
 * whose value has another form, or is too long, is null and costs the event nothing. Columns are added, never taken away, and
 * each has a default: a reader by an older or a newer schema understands both.
 *
 * libavro writes it: 10 us for an answer of 800 bytes (bench.micro), of which a quarter is reading its JSON. Reading is by
 * hand (event/avro_read.h): 0.7 us. Any thread: what threads share is made once, libavro counts its references with atomics,
 * and nothing here lets it set its error text, which is one for all threads. */
#pragma once
#include "bridge/event/event.h"
#include "bridge/event/vocabulary.h"

#define COLUMNS_TYPE "application/vnd.aqueduct.event+avro" /* the content-type of such a record */

enum { COLUMNS_ITEMS = 1000 }; /* most items of a list; one that has more is null */

struct column {       /* of the data */
    const char *name; /* NULL ends a table */
    enum vocabulary_form form;
    const struct column *below; /* an object's, or those of a list's items; NULL: an object is its JSON as text */
};
extern const struct column columns_table[]; /* in the order of the schema, behind `data` */

struct columns_text {
    const char *name; /* the file; NULL ends the table */
    struct str text;
};
extern const struct columns_text columns_texts[]; /* the schema alone */

/* Appends it behind a head with 0 for the id. */
void event_to_columns(const struct event *ev, struct buf *out);
/* NULL with *e: it is broken. One reference. */
const struct event *event_from_columns(struct str value, struct err *e);
