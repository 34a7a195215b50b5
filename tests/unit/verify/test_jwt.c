/* SPDX-License-Identifier: MIT */
/* JSON Web Tokens: published vectors, what must be refused, what is demanded of claims, and keys that an issuer changes. */
#include "bridge/verify/jwt.h"
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/auth/jwks.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/watch.h"
#include "bridge/net/fetch.h"
#include "tests/support/connector.h"
#include "tests/support/folder.h"
#include "tests/support/loopback.h"
#include "tests/support/metric.h"
#include "tests/support/test.h"
#include "tests/support/tls_receiver.h"

#define NOW    1300819000 /* before the end of RFC 7515's token */
#define SECRET "a-secret-of-these-tests-which-is-long-enough-0123456789abcdefghi"

static char folder[FOLDER_BYTES];

static int begin(void **state)
{
    (void)state;
    folder_make(folder);
    signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    clock_fake(1000000, (int64_t)NOW * 1000);
    return 0;
}

static int end(void **state)
{
    (void)state;
    clock_real();
    folder_remove(folder);
    return 0;
}

/* ---- tokens of our own ---- */

static void add_base64url(struct buf *out, struct str bytes)
{
    size_t from = out->n;
    base64_add(out, bytes);
    while (out->n > from && out->at[out->n - 1] == '=')
        out->n--;
    for (size_t i = from; i < out->n; i++)
        out->at[i] = out->at[i] == '+' ? '-' : out->at[i] == '/' ? '_' : out->at[i];
}

/* What is signed, with the dot behind it; free() it. */
static struct buf unsigned_token(const char *head, const char *claims)
{
    struct buf b = buf_new(1 << 20);
    add_base64url(&b, str_of(head));
    buf_add_char(&b, '.');
    add_base64url(&b, str_of(claims));
    return b;
}

static char *finished(struct buf *b, struct str signature)
{
    buf_add_char(b, '.');
    add_base64url(b, signature);
    return (char *)(uintptr_t)buf_c(b);
}

/* By HS256, HS384 or HS512; free() it. */
static char *hs(const EVP_MD *digest, const char *secret, const char *head, const char *claims)
{
    struct buf b = unsigned_token(head, claims);
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned n;
    HMAC(digest, secret, (int)strlen(secret), (unsigned char *)b.at, b.n, mac, &n);
    return finished(&b, (struct str){ (char *)mac, n });
}

static char *hs256(const char *head, const char *claims)
{
    return hs(EVP_sha256(), SECRET, head, claims);
}

/* The bytes that the key signs the text with: ECDSA's as DER. */
static size_t signature_of(EVP_PKEY *key, const EVP_MD *digest, bool pss, struct str text, unsigned char out[512])
{
    size_t n = 512;
    EVP_PKEY_CTX *how;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(ctx, &how, digest, NULL, key), 1);
    if (pss) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(how, RSA_PSS_SALTLEN_DIGEST), 1);
    }
    assert_int_equal(EVP_DigestSign(ctx, out, &n, (const unsigned char *)text.at, text.n), 1);
    EVP_MD_CTX_free(ctx);
    return n;
}

/* By a private key; `half` > 0: the two numbers of ECDSA side by side, each so many bytes. free() it. */
static char *signed_by(EVP_PKEY *key, const EVP_MD *digest, bool pss, int half, const char *head, const char *claims)
{
    unsigned char bytes[512], numbers[256];
    struct buf b = unsigned_token(head, claims);
    size_t n = signature_of(key, digest, pss, buf_str(&b), bytes);
    if (half == 0)
        return finished(&b, (struct str){ (char *)bytes, n });
    const unsigned char *at = bytes;
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)n);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(pair), numbers, half), half);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(pair), numbers + half, half), half);
    ECDSA_SIG_free(pair);
    return finished(&b, (struct str){ (char *)numbers, (size_t)half * 2 });
}

/* ---- options ---- */

static char *file_of(const char *name, const char *text)
{
    static char path[FOLDER_BYTES + 32];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, 0600), 0);
    return path;
}

static char *public_pem(EVP_PKEY *key, const char *name)
{
    static char path[FOLDER_BYTES + 32];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "we");
    assert_int_equal(PEM_write_PUBKEY(f, key), 1);
    fclose(f);
    return path;
}

static struct jwt_options options;

static struct jwt *jwt_of(const char *yaml)
{
    struct err e = { "" };
    options = (struct jwt_options){ 0 };
    options_fill(jwt_rows, &options, yaml);
    struct jwt *j = jwt_new(&options, &e);
    if (!j)
        print_error("%s\n", e.text);
    assert_non_null(j);
    return j;
}

static void refused_options(const char *yaml, const char *part)
{
    struct err e = { "" };
    options = (struct jwt_options){ 0 };
    options_fill(jwt_rows, &options, yaml);
    assert_null(jwt_new(&options, &e));
    assert_says(e.text, part);
}

static struct jwt *jwt_of_file(const char *path, const char *more)
{
    char yaml[1024];
    snprintf(yaml, sizeof yaml, "keys_file: %s\n%s", path, more);
    return jwt_of(yaml);
}

/* Takes the token over. */
static void check(struct jwt *j, char *token, enum jwt_verdict expected, const char *part)
{
    const char *why;
    enum jwt_verdict verdict = jwt_check(j, str_of(token), &why);
    if (verdict != expected)
        print_error("%s\n", why ? why : "good");
    assert_int_equal(verdict, expected);
    if (expected == JWT_GOOD)
        assert_null(why);
    else
        assert_says(why, part);
    free(token);
}

static void good(struct jwt *j, char *token)
{
    check(j, token, JWT_GOOD, "");
}

#define HEAD     "{\"alg\":\"HS256\"}"
#define EXP      "\"exp\":1300819380"
#define CLAIMS   "{" EXP "}"
#define WITH(of) "{" EXP "," of "}"

/* ---- published vectors ---- */

#define RSA_7515                                                                                                       \
    "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":"                                                                           \
    "\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZ"   \
    "S-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2Ca" \
    "pHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h" \
    "4FRWyuXpoQ\"}"
#define RSA_7520                                                                                                       \
    "{\"kty\":\"RSA\",\"kid\":\"bilbo.baggins@hobbiton.example\",\"use\":\"sig\",\"e\":\"AQAB\",\"n\":"                \
    "\"n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2w"   \
    "qVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJls" \
    "de3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc" \
    "5gHdrNP5zw\"}"
