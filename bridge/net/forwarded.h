/* SPDX-License-Identifier: MIT */
/* Whom a request is from, as trusted proxies say it in X-Forwarded-For or Forwarded (RFC 7239).
 *
 * Each proxy appends the address that it was reached from, so the last one is the word of the proxy that is connected
 * here, and one before a trusted proxy's address that proxy's. Whatever stands left of the first address that is no
 * trusted proxy's may have been written by anybody. Stateless. */
#pragma once
#include "bridge/lib/header.h"
#include "bridge/net/networks.h"

enum proxy_header_kind {                     /* which header the proxies write */
                         PROXY_HEADER_UNSET, /* X-Forwarded-For */
                         PROXY_HEADER_X_FORWARDED_FOR,
                         PROXY_HEADER_FORWARDED,
                         PROXY_HEADER_NONE,
};

enum { FORWARDED_HOPS = 32 }; /* most proxies in a row */

/* Follows the addresses from the right as long as they are of trusted proxies; returns how many there are, with the last
 * one in *client, and its port or 0. 0: the client is the proxy that is connected here. *garbled is set when a trusted
 * proxy said something that is no address: the client is that proxy then. */
size_t forwarded_read(const struct header *headers, size_t count, enum proxy_header_kind kind,
                      const struct networks *trusted, struct address *client, int *port, bool *garbled);
