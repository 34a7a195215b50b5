/* SPDX-License-Identifier: MIT */
/* Which path of an HTTP source may speak for which CloudEvents source: each for its own and what stands below it, except
 * for what is another path's. Sources are compared as RFC 3986 says (uri_normal), so that /%73hop is /shop.
 *
 *   owner_open -> owner_leave_to (when all are open) -> owner_has per event -> owner_close
 *
 * One thread. */
#pragma once
#include "bridge/lib/str.h"

struct owner {
    char *own;         /* as it is compared */
    struct str *inner; /* what stands below it and is another's, borrowed from those */
    size_t inner_count;
};

void owner_open(struct owner *o, struct str source);
/* What of *other stands below *o is the other's alone; both live equally long. Nothing when they are the same. */
void owner_leave_to(struct owner *o, const struct owner *other);
bool owner_has(const struct owner *o, struct str source); /* at most EVENT_ATTRIBUTE_BYTES */
void owner_close(struct owner *o);
