/* SPDX-License-Identifier: MIT */
/* Keys and style of an endpoint's signatures, and the header lines that come of them. */
#include "connectors/webhook/signer.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/auth/fields.h"
#include "bridge/lib/mem.h"

#define SIGNER_NAME(VALUE, name, doc) { SIGNATURE_##VALUE, #name },
static const struct option_value signer_schemes[] = { SIGNATURE_SENT(SIGNER_NAME){ 0 } };

#define SIGNER_DOC(VALUE, name, doc) " " #name ": " doc "."
const struct option signature_rows[] = {
    OPTION(struct signature_options, scheme, .fallback = "standard", .values = signer_schemes,
           .doc = "How requests are signed." SIGNATURE_SENT(SIGNER_DOC)),
    OPTION(struct signature_options, header, .doc = "Header with the signature, when it is not the scheme's own."),
    DESCRIBED_ROWS(struct signature_options, described),
    { 0 }
};

/* The row of the scheme, or what the user describes. */
static bool signer_set_style(struct signer *s, const struct signature_options *o, struct err *e)
{
    s->style = signature_style(o->scheme);
    s->own = mem_alloc(sizeof *s->own);
    struct err why;
    const struct signature_style *style = described_style(o->scheme, &o->described, s->own, &why);
    if (!style)
        return err_set(e, "signature.%s", why.text);
    s->style = style;
    return true;
}

static bool signer_set_header(struct signer *s, const struct signature_options *o, struct err *e)
{
    bool named = o->header && *o->header;
    s->header = named ? o->header : s->style->headers.signature;
    if (!s->header)
        return err_set(e, "signature.header: is missing: scheme %s has no header of its own",
                       signature_name(o->scheme));
    if (named && s->style->other.signature)
        return err_set(e, "signature.header: scheme %s has no header to choose", signature_name(o->scheme));
    return true;
}

/* Where a request has one signature, a key comes into use when those before it have ended. */
static bool signer_check_order(const struct signer *s, const struct signature_options *o, const struct secrets *secrets,
                               struct err *e)
{
    for (size_t i = 0; !s->style->between && i + 1 < secrets->count; i++)
        if (!secrets->at[i].until.ms)
            return err_set(e,
                           "secrets[%zu]: scheme %s has one signature in a request, by the first key: say until when "
                           "that one signs ({secret: ..., until: 2026-12-24})",
                           i + 1, signature_name(o->scheme));
    return true;
}

static void signer_free_keys(struct signer *s)
{
    for (size_t i = 0; i < s->count; i++)
        key_free(s->keys[i]);
    free(s->keys);
    free(s->live);
}

/* Makes the keys of the secrets. */
static bool signer_load_keys(struct signer *s, struct err *e)
{
    s->keys = mem_grow(NULL, s->secrets.count + 1, sizeof *s->keys);
    s->live = mem_grow(NULL, s->secrets.count + 1, sizeof *s->live);
    for (size_t i = 0; i < s->secrets.count; i++) {
        struct str secret = str_of(s->secrets.at[i].text);
        if (s->style->tokens && !secret_has_prefix(secret))
            return err_set(e, "secrets[%zu]: signs nothing: a token is sent as it is, in %s", i,
                           s->style->other.signature);
        struct key *key = key_new(secret, s->style->boxed, s->style->hash, KEY_SIGNS, e);
        if (!key)
            return err_prefix(e, "secrets[%zu]", i);
        s->keys[s->count++] = key;
    }
    signer_look(s, clock_wall_ms());
    return true;
}

bool signer_load(struct signer *s, const struct signature_options *o, const struct secrets *secrets, bool unsigned_,
                 struct err *e)
{
    *s = (struct signer){ .secrets = *secrets };
    if (!signer_set_style(s, o, e))
        return false;
    if (secrets->count == 0 && !unsigned_)
        return err_set(e, "secrets: at least one is needed (or `unsigned: true`)");
    if (secrets->count > 0 && unsigned_)
        return err_set(e, "unsigned: true and secrets exclude each other");
    if (!signer_set_header(s, o, e) || !signer_check_order(s, o, secrets, e))
        return false;
    secret_files_open(&s->files, secrets);
    return signer_load_keys(s, e);
}

