/* SPDX-License-Identifier: MIT */
/* Ed25519 signatures (RFC 8032), on OpenSSL. One thread per key. */
#pragma once
#include "bridge/lib/buf.h"

enum { ED25519_KEY = 32, ED25519_SIGNATURE = 64 };

struct ed25519;
/* Of the private key's seed: signs. */
struct ed25519 *ed25519_signer(const unsigned char seed[ED25519_KEY]);
/* Of the public key: verifies. NULL: OpenSSL takes no such key. */
struct ed25519 *ed25519_verifier(const unsigned char public[ED25519_KEY]);
void ed25519_free(struct ed25519 *k); /* accepts NULL; wipes the key */
void ed25519_public(const struct ed25519 *k, unsigned char out[ED25519_KEY]);
/* Of the parts one after the other, as if joined. */
void ed25519_sign(struct ed25519 *k, const struct str *parts, size_t count, unsigned char out[ED25519_SIGNATURE]);
bool ed25519_verify(struct ed25519 *k, const struct str *parts, size_t count, struct str signature);
