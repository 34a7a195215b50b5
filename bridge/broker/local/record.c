/* SPDX-License-Identifier: MIT */
/* A record as the bytes of one row of the embedded log, with a checksum over all of it and its place in time.
 *
 *   version 1 | flags | timestamp 8 | [key length, key] | header count | { name length, name, value length + 1, value }
 *   | value | crc32
 *
 * Lengths are base-128 numbers, fixed numbers little-endian; the value's length is what remains. */
#include <stdlib.h>
#include <zlib.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/mem.h"

enum { VERSION = 1, HAS_KEY = 1, HAS_VALUE = 2, CRC = 4, FIXED = 1 + 1 + 8 };

static size_t record_number_size(uint64_t n)
{
    size_t size = 1;
    while (n >>= 7)
        size++;
    return size;
}

static unsigned char *record_number_put(unsigned char *p, uint64_t n)
{
    for (; n >= 128; n >>= 7)
        *p++ = (unsigned char)(n | 128);
    *p++ = (unsigned char)n;
    return p;
}

static unsigned char *record_bytes_put(unsigned char *p, struct str s)
{
    if (s.n)
        memcpy(p, s.at, s.n);
    return p + s.n;
}

static unsigned char *record_fixed_put(unsigned char *p, uint64_t n, size_t size)
{
    for (size_t i = 0; i < size; i++)
        *p++ = (unsigned char)(n >> (8 * i));
    return p;
}

static uint64_t record_fixed_get(const unsigned char *p, size_t size)
{
    uint64_t n = 0;
    for (size_t i = 0; i < size; i++)
        n |= (uint64_t)p[i] << (8 * i);
    return n;
}

size_t local_record_size(const struct record *r)
{
    size_t n = FIXED + record_number_size(r->header_count) + r->value.n + CRC;
    if (r->key.at)
        n += record_number_size(r->key.n) + r->key.n;
    for (size_t i = 0; i < r->header_count; i++) {
        const struct header *h = &r->headers[i];
        n += record_number_size(h->name.n) + h->name.n + record_number_size(h->value.at ? h->value.n + 1 : 0)
             + h->value.n;
    }
    return n;
}

uint32_t local_record_encode(const struct record *r, unsigned char *blob)
{
    unsigned char *p = blob;
    *p++ = VERSION;
    *p++ = (unsigned char)((r->key.at ? HAS_KEY : 0) | (r->value.at ? HAS_VALUE : 0));
    p = record_fixed_put(p, (uint64_t)(r->timestamp_ms ? r->timestamp_ms : clock_wall_ms()), 8);
    if (r->key.at)
        p = record_bytes_put(record_number_put(p, r->key.n), r->key);
    p = record_number_put(p, r->header_count);
    for (size_t i = 0; i < r->header_count; i++) {
        const struct header *h = &r->headers[i];
        p = record_bytes_put(record_number_put(p, h->name.n), h->name);
        p = record_bytes_put(record_number_put(p, h->value.at ? h->value.n + 1 : 0), h->value);
    }
    p = record_bytes_put(p, r->value);
    return (uint32_t)crc32_z(0, blob, (size_t)(p - blob));
}

static uint32_t record_crc(uint32_t crc, int64_t offset, int64_t stored)
{
    unsigned char place[16];
    record_fixed_put(record_fixed_put(place, (uint64_t)offset, 8), (uint64_t)stored, 8);
    return (uint32_t)crc32_z(crc, place, sizeof place);
}

void local_record_seal(unsigned char *blob, size_t size, uint32_t crc, int64_t offset, int64_t stored)
{
    record_fixed_put(blob + size - CRC, record_crc(crc, offset, stored), CRC);
}

/* ---- back from bytes ---- */

struct owned { /* a record, then its headers, then the topic's name and the blob */
    struct record r;
    struct record_share share;
    struct header headers[];
};

struct cursor {
    const unsigned char *p, *end;
    bool bad;
};

static uint64_t record_number_get(struct cursor *c)
{
    uint64_t n = 0;
    for (unsigned shift = 0; shift < 64 && c->p < c->end; shift += 7) {
        unsigned char byte = *c->p++;
        n |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return n;
    }
    c->bad = true;
    return 0;
}

