/* SPDX-License-Identifier: MIT */
/* Reads queries. */
#include "bridge/lib/query.h"
#include "bridge/lib/crypto.h"

static bool query_percent(struct str s, char plus, struct buf *out)
{
    buf_reset(out);
    for (size_t i = 0; i < s.n; i++) {
        if (s.at[i] != '%') {
            buf_add_char(out, s.at[i] == '+' ? plus : s.at[i]);
            continue;
        }
        if (i + 2 >= s.n || !hex_decode(out, (struct str){ s.at + i + 1, 2 }))
            return false;
        i += 2;
    }
    return !out->failed && str_is_utf8(buf_str(out)) && !memchr(buf_str(out).at, '\0', out->n);
}

bool query_decode(struct str s, struct buf *out)
{
    return query_percent(s, ' ', out);
}

bool path_decode(struct str s, struct buf *out)
{
    return query_percent(s, '+', out);
}

bool query_value(struct str query, struct str name, struct buf *out, size_t *count)
{
    struct str pair, key;
    size_t n = 0;
    bool good = false;
    while (str_cut(&query, '&', &pair)) {
        str_cut(&pair, '=', &key);
        if (str_eq(key, name) && n++ == 0)
            good = pair.at && query_decode(pair, out);
    }
    if (count)
        *count = n;
    return good;
}

void query_add_escaped(struct buf *url, struct str value)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    for (size_t i = 0; i < value.n; i++)
        if (value.at[i] && strchr(plain, value.at[i]))
            buf_add_char(url, value.at[i]);
        else
            buf_printf(url, "%%%02X", (unsigned char)value.at[i]);
}

void query_add(struct buf *url, const char *name, struct str value)
{
    if (!value.at)
        return;
    buf_printf(url, "%c%s=", url->n && memchr(url->at, '?', url->n) ? '&' : '?', name);
    query_add_escaped(url, value);
}
