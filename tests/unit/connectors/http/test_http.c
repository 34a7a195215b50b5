/* SPDX-License-Identifier: MIT */
/* The HTTP source through its socket: what comes in as events, what is refused, and that 2xx means stored. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>
#include "bridge/auth/signature.h"
#include "bridge/connector.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/form.h"
#include "connectors/http/pattern.h"
#include "tests/support/client.h"
#include "tests/support/connector.h"
#include "tests/support/metric.h"
#include "tests/support/stderr.h"
#include "tests/support/test.h"

extern const struct source_ops http_source;

enum { ROOM = 64 };

/* ---- a source, and a core that is just this test ---- */

static struct source *source, *second; /* second: a copy of the first; NULL: there is none */
static const char *socket_path;
static int wake_fd;                 /* always readable: read() never waits */
static struct emission taken[4096]; /* handed over and not settled */
static struct source *taken_from[4096];
static size_t taken_count;

static void source_open(const char *more, const char *paths)
{
    char yaml[4096];
    socket_path = client_path();
    snprintf(yaml, sizeof yaml, "listen: unix:%s\n%s\npaths:\n%s", socket_path, more, paths);
    source = source_opened(&http_source, "hooks", yaml);
    wake_fd = wake_new();
    wake_up(wake_fd);
}

/* The same twice: connections go to both in turn. */
static void source_open_twice(const char *more, const char *paths)
{
    char yaml[4096];
    source_open(more, paths);
    snprintf(yaml, sizeof yaml, "listen: unix:%s\n%s\npaths:\n%s", socket_path, more, paths);
    second = source_filled(&http_source, "hooks", yaml);
    second->first = source;
    second->copies = source->copies = 2;
    source_start(second);
}

static int source_close(void **state)
{
    (void)state;
    for (size_t i = 0; i < taken_count; i++)
        event_unref(taken[i].event);
    taken_count = 0;
    source_end(second);
    source_end(source);
    source = second = NULL;
    close(wake_fd);
    client_forget_path();
    clock_real();
    return 0;
}

static void turn_of(struct source *s, size_t room)
{
    struct err e;
    int n = http_source.read(s, wake_fd, taken + taken_count, room, &e);
    assert_in_range(n, 0, room);
    for (int i = 0; i < n; i++)
        taken_from[taken_count++] = s;
}

static void turn(size_t room)
{
    turn_of(source, room);
    if (second)
        turn_of(second, room);
}

static void settle_all(enum outcome o, const char *why)
{
    for (size_t i = 0; i < taken_count; i++) {
        http_source.settle(taken_from[i], taken[i].tag, o, why);
        event_unref(taken[i].event);
    }
    taken_count = 0;
}

/* Turns until `count` events were taken. */
static void take(size_t count)
{
    for (int i = 0; i < 10000 && taken_count < count; i++)
        turn(ROOM);
    assert_int_equal(taken_count, count);
}

static struct answer receive(struct client *c)
{
    struct answer a = { 0 };
    for (int i = 0; i < 10000 && !client_answer(c, &a); i++) {
        turn(0);
        client_read(c);
    }
    assert_true(client_answer(c, &a));
    return a;
}

static void post(struct client *c, const char *path, const char *headers, struct str body)
{
    struct buf b = buf_new(1 << 22);
    buf_printf(&b, "POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n", path, headers, body.n);
    buf_add_str(&b, body);
    client_write(c, buf_str(&b));
    buf_free(&b);
}

static bool has(struct str s, const char *text)
{
    return memmem(s.at, s.n, text, strlen(text)) != NULL;
}

/* Posts, and expects this answer without any event; `room` as in read(). */
static void refused_with(size_t room, const char *path, const char *headers, const char *body, int status,
                         const char *detail)
{
    struct client c = client_connect(socket_path);
    post(&c, path, headers, str_of(body));
    struct answer a = receive(&c);
    if (a.status != status || !has(a.body, detail))
        print_error("%s: %d %.*s, not %d %s\n", path, a.status, STR_ARG(a.body), status, detail);
    assert_int_equal(a.status, status);
    assert_true(has(a.body, detail));
    assert_true(str_eq(answer_header(&a, "Content-Type"), STR("application/problem+json")));
    size_t before = taken_count;
    turn(room);
    assert_int_equal(taken_count, before);
    client_close(&c);
}

static void refused(const char *path, const char *headers, const char *body, int status, const char *detail)
{
    refused_with(ROOM, path, headers, body, status, detail);
}

/* Posts, and expects one event, which is then stored and answered with its id. */
static const struct event *accepted(const char *path, const char *headers, const char *body)
{
    struct client c = client_connect(socket_path);
    post(&c, path, headers, str_of(body));
    take(1);
    const struct event *ev = event_ref(taken[0].event);
    settle_all(OUTCOME_STORED, NULL);
    struct answer a = receive(&c);
    char expected[600];
    snprintf(expected, sizeof expected, "{\"id\":\"%.*s\"}", STR_ARG(ev->id));
    assert_int_equal(a.status, 202);
    assert_true(str_eq(a.body, str_of(expected)));
    assert_true(str_eq(answer_header(&a, "Content-Type"), STR("application/json")));
    client_close(&c);
    return ev;
}

/* Posts a batch of which so many events are taken and stored; the others are named. */
static void taken_of_batch(const char *path, const char *body, size_t count, const char *expected)
{
    struct client c = client_connect(socket_path);
    post(&c, path, "Content-Type: application/cloudevents-batch+json\r\n", str_of(body));
    take(count);
    settle_all(OUTCOME_STORED, NULL);
    struct answer a = receive(&c);
    assert_int_equal(a.status, 422);
    if (!has(a.body, expected))
        fail_msg("%.*s", STR_ARG(a.body));
    client_close(&c);
}

static void is(struct str found, const char *expected)
{
    if (!str_eq(found, str_of(expected)))
        print_error("\"%.*s\" is not \"%s\"\n", STR_ARG(found), expected);
    assert_true(str_eq(found, str_of(expected)));
}

static void has_all(struct str data, const char *const *texts)
{
    for (; *texts; texts++) {
        if (!has(data, *texts))
            print_error("%s is not in %.*s\n", *texts, STR_ARG(data));
        assert_true(has(data, *texts));
    }
}

static int64_t counter(const char *path, const char *status)
{
    return metric_value(metric_named("aqueduct_http_requests_total", LABELS("hooks", path, status)));
}

#define OPEN_PATH "  - {path: /in, ce_source: any, verify: {scheme: none}}\n"
#define JSON      "Content-Type: application/json\r\n"

/* ---- what comes in ---- */

TEST(plain_json)
{
    clock_fake(5000, 1600000000123);
    source_open("", OPEN_PATH
                "  - {path: /own, type: shop.order, source: /shop, id_header: X-Id, verify: {scheme: none}}\n");
    const struct event *ev = accepted("/in", JSON "Idempotency-Key: \"k-1\"\r\n", " {\"a\": 1}\n");
    is(ev->id, "k-1");
    is(ev->source, "/http/hooks/in");
    is(ev->type, "webhook.received");
    is(ev->time, "2020-09-13T12:26:40.123Z");
    is(ev->datacontenttype, "application/json");
    is(ev->data, " {\"a\": 1}\n"); /* byte for byte */
    assert_null(ev->subject.at);
    event_unref(ev);

    ev = accepted(
        "/own?x=1",
        JSON
        "X-Id: 17\r\nIdempotency-Key: bare\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\ntracestate: a=1\r\n",
        "[]");
    is(ev->id, "17");
    is(ev->source, "/shop");
    is(ev->type, "shop.order");
    is(event_attribute(ev, STR("traceparent")), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    is(event_attribute(ev, STR("tracestate")), "a=1");
    event_unref(ev);

    ev = accepted("/own", JSON "Idempotency-Key: bare\r\ntraceparent: nonsense\r\n", "null");
    is(ev->id, "bare");
    assert_null(event_attribute(ev, STR("traceparent")).at);
    event_unref(ev);

    const struct event *one = accepted("/in", "", "1"), *two = accepted("/in", "", "1");
    assert_int_equal(one->id.n, UUID_TEXT - 1); /* no id: every post is a new event */
    assert_false(str_eq(one->id, two->id));
    event_unref(one);
    event_unref(two);
}

#define TRACE_ID "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"

/* A trace that is not valid is dropped; it never costs an event. */
TEST(trace_headers)
{
    static const struct {
        const char *headers, *parent, *state;
    } cases[] = {
        { "traceparent: 00-" TRACE_ID "-01\r\ntracestate: foo=1\t,bar=2\r\n", "00-" TRACE_ID "-01", "foo=1,bar=2" },
        { "tracestate: a=1\r\nTraceparent: cc-" TRACE_ID "-01-more\r\ntracestate: b=2\r\n", "00-" TRACE_ID "-01",
          "a=1,b=2" },
        { "traceparent: 00-" TRACE_ID "-01\r\ntracestate: a=\xc2\x85\r\n", "00-" TRACE_ID "-01", NULL },
        { "traceparent: 00-" TRACE_ID "-01\r\ntraceparent: 00-" TRACE_ID "-01\r\n", NULL, NULL },
        { "traceparent: -------------------------------------------------------\r\ntracestate: a=1\r\n", NULL, NULL },
        { "tracestate: a=1\r\n", NULL, NULL },
    };
    static const struct {
        const char *headers, *body;
    } forms[] = {
        { JSON, "{}" },
        { "Content-Type: application/cloudevents+json\r\n",
          "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"}" },
        { "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\n", "" },
    };
    source_open("", OPEN_PATH);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t k = 0; k < sizeof forms / sizeof *forms; k++) {
            char headers[500];
            snprintf(headers, sizeof headers, "%s%s", forms[k].headers, cases[i].headers);
            const struct event *ev = accepted("/in", headers, forms[k].body);
            assert_true(str_eq(event_attribute(ev, STR("traceparent")), str_of(cases[i].parent)));
            assert_true(str_eq(event_attribute(ev, STR("tracestate")), str_of(cases[i].state)));
            event_unref(ev);
        }
}

TEST(other_bodies)
{
    source_open("", OPEN_PATH);
    const struct event *ev = accepted("/in", "Content-Type: application/x-www-form-urlencoded\r\n", "a=1&b=2");
    is(ev->datacontenttype, "application/x-www-form-urlencoded");
    is(ev->data, "a=1&b=2");
    event_unref(ev);
    static const char *const json[] = { "{\"a\":1}", " [{\"a\":1}]" }; /* as curl -d says it; no form begins so */
    for (size_t i = 0; i < 2; i++) {
        ev = accepted("/in", "Content-Type: application/x-www-form-urlencoded\r\n", json[i]);
        is(ev->datacontenttype, "application/json");
        is(ev->data, json[i]);
        event_unref(ev);
    }
    ev = accepted("/in", "Content-Type: application/x-www-form-urlencoded\r\n", "{a=1");
    is(ev->datacontenttype, "application/x-www-form-urlencoded");
    event_unref(ev);
    ev = accepted("/in", "Content-Type: text/plain; charset=utf-8\r\nContent-Encoding: identity\r\n", "{not json");
    is(ev->data, "{not json");
    event_unref(ev);
}

TEST(github_event)
{
    source_open(
        "",
        "  - {path: /gh, content_type: text/plain, verify: {scheme: github, secrets: [\"It's a Secret to Everybody\"]}}\n");
    const struct event *
        ev = accepted("/gh",
                      "X-Hub-Signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17\r\n"
                      "X-GitHub-Event: pull_request\r\nX-GitHub-Delivery: d-42\r\nContent-Type: text/plain\r\n",
                      "Hello, World!");
    is(ev->id, "d-42");
    is(ev->type, "github.pull_request");
    is(ev->source, "/http/hooks/gh");
    event_unref(ev);
    ev = accepted("/gh",
                  "X-Hub-Signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17\r\n"
                  "X-GitHub-Event: a/b c\r\nX-GitHub-Delivery: d-43\r\nContent-Type: text/plain\r\n",
                  "Hello, World!");
    is(ev->type, "github.a.b_c");
    event_unref(ev);
}

TEST(standard_webhook)
{
    clock_fake(5000, 1614265330000);
    source_open("", "  - {path: /sw, verify: {scheme: standard, secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}}\n");
    const char *headers = JSON "webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek\r\nwebhook-timestamp: 1614265330\r\n"
                               "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=\r\n";
    const struct event *ev = accepted("/sw", headers, "{\"test\": 2432232314}");
    is(ev->id, "msg_p5jXN8AQM9LWM0D4loKWxJek");
    event_unref(ev);
    refused("/sw", headers, "{\"test\": 2432232315}", 401, "the request could not be verified");
    refused("/sw", headers, "{broken", 401, "could not be verified"); /* verified before it is parsed */
    refused("/sw", JSON, "{\"test\": 2432232314}", 401, "the request could not be verified");
    clock_fake_advance(301000);
    refused("/sw", headers, "{\"test\": 2432232314}", 401, "the request could not be verified");
}

TEST(bearer_is_checked_before_the_body)
{
    source_open("", "  - {path: /b, verify: {scheme: bearer, secrets: [token-number-0001, token-number-0002]}}\n");
    event_unref(accepted("/b", JSON "Authorization: Bearer token-number-0002\r\n", "{}"));
    struct client c = client_connect(socket_path);
    client_write(
        &c,
        STR("POST /b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-number-0003\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n"));
    assert_int_equal(receive(&c).status, 401);
    client_close(&c);
}

TEST(a_signature_that_is_missing_is_refused_before_the_body)
{
    source_open("", "  - {path: /b, verify: {scheme: github, secrets: [a secret of enough length]}}\n");
    struct client c = client_connect(socket_path);
    client_write(&c, STR("POST /b HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n"));
    assert_int_equal(receive(&c).status, 401);
    client_close(&c);
}

TEST(cloudevents_binary)
{
    clock_fake(5000, 1600000000000);
    source_open("", OPEN_PATH);
    const struct event *ev = accepted(
        "/in",
        JSON "ce-specversion: 1.0\r\nce-id: e-1\r\nCE-Source: /s\r\nce-type: t.x\r\nce-subject: Euro%20%E2%82%AC\r\n"
             "ce-partitionkey: p\r\nce-time: 2020-01-01T00:00:00Z\r\n",
        "{\"x\":1}");
    is(ev->id, "e-1");
    is(ev->source, "/s");
    is(ev->type, "t.x");
    is(ev->subject, "Euro \xe2\x82\xac");
    is(ev->time, "2020-01-01T00:00:00Z");
    is(event_attribute(ev, STR("partitionkey")), "p");
    is(ev->data, "{\"x\":1}");
    event_unref(ev);
    ev = accepted("/in", "ce-specversion: 1.0\r\nce-id: e-2\r\nce-source: /s\r\nce-type: t\r\n", "");
    assert_int_equal(ev->data.n, 0);
    is(ev->time, "2020-09-13T12:26:40.000Z");
    event_unref(ev);
    refused("/in", "ce-specversion: 1.0\r\nce-id: e-1\r\nce-type: t\r\n", "", 400, "source");
    refused("/in", "ce-specversion: 0.3\r\nce-id: e-1\r\nce-source: /s\r\nce-type: t\r\n", "", 400, "specversion");
    refused("/in", JSON "ce-specversion: 1.0\r\nce-id: e-1\r\nce-source: /s\r\nce-type: t\r\n", "{\"x\":", 400, "JSON");
}

#define CE        "Content-Type: application/cloudevents+json; charset=UTF-8\r\n"
#define BATCH     "Content-Type: application/cloudevents-batch+json\r\n"
#define EVENT(id) "{\"specversion\":\"1.0\",\"id\":\"" id "\",\"source\":\"/s\",\"type\":\"t\",\"data\":{\"n\": 1}}"

