/* SPDX-License-Identifier: MIT */
/* `map` of a path: its SQL prepared, and bodies put through it. */
#include "connectors/http/mapping.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/jscan.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/map/data.h"
#include "bridge/map/value.h"
#include "bridge/verify/options.h"
#include "connectors/http/mapping_sql.h"

METRIC_COUNTER(aqueduct_http_unmapped_total,
               "Bodies of paths with a map that it made no events of (other: no entry fits).", "source", "path",
               "reason");
METRIC_COUNTER(aqueduct_http_left_out_total,
               "Values left out of mapped events because they have not the form of their path.", "source", "path");
METRIC_COUNTER(aqueduct_http_repaired_total,
               "Texts of mapped events that were no UTF-8, whose bad bytes became U+FFFD.", "source", "path");

enum {
    MAPPING_TEXT = 64 << 10, /* of attributes at work */
    MAPPING_GROWTH = 16,     /* the events of a body have at most so many times its bytes, */
    MAPPING_BYTES = 1 << 20, /* and so many */
    MAPPING_KEPT = 1 << 20,  /* of memory, between two bodies */
};
enum { REQUEST_ID, REQUEST_TIME, REQUEST_COLUMNS };

struct mapping_entry {
    struct outline of;
    struct cell *cells; /* of the event at work */
    sqlite3_stmt *stmt;
};

struct mapping {
    const struct mapping_rules *rules;
    const struct telling *told;
    const char *app, *source, *path;
    enum unmapped unmapped;
    enum mapping_raw raw;
    const struct strings *mask;
    struct sandbox *sandbox;
    struct hmac *hmac;
    sqlite3_stmt *request, *choose; /* NULL: neither id nor time is of the body; there is no map */
    struct mapping_entry *entries;
    bool id_is_of_part, headers_read, headers_in_id;
    struct buf json, data, text, headers, given; /* given: id and time of the body */
    struct log_limit log_limit;
    struct metric *unmapped_count[MISS_COUNT], *left_out, *repaired;
};

static void mapping_open_entry(struct mapping *m, size_t i)
{
    struct mapping_entry *x = &m->entries[i];
    struct err e = { 0 };
    map_outline(&m->rules->data, m->rules->map, i, &x->of);
    x->cells = mem_alloc(x->of.count * sizeof *x->cells);
    x->stmt = mapping_prepare_entry(m->sandbox, m->rules, &x->of, &e);
    CHECK(x->stmt);
    m->headers_read = m->headers_read || mapping_reads_headers(x->stmt);
}

/* Id and time of the request; the id may be of the element alone. */
static void mapping_open_request(struct mapping *m)
{
    const struct mapping_rules *r = m->rules;
    sqlite3_stmt *id = mapping_is_sql(r->id) ? mapping_prepare_alone(m->sandbox, r, r->id, true, NULL) : NULL;
    m->headers_in_id = mapping_reads_headers(id);
    m->id_is_of_part = id && mapping_is_of_part(m->sandbox, r, r->id);
    sqlite3_finalize(id);
    bool timed = mapping_is_sql(r->time) && !mapping_is_of_part(m->sandbox, r, r->time);
    bool named = id && !m->id_is_of_part;
    if (!timed && !named)
        return;
    sqlite3_str *sql = sqlite3_str_new(m->sandbox->db);
    sqlite3_str_appendf(sql, "SELECT (%s\n)", named ? r->id : "NULL");
    mapping_add_column(sql, timed ? r->time : NULL);
    m->request = sandbox_prepare(m->sandbox, sql, REQUEST_COLUMNS, NULL);
    CHECK(m->request);
    m->headers_read = m->headers_read || mapping_reads_headers(m->request);
}

static void mapping_open_metrics(struct mapping *m)
{
    static const char *const reasons[MISS_COUNT] = { "", "other", "failed", "not_json" };
    for (int i = MISS_OTHER; i < MISS_COUNT; i++)
        m->unmapped_count[i] = metric_get(&aqueduct_http_unmapped_total, LABELS(m->source, m->path, reasons[i]));
    m->left_out = metric_get(&aqueduct_http_left_out_total, LABELS(m->source, m->path));
    m->repaired = metric_get(&aqueduct_http_repaired_total, LABELS(m->source, m->path));
}

