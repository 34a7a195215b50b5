/* SPDX-License-Identifier: MIT */
/* Ed25519 by OpenSSL's EVP, which takes a message only in one piece. */
#include "bridge/lib/ed25519.h"
#include <openssl/evp.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"

enum { ED25519_KEEP = 256 << 10 }; /* of a message's bytes; more is given back */

struct ed25519 {
    EVP_PKEY *key;
    EVP_MD_CTX *context;
    struct buf message;
};

static struct ed25519 *ed25519_of(EVP_PKEY *key)
{
    if (!key)
        return NULL;
    struct ed25519 *k = mem_alloc(sizeof *k);
    *k = (struct ed25519){ .key = key, .context = EVP_MD_CTX_new(), .message = buf_new(SIZE_MAX) };
    CHECK(k->context);
    return k;
}

struct ed25519 *ed25519_signer(const unsigned char seed[ED25519_KEY])
{
    struct ed25519 *k = ed25519_of(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, ED25519_KEY));
    CHECK(k);
    return k;
}

struct ed25519 *ed25519_verifier(const unsigned char public[ED25519_KEY])
{
    return ed25519_of(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public, ED25519_KEY));
}

void ed25519_free(struct ed25519 *k)
{
    if (!k)
        return;
    EVP_MD_CTX_free(k->context);
    EVP_PKEY_free(k->key);
    buf_free(&k->message);
    free(k);
}

void ed25519_public(const struct ed25519 *k, unsigned char out[ED25519_KEY])
{
    size_t n = ED25519_KEY;
    CHECK(EVP_PKEY_get_raw_public_key(k->key, out, &n) == 1 && n == ED25519_KEY);
}

static struct str ed25519_join(struct ed25519 *k, const struct str *parts, size_t count)
{
    if (k->message.cap > ED25519_KEEP) {
        buf_free(&k->message);
        k->message = buf_new(SIZE_MAX);
    }
    buf_reset(&k->message);
    for (size_t i = 0; i < count; i++)
        buf_add_str(&k->message, parts[i]);
    return buf_str(&k->message);
}

void ed25519_sign(struct ed25519 *k, const struct str *parts, size_t count, unsigned char out[ED25519_SIGNATURE])
{
    size_t n = ED25519_SIGNATURE;
    struct str message = ed25519_join(k, parts, count);
    CHECK(EVP_MD_CTX_reset(k->context) == 1);
    CHECK(EVP_DigestSignInit(k->context, NULL, NULL, NULL, k->key) == 1);
    CHECK(EVP_DigestSign(k->context, out, &n, (const unsigned char *)message.at, message.n) == 1
          && n == ED25519_SIGNATURE);
}

bool ed25519_verify(struct ed25519 *k, const struct str *parts, size_t count, struct str signature)
{
    if (signature.n != ED25519_SIGNATURE)
        return false;
    struct str message = ed25519_join(k, parts, count);
    CHECK(EVP_MD_CTX_reset(k->context) == 1);
    CHECK(EVP_DigestVerifyInit(k->context, NULL, NULL, NULL, k->key) == 1);
    return EVP_DigestVerify(k->context, (const unsigned char *)signature.at, signature.n,
                            (const unsigned char *)message.at, message.n)
           == 1;
}
