/* SPDX-License-Identifier: MIT */
/* HMAC, digests, random bytes and UUIDs by OpenSSL; base64 and hex by hand. */
#include "bridge/lib/crypto.h"
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"

enum { SHA1_BYTES = 20, UUID_BYTES = 16 };

/* Fetched once: OpenSSL looks algorithms up by name, which costs more than hashing a short text. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_MAC *hmac_algorithm;
static EVP_MD *sha1_algorithm, *sha256_algorithm;

static void crypto_fetch(void)
{
    hmac_algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
    sha1_algorithm = EVP_MD_fetch(NULL, "SHA1", NULL);
    sha256_algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    CHECK(hmac_algorithm && sha1_algorithm && sha256_algorithm);
}

struct hmac {
    EVP_MAC_CTX *context;
    size_t bytes;
};

/* Of each enum hash. */
static const struct {
    char name[8];
    size_t bytes;
} hashes[] = { [HASH_SHA256] = { "SHA256", 32 }, [HASH_SHA1] = { "SHA1", 20 }, [HASH_SHA512] = { "SHA512", 64 } };

size_t hash_bytes(enum hash which)
{
    return hashes[which].bytes;
}

void sha256_of(struct str text, unsigned char out[SHA256_BYTES])
{
    pthread_once(&once, crypto_fetch);
    CHECK(EVP_Digest(text.n ? text.at : "", text.n, out, NULL, sha256_algorithm, NULL) == 1);
}

struct hmac *hmac_new_by(enum hash which, struct str key)
{
    pthread_once(&once, crypto_fetch);
    struct hmac *h = mem_alloc(sizeof *h);
    char digest[sizeof hashes->name];
    memcpy(digest, hashes[which].name, sizeof digest);
    h->bytes = hashes[which].bytes;
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                  OSSL_PARAM_construct_end() };
    h->context = EVP_MAC_CTX_new(hmac_algorithm);
    CHECK(h->context);
    CHECK(EVP_MAC_init(h->context, (const unsigned char *)(key.at ? key.at : ""), key.n, params) == 1);
    return h;
}

struct hmac *hmac_new(struct str key)
{
    return hmac_new_by(HASH_SHA256, key);
}

void hmac_free(struct hmac *h)
{
    if (!h)
        return;
    EVP_MAC_CTX_free(h->context); /* wipes the key */
    free(h);
}

void hmac_sign(struct hmac *h, const struct str *parts, size_t count, unsigned char *out)
{
    size_t n = 0;
    CHECK(EVP_MAC_init(h->context, NULL, 0, NULL) == 1); /* the same key again */
    for (size_t i = 0; i < count; i++)
        if (parts[i].n > 0)
            CHECK(EVP_MAC_update(h->context, (const unsigned char *)parts[i].at, parts[i].n) == 1);
    CHECK(EVP_MAC_final(h->context, out, &n, h->bytes) == 1 && n == h->bytes);
}

bool crypto_equal(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || CRYPTO_memcmp(a.at, b.at, a.n) == 0);
}

void crypto_random(void *out, size_t n)
{
    CHECK(n <= INT_MAX && RAND_bytes(out, (int)n) == 1);
}

void crypto_wipe(void *p, size_t n)
{
    OPENSSL_cleanse(p, n);
}

void crypto_wipe_buf(struct buf *b)
{
    if (b->at)
        crypto_wipe(b->at, b->cap);
    buf_free(b);
}

void base64_add(struct buf *out, struct str bytes)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)bytes.at;
    size_t n = bytes.n, length = (n / 3 + (n % 3 > 0)) * 4;
    char *to = buf_room(out, length);
    if (!to)
        return;
    for (; n > 0; p += 3, to += 4) {
        unsigned bits = (unsigned)p[0] << 16 | (n > 1 ? (unsigned)p[1] << 8 : 0) | (n > 2 ? p[2] : 0);
        to[0] = alphabet[bits >> 18];
        to[1] = alphabet[bits >> 12 & 63];
        to[2] = n > 1 ? alphabet[bits >> 6 & 63] : '=';
        to[3] = n > 2 ? alphabet[bits & 63] : '=';
        n -= n > 2 ? 3 : n;
    }
    out->n += length;
}

void base64url_add(struct buf *out, struct str bytes)
{
    size_t begin = out->n;
    base64_add(out, bytes);
    for (size_t i = begin; i < out->n; i++)
        if (out->at[i] == '+' || out->at[i] == '/')
            out->at[i] = out->at[i] == '+' ? '-' : '_';
    while (out->n > begin && out->at[out->n - 1] == '=')
        out->n--;
}