struct mapping *mapping_new(const struct mapping_options *o, struct sandbox *b, const char *source, const char *path)
{
    if (!mapping_is_asked(o))
        return NULL;
    struct mapping *m = mem_alloc(sizeof *m);
    *m = (struct mapping){
        .rules = mapping_rules_of(o),
        .told = &o->telling,
        .app = mapping_app(o),
        .source = source,
        .path = path,
        .unmapped = o->unmapped,
        .raw = o->raw,
        .mask = &o->mask,
        .sandbox = b,
        .hmac = tell_key(&o->telling),
        .json = buf_new(EVENT_DATA_BYTES),
        .data = buf_new(EVENT_DATA_BYTES),
        .text = buf_new(MAPPING_TEXT),
        .given = buf_new(MAPPING_TEXT),
        .headers = buf_new(SIZE_MAX / 2), /* those of a request, which are bounded */
    };
    mapping_open_metrics(m);
    mapping_open_request(m);
    if (!m->rules->map.count)
        return m;
    m->choose = mapping_prepare_choose(b, m->rules, mapping_is_sql(m->rules->id), NULL);
    CHECK(m->choose);
    m->headers_read = m->headers_read || mapping_reads_headers(m->choose);
    m->entries = mem_alloc(m->rules->map.count * sizeof *m->entries);
    for (size_t i = 0; i < m->rules->map.count; i++)
        mapping_open_entry(m, i);
    return m;
}

void mapping_free(struct mapping *m)
{
    if (!m)
        return;
    for (size_t i = 0; m->entries && i < m->rules->map.count; i++) {
        sqlite3_finalize(m->entries[i].stmt);
        map_end(&m->entries[i].of);
        free(m->entries[i].cells);
    }
    sqlite3_finalize(m->request);
    sqlite3_finalize(m->choose);
    struct buf *all[] = { &m->json, &m->data, &m->text, &m->headers, &m->given };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buf_free(all[i]);
    hmac_free(m->hmac);
    free(m->entries);
    free(m);
}

bool mapping_has_id(const struct mapping *m)
{
    return mapping_is_sql(m->rules->id);
}

/* ---- what SQL reads ---- */

/* As one JSON object, names in small letters; not what proves who the sender is. */
static void mapping_write_headers(struct mapping *m, const struct mapping_call *c)
{
    struct buf *out = &m->headers;
    buf_reset(out);
    buf_add_char(out, '{');
    for (size_t i = 0; i < c->header_count; i++) {
        const struct header *h = &c->headers[i];
        if (str_eq_nocase(h->name, STR("authorization")) || str_eq_nocase(h->name, STR("cookie"))
            || (c->verify && verify_reads_header(c->verify, h->name)))
            continue;
        if (out->at[out->n - 1] != '{')
            buf_add_char(out, ',');
        size_t begin = out->n;
        jscan_add_string(out, h->name);
        for (size_t k = begin; k < out->n; k++)
            out->at[k] = (char)(out->at[k] >= 'A' && out->at[k] <= 'Z' ? out->at[k] | 0x20 : out->at[k]);
        buf_add_char(out, ':');
        jscan_add_string(out, h->value);
    }
    buf_add_char(out, '}');
}

static void mapping_bind_text(sqlite3_stmt *stmt, const char *name, struct str text)
{
    int at = sqlite3_bind_parameter_index(stmt, name);
    if (at)
        sqlite3_bind_text64(stmt, at, text.at, text.n, SQLITE_STATIC, SQLITE_UTF8);
}

static void mapping_bind_column(sqlite3_stmt *stmt, const char *name, sqlite3_stmt *row, int col)
{
    int at = sqlite3_bind_parameter_index(stmt, name);
    if (at)
        sqlite3_bind_value(stmt, at, sqlite3_column_value(row, col));
}

