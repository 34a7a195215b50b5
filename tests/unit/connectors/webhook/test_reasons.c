/* SPDX-License-Identifier: MIT */
/* Why a delivery failed, in words, each from a receiver that really behaves so. */
#include <arpa/inet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "connectors/webhook/answer.h"
#include "tests/support/connector.h"
#include "tests/support/event.h"
#include "tests/support/loopback.h"
#include "tests/support/receiver.h"
#include "tests/support/test.h"
#include "tests/support/tls_receiver.h"

extern const struct sink_ops webhook_sink;

static char folder[FOLDER_BYTES];
static struct receiver secure; /* within TLS */

/* The result of one attempt to POST to scheme://host:port/path. */
static struct result attempt(const char *scheme, const char *host, int port, const char *path, const char *more)
{
    char yaml[512];
    snprintf(yaml, sizeof yaml, "url: %s://%s:%d%s\nunsigned: true\n%s", scheme, host, port, path, more);
    struct sink *s = sink_opened(&webhook_sink, "test", yaml);
    const struct event *ev = event_like((struct event){ .id = STR("01HZX3V7QK8N2M4P6R8T0W2Y4Z") });
    struct result r = sink_deliver(s, ev);
    event_unref(ev);
    sink_end(s);
    return r;
}

static void expect(struct result r, enum verdict verdict, const char *why)
{
    assert_string_equal(r.why, why);
    assert_int_equal(r.verdict, verdict);
    assert_int_equal(r.reason, verdict == VERDICT_DELIVERED ? REASON_NONE : REASON_UNAVAILABLE);
    assert_true(r.away || r.status);
}

/* Whoever writes the request, and within TLS or not. */
static void expect_each(const char *path, const char *more, const char *why, const char *why_in_tls)
{
    char yaml[256]; /* proxies are left to libcurl */
    expect(attempt("http", "127.0.0.1", receiver.port, path, more), VERDICT_RETRY, why);
    snprintf(yaml, sizeof yaml, "%sproxy: http://127.0.0.1:%d\n", more, receiver.port);
    expect(attempt("http", "127.0.0.1", receiver.port, path, yaml), VERDICT_RETRY, why);
    snprintf(yaml, sizeof yaml, "%sca_file: %s\n", more, secure.certificate);
    expect(attempt("https", "127.0.0.1", secure.port, path, yaml), VERDICT_RETRY, why_in_tls);
}

static void expect_plain(const char *path, const char *more, const char *why)
{
    expect_each(path, more, why, why);
}

/* An attempt at a TLS receiver, whose certificate is trusted unless `ca` is false. */
static struct result attempt_tls(struct tls_receiver r, bool ca, const char *more)
{
    char yaml[256];
    tls_receiver_open(&r, folder);
    snprintf(yaml, sizeof yaml, "%s%s\n%s", ca ? "ca_file: " : "", ca ? r.certificate : "", more);
    struct result result = attempt("https", "127.0.0.1", r.port, "/status/204", yaml);
    tls_receiver_close(&r);
    return result;
}

static void expect_tls(struct tls_receiver r, bool ca, const char *more, enum verdict verdict, const char *why)
{
    expect(attempt_tls(r, ca, more), verdict, why);
}

#define HERE "IP:127.0.0.1"

TEST(tls_certificates)
{
    expect_tls((struct tls_receiver){ .name = HERE }, true, "", VERDICT_DELIVERED, "");
    expect_tls((struct tls_receiver){ .name = "DNS:other.example" }, true, "", VERDICT_RETRY,
               "TLS: the certificate is for another name than 127.0.0.1");
    expect_tls((struct tls_receiver){ .name = "IP:127.0.0.2" }, true, "", VERDICT_RETRY,
               "TLS: the certificate is for another name than 127.0.0.1");
    expect_tls((struct tls_receiver){ .name = HERE }, false, "", VERDICT_RETRY,
               "TLS: the certificate is not trusted: self-signed certificate");
    expect_tls((struct tls_receiver){ .name = HERE, .valid_s = -60 }, true, "", VERDICT_RETRY,
               "TLS: the certificate is not trusted: certificate has expired");
}

