/* SPDX-License-Identifier: MIT */
/* Tokens and signatures, as senders write them. */
#include "connectors/http/proof.h"
#include <inttypes.h>
#include <stdio.h>
#include "bridge/auth/fields.h"
#include "bridge/lib/crypto.h"
#include "bridge/verify/show.h"

static void proof_add_line(struct buf *lines, const char *name, const char *begin, struct str value)
{
    buf_add_c(lines, name);
    buf_add(lines, ": ", 2);
    buf_add_c(lines, begin);
    buf_add_str(lines, value);
    buf_add_char(lines, '\0');
}

/* The first secret that has not ended. */
static const char *proof_secret(const struct proof *p, struct err *e)
{
    for (size_t i = 0; i < p->o->secrets.count; i++)
        if (!secret_has_ended(&p->o->secrets.at[i], p->wall_ms))
            return p->o->secrets.at[i].text;
    err_set(e, p->o->secrets.count ? "every secret has ended (until)" : "there is no secret");
    return NULL;
}

/* The first one that signs and has not ended. */
static struct key *proof_key(const struct proof *p, const struct signature_style *style, struct err *e)
{
    struct key *key = NULL;
    for (size_t i = 0; i < p->o->secrets.count && !key; i++)
        if (!secret_has_ended(&p->o->secrets.at[i], p->wall_ms))
            key = key_new(str_of(p->o->secrets.at[i].text), style->boxed, style->hash, KEY_SIGNS, e);
    return key;
}

static void proof_add_signature(const struct proof *p, const struct signature_style *style, struct key *key,
                                struct str body, struct buf *lines)
{
    const struct signature_headers *h = &style->headers;
    struct str url = str_of(p->o->url), query = url, address;
    struct buf fields = buf_new(body.n + 1), value = buf_new(PROOF_BYTES);
    char seconds[24];
    int n = snprintf(seconds, sizeof seconds, "%" PRId64, p->wall_ms / 1000);
    struct signed_parts parts = { .id = p->id, .time = { seconds, (size_t)n }, .body = body, .url = url };
    str_cut(&query, '?', &address);
    if (signature_signs(style, "{fields}"))
        fields_add(query, body, &fields);
    parts.fields = buf_str(&fields);
    signature_add(style, &key, 1, &parts, &value);
    if (h->id)
        proof_add_line(lines, h->id, "", p->id);
    if (h->time)
        proof_add_line(lines, h->time, "", parts.time);
    proof_add_line(lines, p->o->header && *p->o->header ? p->o->header : h->signature, "", buf_str(&value));
    buf_free(&fields);
    buf_free(&value);
}

static bool proof_sign(const struct proof *p, struct str body, struct buf *lines, struct err *e)
{
    struct signature_style own;
    const struct signature_style *style = described_style((enum signature)p->o->scheme, &p->o->described, &own, e);
    const char *secret = style ? proof_secret(p, e) : NULL;
    if (!secret)
        return false;
    if (!style->headers.signature && !(p->o->header && *p->o->header))
        return err_set(e, "scheme %s has no header of its own: which one is it?", table_name(p->o->scheme));
    if (signature_signs(style, "{url}") && !p->o->url)
        return err_set(e, "scheme %s signs the URL as the sender sees it", table_name(p->o->scheme));
    if (style->tokens && !secret_has_prefix(str_of(secret))) {
        proof_add_line(lines, style->other.signature, "", str_of(secret));
        proof_add_line(lines, style->other.id, "", p->id);
        return true;
    }
    struct key *key = proof_key(p, style, e);
    if (key)
        proof_add_signature(p, style, key, body, lines);
    key_free(key);
    return key != NULL;
}

/* What is no signature: a token, a user, a key; or nothing at all. */
static bool proof_show(const struct proof *p, struct buf *lines, struct err *e)
{
    struct buf headers = buf_new(PROOF_BYTES), query = buf_new(PROOF_BYTES);
    bool shown = verify_show(p->o, p->wall_ms, &headers, &query);
    for (size_t i = 0; shown && i < headers.n; i++)
        buf_add_char(lines, headers.at[i] == '\n' ? '\0' : headers.at[i]);
    if (!shown && (p->o->secrets.count == 0 || proof_secret(p, e)))
        err_set(e, "what scheme %s asks for is not made here: give it by --header", table_name(p->o->scheme));
    if (query.n && p->query)
        buf_add_str(p->query, buf_str(&query));
    else if (query.n)
        shown = err_set(e, "the key belongs into the URL: write ?%s=... behind the path", p->o->query);
    crypto_wipe_buf(&headers);
    crypto_wipe_buf(&query);
    return shown;
}

/* Of `any` the first that can be proved, of `all` each. */
static bool proof_add_parts(const struct proof *p, struct str body, struct buf *lines, struct err *e)
{
    const struct list *parts = p->o->any.count ? &p->o->any : &p->o->all;
    bool any = p->o->any.count, good = !any;
    for (size_t i = 0; i < parts->count && good == !any; i++) {
        struct proof part = *p;
        size_t before = lines->n;
        part.o = (const struct verify_options *)parts->at + i;
        good = proof_add(&part, body, lines, e);
        if (!good)
            lines->n = before;
    }
    return good;
}

bool proof_add(const struct proof *p, struct str body, struct buf *lines, struct err *e)
{
    if (p->o->any.count || p->o->all.count)
        return proof_add_parts(p, body, lines, e);
    if (table_style(p->o->scheme))
        return proof_sign(p, body, lines, e);
    return proof_show(p, lines, e);
}
