/* SPDX-License-Identifier: MIT */
/* Is a receiver within reach? A connection as a request would get one, and no request: for `aqueduct doctor`. */
#pragma once
#include "bridge/connector.h"

/* endpoint_ops.probe */
void probe_endpoint(const struct sink *s, const struct endpoint *base, struct duration limit, finding_fn *each,
                    void *ctx);
