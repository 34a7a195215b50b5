/* SPDX-License-Identifier: MIT */
/* Keys by their secrets. */
#include "bridge/auth/key.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

struct key {
    enum key_kind kind;
    struct hmac *hmac;
};

static struct key *key_of_hmac(struct hmac *hmac)
{
    struct key *k = mem_alloc(sizeof *k);
    *k = (struct key){ .kind = KEY_HMAC, .hmac = hmac };
    return k;
}

static struct hmac *key_hmac(struct str secret, bool boxed, struct err *e)
{
    if (boxed)
        return secret_hmac(secret, e);
    return secret_check(secret, SECRET_LEAST, e) ? hmac_new(secret) : NULL;
}

struct key *key_new(struct str secret, bool boxed, struct err *e)
{
    struct hmac *hmac = key_hmac(secret, boxed, e);
    return hmac ? key_of_hmac(hmac) : NULL;
}

struct key *key_new_unboxed(struct str secret)
{
    struct buf decoded = buf_new(secret.n + 1);
    bool has = !secret_has_prefix(secret) && base64_decode(&decoded, secret);
    struct key *k = has ? key_of_hmac(hmac_new(buf_str(&decoded))) : NULL;
    if (decoded.at)
        crypto_wipe(decoded.at, decoded.cap);
    buf_free(&decoded);
    return k;
}

void key_free(struct key *k)
{
    if (!k)
        return;
    hmac_free(k->hmac);
    free(k);
}

enum key_kind key_kind(const struct key *k)
{
    return k->kind;
}

size_t key_sign(struct key *k, const struct str *parts, size_t count, unsigned char out[KEY_SIGNATURE_MOST])
{
    hmac_sign(k->hmac, parts, count, out);
    return SHA256_BYTES;
}
