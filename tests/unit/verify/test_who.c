/* SPDX-License-Identifier: MIT */
/* Who may send: users, keys and addresses; several schemes together; whose request it was. */
#include <stdio.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/watch.h"
#include "bridge/verify/show.h"
#include "bridge/verify/verify.h"
#include "tests/support/connector.h"
#include "tests/support/folder.h"
#include "tests/support/test.h"

#define BODY      "Hello, World!"
#define GITHUB    "It's a Secret to Everybody"
#define SIGNATURE "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

/* ---- a request as the server hands it over ---- */

static struct header headers[16];
static struct http_request request;
static struct verify_options options;

static void request_new(const char *peer, const char *query)
{
    request = (struct http_request){
        .headers = headers, .body = STR(BODY), .peer = str_of(peer), .query = query ? str_of(query) : STR_ABSENT
    };
}

static void add(const char *name, const char *value)
{
    headers[request.header_count++] = (struct header){ str_of(name), str_of(value) };
}

static void add_basic(const char *name, const char *word, struct str user)
{
    static char values[4][8192];
    struct buf b = buf_new(8000);
    buf_printf(&b, "%s ", word);
    base64_add(&b, user);
    char *value = values[request.header_count % 4];
    snprintf(value, sizeof values[0], "%s", buf_c(&b));
    buf_free(&b);
    add(name, value);
}

/* A verifier by what somebody would write. */
static struct verifier *verifier(const char *yaml)
{
    struct err e = { "" };
    options = (struct verify_options){ 0 };
    options_fill(verify_rows, &options, yaml);
    struct verifier *v = verifier_new(&options, &e);
    if (!v)
        fail_msg("%s", e.text);
    return v;
}

/* What is said of the request: why it is refused, or whose it is. */
static void check(struct verifier *v, const char *expected)
{
    struct verified is = verifier_check(v, &request);
    struct str said = is.no ? str_of(refusal_text(is.no)) : is.key;
    if (!str_eq(said, str_of(expected)))
        fail_msg("%.*s, not %s", STR_ARG(said), expected);
}

/* ---- JSON Web Tokens ---- */

#define JWT_YAML "scheme: jwt, jwt: {secrets: [a-secret-of-these-tokens-which-is-long-enough-01], needs_exp: false}"
#define JWT      "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm5hIn0.JEPkyaVI58YLcmWv9fyVypeLD2zhRQinNtSZPYTLahY"
#define NOBODY   "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJ4In0.6jULMb9znjZIecTZh2xgAshWEGn7SeerewT1slySJhg"

TEST(a_token_says_whose_request_it_is)
{
    static const char *const yamls[] = { "{" JWT_YAML "}",
                                         "any: [{scheme: bearer, secrets: [a-token-of-some-length]}, {" JWT_YAML "}]",
                                         "all: [{scheme: address, allow: [192.0.2.0/24]}, {" JWT_YAML "}]" };
    for (size_t i = 0; i < sizeof yamls / sizeof *yamls; i++) {
        struct err why;
        struct verifier *v = verifier(yamls[i]);
        verifier_start(v);
        assert_true(verifier_ready(v, &why));
        assert_true(verifier_by_head(v));
        request_new("192.0.2.1", NULL);
        check(v, "missing");
        add("Authorization", "Bearer " JWT);
        check(v, "anna");
        assert_null(verifier_check(v, &request).why);
        request_new("192.0.2.1", NULL);
        add("Authorization", "Bearer " NOBODY);
        check(v, i ? "2#jwt" : "#jwt"); /* without a sub: of one key, which has its limit */
        request_new("192.0.2.1", NULL);
        add("Authorization", "Bearer " JWT "=");
        check(v, i == 1 ? "mismatch" : "malformed"); /* which says more: it is none of bearer's tokens */
        if (i != 1)
            assert_string_equal(verifier_check(v, &request).why, "its signature is no base64url");
        request_new("192.0.2.1", NULL);
        add("Authorization", "Basic " JWT);
        check(v, "malformed");
        assert_true(str_eq(verifier_challenge(v), STR("Bearer")));
        verifier_free(v);
    }
    struct verifier *v = verifier("{header: X-Token, " JWT_YAML "}");
    request_new("192.0.2.1", NULL);
    add("X-Token", JWT);
    check(v, "anna");
    assert_true(verify_reads_header(&options, STR("x-token")));
    verifier_free(v);
}

TEST(without_the_keys_of_tokens_it_cannot_be_told_yet)
{
    struct err why = { "" };
    struct verifier *v = verifier("any: [{scheme: bearer, secrets: [a-token-of-some-length]}, "
                                  "{scheme: jwt, jwt: {keys_url: 'http://127.0.0.1:1/', plain_http: true}}]");
    verifier_start(v);
    assert_false(verifier_ready(v, &why));
    assert_non_null(strstr(why.text, "the keys of tokens"));
    request_new("192.0.2.1", NULL);
    add("Authorization", "Bearer " JWT);
    check(v, "awaited");
    request_new("192.0.2.1", NULL);
    add("Authorization", "Bearer a-token-of-some-length");
    check(v, "1#1");
    verifier_free(v);
}

