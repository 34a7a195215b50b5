/* SPDX-License-Identifier: MIT */
/* The HTTP protocol binding 1.0 of events: binary mode with percent-encoded headers, structured mode. */
#include "bridge/event/draft.h"
#include "bridge/lib/crypto.h"

enum { NAME_BYTES = EVENT_NAME_BYTES + 1 }; /* so that a longer one is still seen to be invalid */

static bool http_needs_encoding(unsigned char c)
{
    return c <= ' ' || c > '~' || c == '"' || c == '%';
}

void event_http_encode(struct buf *out, struct str value)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.at[i];
        if (http_needs_encoding(c))
            buf_add(out, (const char[]){ '%', digits[c >> 4], digits[c & 15] }, 3);
        else
            buf_add_char(out, (char)c);
    }
}

static bool http_is_quoted(struct str s)
{
    return s.n >= 2 && s.at[0] == '"' && s.at[s.n - 1] == '"';
}

/* The content of a quoted-string (RFC 9110 section 5.6.4). */
static struct str http_unquote(struct buf *out, struct str s)
{
    size_t start = out->n;
    for (size_t i = 1; i + 1 < s.n; i++) {
        if (s.at[i] == '\\' && i + 2 < s.n)
            i++;
        buf_add_char(out, s.at[i]);
    }
    return (struct str){ out->at + start, out->n - start };
}

/* One round of percent-decoding; a % that no two hex digits follow stands for itself. */
static struct str http_percent_decode(struct buf *out, struct str s)
{
    size_t start = out->n;
    for (size_t i = 0; i < s.n; i++) {
        bool encoded = s.at[i] == '%' && i + 2 < s.n && hex_decode(out, (struct str){ s.at + i + 1, 2 });
        if (encoded)
            i += 2;
        else
            buf_add_char(out, s.at[i]);
    }
    return (struct str){ out->at + start, out->n - start };
}

/* An attribute's value from a header's. `scratch` has room for twice the value, so that it does not move. */
static struct str http_decode(struct buf *scratch, struct str value)
{
    value = str_trim(value);
    if (http_is_quoted(value))
        value = http_unquote(scratch, value);
    if (value.n > 0 && memchr(value.at, '%', value.n))
        value = http_percent_decode(scratch, value);
    return value;
}

static bool http_is_attribute(const struct header *h)
{
    return str_starts_nocase(h->name, STR("ce-"));
}

static struct str http_lower_case(struct buf *scratch, struct str name)
{
    size_t start = scratch->n;
    if (name.n > NAME_BYTES)
        name.n = NAME_BYTES;
    for (size_t i = 0; i < name.n; i++)
        buf_add_char(scratch, (char)(name.at[i] >= 'A' && name.at[i] <= 'Z' ? name.at[i] + 32 : name.at[i]));
    return (struct str){ scratch->at + start, scratch->n - start };
}

static bool http_read_headers(struct draft *d, struct buf *scratch, const struct header *headers, size_t count,
                              struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        if (!http_is_attribute(&headers[i]))
            continue;
        struct str name = http_lower_case(scratch, str_from(headers[i].name, 3));
        if (!draft_set(d, name, http_decode(scratch, headers[i].value), e))
            return false;
    }
    return true;
}

static const struct event *http_from_binary(const struct header *headers, size_t count, struct str type,
                                            struct str body, struct err *e)
{
    struct draft d;
    size_t room = 0;
    draft_begin(&d);
    for (size_t i = 0; i < count; i++)
        if (http_is_attribute(&headers[i]))
            room += headers[i].name.n + 2 * headers[i].value.n;
    struct buf scratch = buf_new(room);
    buf_room(&scratch, room);
    bool ok = http_read_headers(&d, &scratch, headers, count, e);
    if (type.n > 0)
        d.fields.datacontenttype = type;
    if (body.n > 0) /* HTTP cannot tell empty from absent */
        d.fields.data = body;
    const struct event *ev = ok ? draft_event(&d, NULL, e) : NULL;
    buf_free(&scratch);
    return ev;
}

const struct event *event_from_http(const struct header *headers, size_t count, struct str body, struct err *e)
{
    struct str type = STR_ABSENT;
    for (size_t i = 0; i < count; i++)
        if (str_eq_nocase(headers[i].name, STR("content-type")))
            type = str_trim(headers[i].value);
    switch (draft_mode(type, e)) {
    case DRAFT_BINARY: return http_from_binary(headers, count, type, body, e);
    case DRAFT_JSON: return event_from_json(body, e);
    case DRAFT_UNKNOWN: break;
    }
    return NULL;
}
