/* SPDX-License-Identifier: MIT */
/* A sealed text: the key's id, a nonce, what AES-256-GCM made of the text, and its tag. */
#include "bridge/auth/seal.h"
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/auth/secret.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/file.h"
#include "bridge/lib/mem.h"

enum {
    SEAL_FILE_BYTES = 64 << 10,
    SEAL_LEAST = 32, /* characters of a key */
    SEAL_NAME = 8,   /* bytes of a key's id */
    SEAL_NONCE = 12,
    SEAL_TAG = 16,
    SEAL_OVER = SEAL_NAME + SEAL_NONCE + SEAL_TAG,
};

struct seal_key {
    unsigned char key[SHA256_BYTES], name[SEAL_NAME];
    char id[SEAL_ID];
};

struct seal_keys {
    struct seal_key at[SEAL_KEYS];
    size_t count;
    char *path;
};

/* The key and its id are two MACs of constant texts, so that neither tells of the other, or of the line. */
static void seal_derive(struct seal_key *k, struct str line)
{
    unsigned char name[SHA256_BYTES];
    struct buf hex = buf_new(SEAL_ID);
    struct hmac *h = hmac_new(line);
    hmac_sign(h, &STR("aqueduct: a key that seals"), 1, k->key);
    hmac_sign(h, &STR("aqueduct: the id of a key that seals"), 1, name);
    hmac_free(h);
    memcpy(k->name, name, SEAL_NAME);
    hex_add(&hex, (struct str){ (const char *)k->name, SEAL_NAME });
    snprintf(k->id, sizeof k->id, "%s", buf_c(&hex));
    buf_free(&hex);
}

static bool seal_take_line(struct seal_keys *k, struct str line, struct err *e)
{
    line.n -= line.n && line.at[line.n - 1] == '\r';
    line = str_trim(line);
    if (line.n == 0 || line.at[0] == '#')
        return true;
    if (k->count == SEAL_KEYS)
        return err_set(e, "has more than %d keys", SEAL_KEYS);
    if (!secret_check(line, SEAL_LEAST, e))
        return err_prefix(e, "key %zu: make one with `openssl rand -base64 32`", k->count + 1);
    seal_derive(&k->at[k->count++], line);
    return true;
}

static bool seal_take(struct seal_keys *k, struct str text, struct err *e)
{
    struct str line;
    while (str_cut(&text, '\n', &line))
        if (!seal_take_line(k, line, e))
            return false;
    return k->count > 0 || err_set(e, "has no key: make one with `openssl rand -base64 32`");
}

struct seal_keys *seal_read(const char *path, struct err *e)
{
    struct buf text = buf_new(SEAL_FILE_BYTES + 1);
    struct seal_keys *k = mem_alloc(sizeof *k);
    k->path = str_dup(str_of(path));
    bool fine = file_check_secret_at(path, e) && file_check_regular_at(path, e);
    if (fine && !file_read(path, SEAL_FILE_BYTES, &text))
        fine = err_set(e, "%s: %s", path, strerror(errno));
    else if (fine && !seal_take(k, buf_str(&text), e))
        fine = err_prefix(e, "%s", path);
    crypto_wipe_buf(&text);
    if (fine)
        return k;
    seal_free(k);
    return NULL;
}

void seal_free(struct seal_keys *k)
{
    if (!k)
        return;
    free(k->path);
    crypto_wipe(k, sizeof *k);
    free(k);
}

const char *seal_id(const struct seal_keys *k)
{
    return k->at[0].id;
}

/* One run of the cipher over n bytes; `tag` is written, or compared. */
static bool seal_run(const struct seal_key *k, bool encrypt, const unsigned char *nonce, struct str about,
                     const unsigned char *in, unsigned char *out, size_t n, unsigned char *tag)
{
    int done = 0;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    CHECK(c && EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, k->key, nonce, encrypt) == 1);
    CHECK(EVP_CipherUpdate(c, NULL, &done, (const unsigned char *)about.at, (int)about.n) == 1);
    if (!encrypt)
        CHECK(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG, tag) == 1);
    CHECK(n == 0 || EVP_CipherUpdate(c, out, &done, in, (int)n) == 1);
    bool fine = EVP_CipherFinal_ex(c, out + n, &done) == 1;
    if (encrypt)
        CHECK(fine && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG, tag) == 1);
    EVP_CIPHER_CTX_free(c);
    return fine;
}

void seal_add(const struct seal_keys *k, struct str text, struct str about, struct buf *out)
{
    const struct seal_key *key = &k->at[0];
    size_t n = SEAL_OVER + text.n;
    unsigned char *made = mem_alloc(n), *nonce = made + SEAL_NAME, *body = nonce + SEAL_NONCE;
    memcpy(made, key->name, SEAL_NAME);
    crypto_random(nonce, SEAL_NONCE);
    seal_run(key, true, nonce, about, (const unsigned char *)text.at, body, text.n, body + text.n);
    base64_add(out, (struct str){ (const char *)made, n });
    free(made);
}

static const struct seal_key *seal_find(const struct seal_keys *k, const unsigned char *name)
{
    for (size_t i = 0; i < k->count; i++)
        if (memcmp(k->at[i].name, name, SEAL_NAME) == 0)
            return &k->at[i];
    return NULL;
}

static bool seal_unknown(const struct seal_keys *k, const unsigned char *name, struct err *e)
{
    struct buf hex = buf_new(SEAL_ID);
    hex_add(&hex, (struct str){ (const char *)name, SEAL_NAME });
    err_set(e, "%s: it was sealed by the key %s, which is not in the file (there %s %s%s): put that key into it again",
            k->path, buf_c(&hex), k->count == 1 ? "is" : "are", k->at[0].id, k->count == 1 ? "" : " and others");
    buf_free(&hex);
    return false;
}

bool seal_open(const struct seal_keys *k, struct str sealed, struct str about, struct buf *out, struct err *e)
{
    struct buf raw = buf_new(sealed.n + 4);
    bool fine = base64_decode(&raw, sealed) && raw.n >= SEAL_OVER;
    unsigned char *at = (unsigned char *)raw.at;
    const struct seal_key *key = fine ? seal_find(k, at) : NULL;
    if (!fine)
        err_set(e, "it is no sealed text");
    else if (!key)
        fine = seal_unknown(k, at, e);
    size_t n = fine ? raw.n - SEAL_OVER : 0;
    unsigned char *body = fine ? at + SEAL_NAME + SEAL_NONCE : NULL;
    char *room = fine ? buf_room(out, n + 1) : NULL;
    if (fine && !room)
        fine = err_set(e, "it is too large");
    if (fine && !seal_run(key, false, at + SEAL_NAME, about, body, (unsigned char *)room, n, body + n)) {
        crypto_wipe(room, n);
        fine = err_set(e, "%s: it was altered since it was sealed, or is another one's", k->path);
    }
    out->n += fine ? n : 0;
    buf_free(&raw);
    return fine;
}