/* The six bits of a base64 letter, or -1. */
static int base64_sixbits(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static char base64_plain(char c)
{
    return c == '-' ? '+' : c == '_' ? '/' : c;
}

static bool base64_decode_letters(struct buf *out, struct str text, bool of_urls)
{
    size_t n = text.n;
    while (n > 0 && text.n - n < 2 && text.at[n - 1] == '=')
        n--;
    if (n % 4 == 1 || (n < text.n && text.n % 4 != 0))
        return false;
    size_t length = n / 4 * 3 + (n % 4 > 0 ? n % 4 - 1 : 0);
    char *to = buf_room(out, length);
    if (!to)
        return false;
    unsigned bits = 0;
    for (size_t i = 0, held = 0; i < n; i++) {
        int six = base64_sixbits(of_urls ? base64_plain(text.at[i]) : text.at[i]);
        if (six < 0)
            return false;
        bits = bits << 6 | (unsigned)six;
        held += 6;
        if (held < 8)
            continue;
        held -= 8;
        *to++ = (char)(bits >> held & 0xff);
    }
    out->n += length;
    return true;
}

bool base64_decode(struct buf *out, struct str text)
{
    return base64_decode_letters(out, text, false);
}

bool base64url_decode(struct buf *out, struct str text)
{
    return base64_decode_letters(out, text, true);
}

bool base64url_decode_exact(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.at[i] == '+' || text.at[i] == '/' || base64_sixbits(base64_plain(text.at[i])) < 0)
            return false;
    int unused = text.n % 4 == 2 ? 15 : text.n % 4 == 3 ? 3 : 0; /* bits of the last letter */
    if (text.n && (base64_sixbits(base64_plain(text.at[text.n - 1])) & unused))
        return false;
    return base64url_decode(out, text);
}

void hex_add(struct buf *out, struct str bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.n; i++) {
        unsigned char c = (unsigned char)bytes.at[i];
        buf_add(out, (const char[]){ digits[c >> 4], digits[c & 15] }, 2);
    }
}

static int hex_nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool hex_decode(struct buf *out, struct str text)
{
    char *to = text.n % 2 == 0 ? buf_room(out, text.n / 2) : NULL;
    if (!to)
        return false;
    for (size_t i = 0; i < text.n; i += 2) {
        int high = hex_nibble(text.at[i]), low = hex_nibble(text.at[i + 1]);
        if (high < 0 || low < 0)
            return false;
        *to++ = (char)(high << 4 | low);
    }
    out->n += text.n / 2;
    return true;
}

static void uuid_text(unsigned char bytes[UUID_BYTES], int version, char out[UUID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    bytes[6] = (unsigned char)((bytes[6] & 0x0f) | version << 4);
    bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
    for (size_t i = 0; i < UUID_BYTES; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

void uuid_random(char out[UUID_TEXT])
{
    unsigned char bytes[UUID_BYTES];
    crypto_random(bytes, sizeof bytes);
    uuid_text(bytes, 4, out);
}

/* Aqueduct's own namespace, afceb73b-a43b-492d-9e86-9747940f047d, drawn at random once. It never changes: every
 * captured row would get a new id. */
static const unsigned char namespace_aqueduct[UUID_BYTES] = {
    0xaf, 0xce, 0xb7, 0x3b, 0xa4, 0x3b, 0x49, 0x2d, 0x9e, 0x86, 0x97, 0x47, 0x94, 0x0f, 0x04, 0x7d,
};

void uuid_of(const struct str *fields, size_t count, char out[UUID_TEXT])
{
    unsigned char sha1[SHA1_BYTES];
    pthread_once(&once, crypto_fetch);
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    CHECK(digest && EVP_DigestInit_ex2(digest, sha1_algorithm, NULL) == 1);
    CHECK(EVP_DigestUpdate(digest, namespace_aqueduct, UUID_BYTES) == 1);
    for (size_t i = 0; i < count; i++) {
        unsigned char length[8];
        for (int j = 0; j < 8; j++)
            length[j] = (unsigned char)((uint64_t)fields[i].n >> (56 - 8 * j));
        CHECK(EVP_DigestUpdate(digest, length, sizeof length) == 1
              && EVP_DigestUpdate(digest, fields[i].at, fields[i].n) == 1);
    }
    CHECK(EVP_DigestFinal_ex(digest, sha1, NULL) == 1);
    EVP_MD_CTX_free(digest);
    uuid_text(sha1, 5, out);
}
