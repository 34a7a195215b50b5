/* SPDX-License-Identifier: MIT */
/* Events as columns: written by libavro, the columns of the data from its JSON; read as far as `data`. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <avro.h>
#include "bridge/event/columns.h"
#include "bridge/event/avro_read.h"
#include "bridge/event/draft.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/mem.h"

enum { /* the fields before the columns */
       FIELD_ID,
       FIELD_SOURCE,
       FIELD_TYPE,
       FIELD_SUBJECT,
       FIELD_TIME,
       FIELD_TIME_TEXT,
       FIELD_DATACONTENTTYPE,
       FIELD_DATASCHEMA,
       FIELD_PARTITIONKEY,
       FIELD_EXTENSIONS,
       FIELD_EXTENSION_TYPES,
       FIELD_DATA,
       FIELD_COLUMNS
};
enum { COLUMNS_NULL, COLUMNS_VALUE }; /* where they stand in every union */
enum {
    COLUMNS_NUMBER = 64, /* longest number */
    /* A record shall be one that a broker takes (1 MiB is the default) if the event alone is: so much may event and columns have together,
     * or the columns COLUMNS_ROOM; of that, COLUMNS_ROOM is for values of up to COLUMNS_SHORT. */
    COLUMNS_RECORD = 960 << 10,
    COLUMNS_ROOM = 32 << 10,
    COLUMNS_SHORT = 1 << 10,
    COLUMNS_ESCAPED = 6, /* so much longer may a text be where all of it is escaped */
};

/* ---- out ---- */

struct columns_making {
    struct buf made; /* texts that had escapes; has its whole size at once, so that what points into it stays */
    size_t room;     /* left for texts */
};

static avro_value_iface_t *columns_class;
static pthread_once_t columns_once = PTHREAD_ONCE_INIT;

static void columns_load(void)
{
    avro_schema_t schema;
    CHECK(avro_schema_from_json_length(columns_texts->text.at, columns_texts->text.n, &schema) == 0);
    columns_class = avro_generic_class_from_schema(schema);
    CHECK(columns_class);
    avro_schema_decref(schema);
}

static avro_value_t columns_field(const avro_value_t *record, size_t i)
{
    avro_value_t field;
    CHECK(avro_value_get_by_index(record, i, &field, NULL) == 0);
    return field;
}

static avro_value_t columns_branch(const avro_value_t *column, int branch)
{
    avro_value_t value;
    CHECK(avro_value_set_branch(column, branch, &value) == 0);
    return value;
}

/* Borrows the text. libavro counts a NUL behind it, which it never reads. */
static void columns_give(const avro_value_t *to, struct str text)
{
    avro_wrapped_buffer_t borrowed;
    CHECK(avro_wrapped_buffer_new(&borrowed, text.at, text.n + 1) == 0);
    CHECK(avro_value_give_string_len(to, &borrowed) == 0);
}

static void columns_give_field(const avro_value_t *record, size_t i, struct str text)
{
    avro_value_t column = columns_field(record, i), value;
    if (text.at) {
        value = columns_branch(&column, COLUMNS_VALUE);
        columns_give(&value, text);
    }
}

/* Every field from `first` on is null. */
static void columns_clear(const avro_value_t *record, size_t first)
{
    size_t count;
    CHECK(avro_value_get_size(record, &count) == 0);
    for (size_t i = first; i < count; i++) {
        avro_value_t column = columns_field(record, i);
        columns_branch(&column, COLUMNS_NULL);
    }
}

static void columns_extensions(const avro_value_t *record, const struct event *ev)
{
    char name[EVENT_NAME_BYTES + 1];
    avro_value_t column = columns_field(record, FIELD_EXTENSIONS), map, value;
    for (size_t i = 0; i < ev->extension_count; i++) {
        struct header x = ev->extensions[i];
        if (str_eq(x.name, STR("partitionkey"))) {
            columns_give_field(record, FIELD_PARTITIONKEY, x.value);
            continue;
        }
        memcpy(name, x.name.at, x.name.n); /* born: no longer than that */
        name[x.name.n] = '\0';
        map = columns_branch(&column, COLUMNS_VALUE);
        CHECK(avro_value_add(&map, name, &value, NULL, NULL) == 0);
        columns_give(&value, x.value);
    }
    columns_give_field(record, FIELD_EXTENSION_TYPES, event_types(ev));
}

/* A time of the years 1 to 9999 in UTC: all that the date types of Python and SQL have. A reader that cannot make one of a
 * number gives up the whole record. */
static bool columns_put_time(const avro_value_t *to, struct str text)
{
    const int64_t first = -62135596800000, last = 253402300799999;
    int64_t ms;
    return clock_parse(text, &ms) && ms >= first && ms <= last && avro_value_set_long(to, ms) == 0;
}

