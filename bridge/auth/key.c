/* SPDX-License-Identifier: MIT */
/* Keys by their secrets. */
#include "bridge/auth/key.h"
#include <stdlib.h>
#include "bridge/lib/ed25519.h"
#include "bridge/lib/mem.h"

static const struct str key_private = { "whsk_", 5 }, key_public = { "whpk_", 5 };

struct key {
    enum key_kind kind;
    struct hmac *hmac;
    size_t bytes; /* of its MACs */
    struct ed25519 *pair;
};

static struct key *key_of(struct key one)
{
    struct key *k = mem_alloc(sizeof *k);
    *k = one;
    return k;
}

/* Of the bytes behind whsk_: the seed, and mostly the public half behind it. */
static struct ed25519 *key_signer(struct str bytes, struct err *e)
{
    unsigned char public[ED25519_KEY];
    if (bytes.n != ED25519_KEY && bytes.n != 2 * ED25519_KEY) {
        err_set(e, "has %zu bytes behind whsk_: a private key has 32, or 64 with its public half", bytes.n);
        return NULL;
    }
    struct ed25519 *pair = ed25519_signer((const unsigned char *)bytes.at);
    ed25519_public(pair, public);
    if (bytes.n == ED25519_KEY || memcmp(public, bytes.at + ED25519_KEY, ED25519_KEY) == 0)
        return pair;
    ed25519_free(pair);
    err_set(e, "is no pair: what stands behind the private half is not its public one");
    return NULL;
}

static struct ed25519 *key_verifier(struct str bytes, struct err *e)
{
    struct ed25519 *pair = bytes.n == ED25519_KEY ? ed25519_verifier((const unsigned char *)bytes.at) : NULL;
    if (!pair)
        err_set(e, "has %zu bytes behind whpk_: a public key has 32", bytes.n);
    return pair;
}

/* Half of a pair, of version v1a. */
static struct key *key_of_pair(struct str secret, enum key_use use, struct err *e)
{
    bool private = str_starts(secret, key_private);
    struct buf bytes = buf_new(secret.n + 1);
    struct ed25519 *pair = NULL;
    if (private && use == KEY_VERIFIES)
        err_set(e, "is the private half of a pair (whsk_), which signs: to verify, the public one (whpk_) is needed");
    else if (!private && use == KEY_SIGNS)
        err_set(e, "is the public half of a pair (whpk_), which verifies: to sign, the private one (whsk_) is needed");
    else if (!base64_decode(&bytes, str_from(secret, key_private.n)))
        err_set(e, "has something else than base64 behind %.*s", STR_ARG(private ? key_private : key_public));
    else
        pair = private ? key_signer(buf_str(&bytes), e) : key_verifier(buf_str(&bytes), e);
    crypto_wipe_buf(&bytes);
    return pair ? key_of((struct key){ .kind = KEY_ED25519, .pair = pair }) : NULL;
}

static struct key *key_of_hmac(struct hmac *hmac, enum hash hash)
{
    return key_of((struct key){ .kind = KEY_HMAC, .hmac = hmac, .bytes = hash_bytes(hash) });
}

struct key *key_new(struct str secret, bool boxed, enum hash hash, enum key_use use, struct err *e)
{
    struct hmac *hmac = NULL;
    if (boxed && (str_starts(secret, key_private) || str_starts(secret, key_public)))
        return key_of_pair(secret, use, e);
    if (boxed)
        hmac = secret_hmac(secret, e);
    else if (secret_check(secret, SECRET_LEAST, e))
        hmac = hmac_new_by(hash, secret);
    return hmac ? key_of_hmac(hmac, boxed ? HASH_SHA256 : hash) : NULL;
}

struct key *key_of_bytes(enum hash hash, struct str bytes)
{
    return key_of_hmac(hmac_new_by(hash, bytes), hash);
}

struct key *key_new_unboxed(struct str secret)
{
    struct buf decoded = buf_new(secret.n + 1);
    struct key *k = base64_decode(&decoded, secret) ? key_of_bytes(HASH_SHA256, buf_str(&decoded)) : NULL;
    crypto_wipe_buf(&decoded);
    return k;
}

void key_free(struct key *k)
{
    if (!k)
        return;
    hmac_free(k->hmac);
    ed25519_free(k->pair);
    free(k);
}

enum key_kind key_kind(const struct key *k)
{
    return k->kind;
}

size_t key_sign(struct key *k, const struct str *parts, size_t count, unsigned char out[KEY_SIGNATURE_MOST])
{
    if (k->kind == KEY_ED25519) {
        ed25519_sign(k->pair, parts, count, out);
        return ED25519_SIGNATURE;
    }
    hmac_sign(k->hmac, parts, count, out);
    return k->bytes;
}

bool key_verify(struct key *k, const struct str *parts, size_t count, struct str signature)
{
    unsigned char mac[HASH_MOST];
    if (k->kind == KEY_ED25519)
        return ed25519_verify(k->pair, parts, count, signature);
    hmac_sign(k->hmac, parts, count, mac);
    return crypto_equal(signature, (struct str){ (const char *)mac, k->bytes });
}

void key_add_public(const struct key *k, struct buf *out)
{
    unsigned char public[ED25519_KEY];
    ed25519_public(k->pair, public);
    buf_add_str(out, key_public);
    base64_add(out, (struct str){ (const char *)public, sizeof public });
}

void key_add_pair(struct str seed, struct buf *out)
{
    unsigned char pair[2 * ED25519_KEY];
    struct ed25519 *k = ed25519_signer((const unsigned char *)seed.at);
    memcpy(pair, seed.at, ED25519_KEY);
    ed25519_public(k, pair + ED25519_KEY);
    ed25519_free(k);
    buf_add_str(out, key_private);
    base64_add(out, (struct str){ (const char *)pair, sizeof pair });
    crypto_wipe(pair, sizeof pair);
}
