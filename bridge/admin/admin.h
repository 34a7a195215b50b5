/* SPDX-License-Identifier: MIT */
/* The two listeners of the main thread.
 *
 *   admin.listen            GET /metrics (Prometheus text), /healthz (the process lives), /readyz (503 with the reason
 *                           when the bridge is not ready), /status (the account of all sinks, JSON); with admin.api the
 *                           JSON API (api.h), with admin.console the console (console.h)
 *   <broker.path>/control,  unix socket, for this user only: POST /publish (records as in wire.h, one publication; 422: they can
 *   or admin.control        never be stored), POST /forget (what a group is owed, as in wire.h), GET /status and /readyz, and the JSON API;
 *                           through it the command line reaches a running daemon, and the log that it owns (local
 *                           broker); its other side is control_client.h */
#pragma once
#include "bridge/admin/api.h"

struct admin;

/* Everything is borrowed and outlives the admin. */
struct admin *admin_new(const struct config *config, struct broker *broker, struct roster *roster,
                        const struct admin_questions *ask, struct err *e);
/* Serves for at most wait_ms; returns soon after wake_fd is readable. */
void admin_run(struct admin *a, int wake_fd, int wait_ms);
/* The listener of the pages becomes that of this configuration, which is borrowed from then on; false with *e: it stays as it
 * was. */
bool admin_change(struct admin *a, const struct config *config, struct err *e);
bool admin_uses(const struct admin *a,
                const struct config *config); /* may what it does borrow this one, besides the API? */
/* The API is about this configuration from now on, borrowed. */
void admin_follow(struct admin *a, const struct config *config);
unsigned admin_opened(const struct admin *a); /* rises when the listener, and what it has not answered, is a new one */
/* While the main thread waits for something else: answers /healthz; whoever asks for more is told to come again. */
void admin_idle(struct admin *a);
/* Ends what it does beside the main thread, before the broker is closed; then it is run no more. */
void admin_stop(struct admin *a);
void admin_free(struct admin *a);
