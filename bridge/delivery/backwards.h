/* SPDX-License-Identifier: MIT */
/* A topic as a list, the newest records first, page by page, beside a daemon that runs or none.
 *
 * Logs are read forwards, so a page is read in windows: the newest records, then those before them, each window larger than
 * the one before, until the page is full, the log's beginning is reached, or enough was looked at. What `next` says is where
 * the next page begins: an offset of each partition. One thread. */
#pragma once
#include <jansson.h>
#include "bridge/broker/broker.h"

struct backwards {
    const struct broker_config *broker;
    const char *topic;
    const char *after;                                  /* `next` of an earlier page; NULL: from the end */
    int64_t since_ms;                                   /* none that were stored before; 0: all */
    size_t limit;                                       /* most entries of the page */
    json_t *(*take)(void *ctx, const struct record *r); /* the entry; NULL: it is none of the list */
    bool (*go_on)(void *ctx);                           /* false: the page ends with what it has */
    void *ctx;
};

/* {"items": [...], "next": text or null}: the caller's reference. Without items and with `next`: none among those that were
 * looked at. NULL with *e. */
json_t *backwards_page(const struct backwards *b, struct err *e);
