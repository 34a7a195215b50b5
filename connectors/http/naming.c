/* SPDX-License-Identifier: MIT */
/* Texts out of a body, by JSON pointers that are compiled once. */
#include "connectors/http/naming.h"
#include <stdlib.h>
#include "bridge/event/event.h"
#include "bridge/lib/jpointer.h"
#include "bridge/lib/mem.h"

enum { NAMING_BYTES = 1024, NAMING_PLACES = 16 };

struct naming {
    struct jpointers *pointers;
    int id, types[SIGNATURE_TYPES]; /* -1: no such place */
    struct buf id_text, type_text;  /* without escapes, of the body at hand */
};

static int naming_add(struct naming *n, const char *pointer)
{
    struct err e;
    int place = pointer ? jpointers_add(n->pointers, str_of(pointer), &e) : -1;
    CHECK(!pointer || place >= 0);
    return place;
}

struct naming *naming_new(const struct signature_style *style, bool id, bool type)
{
    id = id && style && style->id_pointer;
    type = type && style && style->type_pointers[0];
    if (!id && !type)
        return NULL;
    struct naming *n = mem_alloc(sizeof *n);
    *n = (struct naming){ .pointers = jpointers_new(),
                          .id_text = buf_new(NAMING_BYTES),
                          .type_text = buf_new(NAMING_BYTES) };
    n->id = naming_add(n, id ? style->id_pointer : NULL);
    for (int i = 0; i < SIGNATURE_TYPES; i++)
        n->types[i] = naming_add(n, type ? style->type_pointers[i] : NULL);
    CHECK(jpointers_count(n->pointers) <= NAMING_PLACES);
    return n;
}

void naming_free(struct naming *n)
{
    if (!n)
        return;
    jpointers_free(n->pointers);
    buf_free(&n->id_text);
    buf_free(&n->type_text);
    free(n);
}

bool naming_knows_id(const struct naming *n)
{
    return n && n->id >= 0;
}

bool naming_knows_type(const struct naming *n)
{
    return n && n->types[0] >= 0;
}

/* The text of a string; absent when it is none, empty, too long, or has what no attribute can have. */
static struct str naming_text(const struct jscan_value *values, int place, struct buf *text)
{
    const struct jscan_value *v = place >= 0 ? &values[place] : NULL;
    buf_reset(text);
    if (!v || v->type != JSCAN_STRING || v->raw.n > NAMING_BYTES)
        return STR_ABSENT;
    struct str plain = { v->raw.at + 1, v->raw.n - 2 };
    if (memchr(plain.at, '\\', plain.n)) {
        jscan_unescape(text, v->raw);
        plain = buf_str(text);
    }
    return plain.n && event_is_value(plain) ? plain : STR_ABSENT;
}

bool naming_read(struct naming *n, struct str body, struct named *out, struct err *e)
{
    struct jscan_value values[NAMING_PLACES];
    *out = (struct named){ STR_ABSENT, STR_ABSENT };
    if (!jpointers_find(n->pointers, body, values, e))
        return false;
    out->id = naming_text(values, n->id, &n->id_text);
    for (int i = 0; i < SIGNATURE_TYPES && !out->type.n; i++)
        out->type = naming_text(values, n->types[i], &n->type_text);
    return true;
}
