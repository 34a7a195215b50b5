/* SPDX-License-Identifier: MIT */
/* Where a listener wants to begin, and what is to become of it when it is slow, as it says it in its request:
 *
 *   Last-Event-ID: <cursor>, else ?last_event_id= or ?lastEventId=, else
 *   ?from=latest | earliest | <cursor> | <RFC 3339 time> | 2h (ago; s, m, h, d) | last:<n>
 *   ?slow=catchup | latest | conflate | close   &by=subject | key
 *
 * One thread. */
#pragma once
#include "bridge/event/cursor.h"
#include "connectors/websocket/cohort.h"
#include "connectors/websocket/told.h"

struct wish {
    struct cursor_start start;
    enum slow slow;
    char *text;            /* CURSOR_RESUME: the cursor that was brought */
    const char *parameter; /* by this */
    bool made;             /* that is of a name that was made just now */
    struct cursor *cursor; /* being placed; NULL: not yet */
};

/* False with *e, which names the parameter. */
bool wish_parse(struct wish *w, struct str query, struct str last_event_id, struct err *e);
/* The same of an op `sub`: from, slow and by are texts. */
bool wish_of_op(struct wish *w, const struct op *o, struct err *e);
/* It is to go on from there, whatever it wanted. */
void wish_resume(struct wish *w, struct str text, const char *parameter, bool made);
void wish_free(struct wish *w); /* also fit for a zeroed one */

enum grant { GRANT_YES = 1, GRANT_NOT_YET, GRANT_NO };

struct granted {
    enum resume resume;
    struct spot *spot; /* to be unreferenced */
    int64_t *lost;     /* of each place; free() it; NULL: of none */
    int64_t lost_total;
};

/* Where that is in the log. GRANT_NOT_YET: the wake_fd turns readable when it is worth asking again; GRANT_NO with *e: nowhere.
 * Outside of send(), right after places_look. */
enum grant wish_grant(struct wish *w, struct places *p, const struct subscription *s, struct granted *out,
                      struct err *e);
void granted_free(struct granted *g);
