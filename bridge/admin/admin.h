/* SPDX-License-Identifier: MIT */
/* The two listeners of the main thread.
 *
 *   admin.listen            GET /metrics (Prometheus text), /healthz (the process lives), /readyz (503 with the reason
 *                           when the bridge is not ready)
 *   <broker.path>/control   unix socket, for this user only: POST /publish (a record as in wire.h); through it the
 *                           command line reaches the log that a running daemon owns (local broker); its other side is
 *                           control_client.h */
#pragma once
#include "bridge/broker/broker.h"
#include "bridge/config/config.h"

struct admin;

/* Everything is borrowed and outlives the admin; `ready` fills *why and returns false while the bridge is not ready. */
struct admin *admin_new(const struct config *config, struct broker *broker, bool (*ready)(void *ctx, struct err *why),
                        void *ctx, struct err *e);
/* Serves for at most wait_ms; returns soon after wake_fd is readable. */
void admin_run(struct admin *a, int wake_fd, int wait_ms);
void admin_free(struct admin *a);
