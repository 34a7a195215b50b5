/* SPDX-License-Identifier: MIT */
/* The Kafka protocol binding 1.0 of events: records in binary mode (`ce_` headers, the data untouched) and structured
 * mode. */
#include "bridge/event/avro.h"
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

/* "count=integer,flag=boolean" */
static void kafka_read_types(struct draft *d, struct str types)
{
    struct str one, name;
    while (str_cut(&types, ',', &one)) {
        str_cut(&one, '=', &name);
        if (str_eq(one, STR("integer")) || str_eq(one, STR("boolean")))
            draft_set_type(d, name, one.at[0] == 'i');
    }
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
    kafka_read_types(&d, record_header(r, TRAIL_TYPES));
    struct str content_type = record_header(r, content_type_header);
    if (content_type.n > 0)
        d.fields.datacontenttype = content_type;
    return draft_event(&d, from, e);
}

/* `from`: the record that it may borrow from; NULL: it copies. */
static const struct event *kafka_decode(const struct record *r, struct record *from, struct err *e)
{
    if (record_header(r, version_header).at)
        return kafka_from_binary(r, from, e);
    if (str_starts_nocase(record_header(r, content_type_header), STR("application/cloudevents+avro")))
        return event_from_avro(r->value, e);
    switch (draft_mode(record_header(r, content_type_header), e)) {
    case DRAFT_JSON: return event_from_json(event_without_schema(r->value), e);
    case DRAFT_UNKNOWN: return NULL;
    case DRAFT_BINARY: break;
    }
    err_set(e, "not a CloudEvent: neither a %s header nor a content-type of application/cloudevents+json or +avro",
            version_header);
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
