/* SPDX-License-Identifier: MIT */
/* What a slice found: events and changes of state, kept until read() has handed them out. */
#include "bridge/lib/crypto.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "connectors/sqlite/value.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEPT_BYTES = 4096 };

void batch_reset(struct sqlite_source *s)
{
    struct batch *b = &s->found;
    for (size_t i = b->given; i < b->event_count; i++)
        event_unref(b->events[i]);
    b->event_count = b->given = b->bytes = b->change_count = 0;
    b->alone = false;
    buf_reset(&b->text);
}

void batch_free(struct sqlite_source *s)
{
    batch_reset(s);
    free(s->found.events);
    free(s->found.changes);
    free(s->found.out);
    buf_free(&s->found.text);
    s->found = (struct batch){ 0 };
}

void batch_change(struct sqlite_source *s, const struct rule *r, const char *what, struct str key, struct str value,
                  bool ahead)
{
    struct batch *b = &s->found;
    if (b->change_count == b->change_cap) {
        b->change_cap = b->change_cap ? b->change_cap * 2 : 64;
        b->changes = mem_grow(b->changes, b->change_cap, sizeof *b->changes);
    }
    struct batch_change *c = &b->changes[b->change_count++];
    *c = (struct batch_change){ .key = b->text.n, .forget = !value.at, .ahead = ahead };
    if (r)
        buf_printf(&b->text, "%s/", r->name);
    buf_add_c(&b->text, what);
    buf_add_str(&b->text, key);
    c->key_n = b->text.n - c->key;
    c->value = b->text.n;
    buf_add_str(&b->text, value);
    c->value_n = value.n;
    CHECK(!b->text.failed);
}

void batch_ready(struct sqlite_source *s, struct rule *r)
{
    char text[24];
    r->ready = true;
    r->signature = rule_signature(r);
    snprintf(text, sizeof text, "%" PRIx64, r->signature);
    batch_change(s, r, "ready", STR(""), str_of(text), false);
}

/* ---- an event ---- */

static int column_of(const struct rule *r, struct str name)
{
    for (int i = 0; i < r->field_count; i++)
        if (str_eq_nocase(str_of(r->fields[i].name), name))
            return HEAD + (int)r->o->watch.count + i;
    return -1;
}

/* Appends the template with every {column} replaced; what is not known is left out. */
static void expand(struct buf *out, const struct rule *r, const struct happening *h, const char *template)
{
    struct str rest = str_of(template), piece;
    while (str_cut(&rest, '{', &piece)) {
        buf_add_str(out, piece);
        if (!rest.at || !str_cut(&rest, '}', &piece))
            return;
        int col = column_of(r, piece);
        if (str_eq_nocase(piece, str_of(r->o->key)))
            buf_add_str(out, value_key_plain(h->key));
        else if (h->row && col >= 0)
            value_plain(out, h->row, col);
    }
}

