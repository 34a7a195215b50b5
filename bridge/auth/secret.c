/* SPDX-License-Identifier: MIT */
/* Tells secrets from what people paste in their place. */
#include "bridge/auth/secret.h"

static const char secret_prefix[] = "whsec_";
enum { PREFIX = sizeof secret_prefix - 1 };

/* Beginnings that no secret has, in any case, and what to do about them. */
static const struct {
    const char *begin, *fix;
} secret_slips[] = {
    { "v1,whsec_", "begins with v1,: leave that away, the secret begins with whsec_" },
    { "v1,", "is a signature (v1,...), not a secret" },
    { "v1a,", "is a signature (v1a,...), not a secret" },
    { "sha256=", "is a signature (sha256=...), not a secret" },
    { "whsk_", "is a key of the signatures v1a (whsk_); what is needed begins with whsec_" },
    { "whpk_", "is a key of the signatures v1a (whpk_); what is needed begins with whsec_" },
    { "bearer ", "begins with the word Bearer: leave that away, the token is what follows" },
};

bool secret_has_prefix(struct str secret)
{
    return str_starts(secret, STR(secret_prefix));
}

static bool secret_is_blank(char c)
{
    return (unsigned char)c <= ' ' || c == 0x7f;
}

static bool secret_check_slips(struct str s, struct err *e)
{
    char first = s.at[0], last = s.at[s.n - 1];
    if (secret_is_blank(first) || secret_is_blank(last))
        return err_set(e, "has a blank or a line break in front or behind: take it away");
    if ((first == '"' || first == '\'') && last == first && s.n > 1)
        return err_set(e, "is in quotes that belong to it: take them away");
    for (size_t i = 0; i < sizeof secret_slips / sizeof *secret_slips; i++)
        if (str_starts_nocase(s, str_of(secret_slips[i].begin)))
            return err_set(e, "%s", secret_slips[i].fix);
    if (str_starts_nocase(s, STR(secret_prefix)) && !secret_has_prefix(s))
        return err_set(e, "begins with whsec_ in capitals: write it in lower case");
    if (memmem(s.at, s.n, "${", 2))
        return err_set(e, "holds ${, a variable that was not replaced");
    return true;
}

bool secret_check(struct str secret, size_t least, struct err *e)
{
    if (secret.n == 0)
        return err_set(e, "is empty");
    if (!secret_check_slips(secret, e))
        return false;
    if (secret.n < least)
        return err_set(
            e,
            "has %zu characters, the least is %zu: a short one can be guessed (`openssl rand -base64 32` makes a good one)",
            secret.n, least);
    return true;
}

/* The bytes of the key, appended to `key`. */
static bool secret_read_key(struct str secret, struct buf *key, struct err *e)
{
    if (!secret_check(secret, 1, e))
        return false;
    if (!secret_has_prefix(secret))
        buf_add_str(key, secret);
    else if (!base64_decode(key, str_from(secret, PREFIX)))
        return err_set(e, "has something else than base64 behind whsec_");
    if (key->n >= SECRET_KEY_LEAST && key->n <= SECRET_KEY_MOST)
        return true;
    return err_set(e,
                   "makes a key of %zu bytes, %d to %d are needed: whsec_ and the output of `openssl rand -base64 32`",
                   key->n, SECRET_KEY_LEAST, SECRET_KEY_MOST);
}

struct hmac *secret_hmac(struct str secret, struct err *e)
{
    struct buf key = buf_new(secret.n + 1);
    struct hmac *h = secret_read_key(secret, &key, e) ? hmac_new(buf_str(&key)) : NULL;
    if (key.at)
        crypto_wipe(key.at, key.cap);
    buf_free(&key);
    return h;
}
