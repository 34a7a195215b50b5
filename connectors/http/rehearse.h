/* SPDX-License-Identifier: MIT */
/* A request that nobody sent, through the path that it is for: for `aqueduct test`. */
#pragma once
#include "bridge/connector.h"

int rehearse_request(const struct source *base, const struct posted *p, const struct event **out, size_t room,
                     int *status, struct err *e); /* source_ops.rehearse */
