/* SPDX-License-Identifier: MIT */
/* Shows secrets to a listener of ours. */
#include "bridge/verify/show.h"
#include "bridge/lib/crypto.h"

/* The first that is valid. */
static const struct secret *show_secret(const struct secrets *s, int64_t wall_ms)
{
    for (size_t i = 0; i < s->count; i++)
        if (!secret_has_ended(&s->at[i], wall_ms))
            return &s->at[i];
    return NULL;
}

static void show_basic(const struct secret *s, struct buf *headers)
{
    struct buf user = buf_new(headers->max);
    buf_printf(&user, "%s:%s", s->name, s->text);
    buf_add_c(headers, "Authorization: Basic ");
    base64_add(headers, buf_str(&user));
    buf_add_char(headers, '\n');
    crypto_wipe_buf(&user);
}

static void show_key(const struct verify_options *o, const struct secret *s, struct buf *headers, struct buf *query)
{
    if (!o->query || !*o->query || (o->header && *o->header)) {
        buf_printf(headers, "%s: %s\n", o->header && *o->header ? o->header : "X-API-Key", s->text);
        return;
    }
    buf_printf(query, "%s%s=", query->n ? "&" : "", o->query);
    for (const char *c = s->text; *c; c++)
        buf_printf(query, "%%%02x", (unsigned char)*c);
}

static bool show_leaf(const struct verify_options *o, int64_t wall_ms, struct buf *headers, struct buf *query)
{
    const struct secret *s = show_secret(&o->secrets, wall_ms);
    if (o->scheme == VERIFY_ADDRESS || o->scheme == VERIFY_NONE)
        return true; /* there is nothing to be shown */
    if (!s)
        return false;
    if (o->scheme == VERIFY_BASIC)
        show_basic(s, headers);
    else if (o->scheme == VERIFY_API_KEY)
        show_key(o, s, headers, query);
    else if (o->scheme == VERIFY_BEARER)
        buf_printf(headers, "%s: %s%s\n", o->header && *o->header ? o->header : "Authorization",
                   o->header && *o->header ? "" : "Bearer ", s->text);
    else
        return false;
    return !headers->failed && !query->failed;
}

bool verify_show(const struct verify_options *o, int64_t wall_ms, struct buf *headers, struct buf *query)
{
    const struct list *parts = o->any.count ? &o->any : &o->all;
    bool any = o->any.count, good = !any;
    if (!parts->count)
        return show_leaf(o, wall_ms, headers, query);
    for (size_t i = 0; i < parts->count && good == !any; i++)
        good = verify_show((const struct verify_options *)parts->at + i, wall_ms, headers, query);
    return good;
}
