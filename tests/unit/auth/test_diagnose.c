/* SPDX-License-Identifier: MIT */
/* Which part of a received request differs from what was signed: everything that people get wrong, one at a time. */
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>
#include "bridge/auth/described.h"
#include "bridge/auth/diagnose.h"
#include "tests/support/test.h"

#define SECRET  "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define PRIVATE "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
#define PUBLIC  "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
#define TEXT    "a secret that is text"
#define BODY    "{\"id\": 1}"
enum { NOW = 1614265330 };

/* The header's value by that key. */
static char *signed_by(enum signature scheme, struct key *key, const char *body)
{
    struct buf value = buf_new(4096);
    signature_add(signature_style(scheme), &key, 1,
                  &(struct signed_parts){ .id = STR("msg_1"), .time = STR("1614265330"), .body = str_of(body) },
                  &value);
    key_free(key);
    char *text = str_dup(buf_str(&value));
    buf_free(&value);
    return text;
}

static char *signature(enum signature scheme, const char *secret, const char *body)
{
    struct err e;
    struct key *key = key_new(str_of(secret), signature_style(scheme)->boxed, signature_style(scheme)->hash, KEY_SIGNS,
                              &e);
    assert_non_null(key);
    return signed_by(scheme, key, body);
}

/* Reads the request and judges it with the secret. */
static void judged(enum signature scheme, const char *header, const char *secret, const char *request,
                   enum differs part, const char *says)
{
    struct err e = { "" };
    struct received r;
    struct secret one = { .text = (char *)(uintptr_t)secret };
    struct diagnosis found = { 0 };
    struct diagnose d = {
        .scheme = scheme, .header = header, .secrets = &one, .count = 1, .now_s = NOW, .tolerance_s = 300
    };
    assert_true(received_read(&r, str_of(request), &e));
    if (!diagnose(&d, &r, &found, &e))
        fail_msg("%s", e.text);
    if (found.part != part)
        fail_msg("%s: %s, not %s\n%s", differs_name(found.part), found.why.text, differs_name(part), request);
    assert_says(found.why.text, says);
    assert_null(strstr(found.why.text, secret));
}

/* A request by Standard Webhooks: what its headers hold, NULL: not there. Free it. */
static char *standard(const char *id, const char *time, const char *value, const char *body)
{
    struct buf b = buf_new(8192);
    buf_add_c(&b, "POST /hooks HTTP/1.1\r\nHost: example.com\r\n");
    if (id)
        buf_printf(&b, "Webhook-Id: %s\r\n", id);
    if (time)
        buf_printf(&b, "webhook-timestamp: %s\r\n", time);
    if (value)
        buf_printf(&b, "webhook-signature: %s\r\n", value);
    buf_printf(&b, "\r\n%s", body);
    char *text = str_dup(buf_str(&b));
    buf_free(&b);
    return text;
}

/* What a receiver with the secret says of a request that is signed by `signs` over `original`, and has `body`. */
static void body_is(const char *signs, const char *secret, const char *original, const char *body, enum differs part,
                    const char *says)
{
    char *value = signature(SIGNATURE_STANDARD, signs, original);
    char *request = standard("msg_1", "1614265330", value, body);
    judged(SIGNATURE_STANDARD, NULL, secret, request, part, says);
    free(request);
    free(value);
}

TEST(what_was_done_to_the_body)
{
    body_is(SECRET, SECRET, BODY, BODY, DIFFERS_NOTHING, "");
    body_is(PRIVATE, PUBLIC, BODY, BODY, DIFFERS_NOTHING, "");
    body_is(PRIVATE, PRIVATE, BODY, BODY, DIFFERS_NOTHING, "");
    body_is(SECRET, SECRET, BODY "\n", BODY, DIFFERS_BODY, "with a line break at its end");
    body_is(SECRET, SECRET, BODY, BODY "\n", DIFFERS_BODY, "without the line break at its end");
    body_is(SECRET, SECRET, BODY, BODY "\r\n", DIFFERS_BODY, "without the line break at its end");
    body_is(SECRET, SECRET, "{\n\"a\":\r\n1}", "{\r\n\"a\":\r\n1}", DIFFERS_KEY, "none of the usual changes");
    body_is(SECRET, SECRET, "a\nb", "a\r\nb", DIFFERS_BODY, "with LF for each CR LF");
    body_is(SECRET, SECRET, "a\r\nb\r\n", "a\nb\n", DIFFERS_BODY, "with CR LF for each LF");
    body_is(SECRET, SECRET, "a",
            "\xef\xbb\xbf"
            "a",
            DIFFERS_BODY, "without the byte order mark");
    body_is(SECRET, SECRET, "", "anything", DIFFERS_BODY, "an empty body");
    body_is(SECRET, SECRET, "{\"b\":1,\"a\":[1,\"\xc3\xbc\"]}", "{\"b\": 1, \"a\": [1, \"\xc3\xbc\"]}", DIFFERS_BODY,
            "the same JSON without blanks; something has parsed it");
    body_is(PRIVATE, PUBLIC, "{\"b\": 1, \"a\": [1, \"\xc3\xbc\"]}", "{\"b\":1,\"a\":[1,\"\xc3\xbc\"]}", DIFFERS_BODY,
            "with a blank behind , and :");
    body_is(SECRET, SECRET, "{\"a\": \"\\u00FC\"}", "{\"a\":\"\xc3\xbc\"}", DIFFERS_BODY,
            "with \\u for what is not ASCII");
    body_is(SECRET, SECRET, "{\n  \"a\": 1\n}", "{\"a\":1}", DIFFERS_BODY, "on indented lines");
    body_is(SECRET, SECRET, BODY, "{\"id\": 2}", DIFFERS_KEY, "another secret, or over another body, id or timestamp");
}