/* ---- users ---- */

#define USERS                                                                                                          \
    "scheme: basic\nsecrets: [{name: crm, secret: the-password-of-crm}, {name: shop, secret: another-password-1}, "    \
    "{name: shop, secret: 'with:a colon and \xc3\xa4'}]\n"

TEST(users)
{
    static const struct {
        const char *word, *user, *expected;
    } cases[] = {
        { "Basic", "crm:the-password-of-crm", "crm" },
        { "bASIC", "shop:another-password-1", "shop" },
        { "Basic  ", "shop:with:a colon and \xc3\xa4", "shop" },
        { "Basic", "crm:another-password-1", "mismatch" }, /* a password of another user's */
        { "Basic", "shop:the-password-of-crm", "mismatch" },
        { "Basic", "CRM:the-password-of-crm", "mismatch" },
        { "Basic", "crm:The-password-of-crm", "mismatch" },
        { "Basic", "crm:the-password-of-cr", "mismatch" },
        { "Basic", "crm:the-password-of-crmm", "mismatch" },
        { "Basic", "crm:", "mismatch" },
        { "Basic", ":the-password-of-crm", "mismatch" },
        { "Basic", "crm", "malformed" },
        { "Basic", "crm the-password-of-crm", "malformed" },
        { "Basic", "crm:the-password-of-crm\n", "malformed" },
        { "Basic", "crm\x7f:the-password-of-crm", "malformed" },
        { "Basic", "", "malformed" },
        { "Bearer", "crm:the-password-of-crm", "malformed" },
    };
    struct verifier *v = verifier(USERS);
    assert_true(verifier_by_head(v));
    assert_true(str_eq(verifier_challenge(v), STR("Basic realm=\"aqueduct\", charset=\"UTF-8\"")));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        request_new("127.0.0.1:1", NULL);
        add_basic("authorization", cases[i].word, str_of(cases[i].user));
        check(v, cases[i].expected);
    }
    request_new("127.0.0.1:1", NULL);
    add_basic("Authorization", "Basic", STR("crm:the-password-of-crm\0"));
    check(v, "malformed"); /* the byte 0 is no end */
    verifier_free(v);
}

TEST(what_is_no_user)
{
    static const char *const values[] = {
        "Basic",      "Basic ",      "Basic !!!!",      "Basic Y3JtOnRoZS1wYXNzd29yZC1vZi1jcm0=x", "BasicY3Jt",
        "Basic Y3Jt", "Basic =Y3Jt", "Basic Y3 JtOg==", "Y3JtOnRoZS1wYXNzd29yZC1vZi1jcm0=",        "Basic \xff\xfe",
    };
    static char large[5000];
    struct verifier *v = verifier(USERS);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        request_new("127.0.0.1:1", NULL);
        add("Authorization", values[i]);
        check(v, "malformed");
    }
    memset(large, 'x', sizeof large - 1);
    large[100] = ':';
    request_new("127.0.0.1:1", NULL);
    add_basic("Authorization", "Basic", str_of(large));
    check(v, "malformed");
    request_new("127.0.0.1:1", NULL);
    check(v, "missing");
    add("Authorization", "");
    check(v, "missing");
    add_basic("Authorization", "Basic", STR("crm:the-password-of-crm"));
    check(v, "repeated");
    verifier_free(v);
}

/* ---- keys ---- */

