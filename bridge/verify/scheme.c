/* SPDX-License-Identifier: MIT */
/* What verification schemes share. */
#include "bridge/verify/scheme.h"

enum refusal scheme_header(const struct http_request *r, const char *name, struct str *out)
{
    size_t count = 0;
    *out = http_header(r, name, &count);
    if (count > 1)
        return REFUSAL_REPEATED;
    return out->n ? REFUSAL_NONE : REFUSAL_MISSING;
}
