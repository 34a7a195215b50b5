/* SPDX-License-Identifier: MIT */
/* Builds webhook requests. */
#include "connectors/webhook/request.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/event/trace.h"
#include "bridge/event/trail.h"
#include "bridge/lib/mem.h"

enum {
    BODY_BYTES = 128 << 20, /* the largest data as base64, with room for the attributes */
    HEADER_BYTES = 256 << 10,
    ID_OWN = 16,            /* shortest event id that stands for itself */
    KEEP_BYTES = 256 << 10, /* buffers above this are given back */
};

static bool request_is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
           || (c && strchr("!#$%&'*+-.^_`|~", c));
}

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

static bool request_is_text(const char *value)
{
    for (const char *c = value; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return false;
    return true;
}

bool request_content_type_ok(const char *type, struct err *e)
{
    size_t major = 0, minor;
    while (request_is_token_char(type[major]))
        major++;
    const char *rest = type[major] == '/' ? type + major + 1 : "";
    for (minor = 0; request_is_token_char(rest[minor]);)
        minor++;
    rest += minor;
    if (major == 0 || minor == 0 || (*rest && *rest != ';' && *rest != ' ') || strlen(type) > 256
        || !request_is_text(type))
        return err_set(e, "content_type: \"%.64s\" is not a media type such as application/json", type);
    return true;
}

bool request_header_ok(const char *name, const char *value, struct err *e)
{
    static const char *const ours[] = { "host",        "content-length", "transfer-encoding",
                                        "connection",  "expect",         "te",
                                        "trailer",     "upgrade",        "keep-alive",
                                        "traceparent", "tracestate",     NULL };
    struct str n = str_of(name);
    if (n.n == 0 || n.n > 128)
        return err_set(e, "headers: a name has 1 to 128 characters");
    for (size_t i = 0; i < n.n; i++)
        if (!request_is_token_char(name[i]))
            return err_set(e, "headers: \"%s\" is not the name of a header", name);
    if (str_eq_nocase(n, STR("content-type")))
        return err_set(e, "headers: %s is set by the bridge (see content_type)", name);
    for (size_t i = 0; ours[i]; i++)
        if (str_eq_nocase(n, str_of(ours[i])))
            return err_set(e, "headers: %s is set by the bridge", name);
    if (str_starts_nocase(n, STR("webhook-")) || str_starts_nocase(n, STR("ce-"))
        || str_starts_nocase(n, STR("proxy-")))
        return err_set(e, "headers: %s is set by the bridge", name);
    if (!*value || strlen(value) > 4096)
        return err_set(e, "headers: the value of %s must have 1 to 4096 characters", name);
    if (!request_is_text(value))
        return err_set(e, "headers: the value of %s has a control character", name);
    return true;
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
static void request_write_payload(struct request *r, const struct message *m, int64_t wall_ms)
{
    char text[CLOCK_TEXT];
    struct str time = m->event->time;
    if (!time.at) {
        clock_text(m->record && m->record->timestamp_ms > 0 ? m->record->timestamp_ms : wall_ms, text);
        time = str_of(text);
    }
    event_to_payload(m->event, time, &r->json);
}

/* The body as one JSON: the Standard Webhooks payload, or by the CloudEvents HTTP binding 3.2. */
static bool request_set_json(struct request *r, const struct request_template *t, const struct message *m,
                             int64_t wall_ms, struct err *e)
{
    bool standard = t->body == BODY_STANDARD;
    if (standard)
        request_write_payload(r, m, wall_ms);
    else
        event_to_json(m->event, &r->json);
    if (r->json.failed)
        return err_set(e, "the event is too large for a body of JSON (%d MiB)", BODY_BYTES >> 20);
    r->body = buf_str(&r->json);
    const char *own = standard ? "application/json" : "application/cloudevents+json";
    buf_add_c(&r->text, "Content-Type: ");
    request_add_line(r, t->content_type ? t->content_type : own);
    return true;
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

/* The event's trace context, the user's headers, and none of those that libcurl would add. */
static void request_add_headers(struct request *r, const struct request_template *t, const struct event *ev)
{
    struct trace trace;
    trace_read(&trace, ev->extensions, ev->extension_count);
    if (trace.parent.at) {
        buf_printf(&r->text, "traceparent: %.*s", STR_ARG(trace.parent));
        request_end_line(r);
    }
    if (trace.state.at) {
        buf_printf(&r->text, "tracestate: %.*s", STR_ARG(trace.state));
        request_end_line(r);
    }
    for (size_t i = 0; i < t->headers->count; i++) {
        buf_printf(&r->text, "%s: %s", t->headers->at[i].key, t->headers->at[i].value);
        request_end_line(r);
    }
    request_add_line(r, "Accept:");
    request_add_line(r, "Expect:");
}

bool request_build(struct request *r, const struct request_template *t, const struct message *m, int64_t wall_ms,
                   struct err *e)
{
    const struct event *ev = m->event;
    char id[REQUEST_ID + 1];
    r->json.max = BODY_BYTES;
    r->text.max = HEADER_BYTES;
    buf_reset(&r->json);
    buf_reset(&r->text);
    r->line_count = 0;
    if (t->body == BODY_BINARY)
        request_set_binary(r, ev);
    else if (!request_set_json(r, t, m, wall_ms, e))
        return false;
    r->line_count += signer_add(t->signer, request_id(m, id), wall_ms, r->body, &r->text);
    request_add_headers(r, t, ev);
    if (r->text.failed)
        return err_set(e, "the attributes are too large for HTTP headers (%d KiB): body: structured takes them",
                       HEADER_BYTES >> 10);
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
    free(r->lines);
}
