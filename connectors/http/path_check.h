/* SPDX-License-Identifier: MIT */
/* What can be said of a path before it is open: whether its options go together, and which types its events have. Any
 * thread. */
#pragma once
#include "connectors/http/path_options.h"

enum { PATH_TYPE_BYTES = 256 }; /* longest type in the configuration */

/* Was the option said? */
static inline bool path_is_set(const char *s)
{
    return s && *s;
}

/* Do the options go together? */
bool path_check(const struct path_options *o, struct err *e);
/* Do two paths of one source go together, as far as it is about which request is for which? */
bool path_check_pair(const struct path_options *a, const struct path_options *b, struct err *e);
/* Every type that its events can have, as source_ops.types tells it. */
void path_types(const struct path_options *o, void (*each)(void *ctx, const char *type), void *ctx);
/* The types of those of its events that tell what people wrote as it is, as far as it knows what they tell. */
void path_content(const struct path_options *o, void (*each)(void *ctx, const char *type), void *ctx);

/* What the types of wrapped bodies begin with, or are where a template has nothing. */
struct str path_type(const struct path_options *o, const struct verifier *v);
/* The header whose value is put behind it; NULL: none. */
const char *path_type_header(const struct path_options *o, const struct verifier *v);
