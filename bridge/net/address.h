/* SPDX-License-Identifier: MIT */
/* Which addresses we connect to: a guard against requests to what is no receiver but answers to whoever is inside
 * (server-side request forgery), such as a cloud's metadata.
 *
 * The address itself is judged, right before a connection is opened to it: a name may have another one each time it is
 * resolved. An IPv4 address inside an IPv6 one (mapped, compatible, 6to4, NAT64) is judged as well. Stateless. */
#pragma once
#include <netinet/in.h>
#include <sys/socket.h>
#include "bridge/lib/err.h"
#include "bridge/lib/option.h"

enum { ADDRESS_TEXT = INET6_ADDRSTRLEN };

enum address_guard { /* what is blocked; each level has the former, too */
                     GUARD_OFF = 1,
                     GUARD_METADATA, /* link-local, where metadata is; multicast, and other addresses that no receiver has */
                     GUARD_PRIVATE, /* this machine and its private networks */
};

struct address_rules {
    enum address_guard guard;
    /* what is not blocked all the same: addresses, networks (10.0.0.0/8), names of hosts */
    const struct strings *allow;
};

bool address_check_allow(const struct strings *allow, struct err *e); /* names the first entry that is none of these */
/* Is whatever this host (of a URL) resolves to allowed? */
bool address_allows_host(const struct address_rules *r, struct str host);
/* NULL, or what kind of address it is that is blocked: "link-local". */
const char *address_blocked(const struct address_rules *r, const struct sockaddr *a);
/* The same about the host of a URL that is an address itself, or localhost; NULL for every other name. */
const char *address_blocked_host(const struct address_rules *r, struct str host);
void address_text(const struct sockaddr *a, char out[ADDRESS_TEXT]);
