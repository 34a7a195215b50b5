/* SPDX-License-Identifier: MIT */
/* Options of endpoints that people make at run time: merged, checked, shown without their secrets. */
#include "bridge/delivery/revise.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/uri.h"

enum {
    REVISE_KEY = 24,    /* bytes of a secret that is made: 32 characters of base64 */
    REVISE_SECRETS = 8, /* most that an endpoint has at the same time */
};

static const struct option *revise_row(const struct option *rows, const char *key)
{
    while (rows->key && strcmp(rows->key, key) != 0)
        rows++;
    return rows->key ? rows : NULL;
}

static bool revise_is_core(const char *key)
{
    return strcmp(key, "types") == 0 || revise_row(endpoint_options, key);
}

/* ---- to an endpoint ---- */

struct made *revise_make(const struct sink_config *s, const char *name, const struct placed *p, struct problems *out)
{
    json_t *all = json_copy(p->core);
    json_object_update(all, p->own);
    json_object_set_new(all, "paused", json_boolean(p->paused));
    struct made *made = made_new(s, name, all, out);
    json_decref(all);
    return made;
}

/* ---- changes ---- */

/* RFC 7396. */
static void revise_patch(json_t *into, const json_t *said)
{
    const char *key;
    json_t *value, *there;
    json_object_foreach((json_t *)(uintptr_t)said, key, value)
    {
        if (json_is_null(value)) {
            json_object_del(into, key);
            continue;
        }
        there = json_object_get(into, key);
        if (json_is_object(value) && json_is_object(there) && strcmp(key, "filter") != 0)
            revise_patch(there, value);
        else
            json_object_set_new(into, key, json_deep_copy(value));
    }
}

/* Does what hides a secret stand in it? */
static bool revise_hides(const json_t *json)
{
    const char *key;
    json_t *value;
    size_t i;
    if (json_is_string(json))
        return strcmp(json_string_value(json), REVISE_HIDDEN) == 0;
    json_array_foreach(json, i, value) if (revise_hides(value)) return true;
    json_object_foreach((json_t *)(uintptr_t)json, key, value) if (revise_hides(value)) return true;
    return false;
}

static bool revise_refuse(const struct sink_config *s, const char *name, const char *why, struct problems *out)
{
    made_refuse(s, name, why, out);
    return false;
}

static void revise_new_secret(char out[REVISE_SECRET])
{
    unsigned char key[REVISE_KEY];
    struct buf text = buf_new(REVISE_SECRET);
    crypto_random(key, sizeof key);
    buf_add_c(&text, "whsec_");
    base64_add(&text, (struct str){ (const char *)key, sizeof key });
    snprintf(out, REVISE_SECRET, "%s", buf_c(&text));
    crypto_wipe(key, sizeof key);
    crypto_wipe_buf(&text);
}

/* Is all well with it? With `make`, also when only a secret is lacking: then it gets one. *out is empty before. */
static bool revise_check(const struct sink_config *s, const char *name, struct placed *p, bool make,
                         char secret[REVISE_SECRET], struct problems *out)
{
    const struct option *row = revise_row(s->sink->ops->endpoints->options, "secrets");
    struct made *made = revise_make(s, name, p, out);
    if (!made && make && row && row->type == OPT_SECRETS && !json_object_get(p->own, "secrets")) {
        struct problems other = { 0 };
        revise_new_secret(secret);
        json_object_set_new(p->own, "secrets", json_pack("[s]", secret));
        made = revise_make(s, name, p, &other);
        if (made || other.count < out->count) {
            problems_free(out);
            *out = other;
        } else
            problems_free(&other);
        if (!made)
            crypto_wipe(secret, REVISE_SECRET);
    }
    made_free(made);
    return made != NULL;
}

bool revise_merge(const struct sink_config *s, const char *name, struct placed *p, const json_t *said,
                  char secret[REVISE_SECRET], struct problems *out)
{
    const char *key;
    json_t *value;
    bool fresh = !p->core;
    secret[0] = '\0';
    if (revise_hides(said))
        return revise_refuse(s, name,
                             "\"" REVISE_HIDDEN
                             "\" stands for a secret that is not shown: leave that option out to keep it",
                             out);
    json_t *core = json_object(), *own = json_object();
    json_object_foreach((json_t *)(uintptr_t)said, key, value)
    {
        if (strcmp(key, "paused") == 0 && json_is_boolean(value))
            p->paused = json_is_true(value);
        else
            json_object_set(revise_is_core(key) ? core : own, key, value);
    }
    if (fresh) {
        p->core = json_object();
        p->own = json_object();
    }
    if (json_object_get(core, "filter"))
        json_object_del(p->core, "types");
    if (json_object_get(core, "types"))
        json_object_del(p->core, "filter");
    revise_patch(p->core, core);
    revise_patch(p->own, own);
    json_decref(core);
    json_decref(own);
    return revise_check(s, name, p, fresh, secret, out);
}

/* ---- secrets ---- */

/* When it ends; 0: never. */
static int64_t revise_until(const json_t *one)
{
    int64_t ms = 0;
    const char *text = json_text(one, "until");
    return *text && clock_parse(str_of(text), &ms) ? ms : 0;
}