static void mapping_bind(struct mapping *m, const struct mapping_call *c, sqlite3_stmt *stmt)
{
    mapping_bind_text(stmt, ":body", c->body);
    mapping_bind_text(stmt, ":headers", buf_str(&m->headers));
}

static void mapping_end(sqlite3_stmt *stmt)
{
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
}

/* ---- an event ---- */

/* A text that can stand in an attribute; else absent. */
static struct str mapping_attribute(sqlite3_stmt *row, int col)
{
    struct str text = value_text(row, col);
    return text.n && text.n <= EVENT_ATTRIBUTE_BYTES && event_is_value(text) ? text : STR_ABSENT;
}

static void mapping_shape(struct mapping *m, struct mapping_entry *x)
{
    const struct shaping shaping = { m->told, m->hmac, m->mask, EVENT_DATA_BYTES, &m->json, m->repaired, NULL };
    buf_reset(&m->json);
    for (size_t i = 0; i < x->of.count; i++) {
        const struct binding *b = &x->of.bindings[i];
        const char *wrong = NULL;
        int64_t lines;
        if (b->sql)
            wrong = shape_value(&shaping, b, x->stmt, DATA_HEAD + (int)i, &x->cells[i]);
        else
            shape_app(&shaping, m->app, &x->cells[i]);
        if (!wrong)
            continue;
        metric_add(m->left_out, 1);
        if (log_limit_pass(&m->log_limit, &lines))
            LOG(WARN, "a value is left out of an event", LOG_C("source", m->source), LOG_C("path", m->path),
                LOG_C("type", x->of.o->type), LOG_C("data", b->path->path), LOG_C("why", wrong));
    }
    data_drop_constants(&x->of, x->cells);
}

/* Has the event what its type must have, and none too large for it? */
static bool mapping_is_whole(const struct mapping_entry *x, struct err *e)
{
    for (size_t i = 0; i < x->of.count; i++)
        if (x->cells[i].large)
            return err_set(e, "data: %s is too large", x->of.bindings[i].path->path);
    const char *lack = data_lack(&x->of, x->cells);
    return !lack || err_set(e, "data: %s has no value, which events of %s must have", lack, x->of.o->type);
}

/* The id of the row's event by its entry; another one fitted the row before it: `again`. */
static void mapping_write_id(struct mapping *m, struct mapping_call *c, const struct mapping_entry *x, bool again)
{
    struct buf *out = &m->text;
    struct str own = mapping_attribute(m->choose, CHOOSE_ID), part = mapping_attribute(m->choose, CHOOSE_PART);
    c->by_like = c->by_like || !own.at;
    buf_add_str(out, own.at ? own : c->like.id);
    if (mapping_is_set(m->rules->each) && !part.at && !(own.at && m->id_is_of_part))
        part = value_text(m->choose, CHOOSE_KEY);
    if (part.at) {
        buf_add_char(out, '/');
        buf_add_str(out, part);
    }
    if (again)
        buf_printf(out, "/%s", x->of.o->type);
    if (again && x->of.twin)
        buf_printf(out, "-%zu", x->of.twin);
}

/* What was written behind `begin`, with nothing in it that an attribute cannot have. */
static struct str mapping_end_subject(struct buf *out, size_t begin)
{
    for (size_t i = begin; i < out->n; i++)
        if ((unsigned char)out->at[i] < 0x20 || out->at[i] == 0x7f)
            out->at[i] = '_';
    struct str subject = { out->at + begin, out->n - begin };
    return subject.n && subject.n <= EVENT_ATTRIBUTE_BYTES && event_is_value(subject) ? subject : STR_ABSENT;
}