static struct str record_bytes_get(struct cursor *c, uint64_t n)
{
    if (c->bad || n > (uint64_t)(c->end - c->p)) {
        c->bad = true;
        return STR_ABSENT;
    }
    struct str s = { (const char *)c->p, (size_t)n };
    c->p += n;
    return s;
}

static struct str record_optional_get(struct cursor *c)
{
    uint64_t n = record_number_get(c);
    return n == 0 ? STR_ABSENT : record_bytes_get(c, n - 1);
}

static void record_release(struct record *r)
{
    free(r);
}

/* Only the header count is needed to size the allocation, so it is read before the copy. */
static bool record_header_count(struct str blob, size_t *count)
{
    struct cursor c = { (const unsigned char *)blob.at + FIXED, (const unsigned char *)blob.at + blob.n - CRC, false };
    if (blob.at[1] & HAS_KEY)
        record_bytes_get(&c, record_number_get(&c));
    uint64_t n = record_number_get(&c);
    *count = (size_t)n;
    return !c.bad && n <= (uint64_t)(c.end - c.p) / 2; /* a header takes at least two bytes */
}

static bool record_check(struct str blob, int64_t offset, int64_t stored, struct err *e)
{
    if (blob.n < FIXED + 1 + CRC)
        return err_set(e, "only %zu bytes long", blob.n);
    const unsigned char *bytes = (const unsigned char *)blob.at;
    uint32_t crc = record_crc((uint32_t)crc32_z(0, bytes, blob.n - CRC), offset, stored);
    if (crc != (uint32_t)record_fixed_get(bytes + blob.n - CRC, CRC))
        return err_set(e, "checksum does not match");
    if (bytes[0] != VERSION)
        return err_set(e, "unknown form %d", bytes[0]);
    return true;
}

struct record *local_record_decode(struct str blob, struct str topic, int32_t partition, int64_t offset, int64_t stored,
                                   struct err *e)
{
    size_t count;
    if (!record_check(blob, offset, stored, e))
        return NULL;
    if (!record_header_count(blob, &count)) {
        err_set(e, "malformed");
        return NULL;
    }
    struct owned *o = mem_grow(NULL, sizeof *o + count * sizeof o->headers[0] + topic.n + blob.n, 1);
    atomic_init(&o->share.others, 0);
    atomic_init(&o->share.view, NULL);
    char *name = (char *)&o->headers[count], *copy = name + topic.n;
    memcpy(name, topic.at, topic.n);
    memcpy(copy, blob.at, blob.n);
    struct cursor c = { (const unsigned char *)copy + FIXED, (const unsigned char *)copy + blob.n - CRC, false };
    struct str key = copy[1] & HAS_KEY ? record_bytes_get(&c, record_number_get(&c)) : STR_ABSENT;
    record_number_get(&c);
    for (size_t i = 0; i < count; i++) {
        o->headers[i].name = record_bytes_get(&c, record_number_get(&c));
        o->headers[i].value = record_optional_get(&c);
    }
    struct str value = record_bytes_get(&c, (uint64_t)(c.end - c.p));
    if (c.bad) {
        free(o);
        err_set(e, "malformed");
        return NULL;
    }
    o->r = (struct record){ .topic = { name, topic.n },
                            .partition = partition,
                            .offset = offset,
                            .timestamp_ms = (int64_t)record_fixed_get((const unsigned char *)copy + 2, 8),
                            .stored_ms = stored,
                            .key = key,
                            .value = copy[1] & HAS_VALUE ? value : STR_ABSENT,
                            .headers = o->headers,
                            .header_count = count,
                            .share = &o->share,
                            .release = record_release };
    return &o->r;
}

uint32_t local_state_crc(struct str source, struct str key, struct str value)
{
    uLong crc = crc32_z(0, (const unsigned char *)source.at, source.n);
    crc = crc32_z(crc, (const unsigned char *)key.at, key.n);
    return (uint32_t)crc32_z(crc, (const unsigned char *)value.at, value.n);
}
