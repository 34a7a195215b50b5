/* SPDX-License-Identifier: MIT */
/* Checks what events are to tell. */
#include "bridge/map/tell.h"
#include <string.h>
#include "bridge/lib/uri.h"

enum { TELL_KEY_BYTES = 16, TELL_PREFIX_BYTES = 100 };

const struct option_value tell_values[] = {
    { TELL_FULL, "full" }, { TELL_HASH, "hash" }, { TELL_NONE, "none" }, { 0 }
};

static bool tell_check_key(const struct telling *t, struct err *e)
{
    bool hash = t->content == TELL_HASH || t->personal == TELL_HASH;
    size_t key = t->content_key.text ? strlen(t->content_key.text) : 0;
    if (hash && !key)
        return err_set(e, "content_key: is needed for %s: hash (digests of short texts can be guessed without a key)",
                       t->content == TELL_HASH ? "content" : "personal");
    if (key && !hash)
        return err_set(e, "content_key: belongs to content: hash or personal: hash");
    return !key || key >= TELL_KEY_BYTES || err_set(e, "content_key: is shorter than %d bytes", TELL_KEY_BYTES);
}

bool tell_check(const struct telling *t, struct err *e)
{
    for (const char *c = t->type_prefix; c && *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789.-", *c) || c - t->type_prefix > TELL_PREFIX_BYTES)
            return err_set(e, "type_prefix: \"%.60s\" cannot begin a type (a-z 0-9 . -)", t->type_prefix);
    if (!tell_check_key(t, e))
        return false;
    return uri_is_absolute(str_of(t->schema_base))
           || err_set(e, "schema_base: is not a URI (RFC 3986), such as urn:aqueduct:event");
}

bool tell_is_full(const struct telling *t)
{
    return t->content == TELL_FULL && t->personal == TELL_FULL;
}

struct hmac *tell_key(const struct telling *t)
{
    return t->content_key.text && *t->content_key.text ? hmac_new(str_of(t->content_key.text)) : NULL;
}

void tell_content(void *ctx, const char *type)
{
    const struct tell_caller *caller = ctx;
    caller->each(caller->ctx, type, "content: full; hash or none tells less");
}