TEST(tls_handshakes)
{
    expect_tls((struct tls_receiver){ .name = HERE, .manner = TLS_IS_SILENT }, true, "connect_timeout: 300ms\n",
               VERDICT_RETRY, "timeout after 300 ms in the TLS handshake");
    expect_tls((struct tls_receiver){ .name = HERE, .manner = TLS_IS_SILENT }, true, "timeout: 400ms\n", VERDICT_RETRY,
               "timeout after 400 ms in the TLS handshake");
    expect_tls((struct tls_receiver){ .name = HERE, .manner = TLS_CLOSES }, true, "", VERDICT_RETRY,
               "TLS: connection lost in the handshake: closed by the receiver");
    expect_tls((struct tls_receiver){ .name = HERE, .manner = TLS_RESETS }, true, "", VERDICT_RETRY,
               "TLS: connection lost in the handshake: Connection reset by peer");
    expect_tls((struct tls_receiver){ .name = HERE, .manner = TLS_SPEAKS_PLAIN_HTTP }, true, "", VERDICT_RETRY,
               "TLS: the receiver does not speak TLS (is it an http address?)");
    expect_tls((struct tls_receiver){ .name = HERE, .manner = TLS_IS_OLD }, true, "", VERDICT_RETRY,
               "TLS: no version in common, 1.2 or newer is needed");
    expect_tls((struct tls_receiver){ .name = HERE, .manner = TLS_WANTS_A_CERTIFICATE }, true, "", VERDICT_RETRY,
               "TLS: the receiver demands a client certificate");
    expect_tls((struct tls_receiver){ .name = HERE, .manner = TLS_WANTS_A_CERTIFICATE, .newest = TLS1_2_VERSION }, true,
               "", VERDICT_RETRY,
               "TLS: the receiver refused the handshake: no cipher in common, or it demands a client certificate");
}

/* Of TLS 1.2 the answer comes with the end of the handshake. */
TEST(an_answer_that_is_faster_than_its_request)
{
    static const int newest[] = { TLS1_2_VERSION, TLS1_3_VERSION };
    for (size_t i = 0; i < sizeof newest / sizeof *newest; i++) {
        struct result r = attempt_tls((struct tls_receiver){ .name = HERE,
                                                             .manner = TLS_ANSWERS_FIRST,
                                                             .newest = newest[i] },
                                      true, "");
        assert_string_equal(r.why, "503 Service Unavailable");
        assert_int_equal(r.verdict, VERDICT_RETRY);
        assert_int_equal(r.reason, REASON_REFUSED);
    }
}

/* A handle that has failed tells nothing of that to the next attempt. */
TEST(a_reason_is_the_attempts_own)
{
    struct tls_receiver r = { .name = "DNS:localhost", .valid_s = -60 };
    char yaml[256];
    tls_receiver_open(&r, folder);
    snprintf(yaml, sizeof yaml, "url: https://127.0.0.1:%d/\nunsigned: true\nconcurrency: 1\nca_file: %s\n", r.port,
             r.certificate);
    struct sink *s = sink_opened(&webhook_sink, "test", yaml);
    const struct event *ev = event_like((struct event){ .id = STR("1") });
    expect(sink_deliver(s, ev), VERDICT_RETRY, "TLS: the certificate is not trusted: certificate has expired");
    tls_receiver_close(&r);
    expect(sink_deliver(s, ev), VERDICT_RETRY, "no connection: Connection refused");
    event_unref(ev);
    sink_end(s);
}

TEST(tls_where_plain_http_is_spoken_and_the_other_way_round)
{
    expect(attempt("https", "127.0.0.1", receiver.port, "/", "connect_timeout: 200ms\n"), VERDICT_RETRY,
           "timeout after 200 ms in the TLS handshake"); /* it waits for the end of what it takes for a request */
    struct tls_receiver r = { .name = HERE };
    tls_receiver_open(&r, folder);
    struct result got = attempt("http", "127.0.0.1", r.port, "/", "");
    tls_receiver_close(&r);
    expect(got, VERDICT_RETRY, "connection lost before an answer: closed by the receiver");
}

TEST(nobody_listens)
{
    struct receiver gone;
    receiver_open(&gone);
    receiver_close(&gone);
    expect(attempt("http", "127.0.0.1", gone.port, "/", ""), VERDICT_RETRY, "no connection: Connection refused");
    expect(attempt("https", "127.0.0.1", gone.port, "/", ""), VERDICT_RETRY, "no connection: Connection refused");
}

/* A listener whose queue is full drops what else comes. */
TEST(nobody_takes_the_connection)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM, 0), waiting[2];
    assert_int_equal(bind(listener, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &n), 0);
    for (int i = 0; i < 2; i++) {
        waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(waiting[i], (struct sockaddr *)&a, n);
    }
    int port = ntohs(a.sin_port);
    expect(attempt("http", "127.0.0.1", port, "/", "connect_timeout: 200ms\n"), VERDICT_RETRY,
           "timeout after 200 ms while connecting");
    expect(attempt("https", "127.0.0.1", port, "/", "timeout: 250ms\n"), VERDICT_RETRY,
           "timeout after 250 ms while connecting");
    close(waiting[0]);
    close(waiting[1]);
    close(listener);
}

static void *reset_all(void *ctx)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };
    for (int fd; (fd = accept(*(int *)ctx, NULL, NULL)) >= 0; close(fd))
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    return NULL;
}

