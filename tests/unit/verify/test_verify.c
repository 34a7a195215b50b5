/* SPDX-License-Identifier: MIT */
/* Verification of inbound requests: published vectors, and everything that must be refused. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/crypto.h"
#include "bridge/verify/verify.h"
#include "tests/support/connector.h"
#include "tests/support/test.h"

/* ---- a request as the server hands it over ---- */

static struct header headers[16];
static struct http_request request;

static void request_new(const char *body)
{
    request = (struct http_request){ .headers = headers, .body = str_of(body) };
}

static void add(const char *name, const char *value)
{
    headers[request.header_count++] = (struct header){ str_of(name), str_of(value) };
}

static struct verifier *verifier(enum verify_scheme scheme, const char *const *secrets, const char *header)
{
    static struct secret list[8];
    struct verify_options o = { .scheme = scheme, .header = (char *)(uintptr_t)header };
    o.secrets.at = list;
    for (; secrets && *secrets; secrets++)
        list[o.secrets.count++].text = (char *)(uintptr_t)*secrets;
    struct err e = { "" };
    struct verifier *v = verifier_new(&o, &e);
    if (!v)
        print_error("%s\n", e.text);
    assert_non_null(v);
    return v;
}

#define SECRETS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void check(struct verifier *v, enum refusal expected)
{
    assert_string_equal(refusal_text(verifier_check(v, &request).no), refusal_text(expected));
}

/* ---- Standard Webhooks ---- */

#define S1_TAIL      "hsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define S1_SECRET    "w" S1_TAIL
#define S1_ID        "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define S1_BODY      "{\"test\": 2432232314}"
#define S1_SIGNATURE "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
enum { S1_TIME = 1614265330 };

static void s1(const char *id, const char *time, const char *signature)
{
    request_new(S1_BODY);
    if (id)
        add("webhook-id", id);
    if (time)
        add("Webhook-Timestamp", time);
    if (signature)
        add("WEBHOOK-SIGNATURE", signature);
}

static int at_s1(void **state)
{
    (void)state;
    clock_fake(1000, (int64_t)S1_TIME * 1000);
    return 0;
}

static int real_time(void **state)
{
    (void)state;
    clock_real();
    return 0;
}