TEST(what_is_wrong_with_the_headers)
{
    static const struct {
        const char *id, *time, *signature; /* "" of a signature: the right one */
        enum differs part;
        const char *says;
    } cases[] = {
        { NULL, "1614265330", "", DIFFERS_ID, "the header webhook-id is missing" },
        { "", "1614265330", "", DIFFERS_ID, "the header webhook-id is empty" },
        { "msg_1\r\nwebhook-id: msg_1", "1614265330", "", DIFFERS_ID, "webhook-id is there 2 times" },
        { "msg_1", NULL, "", DIFFERS_TIMESTAMP, "the header webhook-timestamp is missing" },
        { "msg_1", "1614265330", NULL, DIFFERS_SIGNATURE, "the header webhook-signature is missing" },
        { "msg_1", "1614265330", "v2,AAAA", DIFFERS_SIGNATURE, "\"v1,...\" is expected" },
        { "msg_1", "1614265330", "v1a,AAAA", DIFFERS_KEY, "by pairs of keys (v1a): the public half" },
        { "msg_2", "1614265330", "", DIFFERS_KEY, "over another body, id or timestamp" },
        { "msg_1", "1614265331", "", DIFFERS_KEY, "over another body, id or timestamp" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *right = signature(SIGNATURE_STANDARD, SECRET, BODY);
        const char *value = cases[i].signature && !*cases[i].signature ? right : cases[i].signature;
        char *request = standard(cases[i].id, cases[i].time, value, BODY);
        judged(SIGNATURE_STANDARD, NULL, SECRET, request, cases[i].part, cases[i].says);
        free(request);
        free(right);
    }
    judged(SIGNATURE_STANDARD, NULL, SECRET, "X-Hub-Signature-256: sha256=00\n\n" BODY, DIFFERS_SCHEME,
           "there is no webhook-signature, but the signature of scheme github (X-Hub-Signature-256)");
}

TEST(when_it_was_signed)
{
    static const struct {
        int64_t now;
        enum differs part;
        const char *says;
    } cases[] = {
        { NOW + 300, DIFFERS_NOTHING, "" },
        { NOW + 301, DIFFERS_TIMESTAMP, "too old: 301 s, where 300 are tolerated" },
        { NOW - 300, DIFFERS_NOTHING, "" },
        { NOW - 301, DIFFERS_TIMESTAMP, "the timestamp is 301 s in the future" },
    };
    char *value = signature(SIGNATURE_STANDARD, SECRET, BODY);
    char *request = standard("msg_1", "1614265330", value, BODY);
    struct secret one = { .text = (char[]){ SECRET } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct received r;
        struct diagnosis found = { 0 };
        struct diagnose d = {
            .scheme = SIGNATURE_STANDARD, .secrets = &one, .count = 1, .now_s = cases[i].now, .tolerance_s = 300
        };
        assert_true(received_read(&r, str_of(request), NULL));
        assert_true(diagnose(&d, &r, &found, NULL));
        assert_int_equal(found.part, cases[i].part);
        assert_says(found.why.text, cases[i].says);
    }
    free(request);
    free(value);
}

TEST(whose_key_has_ended)
{
    static char first[] = SECRET, second[] = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    struct secret list[2] = { { .text = first, .until = { (NOW + 10) * 1000LL } }, { .text = second } };
    static const struct {
        int64_t now;
        int twice; /* the same key is there once more, without an end */
        enum differs part;
        const char *says;
    } cases[] = {
        { NOW + 9, 0, DIFFERS_NOTHING, "" },
        { NOW + 10, 0, DIFFERS_KEY, "the signature is right, but its key has ended (until: 2021-02-25T15:02:20.000Z)" },
        { NOW + 10, 1, DIFFERS_NOTHING, "" },
        { NOW + 301, 0, DIFFERS_TIMESTAMP, "too old" },
    };
    char *value = signature(SIGNATURE_STANDARD, SECRET, BODY);
    char *request = standard("msg_1", "1614265330", value, BODY);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct received r;
        struct diagnosis found = { 0 };
        list[1].text = cases[i].twice ? first : second;
        struct diagnose d = {
            .scheme = SIGNATURE_STANDARD, .secrets = list, .count = 2, .now_s = cases[i].now, .tolerance_s = 300
        };
        assert_true(received_read(&r, str_of(request), NULL));
        assert_true(diagnose(&d, &r, &found, NULL));
        assert_int_equal(found.part, cases[i].part);
        assert_says(found.why.text, cases[i].says);
    }
    free(request);
    free(value);
}

