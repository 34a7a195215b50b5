/* SPDX-License-Identifier: MIT */
/* Reads X-Forwarded-For and Forwarded from the right. */
#include "bridge/net/forwarded.h"
#include <string.h>

struct hops { /* the last ones, in a ring */
    struct str at[FORWARDED_HOPS];
    size_t count; /* of all */
};

/* Cuts at the separator, but not within a quoted string. */
static bool forwarded_cut(struct str *rest, char sep, bool quotes, struct str *piece)
{
    bool quoted = false;
    if (!rest->at)
        return false;
    for (size_t i = 0; i < rest->n; i++) {
        char c = rest->at[i];
        if (quotes && c == '"')
            quoted = !quoted;
        else if (quoted && c == '\\')
            i++;
        else if (c == sep && !quoted) {
            *piece = (struct str){ rest->at, i };
            *rest = str_from(*rest, i + 1);
            return true;
        }
    }
    *piece = *rest;
    *rest = STR_ABSENT;
    return true;
}

static void forwarded_collect(struct hops *h, struct str value, bool quotes)
{
    struct str piece;
    while (forwarded_cut(&value, ',', quotes, &piece)) {
        piece = str_trim(piece);
        if (piece.n) /* an empty element of a list says nothing (RFC 9110 5.6.1.2) */
            h->at[h->count++ % FORWARDED_HOPS] = piece;
    }
}

/* The value of `for` among the pairs of an element; absent: there is none. */
static struct str forwarded_for(struct str element)
{
    struct str pair, name;
    while (forwarded_cut(&element, ';', true, &pair)) {
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

size_t forwarded_read(const struct header *headers, size_t count, enum proxy_header_kind kind,
                      const struct networks *trusted, struct address *client, int *port, bool *garbled)
{
    bool rfc = kind == PROXY_HEADER_FORWARDED;
    struct hops h = { .count = 0 };
    size_t n = 0;
    for (size_t i = 0; i < count && kind != PROXY_HEADER_NONE; i++)
        if (str_eq_nocase(headers[i].name, rfc ? STR("Forwarded") : STR("X-Forwarded-For")))
            forwarded_collect(&h, headers[i].value, rfc);
    while (n < h.count) {
        struct address next;
        int of_next;
        struct str hop = h.at[(h.count - 1 - n) % FORWARDED_HOPS];
        *garbled = n == FORWARDED_HOPS || !forwarded_address(rfc ? forwarded_for(hop) : hop, &next, &of_next);
        if (*garbled)
            break;
        *client = next;
        *port = of_next;
        n++;
        if (!networks_have(trusted, client))
            break;
    }
    return n;
}
