/* SPDX-License-Identifier: MIT */
/* Looking up a header of a record. */
#include "bridge/event/record.h"

struct str record_header(const struct record *r, const char *name)
{
    struct str wanted = str_of(name);
    for (size_t i = r->header_count; i > 0; i--)
        if (str_eq(r->headers[i - 1].name, wanted))
            return r->headers[i - 1].value;
    return STR_ABSENT;
}
