/* SPDX-License-Identifier: MIT */
/* The command line's side of the control socket and of the pages. */
#pragma once
#include "bridge/config/config.h"
#include "bridge/lib/buf.h"

/* Has the running daemon store the records, as one publication; waits for it. With *e unless they are stored; *nobody
 * says that no daemon listens there. */
enum outcome control_publish(const struct config *config, const struct record *records, size_t count, bool *nobody,
                             struct err *e);
/* The same for broker_forget. */
bool control_forget(const struct config *config, const char *group, const char *topic, bool *nobody, struct err *e);

/* Asks the running daemon for its account, over the control socket, or where there is none on `admin.listen`; `query`:
 * what follows /status. False with *e; *nobody says that no daemon listens there. */
bool control_status(const struct config *config, const char *query, struct buf *out, bool *nobody, struct err *e);

/* Asks the running daemon in the same way whether it is ready; what it answers goes to `out`: "ready", or "not ready: " and why. False
 * with *e: it did not answer within 5 s, or something else. */
bool control_ready(const struct config *config, bool *is, struct buf *out, struct err *e);

struct control_call {          /* of the JSON API (api.h) */
    const char *method, *path; /* "POST", "/api/v1/..." */
    const char *body;          /* JSON; NULL: none */
    int64_t version;           /* If-Match; 0: none */
    int64_t wait_ms;           /* for the answer; 0: 30 s */
};
/* Asks the running daemon, over the control socket, or where there is none on `admin.listen`, as whom the configuration's first token
 * is of. *status and what it answered go to `out`. False with *e: it did not answer; *nobody says that no daemon listens there. */
bool control_call(const struct config *config, const struct control_call *call, long *status, struct buf *out,
                  bool *nobody, struct err *e);
