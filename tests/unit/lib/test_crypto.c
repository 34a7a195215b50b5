/* SPDX-License-Identifier: MIT */
/* MACs, encodings and UUIDs against published vectors. */
#include "bridge/lib/crypto.h"
#include "tests/support/test.h"

static void check_mac(struct hmac *h, struct str text, const char *hex)
{
    unsigned char mac[SHA256_BYTES];
    struct buf out = buf_new(100);
    hmac_sign(h, &text, 1, mac);
    hex_add(&out, (struct str){ (char *)mac, sizeof mac });
    assert_string_equal(buf_c(&out), hex);
    buf_free(&out);
}

TEST(github_vectors)
{
    struct hmac *h = hmac_new(STR("It's a Secret to Everybody"));
    for (int i = 0; i < 3; i++) /* the key serves again and again */
        check_mac(h, STR("Hello, World!"), "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
    hmac_free(h);
    h = hmac_new(STR("mysecret"));
    check_mac(h, STR("{\"foo\":\"bar\"}"), "4864d2759938a15468b5df9ade20bf161da9b4f737ea61794142f3484236bda3");
    hmac_free(h);
    h = hmac_new(STR(""));
    check_mac(h, STR(""), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    hmac_free(h);
    hmac_free(NULL);
}

TEST(long_key_rfc_4231_case_6)
{
    char key[131];
    memset(key, 0xaa, sizeof key);
    struct hmac *h = hmac_new((struct str){ key, sizeof key });
    check_mac(h, STR("Test Using Larger Than Block-Size Key - Hash Key First"),
              "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    hmac_free(h);
}

TEST(standard_webhooks_vector)
{
    struct buf key = buf_new(100), out = buf_new(100);
    assert_true(base64_decode(&key, STR("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")));
    struct hmac *h = hmac_new(buf_str(&key));
    const struct str parts[] = { STR("msg_p5jXN8AQM9LWM0D4loKWxJek"), STR("."), STR("1614265330"), STR("."), STR_ABSENT,
                                 STR("{\"test\": 2432232314}") };
    unsigned char mac[SHA256_BYTES];
    hmac_sign(h, parts, sizeof parts / sizeof *parts, mac);
    base64_add(&out, (struct str){ (char *)mac, sizeof mac });
    assert_string_equal(buf_c(&out), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    hmac_free(h);
    buf_free(&key);
    buf_free(&out);
}

TEST(equal_in_constant_time)
{
    assert_true(crypto_equal(STR("abc"), STR("abc")));
    assert_true(crypto_equal(STR(""), STR_ABSENT));
    assert_false(crypto_equal(STR("abc"), STR("abd")));
    assert_false(crypto_equal(STR("abc"), STR("ab")));
}

TEST(base64_there)
{
    static const char *const cases[][2] = { { "", "" },
                                            { "f", "Zg==" },
                                            { "fo", "Zm8=" },
                                            { "foo", "Zm9v" },
                                            { "foob", "Zm9vYg==" },
                                            { "fooba", "Zm9vYmE=" },
                                            { "foobar", "Zm9vYmFy" },
                                            { "\xfb\xff\xfe", "+//+" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = buf_new(20), back = buf_new(20);
        base64_add(&out, str_of(cases[i][0]));
        assert_string_equal(buf_c(&out), cases[i][1]);
        assert_true(base64_decode(&back, buf_str(&out)));
        assert_string_equal(buf_c(&back), cases[i][0]);
        buf_reset(&back);
        while (out.n > 0 && out.at[out.n - 1] == '=')
            out.n--;
        assert_true(base64_decode(&back, buf_str(&out))); /* the padding may be missing */
        assert_string_equal(buf_c(&back), cases[i][0]);
        buf_free(&out);
        buf_free(&back);
    }
}

TEST(base64_refused)
{
    static const char *const cases[] = { "Z",     "Zg=",      "Zg===",    "=",     "==",
                                         "Zm9v=", "Zm9v====", "Zg==Zg==", "Zm 9v", "Zm9v\n",
                                         "Zm9-",  "Zm9_",     "Z===",     "Zm9vY", "\xff\xff\xff\xff" };
    struct buf out = buf_new(20);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_false(base64_decode(&out, str_of(cases[i])));
    assert_int_equal(out.n, 0);
    struct buf small = buf_new(2);
    assert_false(base64_decode(&small, STR("Zm9v")));
    buf_free(&out);
    buf_free(&small);
}

TEST(hex_both_ways)
{
    struct buf out = buf_new(20);
    assert_true(hex_decode(&out, STR("00fFA5")));
    assert_int_equal(out.n, 3);
    assert_memory_equal(out.at, "\x00\xff\xa5", 3);
    assert_false(hex_decode(&out, STR("abc")));
    assert_false(hex_decode(&out, STR("0g")));
    assert_false(hex_decode(&out, STR("0x")));
    assert_int_equal(out.n, 3);
    assert_true(hex_decode(&out, STR("")));
    hex_add(&out, STR("\x01\xee"));
    assert_memory_equal(out.at + 3, "01ee", 4);
    buf_free(&out);
}

TEST(uuids_of_fields)
{
    char a[UUID_TEXT], b[UUID_TEXT], c[UUID_TEXT];
    uuid_of((const struct str[]){ STR("a"), STR("bc") }, 2, a);
    uuid_of((const struct str[]){ STR("ab"), STR("c") }, 2, b);
    uuid_of((const struct str[]){ STR("a"), STR("bc") }, 2, c);
    assert_string_equal(a, "63872495-038b-5113-9ea5-e787acfb9604"); /* by Python's hashlib; ids never change */
    assert_string_equal(a, c);
    assert_string_not_equal(a, b);
}

TEST(random_uuids)
{
    char a[UUID_TEXT], b[UUID_TEXT];
    uuid_random(a);
    uuid_random(b);
    assert_string_not_equal(a, b);
    assert_int_equal(strlen(a), 36);
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89ab", a[19]));
}

TEST(wiping)
{
    char secret[] = "secret";
    crypto_wipe(secret, sizeof secret);
    assert_memory_equal(secret, "\0\0\0\0\0\0", sizeof secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(github_vectors),
        cmocka_unit_test(long_key_rfc_4231_case_6),
        cmocka_unit_test(standard_webhooks_vector),
        cmocka_unit_test(equal_in_constant_time),
        cmocka_unit_test(base64_there),
        cmocka_unit_test(base64_refused),
        cmocka_unit_test(hex_both_ways),
        cmocka_unit_test(uuids_of_fields),
        cmocka_unit_test(random_uuids),
        cmocka_unit_test(wiping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
