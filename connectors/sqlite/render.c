/* SPDX-License-Identifier: MIT */
/* A row as an event: its id, type, subject, time, and its columns as a JSON object. */
#include "bridge/lib/crypto.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/log.h"
#include "connectors/sqlite/render.h"
#include <inttypes.h>
#include <stdio.h>

enum {
    RENDER_KEPT_BYTES = 4096,
    RENDER_EXTENSIONS = 3,           /* most of an event: changed, snapshot, truncated */
    RENDER_REFUSED_BYTES = 64 << 10, /* of the row, in its dead letter */
    RENDER_ROW_NAME = 512,
};

void render_open(struct sqlite_source *s)
{
    s->cells = buf_new((size_t)s->max_event.n * 4 + (64 << 10));
    s->data = buf_new((size_t)s->max_event.n * 2 + (64 << 10));
    s->scratch = buf_new(64 << 10);
}

void render_close(struct sqlite_source *s)
{
    buf_free(&s->cells);
    buf_free(&s->data);
    buf_free(&s->scratch);
}

/* ---- type and subject ---- */

/* The result column of that name, or -1. */
static int render_column(const struct rule *r, struct str name)
{
    for (int i = 0; i < r->field_count; i++)
        if (str_eq_nocase(str_of(r->fields[i].name), name))
            return HEAD + (int)r->o->watch.count + i;
    return -1;
}

/* Why that column of the row cannot stand in an attribute; NULL: it can. */
static const char *render_why_lacking(const struct rule *r, const struct happening *h, int col)
{
    if (!h->row)
        return "is not known of a deleted row";
    if (col < 0)
        return "is not there, or not read";
    if (r->fields[col - HEAD - (int)r->o->watch.count].large)
        return "is too large to be read";
    int type = sqlite3_column_type(h->row, col);
    bool bytes = type == SQLITE_TEXT || type == SQLITE_BLOB;
    return bytes && sqlite3_column_bytes(h->row, col) > EVENT_ATTRIBUTE_BYTES ? "is longer than an attribute may be"
                                                                              : NULL;
}

/* Appends the template with every {column} replaced; what is not known is left out, and *why names it. */
static void render_template(struct buf *out, const struct rule *r, const struct happening *h, const char *template,
                            struct err *why)
{
    struct str rest = str_of(template), piece;
    while (str_cut(&rest, '{', &piece)) {
        buf_add_str(out, piece);
        if (!rest.at || !str_cut(&rest, '}', &piece))
            return;
        int col = render_column(r, piece);
        const char *lacking = render_why_lacking(r, h, col);
        if (rule_lists(&r->o->mask, piece))
            buf_add_c(out, "***");
        else if (str_eq_nocase(piece, str_of(r->o->key)))
            buf_add_str(out, value_key_plain(h->key));
        else if (!lacking)
            value_plain(out, h->row, col);
        else if (!why->text[0])
            err_set(why, "column %.*s %s", piece.n > 60 ? 60 : (int)piece.n, piece.at, lacking);
    }
}

