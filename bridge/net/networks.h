/* SPDX-License-Identifier: MIT */
/* Addresses, and lists of networks: read once, compared as numbers. An IPv4 address is the IPv6 one that it is mapped to
 * (::ffff:0:0/96). Any thread, as long as nobody changes the list. */
#pragma once
#include "bridge/lib/err.h"
#include "bridge/lib/option.h"

enum { ADDRESS_BYTES = 16 };

struct address {
    unsigned char at[ADDRESS_BYTES];
};
struct network {
    struct address address;
    unsigned bits; /* of its 128 */
};
struct networks { /* zeroed: none */
    struct network *at;
    size_t count;
    bool local; /* "unix": whoever comes by a unix socket */
};

unsigned address_read(struct str text, struct address *out); /* its bits (32, 128); 0: it is none */
void address_map(const void *v4, struct address *out);       /* of 4 bytes */
bool network_read(struct str text, struct network *out);     /* "10.0.0.0/8", or an address */
bool network_has(const struct network *n, const struct address *a);

/* Reads networks, addresses and "unix". False with *e, which names the entry; networks_close is harmless. */
bool networks_open(struct networks *n, const struct strings *texts, struct err *e);
void networks_close(struct networks *n);
/* True with *e: an entry that is right, and probably not meant: every address, or an address with a length that cuts it off. */
bool network_is_doubtful(const char *text, struct err *e);
bool networks_have(const struct networks *n, const struct address *a);
/* The same of a peer as a request has it: "127.0.0.1:5000", "127.0.0.1", "[::1]:5000", "[::1]", "unix". */
bool networks_have_peer(const struct networks *n, struct str peer);
