/* SPDX-License-Identifier: MIT */
/* Fuzzes the reader of compiled time zones: whatever the bytes, changes rise, and offsets are some a clock can have. */
#include <stdint.h>
#include "bridge/lib/mem.h"
#include "bridge/lib/tzif.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tzif t;
    bool good = tzif_read((struct str){ (const char *)data, size }, &t);
    CHECK(good || (t.count == 0 && !t.changes));
    CHECK(t.count <= size + 2 * (TZIF_LAST_YEAR - 1970 + 1));
    for (size_t i = 0; i < t.count; i++) {
        CHECK(i == 0 || t.changes[i - 1].at < t.changes[i].at);
        CHECK(t.changes[i].offset > -100000 && t.changes[i].offset < 100000);
    }
    tzif_free(&t);
    return 0;
}
