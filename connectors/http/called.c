/* SPDX-License-Identifier: MIT */
/* Names of paths, without the secrets in them. */
#include "connectors/http/called.h"
#include "bridge/lib/crypto.h"
#include "connectors/http/pattern.h"

enum {
    CALLED_MIXED = 16,   /* letters and digits: no word has so many with digits among them */
    CALLED_LETTERS = 24, /* in a row, capitals and others */
    CALLED_DIGEST = 8,   /* hex digits of a secret's digest: enough to tell two apart, too few to find one by */
};

/* Is a part of a path evidently no word but a secret, such as a token or a UUID? '-' and '_' do not break a token up. */
static bool called_looks_secret(struct str part)
{
    size_t letters = 0, capitals = 0, digits = 0, mixed = 0, hex = 0, dashes = 0;
    for (size_t i = 0; i <= part.n; i++) {
        char c = i < part.n ? part.at[i] : '/', lower = (char)(c | 0x20);
        bool digit = c >= '0' && c <= '9', letter = lower >= 'a' && lower <= 'z';
        hex += digit || (letter && lower <= 'f');
        dashes += c == '-';
        letters += letter;
        capitals += letter && c != lower;
        digits += digit;
        if (letter || digit)
            continue;
        if (letters && digits)
            mixed += letters + digits;
        if (mixed >= CALLED_MIXED || (letters >= CALLED_LETTERS && capitals && capitals < letters))
            return true;
        if (c != '-' && c != '_')
            mixed = 0;
        letters = capitals = digits = 0;
    }
    return hex == 32 && dashes == 4 && part.n == 36;
}

/* What stands for a secret: a digest of it. */
static void called_add_digest(struct str part, struct buf *out)
{
    char digest[UUID_TEXT];
    uuid_of((const struct str[]){ STR("a secret in a path"), part }, 2, digest);
    buf_add_char(out, '~');
    buf_add(out, digest, CALLED_DIGEST);
}

/* The path without what looks like a secret: a star stands there, or a digest. */
static void called_add_path(struct str path, bool star, struct buf *out)
{
    struct str part;
    for (bool first = true; str_cut(&path, '/', &part); first = false) {
        if (!first)
            buf_add_char(out, '/');
        struct str parameter = pattern_name(part);
        if (parameter.at && !star) { /* braces are no characters of a URI */
            buf_add_char(out, ':');
            buf_add_str(out, parameter);
        } else if (!called_looks_secret(part))
            buf_add_str(out, part);
        else if (star)
            buf_add_char(out, '*');
        else
            called_add_digest(part, out);
    }
}

void called_add(const struct path_options *o, struct buf *out)
{
    if (!o->name) {
        called_add_path(str_of(o->path), false, out);
        return;
    }
    buf_add_char(out, '/');
    buf_add_c(out, o->name);
}

void called_add_label(const struct path_options *o, struct buf *out)
{
    if (o->name)
        buf_add_c(out, o->name);
    else
        called_add_path(str_of(o->path), true, out);
}

void called_add_text(struct str path, struct buf *out)
{
    called_add_path(path, true, out);
}

void called_add_source(const struct path_options *o, const char *source_id, struct buf *out)
{
    const char *expression = o->source ? strstr(o->source, "{{") : NULL;
    if (expression) { /* what stands before it, without the slash */
        size_t n = (size_t)(expression - o->source);
        buf_add(out, o->source, n ? n - 1 : 0);
        return;
    }
    if (o->source && *o->source) {
        buf_add_c(out, o->source);
        return;
    }
    buf_printf(out, "/http/%s", source_id);
    called_add(o, out);
}
