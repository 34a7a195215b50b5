/* SPDX-License-Identifier: MIT */
/* Forms (application/x-www-form-urlencoded), decoded and in order. */
#include "bridge/auth/fields.h"
#include <stdlib.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/form.h"
#include "bridge/lib/mem.h"

enum { FIELDS_MOST = 4096 };

struct field {
    struct str name, value;
};

static struct str fields_decode(struct str text, struct buf *out)
{
    size_t begin = out->n;
    form_decode(out, text);
    return str_from(buf_str(out), begin);
}

static int fields_order(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.at, b.at, n) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

static int fields_compare(const void *one, const void *other)
{
    const struct field *a = one, *b = other;
    int order = fields_order(a->name, b->name);
    return order ? order : fields_order(a->value, b->value);
}

static size_t fields_count(struct str body)
{
    size_t n = 1;
    for (size_t i = 0; i < body.n; i++)
        n += body.at[i] == '&';
    return n;
}

static void fields_add_form(struct str body, size_t count, struct buf *out)
{
    struct field *fields = mem_alloc(count * sizeof *fields);
    struct buf text = buf_new(body.n + 2 * count + 1); /* form_decode wants a byte more for each */
    struct str one, name;
    size_t n = 0;
    buf_room(&text, body.n + 2 * count + 1); /* so that nothing moves */
    while (str_cut(&body, '&', &one)) {
        if (one.n == 0)
            continue;
        str_cut(&one, '=', &name);
        fields[n].name = fields_decode(name, &text);
        fields[n++].value = fields_decode(one, &text);
    }
    qsort(fields, n, sizeof *fields, fields_compare);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && fields_compare(&fields[i - 1], &fields[i]) == 0)
            continue;
        buf_add_str(out, fields[i].name);
        buf_add_str(out, fields[i].value);
    }
    buf_free(&text);
    free(fields);
}

/* Is it the body's digest in hex? */
static bool fields_is_digest(struct str hex, struct str body)
{
    unsigned char mine[SHA256_BYTES];
    struct buf bytes = buf_new(hex.n);
    sha256_of(body, mine);
    bool same = hex_decode(&bytes, hex) && crypto_equal(buf_str(&bytes), (struct str){ (char *)mine, sizeof mine });
    buf_free(&bytes);
    return same;
}

bool fields_add(struct str query, struct str body, struct buf *out)
{
    struct str one, name;
    while (str_cut(&query, '&', &one)) {
        str_cut(&one, '=', &name);
        if (str_eq(name, STR("bodySHA256")))
            return fields_is_digest(one, body);
    }
    size_t count = fields_count(body);
    if (count > FIELDS_MOST)
        return false;
    fields_add_form(body, count, out);
    return true;
}

void fields_add_other_port(struct str url, struct buf *out)
{
    bool secure = str_starts_nocase(url, STR("https://"));
    size_t begin = secure ? 8 : str_starts_nocase(url, STR("http://")) ? 7 : 0, end = begin, colon = 0;
    for (; end < url.n && !strchr("/?#", url.at[end]); end++)
        if (url.at[end] == ':')
            colon = end;
        else if (url.at[end] == ']' || url.at[end] == '@')
            colon = 0;
    buf_add(out, url.at, colon ? colon : end);
    if (!colon)
        buf_add_c(out, secure ? ":443" : ":80");
    buf_add_str(out, str_from(url, end));
}
