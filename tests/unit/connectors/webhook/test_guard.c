/* SPDX-License-Identifier: MIT */
/* Which addresses the webhook sink connects to, whatever the name: the resolver says what the test wants, and every
 * connection that is let through leads to a receiver here. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "bridge/lib/str.h"
#include "bridge/net/address.h"
#include "tests/support/connector.h"
#include "tests/support/event.h"
#include "tests/support/receiver.h"
#include "tests/support/test.h"

extern const struct sink_ops webhook_sink;

/* ---- libcurl finds these before the C library's ---- */

static _Atomic(const char *) resolved; /* addresses, one behind the other: "127.0.0.1 fe80::1" */
static atomic_int connects;

static struct addrinfo *one_address(struct str text, int port)
{
    char room[INET6_ADDRSTRLEN] = "";
    struct addrinfo *a = calloc(1, sizeof *a);
    struct sockaddr_in *v4 = calloc(1, sizeof(struct sockaddr_in6));
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)v4;
    memcpy(room, text.at, text.n);
    if (inet_pton(AF_INET, room, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
    } else {
        assert_int_equal(inet_pton(AF_INET6, room, &v6->sin6_addr), 1);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
    }
    *a = (struct addrinfo){ .ai_family = v4->sin_family,
                            .ai_socktype = SOCK_STREAM,
                            .ai_protocol = IPPROTO_TCP,
                            .ai_addrlen = v4->sin_family == AF_INET ? sizeof *v4 : sizeof *v6,
                            .ai_addr = (struct sockaddr *)v4 };
    return a;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    (void)name, (void)hints;
    struct str rest = str_of(atomic_load(&resolved)), text;
    int port = service ? (int)strtol(service, NULL, 10) : 0;
    while (str_cut(&rest, ' ', &text)) {
        *out = one_address(text, port);
        out = &(*out)->ai_next;
    }
    return 0;
}

void freeaddrinfo(struct addrinfo *a)
{
    while (a) {
        struct addrinfo *next = a->ai_next;
        free(a->ai_addr);
        free(a);
        a = next;
    }
}