static const struct event *mapping_make(struct mapping *m, struct mapping_call *c, struct mapping_entry *x, bool again,
                                        struct err *e)
{
    struct header extensions[EVENT_ATTRIBUTES];
    struct event f = c->like;
    char time[CLOCK_TEXT];
    int64_t ms;
    buf_reset(&m->text);
    mapping_write_id(m, c, x, again);
    size_t schema = m->text.n;
    vocabulary_schema(x->of.type, m->told->schema_base, &m->text);
    size_t type = m->text.n;
    buf_printf(&m->text, "%s%s", m->told->type_prefix ? m->told->type_prefix : "", x->of.o->type);
    size_t subject = m->text.n;
    data_subject(&m->text, &x->of, x->stmt);
    f.id = (struct str){ m->text.at, schema };
    f.dataschema = (struct str){ m->text.at + schema, type - schema };
    f.type = (struct str){ m->text.at + type, subject - type };
    f.subject = mapping_end_subject(&m->text, subject);
    f.datacontenttype = STR("application/json");
    f.data = buf_str(&m->data);
    if (value_time(m->choose, CHOOSE_TIME, &ms)) {
        clock_text(ms, time);
        f.time = str_of(time);
    }
    struct str key = data_partitionkey(&x->of, x->stmt);
    f.extensions = extensions;
    f.extension_count = 0;
    for (size_t i = 0; i < c->like.extension_count; i++)
        if (!key.at || !str_eq(c->like.extensions[i].name, STR("partitionkey")))
            extensions[f.extension_count++] = c->like.extensions[i];
    CHECK(f.extension_count < EVENT_ATTRIBUTES);
    if (key.at)
        extensions[f.extension_count++] = (struct header){ STR("partitionkey"), key };
    if (m->text.failed || m->data.failed || m->json.failed) {
        err_set(e, "it is too large");
        return NULL;
    }
    return event_new(&f, e);
}

/* The body, or the element, as it is but for `mask`; an element that is a bare text or number is left out. */
static void mapping_add_raw(struct mapping *m, const struct mapping_call *c)
{
    bool each = mapping_is_set(m->rules->each);
    struct str raw = each ? value_text(m->choose, CHOOSE_VALUE) : c->body;
    if (each && !str_eq(value_text(m->choose, CHOOSE_TYPE), STR("object")))
        return;
    struct buf masked = buf_new(raw.n * 4 + 64);
    buf_add_c(&m->data, ",\"raw\":{\"body\":");
    buf_add_str(&m->data, value_mask_inside(&masked, raw, m->mask));
    buf_add_char(&m->data, '}');
    buf_free(&masked);
}

/* The event that an entry makes of the row that `choose` stands on; NULL with *e. */
static const struct event *mapping_event(struct mapping *m, struct mapping_call *c, size_t i, bool again, struct err *e)
{
    struct mapping_entry *x = &m->entries[i];
    const struct event *ev = NULL;
    bool whole = sqlite3_bind_parameter_index(x->stmt, ":body") > 0;
    if (whole && !sandbox_may_read(m->sandbox, c->body.n, e)) {
        err_prefix(e, "map[%zu]", i);
        return NULL;
    }
    mapping_bind(m, c, x->stmt);
    mapping_bind_column(x->stmt, ":key", m->choose, CHOOSE_KEY);
    mapping_bind_column(x->stmt, ":value", m->choose, CHOOSE_VALUE);
    mapping_bind_column(x->stmt, ":type", m->choose, CHOOSE_TYPE);
    if (sqlite3_step(x->stmt) != SQLITE_ROW) {
        err_set(e, "%s", sqlite3_errmsg(m->sandbox->db));
    } else {
        mapping_shape(m, x);
        buf_reset(&m->data);
        buf_add_char(&m->data, '{');
        data_add(&m->data, &x->of, x->cells, &m->json);
        if (m->raw)
            mapping_add_raw(m, c);
        buf_add_char(&m->data, '}');
        ev = mapping_is_whole(x, e) ? mapping_make(m, c, x, again, e) : NULL;
    }
    mapping_end(x->stmt);
    if (!ev)
        err_prefix(e, "map[%zu]", i);
    return ev;
}

/* ---- a body ---- */

/* Id and time of the body become those of `like`. */
static void mapping_take_given(struct mapping *m, struct mapping_call *c, sqlite3_stmt *row, int id, int time)
{
    struct str text = mapping_attribute(row, id);
    char at[CLOCK_TEXT];
    int64_t ms;
    buf_reset(&m->given);
    if (text.at)
        buf_add_str(&m->given, text);
    if (value_time(row, time, &ms)) {
        clock_text(ms, at);
        buf_add_c(&m->given, at);
        c->like.time = (struct str){ m->given.at + text.n, m->given.n - text.n };
    }
    c->by_like = !text.at;
    if (text.at)
        c->like.id = (struct str){ m->given.at, text.n };
}

