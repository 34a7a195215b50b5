/* SPDX-License-Identifier: MIT */
/* Sets of numbers as ranges.
 *
 * Encoded: version 1 | crc32 of what follows | base | { gap before the range, its length }. The checksum is 4 bytes,
 * little-endian; numbers are base 128. */
#include "bridge/lib/ranges.h"
#include <stdlib.h>
#include <zlib.h>
#include "bridge/lib/mem.h"

enum { VERSION = 1, HEAD = 5, NUMBER_MAX = 10, FIRST_CAP = 8 };

/* ---- the set ---- */

/* The index of the first range that ends behind n. */
static size_t ranges_index(const struct ranges *r, int64_t n)
{
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->at[middle].to <= n)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void ranges_insert(struct ranges *r, size_t i, struct range new)
{
    if (r->count == r->cap) {
        r->cap = r->cap ? r->cap * 2 : FIRST_CAP;
        r->at = mem_grow(r->at, r->cap, sizeof *r->at);
    }
    memmove(&r->at[i + 1], &r->at[i], (r->count - i) * sizeof *r->at);
    r->at[i] = new;
    r->count++;
}

void ranges_add(struct ranges *r, int64_t from, int64_t to)
{
    if (from >= to)
        return;
    /* Those that touch it become one with it. */
    size_t first = r->count && r->at[r->count - 1].to < from ? r->count : ranges_index(r, from - 1), end = first;
    while (end < r->count && r->at[end].from <= to)
        end++;
    if (first == end) {
        ranges_insert(r, first, (struct range){ from, to });
        return;
    }
    if (r->at[first].from > from)
        r->at[first].from = from;
    r->at[first].to = r->at[end - 1].to > to ? r->at[end - 1].to : to;
    memmove(&r->at[first + 1], &r->at[end], (r->count - end) * sizeof *r->at);
    r->count -= end - first - 1;
}

void ranges_free(struct ranges *r)
{
    free(r->at);
    *r = (struct ranges){ 0 };
}

struct ranges ranges_union(const struct ranges *a, const struct ranges *b)
{
    struct ranges out = { 0 };
    for (size_t i = 0, k = 0; i < a->count || k < b->count;) {
        bool is_a = k == b->count || (i < a->count && a->at[i].from <= b->at[k].from);
        const struct range *next = is_a ? &a->at[i++] : &b->at[k++];
        ranges_add(&out, next->from, next->to);
    }
    return out;
}

const struct range *ranges_behind(const struct ranges *r, int64_t n)
{
    size_t i = ranges_index(r, n);
    return i < r->count ? &r->at[i] : NULL;
}

int64_t ranges_skip(const struct ranges *r, int64_t n)
{
    const struct range *at = ranges_behind(r, n);
    return at && at->from <= n ? at->to : n;
}

int64_t ranges_within(const struct ranges *r, int64_t from, int64_t to)
{
    int64_t n = 0;
    for (size_t i = ranges_index(r, from); i < r->count && r->at[i].from < to; i++)
        n += (r->at[i].to < to ? r->at[i].to : to) - (r->at[i].from > from ? r->at[i].from : from);
    return n;
}

void ranges_cut(struct ranges *r, int64_t before)
{
    size_t gone = ranges_index(r, before);
    if (gone) {
        r->count -= gone;
        memmove(r->at, &r->at[gone], r->count * sizeof *r->at);
    }
    if (r->count && r->at[0].from < before)
        r->at[0].from = before;
}

/* ---- as bytes ---- */

static size_t ranges_put(unsigned char *out, uint64_t n)
{
    size_t size = 0;
    for (; n >= 128; n >>= 7)
        out[size++] = (unsigned char)(n | 128);
    out[size++] = (unsigned char)n;
    return size;
}

/* False: it does not end, or is no number from 0 to INT64_MAX. */
static bool ranges_get(struct str *rest, int64_t *out)
{
    uint64_t n = 0;
    for (unsigned shift = 0; shift < 63 && rest->n; shift += 7) {
        unsigned char c = (unsigned char)rest->at[0];
        *rest = str_from(*rest, 1);
        n |= (uint64_t)(c & 127) << shift;
        if (c < 128) {
            *out = (int64_t)n;
            return true;
        }
    }
    return false;
}

static uint32_t ranges_sum(const void *bytes, size_t n)
{
    return (uint32_t)crc32_z(0, bytes, n);
}

size_t ranges_encode(const struct ranges *r, int64_t base, unsigned char *out, size_t room, size_t *needed)
{
    unsigned char part[2 * NUMBER_MAX];
    CHECK(base >= 0);
    size_t n = HEAD, size = ranges_put(part, (uint64_t)base);
    *needed = HEAD + size;
    bool fits = *needed <= room;
    if (fits)
        memcpy(out + n, part, size);
    n += size;
    int64_t before = base;
    for (size_t i = 0; i < r->count; i++) {
        CHECK(r->at[i].from >= before);
        size = ranges_put(part, (uint64_t)(r->at[i].from - before));
        size += ranges_put(part + size, (uint64_t)(r->at[i].to - r->at[i].from));
        before = r->at[i].to;
        *needed += size;
        fits = fits && *needed <= room;
        if (!fits)
            continue;
        memcpy(out + n, part, size);
        n += size;
    }
    if (n > room)
        return 0;
    uint32_t sum = ranges_sum(out + HEAD, n - HEAD);
    out[0] = VERSION;
    for (int i = 0; i < 4; i++)
        out[1 + i] = (unsigned char)(sum >> (8 * i));
    return n;
}

static bool ranges_decode_all(struct ranges *out, int64_t base, struct str rest)
{
    int64_t at, gap, length;
    if (!ranges_get(&rest, &at) || at != base)
        return false;
    while (rest.n) {
        if (!ranges_get(&rest, &gap) || !ranges_get(&rest, &length) || length == 0 || gap > INT64_MAX - at
            || length > INT64_MAX - at - gap)
            return false;
        ranges_add(out, at + gap, at + gap + length);
        at += gap + length;
    }
    return true;
}

bool ranges_decode(struct ranges *out, int64_t base, struct str bytes)
{
    const unsigned char *in = (const unsigned char *)bytes.at;
    *out = (struct ranges){ 0 };
    if (bytes.n < HEAD || in[0] != VERSION)
        return false;
    uint32_t sum = in[1] | (uint32_t)in[2] << 8 | (uint32_t)in[3] << 16 | (uint32_t)in[4] << 24;
    struct str rest = str_from(bytes, HEAD);
    if (sum == ranges_sum(rest.at, rest.n) && ranges_decode_all(out, base, rest))
        return true;
    ranges_free(out);
    return false;
}
