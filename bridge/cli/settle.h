/* SPDX-License-Identifier: MIT */
/* Ends events that nobody serves: as dead letters of the class `orphaned`, or without.
 *
 * A waiting event is finished by a note in the topic of orphans (delivery/orphans.h), which the daemon reads, now or at
 * its next start. What a group has not read is finished by taking its position in the topic away: it is owed nothing
 * there any more. Both come after the dead letters are stored, so a crash in between costs at most a repeat of a letter,
 * with the same id: of one batch, or of what is unread in one topic. */
#pragma once
#include "bridge/cli/publish.h"
#include "bridge/cli/unserved.h"

struct settled { /* what became of one entry */
    int64_t ended;
    int64_t bare; /* of these: as dead letters without their data, which was too large with the letter's headers */
};

/* Ends the events of the entry; says on stderr how far it is. False with *e; *out is right in either case. */
bool settle_events(const struct config *config, struct publisher *p, const struct unserved_events *of, bool dead,
                   struct settled *out, struct err *e);
