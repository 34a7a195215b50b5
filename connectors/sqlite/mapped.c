/* SPDX-License-Identifier: MIT */
/* A row as the events that its rule's `map` makes of it: data nested by path, and the attributes that follow from it. */
#include <stdio.h>
#include "bridge/lib/jscan.h"
#include "connectors/sqlite/project.h"
#include "connectors/sqlite/shape.h"
#include "connectors/sqlite/value.h"

enum { MAPPED_EXTENSIONS = 4 }; /* most of an event: partitionkey, changed, snapshot, truncated */

/* One event at work. */
struct mapped {
    struct projecting *at;
    struct buf raw;      /* the row, or empty */
    struct buf left_out; /* paths that are too large */
    struct buf changed;  /* paths that are */
    bool before;         /* there are values of before */
};

/* The object that a path stands in; "" at the top. */
static struct str mapped_object(const struct binding *b)
{
    const char *dot = strchr(b->path->path, '.');
    return (struct str){ b->path->path, dot ? (size_t)(dot - b->path->path) : 0 };
}

/* ---- values ---- */

static int mapped_column(size_t binding)
{
    return PROJECT_HEAD + (int)binding;
}

static void mapped_shape(struct sqlite_source *s, struct rule *r, const struct binding *b, sqlite3_stmt *row, int col,
                         struct cell *out)
{
    const char *wrong = shape_value(s, r, b, row, col, out);
    if (!wrong)
        return;
    char text[WHY_BYTES];
    snprintf(text, sizeof text, "data: %s %s, and is left out of such rows", b->path->path, wrong);
    rule_warn(s, r, text);
}

static bool mapped_is_same(const struct sqlite_source *s, const struct cell *a, const struct cell *b)
{
    struct str x = { s->cells.at + a->at, a->n }, y = { s->cells.at + b->at, b->n };
    return a->n == b->n && str_eq(x, y) && a->large == b->large;
}

/* What the kept columns were, where they are others now. `now`: as they are. */
static void mapped_take_before(struct sqlite_source *s, struct mapped *m, const struct buf *now)
{
    struct rule *r = m->at->r;
    struct projection *p = m->at->p;
    sqlite3_stmt *row = project_kept(s, r, p, m->at->h->key, m->at->h->kept);
    for (size_t i = 0; row && i < p->count; i++)
        mapped_shape(s, r, &p->bindings[i], row, mapped_column(i), &p->bindings[i].before);
    sqlite3_reset(row);
    row = row ? project_kept(s, r, p, m->at->h->key, now->at) : NULL;
    for (size_t i = 0; i < p->count; i++) {
        struct binding *b = &p->bindings[i];
        struct cell as_now = { 0 };
        if (row)
            mapped_shape(s, r, b, row, mapped_column(i), &as_now);
        b->differs = row && !mapped_is_same(s, &b->before, &as_now);
        if (!b->differs)
            b->before = (struct cell){ 0 };
        m->before = m->before || b->before.n || b->before.more_n;
    }
    sqlite3_reset(row);
}

/* The paths that changed: by their value, or by the watched columns that they read. */
static void mapped_take_changes(struct sqlite_source *s, struct mapped *m, uint32_t columns, const struct buf *now)
{
    struct projection *p = m->at->p;
    project_learn_reads(s, m->at->r, p);
    mapped_take_before(s, m, now);
    for (size_t i = 0; i < p->count; i++)
        if (p->bindings[i].differs || (p->bindings[i].reads & columns))
            buf_printf(&m->changed, "%s%s", m->changed.n ? "," : "", p->bindings[i].path->path);
}

/* The constant that app.name is. */
static void mapped_shape_app(struct sqlite_source *s, struct cell *out)
{
    *out = (struct cell){ .at = s->cells.n };
    buf_add_c(&s->cells, "\"name\":");
    jscan_add_string(&s->cells, str_of(s->app_name));
    out->n = s->cells.n - out->at;
}

/* Of an object of which nothing is known but constants, nothing is told. */
static void mapped_drop_constants(struct projection *p)
{
    for (size_t i = 0, end; i < p->count; i = end) {
        struct str object = mapped_object(&p->bindings[i]);
        bool known = !object.n;
        for (end = i; end < p->count && str_eq(mapped_object(&p->bindings[end]), object); end++)
            known = known || (!p->bindings[end].constant && (p->bindings[end].cell.n || p->bindings[end].cell.more_n));
        for (size_t k = i; !known && k < end; k++)
            p->bindings[k].cell.n = p->bindings[k].cell.more_n = 0;
    }
}