TEST(keys)
{
    static const struct {
        const char *options, *name, *value, *query, *expected;
    } cases[] = {
        { "", "X-API-Key", "the-key-number-one", NULL, "#1" },
        { "", "x-api-key", "the-key-number-two", NULL, "two" },
        { "", "X-API-Key", "the-key-number-on", NULL, "mismatch" },
        { "", "X-API-Key", "the-key-number-one ", NULL, "mismatch" },
        { "", "X-API-Key", "", NULL, "missing" },
        { "", "X-Key", "the-key-number-one", NULL, "missing" },
        { "", "X-Key", "x", "key=the-key-number-one", "missing" },
        { "header: X-Key\n", "X-Key", "the-key-number-one", NULL, "#1" },
        { "header: X-Key\n", "X-API-Key", "the-key-number-one", NULL, "missing" },
        { "query: key\n", "X-API-Key", "the-key-number-one", NULL, "missing" },
        { "query: key\n", "X", "x", "key=the-key-number-one", "#1" },
        { "query: key\n", "X", "x", "a=b&key=the-key%2Dnumber-two&c", "two" },
        { "query: key\n", "X", "x", "key=the-key-number-one&key=the-key-number-one", "repeated" },
        { "query: key\n", "X", "x", "key=%zz", "malformed" },
        { "query: key\n", "X", "x", "key=the-key-number-one%00", "malformed" },
        { "query: key\n", "X", "x", "key=%ff", "malformed" },
        { "query: key\n", "X", "x", "key", "malformed" },
        { "query: key\n", "X", "x", "key=", "missing" },
        { "query: key\n", "X", "x", "KEY=the-key-number-one", "missing" },
        { "query: key\n", "X", "x", "k%65y=the-key-number-one", "missing" },
        { "query: key\n", "X", "x", "", "missing" },
        { "query: key\nheader: X-Key\n", "X-Key", "the-key-number-one", "a", "#1" },
        { "query: key\nheader: X-Key\n", "X", "x", "key=the-key-number-one", "#1" },
        { "query: key\nheader: X-Key\n", "X-Key", "the-key-number-one", "key=the-key-number-one", "repeated" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char yaml[256];
        snprintf(yaml, sizeof yaml,
                 "scheme: api_key\n%ssecrets: [the-key-number-one, {name: two, secret: the-key-number-two}]\n",
                 cases[i].options);
        struct verifier *v = verifier(yaml);
        request_new("127.0.0.1:1", cases[i].query);
        add(cases[i].name, cases[i].value);
        check(v, cases[i].expected);
        assert_int_equal(verify_reads_query(&options, STR("key")), strstr(cases[i].options, "query") != NULL);
        assert_false(verify_reads_query(&options, STR("a")));
        verifier_free(v);
    }
}

/* ---- addresses ---- */

TEST(addresses)
{
    static const struct {
        const char *peer, *expected;
    } cases[] = {
        { "10.0.0.1:5000", "" },         { "10.255.255.255:1", "" },
        { "11.0.0.1:1", "address" },     { "192.0.2.7:1", "" },
        { "192.0.2.8:1", "address" },    { "[::ffff:10.1.2.3]:1", "" },
        { "[2001:db8:1:2::9]:443", "" }, { "[2001:db8:2::1]:443", "address" },
        { "unix", "address" },           { "", "address" },
        { "nonsense", "address" },       { "[::1]:1", "address" },
        { "0.0.0.0:1", "address" },
    };
    struct verifier *v = verifier("scheme: address\nallow: [10.0.0.0/8, 192.0.2.7, '2001:db8:1::/48']\n");
    assert_true(verifier_by_head(v));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        request_new(cases[i].peer, NULL);
        check(v, cases[i].expected);
    }
    verifier_free(v);
    v = verifier("scheme: address\nallow: [unix]\n");
    request_new("unix", NULL);
    check(v, "");
    request_new("127.0.0.1:1", NULL);
    check(v, "address");
    verifier_free(v);
}

/* ---- several together ---- */

static void request_signed(const char *peer)
{
    request_new(peer, NULL);
    add("X-Hub-Signature-256", SIGNATURE);
    add("X-GitHub-Delivery", "d-1");
}

#define SIGNED "{scheme: github, secrets: [not-the-one-that-signs, \"" GITHUB "\"]}"
#define BEARER "{scheme: bearer, secrets: [token-number-0001, {name: ours, secret: token-number-0002}]}"
#define NEAR   "{scheme: address, allow: [10.0.0.0/8]}"

TEST(any_of_several)
{
    struct verifier *v = verifier("any: [" BEARER ", " SIGNED "]\n");
    assert_false(verifier_by_head(v));
    assert_int_equal(verify_covers(&options), COVER_BODY);
    assert_int_equal(verify_asks(&options), ASKS_WHO);
    assert_string_equal(verify_name(&options), "github");
    assert_true(str_eq(verifier_challenge(v), STR("Bearer")));
    assert_null(verifier_type(v));
    request_signed("10.0.0.1:1");
    assert_int_equal(verifier_check_head(v, &request).no, REFUSAL_NONE); /* the body will tell */
    check(v, "2#2");
    assert_true(str_eq(verifier_id(v, &request), STR("d-1")));
    assert_false(verifier_vouches(v, &request, "X-GitHub-Delivery"));
    add("Authorization", "Bearer token-number-0002");
    check(v, "ours");
    assert_null(verifier_id(v, &request).at); /* this one has no header for it */
    request_signed("10.0.0.1:1");
    add("Authorization", "Bearer token-number-0001");
    check(v, "1#1");
    request_new("10.0.0.1:1", NULL);
    check(v, "missing");
    add("Authorization", "Bearer token-number-0003");
    check(v, "mismatch"); /* says more than the missing signature */
    verifier_free(v);
    v = verifier("any: [{scheme: github, secrets: [a-secret-of-one-of-them]}, " SIGNED "]\n");
    assert_string_equal(verifier_type(v), "github"); /* as all say */
    assert_string_equal(verifier_type_header(v), "X-GitHub-Event");
    verifier_free(v);
}

