/* SPDX-License-Identifier: MIT */
/* Endpoints of the state to JSON and back. */
#include "bridge/delivery/placed.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

enum { PLACED_FORM = 1, PLACED_OF = 256 };

/* What its options are bound to. */
static struct str placed_about(const struct placed *p, const char *of, char room[PLACED_OF])
{
    int n = snprintf(room, PLACED_OF, "%s/%" PRId64, of, p->version);
    CHECK(n > 0 && n < PLACED_OF);
    return (struct str){ room, (size_t)n };
}

static bool placed_take(const json_t *json, struct placed *out, struct err *e)
{
    json_t *form = json_object_get(json, "v"), *version = json_object_get(json, "version"),
           *core = json_object_get(json, "core"), *own = json_object_get(json, "own"),
           *sealed = json_object_get(json, "sealed");
    if (!json_is_integer(form) || !json_is_integer(version) || json_integer_value(version) < 1)
        return err_set(e, "it has no version");
    if (json_integer_value(form) != PLACED_FORM)
        return err_set(e, "it was stored by a later version of aqueduct");
    out->version = json_integer_value(version);
    out->made_ms = json_integer_value(json_object_get(json, "made"));
    out->changed_ms = json_integer_value(json_object_get(json, "changed"));
    out->paused = json_is_true(json_object_get(json, "paused"));
    out->removed = json_is_true(json_object_get(json, "removed"));
    if (out->removed)
        return true;
    if (!json_is_object(core) || !json_is_object(own) == !json_is_string(sealed))
        return err_set(e, "its options are missing");
    out->core = json_incref(core);
    out->own = json_is_object(own) ? json_incref(own) : NULL;
    out->sealed = own ? NULL : str_dup((struct str){ json_string_value(sealed), json_string_length(sealed) });
    return true;
}

/* jansson recurses as deep as the text does, up to 2048: less is enough. */
static bool placed_is_deep(struct str text)
{
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.at[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '[' || c == '{') && ++depth > PLACED_DEPTH)
            return true;
        else if (!quoted && (c == ']' || c == '}'))
            depth--;
    }
    return false;
}

bool placed_read(struct str text, struct placed *out, struct err *e)
{
    *out = (struct placed){ 0 };
    if (text.n > PLACED_BYTES || placed_is_deep(text))
        return err_set(e, "it is too large");
    json_t *json = json_loadb(text.at ? text.at : "", text.n, JSON_REJECT_DUPLICATES, NULL);
    bool fine = json ? placed_take(json, out, e) : err_set(e, "it is no JSON");
    json_decref(json);
    return fine;
}

static void placed_seal(json_t *json, const struct placed *p, const char *of, const struct seal_keys *keys)
{
    char about[PLACED_OF];
    char *text = json_dumps(p->own, JSON_COMPACT);
    struct buf sealed = buf_new(2 * PLACED_BYTES);
    CHECK(text);
    seal_add(keys, str_of(text), placed_about(p, of, about), &sealed);
    json_object_set_new(json, "sealed", json_stringn(sealed.at, sealed.n));
    crypto_wipe(text, strlen(text));
    free(text);
    buf_free(&sealed);
}

void placed_write(const struct placed *p, const char *of, const struct seal_keys *keys, struct buf *out)
{
    json_t *json = json_pack("{s:i,s:I,s:I}", "v", PLACED_FORM, "version", (json_int_t)p->version, "changed",
                             (json_int_t)p->changed_ms);
    if (p->removed)
        json_object_set_new(json, "removed", json_true());
    else {
        json_object_set_new(json, "made", json_integer(p->made_ms));
        json_object_set_new(json, "paused", json_boolean(p->paused));
        json_object_set(json, "core", p->core);
        if (keys && p->own)
            placed_seal(json, p, of, keys);
        else if (p->own)
            json_object_set(json, "own", p->own);
        else
            json_object_set_new(json, "sealed", json_string(p->sealed));
    }
    char *text = json_dumps(json, JSON_COMPACT);
    buf_add_c(out, text);
    crypto_wipe(text, strlen(text));
    free(text);
    json_decref(json);
}

bool placed_open(struct placed *p, const char *of, const struct seal_keys *keys, struct err *e)
{
    char about[PLACED_OF];
    if (p->own)
        return true;
    if (!p->sealed)
        return err_set(e, "it has no options");
    if (!keys)
        return err_set(e, "its options are sealed, and admin.key_file names no file with the key");
    struct buf text = buf_new(PLACED_BYTES);
    bool fine = seal_open(keys, str_of(p->sealed), placed_about(p, of, about), &text, e);
    if (fine) {
        p->own = json_loadb(text.at, text.n, 0, NULL);
        if (!json_is_object(p->own)) {
            json_decref(p->own);
            p->own = NULL;
            fine = err_set(e, "its options are none");
        }
    }
    crypto_wipe_buf(&text);
    return fine;
}

void placed_free(struct placed *p)
{
    json_decref(p->core);
    json_decref(p->own);
    free(p->sealed);
    *p = (struct placed){ 0 };
}
