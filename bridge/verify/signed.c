/* SPDX-License-Identifier: MIT */
/* Verifies signatures of every style by its row (bridge/auth/signature.h). */
#include <stdlib.h>
#include "bridge/auth/fields.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"
#include "bridge/verify/scheme.h"

enum {
    SIGNED_PUBLICS = 8
}; /* signatures by private keys that are looked at; senders have one, two while they rotate */

static void signed_add_key(struct verifier *v, struct key *key)
{
    size_t count = v->key_count + 1;
    v->keys = mem_grow(v->keys, count, sizeof *v->keys);
    v->macs = mem_grow(v->macs, count, sizeof *v->macs);
    v->owners = mem_grow(v->owners, count, sizeof *v->owners);
    v->owners[v->key_count] = v->adding;
    v->keys[v->key_count++] = key;
}

static void signed_forget_secrets(struct verifier *v)
{
    for (size_t i = 0; i < v->key_count; i++)
        key_free(v->keys[i]);
    free(v->keys);
    if (v->macs)
        crypto_wipe(v->macs, v->key_count * sizeof *v->macs);
    free(v->macs);
    free(v->owners);
    v->keys = NULL;
    v->macs = NULL;
    v->owners = NULL;
    v->key_count = v->live_count = 0;
}

static bool signed_add_secret(struct verifier *v, struct str secret, bool ended, struct err *e)
{
    if (v->style->tokens && !secret_has_prefix(secret))
        return scheme_add_token(v, secret, ended, e);
    struct key *key = key_new(secret, v->style->boxed, v->style->hash, KEY_VERIFIES, e);
    if (!key)
        return false;
    signed_add_key(v, key);
    if (v->style->boxed && (key = key_new_unboxed(secret)))
        signed_add_key(v, key);
    if (!ended)
        v->live_count = v->key_count;
    return true;
}

const struct signature_headers *signed_headers(const struct verifier *v, const struct http_request *r)
{
    size_t count = 1;
    if (v->style->other.signature)
        http_header(r, v->style->headers.signature, &count);
    return count && !(v->style->tokens && v->key_count == 0) ? &v->style->headers : &v->style->other;
}

/* The parts that its headers hold. */
static enum refusal signed_read(const struct verifier *v, const struct http_request *r, struct signed_parts *p,
                                struct str *value)
{
    const struct signature_headers *h = signed_headers(v, r);
    enum refusal no = REFUSAL_NONE;
    if (signature_signs(v->style, "{id}"))
        no = scheme_header(r, h->id, &p->id);
    if (!no && h->time)
        no = scheme_header(r, h->time, &p->time);
    if (!no)
        no = scheme_header(r, v->header ? v->header : h->signature, value);
    if (!no && v->style->time_begin)
        p->time = signature_time(v->style, *value);
    p->body = r->body;
    return no;
}

static enum refusal signed_check_time(const struct verifier *v, struct str time)
{
    int64_t signed_at;
    if (!signature_read_time(time, &signed_at))
        return REFUSAL_MALFORMED;
    int64_t age = clock_wall_ms() / 1000 - signed_at;
    return age > v->tolerance_s || age < -v->tolerance_s ? REFUSAL_STALE : REFUSAL_NONE;
}

struct found { /* signatures by keys that are valid, and by those that have ended */
    bool live, ended;
    size_t owner; /* of the last valid one */
};

/* Without a branch: which key it was takes no longer or shorter. */
static void signed_note(const struct verifier *v, size_t key, bool equal, struct found *found)
{
    bool live = key < v->live_count;
    size_t mask = (size_t)0 - (equal & live);
    found->live |= equal & live;
    found->ended |= equal & !live;
    found->owner = (found->owner & ~mask) | (v->owners[key] & mask);
}

/* Is this the MAC by one of the keys? No early end: the time taken does not say which secret matched, or whether one did. */
static void signed_match(const struct verifier *v, struct str mac, struct found *found)
{
    for (size_t i = 0; i < v->key_count; i++) {
        bool equal = key_kind(v->keys[i]) == KEY_HMAC
                     && crypto_equal(mac, (struct str){ (const char *)v->macs[i].bytes, hash_bytes(v->style->hash) });
        signed_note(v, i, equal, found);
    }
}

