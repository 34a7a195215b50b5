/* SPDX-License-Identifier: MIT */
/* A record of a topic: key, value, headers, time, and its place once it has one.
 *
 * Two uses. On the way out (broker_publish) it is a borrowed view that the caller builds on its stack. On the way in
 * (consumer_poll) it is shared by all who read it: immutable, reference counted, one allocation, given back with
 * record_free. The event in it is decoded by the first who asks (event_of_record) and goes with the record. */
#pragma once
#include <stdatomic.h>
#include "bridge/lib/header.h"

struct record_view {                    /* what a record holds, decoded; begins the decoder's own struct */
    void (*end)(struct record_view *v); /* the record ends */
};

struct record_share {   /* beside a record on the way in; apart from it, so that a view of it may be copied */
    atomic_uint others; /* references besides the first */
    _Atomic(struct record_view *) view; /* NULL: nobody decoded it yet, or it cannot be */
};

/* By which schema of a registry a value is written (event/avro.h). Then it begins with Confluent's head: a byte 0 and the
 * schema's id in the registry (4 bytes, big endian). What follows begins with no 0, so a reader takes it with and without. */
enum record_schema { SCHEMA_NONE, SCHEMA_AVRO, SCHEMA_COLUMNS, SCHEMA_JSON };
enum { SCHEMA_HEAD = 5 };

struct record {
    struct str topic;
    int32_t partition;    /* -1 on the way out: chosen by the key's hash, or spread when there is no key */
    int64_t offset;       /* way in only */
    int64_t timestamp_ms; /* wall clock: when it was stored; 0 on the way out means now */
    int64_t
        event_ms; /* way out only: when what the event tells of happened, which others are to see as the record's time;
                         0: when it was stored. (kafka: as far as the topic takes it; the local log tells nobody.) */
    enum record_schema schema; /* way out only: the value begins with a head, which gets the schema's id */
    int64_t stored_ms; /* way in only: when it was stored by the broker's own clock, which need not be the wall's: what
                             "stored since" is compared with (broker.h: since_ms, offset_at) */
    struct str key;    /* absent: no key */
    struct str value;  /* absent: a null value (tombstone) */
    const struct header *headers;
    size_t header_count;
    struct record_share *share;        /* set by the broker that made it, as is release; NULL on the way out */
    void (*release)(struct record *r); /* frees it when the last reference is gone */
};

/* One reference more to a record of the way in; it is gone when each was given back. Any thread. */
struct record *record_ref(struct record *r);
void record_free(struct record *r); /* accepts NULL */

/* The value of the last header of that name (exact match), absent when there is none. */
struct str record_header(const struct record *r, const char *name);

/* What stands behind the head of a value, if it has one. */
struct str record_without_schema(struct str value);
