/* SPDX-License-Identifier: MIT */
/* Fuzzes the decoder of finished sets: any bytes as they are, and any bytes under a right checksum and version. */
#include <stdlib.h>
#include <zlib.h>
#include "bridge/lib/mem.h"
#include "bridge/lib/ranges.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ranges rise, do not touch, are bounded by the bytes, and encode to the same set. */
static void check(struct ranges *r, int64_t base, size_t size)
{
    CHECK(r->count <= size);
    for (size_t i = 0; i < r->count; i++)
        CHECK(r->at[i].from >= base && r->at[i].from < r->at[i].to && (i == 0 || r->at[i - 1].to < r->at[i].from));
    size_t needed, room = 16 + 20 * (r->count + 1);
    unsigned char *out = mem_alloc(room);
    size_t n = ranges_encode(r, base, out, room, &needed);
    struct ranges same;
    CHECK(n == needed && ranges_decode(&same, base, (struct str){ (char *)out, n }) && same.count == r->count);
    CHECK(r->count == 0 || memcmp(same.at, r->at, r->count * sizeof *r->at) == 0);
    ranges_free(&same);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ranges r;
    if (size < 6 || size > 65536)
        return 0;
    int64_t base = data[5] & 127; /* what stands there, as long as it is one byte */
    if (ranges_decode(&r, base, (struct str){ (const char *)data, size }))
        check(&r, base, size);
    ranges_free(&r);
    unsigned char *sealed = malloc(size);
    CHECK(sealed);
    memcpy(sealed, data, size);
    uint32_t sum = (uint32_t)crc32_z(0, sealed + 5, size - 5);
    sealed[0] = 1;
    for (int i = 0; i < 4; i++)
        sealed[1 + i] = (unsigned char)(sum >> (8 * i));
    if (ranges_decode(&r, base, (struct str){ (char *)sealed, size }))
        check(&r, base, size);
    ranges_free(&r);
    free(sealed);
    return 0;
}
