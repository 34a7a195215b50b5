/* SPDX-License-Identifier: MIT */
/* The two listeners of the main thread.
 *
 *   admin.listen            GET /metrics (Prometheus text), /healthz (the process lives), /readyz (503 with the reason
 *                           when the bridge is not ready), /status (the account of all sinks, JSON); with admin.api the
 *                           JSON API (api.h), with admin.console the console (console.h)
 *   <broker.path>/control   unix socket, for this user only: POST /publish (records as in wire.h, one publication; 422: they can
 *                           never be stored), POST /forget (what a group is owed, as in wire.h), GET /status, and the JSON API; through
 *                           it the command line reaches the log that a running daemon owns (local broker); its other
 *                           side is control_client.h */
#pragma once
#include "bridge/admin/api.h"

struct admin;

/* Everything is borrowed and outlives the admin. */
struct admin *admin_new(const struct config *config, struct broker *broker, struct roster *roster,
                        const struct admin_questions *ask, struct err *e);
/* Serves for at most wait_ms; returns soon after wake_fd is readable. */
void admin_run(struct admin *a, int wake_fd, int wait_ms);
/* Ends what it does beside the main thread, before the broker is closed; then it is run no more. */
void admin_stop(struct admin *a);
void admin_free(struct admin *a);
