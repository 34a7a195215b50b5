/* SPDX-License-Identifier: MIT */
/* JSON Web Tokens and the keys that verify them: only what was signed is good, in the one form that it has.
 *
 * Input: a letter, and what it says: t: a token as it comes; h: the head of one that is signed; c: the claims of one; k: a
 * JSON Web Key Set, or PEM. */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include "bridge/auth/jwks.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"
#include "bridge/verify/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MOST = 64 * 1024 };

static char secret[] = "a-secret-of-this-fuzzer-which-is-long-enough-01";
static const char known[] = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.sFVIpzi5fDKVCXfqjFv0W6D4kkZ58BxeP0_lpqGatHI";

static void jwt_add_base64url(struct buf *out, struct str bytes)
{
    size_t from = out->n;
    base64_add(out, bytes);
    while (out->n > from && out->at[out->n - 1] == '=')
        out->n--;
    for (size_t i = from; i < out->n; i++)
        out->at[i] = out->at[i] == '+' ? '-' : out->at[i] == '/' ? '_' : out->at[i];
}

static void jwt_sign(struct buf *token, struct str head, struct str claims)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned length;
    jwt_add_base64url(token, head);
    buf_add_char(token, '.');
    jwt_add_base64url(token, claims);
    CHECK(HMAC(EVP_sha256(), secret, sizeof secret - 1, (const unsigned char *)token->at, token->n, mac, &length));
    buf_add_char(token, '.');
    jwt_add_base64url(token, (struct str){ (const char *)mac, length });
}

/* What is good is an object, and its subject can be a name. */
static void jwt_fuzz_token(struct jwt *j, struct str token, struct str object)
{
    const char *why;
    enum jwt_verdict verdict = jwt_check(j, token, &why);
    CHECK(verdict == JWT_GOOD ? !why : why && *why);
    if (verdict != JWT_GOOD)
        return;
    json_t *json = json_loadb(object.at, object.n, JSON_REJECT_DUPLICATES, NULL);
    CHECK(json_is_object(json) && !json_object_get(json, "crit"));
    json_decref(json);
    CHECK(jwt_subject(j).n <= JWT_SUBJECT);
}

static void jwt_fuzz_keys(struct str text)
{
    struct err e = { "" };
    struct jwks *keys = jwks_new();
    if (!jwks_add_text(keys, text, &e))
        CHECK(*e.text);
    for (int a = JWT_NONE + 1; a < JWT_COUNT; a++)
        for (size_t at = 0; at < jwks_count(keys);) {
            const struct jwk *k = jwks_find(keys, &at, (enum jwt_algorithm)a, STR_ABSENT);
            CHECK(!k || !jwk_verify(k, (enum jwt_algorithm)a, STR("text"), STR("no signature")));
        }
    jwks_unref(keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct secret one = { .text = secret };
    static char required[] = "{\"/a/0\":[1,true],\"b\":\"c\"}", word[] = "w";
    static struct jwt *lax, *strict;
    static const struct jwt_options few = { .secrets = { &one, 1 } };
    static const struct jwt_options many = {
        .secrets = { &one, 1 }, .scope = word, .required = { required }, .needs_exp = true, .max_age = { 1000 }
    };
    struct err e;
    if (!lax)
        lax = jwt_new(&few, &e);
    if (!strict)
        strict = jwt_new(&many, &e);
    CHECK(lax && strict);
    struct str rest = n ? (struct str){ (const char *)data + 1, n - 1 } : STR_ABSENT;
    struct buf token = buf_new(2 * MOST);
    const char *why;
    if (n == 0 || n > MOST)
        return 0;
    switch (*data) {
    case 't': CHECK(jwt_check(lax, rest, &why) != JWT_GOOD || str_eq(rest, STR(known))); break;
    case 'h':
        jwt_sign(&token, rest, STR("{}"));
        jwt_fuzz_token(lax, buf_str(&token), rest);
        break;
    case 'c':
        jwt_sign(&token, STR("{\"alg\":\"HS256\"}"), rest);
        if (jwt_check(lax, buf_str(&token), &why) == JWT_GOOD)
            for (size_t i = 0; i < jwt_subject(lax).n; i++)
                CHECK((unsigned char)jwt_subject(lax).at[i] >= ' ');
        jwt_check(strict, buf_str(&token), &why);
        break;
    case 'k': jwt_fuzz_keys(rest); break;
    default: break;
    }
    buf_free(&token);
    return 0;
}
