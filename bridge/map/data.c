/* SPDX-License-Identifier: MIT */
/* Writes data, and finds what of it makes attributes. */
#include "bridge/map/data.h"
#include "bridge/event/event.h"
#include "bridge/map/value.h"

/* ---- data ---- */

/* The object that a path stands in; "" at the top. */
static struct str data_object(const struct binding *b)
{
    const char *dot = strchr(b->path->path, '.');
    return (struct str){ b->path->path, dot ? (size_t)(dot - b->path->path) : 0 };
}

void data_drop_constants(const struct outline *o, struct cell *cells)
{
    for (size_t i = 0, end; i < o->count; i = end) {
        struct str object = data_object(&o->bindings[i]);
        bool known = !object.n;
        for (end = i; end < o->count && str_eq(data_object(&o->bindings[end]), object); end++)
            known = known || (!o->bindings[end].constant && (cells[end].n || cells[end].more_n));
        for (size_t k = i; !known && k < end; k++)
            cells[k].n = cells[k].more_n = 0;
    }
}

static void data_add_members(struct buf *out, const struct cell *c, const struct buf *json)
{
    struct str pieces[] = { { json->at + c->at, c->n }, { json->at + c->more_at, c->more_n } };
    for (size_t i = 0; i < 2; i++) {
        if (!pieces[i].n)
            continue;
        if (out->at[out->n - 1] != '{')
            buf_add_char(out, ',');
        buf_add_str(out, pieces[i]);
    }
}

/* The bindings of an object follow one another. */
void data_add(struct buf *out, const struct outline *o, const struct cell *cells, const struct buf *json)
{
    struct str open = STR("");
    for (size_t i = 0; i < o->count; i++) {
        const struct cell *c = &cells[i];
        struct str object = data_object(&o->bindings[i]);
        if (!c->n && !c->more_n)
            continue;
        if (open.n && !str_eq(open, object))
            buf_add_char(out, '}');
        if (object.n && !str_eq(open, object)) {
            buf_add_c(out, out->at[out->n - 1] == '{' ? "\"" : ",\"");
            buf_add_str(out, object);
            buf_add_c(out, "\":{");
        }
        open = object;
        data_add_members(out, c, json);
    }
    if (open.n)
        buf_add_char(out, '}');
}

struct cell *data_largest(struct cell *cells, size_t count)
{
    struct cell *largest = NULL;
    for (size_t i = 0; i < count; i++)
        if (cells[i].n && (!largest || cells[i].n > largest->n))
            largest = &cells[i];
    return largest;
}

void data_leave_out(struct cell *c)
{
    c->n = 0;
    c->large = true;
}

/* ---- what it must have ---- */

struct data_cells {
    const struct outline *o;
    const struct cell *cells;
};

static bool data_has(void *ctx, const char *path)
{
    const struct data_cells *d = ctx;
    for (size_t i = 0; i < d->o->count; i++)
        if (strcmp(d->o->bindings[i].path->path, path) == 0)
            return d->cells[i].n || d->cells[i].more_n;
    return false;
}

const char *data_lack(const struct outline *o, const struct cell *cells)
{
    bool whole = true;
    for (size_t i = 0; i < o->count; i++)
        whole = whole && (!o->bindings[i].vital || cells[i].n || cells[i].more_n);
    return whole ? NULL : vocabulary_lack(o->type, data_has, &(struct data_cells){ o, cells });
}

/* ---- attributes ---- */

struct data_row {
    const struct outline *o;
    sqlite3_stmt *row;
};

/* The value of a path as text; absent: it has none that can stand in an attribute. */
static struct str data_value(void *ctx, const char *path)
{
    const struct data_row *w = ctx;
    for (size_t i = 0; i < w->o->count; i++)
        if (strcmp(w->o->bindings[i].path->path, path) == 0) {
            struct str text = value_text(w->row, DATA_HEAD + (int)i);
            return text.n && text.n <= EVENT_ATTRIBUTE_BYTES ? text : STR_ABSENT;
        }
    return STR_ABSENT;
}

void data_subject(struct buf *out, const struct outline *o, sqlite3_stmt *row)
{
    struct str own = value_text(row, DATA_SUBJECT);
    if (own.n && own.n <= EVENT_ATTRIBUTE_BYTES)
        buf_add_str(out, own);
    else
        vocabulary_subject(o->type, data_value, &(struct data_row){ o, row }, out);
}

struct str data_partitionkey(const struct outline *o, sqlite3_stmt *row)
{
    struct str key = value_text(row, DATA_KEY);
    for (const char *const *path = o->type->subject; !key.n && *path; path++)
        key = data_value(&(struct data_row){ o, row }, *path);
    return key.n && key.n <= EVENT_ATTRIBUTE_BYTES && event_is_value(key) ? key : STR_ABSENT;
}
