/* SPDX-License-Identifier: MIT */
/* The Kafka protocol binding 1.0 of events: records in binary mode (`ce_` headers, the data untouched) and structured
 * mode. */
#include "bridge/event/avro.h"
#include "bridge/event/columns.h"
#include "bridge/event/draft.h"
#include "bridge/event/trail.h"

enum { PREFIX = sizeof EVENT_HEADER_PREFIX - 1 };
static const char version_header[] = EVENT_HEADER_PREFIX "specversion", content_type_header[] = "content-type";

static size_t kafka_put(struct header *out, struct str name, struct str value)
{
    if (value.at)
        *out = (struct header){ name, value };
    return value.at != NULL;
}

size_t event_to_headers(const struct event *ev, struct header *out)
{
    size_t n = kafka_put(out, STR(version_header), STR("1.0"));
    n += kafka_put(&out[n], STR(EVENT_HEADER_PREFIX "id"), ev->id);
    n += kafka_put(&out[n], STR(EVENT_HEADER_PREFIX "source"), ev->source);
    n += kafka_put(&out[n], STR(EVENT_HEADER_PREFIX "type"), ev->type);
    n += kafka_put(&out[n], STR(EVENT_HEADER_PREFIX "subject"), ev->subject);
    n += kafka_put(&out[n], STR(EVENT_HEADER_PREFIX "time"), ev->time);
    n += kafka_put(&out[n], STR(EVENT_HEADER_PREFIX "dataschema"), ev->dataschema);
    for (size_t i = 0; i < ev->extension_count; i++) {
        struct str name = ev->extensions[i].name;
        out[n++] = (struct header){ { name.at - PREFIX, name.n + PREFIX }, ev->extensions[i].value };
    }
    n += kafka_put(&out[n], STR(TRAIL_TYPES), event_types(ev));
    return n + kafka_put(&out[n], STR(content_type_header), event_content_type(ev));
}

static const struct event *kafka_from_binary(const struct record *r, struct record *from, struct err *e)
{
    struct draft d;
    draft_begin(&d);
    d.fields.data = r->value;
    for (size_t i = 0; i < r->header_count; i++) {
        const struct header *h = &r->headers[i];
        if (h->value.at && str_starts(h->name, STR(EVENT_HEADER_PREFIX))
            && !draft_set(&d, str_from(h->name, PREFIX), h->value, e))
            return NULL;
    }
    draft_set_types(&d, record_header(r, TRAIL_TYPES));
    struct str content_type = record_header(r, content_type_header);
    if (content_type.n > 0)
        d.fields.datacontenttype = content_type;
    return draft_event(&d, from, e);
}

/* Says why it is no event. */
static void kafka_refuse(const struct record *r, struct err *e)
{
    if (!record_header(r, content_type_header).at && r->value.n > SCHEMA_HEAD && r->value.at[0] == 0)
        err_set(e,
                "not a CloudEvent: the value begins as those of a schema registry do, but the header %s is missing, "
                "which says by which schema of ours it is to be read",
                content_type_header);
    else
        err_set(e,
                "not a CloudEvent: neither a %s header nor a content-type of application/cloudevents+json, +avro "
                "or " COLUMNS_TYPE,
                version_header);
}

/* `from`: the record that it may borrow from; NULL: it copies. */
static const struct event *kafka_decode(const struct record *r, struct record *from, struct err *e)
{
    struct str type = record_header(r, content_type_header);
    if (record_header(r, version_header).at)
        return kafka_from_binary(r, from, e);
    if (str_starts_nocase(type, STR("application/cloudevents+avro")))
        return event_from_avro(r->value, e);
    if (str_starts_nocase(type, STR(COLUMNS_TYPE)))
        return event_from_columns(r->value, e);
    switch (draft_mode(type, e)) {
    case DRAFT_JSON: return event_from_json(record_without_schema(r->value), e);
    case DRAFT_UNKNOWN: return NULL;
    case DRAFT_BINARY: break;
    }
    kafka_refuse(r, e);
    return NULL;
}

const struct event *event_from_record(const struct record *r, struct err *e)
{
    return kafka_decode(r, NULL, e);
}

const struct event *event_of_record(struct record *r, struct err *e)
{
    const struct event *ev = event_of_share(r->share, NULL);
    if (ev)
        return ev;
    ev = kafka_decode(r, r, e);
    return ev ? event_of_share(r->share, ev) : NULL;
}
