/* SPDX-License-Identifier: MIT */
/* Masks the beginning of a body, token by token. */
#include "connectors/http/excerpt.h"
#include "bridge/auth/secret.h"
#include "bridge/event/event.h"
#include "bridge/lib/jscan.h"

#define EXCERPT_MASK "***"

/* Is the value behind this name kept back? A name that is not written plainly counts as one of a secret. */
static bool excerpt_is_secret(struct str name, const struct strings *mask)
{
    if (memchr(name.at, '\\', name.n) || memchr(name.at, '%', name.n) || secret_is_name(name))
        return true;
    static const char *const more[] = { "authorization", "cookie", "signature", "sig", "key", "pin", "otp" };
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        if (str_eq_nocase(name, str_of(more[i])))
            return true;
    for (size_t i = 0; i < mask->count; i++)
        if (str_eq_nocase(name, str_of(mask->at[i])))
            return true;
    return false;
}

/* ---- JSON ---- */

static struct str excerpt_blank(struct str in)
{
    while (in.n && memchr(" \t\r\n", in.at[0], 4))
        in = str_from(in, 1);
    return in;
}

/* Bytes of the string that `in` begins with, quotes included; all of it if its end is cut off. */
static size_t excerpt_string(struct str in)
{
    for (size_t i = 1; i < in.n; i++) {
        if (in.at[i] == '\\')
            i++;
        else if (in.at[i] == '"')
            return i + 1;
    }
    return in.n;
}

/* Bytes of the value that `in` begins with. */
static size_t excerpt_value(struct str in)
{
    size_t i = 0, depth = 0;
    while (i < in.n) {
        char c = in.at[i];
        if (depth == 0 && memchr(",}]", c, 3))
            return i;
        if (c == '"') {
            i += excerpt_string(str_from(in, i));
            if (depth == 0)
                return i;
            continue;
        }
        depth += c == '{' || c == '[';
        i++;
        if ((c == '}' || c == ']') && --depth == 0)
            return i;
    }
    return in.n;
}

/* Is it a text that holds JSON itself? Its members would have to be judged, too. */
static bool excerpt_holds_json(struct str string)
{
    struct str in = string.n ? excerpt_blank(str_from(string, 1)) : string;
    while (in.n > 1 && in.at[0] == '\\' && memchr("tnr", in.at[1], 3))
        in = excerpt_blank(str_from(in, 2));
    return in.n && (in.at[0] == '{' || in.at[0] == '[' || in.at[0] == '\\');
}

/* Bytes of the number, true, false or null that `in` begins with, which may be cut off; 0: it is none. */
static size_t excerpt_word(struct str in)
{
    static const struct str words[] = { { "true", 4 }, { "false", 5 }, { "null", 4 } };
    size_t n = 0;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t length = in.n < words[i].n ? in.n : words[i].n;
        if (memcmp(in.at, words[i].at, length) == 0)
            return length;
    }
    while (n < in.n && memchr("0123456789+-.eE", in.at[n], 15))
        n++;
    return n;
}

struct excerpt { /* where in a JSON text */
    struct str in;
    const struct strings *mask;
    struct buf *out;
    enum { EXCERPT_NAME = 1, EXCERPT_VALUE, EXCERPT_MORE } next;
    size_t depth;
    char open[JSCAN_DEPTH];
};

static void excerpt_move(struct excerpt *x, size_t n)
{
    buf_add(x->out, x->in.at, n);
    x->in = str_from(x->in, n);
}

/* A member's name; behind one of a secret, its value as well. */
static bool excerpt_take_name(struct excerpt *x)
{
    size_t n = excerpt_string(x->in);
    struct str string = { x->in.at, n }, rest = excerpt_blank(str_from(x->in, n));
    if (string.at[0] != '"' || n < 2 || rest.n == 0 || rest.at[0] != ':')
        return false;
    excerpt_move(x, n);
    buf_add_char(x->out, ':');
    x->in = excerpt_blank(str_from(rest, 1));
    x->next = EXCERPT_VALUE;
    if (!excerpt_is_secret((struct str){ string.at + 1, n - 2 }, x->mask))
        return true;
    buf_add_str(x->out, STR("\"" EXCERPT_MASK "\""));
    x->in = str_from(x->in, excerpt_value(x->in));
    x->next = EXCERPT_MORE;
    return true;
}

