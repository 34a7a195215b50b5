/* SPDX-License-Identifier: MIT */
/* The request that a receiver would get for one event, made as it is sent, and sent to nobody: for `aqueduct test`. */
#pragma once
#include "bridge/connector.h"

/* endpoint_ops.show. What it says to be signed was verified with the receiver's secrets. */
bool show_request(const struct sink *s, const struct endpoint *ep, const struct message *m,
                  void (*use)(void *ctx, const struct shown_request *r), void *ctx, struct err *e);
