/* SPDX-License-Identifier: MIT */
/* Waiting records that a copy has replaced, though the position does not say so yet: what a crash between the two leaves.
 *
 * A copy that stands for the whole of a waiting record names it (TRAIL_REPLACES). A survey of what waits finds the copy;
 * when the record itself is read it is finished, and the copy alone goes on. Without that both would, and each crash
 * could double both.
 *
 * A record is only taken for replaced when its copy was seen waiting, and sink, endpoint, origin, key and data are those
 * of the copy: a topic that was made anew has other records at the same offsets. In doubt both go on. One thread. */
#pragma once
#include "bridge/broker/broker.h"

enum { REPLACED_MOST = 65536 }; /* remembered at the same time; that is more than is on its way at once */

struct replaced_place;
struct replaced { /* zeroed: none */
    struct replaced_place *places;
    size_t place_count, count;
};

/* Forgets all; from now on notes what replaces an unfinished record of the consumer's partitions. */
void replaced_begin(struct replaced *r, struct consumer *c);
void replaced_note(struct replaced *r, const struct record *copy); /* a record that waits */
void replaced_end(struct replaced *r);                             /* all were noted */
bool replaced_has(const struct replaced *r, const struct record *record);
void replaced_free(struct replaced *r); /* {0} again */
