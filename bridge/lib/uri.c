/* SPDX-License-Identifier: MIT */
/* Takes a URI apart by RFC 3986, appendix A. */
#include "bridge/lib/uri.h"
#include <string.h>

static bool uri_is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool uri_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool uri_is_hex(char c)
{
    return uri_is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Only unreserved characters, sub-delimiters, %XX and those in `more`. */
static bool uri_has_only(struct str s, const char *more)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.at[i];
        if (c == '%') {
            if (i + 2 >= s.n || !uri_is_hex(s.at[i + 1]) || !uri_is_hex(s.at[i + 2]))
                return false;
            i += 2;
        } else if (!uri_is_alpha(c) && !uri_is_digit(c) && (c == '\0' || !strchr("-._~!$&'()*+,;=", c))
                   && (c == '\0' || !strchr(more, c)))
            return false;
    }
    return true;
}

/* Moves what follows the first `c` from *s to *rest; absent when there is none. */
static void uri_split(struct str *s, char c, struct str *rest)
{
    const char *at = s->n ? memchr(s->at, c, s->n) : NULL;
    *rest = STR_ABSENT;
    if (!at)
        return;
    size_t n = (size_t)(at - s->at);
    *rest = str_from(*s, n + 1);
    s->n = n;
}

static bool uri_is_scheme(struct str s)
{
    if (s.n == 0 || !uri_is_alpha(s.at[0]))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!uri_is_alpha(s.at[i]) && !uri_is_digit(s.at[i]) && (s.at[i] == '\0' || !strchr("+-.", s.at[i])))
            return false;
    return true;
}

/* "user@host:port"; the host may be an address in brackets. */
static bool uri_is_authority(struct str s)
{
    struct str host = s, port;
    uri_split(&s, '@', &host);
    if (host.at && !uri_has_only(s, ":"))
        return false;
    if (!host.at)
        host = s;
    if (host.n > 0 && host.at[0] == '[') {
        struct str address = str_from(host, 1);
        uri_split(&address, ']', &port);
        if (!port.at || address.n == 0 || !uri_has_only(address, ":"))
            return false;
        if (port.n > 0 && port.at[0] != ':')
            return false;
        port = port.n > 0 ? str_from(port, 1) : port;
    } else {
        uri_split(&host, ':', &port);
        if (!uri_has_only(host, ""))
            return false;
    }
    for (size_t i = 0; i < port.n; i++)
        if (!uri_is_digit(port.at[i]))
            return false;
    return true;
}

/* The scheme, moved from the front of *s; absent when there is none. False: what stands before the first ':' is neither a
 * scheme nor a path's beginning. */
static bool uri_cut_scheme(struct str *s, struct str *scheme)
{
    *scheme = STR_ABSENT;
    size_t n = 0;
    while (n < s->n && s->at[n] != ':' && s->at[n] != '/')
        n++;
    if (n == s->n || s->at[n] == '/')
        return true;
    *scheme = (struct str){ s->at, n };
    *s = str_from(*s, n + 1);
    return uri_is_scheme(*scheme);
}

static bool uri_parse(struct str s, struct str *scheme)
{
    struct str query, fragment;
    uri_split(&s, '#', &fragment);
    uri_split(&s, '?', &query);
    if (!uri_has_only(fragment, ":@/?") || !uri_has_only(query, ":@/?") || !uri_cut_scheme(&s, scheme))
        return false;
    if (str_starts(s, STR("//"))) {
        struct str authority = str_from(s, 2), path;
        uri_split(&authority, '/', &path);
        return uri_is_authority(authority) && uri_has_only(path, ":@/");
    }
    return uri_has_only(s, ":@/");
}

bool uri_is_reference(struct str s)
{
    struct str scheme;
    return uri_parse(s, &scheme);
}

bool uri_is_absolute(struct str s)
{
    struct str scheme;
    return uri_parse(s, &scheme) && scheme.at;
}

/* ---- comparison ---- */

static char uri_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static int uri_digit(char c)
{
    return uri_is_digit(c) ? c - '0' : uri_lower(c) - 'a' + 10;
}

/* The bytes first..last in which capitals mean nothing: of the scheme (0..*scheme), of the host. */
static void uri_find_cases(struct str s, size_t *scheme, size_t *first, size_t *last)
{
    size_t colon = 0, at = 0;
    while (colon < s.n && !strchr(":/?#", s.at[colon]))
        colon++;
    *scheme = colon < s.n && s.at[colon] == ':' ? colon : 0;
    at = *scheme ? *scheme + 1 : 0;
    *first = *last = at;
    if (!str_starts(str_from(s, at), STR("//")))
        return;
    *first = *last = at + 2;
    while (*last < s.n && !strchr("/?#", s.at[*last]))
        if (s.at[(*last)++] == '@')
            *first = *last;
}

struct str uri_normal(struct str s, char *out)
{
    static const char capitals[] = "0123456789ABCDEF";
    size_t n = 0, scheme, first, last;
    uri_find_cases(s, &scheme, &first, &last);
    for (size_t i = 0; i < s.n; i++) {
        bool folds = i < scheme || (i >= first && i < last);
        if (s.at[i] != '%' || s.n - i < 3 || !uri_is_hex(s.at[i + 1]) || !uri_is_hex(s.at[i + 2])) {
            out[n++] = folds ? uri_lower(s.at[i]) : s.at[i];
            continue;
        }
        int code = uri_digit(s.at[i + 1]) * 16 + uri_digit(s.at[i + 2]);
        char c = (char)code;
        i += 2;
        if (code < 0x80 && (uri_is_alpha(c) || uri_is_digit(c) || (c && strchr("-._~", c)))) {
            out[n++] = folds ? uri_lower(c) : c;
            continue;
        }
        out[n++] = '%';
        out[n++] = capitals[code >> 4];
        out[n++] = capitals[code & 15];
    }
    return (struct str){ out, n };
}

enum { URI_PART = 20 }; /* characters of a part of a path that may be a token */

void uri_veil(struct str text, struct buf *out)
{
    static const char marks[] = "/?&=#";
    const char *scheme = text.n ? memmem(text.at, text.n, "://", 3) : NULL;
    size_t i = scheme ? (size_t)(scheme - text.at) + 3 : text.n;
    while (i < text.n && !memchr(marks, text.at[i], sizeof marks - 1))
        i++;
    buf_add_str(out, (struct str){ text.at, i });
    while (i < text.n) {
        size_t start = ++i;
        while (i < text.n && !memchr(marks, text.at[i], sizeof marks - 1))
            i++;
        buf_add_char(out, text.at[start - 1]);
        if ((text.at[start - 1] == '=' && i > start) || i - start >= URI_PART)
            buf_add_c(out, "***");
        else
            buf_add(out, text.at + start, i - start);
    }
}