#define FRODO                                                                                                          \
    "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5k" \
    "IGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4"
#define JOE   "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
#define BILBO "ImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9"
#define OCT_7515                                                                                                       \
    "{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\"}"
#define A1_TOKEN "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." JOE ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
#define EC_7515                                                                                                        \
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","                         \
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}"

static const struct {
    const char *name, *key, *token;
} vectors[] = {
    { "RFC 7515 A.1 HS256", OCT_7515, A1_TOKEN },
    { "RFC 7515 A.2 RS256", RSA_7515,
      "eyJhbGciOiJSUzI1NiJ9." JOE
      ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9"
      "uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB"
      "_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rq"
      "Vt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw" },
    { "RFC 7515 A.3 ES256", EC_7515,
      "eyJhbGciOiJFUzI1NiJ9." JOE
      ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q" },
    { "RFC 7520 4.1 RS256", RSA_7520,
      "eyJhbGciOiJSUzI1NiIs" BILBO "." FRODO
      ".MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDk"
      "oBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0"
      "ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU"
      "5y18kDquDg" },
    { "RFC 7520 4.2 PS384", RSA_7520,
      "eyJhbGciOiJQUzM4NCIs" BILBO "." FRODO
      ".cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OL"
      "PpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lf"
      "JT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8"
      "DYM-X72Eaw" },
    { "RFC 7520 4.3 ES512",
      "{\"kty\":\"EC\",\"kid\":\"bilbo.baggins@hobbiton.example\",\"use\":\"sig\",\"crv\":\"P-521\","
      "\"x\":\"AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt\","
      "\"y\":\"AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1\"}",
      "eyJhbGciOiJFUzUxMiIs" BILBO "." FRODO
      ".AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDyYjnA"
      "MDxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2" },
    { "RFC 8037 A.4 EdDSA",
      "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
      "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
      ".hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg" },
};

/* The token with another letter in the middle of one of its parts; free() it. */
static char *changed(const char *token, int part)
{
    char *copy = str_dup(str_of(token)), *from = copy;
    for (; part > 0; part--)
        from = strchr(from, '.') + 1;
    size_t n = strcspn(from, ".");
    from[n / 2] = from[n / 2] == 'A' ? 'B' : 'A';
    return copy;
}

/* Of claims that are no JSON only the signature can be looked at. */
TEST(published_vectors)
{
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        char set[2048];
        bool claims = strstr(vectors[i].token, JOE);
        snprintf(set, sizeof set, "{\"keys\":[%s]}", vectors[i].key);
        struct jwt *j = jwt_of_file(file_of("set.json", set), "");
        print_message("%s\n", vectors[i].name);
        check(j, str_dup(str_of(vectors[i].token)), claims ? JWT_GOOD : JWT_MALFORMED, "its claims are no JSON object");
        check(j, changed(vectors[i].token, 1), JWT_MISMATCH, "does not match");
        check(j, changed(vectors[i].token, 2), JWT_MISMATCH, "does not match");
        jwt_free(j);
    }
}

/* ---- algorithms and keys ---- */

TEST(every_algorithm_verifies_what_it_signs_and_nothing_else)
{
    EVP_PKEY *rsa = EVP_RSA_gen(2048), *p256 = EVP_EC_gen("P-256"), *p384 = EVP_EC_gen("P-384"),
             *p521 = EVP_EC_gen("P-521"), *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    const struct {
        const char *name;
        EVP_PKEY *key;
        const EVP_MD *digest;
        bool pss;
        int half;
    } ways[] = {
        { "RS256", rsa, EVP_sha256(), false, 0 },   { "RS384", rsa, EVP_sha384(), false, 0 },
        { "RS512", rsa, EVP_sha512(), false, 0 },   { "PS256", rsa, EVP_sha256(), true, 0 },
        { "PS384", rsa, EVP_sha384(), true, 0 },    { "PS512", rsa, EVP_sha512(), true, 0 },
        { "ES256", p256, EVP_sha256(), false, 32 }, { "ES384", p384, EVP_sha384(), false, 48 },
        { "ES512", p521, EVP_sha512(), false, 66 }, { "EdDSA", ed, NULL, false, 0 },
    };
    enum { WAYS = sizeof ways / sizeof *ways };
    for (size_t i = 0; i < WAYS; i++) {
        struct jwt *j = jwt_of_file(public_pem(ways[i].key, "key.pem"), "");
        for (size_t named = 0; named < WAYS; named++) {
            char head[64];
            snprintf(head, sizeof head, "{\"alg\":\"%s\"}", ways[named].name);
            char *token = signed_by(ways[i].key, ways[i].digest, ways[i].pss, ways[i].half, head, CLAIMS);
            if (named == i)
                good(j, token);
            else if (ways[named].key == ways[i].key)
                check(j, token, JWT_MISMATCH, "does not match");
            else
                check(j, token, JWT_UNKNOWN_KEY, "no key is for its kid and alg");
        }
        jwt_free(j);
    }
    EVP_PKEY *const keys[] = { rsa, p256, p384, p521, ed };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        EVP_PKEY_free(keys[i]);
}

TEST(secrets_sign_by_the_digests_that_they_are_long_enough_for)
{
    struct jwt *j = jwt_of("secrets: [" SECRET "]");
    good(j, hs(EVP_sha256(), SECRET, HEAD, CLAIMS));
    good(j, hs(EVP_sha384(), SECRET, "{\"alg\":\"HS384\"}", CLAIMS));
    good(j, hs(EVP_sha512(), SECRET, "{\"alg\":\"HS512\"}", CLAIMS));
    check(j, hs(EVP_sha256(), SECRET "x", HEAD, CLAIMS), JWT_MISMATCH, "does not match");
    jwt_free(j);
    j = jwt_of("secrets: [a-secret-of-32-bytes-just-enough]");
    good(j, hs(EVP_sha256(), "a-secret-of-32-bytes-just-enough", HEAD, CLAIMS));
    check(j, hs(EVP_sha384(), "a-secret-of-32-bytes-just-enough", "{\"alg\":\"HS384\"}", CLAIMS), JWT_UNKNOWN_KEY,
          "no key is for its kid and alg");
    jwt_free(j);
    refused_options("secrets: [too-short-for-a-token-9471]", "secrets[0]: has 26 characters, tokens by HS256 need 32");
}

