/* SPDX-License-Identifier: MIT */
/* The events of one receiver that wait for others to go with them in one request (`batch`).
 *
 *   batches_add        an event's JSON goes into the open batch, or begins another one
 *   batches_due        when there is one to be sent: it is full, as old as `age`, or somebody waits for one of its events
 *   batches_take       that one is the caller's
 *
 * Since the JSON is there, `bytes` is exact. What is in here is bounded by the sink's window. The sink's thread. */
#pragma once
#include "connectors/webhook/parcel.h"

struct batches_options { /* count 0 or 1: no batches */
    int64_t count;
    struct bytes bytes;
    struct duration age;
};
extern const struct option batches_rows[];

/* Can what the other options say be sent in batches? `receiver`: of `for`, or NULL. */
bool batches_check(const struct batches_options *o, const struct shape_options *shape, const char *receiver,
                   struct err *e);

struct batches {
    const struct batches_options *options;
    struct request_template *template;
    struct parcel *open;          /* NULL: none */
    struct parcel *first, **last; /* full ones, oldest first */
};

void batches_open(struct batches *b, const struct batches_options *o, struct request_template *t);
void batches_close(struct batches *b); /* also fit for a zeroed one */
void batches_add(struct batches *b, const struct message *m);
int64_t batches_due(const struct batches *b);   /* clock_mono_ms; INT64_MAX: there is nothing in it */
struct parcel *batches_take(struct batches *b); /* the oldest, due or not: there is one; parcel_free it */