/* Signed by a key that is these bytes, where the receiver has the secret. */
static void key_is(enum signature scheme, struct str bytes, const char *secret, const char *says)
{
    char *value = signed_by(scheme, key_of_bytes(HASH_SHA256, bytes), BODY), request[1024];
    snprintf(request, sizeof request, "webhook-id: msg_1\nwebhook-timestamp: 1614265330\n%s: %s\n\n%s",
             signature_style(scheme)->headers.signature, value, BODY);
    judged(scheme, NULL, secret, request, DIFFERS_KEY, says);
    free(value);
}

TEST(how_the_secret_was_read)
{
    struct buf bytes = buf_new(64);
    key_is(SIGNATURE_STANDARD, STR(SECRET), SECRET, "the text of the secret with whsec_, which was not decoded");
    key_is(SIGNATURE_STANDARD, str_from(STR(SECRET), 6), SECRET, "the text behind whsec_, which was not decoded");
    key_is(SIGNATURE_GITHUB, STR(TEXT "\n"), TEXT, "the secret with a line break at its end");
    assert_true(base64_decode(&bytes, str_from(STR(SECRET), 6)));
    key_is(SIGNATURE_GITHUB, buf_str(&bytes), SECRET, "decoded from base64");
    buf_reset(&bytes);
    assert_true(hex_decode(&bytes, STR("0759437f59a6bc287a3816d6d52c0abf")));
    key_is(SIGNATURE_GITHUB, buf_str(&bytes), "0759437f59a6bc287a3816d6d52c0abf", "decoded from hex");
    buf_free(&bytes);
}

TEST(how_the_signature_was_written)
{
    char *hex = signature(SIGNATURE_HMAC_HEX, TEXT, BODY), *base64 = signature(SIGNATURE_HMAC_BASE64, TEXT, BODY);
    char request[1024];
    snprintf(request, sizeof request, "X-Sig: %s\n\n%s", hex, BODY);
    judged(SIGNATURE_HMAC_HEX, "X-Sig", TEXT, request, DIFFERS_NOTHING, "");
    judged(SIGNATURE_HMAC_BASE64, "X-Sig", TEXT, request, DIFFERS_ENCODING, "written in hex: base64 is expected");
    snprintf(request, sizeof request, "X-Sig: %s\n\n%s", base64, BODY);
    judged(SIGNATURE_HMAC_HEX, "X-Sig", TEXT, request, DIFFERS_ENCODING, "written in base64: hex is expected");
    snprintf(request, sizeof request, "X-Hub-Signature-256: %s\n\n%s", hex, BODY);
    judged(SIGNATURE_GITHUB, NULL, TEXT, request, DIFFERS_ENCODING, "\"sha256=\" is missing in front of it");
    for (char *c = base64; *c; c++)
        *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
    assert_non_null(strpbrk(base64, "-_"));
    snprintf(request, sizeof request, "X-Sig: %s\n\n%s", base64, BODY);
    judged(SIGNATURE_HMAC_BASE64, "X-Sig", TEXT, request, DIFFERS_ENCODING, "the base64 of URLs (- and _)");
    free(hex);
    free(base64);
}

TEST(which_parts_were_signed)
{
    char *body_alone = signature(SIGNATURE_HMAC_BASE64, TEXT "00000", BODY), value[128], *request;
    snprintf(value, sizeof value, "v1,%s", body_alone);
    request = standard("msg_1", "1614265330", value, BODY);
    judged(SIGNATURE_STANDARD, NULL, TEXT "00000", request, DIFFERS_SCHEME, "the signature is over the body alone");
    free(request);
    free(body_alone);
}

