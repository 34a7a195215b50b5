/* SPDX-License-Identifier: MIT */
/* An event in CBOR: the members of the JSON format. */
#include "bridge/lib/cbor.h"
#include "bridge/event/event.h"
#include "bridge/lib/jscan.h"

static size_t cbor_member(struct buf *out, const char *name, struct str value)
{
    if (!value.at)
        return 0;
    if (out) {
        cbor_add_text(out, str_of(name));
        cbor_add_text(out, value);
    }
    return 1;
}

/* The attributes that are set; out NULL: only their count. */
static size_t cbor_attributes(struct buf *out, const struct event *ev)
{
    return cbor_member(out, "specversion", STR("1.0")) + cbor_member(out, "id", ev->id)
           + cbor_member(out, "source", ev->source) + cbor_member(out, "type", ev->type)
           + cbor_member(out, "subject", ev->subject) + cbor_member(out, "time", ev->time)
           + cbor_member(out, "datacontenttype", ev->datacontenttype) + cbor_member(out, "dataschema", ev->dataschema);
}

static void cbor_extension(struct buf *out, const struct event *ev, size_t i)
{
    struct header x = ev->extensions[i];
    cbor_add_text(out, x.name);
    if ((ev->integers | ev->booleans) >> i & 1)
        cbor_add_json(out, x.value);
    else
        cbor_add_text(out, x.value);
}

static void cbor_data(struct buf *out, const struct event *ev)
{
    struct jscan_value value;
    bool json = event_type_is_json(ev->datacontenttype);
    if (json && jscan_check(ev->data, &value, NULL)) {
        cbor_add_text(out, STR("data"));
        cbor_add_embedded(out, value.raw);
    } else if (!json && str_starts_nocase(ev->datacontenttype, STR("text/")) && str_is_utf8(ev->data)) {
        cbor_add_text(out, STR("data"));
        cbor_add_text(out, ev->data);
    } else {
        cbor_add_text(out, STR("data_base64"));
        cbor_add_head(out, CBOR_BYTES, ev->data.n);
        buf_add_str(out, ev->data);
    }
}

void event_to_cbor(const struct event *ev, struct buf *out)
{
    size_t count = cbor_attributes(NULL, ev) + ev->extension_count;
    cbor_add_head(out, CBOR_MAP, count + (ev->data.at != NULL));
    cbor_attributes(out, ev);
    for (size_t i = 0; i < ev->extension_count; i++)
        cbor_extension(out, ev, i);
    if (ev->data.at)
        cbor_data(out, ev);
}
