/* SPDX-License-Identifier: MIT */
/* Builds webhook requests. */
#include "connectors/webhook/request.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/event/span.h"
#include "bridge/event/trail.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/mem.h"

enum {
    BODY_BYTES = 128 << 20, /* the largest data as base64, with room for the attributes */
    HEADER_BYTES = 256 << 10,
    URL_BYTES = 64 << 10,
    ID_OWN = 16,            /* shortest event id that stands for itself */
    KEEP_BYTES = 256 << 10, /* buffers above this are given back */
};

#define REQUEST_ORIGIN "WebHook-Request-Origin"

static bool request_is_id_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

struct str request_id(const struct message *m, char out[REQUEST_ID + 1])
{
    const struct event *ev = m->event;
    struct str scope = m->record ? record_header(m->record, TRAIL_FROM) : STR_ABSENT;
    if (scope.n > 0) {
        uuid_of((const struct str[]){ scope, ev->source, ev->id }, 3, out);
        return str_of(out);
    }
    size_t n = 0;
    while (n < ev->id.n && n < REQUEST_ID && request_is_id_char(ev->id.at[n]))
        n++;
    if (n == ev->id.n && n >= ID_OWN)
        return ev->id;
    uuid_of((const struct str[]){ ev->source, ev->id }, 2, out);
    return str_of(out);
}

/* Ends the header line that was written to r->text. */
static void request_end_line(struct request *r)
{
    buf_add_char(&r->text, '\0');
    r->line_count++;
}

static void request_add_line(struct request *r, const char *line)
{
    buf_add_c(&r->text, line);
    request_end_line(r);
}

static void request_add_attribute(struct request *r, struct str name, struct str value)
{
    if (!value.at)
        return;
    buf_add(&r->text, "ce-", 3);
    buf_add_str(&r->text, name);
    buf_add_c(&r->text, value.n > 0 ? ": " : ";"); /* libcurl's way to say an empty value */
    event_http_encode(&r->text, value);
    request_end_line(r);
}

/* CloudEvents HTTP binding 3.1: attributes as headers, the data as it is. */
static void request_set_binary(struct request *r, const struct event *ev)
{
    r->body = ev->data.at ? ev->data : STR("");
    request_add_attribute(r, STR("specversion"), STR("1.0"));
    request_add_attribute(r, STR("id"), ev->id);
    request_add_attribute(r, STR("source"), ev->source);
    request_add_attribute(r, STR("type"), ev->type);
    request_add_attribute(r, STR("subject"), ev->subject);
    request_add_attribute(r, STR("time"), ev->time);
    request_add_attribute(r, STR("dataschema"), ev->dataschema);
    for (size_t i = 0; i < ev->extension_count; i++)
        request_add_attribute(r, ev->extensions[i].name, ev->extensions[i].value);
    buf_add_c(&r->text, "Content-Type:"); /* empty: libcurl leaves out its own */
    if (ev->datacontenttype.at) {
        buf_add_char(&r->text, ' ');
        buf_add_str(&r->text, ev->datacontenttype);
    }
    request_end_line(r);
}

/* The event's time. Without one, that of its record, so that all attempts say the same. */
static void request_write_payload(struct buf *out, const struct message *m, int64_t wall_ms)
{
    char text[CLOCK_TEXT];
    struct str time = m->event->time;
    if (!time.at) {
        clock_text(m->record && m->record->timestamp_ms > 0 ? m->record->timestamp_ms : wall_ms, text);
        time = str_of(text);
    }
    event_to_payload(m->event, time, out);
}

static bool request_add_type(struct request *r, struct shape *shape, const char *own, struct err *e)
{
    size_t before = r->text.n;
    buf_add_c(&r->text, "Content-Type: ");
    size_t named = r->text.n;
    if (!shape_add_type(shape, own, &r->text, e))
        return false;
    if (r->text.n == named && !r->text.failed) { /* none: libcurl leaves out its own */
        r->text.n = before;
        buf_add_c(&r->text, "Content-Type:");
    }
    request_end_line(r);
    return true;
}

/* The data as it is, with its own type or the user's. */
static bool request_set_data(struct request *r, const struct request_template *t, const struct event *ev, struct err *e)
{
    char own[256] = "";
    r->body = ev->data.at ? ev->data : STR("");
    if (ev->datacontenttype.at && ev->datacontenttype.n < sizeof own)
        snprintf(own, sizeof own, "%.*s", STR_ARG(ev->datacontenttype));
    return request_add_type(r, t->shape, own, e);
}