TEST(cloudevents_structured)
{
    clock_fake(5000, 1600000000000);
    source_open("", OPEN_PATH "  - {path: /plain, cloudevents: none, verify: {scheme: none}}\n");
    const struct event *ev = accepted("/in",
                                      CE "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n",
                                      EVENT("e-1"));
    is(ev->id, "e-1");
    is(ev->data, "{\"n\": 1}");
    is(ev->time, "2020-09-13T12:26:40.000Z");
    is(event_attribute(ev, STR("traceparent")), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    event_unref(ev);
    ev = accepted("/plain", CE "Idempotency-Key: k\r\n", EVENT("e-1"));
    is(ev->id, "k");
    is(ev->data, EVENT("e-1"));
    event_unref(ev);
    refused("/in", CE, "{\"specversion\":\"1.0\",\"id\":\"1\"}", 400, "source");
    refused("/in", CE, "{\"specversion\":\"1.0\",", 400, "");
    refused("/in", "Content-Type: application/cloudevents+xml\r\n", "<e/>", 415, "application/cloudevents+json");
    refused("/in", "Content-Type: application/cloudevents-batch+avro\r\n", "x", 415, "application/cloudevents+json");
}

#define CE_HEADERS "ce-specversion: 1.0\r\nce-id: forged\r\nce-source: /s\r\nce-type: admin.deleted\r\n"

/* One signed request of others, and attributes of one's own in headers: the signature does not cover them. */
TEST(attributes_that_nobody_signed)
{
    clock_fake(5000, 1614265330000);
    source_open(
        "",
        "  - {path: /sw, verify: {scheme: standard, secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}}\n"
        "  - {path: /gh, content_type: text/plain, verify: {scheme: github, secrets: [\"It's a Secret to Everybody\"]}}\n"
        "  - {path: /plain, cloudevents: none, content_type: text/plain, verify: {scheme: github, secrets: [\"It's a Secret to "
        "Everybody\"]}}\n"
        "  - {path: /b, ce_source: any, verify: {scheme: bearer, secrets: [a-token-of-some-length]}}\n");
#define STANDARD                                                                                                       \
    "webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek\r\nwebhook-timestamp: 1614265330\r\n"                                    \
    "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=\r\n"
#define GITHUB                                                                                                         \
    "Content-Type: text/plain\r\nX-GitHub-Event: push\r\nX-GitHub-Delivery: d-1\r\n"                                   \
    "X-Hub-Signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17\r\n"
    refused("/sw", JSON STANDARD CE_HEADERS, "{\"test\": 2432232314}", 415, "are not signed");
    refused("/gh", GITHUB CE_HEADERS, "Hello, World!", 415, "are not signed");
    const struct event *ev = accepted("/plain", GITHUB CE_HEADERS, "Hello, World!");
    is(ev->id, "d-1");
    is(ev->type, "github.push");
    is(ev->source, "/http/hooks/plain");
    event_unref(ev);
    ev = accepted("/b", JSON "Authorization: Bearer a-token-of-some-length\r\n" CE_HEADERS, "{}");
    is(ev->id, "forged"); /* the sender's own word */
    event_unref(ev);
}

#define GITHUB_PATH(more) "  - {" more ", verify: {scheme: github, secrets: [a secret of enough length]}}\n"

static const char *signed_hex(struct str text)
{
    static char out[2 * SHA256_BYTES + 1];
    unsigned char mac[SHA256_BYTES];
    struct hmac *h = hmac_new(STR("a secret of enough length"));
    hmac_sign(h, &text, 1, mac);
    hmac_free(h);
    struct buf hex = buf_new(sizeof out);
    hex_add(&hex, (struct str){ (char *)mac, sizeof mac });
    snprintf(out, sizeof out, "%s", buf_c(&hex));
    buf_free(&hex);
    return out;
}

/* Headers of a body that is signed by GitHub's scheme, and more of them. */
static const char *signed_bytes(struct str text, const char *more)
{
    static char headers[500];
    snprintf(headers, sizeof headers, "%sX-Hub-Signature-256: sha256=%s\r\nX-GitHub-Delivery: d-1\r\n", more,
             signed_hex(text));
    return headers;
}

static const char *signed_body(const char *body, const char *more)
{
    return signed_bytes(str_of(body), more);
}

/* A CloudEvent in the body is signed with it, where the path takes them. */
TEST(structured_and_signed)
{
    source_open("", GITHUB_PATH("path: /gh, ce_source: any, cloudevents: structured"));
    const struct event *ev = accepted("/gh", signed_body(EVENT("e-1"), CE), EVENT("e-1"));
    is(ev->id, "e-1");
    event_unref(ev);
}

/* The content type is not signed, so it does not decide what a signed body is: whoever resends it under another one gets
 * no second event, and does not take the real one's place. */
TEST(a_signed_body_has_one_reading)
{
    source_open("", GITHUB_PATH("path: /data") GITHUB_PATH("path: /none, cloudevents: none")
                        GITHUB_PATH("path: /event, cloudevents: structured, ce_source: any")
                            GITHUB_PATH("path: /form, content_type: application/x-www-form-urlencoded; charset=utf-8"));
    static const char one[] = EVENT("e-1"), batch[] = "[" EVENT("e-1") "]";
    static const struct {
        const char *path, *headers, *detail;
    } wrong[] = {
        { "/data", CE, "takes no CloudEvents: the content type is not signed" },
        { "/data", BATCH, "takes no CloudEvents" },
        { "/data", "Content-Type: text/plain\r\n", "takes application/json, not text/plain: the content type is not" },
        { "/data", "Content-Type: application/jsonp\r\n", "not application/jsonp" },
        { "/data", "Content-Type: ;charset=utf-8\r\n", "takes application/json" },
        { "/data", JSON "ce-specversion: 1.0\r\n", "the attributes in ce- headers are not signed" },
        { "/none", CE, "takes no CloudEvents" },
        { "/event", JSON, "nothing else is taken here: the content type is not signed" },
        { "/event", "", "nothing else is taken here" },
        { "/event", "Content-Type: application/cloudevents+avro\r\n", "nothing else is taken here" },
        { "/event", JSON "ce-specversion: 1.0\r\n", "the attributes in ce- headers are not signed" },
        { "/form", JSON, "takes application/x-www-form-urlencoded, not application/json" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        refused(wrong[i].path, signed_body(one, wrong[i].headers), one, 415, wrong[i].detail);
    refused("/event", signed_body(one, BATCH), one, 400, "");
    refused("/event", signed_body(batch, CE), batch, 400, "");
    assert_int_equal(counter("/data", "415"), 6);
    static const struct {
        const char *path, *headers, *id, *type;
    } right[] = {
        { "/data", JSON, "d-1", "application/json" },
        { "/data", "", "d-1", "application/json" },
        { "/data", "Content-Type: Application/JSON ; charset=utf-8\r\n", "d-1", "application/json" },
        { "/none", JSON "ce-specversion: 1.0\r\n", "d-1", "application/json" },
        { "/event", CE, "e-1", "" },
        { "/form", "Content-Type: application/x-www-form-urlencoded\r\n", "d-1",
          "application/x-www-form-urlencoded; charset=utf-8" },
    };
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        const struct event *ev = accepted(right[i].path, signed_body(one, right[i].headers), one);
        is(ev->id, right[i].id);
        is(ev->datacontenttype, right[i].type);
        event_unref(ev);
    }
}

#define STANDARD_PATH(more)                                                                                            \
    "  - {" more ", verify: {scheme: standard, secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}}\n"

/* Headers of a body that is signed as a Standard Webhook with that id, and more of them. */
static const char *standard_signed(const char *webhook_id, const char *body, const char *more)
{
    static char headers[500];
    unsigned char mac[SHA256_BYTES] = { 0 };
    char seconds[24];
    snprintf(seconds, sizeof seconds, "%lld", (long long)(clock_wall_ms() / 1000));
    struct hmac *h = secret_hmac(STR("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), NULL);
    hmac_sign(h, (const struct str[]){ str_of(webhook_id), STR("."), str_of(seconds), STR("."), str_of(body) }, 5, mac);
    hmac_free(h);
    struct buf text = buf_new(100);
    base64_add(&text, (struct str){ (char *)mac, sizeof mac });
    snprintf(headers, sizeof headers, "%swebhook-id: %s\r\nwebhook-timestamp: %s\r\nwebhook-signature: v1,%s\r\n", more,
             webhook_id, seconds, buf_c(&text));
    buf_free(&text);
    return headers;
}

/* An id that nobody signed counts with the body: a captured body under a coming id takes no place, and a repeat stays
 * one. */
TEST(an_id_that_is_not_signed_counts_with_the_body)
{
    source_open("", GITHUB_PATH("path: /gh") STANDARD_PATH("path: /order, id_header: X-Order")
                        STANDARD_PATH("path: /own, id_header: Webhook-Id") STANDARD_PATH("path: /std"));
    static const char order[] = "X-Order: o-1\r\n";
    static const struct {
        const char *path, *id, *body, *more;
    } posts[] = {
        { "/gh", NULL, "{\"old\":1}", "" },
        { "/gh", NULL, "{\"real\":2}", "" },
        { "/gh", NULL, "{\"real\":2}", "" },
        { "/order", "m-1", "{\"old\":1}", order },
        { "/order", "m-2", "{\"real\":2}", order },
        { "/order", "m-3", "{\"real\":2}", order }, /* sent again */
        { "/order", "m-4", "{\"old\":1}", "Idempotency-Key: o-1\r\n" },
        { "/own", "m-1", "{}", "" },
        { "/std", "m-1", "{}", order },
    };
    enum { POSTS = sizeof posts / sizeof *posts };
    struct client c[POSTS];
    for (size_t i = 0; i < POSTS; i++) {
        c[i] = client_connect(socket_path);
        post(&c[i], posts[i].path,
             posts[i].id ? standard_signed(posts[i].id, posts[i].body, posts[i].more)
                         : signed_body(posts[i].body, posts[i].more),
             str_of(posts[i].body));
        take(i + 1);
    }
    for (size_t first = 0; first < 6; first += 3) {
        is(taken[first + 1].event->id, first ? "o-1" : "d-1");
        assert_false(str_eq(taken[first].scope, taken[first + 1].scope));
        assert_true(str_eq(taken[first + 1].scope, taken[first + 2].scope));
        is(taken[first].former_scopes[0], first ? "hooks/order" : "hooks/gh");
        assert_null(taken[first].former_scopes[1].at);
    }
    is(taken[6].event->id, "o-1");
    assert_true(str_eq(taken[6].scope, taken[3].scope));
    is(taken[7].scope, "hooks/own"); /* the signed one, by its name */
    is(taken[8].scope, "hooks/std");
    settle_all(OUTCOME_STORED, NULL);
    for (size_t i = 0; i < POSTS; i++)
        client_close(&c[i]);
}

/* Headers of a body that is signed in that style. */
static const char *styled(enum signature scheme, const char *secret, const char *body)
{
    static char headers[500];
    char seconds[24];
    struct err e;
    const struct signature_style *style = signature_style(scheme);
    struct key *key = key_new(str_of(secret), style->boxed, style->hash, KEY_SIGNS, &e);
    struct buf value = buf_new(400);
    snprintf(seconds, sizeof seconds, "%lld", (long long)(clock_wall_ms() / 1000));
    signature_add(style, &key, 1,
                  &(struct signed_parts){ .id = STR("m-1"), .time = str_of(seconds), .body = str_of(body) }, &value);
    snprintf(headers, sizeof headers, JSON "%s: %s\r\n%s%s%s", style->headers.signature, buf_c(&value),
             style->headers.time ? style->headers.time : "X-None", ": ", seconds);
    snprintf(headers + strlen(headers), sizeof headers - strlen(headers), "\r\n%s%s",
             style->headers.id ? style->headers.id : "X-Other", ": m-1\r\n");
    buf_free(&value);
    key_free(key);
    return headers;
}

#define TEXT  "a secret of enough length"
#define BOXED "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

/* What a provider signs of the event, its id and its type, stands in the body. */
TEST(a_signed_body_names_its_event)
{
    static const struct {
        enum signature scheme;
        const char *more, *body, *id, *type; /* id NULL: one of ours */
    } cases[] = {
        { SIGNATURE_STRIPE, "", "{\"id\": \"evt_1\", \"type\": \"invoice.paid\"}", "evt_1", "stripe.invoice.paid" },
        { SIGNATURE_STRIPE, "", "\xef\xbb\xbf{\"data\":{\"id\":\"x\"},\"i\\u0064\":\"evt\\u005f2\"}", "evt_2",
          "stripe" },
        { SIGNATURE_STRIPE, "", "{\"id\": 7, \"type\": \"a/b c\"}", NULL, "stripe.a.b_c" },
        { SIGNATURE_STRIPE, "", "[1]", NULL, "stripe" },
        { SIGNATURE_STRIPE, "type: pay, ", "{\"id\":\"evt_3\",\"type\":\"invoice.paid\"}", "evt_3", "pay" },
        { SIGNATURE_STRIPE, "type_header: X-Other, ", "{\"id\":\"evt_4\",\"type\":\"x\"}", "evt_4", "stripe.m-1" },
        { SIGNATURE_STRIPE, "id_header: X-Other, ", "{\"id\":\"evt_5\",\"type\":\"x\"}", "m-1", "stripe.x" },
        { SIGNATURE_SLACK, "",
          "{\"type\":\"event_callback\",\"event\":{\"type\":\"app_mention\"},\"event_id\":\"Ev1\"}", "Ev1",
          "slack.app_mention" },
        { SIGNATURE_SLACK, "", "{\"type\":\"app_rate_limited\"}", NULL, "slack.app_rate_limited" },
        { SIGNATURE_LANGFUSE, "", "{\"id\":\"wh_1\",\"type\":\"prompt-version\"}", "wh_1", "langfuse" },
        { SIGNATURE_STANDARD, "", "{\"type\":\"invoice.paid\",\"timestamp\":\"\",\"data\":{}}", "m-1", "invoice.paid" },
        { SIGNATURE_STANDARD, "", "{\"type\":{}}", "m-1", "webhook.received" },
        { SIGNATURE_STANDARD, "type: billing, ", "{\"type\":\"invoice.paid\"}", "m-1", "billing" },
        { SIGNATURE_GITHUB, "", "{\"id\":\"x\",\"type\":\"y\"}", "m-1", "github" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool boxed = signature_style(cases[i].scheme)->boxed;
        char paths[300];
        snprintf(paths, sizeof paths, "  - {path: /in, %sverify: {scheme: %s, secrets: [%s]}}\n", cases[i].more,
                 signature_name(cases[i].scheme), boxed ? BOXED : TEXT);
        source_open("", paths);
        const struct event *ev = accepted("/in", styled(cases[i].scheme, boxed ? BOXED : TEXT, cases[i].body),
                                          cases[i].body);
        if (cases[i].id)
            is(ev->id, cases[i].id);
        else
            assert_int_equal(ev->id.n, UUID_TEXT - 1);
        is(ev->type, cases[i].type);
        event_unref(ev);
        source_close(NULL);
    }
    source_open("", "  - {path: /in, verify: {scheme: stripe, secrets: [" TEXT "]}}\n");
    refused("/in", styled(SIGNATURE_STRIPE, TEXT, "{\"id\":"), "{\"id\":", 400, "the body is not valid JSON: ");
}

/* What Slack asks when its address is entered, is answered when it is signed, and is no event. */
TEST(a_question_before_the_first_event)
{
    static const char question[] = "{\"token\":\"x\",\"challenge\":\"3eZbrw1a\\/\",\"type\":\"url_verification\"}";
    static const char *const events[] = { "{\"challenge\":\"x\",\"type\":\"other\"}",
                                          "{\"challenge\":7,\"type\":\"url_verification\"}" };
    source_open("", "  - {path: /slack, verify: {scheme: slack, secrets: [" TEXT "]}}\n" GITHUB_PATH("path: /gh"));
    struct client c = client_connect(socket_path);
    post(&c, "/slack", styled(SIGNATURE_SLACK, TEXT, question), STR(question));
    struct answer a = receive(&c);
    assert_int_equal(a.status, 200);
    is(a.body, "{\"challenge\":\"3eZbrw1a\\/\"}");
    turn(ROOM);
    assert_int_equal(taken_count, 0);
    client_close(&c);
    refused("/slack", styled(SIGNATURE_SLACK, TEXT, "{}"), question, 401, "could not be verified");
    for (size_t i = 0; i < 2; i++)
        event_unref(accepted("/slack", styled(SIGNATURE_SLACK, TEXT, events[i]), events[i]));
    event_unref(accepted("/gh", signed_body(question, ""), question));
}

/* The id in a signed body is the sender's own: nothing counts with it, and what has it again is the same thing; an
 * Idempotency-Key counts where the body has none. */
TEST(an_id_in_a_signed_body_is_all_that_counts)
{
    source_open("", "  - {path: /in, verify: {scheme: stripe, secrets: [" TEXT "]}}\n");
    static const struct {
        const char *body;
        bool named;
    } posts[] = { { "{\"id\":\"evt_1\",\"pending_webhooks\":2}", true }, { "{\"n\":1}", false } };
    for (size_t i = 0; i < 2; i++) {
        char headers[600];
        struct client c = client_connect(socket_path);
        snprintf(headers, sizeof headers, "%sIdempotency-Key: k-1\r\n", styled(SIGNATURE_STRIPE, TEXT, posts[i].body));
        post(&c, "/in", headers, str_of(posts[i].body));
        take(1);
        is(taken[0].event->id, posts[i].named ? "evt_1" : "k-1");
        assert_int_equal(taken[0].named, posts[i].named);
        assert_int_equal(str_eq(taken[0].scope, STR("hooks/in")), posts[i].named);
        settle_all(OUTCOME_CONFLICT, "another one");
        assert_int_equal(receive(&c).status, posts[i].named ? 409 : 422);
        client_close(&c);
    }
}

/* Who sends a signed body again makes no second event of it by a header. */
TEST(an_event_id_in_a_signed_body_goes_before_an_unsigned_key)
{
    source_open("",
                "  - {path: /in, verify: {scheme: hmac_hex, header: X-Sig, secrets: [a secret of enough length]}}\n");
    const char *const bodies[] = { "{\"event_id\":\"e-1\"}", "{\"event_id\":\"e-1\"}", "{\"n\":1}" };
    struct client c[3];
    for (size_t i = 0; i < 3; i++) {
        char headers[300];
        snprintf(headers, sizeof headers, JSON "X-Sig: %s\r\n%s", signed_hex(str_of(bodies[i])),
                 i ? "Idempotency-Key: k-1\r\n" : "");
        c[i] = client_connect(socket_path);
        post(&c[i], "/in", headers, str_of(bodies[i]));
        take(i + 1);
    }
    is(taken[1].event->id, "e-1");
    assert_true(str_eq(taken[0].scope, taken[1].scope));
    is(taken[2].event->id, "k-1");
    settle_all(OUTCOME_CONFLICT, "another one");
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(receive(&c[i]).status, i < 2 ? 409 : 422);
        client_close(&c[i]);
    }
}

/* Nor is the type: it counts with the id, so that a resent request under another type takes no place. */
TEST(a_type_that_is_not_signed_counts_with_the_id)
{
    source_open("", GITHUB_PATH("path: /gh") "  - {path: /b, type_header: X-Type, verify: {scheme: none}}\n");
    static const char *const types[] = { "X-GitHub-Event: push\r\n", "X-GitHub-Event: ping\r\n",
                                         "X-GitHub-Event: push\r\n", "" };
    struct client c[4];
    for (size_t i = 0; i < 4; i++) {
        c[i] = client_connect(socket_path);
        post(&c[i], "/gh", signed_body("{}", types[i]), STR("{}"));
        take(i + 1);
        is(taken[i].event->id, "d-1");
    }
    assert_true(str_starts(taken[0].scope, STR("hooks/gh?")));
    is(taken[0].former_scopes[0], "hooks/gh"); /* as the records of earlier versions have it */
    is(taken[0].former_scopes[1], "hooks/gh?ae412582-e884-53f9-b323-3b7ffc0d67d1");
    assert_false(str_eq(taken[0].scope, taken[1].scope));
    assert_true(str_eq(taken[0].scope, taken[2].scope));
    assert_true(str_starts(taken[3].scope, STR("hooks/gh?"))); /* of the body, since the id is not signed */
    assert_false(str_eq(taken[0].scope, taken[3].scope));
    is(taken[3].former_scopes[0], "hooks/gh");
    assert_null(taken[3].former_scopes[1].at);
    settle_all(OUTCOME_STORED, NULL);
    post(&c[0], "/b", JSON "X-Type: push\r\n", STR("{}")); /* its sender's own word */
    take(1);
    is(taken[0].scope, "hooks/b");
    settle_all(OUTCOME_STORED, NULL);
    for (size_t i = 0; i < 4; i++)
        client_close(&c[i]);
}

/* ---- attributes from the request ---- */

static struct str extension(const struct event *ev, const char *name)
{
    return event_attribute(ev, str_of(name));
}

TEST(attributes_by_templates)
{
    clock_fake(5000, 1600000000000);
    source_open(
        "", "  - path: /v1/{app}/{kind}\n    verify: {scheme: none}\n"
            "    type: \"{{path.app}}.{{body.type}}\"\n    subject: \"{{/session~1Id}}\"\n"
            "    id: \"{{body.event_id}}\"\n    time: \"{{body.at}}\"\n    source: /shops/{{query.shop}}\n"
            "    attributes: {tenant: \"{{headers.X-Tenant}}\", sequence: \"n{{body.n}}\", kind: \"{{path.kind}}\", "
            "always: \"yes\"}\n"
            "  - {path: /v1/shop/fixed, verify: {scheme: none}}\n");
    const struct event *ev = accepted("/v1/kotaemon/an%73wer?shop=a%2Fb+c&x=1", JSON "x-tenant: acme\r\n",
                                      "{\"event_id\":17,\"type\":\"new/ticket \\u00fc\",\"session/Id\":\"s 1\",\"n\":3,"
                                      "\"at\":1750287018}");
    is(ev->id, "17");
    is(ev->type, "kotaemon.new.ticket___");
    is(ev->subject, "s 1");
    is(ev->source, "/shops/a%2Fb%20c");
    is(ev->time, "2025-06-18T22:50:18.000Z");
    is(extension(ev, "tenant"), "acme");
    is(extension(ev, "sequence"), "n3");
    is(extension(ev, "kind"), "answer");
    is(extension(ev, "always"), "yes");
    event_unref(ev);
    ev = accepted("/v1/kotaemon/x", JSON "Idempotency-Key: k\r\n",
                  "{\"event_id\":\"\",\"type\":null,\"session/Id\":\"a\\nb\",\"n\":null,\"at\":\"soon\"}");
    is(ev->id, "k"); /* what has no value is left out, and so is what can be none */
    is(ev->type, "webhook.received");
    is(ev->source, "/shops");
    is(ev->time, "2020-09-13T12:26:40.000Z");
    assert_null(ev->subject.at);
    assert_null(extension(ev, "tenant").at);
    assert_null(extension(ev, "sequence").at);
    event_unref(ev);
    assert_int_equal(metric_value(
                         metric_named("aqueduct_http_attributes_left_out_total", LABELS("hooks", "/v1/{app}/{kind}"))),
                     2);
    assert_int_equal(counter("/v1/{app}/{kind}", "202"), 2); /* not by value */
    ev = accepted("/v1/shop/fixed", JSON, "{}");             /* wins over parameters */
    is(ev->source, "/http/hooks/v1/shop/fixed");
    event_unref(ev);
    ev = accepted("/v1/a/b?shop=..", "Content-Type: text/plain\r\n", "no json");
    is(ev->source, "/shops");
    event_unref(ev);
    static const char *const none[] = { "/v1/a",    "/v1/a/",       "/v1/a/b/c", "/v1/a/%2e%2E", "/v1/a/b%2Fc",
                                        "/v1/a/b%", "/v1/a/{kind}", "/v1/a/%00", "/v1//b" };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        refused(none[i], JSON, "{}", 404, "nothing at this path");
}

/* The seeds' way: the body brings its id, and nobody has to say so; but a number may be anything's. */
TEST(a_body_that_has_an_event_id)
{
    source_open("", OPEN_PATH GITHUB_PATH(
                        "path: /gh") "  - {path: /own, id: \"{{body.event_id}}\", verify: {scheme: none}}\n");
    static const struct {
        const char *path, *headers, *body, *id;
    } posts[] = {
        { "/in", JSON, "{\"event_id\":\"e-\\u0031\"}", "e-1" },
        { "/in", JSON, "{\"event_id\":\"e-1\"}", "e-1" },
        { "/in", JSON, "{\"event_id\":\"e-\\u0031\"}", "e-1" },
        { "/in", JSON "Idempotency-Key: k\r\n", "{\"event_id\":\"e-1\"}", "k" },
        { "/own", JSON "Idempotency-Key: k\r\n", "{\"event_id\":1}", "1" },
    };
    enum { POSTS = sizeof posts / sizeof *posts };
    struct client c[POSTS];
    for (size_t i = 0; i < POSTS; i++) {
        c[i] = client_connect(socket_path);
        post(&c[i], posts[i].path, posts[i].headers, str_of(posts[i].body));
        take(i + 1);
        is(taken[i].event->id, posts[i].id);
    }
    assert_true(str_starts(taken[0].scope, STR("hooks/in?"))); /* nobody said that it is the event's id: */
    assert_false(str_eq(taken[0].scope, taken[1].scope));      /* another body is another event, and no conflict */
    assert_true(str_eq(taken[0].scope, taken[2].scope));
    is(taken[3].scope, "hooks/in");
    is(taken[4].scope, "hooks/own"); /* asked for: another body under it is a conflict */
    settle_all(OUTCOME_STORED, NULL);
    for (size_t i = 0; i < POSTS; i++)
        client_close(&c[i]);
    const struct event *one = accepted("/in", JSON, "{\"event_id\":17}"),
                       *two = accepted("/in", JSON, "[\"event_id\"]");
    assert_int_equal(one->id.n, UUID_TEXT - 1);
    assert_int_equal(two->id.n, UUID_TEXT - 1);
    event_unref(one);
    event_unref(two);
}

static int64_t unnamed(const char *path)
{
    return metric_value(metric_named("aqueduct_http_ids_missing_total", LABELS("hooks", path)));
}

/* What a path asks for and a body lacks is no silent matter: its repeats are other events. */
TEST(bodies_without_the_id_that_is_asked_for)
{
    int64_t byid = unnamed("/id"), bysql = unnamed("/sql"), byheader = unnamed("/header"), mapped = unnamed("/map");
    log_setup(LOG_WARN, LOG_LOGFMT);
    stderr_catch();
    source_open("", OPEN_PATH "  - {path: /id, id: '{{body.id}}-{{body.n}}', verify: {scheme: none}}\n"
                              "  - {path: /sql, id: \":body->>'$.id'\", verify: {scheme: none}}\n"
                              "  - {path: /header, id_header: X-Id, verify: {scheme: none}}\n"
                              "  - {path: /map, app: a, id: \":body->>'$.id'\", verify: {scheme: none}, map: [{type: "
                              "user.created}], data: {user.id: '1'}}\n");
    static const char *const paths[] = { "/in", "/id", "/sql", "/header", "/map" };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        for (int k = 0; k < 2; k++)
            event_unref(accepted(paths[i], JSON, "{\"n\": 1}"));
    event_unref(accepted("/id", JSON, "{\"n\": 1, \"id\": 2}"));
    event_unref(accepted("/id", JSON "Idempotency-Key: k\r\n", "{\"n\": 1}"));
    event_unref(accepted("/sql", JSON, "{\"id\": 2}"));
    event_unref(accepted("/map", JSON, "{\"id\": 2}"));
    event_unref(accepted("/header", JSON "X-Id: 2\r\n", "{}"));
    const char *text = stderr_caught();
    log_setup(LOG_ERROR, LOG_LOGFMT);
    assert_int_equal(unnamed("/id"), byid + 2);
    assert_int_equal(unnamed("/sql"), bysql + 2);
    assert_int_equal(unnamed("/header"), byheader + 2);
    assert_int_equal(unnamed("/map"), mapped + 2);
    size_t lines = 0;
    for (const char *at = text; (at = strstr(at, "bodies come without their id")); at++)
        lines++;
    assert_int_equal(lines, 4); /* one a path */
}

TEST(plain_messages_by_a_preset)
{
    source_open("", "  - {path: /in, preset: message, verify: {scheme: none}}\n"
                    "  - {path: /typed, preset: message, type: own, verify: {scheme: none}}\n");
    const struct event
        *ev = accepted("/in", JSON,
                       "{\"event_id\":\"e-1\",\"type\":\"order_shipped\",\"content\":\"x\",\"sessionId\":\"s-1\"}");
    is(ev->id, "e-1");
    is(ev->type, "order_shipped");
    is(ev->subject, "s-1");
    assert_null(ev->dataschema.at);
    event_unref(ev);
    ev = accepted("/in", JSON, "{\"type\":\"token\",\"content\":\"x\",\"sessionId\":\"s-2\"}");
    is(ev->type, "token");
    is(ev->subject, "s-2");
    assert_int_equal(ev->id.n, UUID_TEXT - 1);
    event_unref(ev);
    ev = accepted("/typed", JSON, "{\"type\":\"token\"}");
    is(ev->type, "own");
    assert_null(ev->subject.at);
    event_unref(ev);
}

/* What a template takes from where nobody signed counts with the id: resent with another value, it takes no place. */
TEST(attributes_that_are_not_signed_count_with_the_id)
{
    source_open("", STANDARD_PATH("path: \"/std/{kind}\", subject: \"{{body.s}}\", type: \"t.{{path.kind}}\"")
                        STANDARD_PATH("path: /header, attributes: {tenant: \"{{headers.x-tenant}}\"}")
                            STANDARD_PATH("path: /id, id: \"{{headers.webhook-id}}\", subject: \"{{body.s}}\"")
                                STANDARD_PATH("path: /loose, id: \"{{headers.x-id}}\""));
    static const struct {
        const char *path, *more;
    } posts[] = {
        { "/std/a", "" },
        { "/std/b", "" },
        { "/std/a", "" },
        { "/header", "X-Tenant: a\r\n" },
        { "/header", "X-Tenant: b\r\n" },
        { "/header", "" },
        { "/id", "" },
        { "/loose", "X-Id: m-1\r\n" },
    };
    enum { POSTS = sizeof posts / sizeof *posts };
    struct client c[POSTS];
    for (size_t i = 0; i < POSTS; i++) {
        c[i] = client_connect(socket_path);
        post(&c[i], posts[i].path, standard_signed("m-1", "{\"s\":\"x\"}", posts[i].more), STR("{\"s\":\"x\"}"));
        take(i + 1);
        is(taken[i].event->id, "m-1");
    }
    assert_true(str_starts(taken[0].scope, STR("hooks/std/:kind?")));
    assert_false(str_eq(taken[0].scope, taken[1].scope));
    assert_true(str_eq(taken[0].scope, taken[2].scope));
    assert_false(str_eq(taken[3].scope, taken[4].scope));
    assert_false(str_eq(taken[3].scope, taken[5].scope));
    is(taken[6].scope, "hooks/id"); /* the body, and the header that is signed with it */
    assert_true(str_starts(taken[7].scope, STR("hooks/loose?")));
    settle_all(OUTCOME_STORED, NULL);
    for (size_t i = 0; i < POSTS; i++)
        client_close(&c[i]);
}

TEST(headers_that_are_kept)
{
    source_open("", "  - {path: /in, keep_headers: [X-Request-Id, user-agent, X-None], verify: {scheme: none}}\n"
                    "  - {path: /map, keep_headers: [x-request-id], verify: {scheme: none}, app: a, "
                    "attributes: {partitionkey: \"{{body.p}}\", more: \"{{body.p}}\"}, "
                    "data: {run.id: \":body->>'$.id'\"}, map: [{type: run.finished}]}\n");
    const struct event *ev = accepted("/in", JSON "x-request-id: r-1\r\nUser-Agent: \xff\r\n", "{}");
    is(extension(ev, "httpxrequestid"), "r-1");
    assert_null(extension(ev, "httpuseragent").at); /* can be no attribute */
    assert_null(extension(ev, "httpxnone").at);
    event_unref(ev);
    ev = accepted(
        "/in", CE "x-request-id: r-2\r\n",
        "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/http/hooks/in\",\"type\":\"t\",\"httpuseragent\":\"own\"}");
    is(extension(ev, "httpxrequestid"), "r-2");
    is(extension(ev, "httpuseragent"), "own");
    event_unref(ev);
    ev = accepted("/map", JSON "x-request-id: r-3\r\n", "{\"id\":7,\"p\":\"q\"}");
    is(ev->type, "run.finished");
    is(extension(ev, "httpxrequestid"), "r-3");
    is(extension(ev, "more"), "q");
    is(extension(ev, "partitionkey"), "7"); /* the map's */
    event_unref(ev);
}

/* A 4xx is final: what no attribute can be costs no event. */
TEST(what_cannot_be_an_attribute_is_left_out)
{
    source_open(
        "", OPEN_PATH
        "  - {path: /t, type_header: X-Type, id_header: X-Id, subject: \"{{body}}\", verify: {scheme: none}}\n");
    char headers[9200] = "X-Id: ";
    size_t n = strlen(headers);
    memset(headers + n, 'i', 9000);
    snprintf(headers + n + 9000, sizeof headers - n - 9000, "\r\n");
    const struct event *one = accepted("/t", headers, "{}"), *two = accepted("/t", headers, "{}");
    assert_int_equal(one->id.n, UUID_TEXT - 1);
    assert_true(str_eq(one->id, two->id)); /* a repeat is still known */
    event_unref(one);
    event_unref(two);
    one = accepted("/t", "X-Id: \xff\r\nX-Type: \xc3\xbc\r\nContent-Type: \xff/x\r\n", "\x01");
    assert_int_equal(one->id.n, UUID_TEXT - 1);
    is(one->type, "webhook.received.__");
    is(one->datacontenttype, "application/octet-stream");
    is(one->data, "\x01");
    assert_null(one->subject.at);
    event_unref(one);
}

/* Nor need a body that is no JSON, though it is said to be. */
TEST(a_body_that_is_not_the_json_that_it_is_said_to_be)
{
    source_open("",
                OPEN_PATH "  - {path: /store, not_json: store, id_header: X-Id, verify: {scheme: none}}\n" GITHUB_PATH(
                    "path: /gh, not_json: store"));
    refused("/in", JSON, "{\"score\": NaN}", 400, "the body is not valid JSON: ");
    const struct event *ev = accepted("/store", JSON "X-Id: 1\r\n", "{\"score\": NaN}");
    is(ev->data, "{\"score\": NaN}");
    is(ev->datacontenttype, "text/plain; charset=utf-8");
    event_unref(ev);
    ev = accepted("/store", "", "\xff");
    is(ev->datacontenttype, "application/octet-stream");
    event_unref(ev);
    ev = accepted("/store", JSON, "{}");
    is(ev->datacontenttype, "application/json");
    event_unref(ev);
    assert_int_equal(metric_value(metric_named("aqueduct_http_attributes_left_out_total", LABELS("hooks", "/store"))),
                     2);
    ev = accepted("/gh", signed_body("{", JSON), "{");
    is(ev->datacontenttype, "text/plain; charset=utf-8");
    event_unref(ev);
    refused("/store", CE, "{", 400, "");
}

TEST(parameters_of_paths)
{
    static const struct {
        const char *pattern, *path, *value; /* of x; NULL: does not match */
    } cases[] = {
        { "/{x}", "/a", "a" },           { "/{x}", "/", NULL },
        { "/{x}", "/a/", NULL },         { "/{x}", "/a.b_c-d", "a.b_c-d" },
        { "/{x}", "/a~b", NULL },        { "/{x}", "/%41%2d", "A-" },
        { "/{x}", "/%4", NULL },         { "/{x}", "/%g1", NULL },
        { "/{x}/b/{y}", "/a/b/c", "a" }, { "/{x}/b/{y}", "/a/c/c", NULL },
        { "/{y}/{x}", "/a/b", "b" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[PATTERN_VALUE];
        bool matches = pattern_matches(str_of(cases[i].pattern), str_of(cases[i].path));
        assert_int_equal(matches, cases[i].value != NULL);
        if (matches)
            is(pattern_value(str_of(cases[i].pattern), str_of(cases[i].path), "x", out), cases[i].value);
    }
    char longest[PATTERN_VALUE + 3] = "/";
    memset(longest + 1, 'a', PATTERN_VALUE);
    assert_true(pattern_matches(STR("/{x}"), str_of(longest)));
    longest[PATTERN_VALUE + 1] = 'a';
    assert_false(pattern_matches(STR("/{x}"), str_of(longest)));
    assert_true(pattern_overlaps("/{x}/b", "/a/{y}"));
    assert_false(pattern_overlaps("/{x}/b", "/a/c"));
    assert_false(pattern_overlaps("/{x}", "/a/{y}"));
}

/* Where the sender itself is recognised, its content type counts, unless one alone is wanted. */
TEST(content_type_of_a_recognised_sender)
{
    source_open("", "  - {path: /in, content_type: application/json, ce_source: any, verify: {scheme: none}}\n");
    refused("/in", "Content-Type: text/plain\r\n", "{}", 415, "takes application/json (content_type), not text/plain");
    event_unref(accepted("/in", JSON, "{}"));
    event_unref(accepted("/in", CE, EVENT("e-1")));
}

#define FROM(id, source)                                                                                               \
    "{\"specversion\":\"1.0\",\"id\":\"" id "\",\"source\":\"" source "\",\"type\":\"t\",\"data\":{\"n\": 1}}"

/* A sender names its own source and what stands below it, unless the path says otherwise. */
/* What CloudEvents says, beside what is usual. */
TEST(cloudevents_by_the_specification)
{
    source_open("", OPEN_PATH "  - {path: /own, verify: {scheme: none}}\n");
#define BINARY(more) "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\n" more
    const struct event *ev = accepted("/in", BINARY("ce-empty:\r\nce-anattributewithalongname: x\r\n"), "{no json");
    is(ev->data, "{no json"); /* without a content type any body will do */
    assert_null(ev->datacontenttype.at);
    is(event_attribute(ev, STR("empty")), "");
    is(event_attribute(ev, STR("anattributewithalongname")), "x");
    struct buf json = buf_new(1000);
    event_to_json(ev, &json);
    assert_non_null(strstr(buf_c(&json), ",\"data_base64\":\"e25vIGpzb24=\"}"));
    buf_free(&json);
    event_unref(ev);
    ev = accepted("/in", BINARY(JSON), "\xef\xbb\xbf{}");
    is(ev->data, "{}");
    event_unref(ev);
    ev = accepted("/in", BINARY("Content-Type: text/plain\r\n"), "\xef\xbb\xbf{}");
    is(ev->data, "\xef\xbb\xbf{}"); /* of a text it is the sender's */
    event_unref(ev);
    ev = accepted("/own", JSON "Idempotency-Key: k\r\n", "\xef\xbb\xbf[1]");
    is(ev->data, "[1]");
    event_unref(ev);
    ev = accepted("/in", CE "traceparent: 00-" TRACE_ID "-01\r\n",
                  "\xef\xbb\xbf{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\",\"text\":\"1\","
                  "\"count\":5,\"flag\":true,\"time\":\"2016-12-31T23:59:60Z\"}");
    is(ev->time, "2016-12-31T23:59:60Z");
    json = buf_new(1000);
    event_to_json(ev, &json);
    assert_non_null(strstr(buf_c(&json), ",\"text\":\"1\",\"count\":5,\"flag\":true,\"traceparent\":\"00-"));
    buf_free(&json);
    event_unref(ev);
    refused("/in", JSON "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: my app\r\nce-type: t\r\n", "{}", 400,
            "is not a URI reference");
    refused("/in", JSON BINARY("ce-dataschema: s.json\r\n"), "{}", 400, "is not a URI (RFC 3986)");
    refused("/own", JSON, "\xef\xbb\xbf", 400, "the body is empty");
    refused("/own", JSON, "\xef\xbb\xbf{", 400, "not valid JSON");
}

TEST(sources)
{
    source_open("", "  - {path: /in, verify: {scheme: none}}\n"
                    "  - {path: /shop, source: https://shop.example/, verify: {scheme: none}}\n"
                    "  - {path: /pin, ce_source: pin, verify: {scheme: none}}\n"
                    "  - {path: /any, ce_source: any, verify: {scheme: none}}\n");
    static const struct {
        const char *path, *source;
        bool taken;
    } cases[] = {
        { "/in", "/http/hooks/in", true },
        { "/in", "/http/hooks/in/a/b", true },
        { "/in", "/http/hooks/inside", false },
        { "/in", "/http/hooks", false },
        { "/in", "/http/hooks/std", false },
        { "/in", "/http/hooks/in/../std", false },
        { "/in", "/http/hooks/in/.", false },
        { "/in", "/http/hooks/in/%2e%2E/std", false },
        { "/in", "/http/hooks/in/%2E./std", false },
        { "/in", "/http/hooks/in/.%2e", false },
        { "/in", "/http/hooks/in/%2e/a", false },
        { "/in", "/http/hooks/in/a%2F..%2f..%2fstd", false },
        { "/in", "/http/hooks/in/..?x", false },
        { "/in", "/http/hooks/in/.../..a/a.", true },
        { "/in", "x", false },
        { "/shop", "https://shop.example/", true },
        { "/shop", "https://shop.example/till/7", true },
        { "/shop", "https://shop.example.org/", false },
        { "/any", "/http/hooks/std", true },
        { "/any", "urn:x:y", true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[300], headers[300];
        snprintf(body, sizeof body, FROM("1", "%s"), cases[i].source);
        snprintf(headers, sizeof headers, "ce-specversion: 1.0\r\nce-id: 1\r\nce-type: t\r\nce-source: %s\r\n",
                 cases[i].source);
        if (!cases[i].taken) {
            refused(cases[i].path, CE, body, 403, "is not this path's");
            refused(cases[i].path, headers, "", 403, "is not this path's");
            continue;
        }
        const struct event *ev = accepted(cases[i].path, CE, body);
        is(ev->source, cases[i].source);
        event_unref(ev);
        ev = accepted(cases[i].path, headers, "");
        is(ev->source, cases[i].source);
        event_unref(ev);
    }
    const struct event *ev = accepted("/pin", CE, FROM("1", "/whatever"));
    is(ev->source, "/http/hooks/pin");
    is(ev->id, "1");
    is(ev->data, "{\"n\": 1}");
    event_unref(ev);
    taken_of_batch("/in", "[" FROM("1", "/http/hooks/in") "," FROM("2", "/other") "]", 1,
                   "\"accepted\":1,\"invalid\":[{\"index\":1,\"detail\":\"source \\\"/other\\\" is not this path's");
    refused("/in", BATCH, "[" FROM("1", "/other") "," FROM("2", "/http/hooks/in/a b") "]", 403,
            "event batch[0]: source");
    struct metric *foreign = metric_named("aqueduct_http_foreign_sources_total", LABELS("hooks", "/in"));
    assert_int_equal(metric_value(foreign), 26);
}

/* A path above another one does not pass for it. */
TEST(sources_of_paths_below)
{
    source_open("", "  - {path: /, verify: {scheme: none}}\n"
                    "  - {path: /hooks, verify: {scheme: none}}\n"
                    "  - {path: /hooks/github, verify: {scheme: none}}\n"
                    "  - {path: /far, source: /http/hooks/hooks/near, verify: {scheme: none}}\n");
    static const struct {
        const char *path, *source;
        bool taken;
    } cases[] = {
        { "/", "/http/hooks/", true },
        { "/", "/http/hooks/others", true },
        { "/", "/http/hooks/hooksmith", true },
        { "/", "/http/hooks/hooks", false },
        { "/", "/http/hooks/hooks?x", false },
        { "/", "/http/hooks/hooks#x", false },
        { "/", "/http/hooks/hooks/more", false },
        { "/hooks", "/http/hooks/hooks/more", true },
        { "/hooks", "/http/hooks/hooks/github", false },
        { "/hooks", "/http/hooks/hooks/github/push", false },
        { "/hooks", "/http/hooks/hooks/near/1", false },
        { "/hooks/github", "/http/hooks/hooks/github/push", true },
        { "/far", "/http/hooks/hooks/near/1", true },
        { "/", "/http/hooks/%68ooks", false },
        { "/hooks", "/http/hooks/hooks/gith%75b/push", false },
        { "/hooks/github", "/http/hooks/hooks/gith%75b/push", true },
        { "/hooks", "/http/hooks/hooks/%2E%2e/a", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[300];
        snprintf(body, sizeof body, FROM("1", "%s"), cases[i].source);
        if (cases[i].taken)
            event_unref(accepted(cases[i].path, CE, body));
        else
            refused(cases[i].path, CE, body, 403, "is not this path's");
    }
}

/* The sender knows the path that it posts to; whoever reads the log does not. */
TEST(a_foreign_source_shows_no_path_in_the_log)
{
    log_setup(LOG_INFO, LOG_LOGFMT);
    stderr_catch();
    source_open("", "  - {path: /q7Zk3vXw9Lm2Nc8R, verify: {scheme: none}}\n");
    refused("/q7Zk3vXw9Lm2Nc8R", CE, FROM("1", "/other"), 403, "/http/hooks/~");
    const char *text = stderr_caught();
    log_setup(LOG_ERROR, LOG_LOGFMT);
    assert_says(text, "a CloudEvent names a source that is not this path's");
    assert_null(strstr(text, "q7Zk3v"));
}

/* Each path is a sender of its own: it alone has the word on its ids. */
TEST(scopes)
{
    source_open("", OPEN_PATH "  - {path: /std, ce_source: any, verify: {scheme: none}}\n");
    struct client c = client_connect(socket_path), d = client_connect(socket_path);
    post(&c, "/in", CE, STR(EVENT("msg_77")));
    take(1);
    post(&d, "/std", CE, STR(EVENT("msg_77")));
    take(2);
    is(taken[0].scope, "hooks/in");
    is(taken[1].scope, "hooks/std");
    settle_all(OUTCOME_STORED, NULL);
    client_close(&c);
    client_close(&d);
}

/* A rotated secret is the same sender's: what it sent under the old one, it may repeat under the new one. */
TEST(secrets_of_one_path_are_one_sender)
{
    source_open("", "  - {path: /b, verify: {scheme: bearer, secrets: [token-number-0001, token-number-0002]}}\n");
    struct client c = client_connect(socket_path), d = client_connect(socket_path);
    post(&c, "/b", JSON "Idempotency-Key: 1\r\nAuthorization: Bearer token-number-0001\r\n", STR("{}"));
    take(1);
    post(&d, "/b", JSON "Idempotency-Key: 1\r\nAuthorization: Bearer token-number-0002\r\n", STR("{}"));
    take(2);
    for (size_t i = 0; i < 2; i++) {
        is(taken[i].scope, "hooks/b");
        is(taken[i].event->source, "/http/hooks/b");
        is(taken[i].event->id, "1");
    }
    settle_all(OUTCOME_STORED, NULL);
    client_close(&c);
    client_close(&d);
}

/* Its source is replaced, but not forgotten: two producers may use one id. */
TEST(pinned_events_of_two_producers)
{
    source_open("", "  - {path: /pin, ce_source: pin, verify: {scheme: none}}\n");
    struct client c = client_connect(socket_path), d = client_connect(socket_path);
    post(&c, "/pin", BATCH, STR("[" FROM("1", "/a") "," FROM("1", "/b") "," FROM("2", "/a") "]"));
    take(3);
    post(&d, "/pin", CE, STR(FROM("1", "/b")));
    take(4);
    for (size_t i = 0; i < 4; i++) {
        is(taken[i].event->source, "/http/hooks/pin");
        assert_true(str_starts(taken[i].scope, STR("hooks/pin?")));
        assert_int_equal(taken[i].scope.n, strlen("hooks/pin?") + UUID_TEXT - 1);
    }
    assert_false(str_eq(taken[0].scope, taken[1].scope));
    assert_true(str_eq(taken[0].scope, taken[2].scope));
    assert_true(str_eq(taken[1].scope, taken[3].scope));
    settle_all(OUTCOME_STORED, NULL);
    post(&c, "/pin", JSON, STR("{}")); /* names no source */
    take(1);
    is(taken[0].scope, "hooks/pin");
    settle_all(OUTCOME_STORED, NULL);
    client_close(&c);
    client_close(&d);
}

/* Another event under a known id: 409, or 422 where the Idempotency-Key draft says so. */
TEST(conflicts)
{
    static const struct {
        const char *headers, *body;
        int status;
    } cases[] = {
        { CE, EVENT("a"), 409 },
        { CE "Idempotency-Key: k\r\n", EVENT("a"), 409 },
        { JSON "Idempotency-Key: k\r\n", "{}", 422 },
        { JSON "X-Id: 1\r\nIdempotency-Key: k\r\n", "{}", 409 },
        { BATCH, "[" EVENT("a") "]", 422 },
    };
    source_open("", "  - {path: /in, id_header: X-Id, ce_source: any, verify: {scheme: none}}\n");
    struct client c = client_connect(socket_path);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        post(&c, "/in", cases[i].headers, str_of(cases[i].body));
        take(1);
        settle_all(OUTCOME_CONFLICT, "another event with this id was stored before");
        struct answer a = receive(&c);
        assert_int_equal(a.status, cases[i].status);
        assert_true(has(a.body, "another event with this id"));
        client_drop(&c, &a);
    }
    client_close(&c);
}

TEST(batch)
{
    source_open("max_pending: 5", OPEN_PATH);
    struct client c = client_connect(socket_path);
    post(&c, "/in", BATCH, STR("[" EVENT("a") "," EVENT("b") "," EVENT("c") "]"));
    take(3);
    is(taken[0].event->id, "a");
    is(taken[2].event->id, "c");
    settle_all(OUTCOME_STORED, NULL);
    struct answer a = receive(&c);
    assert_int_equal(a.status, 202);
    is(a.body, "{\"accepted\":3}");
    client_drop(&c, &a);

    post(&c, "/in", BATCH, STR("[" EVENT("a") "," EVENT("b") "," EVENT("c") "]")); /* one of them cannot be taken */
    take(3);
    http_source.settle(source, taken[1].tag, OUTCOME_INVALID, "no route \"takes\" it");
    event_unref(taken[1].event);
    taken[1] = taken[2];
    taken_count = 2;
    client_read(&c);
    assert_false(client_answer(&c, &a)); /* not before all are settled */
    settle_all(OUTCOME_STORED, NULL);
    a = receive(&c);
    assert_int_equal(a.status, 422);
    assert_true(has(a.body, "\"accepted\":2,\"invalid\":[{\"index\":1,\"detail\":\"no route \\\"takes\\\" it\"}]"));
    client_drop(&c, &a);

    post(&c, "/in", BATCH, STR("[" EVENT("a") "," EVENT("b") "]")); /* unavailable beats invalid */
    take(2);
    http_source.settle(source, taken[0].tag, OUTCOME_INVALID, "bad");
    http_source.settle(source, taken[1].tag, OUTCOME_UNAVAILABLE, "down");
    event_unref(taken[0].event);
    event_unref(taken[1].event);
    taken_count = 0;
    a = receive(&c);
    assert_int_equal(a.status, 503);
    assert_true(answer_header(&a, "Retry-After").n > 0);
    client_drop(&c, &a);

    post(&c, "/in", BATCH, STR("[]"));
    a = receive(&c);
    assert_int_equal(a.status, 202);
    is(a.body, "{\"accepted\":0}");
    client_close(&c);
    taken_of_batch("/in", "[{}," EVENT("a") ",7," EVENT("b") "]", 2,
                   "\"detail\":\"2 of 4 events cannot be taken, the others are stored\",\"accepted\":2,\"invalid\":["
                   "{\"index\":0,\"detail\":\"event attribute specversion is missing\"},{\"index\":2,\"detail\":");
    refused("/in", BATCH, "[{}]", 400, "event batch[0]: event attribute specversion is missing");
    refused("/in", BATCH, EVENT("a"), 400, "");
    refused("/in", BATCH, "[1,2]", 400, "");
    refused("/in", BATCH, "[" EVENT("1") "," EVENT("2") "," EVENT("3") "," EVENT("4") "," EVENT("5") "," EVENT("6") "]",
            413, "max_pending");
}

/* All events of a body are stored, or its sender is to send it again, under the same ids. */
TEST(a_body_of_several_events)
{
    static const char body[] = "{\"b\":\"one\",\"runs\":[{\"id\":\"x\"},{\"id\":\"y\"}]}";
    source_open("",
                "  - {path: /in, verify: {scheme: none}, app: a, each: $.runs, id: \":body->>'$.b'\", data: {run.id: "
                "\"r.value->>'$.id'\"}, map: [{type: run.finished}]}\n");
    struct client c = client_connect(socket_path);
    post(&c, "/in", JSON, STR(body));
    take(2);
    is(taken[0].event->id, "one/0");
    is(taken[1].event->id, "one/1");
    http_source.settle(source, taken[0].tag, OUTCOME_STORED, NULL);
    http_source.settle(source, taken[1].tag, OUTCOME_UNAVAILABLE, NULL);
    for (size_t i = 0; i < 2; i++)
        event_unref(taken[i].event);
    taken_count = 0;
    assert_int_equal(receive(&c).status, 503);
    client_close(&c);
    c = client_connect(socket_path);
    post(&c, "/in", JSON, STR(body));
    take(2);
    is(taken[0].event->id, "one/0");
    is(taken[1].event->id, "one/1");
    settle_all(OUTCOME_STORED, NULL);
    struct answer a = receive(&c);
    assert_int_equal(a.status, 202);
    is(a.body, "{\"accepted\":2}");
    client_close(&c);
}

TEST(a_body_that_is_dropped)
{
    source_open(
        "", "  - {path: /in, verify: {scheme: none}, app: a, unmapped: drop, data: {run.id: \":body->>'$.id'\"}, map: "
            "[{type: run.finished, when: \":body->>'$.id'\"}]}\n");
    struct client c = client_connect(socket_path);
    post(&c, "/in", JSON, STR("{}"));
    struct answer a = receive(&c);
    assert_int_equal(a.status, 202);
    is(a.body, "{\"accepted\":0}");
    client_close(&c);
    event_unref(accepted("/in", JSON, "{\"id\":7}"));
}

/* What is bad in a batch takes none of the room that its good events need. */
TEST(a_batch_with_bad_events_beside_one_that_waits)
{
    source_open("max_pending: 3", OPEN_PATH);
    struct client a = client_connect(socket_path), b = client_connect(socket_path);
    post(&a, "/in", JSON, STR("1"));
    for (int i = 0; i < 100; i++)
        turn(0); /* it waits inside */
    post(&b, "/in", BATCH, STR("[{}," EVENT("good") ",{},{},{}]"));
    for (int i = 0; i < 100; i++)
        turn(0);
    take(2);
    settle_all(OUTCOME_STORED, NULL);
    assert_int_equal(receive(&a).status, 202);
    struct answer answered = receive(&b);
    assert_int_equal(answered.status, 422);
    assert_true(has(answered.body, "4 of 5"));
    client_close(&a);
    client_close(&b);
}

/* What one event of a batch lacks costs the others nothing, nor their places. */
TEST(a_batch_with_bad_events)
{
    source_open("", "  - {path: /pin, ce_source: pin, verify: {scheme: none}}\n");
    struct client c = client_connect(socket_path);
    post(&c, "/pin", BATCH, STR("[{}," EVENT("a") "," EVENT("b") "]"));
    take(2);
    assert_false(str_eq(taken[0].scope, STR("hooks/pin"))); /* the source that it named counts */
    assert_true(str_eq(taken[0].scope, taken[1].scope));
    http_source.settle(source, taken[1].tag, OUTCOME_INVALID, "no route takes this event");
    event_unref(taken[1].event);
    taken_count = 1;
    settle_all(OUTCOME_STORED, NULL);
    struct answer a = receive(&c);
    assert_int_equal(a.status, 422);
    assert_true(has(a.body,
                    "\"accepted\":1,\"invalid\":[{\"index\":0,\"detail\":\"event attribute specversion is missing\"},"
                    "{\"index\":2,\"detail\":\"no route takes this event\"}]"));
    client_drop(&c, &a);
    post(&c, "/pin", BATCH, STR("[{}," EVENT("a") "]")); /* what could not be stored now is sent again, all of it */
    take(1);
    settle_all(OUTCOME_UNAVAILABLE, "down");
    assert_int_equal(receive(&c).status, 503);
    client_close(&c);
}

TEST(batch_of_too_many)
{
    source_open("", OPEN_PATH);
    struct buf b = buf_new(1 << 20);
    buf_add_char(&b, '[');
    for (int i = 0; i < 1001; i++)
        buf_add_c(&b, i ? "," EVENT("x") : EVENT("x"));
    buf_add_char(&b, ']');
    refused("/in", BATCH, buf_c(&b), 400, "more than 1000 events");
    buf_free(&b);
}

TEST(limits_that_are_set)
{
    source_open("max_batch: 2\nmax_attributes: 1", OPEN_PATH);
    refused("/in", BATCH, "[" EVENT("a") "," EVENT("b") "," EVENT("c") "]", 400, "more than 2 events");
#define EXTENDED(id)                                                                                                   \
    "{\"specversion\":\"1.0\",\"id\":\"" id "\",\"source\":\"/s\",\"type\":\"t\",\"one\":\"1\",\"two\":\"2\"}"
    refused("/in", CE, EXTENDED("a"), 400, "2 extension attributes, max_attributes allows 1");
    taken_of_batch("/in", "[" EVENT("a") "," EXTENDED("b") "]", 1,
                   "\"invalid\":[{\"index\":1,\"detail\":\"2 extension attributes");
    refused("/in", BATCH, "[" EXTENDED("b") "]", 400, "event batch[0]: 2 extension attributes");
    refused("/in", "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\nce-one: 1\r\nce-two: 2\r\n", "",
            400, "2 extension attributes");
    event_unref(accepted("/in", CE "ce-ignored: 1\r\n", EVENT("a")));
}

/* Sends a request without a body and gives its answer. */
static struct answer ask(struct client *c, const char *head)
{
    *c = client_connect(socket_path);
    client_write(c, str_of(head));
    return receive(c);
}

/* The CloudEvents webhook specification, section 4: a sender asks before it sends. */
TEST(options)
{
    struct client c;
    source_open("", OPEN_PATH "  - {path: /some, allowed_origins: [events.example.com], verify: {scheme: bearer, "
                              "secrets: [a-token-of-some-length]}}\n");
    struct answer a = ask(&c, "OPTIONS /in HTTP/1.1\r\nHost: x\r\nWebHook-Request-Origin: any.example.org\r\n"
                              "WebHook-Request-Rate: 120\r\n\r\n");
    assert_int_equal(a.status, 200);
    is(answer_header(&a, "WebHook-Allowed-Origin"), "any.example.org");
    is(answer_header(&a, "WebHook-Allowed-Rate"), "*");
    is(answer_header(&a, "Allow"), "POST, OPTIONS");
    client_close(&c);
    a = ask(&c, "OPTIONS /some HTTP/1.1\r\nHost: x\r\nWebHook-Request-Origin: Events.example.com\r\n\r\n");
    assert_int_equal(a.status, 200);
    is(answer_header(&a, "WebHook-Allowed-Origin"), "Events.example.com");
    client_close(&c);
    a = ask(&c, "OPTIONS /some HTTP/1.1\r\nHost: x\r\nWebHook-Request-Origin: any.example.org\r\n\r\n");
    assert_int_equal(a.status, 403);
    assert_null(answer_header(&a, "WebHook-Allowed-Origin").at);
    client_close(&c);
    a = ask(&c, "OPTIONS /some HTTP/1.1\r\nHost: x\r\nWebHook-Request-Origin: a\r\nWebHook-Request-Origin: b\r\n\r\n");
    assert_int_equal(a.status, 400);
    client_close(&c);
    a = ask(&c, "OPTIONS /in HTTP/1.1\r\nHost: x\r\n\r\n"); /* nobody asks: what the path takes */
    assert_int_equal(a.status, 200);
    is(answer_header(&a, "Allow"), "POST, OPTIONS");
    assert_null(answer_header(&a, "WebHook-Allowed-Origin").at);
    client_close(&c);
    a = ask(&c, "OPTIONS /other HTTP/1.1\r\nHost: x\r\nWebHook-Request-Origin: any.example.org\r\n\r\n");
    assert_int_equal(a.status, 404);
    client_close(&c);
}

/* ---- bodies ---- */

TEST(forms)
{
    static const struct {
        const char *form, *json;
    } cases[] = {
        { "a=1&b=%C3%BC+x", "{\"a\":\"1\",\"b\":\"\xc3\xbc x\"}" },
        { "a=1&b=2&a=3&&c", "{\"a\":[\"1\",\"3\"],\"b\":\"2\",\"c\":\"\"}" },
        { "%61=%zz%4", "{\"a\":\"%zz%4\"}" },
        { "=x&a==", "{\"\":\"x\",\"a\":\"=\"}" },
        { "a=%ff%00%22", "{\"a\":\"\xef\xbf\xbd\\u0000\\\"\"}" },
        { "", "{}" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = buf_new(1000);
        assert_true(form_to_json(&out, str_of(cases[i].form), NULL));
        is(buf_str(&out), cases[i].json);
        buf_free(&out);
    }
    struct buf many = buf_new(1 << 16), out = buf_new(1 << 20);
    struct err e;
    for (int i = 0; i <= FORM_FIELDS; i++)
        buf_printf(&many, "f%d=1&", i);
    assert_false(form_to_json(&out, buf_str(&many), &e));
    assert_says(e.text, "more than 1000 fields");
    buf_free(&many);
    buf_free(&out);
}

#define FORM "Content-Type: application/x-www-form-urlencoded\r\n"

/* GitHub's other form: JSON in `payload`, signed as it comes. The content type is nobody's word: the body says which it is. */
TEST(a_form_with_json_in_it)
{
    static const char form[] = "payload=%7B%22action%22%3A%22a+b%22%7D", json[] = "{\"action\":\"a b\"}";
    source_open(
        "",
        GITHUB_PATH("path: /gh") GITHUB_PATH(
            "path: /as-it-comes, content_type: application/x-www-form-urlencoded") "  - {path: /twilio, form: json, id: \"{{body.CallSid}}\", verify: {scheme: none}}\n"
                                                                                   "  - {path: /payload, form: payload, verify: {scheme: none}}\n");
    const char *const types[] = { FORM, JSON, "" };
    for (size_t i = 0; i < 3; i++) {
        const struct event *ev = accepted("/gh", signed_body(form, types[i]), form);
        is(ev->data, json);
        is(ev->datacontenttype, "application/json");
        is(ev->id, "d-1");
        event_unref(ev);
        ev = accepted("/gh", signed_body(json, types[i]), json);
        is(ev->data, json);
        event_unref(ev);
    }
    refused("/gh", signed_body("a=1", FORM), "a=1", 400, "not valid JSON");
    refused("/gh", signed_body("payload=%7B", FORM), "payload=%7B", 400, "not valid JSON");
    refused("/gh", signed_body("payload=", FORM), "payload=", 400, "the body is empty");
    const struct event *ev = accepted("/as-it-comes", signed_body(form, FORM), form);
    is(ev->data, form);
    event_unref(ev);
    ev = accepted("/twilio", FORM, "CallSid=CA1&Digits=1&Digits=2");
    is(ev->data, "{\"CallSid\":\"CA1\",\"Digits\":[\"1\",\"2\"]}");
    is(ev->id, "CA1");
    event_unref(ev);
    ev = accepted("/twilio", FORM, "{\"CallSid\":\"CA2\"}"); /* JSON, whatever it is called */
    is(ev->data, "{\"CallSid\":\"CA2\"}");
    is(ev->id, "CA2");
    event_unref(ev);
    ev = accepted("/payload", FORM, "x=1&payload=%7B%7D");
    is(ev->data, "{}");
    event_unref(ev);
    ev = accepted("/payload", FORM, "x=1"); /* another form stays as it came */
    is(ev->data, "x=1");
    is(ev->datacontenttype, "application/x-www-form-urlencoded");
    event_unref(ev);
}

/* The text `times` times, packed; free() it. */
static struct str packed(const char *text, size_t times, bool gzip)
{
    struct buf all = buf_new(1 << 24);
    for (size_t i = 0; i < times; i++)
        buf_add_c(&all, text);
    z_stream z = { 0 };
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, gzip ? 31 : 15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&z, all.n);
    char *out = malloc(room);
    z.next_in = (Bytef *)all.at;
    z.avail_in = (uInt)all.n;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    buf_free(&all);
    return (struct str){ out, room - z.avail_out };
}

static struct str joined(struct str a, struct str b)
{
    char *out = malloc(a.n + b.n);
    memcpy(out, a.at, a.n);
    memcpy(out + a.n, b.at, b.n);
    return (struct str){ out, a.n + b.n };
}

static int posted(const char *path, const char *headers, struct str body, const char *expected)
{
    struct client c = client_connect(socket_path);
    post(&c, path, headers, body);
    struct answer a = { 0 };
    for (int i = 0; i < 10000 && taken_count == 0 && !client_answer(&c, &a); i++) {
        turn(ROOM);
        client_read(&c);
    }
    if (taken_count) {
        is(taken[0].event->data, expected);
        settle_all(OUTCOME_STORED, NULL);
    }
    a = receive(&c);
    int status = a.status;
    if (status >= 300 && !has(a.body, expected))
        fail_msg("%.*s", STR_ARG(a.body));
    if (status == 415)
        is(answer_header(&a, "Accept-Encoding"), "gzip, deflate, identity");
    client_close(&c);
    return status;
}

TEST(compressed_bodies)
{
#define GZIP    JSON "Content-Encoding: gzip\r\n"
#define DEFLATE JSON "Content-Encoding: Deflate\r\n"
    source_open("max_body: 256KiB",
                OPEN_PATH GITHUB_PATH("path: /gh") GITHUB_PATH("path: /text, content_type: text/plain")
                    GITHUB_PATH("path: /store, not_json: store"));
    struct str gzip = packed("{}", 1, true), deflate = packed("{}", 1, false), one = packed("[1", 1, true),
               two = packed(",2]", 1, true), large = packed(" ", 256 << 10, true);
    const struct str raw = { deflate.at + 2, deflate.n - 6 }; /* without zlib's head and sum */
    struct str members = joined(one, two), trailing = joined(gzip, STR("x")), after = joined(deflate, STR("x"));
    const struct {
        const char *path, *headers;
        struct str body;
        int status;
        const char *expected;
    } cases[] = {
        { "/in", GZIP, gzip, 202, "{}" },
        { "/in", JSON "Content-Encoding: X-GZip\r\n", gzip, 202, "{}" },
        { "/in", DEFLATE, deflate, 202, "{}" },
        { "/in", DEFLATE, raw, 202, "{}" },
        { "/in", DEFLATE, { raw.at, raw.n - 1 }, 400, "cut off" },
        { "/in", GZIP, members, 202, "[1,2]" },
        { "/in", GZIP, deflate, 400, "not what Content-Encoding says" },
        { "/in", DEFLATE, gzip, 400, "not what Content-Encoding says" },
        { "/in", GZIP, STR("{}"), 400, "not what Content-Encoding says" },
        { "/in", GZIP, { gzip.at, gzip.n - 1 }, 400, "cut off" },
        { "/in", GZIP, trailing, 400, "bytes follow" },
        { "/in", DEFLATE, after, 400, "bytes follow" },
        { "/in", GZIP, one, 400, "not valid JSON" },
        { "/in", GZIP, large, 400, "not valid JSON" }, /* as long as max_body */
        { "/in", JSON "Content-Encoding: br\r\n", gzip, 415, "gzip or deflate" },
        { "/in", JSON "Content-Encoding: gzip, gzip\r\n", gzip, 415, "gzip or deflate" },
        { "/text", "Content-Encoding: gzip\r\n", gzip, 415, "is not signed" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *headers = cases[i].headers;
        char more[500];
        if (strcmp(cases[i].path, "/text") == 0) {
            snprintf(more, sizeof more, "%s", signed_bytes(cases[i].body, headers));
            headers = more;
        }
        if (posted(cases[i].path, headers, cases[i].body, cases[i].expected) != cases[i].status)
            fail_msg("case %zu", i);
    }
    assert_int_equal(posted("/gh", signed_bytes(gzip, GZIP), gzip, "{}"), 202);             /* signed as it came */
    assert_int_equal(posted("/gh", signed_bytes(gzip, JSON), gzip, "not valid JSON"), 400); /* and has one reading */
    assert_int_equal(posted("/gh", signed_bytes(raw, DEFLATE), raw, "not what"), 400);
    assert_int_equal(posted("/store", signed_bytes(gzip, JSON), gzip, "it is compressed"), 400);
    assert_int_equal(posted("/store", signed_bytes(deflate, JSON), deflate, "it is compressed"), 400);
    assert_int_equal(posted("/gh", signed_body("{}", GZIP), STR("{}"), "not what"), 400);
    struct str longer = packed(" ", (256 << 10) + 1, true);
    assert_int_equal(posted("/in", GZIP, longer, "longer than 262144 bytes"), 413);
    const struct str all[] = { gzip, deflate, one, two, large, members, trailing, after, longer };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free((void *)(uintptr_t)all[i].at);
}

/* A body that grows beyond all measure is refused before it has grown. */
TEST(compressed_bodies_that_are_bombs)
{
    source_open("max_body: 8MiB", OPEN_PATH);
    struct str bomb = packed("          ", 800000, true);
    assert_true(bomb.n < 20000);
    char expected[60];
    snprintf(expected, sizeof expected, "longer than %zu bytes", (1 << 20) + 200 * bomb.n);
    assert_int_equal(posted("/in", GZIP, bomb, expected), 413);
    free((void *)(uintptr_t)bomb.at);
}

/* ---- answers ---- */

TEST(answers_that_a_path_chooses)
{
    source_open(
        "",
        "  - {path: /ok, answer: {status: 200, body: \"[accepted]\"}, verify: {scheme: none}}\n"
        "  - {path: /json, answer: {status: 201, body: '{\"ok\": true}'}, verify: {scheme: none}}\n"
        "  - {path: /xml, answer: {status: 200, body: <Response/>, content_type: text/xml}, verify: {scheme: none}}\n"
        "  - {path: /none, answer: {status: 204}, verify: {scheme: none}}\n"
        "  - {path: /status, answer: {status: 200}, verify: {scheme: none}}\n");
    static const struct {
        const char *path;
        int status;
        const char *type, *body;
    } cases[] = {
        { "/ok", 200, "text/plain; charset=utf-8", "[accepted]" },
        { "/json", 201, "application/json", "{\"ok\": true}" },
        { "/xml", 200, "text/xml", "<Response/>" },
        { "/none", 204, NULL, "" },
        { "/status", 200, "application/json", "{\"id\":\"k\"}" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c = client_connect(socket_path);
        struct answer a;
        post(&c, cases[i].path, JSON "Idempotency-Key: k\r\nPrefer: respond-async\r\n", STR("{}"));
        take(1);
        client_read(&c);
        assert_false(client_answer(&c, &a)); /* not before it is stored, whatever the sender prefers */
        settle_all(OUTCOME_UNAVAILABLE, NULL);
        a = receive(&c);
        assert_int_equal(a.status, 503); /* never instead of the truth */
        client_drop(&c, &a);
        post(&c, cases[i].path, JSON "Idempotency-Key: k\r\n", STR("{}"));
        take(1);
        settle_all(OUTCOME_STORED, NULL);
        if (cases[i].status == 204) {
            for (int k = 0; k < 10000 && !has(buf_str(&c.in), "\r\n\r\n"); k++) {
                turn(0);
                client_read(&c);
            }
            assert_true(has(buf_str(&c.in), "HTTP/1.1 204 "));
            assert_false(has(buf_str(&c.in), "Content-"));
        } else {
            a = receive(&c);
            assert_int_equal(a.status, cases[i].status);
            is(a.body, cases[i].body);
            is(answer_header(&a, "Content-Type"), cases[i].type);
        }
        client_close(&c);
    }
    assert_int_equal(counter("/none", "204"), 1);
    assert_int_equal(counter("/xml", "200"), 1);
}

/* How many lines three posts, two accepted and one refused, write to the log. */
static void logs(const char *option, int accepted_lines, int refused_lines)
{
    log_setup(LOG_INFO, LOG_LOGFMT);
    stderr_catch();
    source_open(option, OPEN_PATH);
    event_unref(accepted("/in", JSON "Idempotency-Key: k-17\r\n", "{}"));
    struct client c = client_connect(socket_path);
    post(&c, "/in", BATCH, STR("[]"));
    assert_int_equal(receive(&c).status, 202);
    client_close(&c);
    refused("/in", JSON, "{", 400, "JSON");
    source_close(NULL);
    const char *text = stderr_caught();
    log_setup(LOG_ERROR, LOG_LOGFMT);
    int lines[2] = { 0, 0 };
    for (const char *at = text; (at = strstr(at, "msg=\"request ")); at++)
        lines[strncmp(at + 13, "accepted", 8) != 0]++;
    assert_int_equal(lines[0], accepted_lines);
    assert_int_equal(lines[1], refused_lines);
    assert_true(!accepted_lines || strstr(text, " path=/in "));
    assert_true(!accepted_lines || strstr(text, " event=k-17 events=1 bytes="));
}

TEST(requests_in_the_log)
{
    logs("requests: all", 2, 1);
    logs("requests: refused", 0, 1);
    logs("", 0, 1);
    logs("requests: none", 0, 0);
    socket_path = client_path(); /* for the teardown */
    wake_fd = wake_new();
}

/* Opens with these options, does as `play` does, and finds the texts in the log. */
static void said_in_the_log(const char *more, const char *paths, void (*play)(void), const char *const *texts)
{
    log_setup(LOG_INFO, LOG_LOGFMT);
    stderr_catch();
    source_open(more, paths);
    play();
    source_close(NULL);
    const char *text = stderr_caught();
    log_setup(LOG_ERROR, LOG_LOGFMT);
    for (; *texts; texts++)
        assert_says(text, *texts);
    socket_path = client_path(); /* for the teardown */
    wake_fd = wake_new();
}

static void play_failures(void)
{
    static const char wrong[] = JSON "X-Forwarded-For: 192.0.2.7\r\nAuthorization: Bearer token-number-0002\r\n";
    refused("/in", wrong, "{}", 401, "could not be verified");
    refused("/in", wrong, "{}", 429, "too many requests from this address");
    refused("/in", JSON "X-Forwarded-For: 192.0.2.7\r\nAuthorization: Basic x\r\n", "{}", 429, "too many requests");
}

/* Also when an address has failed too often; and of several schemes which one. */
TEST(the_reason_of_a_refusal_in_the_log)
{
    said_in_the_log(
        "trusted_proxies: [unix]\nlimits: {failures: {rate: 0.001, burst: 1}}",
        "  - {path: /in, verify: {all: [{scheme: address, allow: [192.0.2.0/24]}, {scheme: bearer, secrets: "
        "[token-number-0001]}]}}\n",
        play_failures,
        (const char *const[]){ "status=401 why=\"mismatch (bearer)\"",
                               "status=429 why=\"mismatch (bearer); more failures of this address than "
                               "limits.failures allows\"",
                               "status=429 why=\"malformed (bearer); more failures", NULL });
}

static void play_elsewhere(void)
{
    refused("/v1/githb?key=x", JSON, "{}", 404, "nothing at this path");
    refused("/v1/0123456789abcdef0123", JSON, "{}", 404, "nothing at this path");
}

TEST(paths_that_are_none_in_the_log)
{
    said_in_the_log("", OPEN_PATH, play_elsewhere,
                    (const char *const[]){ "path=/v1/githb peer=unix status=404", "path=/v1/* peer=unix status=404",
                                           NULL });
}

TEST(long_list_of_invalid_events)
{
    source_open("", OPEN_PATH);
    struct buf b = buf_new(1 << 20);
    buf_add_char(&b, '[');
    for (int i = 0; i < 1000; i++)
        buf_add_c(&b, i ? "," EVENT("x") : EVENT("x"));
    buf_add_char(&b, ']');
    struct client c = client_connect(socket_path);
    post(&c, "/in", BATCH, buf_str(&b));
    take(1000);
    settle_all(OUTCOME_INVALID,
               "a reason of some length that is repeated a thousand times so that the list becomes too long");
    struct answer a = receive(&c);
    assert_int_equal(a.status, 422);
    assert_true(has(a.body, "1000 of 1000"));
    for (int i = 0; i < 1000; i++) { /* each is named, so that the sender can send all of them again */
        char told[32], alone[32];
        snprintf(told, sizeof told, "{\"index\":%d,", i);
        snprintf(alone, sizeof alone, "{\"index\":%d}", i);
        assert_true(has(a.body, told) || has(a.body, alone));
    }
    assert_int_equal(a.body.at[a.body.n - 1], '}');
    assert_int_equal(a.body.at[a.body.n - 2], ']');
    client_close(&c);
    buf_free(&b);
}

/* ---- what is refused ---- */

TEST(refusals)
{
    source_open("max_body: 100\nmax_head: 2KiB", OPEN_PATH);
    refused("/other", JSON, "{}", 404, "nothing at this path");
    refused("/in/", JSON, "{}", 404, "nothing at this path");
    refused("/in", JSON, "", 400, "empty");
    refused("/in", JSON, "{\"a\":1,}", 400, "not valid JSON");
    refused("/in", "", "no json", 400, "not valid JSON");
    refused("/in", JSON, "{}{}", 400, "2"); /* the offset */
    refused("/in", JSON "Content-Encoding: br\r\n", "{}", 415, "Content-Encoding gzip or deflate, or without");
    refused("/in", JSON JSON, "{}", 400, "Content-Type");

    static const char *const methods[] = { "GET", "PUT", "DELETE", "HEAD" };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        char request[100];
        struct client c = client_connect(socket_path);
        snprintf(request, sizeof request, "%s /in HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", methods[i]);
        client_write(&c, str_of(request));
        for (int k = 0; k < 10000 && !c.ended; k++) {
            turn(ROOM);
            client_read(&c);
        }
        assert_true(has(buf_str(&c.in), "HTTP/1.1 405 "));
        assert_true(has(buf_str(&c.in), "Allow: POST, OPTIONS\r\n"));
        client_close(&c);
    }

    assert_int_equal(taken_count, 0);
}

/* Each refusal is a problem (RFC 9457) that says what the sender can do, by whomever it is found. */
TEST(every_refusal_is_a_problem)
{
    static char filler[3000], longest[9000];
    static const struct {
        const char *head, *filler, *body;
        int status;
        const char *detail, *header, *value;
    } cases[] = {
        { "POST /in HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n", "", "{", 400, "not valid JSON", NULL, NULL },
        { "POST /in HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", "", "", 400, "RFC 9112", NULL, NULL },
        { "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n", "", "{}", 401, "could not be verified",
          "WWW-Authenticate", "Bearer" },
        { "POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n", "", "{}", 404, "nothing at this path", NULL,
          NULL },
        { "DELETE /in HTTP/1.1\r\nHost: x\r\n\r\n", "", "", 405, "sent by POST", "Allow", "POST, OPTIONS" },
        { "POST /in HTTP/1.1\r\nHost: x\r\n\r\n", "", "", 411, "no Content-Length", NULL, NULL },
        { "POST /in HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n", "", "", 413, "longer than is taken", NULL,
          NULL },
        { "POST /", longest, "", 414, "target is longer", NULL, NULL },
        { "POST /in HTTP/1.1\r\nHost: x\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n", "", "{}", 415,
          "gzip or deflate", "Accept-Encoding", "gzip, deflate, identity" },
        { "POST /text HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\n", "", "{}", 415,
          "takes text/plain", "Accept", "text/plain" },
        { "POST /in HTTP/1.1\r\nHost: x\r\nExpect: more\r\nContent-Length: 2\r\n\r\n", "", "{}", 417, "100-continue",
          NULL, NULL },
        { "POST /in HTTP/1.1\r\nHost: x\r\nX: ", filler, "", 431, "head is longer", NULL, NULL },
        { "POST /in HTTP/3.0\r\nHost: x\r\n\r\n", "", "", 505, "version", NULL, NULL },
    };
    memset(filler, 'x', sizeof filler - 1);
    memset(longest, 'x', sizeof longest - 1);
    source_open("max_body: 100\nmax_head: 2KiB",
                OPEN_PATH "  - {path: /text, content_type: text/plain, verify: {scheme: none}}\n"
                          "  - {path: /b, verify: {scheme: bearer, secrets: [token-number-0001]}}\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c = client_connect(socket_path);
        client_write(&c, str_of(cases[i].head));
        client_write(&c, str_of(cases[i].filler));
        client_write(&c, str_of(cases[i].body));
        struct answer a = receive(&c);
        char status[20];
        snprintf(status, sizeof status, "\"status\":%d,", cases[i].status);
        if (a.status != cases[i].status || !has(a.body, cases[i].detail) || !has(a.body, status))
            fail_msg("%.40s: %d %.*s", cases[i].head, a.status, STR_ARG(a.body));
        assert_true(str_eq(answer_header(&a, "Content-Type"), STR("application/problem+json")));
        if (cases[i].header)
            is(answer_header(&a, cases[i].header), cases[i].value);
        client_close(&c);
    }
    assert_int_equal(taken_count, 0);
}

static void types_add(void *ctx, const char *type)
{
    buf_printf(ctx, "%s ", type);
}

/* The types that paths tell of before the source is open. */
static void assert_path_types(const char *paths, const char *expected)
{
    char yaml[1024];
    snprintf(yaml, sizeof yaml, "listen: unix:x\npaths: [{path: /a, %s}]", paths);
    struct source *filled = source_filled(&http_source, "types", yaml);
    struct buf types = buf_new(1024);
    http_source.types(filled, types_add, &types);
    assert_string_equal(buf_c(&types), expected);
    buf_free(&types);
    free(filled);
}

TEST(types_are_known_where_no_cloudevents_are_taken)
{
#define SECRETS "secrets: [a secret of enough length]"
    assert_path_types("verify: {scheme: none}", "{type} webhook.received ");
    assert_path_types("verify: {scheme: none}, cloudevents: none", "webhook.received ");
    assert_path_types("verify: {scheme: none}, cloudevents: none, type: order_shipped", "order_shipped ");
    assert_path_types("verify: {scheme: none}, cloudevents: none, type: order, type_header: X-T",
                      "order order.{header} ");
    assert_path_types("verify: {scheme: github, " SECRETS "}", "github github.{header} ");
    assert_path_types("verify: {scheme: github, " SECRETS "}, type: \"git.{{body.action}}\"", "git.{x} github ");
    assert_path_types("verify: {scheme: github, " SECRETS "}, cloudevents: structured", "{type} ");
    assert_path_types("verify: {scheme: stripe, " SECRETS "}", "stripe stripe.{type} ");
    assert_path_types("verify: {scheme: stripe, " SECRETS "}, type: pay", "pay ");
    assert_path_types("verify: {scheme: standard, " SECRETS "}", "webhook.received {type} ");
#undef SECRETS
}

TEST(bad_options)
{
    static const struct {
        const char *yaml, *expected;
    } cases[] = {
        { "paths: [{path: /a, verify: {scheme: none}}, {path: /a, verify: {scheme: none}}]", "/a is there twice" },
        { "paths: [{path: /a, verify: {scheme: none}}, {path: /b, name: a, verify: {scheme: none}}]",
          "called like the name a" },
        { "paths: [{path: /a, source: /s, verify: {scheme: none}}, {path: /b, source: /s, verify: {scheme: none}}]",
          "/a and /b have the same source /s: each" },
        { "paths: [{path: /a, verify: {scheme: none}}, {path: /b, source: /http/%72efused/a, verify: {scheme: none}}]",
          "/a and /b have the same source /http/refused/a (the first one's default)" },
        { "paths: [{path: /b, source: /http/refused/%61, verify: {scheme: none}}, {path: /a, verify: {scheme: none}}]",
          "/b and /a have the same source /http/refused/a (the second one's default)" },
        { "paths: [{path: /a, name: a/b, verify: {scheme: none}}]", "name has 1 to 64 letters" },
        { "paths: [{path: a, verify: {scheme: none}}]", "must begin with /" },
        { "paths: [{path: \"/a b\", verify: {scheme: none}}]", "no spaces" },
        { "paths: [{path: /a, source: my app, verify: {scheme: none}}]", "source is not a URI reference" },
        { "paths: [{path: /a|b, verify: {scheme: none}}]", "path has characters that no URI has" },
        { "paths: [{path: /a?x, verify: {scheme: none}}]", "no spaces" },
        { "paths: [{path: /a, verify: {scheme: github}}]", "/a: verify.secrets: scheme github needs" },
        { "paths: [{path: /a, verify: {scheme: standard, secrets: [whsec_]}}]",
          "/a: verify.secrets[0]: makes a key of 0 bytes" },
        { "paths: [{path: /a, verify: {scheme: none, secrets: [hidden-word]}}]", "secrets make no sense" },
        { "paths: [{path: /a, verify: {scheme: none}}]\nmax_pending_bytes: 1KiB",
          "max_pending_bytes: is less than max_body" },
        { "paths: [{path: /a, cloudevents: all, verify: {scheme: github, secrets: [a secret of enough length]}}]",
          "/a: cloudevents: all takes attributes from headers, which scheme github does not sign" },
        { "paths: [{path: /a, cloudevents: structured, content_type: text/plain, verify: {scheme: github, secrets: [a secret of enough length]}}]",
          "/a: content_type: makes no sense here: scheme github does not sign" },
        { "paths: [{path: /a, verify: {scheme: github, tolerance: 1m, secrets: [a secret of enough length]}}]",
          "/a: verify.tolerance: scheme github signs no time" },
        { "paths: [{path: /a, cloudevents: structured, type: t, verify: {scheme: github, secrets: [a secret of enough length]}}]",
          "/a: type: makes no sense here: scheme github does not sign" },
        { "paths: [{path: /a, cloudevents: structured, type_header: X-T, verify: {scheme: github, secrets: [a secret of enough length]}}]",
          "/a: type_header: makes no sense here" },
        { "paths: [{path: /a, cloudevents: structured, id_header: X-I, verify: {scheme: github, secrets: [a secret of enough length]}}]",
          "/a: id_header: makes no sense here" },
        { "paths: [{path: /a, cloudevents: structured, preset: openai, verify: {scheme: github, secrets: [a secret of enough length]}}]",
          "/a: preset: makes no sense here" },
        { "paths: [{path: /a, cloudevents: none, ce_source: any, verify: {scheme: none}}]",
          "/a: ce_source: makes no sense here: the path takes no CloudEvents" },
        { "paths: [{path: /a, ce_source: pin, verify: {scheme: github, secrets: [a secret of enough length]}}]",
          "/a: ce_source: makes no sense here: the path takes no CloudEvents (cloudevents: structured" },
        { "paths: [{path: /a, id_header: a b, verify: {scheme: none}}]", "/a: id_header: is no name of a header" },
        { "paths: [{path: /a, type_header: \"X-Type:\", verify: {scheme: none}}]",
          "/a: type_header: is no name of a header" },
        { "paths: [{path: /a, verify: {scheme: bearer, header: \"x:y\", secrets: [a secret of enough length]}}]",
          "/a: verify.header: is no name of a header" },
        { "paths: [{path: /a, content_type: json, verify: {scheme: none}}]", "/a: content_type: is no media type" },
        { "paths: [{path: /a, content_type: application/json charset, verify: {scheme: none}}]", "is no media type" },
        { "paths: [{path: /a, content_type: application/cloudevents+json, verify: {scheme: none}}]",
          "cloudevents: structured takes them" },
        { "paths: [{path: \"/{a}/x\", verify: {scheme: none}}, {path: \"/y/{b}\", verify: {scheme: none}}]",
          "/{a}/x and /y/{b} fit the same requests" },
        { "paths: [{path: \"/a{b}\", verify: {scheme: none}}]", "a parameter is a whole segment" },
        { "paths: [{path: \"/{}\", verify: {scheme: none}}]", "a parameter is a whole segment" },
        { "paths: [{path: \"/{A}\", verify: {scheme: none}}]", "a parameter has 1 to 32 small letters" },
        { "paths: [{path: \"/{a}/{a}\", verify: {scheme: none}}]", "{a} is there twice" },
        { "paths: [{path: /a, subject: \"{{path.b}}\", verify: {scheme: none}}]",
          "subject: path.b: the path has no {b}" },
        { "paths: [{path: /a, subject: \"{{data.x}}\", verify: {scheme: none}}]",
          "subject: {{data.x: not a path in the body" },
        { "paths: [{path: /a, id: \"{{body.x\", verify: {scheme: none}}]", "id: {{body.x: }} is missing" },
        { "paths: [{path: /a, subject: \"{{headers.Cookie}}\", verify: {scheme: none}}]",
          "subject: Cookie: proves who the sender is" },
        { "paths: [{path: /a, subject: \"{{headers.a:b}}\", verify: {scheme: none}}]", "is no name of a header" },
        { "paths: [{path: /a, type: '{body.type}', verify: {scheme: none}}]",
          "/a: type: an expression stands between two braces: {{body.type}}" },
        { "paths: [{path: /a, subject: 'x/{ headers.x-id }', verify: {scheme: none}}]",
          "/a: subject: an expression stands between two braces: {{headers.x-id}}" },
        { "paths: [{path: /a, subject: '{{body.a}}/{query.b}', verify: {scheme: none}}]",
          "/a: subject: an expression stands between two braces: {{query.b}}" },
        { "paths: [{path: /a, source: '/x/{body.tenant}', verify: {scheme: none}}]",
          "/a: source: an expression stands between two braces: {{body.tenant}}" },
        { "paths: [{path: /a, attributes: {tenant: '{body}'}, verify: {scheme: none}}]",
          "/a: attributes: tenant: an expression stands between two braces: {{body}}" },
        { "paths: [{path: /a, id: '{body.id}', verify: {scheme: none}}]",
          "/a: id: an expression stands between two braces: {{body.id}}" },
        { "paths: [{path: /a, id: body.id, verify: {scheme: none}}]",
          "/a: id: is neither a template nor SQL: write {{body.id}}" },
        { "paths: [{path: /a, id: /user/id, verify: {scheme: none}}]",
          "/a: id: is neither a template nor SQL: write {{/user/id}}" },
        { "paths: [{path: /a, time: $.at, verify: {scheme: none}}]",
          "/a: time: is neither a template nor SQL: write {{body.at}}" },
        { "paths: [{path: /a, keep_headers: [x-t], verify: {scheme: bearer, header: X-T, secrets: [a secret of enough length]}}]",
          "keep_headers: x-t: proves who the sender is" },
        { "paths: [{path: /a, keep_headers: [x-hub-signature-256], verify: {scheme: github, secrets: [a secret of enough length]}}]",
          "keep_headers: x-hub-signature-256: proves who the sender is" },
        { "paths: [{path: /a, keep_headers: [Svix-Signature], verify: {any: [{scheme: standard, secrets: [a secret of 24 characters]}]}}]",
          "keep_headers: Svix-Signature: proves who the sender is" },
        { "paths: [{path: /a, subject: \"{{query.key}}\", verify: {any: [{scheme: api_key, query: key, secrets: "
          "[a-key-of-enough-length]}]}}]",
          "subject: query.key: proves who the sender is" },
        { "paths: [{path: /a, keep_headers: [X-A, xa], verify: {scheme: none}}]",
          "keep_headers: X-A and xa are both the attribute httpxa" },
        { "paths: [{path: /a, attributes: {subject: x}, verify: {scheme: none}}]",
          "attributes: subject: is not one of your own" },
        { "paths: [{path: /a, attributes: {Tenant: x}, verify: {scheme: none}}]", "attributes: Tenant: a name has" },
        { "paths: [{path: /a, attributes: {httpx: x}, verify: {scheme: none}}]",
          "httpx: is the name of a trace, or of a header" },
        { "paths: [{path: /a, source: \"{{body.x}}\", verify: {scheme: none}}]",
          "source: begins with a source of the path's own and a /" },
        { "paths: [{path: /a, source: \"/s{{body.x}}\", verify: {scheme: none}}]",
          "source: begins with a source of the path's own and a /" },
        { "paths: [{path: /a, type: \"{{body.x}}\", type_header: X-T, verify: {scheme: none}}]",
          "type_header: makes no sense beside a type of expressions: {{headers.X-T}}" },
        { "paths: [{path: /a, form: json, content_type: application/json, verify: {scheme: github, secrets: [a secret of enough length]}}]",
          "form: json reads each body as a form" },
        { "paths: [{path: /a, form: payload, content_type: text/plain, verify: {scheme: github, secrets: [a secret of enough length]}}]",
          "form: payload takes JSON" },
        { "paths: [{path: /a, answer: {status: 204, body: x}, verify: {scheme: none}}]",
          "answer.body: an answer 204 has none" },
        { "paths: [{path: /a, answer: {status: 203}, verify: {scheme: none}}]",
          "answer.status: is 200, 201, 202 or 204" },
        { "paths: [{path: /a, verify: {scheme: none}}]\nlisten: nowhere", "nowhere" },
        { "paths: [{path: /a, verify: {scheme: none}}]\ntls_key: x.pem", "tls_certificate" },
        { "paths: [{path: /a, verify: {scheme: none}}]\nlimits: {per_address: {burst: 3}}",
          "limits.per_address.burst: makes no sense without a rate" },
        { "paths: [{path: /a, verify: {scheme: none}, limits: {per_path: {burst: 3}}}]",
          "/a: limits.per_path.burst: makes no sense without a rate" },
        { "paths: [{path: /a, verify: {scheme: none}}]\nrequest_log: {headers: [User-Agent, X-Api-Key]}",
          "request_log.headers: X-Api-Key holds a secret" },
        { "paths: [{path: /a, verify: {scheme: bearer, header: X-Door, secrets: [a secret of enough length]}}]\n"
          "request_log: {headers: [x-door]}",
          "request_log.headers: x-door holds a secret" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = source_refused(&http_source, cases[i].yaml);
        assert_says(e.text, cases[i].expected);
        assert_null(strstr(e.text, "hidden-word"));
    }
    socket_path = client_path(); /* for the teardown */
    wake_fd = wake_new();
}

static void say_doubt(void *ctx, const char *place, const char *why)
{
    buf_printf(ctx, "%s %s\n", place, why);
}

/* What is right, and probably not meant. */
TEST(doubtful_options)
{
#define SIGNED_BY "verify: {scheme: github, secrets: [a secret of enough length]}"
#define SHOWN_BY  "verify: {scheme: bearer, secrets: [a secret of enough length]}"
    static const struct {
        const char *yaml, *expected;
    } cases[] = {
        { "paths: [{path: /a, subject: body.id, type: headers.x-kind, verify: {scheme: none}}]",
          "paths[0] type: is this text in every event: {{headers.x-kind}} gives what stands there\n"
          "paths[0] subject: is this text in every event: {{body.id}} gives what stands there\n" },
        { "paths: [{path: /a, subject: $.id, attributes: {tenant: query.t}, verify: {scheme: none}}]",
          "paths[0] subject: is this text in every event: {{body.id}} gives what stands there\n"
          "paths[0] attributes.tenant: is this text in every event: {{query.t}} gives what stands there\n" },
        { "paths: [{path: /a, type: body, subject: 'the body.', source: /body.x, attributes: {a: path}, " SHOWN_BY "}]",
          "" },
        { "paths: [{path: /a, limits: {per_key: {rate: 1}}, verify: {scheme: none}}]",
          "paths[0] limits.per_key: limits nobody: no request shows whose it is by scheme none or address\n" },
        { "limits: {per_key: {bytes: 1KiB}}\npaths: [{path: /a, verify: {scheme: address, allow: [10.0.0.0/8]}}]",
          " limits.per_key: limits nobody: no path has a scheme by which a request shows whose it is\n" },
        { "limits: {per_key: {rate: 1}}\npaths: [{path: /a, verify: {scheme: none}}, {path: /b, " SHOWN_BY "}]", "" },
        { "paths: [{path: /a, form: json, " SIGNED_BY "}]",
          "paths[0] form: json takes forms alone where the content type is not signed (scheme github): JSON gets 415; say "
          "content_type: application/x-www-form-urlencoded if that is meant, else leave it away\n" },
        { "paths: [{path: /a, form: json, content_type: application/x-www-form-urlencoded, " SIGNED_BY "}]", "" },
        { "paths: [{path: /a, form: json, " SHOWN_BY "}]", "" },
        { "listen: 0.0.0.0:80\npaths: [{path: /a, " SIGNED_BY "}, {path: /b, " SHOWN_BY "}, {path: /c, " SHOWN_BY "}]",
          " listen: others reach 0.0.0.0:80, and requests to /b show their secret (scheme bearer), without TLS to whoever is "
          "between: set tls_certificate and tls_key, or, if a proxy before it has TLS, trusted_proxies\n" },
        { "listen: 0.0.0.0:80\ntrusted_proxies: [10.0.0.0/8]\npaths: [{path: /b, " SHOWN_BY "}]", "" },
        { "listen: 0.0.0.0:80\npaths: [{path: /b, verify: {all: [{scheme: bearer, secrets: [a secret of enough length]}, "
          "{scheme: github, secrets: [a secret of enough length]}]}}]",
          "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct source *s = source_filled(&http_source, "hooks", cases[i].yaml);
        struct buf said = buf_new(4096);
        struct err e;
        assert_true(http_source.check(s, &e));
        http_source.review(s, say_doubt, say_doubt, &said);
        assert_string_equal(buf_c(&said), cases[i].expected);
        buf_free(&said);
        free(s);
    }
    socket_path = client_path(); /* for the teardown */
    wake_fd = wake_new();
}

static void say_fault(void *ctx, const char *place, const char *why)
{
    snprintf(ctx, 400, "%s %s", place, why);
}

/* Paths of two sources could pass for each other just as well. */
TEST(sources_beside_each_other)
{
    static const char
        paths[] = "listen: 127.0.0.1:0\npaths: [{path: /a, verify: {scheme: none}}, {path: /b, source: /shop, "
                  "verify: {scheme: none}}]";
    static const char forging[] = "listen: 127.0.0.1:0\npaths: [{path: /c, verify: {scheme: none}}, {path: /d, source: "
                                  "/http/one/%61, verify: {scheme: none}}]";
    struct source *one = source_filled(&http_source, "one", paths), *two = source_filled(&http_source, "two", paths),
                  *three = source_filled(&http_source, "three", forging);
    char said[400] = "";
    http_source.beside(two, one, say_fault, said);
    assert_says(said, "paths[1] source: /shop is the source of path /b of sources.one, too");
    http_source.beside(three, one, say_fault, said);
    assert_says(said, "paths[1] source: /http/one/a is the source of path /a of sources.one, too");
    said[0] = 0;
    http_source.beside(three, two, say_fault, said);
    assert_string_equal(said, "");
    free(one);
    free(two);
    free(three);
    socket_path = client_path(); /* for the teardown */
    wake_fd = wake_new();
}

/* ---- settlement ---- */

TEST(outcomes)
{
    static const struct {
        enum outcome o;
        const char *why;
        int status;
        const char *body;
        bool again;
    } cases[] = {
        { OUTCOME_STORED, NULL, 202, "{\"id\":\"k\"}", false },
        { OUTCOME_STORED, "stored before", 202, "{\"id\":\"k\",\"repeat\":true}", false },
        { OUTCOME_INVALID, "no route takes \"t\"", 422, "\"detail\":\"no route takes \\\"t\\\"\"}", false },
        { OUTCOME_UNAVAILABLE, "broker is down", 503, "send it again", true },
    };
    source_open("", OPEN_PATH);
    struct client c = client_connect(socket_path);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer a;
        post(&c, "/in", JSON "Idempotency-Key: k\r\n", STR("{}"));
        take(1);
        for (int k = 0; k < 10; k++)
            turn(ROOM);
        client_read(&c);
        assert_false(client_answer(&c, &a)); /* no answer before it is settled */
        settle_all(cases[i].o, cases[i].why);
        a = receive(&c);
        assert_int_equal(a.status, cases[i].status);
        assert_true(has(a.body, cases[i].body));
        assert_int_equal(answer_header(&a, "Retry-After").n > 0, cases[i].again);
        client_drop(&c, &a);
    }
    client_close(&c);
}

TEST(wait_is_bounded)
{
    struct answer a;
    clock_fake(5000, 1600000000000);
    source_open("wait: 2s", OPEN_PATH);
    struct client c = client_connect(socket_path), d = client_connect(socket_path);
    post(&c, "/in", JSON "Idempotency-Key: c\r\n", STR("1"));
    take(1);
    clock_fake_advance(1500);
    post(&d, "/in", JSON "Idempotency-Key: d\r\n", STR("2"));
    take(2);
    clock_fake_advance(499);
    turn(ROOM);
    client_read(&c);
    assert_false(client_answer(&c, &a));
    clock_fake_advance(1);
    a = receive(&c);
    assert_int_equal(a.status, 503);
    assert_true(answer_header(&a, "Retry-After").n > 0);
    client_drop(&c, &a);
    client_read(&d);
    assert_false(client_answer(&d, &a));
    settle_all(OUTCOME_STORED, NULL); /* late for c, in time for d */
    assert_int_equal(receive(&d).status, 202);
    turn(ROOM);
    client_read(&c);
    assert_int_equal(c.in.n, 0); /* no second answer */
    post(&c, "/in", JSON "Idempotency-Key: c\r\n", STR("1"));
    take(1);
    is(taken[0].event->id, "c");
    settle_all(OUTCOME_STORED, NULL);
    assert_int_equal(receive(&c).status, 202);
    client_close(&c);
    client_close(&d);
}

/* What nobody waits for any more is not handed over: its sender comes again. */
TEST(timed_out_before_it_was_taken)
{
    clock_fake(5000, 1600000000000);
    source_open("wait: 2s\nmax_pending: 2", OPEN_PATH);
    struct client c = client_connect(socket_path);
    for (int i = 0; i < 5; i++) { /* more often than max_pending: nothing leaks */
        post(&c, "/in", JSON, STR("1"));
        for (int k = 0; k < 100; k++)
            turn(0);
        clock_fake_advance(2000);
        struct answer a = receive(&c);
        assert_int_equal(a.status, 503);
        client_drop(&c, &a);
        turn(ROOM);
        assert_int_equal(taken_count, 0);
    }
    client_close(&c);
}

TEST(backpressure)
{
    source_open("max_pending: 2", OPEN_PATH);
    struct client a = client_connect(socket_path), b = client_connect(socket_path);
    post(&a, "/in", JSON, STR("1"));
    post(&b, "/in", JSON, STR("2"));
    for (int i = 0; i < 100; i++)
        turn(0); /* no room: they wait inside */
    assert_int_equal(taken_count, 0);
    refused_with(0, "/in", JSON, "3", 503, "too much is waiting");
    turn(1);
    is(taken[0].event->data, "1");                                 /* first come, first handed over */
    refused_with(0, "/in", JSON, "3", 503, "too much is waiting"); /* taken is not stored */
    take(2);
    settle_all(OUTCOME_STORED, NULL);
    assert_int_equal(receive(&a).status, 202);
    assert_int_equal(receive(&b).status, 202);
    client_close(&a);
    client_close(&b);
    event_unref(accepted("/in", JSON, "3"));
}

TEST(pending_bytes)
{
    source_open("max_body: 1KiB\nmax_pending_bytes: 1KiB", OPEN_PATH);
    char body[1001];
    memset(body, '1', 1000);
    body[1000] = '\0';
    struct client c = client_connect(socket_path);
    post(&c, "/in", JSON, str_of(body));
    take(1);
    refused("/in", JSON, body, 503, "too much is waiting");
    settle_all(OUTCOME_STORED, NULL);
    event_unref(accepted("/in", JSON, body));
    client_close(&c);
}

/* An event holds more than its data. */
/* The core says how many bytes it takes; what it leaves waits, and counts. */
TEST(the_core_takes_so_many_bytes)
{
    source_open("max_pending: 3", OPEN_PATH);
    struct client c[3];
    for (int i = 0; i < 3; i++) {
        c[i] = client_connect(socket_path);
        post(&c[i], "/in", JSON, STR("[1]"));
    }
    for (int i = 0; i < 100; i++)
        turn(0);
    source->room_bytes = 1;
    turn(ROOM);
    assert_int_equal(taken_count, 1); /* the one that goes beyond */
    refused_with(0, "/in", JSON, "3", 503, "too much is waiting");
    source->room_bytes = event_bytes(taken[0].event) + 1;
    turn(ROOM);
    assert_int_equal(taken_count, 3);
    settle_all(OUTCOME_STORED, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(receive(&c[i]).status, 202);
        client_close(&c[i]);
    }
}

TEST(attributes_are_pending_bytes)
{
    source_open("max_body: 16KiB\nmax_pending_bytes: 16KiB", OPEN_PATH);
    char id[7901], headers[9000];
    memset(id, 'i', 7900);
    id[7900] = '\0';
    snprintf(headers, sizeof headers, "ce-specversion: 1.0\r\nce-id: %s\r\nce-source: /s\r\nce-type: t\r\n", id);
    struct client c = client_connect(socket_path), d = client_connect(socket_path);
    post(&c, "/in", headers, STR(""));
    take(1);
    post(&d, "/in", headers, STR(""));
    take(2);
    refused("/in", headers, "", 503, "too much is waiting");
    settle_all(OUTCOME_STORED, NULL);
    assert_int_equal(receive(&c).status, 202);
    assert_int_equal(receive(&d).status, 202);
    client_close(&c);
    client_close(&d);
}

TEST(client_goes_before_the_answer)
{
    source_open("", OPEN_PATH);
    struct client c = client_connect(socket_path);
    post(&c, "/in", JSON "Idempotency-Key: k\r\n", STR("{}"));
    take(1);
    client_close(&c);
    for (int i = 0; i < 10; i++)
        turn(0);
    settle_all(OUTCOME_STORED, NULL);
    event_unref(accepted("/in", JSON "Idempotency-Key: k\r\n", "{}"));
}

TEST(pipelined_requests_keep_their_order)
{
    source_open("", OPEN_PATH);
    struct client c = client_connect(socket_path);
    post(&c, "/in", JSON "Idempotency-Key: one\r\n", STR("1"));
    post(&c, "/in", JSON "Idempotency-Key: two\r\n", STR("2"));
    take(1);
    settle_all(OUTCOME_STORED, NULL);
    struct answer a = receive(&c);
    is(a.body, "{\"id\":\"one\"}");
    client_drop(&c, &a);
    take(1);
    settle_all(OUTCOME_STORED, NULL);
    a = receive(&c);
    is(a.body, "{\"id\":\"two\"}");
    client_close(&c);
}

TEST(drain)
{
    source_open("", OPEN_PATH);
    struct client taken_one = client_connect(socket_path), queued = client_connect(socket_path),
                  late = client_connect(socket_path);
    post(&taken_one, "/in", JSON, STR("1"));
    take(1);
    post(&queued, "/in", JSON, STR("2"));
    client_write(&late, STR("POST /in HTTP/1.1\r\nHost: x\r\nContent-Len"));
    for (int i = 0; i < 100; i++)
        turn(0);
    source->draining = true;
    turn(0);
    struct answer a = receive(&queued);
    assert_int_equal(a.status, 503);
    is(answer_header(&a, "Connection"), "close");
    client_write(&late, STR("gth: 1\r\n\r\n3"));
    assert_int_equal(receive(&late).status, 503);
    client_read(&taken_one);
    assert_false(client_answer(&taken_one, &a));
    settle_all(OUTCOME_STORED, NULL); /* what the core has is still answered */
    a = receive(&taken_one);
    assert_int_equal(a.status, 202);
    is(answer_header(&a, "Connection"), "close");
    client_close(&taken_one);
    client_close(&queued);
    client_close(&late);
}

TEST(close_with_requests_open)
{
    struct answer a;
    source_open("", OPEN_PATH);
    struct client c = client_connect(socket_path), d = client_connect(socket_path);
    post(&c, "/in", JSON, STR("1"));
    take(1);
    post(&d, "/in", JSON, STR("2"));
    for (int i = 0; i < 100; i++)
        turn(0);
    http_source.close(source);
    free(source);
    source = NULL;
    client_read(&c);
    client_read(&d);
    assert_true(client_answer(&c, &a));
    assert_int_equal(a.status, 503);
    assert_true(client_answer(&d, &a));
    assert_int_equal(a.status, 503);
    client_close(&c);
    client_close(&d);
}

/* ---- counting ---- */

TEST(counters)
{
    source_open("", "  - {path: /counted, verify: {scheme: bearer, secrets: [token-number-0001]}}\n");
    refused("/counted", JSON, "{}", 401, "could not be verified");
    refused("/counted", JSON "Authorization: Bearer token-number-0002\r\n", "{}", 401, "could not be verified");
    refused("/counted", JSON "Authorization: Bearer token-number-0001\r\n", "{", 400, "JSON");
    event_unref(accepted("/counted", JSON "Authorization: Bearer token-number-0001\r\n", "{}"));
    assert_int_equal(counter("/counted", "401"), 2);
    assert_int_equal(counter("/counted", "400"), 1);
    assert_int_equal(counter("/counted", "202"), 1);
    struct metric *mismatch = metric_named("aqueduct_http_refused_total", LABELS("hooks", "/counted", "mismatch"));
    struct metric *missing = metric_named("aqueduct_http_refused_total", LABELS("hooks", "/counted", "missing"));
    assert_int_equal(metric_value(mismatch), 1);
    assert_int_equal(metric_value(missing), 1);
}

/* How many requests of that path ended so, by the histogram. */
static int64_t ended(const char *path, const char *outcome)
{
    char line[200];
    struct buf page = buf_new(1 << 22);
    metrics_write(&page);
    snprintf(line, sizeof line, "\naqueduct_http_request_seconds_count{source=\"hooks\",path=\"%s\",outcome=\"%s\"} ",
             path, outcome);
    const char *at = strstr(buf_c(&page), line);
    int64_t n = at ? strtol(at + strlen(line), NULL, 10) : 0;
    buf_free(&page);
    return n;
}

static void settled_as(const char *body, enum outcome o, const char *why, int status)
{
    struct client c = client_connect(socket_path);
    post(&c, "/ends", JSON "Authorization: Bearer token-number-0001\r\n", str_of(body));
    take(1);
    settle_all(o, why);
    assert_int_equal(receive(&c).status, status);
    client_close(&c);
}

/* For `aqueduct status`. */
TEST(a_source_tells_of_itself)
{
    source_open("", "  - {path: /account, verify: {scheme: none}}\n"
                    "  - {path: \"/account/{x}\", verify: {any: [{scheme: bearer, secrets: [token-number-0001]}]}}\n");
    event_unref(accepted("/account", JSON, "{}"));
    event_unref(accepted("/account", JSON, "{}"));
    refused("/account", JSON, "{", 400, "JSON");
    refused("/account/y", JSON "Authorization: Bearer token-number-0002\r\n", "{}", 401, "verified");
    struct buf out = buf_new(4096);
    http_source.account(source, true, &out);
    has_all(
        buf_str(&out),
        (const char *const[]){
            ",\"listen\":\"unix:/",
            "{\"path\":\"/account\",\"scheme\":\"none\",\"answers\":{\"202\":2,\"400\":1},\"unverified\":{}}",
            "{\"path\":\"/account/{x}\",\"scheme\":\"any\",\"answers\":{\"401\":1},\"unverified\":{\"mismatch\":1}}",
            NULL });
    buf_reset(&out);
    http_source.account(source, false, &out);
    assert_true(has(buf_str(&out), "\"answers\":null,\"unverified\":null}]"));
    buf_free(&out);
}

TEST(every_end_is_timed)
{
    source_open("limits: {per_path: {rate: 0.001, burst: 6}}\n",
                "  - {path: /ends, verify: {scheme: bearer, secrets: [token-number-0001]}}\n");
    refused("/ends", JSON, "{}", 401, "could not be verified");
    refused("/ends", JSON "Authorization: Bearer token-number-0001\r\n", "{", 400, "JSON");
    settled_as("1", OUTCOME_STORED, NULL, 202);
    settled_as("2", OUTCOME_STORED, "stored before", 202);
    settled_as("3", OUTCOME_CONFLICT, "another event", 409);
    settled_as("4", OUTCOME_INVALID, "no route", 422);
    settled_as("5", OUTCOME_UNAVAILABLE, "broker is down", 503);
    refused("/ends", JSON "Authorization: Bearer token-number-0001\r\n", "{}", 429, "at this path");
    static const char *const outcomes[] = { "stored", "repeat", "unverified", "conflict", "limited", "unavailable" };
    for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++)
        assert_int_equal(ended("/ends", outcomes[i]), 1);
    assert_int_equal(ended("/ends", "refused"), 2);
}

/* Two secrets of one name are one sender's; who uses up his limit takes nothing of another's. */
TEST(each_key_has_a_limit_of_its_own)
{
    source_open("",
                "  - {path: /in, limits: {per_key: {rate: 0.001, burst: 2}}, verify: {any: [{scheme: bearer, secrets: "
                "[{name: crm, secret: token-number-0001}, {name: crm, secret: token-number-0002}, "
                "token-number-0003]}, {scheme: address, allow: [unix]}]}}\n");
    event_unref(accepted("/in", JSON "Authorization: Bearer token-number-0001\r\n", "{}"));
    event_unref(accepted("/in", JSON "Authorization: Bearer token-number-0002\r\n", "{}"));
    refused("/in", JSON "Authorization: Bearer token-number-0001\r\n", "{}", 429, "key");
    for (int i = 0; i < 2; i++)
        event_unref(accepted("/in", JSON "Authorization: Bearer token-number-0003\r\n", "{}"));
    for (int i = 0; i < 3; i++)
        event_unref(accepted("/in", JSON, "{}")); /* by its address: nobody's in particular */
}

/* The body of who may not send now is not waited for; he hears when he may. */
TEST(a_limit_refuses_before_the_body)
{
    clock_fake(5000, 1600000000123);
    source_open("", "  - {path: /in, verify: {scheme: none}, limits: {per_path: {rate: 0.4, burst: 2}}}\n"
                    "  - {path: /free, verify: {scheme: none}}\n");
    for (int i = 0; i < 2; i++)
        event_unref(accepted("/in", JSON, "{}"));
    int64_t waits[] = { 3, 1 };
    for (int i = 0; i < 2; i++) {
        struct client c = client_connect(socket_path);
        client_write(&c, STR("POST /in HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"));
        struct answer a = receive(&c);
        assert_int_equal(a.status, 429);
        assert_true(has(a.body, "\"status\":429,\"detail\":\"too many requests at this path"));
        assert_int_equal(strtol(answer_header(&a, "Retry-After").at, NULL, 10), waits[i]);
        client_close(&c);
        clock_fake_advance(2400);
    }
    event_unref(accepted("/in", JSON, "{}"));
    event_unref(accepted("/free", JSON, "{}"));
}

#define BY(address) JSON "X-Forwarded-For: " address "\r\n"
#define RIGHT       "Authorization: Bearer token-number-0001\r\n"
#define WRONG       "Authorization: Bearer token-number-0002\r\n"

/* Behind a trusted proxy each client has limits of its own; who shares an address with one that guesses keys is served. */
TEST(limits_of_those_behind_a_proxy)
{
    clock_fake(5000, 1600000000123);
    source_open("trusted_proxies: [unix]\n"
                "limits: {per_address: {rate: 0.1, burst: 4}, failures: {rate: 0.1, burst: 1}}\n",
                "  - {path: /in, verify: {scheme: bearer, secrets: [token-number-0001]}}\n");
    refused("/in", BY("192.0.2.1") WRONG, "{}", 401, "could not be verified");
    refused("/in", BY("192.0.2.1") WRONG, "{}", 429, "that could not be verified; check the key");
    refused("/in", BY("192.0.2.2") WRONG, "{}", 401, "could not be verified");
    for (int i = 0; i < 2; i++)
        event_unref(accepted("/in", BY("192.0.2.1") RIGHT, "{}"));
    refused("/in", BY("192.0.2.1") RIGHT, "{}", 429, "from this address");
    event_unref(accepted("/in", BY("192.0.2.2") RIGHT, "{}"));
    clock_fake_advance(10000);
    event_unref(accepted("/in", BY("192.0.2.1") RIGHT, "{}"));
}

/* ---- requests as events ---- */

/* The data of the next event that tells of a request, which is then stored. */
static struct str told(char out[4096])
{
    take(1);
    const struct event *ev = taken[0].event;
    assert_true(taken[0].unique);
    assert_true(str_eq(taken[0].scope, STR("hooks?log")));
    is(ev->type, "http.request.logged");
    is(ev->source, "/http/hooks");
    snprintf(out, 4096, "%.*s", STR_ARG(ev->data));
    settle_all(OUTCOME_STORED, NULL);
    return str_of(out);
}

#define TOKEN "Authorization: Bearer token-number-0001\r\n"

TEST(a_request_is_an_event)
{
    char data[4096];
    clock_fake(5000, 1600000000123);
    source_open("request_log: {requests: all, headers: [User-Agent, X-None], body: 200, mask: [iban]}\n",
                "  - {path: /told, verify: {scheme: bearer, secrets: [token-number-0001]}}\n");
    struct client c = client_connect(socket_path);
    post(&c, "/told?key=sk-1", JSON TOKEN "User-Agent: \"us\"\r\nIdempotency-Key: k-17\r\n",
         STR("{\"iban\": 7, \"password\": \"x\", \"n\": 1}"));
    take(1); /* the event itself; nothing is told before it is answered */
    for (int i = 0; i < 10; i++)
        turn(ROOM);
    assert_int_equal(taken_count, 1);
    clock_fake_advance(12);
    settle_all(OUTCOME_STORED, NULL);
    assert_int_equal(receive(&c).status, 202);
    client_close(&c);
    struct str text = told(data);
    has_all(text, (const char *const[]){
                      "{\"method\":\"POST\",\"path\":\"/told\",\"address\":\"unix\",\"verification\":\"verified\"",
                      "\"status\":202,\"outcome\":\"stored\",\"duration_ms\":12.000,\"bytes\":36,\"events\":1,",
                      "\"event\":\"k-17\",\"headers\":{\"User-Agent\":\"\\\"us\\\"\"}",
                      "\"body\":\"{\\\"iban\\\":\\\"***\\\",\\\"password\\\":\\\"***\\\",\\\"n\\\":1}\"}", NULL });
    assert_false(has(text, "sk-1") || has(text, "token-number"));

    refused_with(0, "/told", JSON "Authorization: Bearer token-number-0002\r\n", "{\"a\":1}", 401, "could not be");
    has_all(told(data),
            (const char *const[]){ "\"verification\":\"mismatch\",\"status\":401,\"outcome\":\"unverified\","
                                   "\"reason\":\"mismatch\"",
                                   NULL });
    refused_with(0, "/none/0123456789abcdef0123?q=x", JSON, "{}", 404, "nothing at this path");
    has_all(told(data), (const char *const[]){ "\"path\":\"/none/*\",", "\"status\":404", NULL });
}

/* Whose a request is, by the name of its secret. */
TEST(an_event_tells_whose_a_request_is)
{
    char data[4096];
    source_open(
        "request_log: {requests: all}\n",
        "  - {path: /in, verify: {scheme: bearer, secrets: [{name: crm, secret: token-number-0001}, token-number-0002]}}\n");
    event_unref(accepted("/in", JSON RIGHT, "{}"));
    has_all(told(data), (const char *const[]){ "\"verification\":\"verified\",\"key\":\"crm\",\"status\":202", NULL });
    event_unref(accepted("/in", JSON WRONG, "{}"));
    has_all(told(data), (const char *const[]){ "\"key\":\"#2\",\"status\":202", NULL });
}

/* What was not stored has no event. */
TEST(an_event_of_a_refused_request_names_none)
{
    char data[4096];
    source_open("request_log: {requests: refused}\n", "  - {path: /in, verify: {scheme: none}}\n");
    struct client c = client_connect(socket_path);
    post(&c, "/in", JSON "Idempotency-Key: k-17\r\n", STR("{}"));
    take(1);
    settle_all(OUTCOME_INVALID, "no route takes this event");
    assert_int_equal(receive(&c).status, 422);
    client_close(&c);
    struct str text = told(data);
    has_all(text, (const char *const[]){ "\"status\":422", "\"reason\":\"no route takes this event\"", NULL });
    assert_false(has(text, "k-17"));
}

TEST(requests_that_are_told_of)
{
    char data[4096];
    source_open("request_log: {requests: refused}\n", "  - {path: /in, verify: {scheme: none}}\n");
    event_unref(accepted("/in", JSON, "{}"));
    struct client c = client_connect(socket_path);
    post(&c, "/in", JSON, STR("{\"secret\":1}"));
    take(1);
    settle_all(OUTCOME_UNAVAILABLE, "broker is down");
    assert_int_equal(receive(&c).status, 503);
    client_close(&c);
    struct str text = told(data);
    has_all(text,
            (const char *const[]){ "\"verification\":\"none\",\"status\":503,\"outcome\":\"unavailable\"", NULL });
    assert_false(has(text, "secret"));
    for (int i = 0; i < 10; i++)
        turn(ROOM);
    assert_int_equal(taken_count, 0);
}

static int64_t left_out(const char *reason)
{
    return metric_value(metric_named("aqueduct_http_log_left_out_total", LABELS("hooks", reason)));
}

/* A flood costs the log so much and no more, and costs no event its place. */
TEST(a_flood_is_told_by_its_number)
{
    char data[4096];
    int64_t before = left_out("rate"), lost = left_out("not_stored");
    clock_fake(5000, 1600000000123);
    source_open("request_log: {requests: refused, rate: 5}\n", "  - {path: /in, verify: {scheme: none}}\n");
    for (int i = 0; i < 20; i++)
        refused_with(0, "/in", JSON, "{", 400, "JSON");
    assert_int_equal(left_out("rate") - before, 15);
    for (int i = 0; i < 10; i++)
        turn(1); /* no room for them: that is an event's */
    assert_int_equal(taken_count, 0);
    while (taken_count < 5)
        turn(4);
    settle_all(OUTCOME_UNAVAILABLE, "broker is down"); /* that loses nothing else */
    assert_int_equal(left_out("not_stored") - lost, 5);
    event_unref(accepted("/in", JSON, "{}"));
    clock_fake_advance(1000);
    refused_with(0, "/in", JSON, "{", 400, "JSON");
    has_all(told(data), (const char *const[]){ "\"left_out\":20}", NULL });
    refused_with(0, "/in", JSON, "{", 400, "JSON");
    assert_false(has(told(data), "left_out"));
}

/* Whoever may read metrics or the log may not post for that. */
TEST(secrets_in_paths_are_no_labels)
{
    static const char *const cases[][2] = {
        { "/hooks/550e8400-e29b-41d4-a716-446655440000/in", "/hooks/*/in" },
        { "/hooks/q7Zk3vXw9Lm2Nc8R", "/hooks/*" },
        { "/hooks/T024BE7LD/B0123456789/aBcDeFgHiJkLmNoPqRsT0123", "/hooks/T024BE7LD/B0123456789/*" },
        { "/hooks/in/q7Zk-3vXw_9Lm2-Nc8R", "/hooks/in/*" },
        { "/letters/aBcDeFgHiJkLmNoPqRsTuVwX", "/letters/*" },
        { "/v1/anythingllm-workspace-2024-events", "/v1/anythingllm-workspace-2024-events" },
        { "/v2/internationalization", "/v2/internationalization" },
    };
    struct buf paths = buf_new(4096);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        buf_printf(&paths, "  - {path: \"%s\", verify: {scheme: none}}\n", cases[i][0]);
    source_open("", buf_c(&paths));
    buf_free(&paths);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        event_unref(accepted(cases[i][0], JSON, "{}"));
        if (counter(cases[i][1], "202") != 1)
            fail_msg("%s is not counted as %s", cases[i][0], cases[i][1]);
    }
    struct buf page = buf_new(1 << 22);
    metrics_write(&page);
    assert_null(strstr(buf_c(&page), "550e8400"));
    assert_null(strstr(buf_c(&page), "q7Zk3v"));
    buf_free(&page);
}

/* Nor may whoever reads events, or the records that they are in. */
TEST(secrets_in_paths_are_in_no_event)
{
    source_open("", "  - {path: /in/q7Zk3vXw9Lm2Nc8R, verify: {scheme: none}}\n"
                    "  - {path: /in/550e8400-e29b-41d4-a716-446655440000/x, verify: {scheme: none}}\n");
    struct client c = client_connect(socket_path), d = client_connect(socket_path);
    post(&c, "/in/q7Zk3vXw9Lm2Nc8R", JSON, STR("{}"));
    take(1);
    post(&d, "/in/550e8400-e29b-41d4-a716-446655440000/x", JSON, STR("{}"));
    take(2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(str_starts(taken[i].scope, STR("hooks/in/~")));
        assert_true(str_starts(taken[i].event->source, STR("/http/hooks/in/~")));
        assert_false(has(taken[i].event->source, "q7Zk3v") || has(taken[i].event->source, "550e8400"));
        assert_false(has(taken[i].scope, "q7Zk3v") || has(taken[i].scope, "550e8400"));
    }
    assert_false(str_eq(taken[0].scope, taken[1].scope));
    assert_int_equal(taken[0].event->source.n, strlen("/http/hooks/in/~12345678"));
    assert_true(str_ends(taken[1].event->source, STR("/x")));
    settle_all(OUTCOME_STORED, NULL);
    client_close(&c);
    client_close(&d);
}

TEST(a_name_stands_for_its_path)
{
    source_open("", "  - {path: /let-me-in, name: shop, verify: {scheme: none}}\n");
    struct client c = client_connect(socket_path);
    post(&c, "/let-me-in", JSON, STR("{}"));
    take(1);
    is(taken[0].scope, "hooks/shop");
    is(taken[0].event->source, "/http/hooks/shop");
    settle_all(OUTCOME_STORED, NULL);
    client_close(&c);
    assert_int_equal(counter("shop", "202"), 1);
}

#define CLEANED(name) cmocka_unit_test_teardown(name, source_close)

/* ---- copies ---- */

/* Two connections, one to each copy; what the first one posts is taken. */
static void post_to_both(struct client c[2])
{
    for (int i = 0; i < 2; i++) {
        c[i] = client_connect(socket_path);
        turn(0);
        turn(0);
    }
    post(&c[0], "/in", JSON "Authorization: Bearer token-number-0001\r\n", STR("{}"));
    take(1);
    assert_ptr_equal(taken_from[0], source);
    post(&c[1], "/in", JSON "Authorization: Bearer token-number-0001\r\n", STR("{}"));
}

#define ONE_KEY "  - {path: /in, verify: {scheme: bearer, secrets: [token-number-0001]}}\n"

TEST(copies_share_their_limits)
{
    struct client c[2];
    clock_fake(1000000, 1700000000000);
    source_open_twice("limits: {per_key: {rate: 0.001, burst: 1}}", ONE_KEY);
    post_to_both(c);
    struct answer a = receive(&c[1]);
    assert_int_equal(a.status, 429);
    settle_all(OUTCOME_STORED, NULL);
    a = receive(&c[0]);
    assert_int_equal(a.status, 202);
    client_close(&c[0]);
    client_close(&c[1]);
}

TEST(copies_share_what_may_be_pending)
{
    struct client c[2];
    source_open_twice("max_pending: 1", ONE_KEY);
    post_to_both(c);
    struct answer a = receive(&c[1]);
    assert_int_equal(a.status, 503);
    assert_true(has(a.body, "too much is waiting"));
    settle_all(OUTCOME_STORED, NULL);
    a = receive(&c[0]);
    assert_int_equal(a.status, 202);
    client_close(&c[1]);
    turn(0); /* the copy sees it go */
    turn(0);
    c[1] = client_connect(socket_path);
    turn(0);
    post(&c[1], "/in", JSON "Authorization: Bearer token-number-0001\r\n", STR("{}"));
    take(1); /* of the copy */
    assert_ptr_equal(taken_from[0], second);
    settle_all(OUTCOME_STORED, NULL);
    a = receive(&c[1]);
    assert_int_equal(a.status, 202);
    client_close(&c[0]);
    client_close(&c[1]);
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
    const struct CMUnitTest tests[] = {
        CLEANED(plain_json),
        CLEANED(trace_headers),
        CLEANED(other_bodies),
        CLEANED(github_event),
        CLEANED(standard_webhook),
        CLEANED(bearer_is_checked_before_the_body),
        CLEANED(a_signature_that_is_missing_is_refused_before_the_body),
        CLEANED(cloudevents_binary),
        CLEANED(cloudevents_structured),
        CLEANED(attributes_that_nobody_signed),
        CLEANED(structured_and_signed),
        CLEANED(a_signed_body_has_one_reading),
        CLEANED(an_id_that_is_not_signed_counts_with_the_body),
        CLEANED(a_signed_body_names_its_event),
        CLEANED(a_question_before_the_first_event),
        CLEANED(an_id_in_a_signed_body_is_all_that_counts),
        CLEANED(a_type_that_is_not_signed_counts_with_the_id),
        CLEANED(attributes_by_templates),
        CLEANED(a_body_that_has_an_event_id),
        CLEANED(an_event_id_in_a_signed_body_goes_before_an_unsigned_key),
        CLEANED(bodies_without_the_id_that_is_asked_for),
        CLEANED(plain_messages_by_a_preset),
        CLEANED(attributes_that_are_not_signed_count_with_the_id),
        CLEANED(headers_that_are_kept),
        CLEANED(what_cannot_be_an_attribute_is_left_out),
        CLEANED(a_body_that_is_not_the_json_that_it_is_said_to_be),
        cmocka_unit_test(parameters_of_paths),
        CLEANED(content_type_of_a_recognised_sender),
        CLEANED(cloudevents_by_the_specification),
        CLEANED(sources),
        CLEANED(sources_of_paths_below),
        CLEANED(a_foreign_source_shows_no_path_in_the_log),
        CLEANED(scopes),
        CLEANED(secrets_of_one_path_are_one_sender),
        CLEANED(pinned_events_of_two_producers),
        CLEANED(conflicts),
        CLEANED(batch),
        CLEANED(a_body_of_several_events),
        CLEANED(a_body_that_is_dropped),
        CLEANED(a_batch_with_bad_events),
        CLEANED(a_batch_with_bad_events_beside_one_that_waits),
        CLEANED(batch_of_too_many),
        CLEANED(limits_that_are_set),
        CLEANED(options),
        cmocka_unit_test(forms),
        CLEANED(a_form_with_json_in_it),
        CLEANED(compressed_bodies),
        CLEANED(compressed_bodies_that_are_bombs),
        CLEANED(answers_that_a_path_chooses),
        CLEANED(requests_in_the_log),
        CLEANED(the_reason_of_a_refusal_in_the_log),
        CLEANED(paths_that_are_none_in_the_log),
        CLEANED(long_list_of_invalid_events),
        CLEANED(refusals),
        CLEANED(every_refusal_is_a_problem),
        CLEANED(types_are_known_where_no_cloudevents_are_taken),
        CLEANED(bad_options),
        CLEANED(doubtful_options),
        CLEANED(sources_beside_each_other),
        CLEANED(outcomes),
        CLEANED(wait_is_bounded),
        CLEANED(timed_out_before_it_was_taken),
        CLEANED(backpressure),
        CLEANED(pending_bytes),
        CLEANED(the_core_takes_so_many_bytes),
        CLEANED(attributes_are_pending_bytes),
        CLEANED(client_goes_before_the_answer),
        CLEANED(pipelined_requests_keep_their_order),
        CLEANED(drain),
        CLEANED(close_with_requests_open),
        CLEANED(counters),
        CLEANED(a_source_tells_of_itself),
        CLEANED(every_end_is_timed),
        CLEANED(each_key_has_a_limit_of_its_own),
        CLEANED(a_limit_refuses_before_the_body),
        CLEANED(limits_of_those_behind_a_proxy),
        CLEANED(a_request_is_an_event),
        CLEANED(an_event_tells_whose_a_request_is),
        CLEANED(an_event_of_a_refused_request_names_none),
        CLEANED(requests_that_are_told_of),
        CLEANED(a_flood_is_told_by_its_number),
        CLEANED(secrets_in_paths_are_no_labels),
        CLEANED(secrets_in_paths_are_in_no_event),
        CLEANED(a_name_stands_for_its_path),
        CLEANED(copies_share_their_limits),
        CLEANED(copies_share_what_may_be_pending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
