/* SPDX-License-Identifier: MIT */
/* Is a SQLite database damaged? SQLite itself tells only who comes upon the page.
 *
 * A small database is looked at whole, a large one table by table in pieces, without its indexes, so that nobody waits for
 * a lock of it longer than a moment. What SQLite has no means to see (a changed letter in a text) is not seen. Any thread. */
#pragma once
#include <sqlite3.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/err.h"

enum intact { /* no zero on purpose */
              INTACT_WHOLE = 1,
              INTACT_TABLES, /* and its indexes were not looked at */
              INTACT_SO_FAR, /* as far as the time, or a lock, allowed */
              INTACT_DAMAGED,
};

/* Looks for at most about so long; takes the connection's progress handler. *why: what is damaged. */
enum intact intact_look(sqlite3 *db, struct duration limit, struct err *why);
const char *intact_says(enum intact found); /* "all of its pages are sound" */