TEST(one_secret_of_several_is_enough_and_one_that_has_ended_is_told)
{
    struct jwt *j = jwt_of("secrets: [another-secret-which-is-long-enough-5738, {secret: " SECRET
                           ", until: 2011-03-22T18:30:00Z}]");
    char *token = hs256(HEAD, CLAIMS);
    clock_fake(1000000, (int64_t)1300818599 * 1000);
    good(j, str_dup(str_of(token)));
    clock_fake(1000000, (int64_t)NOW * 1000);
    check(j, token, JWT_ENDED, "by a secret that has ended");
    jwt_free(j);
}

TEST(a_public_key_is_never_a_secret)
{
    EVP_PKEY *rsa = EVP_RSA_gen(2048);
    char *path = public_pem(rsa, "key.pem"), pem[2048] = "";
    FILE *f = fopen(path, "re");
    assert_true(fread(pem, 1, sizeof pem - 1, f) > 0);
    fclose(f);
    struct jwt *j = jwt_of_file(path, "");
    check(j, hs(EVP_sha256(), pem, HEAD, CLAIMS), JWT_UNKNOWN_KEY, "no key is for its kid and alg");
    jwt_free(j);
    EVP_PKEY_free(rsa);
}

TEST(only_listed_algorithms_are_accepted)
{
    struct jwt *j = jwt_of("secrets: [" SECRET "]\nalgorithms: [HS512, ES256]");
    good(j, hs(EVP_sha512(), SECRET, "{\"alg\":\"HS512\"}", CLAIMS));
    check(j, hs256(HEAD, CLAIMS), JWT_UNKNOWN_KEY, "its alg is not accepted");
    jwt_free(j);
    refused_options("secrets: [" SECRET "]\nalgorithms: [none]", "algorithms[0]: none is none that verifies tokens");
    refused_options("secrets: [" SECRET "]\nalgorithms: [hs256]", "algorithms[0]: hs256");
    refused_options("secrets: [" SECRET "]\nalgorithms: [RS256]", "algorithms: none of them fits a key");
}

TEST(the_kid_picks_the_key)
{
    char set[2048];
    snprintf(set, sizeof set,
             "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"one\",\"k\":\"%s\"},{\"kty\":\"oct\",\"kid\":\"two\",\"alg\":"
             "\"HS512\",\"k\":\"%s\"},{\"kty\":\"oct\",\"use\":\"enc\",\"k\":\"%s\"},{\"kty\":\"new\"},"
             "{\"kty\":\"EC\",\"crv\":\"secp256k1\"},7]}",
             "b25lLW9uZS1vbmUtb25lLW9uZS1vbmUtb25lLW9uZS1vbmUtb25lLW9uZS1vbmUtb25lLW9uZS1vbmUtb25lIQ",
             "dHdvLXR3by10d28tdHdvLXR3by10d28tdHdvLXR3by10d28tdHdvLXR3by10d28tdHdvLXR3by10d28tdHdvIQ",
             "ZW5jLWVuYy1lbmMtZW5jLWVuYy1lbmMtZW5jLWVuYy1lbmMtZW5jLWVuYy1lbmMtZW5jLWVuYy1lbmMtZW5jIQ");
    static const char one[] = "one-one-one-one-one-one-one-one-one-one-one-one-one-one-one-one!",
                      two[] = "two-two-two-two-two-two-two-two-two-two-two-two-two-two-two-two!",
                      enc[] = "enc-enc-enc-enc-enc-enc-enc-enc-enc-enc-enc-enc-enc-enc-enc-enc!";
    struct jwt *j = jwt_of_file(file_of("set.json", set), "");
    good(j, hs(EVP_sha256(), one, "{\"alg\":\"HS256\",\"kid\":\"one\"}", CLAIMS));
    good(j, hs(EVP_sha256(), one, HEAD, CLAIMS)); /* without one, each that fits is tried */
    good(j, hs(EVP_sha512(), two, "{\"alg\":\"HS512\"}", CLAIMS));
    check(j, hs(EVP_sha256(), one, "{\"alg\":\"HS256\",\"kid\":\"two\"}", CLAIMS), JWT_UNKNOWN_KEY, "kid and alg");
    check(j, hs(EVP_sha256(), two, HEAD, CLAIMS), JWT_MISMATCH, "does not match"); /* that one is for HS512 */
    check(j, hs(EVP_sha256(), enc, HEAD, CLAIMS), JWT_MISMATCH, "does not match"); /* for encryption */
    check(j, hs(EVP_sha256(), one, "{\"alg\":\"HS256\",\"kid\":\"three\"}", CLAIMS), JWT_UNKNOWN_KEY, "kid and alg");
    check(j, hs(EVP_sha256(), one, "{\"alg\":\"HS256\",\"kid\":1}", CLAIMS), JWT_MALFORMED, "kid is no text");
    jwt_free(j);
}

TEST(files_without_a_key_are_refused_by_their_cause)
{
    char yaml[256];
    EVP_PKEY *small = EVP_RSA_gen(1024);
    static const struct {
        const char *text, *why;
    } files[] = {
        { "", "has neither a PEM block nor a JSON Web Key Set" },
        { "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "is a broken key" },
        { "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "is a private key" },
        { "{\"keys\":{}}", "has no array `keys`" },
        { "{\"keys\":[]}", "has no key that verifies tokens" },
        { "{\"keys\":[],\"keys\":[]}", "is no JSON: duplicate" },
        { "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2hvcnQ\"}]}", "is a secret of fewer than 32 bytes" },
        { "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\"}]}", "is a broken key" },
        /* not on the curve */
        { "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
          "\"y\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"}]}",
          "is a broken key" },
        { "{\"keys\":[{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQ\"}]}",
          "is an RSA key of 240 bits" },
        { "{\"keys\":[{\"kty\":\"oct\",\"alg\":\"RS256\",\"k\":\"b25lLW9uZS1vbmUtb25lLW9uZS1vbmUtb25lLW9uZS1v\"}]}",
          "is for an algorithm that is unknown, or that does not fit it" },
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(yaml, sizeof yaml, "keys_file: %s", file_of("bad", files[i].text));
        refused_options(yaml, files[i].why);
    }
    snprintf(yaml, sizeof yaml, "keys_file: %s", public_pem(small, "small.pem"));
    refused_options(yaml, "is an RSA key of 1024 bits; tokens are verified by 2048 to 8192");
    refused_options("keys_file: /nowhere/keys.pem", "keys_file: /nowhere/keys.pem: cannot be read: No such file");
    char *open_to_all = file_of("open.json", "{\"keys\":[" OCT_7515 "]}");
    assert_int_equal(chmod(open_to_all, 0644), 0);
    snprintf(yaml, sizeof yaml, "keys_file: %s", open_to_all);
    refused_options(yaml, "all users of this machine can read");
    refused_options("issuer: [somebody]", "there is no key to verify with");
    EVP_PKEY_free(small);
}

