/* SPDX-License-Identifier: MIT */
/* A batch of events on its way to a receiver: one request with a JSON array, or, when that is refused, several.
 *
 *   parcel_new, parcel_push...        while it is collected (batches.h)
 *   parcel_body, parcel_id            each time a request is sent
 *   parcel_split                      that has ended, and was refused: the first half of what it carried goes alone
 *   parcel_results                    ... it was not, or carried one event: the results of its events
 *   parcel_goes_on                    is there more in it? What was split off is next
 *   parcel_free
 *
 * The JSON is written once, when the event comes, so a request costs no more than its signature: each is a piece of the same
 * text. The parts of a batch go one after the other, in the events' order.
 *
 * A request is refused when its events would become dead letters, when it is too large (413), or when the receiver answers
 * (500, 404, ...) that those are to be tried again that were before: one of them may be the cause, and must not take the
 * others with it. What the receiver says of itself (410) is so for all. When it is away, all that is left of the batch waits.
 *
 * Events and records are borrowed (struct message). The sink's thread. */
#pragma once
#include "connectors/webhook/request.h"

enum { PARCEL_MOST = 1000 /* events */, PARCEL_PARTS = 16 /* 2^16 > PARCEL_MOST */ };

struct parcel_event {
    struct message message;
    size_t end; /* of its JSON, where a comma follows */
};

struct parcel {
    struct parcel *next;
    struct buf json; /* "[", and a comma behind each event */
    struct parcel_event *events;
    size_t count, cap;
    int64_t due_ms;            /* clock_mono_ms */
    char *why;                 /* it is one event, which has no JSON; NULL: it can be sent */
    size_t first, last;        /* the events of the present request */
    size_t ends[PARCEL_PARTS]; /* of the parts behind it, the next one last */
    size_t parts;
    size_t told, end; /* its results are given up to here, and are to be up to there; end 0: it has not ended */
};

struct parcel *parcel_new(void);
void parcel_push(struct parcel *b, const struct message *m); /* the event whose JSON was appended */
void parcel_free(struct parcel *b);                          /* accepts NULL */

struct str parcel_body(struct parcel *b); /* of the present request; valid until the next one's */
/* The request's webhook-id: of one event that event's, of several a UUID of theirs: the same events have the
 * same, in whatever order they come again. */
struct str parcel_id(const struct parcel *b, char out[REQUEST_ID + 1]);
/* The present request came to this end; `gone`: the receiver said so of itself. False: it is not to be split. */
bool parcel_split(struct parcel *b, const struct result *r, bool gone);
/* Writes its results, at most `room`; parcel_is_told: that were all. */
size_t parcel_results(struct parcel *b, const struct result *r, struct result *out, size_t room);
bool parcel_is_told(const struct parcel *b);
bool parcel_goes_on(struct parcel *b); /* false: it is at its end */