/* At whatever moment that comes: while it connects, before the request, or behind it. */
TEST(a_receiver_that_resets_every_connection_at_once)
{
    pthread_t thread;
    int port, listener = loopback_listen(&port);
    char yaml[128];
    assert_int_equal(pthread_create(&thread, NULL, reset_all, &listener), 0);
    snprintf(yaml, sizeof yaml, "url: http://127.0.0.1:%d/\nunsigned: true\nconcurrency: 1\n", port);
    struct sink *s = sink_opened(&webhook_sink, "test", yaml);
    const struct event *ev = event_like((struct event){ .id = STR("1") });
    for (int i = 0; i < 200; i++) {
        struct result r = sink_deliver(s, ev);
        assert_int_equal(r.verdict, VERDICT_RETRY);
        assert_int_equal(r.reason, REASON_UNAVAILABLE);
        assert_true(str_starts(str_of(r.why), STR("connection lost before an answer: "))
                    || str_starts(str_of(r.why), STR("no connection: ")));
    }
    event_unref(ev);
    sink_end(s);
    shutdown(listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(listener);
}

TEST(a_name_that_does_not_resolve)
{
    struct result r = attempt("http", "no-such-host.invalid", 80, "/", "connect_timeout: 20s\ntimeout: 20s\n");
    expect(r, VERDICT_RETRY, "the host name no-such-host.invalid cannot be resolved");
}

TEST(answers_that_do_not_come_or_break_off)
{
    expect_plain("/reset", "", "connection lost before an answer: Connection reset by peer");
    expect_plain("/close", "", "connection lost before an answer: closed by the receiver");
    expect_plain("/short", "",
                 "connection lost before the end of the answer (the answer began with 200 and broke off)");
    expect_each("/garbage", "", "what answers at this address does not speak HTTP (is it an https address?)",
                "what answers at this address does not speak HTTP");
    expect_plain("/raw/broken-chunk", "",
                 "the chunks of the answer are broken (the answer began with 200 and broke off)");
    expect_plain("/raw/broken-length", "",
                 "a header of the answer is broken (the answer began with 200 and broke off)");
    expect_plain("/hang", "timeout: 200ms\n", "timeout after 200 ms without an answer");
    expect_plain("/hang", "timeout: 1s\nconnect_timeout: 100ms\n", "timeout after 1 s without an answer");
    expect_plain("/slow", "timeout: 200ms\n", "timeout after 200 ms (the answer began with 200 and broke off)");
    expect_plain("/continue", "timeout: 200ms\n", "timeout after 200 ms without an answer");
    expect_plain("/long-header", "", "a header of the answer is too large (the answer began with 200 and broke off)");
    expect_plain("/many-headers", "",
                 "the headers of the answer are too large (the answer began with 200 and broke off)");
}

TEST(what_only_libcurl_can_say)
{
    struct answer a = { .code = CURLE_OPERATION_TIMEDOUT, .phase = PHASE_RESOLVING, .limit = { 5000 }, .text = "" };
    struct answer_rules rules = { 0 }; /* not asked: no answer is whole */
    struct result r;
    answer_judge(&a, &rules, &r);
    expect(r, VERDICT_RETRY, "timeout after 5 s while resolving the host name");
    a = (struct answer){ .code = CURLE_SSL_CACERT_BADFILE, .text = "" };
    answer_judge(&a, &rules, &r);
    assert_int_equal(r.reason, REASON_CONFIGURATION);
    a = (struct answer){ .code = CURLE_COULDNT_CONNECT, .text = "libcurl's words" };
    answer_judge(&a, &rules, &r);
    expect(r, VERDICT_RETRY, "no connection: libcurl's words");
    a = (struct answer){ .code = CURLE_RECV_ERROR, .text = "error:0A000119:SSL routines::decryption failed" };
    answer_judge(&a, &rules, &r);
    expect(r, VERDICT_RETRY, "connection lost before an answer: decryption failed or bad record mac");
    a.lack = 24;
    answer_judge(&a, &rules, &r);
    assert_int_equal(r.verdict, VERDICT_UNTRIED);
    assert_string_equal(r.why, "Too many open files");
}

/* ---- blocked addresses that are really there, in a network of our own ---- */

/* 169.254.169.254 is an address of this machine there, names have the addresses that `hosts` says, and nothing leads
 * out. False: that is not allowed here. */
static bool enter_a_network_of_our_own(const char *hosts)
{
    char file[FOLDER_BYTES + 32];
    struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP }, alias = { .ifr_name = "lo:1" };
    struct sockaddr_in metadata = { .sin_family = AF_INET };
    snprintf(file, sizeof file, "%s/hosts", folder);
    FILE *f = fopen(file, "w");
    if (!f || fputs(hosts, f) < 0 || fclose(f) != 0)
        return false;
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) != 0)
        return false;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    inet_pton(AF_INET, "169.254.169.254", &metadata.sin_addr);
    memcpy(&alias.ifr_addr, &metadata, sizeof metadata);
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0
           && mount(file, "/etc/hosts", NULL, MS_BIND, NULL) == 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0
           && ioctl(fd, SIOCSIFADDR, &alias) == 0 && close(fd) == 0;
}

