/* SPDX-License-Identifier: MIT */
/* SipHash by Aumasson and Bernstein, one round a word, three at the end. */
#include "bridge/lib/siphash.h"
#include <endian.h>

static inline uint64_t siphash_turn(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void siphash_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = siphash_turn(v[1], 13) ^ v[0];
    v[0] = siphash_turn(v[0], 32);
    v[2] += v[3];
    v[3] = siphash_turn(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = siphash_turn(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = siphash_turn(v[1], 17) ^ v[2];
    v[2] = siphash_turn(v[2], 32);
}

static inline void siphash_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    siphash_round(v);
    v[0] ^= word;
}

/* n <= 8 bytes as a little-endian number. */
static inline uint64_t siphash_load(const unsigned char *at, size_t n)
{
    uint64_t word = 0;
    for (size_t i = 0; i < n; i++)
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): what is absent has no byte */
        word |= (uint64_t)at[i] << (8 * i);
    return word;
}

struct siphash siphash_begin(const struct siphash_key *key)
{
    return (struct siphash){ .v = { key->k[0] ^ 0x736f6d6570736575u, key->k[1] ^ 0x646f72616e646f6du ^ 0xee,
                                    key->k[0] ^ 0x6c7967656e657261u, key->k[1] ^ 0x7465646279746573u } };
}

void siphash_add_bytes(struct siphash *h, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    size_t had = h->length % 8;
    h->length += n;
    if (had > 0) { /* completes the word that is begun */
        size_t take = n < 8 - had ? n : 8 - had;
        h->tail |= siphash_load(at, take) << (8 * had);
        if (had + take < 8)
            return;
        siphash_word(h->v, h->tail);
        at += take;
        n -= take;
    }
    uint64_t v[4] = { h->v[0], h->v[1], h->v[2], h->v[3] };
    for (; n >= 8; at += 8, n -= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        siphash_word(v, le64toh(word));
    }
    memcpy(h->v, v, sizeof v);
    h->tail = siphash_load(at, n);
}

void siphash_add(struct siphash *h, struct str part)
{
    uint64_t length = part.at ? part.n : UINT64_MAX;
    siphash_add_bytes(h, &length, sizeof length);
    if (part.n > 0)
        siphash_add_bytes(h, part.at, part.n);
}

struct digest siphash_end(const struct siphash *h)
{
    struct digest out;
    uint64_t v[4] = { h->v[0], h->v[1], h->v[2], h->v[3] };
    siphash_word(v, h->tail | h->length << 56);
    v[2] ^= 0xee;
    for (int i = 0; i < 3; i++)
        siphash_round(v);
    out.d[0] = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    for (int i = 0; i < 3; i++)
        siphash_round(v);
    out.d[1] = v[0] ^ v[1] ^ v[2] ^ v[3];
    return out;
}
