/* SPDX-License-Identifier: MIT */
/* Reads forms. */
#include "bridge/lib/form.h"
#include <stdlib.h>
#include "bridge/lib/jscan.h"
#include "bridge/lib/mem.h"

struct form_field {
    struct str name, value; /* decoded */
    uint64_t hash;          /* of the name */
    bool told;
};

bool form_is(struct str content_type)
{
    struct str media = STR("");
    str_cut(&content_type, ';', &media);
    return str_eq_nocase(str_trim(media), STR("application/x-www-form-urlencoded"));
}

static int form_hex(char c)
{
    char lower = (char)(c | 0x20);
    return c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

void form_decode(struct buf *out, struct str text)
{
    char *to = buf_room(out, text.n + 1);
    if (!to)
        return;
    const char *begin = to;
    for (size_t i = 0; i < text.n; i++) {
        int high = -1, low = -1;
        if (text.at[i] == '%' && text.n - i > 2) {
            high = form_hex(text.at[i + 1]);
            low = form_hex(text.at[i + 2]);
        }
        if (high >= 0 && low >= 0) {
            *to++ = (char)(high << 4 | low);
            i += 2;
        } else
            *to++ = text.at[i] == '+' ? ' ' : text.at[i];
    }
    out->n += (size_t)(to - begin);
}

/* The next field as it is written; empty ones (&&) are none. */
static bool form_next(struct str *form, struct str *name, struct str *value)
{
    struct str field;
    while (str_cut(form, '&', &field)) {
        if (field.n == 0)
            continue;
        *value = field;
        str_cut(value, '=', name);
        if (!value->at)
            *value = STR("");
        return true;
    }
    return false;
}

bool form_find(struct buf *out, struct str form, const char *name)
{
    struct str field, value;
    size_t begin = out->n;
    while (form_next(&form, &field, &value)) {
        form_decode(out, field);
        bool found = str_eq((struct str){ out->at + begin, out->n - begin }, str_of(name));
        out->n = begin;
        if (!found)
            continue;
        form_decode(out, value);
        return !out->failed;
    }
    return false;
}

/* The fields, decoded in `text`; -1: there are too many. */
static int form_read(struct str form, struct buf *text, struct form_field *fields)
{
    int n = 0;
    struct str name, value;
    while (form_next(&form, &name, &value)) {
        if (n == FORM_FIELDS)
            return -1;
        size_t begin = text->n;
        form_decode(text, name);
        size_t middle = text->n;
        form_decode(text, value);
        fields[n] = (struct form_field){ .name = { text->at + begin, middle - begin },
                                         .value = { text->at + middle, text->n - middle } };
        fields[n].hash = str_hash(fields[n].name);
        n++;
    }
    return n;
}

static bool form_same(const struct form_field *a, const struct form_field *b)
{
    return a->hash == b->hash && str_eq(a->name, b->name);
}

/* The values of the i-th field's name, if it is the first of it. */
static void form_add(struct buf *out, struct form_field *fields, int n, int i)
{
    bool more = false;
    if (fields[i].told)
        return;
    for (int k = i + 1; k < n; k++)
        if (form_same(&fields[k], &fields[i]))
            fields[k].told = more = true;
    if (out->at[out->n - 1] != '{')
        buf_add_char(out, ',');
    jscan_add_string(out, fields[i].name);
    buf_add_c(out, more ? ":[" : ":");
    jscan_add_string(out, fields[i].value);
    for (int k = i + 1; k < n && more; k++)
        if (form_same(&fields[k], &fields[i])) {
            buf_add_char(out, ',');
            jscan_add_string(out, fields[k].value);
        }
    if (more)
        buf_add_char(out, ']');
}

bool form_to_json(struct buf *out, struct str form, struct err *e)
{
    struct form_field *fields = mem_alloc(FORM_FIELDS * sizeof *fields);
    struct buf text = buf_new(form.n + 2 * FORM_FIELDS + 2);
    buf_room(&text, form.n + 1); /* all of it, so that nothing moves */
    int n = form_read(form, &text, fields);
    buf_add_char(out, '{');
    for (int i = 0; i < n; i++)
        form_add(out, fields, n, i);
    buf_add_char(out, '}');
    bool good = n >= 0 && !out->failed;
    if (!good)
        err_set(e, n < 0 ? "the form has more than %d fields" : "the form is too large", FORM_FIELDS);
    buf_free(&text);
    free(fields);
    return good;
}