static bool in_type(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

static void make_type(struct buf *out, const struct rule *r, const struct happening *h)
{
    expand(out, r, h, h->type);
    for (size_t i = 0; i < out->n; i++)
        if (!in_type(out->at[i]))
            out->at[i] = '_';
}

static void make_subject(struct buf *out, const struct rule *r, const struct happening *h)
{
    size_t begin = out->n;
    if (r->o->subject) {
        expand(out, r, h, r->o->subject);
    } else {
        buf_printf(out, "%s/", r->o->table ? r->o->table : r->name);
        buf_add_str(out, value_key_plain(h->key));
    }
    for (size_t i = begin; i < out->n; i++)
        if ((unsigned char)out->at[i] < 0x20 || out->at[i] == 0x7f)
            out->at[i] = '_';
    if (str_is_utf8((struct str){ out->at + begin, out->n - begin }) && out->n - begin <= EVENT_ATTRIBUTE_BYTES)
        return;
    char id[UUID_TEXT];
    uuid_of(&h->key, 1, id);
    out->n = begin;
    buf_printf(out, "%s/%s", r->o->table ? r->o->table : r->name, id);
}

/* The JSON of each field of the row to s->cells; n == 0: it alone passes `max`. Returns the length of all as one
 * object. */
static size_t render_fields(struct sqlite_source *s, struct rule *r, sqlite3_stmt *row, bool keep, size_t max)
{
    bool repaired = false;
    size_t total = 2;
    buf_reset(&s->cells);
    for (int i = 0; i < r->field_count; i++) {
        struct field *f = &r->fields[i];
        int col = HEAD + (int)r->o->watch.count + i, type = sqlite3_column_type(row, col);
        *f = (struct field){ .name = f->name, .form = f->form, .keep = f->keep, .at = s->cells.n };
        if (keep && !f->keep)
            continue;
        if ((type == SQLITE_TEXT || type == SQLITE_BLOB) && (size_t)sqlite3_column_bytes(row, col) > max)
            continue;
        value_json(&s->cells, row, col, f->form, &r->o->mask, &repaired);
        f->n = s->cells.n - f->at;
        if (s->cells.failed || f->n > max) {
            s->cells.n = f->at;
            s->cells.failed = false;
            f->n = 0;
        }
        total += f->n ? f->n + strlen(f->name) + 4 : 0;
    }
    if (repaired)
        metric_add(s->repaired, 1);
    return total;
}

static void drop_largest(struct rule *r, size_t *total)
{
    struct field *largest = NULL;
    for (int i = 0; i < r->field_count; i++)
        if (!largest || r->fields[i].n > largest->n)
            largest = &r->fields[i];
    if (!largest || !largest->n) {
        *total = 0;
        return;
    }
    *total -= largest->n + strlen(largest->name) + 4;
    largest->n = 0;
}

/* The row as a JSON object of at most `max` bytes; the names of columns that had to be left out go to `without`. */
static void render(struct sqlite_source *s, struct rule *r, sqlite3_stmt *row, bool keep, size_t max, struct buf *out,
                   struct buf *without)
{
    size_t total = render_fields(s, r, row, keep, max);
    while (total > max)
        drop_largest(r, &total);
    buf_add_char(out, '{');
    for (int i = 0; i < r->field_count; i++) {
        struct field *f = &r->fields[i];
        if (keep && !f->keep)
            continue;
        if (!f->n) {
            buf_printf(without, "%s%s", without->n ? "," : "", f->name);
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

void batch_kept(struct sqlite_source *s, struct rule *r, sqlite3_stmt *row, struct buf *out)
{
    struct buf without = buf_new(EVENT_ATTRIBUTE_BYTES);
    render(s, r, row, true, KEPT_BYTES, out, &without);
    buf_free(&without);
}

static void make_data(struct sqlite_source *s, struct rule *r, const struct happening *h, struct buf *without)
{
    struct buf *out = &s->data;
    buf_reset(out);
    if (h->row) {
        render(s, r, h->row, false, (size_t)s->max_event.n, out, without);
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

static void make_id(const struct sqlite_source *s, const struct rule *r, const struct happening *h, char id[UUID_TEXT])
{
    char number[24];
    snprintf(number, sizeof number, "%c%" PRIu64, h->version ? 'v' : 'e', h->version ? h->version : (uint64_t)r->epoch);
    uuid_of((struct str[]){ str_of(s->identity), str_of(r->name), h->key, str_of(h->op), str_of(number) }, 5, id);
}

static void push(struct batch *b, const struct event *ev)
{
    if (b->event_count == b->event_cap) {
        b->event_cap = b->event_cap ? b->event_cap * 2 : 64;
        b->events = mem_grow(b->events, b->event_cap, sizeof *b->events);
    }
    b->events[b->event_count++] = ev;
    b->bytes += ev->data.n;
}

void batch_event(struct sqlite_source *s, struct rule *r, const struct happening *h)
{
    char id[UUID_TEXT], when[CLOCK_TEXT];
    struct buf without = buf_new(EVENT_ATTRIBUTE_BYTES);
    int64_t ms;
    if (!h->timed || !h->row || !value_time(h->row, HEAD_TIME, &ms))
        ms = clock_wall_ms();
    clock_text(ms, when);
    make_id(s, r, h, id);
    make_data(s, r, h, &without);
    buf_reset(&s->small);
    make_type(&s->small, r, h);
    size_t type_n = s->small.n;
    make_subject(&s->small, r, h);
    struct header extensions[3];
    size_t count = 0;
    if (h->changed)
        extensions[count++] = (struct header){ STR("changed"), str_of(h->changed) };
    if (!r->ready)
        extensions[count++] = (struct header){ STR("snapshot"), STR("true") };
    if (without.n)
        extensions[count++] = (struct header){ STR("truncated"), buf_str(&without) };
    struct event fields = {
        .id = str_of(id),
        .source = str_of(s->origin),
        .time = str_of(when),
        .datacontenttype = STR("application/json"),
        .type = { s->small.at, type_n },
        .subject = { s->small.at + type_n, s->small.n - type_n },
        .extensions = extensions,
        .extension_count = count,
        .data = buf_str(&s->data),
    };
    struct err e = { 0 };
    const struct event *ev = s->data.failed ? NULL : event_new(&fields, &e);
    if (ev) {
        push(&s->found, ev);
        metric_add(s->events, 1);
    } else {
        metric_add(s->refused, 1);
        LOG(ERROR, "a row could not be made into an event", LOG_C("source", s->base.id), LOG_C("rule", r->name),
            LOG_STR("key", h->key), LOG_C("why", e.text));
    }
    if (without.n) {
        metric_add(s->truncated, 1);
        LOG(WARN, "an event was too large: columns left out", LOG_C("source", s->base.id), LOG_C("rule", r->name),
            LOG_STR("key", h->key), LOG_STR("columns", buf_str(&without)), LOG_INT("max_event", s->max_event.n));
    }
    buf_free(&without);
}

/* ---- handing out ---- */

static void contract_changes(struct batch *b)
{
    if (b->change_count > b->out_cap) {
        b->out_cap = b->change_cap;
        b->out = mem_grow(b->out, b->out_cap, sizeof *b->out);
    }
    for (size_t i = 0; i < b->change_count; i++) {
        const struct batch_change *c = &b->changes[i];
        b->out[i] = (struct change){
            .key = { b->text.at + c->key, c->key_n },
            .value = c->forget ? STR_ABSENT : (struct str){ b->text.at + c->value, c->value_n },
            .ahead = c->ahead,
        };
    }
}

int batch_take(struct sqlite_source *s, struct emission *out, size_t room)
{
    struct batch *b = &s->found;
    size_t n = 0;
    for (; n < room && b->given < b->event_count; n++)
        out[n] = (struct emission){ .event = b->events[b->given++], .tag = ++s->tag };
    if (b->given < b->event_count || !b->change_count || !room)
        return (int)n;
    if (n == 0)
        out[n++] = (struct emission){ .tag = ++s->tag };
    contract_changes(b);
    out[n - 1].changes = b->out;
    out[n - 1].change_count = b->change_count;
    b->change_count = 0;
    return (int)n;
}
