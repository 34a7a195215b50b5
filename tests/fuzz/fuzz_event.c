/* SPDX-License-Identifier: MIT */
/* Decoding events from JSON, records and HTTP; what was decoded must survive every encoding.
 *
 * The input's first line is json, avro, columns, batch, record or http. Of the last two, lines "name: value" up to an empty one are
 * headers. */
#include "bridge/event/avro.h"
#include "bridge/event/columns.h"
#include "bridge/event/event.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct event *a, const struct event *b)
{
    static const char *const names[] = { "id", "source", "type", "subject", "time", "dataschema", "datacontenttype" };
    CHECK(b);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct str left = event_attribute(a, str_of(names[i])), right = event_attribute(b, str_of(names[i]));
        CHECK(!left.at == !right.at && str_eq(left, right));
    }
    CHECK(a->extension_count == b->extension_count && !a->data.at == !b->data.at);
    for (size_t i = 0; i < a->extension_count; i++)
        CHECK(str_eq(event_attribute(b, a->extensions[i].name), a->extensions[i].value));
}

static void check_json(const struct event *ev)
{
    struct buf json = buf_new(16 << 20);
    struct jscan_value value;
    struct err e = { "" };
    event_to_json(ev, &json);
    CHECK(!json.failed && jscan_check(buf_str(&json), &value, &e));
    const struct event *back = event_from_json(buf_str(&json), &e);
    check_same(ev, back);
    bool spliced = event_type_is_json(ev->datacontenttype) && jscan_check(ev->data, &value, &e);
    CHECK(str_eq(spliced ? value.raw : ev->data, back->data));
    event_unref(back);
    buf_free(&json);
}

static void check_record(const struct event *ev)
{
    struct header headers[EVENT_HEADERS];
    struct record r = { .headers = headers, .header_count = event_to_headers(ev, headers), .value = ev->data };
    struct err e = { "" };
    CHECK(r.header_count <= EVENT_HEADERS);
    const struct event *back = event_from_record(&r, &e);
    struct event typed = *ev;
    typed.datacontenttype = event_content_type(ev);
    check_same(&typed, back);
    CHECK(str_eq(ev->data, back->data));
    event_unref(back);
}

static void check_avro(const struct event *ev)
{
    struct buf avro = buf_new(16 << 20);
    struct err e = { "" };
    event_to_avro(ev, &avro);
    const struct event *back = event_from_avro(buf_str(&avro), &e);
    struct event typed = *ev;
    typed.datacontenttype = event_content_type(ev);
    check_same(&typed, back);
    CHECK(str_eq(ev->data, back->data) && back->integers == ev->integers && back->booleans == ev->booleans);
    event_unref(back);
    buf_free(&avro);
}

static void check_columns(const struct event *ev)
{
    struct buf out = buf_new(16 << 20);
    struct err e = { "" };
    event_to_columns(ev, &out);
    CHECK(!out.failed);
    const struct event *back = event_from_columns(buf_str(&out), &e);
    struct event typed = *ev;
    typed.datacontenttype = event_content_type(ev);
    check_same(&typed, back);
    CHECK(str_eq(ev->data, back->data) && event_types(back).n == event_types(ev).n);
    event_unref(back);
    buf_free(&out);
}

static void check_event(const struct event *ev, const struct err *e)
{
    CHECK(!ev == (e->text[0] != '\0'));
    if (!ev)
        return;
    check_json(ev);
    check_record(ev);
    check_avro(ev);
    check_columns(ev);
    event_unref(ev);
}

static size_t read_headers(struct str *rest, struct header *out, size_t room)
{
    struct str line, name;
    size_t n = 0;
    while (n < room && str_cut(rest, '\n', &line) && line.n > 0) {
        struct str value = line;
        str_cut(&value, ':', &name);
        out[n++] = (struct header){ name, value.at ? str_trim(value) : value };
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str kind, rest = { (const char *)data, size };
    struct header headers[100];
    struct err e = { "" };
    str_cut(&rest, '\n', &kind);
    if (str_eq(kind, STR("json"))) {
        check_event(event_from_json(rest, &e), &e);
    } else if (str_eq(kind, STR("avro"))) {
        check_event(event_from_avro(rest, &e), &e);
    } else if (str_eq(kind, STR("columns"))) {
        check_event(event_from_columns(rest, &e), &e);
    } else if (str_eq(kind, STR("batch"))) {
        const struct event *events[8];
        int count = event_from_json_batch(rest, events, 8, &e);
        for (int i = 0; i < count; i++)
            check_event(events[i], &e);
    } else if (str_eq(kind, STR("record"))) {
        size_t count = read_headers(&rest, headers, 100);
        check_event(event_from_record(&(struct record){ .headers = headers, .header_count = count, .value = rest }, &e),
                    &e);
    } else if (str_eq(kind, STR("http"))) {
        size_t count = read_headers(&rest, headers, 100);
        check_event(event_from_http(headers, count, rest, &e), &e);
    }
    return 0;
}
