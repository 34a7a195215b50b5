/* SPDX-License-Identifier: MIT */
/* SipHash, judged by OpenSSL's. */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include "bridge/lib/siphash.h"
#include "tests/support/test.h"

static const struct siphash_key key = { { 0x0706050403020100, 0x0f0e0d0c0b0a0908 } };

static void openssl_digest(const unsigned char *bytes, size_t n, unsigned char out[16])
{
    unsigned char key_bytes[16];
    for (unsigned char i = 0; i < 16; i++)
        key_bytes[i] = i;
    size_t size = 16, got = 0;
    unsigned c = 1, d = 3;
    OSSL_PARAM params[] = { OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
                            OSSL_PARAM_construct_uint(OSSL_MAC_PARAM_C_ROUNDS, &c),
                            OSSL_PARAM_construct_uint(OSSL_MAC_PARAM_D_ROUNDS, &d), OSSL_PARAM_construct_end() };
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
    EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);
    assert_int_equal(EVP_MAC_init(context, key_bytes, 16, params), 1);
    assert_int_equal(EVP_MAC_update(context, bytes, n), 1);
    assert_int_equal(EVP_MAC_final(context, out, &got, 16), 1);
    assert_int_equal(got, 16);
    EVP_MAC_CTX_free(context);
    EVP_MAC_free(mac);
}

/* Every length, whole and cut at every place. */
TEST(agrees_with_openssl)
{
    unsigned char bytes[70], wanted[16];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 37 + 200);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        openssl_digest(bytes, n, wanted);
        for (size_t cut = 0; cut <= n; cut++) {
            struct siphash h = siphash_begin(&key);
            siphash_add_bytes(&h, bytes, cut);
            siphash_add_bytes(&h, bytes + cut, n - cut);
            struct digest d = siphash_end(&h);
            unsigned char mine[16];
            for (int i = 0; i < 16; i++)
                mine[i] = (unsigned char)(d.d[i / 8] >> (8 * (i % 8)));
            assert_memory_equal(mine, wanted, 16);
        }
    }
}

static struct digest of(struct str a, struct str b)
{
    struct siphash h = siphash_begin(&key);
    siphash_add(&h, a);
    siphash_add(&h, b);
    return siphash_end(&h);
}

static bool differ(struct digest a, struct digest b)
{
    return a.d[0] != b.d[0] && a.d[1] != b.d[1];
}

TEST(parts_do_not_run_together)
{
    assert_true(differ(of(STR("a"), STR("bc")), of(STR("ab"), STR("c"))));
    assert_true(differ(of(STR(""), STR("a")), of(STR("a"), STR(""))));
    assert_true(differ(of(STR("a"), STR("")), of(STR("a"), STR_ABSENT)));
    assert_false(differ(of(STR("a"), STR("b")), of(STR("a"), STR("b"))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_openssl),
        cmocka_unit_test(parts_do_not_run_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