/* What is written for the event: the Standard Webhooks payload, JSON by the CloudEvents HTTP binding 3.2, or what the
 * template gives. */
static bool request_write(struct buf *out, const struct request_template *t, const struct message *m, int64_t wall_ms,
                          struct err *e)
{
    if (t->shape->body == BODY_STANDARD)
        request_write_payload(out, m, wall_ms);
    else if (t->shape->body == BODY_STRUCTURED)
        event_to_json(m->event, out);
    else if (!shape_add_body(t->shape, out, e))
        return false;
    return !out->failed || err_set(e, "the event is too large for a body of JSON (%d MiB)", BODY_BYTES >> 20);
}

static bool request_set_written(struct request *r, const struct request_template *t, const struct message *m,
                                int64_t wall_ms, struct err *e)
{
    bool structured = t->shape->body == BODY_STRUCTURED;
    if (!request_write(&r->json, t, m, wall_ms, e))
        return false;
    r->body = buf_str(&r->json);
    return request_add_type(r, t->shape, structured ? "application/cloudevents+json" : "application/json", e);
}

static bool request_set_body(struct request *r, const struct request_template *t, const struct message *m,
                             int64_t wall_ms, struct err *e)
{
    switch (t->shape->body) {
    case BODY_BINARY: request_set_binary(r, m->event); return true;
    case BODY_DATA: return request_set_data(r, t, m->event, e);
    case BODY_STANDARD:
    case BODY_STRUCTURED:
    case BODY_TEMPLATE: break;
    }
    return request_set_written(r, t, m, wall_ms, e);
}

/* The lines as a list in libcurl's form, without an allocation per line. */
static void request_link_lines(struct request *r)
{
    if (r->line_count > r->line_cap) {
        r->line_cap = r->line_count + 16;
        r->lines = mem_grow(r->lines, r->line_cap, sizeof *r->lines);
    }
    char *at = r->text.at;
    for (size_t i = 0; i < r->line_count; i++) {
        r->lines[i] = (struct curl_slist){ .data = at, .next = i + 1 < r->line_count ? &r->lines[i + 1] : NULL };
        at += strlen(at) + 1;
    }
}

static bool request_add_users(struct request *r, struct shape *shape, struct err *e)
{
    for (size_t i = 0; i < shape->header_count; i++) {
        bool omitted;
        size_t before = r->text.n;
        buf_printf(&r->text, "%s: ", shape->headers[i].name);
        size_t named = r->text.n;
        if (!shape_add_header(shape, i, &r->text, &omitted, e))
            return false;
        if (r->text.failed)
            break;
        if (omitted || r->text.n == named)
            r->text.n = before;
        if (!omitted && r->text.n == before)
            buf_printf(&r->text, "%s;", shape->headers[i].name); /* libcurl's way to say an empty value */
        if (!omitted)
            request_end_line(r);
    }
    return true;
}

/* Of the attempt, if that has a span in the event's trace; else of the event. */
static void request_add_trace(struct request *r, const struct event *ev, uint64_t span)
{
    struct trace trace;
    struct span_root root;
    char parent[SPAN_PARENT_TEXT];
    trace_read(&trace, ev->extensions, ev->extension_count);
    if (span && span_root_of(ev, &root)) {
        span_parent_text(&root, span, parent);
        trace.parent = str_of(parent);
    }
    if (trace.parent.at) {
        buf_printf(&r->text, "traceparent: %.*s", STR_ARG(trace.parent));
        request_end_line(r);
    }
    if (trace.state.at) {
        buf_printf(&r->text, "tracestate: %.*s", STR_ARG(trace.state));
        request_end_line(r);
    }
}

/* What is the receiver's own, the origin that asked for consent, and none of those that libcurl would add. */
static void request_add_ours(struct request *r, const struct request_template *t)
{
    if (t->authorization)
        request_add_line(r, t->authorization);
    if (t->origin) {
        buf_printf(&r->text, REQUEST_ORIGIN ": %s", t->origin);
        request_end_line(r);
    }
    request_add_line(r, "Accept:");
    request_add_line(r, "Expect:");
}

