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
    { "whsk_", "is a key of the signatures v1a (whsk_), which only Standard Webhooks has, not a secret" },
    { "whpk_", "is a key of the signatures v1a (whpk_), which only Standard Webhooks has, not a secret" },
    { "bearer ", "begins with the word Bearer: leave that away, the token is what follows" },
    { "export ", "begins with export, a line of a shell: leave all of it away up to the =" },
    { "whsec_whsec_", "begins with whsec_ twice: leave one of them away" },
    { "-----begin", "is a key or certificate (-----BEGIN), not a secret" },
    { "$ansible_vault;", "is encrypted by Ansible Vault: decrypt it first" },
    { "!vault", "is encrypted by Ansible Vault, and its tag is in the text: decrypt it first" },
    { "file:/", "is the name of a file: write ${file:...} for what is in it" },
};

/* Words that a placeholder begins with; '-' stands for a blank, '-', '_' or ':'. */
static const char *const secret_placeholders[] = {
    "changeme",   "change-me",  "replaceme", "replace-me", "replace-with", "insert-your", "put-your",
    "enter-your", "paste-your", "your-",     "todo-",      "fixme",        "placeholder",
};

/* What stands around a text that is nothing but words, and what to do about it. */
static const struct {
    const char *begin, *end, *fix;
} secret_brackets[] = {
    { "\"", "\"", "is in quotes that belong to it: take them away" },
    { "'", "'", "is in quotes that belong to it: take them away" },
    { "`", "`", "is a command in backticks that nobody ran: write what it prints" },
    { "$(", ")", "is a command, $(...), that nobody ran: write what it prints" },
    { "<", ">", "is a placeholder, <...>: write the secret in its place" },
    { "{{", "}}", "is a placeholder, {{...}}: write the secret in its place" },
    { "__", "__", "is a placeholder, __...__: write the secret in its place" },
    { "%", "%", "is a placeholder, %...%: write the secret in its place" },
    { "${", "}", "is a variable, ${...}, that was not replaced" },
};

enum {
    SECRET_KINDS = 5,      /* fewer different characters are no accident: 16 random hex digits have 10 */
    SECRET_BEHIND = 8,     /* characters behind "NAME=" that are more than a padding */
    SECRET_NAME_LEAST = 3, /* of capitals: shorter ones stand before '=' by accident */
    SECRET_VARIABLE = 5,   /* characters between "${" and "}" that are a name */
    SECRET_WORD = 4,       /* characters of a word that does not come twice in a row by accident */
    SECRET_PATH = 8,       /* letters of the shortest path */
};

#define SECRET_ROWS                                                                                                    \
    { .key = "secret",                                                                                                 \
      .type = OPT_SECRET,                                                                                              \
      .offset = offsetof(struct secret, text),                                                                         \
      .required = true,                                                                                                \
      .doc = "The secret, as it would stand there alone." },                                                           \
        OPTION(                                                                                                        \
            struct secret, until,                                                                                      \
            .doc =                                                                                                     \
                "The key is not used after that: a date (to its end, in UTC), or a moment such as 2026-12-24T18:00:00Z.")

const struct option secret_rows[] = { SECRET_ROWS, { 0 } };

const struct option named_secret_rows[] = {
    OPTION(struct secret, name,
           .doc = "Whose it is, for the log, metrics and limits; two secrets may have one name, while it rotates. With "
                  "scheme basic: the user."),
    SECRET_ROWS,
    { 0 },
};

int64_t secrets_last_ms(const struct secrets *s)
{
    int64_t last = 0;
    for (size_t i = 0; i < s->count; i++) {
        int64_t until = s->at[i].until.ms;
        if (!until)
            return 0;
        last = until > last ? until : last;
    }
    return last;
}

bool secrets_warning(const struct secrets *s, int64_t wall_ms, const char *key, const char *then, struct err *why)
{
    char text[CLOCK_TEXT];
    int64_t last = secrets_last_ms(s);
    if (!last || last - wall_ms > SECRET_SOON_MS)
        return false;
    clock_text(last, text);
    if (last > wall_ms)
        err_set(why, "%s: every key ends (until), the last one at %s; without another %s then", key, text, then);
    else
        err_set(why, "%s: every key has ended (until), the last one at %s: %s until there is another", key, text, then);
    return true;
}

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

