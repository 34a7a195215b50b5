/* SPDX-License-Identifier: MIT */
/* Verification of inbound requests: published vectors, and everything that must be refused. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/auth/fields.h"
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

/* ---- rows, and what users describe; by Python's hmac ---- */

#define BODY    "{\"id\": 1}"
#define TEXT    "a secret of enough length"
#define BODY_64 "Jpeabb+sxnLVSFrmYh30CFnp7O0iKFleOExkKrtkrRw="
#define BODY_16 "26979a6dbfacc672d5485ae6621df40859e9eced2228595e384c642abb64ad1c"
#define NEXT_16 "72bc1c80d3000d79d05146a300362d476e630b4b25eba5ab7325afa71ba710c6"
#define SHA1_16 "eb43a0cc24c963e7f389d39e507cd90c45b898a3"
#define LONG_64 "6qIeXQWhreVJu1yeVfqXsTameJGZvVcp9svIfSzw1bFYWpe4ty8NGp9HhfUsjP/SJy3OJIcZjQFuIBTVQy+/wQ=="
#define TIME_U  "_mdqXZeFNGgUE-VHDNY0Lp9mI3Sfv2mjLQJPp-jmIzU"
#define V0_16   "9e75edc4c098a2df3d3dd5a6b17ee0e5a08d04f2b5a9e6f6a09bb87cf6772a8a"
#define ID_64   "A8aqCTKosCb66V0LuIpWxywbtADTDOfwPvprKpZtAfg="
#define URL_64  "46EQ0eslKz8nelmqu8DA/QgP5eteM1SFuYSdEJHMYX8="
#define PORT_64 "eS0ysjSewHyIax5gbzLX59u71yKvFvjUS/otvB8taiQ="

/* A request with these headers, "name: value|name: value". */
static void request_with(const char *lines, const char *body)
{
    struct str rest = str_of(lines), line, name;
    request_new(body);
    while (str_cut(&rest, '|', &line)) {
        str_cut(&line, ':', &name);
        headers[request.header_count++] = (struct header){ name, str_trim(line) };
    }
}