TEST(standard_vectors)
{
    struct verifier *v = verifier(VERIFY_STANDARD, SECRETS(S1_SECRET), NULL);
    s1(S1_ID, "1614265330", S1_SIGNATURE);
    check(v, REFUSAL_NONE);
    assert_true(str_eq(verifier_id(v, &request), STR(S1_ID)));
    verifier_free(v);

    clock_fake(1000, 1649367553000);
    v = verifier(VERIFY_STANDARD, SECRETS("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"), NULL);
    request_new("{\"email\":\"test@example.com\",\"username\":\"test_user\"}");
    add("svix-id", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk");
    add("svix-timestamp", "1649367553");
    add("svix-signature", "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    check(v, REFUSAL_NONE);
    assert_true(str_eq(verifier_id(v, &request), STR("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk")));
    verifier_free(v);
}

TEST(standard_needs_each_header_once)
{
    struct verifier *v = verifier(VERIFY_STANDARD, SECRETS(S1_SECRET), NULL);
    request_new(S1_BODY);
    check(v, REFUSAL_MISSING);
    s1(NULL, "1614265330", S1_SIGNATURE);
    check(v, REFUSAL_MISSING);
    s1(S1_ID, NULL, S1_SIGNATURE);
    check(v, REFUSAL_MISSING);
    s1(S1_ID, "1614265330", NULL);
    check(v, REFUSAL_MISSING);
    s1("", "1614265330", S1_SIGNATURE);
    check(v, REFUSAL_MISSING);
    static const char *const names[] = { "webhook-id", "webhook-timestamp", "webhook-signature" };
    static const char *const values[] = { S1_ID, "1614265330", S1_SIGNATURE };
    for (int i = 0; i < 3; i++) {
        s1(S1_ID, "1614265330", S1_SIGNATURE);
        add(names[i], values[i]);
        check(v, REFUSAL_REPEATED);
    }
    verifier_free(v);
}

TEST(standard_signatures)
{
    static const struct {
        const char *signature;
        enum refusal expected;
    } cases[] = {
        { "v1,", REFUSAL_MISMATCH },
        { "v1", REFUSAL_MISMATCH },
        { ",", REFUSAL_MISMATCH },
        { "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", REFUSAL_MISMATCH },
        { "V1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", REFUSAL_MISMATCH },
        { "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", REFUSAL_MISMATCH },
        { "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1O", REFUSAL_MISMATCH },   /* cut */
        { "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OEA", REFUSAL_MISMATCH }, /* longer */
        { "v1,h0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", REFUSAL_MISMATCH },
        { "v1,g0hM9SsE-OTPJTGt_tmIKtSyZlE3uFJELVlNIOLJ1OE=", REFUSAL_MISMATCH }, /* the other alphabet */
        { "v1,\xc3\xa4\xff", REFUSAL_MISMATCH },
        { "v2,AAAA v1,AAAA " S1_SIGNATURE " v1,BBBB", REFUSAL_NONE },
        { "  " S1_SIGNATURE "  ", REFUSAL_NONE },
    };
    struct verifier *v = verifier(VERIFY_STANDARD, SECRETS(S1_SECRET), NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        s1(S1_ID, "1614265330", cases[i].signature);
        check(v, cases[i].expected);
    }
    char *huge = malloc(30001);
    memset(huge, 'A', 30000);
    memcpy(huge, "v1,", 3);
    huge[30000] = '\0';
    s1(S1_ID, "1614265330", huge);
    check(v, REFUSAL_MISMATCH);
    free(huge);
    s1("msg_other", "1614265330", S1_SIGNATURE);
    check(v, REFUSAL_MISMATCH);
    s1(S1_ID, "1614265331", S1_SIGNATURE);
    check(v, REFUSAL_MISMATCH);
    s1(S1_ID, "1614265330", S1_SIGNATURE);
    request.body = STR("{\"test\": 2432232315}");
    check(v, REFUSAL_MISMATCH);
    verifier_free(v);
}

TEST(standard_timestamps)
{
    static const char *const malformed[] = { "1614265330.5",         "1614265330abc", "+1614265330",
                                             "-1614265330",          "0x60380000",    "1614265330000",
                                             "16142653301614265330", "now",           "1614265330 " };
    struct verifier *v = verifier(VERIFY_STANDARD, SECRETS(S1_SECRET), NULL);
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        s1(S1_ID, malformed[i], S1_SIGNATURE);
        check(v, REFUSAL_MALFORMED);
    }
    static const struct {
        int off;
        enum refusal expected;
    } cases[] = {
        { 300, REFUSAL_NONE },
        { -300, REFUSAL_NONE },
        { 301, REFUSAL_STALE },
        { -301, REFUSAL_STALE },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clock_fake(1000, (int64_t)(S1_TIME + cases[i].off) * 1000);
        s1(S1_ID, "1614265330", S1_SIGNATURE);
        check(v, cases[i].expected);
    }
    verifier_free(v);
}

static void sign(const char *key, struct str body, char out[64])
{
    unsigned char mac[SHA256_BYTES];
    struct hmac *h = hmac_new(str_of(key));
    hmac_sign(h, (const struct str[]){ STR("m1."), STR("1614265330"), STR("."), body }, 4, mac);
    hmac_free(h);
    struct buf b = buf_new(64);
    buf_add_c(&b, "v1,");
    base64_add(&b, (struct str){ (char *)mac, sizeof mac });
    memcpy(out, buf_c(&b), b.n + 1);
    buf_free(&b);
}

TEST(standard_secrets)
{
    struct verifier *v = verifier(VERIFY_STANDARD,
                                  SECRETS("whsec_YW4gb2xkIGtleSBvZiBlbm91Z2ggYnl0ZXM=", S1_SECRET,
                                          "another raw secret of 24 bytes"),
                                  NULL); /* rotation */
    s1(S1_ID, "1614265330", S1_SIGNATURE);
    check(v, REFUSAL_NONE);
    verifier_free(v);
    v = verifier(VERIFY_STANDARD, SECRETS("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), NULL); /* base64 without prefix */
    s1(S1_ID, "1614265330", S1_SIGNATURE);
    check(v, REFUSAL_NONE);
    verifier_free(v);
    v = verifier(VERIFY_STANDARD, SECRETS("whsec_YW4gb2xkIGtleSBvZiBlbm91Z2ggYnl0ZXM"), NULL); /* unpadded */
    char signature[64];
    sign("an old key of enough bytes", str_of(S1_BODY), signature);
    s1("m1", "1614265330", signature);
    check(v, REFUSAL_NONE);
    verifier_free(v);
    v = verifier(VERIFY_STANDARD, SECRETS("not base64! but long enough"), NULL); /* plain text */
    sign("not base64! but long enough", str_of(S1_BODY), signature);
    s1("m1", "1614265330", signature);
    check(v, REFUSAL_NONE);
    sign("not base64! but long enough", STR(""), signature); /* an empty body */
    s1("m1", "1614265330", signature);
    request.body = STR("");
    check(v, REFUSAL_NONE);
    struct str bytes = STR("\xff\x00\xfe"); /* no text */
    sign("not base64! but long enough", bytes, signature);
    s1("m1", "1614265330", signature);
    request.body = bytes;
    check(v, REFUSAL_NONE);
    verifier_free(v);
}

#define S3_PUBLIC    "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
#define S3_SIGNATURE "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
#define NOT_IT       "v1a,AAO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
#define FOUR(x)      x " " x " " x " " x " "

TEST(public_keys)
{
    static const struct {
        const char *signature;
        enum refusal expected;
    } cases[] = {
        { S3_SIGNATURE, REFUSAL_NONE },
        { S1_SIGNATURE, REFUSAL_MISMATCH }, /* of the secret, which this path does not know */
        { S1_SIGNATURE " " NOT_IT " " S3_SIGNATURE, REFUSAL_NONE },
        { NOT_IT, REFUSAL_MISMATCH },
        { "v1,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
          REFUSAL_MISMATCH },
        { "v1a,", REFUSAL_MISMATCH },
        { FOUR(NOT_IT) NOT_IT " " NOT_IT " " NOT_IT " " S3_SIGNATURE, REFUSAL_NONE },
        { FOUR(NOT_IT) FOUR(NOT_IT) S3_SIGNATURE, REFUSAL_MISMATCH }, /* each costs work: no more than eight */
    };
    struct verifier *v = verifier(VERIFY_STANDARD, SECRETS(S3_PUBLIC), NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        s1(S1_ID, "1614265330", cases[i].signature);
        check(v, cases[i].expected);
    }
    s1(S1_ID, "1614265331", S3_SIGNATURE);
    check(v, REFUSAL_MISMATCH);
    verifier_free(v);
    v = verifier(VERIFY_STANDARD, SECRETS(S1_SECRET, S3_PUBLIC), NULL);
    s1(S1_ID, "1614265330", S1_SIGNATURE);
    check(v, REFUSAL_NONE);
    s1(S1_ID, "1614265330", S3_SIGNATURE);
    check(v, REFUSAL_NONE);
    verifier_free(v);
}

/* ---- GitHub ---- */

TEST(github)
{
    static const char good[] = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    static const struct {
        const char *value;
        enum refusal expected;
    } cases[] = {
        { good, REFUSAL_NONE },
        { "sha256=757107EA0EB2509FC211221CCE984B8A37570B6D7586C22C46F4379C8B043E17", REFUSAL_NONE },
        { "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", REFUSAL_MALFORMED },
        { "sha1=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", REFUSAL_MALFORMED },
        { "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e1", REFUSAL_MALFORMED },
        { "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e1700", REFUSAL_MALFORMED },
        { "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043exy", REFUSAL_MALFORMED },
        { "sha256=", REFUSAL_MALFORMED },
        { "", REFUSAL_MISSING },
        { "sha256=857107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", REFUSAL_MISMATCH },
    };
    struct verifier *v = verifier(VERIFY_GITHUB, SECRETS("another one of 17", "It's a Secret to Everybody"), NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        request_new("Hello, World!");
        add("x-hub-signature-256", cases[i].value);
        check(v, cases[i].expected);
    }
    request_new("Hello, World!");
    check(v, REFUSAL_MISSING);
    add("X-Hub-Signature", good);
    check(v, REFUSAL_MISSING);
    add("X-Hub-Signature-256", good);
    add("X-Hub-Signature-256", good);
    check(v, REFUSAL_REPEATED);
    verifier_free(v);

    v = verifier(VERIFY_GITHUB, SECRETS("my secret of 20 bytes"), "X-Other-Signature");
    request_new("{\"foo\":\"bar\"}");
    add("X-Other-Signature", "sha256=4f238ba45528a0cb50be8206582923231a7033603a5c07bd883451300a316810");
    add("X-GitHub-Delivery", "d-1");
    check(v, REFUSAL_NONE);
    assert_true(str_eq(verifier_id(v, &request), STR("d-1")));
    verifier_free(v);
}

/* ---- other styles; the vectors are those of the sender's test ---- */

TEST(stripe)
{
#define STRIPE_1 "234ba0ffc057c5a2f83023c6c4db42adff8389a05b8a869d81bdc94bf13384b4"
    static const struct {
        const char *value;
        enum refusal expected;
    } cases[] = {
        { "t=1614265330,v1=" STRIPE_1, REFUSAL_NONE },
        { "v1=" STRIPE_1 ",t=1614265330", REFUSAL_NONE },
        { "t=1614265330,v0=" STRIPE_1, REFUSAL_MISMATCH }, /* another scheme proves nothing */
        { "t=1614265330,v1=00,v1=" STRIPE_1 ",v0=00", REFUSAL_NONE },
        { "t=1614265331,v1=" STRIPE_1, REFUSAL_MISMATCH },
        { "t=1614265029,v1=" STRIPE_1, REFUSAL_STALE },
        { "t=1614265631,v1=" STRIPE_1, REFUSAL_STALE },
        { "t=,v1=" STRIPE_1, REFUSAL_MALFORMED },
        { "v1=" STRIPE_1, REFUSAL_MALFORMED },
        { "t=1614265330", REFUSAL_MISMATCH },
        { ",,", REFUSAL_MALFORMED },
        { "", REFUSAL_MISSING },
    };
    struct verifier *v = verifier(VERIFY_STRIPE, SECRETS("whsec_test_secret_of_a_stripe_endpoint"), NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        request_new("{\"id\": \"evt_1\"}");
        add("Stripe-Signature", cases[i].value);
        check(v, cases[i].expected);
    }
    assert_null(verifier_id(v, &request).at);
    assert_string_equal(verifier_type(v), "stripe");
    verifier_free(v);
}

/* Of the time and body of the stripe vectors, by Python's hmac and a secret as Langfuse draws them. */
TEST(langfuse)
{
#define LANGFUSE_1 "32b4747d884d46590cbdf12cd64f0d23f4888b6a4775e3055919d14fcb496fcf"
    static const struct {
        const char *value;
        enum refusal expected;
    } cases[] = {
        { "t=1614265330,v1=" LANGFUSE_1, REFUSAL_NONE },
        { "t=1614265331,v1=" LANGFUSE_1, REFUSAL_MISMATCH },
        { "t=1614265029,v1=" LANGFUSE_1, REFUSAL_STALE },
        { "v1=" LANGFUSE_1, REFUSAL_MALFORMED },
        { LANGFUSE_1, REFUSAL_MALFORMED },
        { "", REFUSAL_MISSING },
    };
    struct verifier *v = verifier(VERIFY_LANGFUSE, SECRETS("lf-whsec_0f3b9a1c2d4e5f60718293a4b5c6d7e8"), NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        request_new("{\"id\": \"evt_1\"}");
        add("X-Langfuse-Signature", cases[i].value);
        check(v, cases[i].expected);
    }
    assert_string_equal(verifier_type(v), "langfuse");
    verifier_free(v);
}

TEST(slack)
{
    static const char good[] = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    static const char body[] =
        "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name="
        "foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2F"
        "hooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015."
        "47445629121.803a0bc887a14d10d2c447fce8b6703c";
    static const struct {
        const char *time, *value;
        enum refusal expected;
    } cases[] = {
        { "1531420618", good, REFUSAL_NONE },
        { "1531420619", good, REFUSAL_MISMATCH },
        { "1531420317", good, REFUSAL_STALE },
        { "soon", good, REFUSAL_MALFORMED },
        { NULL, good, REFUSAL_MISSING },
        { "1531420618", NULL, REFUSAL_MISSING },
        { "1531420618", "a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503", REFUSAL_MALFORMED },
    };
    clock_fake(1000, 1531420618000);
    struct verifier *v = verifier(VERIFY_SLACK, SECRETS("8f742231b10e8888abcd99yyyzzz85a5"), NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        request_new(body);
        if (cases[i].time)
            add("X-Slack-Request-Timestamp", cases[i].time);
        if (cases[i].value)
            add("X-Slack-Signature", cases[i].value);
        check(v, cases[i].expected);
    }
    verifier_free(v);
}

TEST(plain_hmac_in_a_header_of_its_own)
{
    static const char hex[] = "e08b480555b363f0fbfac4183050aa28c434c5b81b4d570887f0759569abc015",
                      base64[] = "4ItIBVWzY/D7+sQYMFCqKMQ0xbgbTVcIh/B1lWmrwBU=";
    static const struct {
        enum verify_scheme scheme;
        const char *value;
        enum refusal expected;
    } cases[] = {
        { VERIFY_HMAC_HEX, hex, REFUSAL_NONE },          { VERIFY_HMAC_BASE64, base64, REFUSAL_NONE },
        { VERIFY_HMAC_HEX, base64, REFUSAL_MALFORMED },  { VERIFY_HMAC_BASE64, hex, REFUSAL_MALFORMED },
        { VERIFY_HMAC_HEX, "e08b", REFUSAL_MALFORMED },  { VERIFY_HMAC_BASE64, "4ItI", REFUSAL_MALFORMED },
        { VERIFY_HMAC_HEX, STRIPE_1, REFUSAL_MISMATCH },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct verifier *v = verifier(cases[i].scheme, SECRETS("a shop's shared secret"), "X-Hook-Signature");
        request_new("{\"id\": 1}");
        check(v, REFUSAL_MISSING);
        add("x-hook-signature", cases[i].value);
        check(v, cases[i].expected);
        verifier_free(v);
    }
}

/* ---- bearer, none ---- */

TEST(bearer)
{
    static const struct {
        const char *value;
        enum refusal expected;
    } cases[] = {
        { "Bearer token-number-one", REFUSAL_NONE },
        { "bearer token-number-two", REFUSAL_NONE },
        { "Bearer  token-number-two", REFUSAL_NONE },
        { "Bearer token-number-on", REFUSAL_MISMATCH },
        { "Bearer token-number-onee", REFUSAL_MISMATCH },
        { "Bearer TOKEN-NUMBER-ONE", REFUSAL_MISMATCH },
        { "Bearer ", REFUSAL_MISMATCH },
        { "Basic token-number-one", REFUSAL_MALFORMED },
        { "token-number-one", REFUSAL_MALFORMED },
        { "Bearertoken-number-one", REFUSAL_MALFORMED },
        { "Bearer \xff\xfe", REFUSAL_MISMATCH },
        { "", REFUSAL_MISSING },
    };
    struct verifier *v = verifier(VERIFY_BEARER, SECRETS("token-number-one", "token-number-two"), NULL);
    assert_true(verifier_by_head(v));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        request_new("");
        add("authorization", cases[i].value);
        check(v, cases[i].expected);
    }
    request_new("");
    check(v, REFUSAL_MISSING);
    add("Authorization", "Bearer token-number-one");
    add("Authorization", "Bearer token-number-one");
    check(v, REFUSAL_REPEATED);
    verifier_free(v);

    v = verifier(VERIFY_BEARER, SECRETS("glpat-0123456789"), "X-Gitlab-Token");
    request_new("");
    add("Authorization", "Bearer glpat-0123456789");
    check(v, REFUSAL_MISSING);
    add("X-Gitlab-Token", "glpat-0123456789");
    check(v, REFUSAL_NONE);
    verifier_free(v);
}

TEST(none)
{
    struct verifier *v = verifier(VERIFY_NONE, NULL, NULL);
    request_new("anything");
    check(v, REFUSAL_NONE);
    assert_null(verifier_id(v, &request).at);
    verifier_free(v);
}

TEST(bad_options)
{
    static const struct {
        enum verify_scheme scheme;
        const char *secret, *header, *expected;
    } cases[] = {
        { VERIFY_STANDARD, NULL, NULL, "needs at least one secret" },
        { VERIFY_GITHUB, NULL, NULL, "needs at least one secret" },
        { VERIFY_BEARER, NULL, NULL, "needs at least one secret" },
        { VERIFY_STANDARD, "", NULL, "verify.secrets[0]: is empty" },
        { VERIFY_GITHUB, "", NULL, "verify.secrets[0]: is empty" },
        { VERIFY_BEARER, "", NULL, "verify.secrets[0]: is empty" },
        { VERIFY_STANDARD, "whsec_", NULL, "secrets[0]: makes a key of 0 bytes" },
        { VERIFY_STANDARD, "whsec_!!", NULL, "secrets[0]: has something else than base64" },
        { VERIFY_STANDARD, "whsec_YWJjZGVmZ2hpamtsbW5vcA==", NULL, "secrets[0]: makes a key of 16 bytes" },
        { VERIFY_STANDARD, "v1," S1_SECRET, NULL, "secrets[0]: begins with v1,: leave that away" },
        { VERIFY_STANDARD, "W" S1_TAIL, NULL, "in lower case" },
        { VERIFY_GITHUB, "fifteen letters", NULL, "secrets[0]: has 15 characters, the least is 16" },
        { VERIFY_BEARER, "fifteen letters", NULL, "secrets[0]: has 15 characters, the least is 16" },
        { VERIFY_BEARER, "\"a-token-in-quotes\"", NULL, "in quotes" },
        { VERIFY_NONE, "x", NULL, "secrets make no sense" },
        { VERIFY_STANDARD, "x", "X-Y", "no header to choose" },
        { VERIFY_NONE, NULL, "X-Y", "no header to choose" },
        { VERIFY_UNSET, "x", NULL, "is missing" },
        { VERIFY_HMAC_HEX, "a secret of enough length", NULL, "verify.header: is missing: scheme hmac_hex" },
        { VERIFY_STANDARD, "whsk_AAAA", NULL,
          "is the private half of a pair (whsk_), which signs: to verify, the public" },
        { VERIFY_STANDARD, "whpk_AAAA", NULL, "has 3 bytes behind whpk_: a public key has 32" },
        { VERIFY_STRIPE, "fifteen letters", NULL, "secrets[0]: has 15 characters, the least is 16" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct secret one = { .text = (char *)(uintptr_t)cases[i].secret };
        struct verify_options o = { .scheme = cases[i].scheme,
                                    .header = (char *)(uintptr_t)cases[i].header,
                                    .secrets = { &one, cases[i].secret != NULL } };
        struct err e = { "" };
        assert_null(verifier_new(&o, &e));
        assert_non_null(strstr(e.text, cases[i].expected));
        assert_true(!cases[i].secret || strlen(cases[i].secret) < 8 || !strstr(e.text, cases[i].secret));
    }
    verifier_free(NULL);
}

TEST(schemes_are_named_in_the_options)
{
    static const char *const names[VERIFY_COUNT] = { NULL,       "standard", "github",      "stripe",      "slack",
                                                     "langfuse", "hmac_hex", "hmac_base64", "bearer",      "jwt",
                                                     "basic",    "api_key",  "address",     "certificate", "none" };
    char yaml[64];
    for (int i = VERIFY_UNSET + 1; i < VERIFY_COUNT; i++) {
        struct verify_options o = { 0 };
        snprintf(yaml, sizeof yaml, "scheme: %s\n", names[i]);
        options_fill(verify_rows, &o, yaml);
        assert_int_equal(o.scheme, i);
        assert_non_null(strstr(verify_rows[0].doc, names[i]));
    }
    struct verify_options o = { 0 };
    char *problem = options_problem(verify_rows, &o, "scheme: hmac\n");
    assert_non_null(strstr(
        problem,
        "is not one of standard, github, stripe, slack, langfuse, hmac_hex, hmac_base64, bearer, jwt, basic, api_key, address, certificate, none"));
    free(problem);
}

/* The secrets, the first of which ends at S1_TIME. */
static struct verifier *ending(enum verify_scheme scheme, struct secrets *s)
{
    static struct secret list[2];
    struct err e = { "" };
    list[0].until.ms = (int64_t)S1_TIME * 1000;
    list[0].text = s->at[0].text;
    list[1] = s->at[1];
    struct verify_options o = { .scheme = scheme, .secrets = { list, s->count } };
    struct verifier *v = verifier_new(&o, &e);
    assert_non_null(v);
    return v;
}

TEST(a_secret_is_valid_until_its_end)
{
    struct secret bearers[2] = { { .text = (char[]){ "a-token-that-ends-soon" } },
                                 { .text = (char[]){ "a-token-without-an-end" } } },
                  keys[2] = { { .text = (char[]){ S1_SECRET } },
                              { .text = (char[]){ "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD" } } };
    clock_fake(1000, (int64_t)S1_TIME * 1000 - 1);
    struct verifier *bearer = ending(VERIFY_BEARER, &(struct secrets){ bearers, 2 });
    request_new("");
    add("Authorization", "Bearer a-token-that-ends-soon");
    check(bearer, REFUSAL_NONE);
    clock_fake_advance(1);
    check(bearer, REFUSAL_ENDED);
    request_new("");
    add("Authorization", "Bearer a-token-without-an-end");
    check(bearer, REFUSAL_NONE);
    request_new("");
    add("Authorization", "Bearer a-token-of-nobody");
    check(bearer, REFUSAL_MISMATCH);
    verifier_free(bearer);

    clock_fake(1000, (int64_t)S1_TIME * 1000 - 1);
    for (size_t count = 1; count <= 2; count++) {
        clock_fake(1000, (int64_t)S1_TIME * 1000 - 1);
        struct verifier *v = ending(VERIFY_STANDARD, &(struct secrets){ keys, count });
        s1(S1_ID, "1614265330", S1_SIGNATURE);
        check(v, REFUSAL_NONE);
        clock_fake_advance(1);
        check(v, REFUSAL_ENDED);
        s1(S1_ID, "1614265330", "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        check(v, REFUSAL_MISMATCH);
        verifier_free(v);
    }
    struct verifier *after = ending(VERIFY_STANDARD, &(struct secrets){ keys, 2 }); /* it had ended at the start */
    s1(S1_ID, "1614265330", S1_SIGNATURE);
    check(after, REFUSAL_ENDED);
    verifier_free(after);
}

static char doubts[4096];

static void doubt(void *ctx, const char *text)
{
    (void)ctx;
    size_t n = strlen(doubts);
    snprintf(doubts + n, sizeof doubts - n, "%s\n", text);
}

static const char *doubts_of(const struct verify_options *o, int64_t wall_ms)
{
    doubts[0] = '\0';
    verify_doubts(o, wall_ms, doubt, NULL);
    return doubts;
}

TEST(secrets_that_end_are_warned_of)
{
    struct secret list[2] = { { .text = (char[]){ "one" }, .until = { 1614265330000 } },
                              { .text = (char[]){ "two" }, .until = { 1614351730000 } } };
    struct verify_options o = { .secrets = { list, 2 } };
    assert_string_equal(doubts_of(&o, 1614351730000 - 15 * 86400000LL), "");
    assert_string_equal(doubts_of(&o, 1614351730000 - 14 * 86400000LL),
                        "verify.secrets: every key ends (until), the last one at 2021-02-26T15:02:10.000Z; "
                        "without another every request is refused then\n");
    assert_string_equal(doubts_of(&o, 1614351730000),
                        "verify.secrets: every key has ended (until), the last one at 2021-02-26T15:02:10.000Z: "
                        "every request is refused until there is another\n");
    list[0].until.ms = 0;
    assert_string_equal(doubts_of(&o, 1614351730000), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(standard_vectors, at_s1, real_time),
        cmocka_unit_test_setup_teardown(a_secret_is_valid_until_its_end, at_s1, real_time),
        cmocka_unit_test(secrets_that_end_are_warned_of),
        cmocka_unit_test_setup_teardown(standard_needs_each_header_once, at_s1, real_time),
        cmocka_unit_test_setup_teardown(standard_signatures, at_s1, real_time),
        cmocka_unit_test_setup_teardown(standard_timestamps, at_s1, real_time),
        cmocka_unit_test_setup_teardown(standard_secrets, at_s1, real_time),
        cmocka_unit_test_setup_teardown(public_keys, at_s1, real_time),
        cmocka_unit_test(github),
        cmocka_unit_test_setup_teardown(stripe, at_s1, real_time),
        cmocka_unit_test_setup_teardown(langfuse, at_s1, real_time),
        cmocka_unit_test_setup_teardown(slack, at_s1, real_time),
        cmocka_unit_test(plain_hmac_in_a_header_of_its_own),
        cmocka_unit_test(bearer),
        cmocka_unit_test(none),
        cmocka_unit_test(bad_options),
        cmocka_unit_test(schemes_are_named_in_the_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
