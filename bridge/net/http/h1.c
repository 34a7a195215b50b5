/* SPDX-License-Identifier: MIT */
/* The head of a request: one pass over the bytes, strict, no allocation. */
#include "bridge/net/http/h1.h"

enum { REQUEST_LINE = 8 * 1024, METHOD = 32, LENGTH_DIGITS = 19 };
enum {
    NEED_MORE = 0,
    BAD = -400,
    TOO_LONG_TARGET = -414,
    UNKNOWN_EXPECT = -417,
    TOO_LONG = -431,
    UNKNOWN_METHOD = -501,
    BAD_VERSION = -505
};

/* What a byte may be part of; the rows are 0x00, 0x10, ... 0xf0. A target excludes what a client must encode and
 * '\\', which some read as '/'; a value has no control characters but tab; a host has no comma, so that it is never
 * a list. */
enum { TOKEN = 1, TARGET = 2, VALUE = 4, HOST = 8 };

static const uint8_t classes[256] = {
    0,  0,  0,  0,  0,  0,  0,  0,  0,  4,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
    0,  0,  0,  4,  15, 4,  5,  15, 15, 15, 15, 14, 14, 15, 15, 6,  15, 15, 6,  15, 15, 15, 15, 15, 15, 15, 15, 15, 15,
    14, 14, 4,  14, 4,  6,  6,  15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,
    15, 15, 15, 15, 14, 4,  14, 7,  15, 7,  15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,
    15, 15, 15, 15, 15, 15, 15, 6,  7,  6,  15, 0,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,
    4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,
    4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,
    4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,
    4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,  4,
};

/* Where the bytes of that class that begin at `from` end. */
static size_t h1_span(struct str s, size_t from, uint8_t class)
{
    size_t i = from;
    while (i < s.n && classes[(unsigned char)s.at[i]] & class)
        i++;
    return i;
}

static bool h1_all_of(struct str s, uint8_t class)
{
    return h1_span(s, 0, class) == s.n;
}

/* The CRLF at `at`: 2, 0 when more is needed, or BAD. */
static long h1_line_end(struct str in, size_t at)
{
    if (at == in.n)
        return NEED_MORE;
    if (in.at[at] != '\r')
        return BAD;
    if (at + 1 == in.n)
        return NEED_MORE;
    return in.at[at + 1] == '\n' ? 2 : BAD;
}

/* The method at `start` with the space behind it: where that ends, 0 or an error. */
static long h1_method(struct str in, size_t start, struct http1_head *out)
{
    size_t at = h1_span(in, start, TOKEN);
    if (at - start > METHOD)
        return UNKNOWN_METHOD;
    if (at == in.n)
        return NEED_MORE;
    if (in.at[at] != ' ' || at == start)
        return BAD;
    out->method = (struct str){ in.at + start, at - start };
    return (long)at + 1;
}

/* The target at `start` with the space behind it: where that ends, 0 or an error. */
static long h1_target(struct str in, size_t start, struct http1_head *out)
{
    size_t at = h1_span(in, start, TARGET);
    if (at == in.n)
        return NEED_MORE;
    if (in.at[at] != ' ' || at == start)
        return BAD;
    out->target = (struct str){ in.at + start, at - start };
    return (long)at + 1;
}

/* "HTTP/1.1" at `start`: where it ends, 0 or an error. */
static long h1_version(struct str in, size_t start, struct http1_head *out)
{
    static const char pattern[] = "HTTP/d.d";
    for (size_t i = 0; i < 8; i++) {
        if (start + i == in.n)
            return NEED_MORE;
        char c = in.at[start + i];
        if (pattern[i] == 'd' ? c < '0' || c > '9' : c != pattern[i])
            return BAD;
    }
    if (in.at[start + 5] != '1')
        return BAD_VERSION;
    out->minor = in.at[start + 7] > '0';
    return (long)start + 8;
}

/* The request line with its CRLF, after at most one empty line (RFC 9112 2.2). Its length, 0 or an error. */
static long h1_request_line(struct str in, struct http1_head *out)
{
    size_t start = 0;
    if (in.n && in.at[0] == '\r') {
        long n = h1_line_end(in, 0);
        if (n <= 0)
            return n;
        start = (size_t)n;
    }
    bool cut = in.n >= start + REQUEST_LINE;
    if (cut)
        in.n = start + REQUEST_LINE;
    long at = h1_method(in, start, out);
    if (at > 0)
        at = h1_target(in, (size_t)at, out);
    if (at > 0)
        at = h1_version(in, (size_t)at, out);
    long end = at > 0 ? h1_line_end(in, (size_t)at) : at;
    if (end > 0)
        return at + end;
    return end == NEED_MORE && cut ? TOO_LONG_TARGET : end;
}

/* One header line with its CRLF. Its length, 0 or an error. */
static long h1_header_line(struct str in, struct header *out)
{
    size_t at = h1_span(in, 0, TOKEN);
    if (at == in.n)
        return NEED_MORE;
    if (in.at[at] != ':' || at == 0)
        return BAD; /* also a line that begins with a space: obs-fold */
    out->name = (struct str){ in.at, at };
    size_t value = at + 1;
    at = h1_span(in, value, VALUE);
    long n = h1_line_end(in, at);
    if (n <= 0)
        return n;
    out->value = str_trim((struct str){ in.at + value, at - value });
    return (long)at + n;
}

