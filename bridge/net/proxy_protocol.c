/* SPDX-License-Identifier: MIT */
/* Reads headers of the PROXY protocol. */
#include "bridge/net/proxy_protocol.h"
#include <string.h>

enum { LINE_MOST = 107, FIXED = 16, SIGNATURE = 12 }; /* bytes: of version 1 with its end; of version 2 */

static const char proxy_signature[SIGNATURE] = "\r\n\r\n\0\r\nQUIT\n";

static enum proxy_protocol proxy_bad_or(struct str in, struct str whole)
{
    size_t n = in.n < whole.n ? in.n : whole.n;
    return memcmp(in.at, whole.at, n) != 0 ? PROXY_BAD : PROXY_MORE;
}

/* ---- version 1: "PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n" ---- */

static bool proxy_read_port(struct str text, int *port)
{
    uint64_t n;
    if (text.n > 5 || !str_to_u64(text, &n) || n > UINT16_MAX)
        return false;
    *port = (int)n;
    return true;
}

static enum proxy_protocol proxy_read_line(struct str line, struct proxy_header *out)
{
    struct str family, from, to, from_port, rest = line;
    struct address address;
    int port;
    str_cut(&rest, ' ', &family);
    if (str_eq(family, STR("UNKNOWN")))
        return PROXY_OWN;
    bool v4 = str_eq(family, STR("TCP4"));
    bool whole = (v4 || str_eq(family, STR("TCP6"))) && str_cut(&rest, ' ', &from) && str_cut(&rest, ' ', &to)
                 && str_cut(&rest, ' ', &from_port) && rest.at;
    if (!whole || address_read(to, &address) != (v4 ? 32 : 128) || !proxy_read_port(rest, &port))
        return PROXY_BAD;
    bool good = address_read(from, &out->client) == (v4 ? 32 : 128) && proxy_read_port(from_port, &out->port);
    return good ? PROXY_CLIENT : PROXY_BAD;
}

static enum proxy_protocol proxy_read_1(struct str in, struct proxy_header *out)
{
    struct str begin = STR("PROXY ");
    if (!str_starts(in, begin))
        return proxy_bad_or(in, begin);
    const char *end = memmem(in.at, in.n < LINE_MOST ? in.n : LINE_MOST, "\r\n", 2);
    if (!end)
        return in.n < LINE_MOST ? PROXY_MORE : PROXY_BAD;
    out->n = (size_t)(end - in.at) + 2;
    return proxy_read_line((struct str){ in.at + begin.n, out->n - 2 - begin.n }, out);
}

/* ---- version 2, binary ---- */

static int proxy_number(const unsigned char *at)
{
    return at[0] << 8 | at[1];
}

/* What stands behind the fixed part: addresses, and more that nobody reads. */
static enum proxy_protocol proxy_read_addresses(unsigned kind, const unsigned char *at, size_t n,
                                                struct proxy_header *out)
{
    static const unsigned char lengths[] = { 0, 12, 36, 216 }; /* by family: none, IPv4, IPv6, unix */
    unsigned family = kind >> 4, transport = kind & 15;
    if (family >= sizeof lengths || transport > 2 || n < lengths[family])
        return PROXY_BAD;
    if (transport != 1 || family == 0 || family == 3)
        return PROXY_OWN;
    if (family == 1)
        address_map(at, &out->client);
    else
        memcpy(out->client.at, at, sizeof out->client.at);
    out->port = proxy_number(at + (family == 1 ? 8 : 32));
    return PROXY_CLIENT;
}

static enum proxy_protocol proxy_read_2(struct str in, struct proxy_header *out)
{
    const unsigned char *at = (const unsigned char *)in.at;
    if (in.n < FIXED)
        return proxy_bad_or(in, (struct str){ proxy_signature, SIGNATURE });
    if (memcmp(in.at, proxy_signature, SIGNATURE) != 0 || (at[12] != 0x20 && at[12] != 0x21))
        return PROXY_BAD;
    size_t n = (size_t)proxy_number(at + 14);
    if (FIXED + n > PROXY_PROTOCOL_MOST)
        return PROXY_BAD;
    if (in.n < FIXED + n)
        return PROXY_MORE;
    out->n = FIXED + n;
    return at[12] == 0x20 ? PROXY_OWN : proxy_read_addresses(at[13], at + FIXED, n, out);
}

enum proxy_protocol proxy_protocol_read(struct str in, struct proxy_header *out)
{
    if (in.n == 0)
        return PROXY_MORE;
    return in.at[0] == 'P' ? proxy_read_1(in, out) : proxy_read_2(in, out);
}