/* Wherever it should lead, IPv4 leads here; there is no way over IPv6. */
int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t n)
{
    struct sockaddr_in here = { .sin_family = AF_INET,
                                .sin_port = htons((uint16_t)receiver.port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    atomic_fetch_add(&connects, 1);
    if (address.__sockaddr__->sa_family == AF_INET)
        return (int)syscall(SYS_connect, fd, &here, sizeof here);
    (void)n;
    errno = ENETUNREACH;
    return -1;
}

static atomic_long later_s; /* libcurl keeps what a name resolved to for a minute, by one of these clocks */

int clock_gettime(clockid_t which, struct timespec *out)
{
    int result = (int)syscall(SYS_clock_gettime, which, out);
    if (which != CLOCK_REALTIME)
        out->tv_sec += atomic_load(&later_s);
    return result;
}

time_t time(time_t *out)
{
    struct timespec now;
    (void)syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    now.tv_sec += atomic_load(&later_s);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

static struct sink *open_at(const char *url, const char *more)
{
    char yaml[512];
    snprintf(yaml, sizeof yaml, "url: '%s'\nunsigned: true\n%s\n", url, more);
    return sink_opened(&webhook_sink, "test", yaml);
}

/* ---- connections ---- */

TEST(the_address_decides_whatever_the_name)
{
    static const struct {
        const char *resolved, *options;
        enum verdict verdict;
        const char *why;
    } cases[] = {
        { "127.0.0.1", "", VERDICT_DELIVERED, "" },
        { "10.1.2.3", "", VERDICT_DELIVERED, "" },
        { "93.184.216.34", "guard: private", VERDICT_DELIVERED, "" },
        { "169.254.169.254", "", VERDICT_REJECT,
          "blocked address: hooks.example is at 169.254.169.254 (link-local, where clouds keep metadata); see guard and allow" },
        { "169.254.169.254", "guard: off", VERDICT_DELIVERED, "" },
        { "169.254.169.254", "allow: [169.254.169.254]", VERDICT_DELIVERED, "" },
        { "169.254.169.254", "allow: [169.254.0.0/16]", VERDICT_DELIVERED, "" },
        { "169.254.169.254", "allow: [169.254.169.253]", VERDICT_REJECT, "blocked address: hooks.example is at 169" },
        { "169.254.169.254", "allow: [HOOKS.example]", VERDICT_DELIVERED, "" },
        { "169.254.169.254", "allow: [other.example]", VERDICT_REJECT, "blocked address: " },
        { "0.0.0.0", "", VERDICT_REJECT, "blocked address: hooks.example is at 0.0.0.0 (this host)" },
        { "fe80::1", "", VERDICT_REJECT, "blocked address: hooks.example is at fe80::1 (link-local)" },
        { "::ffff:169.254.169.254", "", VERDICT_REJECT,
          "blocked address: hooks.example is at ::ffff:169.254.169.254 " },
        { "64:ff9b::a9fe:a9fe", "", VERDICT_REJECT, "blocked address: hooks.example is at 64:ff9b::a9fe:a9fe " },
        { "127.0.0.1", "guard: private", VERDICT_REJECT,
          "blocked address: hooks.example is at 127.0.0.1 (this machine)" },
        { "10.1.2.3", "guard: private", VERDICT_REJECT, "blocked address: hooks.example is at 10.1.2.3 (private)" },
        { "10.1.2.3", "guard: private\nallow: [10.1.0.0/16]", VERDICT_DELIVERED, "" },
        { "169.254.169.254 fe80::1", "", VERDICT_REJECT, "blocked address: " },
        { "169.254.169.254 127.0.0.1", "", VERDICT_DELIVERED, "" }, /* the blocked one is passed over */
        { "169.254.169.254 2001:4860:4860::8888", "", VERDICT_RETRY, "no connection: Network is unreachable" },
    };
    const struct event *ev = event_like((struct event){ .id = STR("01HZX3V7QK8N2M4P6R8T0W2Y4Z") });
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int before = atomic_load(&connects);
        atomic_store(&resolved, cases[i].resolved);
        struct sink *s = open_at("http://hooks.example/status/204", cases[i].options);
        struct result r = sink_deliver(s, ev);
        sink_end(s);
        if (r.verdict != cases[i].verdict || strncmp(r.why, cases[i].why, strlen(cases[i].why)) != 0)
            fail_msg("%s, %s: verdict %d, %s", cases[i].resolved, cases[i].options, r.verdict, r.why);
        assert_int_equal(r.reason == REASON_BLOCKED, r.verdict == VERDICT_REJECT);
        assert_int_equal(atomic_load(&connects) > before, r.verdict != VERDICT_REJECT);
        assert_int_equal(r.status, r.verdict == VERDICT_DELIVERED ? 204 : 0);
    }
    event_unref(ev);
}

/* What a name resolved to before says nothing of the next connection. */
TEST(a_name_that_comes_to_mean_another_address)
{
    const struct event *ev = event_like((struct event){ .id = STR("01HZX3V7QK8N2M4P6R8T0W2Y4Z") });
    struct sink *s = open_at("http://hooks.example/raw/last", "concurrency: 1\n"); /* closes each connection */
    for (int i = 0; i < 3; i++) {
        atomic_store(&resolved, "127.0.0.1");
        assert_int_equal(sink_deliver(s, ev).verdict, VERDICT_DELIVERED);
        int before = atomic_load(&connects);
        atomic_store(&resolved, "169.254.169.254");
        atomic_fetch_add(&later_s, 100);
        struct result r = sink_deliver(s, ev);
        assert_int_equal(r.verdict, VERDICT_REJECT);
        assert_int_equal(r.reason, REASON_BLOCKED);
        assert_int_equal(atomic_load(&connects), before);
        atomic_fetch_add(&later_s, 100);
    }
    sink_end(s);
    event_unref(ev);
}

/* ---- addresses ---- */

TEST(kinds_of_addresses)
{
    static const struct {
        const char *address;
        enum address_guard from; /* the lowest level that blocks it; 0: none does */
    } cases[] = {
        { "0.0.0.0", GUARD_METADATA },
        { "0.1.2.3", GUARD_METADATA },
        { "169.253.255.255", 0 },
        { "169.254.0.1", GUARD_METADATA },
        { "169.255.0.0", 0 },
        { "100.100.100.200", GUARD_METADATA },
        { "100.100.100.201", GUARD_PRIVATE },
        { "168.63.129.16", GUARD_METADATA },
        { "168.63.129.17", 0 },
        { "224.0.0.1", GUARD_METADATA },
        { "239.255.255.255", GUARD_METADATA },
        { "255.255.255.255", GUARD_METADATA },
        { "::", GUARD_METADATA },
        { "fe80::a9fe:a9fe", GUARD_METADATA },
        { "febf::1", GUARD_METADATA },
        { "fec0::1", GUARD_PRIVATE },
        { "ff02::1", GUARD_METADATA },
        { "fd00:ec2::254", GUARD_METADATA },
        { "fd00:ec2::253", GUARD_PRIVATE },
        { "::ffff:169.254.169.254", GUARD_METADATA },
        { "::ffff:0.0.0.0", GUARD_METADATA },
        { "::169.254.169.254", GUARD_METADATA },
        { "64:ff9b::169.254.169.254", GUARD_METADATA },
        { "64:ff9b::10.0.0.1", GUARD_PRIVATE },
        { "64:ff9b::8.8.8.8", 0 },
        { "64:ff9b:1::8.8.8.8", GUARD_METADATA },
        { "2002:a9fe:a9fe::1", GUARD_METADATA },
        { "2002:808:808::1", 0 },
        { "2001:0:4136:e378:8000:63bf:3fff:fdd2", GUARD_METADATA },
        { "127.0.0.1", GUARD_PRIVATE },
        { "127.255.255.254", GUARD_PRIVATE },
        { "::1", GUARD_PRIVATE },
        { "::ffff:127.0.0.1", GUARD_PRIVATE },
        { "::127.0.0.1", GUARD_PRIVATE },
        { "10.0.0.1", GUARD_PRIVATE },
        { "172.15.255.255", 0 },
        { "172.16.0.1", GUARD_PRIVATE },
        { "172.32.0.0", 0 },
        { "192.168.1.1", GUARD_PRIVATE },
        { "100.64.0.1", GUARD_PRIVATE },
        { "100.128.0.0", 0 },
        { "fd12:3456::1", GUARD_PRIVATE },
        { "198.18.0.1", GUARD_PRIVATE },
        { "203.0.113.7", GUARD_PRIVATE },
        { "2001:db8::1", GUARD_PRIVATE },
        { "8.8.8.8", 0 },
        { "2001:4860:4860::8888", 0 },
    };
    static const struct strings nothing;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (enum address_guard g = GUARD_OFF; g <= GUARD_PRIVATE; g++) {
            struct address_rules rules = { g, &nothing };
            struct addrinfo *a = one_address(str_of(cases[i].address), 80);
            const char *what = address_blocked(&rules, a->ai_addr);
            if ((what != NULL) != (cases[i].from && g >= cases[i].from))
                fail_msg("%s at level %d: %s", cases[i].address, g, what ? what : "let through");
            freeaddrinfo(a);
        }
    struct sockaddr unknown = { .sa_family = AF_UNIX };
    assert_non_null(address_blocked(&(struct address_rules){ GUARD_METADATA, &nothing }, &unknown));
}

TEST(entries_of_allow)
{
    static const struct {
        const char *entry;
        bool good;
    } cases[] = {
        { "10.0.0.0/8", true },
        { "10.0.0.1", true },
        { "fd00::/8", true },
        { "::1", true },
        { "hooks.example", true },
        { "a_b-c.d1", true },
        { "1.example", true },
        { "0.0.0.0/0", true },
        { "10.0.0.0/33", false },
        { "::/129", false },
        { "10.0.0.0/", false },
        { "10.0.0.0/-1", false },
        { "10.0.0", false },
        { "999.1.1.1", false },
        { "", false },
        { "hooks.example/8", false },
        { "http://a.example", false },
        { "*.example", false },
        { "a.example:80", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = { "" };
        char *entry = (char *)(uintptr_t)cases[i].entry;
        if (address_check_allow(&(struct strings){ &entry, 1 }, &e) != cases[i].good)
            fail_msg("%s: %s", cases[i].entry, cases[i].good ? e.text : "taken");
    }
}

/* Whatever way the address is written in. */
TEST(an_address_in_the_url_is_refused_at_once)
{
    static const char *const metadata[] = {
        "http://169.254.169.254/latest/meta-data",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://0xA9.0xFE.43518/",
        "http://0251.0376.0251.0376/",
        "http://169.254.43518/",
        "http://[::ffff:169.254.169.254]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[fe80::1%25eth0]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://0/",
        "http://0.0.0.0:8080/",
        "https://[::]/",
        "http://[fd00:ec2::254]/",
    };
    static const char *const private[] = { "http://127.0.0.1/", "http://127.1/",       "http://localhost:1/",
                                           "http://LOCALHOST/", "http://a.localhost/", "http://[::1]/",
                                           "http://10.0.0.1/",  "http://0x7f000001/" };
    char yaml[256];
    for (size_t i = 0; i < sizeof metadata / sizeof *metadata; i++) {
        snprintf(yaml, sizeof yaml, "url: '%s'\nunsigned: true\n", metadata[i]);
        assert_says(sink_refused(&webhook_sink, yaml).text, "is a blocked address (");
    }
    for (size_t i = 0; i < sizeof private / sizeof *private; i++) {
        sink_end(open_at(private[i], ""));
        sink_end(open_at(private[i], "guard: private\nallow: ['127.0.0.0/8', '::1', 10.0.0.1]\n"));
        snprintf(yaml, sizeof yaml, "url: '%s'\nunsigned: true\nguard: private\n", private[i]);
        assert_says(sink_refused(&webhook_sink, yaml).text, "is a blocked address (");
    }
    assert_string_equal(sink_refused(&webhook_sink, "url: 'http://0xa9fea9fe/a-secret-token'\nunsigned: true\n").text,
                        "url: 169.254.169.254 is a blocked address (link-local, where clouds keep metadata); `allow: "
                        "[\"169.254.169.254\"]` of the sink makes an exception");
    sink_end(open_at("http://169.254.169.254/", "allow: [\"169.254.169.254\"]"));
    sink_end(open_at("http://169.254.169.254/", "guard: off"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_address_decides_whatever_the_name),
        cmocka_unit_test(a_name_that_comes_to_mean_another_address),
        cmocka_unit_test(kinds_of_addresses),
        cmocka_unit_test(entries_of_allow),
        cmocka_unit_test(an_address_in_the_url_is_refused_at_once),
    };
    return cmocka_run_group_tests(tests, receiver_begin, receiver_end);
}
