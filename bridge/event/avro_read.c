/* SPDX-License-Identifier: MIT */
/* Avro's numbers, bytes and maps, read within bounds. */
#include "bridge/event/avro_read.h"

bool avro_read_long(struct str *rest, int64_t *out)
{
    uint64_t z = 0;
    for (unsigned shift = 0; rest->n > 0 && shift < 64; shift += 7) {
        unsigned char byte = (unsigned char)rest->at[0];
        *rest = str_from(*rest, 1);
        z |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = (int64_t)(z >> 1) ^ -(int64_t)(z & 1);
            return true;
        }
    }
    return false;
}

bool avro_read_bytes(struct str *rest, struct str *out)
{
    int64_t n;
    if (!avro_read_long(rest, &n) || n < 0 || (uint64_t)n > rest->n)
        return false;
    *out = (struct str){ rest->at, (size_t)n };
    *rest = str_from(*rest, (size_t)n);
    return true;
}

/* Blocks: how many pairs (negative: and how many bytes), the pairs; none at its end. */
bool avro_read_map(struct str *rest, int64_t most, avro_pair_fn *pair, void *ctx)
{
    int64_t count, bytes;
    for (;;) {
        if (!avro_read_long(rest, &count) || count < -most || count > most)
            return false;
        if (count == 0)
            return true;
        if (count < 0 && !avro_read_long(rest, &bytes))
            return false;
        count = count < 0 ? -count : count;
        most -= count;
        while (count-- > 0)
            if (!pair(ctx))
                return false;
    }
}
