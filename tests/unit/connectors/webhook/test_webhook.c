/* SPDX-License-Identifier: MIT */
/* The webhook sink against a receiver that misbehaves in every way: verdicts, signatures, requests, limits. */
#include <stdio.h>
#include <stdlib.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/auth/secret.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/watch.h"
#include "connectors/webhook/answer.h"
#include "connectors/webhook/endpoint.h"
#include "tests/support/connector.h"
#include "tests/support/event.h"
#include "tests/support/folder.h"
#include "tests/support/receiver.h"
#include "tests/support/test.h"

extern const struct sink_ops webhook_sink;

#define SECRET_1       "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define SECRET_PRIVATE "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
#define SECRET_2       "a-raw-secret-of-more-than-24-characters"

/* Who writes the requests: we ourselves where HTTP/1.1 is spoken, within TLS or not; libcurl where there is a proxy, or
 * where HTTP/2 may be. */
static enum { ALONE, ALONE_IN_TLS, BY_LIBCURL, BY_LIBCURL_IN_TLS } way;

/* A sink that posts to `path` of the receiver, with more lines of YAML. */
static struct sink *open_at(const char *path, const char *more)
{
    char yaml[1024], by[192] = "";
    if (way == BY_LIBCURL)
        snprintf(by, sizeof by, "proxy: http://127.0.0.1:%d\n", receiver.port);
    if (receiver.tls)
        snprintf(by, sizeof by, "ca_file: %s\n%s", receiver.certificate, way == BY_LIBCURL_IN_TLS ? "http: 2\n" : "");
    snprintf(yaml, sizeof yaml, "%surl: http%s://127.0.0.1:%d%s\n%s\n", by, receiver.tls ? "s" : "", receiver.port,
             path, more ? more : "secrets: [" SECRET_1 "]\n");
    return sink_opened(&webhook_sink, "test", yaml);
}

static const struct event *make_event(const char *id, const char *data)
{
    return event_like(
        (struct event){ .id = str_of(id), .datacontenttype = STR("application/json"), .data = str_of(data) });
}

/* How often something is done that costs a connection: less often where that costs a handshake, too. */
static int many(int times)
{
    return receiver.tls ? times / 5 : times;
}

static struct result deliver_to(const char *path, const char *more)
{
    struct sink *s = open_at(path, more);
    const struct event *ev = make_event("01HZX3V7QK8N2M4P6R8T0W2Y4Z", "{\"n\":1}");
    struct result r = sink_deliver(s, ev);
    event_unref(ev);
    sink_end(s);
    return r;
}

/* ---- verdicts ---- */

TEST(each_status_has_its_verdict)
{
    static const struct {
        int status;
        enum verdict verdict;
        const char *why;
    } cases[] = {
        { 200, VERDICT_DELIVERED, "" },
        { 201, VERDICT_DELIVERED, "" },
        { 202, VERDICT_DELIVERED, "" },
        { 204, VERDICT_DELIVERED, "" },
        { 299, VERDICT_DELIVERED, "" },
        { 300, VERDICT_RETRY, "300 Multiple Choices" },
        { 304, VERDICT_RETRY, "304 Not Modified" },
        { 400, VERDICT_RETRY, "400 Bad Request" },
        { 401, VERDICT_RETRY, "401 Unauthorized" },
        { 404, VERDICT_RETRY, "404 Not Found" },
        { 408, VERDICT_RETRY, "408 Request Timeout" },
        { 409, VERDICT_RETRY, "409 Conflict" },
        { 410, VERDICT_REJECT, "410 Gone" },
        { 413, VERDICT_REJECT, "413 " },
        { 414, VERDICT_REJECT, "414" },
        { 415, VERDICT_REJECT, "415 Unsupported Media Type" },
        { 418, VERDICT_RETRY, "418" },
        { 422, VERDICT_REJECT, "422" },
        { 425, VERDICT_RETRY, "425" },
        { 429, VERDICT_RETRY, "429 Too Many Requests" },
        { 431, VERDICT_REJECT, "431 Request Header Fields Too Large" },
        { 500, VERDICT_RETRY, "500 Internal Server Error" },
        { 503, VERDICT_RETRY, "503 Service Unavailable: the receiver's words" },
        { 599, VERDICT_RETRY, "599" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[32];
        snprintf(path, sizeof path, "/status/%d", cases[i].status);
        struct result r = deliver_to(path, NULL);
        assert_int_equal(r.status, cases[i].status);
        assert_int_equal(r.verdict, cases[i].verdict);
        assert_int_equal(r.reason, r.verdict == VERDICT_DELIVERED ? REASON_NONE : REASON_REFUSED);
        assert_memory_equal(r.why, cases[i].why, strlen(cases[i].why));
        assert_int_equal(r.retry_after.ms, 0);
        assert_int_equal(r.away, r.status == 429 || r.status == 503);
    }
}

TEST(statuses_mean_what_their_owner_says)
{
    static const struct {
        const char *options;
        int status;
        enum verdict verdict;
    } cases[] = {
        { "success: [2xx, 409]\nreject: [4xx]\n", 204, VERDICT_DELIVERED },
        { "success: [2xx, 409]\nreject: [4xx]\n", 409, VERDICT_DELIVERED },
        { "success: [2xx, 409]\nreject: [4xx]\n", 400, VERDICT_REJECT },
        { "success: [2xx, 409]\nreject: [4xx]\n", 499, VERDICT_REJECT },
        { "success: [2xx, 409]\nreject: [4xx]\n", 408, VERDICT_RETRY },
        { "success: [2xx, 409]\nreject: [4xx]\n", 425, VERDICT_RETRY },
        { "success: [2xx, 409]\nreject: [4xx]\n", 429, VERDICT_RETRY },
        { "success: [2xx, 409]\nreject: [4xx]\n", 302, VERDICT_RETRY },
        { "success: [2xx, 409]\nreject: [4xx]\n", 500, VERDICT_RETRY },
        { "reject: [4XX, 429]\n", 429, VERDICT_REJECT },
        { "reject: [4XX, 429]\n", 408, VERDICT_RETRY },
        { "success: [200]\n", 202, VERDICT_RETRY },
        { "success: [200]\nreject: [2xx]\n", 202, VERDICT_REJECT },
        { "success: [200]\nreject: [2xx]\n", 200, VERDICT_DELIVERED },
        { "success: [2xx, 302]\n", 302, VERDICT_DELIVERED },
        { "reject: []\n", 422, VERDICT_RETRY },
        { "reject: []\n", 410, VERDICT_REJECT },
        { "success: [2xx, 410]\n", 410, VERDICT_DELIVERED },
        { "reject: [5xx]\n", 599, VERDICT_REJECT },
        { "reject: [5xx]\n", 600, VERDICT_RETRY },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[32], yaml[128];
        snprintf(path, sizeof path, "/status/%d", cases[i].status);
        snprintf(yaml, sizeof yaml, "unsigned: true\n%s", cases[i].options);
        struct result r = deliver_to(path, yaml);
        if (r.verdict != cases[i].verdict)
            fail_msg("%s: %d is verdict %d", cases[i].options, cases[i].status, r.verdict);
        assert_int_equal(r.reason, r.verdict == VERDICT_DELIVERED ? REASON_NONE : REASON_REFUSED);
    }
}

TEST(a_success_can_be_none_by_its_body)
{
    struct result r = deliver_to("/status/200", "unsigned: true\nsuccess_unless: ['\"ok\":false', \"receiver's\"]\n");
    assert_int_equal(r.verdict, VERDICT_RETRY);
    assert_int_equal(r.reason, REASON_REFUSED);
    assert_string_equal(r.why, "200 OK, but its body has what success_unless names: the receiver's words");
    r = deliver_to("/status/200", "unsigned: true\nsuccess_unless: ['\"ok\":false']\n");
    assert_int_equal(r.verdict, VERDICT_DELIVERED);
}

TEST(the_receiver_can_say_that_it_wants_no_more_of_an_event)
{
    struct result r = deliver_to("/delivery/abort-message", NULL);
    assert_int_equal(r.verdict, VERDICT_REJECT);
    assert_int_equal(r.reason, REASON_REFUSED);
    assert_string_equal(r.why, "500 Internal Server Error, webhook-delivery: abort-message");
    r = deliver_to("/delivery/Disable", NULL);
    assert_int_equal(r.verdict, VERDICT_REJECT);
    assert_string_equal(r.why, "500 Internal Server Error, webhook-delivery: disable");
    assert_int_equal(deliver_to("/delivery/whatever", NULL).verdict, VERDICT_RETRY);
}

TEST(a_redirect_is_never_followed)
{
    int before = atomic_load(&receiver.requests);
    struct result r = deliver_to("/redirect", NULL);
    assert_int_equal(r.verdict, VERDICT_RETRY);
    assert_int_equal(r.status, 302);
    assert_string_equal(r.why, "302 Found, redirects are not followed");
    assert_int_equal(atomic_load(&receiver.requests), before + 1);
}

TEST(the_answers_words_are_made_harmless)
{
    struct result r = deliver_to("/gone", NULL);
    assert_int_equal(r.verdict, VERDICT_REJECT);
    assert_string_equal(r.why, "410 Gone: [31mno more of it ??");
}

TEST(the_answer_goes_with_the_result_and_shows_no_secret_of_the_request)
{
    struct sink *s = open_at("/status/503", "unsigned: true\nheaders: {Authorization: Bearer receiver's}");
    const struct event *ev = make_event("01HZX3V7QK8N2M4P6R8T0W2Y4Z", "{\"n\":1}");
    struct result r = sink_deliver(s, ev);
    assert_true(str_starts(r.answer, STR("the ********** words")));
    assert_string_equal(r.why, "503 Service Unavailable: the ********** words");
    event_unref(ev);
    sink_end(s);
}

TEST(retry_after_is_heard)
{
    assert_int_equal(deliver_to("/after/7", NULL).retry_after.ms, 7000);
    assert_int_equal(deliver_to("/after/0", NULL).retry_after.ms, 0);
    assert_int_equal(deliver_to("/after/99999999999999999999", NULL).retry_after.ms, 86400000);
    assert_int_equal(deliver_to("/after/Fri,_31_Dec_2999_23:59:59_GMT", NULL).retry_after.ms, 86400000);
    assert_int_equal(deliver_to("/after/-5", NULL).retry_after.ms, 0);
    assert_int_equal(deliver_to("/after/soon", NULL).retry_after.ms, 0);
}

TEST(retry_after_forms)
{
    int64_t now = 784111777000; /* Sun, 06 Nov 1994 08:49:37 GMT */
    assert_int_equal(answer_patience(STR("Sun, 06 Nov 1994 08:50:07 GMT"), now).ms, 30000);
    assert_int_equal(answer_patience(STR("Sunday, 06-Nov-94 08:50:07 GMT"), now).ms, 30000);
    assert_int_equal(answer_patience(STR("Sun Nov  6 08:50:07 1994"), now).ms, 30000);
    assert_int_equal(answer_patience(STR("Sun, 06 Nov 1994 08:49:07 GMT"), now).ms, 0);
    assert_int_equal(answer_patience(STR(" 20261120 "), now).ms, 86400000); /* seconds, not a date */
    assert_int_equal(answer_patience(STR("Mon, 21 Dec 302202021 00:00:00 GMT"), now).ms, 86400000);
    assert_int_equal(answer_patience(STR("86400"), now).ms, 86400000);
    assert_int_equal(answer_patience(STR("86399"), now).ms, 86399000);
    assert_int_equal(answer_patience(STR("1.5"), now).ms, 0);
    assert_int_equal(answer_patience(STR(""), now).ms, 0);
    assert_int_equal(answer_patience(STR_ABSENT, now).ms, 0);
}

TEST(an_endless_body_is_cut_and_its_status_counts)
{
    struct result r = deliver_to("/endless", NULL);
    assert_int_equal(r.verdict, VERDICT_DELIVERED);
    assert_int_equal(r.status, 200);
}

TEST(answers_of_unusual_form)
{
    static const struct {
        const char *path;
        enum verdict verdict;
    } cases[] = {
        { "/raw/chunked", VERDICT_DELIVERED },  { "/raw/old", VERDICT_DELIVERED },
        { "/raw/unsized", VERDICT_DELIVERED },  { "/raw/interim", VERDICT_DELIVERED },
        { "/raw/more", VERDICT_DELIVERED },     { "/raw/last", VERDICT_DELIVERED },
        { "/raw/broken-chunk", VERDICT_RETRY },
    };
    const struct event *ev = make_event("1", "{}");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sink *s = open_at(cases[i].path, NULL);
        for (int times = 0; times < 3; times++) {
            struct result r = sink_deliver(s, ev);
            if (r.verdict != cases[i].verdict)
                fail_msg("%s, %d: verdict %d, %s", cases[i].path, times, r.verdict, r.why);
            assert_true(r.status == 200 || r.status == 204);
        }
        sink_end(s);
    }
    event_unref(ev);
}

