/* SPDX-License-Identifier: MIT */
/* A key that signs requests, or verifies them, made of a secret as people paste it. One thread per key; wiped when freed.
 *
 * A secret of Standard Webhooks is whsec_ and base64 (HMAC-SHA256, version v1), or text that is used as it is; of other
 * styles (signature.h) it is always text that is used as it is. */
#pragma once
#include "bridge/auth/secret.h"

enum key_kind { KEY_HMAC, KEY_KINDS };
enum { KEY_SIGNATURE_MOST = 64 }; /* bytes of the longest signature */

struct key;
/* `boxed`: it is one of Standard Webhooks. NULL with *e, which says what is wrong with it and nothing of itself. */
struct key *key_new(struct str secret, bool boxed, struct err *e);
/* People have Standard Webhooks secrets in base64 without whsec_ too: the key in that reading, of a secret that is good as
 * text. NULL: it has no such reading. */
struct key *key_new_unboxed(struct str secret);
void key_free(struct key *k); /* accepts NULL */
enum key_kind key_kind(const struct key *k);
/* Signs the parts, as if joined; returns the length. */
size_t key_sign(struct key *k, const struct str *parts, size_t count, unsigned char out[KEY_SIGNATURE_MOST]);