static json_t *revise_end(const json_t *one, int64_t until_ms)
{
    char text[CLOCK_TEXT];
    const char *secret = json_is_string(one) ? json_string_value(one) : json_text(one, "secret");
    int64_t already = revise_until(one);
    clock_text(already && already < until_ms ? already : until_ms, text);
    return json_pack("{s:s,s:s}", "secret", secret, "until", text);
}

/* Those that it has, each with an end. */
static json_t *revise_ending(const json_t *secrets, int64_t now_ms, int64_t until_ms)
{
    json_t *list = json_array(), *one;
    size_t i;
    json_array_foreach(secrets, i, one)
    {
        int64_t until = revise_until(one);
        if ((!until || until > now_ms) && until_ms > now_ms && json_array_size(list) < REVISE_SECRETS - 1)
            json_array_append_new(list, revise_end(one, until_ms));
    }
    return list;
}

bool revise_rotate(const struct sink_config *s, const char *name, struct placed *p, struct str secret,
                   struct duration overlap, char shown[REVISE_SECRET], struct problems *out)
{
    int64_t now = clock_wall_ms();
    json_t *had = json_object_get(p->own, "secrets"), *first = json_array_get(had, 0);
    const char *was = json_is_string(first) ? json_string_value(first) : json_text(first, "secret");
    shown[0] = '\0';
    if (json_array_size(had) == 0)
        return revise_refuse(s, name,
                             "it has no secrets of its own: what it shows its receiver is changed as other options are",
                             out);
    if (!secret.at && str_starts(str_of(was), STR("whsk_")))
        return revise_refuse(
            s, name,
            "it signs with a private key: say the new one (`aqueduct keys` makes one), for its receiver needs the public key of it",
            out);
    if (secret.at && secret.n >= REVISE_SECRET * 8)
        return revise_refuse(s, name, "the secret is too long", out);
    if (!secret.at)
        revise_new_secret(shown);
    json_t *fresh = secret.at ? json_stringn(secret.at, secret.n) : json_string(shown);
    json_t *ending = revise_ending(had, now, now + overlap.ms), *list = json_pack("[O]", fresh);
    json_array_extend(list, ending);
    json_object_set_new(p->own, "secrets", list);
    bool fine = revise_check(s, name, p, false, shown, out);
    if (!fine
        && json_array_size(ending) > 0) { /* where a request has one signature: by the first one that has not ended */
        problems_free(out);
        json_array_append(ending, fresh);
        json_object_set(p->own, "secrets", ending);
        fine = revise_check(s, name, p, false, shown, out);
    }
    json_decref(ending);
    json_decref(fresh);
    return fine;
}

/* ---- what is shown ---- */

static json_t *revise_hide_secrets(const json_t *list, size_t *count)
{
    json_t *out = json_array(), *one;
    size_t i;
    json_array_foreach(list, i, one)
    {
        ++*count;
        if (!json_is_object(one)) {
            json_array_append_new(out, json_string(REVISE_HIDDEN));
            continue;
        }
        json_t *copy = json_copy(one);
        json_object_set_new(copy, "secret", json_string(REVISE_HIDDEN));
        json_array_append_new(out, copy);
    }
    return out;
}

/* Any header or parameter may be a password. */
static json_t *revise_hide_map(const json_t *map, size_t *count)
{
    json_t *out = json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)map, key, value)
    {
        (void)value;
        json_object_set_new(out, key, json_string(REVISE_HIDDEN));
        ++*count;
    }
    return out;
}

static json_t *revise_hide(const struct option *rows, const json_t *options, size_t *count)
{
    json_t *out = json_deep_copy(options);
    for (const struct option *row = rows; row->key; row++) {
        json_t *value = json_object_get(out, row->key);
        if (row->type == OPT_SECRET && json_is_string(value)) {
            json_object_set_new(out, row->key, json_string(REVISE_HIDDEN));
            ++*count;
        } else if (row->type == OPT_SECRETS && json_is_array(value))
            json_object_set_new(out, row->key, revise_hide_secrets(value, count));
        else if (row->type == OPT_MAP && json_is_object(value))
            json_object_set_new(out, row->key, revise_hide_map(value, count));
        else if (row->type == OPT_GROUP && json_is_object(value))
            json_object_set_new(out, row->key, revise_hide(row->of, value, count));
    }
    return out;
}

/* Of its URL what may be a token becomes stars. */
static void revise_veil_url(json_t *own)
{
    struct buf out = buf_new(8192);
    uri_veil(str_of(json_text(own, "url")), &out);
    if (!out.failed && out.n)
        json_object_set_new(own, "url", json_stringn(out.at, out.n));
    buf_free(&out);
}

json_t *revise_shown(const struct sink_config *s, const struct placed *p, bool veil, size_t *count)
{
    *count = 0;
    json_t *all = json_deep_copy(p->core), *own = revise_hide(s->sink->ops->endpoints->options, p->own, count);
    if (veil)
        revise_veil_url(own);
    json_object_update(all, own);
    json_decref(own);
    return all;
}
