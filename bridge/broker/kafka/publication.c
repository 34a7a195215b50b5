/* SPDX-License-Identifier: MIT */
/* A publication as the Kafka broker keeps it: copied when it is published, freed when its outcome is told. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crash.h"
#include "bridge/lib/mem.h"

#define TIMEOUT   "timeout"
#define TOO_LARGE "too_large"
#define REFUSED   "refused" /* with TOO_LARGE, the reasons that no waiting mends */

/* ---- the copy: the struct, the changes, the records, and behind each its bytes, 8 aligned ---- */

static size_t publication_padded(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

static void *publication_copy(char **room, const void *from, size_t n)
{
    char *at = *room;
    if (n)
        memcpy(at, from, n);
    *room += publication_padded(n);
    return at;
}

static struct str publication_copy_str(char **room, struct str s)
{
    return (struct str){ s.at ? publication_copy(room, s.at, s.n) : NULL, s.n };
}

static size_t publication_record_size(const struct record *r)
{
    size_t n = publication_padded(r->topic.n) + publication_padded(r->key.n) + publication_padded(r->value.n)
               + publication_padded(r->header_count * sizeof *r->headers);
    for (size_t i = 0; i < r->header_count; i++)
        n += publication_padded(r->headers[i].name.n) + publication_padded(r->headers[i].value.n);
    return n;
}

static size_t publication_size(const struct publication *p)
{
    size_t n = publication_padded(sizeof(struct kafka_publication));
    n += publication_padded(p->change_count * sizeof *p->changes);
    n += publication_padded(p->record_count * sizeof *p->records);
    n += publication_padded((p->record_count + 1) * sizeof(struct kafka_sent));
    n += p->change_count ? publication_padded(strlen(p->state_of) + 1) : 0;
    for (size_t i = 0; i < p->change_count; i++)
        n += publication_padded(p->changes[i].key.n) + publication_padded(p->changes[i].value.n);
    for (size_t i = 0; i < p->record_count; i++)
        n += publication_record_size(&p->records[i]);
    return n;
}

/* Replaces what the record borrowed by copies. */
static void publication_own_record(char **room, struct record *r)
{
    r->topic = publication_copy_str(room, r->topic);
    r->key = publication_copy_str(room, r->key);
    r->value = publication_copy_str(room, r->value);
    struct header *headers = publication_copy(room, r->headers, r->header_count * sizeof *r->headers);
    for (size_t i = 0; i < r->header_count; i++) {
        headers[i].name = publication_copy_str(room, headers[i].name);
        headers[i].value = publication_copy_str(room, headers[i].value);
    }
    r->headers = headers;
}

struct kafka_publication *kafka_publication_new(struct kafka *b, const struct publication *p)
{
    char *room = mem_alloc(publication_size(p));
    struct kafka_publication *made = (struct kafka_publication *)(void *)room;
    room += publication_padded(sizeof *made);
    *made = (struct kafka_publication){ .b = b,
                                        .done = p->done,
                                        .ctx = p->ctx,
                                        .tag = p->tag,
                                        .failed = ATOMIC_FLAG_INIT,
                                        .stage = STAGE_RECORDS,
                                        .began_us = clock_mono_us(),
                                        .record_count = p->record_count,
                                        .change_count = p->change_count };
    made->sent = (struct kafka_sent *)(void *)room;
    room += publication_padded((p->record_count + 1) * sizeof *made->sent);
    for (size_t i = 0; i <= p->record_count; i++)
        made->sent[i] = (struct kafka_sent){ .p = made };
    if (p->change_count) {
        made->changes = publication_copy(&room, p->changes, p->change_count * sizeof *p->changes);
        made->state_of = publication_copy(&room, p->state_of, strlen(p->state_of) + 1);
    }
    for (size_t i = 0; i < p->change_count; i++) {
        made->changes[i].key = publication_copy_str(&room, p->changes[i].key);
        made->changes[i].value = publication_copy_str(&room, p->changes[i].value);
        if (p->changes[i].ahead)
            made->stage = STAGE_INTENTS;
    }
    struct record *records = publication_copy(&room, p->records, p->record_count * sizeof *records);
    for (size_t i = 0; i < p->record_count; i++)
        publication_own_record(&room, &records[i]);
    made->records = records;
    return made;
}

bool kafka_publication_name(struct kafka_publication *p, struct str *topic, struct err *why)
{
    for (size_t i = 0; i < p->record_count; i++) {
        const struct record *r = &p->records[i];
        if (r->schema == SCHEMA_NONE || r->value.n < SCHEMA_HEAD)
            continue;
        uint32_t id = (uint32_t)kafka_registry_id(p->b, r->topic, r->schema, why);
        *topic = r->topic;
        if (id == 0)
            return false;
        unsigned char *head = (unsigned char *)(uintptr_t)r->value.at; /* of our own copy */
        for (int k = 1; k < SCHEMA_HEAD; k++)
            head[k] = (unsigned char)(id >> 8 * (SCHEMA_HEAD - 1 - k));
    }
    return true;
}

/* ---- its outcome ---- */

static const char *publication_reason(rd_kafka_resp_err_t code)
{
    switch ((int)code) {
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT: return TIMEOUT;
    case RD_KAFKA_RESP_ERR__QUEUE_FULL: return "full";
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE: return TOO_LARGE;
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP: return REFUSED;
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART: return "unknown_topic";
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION: return "unknown_partition";
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT: return "stopped";
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED: return "unauthorized";
    case RD_KAFKA_RESP_ERR__FATAL: return "fatal";
    case RD_KAFKA_RESP_ERR__INCONSISTENT: return "unconfirmed";
    default: return "other";
    }
}

bool kafka_publication_is_verdict(rd_kafka_resp_err_t code)
{
    const char *reason = publication_reason(code);
    return strcmp(reason, TOO_LARGE) == 0 || strcmp(reason, REFUSED) == 0;
}

static const char *publication_text(rd_kafka_resp_err_t code)
{
    switch ((int)code) {
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
        return "Broker: it does not take this record (a compacted topic takes none without a key)";
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE: return "Broker: Message size too large (max.message.bytes)";
    default: return rd_kafka_err2str(code);
    }
}

static void publication_fail(struct kafka_publication *p, const char *reason, struct str topic,
                             rd_kafka_resp_err_t code)
{
    if (atomic_flag_test_and_set(&p->failed))
        return;
    char text[2 * WHY_BYTES + sizeof(struct err)];
    int n = (int)(topic.n < WHY_BYTES ? topic.n : WHY_BYTES);
    struct err denied = { "" };
    bool purged = code == RD_KAFKA_RESP_ERR__PURGE_QUEUE || code == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
    if (code == RD_KAFKA_RESP_ERR__FATAL || purged
        || kafka_access_is_denial(code)) /* the client fails with the denial */
        kafka_access_ready(p->b, &denied);
    snprintf(text, sizeof text, "%s (topic %.*s)", denied.text[0] ? denied.text : publication_text(code), n,
             topic.at ? topic.at : "");
    p->why = mem_alloc(WHY_BYTES);
    why_copy(p->why, text);
    p->reason = reason;
}

void kafka_publication_broken(struct kafka_publication *p, const char *reason, const char *why)
{
    if (atomic_flag_test_and_set(&p->failed))
        return;
    p->why = mem_alloc(WHY_BYTES);
    why_copy(p->why, why);
    p->reason = reason;
}

void kafka_publication_forgive(struct kafka_publication *p)
{
    free(p->why);
    p->why = NULL;
    p->reason = NULL;
    atomic_flag_clear(&p->failed);
}

/* What the cluster denies is remembered. */
static void publication_note_denial(struct kafka *b, struct str topic, rd_kafka_resp_err_t code)
{
    if (code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED) {
        kafka_access_denied(b, KAFKA_PRODUCE, "");
    } else if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
        char *name = str_dup(topic);
        kafka_access_denied(b, KAFKA_WRITE, name);
        free(name);
    }
}

