/* SPDX-License-Identifier: MIT */
/* A compiled time zone (TZif, RFC 9636) as a table: from which moment on clocks are how far ahead of UTC.
 *
 * The rule in a file's footer, which holds for all that comes behind its last change, is written out up to TZIF_LAST_YEAR.
 * Leap seconds are passed over. Any bytes may be read; any thread. */
#pragma once
#include "bridge/lib/str.h"

enum {
    TZIF_BYTES = 256 << 10, /* longest file; those of the tz database have up to 4 KiB */
    TZIF_LAST_YEAR = 2200,
};

struct tzif {
    int32_t first; /* seconds ahead of UTC before all changes */
    struct tzif_change {
        int64_t at; /* seconds since 1970; strictly ascending */
        int32_t offset;
    } * changes;
    size_t count;
};

bool tzif_read(struct str file, struct tzif *out); /* false: it is none, or damaged; *out is then empty */
void tzif_free(struct tzif *t);
