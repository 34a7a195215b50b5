/* SPDX-License-Identifier: MIT */
/* The JSON scanner. */
#include "bridge/lib/jscan.h"

/* Bytes of s that stand in a JSON string as they are, from the front. Also escaped are DEL and the C1 controls (as U+0080 to
 * U+009F begin with 0xc2), because log lines are written by this and shown on terminals. */
static size_t plain(struct str s)
{
    size_t n = 0;
    while (n < s.n) {
        unsigned char c = (unsigned char)s.at[n];
        if (c >= 0x80) {
            size_t length = str_utf8_length(str_from(s, n));
            if (length == 0 || (c == 0xc2 && (unsigned char)s.at[n + 1] < 0xa0))
                return n;
            n += length;
            continue;
        }
        if (c < 0x20 || c == '"' || c == '\\' || c == 0x7f)
            return n;
        n++;
    }
    return n;
}

/* Writes the character that plain() stopped at; returns how many bytes of s it was. */
static size_t add_escaped(struct buf *out, struct str s)
{
    unsigned char c = (unsigned char)s.at[0];
    size_t length = str_utf8_length(s);
    static const char letters[] = { ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r' };
    if (length == 0) {
        buf_add_c(out, "\xef\xbf\xbd");
        return 1;
    }
    if (length > 1)
        buf_printf(out, "\\u%04x", (unsigned)(unsigned char)s.at[1]);     /* 0xc2 c is U+00c */
    else if (c == '"' || c == '\\')
        buf_add(out, (const char[]){ '\\', (char)c }, 2);
    else if (c < sizeof letters && letters[c])
        buf_add(out, (const char[]){ '\\', letters[c] }, 2);
    else
        buf_printf(out, "\\u%04x", (unsigned)c);
    return length;
}

void jscan_add_string(struct buf *out, struct str s)
{
    buf_add_char(out, '"');
    while (s.n > 0) {
        size_t n = plain(s);
        buf_add(out, s.at, n);
        s = str_from(s, n);
        if (s.n > 0)
            s = str_from(s, add_escaped(out, s));
    }
    buf_add_char(out, '"');
}
