/* SPDX-License-Identifier: MIT */
/* A key that signs requests, or verifies them, made of a secret as people paste it. One thread per key; wiped when freed.
 *
 * A secret of Standard Webhooks ("boxed") is whsec_ and base64, or text that is used as it is: HMAC-SHA256, version v1; or
 * one half of a pair, version v1a, Ed25519: whsk_ and base64 signs, whpk_ and base64 verifies. Those of other styles
 * (signature.h) are text that is used as it is. */
#pragma once
#include "bridge/auth/secret.h"

enum key_kind { KEY_HMAC, KEY_ED25519, KEY_KINDS };
enum key_use { KEY_SIGNS = 1, KEY_VERIFIES }; /* no zero on purpose */
enum { KEY_SIGNATURE_MOST = 64 };             /* bytes of the longest signature */

struct key;
/* `hash`: of the HMAC, of what is not boxed. NULL with *e, which says what is wrong with the secret and nothing of itself. */
struct key *key_new(struct str secret, bool boxed, enum hash hash, enum key_use use, struct err *e);
/* People have Standard Webhooks secrets in base64 without whsec_ too: the key in that reading, of a secret that is good as
 * text. NULL: it has no such reading. */
struct key *key_new_unboxed(struct str secret);
struct key *key_of_bytes(enum hash hash, struct str bytes); /* an HMAC key that is just these */
void key_free(struct key *k);                               /* accepts NULL */
enum key_kind key_kind(const struct key *k);
/* Signs the parts, as if joined, by a key that may; returns the length. */
size_t key_sign(struct key *k, const struct str *parts, size_t count, unsigned char out[KEY_SIGNATURE_MOST]);
/* Is this its signature of the parts? Of an HMAC in constant time. */
bool key_verify(struct key *k, const struct str *parts, size_t count, struct str signature);
/* Appends the private half, whsk_..., of the pair that is made of 32 random bytes. */
void key_add_pair(struct str seed, struct buf *out);
/* Appends the public half, whpk_..., of a pair's private one. */
void key_add_public(const struct key *k, struct buf *out);