TEST(an_idle_connection_that_was_closed_is_no_failure)
{
    struct sink *s = open_at("/once", NULL);
    const struct event *ev = make_event("1", "{}");
    for (int i = 0; i < 20; i++) {
        struct result r = sink_deliver(s, ev);
        assert_int_equal(r.verdict, VERDICT_DELIVERED);
        if (i % 2) /* let the end arrive while idle */
            s->ops->work(s, -1, (struct duration){ 15 }, &r, 1);
    }
    event_unref(ev);
    sink_end(s);
}

/* Receivers may reset a kept connection at any moment, even while the next request is on its way to them. */
TEST(a_kept_connection_that_was_reset_is_no_failure)
{
    int events = many(150);
    struct sink *s = open_at("/dying", "unsigned: true\nconcurrency: 1\n");
    const struct event *ev = make_event("1", "{}");
    int before = atomic_load(&receiver.requests);
    for (int i = 0; i < events; i++)
        assert_int_equal(sink_deliver(s, ev).verdict, VERDICT_DELIVERED);
    assert_int_equal(atomic_load(&receiver.requests) - before, events); /* answered ones, each once */
    event_unref(ev);
    sink_end(s);
}

/* The body is larger than what the kernel takes at once, so that the reset comes in the middle of it. */
TEST(a_kept_connection_that_was_reset_in_the_middle_of_a_request_is_no_failure)
{
    int events = many(20);
    size_t n = 6 << 20;
    char *data = mem_alloc(n + 1);
    memset(data, '1', n);
    struct sink *s = open_at("/dying", "unsigned: true\nbody: binary\nconcurrency: 1\n");
    const struct event *ev = event_like((struct event){ .data = { data, n } });
    int before = atomic_load(&receiver.requests);
    for (int i = 0; i < events; i++)
        assert_int_equal(sink_deliver(s, ev).verdict, VERDICT_DELIVERED);
    assert_int_equal(atomic_load(&receiver.requests) - before, events);
    event_unref(ev);
    free(data);
    sink_end(s);
}

TEST(many_kept_connections_that_were_reset_are_no_failures)
{
    enum { AT_A_TIME = 8 };
    struct sink *s = open_at("/dying", "unsigned: true\nconcurrency: 8\n");
    const struct event *ev = make_event("1", "{}");
    for (int round = 0; round < many(150) / AT_A_TIME; round++) {
        struct result r[AT_A_TIME];
        for (uint64_t i = 0; i < AT_A_TIME; i++)
            s->ops->send(s, &(struct message){ .event = ev, .attempt = 1, .tag = i });
        for (size_t got = 0; got < AT_A_TIME;) {
            size_t n = s->ops->work(s, -1, (struct duration){ 3600 * 1000 }, r, AT_A_TIME);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(r[i].verdict, VERDICT_DELIVERED);
            got += n;
        }
    }
    event_unref(ev);
    sink_end(s);
}

/* Its end may come with the answer, and a receiver that sends no more may still read: without a word, for ever. */
TEST(a_kept_connection_whose_receiver_sends_no_more_is_no_failure)
{
    struct sink *s = open_at("/half", "unsigned: true\nconcurrency: 1\n");
    const struct event *ev = make_event("1", "{}");
    for (int i = 0; i < 20; i++) {
        struct result r = sink_deliver(s, ev);
        if (r.verdict != VERDICT_DELIVERED)
            fail_msg("%d: %s", i, r.why);
    }
    event_unref(ev);
    sink_end(s);
}

/* A receiver that answers first and reads then has not read a request that ends with its answer. */
TEST(a_receiver_that_answers_early_gets_the_whole_request)
{
    size_t n = 7 << 20;
    char *data = mem_alloc(n + 1);
    memset(data, '1', n);
    struct sink *s = open_at("/early", "unsigned: true\nbody: binary\nconcurrency: 1\n");
    const struct event *ev = event_like((struct event){ .data = { data, n } });
    int cut = atomic_load(&receiver.cut);
    for (int i = 0; i < 5; i++) {
        int before = atomic_load(&receiver.requests);
        assert_int_equal(sink_deliver(s, ev).verdict, VERDICT_DELIVERED);
        while (atomic_load(&receiver.requests) == before && atomic_load(&receiver.cut) == cut)
            usleep(1000);
        assert_int_equal(atomic_load(&receiver.cut), cut);
    }
    event_unref(ev);
    free(data);
    sink_end(s);
}

/* What a receiver says behind its answer, before it is asked again, is the answer to nothing. (libcurl does not look.) */
TEST(what_comes_behind_an_answer_is_no_answer)
{
    struct sink *s = open_at("/later", "unsigned: true\nconcurrency: 1\n");
    const struct event *ev = make_event("1", "{}");
    for (int i = 0; i < 10; i++) {
        int later = atomic_load(&receiver.later);
        struct result r = sink_deliver(s, ev);
        if (r.verdict != VERDICT_DELIVERED)
            fail_msg("%d: %s", i, r.why);
        while (atomic_load(&receiver.later) == later)
            usleep(1000);
        if (i % 2) /* the sink sees it while the connection is idle, or not before the next request */
            s->ops->work(s, -1, (struct duration){ 15 }, &r, 1);
    }
    event_unref(ev);
    sink_end(s);
}

