/* SPDX-License-Identifier: MIT */
/* Records as JSON for people and their programs. */
#include "bridge/admin/event_view.h"
#include <stdlib.h>
#include "bridge/event/event.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/json.h"

const struct shape event_view[] = {
    { "id", SHAPE_TEXT, .required = true, .nullable = true, .doc = "The event's id; null: the record is no event." },
    { "source", SHAPE_TEXT, .required = true, .nullable = true, .doc = "Its source." },
    { "type", SHAPE_TEXT, .required = true, .nullable = true, .doc = "Its type." },
    { "subject", SHAPE_TEXT, .required = true, .nullable = true, .doc = "What it is about." },
    { "time", SHAPE_TEXT, .required = true, .nullable = true, .doc = "When it happened, as it came." },
    { "datacontenttype", SHAPE_TEXT, .required = true, .nullable = true, .doc = "What its data is." },
    { "dataschema", SHAPE_TEXT, .required = true, .nullable = true, .doc = "The schema of its data." },
    { "extensions", SHAPE_TEXT, .map = true, .required = true, .doc = "Its other attributes." },
    { "topic", SHAPE_TEXT, .required = true, .doc = "Where it stands." },
    { "partition", SHAPE_INTEGER, .required = true, .doc = "Where it stands." },
    { "offset", SHAPE_INTEGER, .required = true, .doc = "Where it stands." },
    { "stored", SHAPE_MOMENT, .required = true, .nullable = true, .doc = "When it was stored." },
    { "key", SHAPE_TEXT, .required = true, .nullable = true, .doc = "The record's key." },
    { "data", SHAPE_TEXT, .doc = "Its data, when that is text." },
    { "data_base64", SHAPE_TEXT, .doc = "Its data, when that is no text." },
    { "size", SHAPE_INTEGER, .required = true, .doc = "Bytes of the data." },
    { "cut", SHAPE_BOOLEAN, .required = true, .doc = "Is only the beginning of the data here?" },
    { 0 },
};

/* Of data that is longer than that, so much that no character is cut. */
static struct str view_cut(struct str data, size_t most)
{
    size_t n = data.n < most ? data.n : most;
    if (n == data.n || !str_is_utf8(data))
        return (struct str){ data.at, n };
    while (n && ((unsigned char)data.at[n] & 0xc0) == 0x80)
        n--;
    return (struct str){ data.at, n };
}

void event_view_set_data(json_t *into, struct str data, size_t most)
{
    struct str shown = view_cut(data, most);
    bool text = str_is_utf8(shown);
    json_object_set_new(into, "size", json_integer((json_int_t)data.n));
    json_object_set_new(into, "cut", json_boolean(shown.n < data.n));
    if (!data.at)
        return;
    if (text) {
        json_object_set_new(into, "data", json_stringn_nocheck(shown.at, shown.n));
        return;
    }
    struct buf base64 = buf_new(2 * most + 8);
    base64_add(&base64, shown);
    json_object_set_new(into, "data_base64", json_stringn(buf_str(&base64).at, base64.n));
    buf_free(&base64);
}

static json_t *view_extensions(const struct event *ev)
{
    json_t *all = json_object();
    for (size_t i = 0; ev && i < ev->extension_count; i++) {
        char *name = str_dup(ev->extensions[i].name);
        json_object_set_new(all, name, json_of_text(ev->extensions[i].value));
        free(name);
    }
    return all;
}

json_t *event_view_json(const struct record *r, size_t most)
{
    static const struct event none;
    const struct event *ev = event_from_record(r, NULL), *of = ev ? ev : &none;
    json_t *j = json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:i,s:I,s:o,s:o}", "id", json_of_text(of->id), "source",
                          json_of_text(of->source), "type", json_of_text(of->type), "subject",
                          json_of_text(of->subject), "time", json_of_text(of->time), "datacontenttype",
                          json_of_text(of->datacontenttype), "dataschema", json_of_text(of->dataschema), "extensions",
                          view_extensions(ev), "topic", json_of_text(r->topic), "partition", (int)r->partition,
                          "offset", (json_int_t)r->offset, "stored", json_of_moment(r->timestamp_ms), "key",
                          json_of_text(r->key));
    event_view_set_data(j, ev ? ev->data : r->value, most);
    event_unref(ev);
    return j;
}