static bool excerpt_open(struct excerpt *x, char c)
{
    if (x->depth == sizeof x->open)
        return false;
    x->open[x->depth++] = c;
    x->next = c == '{' ? EXCERPT_NAME : EXCERPT_VALUE;
    excerpt_move(x, 1);
    return true;
}

static bool excerpt_close(struct excerpt *x, char c)
{
    if (x->depth == 0 || x->open[x->depth - 1] != (c == '}' ? '{' : '['))
        return false;
    x->depth--;
    x->next = EXCERPT_MORE;
    excerpt_move(x, 1);
    return true;
}

static bool excerpt_take_value(struct excerpt *x)
{
    char c = x->in.at[0];
    if (c == '{' || c == '[')
        return excerpt_open(x, c);
    if (c == ']')
        return excerpt_close(x, c);
    x->next = EXCERPT_MORE;
    size_t n = c == '"' ? excerpt_string(x->in) : excerpt_word(x->in);
    if (c == '"' && excerpt_holds_json((struct str){ x->in.at, n })) {
        buf_add_str(x->out, STR("\"" EXCERPT_MASK "\""));
        x->in = str_from(x->in, n);
    } else {
        excerpt_move(x, n);
    }
    return n > 0;
}

/* A comma, or the end of an object or array. */
static bool excerpt_take_more(struct excerpt *x)
{
    char c = x->in.at[0];
    if (c == '}' || c == ']')
        return excerpt_close(x, c);
    if (c != ',' || x->depth == 0)
        return false;
    x->next = x->open[x->depth - 1] == '{' ? EXCERPT_NAME : EXCERPT_VALUE;
    excerpt_move(x, 1);
    return true;
}

static bool excerpt_step(struct excerpt *x)
{
    switch (x->next) {
    case EXCERPT_NAME: return x->in.at[0] == '}' ? excerpt_close(x, '}') : excerpt_take_name(x);
    case EXCERPT_VALUE: return excerpt_take_value(x);
    case EXCERPT_MORE: return excerpt_take_more(x);
    }
    return false;
}

/* As far as it is JSON. */
static void excerpt_json(struct str in, const struct strings *mask, struct buf *out)
{
    struct excerpt x = { .in = in, .mask = mask, .out = out, .next = EXCERPT_VALUE };
    do
        x.in = excerpt_blank(x.in);
    while (x.in.n && excerpt_step(&x));
}

/* ---- forms ---- */

static void excerpt_form(struct str in, const struct strings *mask, struct buf *out)
{
    struct str pair, name;
    for (bool first = true; str_cut(&in, '&', &pair); first = false) {
        struct str value = pair;
        if (!first)
            buf_add_char(out, '&');
        str_cut(&value, '=', &name);
        buf_add_str(out, name);
        if (!value.at)
            continue;
        buf_add_char(out, '=');
        bool json = value.n
                    && (memchr("{[", value.at[0], 2) || str_starts_nocase(value, STR("%7b"))
                        || str_starts_nocase(value, STR("%5b")));
        if (json || excerpt_is_secret(name, mask))
            buf_add_str(out, STR(EXCERPT_MASK));
        else
            buf_add_str(out, value);
    }
}

void excerpt_add(struct str body, struct str content_type, const struct strings *mask, struct buf *out)
{
    struct str begin = excerpt_blank(body);
    bool json = content_type.n == 0 || event_type_is_json(content_type);
    if (json && begin.n && memchr("{[", begin.at[0], 2))
        excerpt_json(begin, mask, out);
    else if (str_starts_nocase(content_type, STR("application/x-www-form-urlencoded")))
        excerpt_form(body, mask, out);
}
