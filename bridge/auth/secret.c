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
    { "export ", "begins with export, a line of a shell: leave all of it away up to the =" },
};

enum {
    SECRET_KINDS = 5,     /* fewer different characters are no accident: 16 random hex digits have 10 */
    SECRET_BEHIND = 8,    /* characters behind "NAME=" that are more than a padding */
    SECRET_NAME_LEAST = 3 /* of capitals: shorter ones stand before '=' by accident */
};

bool secret_has_prefix(struct str secret)
{
    return str_starts(secret, STR(secret_prefix));
}

static bool secret_is_blank(char c)
{
    return (unsigned char)c <= ' ' || c == 0x7f;
}

static bool secret_is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Does it begin with a misspelt whsec_, such as whsec- or wh_sec_? */
static bool secret_has_bad_prefix(struct str s)
{
    static const char letters[] = "whsec";
    size_t i = 0, k = 0;
    for (; i < s.n && letters[k]; i++) {
        if (i > 0 && (s.at[i] == '_' || s.at[i] == '-'))
            continue;
        if ((s.at[i] | 0x20) != letters[k++])
            return false;
    }
    return !letters[k] && i < s.n && strchr("_-:= .", s.at[i]) && !secret_has_prefix(s);
}

/* How long the name in front of a '=' is, with that: of "TOKEN=..." or "api_key=..."; 0: there is none. */
static size_t secret_name(struct str s)
{
    static const char *const words[] = { "secret", "token", "key", "pass" };
    size_t n = 0;
    bool small = false, names = false;
    while (n < s.n && (secret_is_letter(s.at[n]) || s.at[n] == '_' || (n > 0 && s.at[n] >= '0' && s.at[n] <= '9')))
        small |= s.at[n] >= 'a' && s.at[n] <= 'z', n++;
    if (n < SECRET_NAME_LEAST || n == s.n || s.at[n] != '=')
        return 0;
    for (size_t w = 0; w < sizeof words / sizeof *words; w++)
        for (size_t i = 0; i < n; i++)
            names |= str_starts_nocase((struct str){ s.at + i, n - i }, str_of(words[w]));
    return (names || !small) && s.n - n - 1 >= SECRET_BEHIND ? n + 1 : 0;
}

/* Evidently nothing random: one letter again and again, or a few of them. */
static bool secret_is_monotonous(struct str s)
{
    bool has[256] = { false };
    size_t kinds = 0;
    for (size_t i = 0; i < s.n; i++) {
        kinds += !has[(unsigned char)s.at[i]];
        has[(unsigned char)s.at[i]] = true;
    }
    return kinds < SECRET_KINDS;
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
    if (secret_has_bad_prefix(s))
        return err_set(e, "begins with something like whsec_: write whsec_, with one _ and nothing else");
    if (secret_name(s))
        return err_set(e, "begins with a name and a = (as TOKEN=...): leave that away, the secret is what follows");
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
    return !secret_is_monotonous(secret)
           || err_set(
               e,
               "has fewer than %d different characters, so everybody can guess it (`openssl rand -base64 32` makes a good one)",
               SECRET_KINDS);
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
    if (key->n < SECRET_KEY_LEAST || key->n > SECRET_KEY_MOST)
        return err_set(
            e, "makes a key of %zu bytes, %d to %d are needed: whsec_ and the output of `openssl rand -base64 32`",
            key->n, SECRET_KEY_LEAST, SECRET_KEY_MOST);
    return !secret_is_monotonous(buf_str(key))
           || err_set(e,
                      "makes a key of fewer than %d different bytes, such as zeros alone, which everybody can guess: "
                      "whsec_ and the output of `openssl rand -base64 32`",
                      SECRET_KINDS);
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
