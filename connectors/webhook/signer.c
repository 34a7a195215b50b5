/* SPDX-License-Identifier: MIT */
/* Keys and style of an endpoint's signatures, and the header lines that come of them. */
#include "connectors/webhook/signer.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"

#define SIGNER_NAME(VALUE, name, doc) { SIGNATURE_##VALUE, #name },
static const struct option_value signer_schemes[] = { SIGNATURE_STYLES(SIGNER_NAME){ 0 } };

#define SIGNER_DOC(VALUE, name, doc) " " #name ": " doc "."
const struct option signature_rows[] = {
    OPTION(struct signature_options, scheme, .fallback = "standard", .values = signer_schemes,
           .doc = "How requests are signed." SIGNATURE_STYLES(SIGNER_DOC)),
    OPTION(struct signature_options, header, .doc = "Header with the signature, when it is not the scheme's own."),
    { 0 }
};

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

/* A style with one signature in a request would never use a second key. */
static bool signer_check_count(const struct signer *s, const struct signature_options *o, const struct secrets *secrets,
                               struct err *e)
{
    return s->style->between || secrets->count < 2
           || err_set(e, "secrets[1]: scheme %s has one signature in a request, by one key", signature_name(o->scheme));
}

bool signer_load(struct signer *s, const struct signature_options *o, const struct secrets *secrets, bool unsigned_,
                 struct err *e)
{
    *s = (struct signer){ .style = signature_style(o->scheme) };
    if (secrets->count == 0 && !unsigned_)
        return err_set(e, "secrets: at least one is needed (or `unsigned: true`)");
    if (secrets->count > 0 && unsigned_)
        return err_set(e, "unsigned: true and secrets exclude each other");
    if (!signer_set_header(s, o, e) || !signer_check_count(s, o, secrets, e))
        return false;
    s->keys = mem_grow(NULL, secrets->count + 1, sizeof *s->keys);
    for (size_t i = 0; i < secrets->count; i++) {
        struct key *key = key_new(str_of(secrets->at[i].text), s->style->boxed, e);
        if (!key)
            return err_prefix(e, "secrets[%zu]", i);
        s->keys[s->count++] = key;
    }
    return true;
}

void signer_free(struct signer *s)
{
    for (size_t i = 0; i < s->count; i++)
        key_free(s->keys[i]);
    free(s->keys);
    *s = (struct signer){ 0 };
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

size_t signer_add(const struct signer *s, struct str id, int64_t wall_ms, struct str body, struct buf *text)
{
    const struct signature_headers *own = &s->style->headers, *all = &signature_style(SIGNATURE_STANDARD)->headers;
    char seconds[24];
    struct signed_parts p = { .id = id, .body = body };
    p.time = (struct str){ seconds, (size_t)snprintf(seconds, sizeof seconds, "%lld", (long long)(wall_ms / 1000)) };
    size_t lines = signer_add_line(text, all->id, id) + signer_add_line(text, all->time, p.time);
    if (own != all && own->id)
        lines += signer_add_line(text, own->id, id);
    if (own != all && own->time)
        lines += signer_add_line(text, own->time, p.time);
    if (s->count == 0)
        return lines;
    signer_begin_line(text, s->header);
    signature_add(s->style, s->keys, s->count, &p, text);
    buf_add_char(text, '\0');
    return lines + 1;
}