void kafka_publication_refused(struct kafka_publication *p, struct str topic, rd_kafka_resp_err_t code)
{
    publication_note_denial(p->b, topic, code);
    publication_fail(p, publication_reason(code), topic, code);
}

void kafka_publication_finish(struct kafka_publication *p)
{
    struct kafka *b = p->b;
    if (p->reason) {
        metric_add(metric_get(&aqueduct_broker_refused_total, LABELS(p->reason)), 1);
    } else {
        metric_add(b->stored, (int64_t)p->record_count);
        metric_observe_us(b->took, clock_mono_us() - p->began_us);
        if (p->change_count)
            crash_point("kafka-after-state");
    }
    bool hopeless = p->reason && (strcmp(p->reason, TOO_LARGE) == 0 || strcmp(p->reason, REFUSED) == 0);
    kafka_storing_end(p, p->reason && strcmp(p->reason, TIMEOUT) == 0);
    enum outcome o = !p->reason ? OUTCOME_STORED : hopeless ? OUTCOME_INVALID : OUTCOME_UNAVAILABLE;
    p->done(p->ctx, p->tag, o, p->why);
    free(p->why);
    free(p);
    if (atomic_fetch_sub(&b->open, 1) == 1) {
        pthread_mutex_lock(&b->idle_lock);
        pthread_cond_broadcast(&b->idle);
        pthread_mutex_unlock(&b->idle_lock);
    }
}
