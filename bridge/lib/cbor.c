/* SPDX-License-Identifier: MIT */
/* CBOR of JSON, and JSON of CBOR. */
#include "bridge/lib/cbor.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/jscan.h"

enum {
    CBOR_FALSE = 20,
    CBOR_TRUE,
    CBOR_NULL,
    CBOR_UNDEFINED,
    CBOR_ONE = 24, /* the value is in the next byte; 25: 2, 26: 4, 27: 8 bytes */
    CBOR_TWO,
    CBOR_FOUR,
    CBOR_EIGHT,
    CBOR_DATE_TEXT = 0, /* tags */
    CBOR_URI = 32,
    CBOR_ITSELF = 55799,
    CBOR_NUMBER = 400, /* longest number that is looked at as one */
};

/* ---- JSON to CBOR ---- */

static void cbor_add_number(struct buf *out, unsigned char first, uint64_t n, int bytes)
{
    unsigned char all[9] = { first };
    for (int i = bytes; i > 0; i--, n >>= 8)
        all[i] = (unsigned char)n;
    buf_add(out, all, (size_t)bytes + 1);
}

void cbor_add_head(struct buf *out, enum cbor_major major, uint64_t n)
{
    unsigned char kind = (unsigned char)((unsigned)major << 5);
    if (n < CBOR_ONE)
        cbor_add_number(out, (unsigned char)(kind | n), 0, 0);
    else if (n <= UINT8_MAX)
        cbor_add_number(out, kind | CBOR_ONE, n, 1);
    else if (n <= UINT16_MAX)
        cbor_add_number(out, kind | CBOR_TWO, n, 2);
    else if (n <= UINT32_MAX)
        cbor_add_number(out, kind | CBOR_FOUR, n, 4);
    else
        cbor_add_number(out, kind | CBOR_EIGHT, n, 8);
}

void cbor_add_text(struct buf *out, struct str text)
{
    cbor_add_head(out, CBOR_TEXT, text.n);
    buf_add_str(out, text);
}

void cbor_add_embedded(struct buf *out, struct str json)
{
    cbor_add_head(out, CBOR_TAG, CBOR_EMBEDDED_JSON);
    cbor_add_head(out, CBOR_BYTES, json.n);
    buf_add_str(out, json);
}

/* A text, or (a member's name) what stands between the quotes. */
static void cbor_add_quoted(struct buf *out, struct str quoted)
{
    struct buf text = buf_new(SIZE_MAX / 2);
    jscan_unescape(&text, quoted);
    cbor_add_text(out, buf_str(&text));
    buf_free(&text);
}

static void cbor_add_double(struct buf *out, struct str raw)
{
    char text[CBOR_NUMBER + 1];
    double value = HUGE_VAL;
    uint64_t bits;
    if (raw.n <= CBOR_NUMBER) {
        memcpy(text, raw.at, raw.n);
        text[raw.n] = '\0';
        value = strtod(text, NULL);
    }
    memcpy(&bits, &value, sizeof bits);
    if (isinf(value))
        cbor_add_embedded(out, raw);
    else
        cbor_add_number(out, CBOR_SIMPLE << 5 | CBOR_EIGHT, bits, 8);
}

static void cbor_add_numeral(struct buf *out, struct str raw)
{
    uint64_t n;
    bool negative = raw.at[0] == '-', whole = true;
    struct str digits = str_from(raw, negative);
    for (size_t i = 0; i < digits.n; i++)
        whole &= digits.at[i] >= '0' && digits.at[i] <= '9';
    if (!whole || (negative && str_eq(digits, STR("0"))))
        cbor_add_double(out, raw);
    else if (!str_to_u64(digits, &n))
        cbor_add_embedded(out, raw);
    else
        cbor_add_head(out, negative ? CBOR_NEGATIVE : CBOR_UNSIGNED, negative ? n - 1 : n);
}

/* The JSON value at p; what follows it. It was checked. */
static const char *cbor_add_value(struct buf *out, struct jscan *s, const char *p);

/* How many elements or members there are. */
static size_t cbor_count(struct jscan *s, const char *p)
{
    bool object = *p == '{';
    struct str name;
    size_t n = 0;
    while ((object ? jscan_to_member(s, &p, &name) : jscan_to_element(s, &p)) == JSCAN_ITEM
           && jscan_past(s, &p, jscan_any(s, p, JSCAN_DEPTH), object ? '}' : ']') == JSCAN_ITEM)
        n++;
    return n;
}