static void mapped_take_values(struct sqlite_source *s, struct mapped *m)
{
    struct projection *p = m->at->p;
    for (size_t i = 0; i < p->count; i++) {
        struct binding *b = &p->bindings[i];
        b->before = (struct cell){ 0 };
        b->differs = false;
        if (b->sql)
            mapped_shape(s, m->at->r, b, m->at->row, mapped_column(i), &b->cell);
        else
            mapped_shape_app(s, &b->cell);
        b->cell.large = b->cell.large || b->huge;
    }
    mapped_drop_constants(p);
}

/* ---- data ---- */

static void mapped_add_members(struct buf *out, const struct sqlite_source *s, const struct cell *c)
{
    struct str pieces[] = { { s->cells.at + c->at, c->n }, { s->cells.at + c->more_at, c->more_n } };
    for (size_t i = 0; i < 2; i++) {
        if (!pieces[i].n)
            continue;
        if (out->at[out->n - 1] != '{')
            buf_add_char(out, ',');
        buf_add_str(out, pieces[i]);
    }
}

/* The members of all bindings, nested; the bindings of an object follow one another. */
static void mapped_add_values(struct buf *out, const struct sqlite_source *s, const struct projection *p, bool before)
{
    struct str open = STR("");
    for (size_t i = 0; i < p->count; i++) {
        const struct binding *b = &p->bindings[i];
        const struct cell *c = before ? &b->before : &b->cell;
        struct str object = mapped_object(b);
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
        mapped_add_members(out, s, c);
    }
    if (open.n)
        buf_add_char(out, '}');
}

static void mapped_write(struct sqlite_source *s, const struct mapped *m)
{
    struct buf *out = &s->data;
    buf_reset(out);
    buf_add_char(out, '{');
    mapped_add_values(out, s, m->at->p, false);
    if (m->before) {
        buf_add_c(out, ",\"before\":{");
        mapped_add_values(out, s, m->at->p, true);
        buf_add_char(out, '}');
    }
    if (m->raw.n) {
        buf_add_c(out, ",\"raw\":{\"table\":");
        jscan_add_string(out, str_of(m->at->r->o->table ? m->at->r->o->table : m->at->r->name));
        buf_add_c(out, ",\"row\":");
        buf_add_str(out, buf_str(&m->raw));
        buf_add_char(out, '}');
    }
    buf_add_char(out, '}');
}

/* Leaves out what is largest. False: there is nothing left. */
static bool mapped_drop_largest(struct mapped *m)
{
    struct projection *p = m->at->p;
    struct cell *largest = NULL;
    for (size_t i = 0; i < p->count; i++)
        for (int before = 0; before <= 1; before++) {
            struct cell *c = before ? &p->bindings[i].before : &p->bindings[i].cell;
            largest = c->n && (!largest || c->n > largest->n) ? c : largest;
        }
    if (m->raw.n && (!largest || m->raw.n > largest->n)) {
        buf_printf(&m->left_out, "%sraw", m->left_out.n ? "," : "");
        buf_reset(&m->raw);
        return true;
    }
    if (!largest)
        return false;
    largest->n = 0;
    largest->large = true;
    return true;
}

/* The event's data to s->data. */
static void mapped_data(struct sqlite_source *s, struct mapped *m)
{
    const struct projection *p = m->at->p;
    mapped_write(s, m);
    while ((s->data.failed || s->data.n > (size_t)s->max_event.n) && mapped_drop_largest(m))
        mapped_write(s, m);
    for (size_t i = 0; i < p->count; i++)
        if (p->bindings[i].cell.large || p->bindings[i].before.large)
            buf_printf(&m->left_out, "%s%s", m->left_out.n ? "," : "", p->bindings[i].path->path);
}

/* ---- attributes ---- */

/* The value of a path as text; absent: it has none that can stand in an attribute. */
static struct str mapped_value(void *ctx, const char *path)
{
    const struct mapped *m = ctx;
    for (size_t i = 0; i < m->at->p->count; i++)
        if (strcmp(m->at->p->bindings[i].path->path, path) == 0) {
            struct str text = value_text(m->at->row, mapped_column(i));
            return text.n && text.n <= EVENT_ATTRIBUTE_BYTES ? text : STR_ABSENT;
        }
    return STR_ABSENT;
}

static void mapped_subject(struct buf *out, struct mapped *m)
{
    size_t begin = out->n;
    struct str own = value_text(m->at->row, PROJECT_SUBJECT);
    if (own.n && own.n <= EVENT_ATTRIBUTE_BYTES)
        buf_add_str(out, own);
    else
        vocabulary_subject(m->at->p->type, mapped_value, m, out);
    render_end_subject(out, begin, m->at->r, m->at->h);
}

/* Absent: what it should be is not known, or cannot stand in an attribute. */
static struct str mapped_partitionkey(struct mapped *m)
{
    struct str key = value_text(m->at->row, PROJECT_KEY);
    for (const char *const *path = m->at->p->type->subject; !key.n && *path; path++)
        key = mapped_value(m, *path);
    return key.n && key.n <= EVENT_ATTRIBUTE_BYTES && event_is_value(key) ? key : STR_ABSENT;
}

