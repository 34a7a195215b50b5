/* SPDX-License-Identifier: MIT */
/* A record and librdkafka's message, each made from the other. */
#include <stdlib.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/mem.h"

rd_kafka_headers_t *kafka_record_headers(const struct record *r, struct str stored)
{
    if (!r->header_count && !stored.at)
        return NULL;
    rd_kafka_headers_t *headers = rd_kafka_headers_new(r->header_count + 1);
    for (size_t i = 0; i < r->header_count; i++)
        rd_kafka_header_add(headers, r->headers[i].name.at, (ssize_t)r->headers[i].name.n, r->headers[i].value.at,
                            (ssize_t)r->headers[i].value.n);
    if (stored.at)
        rd_kafka_header_add(headers, TRAIL_STORED, -1, stored.at, (ssize_t)stored.n);
    return headers;
}

struct owned { /* a record, then its headers, then all bytes */
    struct record r;
    struct record_share share;
    struct header headers[];
};

static void record_release(struct record *r)
{
    free(r);
}

static struct str record_copy(char **room, const void *at, size_t n)
{
    if (!at)
        return STR_ABSENT;
    char *to = *room;
    if (n)
        memcpy(to, at, n);
    *room += n;
    return (struct str){ to, n };
}

/* Copies the headers and returns the bytes they need; with out NULL it only adds those up. */
static size_t record_copy_headers(const rd_kafka_headers_t *headers, size_t count, struct header *out, char **room)
{
    size_t bytes = 0, n = 0;
    const char *name;
    const void *value;
    for (size_t i = 0;
         i < count && rd_kafka_header_get_all(headers, i, &name, &value, &n) == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        size_t name_n = strlen(name);
        bytes += name_n + n;
        if (!out)
            continue;
        out[i].name = record_copy(room, name, name_n);
        out[i].value = record_copy(room, value, n);
    }
    return bytes;
}

struct record *kafka_record(rd_kafka_message_t *m)
{
    rd_kafka_headers_t *headers = NULL;
    size_t count = rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR ? rd_kafka_header_cnt(headers)
                                                                                       : 0;
    const char *topic = rd_kafka_topic_name(m->rkt);
    size_t n = sizeof(struct owned) + count * sizeof(struct header) + strlen(topic) + m->key_len + m->len
               + record_copy_headers(headers, count, NULL, NULL);
    struct owned *o = malloc(n);
    CHECK(o);
    struct record *r = &o->r;
    struct header *out = o->headers;
    char *room = (char *)(out + count);
    rd_kafka_timestamp_type_t type;
    int64_t when = rd_kafka_message_timestamp(m, &type);
    atomic_init(&o->share.others, 0);
    atomic_init(&o->share.view, NULL);
    *r = (struct record){ .partition = m->partition,
                          .offset = m->offset,
                          .timestamp_ms = when > 0 ? when : 0,
                          .stored_ms = when > 0 ? when : 0,
                          .topic = record_copy(&room, topic, strlen(topic)),
                          .key = record_copy(&room, m->key, m->key_len),
                          .value = record_copy(&room, m->payload, m->len),
                          .headers = out,
                          .header_count = count,
                          .share = &o->share,
                          .release = record_release };
    record_copy_headers(headers, count, out, &room);
    int64_t stored_ms;
    if (str_to_i64(record_header(r, TRAIL_STORED), &stored_ms) && stored_ms > 0)
        r->timestamp_ms = r->stored_ms = stored_ms;
    return r;
}
