/* SPDX-License-Identifier: MIT */
/* The JSON event format 1.0. */
#include "bridge/event/draft.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/jscan.h"

static void json_add_member(struct buf *out, struct str name, struct str value)
{
    if (!value.at)
        return;
    buf_add_c(out, ",\"");
    buf_add_str(out, name);
    buf_add_c(out, "\":");
    jscan_add_string(out, value);
}

static void json_add_extension(struct buf *out, const struct event *ev, size_t i)
{
    struct header x = ev->extensions[i];
    if (!((ev->integers | ev->booleans) >> i & 1)) {
        json_add_member(out, x.name, x.value);
        return;
    }
    buf_add_c(out, ",\"");
    buf_add_str(out, x.name);
    buf_add_c(out, "\":");
    buf_add_str(out, x.value);
}

static bool json_is_text(struct str type)
{
    return type.at && str_starts_nocase(type, STR("text/"));
}

static void json_add_data(struct buf *out, const struct event *ev)
{
    struct jscan_value value;
    if (event_type_is_json(ev->datacontenttype) && jscan_check(ev->data, &value, NULL)) {
        buf_add_c(out, ",\"data\":");
        buf_add_str(out, value.raw);
    } else if (json_is_text(ev->datacontenttype) && !event_type_is_json(ev->datacontenttype) && str_is_utf8(ev->data)) {
        json_add_member(out, STR("data"), ev->data);
    } else {
        buf_add_c(out, ",\"data_base64\":\"");
        base64_add(out, ev->data);
        buf_add_char(out, '"');
    }
}

struct str event_content_type(const struct event *ev)
{
    struct jscan_value value;
    if (ev->datacontenttype.at)
        return ev->datacontenttype;
    bool json = ev->data.n == 0 || jscan_check(ev->data, &value, NULL);
    return json ? STR("application/json") : STR("application/octet-stream");
}

void event_to_json(const struct event *ev, struct buf *out)
{
    buf_add_c(out, "{\"specversion\":\"1.0\"");
    json_add_member(out, STR("id"), ev->id);
    json_add_member(out, STR("source"), ev->source);
    json_add_member(out, STR("type"), ev->type);
    json_add_member(out, STR("subject"), ev->subject);
    json_add_member(out, STR("time"), ev->time);
    json_add_member(out, STR("datacontenttype"), ev->datacontenttype);
    json_add_member(out, STR("dataschema"), ev->dataschema);
    for (size_t i = 0; i < ev->extension_count; i++)
        json_add_extension(out, ev, i);
    if (ev->data.at)
        json_add_data(out, ev);
    buf_add_char(out, '}');
}

/* What has a name of its own in the payload, or goes in headers of its own. */
static bool json_payload_leaves_out(struct str extension)
{
    return str_eq(extension, STR("timestamp")) || str_eq(extension, STR("traceparent"))
           || str_eq(extension, STR("tracestate"));
}

void event_to_payload(const struct event *ev, struct str time, struct buf *out)
{
    buf_add_c(out, "{\"type\":");
    jscan_add_string(out, ev->type);
    json_add_member(out, STR("timestamp"), time);
    json_add_member(out, STR("id"), ev->id);
    json_add_member(out, STR("source"), ev->source);
    json_add_member(out, STR("subject"), ev->subject);
    for (size_t i = 0; i < ev->extension_count; i++)
        if (!json_payload_leaves_out(ev->extensions[i].name))
            json_add_extension(out, ev, i);
    if (!event_type_is_json(ev->datacontenttype))
        json_add_member(out, STR("datacontenttype"), ev->datacontenttype);
    if (ev->data.at)
        json_add_data(out, ev);
    else
        buf_add_c(out, ",\"data\":null");
    buf_add_char(out, '}');
}

/* What one event's JSON says. Strings with escapes and base64 are decoded to `decoded`, which gets its whole size at
 * once so that what points into it stays where it is. */
struct json_reading {
    struct draft draft;
    struct jscan_value data, data_base64;
    struct buf decoded;
};

static struct buf *json_scratch(struct json_reading *r)
{
    buf_room(&r->decoded, r->decoded.max - r->decoded.n);
    return &r->decoded;
}

static struct str json_content(struct json_reading *r, struct str quoted)
{
    struct str inside = { quoted.at + 1, quoted.n - 2 };
    if (!memchr(inside.at, '\\', inside.n))
        return inside;
    struct buf *to = json_scratch(r);
    size_t start = to->n;
    jscan_unescape(to, quoted);
    return (struct str){ to->at + start, to->n - start };
}

/* A 32-bit integer in its shortest form. */
static bool json_check_integer(struct str *raw)
{
    if (!draft_is_integer(*raw))
        return false;
    if (str_eq(*raw, STR("-0")))
        *raw = STR("0");
    return true;
}