/* As a described HMAC over time and body, without anything between them. */
static void described_is(const char *content, const char *time, enum differs part, const char *says)
{
    char signed_[256], request[512];
    struct secret one = { .text = (char[]){ TEXT } };
    struct described options = { .signs = (char[]){ "{timestamp}{body}" }, .timestamp_header = (char[]){ "X-Time" } };
    struct signature_style own;
    struct diagnosis found = { 0 };
    struct received r;
    snprintf(signed_, sizeof signed_, content, time, BODY);
    char *value = signature(SIGNATURE_HMAC_HEX, TEXT, signed_);
    snprintf(request, sizeof request, "X-Sig: %s\nX-Time: %s\n\n%s", value, time, BODY);
    struct diagnose d = { .scheme = SIGNATURE_HMAC,
                          .style = described_style(SIGNATURE_HMAC, &options, &own, NULL),
                          .header = "X-Sig",
                          .secrets = &one,
                          .count = 1,
                          .now_s = NOW,
                          .tolerance_s = 300 };
    assert_true(received_read(&r, str_of(request), NULL));
    assert_true(diagnose(&d, &r, &found, NULL));
    assert_int_equal(found.part, part);
    assert_says(found.why.text, says);
    free(value);
}

TEST(what_is_described)
{
    described_is("%s%s", "1614265330", DIFFERS_NOTHING, "");
    described_is(
        "%s.%s", "1614265330", DIFFERS_SCHEME,
        "timestamp and body, with a dot between them, not as it is described: signs: \"{timestamp}.{body}\" would be");
    described_is("%s:%s", "1614265330", DIFFERS_SCHEME, "signs: \"{timestamp}:{body}\" would be");
    described_is("%s%s", "1614265330000", DIFFERS_TIMESTAMP, "the timestamp is in milliseconds: seconds are expected");
}

/* What is signed and then compressed is signed over another body. */
TEST(what_was_compressed_behind_its_signature)
{
    unsigned char packed[256];
    uLongf n = sizeof packed;
    assert_int_equal(compress(packed, &n, (const Bytef *)BODY, sizeof BODY - 1), Z_OK);
    char *value = signature(SIGNATURE_HMAC_HEX, TEXT, BODY), head[256];
    struct secret one = { .text = (char[]){ TEXT } };
    struct diagnosis found = { 0 };
    struct received r;
    struct diagnose d = { .scheme = SIGNATURE_HMAC_HEX, .header = "X-Sig", .secrets = &one, .count = 1, .quick = true };
    snprintf(head, sizeof head, "X-Sig: %s\n\n", value);
    assert_true(received_read(&r, str_of(head), NULL));
    r.body = (struct str){ (const char *)packed, n };
    assert_true(diagnose(&d, &r, &found, NULL));
    assert_int_equal(found.part, DIFFERS_BODY);
    assert_says(found.why.text, "the signature is that of the body before it was compressed");
    r.body.n--; /* cut off: no hint, and no fault */
    assert_true(diagnose(&d, &r, &found, NULL));
    assert_int_equal(found.part, DIFFERS_KEY);
    free(value);
}

TEST(what_is_no_request)
{
    struct err e;
    struct received r;
    struct diagnosis found = { 0 };
    struct secret bad = { .text = (char[]){ "short" } };
    assert_false(received_read(&r, STR("a: b\nno header\n"), &e));
    assert_says(e.text, "line 2 is no header");
    assert_true(received_read(&r, STR(""), &e));
    assert_int_equal(r.header_count, 0);
    struct buf many = buf_new(10000);
    for (int i = 0; i < RECEIVED_HEADERS + 1; i++)
        buf_add_c(&many, "a: b\n");
    assert_false(received_read(&r, buf_str(&many), &e));
    assert_says(e.text, "more than 200 headers");
    buf_free(&many);
    assert_false(diagnose(&(struct diagnose){ .scheme = SIGNATURE_GITHUB,
                                              .secrets = &bad,
                                              .count = 1,
                                              .now_s = NOW,
                                              .tolerance_s = 300 },
                          &r, &found, &e));
    assert_says(e.text, "the secret: has 5 characters");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_done_to_the_body),
        cmocka_unit_test(what_is_wrong_with_the_headers),
        cmocka_unit_test(when_it_was_signed),
        cmocka_unit_test(whose_key_has_ended),
        cmocka_unit_test(how_the_secret_was_read),
        cmocka_unit_test(how_the_signature_was_written),
        cmocka_unit_test(which_parts_were_signed),
        cmocka_unit_test(what_is_described),
        cmocka_unit_test(what_was_compressed_behind_its_signature),
        cmocka_unit_test(what_is_no_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