static void columns_attributes(const avro_value_t *record, const struct event *ev)
{
    const struct str needed[] = { ev->id, ev->source, ev->type };
    for (size_t i = 0; i < FIELD_SUBJECT; i++) {
        avro_value_t field = columns_field(record, i);
        columns_give(&field, needed[i]);
    }
    columns_clear(record, FIELD_SUBJECT);
    columns_give_field(record, FIELD_SUBJECT, ev->subject);
    avro_value_t time = columns_field(record, FIELD_TIME), ms = columns_branch(&time, COLUMNS_VALUE);
    if (!columns_put_time(&ms, ev->time))
        columns_branch(&time, COLUMNS_NULL);
    columns_give_field(record, FIELD_TIME_TEXT, ev->time);
    columns_give_field(record, FIELD_DATACONTENTTYPE, event_content_type(ev));
    columns_give_field(record, FIELD_DATASCHEMA, ev->dataschema);
    columns_extensions(record, ev);
    if (ev->data.at) {
        avro_value_t column = columns_field(record, FIELD_DATA), data = columns_branch(&column, COLUMNS_VALUE);
        avro_wrapped_buffer_t borrowed;
        CHECK(avro_wrapped_buffer_new(&borrowed, ev->data.at, ev->data.n) == 0);
        CHECK(avro_value_give_bytes(&data, &borrowed) == 0);
    }
}

/* A text, if there is room left for it. */
static bool columns_put_text(struct columns_making *m, const avro_value_t *to, struct str text)
{
    if (text.n + (text.n > COLUMNS_SHORT ? COLUMNS_ROOM : 0) > m->room)
        return false;
    m->room -= text.n;
    columns_give(to, text);
    return true;
}

static bool columns_put_string(struct columns_making *m, const avro_value_t *to, struct str quoted)
{
    struct str text = { quoted.at + 1, quoted.n - 2 };
    if (!memchr(text.at, '\\', text.n))
        return columns_put_text(m, to, text);
    if (text.n > COLUMNS_ESCAPED * m->room)
        return false;
    if (!m->made.at)
        buf_room(&m->made, m->made.max);
    size_t start = m->made.n;
    jscan_unescape(&m->made, quoted);
    if (columns_put_text(m, to, (struct str){ m->made.at + start, m->made.n - start }))
        return true;
    m->made.n = start;
    return false;
}

static bool columns_put_number(const avro_value_t *to, struct str number)
{
    char text[COLUMNS_NUMBER];
    if (number.n >= sizeof text)
        return false;
    memcpy(text, number.at, number.n);
    text[number.n] = '\0';
    double d = strtod(text, NULL);
    return isfinite(d) && avro_value_set_double(to, d) == 0;
}

static void columns_put_members(struct columns_making *m, const avro_value_t *record, size_t first,
                                const struct column *table, struct jscan_value object);

static bool columns_put_items(struct columns_making *m, const avro_value_t *to, const struct column *table,
                              struct jscan_value array)
{
    struct jscan_value item;
    const char *at = array.raw.at;
    avro_value_t record;
    for (size_t count = 0; jscan_next(array, &at, &item); count++) {
        if (item.type != JSCAN_OBJECT || count == COLUMNS_ITEMS)
            return false;
        CHECK(avro_value_append(to, &record, NULL) == 0);
        columns_put_members(m, &record, 0, table, item);
    }
    return true;
}

/* False: the value does not fit. */
static bool columns_put(struct columns_making *m, const avro_value_t *to, const struct column *c, struct jscan_value v)
{
    int64_t n;
    switch (c->form) {
    case VOCABULARY_STRING: return v.type == JSCAN_STRING && columns_put_string(m, to, v.raw);
    case VOCABULARY_INTEGER: return v.type == JSCAN_NUMBER && str_to_i64(v.raw, &n) && avro_value_set_long(to, n) == 0;
    case VOCABULARY_NUMBER: return v.type == JSCAN_NUMBER && columns_put_number(to, v.raw);
    case VOCABULARY_BOOLEAN:
        return (v.type == JSCAN_TRUE || v.type == JSCAN_FALSE) && avro_value_set_boolean(to, v.type == JSCAN_TRUE) == 0;
    case VOCABULARY_TIME:
        return v.type == JSCAN_STRING && columns_put_time(to, (struct str){ v.raw.at + 1, v.raw.n - 2 });
    case VOCABULARY_ARRAY: return v.type == JSCAN_ARRAY && columns_put_items(m, to, c->below, v);
    case VOCABULARY_OBJECT:
        if (!c->below)
            return columns_put_text(m, to, v.raw);
        if (v.type == JSCAN_OBJECT)
            columns_put_members(m, to, 0, c->below, v);
        return v.type == JSCAN_OBJECT;
    }
    return false;
}

