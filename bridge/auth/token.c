/* SPDX-License-Identifier: MIT */
/* Compares tokens by their HMAC under a random key. */
#include "bridge/auth/token.h"
#include <stdlib.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"

struct token_mac {
    unsigned char bytes[SHA256_BYTES];
    size_t id;
};

struct tokens {
    struct hmac *key;
    struct token_mac *macs; /* of the valid tokens */
    size_t count;
};

struct tokens *tokens_new(void)
{
    struct tokens *t = mem_alloc(sizeof *t);
    unsigned char random[SHA256_BYTES];
    crypto_random(random, sizeof random);
    t->key = hmac_new((struct str){ (const char *)random, sizeof random });
    crypto_wipe(random, sizeof random);
    return t;
}

void tokens_free(struct tokens *t)
{
    if (!t)
        return;
    hmac_free(t->key);
    if (t->macs)
        crypto_wipe(t->macs, t->count * sizeof *t->macs);
    free(t->macs);
    free(t);
}

void tokens_add(struct tokens *t, struct str token, size_t id)
{
    if (token.n == 0)
        return;
    t->macs = mem_grow(t->macs, t->count + 1, sizeof *t->macs);
    t->macs[t->count].id = id;
    hmac_sign(t->key, &token, 1, t->macs[t->count++].bytes);
}

bool tokens_match(struct tokens *t, struct str token, size_t *id)
{
    if (token.n == 0)
        return false;
    struct token_mac mac;
    hmac_sign(t->key, &token, 1, mac.bytes);
    struct str presented = { (const char *)mac.bytes, sizeof mac.bytes };
    bool found = false;
    size_t which = 0;
    for (size_t i = 0; i < t->count; i++) { /* no early end, and no branch on what is equal */
        bool equal = crypto_equal(presented, (struct str){ (const char *)t->macs[i].bytes, sizeof t->macs[i].bytes });
        size_t mask = (size_t)0 - equal;
        which = (which & ~mask) | (t->macs[i].id & mask);
        found |= equal;
    }
    if (found && id)
        *id = which;
    return found;
}

struct str token_of_authorization(struct str header, const char *scheme)
{
    struct str word = str_of(scheme);
    if (!str_starts_nocase(header, word) || header.n == word.n || header.at[word.n] != ' ')
        return STR_ABSENT;
    return str_trim(str_from(header, word.n));
}
