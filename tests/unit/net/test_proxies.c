/* SPDX-License-Identifier: MIT */
/* Whose a connection or a request is, as trusted proxies say it: both parsers by tables, and a server behind them. */
#include <stdio.h>
#include <unistd.h>
#include "bridge/net/forwarded.h"
#include "bridge/net/listen.h"
#include "bridge/net/proxy_protocol.h"
#include "tests/support/dialogue.h"
#include "tests/support/metric.h"

/* ---- networks ---- */

static struct networks networks_of(char *text)
{
    struct networks n;
    struct err e;
    assert_true(networks_open(&n, &(struct strings){ &text, 1 }, &e));
    return n;
}

TEST(networks_have_addresses)
{
    static const struct {
        const char *network, *peer;
        bool have;
    } cases[] = {
        { "10.0.0.0/8", "10.255.0.1:5000", true },
        { "10.0.0.0/8", "11.0.0.1:5000", false },
        { "10.0.0.0/8", "[::ffff:10.0.0.1]:5000", true },
        { "10.0.0.0/8", "10.0.0.1", true },
        { "10.0.0.128/25", "10.0.0.127:1", false },
        { "10.0.0.128/25", "10.0.0.129:1", true },
        { "10.0.0.1", "10.0.0.1:1", true },
        { "10.0.0.1", "10.0.0.2:1", false },
        { "0.0.0.0/0", "192.0.2.1:1", true },
        { "0.0.0.0/0", "[2001:db8::1]:1", false },
        { "::/0", "[2001:db8::1]:1", true },
        { "2001:db8::/33", "[2001:db8:7fff::1]:1", true },
        { "2001:db8::/33", "[2001:db8:8000::1]", false },
        { "unix", "unix", true },
        { "unix", "10.0.0.1:1", false },
        { "10.0.0.0/8", "unix", false },
        { "10.0.0.0/8", "", false },
        { "10.0.0.0/8", "nobody", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct networks n = networks_of((char *)(uintptr_t)cases[i].network);
        if (networks_have_peer(&n, str_of(cases[i].peer)) != cases[i].have)
            fail_msg("%s in %s", cases[i].peer, cases[i].network);
        networks_close(&n);
    }
    static const char *const bad[] = { "",          "10.0.0.0/33", "10.0.0/8", "2001:db8::/129", "proxy.example.com",
                                       "10.0.0.0/", "/8" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct networks n;
        struct err e = { "" };
        char *text = (char *)(uintptr_t)bad[i];
        assert_false(networks_open(&n, &(struct strings){ &text, 1 }, &e));
        assert_non_null(strstr(e.text, "is no address, network"));
    }
}

/* ---- the PROXY protocol ---- */

#define V2   "\r\n\r\n\0\r\nQUIT\n"
#define IPV4 "\xc0\x00\x02\x01\xc0\x00\x02\x02\x13\x88\x01\xbb" /* 192.0.2.1:5000 to 192.0.2.2:443 */
#define V6   "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
#define IPV6 V6 V6 "\x13\x88\x01\xbb"
#define PATH54                                                                                                         \
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define UNIX PATH54 PATH54 PATH54 PATH54

#define BYTES(literal)                                                                                                 \
    {                                                                                                                  \
        (literal), sizeof(literal) - 1                                                                                 \
    }

static const struct {
    struct str header;
    enum proxy_protocol what;
    const char *peer;
} proxy_cases[] = {
    /* as the specification writes them */
    { BYTES("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), PROXY_CLIENT, "255.255.255.255:65535" },
    { BYTES(
          "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
      PROXY_CLIENT, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535" },
    { BYTES("PROXY UNKNOWN\r\n"), PROXY_OWN, NULL },
    { BYTES(
          "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
      PROXY_OWN, NULL },
    { BYTES("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"), PROXY_CLIENT, "192.168.0.1:56324" },
    { BYTES(V2 "\x20\x00\x00\x00"), PROXY_OWN, NULL },
    { BYTES(V2 "\x21\x11\x00\x0c" IPV4), PROXY_CLIENT, "192.0.2.1:5000" },
    { BYTES(V2 "\x21\x21\x00\x24" IPV6), PROXY_CLIENT, "[2001:db8::1]:5000" },
    { BYTES(V2 "\x21\x31\x00\xd8" UNIX), PROXY_OWN, NULL },
    /* what may follow the addresses, and what says nothing of a client */
    { BYTES(V2 "\x21\x11\x00\x11" IPV4 "\x04\x00\x02\x00\x00"), PROXY_CLIENT, "192.0.2.1:5000" },
    { BYTES(V2 "\x20\x11\x00\x0c" IPV4), PROXY_OWN, NULL },
    { BYTES(V2 "\x21\x00\x00\x00"), PROXY_OWN, NULL },
    { BYTES(V2 "\x21\x12\x00\x0c" IPV4), PROXY_OWN, NULL }, /* a datagram */
    /* none */
    { BYTES("GET / HTTP/1.1\r\n"), PROXY_BAD, NULL },
    { BYTES("PROXY\r\n"), PROXY_BAD, NULL },
    { BYTES("PROXY \r\n"), PROXY_BAD, NULL },
    { BYTES("proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), PROXY_BAD, NULL },
    { BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n"), PROXY_BAD, NULL },
    { BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"), PROXY_BAD, NULL },
    { BYTES("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n"), PROXY_BAD, NULL },
    { BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n"), PROXY_BAD, NULL },
    { BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n"), PROXY_BAD, NULL },
    { BYTES("PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n"), PROXY_BAD, NULL },
    { BYTES("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n"), PROXY_BAD, NULL },
    { BYTES("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n"), PROXY_BAD, NULL },
    { BYTES("PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n"), PROXY_BAD, NULL },
    { BYTES(V2 "\x11\x11\x00\x0c" IPV4), PROXY_BAD, NULL }, /* version 1 in binary */
    { BYTES(V2 "\x22\x11\x00\x0c" IPV4), PROXY_BAD, NULL }, /* no such command */
    { BYTES(V2 "\x21\x11\x00\x0b" IPV4), PROXY_BAD, NULL }, /* shorter than its addresses */
    { BYTES(V2 "\x21\x41\x00\x0c" IPV4), PROXY_BAD, NULL }, /* no such family */
    { BYTES(V2 "\x21\x13\x00\x0c" IPV4), PROXY_BAD, NULL }, /* no such transport */
    { BYTES(V2 "\x21\x11\xff\xff" IPV4), PROXY_BAD, NULL }, /* longer than any */
};

/* A part of a header is never taken for one, and what follows it is not looked at. */
static void proxy_expect_parts(struct str header, enum proxy_protocol what)
{
    struct proxy_header h;
    char more[512];
    assert_true(header.n < sizeof more);
    memcpy(more, header.at, header.n);
    for (size_t i = 0; i < header.n; i++)
        assert_int_equal(proxy_protocol_read((struct str){ header.at, i }, &h), PROXY_MORE);
    memset(more + header.n, 'x', sizeof more - header.n);
    assert_int_equal(proxy_protocol_read((struct str){ more, sizeof more }, &h), what);
    assert_int_equal(h.n, header.n);
}

TEST(proxy_headers_are_read)
{
    for (size_t i = 0; i < sizeof proxy_cases / sizeof *proxy_cases; i++) {
        struct proxy_header h;
        char peer[LISTEN_PEER], network[LISTEN_NETWORK];
        enum proxy_protocol what = proxy_protocol_read(proxy_cases[i].header, &h);
        if (what != proxy_cases[i].what)
            fail_msg("%zu: %.40s: %d", i, proxy_cases[i].header.at, (int)what);
        if (what != PROXY_BAD)
            proxy_expect_parts(proxy_cases[i].header, what);
        if (what != PROXY_CLIENT)
            continue;
        listen_name(&h.client, h.port, peer, network);
        assert_string_equal(peer, proxy_cases[i].peer);
    }
    char endless[200] = "PROXY UNKNOWN ";
    struct proxy_header h;
    memset(endless + 14, 'x', sizeof endless - 14);
    assert_int_equal(proxy_protocol_read((struct str){ endless, 106 }, &h), PROXY_MORE);
    assert_int_equal(proxy_protocol_read((struct str){ endless, 107 }, &h), PROXY_BAD);
}

/* ---- headers ---- */

static const struct {
    enum proxy_header_kind kind;
    const char *first, *second; /* the header's values; NULL: it is there once */
    const char *peer;           /* NULL: the proxy's own */
    bool garbled;
} forwarded_cases[] = {
    { PROXY_HEADER_UNSET, "192.0.2.1", NULL, "192.0.2.1", false },
    { PROXY_HEADER_X_FORWARDED_FOR, "192.0.2.1:5000", NULL, "192.0.2.1:5000", false },
    { PROXY_HEADER_X_FORWARDED_FOR, "2001:db8::1", NULL, "[2001:db8::1]", false },
    { PROXY_HEADER_X_FORWARDED_FOR, "[2001:db8::1]", NULL, "[2001:db8::1]", false },
    { PROXY_HEADER_X_FORWARDED_FOR, " [2001:db8::1]:5000 ", NULL, "[2001:db8::1]:5000", false },
    { PROXY_HEADER_X_FORWARDED_FOR, "6.6.6.6, 192.0.2.1", NULL, "192.0.2.1",
      false }, /* the left one is anybody's word */
    { PROXY_HEADER_X_FORWARDED_FOR, "6.6.6.6, 192.0.2.1, 10.0.0.2", NULL, "192.0.2.1", false },
    { PROXY_HEADER_X_FORWARDED_FOR, "6.6.6.6", "192.0.2.1", "192.0.2.1", false },
    { PROXY_HEADER_X_FORWARDED_FOR, "192.0.2.1", "10.0.0.3,10.0.0.2", "192.0.2.1", false },
    { PROXY_HEADER_X_FORWARDED_FOR, "10.0.0.4, 10.0.0.2", NULL, "10.0.0.4", false }, /* nobody else is there */
    { PROXY_HEADER_X_FORWARDED_FOR, "192.0.2.1,,", NULL, "192.0.2.1", false },
    { PROXY_HEADER_X_FORWARDED_FOR, "", NULL, NULL, false },
    { PROXY_HEADER_X_FORWARDED_FOR, "unknown", NULL, NULL, true },
    { PROXY_HEADER_X_FORWARDED_FOR, "192.0.2.1, x", NULL, NULL, true },
    { PROXY_HEADER_X_FORWARDED_FOR, "x, 10.0.0.2", NULL, "10.0.0.2", true }, /* that proxy said so */
    { PROXY_HEADER_X_FORWARDED_FOR, "192.0.2.1:65536", NULL, NULL, true },
    { PROXY_HEADER_X_FORWARDED_FOR, "192.0.2.1:", NULL, NULL, true },
    { PROXY_HEADER_X_FORWARDED_FOR, "192.0.2.256", NULL, NULL, true },
    { PROXY_HEADER_X_FORWARDED_FOR, "[192.0.2.1]", NULL, NULL, true },
    { PROXY_HEADER_X_FORWARDED_FOR, "[2001:db8::1", NULL, NULL, true },
    { PROXY_HEADER_X_FORWARDED_FOR, "[2001:db8::1]5000", NULL, NULL, true },
    { PROXY_HEADER_X_FORWARDED_FOR, "fe80::1%eth0", NULL, NULL, true },
    { PROXY_HEADER_NONE, "192.0.2.1", NULL, NULL, false },
    { PROXY_HEADER_FORWARDED, "for=192.0.2.1", NULL, "192.0.2.1", false },
    { PROXY_HEADER_FORWARDED, "For=\"[2001:db8::1]:4711\";proto=https", NULL, "[2001:db8::1]:4711", false },
    { PROXY_HEADER_FORWARDED, "by=203.0.113.43;for=192.0.2.1;host=\"a,b;for=6.6.6.6\"", NULL, "192.0.2.1", false },
    { PROXY_HEADER_FORWARDED, "for=6.6.6.6, for=192.0.2.1 , for=10.0.0.2;proto=http", NULL, "192.0.2.1", false },
    { PROXY_HEADER_FORWARDED, "for=\"6.6.6.6\\\", for=7.7.7.7\"", "for=192.0.2.1", "192.0.2.1", false },
    { PROXY_HEADER_FORWARDED, "for=unknown", NULL, NULL, true },
    { PROXY_HEADER_FORWARDED, "for=_hidden, for=10.0.0.2", NULL, "10.0.0.2", true },
    { PROXY_HEADER_FORWARDED, "proto=https", NULL, NULL, true },
    { PROXY_HEADER_FORWARDED, "for", NULL, NULL, true },
    { PROXY_HEADER_FORWARDED, "for=\"192.0.2.1", NULL, NULL, true },
    /* The client leaves a quoted string open, and its proxy appends an element to it, with quotes or without. */
    { PROXY_HEADER_FORWARDED, "for=6.6.6.6;x=\", for=192.0.2.1", NULL, "192.0.2.1", false },
    { PROXY_HEADER_FORWARDED, "for=6.6.6.6;x=\"\\, for=192.0.2.1", NULL, "192.0.2.1", false },
    { PROXY_HEADER_FORWARDED, "for=6.6.6.6;x=\", for=\"[2001:db8::1]:4711\"", NULL, "[2001:db8::1]:4711", false },
    { PROXY_HEADER_FORWARDED, "for=6.6.6.6;x=\", for=192.0.2.1;host=\"a\\\",\\\\\"", NULL, "192.0.2.1", false },
    { PROXY_HEADER_FORWARDED, "for=6.6.6.6;x=\"", "for=192.0.2.1", "192.0.2.1", false },
    { PROXY_HEADER_FORWARDED, "for=6.6.6.6;x=\"\\\"\", for=192.0.2.1", NULL, "192.0.2.1", false },
};

TEST(forwarded_addresses_are_read)
{
    struct networks trusted = networks_of((char[]){ "10.0.0.0/8" });
    for (size_t i = 0; i < sizeof forwarded_cases / sizeof *forwarded_cases; i++) {
        bool rfc = forwarded_cases[i].kind == PROXY_HEADER_FORWARDED;
        struct str name = rfc ? STR("forwarded") : STR("x-forwarded-for");
        const struct header headers[] = { { STR("Host"), STR("a") },
                                          { name, str_of(forwarded_cases[i].first) },
                                          { rfc ? STR("X-Forwarded-For") : STR("Forwarded"), STR("for=6.6.6.6") },
                                          { name, str_of(forwarded_cases[i].second) } };
        struct address client;
        int port;
        bool garbled = false;
        char peer[LISTEN_PEER], network[LISTEN_NETWORK];
        size_t n = forwarded_read(headers, forwarded_cases[i].second ? 4 : 3, forwarded_cases[i].kind, &trusted,
                                  &client, &port, &garbled);
        if (n > 0)
            listen_name(&client, port, peer, network);
        if ((n > 0) != (forwarded_cases[i].peer != NULL) || garbled != forwarded_cases[i].garbled
            || (n > 0 && strcmp(peer, forwarded_cases[i].peer) != 0))
            fail_msg("%zu: %s: %s%s", i, forwarded_cases[i].first, n ? peer : "nobody", garbled ? ", garbled" : "");
    }
    networks_close(&trusted);
}

TEST(proxies_in_a_row_are_limited)
{
    struct networks trusted = networks_of((char[]){ "10.0.0.0/8" });
    for (size_t hops = FORWARDED_HOPS - 1; hops <= FORWARDED_HOPS + 1; hops++) {
        struct header headers[FORWARDED_HOPS + 2] = { { STR("X-Forwarded-For"), STR("192.0.2.1") } };
        for (size_t i = 1; i <= hops; i++)
            headers[i] = (struct header){ STR("X-Forwarded-For"), STR("10.0.0.2") };
        struct address client;
        int port;
        bool garbled = false;
        size_t n = forwarded_read(headers, hops + 1, PROXY_HEADER_UNSET, &trusted, &client, &port, &garbled);
        assert_int_equal(n, hops < FORWARDED_HOPS ? hops + 1 : FORWARDED_HOPS);
        assert_int_equal(garbled, hops >= FORWARDED_HOPS);
    }
    networks_close(&trusted);
}

/* ---- a server behind them ---- */

static void who(void *ctx, const struct http_request *r)
{
    char text[300];
    (void)ctx;
    snprintf(text, sizeof text, "<%.*s of %.*s>", STR_ARG(r->peer), STR_ARG(r->network));
    http_server_reply(server, r->id, 200, NULL, 0, str_of(text));
}

static void start_behind(char *proxies, bool protocol, int64_t per_address)
{
    char address[] = "127.0.0.1:0";
    struct err e;
    const struct http_server_options o = { .listen = address,
                                           .trusted_proxies = { &proxies, 1 },
                                           .proxy_protocol = protocol,
                                           .max_per_address = per_address };
    server = http_server_new(&o, &(struct http_events){ .request = who }, &e);
    if (!server)
        fail_msg("%s", e.text);
}

#define FOR(address) "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: " address "\r\n\r\n"

TEST(a_trusted_proxy_says_whose_each_request_is)
{
    struct metric *garbled = metric_named("aqueduct_net_forwarded_garbled_total", NULL);
    int64_t before = metric_value(garbled);
    start_behind((char[]){ "127.0.0.0/8" }, false, 2);
    struct client c = client_new();
    SAY(&c, FOR("192.0.2.1"));
    expect(&c, "<192.0.2.1 of 192.0.2.1>");
    SAY(&c, FOR("6.6.6.6, [2001:db8:1:2::3]:70"));
    expect(&c, "<[2001:db8:1:2::3]:70 of 2001:db8:1:2::/64>");
    forget(&c);
    SAY(&c, GET("/"));
    expect(&c, " of 127.0.0.1>");
    assert_int_equal(metric_value(garbled), before);
    forget(&c);
    SAY(&c, FOR("nobody"));
    expect(&c, " of 127.0.0.1>");
    assert_int_equal(metric_value(garbled), before + 1);
    struct client others[3]; /* all are the proxy's, which has no limit */
    for (int i = 0; i < 3; i++) {
        others[i] = client_new();
        SAY(&others[i], FOR("192.0.2.1"));
        expect(&others[i], "<192.0.2.1 of 192.0.2.1>");
    }
    for (int i = 0; i < 3; i++)
        client_close(&others[i]);
    client_close(&c);
}

TEST(nobody_else_is_believed)
{
    start_behind((char[]){ "10.0.0.0/8" }, true, 0);
    struct client c = client_new();
    SAY(&c, FOR("192.0.2.1"));
    expect(&c, " of 127.0.0.1>");
    client_close(&c);
    c = client_new();
    SAY(&c, "PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n" GET("/"));
    expect_end(&c);
    assert_true(said(&c, "400 Bad Request"));
    client_close(&c);
}

TEST(a_connection_is_whose_its_proxy_says)
{
    start_behind((char[]){ "127.0.0.0/8" }, true, 1);
    struct client c = client_new(), same = client_new(), other = client_new(), own = client_new();
    SAY(&c, "PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n" FOR("6.6.6.6"));
    expect(&c, "<192.0.2.1:5000 of 192.0.2.1>");                                /* a client is no proxy */
    SAY(&c, "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"); /* is not idle */
    SAY(&same, "PROXY TCP4 192.0.2.1 192.0.2.2 5001 443\r\n" GET("/"));
    expect_end(&same);
    assert_true(said(&same, "429 Too Many Requests"));
    SAY(&other, V2 "\x21\x21\x00\x24" IPV6);
    SAY(&other, GET("/"));
    expect(&other, "<[2001:db8::1]:5000 of 2001:db8::/64>");
    SAY(&own, V2 "\x20\x00\x00\x00" GET("/")); /* the proxy looks whether we live */
    expect(&own, " of 127.0.0.1>");
    client_close(&c);
    client_close(&same);
    client_close(&other);
    client_close(&own);
}

TEST(a_header_may_come_in_pieces_and_must_come)
{
    struct metric *refused = metric_named("aqueduct_net_refused_total", LABELS("proxy"));
    int64_t before = metric_value(refused);
    start_behind((char[]){ "127.0.0.0/8" }, true, 0);
    struct client c = client_new();
    SAY(&c, "PROXY TCP4 192.0.2.1 192.0");
    rounds(5);
    SAY(&c, ".2.2 5000 443\r");
    rounds(5);
    SAY(&c, "\n" GET("/"));
    expect(&c, "<192.0.2.1:5000 of 192.0.2.1>");
    client_close(&c);
    c = client_new();
    SAY(&c, GET("/"));
    UNTIL(&c, metric_value(refused) == before + 1);
    UNTIL(&c, http_server_connections(server) == 0);
    assert_int_equal(c.in.n, 0); /* nothing was said to it */
    client_close(&c);
    c = client_new();
    SAY(&c, "PROXY TCP4");
    rounds(5);
    assert_int_equal(http_server_connections(server), 1);
    clock_fake_advance(10001); /* head_timeout */
    UNTIL(&c, http_server_connections(server) == 0);
    client_close(&c);
    c = client_new();
    SAY(&c, "PROXY TCP4");
    client_close(&c);
    UNTIL(&nobody, metric_value(refused) == before + 2);
}

TEST(options_of_proxies_are_checked)
{
    char *bad = (char[]){ "proxy.example.com" };
    struct err e = { "" };
    assert_false(http_server_check(&(struct http_server_options){ .proxy_protocol = true }, &e));
    assert_non_null(strstr(e.text, "proxy_protocol: needs trusted_proxies"));
    assert_false(http_server_check(&(struct http_server_options){ .trusted_proxies = { &bad, 1 } }, &e));
    assert_non_null(strstr(e.text, "trusted_proxies: \"proxy.example.com\" is no address, network"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_have_addresses),
        cmocka_unit_test(proxy_headers_are_read),
        cmocka_unit_test(forwarded_addresses_are_read),
        cmocka_unit_test(proxies_in_a_row_are_limited),
        DIALOGUE(a_trusted_proxy_says_whose_each_request_is),
        DIALOGUE(nobody_else_is_believed),
        DIALOGUE(a_connection_is_whose_its_proxy_says),
        DIALOGUE(a_header_may_come_in_pieces_and_must_come),
        cmocka_unit_test(options_of_proxies_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
