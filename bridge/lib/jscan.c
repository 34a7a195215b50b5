/* SPDX-License-Identifier: MIT */
/* The JSON scanner: a recursive descent over the bytes, with runs of plain string bytes taken sixteen at a time. */
#include "bridge/lib/jscan.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

static const char *jscan_fail(struct jscan *s, const char *at, const char *why)
{
    s->bad = at;
    s->why = why;
    return NULL;
}

/* The next byte, or NUL (which JSON has no use for) at the end. */
static char jscan_peek(const struct jscan *s, const char *p)
{
    return p < s->end ? *p : '\0';
}

static const char *jscan_skip_blank(const struct jscan *s, const char *p)
{
    while (p < s->end && (unsigned char)*p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
        p++;
    return p;
}

/* The first byte at or behind p that is not plain ASCII of a string: quote, backslash, control or beyond ASCII. */
static const char *jscan_plain_run(const char *p, const char *end)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(' ');
    for (; end - p >= 16; p += 16) {
        __m128i bytes = _mm_loadu_si128((const void *)p);
        __m128i special = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash));
        special = _mm_or_si128(special, _mm_cmplt_epi8(bytes, space)); /* signed: beyond ASCII is below, too */
        int mask = _mm_movemask_epi8(special);
        if (mask)
            return p + __builtin_ctz((unsigned)mask);
    }
#endif
    while (p < end && (signed char)*p >= ' ' && *p != '"' && *p != '\\')
        p++;
    return p;
}

