/* SPDX-License-Identifier: MIT */
/* What proxies say of clients: the PROXY protocol, X-Forwarded-For and Forwarded.
 *
 * Input: an even first byte, and the first bytes of a connection; or an odd one (its second bit: Forwarded), and values of
 * the header, one a line. */
#include "bridge/lib/buf.h"
#include "bridge/lib/mem.h"
#include "bridge/net/forwarded.h"
#include "bridge/net/listen.h"
#include "bridge/net/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADERS = 64 };

/* What is written as a peer is read as the same address. */
static void check_name(const struct address *a, int port)
{
    char peer[LISTEN_PEER], network[LISTEN_NETWORK];
    struct network itself = { *a, 128 };
    const struct networks only = { &itself, 1, false };
    CHECK(port >= 0 && port <= UINT16_MAX);
    listen_name(a, port, peer, network);
    CHECK(networks_have_peer(&only, str_of(peer)) && network[0]);
}

/* A whole header is whole whatever follows, and no part of it is. */
static void check_protocol(struct str in)
{
    struct proxy_header h = { 0 }, part;
    enum proxy_protocol what = proxy_protocol_read(in, &h);
    if (what == PROXY_MORE)
        CHECK(in.n < PROXY_PROTOCOL_MOST);
    if (what == PROXY_MORE || what == PROXY_BAD)
        return;
    CHECK(h.n > 0 && h.n <= in.n && h.n <= PROXY_PROTOCOL_MOST);
    CHECK(proxy_protocol_read((struct str){ in.at, h.n }, &part) == what && part.n == h.n);
    for (size_t i = 0; i < h.n; i++)
        CHECK(proxy_protocol_read((struct str){ in.at, i }, &part) == PROXY_MORE);
    if (what == PROXY_CLIENT)
        check_name(&h.client, h.port);
}

/* Whatever the client has written into the header, what its proxy appends counts. */
static void check_appended(struct str written, enum proxy_header_kind kind, const struct networks *proxies)
{
    bool rfc = kind == PROXY_HEADER_FORWARDED, garbled = false;
    struct buf value = buf_new(written.n + 64);
    struct address client, wanted;
    int port;
    buf_add_str(&value, written);
    buf_add_c(&value, rfc ? ", for=\"[2001:db8::1]:443\";proto=https" : ", 2001:db8::1");
    const struct header header = { rfc ? STR("Forwarded") : STR("X-Forwarded-For"), buf_str(&value) };
    CHECK(forwarded_read(&header, 1, kind, proxies, &client, &port, &garbled) == 1 && !garbled);
    CHECK(address_read(STR("2001:db8::1"), &wanted) == 128 && memcmp(&client, &wanted, sizeof client) == 0);
    buf_free(&value);
}

static void check_forwarded(struct str in, enum proxy_header_kind kind)
{
    struct network trusted = { { { [10] = 0xff, [11] = 0xff, [12] = 10 } }, 104 }; /* 10.0.0.0/8 */
    const struct networks proxies = { &trusted, 1, false };
    struct header headers[HEADERS];
    struct address client;
    size_t count = 0;
    int port;
    bool garbled = false;
    check_appended(in, kind, &proxies);
    for (struct str value; count < HEADERS && str_cut(&in, '\n', &value); count++)
        headers[count] = (struct header){ kind == PROXY_HEADER_FORWARDED ? STR("Forwarded") : STR("X-Forwarded-For"),
                                          value };
    size_t n = forwarded_read(headers, count, kind, &proxies, &client, &port, &garbled);
    CHECK(n <= FORWARDED_HOPS);
    if (n == 0)
        return;
    check_name(&client, port);
    CHECK(networks_have(&proxies, &client) || !garbled); /* behind a stranger nothing is read */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct str in = { (const char *)data + 1, size - 1 };
    if (data[0] & 1)
        check_forwarded(in, data[0] & 2 ? PROXY_HEADER_FORWARDED : PROXY_HEADER_X_FORWARDED_FOR);
    else
        check_protocol(in);
    return 0;
}