/* All header lines and the empty line. Their length, 0 or an error. */
static long h1_header_lines(struct str in, struct http1_head *out)
{
    size_t at = 0;
    for (;;) {
        if (at == in.n)
            return NEED_MORE;
        if (in.at[at] == '\r') {
            long n = h1_line_end(in, at);
            return n <= 0 ? n : (long)at + n;
        }
        if (out->header_count == HTTP1_HEADERS)
            return TOO_LONG;
        long n = h1_header_line((struct str){ in.at + at, in.n - at }, &out->headers[out->header_count]);
        if (n <= 0)
            return n;
        out->header_count++;
        at += (size_t)n;
    }
}

/* What the headers say about the message itself, collected in one walk. */
struct framing {
    struct str host, length, coding, expect;
    int hosts, lengths, codings;
    bool close, keep_alive, upgrade, has_upgrade;
};

static void h1_connection_options(struct str list, struct framing *f)
{
    struct str option;
    while (str_cut(&list, ',', &option)) {
        option = str_trim(option);
        f->close |= str_eq_nocase(option, STR("close"));
        f->keep_alive |= str_eq_nocase(option, STR("keep-alive"));
        f->upgrade |= str_eq_nocase(option, STR("upgrade"));
    }
}

/* Takes over what one header says about the message. */
static void h1_collect(const struct header *h, struct framing *f)
{
    /* The length first: most names are none of these. */
    switch (h->name.n) {
    case 4:
        if (str_eq_nocase(h->name, STR("host"))) {
            f->host = h->value;
            f->hosts++;
        }
        return;
    case 6:
        if (str_eq_nocase(h->name, STR("expect")))
            f->expect = h->value;
        return;
    case 7: f->has_upgrade |= str_eq_nocase(h->name, STR("upgrade")); return;
    case 10:
        if (str_eq_nocase(h->name, STR("connection")))
            h1_connection_options(h->value, f);
        return;
    case 14:
        if (str_eq_nocase(h->name, STR("content-length"))) {
            f->length = h->value;
            f->lengths++;
        }
        return;
    case 17:
        if (str_eq_nocase(h->name, STR("transfer-encoding"))) {
            f->coding = h->value;
            f->codings++;
        }
        return;
    }
}

/* RFC 9112 6: how long the body is. 1 or an error. */
static long h1_body_framing(const struct framing *f, struct http1_head *out)
{
    if (f->codings) {
        if (f->codings > 1 || f->lengths || out->minor == 0 || !str_eq_nocase(f->coding, STR("chunked")))
            return BAD;
        out->chunked = true;
    }
    if (f->lengths) {
        uint64_t n;
        if (f->lengths > 1 || f->length.n > LENGTH_DIGITS || !str_to_u64(f->length, &n) || n > INT64_MAX)
            return BAD;
        out->content_length = (int64_t)n;
    }
    return 1;
}

static bool h1_host_is_good(struct str host)
{
    return host.n > 0 && h1_all_of(host, HOST);
}

/* RFC 9112 3.2: the four forms of a target, and the Host that belongs to it. 1 or an error. */
static long h1_target_and_host(const struct framing *f, const struct http1_head *out)
{
    if (str_eq(out->method, STR("CONNECT")))
        return UNKNOWN_METHOD;
    if (f->hosts > 1 || (f->hosts == 0 && out->minor > 0) || (f->hosts && !h1_host_is_good(f->host)))
        return BAD;
    if (out->target.at[0] == '/')
        return 1;
    if (str_eq(out->target, STR("*")))
        return str_eq(out->method, STR("OPTIONS")) ? 1 : BAD;
    bool secure = str_starts_nocase(out->target, STR("https://"));
    if (!secure && !str_starts_nocase(out->target, STR("http://")))
        return BAD;
    size_t scheme = secure ? 8 : 7;
    struct str authority = { out->target.at + scheme, out->target.n - scheme };
    authority.n = h1_span(authority, 0, HOST);
    size_t end = scheme + authority.n;
    if (!h1_host_is_good(authority) || (end < out->target.n && !strchr("/?", out->target.at[end])))
        return BAD;
    return f->hosts == 0 || str_eq_nocase(authority, f->host) ? 1 : BAD;
}

/* What the headers say together. 1 or an error. */
static long h1_meaning(struct http1_head *out)
{
    struct framing f = { 0 };
    for (size_t i = 0; i < out->header_count; i++)
        h1_collect(&out->headers[i], &f);
    long n = h1_body_framing(&f, out);
    if (n > 0)
        n = h1_target_and_host(&f, out);
    if (n < 0)
        return n;
    out->keep_alive = !f.close && (out->minor > 0 || f.keep_alive);
    out->upgrade = f.upgrade && f.has_upgrade && out->minor > 0;
    if (f.expect.at && out->minor > 0) {
        if (!str_eq_nocase(f.expect, STR("100-continue")))
            return UNKNOWN_EXPECT;
        out->expect_continue = true;
    }
    return 1;
}

long http1_head(struct str in, size_t max_head, struct http1_head *out)
{
    /* Bytes behind max_head are not looked at, so that the answer does not depend on how the bytes were cut in
     * packets. */
    bool cut = in.n >= max_head;
    if (cut)
        in.n = max_head;
    out->header_count = 0;
    out->chunked = out->keep_alive = out->expect_continue = out->upgrade = false;
    out->content_length = 0;
    long line = h1_request_line(in, out);
    if (line < 0)
        return line;
    if (line == 0)
        return cut ? TOO_LONG_TARGET : NEED_MORE;
    long lines = h1_header_lines((struct str){ in.at + line, in.n - (size_t)line }, out);
    if (lines < 0)
        return lines;
    if (lines == 0)
        return cut ? TOO_LONG : NEED_MORE;
    long ok = h1_meaning(out);
    return ok < 0 ? ok : line + lines;
}