/* The same of public keys, which are no secrets. */
static void signed_match_public(const struct verifier *v, const struct str *parts, size_t n, struct str signature,
                                struct found *found)
{
    for (size_t i = 0; i < v->key_count && !found->live; i++)
        if (key_kind(v->keys[i]) == KEY_ED25519)
            signed_note(v, i, key_verify(v->keys[i], parts, n, signature), found);
}

/* One of the signatures must match. Where there can be only one, the log says when it is none at all. */
static enum refusal signed_compare(struct verifier *v, struct str value, const struct str *parts, size_t n)
{
    struct found found = { false, false, 0 };
    bool sound = v->style->between;
    size_t publics = 0; /* each costs a pass over the body */
    enum key_kind kind;
    struct str text;
    struct signature_reader reader = { .rest = value };
    while (signature_next(v->style, &reader, &kind, &text)) {
        buf_reset(&v->decoded);
        if (!signature_decode(v->style, text, &v->decoded))
            continue;
        sound |= v->decoded.n == hash_bytes(v->style->hash);
        if (kind == KEY_HMAC)
            signed_match(v, buf_str(&v->decoded), &found);
        else if (!found.live && publics++ < SIGNED_PUBLICS)
            signed_match_public(v, parts, n, buf_str(&v->decoded), &found);
    }
    if (found.live)
        scheme_set_key(v, found.owner);
    return found.live ? REFUSAL_NONE : found.ended ? REFUSAL_ENDED : sound ? REFUSAL_MISMATCH : REFUSAL_MALFORMED;
}

static enum refusal signed_check_parts(struct verifier *v, struct str value, const struct signed_parts *p)
{
    struct str parts[SIGNED_PARTS];
    size_t n = signature_parts(v->style, p, parts);
    for (size_t i = 0; i < v->key_count; i++)
        if (key_kind(v->keys[i]) == KEY_HMAC)
            key_sign(v->keys[i], parts, n, v->macs[i].bytes);
    return signed_compare(v, value, parts, n);
}

struct str signed_url(struct verifier *v, const struct http_request *r, bool other_port)
{
    buf_reset(&v->url_text);
    if (other_port)
        fields_add_other_port(str_of(v->url), &v->url_text);
    else
        buf_add_c(&v->url_text, v->url);
    if (r->query.at) {
        buf_add_char(&v->url_text, '?');
        buf_add_str(&v->url_text, r->query);
    }
    return buf_str(&v->url_text);
}

static enum refusal signed_check_token(struct verifier *v, const struct http_request *r)
{
    struct str token;
    enum refusal no = scheme_header(r, v->style->other.signature, &token);
    return no ? no : scheme_check_token(v, token);
}

static enum refusal signed_check(struct verifier *v, const struct http_request *r)
{
    struct signed_parts p = { 0 };
    struct str value;
    if (v->style->tokens && signed_headers(v, r) == &v->style->other)
        return signed_check_token(v, r);
    enum refusal no = signed_read(v, r, &p, &value);
    if (!no && signature_signs(v->style, "{timestamp}"))
        no = signed_check_time(v, p.time);
    if (no)
        return no;
    buf_reset(&v->fields);
    struct str query = v->url ? r->query : STR_ABSENT; /* which is signed with it; of another one nothing counts */
    if (signature_signs(v->style, "{fields}") && !fields_add(query, r->body, &v->fields))
        return REFUSAL_MISMATCH;
    p.fields = buf_str(&v->fields);
    if (!v->url)
        return signed_check_parts(v, value, &p);
    p.url = signed_url(v, r, false);
    no = signed_check_parts(v, value, &p);
    if (no != REFUSAL_MISMATCH)
        return no;
    p.url = signed_url(v, r, true);
    return signed_check_parts(v, value, &p);
}

/* Is a header missing without which the body says nothing? */
static enum refusal signed_check_head(struct verifier *v, const struct http_request *r)
{
    struct signed_parts p = { 0 };
    struct str value;
    if (v->style->tokens && signed_headers(v, r) == &v->style->other)
        return signed_check_token(v, r);
    return signed_read(v, r, &p, &value);
}

const struct scheme scheme_signed = {
    .asks = ASKS_WHO,
    .add_secret = signed_add_secret,
    .forget_secrets = signed_forget_secrets,
    .check = signed_check,
    .check_head = signed_check_head,
};
