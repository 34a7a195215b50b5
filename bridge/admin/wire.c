/* SPDX-License-Identifier: MIT */
/* A record as JSON, written and read. */
#include "bridge/admin/wire.h"
#include <jansson.h>
#include <stdlib.h>
#include <sys/un.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"

enum { WIRE_HEADERS = 1000 }; /* most headers of a record that is read */

bool wire_path(const struct config *config, char out[WIRE_PATH])
{
    const char *folder = broker_facts(&config->broker).own_folder;
    if (!folder)
        return false;
    int n = snprintf(out, WIRE_PATH, "unix:%s/control", folder);
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

char *wire_write(const struct record *r)
{
    json_t *headers = json_array();
    for (size_t i = 0; i < r->header_count; i++)
        json_array_append_new(headers,
                              json_pack("[o,o]", wire_bytes(r->headers[i].name), wire_bytes(r->headers[i].value)));
    json_t *j = json_pack("{s:s%,s:I,s:o,s:o,s:o}", "topic", r->topic.at, r->topic.n, "timestamp",
                          (json_int_t)r->timestamp_ms, "key", wire_bytes(r->key), "value", wire_bytes(r->value),
                          "headers", headers);
    char *text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
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

static bool wire_read_headers(const json_t *list, struct wire_record *out)
{
    size_t count = json_array_size(list);
    if (count > WIRE_HEADERS)
        return false;
    out->headers = mem_alloc((count + 1) * sizeof *out->headers);
    out->record.headers = out->headers;
    out->record.header_count = count;
    for (size_t i = 0; i < count; i++) {
        const json_t *pair = json_array_get(list, i);
        if (!wire_decode(json_array_get(pair, 0), &out->bytes, &out->headers[i].name)
            || !wire_decode(json_array_get(pair, 1), &out->bytes, &out->headers[i].value))
            return false;
    }
    return true;
}

bool wire_read(struct str text, struct wire_record *out)
{
    *out = (struct wire_record){ .json = json_loadb(text.at, text.n, 0, NULL), .bytes = buf_new(text.n + 1) };
    /* Decoded bytes are fewer than encoded ones: with this room the buffer never grows, so what points into it stays. */
    if (!out->json || !buf_room(&out->bytes, text.n))
        return false;
    const json_t *j = out->json;
    out->record = (struct record){ .partition = -1,
                                   .topic = str_of(json_string_value(json_object_get(j, "topic"))),
                                   .timestamp_ms = json_integer_value(json_object_get(j, "timestamp")) };
    return out->record.topic.at && wire_decode(json_object_get(j, "key"), &out->bytes, &out->record.key)
           && wire_decode(json_object_get(j, "value"), &out->bytes, &out->record.value)
           && wire_read_headers(json_object_get(j, "headers"), out);
}

void wire_free(struct wire_record *w)
{
    json_decref(w->json);
    buf_free(&w->bytes);
    free(w->headers);
}