TEST(several_pem_keys_stand_in_one_file)
{
    EVP_PKEY *a = EVP_EC_gen("P-256"), *b = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    FILE *f = fopen(public_pem(a, "keys.pem"), "ae");
    assert_int_equal(PEM_write_PUBKEY(f, b), 1);
    fclose(f);
    char path[FOLDER_BYTES + 32];
    snprintf(path, sizeof path, "%s/keys.pem", folder);
    assert_int_equal(chmod(path, 0644), 0); /* public keys are no secrets */
    struct jwt *j = jwt_of_file(path, "secrets: [" SECRET "]");
    good(j, hs256(HEAD, CLAIMS));
    good(j, signed_by(a, EVP_sha256(), false, 32, "{\"alg\":\"ES256\",\"kid\":\"whatever\"}", CLAIMS));
    good(j, signed_by(b, NULL, false, 0, "{\"alg\":\"EdDSA\"}", CLAIMS));
    jwt_free(j);
    EVP_PKEY_free(a);
    EVP_PKEY_free(b);
}

TEST(a_file_of_keys_is_read_again_when_it_changes)
{
    EVP_PKEY *old = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), *new = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    char *first = signed_by(old, NULL, false, 0, "{\"alg\":\"EdDSA\"}", CLAIMS),
         *second = signed_by(new, NULL, false, 0, "{\"alg\":\"EdDSA\"}", CLAIMS);
    struct jwt *j = jwt_of_file(public_pem(old, "turn.pem"), "");
    good(j, str_dup(str_of(first)));
    file_of("turn.pem", "this is no key");
    for (int look = 0; look < 3; look++) { /* it must stay as it is from one look to the next */
        clock_fake_advance(WATCH_LOOK_MS);
        good(j, str_dup(str_of(first)));
    }
    public_pem(new, "turn.pem");
    for (int look = 0; look < 3; look++) {
        const char *why;
        clock_fake_advance(WATCH_LOOK_MS);
        jwt_check(j, str_of(first), &why);
    }
    good(j, second);
    check(j, first, JWT_MISMATCH, "does not match");
    clock_fake(1000000, (int64_t)NOW * 1000);
    jwt_free(j);
    EVP_PKEY_free(old);
    EVP_PKEY_free(new);
}

/* ---- tokens that nobody should make ---- */

static struct jwt *plain;

static void malformed(const char *token, const char *why)
{
    check(plain, str_dup(str_of(token)), JWT_MALFORMED, why);
}

TEST(what_is_no_token_is_refused)
{
    plain = jwt_of("secrets: [" SECRET "]");
    static const char *const parts[] = {
        "", ".", "..", "...", "a", "a.b", "a.b.", ".b.c", "a..c", "a.b.c.d", "a.b.c."
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        malformed(parts[i], "it has not three parts");
    malformed("e30.e30.AAAA=", "its signature is no base64url");
    malformed("e30.e30.A", "its signature is no base64url");
    malformed("e30.e30.AA+A", "its signature is no base64url");
    malformed("e30.e30.AA/A", "its signature is no base64url");
    malformed("e30.e30.AB", "its signature is no base64url"); /* four bits are left over */
    malformed("e30.e30.AA A", "its signature is no base64url");
    malformed("!30.e30.AAAA", "its head is no JSON object");
    malformed("W10.e30.AAAA", "its head is no JSON object"); /* [] */
    malformed("e30=.e30.AAAA", "its head is no JSON object");
    const char *why;
    struct buf huge = buf_new(1 << 20);
    buf_add_c(&huge, "e30.");
    while (huge.n < JWT_BYTES)
        buf_add_char(&huge, 'A');
    buf_add_c(&huge, ".AAAA");
    assert_int_equal(jwt_check(plain, buf_str(&huge), &why), JWT_MALFORMED);
    assert_string_equal(why, "it is too long");
    buf_free(&huge);
    assert_int_equal(jwt_check(plain, STR_ABSENT, &why), JWT_MALFORMED);
    jwt_free(plain);
}

TEST(none_is_no_algorithm)
{
    plain = jwt_of("secrets: [" SECRET "]");
    static const char *const names[] = { "none", "None", "NONE", "nOnE", "", "hs256", "HS257" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char head[64];
        snprintf(head, sizeof head, "{\"alg\":\"%s\"}", names[i]);
        struct buf b = unsigned_token(head, CLAIMS);
        buf_add_char(&b, '.');
        malformed(buf_c(&b), "it has not three parts"); /* without a signature */
        buf_free(&b);
        check(plain, hs256(head, CLAIMS), JWT_UNKNOWN_KEY, "its alg is not accepted");
    }
    check(plain, hs256("{}", CLAIMS), JWT_UNKNOWN_KEY, "its alg is not accepted");
    check(plain, hs256("{\"alg\":[\"HS256\"]}", CLAIMS), JWT_UNKNOWN_KEY, "its alg is not accepted");
    jwt_free(plain);
}

TEST(what_could_be_read_in_two_ways_is_refused)
{
    plain = jwt_of("secrets: [" SECRET "]");
    check(plain, hs256("{\"alg\":\"none\",\"alg\":\"HS256\"}", CLAIMS), JWT_MALFORMED, "its head is no JSON object");
    check(plain, hs256(HEAD " x", CLAIMS), JWT_MALFORMED, "its head is no JSON object");
    check(plain, hs256(HEAD, "{\"exp\":1,\"exp\":1300819380}"), JWT_MALFORMED, "its claims are no JSON object");
    check(plain, hs256(HEAD, "[1]"), JWT_MALFORMED, "its claims are no JSON object");
    check(plain, hs256(HEAD, "{\"exp\":1300819380,\"sub\":\"\xff\"}"), JWT_MALFORMED, "its claims are no JSON object");
    check(plain, hs256("{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", CLAIMS), JWT_MALFORMED, "crit");
    check(plain, hs256("{\"alg\":\"HS256\",\"crit\":[]}", CLAIMS), JWT_MALFORMED, "crit");
    jwt_free(plain);
}

TEST(no_token_brings_its_own_key)
{
    EVP_PKEY *mine = EVP_EC_gen("P-256"), *theirs = EVP_EC_gen("P-256");
    struct jwt *j = jwt_of_file(public_pem(mine, "key.pem"), "");
    static const char *const heads[] = {
        "{\"alg\":\"ES256\",\"jwk\":" EC_7515 "}",
        "{\"alg\":\"ES256\",\"jku\":\"http://127.0.0.1:1/\",\"x5u\":\"http://127.0.0.1:1/\"}",
        "{\"alg\":\"ES256\",\"x5c\":[\"MIIB\"]}",
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        check(j, signed_by(theirs, EVP_sha256(), false, 32, heads[i], CLAIMS), JWT_MISMATCH, "does not match");
        good(j, signed_by(mine, EVP_sha256(), false, 32, heads[i], CLAIMS)); /* passed over */
    }
    jwt_free(j);
    EVP_PKEY_free(mine);
    EVP_PKEY_free(theirs);
}

TEST(signatures_have_one_form)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    struct jwt *j = jwt_of_file(public_pem(key, "key.pem"), "");
    char *right = signed_by(key, EVP_sha256(), false, 32, "{\"alg\":\"ES256\"}", CLAIMS);
    const char *signature = strrchr(right, '.') + 1;
    struct buf bytes = buf_new(100);
    assert_true(base64url_decode_exact(&bytes, str_of(signature)));
    good(j, str_dup(str_of(right)));
    check(j, signed_by(key, EVP_sha256(), false, 0, "{\"alg\":\"ES256\"}", CLAIMS), JWT_MISMATCH, "match");  /* DER */
    check(j, signed_by(key, EVP_sha256(), false, 33, "{\"alg\":\"ES256\"}", CLAIMS), JWT_MISMATCH, "match"); /* zeros */
    for (size_t cut = 0; cut < 3; cut++) {
        static const size_t lengths[] = { 1, 32, 63 };
        struct buf b = buf_new(1 << 12);
        buf_add(&b, right, (size_t)(signature - right));
        add_base64url(&b, (struct str){ bytes.at, lengths[cut] });
        check(j, (char *)(uintptr_t)buf_c(&b), JWT_MISMATCH, "does not match");
    }
    unsigned char zeros[64] = { 0 };
    struct buf b = unsigned_token("{\"alg\":\"ES256\"}", CLAIMS);
    check(j, finished(&b, (struct str){ (char *)zeros, sizeof zeros }), JWT_MISMATCH, "does not match");
    free(right);
    buf_free(&bytes);
    jwt_free(j);
    EVP_PKEY_free(key);
}

