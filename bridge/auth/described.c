/* SPDX-License-Identifier: MIT */
/* Options to the row of a style. */
#include "bridge/auth/described.h"

enum { DESCRIBED_BYTES = 200 };

const struct option_value described_hashes[] = {
    { HASH_SHA256, "sha256" },
    { HASH_SHA1, "sha1" },
    { HASH_SHA512, "sha512" },
    { 0 },
};
const struct option_value described_letters[] = {
    { NOTATION_HEX, "hex" },
    { NOTATION_BASE64, "base64" },
    { NOTATION_BASE64URL, "base64url" },
    { 0 },
};

static const char *described_text(const char *text)
{
    return text && *text ? text : NULL;
}

bool described_check_header(const char *name, struct err *e)
{
    static const char token[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~";
    size_t n = strspn(name, token);
    return (n > 0 && !name[n]) || err_set(e, "is no name of a header, such as X-Request-Id: no request can have it");
}

static bool described_check_name(const char *key, const char *name, struct err *e)
{
    return !name || described_check_header(name, e) || err_prefix(e, "%s", key);
}

const char *described_first(const struct described *f)
{
    const struct {
        const char *key;
        bool set;
    } options[] = {
        { "signs", described_text(f->signs) },
        { "hash", f->hash },
        { "encoding", f->encoding },
        { "prefix", described_text(f->prefix) },
        { "separator", described_text(f->separator) },
        { "timestamp_header", described_text(f->timestamp_header) },
        { "timestamp_prefix", described_text(f->timestamp_prefix) },
        { "id_header", described_text(f->id_header) },
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (options[i].set)
            return options[i].key;
    return NULL;
}

/* Of a scheme that has its own row there is nothing to describe. */
static bool described_check_unused(const struct described *f, struct err *e)
{
    const char *key = described_first(f);
    return !key || err_set(e, "%s: is for scheme hmac, which is described by it; other schemes have their own", key);
}

static bool described_check_content(const struct signature_style *st, struct err *e)
{
    size_t parts;
    struct str strange = signature_check(st->content, &parts);
    if (strlen(st->content) > DESCRIBED_BYTES || parts > SIGNED_PARTS)
        return err_set(e, "signs: is longer than %d bytes, or of more than %d parts", DESCRIBED_BYTES, SIGNED_PARTS);
    if (strange.at)
        return err_set(e, "signs: %.*s is none of {body}, {timestamp}, {id}, {url}, {fields}", STR_ARG(strange));
    if (!signature_signs(st, "{body}") && !signature_signs(st, "{fields}"))
        return err_set(e, "signs: has no {body}, so that anybody could write another one");
    return true;
}

static bool described_check_time(const struct signature_style *st, struct err *e)
{
    bool signs = signature_signs(st, "{timestamp}");
    if (signs && !st->headers.time && !st->time_begin)
        return err_set(e, "timestamp_header: is missing: `signs` has a {timestamp}");
    if (!signs && (st->headers.time || st->time_begin))
        return err_set(e, "%s: `signs` has no {timestamp}, so that anybody could write another one",
                       st->headers.time ? "timestamp_header" : "timestamp_prefix");
    if (st->headers.time && st->time_begin)
        return err_set(e, "timestamp_prefix: there is a timestamp_header as well");
    if (st->time_begin && !st->between)
        return err_set(e, "separator: is missing: timestamp_prefix is for headers such as t=1700000000,v1=...");
    return true;
}

static bool described_check(const struct described *f, const struct signature_style *st, struct err *e)
{
    bool signs_id = signature_signs(st, "{id}");
    if (described_text(f->separator) && f->separator[1])
        return err_set(e, "separator: is one character");
    if (!described_check_content(st, e) || !described_check_time(st, e))
        return false;
    if (signs_id != (st->headers.id != NULL))
        return err_set(e, signs_id ? "id_header: is missing: `signs` has an {id}"
                                   : "id_header: `signs` has no {id}, so that anybody could write another one");
    return described_check_name("timestamp_header", st->headers.time, e)
           && described_check_name("id_header", st->headers.id, e);
}

const struct signature_style *described_style(enum signature scheme, const struct described *f,
                                              struct signature_style *own, struct err *e)
{
    const struct signature_style *row = signature_style(scheme);
    if (scheme != SIGNATURE_HMAC)
        return described_check_unused(f, e) ? row : NULL;
    *own = *row;
    own->headers.time = described_text(f->timestamp_header);
    own->headers.id = described_text(f->id_header);
    own->time_begin = described_text(f->timestamp_prefix);
    if (described_text(f->prefix))
        own->begin[KEY_HMAC] = f->prefix;
    if (described_text(f->separator))
        own->between = f->separator[0];
    if (described_text(f->signs))
        own->content = f->signs;
    if (f->hash)
        own->hash = f->hash;
    if (f->encoding)
        own->letters = f->encoding;
    return described_check(f, own, e) ? own : NULL;
}