void signer_free(struct signer *s)
{
    signer_free_keys(s);
    secret_files_close(&s->files);
    free(s->own);
    *s = (struct signer){ 0 };
}

static bool signer_take(void *ctx, const struct secrets *now, struct err *e)
{
    struct signer *s = ctx, fresh = { .style = s->style, .secrets = *now };
    if (!signer_load_keys(&fresh, e)) {
        signer_free_keys(&fresh);
        return false;
    }
    signer_free_keys(s);
    fresh.header = s->header;
    fresh.files = s->files;
    fresh.own = s->own;
    fresh.url = s->url;
    *s = fresh;
    return true;
}

void signer_refresh(struct signer *s, const char *of)
{
    secret_files_turn(&s->files, signer_take, s, of);
}

bool signer_look(struct signer *s, int64_t wall_ms)
{
    struct err why;
    int64_t soon = secrets_last_ms(&s->secrets) - SECRET_SOON_MS;
    s->turn_ms = soon > wall_ms ? soon : INT64_MAX;
    s->live_count = 0;
    for (size_t i = 0; i < s->count; i++) {
        int64_t until = s->secrets.at[i].until.ms;
        if (secret_has_ended(&s->secrets.at[i], wall_ms))
            continue;
        s->live[s->live_count++] = s->keys[i];
        if (until && until < s->turn_ms)
            s->turn_ms = until;
    }
    return signer_warning(s, wall_ms, &why);
}

bool signer_warning(const struct signer *s, int64_t wall_ms, struct err *why)
{
    return secrets_warning(&s->secrets, wall_ms, "secrets", "nothing is sent", why);
}

bool signer_has_header(const struct signer *s, const char *name)
{
    const char *const ours[] = { s->header, s->style->headers.id, s->style->headers.time };
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (ours[i] && str_eq_nocase(str_of(ours[i]), str_of(name)))
            return true;
    return false;
}

/* The line without its value; what follows it ends with signer_end_line. */
static void signer_begin_line(struct buf *text, const char *name)
{
    buf_add_c(text, name);
    buf_add(text, ": ", 2);
}

static size_t signer_add_line(struct buf *text, const char *name, struct str value)
{
    signer_begin_line(text, name);
    buf_add_str(text, value);
    buf_add_char(text, '\0');
    return 1;
}

/* Is it a header of its own, beside the other one? */
static bool signer_is_other(const char *name, const char *other)
{
    return name && !str_eq_nocase(str_of(name), str_of(other));
}

size_t signer_add(const struct signer *s, struct str id, int64_t wall_ms, struct str body, struct buf *text)
{
    const struct signature_headers *own = &s->style->headers, *all = &signature_style(SIGNATURE_STANDARD)->headers;
    CHECK(!signer_has_ended(s));
    char seconds[24];
    struct signed_parts p = { .id = id, .body = body };
    p.time = (struct str){ seconds, (size_t)snprintf(seconds, sizeof seconds, "%lld", (long long)(wall_ms / 1000)) };
    size_t lines = signer_add_line(text, all->id, id) + signer_add_line(text, all->time, p.time);
    if (signer_is_other(own->id, all->id))
        lines += signer_add_line(text, own->id, id);
    if (signer_is_other(own->time, all->time))
        lines += signer_add_line(text, own->time, p.time);
    if (s->count == 0)
        return lines;
    struct buf fields = buf_new(body.n + 1);
    if (s->url.at) {
        struct str query = s->url, address;
        str_cut(&query, '?', &address);
        fields_add(query, body, &fields);
        p.url = s->url;
        p.fields = buf_str(&fields);
    }
    signer_begin_line(text, s->header);
    signature_add(s->style, s->live, s->live_count, &p, text);
    buf_add_char(text, '\0');
    buf_free(&fields);
    return lines + 1;
}
