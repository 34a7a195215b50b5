/* SPDX-License-Identifier: MIT */
/* Which events were seen: for so long (the window), and bounded: when there are too many, one that is older than the window
 * is forgotten first, else the oldest of the sender that has most, so that no sender can drive out what others sent. A
 * sender is a scope up to its first '?'. One thread.
 *
 * An event is known by the digest of (scope, source, id); a second digest, of its content, tells a repeat from another
 * event under the same id. Nothing else is kept, so what senders choose costs no more than this: some 50 bytes an event. Time,
 * trace context and what tells of the request are no content (event_is_content): a repeat has others.
 *
 * A stored event is known with the places where it is, as bits of the user's: an event for several topics may be in one of
 * them and not in another, when what should have stored it there ended in between.
 *
 * An event is `pending` while it is on its way, with a slot number of the user's to attach repeats to; then it is kept
 * as stored, or forgotten. */
#pragma once
#include "bridge/event/event.h"
#include "bridge/lib/clock.h"

struct seen;
struct fingerprint { /* of one event; of use with this `seen` alone */
    uint64_t identity[2], content, sender;
};
enum { SEEN_STORED = -1, SEEN_UNKNOWN = -2, SEEN_EVERYWHERE = UINT16_MAX };

/* Pending ones come on top of `most`. Window: how long an event is known after it was stored (wall clock); 0: no limit. */
struct seen *seen_new(size_t most, struct duration window);
void seen_free(struct seen *s);
/* Scope: who may choose the id, empty: whoever names that source. */
/* `with_data` false: what its data is makes no other content of it. */
struct fingerprint seen_fingerprint(const struct seen *s, struct str scope, const struct event *ev, bool with_data);
/* Makes f the fingerprint of the same event in another scope. */
void seen_rescope(const struct seen *s, struct fingerprint *f, struct str scope, const struct event *ev);
/* The slot of a pending event (>= 0), SEEN_STORED or SEEN_UNKNOWN; if it is known, *same says whether its content is the
 * same. Forgets one that is older than the window. */
int64_t seen_find(struct seen *s, const struct fingerprint *f, bool *same);
void seen_begin(struct seen *s, const struct fingerprint *f, uint32_t slot); /* was unknown */
/* The event that is pending with this slot is now stored everywhere, or forgotten. */
void seen_end(struct seen *s, uint32_t slot, bool stored);
/* Stored at that time, in these places. A known one with the same content is in these, too; another one stays as it is. They
 * may come in any order of time, if seen_settle follows: until then there may be a quarter more than `most`. */
void seen_add(struct seen *s, const struct fingerprint *f, uint16_t places, int64_t stored_ms);
void seen_settle(struct seen *s);
/* How many had to go for others inside the window since the last call; then *needed is the `most` that would hold what comes
 * within the window, if it goes on as it did. */
uint64_t seen_crowded(struct seen *s, int64_t *needed);
/* Where a stored event is; 0: it is not known as stored. */
uint16_t seen_places(const struct seen *s, const struct fingerprint *f);
/* Forgets a stored event, so that it may begin again; an unknown one changes nothing. */
void seen_drop(struct seen *s, const struct fingerprint *f);