static const struct {
    const char *options, *request, *query;
    enum refusal expected;
} described[] = {
    { "scheme: shopify", "X-Shopify-Hmac-SHA256: " BODY_64, NULL, REFUSAL_NONE },
    { "scheme: shopify", "Shopify-Hmac-Sha256: " BODY_64, NULL, REFUSAL_NONE },
    { "scheme: shopify", "X-Shopify-Hmac-SHA256: " BODY_16, NULL, REFUSAL_MALFORMED },
    { "scheme: shopify", "X-Shopify-Hmac-SHA256: " URL_64, NULL, REFUSAL_MISMATCH },
    { "scheme: shopify", "X-Shopify-Hmac-SHA256: " BODY_64 "|X-Shopify-Hmac-SHA256: " BODY_64, NULL, REFUSAL_REPEATED },
    { "scheme: outpost", "x-outpost-signature: v0=" BODY_16, NULL, REFUSAL_NONE },
    { "scheme: outpost", "x-outpost-signature: v0=" NEXT_16 "," BODY_16, NULL, REFUSAL_NONE },
    { "scheme: outpost", "x-outpost-signature: v0=" NEXT_16 ", v0=" BODY_16, NULL, REFUSAL_NONE },
    { "scheme: outpost", "x-outpost-signature: " BODY_16, NULL, REFUSAL_MISMATCH },
    { "scheme: outpost", "x-outpost-signature: " NEXT_16 ",v0=" BODY_16, NULL, REFUSAL_NONE },
    { "scheme: hmac, header: X-Sig", "X-Sig: " BODY_16, NULL, REFUSAL_NONE },
    { "scheme: hmac, header: X-Sig, prefix: 'sha1=', hash: sha1", "X-Sig: sha1=" SHA1_16, NULL, REFUSAL_NONE },
    { "scheme: hmac, header: X-Sig, prefix: 'sha1=', hash: sha1", "X-Sig: " SHA1_16, NULL, REFUSAL_MALFORMED },
    { "scheme: hmac, header: X-Sig, hash: sha1", "X-Sig: " BODY_16, NULL, REFUSAL_MALFORMED },
    { "scheme: hmac, header: X-Sig, hash: sha1", "X-Sig: db43a0cc24c963e7f389d39e507cd90c45b898a3", NULL,
      REFUSAL_MISMATCH },
    { "scheme: hmac, header: X-Sig, hash: sha512, encoding: base64", "X-Sig: " LONG_64, NULL, REFUSAL_NONE },
    { "scheme: hmac, header: X-Sig, hash: sha512, encoding: base64", "X-Sig: " BODY_64, NULL, REFUSAL_MALFORMED },
    { "scheme: hmac, header: X-Sig, separator: ','", "X-Sig: zz," NEXT_16 "," BODY_16 ",", NULL, REFUSAL_NONE },
    { "scheme: hmac, header: X-Sig, separator: ','", "X-Sig: " NEXT_16 "," NEXT_16, NULL, REFUSAL_MISMATCH },
    { "scheme: hmac, header: X-Sig, encoding: base64url, signs: '{timestamp}.{body}', timestamp_header: X-Time",
      "X-Sig: " TIME_U "|X-Time: 1614265330", NULL, REFUSAL_NONE },
    { "scheme: hmac, header: X-Sig, encoding: base64url, signs: '{timestamp}.{body}', timestamp_header: X-Time",
      "X-Sig: " TIME_U "|X-Time: 1614265029", NULL, REFUSAL_STALE },
    { "scheme: hmac, header: X-Sig, encoding: base64url, signs: '{timestamp}.{body}', timestamp_header: X-Time",
      "X-Sig: " TIME_U, NULL, REFUSAL_MISSING },
    { "scheme: hmac, header: X-Sig, encoding: base64url, signs: '{timestamp}.{body}', timestamp_header: X-Time",
      "X-Sig: " TIME_U "|X-Time: 1614265330|X-Time: 1614265330", NULL, REFUSAL_REPEATED },
    { "scheme: hmac, header: X-Sig, encoding: base64url, signs: '{timestamp}.{body}', tolerance: 10m, separator: ',', "
      "prefix: 's=', timestamp_prefix: 'time='",
      "X-Sig: time=1614265330,s=" TIME_U, NULL, REFUSAL_NONE },
    { "scheme: hmac, header: X-Sig, signs: 'v0:{timestamp}:{body}', prefix: 'v0=', timestamp_header: X-Time",
      "X-Sig: v0=" V0_16 "|X-Time: 1614265330", NULL, REFUSAL_NONE },
    { "scheme: hmac, header: X-Sig, signs: '{id}.{timestamp}.{body}', encoding: base64, timestamp_header: X-Time, "
      "id_header: X-Id",
      "X-Sig: " ID_64 "|X-Time: 1614265330|X-Id: m-1", NULL, REFUSAL_NONE },
    { "scheme: hmac, header: X-Sig, signs: '{id}.{timestamp}.{body}', encoding: base64, timestamp_header: X-Time, "
      "id_header: X-Id",
      "X-Sig: " ID_64 "|X-Time: 1614265330|X-Id: m-2", NULL, REFUSAL_MISMATCH },
    { "scheme: hmac, header: X-Sig, signs: '{url}{body}', encoding: base64, url: 'https://example.com/in'",
      "X-Sig: " URL_64, "a=b", REFUSAL_NONE },
    { "scheme: hmac, header: X-Sig, signs: '{url}{body}', encoding: base64, url: 'https://example.com/in'",
      "X-Sig: " PORT_64, "a=b", REFUSAL_NONE },
    { "scheme: hmac, header: X-Sig, signs: '{url}{body}', encoding: base64, url: 'https://example.com:443/in'",
      "X-Sig: " URL_64, "a=b", REFUSAL_NONE },
    { "scheme: hmac, header: X-Sig, signs: '{url}{body}', encoding: base64, url: 'https://example.com/in'",
      "X-Sig: " URL_64, "a=c", REFUSAL_MISMATCH },
    { "scheme: gitlab", "X-Gitlab-Token: " TEXT, NULL, REFUSAL_NONE },
    { "scheme: gitlab", "X-Gitlab-Token: " TEXT "|webhook-id: x|webhook-timestamp: 1|webhook-signature: v1,AAAA", NULL,
      REFUSAL_NONE }, /* it sends both, and the path has the token alone */
    { "scheme: gitlab", "X-Gitlab-Token: another", NULL, REFUSAL_MISMATCH },
    { "scheme: gitlab", "X-Gitlab-Token: " TEXT "|X-Gitlab-Token: " TEXT, NULL, REFUSAL_REPEATED },
    { "scheme: gitlab", "Authorization: Bearer " TEXT, NULL, REFUSAL_MISSING },
};