/* The URL, if it is the request's own; and what expressions are about. */
static bool request_begin(struct request *r, const struct request_template *t, const struct message *m, struct err *e)
{
    if (!t->shape->uses_event)
        return true;
    shape_see(t->shape, m->event, request_id(m, r->id));
    if (!shape_has_url(t->shape))
        return true;
    if (!shape_add_url(t->shape, str_of(t->url), &r->url, e))
        return false;
    return buf_c(&r->url) || err_set(e, "path and query: the URL is longer than %d bytes", URL_BYTES);
}

static void request_begin_lines(struct request *r)
{
    r->json.max = BODY_BYTES;
    r->text.max = HEADER_BYTES;
    r->url.max = URL_BYTES;
    buf_reset(&r->json);
    buf_reset(&r->text);
    buf_reset(&r->url);
    r->line_count = 0;
}

void request_ask(struct request *r, const char *origin, double most)
{
    request_begin_lines(r);
    r->body = STR("");
    buf_printf(&r->text, REQUEST_ORIGIN ": %s", origin);
    request_end_line(r);
    if (most > 0) {
        buf_printf(&r->text, "WebHook-Request-Rate: %.0f", most * 60 < 1 ? 1 : most * 60);
        request_end_line(r);
    }
    request_add_line(r, "Content-Type:");
    request_add_line(r, "Accept:");
    request_add_line(r, "Expect:");
    request_link_lines(r);
}

bool request_build(struct request *r, const struct request_template *t, const struct message *m, int64_t wall_ms,
                   struct err *e)
{
    char id[REQUEST_ID + 1];
    request_begin_lines(r);
    if (!request_begin(r, t, m, e) || !request_set_body(r, t, m, wall_ms, e))
        return false;
    r->line_count += signer_add(t->signer, request_id(m, id), wall_ms, r->body, &r->text);
    request_add_trace(r, m->event, m->span);
    if (!request_add_users(r, t->shape, e))
        return false;
    request_add_ours(r, t);
    if (r->text.failed)
        return err_set(e, "the attributes are too large for HTTP headers (%d KiB): body: structured takes them",
                       HEADER_BYTES >> 10);
    request_link_lines(r);
    return true;
}

/* The data as it is, which has to be JSON. */
static bool request_add_data(struct buf *out, const struct event *ev, struct err *e)
{
    struct jscan_value value;
    if (!ev->data.at)
        buf_add_c(out, "null");
    else if (event_type_is_json(ev->datacontenttype) && jscan_check(ev->data, &value, NULL))
        buf_add_str(out, value.raw);
    else
        return err_set(e, "batch: the event's data is no JSON, as a batch with body: data is");
    return !out->failed || err_set(e, "the event is too large for a batch");
}

bool request_add_element(struct buf *out, const struct request_template *t, const struct message *m, struct err *e)
{
    size_t before = out->n;
    char id[REQUEST_ID + 1];
    if (t->shape->body == BODY_DATA)
        return request_add_data(out, m->event, e);
    if (t->shape->body == BODY_TEMPLATE)
        shape_see(t->shape, m->event, request_id(m, id));
    if (!request_write(out, t, m, clock_wall_ms(), e))
        return false;
    if (out->n == before)
        buf_add_c(out, "null"); /* of a template that leaves out all */
    return true;
}

bool request_build_batch(struct request *r, const struct request_template *t, const struct message *first,
                         struct str id, struct str body, int64_t wall_ms, struct err *e)
{
    bool structured = t->shape->body == BODY_STRUCTURED;
    request_begin_lines(r);
    if (!request_begin(r, t, first, e)
        || !request_add_type(r, t->shape, structured ? "application/cloudevents-batch+json" : "application/json", e))
        return false;
    r->body = body;
    r->line_count += signer_add(t->signer, id, wall_ms, body, &r->text);
    if (!request_add_users(r, t->shape, e))
        return false;
    request_add_ours(r, t);
    if (r->text.failed)
        return err_set(e, "headers: they are larger than %d KiB", HEADER_BYTES >> 10);
    request_link_lines(r);
    return true;
}

/* Gives back a buffer that has grown unusually large. */
static void request_trim_buffer(struct buf *b)
{
    if (b->cap > KEEP_BYTES)
        buf_free(b);
}

void request_trim(struct request *r)
{
    request_trim_buffer(&r->json);
    request_trim_buffer(&r->text);
}

void request_free(struct request *r)
{
    buf_free(&r->json);
    buf_free(&r->text);
    buf_free(&r->url);
    free(r->lines);
}
