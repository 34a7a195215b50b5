/* SPDX-License-Identifier: MIT */
/* A record of a topic: key, value, headers, time, and its place once it has one.
 *
 * Two uses. On the way out (broker_publish) it is a borrowed view that the caller builds on its stack. On the way in
 * (consumer_poll) it is owned: one allocation or a library's message behind it, given back with record_free. */
#pragma once
#include "bridge/lib/header.h"

struct record {
    struct str topic;
    int32_t partition;    /* -1 on the way out: chosen by the key's hash, or spread when there is no key */
    int64_t offset;       /* way in only */
    int64_t timestamp_ms; /* wall clock; 0 on the way out means now */
    struct str key;       /* absent: no key */
    struct str value;     /* absent: a null value (tombstone) */
    const struct header *headers;
    size_t header_count;
    void (*release)(struct record *r); /* set by the broker that made it; NULL on the way out */
};

/* Gives back a record from consumer_poll; accepts NULL. Any thread, once. */
static inline void record_free(struct record *r)
{
    if (r)
        r->release(r);
}

/* The value of the last header of that name (exact match), absent when there is none. */
struct str record_header(const struct record *r, const char *name);