static bool secret_is_word(char c)
{
    return secret_is_letter(c) || (c >= '0' && c <= '9') || c == '_';
}

/* Nothing but letters, digits and what stands between words: of random characters hardly any text is. */
static bool secret_is_text(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!secret_is_word(s.at[i]) && !strchr(" -+/=.:", s.at[i]))
            return false;
    return true;
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

/* How long the name in front of a '=' or ": " is, with that: of "TOKEN=..." or "api_key: ..."; 0: there is none. */
static size_t secret_name(struct str s)
{
    static const char *const words[] = { "secret", "token", "key", "pass" };
    size_t n = 0;
    bool small = false, names = false;
    while (n < s.n && (secret_is_letter(s.at[n]) || s.at[n] == '_' || (n > 0 && s.at[n] >= '0' && s.at[n] <= '9')))
        small |= s.at[n] >= 'a' && s.at[n] <= 'z', n++;
    if (n < SECRET_NAME_LEAST || s.n - n < SECRET_BEHIND || (s.at[n] != '=' && !str_starts(str_from(s, n), STR(": ")))
        || !secret_is_text(s))
        return 0;
    for (size_t w = 0; w < sizeof words / sizeof *words; w++)
        for (size_t i = 0; i < n; i++)
            names |= str_starts_nocase((struct str){ s.at + i, n - i }, str_of(words[w]));
    return (names || !small) && s.n - n - 1 >= SECRET_BEHIND ? n + 1 : 0;
}

/* "./secrets/crm.txt" or "/run/secrets/crm": small letters, as base64 hardly ever has alone. */
static bool secret_is_path(struct str s)
{
    static const char *const begins[] = { "/", "./", "../", "~/" };
    size_t letters = 0, slashes = 0;
    bool begins_so = false;
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        begins_so |= str_starts(s, str_of(begins[i]));
    for (size_t i = 0; i < s.n; i++) {
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789/._-~", s.at[i]))
            return false;
        letters += secret_is_letter(s.at[i]);
        slashes += s.at[i] == '/';
    }
    return begins_so && letters >= SECRET_PATH && (slashes > 1 || s.at[0] != '/');
}

/* "https://...", "op://..." and the like. */
static bool secret_is_url(struct str s)
{
    size_t n = 0;
    while (n < s.n && (secret_is_word(s.at[n]) || s.at[n] == '+'))
        n++;
    return n > 1 && str_starts(str_from(s, n), STR("://"));
}

