/* SPDX-License-Identifier: MIT */
/* Is some JSON as it was expected? Mappings may have more than is named, lists are compared element by element, null stands
 * for what is not there, and the text "*" for any value that is. */
#pragma once
#include <jansson.h>
#include "bridge/lib/buf.h"

enum { MATCH_PATH = 4096 };

/* Takes one difference: where (".data.output", which goes on from `path`), what was expected, and what is there (NULL:
 * nothing). Borrowed. */
typedef void match_fn(void *ctx, const char *path, const json_t *wanted, const json_t *got);
/* True when there is no difference. `path` is where both stand, and is as it was afterwards. */
bool match_json(const json_t *wanted, const json_t *got, struct buf *path, match_fn *differs, void *ctx);