/* What the head alone says is said before the body is read. */
TEST(all_of_several)
{
    struct verifier *v = verifier("all: [" NEAR ", " SIGNED "]\n");
    assert_false(verifier_by_head(v));
    assert_int_equal(verify_covers(&options), COVER_BODY); /* no address makes headers the sender's word */
    assert_string_equal(verify_name(&options), "github");
    assert_string_equal(verifier_type(v), "github");
    request_signed("10.0.0.1:1");
    assert_int_equal(verifier_check_head(v, &request).no, REFUSAL_NONE);
    check(v, "2#2");
    assert_true(str_eq(verifier_id(v, &request), STR("d-1")));
    request_signed("11.0.0.1:1");
    assert_int_equal(verifier_check_head(v, &request).no, REFUSAL_ADDRESS);
    check(v, "address");
    request_signed("10.0.0.1:1");
    request.body = STR("other");
    check(v, "mismatch");
    verifier_free(v);

    v = verifier("all: [" SIGNED ", " BEARER "]\n");
    assert_int_equal(verify_covers(&options), COVER_REQUEST); /* the bearer of the token has sent all of it */
    request_signed("10.0.0.1:1");
    check(v, "missing");
    assert_int_equal(verifier_check_head(v, &request).no, REFUSAL_MISSING);
    add("Authorization", "Bearer token-number-0002");
    check(v, "1#2");
    assert_true(verifier_vouches(v, &request, "X-GitHub-Delivery"));
    assert_true(verify_reads_header(&options, STR("authorization")));
    verifier_free(v);
}

/* Of Standard Webhooks, by a key that is a text. */
static void add_signed(const char *secret, const char *id)
{
    static char time[24], signature[128];
    struct hmac *key = hmac_new(str_of(secret));
    unsigned char mac[SHA256_BYTES];
    struct buf b = buf_new(sizeof signature);
    snprintf(time, sizeof time, "%lld", (long long)(clock_wall_ms() / 1000));
    const struct str parts[] = { str_of(id), STR("."), str_of(time), STR("."), STR(BODY) };
    hmac_sign(key, parts, 5, mac);
    buf_add_c(&b, "v1,");
    base64_add(&b, (struct str){ (const char *)mac, sizeof mac });
    snprintf(signature, sizeof signature, "%s", buf_c(&b));
    add("webhook-id", id);
    add("webhook-timestamp", time);
    add("webhook-signature", signature);
    buf_free(&b);
    hmac_free(key);
}

/* The id is that of the signature which vouches for it, in whatever order they are written. */
TEST(the_id_is_the_best_signed_one)
{
    static const char *const orders[] = {
        "all: [" SIGNED ", {scheme: standard, secrets: [a-key-that-signs-both-of-them]}]\n",
        "all: [{scheme: standard, secrets: [a-key-that-signs-both-of-them]}, " SIGNED "]\n",
    };
    for (size_t i = 0; i < 2; i++) {
        struct verifier *v = verifier(orders[i]);
        assert_int_equal(verify_covers(&options), COVER_ID_BODY);
        assert_string_equal(verify_name(&options), "standard");
        request_signed("10.0.0.1:1");
        check(v, "missing");
        add_signed("a-key-that-signs-both-of-them", "the-signed-id");
        check(v, i == 0 ? "1#2" : "1#1");
        assert_true(str_eq(verifier_id(v, &request), STR("the-signed-id")));
        assert_true(verifier_vouches(v, &request, "webhook-id"));
        assert_false(verifier_vouches(v, &request, "X-GitHub-Delivery"));
        verifier_free(v);
    }
}

TEST(all_within_any)
{
    struct verifier *v = verifier("any: [{all: [" NEAR ", " BEARER "]}, {scheme: basic, secrets: [{name: crm, secret: "
                                  "the-password-of-crm}]}]\n");
    assert_true(verifier_by_head(v));
    assert_int_equal(verify_covers(&options), COVER_REQUEST);
    assert_true(str_eq(verifier_challenge(v), STR("Bearer, Basic realm=\"aqueduct\", charset=\"UTF-8\"")));
    request_new("10.0.0.1:1", NULL);
    add("Authorization", "Bearer token-number-0001");
    check(v, "1.2#1");
    struct verified head = verifier_check_head(v, &request);
    assert_int_equal(head.no, REFUSAL_NONE);
    assert_true(str_eq(head.key, STR("1.2#1")));
    request_new("192.0.2.1:1", NULL);
    add("Authorization", "Bearer token-number-0001");
    check(v, "malformed"); /* no user; that the address is wrong says less */
    request_new("192.0.2.1:1", NULL);
    add_basic("Authorization", "Basic", STR("crm:the-password-of-crm"));
    check(v, "crm");
    verifier_free(v);
}

TEST(what_must_be_shown)
{
    static const struct {
        const char *yaml;
        enum asks asks;
    } cases[] = {
        { "scheme: none\n", ASKS_NOTHING },
        { "scheme: address\nallow: [10.0.0.0/8]\n", ASKS_WHERE },
        { "any: [" NEAR ", " BEARER "]\n", ASKS_WHERE },
        { "all: [" NEAR ", " BEARER "]\n", ASKS_WHO },
        { "any: [" SIGNED ", " BEARER "]\n", ASKS_WHO },
        { "any: [{all: [" NEAR "]}, " BEARER "]\n", ASKS_WHERE },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        verifier_free(verifier(cases[i].yaml));
        assert_int_equal(verify_asks(&options), cases[i].asks);
    }
}

