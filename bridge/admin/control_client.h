/* SPDX-License-Identifier: MIT */
/* The command line's side of the control socket and of the pages. */
#pragma once
#include "bridge/config/config.h"
#include "bridge/lib/buf.h"

/* Has the running daemon store one record; waits for it. False with *e; *nobody says that no daemon listens there. */
bool control_publish(const struct config *config, const struct record *r, bool *nobody, struct err *e);

/* Asks the running daemon for its account, over the control socket, or where there is none on `admin.listen`; `query`:
 * what follows /status. False with *e; *nobody says that no daemon listens there. */
bool control_status(const struct config *config, const char *query, struct buf *out, bool *nobody, struct err *e);
