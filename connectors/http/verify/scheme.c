/* SPDX-License-Identifier: MIT */
/* What verification schemes share: keys, headers and the comparison of MACs. */
#include "connectors/http/verify/scheme.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

void scheme_add_key(struct verifier *v, struct hmac *key)
{
    size_t count = v->key_count + 1;
    v->keys = mem_grow(v->keys, count, sizeof *v->keys);
    v->macs = mem_grow(v->macs, count, sizeof *v->macs);
    v->keys[v->key_count++] = key;
}

void scheme_free_keys(struct verifier *v)
{
    for (size_t i = 0; i < v->key_count; i++)
        hmac_free(v->keys[i]);
    free(v->keys);
    if (v->macs)
        crypto_wipe(v->macs, v->key_count * sizeof *v->macs);
    free(v->macs);
}

const char *scheme_header_name(const struct verifier *v)
{
    return v->header ? v->header : v->scheme->header;
}

enum refusal scheme_header(const struct http_request *r, const char *name, struct str *out)
{
    size_t count = 0;
    *out = http_header(r, name, &count);
    if (count > 1)
        return REFUSAL_REPEATED;
    return out->n ? REFUSAL_NONE : REFUSAL_MISSING;
}

void scheme_sign(struct verifier *v, const struct str *parts, size_t count)
{
    for (size_t i = 0; i < v->key_count; i++)
        hmac_sign(v->keys[i], parts, count, v->macs[i].bytes);
}

/* No early end: the time taken does not say which secret matched, or whether one did. */
bool scheme_matches(const struct verifier *v, struct str mac)
{
    bool found = false;
    for (size_t i = 0; i < v->key_count; i++)
        found |= crypto_equal(mac, (struct str){ (const char *)v->macs[i].bytes, SHA256_BYTES });
    return found;
}
