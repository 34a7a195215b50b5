/* SPDX-License-Identifier: MIT */
/* Reading Avro from outside, never beyond its end: what the formats of event/ share.
 *
 * By hand, since libavro's readers (1.11) allocate what a length on the wire says before they look whether so much is
 * there: eight bytes ask for 128 GiB. Nothing is allocated here, and what is returned points into what is read. `rest` is what
 * is left to read; false: it is broken, and where *rest stands then means nothing. Any thread. */
#pragma once
#include "bridge/lib/str.h"

bool avro_read_long(struct str *rest, int64_t *out);     /* also an int, a union's branch */
bool avro_read_bytes(struct str *rest, struct str *out); /* also a string */

/* Reads one key and its value from ctx's rest. */
typedef bool avro_pair_fn(void *ctx);
/* A map of at most `most` pairs, whose blocks may say their sizes: calls pair() for each. */
bool avro_read_map(struct str *rest, int64_t most, avro_pair_fn *pair, void *ctx);
