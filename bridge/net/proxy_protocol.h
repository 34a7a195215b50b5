/* SPDX-License-Identifier: MIT */
/* The PROXY protocol, versions 1 and 2 (haproxy.org/download/2.6/doc/proxy-protocol.txt): what a proxy says about a client
 * in front of the client's own bytes. Stateless; bytes in, no I/O. */
#pragma once
#include "bridge/net/networks.h"

enum { PROXY_PROTOCOL_MOST = 4096 }; /* bytes of a header; one that is longer is none */

enum proxy_protocol {
    PROXY_MORE = 1, /* it is not whole yet */
    PROXY_BAD,      /* it is none */
    PROXY_OWN,      /* it names nobody (LOCAL, UNKNOWN, a unix socket): the connection's own peer is the client */
    PROXY_CLIENT,
};

struct proxy_header {
    size_t n; /* bytes in front of the client's own; of PROXY_OWN and PROXY_CLIENT */
    struct address client;
    int port;
};

/* Reads the first bytes of a connection. */
enum proxy_protocol proxy_protocol_read(struct str in, struct proxy_header *out);
