/* SPDX-License-Identifier: MIT */
/* HMAC, digests, random bytes, base64, hex and UUIDs, on OpenSSL's EVP. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/str.h"

enum { SHA256_BYTES = 32, HASH_MOST = 64, UUID_TEXT = 37 };
enum hash { HASH_SHA256 = 1, HASH_SHA1, HASH_SHA512 }; /* no zero on purpose */

size_t hash_bytes(enum hash which); /* of a digest, and so of a MAC */
void sha256_of(struct str text, unsigned char out[SHA256_BYTES]);

/* HMAC with a key that is used often: re-initialised, not rebuilt, per message. One thread per struct hmac. */
struct hmac;
struct hmac *hmac_new(struct str key); /* HMAC-SHA256; copies the key; free with hmac_free */
struct hmac *hmac_new_by(enum hash which, struct str key);
void hmac_free(struct hmac *h); /* accepts NULL; wipes the key */
/* The MAC of the parts one after the other, as if joined: hash_bytes of it. */
void hmac_sign(struct hmac *h, const struct str *parts, size_t count, unsigned char *out);

/* Constant time in the content (not in the length). */
bool crypto_equal(struct str a, struct str b);
void crypto_random(void *out, size_t n);
void crypto_wipe(void *p, size_t n);
void crypto_wipe_buf(struct buf *b); /* and frees it */

void base64_add(struct buf *out, struct str bytes);    /* RFC 4648 section 4, padded */
void base64url_add(struct buf *out, struct str bytes); /* section 5, not padded */
bool base64_decode(struct buf *out, struct str text);  /* strict alphabet; padding may be missing; false adds nothing */
bool base64url_decode(struct buf *out, struct str text); /* the same, in the letters of URLs as well (section 5) */
/* In the letters of URLs alone, without padding and bits left over, so that no bytes have two texts. */
bool base64url_decode_exact(struct buf *out, struct str text);
void hex_add(struct buf *out, struct str bytes);   /* lower case */
bool hex_decode(struct buf *out, struct str text); /* either case, even length */

void uuid_random(char out[UUID_TEXT]); /* version 4 */
/* Version 5 (RFC 9562 section 5.5) of the fields under Aqueduct's namespace afceb73b-a43b-492d-9e86-9747940f047d.
 * Each field is length-prefixed before hashing, so ("a","bc") and ("ab","c") differ. */
void uuid_of(const struct str *fields, size_t count, char out[UUID_TEXT]);
