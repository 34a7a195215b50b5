/* SPDX-License-Identifier: MIT */
/* Keys of tokens by OpenSSL's EVP. */
#include "bridge/auth/jwk.h"
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

enum {
    JWK_SECRET_LEAST = 32, /* bytes: the digest of HS256 */
    JWK_BYTES = 2048,      /* most of one member of a key */
    JWK_ID_BYTES = 512,
    JWK_RSA_LEAST = 2048, /* bits (RFC 7518 section 3.3) */
    JWK_RSA_MOST = 8192,  /* more would cost too much for each token */
    JWK_ED25519_BYTES = 32,
    JWK_DER_BYTES = 160, /* of an ECDSA signature */
};

struct jwk {
    enum jwk_kind kind;
    enum jwt_algorithm only; /* JWT_NONE: each that its kind has */
    char *id;                /* NULL: none */
    int64_t until_ms;
    EVP_PKEY *key;    /* NULL: it is a secret */
    struct buf bytes; /* of the secret */
};

static const EVP_MD *jwk_no_digest(void)
{
    return NULL;
}

static const struct jwk_algorithm {
    const char *name;
    enum jwk_kind kind;
    const EVP_MD *(*digest)(void);
    size_t bytes;
    bool pss;
} jwk_algorithms[JWT_COUNT] = {
#define JWK_ROW(VALUE, name, kind, digest, bytes, pss) [JWT_##VALUE] = { name, JWK_##kind, digest, bytes, pss },
    JWT_ALGORITHMS(JWK_ROW)
};

static const struct jwk_curve {
    const char *name, *group; /* in JWKs; OpenSSL's */
    enum jwk_kind kind;
    size_t bytes; /* of a coordinate */
} jwk_curves[] = {
    { "P-256", "prime256v1", JWK_P256, 32 },
    { "P-384", "secp384r1", JWK_P384, 48 },
    { "P-521", "secp521r1", JWK_P521, 66 },
};
enum { JWK_CURVES = sizeof jwk_curves / sizeof *jwk_curves };

enum jwt_algorithm jwt_algorithm_of(struct str name)
{
    for (int i = JWT_NONE + 1; i < JWT_COUNT; i++)
        if (str_eq(name, str_of(jwk_algorithms[i].name)))
            return (enum jwt_algorithm)i;
    return str_eq(name, STR("Ed25519")) ? JWT_EDDSA : JWT_NONE; /* RFC 9864's name */
}

const char *jwt_algorithm_name(enum jwt_algorithm a)
{
    return jwk_algorithms[a].name;
}

/* ---- made of a secret, or of OpenSSL's key ---- */

static struct jwk *jwk_of_bytes(struct str bytes)
{
    struct jwk *k = mem_alloc(sizeof *k);
    *k = (struct jwk){ .kind = JWK_SECRET, .bytes = buf_new(bytes.n) };
    buf_add_str(&k->bytes, bytes);
    return k;
}

struct jwk *jwk_of_secret(struct str secret, int64_t until_ms, struct err *e)
{
    if (secret.n < JWK_SECRET_LEAST) {
        err_set(e, "has %zu characters, tokens by HS256 need %d (`openssl rand -base64 32` makes a good one)", secret.n,
                JWK_SECRET_LEAST);
        return NULL;
    }
    struct jwk *k = jwk_of_bytes(secret);
    k->until_ms = until_ms;
    return k;
}

/* What kind it is; 0 with *e: none that verifies tokens. */
static enum jwk_kind jwk_kind_of(EVP_PKEY *key, struct err *e)
{
    char group[64] = "";
    size_t n;
    int bits = EVP_PKEY_get_bits(key);
    if (EVP_PKEY_is_a(key, "ED25519"))
        return JWK_ED25519;
    if (EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof group, &n) == 1)
        for (size_t i = 0; i < JWK_CURVES; i++)
            if (strcmp(jwk_curves[i].group, group) == 0)
                return jwk_curves[i].kind;
    if (EVP_PKEY_is_a(key, "RSA") && bits >= JWK_RSA_LEAST && bits <= JWK_RSA_MOST)
        return JWK_RSA;
    if (EVP_PKEY_is_a(key, "RSA"))
        err_set(e, "is an RSA key of %d bits; tokens are verified by %d to %d", bits, JWK_RSA_LEAST, JWK_RSA_MOST);
    else
        err_set(e, "is a key of another kind than RSA, EC (P-256, P-384, P-521) and Ed25519");
    return 0;
}

