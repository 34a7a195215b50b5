/* SPDX-License-Identifier: MIT */
/* Records as JSON, written and read. */
#include "bridge/admin/wire.h"
#include <jansson.h>
#include <stdlib.h>
#include <sys/un.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"

enum { WIRE_HEADERS = 1000, WIRE_RECORDS = 10000 }; /* most headers of a record that is read; most records */

bool wire_path(const struct config *config, char out[WIRE_PATH])
{
    const char *folder = broker_facts(&config->broker).own_folder, *named = config->admin.control;
    if (!folder && !named[0])
        return false;
    int n = named[0] ? snprintf(out, WIRE_PATH, "unix:%s", named) : snprintf(out, WIRE_PATH, "unix:%s/control", folder);
    return n > 0 && n < WIRE_PATH && (size_t)n - 5 < sizeof((struct sockaddr_un *)0)->sun_path;
}

/* ---- writing ---- */

static json_t *wire_bytes(struct str s)
{
    if (!s.at)
        return json_null();
    struct buf text = buf_new(WIRE_BYTES);
    base64_add(&text, s);
    json_t *j = json_stringn(text.at ? text.at : "", text.n);
    buf_free(&text);
    return j;
}

static json_t *wire_record(const struct record *r)
{
    json_t *headers = json_array();
    for (size_t i = 0; i < r->header_count; i++)
        json_array_append_new(headers,
                              json_pack("[o,o]", wire_bytes(r->headers[i].name), wire_bytes(r->headers[i].value)));
    return json_pack("{s:s%,s:I,s:o,s:o,s:o}", "topic", r->topic.at, r->topic.n, "timestamp",
                     (json_int_t)r->timestamp_ms, "key", wire_bytes(r->key), "value", wire_bytes(r->value), "headers",
                     headers);
}

char *wire_write(const struct record *records, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, wire_record(&records[i]));
    char *text = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    return text;
}

/* ---- reading ---- */

/* Appends the decoded bytes to `into`, which never moves (it was reserved); false when j is neither null nor base64. */
static bool wire_decode(const json_t *j, struct buf *into, struct str *out)
{
    *out = STR_ABSENT;
    if (json_is_null(j))
        return true;
    size_t start = into->n;
    if (!json_is_string(j) || !base64_decode(into, (struct str){ json_string_value(j), json_string_length(j) }))
        return false;
    *out = (struct str){ into->at + start, into->n - start };
    return true;
}

/* The headers go to where *next points, which moves on. */
static bool wire_read_headers(const json_t *list, struct wire_records *out, struct record *r, struct header **next)
{
    size_t count = json_array_size(list);
    struct header *headers = *next;
    r->headers = headers;
    r->header_count = count;
    *next += count;
    for (size_t i = 0; i < count; i++) {
        const json_t *pair = json_array_get(list, i);
        if (!wire_decode(json_array_get(pair, 0), &out->bytes, &headers[i].name)
            || !wire_decode(json_array_get(pair, 1), &out->bytes, &headers[i].value))
            return false;
    }
    return true;
}

static bool wire_read_record(const json_t *j, struct wire_records *out, struct header **next)
{
    struct record *r = &out->at[out->count++];
    *r = (struct record){ .partition = -1,
                          .topic = str_of(json_string_value(json_object_get(j, "topic"))),
                          .timestamp_ms = json_integer_value(json_object_get(j, "timestamp")) };
    return r->topic.at && wire_decode(json_object_get(j, "key"), &out->bytes, &r->key)
           && wire_decode(json_object_get(j, "value"), &out->bytes, &r->value)
           && wire_read_headers(json_object_get(j, "headers"), out, r, next);
}

bool wire_read(struct str text, struct wire_records *out)
{
    json_t *j = json_loadb(text.at, text.n, 0, NULL);
    if (json_is_object(j))
        j = json_pack("[o]", j);
    *out = (struct wire_records){ .json = j, .bytes = buf_new(text.n + 1) };
    /* Decoded bytes are fewer than encoded ones: with this room the buffer never grows, so what points into it stays. */
    size_t count = json_array_size(j), headers = 0, i;
    if (count == 0 || count > WIRE_RECORDS || !buf_room(&out->bytes, text.n))
        return false;
    const json_t *one;
    json_array_foreach(j, i, one)
    {
        size_t n = json_array_size(json_object_get(one, "headers"));
        if (n > WIRE_HEADERS)
            return false;
        headers += n;
    }
    out->at = mem_alloc(count * sizeof *out->at);
    struct header *next = out->headers = mem_alloc((headers + 1) * sizeof *out->headers);
    json_array_foreach(j, i, one)
    {
        if (!wire_read_record(one, out, &next))
            return false;
    }
    return true;
}

void wire_free(struct wire_records *w)
{
    json_decref(w->json);
    buf_free(&w->bytes);
    free(w->headers);
    free(w->at);
}

/* ---- what is owed ---- */

char *wire_write_owed(const char *group, const char *topic)
{
    json_t *j = json_pack("{s:s,s:s}", "group", group, "topic", topic);
    char *text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    return text;
}

bool wire_read_owed(struct str text, struct wire_owed *out)
{
    json_t *j = json_loadb(text.at, text.n, 0, NULL);
    *out = (struct wire_owed){ .json = j,
                               .group = json_string_value(json_object_get(j, "group")),
                               .topic = json_string_value(json_object_get(j, "topic")) };
    return out->group && out->topic;
}

void wire_free_owed(struct wire_owed *w)
{
    json_decref(w->json);
}
