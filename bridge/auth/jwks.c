/* SPDX-License-Identifier: MIT */
/* Reads sets of keys, and finds the ones for a token. */
#include "bridge/auth/jwks.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/auth/secret.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/file.h"
#include "bridge/lib/mem.h"

struct jwks {
    atomic_size_t references;
    struct jwk **keys;
    size_t count;
};

struct jwks *jwks_new(void)
{
    struct jwks *s = mem_alloc(sizeof *s);
    atomic_init(&s->references, 1);
    return s;
}

struct jwks *jwks_ref(struct jwks *s)
{
    atomic_fetch_add(&s->references, 1);
    return s;
}

void jwks_unref(struct jwks *s)
{
    if (!s || atomic_fetch_sub(&s->references, 1) > 1)
        return;
    for (size_t i = 0; i < s->count; i++)
        jwk_free(s->keys[i]);
    free(s->keys);
    free(s);
}

size_t jwks_count(const struct jwks *s)
{
    return s->count;
}

/* Takes the key over; false with *e: it is NULL, or there are too many. */
static bool jwks_add(struct jwks *s, struct jwk *k, struct err *e)
{
    if (!k)
        return false;
    if (s->count == JWKS_KEYS) {
        jwk_free(k);
        return err_set(e, "there are more than %d keys", JWKS_KEYS);
    }
    s->keys = mem_grow(s->keys, s->count + 1, sizeof *s->keys);
    s->keys[s->count++] = k;
    return true;
}

bool jwks_add_secrets(struct jwks *s, const struct secrets *secrets, struct err *e)
{
    for (size_t i = 0; i < secrets->count; i++) {
        struct str text = str_of(secrets->at[i].text);
        if (!secret_check(text, 1, e) || !jwks_add(s, jwk_of_secret(text, secrets->at[i].until.ms, e), e))
            return err_prefix(e, "secrets[%zu]", i);
    }
    return true;
}

bool jwks_add_json(struct jwks *s, struct str json, bool secrets, struct err *e)
{
    json_error_t bad;
    struct err why = { "" };
    size_t before = s->count, i;
    json_t *set = json_loadb(json.at, json.n, JSON_REJECT_DUPLICATES, &bad), *one;
    json_t *keys = json_object_get(set, "keys");
    bool ok = true;
    if (!set)
        err_set(e, "is no JSON: %s", bad.text);
    else if (!json_is_array(keys))
        err_set(e, "is no set of keys: it has no array `keys`");
    else if (json_array_size(keys) > JWKS_KEYS)
        err_set(e, "has more than %d keys", JWKS_KEYS);
    else {
        json_array_foreach(keys, i, one)
        {
            struct jwk *k = jwk_of_json(one, secrets, &why);
            ok = (!k || jwks_add(s, k, e)) && ok;
        }
        if (s->count == before)
            err_set(e, "has no key that verifies tokens%s%s", *why.text ? "; the last one " : "", why.text);
    }
    json_decref(set);
    return ok && s->count > before;
}

static bool jwks_add_pem(struct jwks *s, struct str pem, struct err *e)
{
    size_t before = s->count;
    struct jwk *k;
    struct err why;
    while ((k = jwk_of_pem(&pem, &why)))
        if (!jwks_add(s, k, e))
            return false;
    if (*why.text)
        return err_set(e, "%s", why.text);
    return s->count > before || err_set(e, "has neither a PEM block nor a JSON Web Key Set");
}

bool jwks_add_text(struct jwks *s, struct str text, struct err *e)
{
    const char *blanks = " \t\r\n";
    struct str rest = text;
    while (rest.n && strchr(blanks, *rest.at))
        rest = str_from(rest, 1);
    return str_starts(rest, STR("{")) ? jwks_add_json(s, text, true, e) : jwks_add_pem(s, text, e);
}

/* Is one of the keys from that one on a secret? */
static bool jwks_has_secret(const struct jwks *s, size_t from)
{
    for (size_t i = from; i < s->count; i++)
        if (jwk_is_secret(s->keys[i]))
            return true;
    return false;
}

bool jwks_add_file(struct jwks *s, const char *path, struct err *e)
{
    struct buf text = buf_new(JWKS_BYTES + 1);
    size_t before = s->count;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool ok = fd >= 0 && file_read_fd(fd, JWKS_BYTES, &text);
    if (!ok)
        err_set(e, "cannot be read: %s", strerror(errno));
    else
        ok = jwks_add_text(s, buf_str(&text), e) && (!jwks_has_secret(s, before) || file_check_secret(fd, path, e));
    if (fd >= 0)
        close(fd);
    crypto_wipe_buf(&text);
    return ok || err_prefix(e, "%s", path);
}

/* A key without a kid is for every one. */
static bool jwks_is_named(const struct jwk *k, struct str id)
{
    const char *own = jwk_id(k);
    return !own || !id.at || str_eq(str_of(own), id);
}

const struct jwk *jwks_find(const struct jwks *s, size_t *at, enum jwt_algorithm a, struct str id)
{
    while (*at < s->count) {
        const struct jwk *k = s->keys[(*at)++];
        if (jwk_fits(k, a) && jwks_is_named(k, id))
            return k;
    }
    return NULL;
}

bool jwks_has_id(const struct jwks *s, struct str id)
{
    for (size_t i = 0; id.at && i < s->count; i++)
        if (jwk_id(s->keys[i]) && str_eq(str_of(jwk_id(s->keys[i])), id))
            return true;
    return false;
}