/* Takes the key over, which may be NULL. */
static struct jwk *jwk_of_key(EVP_PKEY *key, struct err *e)
{
    enum jwk_kind kind = key ? jwk_kind_of(key, e) : 0;
    if (!key)
        err_set(e, "is a broken key");
    ERR_clear_error(); /* this thread's TLS looks at the queue */
    if (!kind) {
        EVP_PKEY_free(key);
        return NULL;
    }
    struct jwk *k = mem_alloc(sizeof *k);
    *k = (struct jwk){ .kind = kind, .key = key };
    return k;
}

void jwk_free(struct jwk *k)
{
    if (!k)
        return;
    EVP_PKEY_free(k->key);
    if (k->bytes.at)
        crypto_wipe(k->bytes.at, k->bytes.n);
    buf_free(&k->bytes);
    free(k->id);
    free(k);
}

/* ---- of JSON ---- */

/* Appends the bytes of a member. */
static bool jwk_read(const json_t *json, const char *name, struct buf *out)
{
    struct str text = str_of(json_text(json, name));
    return text.n && base64url_decode_exact(out, text);
}

/* OpenSSL's key of these parameters; NULL: it takes no such key. */
static EVP_PKEY *jwk_build(const char *type, OSSL_PARAM_BLD *parts)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(parts);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    CHECK(params && ctx);
    if (EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return key;
}

static EVP_PKEY *jwk_rsa(const json_t *json)
{
    struct buf n = buf_new(JWK_BYTES), e = buf_new(JWK_BYTES);
    EVP_PKEY *key = NULL;
    if (jwk_read(json, "n", &n) && jwk_read(json, "e", &e)) {
        OSSL_PARAM_BLD *parts = OSSL_PARAM_BLD_new();
        BIGNUM *modulus = BN_bin2bn((const unsigned char *)n.at, (int)n.n, NULL),
               *exponent = BN_bin2bn((const unsigned char *)e.at, (int)e.n, NULL);
        CHECK(parts && modulus && exponent && OSSL_PARAM_BLD_push_BN(parts, OSSL_PKEY_PARAM_RSA_N, modulus)
              && OSSL_PARAM_BLD_push_BN(parts, OSSL_PKEY_PARAM_RSA_E, exponent));
        if (BN_is_odd(exponent) && !BN_is_one(exponent) && BN_num_bits(exponent) <= 64)
            key = jwk_build("RSA", parts);
        OSSL_PARAM_BLD_free(parts);
        BN_free(modulus);
        BN_free(exponent);
    }
    buf_free(&n);
    buf_free(&e);
    return key;
}

static EVP_PKEY *jwk_ec(const json_t *json, const struct jwk_curve *curve)
{
    struct buf point = buf_new(JWK_BYTES);
    EVP_PKEY *key = NULL;
    buf_add_char(&point, 4); /* uncompressed */
    bool whole = jwk_read(json, "x", &point) && point.n == 1 + curve->bytes && jwk_read(json, "y", &point)
                 && point.n == 1 + 2 * curve->bytes;
    if (whole) {
        OSSL_PARAM_BLD *parts = OSSL_PARAM_BLD_new();
        CHECK(parts && OSSL_PARAM_BLD_push_utf8_string(parts, OSSL_PKEY_PARAM_GROUP_NAME, curve->group, 0)
              && OSSL_PARAM_BLD_push_octet_string(parts, OSSL_PKEY_PARAM_PUB_KEY, point.at, point.n));
        key = jwk_build("EC", parts); /* which looks whether the point is on the curve */
        OSSL_PARAM_BLD_free(parts);
    }
    buf_free(&point);
    return key;
}