static size_t mapped_extensions(struct mapped *m, struct header out[MAPPED_EXTENSIONS])
{
    size_t n = 0;
    struct str key = mapped_partitionkey(m);
    if (key.at)
        out[n++] = (struct header){ STR("partitionkey"), key };
    if (m->changed.n)
        out[n++] = (struct header){ STR("changed"), buf_str(&m->changed) };
    if (!m->at->r->ready)
        out[n++] = (struct header){ STR("snapshot"), STR("true") };
    if (m->left_out.n)
        out[n++] = (struct header){ STR("truncated"), buf_str(&m->left_out) };
    return n;
}

/* What makes the id of each event of one happening another: operation, type, and what of the row it is. */
static void mapped_id(const struct sqlite_source *s, struct mapped *m, char id[UUID_TEXT])
{
    struct buf op = buf_new(64 << 10);
    const struct projection *p = m->at->p;
    buf_printf(&op, "%s:%s", m->at->h->op, p->o->type);
    if (p->twin)
        buf_printf(&op, "#%zu", p->twin);
    if (m->at->r->o->part) {
        buf_add_char(&op, '/');
        value_key(&op, m->at->row, PROJECT_PART);
    }
    render_id(s, m->at->r, m->at->h, buf_str(&op), id);
    buf_free(&op);
}

static const struct event *mapped_make(struct sqlite_source *s, struct mapped *m)
{
    char id[UUID_TEXT], time[CLOCK_TEXT], type[EVENT_NAME_BYTES * 2];
    const struct projection *p = m->at->p;
    struct header extensions[MAPPED_EXTENSIONS];
    struct err e = { 0 };
    buf_reset(&s->scratch);
    mapped_id(s, m, id);
    render_time(m->at->h, time);
    vocabulary_schema(p->type, s->schema_base, &s->scratch);
    size_t schema_n = s->scratch.n;
    mapped_subject(&s->scratch, m);
    snprintf(type, sizeof type, "%s%s", s->type_prefix ? s->type_prefix : "", p->o->type);
    struct event fields = {
        .id = str_of(id),
        .source = str_of(s->origin),
        .time = str_of(time),
        .datacontenttype = STR("application/json"),
        .dataschema = { s->scratch.at, schema_n },
        .type = str_of(type),
        .subject = { s->scratch.at + schema_n, s->scratch.n - schema_n },
        .extensions = extensions,
        .extension_count = mapped_extensions(m, extensions),
        .data = buf_str(&s->data),
    };
    const struct event *ev = s->data.failed || s->scratch.failed ? NULL : event_new(&fields, &e);
    if (ev)
        metric_add(s->events, 1);
    else
        render_report_refused(s, m->at->r, m->at->h, &e);
    if (m->left_out.n)
        render_report_truncated(s, m->at->r, m->at->h, &m->left_out);
    return ev;
}

/* ---- all of a happening ---- */

static void mapped_row(struct sqlite_source *s, struct projecting *at, uint32_t columns, mapped_fn *each)
{
    struct mapped m = { .at = at,
                        .raw = buf_new((size_t)s->max_event.n),
                        .left_out = buf_new(EVENT_ATTRIBUTE_BYTES),
                        .changed = buf_new(EVENT_ATTRIBUTE_BYTES) };
    struct buf now = buf_new(64 << 10);
    if (s->raw == RAW_ROW && at->h->row)
        render_row(s, at->r, at->h->row, false, (size_t)s->max_event.n, &m.raw, &m.left_out);
    if (columns && at->h->kept)
        render_kept(s, at->r, at->h->row, &now);
    buf_c(&now);
    buf_reset(&s->cells);
    mapped_take_values(s, &m);
    if (columns)
        mapped_take_changes(s, &m, columns, &now);
    mapped_data(s, &m);
    const struct event *ev = mapped_make(s, &m);
    if (ev)
        each(s, ev);
    buf_free(&m.raw);
    buf_free(&m.left_out);
    buf_free(&m.changed);
    buf_free(&now);
}

void mapped_events(struct sqlite_source *s, struct rule *r, const struct happening *h, mapped_fn *each)
{
    for (size_t i = 0; i < r->o->map.count; i++) {
        struct projecting at = { .r = r, .p = &r->projections[i], .h = h };
        uint32_t columns;
        if (!project_fits(s, r, at.p, h, &columns))
            continue;
        project_begin(s, &at);
        while (project_next(s, &at)) {
            if (at.rows > 1 && !r->o->part) {
                rule_warn(s, r, "join: it makes several rows of one; write `part`, SQL that tells them apart");
                break;
            }
            mapped_row(s, &at, columns, each);
        }
        project_end(&at);
    }
}