static const char *cbor_add_container(struct buf *out, struct jscan *s, const char *p)
{
    bool object = *p == '{';
    struct str name;
    cbor_add_head(out, object ? CBOR_MAP : CBOR_ARRAY, cbor_count(s, p));
    while ((object ? jscan_to_member(s, &p, &name) : jscan_to_element(s, &p)) == JSCAN_ITEM) {
        if (object)
            cbor_add_quoted(out, (struct str){ name.at - 1, name.n + 2 });
        if (jscan_past(s, &p, cbor_add_value(out, s, p), object ? '}' : ']') != JSCAN_ITEM)
            break;
    }
    return p;
}

static const char *cbor_add_value(struct buf *out, struct jscan *s, const char *p)
{
    if (*p == '{' || *p == '[')
        return cbor_add_container(out, s, p);
    const char *end = jscan_any(s, p, JSCAN_DEPTH);
    struct str raw = { p, end ? (size_t)(end - p) : 0 };
    if (!end)
        out->failed = true;
    else if (*p == '"')
        cbor_add_quoted(out, raw);
    else if (*p == 't' || *p == 'f' || *p == 'n')
        cbor_add_head(out, CBOR_SIMPLE, *p == 't' ? CBOR_TRUE : *p == 'f' ? CBOR_FALSE : CBOR_NULL);
    else
        cbor_add_numeral(out, raw);
    return end;
}

void cbor_add_json(struct buf *out, struct str json)
{
    struct jscan s;
    struct err e;
    const char *p = jscan_begin(&s, json, &e);
    if (!p || !jscan_finish(&s, cbor_add_value(out, &s, p), &e))
        out->failed = true;
}

/* ---- CBOR to JSON ---- */

struct cbor_reading {
    const unsigned char *start, *at, *end;
    struct buf *out;
    struct err *e;
};

struct cbor_head {
    enum cbor_major major;
    unsigned char info;
    uint64_t n;
};

static bool cbor_fail(struct cbor_reading *r, const char *why)
{
    return err_set(r->e, "CBOR, byte %zu: %s", (size_t)(r->at - r->start), why);
}

static bool cbor_head(struct cbor_reading *r, struct cbor_head *h)
{
    if (r->at == r->end)
        return cbor_fail(r, "it ends in the middle");
    h->major = (enum cbor_major)(*r->at >> 5);
    h->info = *r->at & 31;
    h->n = h->info;
    if (h->info == 31)
        return cbor_fail(r, "a length that is not said before (indefinite) is not taken");
    if (h->info > CBOR_EIGHT)
        return cbor_fail(r, "this is no head of an item");
    size_t more = h->info < CBOR_ONE ? 0 : (size_t)1 << (h->info - CBOR_ONE);
    if ((size_t)(r->end - r->at) <= more)
        return cbor_fail(r, "it ends in the middle");
    r->at++;
    for (h->n = more ? 0 : h->n; more > 0; more--)
        h->n = h->n << 8 | *r->at++;
    return true;
}

/* The bytes of a text or of bytes. */
static bool cbor_bytes(struct cbor_reading *r, const struct cbor_head *h, struct str *out)
{
    if (h->n > (uint64_t)(r->end - r->at))
        return cbor_fail(r, "it is shorter than it says");
    *out = (struct str){ (const char *)r->at, (size_t)h->n };
    r->at += h->n;
    return h->major == CBOR_BYTES || str_is_utf8(*out) || cbor_fail(r, "the text before it is no UTF-8");
}

static double cbor_half(uint64_t n)
{
    int exponent = (int)(n >> 10 & 31);
    double fraction = (double)(n & 1023);
    double value = exponent == 0    ? ldexp(fraction, -24)
                   : exponent == 31 ? (fraction == 0 ? INFINITY : NAN)
                                    : ldexp(fraction + 1024, exponent - 25);
    return n >> 15 & 1 ? -value : value;
}

static double cbor_float(const struct cbor_head *h)
{
    uint32_t n = (uint32_t)h->n;
    float one;
    double two;
    memcpy(&one, &n, sizeof one);
    memcpy(&two, &h->n, sizeof two);
    return h->info == CBOR_TWO ? cbor_half(h->n) : h->info == CBOR_FOUR ? (double)one : two;
}

