/* SPDX-License-Identifier: MIT */
/* From an emission to the records that are published. */
#include "bridge/intake/private.h"
#include "bridge/event/avro.h"
#include "bridge/event/columns.h"
#include "bridge/lib/buf.h"
#include "bridge/lib/log.h"

/* In binary mode. */
static struct str routed_value(const struct event *ev, const struct route_config *route)
{
    if (ev->data.at || route->empty_data == EMPTY_DATA_NULL)
        return ev->data;
    return route->empty_data == EMPTY_DATA_JSON ? STR("null") : STR("");
}

static void routed_encode(const struct event *ev, enum record_schema schema, struct routed *out, struct record *r)
{
    struct routed_form *form = schema == SCHEMA_AVRO      ? &out->avro
                               : schema == SCHEMA_COLUMNS ? &out->columns
                                                          : &out->json;
    bool made = form->value.n > 0;
    r->schema = schema;
    if (schema == SCHEMA_AVRO) {
        form->headers[0].value = STR("application/cloudevents+avro");
        if (!made)
            event_to_avro(ev, &form->value);
    } else if (schema == SCHEMA_COLUMNS) {
        form->headers[0].value = STR(COLUMNS_TYPE);
        if (!made)
            event_to_columns(ev, &form->value);
    } else {
        form->headers[0].value = STR("application/cloudevents+json; charset=UTF-8");
        if (!made) {
            buf_add(&form->value, (const char[SCHEMA_HEAD]){ 0 }, SCHEMA_HEAD);
            event_to_json(ev, &form->value);
        }
    }
    form->headers[0].name = STR("content-type");
    r->value = schema == SCHEMA_NONE ? record_without_schema(buf_str(&form->value)) : buf_str(&form->value);
    r->headers = form->headers;
}

void routed_make(const struct intake *in, const struct emission *em, struct routed *out)
{
    const struct event *ev = em->event;
    const struct header from = { STR(TRAIL_FROM), em->scope };
    struct target targets[ROUTE_TARGETS];
    out->count = router_targets(in->router, ev, targets);
    int64_t event_ms;
    if (!clock_parse(ev->time, &event_ms))
        event_ms = 0;
    out->json.value = buf_new(8u * EVENT_DATA_BYTES);
    out->avro.value = buf_new(2u * EVENT_DATA_BYTES);
    out->columns.value = buf_new(2u * EVENT_DATA_BYTES);
    size_t headers = event_to_headers(ev, out->headers);
    if (em->scope.n)
        out->headers[headers++] = from;
    for (size_t i = 0; i < out->count; i++) {
        out->records[i] = (struct record){ .topic = str_of(targets[i].topic),
                                           .partition = -1,
                                           .event_ms = targets[i].route->timestamp == TIMESTAMP_EVENT ? event_ms : 0,
                                           .key = targets[i].key,
                                           .value = targets[i].tombstone ? STR_ABSENT
                                                                         : routed_value(ev, targets[i].route),
                                           .headers = out->headers,
                                           .header_count = headers };
        if (targets[i].tombstone || targets[i].route->encoding == ENCODING_BINARY)
            continue;
        routed_encode(ev, route_schema(targets[i].route), out, &out->records[i]);
        if (em->scope.n) /* behind the type of the content */
            out->json.headers[1] = out->avro.headers[1] = out->columns.headers[1] = from;
        out->records[i].header_count = em->scope.n ? 2 : 1;
    }
}

void routed_dead_letter(const struct intake *in, const struct event *ev, char when[CLOCK_TEXT], const char *why_class,
                        const char *why, struct routed *out)
{
    out->json.value = out->avro.value = out->columns.value = buf_new(0);
    clock_text(clock_wall_ms(), when);
    size_t n = event_to_headers(ev, out->headers);
    const struct header trail[] = {
        { STR(TRAIL_SOURCE), str_of(in->s->id) }, { STR(TRAIL_ATTEMPTS), STR("0") },
        { STR(TRAIL_FIRST), str_of(when) },       { STR(TRAIL_LAST), str_of(when) },
        { STR(TRAIL_CLASS), str_of(why_class) },  { STR(TRAIL_REASON), str_of(why) },
    };
    for (size_t i = 0; i < sizeof trail / sizeof *trail; i++)
        out->headers[n++] = trail[i];
    out->records[0] = (struct record){ .topic = str_of(in->dead_letter_topic),
                                       .partition = -1,
                                       .key = ev->subject,
                                       .value = ev->data,
                                       .headers = out->headers,
                                       .header_count = n };
    out->count = 1;
}

void routed_free(struct routed *r)
{
    buf_free(&r->json.value);
    buf_free(&r->avro.value);
    buf_free(&r->columns.value);
}

/* The broker's thread, or inside broker_publish. */
static void routed_done(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    struct intake *in = ctx;
    mailbox_put(&in->done, tag, (int32_t)o, why);
}

void routed_log(const struct intake *in, const struct event *ev, const struct routed *r)
{
    for (size_t i = 0; log_shows(LOG_DEBUG) && i < r->count; i++)
        LOG(DEBUG, "routed", LOG_C("source", in->s->id), LOG_STR("event", ev->id), LOG_STR("event_source", ev->source),
            LOG_STR("topic", r->records[i].topic), LOG_STR("key", r->records[i].key.at ? r->records[i].key : STR("")));
}

void routed_publish(struct intake *in, struct publication what, uint64_t tag)
{
    what.state_of = in->s->id;
    what.done = routed_done;
    what.ctx = in;
    what.tag = tag;
    broker_publish(in->broker, &what);
}
