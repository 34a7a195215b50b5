/* SPDX-License-Identifier: MIT */
/* Judges addresses. */
#include "bridge/net/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include "bridge/lib/str.h"
#include "bridge/net/networks.h"

enum { HOST_BYTES = 253 };

static const struct {
    const char *range, *what;
    enum address_guard from; /* the lowest level that blocks it */
} address_kinds[] = {
    { "0.0.0.0/8", "this host", GUARD_METADATA },
    { "169.254.0.0/16", "link-local, where clouds keep metadata", GUARD_METADATA },
    { "100.100.100.200", "a cloud's metadata", GUARD_METADATA },
    { "168.63.129.16", "a cloud's metadata", GUARD_METADATA },
    { "192.0.0.192", "a cloud's metadata", GUARD_METADATA },
    { "224.0.0.0/4", "multicast", GUARD_METADATA },
    { "240.0.0.0/4", "reserved", GUARD_METADATA },
    { "::", "this host", GUARD_METADATA },
    { "fe80::/10", "link-local", GUARD_METADATA },
    { "fd00:ec2::254", "a cloud's metadata", GUARD_METADATA },
    { "fd20:ce::254", "a cloud's metadata", GUARD_METADATA },
    { "ff00::/8", "multicast", GUARD_METADATA },
    { "64:ff9b:1::/48", "a translator to IPv4", GUARD_METADATA }, /* where in it the IPv4 address is, only it knows */
    { "2001::/32", "a tunnel of IPv4", GUARD_METADATA },
    { "127.0.0.0/8", "this machine", GUARD_PRIVATE },
    { "::1", "this machine", GUARD_PRIVATE },
    { "10.0.0.0/8", "private", GUARD_PRIVATE },
    { "172.16.0.0/12", "private", GUARD_PRIVATE },
    { "192.168.0.0/16", "private", GUARD_PRIVATE },
    { "100.64.0.0/10", "private", GUARD_PRIVATE },
    { "fc00::/7", "private", GUARD_PRIVATE },
    { "fec0::/10", "private", GUARD_PRIVATE },
    { "192.0.0.0/24", "reserved", GUARD_PRIVATE },
    { "192.0.2.0/24", "reserved", GUARD_PRIVATE },
    { "192.88.99.0/24", "reserved", GUARD_PRIVATE },
    { "198.18.0.0/15", "reserved", GUARD_PRIVATE },
    { "198.51.100.0/24", "reserved", GUARD_PRIVATE },
    { "203.0.113.0/24", "reserved", GUARD_PRIVATE },
    { "100::/64", "reserved", GUARD_PRIVATE },
    { "2001:db8::/32", "reserved", GUARD_PRIVATE },
};

static bool address_is_in(const struct address *a, const char *range)
{
    struct network n;
    return network_read(str_of(range), &n) && network_has(&n, a);
}

/* The IPv4 address that is inside an IPv6 one, mapped. */
static bool address_inner(const struct address *a, struct address *out)
{
    if (address_is_in(a, "2002::/16")) /* 6to4 */
        address_map(a->at + 2, out);
    else if (address_is_in(a, "64:ff9b::/96")                            /* NAT64 */
             || (address_is_in(a, "::/96") && (a->at[12] || a->at[13]))) /* compatible; :: and ::1 are none */
        address_map(a->at + 12, out);
    else
        return false;
    return true;
}

static const char *address_judge(const struct address_rules *r, const struct address *a)
{
    for (size_t i = 0; i < r->allow->count; i++)
        if (address_is_in(a, r->allow->at[i]))
            return NULL;
    for (size_t i = 0; i < sizeof address_kinds / sizeof *address_kinds; i++)
        if (r->guard >= address_kinds[i].from && address_is_in(a, address_kinds[i].range))
            return address_kinds[i].what;
    struct address inner;
    return address_inner(a, &inner) ? address_judge(r, &inner) : NULL;
}

const char *address_blocked(const struct address_rules *r, const struct sockaddr *a)
{
    struct address bytes;
    if (r->guard == GUARD_OFF)
        return NULL;
    if (a->sa_family == AF_INET)
        address_map(&((const struct sockaddr_in *)(const void *)a)->sin_addr, &bytes);
    else if (a->sa_family == AF_INET6)
        memcpy(bytes.at, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, ADDRESS_BYTES);
    else
        return "of an unknown family";
    return address_judge(r, &bytes);
}

static bool address_is_localhost(struct str host)
{
    return str_eq_nocase(host, STR("localhost"))
           || (host.n > 10 && str_eq_nocase(str_from(host, host.n - 10), STR(".localhost")));
}

const char *address_blocked_host(const struct address_rules *r, struct str host)
{
    struct address bytes;
    struct str name = host, zone;
    if (host.n > 2 && host.at[0] == '[') {
        name = (struct str){ host.at + 1, host.n - 2 };
        zone = name;
        str_cut(&zone, '%', &name);
    }
    if (r->guard == GUARD_OFF || address_allows_host(r, host))
        return NULL;
    if (address_is_localhost(name))
        name = STR("127.0.0.1");
    return address_read(name, &bytes) ? address_judge(r, &bytes) : NULL;
}

bool address_allows_host(const struct address_rules *r, struct str host)
{
    for (size_t i = 0; i < r->allow->count; i++)
        if (str_eq_nocase(str_of(r->allow->at[i]), host))
            return true;
    return false;
}

/* Letters, digits, '-', '_' and dots, and the last part has something else than digits. */
static bool address_is_host_name(struct str s)
{
    bool named = false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.at[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
        if (!letter && c != '.' && (c < '0' || c > '9'))
            return false;
        named = letter || (named && c != '.');
    }
    return named && s.n <= HOST_BYTES;
}

bool address_check_allow(const struct strings *allow, struct err *e)
{
    struct network n;
    for (size_t i = 0; i < allow->count; i++)
        if (!network_read(str_of(allow->at[i]), &n) && !address_is_host_name(str_of(allow->at[i])))
            return err_set(e, "allow[%zu]: \"%.64s\" is no address, network (10.0.0.0/8) or name of a host", i,
                           allow->at[i]);
    return true;
}

void address_text(const struct sockaddr *a, char out[ADDRESS_TEXT])
{
    const void *at = a->sa_family == AF_INET6 ? (const void *)&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr
                                              : (const void *)&((const struct sockaddr_in *)(const void *)a)->sin_addr;
    if (!inet_ntop(a->sa_family, at, out, ADDRESS_TEXT))
        snprintf(out, ADDRESS_TEXT, "?");
}