/* Tickets, new keys and handshakes come at any time, and are no end of a connection and no answer. */
TEST(what_tls_says_to_itself_costs_no_connection)
{
    struct sink *s = open_at("/rekey", "unsigned: true\nconcurrency: 1\n");
    const struct event *ev = make_event("1", "{}");
    int connections = atomic_load(&receiver.connections);
    for (int i = 0; i < 10; i++) {
        int later = atomic_load(&receiver.later);
        struct result r = sink_deliver(s, ev);
        if (r.verdict != VERDICT_DELIVERED)
            fail_msg("%d: %s", i, r.why);
        while (atomic_load(&receiver.later) == later)
            usleep(1000);
        if (i % 2)
            s->ops->work(s, -1, (struct duration){ 15 }, &r, 1);
    }
    assert_int_equal(atomic_load(&receiver.connections) - connections, 1);
    event_unref(ev);
    sink_end(s);
}

/* Many a receiver does not say by TLS that it closes a connection, with which an answer without a length ends. */
TEST(an_end_without_a_word)
{
    assert_int_equal(deliver_to("/torn", NULL).verdict, VERDICT_DELIVERED);
    struct result r = deliver_to("/short", NULL);
    assert_int_equal(r.verdict, VERDICT_RETRY);
    assert_string_equal(r.why,
                        "connection lost before the end of the answer (the answer began with 200 and broke off)");
}

/* A receiver that is really broken still costs attempts: one request on a new connection each. */
TEST(a_new_connection_that_is_reset_is_a_failure)
{
    struct sink *s = open_at("/reset", "unsigned: true\nconcurrency: 1\n");
    const struct event *ev = make_event("1", "{}");
    int before = atomic_load(&receiver.requests);
    for (int i = 0; i < 20; i++)
        assert_int_equal(sink_deliver(s, ev).verdict, VERDICT_RETRY);
    assert_int_equal(atomic_load(&receiver.requests) - before, 20);
    event_unref(ev);
    sink_end(s);
}

/* ---- requests ---- */

/* The signature by OpenSSL's one-shot HMAC and EVP base64, not by our own crypto. */
static void sign(const char *key, size_t key_n, const char *id, const char *timestamp, const char *body, size_t body_n,
                 char out[64])
{
    char content[8192];
    int n = snprintf(content, sizeof content, "%s.%s.", id, timestamp);
    assert_true((size_t)n + body_n < sizeof content);
    memcpy(content + n, body, body_n);
    unsigned char mac[32];
    unsigned mac_n = sizeof mac;
    assert_non_null(HMAC(EVP_sha256(), key, (int)key_n, (unsigned char *)content, (size_t)n + body_n, mac, &mac_n));
    memcpy(out, "v1,", 3);
    EVP_EncodeBlock((unsigned char *)out + 3, mac, 32);
}

static void check_signature(const char *header, const char *id, const char *timestamp, const char *body, size_t body_n)
{
    unsigned char key[64];
    assert_int_equal(EVP_DecodeBlock(key, (const unsigned char *)SECRET_1 + 6, 32), 24);
    char first[64], second[64], both[160];
    sign((char *)key, 24, id, timestamp, body, body_n, first);
    sign(SECRET_2, strlen(SECRET_2), id, timestamp, body, body_n, second);
    snprintf(both, sizeof both, "%s %s", first, second);
    assert_string_equal(header, both);
}

#define BOTH_SECRETS "secrets: [" SECRET_1 ", " SECRET_2 "]\n"

static void take(const char *name, const char *expected)
{
    char *value = receiver_header(&receiver, name);
    if (expected)
        assert_non_null(value);
    if (!expected && value)
        fail_msg("%s: %s was sent", name, value);
    if (expected)
        assert_string_equal(value, expected);
    free(value);
}

/* The last request's id and body (free() both), which both keys must have signed not before that second. */
static char *take_signed(int64_t not_before, char **id, size_t *n)
{
    char *body = receiver_body(&receiver, n), *ts = receiver_header(&receiver, "webhook-timestamp"),
         *signature = receiver_header(&receiver, "webhook-signature");
    *id = receiver_header(&receiver, "webhook-id");
    uint64_t at;
    assert_true(str_to_u64(str_of(ts), &at));
    assert_true((int64_t)at >= not_before && (int64_t)at <= not_before + 30);
    check_signature(signature, *id, ts, body, *n);
    free(ts);
    free(signature);
    return body;
}