static bool render_may_be_in_type(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

static void render_type(struct buf *out, const struct rule *r, const struct happening *h, struct err *why)
{
    render_template(out, r, h, h->type, why);
    if (why->text[0])
        err_prefix(why, "types: \"%s\", left out", h->type);
    for (size_t i = 0; i < out->n; i++)
        if (!render_may_be_in_type(out->at[i]))
            out->at[i] = '_';
}

static void render_default_subject(struct buf *out, const struct rule *r, struct str name)
{
    buf_printf(out, "%s/", r->o->table ? r->o->table : r->name);
    buf_add_str(out, name);
}

void render_end_subject(struct buf *out, size_t begin, const struct rule *r, const struct happening *h)
{
    if (out->n == begin)
        render_default_subject(out, r, value_key_plain(h->key));
    for (size_t i = begin; i < out->n; i++)
        if ((unsigned char)out->at[i] < 0x20 || out->at[i] == 0x7f)
            out->at[i] = '_';
    if (str_is_utf8((struct str){ out->at + begin, out->n - begin }) && out->n - begin <= EVENT_ATTRIBUTE_BYTES)
        return;
    char id[UUID_TEXT];
    uuid_of(&h->key, 1, id);
    out->n = begin;
    render_default_subject(out, r, str_of(id));
}

/* By the rule's template; when a column cannot stand in it, the default. */
static void render_subject(struct buf *out, struct sqlite_source *s, struct rule *r, const struct happening *h)
{
    size_t begin = out->n;
    struct err why = { 0 };
    if (r->o->subject)
        render_template(out, r, h, r->o->subject, &why);
    if (why.text[0]) {
        char text[WHY_BYTES];
        snprintf(text, sizeof text, "subject: %.200s; of such rows it is <table>/<key>", why.text);
        rule_warn(s, r, text);
        out->n = begin;
    }
    render_end_subject(out, begin, r, h);
}

/* ---- data ---- */

/* Bytes of a member of the JSON object: "name":value, */
static size_t render_field_bytes(const struct field *f)
{
    return f->n ? f->n + strlen(f->name) + 4 : 0;
}

/* The JSON of one field to s->cells; f->n == 0: it alone passes `max`. */
static void render_field(struct sqlite_source *s, const struct rule *r, struct field *f, sqlite3_stmt *row, size_t max,
                         bool *repaired)
{
    int col = HEAD + (int)r->o->watch.count + (int)(f - r->fields), type = sqlite3_column_type(row, col);
    f->at = s->cells.n;
    if (f->large)
        return;
    bool masked = rule_lists(&r->o->mask, str_of(f->name));
    if (!masked && (type == SQLITE_TEXT || type == SQLITE_BLOB) && (size_t)sqlite3_column_bytes(row, col) > max)
        return;
    if (type != SQLITE_NULL && masked)
        buf_add_c(&s->cells, "\"***\"");
    else
        value_json(&s->cells, row, col, f->form, &r->o->mask, r->zone, repaired);
    f->n = s->cells.n - f->at;
    if (s->cells.failed || f->n > max) {
        s->cells.n = f->at;
        s->cells.failed = false;
        f->n = 0;
    }
}

/* The JSON of each field to s->cells. Returns the length of all as one object. */
static size_t render_fields(struct sqlite_source *s, struct rule *r, sqlite3_stmt *row, bool keep, size_t max)
{
    bool repaired = false;
    size_t total = 2;
    buf_reset(&s->cells);
    for (int i = 0; i < r->field_count; i++) {
        struct field *f = &r->fields[i];
        f->n = 0;
        if (keep ? f->keep : !f->hidden)
            render_field(s, r, f, row, max, &repaired);
        total += render_field_bytes(f);
    }
    if (repaired)
        metric_add(s->repaired, 1);
    return total;
}

/* Leaves the largest field out; *total 0: there is none. */
static void render_drop_largest(struct rule *r, size_t *total)
{
    struct field *largest = NULL;
    for (int i = 0; i < r->field_count; i++)
        if (!largest || r->fields[i].n > largest->n)
            largest = &r->fields[i];
    if (!largest || !largest->n) {
        *total = 0;
        return;
    }
    *total -= render_field_bytes(largest);
    largest->n = 0;
}

void render_row(struct sqlite_source *s, struct rule *r, sqlite3_stmt *row, bool keep, size_t max, struct buf *out,
                struct buf *left_out)
{
    size_t total = render_fields(s, r, row, keep, max);
    while (total > max)
        render_drop_largest(r, &total);
    buf_add_char(out, '{');
    for (int i = 0; i < r->field_count; i++) {
        struct field *f = &r->fields[i];
        if (keep ? !f->keep : f->hidden)
            continue;
        if (!f->n) {
            buf_printf(left_out, "%s%s", left_out->n ? "," : "", f->name);
            continue;
        }
        if (out->at[out->n - 1] != '{')
            buf_add_char(out, ',');
        jscan_add_string(out, str_of(f->name));
        buf_add_char(out, ':');
        buf_add(out, s->cells.at + f->at, f->n);
    }
    buf_add_char(out, '}');
}

void render_kept(struct sqlite_source *s, struct rule *r, sqlite3_stmt *row, struct buf *out)
{
    struct buf left_out = buf_new(EVENT_ATTRIBUTE_BYTES);
    render_row(s, r, row, true, RENDER_KEPT_BYTES, out, &left_out);
    buf_free(&left_out);
}

/* The event's data to s->data. */
static void render_data(struct sqlite_source *s, struct rule *r, const struct happening *h, struct buf *left_out)
{
    struct buf *out = &s->data;
    buf_reset(out);
    if (h->row) {
        render_row(s, r, h->row, false, (size_t)s->max_event.n, out, left_out);
    } else if (h->kept) {
        buf_add_c(out, h->kept);
    } else {
        buf_add_char(out, '{');
        jscan_add_string(out, str_of(r->o->key));
        buf_add_char(out, ':');
        value_key_json(out, h->key);
        buf_add_char(out, '}');
    }
}

/* ---- the event ---- */

void render_id(const struct sqlite_source *s, const struct rule *r, const struct happening *h, struct str op,
               char id[UUID_TEXT])
{
    char number[64];
    int n = snprintf(number, sizeof number, "%c%" PRIu64, h->version ? 'v' : 'e',
                     h->version ? h->version : (uint64_t)h->birth.epoch);
    if (!h->version && h->birth.rowid)
        snprintf(number + n, sizeof number - (size_t)n, "r%" PRId64, h->birth.rowid);
    uuid_of((struct str[]){ str_of(s->identity), str_of(r->name), h->key, op, str_of(number) }, 5, id);
}

void render_time(const struct rule *r, const struct happening *h, char text[CLOCK_TEXT])
{
    int64_t ms;
    if (!h->timed || !h->row || !value_time_in(h->row, HEAD_TIME, r->zone, &ms))
        ms = h->at_ms ? h->at_ms : clock_wall_ms();
    clock_text(ms, text);
}

static size_t render_extensions(const struct rule *r, const struct happening *h, const struct buf *left_out,
                                struct header out[RENDER_EXTENSIONS])
{
    size_t n = 0;
    if (h->changed)
        out[n++] = (struct header){ STR("changed"), str_of(h->changed) };
    if (!r->ready)
        out[n++] = (struct header){ STR("snapshot"), STR("true") };
    if (left_out->n)
        out[n++] = (struct header){ STR("truncated"), buf_str(left_out) };
    return n;
}

void render_refused(struct sqlite_source *s, struct rule *r, const struct happening *h, const char *type,
                    const struct err *why)
{
    char id[UUID_TEXT], row[RENDER_ROW_NAME], op[RENDER_ROW_NAME];
    struct buf data = buf_new(RENDER_REFUSED_BYTES + 64), left_out = buf_new(EVENT_ATTRIBUTE_BYTES);
    struct str key = value_key_plain(h->key);
    LOG(ERROR, "a row could not be made into an event; it becomes a dead letter", LOG_C("source", s->base.id),
        LOG_C("rule", r->name), LOG_STR("key", h->key), LOG_C("type", type), LOG_C("why", why->text));
    snprintf(row, sizeof row, "%.60s %.*s", r->o->key, key.n > KEY_BYTES ? KEY_BYTES : (int)key.n, key.at);
    snprintf(op, sizeof op, "refused:%.100s:%.200s", h->op, type);
    render_id(s, r, h, str_of(op), id);
    if (h->row && (!r->projections || s->raw == RAW_ROW))
        render_row(s, r, h->row, false, RENDER_REFUSED_BYTES, &data, &left_out);
    refuse_tell(s, r,
                &(struct refusal){
                    .id = id, .row = row, .op = h->op, .type = type, .why = why->text, .data = buf_str(&data) });
    buf_free(&data);
    buf_free(&left_out);
}

void render_report_truncated(struct sqlite_source *s, const struct rule *r, const struct happening *h,
                             const struct buf *left_out)
{
    metric_add(s->truncated, 1);
    LOG(WARN, "an event was too large: columns left out", LOG_C("source", s->base.id), LOG_C("rule", r->name),
        LOG_STR("key", h->key), LOG_STR("columns", buf_str(left_out)), LOG_INT("max_event", s->max_event.n));
}

const struct event *render_event(struct sqlite_source *s, struct rule *r, const struct happening *h)
{
    char id[UUID_TEXT], time[CLOCK_TEXT];
    struct buf left_out = buf_new(EVENT_ATTRIBUTE_BYTES);
    struct header extensions[RENDER_EXTENSIONS];
    render_id(s, r, h, str_of(h->op), id);
    render_time(r, h, time);
    render_data(s, r, h, &left_out);
    buf_reset(&s->scratch);
    struct err lacking = { 0 }, e = { 0 };
    render_type(&s->scratch, r, h, &lacking);
    size_t type_n = s->scratch.n;
    render_subject(&s->scratch, s, r, h);
    struct event fields = {
        .id = str_of(id),
        .source = str_of(s->origin),
        .time = str_of(time),
        .datacontenttype = STR("application/json"),
        .type = { s->scratch.at, type_n },
        .subject = { s->scratch.at + type_n, s->scratch.n - type_n },
        .extensions = extensions,
        .extension_count = render_extensions(r, h, &left_out, extensions),
        .data = buf_str(&s->data),
    };
    const struct event *ev = s->data.failed ? NULL : event_new(&fields, &e);
    if (lacking.text[0])
        rule_warn(s, r, lacking.text);
    if (ev)
        metric_add(s->events, 1);
    else
        render_refused(s, r, h, h->type, lacking.text[0] ? &lacking : &e);
    if (left_out.n)
        render_report_truncated(s, r, h, &left_out);
    buf_free(&left_out);
    return ev;
}