static bool json_read_attribute(struct json_reading *r, struct str name, struct jscan_value value, struct err *e)
{
    struct str shown = name.n > 64 ? (struct str){ name.at, 64 } : name;
    size_t extensions = r->draft.fields.extension_count;
    struct str text = value.raw;
    switch (value.type) {
    case JSCAN_NONE:
    case JSCAN_NULL: /* as if it were not there */ return true;
    case JSCAN_STRING: return draft_set(&r->draft, name, json_content(r, value.raw), e);
    case JSCAN_NUMBER:
        if (!json_check_integer(&text))
            return err_set(e, "event attribute %.*s: a number that is not a 32-bit integer", STR_ARG(shown));
        break;
    case JSCAN_FALSE:
    case JSCAN_TRUE: break;
    case JSCAN_ARRAY:
    case JSCAN_OBJECT:
        return err_set(e, "event attribute %.*s: neither a string, an integer nor a boolean", STR_ARG(shown));
    }
    if (!draft_set(&r->draft, name, text, e))
        return false;
    if (r->draft.fields.extension_count == extensions)
        return err_set(e, "event attribute %.*s: not a string", STR_ARG(shown));
    draft_set_type(&r->draft, name, value.type == JSCAN_NUMBER);
    return true;
}

static bool json_read_member(struct json_reading *r, const struct jscan_member *m, struct err *e)
{
    struct str name = json_content(r, (struct str){ m->name.at - 1, m->name.n + 2 });
    bool is_data = str_eq(name, STR("data"));
    if (!is_data && !str_eq(name, STR("data_base64")))
        return json_read_attribute(r, name, m->value, e);
    struct jscan_value *to = is_data ? &r->data : &r->data_base64;
    if (to->type != JSCAN_NONE)
        return err_set(e, "event: %s stands twice", is_data ? "data" : "data_base64");
    *to = m->value;
    return true;
}

static bool json_read_base64(struct json_reading *r, struct err *e)
{
    if (r->data_base64.type != JSCAN_STRING)
        return err_set(e, "event: data_base64 is not a string");
    struct str text = json_content(r, r->data_base64.raw);
    struct buf *to = json_scratch(r);
    size_t start = to->n;
    if (!base64_decode(to, text))
        return err_set(e, "event: data_base64 is not base64");
    r->draft.fields.data = (struct str){ to->at + start, to->n - start };
    return true;
}

/* After all attributes, because the type decides what `data` means. */
static bool json_read_data(struct json_reading *r, struct err *e)
{
    bool json = event_type_is_json(r->draft.fields.datacontenttype);
    if (r->data.type == JSCAN_NULL && !json)
        r->data.type = JSCAN_NONE;
    if (r->data_base64.type == JSCAN_NULL)
        r->data_base64.type = JSCAN_NONE;
    if (r->data.type != JSCAN_NONE && r->data_base64.type != JSCAN_NONE)
        return err_set(e, "event: both data and data_base64");
    if (r->data_base64.type != JSCAN_NONE)
        return json_read_base64(r, e);
    if (r->data.type == JSCAN_NONE)
        return true;
    if (!json && r->data.type != JSCAN_STRING)
        return err_set(e, "event: data is not a string although datacontenttype is not JSON");
    r->draft.fields.data = json ? r->data.raw : json_content(r, r->data.raw);
    return true;
}

static const struct event *json_read_event(struct json_reading *r, const struct jscan_member *members, size_t count,
                                           struct err *e)
{
    for (size_t i = 0; i < count; i++)
        if (!json_read_member(r, &members[i], e))
            return NULL;
    return json_read_data(r, e) ? draft_event(&r->draft, NULL, e) : NULL;
}

const struct event *event_from_json(struct str json, struct err *e)
{
    struct jscan_member members[EVENT_ATTRIBUTES + 16];
    enum { ROOM = sizeof members / sizeof *members };
    json = jscan_skip_mark(json);
    int count = jscan_object(json, members, ROOM, e);
    if (count < 0 || count > ROOM) {
        if (count > ROOM)
            err_set(e, "%d members, the most is %d", count, ROOM);
        err_prefix(e, "event");
        return NULL;
    }
    struct json_reading r;
    draft_begin(&r.draft);
    r.data = r.data_base64 = (struct jscan_value){ 0 };
    r.decoded = buf_new(2 * json.n);
    const struct event *ev = json_read_event(&r, members, (size_t)count, e);
    buf_free(&r.decoded);
    return ev;
}

int event_from_json_each(struct str json, const struct event **out, size_t room, event_bad_fn *bad, void *ctx,
                         struct err *e)
{
    struct jscan_value batch, element;
    size_t count = 0;
    struct err why;
    bool ok = jscan_check(jscan_skip_mark(json), &batch, e);
    if (!ok || batch.type != JSCAN_ARRAY) {
        if (ok)
            err_set(e, "not an array");
        err_prefix(e, "event batch");
        return -1;
    }
    for (const char *at = batch.raw.at; jscan_next(batch, &at, &element); count++) {
        if (count < room && ((out[count] = event_from_json(element.raw, &why)) || bad)) {
            if (!out[count])
                bad(ctx, count, why.text);
            continue;
        }
        if (count == room)
            err_set(e, "event batch: more than %zu events", room);
        else
            err_set(e, "event batch[%zu]: %s", count, why.text);
        while (count > 0)
            event_unref(out[--count]);
        return -1;
    }
    return (int)count;
}

int event_from_json_batch(struct str json, const struct event **out, size_t room, struct err *e)
{
    return event_from_json_each(json, out, room, NULL, NULL, e);
}
