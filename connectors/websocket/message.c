/* SPDX-License-Identifier: MIT */
/* Reads what clients publish. */
#include "connectors/websocket/message.h"
#include <stdlib.h>
#include "bridge/event/template.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/jscan.h"

enum { MEMBERS = 64 };

struct reading {
    const struct author *by;
    struct jscan_member members[MEMBERS];
    size_t count;
    struct buf id, type, subject;
    char made[UUID_TEXT], now[CLOCK_TEXT];
};

static const struct jscan_value *message_member(const struct reading *r, struct str name)
{
    for (size_t i = 0; i < r->count; i++)
        if (str_eq(r->members[i].name, name))
            return &r->members[i].value;
    return NULL;
}

/* The text of a string or number, in *out; absent when there is no such member, or it is "" or null. */
static bool message_text(const struct reading *r, struct str name, struct buf *out, struct str *text, struct err *e)
{
    const struct jscan_value *v = message_member(r, name);
    *text = STR_ABSENT;
    if (!v || v->type == JSCAN_NULL)
        return true;
    if (v->type == JSCAN_STRING)
        jscan_unescape(out, v->raw);
    else if (v->type == JSCAN_NUMBER)
        buf_add_str(out, v->raw);
    else
        return err_set(e, "%.*s: is neither text nor a number", STR_ARG(name));
    if (out->failed)
        return err_set(e, "%.*s: is longer than %d bytes", STR_ARG(name), EVENT_ATTRIBUTE_BYTES);
    if (out->n)
        *text = buf_str(out);
    return true;
}

/* Makes the event of these fields with what is the same for all: source, time, and who published it. */
static bool message_born(struct reading *r, const struct event *fields, struct published_event *out, struct err *e)
{
    struct event f = *fields;
    struct header extensions[EVENT_ATTRIBUTES + 2];
    size_t n = 0;
    uint64_t integers = 0, booleans = 0;
    for (size_t i = 0; i < fields->extension_count; i++) {
        struct header x = fields->extensions[i];
        if (str_eq(x.name, STR("authid")) || str_eq(x.name, STR("authtype")))
            continue;
        integers |= (fields->integers >> i & 1) << n;
        booleans |= (fields->booleans >> i & 1) << n;
        extensions[n++] = x;
    }
    extensions[n++] = (struct header){ STR("authtype"), r->by->user.at ? STR("user") : STR("unauthenticated") };
    if (r->by->user.at)
        extensions[n++] = (struct header){ STR("authid"), r->by->user };
    f.extensions = extensions;
    f.extension_count = n;
    f.integers = integers;
    f.booleans = booleans;
    f.source = r->by->source;
    if (!f.time.at) {
        clock_text(clock_wall_ms(), r->now);
        f.time = str_of(r->now);
    }
    out->event = event_new(&f, e);
    return out->event;
}

static bool message_plain(struct reading *r, struct str json, struct published_event *out, struct err *e)
{
    struct event f = { .data = json, .datacontenttype = STR("application/json") };
    struct buf cleaned = buf_new(EVENT_ATTRIBUTE_BYTES);
    bool read = message_text(r, STR("event_id"), &r->id, &f.id, e) && message_text(r, STR("type"), &r->type, &f.type, e)
                && message_text(r, STR("sessionId"), &r->subject, &f.subject, e);
    if (read && !f.type.at)
        read = err_set(e,
                       "type: is missing; a message is {type, content, sessionId}, or a CloudEvent with specversion");
    if (read)
        template_add_type(&cleaned, f.type);
    f.type = buf_str(&cleaned);
    out->unique = !f.id.at;
    if (out->unique) {
        uuid_random(r->made);
        f.id = str_of(r->made);
    }
    read = read && message_born(r, &f, out, e);
    buf_free(&cleaned);
    return read;
}

/* Its ids are those of the source that it names: two of a client's producers may use the same ones. */
static bool message_cloudevent(struct reading *r, struct str json, struct published_event *out, struct str *origin,
                               struct err *e)
{
    const struct event *ev = event_from_json(json, e);
    if (!ev)
        return false;
    struct event f = *ev;
    bool good = event_check_uris(ev, e);
    if (good && !str_eq(f.source, r->by->source)) {
        uuid_of((const struct str[]){ STR("a pinned source"), f.source }, 2, r->made);
        *origin = str_of(r->made);
    }
    good = good && message_born(r, &f, out, e);
    event_unref(ev);
    return good;
}

bool message_read(struct str json, const struct author *by, struct published_event *out, struct err *e)
{
    struct reading r = { .by = by,
                         .id = buf_new(EVENT_ATTRIBUTE_BYTES),
                         .type = buf_new(EVENT_ATTRIBUTE_BYTES),
                         .subject = buf_new(EVENT_ATTRIBUTE_BYTES) };
    struct str origin = STR_ABSENT;
    *out = (struct published_event){ 0 };
    json = str_trim(json);
    int n = jscan_object(json, r.members, MEMBERS, e);
    r.count = n < 0 ? 0 : n > MEMBERS ? MEMBERS : (size_t)n;
    bool good = n >= 0;
    if (good && message_member(&r, STR("specversion")))
        good = message_cloudevent(&r, json, out, &origin, e);
    else if (good)
        good = message_plain(&r, json, out, e);
    if (good) {
        struct buf scope = buf_new(EVENT_ATTRIBUTE_BYTES);
        buf_add_str(&scope, by->scope);
        if (origin.at)
            buf_add_char(&scope, '/'), buf_add_str(&scope, origin);
        out->scope = str_dup(buf_str(&scope));
        buf_free(&scope);
    }
    buf_free(&r.id);
    buf_free(&r.type);
    buf_free(&r.subject);
    return good;
}