static bool cbor_simple(struct cbor_reading *r, const struct cbor_head *h)
{
    static const char *const names[] = { "false", "true", "null", "null" };
    char text[40];
    if (h->info >= CBOR_FALSE && h->info <= CBOR_UNDEFINED) {
        buf_add_c(r->out, names[h->info - CBOR_FALSE]);
        return true;
    }
    if (h->info < CBOR_TWO)
        return cbor_fail(r, "the simple value before it is not taken");
    double value = cbor_float(h);
    if (!isfinite(value))
        return cbor_fail(r, "the number before it is infinite, or none");
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    buf_add_c(r->out, text);
    return true;
}

static void cbor_integer(struct cbor_reading *r, const struct cbor_head *h)
{
    if (h->major == CBOR_NEGATIVE && h->n == UINT64_MAX)
        buf_add_c(r->out, "-18446744073709551616");
    else if (h->major == CBOR_NEGATIVE)
        buf_printf(r->out, "-%llu", (unsigned long long)h->n + 1);
    else
        buf_printf(r->out, "%llu", (unsigned long long)h->n);
}

static bool cbor_embedded(struct cbor_reading *r)
{
    struct cbor_head h = { 0 };
    struct jscan_value value;
    struct str json = STR_ABSENT;
    struct err why;
    if (!cbor_head(r, &h))
        return false;
    if (h.major != CBOR_BYTES && h.major != CBOR_TEXT)
        return cbor_fail(r, "tag 262 (embedded JSON) stands before bytes");
    if (!cbor_bytes(r, &h, &json))
        return false;
    if (!jscan_check(json, &value, &why))
        return cbor_fail(r, "the embedded JSON before it is none");
    buf_add_str(r->out, value.raw);
    return true;
}

static bool cbor_item(struct cbor_reading *r, int depth);

static bool cbor_tagged(struct cbor_reading *r, uint64_t tag, int depth)
{
    if (tag == CBOR_EMBEDDED_JSON)
        return cbor_embedded(r);
    if (tag == CBOR_DATE_TEXT || tag == CBOR_URI || tag == CBOR_ITSELF)
        return cbor_item(r, depth - 1);
    return cbor_fail(r, "the tag before it is not known here: there are 0, 32, 262 and 55799");
}

static bool cbor_container(struct cbor_reading *r, const struct cbor_head *h, int depth)
{
    bool map = h->major == CBOR_MAP;
    buf_add_char(r->out, map ? '{' : '[');
    for (uint64_t i = 0; i < h->n && !r->out->failed; i++) {
        if (i)
            buf_add_char(r->out, ',');
        if (map && r->at < r->end && *r->at >> 5 != CBOR_TEXT)
            return cbor_fail(r, "a member's name is no text");
        if (map && !cbor_item(r, depth - 1))
            return false;
        if (map)
            buf_add_char(r->out, ':');
        if (!cbor_item(r, depth - 1))
            return false;
    }
    buf_add_char(r->out, map ? '}' : ']');
    return true;
}

static bool cbor_item(struct cbor_reading *r, int depth)
{
    struct cbor_head h = { 0 };
    struct str bytes = STR("");
    if (depth == 0)
        return cbor_fail(r, "too many values lie within each other");
    if (!cbor_head(r, &h))
        return false;
    switch (h.major) {
    case CBOR_UNSIGNED:
    case CBOR_NEGATIVE: cbor_integer(r, &h); return true;
    case CBOR_BYTES:
        buf_add_char(r->out, '"');
        if (cbor_bytes(r, &h, &bytes))
            base64_add(r->out, bytes);
        buf_add_char(r->out, '"');
        return bytes.n == h.n;
    case CBOR_TEXT:
        if (!cbor_bytes(r, &h, &bytes))
            return false;
        jscan_add_string(r->out, bytes);
        return true;
    case CBOR_ARRAY:
    case CBOR_MAP: return cbor_container(r, &h, depth);
    case CBOR_TAG: return cbor_tagged(r, h.n, depth);
    case CBOR_SIMPLE: return cbor_simple(r, &h);
    }
    return false;
}

bool cbor_to_json(struct str cbor, struct buf *out, struct err *e)
{
    const unsigned char *at = (const unsigned char *)cbor.at;
    struct cbor_reading r = { .start = at, .at = at, .end = at + cbor.n, .out = out, .e = e };
    if (!cbor_item(&r, JSCAN_DEPTH))
        return false;
    if (out->failed)
        return err_set(e, "it is longer than %zu bytes as JSON", out->max);
    return r.at == r.end || cbor_fail(&r, "something follows the end");
}