/* ---- claims ---- */

TEST(times_count_within_the_leeway)
{
    static const struct {
        const char *claims;
        enum jwt_verdict verdict;
        const char *why;
    } rows[] = {
        { "{\"exp\":1300818941}", JWT_GOOD, "" }, /* 59 s ago */
        { "{\"exp\":1300818940}", JWT_STALE, "it has expired" },
        { "{\"exp\":1300818940.5}", JWT_GOOD, "" },
        { "{\"exp\":0}", JWT_STALE, "it has expired" },
        { "{\"exp\":-5}", JWT_STALE, "it has expired" },
        { "{}", JWT_STALE, "it has no exp" },
        { "{\"exp\":\"1300819380\"}", JWT_MALFORMED, "is no number" },
        { "{\"exp\":null}", JWT_MALFORMED, "is no number" },
        { "{\"exp\":1e999}", JWT_MALFORMED, "no JSON" },
        { "{\"exp\":99999999999999999999}", JWT_MALFORMED, "no JSON" },
        { WITH("\"nbf\":1300819060"), JWT_GOOD, "" },
        { WITH("\"nbf\":1300819061"), JWT_STALE, "it is not valid yet" },
        { WITH("\"nbf\":true"), JWT_MALFORMED, "is no number" },
        { WITH("\"iat\":1300819060"), JWT_GOOD, "" },
        { WITH("\"iat\":1300819061"), JWT_STALE, "it was issued in the future" },
    };
    struct jwt *j = jwt_of("secrets: [" SECRET "]");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check(j, hs256(HEAD, rows[i].claims), rows[i].verdict, rows[i].why);
    jwt_free(j);
    j = jwt_of("secrets: [" SECRET "]\nneeds_exp: false\nmax_age: 10m\nleeway: 0s");
    good(j, hs256(HEAD, "{\"iat\":1300818400}"));
    check(j, hs256(HEAD, "{\"iat\":1300818399}"), JWT_STALE, "it is older than max_age");
    check(j, hs256(HEAD, "{}"), JWT_STALE, "it has no iat");
    check(j, hs256(HEAD, "{\"iat\":1300819000,\"exp\":1300819000}"), JWT_STALE, "it has expired");
    jwt_free(j);
}

TEST(issuer_and_audience_are_exact)
{
    struct jwt *j = jwt_of("secrets: [" SECRET "]\nissuer: [https://one/, two]\naudience: [us, we]");
    good(j, hs256(HEAD, WITH("\"iss\":\"https://one/\",\"aud\":\"us\"")));
    good(j, hs256(HEAD, WITH("\"iss\":\"two\",\"aud\":[\"them\",\"we\"]")));
    static const struct {
        const char *claims, *why;
    } foreign[] = {
        { WITH("\"aud\":\"us\""), "iss is none of ours" },
        { WITH("\"iss\":\"https://one\",\"aud\":\"us\""), "iss is none of ours" },
        { WITH("\"iss\":[\"two\"],\"aud\":\"us\""), "iss is none of ours" },
        { WITH("\"iss\":\"two\""), "it has no aud" },
        { WITH("\"iss\":\"two\",\"aud\":\"US\""), "aud is none of ours" },
        { WITH("\"iss\":\"two\",\"aud\":[]"), "aud is none of ours" },
        { WITH("\"iss\":\"two\",\"aud\":[[\"us\"]]"), "aud is none of ours" },
        { WITH("\"iss\":\"two\",\"aud\":{\"us\":1}"), "aud is none of ours" },
        { WITH("\"iss\":\"two\",\"aud\":null"), "aud is none of ours" },
    };
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        check(j, hs256(HEAD, foreign[i].claims), JWT_FOREIGN, foreign[i].why);
    jwt_free(j);
    j = jwt_of("secrets: [" SECRET "]");
    good(j, hs256(HEAD, WITH("\"iss\":\"whoever\"")));
    check(j, hs256(HEAD, WITH("\"aud\":\"us\"")), JWT_FOREIGN, "it has an aud, and no audience is configured");
    jwt_free(j);
}

