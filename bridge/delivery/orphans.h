/* SPDX-License-Identifier: MIT */
/* How many events wait for each sink that the configuration does not have: a gauge, and one line in the log for each
 * name. At most 100 names are told apart; the others, and what says no name, count together as "(others)". One thread.
 *
 * `aqueduct orphans` ends such events: after what is to become of them is stored, it puts a note into
 * <prefix>waiting.orphaned, which says which earlier records of the same partition are finished. Who reads the topic
 * does what the notes say; who looks at it from outside leaves out what they name. */
#pragma once
#include "bridge/event/record.h"
#include "bridge/lib/metrics.h"
#include "bridge/lib/ranges.h"

extern struct metric_family aqueduct_waiting_orphans;

enum { ORPHAN_NAMES = 100, ORPHAN_NAME = 64 };

struct orphans { /* zeroed: none */
    struct {
        char name[ORPHAN_NAME];
        struct metric *count;
    } sinks[ORPHAN_NAMES];
    size_t count;
};

void orphans_add(struct orphans *o, struct str sink);
void orphans_settle(struct orphans *o, struct str sink, int64_t count); /* so many of them are finished */
void orphans_forget(struct orphans *o); /* the gauges are 0 again: whoever reads the topics next counts anew */

enum { ORPHANS_SETTLED = 512 }; /* most records that one note names */

struct orphans_note { /* the record borrows the rest */
    struct record record;
    struct header headers[3];
    char base[24];
    unsigned char bytes[ORPHANS_SETTLED * 16];
};
/* Makes the note for these offsets of records of the sink, in this topic. They are not none. */
void orphans_note(struct orphans_note *n, const char *topic, struct str sink, const struct ranges *settled);
/* False: the record is no note. A damaged one names nothing. Free `settled`. */
bool orphans_read_note(const struct record *r, struct ranges *settled);
/* Adds what the record names, if it is a note, to what others named. (They stand in partition 0.) */
void orphans_gather_note(const struct record *r, struct ranges *settled);
