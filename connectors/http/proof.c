/* SPDX-License-Identifier: MIT */
/* Tokens and signatures, as senders write them. */
#include "connectors/http/proof.h"
#include <inttypes.h>
#include <stdio.h>
#include "bridge/auth/fields.h"

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

bool proof_add(const struct proof *p, struct str body, struct buf *lines, struct err *e)
{
    bool named = p->o->header && *p->o->header;
    if ((unsigned)p->o->scheme < SIGNATURE_COUNT && p->o->scheme != VERIFY_UNSET)
        return proof_sign(p, body, lines, e);
    if (p->o->scheme == VERIFY_NONE)
        return true;
    if (p->o->scheme != VERIFY_BEARER)
        return err_set(e, "what scheme %s asks for is not made here: give it by --header", table_name(p->o->scheme));
    const char *token = proof_secret(p, e);
    if (token)
        proof_add_line(lines, named ? p->o->header : "Authorization", named ? "" : "Bearer ", str_of(token));
    return token != NULL;
}