TEST(scope_and_required_claims)
{
    struct jwt *j = jwt_of("secrets: [" SECRET "]\nscope: events:write  hooks\nrequired:\n  email_verified: true\n"
                           "  level: [3, high]\n  /realm/roles: [writer, admin]\n  https://x/y: z\n  /a~1b/1: true\n");
    static const char rest[] = "\"email_verified\":true,\"level\":3,\"realm\":{\"roles\":[\"reader\",\"admin\"]},"
                               "\"https://x/y\":\"z\",\"a/b\":[false,true]";
    static const struct {
        const char *scope;
        bool good;
    } scopes[] = {
        { "\"scope\":\"hooks events:write\"", true },
        { "\"scp\":[\"hooks\",\"events:write\"]", true },
        { "\"scope\":\"events:write\",\"scp\":[\"hooks\"]", true },
        { "\"scope\":\"events:writer hooks\"", false },
        { "\"scope\":{\"hooks\":1}", false },
        { "\"x\":1", false },
    };
    char claims[1024];
    for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++) {
        snprintf(claims, sizeof claims, "{" EXP ",%s,%s}", scopes[i].scope, rest);
        check(j, hs256(HEAD, claims), scopes[i].good ? JWT_GOOD : JWT_FOREIGN, "scope lacks a word");
    }
    static const char *const wrong[][2] = {
        { "\"email_verified\":true", "\"email_verified\":\"true\"" },
        { "\"level\":3", "\"level\":4" },
        { "\"admin\"", "\"adm\"" },
        { "\"https://x/y\"", "\"https://x\"" },
        { "[false,true]", "[true]" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *at = strstr(rest, wrong[i][0]);
        snprintf(claims, sizeof claims, "{" EXP ",\"scope\":\"hooks events:write\",%.*s%s%s}", (int)(at - rest), rest,
                 wrong[i][1], at + strlen(wrong[i][0]));
        check(j, hs256(HEAD, claims), JWT_FOREIGN, "a required claim is missing");
    }
    jwt_free(j);
    refused_options("secrets: [" SECRET "]\nrequired: {role: {a: 1}}", "required: role: must be a value");
    refused_options("secrets: [" SECRET "]\nrequired: {role: []}", "required: role: must be a value");
    refused_options("secrets: [" SECRET "]\nrequired: [role]", "required: must be a mapping");
}

TEST(the_subject_is_that_of_the_last_good_token)
{
    struct jwt *j = jwt_of("secrets: [" SECRET "]");
    good(j, hs256(HEAD, WITH("\"sub\":\"anna\"")));
    assert_true(str_eq(jwt_subject(j), STR("anna")));
    check(j, hs256(HEAD, "{\"exp\":1,\"sub\":\"bert\"}"), JWT_STALE, "expired");
    assert_null(jwt_subject(j).at);
    static const char *const none[] = { CLAIMS, WITH("\"sub\":\"\""), WITH("\"sub\":7"), WITH("\"sub\":\"a\\u0007\"") };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        good(j, hs256(HEAD, none[i]));
        assert_null(jwt_subject(j).at);
    }
    char claims[512];
    for (int n = JWT_SUBJECT; n <= JWT_SUBJECT + 1; n++) {
        snprintf(claims, sizeof claims, "{" EXP ",\"sub\":\"%0*d\"}", n, 0);
        good(j, hs256(HEAD, claims));
        assert_int_equal(jwt_subject(j).n, n == JWT_SUBJECT ? JWT_SUBJECT : 0);
    }
    jwt_free(j);
}

/* ---- keys of an issuer ---- */

static struct issuing { /* a server of one document */
    int listen_fd, port;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the rest */
    char head[128], body[1024];
    bool hangs;
    int asked;
} issuing = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void *issuing_run(void *arg)
{
    (void)arg;
    for (int fd; (fd = accept(issuing.listen_fd, NULL, NULL)) >= 0; close(fd)) {
        char request[4096], answer[2048];
        size_t n = 0;
        for (ssize_t got; n < sizeof request - 1 && (got = recv(fd, request + n, sizeof request - 1 - n, 0)) > 0;) {
            n += (size_t)got;
            request[n] = '\0';
            if (strstr(request, "\r\n\r\n"))
                break;
        }
        pthread_mutex_lock(&issuing.lock);
        issuing.asked++;
        bool hangs = issuing.hangs;
        snprintf(answer, sizeof answer, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", issuing.head,
                 strlen(issuing.body), issuing.body);
        pthread_mutex_unlock(&issuing.lock);
        while (hangs && recv(fd, request, sizeof request, 0) > 0)
            ;
        send(fd, answer, strlen(answer), MSG_NOSIGNAL);
    }
    return NULL;
}

static void issue(const char *head, const char *set)
{
    pthread_mutex_lock(&issuing.lock);
    snprintf(issuing.head, sizeof issuing.head, "%s", head);
    snprintf(issuing.body, sizeof issuing.body, "%s", set);
    pthread_mutex_unlock(&issuing.lock);
}

static int asked(void)
{
    pthread_mutex_lock(&issuing.lock);
    int n = issuing.asked;
    pthread_mutex_unlock(&issuing.lock);
    return n;
}

static int begin_issuing(void **state)
{
    (void)state;
    issuing.listen_fd = loopback_listen(&issuing.port);
    issuing.hangs = false;
    issuing.asked = 0;
    return pthread_create(&issuing.thread, NULL, issuing_run, NULL);
}

static int end_issuing(void **state)
{
    (void)state;
    shutdown(issuing.listen_fd, SHUT_RDWR);
    pthread_join(issuing.thread, NULL);
    close(issuing.listen_fd);
    return 0;
}

static struct jwt *jwt_of_issuer(void)
{
    char yaml[256];
    snprintf(yaml, sizeof yaml, "keys_url: http://127.0.0.1:%d/jwks\nplain_http: true", issuing.port);
    struct jwt *j = jwt_of(yaml);
    jwt_start(j);
    return j;
}

