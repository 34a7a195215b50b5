/* SPDX-License-Identifier: MIT */
/* What a publication hands to librdkafka: its records, the intents of its changes, the changes; and what a report says. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"

enum { FULL_MS = 100 };

/* The vtypes themselves, because the header's macros around them are not C11. */
static rd_kafka_resp_err_t send_enqueue(struct kafka_publication *p, struct kafka_client *client, rd_kafka_topic_t *rkt,
                                        const struct record *r, int64_t time_ms, rd_kafka_headers_t *headers)
{
    bool is_ours = r >= p->records && r < p->records + p->record_count; /* else it is a change */
    struct kafka_sent *sent = &p->sent[is_ours ? (size_t)(r - p->records) : p->record_count];
    return rd_kafka_producev(client->rk, RD_KAFKA_VTYPE_RKT, rkt, RD_KAFKA_VTYPE_PARTITION, r->partition,
                             RD_KAFKA_VTYPE_MSGFLAGS, RD_KAFKA_MSG_F_COPY, RD_KAFKA_VTYPE_KEY, r->key.at, r->key.n,
                             RD_KAFKA_VTYPE_VALUE, r->value.at, r->value.n, RD_KAFKA_VTYPE_TIMESTAMP, time_ms,
                             RD_KAFKA_VTYPE_HEADERS, headers, RD_KAFKA_VTYPE_OPAQUE, (void *)sent, RD_KAFKA_VTYPE_END);
}

/* As send_enqueue, for one who may wait: its thread is its own, and serves the reports that make room. */
static rd_kafka_resp_err_t send_enqueue_waiting(struct kafka_publication *p, struct kafka_client *client,
                                                rd_kafka_topic_t *rkt, const struct record *r, int64_t time_ms,
                                                rd_kafka_headers_t *headers)
{
    rd_kafka_resp_err_t code;
    while ((code = send_enqueue(p, client, rkt, r, time_ms, headers)) == RD_KAFKA_RESP_ERR__QUEUE_FULL && p->claim
           && !kafka_claim_ends(p->claim))
        rd_kafka_poll(client->rk, FULL_MS);
    return code;
}

bool kafka_send_record(struct kafka_publication *p, struct kafka_client *client, const struct record *r)
{
    bool created = false;
    rd_kafka_topic_t *rkt = kafka_client_topic(client, r->topic, &created);
    if (created)
        kafka_topic_want(p->b, r->topic, false);
    char stored[24];
    int64_t now_ms = clock_wall_ms(), time_ms = kafka_time_of(p->b, r, now_ms);
    snprintf(stored, sizeof stored, "%lld", (long long)now_ms);
    rd_kafka_headers_t *headers = kafka_record_headers(r, time_ms && r->event_ms ? str_of(stored) : STR_ABSENT);
    atomic_fetch_add(&p->unreported, 1);
    rd_kafka_resp_err_t code = rkt ? send_enqueue_waiting(p, client, rkt, r, time_ms, headers)
                                   : RD_KAFKA_RESP_ERR__INVALID_ARG;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return true;
    if (headers)
        rd_kafka_headers_destroy(headers);
    if (code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
        kafka_topic_want(p->b, r->topic, true);
    kafka_publication_refused(p, r->topic, code);
    atomic_fetch_sub(&p->unreported, 1); /* never the last: whoever sends holds one */
    return false;
}

/* A key of the state topic: see STATE_PAIR. free() what it points to. */
static struct str send_state_key(const char *source, char kind, struct str key)
{
    size_t n = strlen(source) + 1;
    char *at = mem_alloc(n + 1 + key.n);
    memcpy(at, source, n);
    at[n] = kind;
    if (key.n)
        memcpy(at + n + 1, key.at, key.n);
    return (struct str){ at, n + 1 + key.n };
}

static bool send_state(struct kafka_publication *p, struct kafka_client *client, char kind, struct str key,
                       struct str value)
{
    struct str k = send_state_key(p->claim ? kafka_claim_source(p->claim) : p->state_of, kind, key);
    bool sent = kafka_send_record(p, client,
                                  &(struct record){
                                      .topic = str_of(p->b->state_topic), .partition = 0, .key = k, .value = value });
    free((char *)(uintptr_t)k.at);
    return sent;
}

/* Writes on the state topic what a change is about to become. */
static bool send_intent(struct kafka_publication *p, struct kafka_client *client, const struct change *change)
{
    char *value = mem_alloc(1 + change->value.n);
    value[0] = change->value.at ? INTENT_SET : INTENT_FORGET;
    if (change->value.n)
        memcpy(value + 1, change->value.at, change->value.n);
    bool sent = send_state(p, client, STATE_INTENT, change->key, (struct str){ value, 1 + change->value.n });
    free(value);
    return sent;
}

/* A later pair outdates an intent by its offset; but a forgotten pair may be compacted away, so its intent must go
 * too. */
static bool send_pair(struct kafka_publication *p, struct kafka_client *client, const struct change *change)
{
    return send_state(p, client, STATE_PAIR, change->key, change->value)
           && (change->value.at || send_state(p, client, STATE_INTENT, change->key, STR_ABSENT));
}

void kafka_send_changes(struct kafka_publication *p, struct kafka_client *client, bool intents)
{
    bool going = true;
    for (size_t i = 0; i < p->change_count && going; i++)
        if (!intents)
            going = send_pair(p, client, &p->changes[i]);
        else if (p->changes[i].ahead)
            going = send_intent(p, client, &p->changes[i]);
}

void kafka_send_records(struct kafka_publication *p, struct kafka_client *client)
{
    bool going = true;
    for (size_t i = 0; i < p->record_count && going; i++)
        going = kafka_send_record(p, client, &p->records[i]);
}

bool kafka_send_claim(struct kafka_publication *p, struct kafka_client *client, struct str value)
{
    return send_state(p, client, STATE_CLAIM, STR(""), value);
}

/* Is it in the log? A report without an error is not enough. When a batch was refused with a passing error (not the
 * leader yet) while the next one was under way, a broker that knows nothing of this producer takes that next one,
 * and librdkafka 2.0.2 concludes that the first is stored too ("implicit ack"). It is not; what betrays it is that
 * it has no offset. */
rd_kafka_resp_err_t kafka_send_code(const rd_kafka_message_t *m)
{
    return !m->err && m->offset < 0 ? RD_KAFKA_RESP_ERR__INCONSISTENT : m->err;
}

/* The cluster is there, and lets us write. */
void kafka_send_stored(struct kafka *b, const rd_kafka_topic_t *rkt)
{
    if (atomic_load_explicit(&b->down, memory_order_relaxed))
        kafka_access_up(b);
    if (atomic_load_explicit(&b->access.denied, memory_order_relaxed) == 0)
        return;
    kafka_access_granted(b, KAFKA_PRODUCE, "");
    kafka_access_granted(b, KAFKA_WRITE, rd_kafka_topic_name(rkt));
}
