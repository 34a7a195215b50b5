/* SPDX-License-Identifier: MIT */
/* Hosts by address and by name. */
#include "bridge/net/host.h"
#include <arpa/inet.h>
#include <stdio.h>

struct str host_name(struct str authority)
{
    for (size_t i = authority.n; i-- > 0 && authority.at[i] != ']';)
        if (authority.at[i] == ':')
            return (struct str){ authority.at, i };
    return authority;
}

bool host_is_address(struct str authority)
{
    struct str host = host_name(authority);
    struct in_addr v4;
    char text[INET_ADDRSTRLEN];
    if (host.n == 0 || host.at[0] == '[' || str_eq_nocase(host, STR("localhost")))
        return true;
    snprintf(text, sizeof text, "%.*s", host.n < sizeof text ? (int)host.n : 0, host.at);
    return inet_pton(AF_INET, text, &v4) == 1;
}