static void pause_a_little(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

static void await_keys(struct jwt *j)
{
    struct err why;
    while (!jwt_ready(j, &why))
        pause_a_little();
}

/* Until the verdict is another one; the token stays. */
static enum jwt_verdict await_verdict(struct jwt *j, const char *token, enum jwt_verdict not_yet)
{
    const char *why;
    enum jwt_verdict verdict;
    while ((verdict = jwt_check(j, str_of(token), &why)) == not_yet)
        pause_a_little();
    return verdict;
}

/* A set of this key alone. */
static void issue_key(EVP_PKEY *key, const char *kid)
{
    unsigned char raw[32];
    size_t n = sizeof raw;
    struct buf set = buf_new(1000);
    assert_int_equal(EVP_PKEY_get_raw_public_key(key, raw, &n), 1);
    buf_printf(&set, "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"%s\",\"x\":\"", kid);
    add_base64url(&set, (struct str){ (char *)raw, n });
    buf_add_c(&set, "\"}]}");
    issue("200 OK", buf_c(&set));
    buf_free(&set);
}

TEST(keys_that_an_issuer_changes_are_fetched_again)
{
    EVP_PKEY *old = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), *new = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    char *first = signed_by(old, NULL, false, 0, "{\"alg\":\"EdDSA\",\"kid\":\"old\"}", CLAIMS),
         *second = signed_by(new, NULL, false, 0, "{\"alg\":\"EdDSA\",\"kid\":\"new\"}", CLAIMS),
         *stranger = signed_by(new, NULL, false, 0, "{\"alg\":\"EdDSA\",\"kid\":\"strange\"}", CLAIMS);
    issue_key(old, "old");
    struct jwt *j = jwt_of_issuer();
    await_keys(j);
    good(j, str_dup(str_of(first)));
    assert_int_equal(asked(), 1);
    issue_key(new, "new");
    good(j, str_dup(str_of(first))); /* nobody has asked yet */
    check(j, str_dup(str_of(second)), JWT_AWAITED, "the keys are being fetched");
    assert_int_equal(await_verdict(j, second, JWT_AWAITED), JWT_GOOD);
    check(j, first, JWT_UNKNOWN_KEY, "no key is for its kid"); /* just asked: not again for half a minute */
    check(j, stranger, JWT_UNKNOWN_KEY, "no key is for its kid");
    assert_int_equal(asked(), 2);
    free(second);
    jwt_free(j);
    EVP_PKEY_free(old);
    EVP_PKEY_free(new);
}

TEST(keys_stay_when_they_cannot_be_renewed)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    char *token = signed_by(key, NULL, false, 0, "{\"alg\":\"EdDSA\",\"kid\":\"old\"}", CLAIMS),
         *other = signed_by(key, NULL, false, 0, "{\"alg\":\"EdDSA\",\"kid\":\"new\"}", CLAIMS);
    struct metric *failed = metric_named("aqueduct_jwt_key_fetches_total", LABELS("127.0.0.1", "failed"));
    issue_key(key, "old");
    struct jwt *j = jwt_of_issuer();
    await_keys(j);
    int64_t before = metric_value(failed);
    issue("500 Internal Server Error", "{}");
    check(j, str_dup(str_of(other)), JWT_AWAITED, "the keys are being fetched");
    assert_int_equal(await_verdict(j, other, JWT_AWAITED), JWT_UNKNOWN_KEY);
    assert_true(metric_value(failed) > before);
    good(j, token);
    free(other);
    jwt_free(j);
    EVP_PKEY_free(key);
}

TEST(without_keys_a_token_is_awaited_and_the_reason_is_told)
{
    static const struct {
        const char *head, *body, *why;
    } answers[] = {
        { "404 Not Found", "", "127.0.0.1: it answered with status 404" },
        { "302 Found\r\nLocation: http://127.0.0.1:1/", "", "127.0.0.1: it answered with status 302" },
        { "200 OK", "{\"keys\":[]}", "127.0.0.1: has no key that verifies tokens" },
        { "200 OK", "<html>", "127.0.0.1: is no JSON" },
        { "200 OK", "{\"keys\":[" OCT_7515 "]}", "is a secret, which does not belong there" },
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct err why = { "" };
        issue(answers[i].head, answers[i].body);
        struct jwt *j = jwt_of_issuer();
        check(j, str_dup(STR(A1_TOKEN)), JWT_AWAITED, "the keys are being fetched");
        while (!jwt_ready(j, &why) && !strstr(why.text, "could not be fetched yet"))
            pause_a_little();
        assert_says(why.text, answers[i].why);
        check(j, str_dup(STR(A1_TOKEN)), JWT_AWAITED, "the keys are being fetched");
        jwt_free(j);
    }
}