/* The value of four hex digits at p, or -1. */
static int jscan_hex4(const char *p, const char *end)
{
    int value = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* The character of a \u escape (or of the two of a surrogate pair) at p; moves *p behind it. -1 when there is none. */
static int32_t jscan_unicode_escape(const char **p, const char *end)
{
    int unit = jscan_hex4(*p + 2, end);
    if (unit < 0 || (unit >= 0xdc00 && unit <= 0xdfff))
        return -1;
    *p += 6;
    if (unit < 0xd800 || unit > 0xdbff)
        return unit;
    int low = end - *p >= 2 && (*p)[0] == '\\' && (*p)[1] == 'u' ? jscan_hex4(*p + 2, end) : -1;
    if (low < 0xdc00 || low > 0xdfff)
        return -1;
    *p += 6;
    return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
}

static const char *jscan_escape(struct jscan *s, const char *p)
{
    const char *at = p;
    char c = jscan_peek(s, p + 1);
    if (c == 'u')
        return jscan_unicode_escape(&p, s->end) >= 0 ? p : jscan_fail(s, at, "a \\u escape that is not a character");
    if (c == 'n' || c == '"' || c == '\\' || c == '/' || c == 't' || c == 'r' || c == 'b' || c == 'f')
        return p + 2;
    return jscan_fail(s, at, "an unknown escape in a string");
}

/* From behind the opening quote to behind the closing one. */
static const char *jscan_string(struct jscan *s, const char *p)
{
    while (p) {
        p = jscan_plain_run(p, s->end);
        unsigned char c = (unsigned char)jscan_peek(s, p);
        if (c == '"')
            return p + 1;
        if (p == s->end)
            return jscan_fail(s, p, "a string without an end");
        if (c < 0x20)
            return jscan_fail(s, p, "a control character in a string");
        if (c == '\\') {
            p = jscan_escape(s, p);
            continue;
        }
        size_t length = str_utf8_length((struct str){ p, (size_t)(s->end - p) });
        p = length > 0 ? p + length : jscan_fail(s, p, "bytes that are not UTF-8");
    }
    return NULL;
}

static const char *jscan_digits(struct jscan *s, const char *p)
{
    const char *first = p;
    while (p < s->end && *p >= '0' && *p <= '9')
        p++;
    return p > first ? p : jscan_fail(s, p, "a digit was expected");
}

static const char *jscan_number(struct jscan *s, const char *p)
{
    if (*p == '-')
        p++;
    p = jscan_peek(s, p) == '0' ? p + 1 : jscan_digits(s, p);
    if (p && jscan_peek(s, p) == '.')
        p = jscan_digits(s, p + 1);
    if (!p || (jscan_peek(s, p) != 'e' && jscan_peek(s, p) != 'E'))
        return p;
    p++;
    if (jscan_peek(s, p) == '+' || jscan_peek(s, p) == '-')
        p++;
    return jscan_digits(s, p);
}

static const char *jscan_word(struct jscan *s, const char *p, struct str word)
{
    if (!str_starts((struct str){ p, (size_t)(s->end - p) }, word))
        return jscan_fail(s, p, "a value was expected");
    return p + word.n;
}

/* One step in an array or object. *at stands at the opening bracket or at what followed the last item; it is moved
 * to this item, or behind the closing bracket. */
static enum jscan_step jscan_step_to_item(const struct jscan *s, const char **at, char open, char close)
{
    char c = **at;
    if (c != close)
        *at = jscan_skip_blank(s, *at + 1);
    if (c == close || (c == open && jscan_peek(s, *at) == close)) {
        ++*at;
        return JSCAN_END;
    }
    return JSCAN_ITEM;
}

enum jscan_step jscan_to_element(const struct jscan *s, const char **at)
{
    return jscan_step_to_item(s, at, '[', ']');
}

enum jscan_step jscan_to_member(struct jscan *s, const char **at, struct str *name)
{
    enum jscan_step step = jscan_step_to_item(s, at, '{', '}');
    if (step != JSCAN_ITEM)
        return step;
    const char *quote = *at;
    const char *p = jscan_peek(s, quote) == '"' ? jscan_string(s, quote + 1)
                                                : jscan_fail(s, quote, "a member's name in quotes was expected");
    if (!p)
        return JSCAN_BAD;
    *name = (struct str){ quote + 1, (size_t)(p - quote - 2) };
    const char *colon = jscan_skip_blank(s, p);
    if (jscan_peek(s, colon) != ':') {
        jscan_fail(s, colon, "a colon was expected");
        return JSCAN_BAD;
    }
    *at = jscan_skip_blank(s, colon + 1);
    return JSCAN_ITEM;
}

enum jscan_step jscan_past(struct jscan *s, const char **at, const char *end, char close)
{
    if (!end)
        return JSCAN_BAD;
    *at = jscan_skip_blank(s, end);
    char c = jscan_peek(s, *at);
    if (c == ',' || c == close)
        return JSCAN_ITEM;
    jscan_fail(s, *at, close == '}' ? "a comma or } was expected" : "a comma or ] was expected");
    return JSCAN_BAD;
}

static enum jscan_type jscan_type_of(char first)
{
    switch (first) {
    case '{': return JSCAN_OBJECT;
    case '[': return JSCAN_ARRAY;
    case '"': return JSCAN_STRING;
    case 'n': return JSCAN_NULL;
    case 't': return JSCAN_TRUE;
    case 'f': return JSCAN_FALSE;
    }
    return JSCAN_NUMBER;
}

struct jscan_value jscan_value_of(const char *at, const char *end)
{
    return (struct jscan_value){ jscan_type_of(*at), { at, (size_t)(end - at) } };
}

static enum jscan_step jscan_step_element(struct jscan *s, const char **at, int depth, struct jscan_value *out)
{
    enum jscan_step step = jscan_to_element(s, at);
    if (step != JSCAN_ITEM)
        return step;
    const char *value = *at, *end = jscan_any(s, value, depth);
    step = jscan_past(s, at, end, ']');
    if (step == JSCAN_ITEM && out)
        *out = jscan_value_of(value, end);
    return step;
}

static enum jscan_step jscan_step_member(struct jscan *s, const char **at, int depth, struct jscan_member *out)
{
    struct str name;
    enum jscan_step step = jscan_to_member(s, at, &name);
    if (step != JSCAN_ITEM)
        return step;
    const char *value = *at, *end = jscan_any(s, value, depth);
    step = jscan_past(s, at, end, '}');
    if (step == JSCAN_ITEM && out)
        *out = (struct jscan_member){ name, jscan_value_of(value, end) };
    return step;
}

static const char *jscan_array(struct jscan *s, const char *p, int depth)
{
    enum jscan_step step;
    while ((step = jscan_step_element(s, &p, depth, NULL)) == JSCAN_ITEM)
        ;
    return step == JSCAN_END ? p : NULL;
}

static const char *jscan_members(struct jscan *s, const char *p, int depth)
{
    enum jscan_step step;
    while ((step = jscan_step_member(s, &p, depth, NULL)) == JSCAN_ITEM)
        ;
    return step == JSCAN_END ? p : NULL;
}

const char *jscan_any(struct jscan *s, const char *p, int depth)
{
    char c = jscan_peek(s, p);
    if (c == '"')
        return jscan_string(s, p + 1);
    if ((c >= '0' && c <= '9') || c == '-')
        return jscan_number(s, p);
    if (c == '{' || c == '[') {
        if (depth == 0)
            return jscan_fail(s, p, "nested too deep");
        return c == '{' ? jscan_members(s, p, depth - 1) : jscan_array(s, p, depth - 1);
    }
    return jscan_word(s, p, c == 't' ? STR("true") : c == 'f' ? STR("false") : STR("null"));
}

static struct jscan jscan_over(struct str text)
{
    return (struct jscan){ .start = text.at, .end = text.at + text.n };
}

static bool jscan_explain(const struct jscan *s, struct err *e)
{
    return err_set(e, "not JSON: byte %zu: %s", (size_t)(s->bad - s->start), s->why);
}

const char *jscan_begin(struct jscan *s, struct str text, struct err *e)
{
    if (!text.at)
        text = STR("");
    *s = jscan_over(text);
    const char *p = jscan_skip_blank(s, text.at);
    if (p < s->end && !str_starts(text, STR("\xef\xbb\xbf")))
        return p;
    jscan_fail(s, p, p == s->end ? "there is nothing" : "a byte order mark is not allowed");
    jscan_explain(s, e);
    return NULL;
}

bool jscan_finish(struct jscan *s, const char *p, struct err *e)
{
    if (p) {
        p = jscan_skip_blank(s, p);
        if (p == s->end)
            return true;
        jscan_fail(s, p, "something follows the value");
    }
    return jscan_explain(s, e);
}

bool jscan_check(struct str text, struct jscan_value *out, struct err *e)
{
    struct jscan s;
    const char *p = jscan_begin(&s, text, e);
    if (!p)
        return false;
    const char *end = jscan_any(&s, p, JSCAN_DEPTH);
    if (!jscan_finish(&s, end, e))
        return false;
    *out = jscan_value_of(p, end);
    return true;
}

int jscan_object(struct str text, struct jscan_member *out, size_t room, struct err *e)
{
    struct jscan s;
    const char *p = jscan_begin(&s, text, e);
    if (!p)
        return -1;
    if (*p != '{') {
        const char *end = jscan_any(&s, p, JSCAN_DEPTH);
        if (jscan_finish(&s, end, e))
            err_set(e, "JSON, but not an object");
        return -1;
    }
    size_t count = 0;
    enum jscan_step step;
    while ((step = jscan_step_member(&s, &p, JSCAN_DEPTH - 1, count < room ? &out[count] : NULL)) == JSCAN_ITEM)
        count++;
    return jscan_finish(&s, step == JSCAN_END ? p : NULL, e) ? (int)count : -1;
}

bool jscan_next(struct jscan_value array, const char **at, struct jscan_value *element)
{
    struct jscan s = jscan_over(array.raw);
    if (array.type != JSCAN_ARRAY)
        return false;
    return jscan_step_element(&s, at, JSCAN_DEPTH, element) == JSCAN_ITEM;
}

bool jscan_next_member(struct jscan_value object, const char **at, struct jscan_member *member)
{
    struct jscan s = jscan_over(object.raw);
    if (object.type != JSCAN_OBJECT)
        return false;
    return jscan_step_member(&s, at, JSCAN_DEPTH, member) == JSCAN_ITEM;
}

static void jscan_add_utf8(struct buf *out, int32_t c)
{
    char bytes[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        bytes[i] = (char)(0x80 | (c & 0x3f));
    bytes[0] = (char)(lead[n] | c);
    buf_add(out, bytes, n);
}

void jscan_unescape(struct buf *out, struct str quoted)
{
    const char *p = quoted.at + 1, *end = quoted.at + quoted.n - 1;
    while (p < end) {
        const char *run = memchr(p, '\\', (size_t)(end - p));
        if (!run)
            run = end;
        buf_add(out, p, (size_t)(run - p));
        p = run;
        if (p == end)
            break;
        if (p[1] == 'u') {
            jscan_add_utf8(out, jscan_unicode_escape(&p, end));
            continue;
        }
        static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
        const char *letter = strchr(letters, p[1]);
        buf_add_char(out, letter ? meant[letter - letters] : p[1]);
        p += 2;
    }
}

/* The code point of a character of two or three bytes. */
static unsigned jscan_code_point(const char *p, size_t length)
{
    unsigned c = (unsigned char)p[0] & (length == 2 ? 0x1fu : 0x0fu);
    for (size_t i = 1; i < length; i++)
        c = c << 6 | ((unsigned char)p[i] & 0x3fu);
    return c;
}

/* Writes as an escape the character at p, which is not plain, or as it is when it is a character beyond ASCII. Those
 * that are not fit to be shown are escaped because log lines are written by this and shown on terminals. */
static const char *jscan_add_special(struct buf *out, const char *p, const char *end)
{
    unsigned char c = (unsigned char)*p;
    size_t length = str_utf8_length((struct str){ p, (size_t)(end - p) });
    static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
    const char *letter = c > 0 ? strchr(meant, c) : NULL;
    if (length == 0) {
        buf_add_c(out, "\xef\xbf\xbd");
        return p + 1;
    }
    if (length > 1 && !str_is_shown((struct str){ p, length }))
        buf_printf(out, "\\u%04x", jscan_code_point(p, length));
    else if (length > 1)
        buf_add(out, p, length);
    else if (c == '"' || c == '\\')
        buf_add(out, (const char[]){ '\\', (char)c }, 2);
    else if (letter)
        buf_add(out, (const char[]){ '\\', letters[letter - meant] }, 2);
    else
        buf_printf(out, "\\u%04x", (unsigned)c);
    return p + length;
}

void jscan_add_escaped(struct buf *out, struct str s)
{
    const char *p = s.at ? s.at : "", *end = p + s.n;
    while (p < end) {
        const char *run = jscan_plain_run(p, end);
        buf_add(out, p, (size_t)(run - p));
        p = run < end ? jscan_add_special(out, run, end) : end;
    }
}

void jscan_add_string(struct buf *out, struct str s)
{
    buf_add_char(out, '"');
    jscan_add_escaped(out, s);
    buf_add_char(out, '"');
}

struct str jscan_skip_mark(struct str json)
{
    return str_starts(json, STR("\xef\xbb\xbf")) ? str_from(json, 3) : json;
}
