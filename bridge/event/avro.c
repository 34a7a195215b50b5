/* SPDX-License-Identifier: MIT */
/* The Avro event format 1.0, as the value of a Kafka record in Confluent's wire format. */
#include <stdio.h>
#include "bridge/event/avro.h"
#include "bridge/event/avro_read.h"
#include "bridge/event/columns.h"
#include "bridge/event/draft.h"
#include "bridge/lib/crypto.h"

/* avro-format.md, section 2.4, less what its data may be besides: that is what only readers of JSON without a content type need,
 * and a schema that contains itself is too much for some registries and tools. What is written is the same bytes by both. */
static const char avro_schema[] =
    "{\"namespace\":\"io.cloudevents\",\"type\":\"record\",\"name\":\"CloudEvent\",\"version\":\"1.0\","
    "\"doc\":\"Avro Event Format for CloudEvents\",\"fields\":["
    "{\"name\":\"attribute\",\"type\":{\"type\":\"map\",\"values\":[\"null\",\"boolean\",\"int\",\"string\",\"bytes\"]}},"
    "{\"name\":\"data\",\"type\":[\"bytes\",\"null\"]}]}";

static const char avro_json_schema
    [] = "{\"$schema\":\"http://json-schema.org/draft-07/schema#\",\"title\":\"io.cloudevents.JsonCloudEvent\","
         "\"description\":\"JSON Event Format for CloudEvents\",\"type\":\"object\","
         "\"required\":[\"specversion\",\"id\",\"source\",\"type\"],\"properties\":{"
         "\"specversion\":{\"const\":\"1.0\"},\"id\":{\"type\":\"string\",\"minLength\":1},"
         "\"source\":{\"type\":\"string\",\"minLength\":1},\"type\":{\"type\":\"string\",\"minLength\":1},"
         "\"subject\":{\"type\":\"string\"},\"time\":{\"type\":\"string\",\"format\":\"date-time\"},"
         "\"datacontenttype\":{\"type\":\"string\"},\"dataschema\":{\"type\":\"string\"},"
         "\"data\":{},\"data_base64\":{\"type\":\"string\",\"contentEncoding\":\"base64\"}}}";

struct event_schema event_schema(enum record_schema which)
{
    switch (which) {
    case SCHEMA_AVRO: return (struct event_schema){ "io.cloudevents.CloudEvent", STR(avro_schema), false };
    case SCHEMA_COLUMNS: return (struct event_schema){ "aqueduct.Event", columns_texts->text, false };
    case SCHEMA_JSON: return (struct event_schema){ "io.cloudevents.JsonCloudEvent", STR(avro_json_schema), true };
    case SCHEMA_NONE: break;
    }
    return (struct event_schema){ "", STR(""), false };
}

/* Where the values stand in the unions. */
enum { AVRO_NULL, AVRO_BOOLEAN, AVRO_INT, AVRO_STRING, AVRO_BYTES };
enum { AVRO_DATA_BYTES, AVRO_DATA_NULL };

/* ---- out ---- */

static void avro_add_long(struct buf *out, int64_t n)
{
    uint64_t z = (uint64_t)n << 1 ^ (uint64_t)(n >> 63);
    for (; z > 0x7f; z >>= 7)
        buf_add_char(out, (char)(z | 0x80));
    buf_add_char(out, (char)z);
}

static void avro_add_bytes(struct buf *out, struct str s)
{
    avro_add_long(out, (int64_t)s.n);
    buf_add_str(out, s);
}

static void avro_add_string(struct buf *out, struct str name, struct str value)
{
    if (!value.at)
        return;
    avro_add_bytes(out, name);
    avro_add_long(out, AVRO_STRING);
    avro_add_bytes(out, value);
}

static void avro_add_extension(struct buf *out, const struct event *ev, size_t i)
{
    struct header x = ev->extensions[i];
    int64_t n = 0;
    if (ev->booleans >> i & 1) {
        avro_add_bytes(out, x.name);
        avro_add_long(out, AVRO_BOOLEAN);
        buf_add_char(out, str_eq(x.value, STR("true")));
    } else if (ev->integers >> i & 1 && str_to_i64(x.value, &n)) {
        avro_add_bytes(out, x.name);
        avro_add_long(out, AVRO_INT);
        avro_add_long(out, n);
    } else {
        avro_add_string(out, x.name, x.value);
    }
}