TEST(an_openid_configuration_says_where_the_keys_are)
{
    char yaml[256], text[512], issuer_name[64];
    struct err why = { "" };
    snprintf(issuer_name, sizeof issuer_name, "http://127.0.0.1:%d/", issuing.port);
    snprintf(yaml, sizeof yaml, "openid: %s\nplain_http: true", issuer_name);
    snprintf(text, sizeof text, "{\"issuer\":\"%s\",\"jwks_uri\":\"%sjwks\",\"keys\":[" EC_7515 "]}", issuer_name,
             issuer_name); /* one document for both questions */
    issue("200 OK", text);
    struct jwt *j = jwt_of(yaml);
    jwt_start(j);
    await_keys(j);
    assert_int_equal(asked(), 2);
    check(j, str_dup(str_of(vectors[2].token)), JWT_FOREIGN, "iss is none of ours"); /* joe */
    jwt_free(j);
    static const char *const wrong[][2] = {
        { "{\"issuer\":\"https://another.example\",\"jwks_uri\":\"https://x/\"}", "names another issuer" },
        { "<html>", "its OpenID configuration is none" },
        { NULL, "jwks_uri of its OpenID configuration: is no URL" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(text, sizeof text, "{\"issuer\":\"%s\",\"jwks_uri\":\"file:///etc/passwd\"}", issuer_name);
        issue("200 OK", wrong[i][0] ? wrong[i][0] : text);
        j = jwt_of(yaml);
        jwt_start(j);
        while (!jwt_ready(j, &why) && !strstr(why.text, "could not be fetched yet"))
            pause_a_little();
        assert_says(why.text, wrong[i][1]);
        jwt_free(j);
    }
    refused_options("openid: https://a.example\nkeys_url: https://a.example/jwks", "leave one of them away");
    refused_options("openid: http://a.example", "openid: begins with http://");
}

TEST(a_fetch_that_hangs_is_broken_off_at_the_end)
{
    issuing.hangs = true;
    issue("200 OK", "{}");
    struct jwt *j = jwt_of_issuer();
    while (asked() == 0)
        pause_a_little();
    jwt_free(j);
}

TEST(urls_are_judged)
{
    refused_options("keys_url: http://issuer.example/jwks", "keys_url: begins with http://");
    refused_options("keys_url: file:///etc/passwd\nplain_http: true", "keys_url: is no URL that begins with https://");
    refused_options("keys_url: https://a:b@issuer.example/", "keys_url: is no URL");
    refused_options("keys_url: https://169.254.169.254/jwks", "is a blocked address (link-local");
    refused_options("keys_url: https://127.0.0.1/jwks\nguard: private", "is a blocked address (this machine)");
    refused_options("keys_url: https://issuer.example/\nca_file: /nowhere", "ca_file: /nowhere cannot be read");
    refused_options("keys_url: https://issuer.example/\nallow: ['a b']", "allow");
    struct transport way = { .http = HTTP_1_1, .tls_min = TLS_MIN_1_2 };
    struct strings none = { 0 };
    struct address_rules rules = { GUARD_PRIVATE, &none };
    struct fetch *f = fetch_new(&way, &rules);
    struct buf body = buf_new(100);
    struct err e;
    int64_t max_age;
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", issuing.port);
    assert_false(fetch_get(f, url, &body, &max_age, &e)); /* judged again before it connects */
    assert_string_equal(e.text, "127.0.0.1: its address is blocked (this machine)");
    assert_int_equal(asked(), 0);
    buf_free(&body);
    fetch_free(f);
}

TEST(answers_are_bounded_and_say_how_long_they_are_fresh)
{
    static const struct {
        const char *head;
        int64_t max_age;
    } heads[] = {
        { "200 OK", -1 },
        { "200 OK\r\nCache-Control: public, max-age=3600, must-revalidate", 3600 },
        { "200 OK\r\nCache-Control: Max-Age=60", 60 },
        { "200 OK\r\nCache-Control: no-store", 0 },
        { "200 OK\r\nCache-Control: max-age=99999999999999", -1 },
        { "200 OK\r\nCache-Control: max-age=soon", -1 },
    };
    struct transport way = { .http = HTTP_1_1, .tls_min = TLS_MIN_1_2 };
    struct strings none = { 0 };
    struct address_rules rules = { GUARD_OFF, &none };
    struct fetch *f = fetch_new(&way, &rules);
    struct err e;
    int64_t max_age;
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", issuing.port);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct buf body = buf_new(100);
        issue(heads[i].head, "just this");
        assert_true(fetch_get(f, url, &body, &max_age, &e));
        assert_string_equal(buf_c(&body), "just this");
        assert_int_equal(max_age, heads[i].max_age);
        buf_free(&body);
    }
    struct buf small = buf_new(4);
    assert_false(fetch_get(f, url, &small, &max_age, &e));
    assert_says(e.text, "127.0.0.1: the answer is larger than 4 bytes");
    buf_free(&small);
    fetch_stop(f);
    small = buf_new(100);
    assert_false(fetch_get(f, url, &small, &max_age, &e));
    buf_free(&small);
    fetch_free(f);
}

TEST(a_server_is_known_by_its_certificate)
{
    static const struct {
        const char *name;
        bool trusted;
        const char *why;
    } rows[] = {
        { "IP:127.0.0.1", true, "127.0.0.1: it answered with status 204" },
        { "IP:127.0.0.1", false, "certificate" },
        { "IP:127.0.0.2", true, "127.0.0.1" },
    };
    struct strings none = { 0 };
    struct address_rules rules = { GUARD_OFF, &none };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tls_receiver server = { .name = rows[i].name, .manner = TLS_ANSWERS };
        tls_receiver_open(&server, folder);
        struct transport way = { .tls = true, .http = HTTP_1_1, .tls_min = TLS_MIN_1_2 };
        way.ca_file = rows[i].trusted ? server.certificate : NULL;
        struct fetch *f = fetch_new(&way, &rules);
        struct buf body = buf_new(100);
        struct err e = { "" };
        int64_t max_age;
        char url[64];
        snprintf(url, sizeof url, "https://127.0.0.1:%d/", server.port);
        assert_false(fetch_get(f, url, &body, &max_age, &e));
        assert_says(e.text, rows[i].why);
        assert_int_equal(strstr(e.text, "status 204") != NULL, i == 0);
        buf_free(&body);
        fetch_free(f);
        tls_receiver_close(&server);
    }
}

#define SERVED(test) cmocka_unit_test_setup_teardown(test, begin_issuing, end_issuing)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(every_algorithm_verifies_what_it_signs_and_nothing_else),
        cmocka_unit_test(secrets_sign_by_the_digests_that_they_are_long_enough_for),
        cmocka_unit_test(one_secret_of_several_is_enough_and_one_that_has_ended_is_told),
        cmocka_unit_test(a_public_key_is_never_a_secret),
        cmocka_unit_test(only_listed_algorithms_are_accepted),
        cmocka_unit_test(the_kid_picks_the_key),
        cmocka_unit_test(files_without_a_key_are_refused_by_their_cause),
        cmocka_unit_test(several_pem_keys_stand_in_one_file),
        cmocka_unit_test(a_file_of_keys_is_read_again_when_it_changes),
        cmocka_unit_test(what_is_no_token_is_refused),
        cmocka_unit_test(none_is_no_algorithm),
        cmocka_unit_test(what_could_be_read_in_two_ways_is_refused),
        cmocka_unit_test(no_token_brings_its_own_key),
        cmocka_unit_test(signatures_have_one_form),
        cmocka_unit_test(times_count_within_the_leeway),
        cmocka_unit_test(issuer_and_audience_are_exact),
        cmocka_unit_test(scope_and_required_claims),
        cmocka_unit_test(the_subject_is_that_of_the_last_good_token),
        SERVED(keys_that_an_issuer_changes_are_fetched_again),
        SERVED(keys_stay_when_they_cannot_be_renewed),
        SERVED(without_keys_a_token_is_awaited_and_the_reason_is_told),
        SERVED(an_openid_configuration_says_where_the_keys_are),
        SERVED(a_fetch_that_hangs_is_broken_off_at_the_end),
        SERVED(urls_are_judged),
        cmocka_unit_test(a_server_is_known_by_its_certificate),
        SERVED(answers_are_bounded_and_say_how_long_they_are_fresh),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