/* How many connections came, all of which are closed. */
static int take_connections(int listener)
{
    int n = 0, fd;
    for (struct pollfd p = { .fd = listener, .events = POLLIN }; poll(&p, 1, 0) > 0; n++)
        if ((fd = accept(listener, NULL, NULL)) >= 0)
            close(fd);
    return n;
}

static void reach_for_the_metadata(void)
{
    static const struct {
        const char *host, *path, *options;
        bool there; /* it gets to the metadata */
        const char *why;
    } cases[] = {
        { "metadata.example", "/", "guard: off\n", true, "timeout" }, /* so it can be reached */
        { "mapped.example", "/", "guard: off\n", true, "timeout" },
        { "zero.example", "/", "guard: off\n", true, "timeout" },
        { "metadata.example", "/", "", false, "blocked address: metadata.example is at 169.254.169.254 " },
        { "mapped.example", "/", "", false, "blocked address: mapped.example is at ::ffff:169.254.169.254 " },
        { "zero.example", "/", "", false, "blocked address: zero.example is at 0.0.0.0 " },
        { "here.example", "/redirect/169.254.169.254:%d", "", false, "302 Found, redirects are not followed" },
        { "here.example", "/status/418", "", false, "418" }, /* whatever http_proxy says */
    };
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY) };
    socklen_t n = sizeof a;
    int listener, v6 = socket(AF_INET6, SOCK_STREAM, 0);
    bool speaks_v6 = v6 >= 0 && close(v6) == 0;
    char proxy[64], path[128], options[128];
    if (!enter_a_network_of_our_own("127.0.0.1 here.example\n169.254.169.254 metadata.example\n"
                                    "::ffff:169.254.169.254 mapped.example\n0.0.0.0 zero.example\n"))
        _exit(77);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(listener, 64), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &n), 0);
    receiver_open(&receiver);
    snprintf(proxy, sizeof proxy, "http://169.254.169.254:%d", ntohs(a.sin_port));
    setenv("http_proxy", proxy, 1);
    setenv("all_proxy", proxy, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!speaks_v6 && strcmp(cases[i].host, "mapped.example") == 0)
            continue;
        bool here = strcmp(cases[i].host, "here.example") == 0;
        snprintf(path, sizeof path, cases[i].path, ntohs(a.sin_port));
        snprintf(options, sizeof options, "%s%s", cases[i].options, cases[i].there ? "timeout: 300ms\n" : "");
        struct result r = attempt("http", cases[i].host, here ? receiver.port : ntohs(a.sin_port), path, options);
        if ((take_connections(listener) > 0) != cases[i].there
            || strncmp(r.why, cases[i].why, strlen(cases[i].why)) != 0) {
            fprintf(stderr, "%s%s: %s\n", cases[i].host, path, r.why);
            _exit(1);
        }
    }
    receiver_close(&receiver);
    _exit(0);
}

/* Skipped where nobody may make a network. */
TEST(an_address_that_is_blocked_is_not_reached_though_it_is_there)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        reach_for_the_metadata();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* The child that it forks wants to be the only thread. */
static int run_alone(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_that_is_blocked_is_not_reached_though_it_is_there),
    };
    folder_make(folder);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    folder_remove(folder);
    return failed;
}

static int start(void **state)
{
    folder_make(folder);
    receiver_open_tls(&secure, 0);
    return receiver_begin(state);
}

static int stop(void **state)
{
    folder_remove(folder);
    receiver_close(&secure);
    return receiver_end(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls_certificates),
        cmocka_unit_test(tls_handshakes),
        cmocka_unit_test(an_answer_that_is_faster_than_its_request),
        cmocka_unit_test(a_reason_is_the_attempts_own),
        cmocka_unit_test(tls_where_plain_http_is_spoken_and_the_other_way_round),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(nobody_takes_the_connection),
        cmocka_unit_test(a_receiver_that_resets_every_connection_at_once),
        cmocka_unit_test(a_name_that_does_not_resolve),
        cmocka_unit_test(answers_that_do_not_come_or_break_off),
        cmocka_unit_test(what_only_libcurl_can_say),
    };
    int failed = run_alone();
    return failed + cmocka_run_group_tests(tests, start, stop);
}