static EVP_PKEY *jwk_ed25519(const json_t *json)
{
    struct buf x = buf_new(JWK_BYTES);
    EVP_PKEY *key = NULL;
    if (jwk_read(json, "x", &x) && x.n == JWK_ED25519_BYTES)
        key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)x.at, x.n);
    buf_free(&x);
    return key;
}

static struct jwk *jwk_of_octets(const json_t *json, struct err *e)
{
    struct buf bytes = buf_new(JWK_BYTES);
    struct jwk *k = NULL;
    if (!jwk_read(json, "k", &bytes) || bytes.n < JWK_SECRET_LEAST)
        err_set(e, "is a secret of fewer than %d bytes, or broken", JWK_SECRET_LEAST);
    else
        k = jwk_of_bytes(buf_str(&bytes));
    crypto_wipe_buf(&bytes);
    return k;
}

/* By its `kty` and `crv`. */
static struct jwk *jwk_of_type(const json_t *json, bool secrets, struct err *e)
{
    const char *type = json_text(json, "kty"), *curve = json_text(json, "crv");
    if (strcmp(type, "RSA") == 0)
        return jwk_of_key(jwk_rsa(json), e);
    if (strcmp(type, "OKP") == 0 && strcmp(curve, "Ed25519") == 0)
        return jwk_of_key(jwk_ed25519(json), e);
    if (strcmp(type, "EC") == 0)
        for (size_t i = 0; i < JWK_CURVES; i++)
            if (strcmp(jwk_curves[i].name, curve) == 0)
                return jwk_of_key(jwk_ec(json, &jwk_curves[i]), e);
    if (strcmp(type, "oct") == 0 && secrets)
        return jwk_of_octets(json, e);
    err_set(e, strcmp(type, "oct") == 0 ? "is a secret, which does not belong there"
                                        : "is a key of another kind than RSA, EC (P-256, P-384, P-521) and Ed25519");
    return NULL;
}

static bool jwk_is_to_verify(const json_t *json)
{
    const json_t *use = json_object_get(json, "use"), *uses = json_object_get(json, "key_ops");
    return (!uses || json_has(uses, "verify")) && (!use || strcmp(json_text(json, "use"), "sig") == 0);
}

struct jwk *jwk_of_json(const json_t *json, bool secrets, struct err *e)
{
    struct str name = str_of(json_text(json, "alg"));
    enum jwt_algorithm only = jwt_algorithm_of(name);
    const json_t *id = json_object_get(json, "kid");
    if (!jwk_is_to_verify(json)) {
        err_set(e, "is not for signatures");
        return NULL;
    }
    if (json_string_length(id) > JWK_ID_BYTES) {
        err_set(e, "has a kid of more than %d bytes", JWK_ID_BYTES);
        return NULL;
    }
    struct jwk *k = jwk_of_type(json, secrets, e);
    if (!k)
        return NULL;
    k->only = only;
    k->id = json_is_string(id) ? str_dup(str_of(json_string_value(id))) : NULL;
    if (!name.n || (only && jwk_fits(k, only)))
        return k;
    jwk_free(k);
    err_set(e, "is for an algorithm that is unknown, or that does not fit it");
    return NULL;
}

/* ---- of PEM ---- */

static struct jwk *jwk_of_block(const char *name, const unsigned char *bytes, long n, struct err *e)
{
    if (strcmp(name, PEM_STRING_PUBLIC) == 0)
        return jwk_of_key(d2i_PUBKEY(NULL, &bytes, n), e);
    if (strcmp(name, PEM_STRING_X509) == 0) {
        X509 *certificate = d2i_X509(NULL, &bytes, n);
        struct jwk *k = jwk_of_key(certificate ? X509_get_pubkey(certificate) : NULL, e);
        X509_free(certificate);
        return k;
    }
    err_set(e, strstr(name, "PRIVATE") ? "is a private key: who verifies has the public one (openssl pkey -pubout)"
                                       : "is no PUBLIC KEY or CERTIFICATE");
    return NULL;
}