/* ---- options ---- */

TEST(what_does_not_go_together)
{
    static const struct {
        const char *yaml, *expected;
    } cases[] = {
        { "{}", "verify.scheme: is missing" },
        { "secrets: [a-token-of-some-length]", "verify.scheme: is missing" },
        { "scheme: basic", "verify.secrets: scheme basic needs at least one secret" },
        { "scheme: basic\nsecrets: [a-password-of-some-length]", "verify.secrets[0].name: is missing: it is the user" },
        { "scheme: basic\nsecrets: [{name: 'a:b', secret: a-password-of-some-length}]", "has a colon" },
        { "scheme: basic\nsecrets: [{name: a, secret: short}]", "verify.secrets[0]: has 5 characters" },
        { "scheme: basic\nheader: X-User\nsecrets: [{name: a, secret: a-password-of-some-length}]",
          "no header to choose" },
        { "scheme: bearer\nsecrets: [{name: \"a\\nb\", secret: a-token-of-some-length}]",
          "verify.secrets[0].name: is no text that can be shown" },
        { "scheme: bearer\nsecrets: [{name: aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggggg, secret: "
          "a-token-of-some-length}]",
          "is longer than 64 bytes" },
        { "scheme: bearer\nquery: token\nsecrets: [a-token-of-some-length]",
          "verify.query: scheme bearer reads nothing in the URL" },
        { "scheme: bearer\nallow: [10.0.0.0/8]\nsecrets: [a-token-of-some-length]",
          "verify.allow: scheme bearer does not look at addresses" },
        { "scheme: bearer\njwt: {issuer: [somebody]}\nsecrets: [a-token-of-some-length]",
          "verify.jwt: scheme bearer looks at no tokens of that kind" },
        { "scheme: jwt", "verify.jwt.keys_url: is missing, and so are openid" },
        { "any: [{scheme: jwt, jwt: {secrets: [a-token-of-some-length]}}]",
          "verify.any[0].jwt.secrets[0]: has 22 characters, tokens by HS256 need 32" },
        { "scheme: jwt\njwt: {keys_url: 'https://issuer.example/'}\nsecrets: [a-token-of-some-length]",
          "verify.secrets: those that tokens are signed with stand below jwt: jwt: {secrets: [...]}" },
        { "scheme: jwt\nsecrets: [a-token-of-some-length]\n",
          "verify.secrets: those that tokens are signed with stand" },
        { "scheme: jwt\njwt: {openid: 'http://a.example.com'}\n",
          "verify.jwt.openid: begins with http://: whoever stands between could answer in its place; use https://, or, for an "
          "issuer on this machine, plain_http: true" },
        { "scheme: certificate\nsubject: ['C = DE, O = Example, CN = shop']\n",
          "verify.subject[0]: \"C = DE, O = Example, CN = shop\" is written as openssl x509 does: write "
          "CN=shop,O=Example,C=DE" },
        { "scheme: certificate\nsubject: [/C=DE/CN=shop]\n",
          "write CN=shop,C=DE, as subjects are compared (RFC 4514)" },
        { "scheme: address", "verify.allow: scheme address needs at least one network" },
        { "scheme: address\nallow: [10.0.0.0/8]\nsecrets: [a-token-of-some-length]", "secrets make no sense" },
        { "scheme: address\nallow: [10.0.0.0/8, localhost]", "verify.allow: \"localhost\" is no address, network" },
        { "scheme: address\nallow: [10.0.0.0/33]", "verify.allow: \"10.0.0.0/33\" is no address, network" },
        { "scheme: certificate\nsecrets: [a-token-of-some-length]", "secrets make no sense" },
        { "scheme: certificate\nsan: ['*.example.com', 'a*']",
          "verify.san[1]: \"a*\": a * stands for a whole label, as in *.example.com" },
        { "scheme: certificate\nsubject: ['*.example.com']",
          "verify.subject[0]: \"*.example.com\" is no subject, such as CN=sender,O=Example" },
        { "scheme: none\nsan: [a.example.com]", "verify.san: scheme none looks at no certificate: leave it away" },
        { "any: [" BEARER "]\nsubject: ['CN=a']", "verify.subject: stands beside any" },
        { "any: [" BEARER "]\nscheme: bearer", "verify.scheme: stands beside any: put it into an entry of any" },
        { "all: [" BEARER "]\nheader: X", "verify.header: stands beside all" },
        { "any: [" BEARER "]\nall: [" BEARER "]", "verify.all: stands beside any" },
        { "any: [" BEARER ", {scheme: bearer}]", "verify.any[1].secrets: scheme bearer needs at least one secret" },
        { "any: [" BEARER ", {all: [" NEAR ", {scheme: github, secrets: [x]}]}]",
          "verify.any[1].all[1].secrets[0]: has 1 character" },
        { "any: [" BEARER ", {scheme: none}]", "verify.any[1].scheme: none asks for nothing" },
        { "any: [" BEARER ", {}]", "verify.any[1].scheme: is missing" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = { "" };
        options = (struct verify_options){ 0 };
        options_fill(verify_rows, &options, cases[i].yaml);
        assert_null(verifier_new(&options, &e));
        if (!strstr(e.text, cases[i].expected))
            fail_msg("%s: %s", cases[i].yaml, e.text);
        assert_null(strstr(e.text, "a-token-of-some-length"));
    }
}

static char doubts[2048];

static void doubt(void *ctx, const char *text)
{
    (void)ctx;
    size_t n = strlen(doubts);
    snprintf(doubts + n, sizeof doubts - n, "%s\n", text);
}

TEST(what_is_doubtful)
{
    static const struct {
        const char *yaml, *expected;
    } cases[] = {
        { "scheme: address\nallow: [10.0.0.0/8, 0.0.0.0/0]\n",
          "verify.allow[1]: 0.0.0.0/0 is every address, so everybody may come\n" },
        { "scheme: address\nallow: [10.0.0.1/8, 10.0.0.1, '2001:db8::1/32', 10.1.0.0/16, unix]\n",
          "verify.allow[0]: 10.0.0.1/8 is the network 10.0.0.0/8, all of it: write that, or the address alone\n"
          "verify.allow[2]: 2001:db8::1/32 is the network 2001:db8::/32, all of it: write that, or the address alone\n" },
        { "scheme: jwt\njwt: {openid: 'https://a.example.com'}\n",
          "verify.jwt.audience: is missing: a token that has an aud is refused then, as for somebody else, and those of "
          "OpenID issuers have one\n" },
        { "scheme: jwt\njwt: {openid: 'https://a.example.com', audience: [us]}\n", "" },
        { "scheme: certificate\nsubject: ['CN=shop,O=Example,C=DE', 'C=DE,O=Example,CN=shop']\n",
          "verify.subject[1]: begins with the country, as openssl x509 writes it: subjects are compared as RFC 4514 writes "
          "them, CN=...,O=...,C=... (the log shows that of who is refused)\n" },
        { "any: [" BEARER ", {all: [{scheme: address, allow: ['::/0']}, " BEARER "]}]\n",
          "verify.any[1].all[0].allow[0]: ::/0 is every address, so everybody may come\n" },
        { "scheme: bearer\nsecrets: [a-token-of-some-length, {name: b, secret: a-token-of-some-length}]\n",
          "verify.secrets[1]: is the same as secrets[0]: write another one, or leave it away\n" },
        { "scheme: basic\nsecrets: [{name: a, secret: the-same-password}, {name: b, secret: the-same-password}]\n",
          "" },
        { "any: [" BEARER ", {scheme: basic, secrets: [{name: a, secret: the-old-password, until: 2020-01-01}]}]\n",
          "verify.any[1].secrets: every key has ended (until), the last one at 2020-01-02T00:00:00.000Z: every "
          "request is refused until there is another\n" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        doubts[0] = '\0';
        verifier_free(verifier(cases[i].yaml));
        verify_doubts(&options, INT64_C(1800000000000), doubt, NULL);
        assert_string_equal(doubts, cases[i].expected);
    }
}

/* What our own client shows is what lets it in. */
TEST(what_a_client_shows)
{
    static const struct {
        const char *yaml, *headers, *query; /* NULL: it cannot */
    } cases[] = {
        { BEARER, "Authorization: Bearer token-number-0001\n", "" },
        { "{scheme: bearer, header: X-T, secrets: [{secret: an-old-token-of-ours, until: 2020-01-01}, a-new-token-of-ours]}",
          "X-T: a-new-token-of-ours\n", "" },
        { "{scheme: bearer, secrets: [{secret: an-old-token-of-ours, until: 2020-01-01}]}", NULL, "" },
        { "{scheme: basic, secrets: [{name: ops, secret: a-password-of-ops}]}",
          "Authorization: Basic b3BzOmEtcGFzc3dvcmQtb2Ytb3Bz\n", "" },
        { "{scheme: api_key, secrets: [the-key-of-a-board]}", "X-API-Key: the-key-of-a-board\n", "" },
        { "{scheme: api_key, query: key, secrets: [\"the/key &of-a board\"]}", "",
          "key=%74%68%65%2f%6b%65%79%20%26%6f%66%2d%61%20%62%6f%61%72%64" },
        { NEAR, "", "" },
        { SIGNED, NULL, "" },
        { "{any: [" SIGNED ", " BEARER ", " NEAR "]}", "Authorization: Bearer token-number-0001\n", "" },
        { "{all: [" NEAR ", {scheme: api_key, secrets: [the-key-of-a-board]}, " BEARER "]}",
          "X-API-Key: the-key-of-a-board\nAuthorization: Bearer token-number-0001\n", "" },
        { "{all: [" NEAR ", " SIGNED "]}", NULL, "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf lines = buf_new(1024), query = buf_new(1024);
        options = (struct verify_options){ 0 };
        options_fill(verify_rows, &options, cases[i].yaml);
        assert_int_equal(verify_show(&options, INT64_C(1800000000000), &lines, &query), cases[i].headers != NULL);
        if (cases[i].headers)
            assert_string_equal(buf_c(&lines), cases[i].headers);
        assert_string_equal(buf_c(&query), cases[i].query);
        buf_free(&lines);
        buf_free(&query);
    }
}

/* A user, or one of any, ends like every secret; a name that two secrets have is one sender's. */
TEST(ends)
{
    clock_fake(1000, 1700000000000);
    struct verifier *v = verifier("any: [{scheme: basic, secrets: [{name: crm, secret: the-old-password, until: "
                                  "2023-11-14T22:13:21Z}, {name: crm, secret: the-new-password}]}, " BEARER "]\n");
    request_new("10.0.0.1:1", NULL);
    add_basic("Authorization", "Basic", STR("crm:the-old-password"));
    check(v, "crm");
    clock_fake_advance(1000);
    check(v, "ended");
    request_new("10.0.0.1:1", NULL);
    add_basic("Authorization", "Basic", STR("crm:the-new-password"));
    check(v, "crm");
    verifier_free(v);
    clock_real();
}

/* Of several schemes together the log names the one that said no, and who has shown a token hears that it is none. */
TEST(which_of_several_said_no)
{
    static const struct {
        const char *yaml, *header, *value, *scheme, *challenge;
    } cases[] = {
        { BEARER, "Authorization", "Bearer another-token-0001", NULL, "Bearer error=\"invalid_token\"" },
        { BEARER, "X", "", NULL, "Bearer" },
        { "all: [" NEAR ", " BEARER "]", "Authorization", "Bearer another-token-0001", "bearer",
          "Bearer error=\"invalid_token\"" },
        { "all: [" BEARER ", " SIGNED "]", "Authorization", "Bearer token-number-0001", "github", "Bearer" },
        { "any: [{scheme: basic, secrets: [{name: a, secret: the-password-of-a}]}, {all: [" NEAR ", {" JWT_YAML "}]}]",
          "Authorization", "Bearer a.b.c", "jwt", "Bearer error=\"invalid_token\"" },
        { "any: [{scheme: basic, secrets: [{name: a, secret: the-password-of-a}]}, {" JWT_YAML "}]", "X", "", NULL,
          "Basic realm=\"aqueduct\", charset=\"UTF-8\", Bearer" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct verifier *v = verifier(cases[i].yaml);
        request_new("10.0.0.1:1", NULL);
        add(cases[i].header, cases[i].value);
        struct verified is = verifier_check(v, &request);
        assert_true(is.no != REFUSAL_NONE);
        assert_true(str_eq(str_of(is.scheme), str_of(cases[i].scheme)));
        assert_true(str_eq(verifier_challenge_of(v, is.no), str_of(cases[i].challenge)));
        verifier_free(v);
    }
}

/* The body cannot make a signature that is not there. */
TEST(without_a_signature_no_body_is_read)
{
    struct verifier *v = verifier("{scheme: github, secrets: [\"" GITHUB "\"]}");
    request_new("10.0.0.1:1", NULL);
    assert_int_equal(verifier_check_head(v, &request).no, REFUSAL_MISSING);
    add("X-Hub-Signature-256", "sha256=00");
    assert_int_equal(verifier_check_head(v, &request).no, REFUSAL_NONE);
    add("X-Hub-Signature-256", "sha256=00");
    assert_int_equal(verifier_check_head(v, &request).no, REFUSAL_REPEATED);
    verifier_free(v);
    v = verifier("{scheme: gitlab, secrets: [the-token-of-gitlab]}");
    request_new("10.0.0.1:1", NULL);
    assert_int_equal(verifier_check_head(v, &request).no, REFUSAL_MISSING);
    add("X-Gitlab-Token", "the-token-of-another");
    assert_int_equal(verifier_check_head(v, &request).no, REFUSAL_MISMATCH);
    verifier_free(v);
}

/* ---- certificates ---- */

static X509 *certificate(const char *cn, const char *names)
{
    X509 *x = X509_new();
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "O", MBSTRING_ASC, (const unsigned char *)"Example", -1, -1,
                               0);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
    assert_non_null(san);
    X509_add_ext(x, san, -1);
    X509_EXTENSION_free(san);
    return x;
}

TEST(certificates)
{
    static const struct {
        const char *rules, *expected, *why; /* of the certificate below */
    } cases[] = {
        { "scheme: certificate", "CN=shop,O=Example", NULL },
        { "{scheme: certificate, subject: ['CN=x,O=Example', 'CN=shop,O=Example']}", "CN=shop,O=Example", NULL },
        { "{scheme: certificate, subject: ['CN=*,O=Example']}", "CN=shop,O=Example", NULL },
        { "{scheme: certificate, subject: ['CN=x,O=Example']}", "mismatch", "its subject is CN=shop,O=Example" },
        { "{scheme: certificate, san: [spiffe://example.com/shop, '*.example.com']}", "CN=shop,O=Example", NULL },
        { "{scheme: certificate, san: ['*.example.org']}", "mismatch",
          "its names are shop.example.com shop@example.org" },
        { "{scheme: certificate, subject: ['CN=*,O=Example'], san: ['*.example.org']}", "mismatch",
          "its names are shop.example.com shop@example.org" },
        { "{scheme: certificate, subject: ['CN=x,O=Example'], san: ['*.example.com']}", "mismatch",
          "its subject is CN=shop,O=Example" },
        { "{all: [{scheme: address, allow: [10.0.0.0/8]}, {scheme: certificate}]}", "CN=shop,O=Example", NULL },
        { "{all: [{scheme: certificate, subject: ['CN=x']}]}", "mismatch", "its subject is CN=shop,O=Example" },
    };
    X509 *x = certificate("shop", "DNS:shop.example.com,email:shop@example.org");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct verifier *v = verifier(cases[i].rules);
        request_new("10.0.0.1:5000", NULL);
        check(v, "missing");
        request.certificate = x;
        check(v, cases[i].expected);
        if (cases[i].why)
            assert_string_equal(verifier_check(v, &request).why, cases[i].why);
        assert_true(verifier_by_head(v));
        verifier_free(v);
    }
    X509_free(x);
}

TEST(certificates_need_a_listener_that_asks)
{
    static const struct {
        const char *yaml;
        bool looks;
    } cases[] = {
        { "scheme: none", false },
        { "scheme: certificate", true },
        { "{any: [{scheme: address, allow: [unix]}, {scheme: certificate}]}", true },
        { "{any: [{scheme: address, allow: [unix]}, {all: [{scheme: certificate}]}]}", true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = { "" };
        verifier_free(verifier(cases[i].yaml));
        assert_int_equal(verify_fits_tls(&options, &(struct tls_options){ .client = TLS_CLIENT_BY_CA }, &e),
                         !cases[i].looks);
        if (cases[i].looks)
            assert_string_equal(e.text,
                                "verify: scheme certificate needs tls_client_ca: no client is asked for a certificate");
        assert_true(verify_fits_tls(&options, &(struct tls_options){ .client_ca = "ca.pem" }, &e));
    }
}

/* ---- secrets that come from files ---- */

static void write_secret(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, 0600), 0);
    watch_ask();
}

TEST(secrets_follow_their_files)
{
    char folder[FOLDER_BYTES], path[FOLDER_BYTES + 8], yaml[512];
    folder_make(folder);
    snprintf(path, sizeof path, "%s/secret", folder);
    write_secret(path, "the first of the tokens\n");
    snprintf(yaml, sizeof yaml,
             "{any: [{scheme: api_key, secrets: [a key that stays as it is]}, {scheme: bearer, secrets: "
             "[{name: crm, secret: '${file:%s}'}]}]}",
             path);
    struct verifier *v = verifier(yaml);
    assert_true(verifier_follows(v));
    request_new("10.0.0.1:5000", NULL);
    add("Authorization", "Bearer the second of the tokens");
    check(v, "mismatch");
    write_secret(path, "the second of the tokens");
    verifier_refresh(v, "test");
    check(v, "crm");
    write_secret(path, "too short");
    verifier_refresh(v, "test");
    check(v, "crm");
    verifier_free(v);
    v = verifier("{scheme: bearer, secrets: [a token that stays as it is]}");
    assert_false(verifier_follows(v));
    verifier_free(v);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_says_whose_request_it_is),
        cmocka_unit_test(without_the_keys_of_tokens_it_cannot_be_told_yet),
        cmocka_unit_test(users),
        cmocka_unit_test(what_is_no_user),
        cmocka_unit_test(keys),
        cmocka_unit_test(addresses),
        cmocka_unit_test(any_of_several),
        cmocka_unit_test(all_of_several),
        cmocka_unit_test(the_id_is_the_best_signed_one),
        cmocka_unit_test(all_within_any),
        cmocka_unit_test(which_of_several_said_no),
        cmocka_unit_test(without_a_signature_no_body_is_read),
        cmocka_unit_test(what_must_be_shown),
        cmocka_unit_test(what_does_not_go_together),
        cmocka_unit_test(what_is_doubtful),
        cmocka_unit_test(what_a_client_shows),
        cmocka_unit_test(ends),
        cmocka_unit_test(certificates),
        cmocka_unit_test(certificates_need_a_listener_that_asks),
        cmocka_unit_test(secrets_follow_their_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
