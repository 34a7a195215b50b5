/* SPDX-License-Identifier: MIT */
/* A row as the events that its rule's `map` makes of it: data nested by path, and the attributes that follow from it. */
#include <stdio.h>
#include "bridge/lib/jscan.h"
#include "connectors/sqlite/project.h"

enum { MAPPED_EXTENSIONS = 4 }; /* most of an event: partitionkey, changed, snapshot, truncated */

/* One event at work. */
struct mapped {
    struct projecting *at;
    struct buf raw;      /* the row, or empty */
    struct buf left_out; /* paths that are too large */
    struct buf changed;  /* paths that are */
    bool before;         /* there are values of before */
    const char *lack;    /* what its type must have, and it has not */
};

/* ---- values ---- */

static void mapped_shape(struct sqlite_source *s, const struct projecting *at, size_t i, sqlite3_stmt *row,
                         struct cell *out)
{
    struct rule *r = at->r;
    const struct binding *b = &at->p->of.bindings[i];
    int col = DATA_HEAD + (int)i;
    const struct shaping shaping = { &s->telling, s->hmac,     &r->o->mask, (size_t)s->max_event.n,
                                     &s->cells,   s->repaired, r->zone };
    const char *wrong = b->sql ? shape_value(&shaping, b, row, col, out) : NULL;
    if (!b->sql)
        shape_app(&shaping, s->app_name, out);
    if (!wrong)
        return;
    char text[WHY_BYTES], place[PLACE_TEXT];
    project_name(r, at->p, b->path->path, place);
    snprintf(text, sizeof text, "%.80s: %s, and is left out of such rows", place, wrong);
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
    for (size_t i = 0; row && i < p->of.count; i++)
        mapped_shape(s, m->at, i, row, &p->before[i]);
    sqlite3_reset(row);
    row = row ? project_kept(s, r, p, m->at->h->key, now->at) : NULL;
    for (size_t i = 0; i < p->of.count; i++) {
        struct cell as_now = { 0 };
        if (row)
            mapped_shape(s, m->at, i, row, &as_now);
        p->fits[i].differs = row && !mapped_is_same(s, &p->before[i], &as_now);
        if (!p->fits[i].differs)
            p->before[i] = (struct cell){ 0 };
        m->before = m->before || p->before[i].n || p->before[i].more_n;
    }
    sqlite3_reset(row);
}

/* The paths that changed: by their value, or by the watched columns that they read. */
static void mapped_take_changes(struct sqlite_source *s, struct mapped *m, uint32_t columns, const struct buf *now)
{
    struct projection *p = m->at->p;
    project_learn_reads(s, m->at->r, p);
    mapped_take_before(s, m, now);
    for (size_t i = 0; i < p->of.count; i++)
        if (p->fits[i].differs || (p->fits[i].reads & columns))
            buf_printf(&m->changed, "%s%s", m->changed.n ? "," : "", p->of.bindings[i].path->path);
}

static void mapped_take_values(struct sqlite_source *s, struct mapped *m)
{
    struct projection *p = m->at->p;
    for (size_t i = 0; i < p->of.count; i++) {
        p->before[i] = (struct cell){ 0 };
        p->fits[i].differs = false;
        mapped_shape(s, m->at, i, m->at->row, &p->cells[i]);
        p->cells[i].large = p->cells[i].large || p->fits[i].huge;
    }
    data_drop_constants(&p->of, p->cells);
}

/* ---- data ---- */

