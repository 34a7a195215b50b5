/* SPDX-License-Identifier: MIT */
/* The bookmarks of a sink (bridge/event/bookmarks.h): a copy of what the broker's state has under `sinks/<id>`, and the way
 * into it.
 *
 * What is remembered is published as a change of state and counts from then on; the notice of the broker is its outcome.
 * The copy is read by a thread of its own, for that may take long: when it is first asked for and, where other daemons
 * may write, when a name is recalled that was not looked at for a while. Until there is a copy all that comes waits.
 *
 * Each thread of the sink has a view of its own, of the same copy: what one has remembered the others recall at once. */
#pragma once
#include "bridge/broker/broker.h"
#include "bridge/event/bookmarks.h"

/* shared: other daemons may write them, too. */
struct bookmarks *bookmarks_new(struct broker *b, const char *sink, bool shared, int wake_fd);
/* One more view, for another thread of the same sink. */
struct bookmarks *bookmarks_copy(struct bookmarks *base, int wake_fd);
/* Of the first view: after the sink's close(), before that of the broker: waits for a reading under way. Accepts NULL, as bookmarks_free. */
void bookmarks_close(struct bookmarks *base);
void bookmarks_free(struct bookmarks *base); /* any view, when the broker reports nothing any more */
