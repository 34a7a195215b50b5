/* SPDX-License-Identifier: MIT */
/* Reads and compares addresses. */
#include "bridge/net/networks.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/mem.h"

enum { MAPPED_BITS = 96 };

void address_map(const void *v4, struct address *out)
{
    *out = (struct address){ { [10] = 0xff, [11] = 0xff } };
    memcpy(out->at + 12, v4, 4);
}

unsigned address_read(struct str text, struct address *out)
{
    char copy[INET6_ADDRSTRLEN];
    unsigned char v4[4];
    if (text.n == 0 || text.n >= sizeof copy)
        return 0;
    memcpy(copy, text.at, text.n);
    copy[text.n] = '\0';
    if (inet_pton(AF_INET6, copy, out->at) == 1)
        return 128;
    if (inet_pton(AF_INET, copy, v4) != 1)
        return 0;
    address_map(v4, out);
    return 32;
}

bool network_read(struct str text, struct network *out)
{
    struct str rest = text, address;
    str_cut(&rest, '/', &address);
    unsigned most = address_read(address, &out->address);
    uint64_t bits = most;
    if (most == 0 || (rest.at && (!str_to_u64(rest, &bits) || bits > most)))
        return false;
    out->bits = (unsigned)bits + (most == 32 ? MAPPED_BITS : 0);
    return true;
}

/* The address with zeros behind the network's bits, as it is written. */
static void network_text(const struct network *n, bool v4, char out[INET6_ADDRSTRLEN])
{
    struct address a = n->address;
    for (unsigned i = n->bits; i < ADDRESS_BYTES * 8; i++)
        a.at[i / 8] &= (unsigned char)~(0x80 >> i % 8);
    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? a.at + MAPPED_BITS / 8 : a.at, out, INET6_ADDRSTRLEN);
}

bool network_is_doubtful(const char *text, struct err *e)
{
    struct network n, whole;
    char address[INET6_ADDRSTRLEN];
    if (!network_read(str_of(text), &n))
        return false;
    bool v4 = !strchr(text, ':');
    unsigned bits = n.bits - (v4 ? MAPPED_BITS : 0);
    if (bits == 0)
        return err_set(e, "%.64s is every address, so everybody may come", text), true;
    network_text(&n, v4, address);
    address_read(str_of(address), &whole.address);
    if (memcmp(whole.address.at, n.address.at, ADDRESS_BYTES) == 0)
        return false;
    return err_set(e, "%.64s is the network %s/%u, all of it: write that, or the address alone", text, address, bits),
           true;
}

bool network_has(const struct network *n, const struct address *a)
{
    size_t whole = n->bits / 8;
    unsigned left = n->bits % 8;
    return memcmp(a->at, n->address.at, whole) == 0
           && (left == 0 || ((a->at[whole] ^ n->address.at[whole]) >> (8 - left)) == 0);
}

bool networks_open(struct networks *n, const struct strings *texts, struct err *e)
{
    *n = (struct networks){ .at = texts->count ? mem_alloc(texts->count * sizeof *n->at) : NULL };
    for (size_t i = 0; i < texts->count; i++)
        if (strcmp(texts->at[i], "unix") == 0)
            n->local = true;
        else if (!network_read(str_of(texts->at[i]), &n->at[n->count++])) {
            networks_close(n);
            return err_set(e, "\"%.64s\" is no address, network (10.0.0.0/8, 2001:db8::/32) or unix", texts->at[i]);
        }
    return true;
}

void networks_close(struct networks *n)
{
    free(n->at);
    *n = (struct networks){ 0 };
}

bool networks_have(const struct networks *n, const struct address *a)
{
    for (size_t i = 0; i < n->count; i++)
        if (network_has(&n->at[i], a))
            return true;
    return false;
}

bool networks_have_peer(const struct networks *n, struct str peer)
{
    struct address a;
    if (str_eq(peer, STR("unix")))
        return n->local;
    struct str rest = peer, host;
    bool bracket = str_starts(peer, STR("["));
    if (bracket)
        rest = str_from(peer, 1);
    return n->count && str_cut(&rest, bracket ? ']' : ':', &host) && address_read(host, &a) && networks_have(n, &a);
}
