/* SPDX-License-Identifier: MIT */
/* Fuzzes the reader of what is kept of a replay: what it takes, it writes so that it takes it again. */
#include <stdint.h>
#include "bridge/cli/replay_kept.h"
#include "bridge/lib/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct replay r, again;
    struct buf out = buf_new(64 << 20);
    if (replay_kept_read((struct str){ (const char *)data, size }, &r)) {
        replay_kept_write(&r, &out);
        CHECK(replay_kept_read(buf_str(&out), &again));
        CHECK(again.part_count == r.part_count && again.replayed == r.replayed && again.finished == r.finished);
        for (size_t i = 0; i < r.part_count; i++)
            CHECK(r.parts[i].next == again.parts[i].next && r.parts[i].end == again.parts[i].end);
        replay_free(&again);
    }
    replay_free(&r);
    buf_free(&out);
    return 0;
}