static struct verifier *verifier_of(struct verify_options *o, const char *options, const char *secret)
{
    char yaml[600];
    struct err e = { "" };
    *o = (struct verify_options){ 0 };
    snprintf(yaml, sizeof yaml, "{%s, secrets: [%s]}\n", options, secret);
    options_fill(verify_rows, o, yaml);
    struct verifier *v = verifier_new(o, &e);
    if (!v)
        print_error("%s: %s\n", options, e.text);
    return v;
}

TEST(signatures_as_they_are_described)
{
    for (size_t i = 0; i < sizeof described / sizeof *described; i++) {
        struct verify_options o;
        struct verifier *v = verifier_of(&o, described[i].options, TEXT);
        assert_non_null(v);
        request_with(described[i].request, BODY);
        request.query = str_of(described[i].query);
        enum refusal no = verifier_check(v, &request).no;
        if (no != described[i].expected)
            fail_msg("%s: %s: %s", described[i].options, described[i].request, refusal_text(no));
        verifier_free(v);
    }
}

/* GitLab's signing token is a Standard Webhooks secret; where the path has one, a token does not do. */
TEST(gitlab_signs_as_standard_webhooks)
{
    struct verify_options o;
    struct verifier *v = verifier_of(&o, "scheme: gitlab", S1_SECRET);
    s1(S1_ID, "1614265330", S1_SIGNATURE);
    check(v, REFUSAL_NONE);
    assert_true(str_eq(verifier_id(v, &request), STR(S1_ID)));
    assert_string_equal(verifier_type(v), "gitlab");
    assert_int_equal(verify_covers(&o), COVER_ID_BODY);
    s1(S1_ID, "1614265330", "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    check(v, REFUSAL_MISMATCH);
    request_with("X-Gitlab-Token: " S1_SECRET "|Idempotency-Key: k-1", BODY);
    check(v, REFUSAL_MISMATCH);
    verifier_free(v);
    v = verifier_of(&o, "scheme: gitlab", S1_SECRET ", " TEXT);
    s1(S1_ID, "1614265330", S1_SIGNATURE);
    check(v, REFUSAL_NONE);
    request_with("X-Gitlab-Token: " TEXT "|Idempotency-Key: k-1", BODY);
    check(v, REFUSAL_NONE);
    assert_true(str_eq(verifier_id(v, &request), STR("k-1")));
    verifier_free(v);
}

#define FORM "To=%2B18005551212&Digits=1234&Caller=%2B14158675309&From=%2B14158675309&CallSid=CA1234567890ABCDE"

TEST(twilio)
{
    static const char json[] = "{\"property\": \"value\", \"boolean\": true}",
                      sum[] = "bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
    static const struct {
        const char *query, *body, *signature;
        enum refusal expected;
    } cases[] = {
        { "foo=1", FORM, "8R368T1rJGnpAlPrvjUNlZPMnH0=", REFUSAL_NONE },
        { "foo=1", FORM, "HHs1ya1F9eDWp7JAXoWLIP6Iw2E=", REFUSAL_NONE }, /* over the URL with a port */
        { "foo=2", FORM, "8R368T1rJGnpAlPrvjUNlZPMnH0=", REFUSAL_MISMATCH },
        { NULL, FORM, "8R368T1rJGnpAlPrvjUNlZPMnH0=", REFUSAL_MISMATCH },
        { "foo=1", FORM "&More=1", "8R368T1rJGnpAlPrvjUNlZPMnH0=", REFUSAL_MISMATCH },
        { sum, json, "6D1DsxVY+DavJcYW11RzBPnEfSQ=", REFUSAL_NONE },
        { sum, "{}", "6D1DsxVY+DavJcYW11RzBPnEfSQ=", REFUSAL_MISMATCH },
        { NULL, "b=x&a=2&&a=1&a=2", "Ppq8TJY2", REFUSAL_MALFORMED },
        { NULL, "b=+x&a=2&&a=1&a=2", "dy2Nl+HY01O85tHcSsMeUARa1EI=", REFUSAL_NONE },
        { NULL, "", "+/06zlKt4hOlsWmfPGKPAyd+rkU=", REFUSAL_NONE },
        { NULL, "{\"forged\": true}", "+/06zlKt4hOlsWmfPGKPAyd+rkU=", REFUSAL_MISMATCH }, /* JSON is a form here */
    };
    struct verify_options o;
    struct verifier *v = verifier_of(&o, "scheme: twilio, url: 'https://example.com/sms'", "7f4e02c9b1d8a653e0f4");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        request_new(cases[i].body);
        request.query = str_of(cases[i].query);
        add("X-Twilio-Signature", cases[i].signature);
        enum refusal no = verifier_check(v, &request).no;
        if (no != cases[i].expected)
            fail_msg("%s: %s: %s", cases[i].query, cases[i].body, refusal_text(no));
    }
    verifier_free(v);
}

