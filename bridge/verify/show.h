/* SPDX-License-Identifier: MIT */
/* The other side of verification: what our own client sends to be let in by a listener of ours. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/verify/options.h"

/* Appends header lines, each with a line break behind it, and what belongs into the query of the URL ("key=..."). False:
 * none of its schemes can be met by secrets. The buffers hold secrets then: wipe them. */
bool verify_show(const struct verify_options *o, int64_t wall_ms, struct buf *headers, struct buf *query);