/* Puts an object's members in the record's columns, which begin at `first`; of two with one name the last holds. */
static void columns_put_members(struct columns_making *m, const avro_value_t *record, size_t first,
                                const struct column *table, struct jscan_value object)
{
    struct jscan_member member;
    const char *at = object.raw.at;
    columns_clear(record, first);
    while (jscan_next_member(object, &at, &member)) {
        const struct column *c = table;
        while (c->name && !str_eq(str_of(c->name), member.name))
            c++;
        if (!c->name)
            continue;
        avro_value_t column = columns_field(record, first + (size_t)(c - table));
        columns_branch(&column, COLUMNS_NULL);
        if (member.value.type == JSCAN_NULL)
            continue;
        avro_value_t value = columns_branch(&column, COLUMNS_VALUE);
        if (!columns_put(m, &value, c, member.value))
            columns_branch(&column, COLUMNS_NULL);
    }
}

/* Has its data the shape of the vocabulary? By its dataschema, by its type where it has none. */
static bool columns_apply(const struct event *ev)
{
    if (!ev->data.at || !event_type_is_json(ev->datacontenttype))
        return false;
    return ev->dataschema.at ? vocabulary_of_schema(ev->dataschema) : vocabulary_type(ev->type) != NULL;
}

void event_to_columns(const struct event *ev, struct buf *out)
{
    avro_value_t record;
    size_t n;
    pthread_once(&columns_once, columns_load);
    CHECK(avro_generic_value_new(columns_class, &record) == 0);
    columns_attributes(&record, ev);
    const size_t most = (COLUMNS_ESCAPED + 1) * COLUMNS_RECORD;
    struct columns_making m = { .made = buf_new(ev->data.n < most ? ev->data.n : most), .room = COLUMNS_ROOM };
    if (event_bytes(ev) + COLUMNS_ROOM < COLUMNS_RECORD)
        m.room = COLUMNS_RECORD - event_bytes(ev);
    struct jscan_value data;
    if (columns_apply(ev) && jscan_check(ev->data, &data, NULL))
        columns_put_members(&m, &record, FIELD_COLUMNS, columns_table, data);
    CHECK(avro_value_sizeof(&record, &n) == 0);
    buf_add(out, (const char[SCHEMA_HEAD]){ 0 }, SCHEMA_HEAD);
    char *room = buf_room(out, n);
    if (room) {
        avro_writer_t writer = avro_writer_memory(room, (int64_t)n);
        CHECK(writer && avro_value_write(writer, &record) == 0);
        avro_writer_free(writer);
        out->n += n;
    }
    avro_value_decref(&record);
    buf_free(&m.made);
}

/* ---- in ---- */

struct columns_reading {
    struct str rest;
    struct draft draft;
    struct err *e;
};

/* A column that may be null; then *out stays. */
static bool columns_read_bytes(struct columns_reading *r, struct str *out)
{
    int64_t branch;
    return avro_read_long(&r->rest, &branch)
           && (branch == COLUMNS_NULL || (branch == COLUMNS_VALUE && avro_read_bytes(&r->rest, out)));
}

static bool columns_read_extension(void *ctx)
{
    struct columns_reading *r = ctx;
    struct str name, value;
    return avro_read_bytes(&r->rest, &name) && avro_read_bytes(&r->rest, &value)
           && draft_set(&r->draft, name, value, r->e);
}

static bool columns_read_extensions(struct columns_reading *r)
{
    struct str key = STR_ABSENT, types = STR_ABSENT;
    int64_t branch;
    if (!columns_read_bytes(r, &key) || (key.at && !draft_set(&r->draft, STR("partitionkey"), key, r->e)))
        return false;
    if (!avro_read_long(&r->rest, &branch) || (branch != COLUMNS_NULL && branch != COLUMNS_VALUE))
        return false;
    if (branch == COLUMNS_VALUE && !avro_read_map(&r->rest, EVENT_ATTRIBUTES, columns_read_extension, r))
        return false;
    if (!columns_read_bytes(r, &types))
        return false;
    draft_set_types(&r->draft, types);
    return true;
}

static bool columns_read(struct columns_reading *r)
{
    struct event *f = &r->draft.fields;
    int64_t branch, time_ms;
    return avro_read_bytes(&r->rest, &f->id) && avro_read_bytes(&r->rest, &f->source)
           && avro_read_bytes(&r->rest, &f->type) && columns_read_bytes(r, &f->subject)
           && avro_read_long(&r->rest, &branch)
           && (branch == COLUMNS_NULL || (branch == COLUMNS_VALUE && avro_read_long(&r->rest, &time_ms)))
           && columns_read_bytes(r, &f->time) && columns_read_bytes(r, &f->datacontenttype)
           && columns_read_bytes(r, &f->dataschema) && columns_read_extensions(r) && columns_read_bytes(r, &f->data);
}

const struct event *event_from_columns(struct str value, struct err *e)
{
    struct err why = { "" };
    struct columns_reading r = { .rest = record_without_schema(value), .e = &why };
    draft_begin(&r.draft);
    r.draft.has_version = true;
    const struct event *ev = columns_read(&r) ? draft_event(&r.draft, NULL, &why) : NULL;
    if (!ev)
        err_set(e, "%s", why.text[0] ? why.text : "event: not an event in Avro, by the schema of its columns");
    return ev;
}