/* The pair is that of RFC 7617, section 2. */
TEST(user_name_and_password_go_with_each_request_and_are_not_shown)
{
    struct sink *s = open_at("/status/503", "unsigned: true\nbasic: {username: Aladdin, password: receiver's}");
    const struct event *ev = make_event("01HZX3V7QK8N2M4P6R8T0W2Y4Z", "{\"n\":1}");
    assert_string_equal(sink_deliver(s, ev).why, "503 Service Unavailable: the ********** words");
    sink_end(s);
    s = open_at("/status/204", "unsigned: true\nbasic: {username: Aladdin, password: open sesame}");
    assert_int_equal(sink_deliver(s, ev).verdict, VERDICT_DELIVERED);
    take("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    event_unref(ev);
    sink_end(s);
}

TEST(a_structured_request)
{
    struct sink *s = open_at("/status/204",
                             BOTH_SECRETS "body: structured\nheaders: {Authorization: Bearer abc, X-Team: crm}\n");
    struct header ext[] = { { STR("traceparent"), STR("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") } };
    const struct event *ev = event_like((struct event){ .id = STR("01HZX3V7QK8N2M4P6R8T0W2Y4Z"),
                                                        .extensions = ext,
                                                        .extension_count = 1,
                                                        .datacontenttype = STR("application/json"),
                                                        .data = STR("{\"a\": 1.10}") });
    int64_t before = clock_wall_ms() / 1000;
    assert_int_equal(sink_deliver(s, ev).verdict, VERDICT_DELIVERED);
    size_t n;
    char *id, *body = take_signed(before, &id, &n);
    assert_string_equal(id, "01HZX3V7QK8N2M4P6R8T0W2Y4Z");
    take("content-type", "application/cloudevents+json");
    take("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    take("authorization", "Bearer abc");
    take("x-team", "crm");
    take("accept", NULL);
    take("expect", NULL);
    take("ce-id", NULL);
    const struct event *back = event_from_json((struct str){ body, n }, NULL);
    assert_non_null(back);
    assert_true(str_eq(back->data, ev->data));
    event_unref(back);
    event_unref(ev);
    free(body);
    free(id);
    sink_end(s);
}

/* The body of a request that is built of `m`, which must have this content type; free() it. */
static char *body_of(enum body_mode mode, const char *content_type, const struct message *m, const char *expected_type)
{
    struct signer unsigned_ = { .style = signature_style(SIGNATURE_STANDARD) };
    struct shape shape = { .body = mode, .content_type = content_type };
    struct request_template template = { .signer = &unsigned_, .shape = &shape };
    struct request r = { 0 };
    struct err e = { "" };
    if (!request_build(&r, &template, m, 1764115200123, &e))
        fail_msg("%s", e.text);
    const char *found = NULL;
    for (struct curl_slist *line = r.lines; line; line = line->next)
        if (!strncmp(line->data, "Content-Type: ", 14)) {
            assert_null(found);
            found = line->data + 14;
        }
    assert_non_null(found);
    assert_string_equal(found, expected_type);
    char *body = str_dup(r.body);
    request_free(&r);
    return body;
}

TEST(a_standard_request)
{
    struct sink *s = open_at("/status/204", BOTH_SECRETS);
    struct header ext[] = { { STR("snapshot"), STR("true") },
                            { STR("timestamp"), STR("not this one") },
                            { STR("traceparent"), STR("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") } };
    const struct event *ev = event_born(&(struct event){ .id = STR("01HZX3V7QK8N2M4P6R8T0W2Y4Z"),
                                                         .extensions = ext,
                                                         .extension_count = 3,
                                                         .booleans = 1,
                                                         .source = STR("/sqlite/a"),
                                                         .type = STR("chat.\"quoted\""),
                                                         .subject = STR("chats/1"),
                                                         .time = STR("2026-11-20T10:00:00Z"),
                                                         .datacontenttype = STR("application/json"),
                                                         .data = STR(" {\"a\": 1.10} ") });
    int64_t before = clock_wall_ms() / 1000;
    assert_int_equal(sink_deliver(s, ev).verdict, VERDICT_DELIVERED);
    size_t n;
    char *id, *body = take_signed(before, &id, &n);
    assert_string_equal(body, "{\"type\":\"chat.\\\"quoted\\\"\",\"timestamp\":\"2026-11-20T10:00:00Z\","
                              "\"id\":\"01HZX3V7QK8N2M4P6R8T0W2Y4Z\",\"source\":\"/sqlite/a\","
                              "\"subject\":\"chats/1\",\"snapshot\":true,\"data\":{\"a\": 1.10}}");
    take("content-type", "application/json");
    take("ce-id", NULL);
    event_unref(ev);
    free(body);
    free(id);
    sink_end(s);
}

TEST(standard_bodies)
{
    static const struct {
        const char *type, *data, *member;
    } cases[] = {
        { "application/json", "[1, 2]", "\"data\":[1, 2]}" },
        { NULL, "\"text\"", "\"data\":\"text\"}" },
        { "application/vnd.x+json", "null", "\"data\":null}" },
        { "text/plain", "a \"b\"\n", "\"datacontenttype\":\"text/plain\",\"data\":\"a \\\"b\\\"\\n\"}" },
        { "application/octet-stream", "\001\377",
          "\"datacontenttype\":\"application/octet-stream\",\"data_base64\":\"Af8=\"}" },
        { "application/json", "{broken", "\"data_base64\":\"e2Jyb2tlbg==\"}" },
        { NULL, NULL, "\"data\":null}" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct event fields = { .id = STR("1"), .source = STR("/s"), .type = STR("t") };
        fields.datacontenttype = cases[i].type ? str_of(cases[i].type) : STR_ABSENT;
        fields.data = cases[i].data ? str_of(cases[i].data) : STR_ABSENT;
        const struct event *ev = event_born(&fields);
        struct record record = { .timestamp_ms = 1700000000000 };
        struct message m = { .event = ev, .record = &record };
        char *body = body_of(BODY_STANDARD, NULL, &m, "application/json");
        /* no time of its own: when the broker got it, in all attempts */
        const char
            *before = "{\"type\":\"t\",\"timestamp\":\"2023-11-14T22:13:20.000Z\",\"id\":\"1\",\"source\":\"/s\",";
        assert_memory_equal(body, before, strlen(before));
        assert_string_equal(body + strlen(before), cases[i].member);
        free(body);
        event_unref(ev);
    }
}

TEST(content_types)
{
    const struct event *ev = event_born(&(struct event){ .id = STR("1"),
                                                         .source = STR("/s"),
                                                         .type = STR("t"),
                                                         .datacontenttype = STR("text/csv"),
                                                         .data = STR("a,b") });
    struct message m = { .event = ev };
    free(body_of(BODY_STANDARD, NULL, &m, "application/json"));
    free(body_of(BODY_STANDARD, "application/vnd.acme+json; v=2", &m, "application/vnd.acme+json; v=2"));
    free(body_of(BODY_STRUCTURED, NULL, &m, "application/cloudevents+json"));
    free(body_of(BODY_STRUCTURED, "application/json", &m, "application/json"));
    free(body_of(BODY_BINARY, NULL, &m, "text/csv"));
    free(body_of(BODY_DATA, NULL, &m, "text/csv"));
    char *body = body_of(BODY_DATA, "application/octet-stream", &m, "application/octet-stream");
    assert_string_equal(body, "a,b");
    free(body);
    event_unref(ev);
}

/* What is signed is what was rendered; each part of the request is escaped as its place wants. */
TEST(a_templated_request)
{
    struct sink
        *s = open_at("/status/204?v=1", BOTH_SECRETS
                     "body: {text: \"{{data.who}} asked: {{data.text}}\", n: \"{{data.n}}\", fixed: [1, true, x]}\n"
                     "method: PUT\n"
                     "query: {q: \"{{data.text}}\", none: \"{{data.none | omit}}\"}\n"
                     "headers: {X-Who: \"{{data.who}}\", X-None: \"{{data.none | omit}}\", X-Plain: x}\n");
    const struct event *ev = make_event("01HZX3V7QK8N2M4P6R8T0W2Y4Z",
                                        "{\"who\":\"Zo\\u00eb\",\"text\":\"a \\\"b\\\" & c\\n\",\"n\":1.50}");
    int64_t before = clock_wall_ms() / 1000;
    assert_int_equal(sink_deliver(s, ev).verdict, VERDICT_DELIVERED);
    size_t n;
    char *id, *body = take_signed(before, &id, &n);
    assert_string_equal(body, "{\"text\":\"Zo\\u00eb asked: a \\\"b\\\" & c\\n\",\"n\":1.50,\"fixed\":[1,true,\"x\"]}");
    take("content-type", "application/json");
    take("x-who", "Zo\xc3\xab");
    take("x-none", NULL);
    take("x-plain", "x");
    pthread_mutex_lock(&receiver.lock);
    char *head = str_dup(buf_str(&receiver.last_head));
    pthread_mutex_unlock(&receiver.lock);
    assert_memory_equal(head, "PUT ", 4);
    assert_non_null(strstr(head, "/status/204?v=1&q=a%20%22b%22%20%26%20c%0A HTTP/1.1\r\n")); /* whole for a proxy */
    free(head);
    event_unref(ev);
    free(body);
    free(id);
    ev = make_event("01HZX3V7QK8N2M4P6R8T0W2Y4Z", "{\"who\":\"x\\r\\nSet-Cookie: a\",\"text\":\"\",\"n\":1}");
    struct result r = sink_deliver(s, ev);
    assert_int_equal(r.verdict, VERDICT_REJECT);
    assert_int_equal(r.reason, REASON_CONFIGURATION);
    assert_string_equal(r.why, "headers: X-Who: {{data.who}}: it has a control character, such as the end of a line");
    event_unref(ev);
    ev = make_event("01HZX3V7QK8N2M4P6R8T0W2Y4Z", "{\"who\":\"x\",\"n\":1}");
    r = sink_deliver(s, ev);
    assert_int_equal(r.verdict, VERDICT_REJECT);
    assert_string_equal(r.why, "query: q: {{data.text}}: the event has none");
    event_unref(ev);
    sink_end(s);
}

TEST(a_binary_request)
{
    struct sink *s = open_at("/status/204", BOTH_SECRETS "body: binary\n");
    struct header ext[] = { { STR("partitionkey"), STR("k 1") }, { STR("empty"), STR("") } };
    const struct event *ev = event_born(&(struct event){ .id = STR("17"),
                                                         .source = STR("/s"),
                                                         .type = STR("t"),
                                                         .subject = STR("Euro \xe2\x82\xac \xf0\x9f\x98\x80"),
                                                         .time = STR("2026-11-20T10:00:00Z"),
                                                         .extensions = ext,
                                                         .extension_count = 2,
                                                         .datacontenttype = STR("application/octet-stream"),
                                                         .data = { "\0\1\2\xff", 4 } });
    int64_t before = clock_wall_ms() / 1000;
    assert_int_equal(sink_deliver(s, ev).verdict, VERDICT_DELIVERED);
    size_t n;
    char *id, *body = take_signed(before, &id, &n);
    assert_int_equal(n, 4);
    assert_memory_equal(body, "\0\1\2\xff", 4);
    assert_int_equal(strlen(id), 36); /* "17" may come from any source */
    take("ce-specversion", "1.0");
    take("ce-id", "17");
    take("ce-source", "/s");
    take("ce-type", "t");
    take("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80");
    take("ce-time", "2026-11-20T10:00:00Z");
    take("ce-partitionkey", "k%201");
    take("ce-empty", "");
    take("ce-datacontenttype", NULL);
    take("content-type", "application/octet-stream");
    event_unref(ev);
    free(body);
    free(id);
    sink_end(s);
}

/* The trace goes on in headers of its own; one that is not valid does not. */
TEST(trace_headers)
{
    static const char parent[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    static const struct {
        const char *parent, *state, *sent_parent, *sent_state;
    } cases[] = {
        { parent, "a=1,b=2", parent, "a=1,b=2" },
        { parent, "a=1,a=2", parent, NULL },
        { "-------------------------------------------------------", "a=1", NULL, NULL },
        { "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=1", NULL, NULL },
    };
    struct sink *s = open_at("/status/204", "unsigned: true\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct header ext[] = { { STR("traceparent"), str_of(cases[i].parent) },
                                { STR("tracestate"), str_of(cases[i].state) } };
        const struct event *ev = event_like((struct event){ .extensions = ext, .extension_count = 2 });
        assert_int_equal(sink_deliver(s, ev).verdict, VERDICT_DELIVERED);
        take("traceparent", cases[i].sent_parent);
        take("tracestate", cases[i].sent_state);
        event_unref(ev);
    }
    sink_end(s);
}

TEST(no_data_and_no_content_type)
{
    struct sink *s = open_at("/status/204", "unsigned: true\nbody: binary\n");
    const struct event *ev = event_like((struct event){ .id = STR("x") });
    assert_int_equal(sink_deliver(s, ev).verdict, VERDICT_DELIVERED);
    take("content-type", NULL);
    take("content-length", "0");
    take("webhook-signature", NULL);
    event_unref(ev);
    sink_end(s);
}

/* The value of a header of the request that is built of it; absent: it has none. Borrowed. */
static const char *line_of(const struct request *r, const char *name)
{
    size_t n = strlen(name);
    for (const struct curl_slist *line = r->lines; line; line = line->next)
        if (!strncasecmp(line->data, name, n) && line->data[n] == ':')
            return line->data + n + 2;
    return NULL;
}

#define SLACK_BODY                                                                                                     \
    "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name="      \
    "foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks." \
    "slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121."  \
    "803a0bc887a14d10d2c447fce8b6703c"

/* Standard Webhooks', Svix's (v1a), GitHub's and Slack's own examples; for Stripe, Langfuse and the plain ones what Python's hmac says. */
TEST(published_vectors)
{
    static const struct {
        enum signature scheme;
        const char *secrets[2], *id;
        int64_t at;
        const char *body, *name, *value;
    } vectors[] = {
        { SIGNATURE_STANDARD,
          { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" },
          "msg_p5jXN8AQM9LWM0D4loKWxJek",
          1614265330,
          "{\"test\": 2432232314}",
          "webhook-signature",
          "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" },
        { SIGNATURE_STANDARD,
          { "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD" },
          "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
          1649367553,
          "{\"email\":\"test@example.com\",\"username\":\"test_user\"}",
          "webhook-signature",
          "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=" },
        { SIGNATURE_STANDARD,
          { SECRET_PRIVATE, SECRET_1 },
          "msg_p5jXN8AQM9LWM0D4loKWxJek",
          1614265330,
          "{\"test\": 2432232314}",
          "webhook-signature",
          "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg== "
          "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" },
        { SIGNATURE_GITHUB,
          { "It's a Secret to Everybody" },
          "0123456789abcdef",
          1,
          "Hello, World!",
          "X-Hub-Signature-256",
          "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17" },
        { SIGNATURE_SLACK,
          { "8f742231b10e8888abcd99yyyzzz85a5" },
          "0123456789abcdef",
          1531420618,
          SLACK_BODY,
          "X-Slack-Signature",
          "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503" },
        { SIGNATURE_STRIPE,
          { "whsec_test_secret_of_a_stripe_endpoint", "another_secret_of_that_endpoint" },
          "0123456789abcdef",
          1614265330,
          "{\"id\": \"evt_1\"}",
          "Stripe-Signature",
          "t=1614265330,v1=234ba0ffc057c5a2f83023c6c4db42adff8389a05b8a869d81bdc94bf13384b4,"
          "v1=2385e13eb2a2a7d513f6eb20e89c17bd4c4852801962f0b138a0578277c2c214" },
        { SIGNATURE_LANGFUSE,
          { "lf-whsec_0f3b9a1c2d4e5f60718293a4b5c6d7e8" },
          "0123456789abcdef",
          1614265330,
          "{\"id\": \"evt_1\"}",
          "x-langfuse-signature",
          "t=1614265330,v1=32b4747d884d46590cbdf12cd64f0d23f4888b6a4775e3055919d14fcb496fcf" },
        { SIGNATURE_HMAC_HEX,
          { "a shop's shared secret" },
          "0123456789abcdef",
          1,
          "{\"id\": 1}",
          "X-Hook-Signature",
          "e08b480555b363f0fbfac4183050aa28c434c5b81b4d570887f0759569abc015" },
        { SIGNATURE_HMAC_BASE64,
          { "a shop's shared secret" },
          "0123456789abcdef",
          1,
          "{\"id\": 1}",
          "X-Hook-Signature",
          "4ItIBVWzY/D7+sQYMFCqKMQ0xbgbTVcIh/B1lWmrwBU=" },
    };
    static char plain[] = "X-Hook-Signature";
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct secret secrets[2] = { { .text = (char *)(uintptr_t)vectors[i].secrets[0] },
                                     { .text = (char *)(uintptr_t)vectors[i].secrets[1] } };
        struct signature_options o = { .scheme = vectors[i].scheme };
        if (!signature_style(o.scheme)->headers.signature)
            o.header = plain;
        struct signer signer;
        struct err e = { "" };
        assert_true(signer_load(&signer, &o, &(struct secrets){ secrets, secrets[1].text ? 2 : 1 }, false, &e));
        struct shape shape = { .body = BODY_BINARY };
        struct request_template template = { .signer = &signer, .shape = &shape };
        const struct event *ev = event_like(
            (struct event){ .id = str_of(vectors[i].id), .data = str_of(vectors[i].body) });
        struct request r = { 0 };
        assert_true(request_build(&r, &template, &(struct message){ .event = ev }, vectors[i].at * 1000 + 999, NULL));
        assert_string_equal(line_of(&r, vectors[i].name), vectors[i].value);
        assert_string_equal(line_of(&r, "webhook-id"), vectors[i].id); /* whatever the scheme */
        assert_int_equal(strtoll(line_of(&r, "webhook-timestamp"), NULL, 10), vectors[i].at);
        if (o.scheme == SIGNATURE_GITHUB)
            assert_string_equal(line_of(&r, "X-GitHub-Delivery"), vectors[i].id);
        if (o.scheme == SIGNATURE_SLACK)
            assert_string_equal(line_of(&r, "X-Slack-Request-Timestamp"), line_of(&r, "webhook-timestamp"));
        request_free(&r);
        event_unref(ev);
        signer_free(&signer);
    }
}

/* 2026-11-20T00:00:00Z */
#define NOW_MS ((int64_t)1795132800 * 1000)
#define DAY_MS ((int64_t)86400000)

/* These secrets make the signatures `expected` (NULL: nothing is sent), and the warning (NULL: none). */
static void signs(const char *more, const char *expected, const char *warning)
{
    char yaml[1024];
    snprintf(yaml, sizeof yaml, "url: http://example.com/\n%s", more);
    struct sink *s = sink_filled(&webhook_sink, "test", yaml);
    struct webhook_endpoint *ep = (struct webhook_endpoint *)s->endpoint;
    struct signer signer;
    struct buf lines = buf_new(4096);
    struct err e = { "" };
    assert_true(signer_load(&signer, &ep->signature, &ep->secrets, ep->unsigned_, &e));
    assert_int_equal(signer_warning(&signer, clock_wall_ms(), &e), warning != NULL);
    if (warning)
        assert_says(e.text, warning);
    assert_int_equal(signer_has_ended(&signer), expected == NULL);
    if (expected) {
        signer_add(&signer, STR("m1"), NOW_MS, STR("{}"), &lines);
        const char *found = memmem(lines.at, lines.n, "webhook-signature: ", 19);
        assert_string_equal(found ? found + 19 : "", expected);
    }
    buf_free(&lines);
    signer_free(&signer);
    sink_free(s);
}

#define SHA256_OF_1 "sha256=f24443c8591b3b33fc725d7e97aa021b224c8e591cb63b79ed395fef40283e51"
#define SHA256_OF_2 "sha256=41cc8eabe648096a7f487981bee2eac1c0719832be93b7c22af7635fd74722ab"
#define SIGNED_1    "v1,JF3/hlJpha3tOtGn0+92nvMXpE5Iquwv5zOzX83J79w="
#define SIGNED_2    "v1,A/aUZSIjUFtq3VXbR5jnBDsg8auBVba4clljbhx4UgI="

/* The lines that these options add to a request have these two among them, and the usual timestamp once. */
static void signed_lines(const char *more, const char *one, const char *other)
{
    char yaml[1024];
    snprintf(yaml, sizeof yaml, "url: http://example.com/\n%s", more);
    struct sink *s = sink_filled(&webhook_sink, "test", yaml);
    struct webhook_endpoint *ep = (struct webhook_endpoint *)s->endpoint;
    struct signer signer;
    struct buf lines = buf_new(4096);
    struct err e = { "" };
    assert_true(signer_load(&signer, &ep->signature, &ep->secrets, ep->unsigned_, &e));
    signer_add(&signer, STR("m1"), NOW_MS, STR("{}"), &lines);
    size_t times = 0;
    for (size_t i = 0; i < lines.n; i += strlen(lines.at + i) + 1)
        times += strncasecmp(lines.at + i, "webhook-timestamp:", 18) == 0;
    assert_int_equal(times, 1);
    assert_non_null(memmem(lines.at, lines.n, one, strlen(one) + 1));
    assert_non_null(memmem(lines.at, lines.n, other, strlen(other) + 1));
    buf_free(&lines);
    signer_free(&signer);
    sink_free(s);
}

/* The rows without a time, and a description; by Python's hmac. */
TEST(other_rows_and_what_a_user_describes)
{
    static const struct {
        const char *options, *lines[2];
    } cases[] = {
        { "secrets: [a secret of enough length, {secret: another secret of enough length}]\nsignature: {scheme: outpost}",
          { "x-outpost-signature: v0=8886a355b9453d3377bb39517109b159f221fd11c43aeebbc9f864cadd40daf5,"
            "34c3c8fa8277a471cafb9ea4d2f657ca26827edad3bc667e6515fede6dad794f",
            "x-outpost-event-id: m1" } },
        { "secrets: [a secret of enough length]\nsignature: {scheme: shopify}",
          { "X-Shopify-Hmac-SHA256: iIajVblFPTN3uzlRcQmxWfIh/RHEOu67yfhkyt1A2vU=", "X-Shopify-Webhook-Id: m1" } },
        { "secrets: [a secret of enough length]\nsignature: {scheme: hmac, header: X-Sig, prefix: 'v0=', signs: "
          "'v0:{timestamp}:{body}', timestamp_header: X-Time}",
          { "X-Sig: v0=e3a000919a39fe5bf54ca1ddede3be8620ff4c620cfd5c89be85c07122e4c9e8", "X-Time: 1795132800" } },
        { "secrets: [a secret of enough length]\nsignature: {scheme: hmac, header: X-Sig, signs: "
          "'{timestamp}{body}', timestamp_header: Webhook-Timestamp}",
          { "X-Sig: 76ab57a69bdb4306b9ebe5039345429d54a819beec9df9ee94442ef007b0c232",
            "webhook-timestamp: 1795132800" } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        signed_lines(cases[i].options, cases[i].lines[0], cases[i].lines[1]);
}

TEST(a_key_signs_until_its_date)
{
    clock_fake(1000, NOW_MS);
    signs("secrets: [" SECRET_1 ", " SECRET_2 "]", SIGNED_1 " " SIGNED_2, NULL);
    signs("secrets: [" SECRET_1 ", {secret: " SECRET_2 ", until: 2026-11-20}]", SIGNED_1 " " SIGNED_2, NULL);
    signs("secrets: [" SECRET_1 ", {secret: " SECRET_2 ", until: 2026-11-19}]", SIGNED_1, NULL); /* its end is now */
    signs("secrets: [{secret: " SECRET_1 ", until: 2026-11-20T00:00:00Z}, " SECRET_2 "]", SIGNED_2, NULL);
    signs("secrets: [{secret: " SECRET_1 ", until: '2026-11-20T02:00:00.001+02:00'}, {secret: " SECRET_2 "}]",
          SIGNED_1 " " SIGNED_2, NULL);
    signs("secrets: [{secret: " SECRET_1 ", until: 2026-12-05}]", SIGNED_1, NULL);
    signs("secrets: [{secret: " SECRET_1 ", until: 2026-12-03}, {secret: " SECRET_2 ", until: 2026-11-01}]", SIGNED_1,
          "every key ends (until), the last one at 2026-12-04T00:00:00.000Z");
    signs("secrets: [{secret: " SECRET_1 ", until: 2026-11-19}]", NULL,
          "every key has ended (until), the last one at 2026-11-20T00:00:00.000Z: nothing is sent");
    signs("unsigned: true", "", NULL);
    clock_real();
}

static void expect_signature(struct signer *s, const char *expected)
{
    struct buf lines = buf_new(4096);
    signer_refresh(s, "test");
    signer_add(s, STR("m1"), NOW_MS, STR("{}"), &lines);
    const char *found = memmem(lines.at, lines.n, "webhook-signature: ", 19);
    assert_string_equal(found ? found + 19 : "", expected);
    buf_free(&lines);
}

static void write_key(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, 0600), 0);
    watch_ask();
}

TEST(a_key_follows_its_file)
{
    char folder[FOLDER_BYTES], path[FOLDER_BYTES + 8], written[FOLDER_BYTES + 24];
    struct err e;
    struct signer signer;
    clock_fake(1000, NOW_MS);
    folder_make(folder);
    snprintf(path, sizeof path, "%s/key", folder);
    snprintf(written, sizeof written, "${file:%s}", path);
    struct secret one = { .text = (char[]){ SECRET_1 }, .written = written };
    const struct signature_options o = { .scheme = SIGNATURE_STANDARD };
    assert_true(signer_load(&signer, &o, &(struct secrets){ &one, 1 }, false, &e));
    write_key(path, SECRET_1);
    expect_signature(&signer, SIGNED_1);
    write_key(path, SECRET_2 "\n");
    expect_signature(&signer, SIGNED_2);
    write_key(path, "too short");
    expect_signature(&signer, SIGNED_2);
    signer_free(&signer);
    folder_remove(folder);
    clock_real();
}

TEST(where_there_is_one_signature_the_next_key_signs_when_the_first_has_ended)
{
    static char text_1[] = "a secret for the time before", text_2[] = "a secret for the time after";
    struct secret list[2] = { { .text = text_1, .until = { NOW_MS } }, { .text = text_2 } };
    struct signer signer;
    struct buf lines = buf_new(4096);
    clock_fake(1000, NOW_MS - 1);
    assert_true(signer_load(&signer, &(struct signature_options){ .scheme = SIGNATURE_GITHUB },
                            &(struct secrets){ list, 2 }, false, NULL));
    assert_false(signer_turn(&signer, NOW_MS - 1));
    size_t n = signer_add(&signer, STR("m1"), NOW_MS - 1, STR("{}"), &lines);
    assert_int_equal(n, 4);
    assert_non_null(memmem(lines.at, lines.n, SHA256_OF_1, strlen(SHA256_OF_1) + 1));
    buf_reset(&lines);
    assert_false(signer_turn(&signer, NOW_MS)); /* there is another: nothing to warn of */
    signer_add(&signer, STR("m1"), NOW_MS, STR("{}"), &lines);
    assert_non_null(memmem(lines.at, lines.n, SHA256_OF_2, strlen(SHA256_OF_2) + 1));
    buf_free(&lines);
    signer_free(&signer);
    clock_real();
}

TEST(without_a_key_that_signs_nothing_is_sent_and_no_attempt_counted)
{
    int before = atomic_load(&receiver.requests);
    struct result r = deliver_to("/status/200", "secrets: [{secret: " SECRET_1 ", until: 2026-11-19}]");
    assert_int_equal(r.verdict, VERDICT_UNTRIED);
    assert_int_equal(r.reason, REASON_CONFIGURATION);
    assert_says(r.why, "every key has ended (until), the last one at 2026-11-20T00:00:00.000Z");
    assert_int_equal(r.retry_after.ms, 30000);
    assert_int_equal(atomic_load(&receiver.requests), before);
}

/* Another receiver of the sink. */
static struct endpoint *add_endpoint(struct sink *s, const char *name, const char *more)
{
    char yaml[256];
    struct err e = { "" };
    struct webhook_endpoint *ep = calloc(1, sizeof *ep);
    assert_non_null(ep);
    snprintf(yaml, sizeof yaml, "url: http://127.0.0.1:%d/status/204\nunsigned: true\n%s", receiver.port, more);
    options_fill(endpoint_rows, ep, yaml);
    ep->base.name = name;
    if (!s->ops->endpoints->open(s, &ep->base, &e))
        fail_msg("%s", e.text);
    return &ep->base;
}

static void remove_endpoint(struct sink *s, struct endpoint *ep)
{
    s->ops->endpoints->close(s, ep);
    free(ep);
}

/* Requests of all receivers have the same transfers. */
TEST(what_ended_unsent_is_told_though_the_receiver_that_its_transfer_served_before_goes)
{
    struct sink *s = open_at("/status/204", "secrets: [{secret: " SECRET_1 ", until: 2026-11-19}]");
    const struct sink_ops *ops = s->ops;
    const struct event *ev = make_event("1", "{}");
    struct endpoint *other = add_endpoint(s, "other", "");
    struct result r;
    ops->send(s, &(struct message){ .event = ev, .endpoint = other, .attempt = 1, .tag = 1 });
    while (ops->work(s, -1, (struct duration){ 3600 * 1000 }, &r, 1) == 0)
        continue;
    assert_int_equal(r.tag, 1);
    ops->send(s, &(struct message){ .event = ev, .attempt = 1, .tag = 2 }); /* every key has ended */
    remove_endpoint(s, other);
    assert_int_equal(ops->work(s, -1, (struct duration){ 0 }, &r, 1), 1);
    assert_int_equal(r.tag, 2);
    assert_int_equal(r.verdict, VERDICT_UNTRIED);
    event_unref(ev);
    sink_end(s);
}

TEST(where_connections_are_few_no_receiver_waits_for_all_that_others_get)
{
    enum { SINGLE, MANY, FEW, KINDS, AHEAD = 6, MOST = 200 };
    struct sink *s = open_at("/status/204", "unsigned: true\nconnections: 1\n");
    const struct event *ev = make_event("1", "{}");
    struct endpoint *to[] = { s->endpoint, add_endpoint(s, "many", "batch: {count: 2}\n"),
                              add_endpoint(s, "few", "batch: {count: 2}\n") };
    int results[KINDS] = { 0 };
    for (uint64_t i = 0; i < AHEAD; i++)
        s->ops->send(s, &(struct message){ .event = ev, .endpoint = to[SINGLE], .attempt = 1, .tag = SINGLE });
    s->ops->send(s, &(struct message){ .event = ev, .endpoint = to[FEW], .attempt = 1, .awaited = true, .tag = FEW });
    for (uint64_t i = 0; i < AHEAD; i++)
        s->ops->send(s, &(struct message){ .event = ev, .endpoint = to[MANY], .attempt = 1, .tag = MANY });
    for (int count = 0; count < MOST && !results[FEW]; count++) {
        struct result r;
        while (s->ops->work(s, -1, (struct duration){ 3600 * 1000 }, &r, 1) == 0)
            continue;
        results[r.tag]++;
        if (r.tag != FEW) /* the others never run dry */
            s->ops->send(s, &(struct message){ .event = ev, .endpoint = to[r.tag], .attempt = 1, .tag = r.tag });
    }
    assert_int_equal(results[FEW], 1);
    assert_true(results[SINGLE] > 0);
    remove_endpoint(s, to[MANY]);
    remove_endpoint(s, to[FEW]);
    event_unref(ev);
    sink_end(s);
}

TEST(ids)
{
    char a[REQUEST_ID + 1], b[REQUEST_ID + 1];
    struct event ev = { .id = STR("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"), .source = STR("/s") };
    struct message m = { .event = &ev };
    assert_true(str_eq(request_id(&m, a), ev.id));
    ev.id = STR("msg_27UH4WbU6Z5A5EzD8u03.UvzRbpk"); /* a dot would let two ids sign alike */
    struct str one = request_id(&m, a);
    assert_int_equal(one.n, 36);
    assert_true(str_eq(one, request_id(&m, b))); /* the same for each attempt */
    ev.id = STR("17");
    struct str first = request_id(&m, a);
    ev.source = STR("/other");
    assert_false(str_eq(first, request_id(&m, b)));
    char longest[200];
    memset(longest, 'a', sizeof longest);
    ev.id = (struct str){ longest, 128 };
    assert_int_equal(request_id(&m, a).n, 128);
    struct header from = { STR("aqueduct-from"), STR("hooks/a") };
    struct record r = { .headers = &from, .header_count = 1 };
    m.record = &r;
    struct str scoped = request_id(&m, a); /* strangers chose it: it is unique within their path */
    assert_int_equal(scoped.n, 36);
    assert_true(str_eq(scoped, request_id(&m, b)));
    from.value = STR("hooks/b");
    assert_false(str_eq(scoped, request_id(&m, b)));
    m.record = NULL;
    ev.id.n = 129;
    assert_int_equal(request_id(&m, a).n, 36);
}

TEST(what_does_not_fit_headers_is_rejected)
{
    static char value[8000];
    memset(value, '%', sizeof value);
    struct header ext[40];
    char names[40][16];
    for (int i = 0; i < 40; i++) {
        snprintf(names[i], sizeof names[i], "x%d", i);
        ext[i] = (struct header){ str_of(names[i]), { value, sizeof value } };
    }
    const struct event *ev = event_like((struct event){ .extensions = ext, .extension_count = 40 });
    struct sink *s = open_at("/status/204", "unsigned: true\nbody: binary\n");
    struct result r = sink_deliver(s, ev);
    assert_int_equal(r.verdict, VERDICT_REJECT);
    assert_int_equal(r.reason, REASON_CONFIGURATION);
    assert_non_null(strstr(r.why, "body: structured"));
    sink_end(s);
    s = open_at("/status/204", "unsigned: true\n");
    assert_int_equal(sink_deliver(s, ev).verdict, VERDICT_DELIVERED);
    sink_end(s);
    event_unref(ev);
}

TEST(the_environments_proxy_is_ignored)
{
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    struct result r = deliver_to("/status/204", NULL);
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
    assert_int_equal(r.verdict, VERDICT_DELIVERED);
}

TEST(a_large_body_arrives_whole)
{
    size_t n = 3 << 20;
    char *data = mem_alloc(n + 1);
    memset(data, 'x', n);
    data[0] = data[n - 1] = '"';
    const struct event *ev = event_like((struct event){ .data = { data, n } });
    struct sink *s = open_at("/status/200", "unsigned: true\nbody: binary\n");
    assert_int_equal(sink_deliver(s, ev).verdict, VERDICT_DELIVERED);
    size_t got;
    char *body = receiver_body(&receiver, &got);
    assert_int_equal(got, n);
    assert_memory_equal(body, data, n);
    free(body);
    free(data);
    event_unref(ev);
    sink_end(s);
}

/* ---- many at a time ---- */

TEST(each_message_has_one_result)
{
    enum { N = 500 };
    static bool seen[N];
    memset(seen, 0, sizeof seen);
    struct sink *s = open_at("/status/204", "unsigned: true\nconcurrency: 8\n");
    const struct event *ev = make_event("1", "{}");
    int connections = atomic_load(&receiver.connections);
    for (uint64_t i = 0; i < N; i++)
        s->ops->send(s, &(struct message){ .event = ev, .attempt = 1, .tag = i });
    size_t count = 0;
    while (count < N) {
        struct result out[3]; /* less room than there are results */
        size_t n = s->ops->work(s, -1, (struct duration){ 3600 * 1000 }, out, 3);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(out[i].verdict, VERDICT_DELIVERED);
            assert_false(seen[out[i].tag]);
            seen[out[i].tag] = true;
        }
        count += n;
    }
    assert_int_equal(count, N);
    assert_true(atomic_load(&receiver.connections) - connections <= 8); /* kept alive, and no more than asked for */
    event_unref(ev);
    sink_end(s);
}

TEST(the_wake_descriptor_ends_waiting)
{
    struct sink *s = open_at("/hang", "unsigned: true\ntimeout: 60s\n");
    const struct event *ev = make_event("1", "{}");
    struct result r;
    int wake = wake_new();
    s->ops->send(s, &(struct message){ .event = ev, .attempt = 1, .tag = 1 });
    wake_up(wake);
    assert_int_equal(s->ops->work(s, wake, (struct duration){ 3600 * 1000 }, &r, 1), 0);
    assert_int_equal(s->ops->work(s, wake, (struct duration){ 3600 * 1000 }, &r, 1),
                     0); /* it is for the core to clear */
    wake_clear(wake);
    assert_int_equal(s->ops->work(s, wake, (struct duration){ 0 }, &r, 1), 0);
    sink_end(s); /* with one in flight */
    close(wake);
    event_unref(ev);
}

TEST(close_with_messages_in_line)
{
    struct sink *s = open_at("/hang", "unsigned: true\nconcurrency: 2\n");
    const struct event *ev = make_event("1", "{}");
    for (uint64_t i = 0; i < 100; i++)
        s->ops->send(s, &(struct message){ .event = ev, .attempt = 1, .tag = i });
    struct result r;
    assert_int_equal(s->ops->work(s, -1, (struct duration){ 10 }, &r, 1), 0);
    sink_end(s);
    event_unref(ev);
}

/* ---- options ---- */

#define SIGNED "url: http://example.com/\nsecrets: [" SECRET_1 "]\n"

TEST(wrong_options_are_refused)
{
    static const struct {
        const char *yaml, *text;
    } cases[] = {
        { "url: ftp://example.com/\nunsigned: true\n", "http:// or https://" },
        { "url: example.com/hook\nunsigned: true\n", "url: " },
        { "url: http://user:pw@example.com/\nunsigned: true\n", "user name or password" },
        { "url: http://user@example.com/\nunsigned: true\n", "user name or password" },
        { "url: 'http://'\nunsigned: true\n", "url: " },
        { "url: 'http://exa mple.com/'\nunsigned: true\n", "url: " },
        { "url: http://example.com:99999/\nunsigned: true\n", "url: " },
        { "url: http://example.com/\n", "secrets: at least one" },
        { "url: http://example.com/\nunsigned: true\nsecrets: [" SECRET_1 "]\n", "exclude each other" },
        { "url: http://example.com/\nsecrets: [" SECRET_1 ", short]\n",
          "secrets[1]: makes a key of 5 bytes, 24 to 512 are needed" },
        { "url: http://example.com/\nsecrets: [\"v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n",
          "secrets[0]: begins with v1,: leave that away" },
        { "url: http://example.com/\nsecrets: [whsec_]\n", "secrets[0]: makes a key of 0 bytes, 24 to 512 are needed" },
        { "url: http://example.com/\nsecrets: ['whsec_!!!!']\n",
          "secrets[0]: has something else than base64 behind whsec_" },
        { "url: http://example.com/\nunsigned: true\nheaders: {Host: x}\n", "Host is set by the bridge" },
        { "url: http://example.com/\nunsigned: true\nheaders: {content-type: text/plain}\n", "(see content_type)" },
        { "url: http://example.com/\nunsigned: true\nbody: binary\ncontent_type: application/json\n",
          "content_type: with body: binary each request has that of its event" },
        { "url: http://example.com/\nunsigned: true\ncontent_type: json\n",
          "content_type: \"json\" is not a media type" },
        { "url: http://example.com/\nunsigned: true\ncontent_type: application/\n", "is not a media type" },
        { "url: http://example.com/\nunsigned: true\ncontent_type: /json\n", "is not a media type" },
        { "url: http://example.com/\nunsigned: true\ncontent_type: application/json,text/plain\n",
          "is not a media type" },
        { "url: http://example.com/\nunsigned: true\ncontent_type: \"a/b\\r\\nX-B: b\"\n", "is not a media type" },
        { "url: http://example.com/\nunsigned: true\nheaders: {Webhook-Id: x}\n", "set by the bridge" },
        { "url: http://example.com/\nunsigned: true\nheaders: {ce-id: x}\n", "set by the bridge" },
        { "url: http://example.com/\nunsigned: true\nheaders: {'X A': x}\n", "not the name of a header" },
        { "url: http://example.com/\nunsigned: true\nheaders: {X-A: \"a\\r\\nX-B: b\"}\n", "control character" },
        { "url: http://example.com/\nunsigned: true\nheaders: {X-A: ''}\n", "1 to 4096" },
        { "url: http://example.com/\nunsigned: true\nsuccess: [2xx, 6xx]\n",
          "success[1]: \"6xx\" is neither a status from 200 to 599 (404) nor a class of them (4xx)" },
        { "url: http://example.com/\nunsigned: true\nsuccess: [1xx]\n", "success[0]: \"1xx\" is neither" },
        { "url: http://example.com/\nunsigned: true\nreject: [4x]\n", "reject[0]: \"4x\" is neither" },
        { "url: http://example.com/\nunsigned: true\nreject: [404, 4444]\n", "reject[1]: \"4444\" is neither" },
        { "url: http://example.com/\nunsigned: true\nsuccess: [2xx, 409]\nreject: [4xx, 409]\n",
          "reject[1]: 409 stands in success, too" },
        { "url: http://example.com/\nunsigned: true\nreject: [2XX]\n", "reject[0]: 2XX stands in success, too" },
        { "url: http://example.com/\nunsigned: true\nsuccess_unless: [x, '']\n", "success_unless[1]: must have" },
        { "url: https://example.com/\nunsigned: true\nkey_file: key.pem\n", "key_file: is of use with cert_file only" },
        { "url: https://example.com/\nunsigned: true\ncert_file: /nonexistent.pem\n",
          "cert_file: /nonexistent.pem cannot be read: No such file or directory" },
        { "url: http://example.com/\nunsigned: true\nhttp: 2\n", "http: 2 is spoken with https receivers only" },
        { "url: http://example.com/\nunsigned: true\ngzip: true\nheaders: {Content-Encoding: br}\n",
          "Content-Encoding is set by the bridge (see gzip)" },
        { "url: https://example.com/\nunsigned: true\nca_file: /nonexistent.pem\n", "ca_file: /nonexistent.pem" },
        { "url: http://example.com/\nsecrets: [whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=]\n",
          "secrets[0]: is the public half of a pair (whpk_), which verifies: to sign" },
        { "url: http://example.com/\nsecrets: [whsk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4A]\n",
          "secrets[0]: has 33 bytes behind whsk_: a private key has 32, or 64" },
        { "url: http://example.com/\nsecrets: ['whsk_%']\n",
          "secrets[0]: has something else than base64 behind whsk_" },
        { "url: http://example.com/\nsecrets: "
          "[whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvw==]\n",
          "secrets[0]: is no pair" },
        { SIGNED "signature: {scheme: hmac, header: X, signs: '{url}{body}'}\n",
          "signature.signs: {url} and {fields} are verified" },
        { SIGNED "signature: {scheme: hmac, header: X, signs: x}\n", "signature.signs: has no {body}" },
        { SIGNED "signature: {scheme: github, hash: sha1}\n", "signature.hash: is for scheme hmac" },
        { SIGNED "signature: {scheme: hmac_hex}\n", "signature.header: is missing: scheme hmac_hex has no header" },
        { SIGNED "signature: {header: X-Signature}\n", "signature.header: scheme standard has no header to choose" },
        { SIGNED "signature: {scheme: github, header: 'X A'}\n",
          "signature.header: \"X A\" is not the name of a header" },
        { SIGNED "signature: {scheme: github, header: Webhook-Id}\n", "one that the bridge sets itself" },
        { SIGNED "signature: {scheme: slack}\nheaders: {x-slack-request-timestamp: '1'}\n",
          "x-slack-request-timestamp is set by the bridge: it belongs to the signature" },
        { "url: http://example.com/\nsignature: {scheme: github}\nsecrets: [\"fifteen letters\"]\n",
          "secrets[0]: has 15 characters, the least is 16" },
        { "url: http://example.com/\nsignature: {scheme: github}\nsecrets: [" SECRET_1 ", " SECRET_2 "]\n",
          "secrets[1]: scheme github has one signature in a request, by the first key: say until when that one signs" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = sink_refused(&webhook_sink, cases[i].yaml);
        assert_says(e.text, cases[i].text);
        assert_null(strstr(e.text, "MfKQ9r8"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_status_has_its_verdict),
        cmocka_unit_test(statuses_mean_what_their_owner_says),
        cmocka_unit_test(a_success_can_be_none_by_its_body),
        cmocka_unit_test(the_receiver_can_say_that_it_wants_no_more_of_an_event),
        cmocka_unit_test(a_redirect_is_never_followed),
        cmocka_unit_test(the_answers_words_are_made_harmless),
        cmocka_unit_test(the_answer_goes_with_the_result_and_shows_no_secret_of_the_request),
        cmocka_unit_test(user_name_and_password_go_with_each_request_and_are_not_shown),
        cmocka_unit_test(retry_after_is_heard),
        cmocka_unit_test(retry_after_forms),
        cmocka_unit_test(an_endless_body_is_cut_and_its_status_counts),
        cmocka_unit_test(answers_of_unusual_form),
        cmocka_unit_test(an_idle_connection_that_was_closed_is_no_failure),
        cmocka_unit_test(a_kept_connection_that_was_reset_is_no_failure),
        cmocka_unit_test(a_kept_connection_that_was_reset_in_the_middle_of_a_request_is_no_failure),
        cmocka_unit_test(many_kept_connections_that_were_reset_are_no_failures),
        cmocka_unit_test(a_kept_connection_whose_receiver_sends_no_more_is_no_failure),
        cmocka_unit_test(a_receiver_that_answers_early_gets_the_whole_request),
        cmocka_unit_test(an_end_without_a_word),
        cmocka_unit_test(a_new_connection_that_is_reset_is_a_failure),
        cmocka_unit_test(a_structured_request),
        cmocka_unit_test(a_standard_request),
        cmocka_unit_test(standard_bodies),
        cmocka_unit_test(content_types),
        cmocka_unit_test(a_templated_request),
        cmocka_unit_test(a_binary_request),
        cmocka_unit_test(trace_headers),
        cmocka_unit_test(no_data_and_no_content_type),
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(other_rows_and_what_a_user_describes),
        cmocka_unit_test(a_key_signs_until_its_date),
        cmocka_unit_test(a_key_follows_its_file),
        cmocka_unit_test(where_there_is_one_signature_the_next_key_signs_when_the_first_has_ended),
        cmocka_unit_test(without_a_key_that_signs_nothing_is_sent_and_no_attempt_counted),
        cmocka_unit_test(what_ended_unsent_is_told_though_the_receiver_that_its_transfer_served_before_goes),
        cmocka_unit_test(where_connections_are_few_no_receiver_waits_for_all_that_others_get),
        cmocka_unit_test(ids),
        cmocka_unit_test(what_does_not_fit_headers_is_rejected),
        cmocka_unit_test(the_environments_proxy_is_ignored),
        cmocka_unit_test(a_large_body_arrives_whole),
        cmocka_unit_test(each_message_has_one_result),
        cmocka_unit_test(the_wake_descriptor_ends_waiting),
        cmocka_unit_test(close_with_messages_in_line),
        cmocka_unit_test(wrong_options_are_refused),
    };
    const struct CMUnitTest ours[] = {
        cmocka_unit_test(what_comes_behind_an_answer_is_no_answer),
        cmocka_unit_test(what_tls_says_to_itself_costs_no_connection),
    };
    int failed = cmocka_run_group_tests_name("alone", tests, receiver_begin, receiver_end);
    failed += cmocka_run_group_tests_name("alone, ours", ours, receiver_begin, receiver_end);
    way = ALONE_IN_TLS;
    failed += cmocka_run_group_tests_name("alone in TLS", tests, receiver_begin_tls, receiver_end);
    failed += cmocka_run_group_tests_name("alone in TLS, ours", ours, receiver_begin_tls, receiver_end);
    failed += cmocka_run_group_tests_name("alone in TLS 1.2, ours", ours, receiver_begin_tls_1_2, receiver_end);
    way = BY_LIBCURL;
    failed += cmocka_run_group_tests_name("by libcurl", tests, receiver_begin, receiver_end);
    way = BY_LIBCURL_IN_TLS;
    return failed + cmocka_run_group_tests_name("by libcurl in TLS", tests, receiver_begin_tls, receiver_end);
}
