/* SPDX-License-Identifier: MIT */
/* SipHash-1-3 with 128 bits: a digest that nobody without the key can steer, for tables whose keys strangers choose.
 *
 *   struct siphash h = siphash_begin(&key);
 *   siphash_add(&h, str); ...                  parts, each with its length, so that ("a","bc") and ("ab","c") differ
 *   struct digest d = siphash_end(&h);
 *
 * The key is random and of this process, so digests are not for storing. Any thread. */
#pragma once
#include "bridge/lib/str.h"

struct siphash_key {
    uint64_t k[2];
};
struct digest {
    uint64_t d[2];
};
struct siphash {
    uint64_t v[4], tail, length;
};

struct siphash siphash_begin(const struct siphash_key *key);
void siphash_add(struct siphash *h, struct str part);                   /* absent and empty differ */
void siphash_add_bytes(struct siphash *h, const void *bytes, size_t n); /* without the length */
struct digest siphash_end(const struct siphash *h);