void event_to_avro(const struct event *ev, struct buf *out)
{
    size_t count = 5 + ev->extension_count + (ev->subject.at != NULL) + (ev->time.at != NULL)
                   + (ev->dataschema.at != NULL);
    buf_add(out, (const char[SCHEMA_HEAD]){ 0 }, SCHEMA_HEAD);
    avro_add_long(out, (int64_t)count);
    avro_add_string(out, STR("specversion"), STR("1.0"));
    avro_add_string(out, STR("id"), ev->id);
    avro_add_string(out, STR("source"), ev->source);
    avro_add_string(out, STR("type"), ev->type);
    avro_add_string(out, STR("subject"), ev->subject);
    avro_add_string(out, STR("time"), ev->time);
    avro_add_string(out, STR("datacontenttype"), event_content_type(ev));
    avro_add_string(out, STR("dataschema"), ev->dataschema);
    for (size_t i = 0; i < ev->extension_count; i++)
        avro_add_extension(out, ev, i);
    avro_add_long(out, 0);
    avro_add_long(out, ev->data.at ? AVRO_DATA_BYTES : AVRO_DATA_NULL);
    if (ev->data.at)
        avro_add_bytes(out, ev->data);
}

/* ---- in ---- */

struct avro_reading {
    struct str rest;
    struct draft draft;
    struct err *e;
    struct buf made; /* texts of values that are none; has its whole size at once, so that what points into it stays */
};

static bool avro_read_value(struct avro_reading *r, int64_t type, struct str *out)
{
    int64_t n;
    size_t start = r->made.n;
    switch (type) {
    case AVRO_STRING: return avro_read_bytes(&r->rest, out);
    case AVRO_BOOLEAN:
        if (r->rest.n == 0 || (unsigned char)r->rest.at[0] > 1)
            return false;
        *out = r->rest.at[0] ? STR("true") : STR("false");
        r->rest = str_from(r->rest, 1);
        return true;
    case AVRO_INT:
        if (!avro_read_long(&r->rest, &n) || n < INT32_MIN || n > INT32_MAX)
            return false;
        buf_printf(&r->made, "%d", (int)n);
        break;
    case AVRO_BYTES: {
        struct str bytes;
        if (!avro_read_bytes(&r->rest, &bytes))
            return false;
        base64_add(&r->made, bytes); /* as CloudEvents writes a Binary where there are only texts */
        break;
    }
    default: return false;
    }
    *out = (struct str){ r->made.at + start, r->made.n - start };
    return true;
}

static bool avro_read_attribute(void *ctx)
{
    struct avro_reading *r = ctx;
    struct str name, value;
    int64_t type;
    if (!avro_read_bytes(&r->rest, &name) || !avro_read_long(&r->rest, &type))
        return false;
    if (type == AVRO_NULL)
        return true;
    if (!avro_read_value(r, type, &value) || !draft_set(&r->draft, name, value, r->e))
        return false;
    if (type == AVRO_INT || type == AVRO_BOOLEAN)
        draft_set_type(&r->draft, name, type == AVRO_INT);
    return true;
}

static bool avro_read_event(struct avro_reading *r)
{
    enum { PAIRS_MOST = EVENT_ATTRIBUTES + 16 };
    int64_t type;
    if (!avro_read_map(&r->rest, PAIRS_MOST, avro_read_attribute, r) || !avro_read_long(&r->rest, &type))
        return false;
    if (type != AVRO_DATA_BYTES && type != AVRO_DATA_NULL)
        return err_set(r->e, "event: its data is not bytes");
    return (type == AVRO_DATA_NULL || avro_read_bytes(&r->rest, &r->draft.fields.data)) && r->rest.n == 0;
}

const struct event *event_from_avro(struct str value, struct err *e)
{
    struct err why = { "" };
    struct avro_reading r = { .rest = record_without_schema(value), .e = &why };
    draft_begin(&r.draft);
    r.made = buf_new(2 * value.n + 16 * (EVENT_ATTRIBUTES + 16));
    buf_room(&r.made, r.made.max);
    const struct event *ev = avro_read_event(&r) ? draft_event(&r.draft, NULL, &why) : NULL;
    if (!ev)
        err_set(e, "%s", why.text[0] ? why.text : "event: not an event in Avro, by CloudEvents' schema");
    buf_free(&r.made);
    return ev;
}