static void mapped_write(struct sqlite_source *s, const struct mapped *m)
{
    struct buf *out = &s->data;
    const struct projection *p = m->at->p;
    buf_reset(out);
    buf_add_char(out, '{');
    data_add(out, &p->of, p->cells, &s->cells);
    if (m->before) {
        buf_add_c(out, ",\"before\":{");
        data_add(out, &p->of, p->before, &s->cells);
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
    struct cell *largest = data_largest(p->cells, p->of.count), *before = data_largest(p->before, p->of.count);
    if (before && (!largest || before->n > largest->n))
        largest = before;
    if (m->raw.n && (!largest || m->raw.n > largest->n)) {
        buf_printf(&m->left_out, "%sraw", m->left_out.n ? "," : "");
        buf_reset(&m->raw);
        return true;
    }
    if (largest)
        data_leave_out(largest);
    return largest != NULL;
}

/* The event's data to s->data. */
static void mapped_data(struct sqlite_source *s, struct mapped *m)
{
    const struct projection *p = m->at->p;
    mapped_write(s, m);
    while ((s->data.failed || s->data.n > (size_t)s->max_event.n) && mapped_drop_largest(m))
        mapped_write(s, m);
    for (size_t i = 0; i < p->of.count; i++)
        if (p->cells[i].large || p->before[i].large)
            buf_printf(&m->left_out, "%s%s", m->left_out.n ? "," : "", p->of.bindings[i].path->path);
}

/* ---- what it must have ---- */

/* An event that lacks something is told all the same, but is not said to be of its schema. */
static void mapped_find_lack(struct sqlite_source *s, struct mapped *m)
{
    const struct projection *p = m->at->p;
    m->lack = data_lack(&p->of, p->cells);
    if (!m->lack)
        return;
    char text[WHY_BYTES], place[PLACE_TEXT];
    project_name(m->at->r, p, m->lack, place);
    snprintf(text, sizeof text,
             "%.80s: %s has no value in some rows, but %s must have it; their events have no dataschema", place,
             m->lack, p->of.o->type);
    rule_warn(s, m->at->r, text);
    metric_add(s->incomplete, 1);
}

/* ---- attributes ---- */

static void mapped_subject(struct buf *out, const struct mapped *m)
{
    size_t begin = out->n;
    data_subject(out, &m->at->p->of, m->at->row);
    render_end_subject(out, begin, m->at->r, m->at->h);
}

static size_t mapped_extensions(struct mapped *m, struct header out[MAPPED_EXTENSIONS])
{
    size_t n = 0;
    struct str key = data_partitionkey(&m->at->p->of, m->at->row);
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
    const struct outline *of = &m->at->p->of;
    buf_printf(&op, "%s:%s", m->at->h->op, of->o->type);
    if (of->twin)
        buf_printf(&op, "#%zu", of->twin);
    if (m->at->r->o->part) {
        buf_add_char(&op, '/');
        value_key(&op, m->at->row, DATA_PART);
    }
    render_id(s, m->at->r, m->at->h, buf_str(&op), id);
    buf_free(&op);
}

static const struct event *mapped_make(struct sqlite_source *s, struct mapped *m)
{
    char id[UUID_TEXT], time[CLOCK_TEXT], type[EVENT_NAME_BYTES * 2];
    const struct outline *of = &m->at->p->of;
    struct header extensions[MAPPED_EXTENSIONS];
    struct err e = { 0 };
    buf_reset(&s->scratch);
    mapped_id(s, m, id);
    render_time(m->at->r, m->at->h, time);
    vocabulary_schema(of->type, s->telling.schema_base, &s->scratch);
    size_t schema_n = s->scratch.n;
    mapped_subject(&s->scratch, m);
    snprintf(type, sizeof type, "%s%s", s->telling.type_prefix ? s->telling.type_prefix : "", of->o->type);
    struct event fields = {
        .id = str_of(id),
        .source = str_of(s->origin),
        .time = str_of(time),
        .datacontenttype = STR("application/json"),
        .dataschema = m->lack ? STR_ABSENT : (struct str){ s->scratch.at, schema_n },
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
        render_refused(s, m->at->r, m->at->h, of->o->type, &e);
    if (m->left_out.n)
        render_report_truncated(s, m->at->r, m->at->h, &m->left_out);
    return ev;
}

/* ---- all of a happening ---- */

static void mapped_row(struct sqlite_source *s, struct projecting *at, uint32_t columns)
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
    mapped_find_lack(s, &m);
    const struct event *ev = mapped_make(s, &m);
    if (ev)
        found_add(s, ev, NULL);
    buf_free(&m.raw);
    buf_free(&m.left_out);
    buf_free(&m.changed);
    buf_free(&now);
}

static void mapped_events(struct sqlite_source *s, struct rule *r, const struct happening *h)
{
    for (size_t i = 0; i < r->o->map.count; i++) {
        struct projecting at = { .r = r, .p = &r->projections[i], .h = h };
        uint32_t columns;
        s->entry = i;
        if (!project_fits(s, r, at.p, h, &columns))
            continue;
        project_begin(s, &at);
        while (project_next(s, &at)) {
            if (at.rows > 1 && !r->o->part) {
                rule_warn(s, r, "join: it makes several rows of one; write `part`, SQL that tells them apart");
                break;
            }
            mapped_row(s, &at, columns);
        }
        project_end(&at);
    }
}

void mapped_tell(struct sqlite_source *s, struct rule *r, const struct happening *h)
{
    if (r->projections) {
        mapped_events(s, r, h);
        return;
    }
    s->entry = 0;
    const struct event *ev = render_event(s, r, h);
    if (ev)
        found_add(s, ev, NULL);
}