struct jwk *jwk_of_pem(struct str *pem, struct err *e)
{
    char *name, *header;
    unsigned char *bytes;
    long n;
    struct jwk *k = NULL;
    BIO *bio = BIO_new_mem_buf(pem->at, (int)pem->n);
    CHECK(bio);
    *e = (struct err){ "" };
    if (PEM_read_bio(bio, &name, &header, &bytes, &n) == 1) {
        k = jwk_of_block(name, bytes, n, e);
        OPENSSL_clear_free(bytes, (size_t)n);
        OPENSSL_free(name);
        OPENSSL_free(header);
        *pem = str_from(*pem, pem->n - (size_t)BIO_pending(bio));
    }
    BIO_free(bio);
    ERR_clear_error();
    return k;
}

/* ---- what it is, and does ---- */

bool jwk_is_secret(const struct jwk *k)
{
    return k->kind == JWK_SECRET;
}

const char *jwk_id(const struct jwk *k)
{
    return k->id;
}

int64_t jwk_until_ms(const struct jwk *k)
{
    return k->until_ms;
}

bool jwk_fits(const struct jwk *k, enum jwt_algorithm a)
{
    const struct jwk_algorithm *row = &jwk_algorithms[a];
    return a != JWT_NONE && row->kind == k->kind && (!k->only || k->only == a)
           && (k->kind != JWK_SECRET || k->bytes.n >= row->bytes);
}

static bool jwk_verify_secret(const struct jwk *k, const struct jwk_algorithm *a, struct str text, struct str signature)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    CHECK(HMAC(a->digest(), k->bytes.at, (int)k->bytes.n, (const unsigned char *)text.at, text.n, mac, &n));
    bool good = crypto_equal(signature, (struct str){ (const char *)mac, n });
    crypto_wipe(mac, sizeof mac);
    return good;
}

/* Tokens have the two numbers side by side, OpenSSL wants them as DER. */
static size_t jwk_to_der(struct str signature, unsigned char out[JWK_DER_BYTES])
{
    int half = (int)signature.n / 2;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn((const unsigned char *)signature.at, half, NULL),
           *s = BN_bin2bn((const unsigned char *)signature.at + half, half, NULL);
    CHECK(pair && r && s && ECDSA_SIG_set0(pair, r, s) == 1);
    int n = i2d_ECDSA_SIG(pair, NULL);
    CHECK(n > 0 && n <= JWK_DER_BYTES && i2d_ECDSA_SIG(pair, &out) == n);
    ECDSA_SIG_free(pair);
    return (size_t)n;
}

static bool jwk_verify_public(const struct jwk *k, const struct jwk_algorithm *a, struct str text, struct str signature)
{
    EVP_PKEY_CTX *how = NULL;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    CHECK(ctx && EVP_DigestVerifyInit(ctx, &how, a->digest(), NULL, k->key) == 1);
    if (a->pss)
        CHECK(EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) == 1
              && EVP_PKEY_CTX_set_rsa_pss_saltlen(how, RSA_PSS_SALTLEN_DIGEST) == 1);
    bool good = EVP_DigestVerify(ctx, (const unsigned char *)signature.at, signature.n, (const unsigned char *)text.at,
                                 text.n)
                == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return good;
}

bool jwk_verify(const struct jwk *k, enum jwt_algorithm a, struct str text, struct str signature)
{
    const struct jwk_algorithm *row = &jwk_algorithms[a];
    unsigned char der[JWK_DER_BYTES];
    switch (k->kind) {
    case JWK_SECRET: return jwk_verify_secret(k, row, text, signature);
    case JWK_P256:
    case JWK_P384:
    case JWK_P521:
        if (signature.n != 2 * row->bytes)
            return false;
        signature = (struct str){ (const char *)der, jwk_to_der(signature, der) };
        break;
    case JWK_RSA:
    case JWK_ED25519: break;
    }
    return jwk_verify_public(k, row, text, signature);
}
