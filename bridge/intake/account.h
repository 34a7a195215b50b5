/* SPDX-License-Identifier: MIT */
/* What came of a source's events since the start, as a JSON object: for `aqueduct status`. Any thread. */
#pragma once
#include "bridge/connector.h"

/* {"source":...,"type":...,"stored":...,"repeats":...,"refused":{"conflict":1},"ready":true,"not_ready":null,...}, with what the connector tells of itself behind it.
 * Not `runs`: there are no counts, and null stands in their places. */
void intake_account(const struct source *s, bool runs, struct buf *out);
