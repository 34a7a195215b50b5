/* SPDX-License-Identifier: MIT */
/* A body through a path's `map`: the events of the vocabulary that it becomes (bridge/map/map.h), by SQL over :body and
 * :headers.
 *
 *   choose     one row for the body, or, with `each`, for each element `r` of an array in it: its id, time and part, and
 *              which entries fit
 *   an entry   the data and attributes of an event, of one such row
 *   request    id and time of the body itself: of what is no CloudEvent and was not mapped
 *
 * All are prepared once. An event's id is the row's, or that of the request and the row's part, so that a request that is
 * sent again makes the same ids; the second entry that fits one row adds its type. One thread. */
#pragma once
#include "bridge/event/event.h"
#include "bridge/lib/metrics.h"
#include "connectors/http/mapping_options.h"
#include "connectors/http/sandbox.h"

struct mapping;
/* Of options that were checked; borrows both. NULL: nothing is asked. */
struct mapping *mapping_new(const struct mapping_options *o, struct sandbox *b, const char *source, const char *path);
void mapping_free(struct mapping *m); /* accepts NULL */
bool mapping_has_id(const struct mapping *m);

struct mapping_call {
    struct str body; /* JSON that was checked */
    const struct header *headers;
    size_t header_count;
    const struct verify_options *verify; /* SQL is not shown the headers that prove who the sender is; or NULL */
    /* What its events are like: source, time, extensions (a trace), and the id where the body has none. */
    struct event like;
    const struct event **out;
    size_t room;
    bool by_like;    /* out: some event has the id of `like` */
    bool by_headers; /* out: of the id; or of anything: */
    bool of_headers;
};
/* Returns how many events the body has become; 0: no entry fits, or there is no map; -1: it cannot be mapped, and *e says
 * why. Either way like.id and like.time are then those of the body, as far as it has them, until the next call. */
int mapping_events(struct mapping *m, struct mapping_call *c, struct err *e);

enum mapping_miss { MISS_OTHER = 1, MISS_FAILED, MISS_NOT_JSON, MISS_COUNT };
/* Counts the body, and says of one that failed and is stored why (some lines a second). What becomes of it? */
enum unmapped mapping_miss(struct mapping *m, enum mapping_miss why, const char *text);