/* How long the name in front of it is: letters of one case, digits, '_'. */
static size_t secret_variable(struct str s)
{
    static const char capitals[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_",
                      small[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    const char *letters = s.n && s.at[0] >= 'a' ? small : capitals;
    size_t n = 0;
    while (n < s.n && strchr(letters, s.at[n]))
        n++;
    return n;
}

/* Does it hold "${NAME}" or "${NAME:-...", or is it "$NAME"? */
static bool secret_has_variable(struct str s)
{
    if (s.at[0] == '$' && s.at[1] <= 'Z' && secret_variable(str_from(s, 1)) == s.n - 1)
        return true;
    for (size_t i = 0; i + 2 < s.n; i++) {
        struct str name = str_from(s, i + 2);
        size_t n = str_starts(str_from(s, i), STR("${")) ? secret_variable(name) : 0;
        if (n >= SECRET_VARIABLE
            && (str_starts(str_from(name, n), STR("}")) || str_starts(str_from(name, n), STR(":-"))))
            return true;
    }
    return false;
}

static bool secret_is_placeholder(struct str s)
{
    for (size_t k = 0; k < sizeof secret_placeholders / sizeof *secret_placeholders; k++) {
        const char *word = secret_placeholders[k];
        size_t i = 0;
        while (word[i] && i < s.n && (word[i] == '-' ? strchr(" -_:", s.at[i]) != NULL : (s.at[i] | 0x20) == word[i]))
            i++;
        if (!word[i])
            return true;
    }
    return false;
}

/* One word again and again ("undefinedundefined"), or twice in a row between others ("test-test-secret"). */
static bool secret_repeats(struct str s)
{
    for (size_t period = 1; period <= s.n / 2; period++)
        if (memcmp(s.at, s.at + period, s.n - period) == 0)
            return true;
    for (size_t i = 0, n, before = 0; i < s.n; i += n + 1, before = n) {
        for (n = 0; i + n < s.n && !strchr(" -_.", s.at[i + n]);)
            n++;
        if (n >= SECRET_WORD && n == before && memcmp(s.at + i - n - 1, s.at + i, n) == 0)
            return true;
    }
    return false;
}

/* The alphabet or the digits in their order, for the most part. */
static bool secret_ascends(struct str s)
{
    size_t steps = 0;
    for (size_t i = 1; i < s.n; i++)
        steps += s.at[i] == s.at[i - 1] + 1;
    return 4 * steps > 3 * s.n;
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
    for (size_t i = 0; i < sizeof secret_brackets / sizeof *secret_brackets; i++) {
        struct str begin = str_of(secret_brackets[i].begin), end = str_of(secret_brackets[i].end);
        if (s.n >= begin.n + end.n && str_starts(s, begin) && str_ends(s, end)
            && secret_is_text((struct str){ s.at + begin.n, s.n - begin.n - end.n }))
            return err_set(e, "%s", secret_brackets[i].fix);
    }
    return true;
}

static bool secret_check_begin(struct str s, struct err *e)
{
    for (size_t i = 0; i < sizeof secret_slips / sizeof *secret_slips; i++)
        if (str_starts_nocase(s, str_of(secret_slips[i].begin)))
            return err_set(e, "%s", secret_slips[i].fix);
    if (str_starts_nocase(s, STR(secret_prefix)) && !secret_has_prefix(s))
        return err_set(e, "begins with whsec_ in capitals: write it in lower case");
    if (secret_has_bad_prefix(s))
        return err_set(e, "begins with something like whsec_: write whsec_, with one _ and nothing else");
    if (secret_is_placeholder(s))
        return err_set(e, "is a placeholder: write the secret in its place");
    if (secret_name(s))
        return err_set(e,
                       "begins with a name and a = or : (as TOKEN=...): leave that away, the secret is what follows");
    return true;
}

static bool secret_check_kind(struct str s, struct err *e)
{
    if (secret_has_variable(s))
        return err_set(e, "holds $ and a name, a variable that was not replaced");
    if (secret_is_url(s))
        return err_set(e, "is a URL (...://...), not a secret: write what is to be found there");
    if (secret_is_path(s))
        return err_set(e, "is the path of a file, not a secret: write ${file:...} for what is in it");
    if (secret_repeats(s) || secret_ascends(s))
        return err_set(
            e,
            "is a word again and again, or an alphabet, so everybody can guess it (`openssl rand -base64 32` makes a good one)");
    return true;
}

bool secret_check(struct str secret, size_t least, struct err *e)
{
    if (secret.n == 0)
        return err_set(e, "is empty");
    if (!secret_check_slips(secret, e) || !secret_check_begin(secret, e))
        return false;
    if (secret.n < least)
        return err_set(
            e,
            "has %zu characters, the least is %zu: a short one can be guessed (`openssl rand -base64 32` makes a good one)",
            secret.n, least);
    if (secret_is_monotonous(secret))
        return err_set(
            e,
            "has fewer than %d different characters, so everybody can guess it (`openssl rand -base64 32` makes a good one)",
            SECRET_KINDS);
    return secret_check_kind(secret, e);
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
    crypto_wipe_buf(&key);
    return h;
}

bool secret_is_name(struct str name)
{
    static const char *const anywhere[] = { "password",   "passwd",     "passphrase", "secret",       "apikey",
                                            "privatekey", "credential", "authcode",   "recoverycode", "invitecode" };
    char plain[64];
    size_t n = 0;
    for (size_t i = 0; i < name.n && n < sizeof plain - 1; i++)
        if (name.at[i] != '_' && name.at[i] != '-')
            plain[n++] = (char)(name.at[i] >= 'A' && name.at[i] <= 'Z' ? name.at[i] - 'A' + 'a' : name.at[i]);
    plain[n] = '\0';
    for (size_t i = 0; i < sizeof anywhere / sizeof *anywhere; i++)
        if (strstr(plain, anywhere[i]))
            return true;
    return str_ends((struct str){ plain, n }, STR("token"));
}
