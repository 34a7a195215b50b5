/* SPDX-License-Identifier: MIT */
/* Whatever the state holds as an endpoint: it is understood, written again and understood as the same, or refused. */
#include <stdint.h>
#include "bridge/delivery/placed.h"
#include "bridge/lib/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct err e;
    struct placed p, back;
    if (placed_read((struct str){ (const char *)data, n }, &p, &e)) {
        struct buf text = buf_new(4 * PLACED_BYTES);
        placed_write(&p, "sink/name", NULL, &text);
        if (!text.failed && text.n <= PLACED_BYTES) {
            CHECK(placed_read(buf_str(&text), &back, &e));
            CHECK(back.version == p.version && back.removed == p.removed && back.paused == p.paused);
            CHECK(p.removed || json_equal(back.core, p.core));
            placed_free(&back);
        }
        placed_open(&p, "sink/name", NULL, &e);
        buf_free(&text);
    }
    placed_free(&p);
    return 0;
}
