/* SPDX-License-Identifier: MIT */
/* From an emission to the records that are published. */
#include "bridge/intake/private.h"
#include "bridge/event/avro.h"
#include "bridge/lib/buf.h"
#include "bridge/lib/log.h"

/* In binary mode. */
static struct str routed_value(const struct event *ev, const struct route_config *route)
{
    if (ev->data.at || route->empty_data == EMPTY_DATA_NULL)
        return ev->data;
    return route->empty_data == EMPTY_DATA_JSON ? STR("null") : STR("");
}

/* Not in binary mode: all of the event in the value. */
static void routed_encode(const struct event *ev, enum route_encoding encoding, struct routed *out, struct record *r)
{
    if (encoding == ENCODING_AVRO) {
        if (out->avro.n == 0)
            event_to_avro(ev, &out->avro);
        out->avro_headers[0] = (struct header){ STR("content-type"), STR("application/cloudevents+avro") };
        r->schema = SCHEMA_AVRO;
        r->value = buf_str(&out->avro);
        r->headers = out->avro_headers;
        return;
    }
    if (out->structured.n == 0) {
        buf_add(&out->structured, (const char[SCHEMA_HEAD]){ 0 }, SCHEMA_HEAD);
        event_to_json(ev, &out->structured);
    }
    out->json_headers[0] = (struct header){ STR("content-type"), STR("application/cloudevents+json; charset=UTF-8") };
    r->schema = encoding == ENCODING_JSON_SCHEMA ? SCHEMA_JSON : SCHEMA_NONE;
    r->value = buf_str(&out->structured);
    if (r->schema == SCHEMA_NONE)
        r->value = event_without_schema(r->value);
    r->headers = out->json_headers;
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
    out->structured = buf_new(8u * EVENT_DATA_BYTES);
    out->avro = buf_new(2u * EVENT_DATA_BYTES);
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
        routed_encode(ev, targets[i].route->encoding, out, &out->records[i]);
        if (em->scope.n) /* behind the type of the content */
            out->json_headers[1] = out->avro_headers[1] = from;
        out->records[i].header_count = em->scope.n ? 2 : 1;
    }
}

void routed_dead_letter(const struct intake *in, const struct event *ev, char when[CLOCK_TEXT], const char *why_class,
                        const char *why, struct routed *out)
{
    out->structured = buf_new(0);
    out->avro = buf_new(0);
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
    buf_free(&r->structured);
    buf_free(&r->avro);
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
