/* SPDX-License-Identifier: MIT */
/* A value as members of the event's JSON: in the form that the vocabulary gives its path, and only as far as `content` and
 * `personal` tell it. What is NULL or "" has no member. */
#pragma once
#include <sqlite3.h>
#include "bridge/lib/metrics.h"
#include "bridge/map/map.h"
#include "bridge/map/tell.h"

struct shaping { /* all borrowed */
    const struct telling *told;
    struct hmac *hmac;          /* of its content_key, or NULL */
    const struct strings *mask; /* members of JSON whose values become "***" */
    size_t max_event;           /* bytes of a value */
    struct buf *json;           /* members go to its end */
    struct metric *repaired;    /* counts texts that are no UTF-8 */
    const struct zone *zone;    /* of times that do not say their offset; NULL: UTC */
};

/* The members to the end of w->json, where `out` says they stand. Returns what is wrong with the value, which then has no
 * member ("is no integer"), or NULL. */
const char *shape_value(const struct shaping *w, const struct binding *b, sqlite3_stmt *row, int col, struct cell *out);
/* The constant that app.name is. */
void shape_app(const struct shaping *w, const char *app, struct cell *out);