/* The digest of a body counts in a URL that is signed: in another one anybody could write it, beside a signature of no fields. */
TEST(a_digest_in_a_query_that_is_not_signed_counts_for_nothing)
{
    struct verify_options o;
    struct verifier *v = verifier_of(&o, "scheme: hmac, header: X-Sig, signs: '{fields}'", TEXT);
    request_new("a=1");
    add("X-Sig", "140efb3f36a9a13ebe7b6fa68afb505929cbea844d18844475567f6c2e77190d");
    check(v, REFUSAL_NONE);
    request_new("a=forged");
    request.query = STR("bodySHA256=a612b30e7bda9843de5d9b022695298fc1df7f1eb67f9495d30f8583e2615600");
    add("X-Sig", "9a1aebd8b78f14844bd22d2abf23c7d0e58e38883108dbdc5c457cf9b85a21cc"); /* of an empty form */
    check(v, REFUSAL_MISMATCH);
    verifier_free(v);
}

/* Twilio's own examples, by a token that is too short for us. */
TEST(twilio_vectors)
{
    static const char
        url[] = "https://mycompany.com/myapp.php?foo=1&bar=2",
        json[] = "{\"property\": \"value\", \"boolean\": true}",
        query[] = "foo=1&bar=2&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
    const struct signature_style *style = signature_style(SIGNATURE_TWILIO);
    struct key *key = key_of_bytes(HASH_SHA1, STR("12345"));
    struct buf fields = buf_new(4096), value = buf_new(100), whole = buf_new(400);
    assert_true(fields_add(STR("foo=1&bar=2"), STR(FORM), &fields));
    signature_add(style, &key, 1, &(struct signed_parts){ .url = STR(url), .fields = buf_str(&fields) }, &value);
    assert_string_equal(buf_c(&value), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
    buf_reset(&fields);
    buf_reset(&value);
    assert_true(fields_add(STR(query), STR(json), &fields));
    assert_int_equal(fields.n, 0);
    buf_printf(&whole, "https://mycompany.com/myapp.php?%s", query);
    signature_add(style, &key, 1, &(struct signed_parts){ .url = buf_str(&whole) }, &value);
    assert_string_equal(buf_c(&value), "a9nBmqA0ju/hNViExpshrM61xv4=");
    key_free(key);
    buf_free(&fields);
    buf_free(&value);
    buf_free(&whole);
}

TEST(what_cannot_be_described)
{
    static const char *const cases[][2] = {
        { "scheme: hmac", "verify.header: is missing: scheme hmac has no header of its own" },
        { "scheme: hmac, header: X, signs: '{timestamp}'", "verify.signs: has no {body}" },
        { "scheme: hmac, header: X, signs: '{time}.{body}'", "verify.signs: {time} is none of {body}, {timestamp}" },
        { "scheme: hmac, header: X, signs: '{timestamp}.{body}'", "verify.timestamp_header: is missing" },
        { "scheme: hmac, header: X, signs: '{body}', timestamp_header: T", "`signs` has no {timestamp}" },
        { "scheme: hmac, header: X, signs: '{id}{body}'", "verify.id_header: is missing" },
        { "scheme: hmac, header: X, id_header: I", "verify.id_header: `signs` has no {id}" },
        { "scheme: hmac, header: X, separator: ', '", "verify.separator: is one character" },
        { "scheme: hmac, header: X, signs: '{timestamp}{body}', timestamp_prefix: t=", "verify.separator: is missing" },
        { "scheme: hmac, header: X, signs: '{timestamp}{body}', timestamp_header: 'a b'",
          "verify.timestamp_header: is no name of a header" },
        { "scheme: hmac, header: X, signs: '{url}{body}'", "verify.url: is missing" },
        { "scheme: hmac, header: X, url: 'https://x/'", "verify.url: scheme hmac signs no URL" },
        { "scheme: twilio", "verify.url: is missing: scheme twilio signs the path's address" },
        { "scheme: twilio, url: 'example.com'", "verify.url: begins with https://" },
        { "scheme: twilio, url: 'https://example.com?a'", "and has no query" },
        { "scheme: github, prefix: x", "verify.prefix: is for scheme hmac" },
        { "scheme: bearer, hash: sha1", "verify.hash: is for scheme hmac" },
        { "scheme: hmac, header: X, signs: '{body}{body}{body}{body}{body}{body}{body}{body}{body}{body}{body}{body}{body}"
          "{body}{body}{body}{body}'",
          "verify.signs: is longer than 200 bytes, or of more than 16 parts" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char yaml[500];
        struct verify_options o = { 0 };
        struct err e = { "" };
        snprintf(yaml, sizeof yaml, "{%s, secrets: [" TEXT "]}\n", cases[i][0]);
        options_fill(verify_rows, &o, yaml);
        assert_null(verifier_new(&o, &e));
        assert_says(e.text, cases[i][1]);
    }
}

/* ---- what the log says of a signature that does not match ---- */

TEST(causes_are_found_for_the_log)
{
    static const struct {
        const char *options, *request, *body, *says; /* NULL: nothing */
    } cases[] = {
        { "scheme: shopify", "X-Shopify-Hmac-SHA256: " BODY_64, BODY "\n",
          "body: the body was changed: the signature is "
          "that of the body without the line break" },
        { "scheme: shopify", "X-Shopify-Hmac-SHA256: " BODY_16, BODY,
          "encoding: the signature is right, but written in hex" },
        { "scheme: hmac_hex, header: X-Sig", "X-Sig: " BODY_64, BODY,
          "encoding: the signature is right, but written in base64" },
        { "scheme: github", "X-Hub-Signature-256: " BODY_16, BODY, "\"sha256=\" is missing in front of it" },
        { "scheme: github", "Stripe-Signature: t=1", BODY,
          "scheme: there is no X-Hub-Signature-256, but the signature of" },
        { "scheme: github", "X-Hub-Signature-256: sha256=" BODY_16, "payload=%7B%22id%22%3A+1%7D",
          "the field payload of the form, decoded" },
        { "scheme: hmac, header: X-Sig, signs: 'v0:{timestamp}:{body}', timestamp_header: X-Time",
          "X-Sig: " V0_16 "|X-Time: 1614265331|X-Sent-At: 1614265330", BODY,
          "timestamp: the timestamp that is signed stands in the header X-Sent-At" },
        { "scheme: hmac, header: X-Sig, signs: '{url}{body}', encoding: base64, url: 'http://example.com/in'",
          "X-Sig: " URL_64, BODY, "url: it is signed for https://example.com/in?a=b" },
        { "scheme: gitlab", "X-Gitlab-Token: x", BODY, "key: the token in X-Gitlab-Token is another one" },
        { "scheme: github", "X-Hub-Signature-256: sha256=" NEXT_16, BODY,
          "key: it is signed with another secret, or over another body" },
        { "scheme: bearer", "Authorization: Bearer x", BODY, NULL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct verify_options o;
        struct err why = { "" };
        struct verifier *v = verifier_of(&o, cases[i].options, TEXT);
        request_with(cases[i].request, cases[i].body);
        request.query = STR("a=b");
        assert_int_not_equal(verifier_check(v, &request).no, REFUSAL_NONE);
        assert_int_equal(verifier_explain(v, &request, &why), cases[i].says != NULL);
        assert_says(why.text, cases[i].says ? cases[i].says : "");
        assert_null(strstr(why.text, TEXT));
        verifier_free(v);
    }
}

/* Looking for the cause costs a pass over the body for each thing that it tries. */
TEST(a_long_body_is_not_looked_at_for_the_log)
{
    struct verify_options o;
    struct err why;
    struct verifier *v = verifier_of(&o, "scheme: github", TEXT);
    char *body = calloc(1, (32 << 10) + 2);
    memset(body, ' ', (32 << 10) + 1);
    request_with("X-Hub-Signature-256: sha256=" BODY_16, body);
    assert_false(verifier_explain(v, &request, &why));
    request.body.n--;
    assert_true(verifier_explain(v, &request, &why));
    free(body);
    verifier_free(v);
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
#define NAME(VALUE, name, doc) [VERIFY_##VALUE] = #name,
    static const char *const names[VERIFY_COUNT] = { VERIFY_SCHEMES(NAME) };
    char yaml[64];
    for (int i = VERIFY_UNSET + 1; i < VERIFY_COUNT; i++) {
        struct verify_options o = { 0 };
        snprintf(yaml, sizeof yaml, "scheme: %s\n", names[i]);
        options_fill(verify_rows, &o, yaml);
        assert_int_equal(o.scheme, i);
        assert_non_null(strstr(verify_rows[0].doc, names[i]));
    }
    struct verify_options o = { 0 };
    char *problem = options_problem(verify_rows, &o, "scheme: hmac_hax\n");
    assert_non_null(strstr(
        problem,
        "is not one of standard, github, stripe, slack, langfuse, shopify, outpost, hmac_hex, hmac_base64, hmac, "
        "gitlab, twilio, bearer, jwt, basic, api_key, address, certificate, none"));
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
        cmocka_unit_test_setup_teardown(signatures_as_they_are_described, at_s1, real_time),
        cmocka_unit_test_setup_teardown(gitlab_signs_as_standard_webhooks, at_s1, real_time),
        cmocka_unit_test(twilio),
        cmocka_unit_test(twilio_vectors),
        cmocka_unit_test(a_digest_in_a_query_that_is_not_signed_counts_for_nothing),
        cmocka_unit_test(what_cannot_be_described),
        cmocka_unit_test_setup_teardown(causes_are_found_for_the_log, at_s1, real_time),
        cmocka_unit_test(a_long_body_is_not_looked_at_for_the_log),
        cmocka_unit_test(bearer),
        cmocka_unit_test(none),
        cmocka_unit_test(bad_options),
        cmocka_unit_test(schemes_are_named_in_the_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
