/* SPDX-License-Identifier: MIT */
/* A sink on a machine that lacks something: no attempt, whatever libcurl calls it. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "bridge/lib/mem.h"
#include "connectors/webhook/lack.h"
#include "tests/support/connector.h"
#include "tests/support/event.h"
#include "tests/support/receiver.h"
#include "tests/support/test.h"

extern const struct sink_ops webhook_sink;

/* ---- connect() fails as the test wants it to; libcurl finds this one before the C library's ---- */

static int stream_errno, datagram_errno; /* 0: as ever */

int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t n)
{
    int type = 0;
    socklen_t size = sizeof type;
    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
    errno = type == SOCK_STREAM ? stream_errno : datagram_errno;
    return errno ? -1 : (int)syscall(SYS_connect, fd, address.__sockaddr__, n);
}

static struct sink *open_at(const char *url)
{
    char yaml[256];
    snprintf(yaml, sizeof yaml, "url: %s\nunsigned: true\nconcurrency: 1\n", url);
    return sink_opened(&webhook_sink, "test", yaml);
}

static struct sink *open_here(void)
{
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/status/204", receiver.port);
    return open_at(url);
}

static const struct event *make_event(void)
{
    return event_like((struct event){ .id = STR("01HZX3V7QK8N2M4P6R8T0W2Y4Z") });
}

static void expect_untried(struct sink *s, const struct event *ev, const char *why)
{
    struct result r = sink_deliver(s, ev);
    assert_string_equal(r.why, why);
    assert_int_equal(r.verdict, VERDICT_UNTRIED);
    assert_int_equal(r.status, 0);
}

/* From now on the process can open `more` descriptors. Returns the limit from before. */
static struct rlimit leave_descriptors(int more)
{
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(0);
    close(next);
    struct rlimit tight = { .rlim_cur = (rlim_t)(next + more), .rlim_max = before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    return before;
}

TEST(no_descriptor_to_connect_with)
{
    struct sink *s = open_here();
    const struct event *ev = make_event();
    int before_requests = atomic_load(&receiver.requests);
    struct rlimit before = leave_descriptors(0);
    for (int i = 0; i < 10; i++)
        expect_untried(s, ev, "Too many open files");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(atomic_load(&receiver.requests), before_requests);
    assert_int_equal(sink_deliver(s, ev).verdict, VERDICT_DELIVERED);
    event_unref(ev);
    sink_end(s);
}

/* The kept connection needs none. */
TEST(no_descriptor_but_a_connection_that_was_kept)
{
    struct sink *s = open_here();
    const struct event *ev = make_event();
    assert_int_equal(sink_deliver(s, ev).verdict, VERDICT_DELIVERED);
    struct rlimit before = leave_descriptors(0);
    assert_int_equal(sink_deliver(s, ev).verdict, VERDICT_DELIVERED);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    event_unref(ev);
    sink_end(s);
}

/* The resolver needs descriptors, too, and says only that it failed. */
TEST(no_descriptor_to_resolve_with)
{
    struct sink *s = open_at("http://no-such-host.invalid/");
    const struct event *ev = make_event();
    struct rlimit before = leave_descriptors(0);
    struct result r = sink_deliver(s, ev);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(r.verdict, VERDICT_UNTRIED);
    assert_int_equal(sink_deliver(s, ev).verdict, VERDICT_RETRY); /* now it is the name */
    event_unref(ev);
    sink_end(s);
}

TEST(no_port_or_memory_to_connect_with)
{
    struct sink *s = open_here();
    const struct event *ev = make_event();
    stream_errno = EADDRNOTAVAIL;
    expect_untried(s, ev, "no free port to connect from");
    stream_errno = ENOBUFS;
    expect_untried(s, ev, "No buffer space available");
    stream_errno = ENOMEM;
    expect_untried(s, ev, "Cannot allocate memory");
    stream_errno = 0;
    assert_int_equal(sink_deliver(s, ev).verdict, VERDICT_DELIVERED);
    event_unref(ev);
    sink_end(s);
}

/* What is not a want of something passing is an attempt, or the event would be tried for ever. */
TEST(no_way_to_the_receiver_is_an_attempt)
{
    static const struct {
        int stream, datagram;
        const char *why;
    } cases[] = {
        { EADDRNOTAVAIL, EADDRNOTAVAIL,
          "no connection: Cannot assign requested address" }, /* no IPv6 on this machine */
        { ENETUNREACH, 0, "no connection: Network is unreachable" },
        { EHOSTUNREACH, 0, "no connection: No route to host" },
        { ECONNREFUSED, 0, "no connection: Connection refused" },
        { EPERM, 0, "no connection: Operation not permitted" },
    };
    struct sink *s = open_here();
    const struct event *ev = make_event();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        stream_errno = cases[i].stream;
        datagram_errno = cases[i].datagram;
        struct result r = sink_deliver(s, ev);
        stream_errno = datagram_errno = 0;
        assert_string_equal(r.why, cases[i].why);
        assert_int_equal(r.verdict, VERDICT_RETRY);
        assert_int_equal(r.reason, REASON_UNAVAILABLE);
    }
    event_unref(ev);
    sink_end(s);
}

TEST(what_libcurl_calls_it)
{
    struct multi_opened none = { 0 }, no_family = { .error = EAFNOSUPPORT };
    struct lack_clues c = { .text = "", .opened = &none };
    c.code = CURLE_COULDNT_RESOLVE_HOST;
    assert_int_equal(lack_find(&c), 0);
    c.text = "getaddrinfo() thread failed to start";
    assert_int_equal(lack_find(&c), EAGAIN);
    c.text = "";
    c.code = CURLE_OUT_OF_MEMORY;
    assert_int_equal(lack_find(&c), ENOMEM);
    c.sent = true;
    assert_int_equal(lack_find(&c), 0); /* an answer larger than libcurl takes */
    c.sent = false;
    c.code = CURLE_COULDNT_CONNECT;
    c.opened = &no_family;
    assert_int_equal(lack_find(&c), 0);
    c.code = CURLE_SSL_CACERT_BADFILE;
    c.ca_file = "/nonexistent.pem";
    assert_int_equal(lack_find(&c), 0);
    c.ca_file = "/etc/ssl/certs/ca-certificates.crt";
    assert_int_equal(lack_find(&c), EMFILE);
    c.ca_file = NULL; /* the system's: the same file */
    assert_int_equal(lack_find(&c), EMFILE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_descriptor_to_connect_with),
        cmocka_unit_test(no_descriptor_but_a_connection_that_was_kept),
        cmocka_unit_test(no_descriptor_to_resolve_with),
        cmocka_unit_test(no_port_or_memory_to_connect_with),
        cmocka_unit_test(no_way_to_the_receiver_is_an_attempt),
        cmocka_unit_test(what_libcurl_calls_it),
    };
    return cmocka_run_group_tests(tests, receiver_begin, receiver_end);
}