static void mapping_ask_request(struct mapping *m, struct mapping_call *c)
{
    if (!m->request)
        return;
    mapping_bind(m, c, m->request);
    if (sqlite3_step(m->request) == SQLITE_ROW)
        mapping_take_given(m, c, m->request, REQUEST_ID, REQUEST_TIME);
    mapping_end(m->request);
}

/* The events of the row that `choose` stands on, added to the n there are. */
static int mapping_row(struct mapping *m, struct mapping_call *c, int n, size_t *bytes, struct err *e)
{
    bool again = false;
    for (size_t i = 0; i < m->rules->map.count; i++) {
        if (!sqlite3_column_int(m->choose, CHOOSE_WHEN + (int)i))
            continue;
        const struct event *ev = NULL;
        if ((size_t)n == c->room)
            err_set(e, "it is more than %zu events (max_batch)", c->room);
        else
            ev = mapping_event(m, c, i, again, e);
        if (ev)
            c->out[n++] = ev;
        *bytes += ev ? event_bytes(ev) : 0;
        bool large = *bytes > MAPPING_BYTES + MAPPING_GROWTH * c->body.n;
        if (large)
            err_set(e, "its events are much larger than itself");
        if (!ev || large) {
            while (n > 0)
                event_unref(c->out[--n]);
            return -1;
        }
        again = true;
    }
    return n;
}

static int mapping_rows(struct mapping *m, struct mapping_call *c, struct err *e)
{
    size_t bytes = 0;
    int n = 0, rc = SQLITE_DONE;
    while (n >= 0 && (rc = sqlite3_step(m->choose)) == SQLITE_ROW)
        n = mapping_row(m, c, n, &bytes, e);
    if (n >= 0 && rc != SQLITE_DONE) {
        err_set(e, "%s", sqlite3_errmsg(m->sandbox->db));
        while (n > 0)
            event_unref(c->out[--n]);
        return -1;
    }
    return n;
}

/* What a very large body needed is not kept. */
static void mapping_shrink(struct mapping *m)
{
    if (m->json.cap + m->data.cap <= MAPPING_KEPT)
        return;
    buf_free(&m->json);
    buf_free(&m->data);
}

int mapping_events(struct mapping *m, struct mapping_call *c, struct err *e)
{
    static const char nul[] = "\\u0000";
    int n = 0;
    sandbox_begin(m->sandbox);
    c->by_like = true;
    c->by_headers = m->headers_in_id;
    c->of_headers = m->headers_read;
    if (m->headers_read)
        mapping_write_headers(m, c);
    if (memmem(c->body.at, c->body.n, nul, sizeof nul - 1)) {
        err_set(e, "it has a \\u0000, where texts end for SQL");
        return -1;
    }
    if (m->choose) {
        c->by_like = false;
        mapping_bind(m, c, m->choose);
        n = mapping_rows(m, c, e);
        mapping_end(m->choose);
    }
    if (n <= 0) {
        c->by_like = true;
        sandbox_begin(m->sandbox);
        mapping_ask_request(m, c);
    }
    mapping_shrink(m);
    return n;
}

enum unmapped mapping_miss(struct mapping *m, enum mapping_miss why, const char *text)
{
    int64_t lines;
    metric_add(m->unmapped_count[why], 1);
    if (why == MISS_FAILED && log_limit_pass(&m->log_limit, &lines))
        LOG(WARN,
            m->unmapped == UNMAPPED_STORE ? "a body could not be mapped; it is stored as it came"
                                          : "a body could not be mapped; it is refused",
            LOG_C("source", m->source), LOG_C("path", m->path), LOG_C("why", text));
    return m->unmapped == UNMAPPED_DROP && why != MISS_OTHER ? UNMAPPED_REFUSE : m->unmapped;
}
