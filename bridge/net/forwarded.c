/* SPDX-License-Identifier: MIT */
/* Reads X-Forwarded-For and Forwarded from the right. */
#include "bridge/net/forwarded.h"
#include <string.h>

/* Cuts at the next semicolon, but not within a quoted string. */
static bool forwarded_cut_pair(struct str *rest, struct str *pair)
{
    bool quoted = false;
    if (!rest->at)
        return false;
    for (size_t i = 0; i < rest->n; i++) {
        char c = rest->at[i];
        if (c == '"')
            quoted = !quoted;
        else if (quoted && c == '\\')
            i++;
        else if (c == ';' && !quoted) {
            *pair = (struct str){ rest->at, i };
            *rest = str_from(*rest, i + 1);
            return true;
        }
    }
    *pair = *rest;
    *rest = STR_ABSENT;
    return true;
}

static bool forwarded_is_escaped(struct str text, size_t at)
{
    size_t backslashes = 0;
    while (backslashes < at && text.at[at - 1 - backslashes] == '\\')
        backslashes++;
    return backslashes % 2;
}

/* Cuts off what stands behind the last comma outside of quoted strings. It begins at the end, as a quoted string that a client
 * left open would else hold what its proxy appended. */
static bool forwarded_cut_last(struct str *rest, bool quotes, struct str *element)
{
    bool quoted = false;
    if (!rest->at)
        return false;
    for (size_t i = rest->n; i > 0; i--) {
        char c = rest->at[i - 1];
        if (quotes && c == '"' && !forwarded_is_escaped(*rest, i - 1))
            quoted = !quoted;
        else if (c == ',' && !quoted) {
            *element = str_from(*rest, i);
            rest->n = i - 1;
            return true;
        }
    }
    *element = *rest;
    *rest = STR_ABSENT;
    return true;
}

/* The value of `for` among the pairs of an element; absent: there is none. */
static struct str forwarded_for(struct str element)
{
    struct str pair, name;
    while (forwarded_cut_pair(&element, &pair)) {
        str_cut(&pair, '=', &name);
        if (!str_eq_nocase(str_trim(name), STR("for")) || !pair.at)
            continue;
        pair = str_trim(pair);
        bool quoted = pair.n > 1 && pair.at[0] == '"' && pair.at[pair.n - 1] == '"';
        return quoted ? (struct str){ pair.at + 1, pair.n - 2 } : pair;
    }
    return STR_ABSENT;
}

/* "192.0.2.1", "192.0.2.1:5000", "2001:db8::1", "[2001:db8::1]" or "[2001:db8::1]:5000". */
static bool forwarded_address(struct str text, struct address *out, int *port)
{
    struct str host = text, rest = STR_ABSENT;
    uint64_t n = 0;
    bool bracket = text.n && text.at[0] == '[';
    if (bracket) {
        rest = str_from(text, 1);
        if (!str_cut(&rest, ']', &host) || !rest.at || (rest.n && rest.at[0] != ':'))
            return false;
        rest = rest.n ? str_from(rest, 1) : STR_ABSENT;
    } else if (text.n && memchr(text.at, ':', text.n) == memrchr(text.at, ':', text.n)) {
        rest = text;
        str_cut(&rest, ':', &host);
    }
    if (rest.at && (rest.n > 5 || !str_to_u64(rest, &n) || n > UINT16_MAX))
        return false;
    *port = (int)n;
    unsigned bits = address_read(host, out);
    return bracket ? bits == 128 : bits != 0 && (bits == 32 || !rest.at);
}

struct hops { /* followed from the right */
    const struct networks *trusted;
    struct address *client;
    int *port;
    size_t count;
    bool *garbled;
};

/* Follows those of one header; false: this was the end of them all. */
static bool forwarded_follow(struct hops *h, struct str value, bool rfc)
{
    struct str hop;
    while (forwarded_cut_last(&value, rfc, &hop)) {
        struct address next;
        int of_next;
        hop = str_trim(hop);
        if (!hop.n) /* an empty element of a list says nothing (RFC 9110 5.6.1.2) */
            continue;
        *h->garbled = h->count == FORWARDED_HOPS || !forwarded_address(rfc ? forwarded_for(hop) : hop, &next, &of_next);
        if (*h->garbled)
            return false;
        *h->client = next;
        *h->port = of_next;
        h->count++;
        if (!networks_have(h->trusted, h->client))
            return false;
    }
    return true;
}

size_t forwarded_read(const struct header *headers, size_t count, enum proxy_header_kind kind,
                      const struct networks *trusted, struct address *client, int *port, bool *garbled)
{
    bool rfc = kind == PROXY_HEADER_FORWARDED, more = kind != PROXY_HEADER_NONE;
    struct str name = rfc ? STR("Forwarded") : STR("X-Forwarded-For");
    struct hops h = { .trusted = trusted, .client = client, .port = port, .garbled = garbled };
    for (size_t i = count; i > 0 && more; i--)
        if (str_eq_nocase(headers[i - 1].name, name))
            more = forwarded_follow(&h, headers[i - 1].value, rfc);
    return h.count;
}
