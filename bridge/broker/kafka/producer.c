/* SPDX-License-Identifier: MIT */
/* Publications on Kafka: from records through delivery reports to one outcome.
 *
 *   NOTES ---------> RECORDS ---------> CHANGES ---------> STORED
 *   (changes with    (the events)       (the state topic)
 *    ahead = true)
 *   any failure, once everything sent in that phase is reported: UNAVAILABLE. It may have been stored all the same;
 *   whoever publishes it again uses the same id.
 *
 * A phase begins when every record of the one before is reported, so a note is there before its events and the
 * events before their changes. A source with changes publishes one batch at a time: that keeps its changes in order. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crash.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

#define TOO_LARGE "too_large" /* the one reason that no waiting mends */

enum { WAVE_MS = 2, IDLE_MS = 100 };

enum phase { PHASE_NOTES, PHASE_RECORDS, PHASE_CHANGES };

struct pending { /* one publication, in one allocation with copies of what it publishes */
    struct kafka *b;
    struct pending *next; /* in the wave to come */
    void (*done)(void *ctx, uint64_t tag, enum outcome o, const char *why);
    void *ctx;
    uint64_t tag;
    enum phase phase;
    atomic_size_t unreported; /* records of this phase, and one while they are being sent */
    atomic_flag failed;       /* whoever sets it writes why and reason */
    const char *reason;       /* NULL: nothing failed */
    char *why;
    int64_t began_us;
    const struct record *records;
    size_t record_count;
    const char *state_of;
    struct change *changes;
    size_t change_count;
};

/* ---- the producer of now ---- */

struct kafka_handle *kafka_take(struct kafka *b)
{
    pthread_mutex_lock(&b->lock);
    struct kafka_handle *h = b->handle;
    atomic_fetch_add(&h->users, 1);
    pthread_mutex_unlock(&b->lock);
    return h;
}

void kafka_give(struct kafka_handle *h)
{
    atomic_fetch_sub(&h->users, 1);
}

rd_kafka_topic_t *kafka_handle_topic(struct kafka_handle *h, struct str name, bool *created)
{
    uint64_t hash = str_hash(name);
    rd_kafka_topic_t *rkt = NULL;
    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < h->topic_count && !rkt; i++)
        if (h->topics[i].hash == hash && str_eq(str_of(h->topics[i].name), name))
            rkt = h->topics[i].rkt;
    *created = !rkt;
    if (!rkt) {
        char *copy = str_dup(name);
        rkt = rd_kafka_topic_new(h->rk, copy, NULL);
        h->topics = mem_grow(h->topics, h->topic_count + 1, sizeof *h->topics);
        h->topics[h->topic_count++] = (struct kafka_topic){ .name = copy, .hash = hash, .rkt = rkt };
    }
    pthread_mutex_unlock(&h->lock);
    return rkt;
}

static void *handle_free(void *arg)
{
    struct kafka_handle *h = arg;
    for (size_t i = 0; i < h->topic_count; i++) {
        if (h->topics[i].rkt)
            rd_kafka_topic_destroy(h->topics[i].rkt);
        free(h->topics[i].name);
    }
    free(h->topics);
    rd_kafka_destroy(h->rk);
    pthread_mutex_destroy(&h->lock);
    free(h);
    return NULL;
}

/* ---- outcomes ---- */

static void fail(struct pending *p, const char *reason, const char *topic, rd_kafka_resp_err_t code)
{
    if (atomic_flag_test_and_set(&p->failed))
        return;
    p->why = mem_alloc(WHY_BYTES);
    snprintf(p->why, WHY_BYTES, "%s (topic %s)", rd_kafka_err2str(code), topic);
    p->reason = reason;
}

static const char *reason_of(rd_kafka_resp_err_t code)
{
    switch ((int)code) {
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT: return "timeout";
    case RD_KAFKA_RESP_ERR__QUEUE_FULL: return "full";
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE: return TOO_LARGE;
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

static void finish(struct pending *p)
{
    struct kafka *b = p->b;
    if (p->reason) {
        metric_add(metric_counter("aqueduct_broker_refused_total", "Publications that the broker did not take.",
                                  LABELS("reason", p->reason)),
                   1);
    } else {
        metric_add(b->stored, (int64_t)p->record_count);
        metric_observe_us(b->took, clock_mono_us() - p->began_us);
        if (p->change_count)
            crash_point("kafka-after-state");
    }
    enum outcome o = !p->reason                          ? OUTCOME_STORED
                     : strcmp(p->reason, TOO_LARGE) == 0 ? OUTCOME_INVALID
                                                         : OUTCOME_UNAVAILABLE;
    p->done(p->ctx, p->tag, o, p->why);
    free(p->why);
    free(p);
    if (atomic_fetch_sub(&b->open, 1) == 1) {
        pthread_mutex_lock(&b->idle_lock);
        pthread_cond_broadcast(&b->idle);
        pthread_mutex_unlock(&b->idle_lock);
    }
}

/* ---- sending ---- */

static rd_kafka_headers_t *headers_of(const struct record *r)
{
    if (!r->header_count)
        return NULL;
    rd_kafka_headers_t *headers = rd_kafka_headers_new(r->header_count);
    for (size_t i = 0; i < r->header_count; i++)
        rd_kafka_header_add(headers, r->headers[i].name.at, (ssize_t)r->headers[i].name.n, r->headers[i].value.at,
                            (ssize_t)r->headers[i].value.n);
    return headers;
}

/* The vtypes themselves, because the header's macros around them are not C11. */
static rd_kafka_resp_err_t enqueue(struct pending *p, struct kafka_handle *h, rd_kafka_topic_t *rkt,
                                   const struct record *r, rd_kafka_headers_t *headers)
{
    return rd_kafka_producev(h->rk, RD_KAFKA_VTYPE_RKT, rkt, RD_KAFKA_VTYPE_PARTITION, r->partition,
                             RD_KAFKA_VTYPE_MSGFLAGS, RD_KAFKA_MSG_F_COPY, RD_KAFKA_VTYPE_KEY, r->key.at, r->key.n,
                             RD_KAFKA_VTYPE_VALUE, r->value.at, r->value.n, RD_KAFKA_VTYPE_TIMESTAMP, r->timestamp_ms,
                             RD_KAFKA_VTYPE_HEADERS, headers, RD_KAFKA_VTYPE_OPAQUE, (void *)p, RD_KAFKA_VTYPE_END);
}

/* False: refused at once, and so is the publication. */
static bool send_record(struct pending *p, struct kafka_handle *h, const struct record *r)
{
    bool created = false;
    rd_kafka_topic_t *rkt = kafka_handle_topic(h, r->topic, &created);
    if (created)
        kafka_topic_want(p->b, r->topic, false);
    rd_kafka_headers_t *headers = headers_of(r);
    atomic_fetch_add(&p->unreported, 1);
    rd_kafka_resp_err_t code = rkt ? enqueue(p, h, rkt, r, headers) : RD_KAFKA_RESP_ERR__INVALID_ARG;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return true;
    if (headers)
        rd_kafka_headers_destroy(headers);
    if (code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
        kafka_topic_want(p->b, r->topic, true);
    char topic[256];
    snprintf(topic, sizeof topic, "%.*s", STR_ARG(r->topic));
    fail(p, reason_of(code), topic, code);
    atomic_fetch_sub(&p->unreported, 1); /* never the last: whoever sends holds one */
    return false;
}

/* The key of a change on the state topic; see STATE_PAIR. Free at. */
static struct str state_key(const struct pending *p, char kind, struct str key)
{
    size_t n = strlen(p->state_of) + 1;
    char *at = mem_alloc(n + 1 + key.n);
    memcpy(at, p->state_of, n);
    at[n] = kind;
    if (key.n)
        memcpy(at + n + 1, key.at, key.n);
    return (struct str){ at, n + 1 + key.n };
}

static bool send_state(struct pending *p, struct kafka_handle *h, const char *topic, char kind, struct str key,
                       struct str value)
{
    struct str k = state_key(p, kind, key);
    bool sent = send_record(p, h, &(struct record){ .topic = str_of(topic), .partition = 0, .key = k, .value = value });
    free((char *)(uintptr_t)k.at);
    return sent;
}

static bool send_note(struct pending *p, struct kafka_handle *h, const char *topic, const struct change *c)
{
    char *value = mem_alloc(1 + c->value.n);
    value[0] = c->value.at ? NOTE_SET : NOTE_FORGET;
    if (c->value.n)
        memcpy(value + 1, c->value.at, c->value.n);
    bool sent = send_state(p, h, topic, STATE_NOTE, c->key, (struct str){ value, 1 + c->value.n });
    free(value);
    return sent;
}

/* A later pair outdates a note by its offset; but a forgotten pair may be compacted away, so its note must go too. */
static bool send_pair(struct pending *p, struct kafka_handle *h, const char *topic, const struct change *c)
{
    return send_state(p, h, topic, STATE_PAIR, c->key, c->value)
           && (c->value.at || send_state(p, h, topic, STATE_NOTE, c->key, STR_ABSENT));
}

static void send_changes(struct pending *p, struct kafka_handle *h, bool notes)
{
    char *topic = kafka_state_topic(p->b);
    bool going = true;
    for (size_t i = 0; i < p->change_count && going; i++)
        if (!notes)
            going = send_pair(p, h, topic, &p->changes[i]);
        else if (p->changes[i].ahead)
            going = send_note(p, h, topic, &p->changes[i]);
    free(topic);
}

static void send_records(struct pending *p, struct kafka_handle *h)
{
    bool going = true;
    for (size_t i = 0; i < p->record_count && going; i++)
        going = send_record(p, h, &p->records[i]);
}

static void phase_end(struct pending *p);

/* One record of the phase is reported, or all of it is sent. */
static void reported(struct pending *p)
{
    if (atomic_fetch_sub(&p->unreported, 1) == 1)
        phase_end(p);
}

static void phase_begin(struct pending *p, enum phase phase)
{
    p->phase = phase;
    atomic_store(&p->unreported, 1);
    struct kafka_handle *h = kafka_take(p->b);
    switch (phase) {
    case PHASE_NOTES: send_changes(p, h, true); break;
    case PHASE_RECORDS: send_records(p, h); break;
    case PHASE_CHANGES: send_changes(p, h, false); break;
    }
    kafka_give(h);
    reported(p);
}

static void phase_end(struct pending *p)
{
    if (p->reason) {
        finish(p);
        return;
    }
    switch (p->phase) {
    case PHASE_NOTES: phase_begin(p, PHASE_RECORDS); return;
    case PHASE_RECORDS:
        crash_point("kafka-after-report");
        if (p->change_count)
            phase_begin(p, PHASE_CHANGES);
        else
            finish(p);
        return;
    case PHASE_CHANGES: finish(p); return;
    }
}

/* ---- publishing ---- */

/* What is published while the poller sends and waits for reports forms its next wave: alone a publication waits for
 * nobody, under load the requests grow. (With linger.ms 0 and a caller that sends by itself the client makes a
 * request of every few records, and while more of them are wanted than may be in flight its thread spins, which a
 * busy machine feels.) */
static void wave_join(struct pending *p)
{
    struct kafka *b = p->b;
    pthread_mutex_lock(&b->wave_lock);
    *b->wave_end = p;
    b->wave_end = &p->next;
    if (b->wave == p)
        pthread_cond_signal(&b->wave_there);
    pthread_mutex_unlock(&b->wave_lock);
}

/* The poller's: takes what is there, waiting for it at most `wait_ms`, and sends it. */
static void wave_send(struct kafka *b, int64_t wait_ms)
{
    struct timespec until = thread_until((struct duration){ wait_ms });
    pthread_mutex_lock(&b->wave_lock);
    while (!b->wave && wait_ms && thread_wait(&b->wave_there, &b->wave_lock, until))
        continue;
    struct pending *wave = b->wave;
    b->wave = NULL;
    b->wave_end = &b->wave;
    pthread_mutex_unlock(&b->wave_lock);
    for (struct pending *next; wave; wave = next) {
        next = wave->next;
        phase_begin(wave, wave->phase);
    }
}

/* Copies into the publication's own allocation. */
static void *keep(char **room, const void *from, size_t n)
{
    char *at = *room;
    if (n)
        memcpy(at, from, n);
    *room += (n + 7) & ~(size_t)7;
    return at;
}

static struct str keep_str(char **room, struct str s)
{
    return (struct str){ s.at ? keep(room, s.at, s.n) : NULL, s.n };
}

static size_t kept(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

static size_t kept_record(const struct record *r)
{
    size_t n = kept(r->topic.n) + kept(r->key.n) + kept(r->value.n) + kept(r->header_count * sizeof *r->headers);
    for (size_t i = 0; i < r->header_count; i++)
        n += kept(r->headers[i].name.n) + kept(r->headers[i].value.n);
    return n;
}

static void keep_record(char **room, struct record *r)
{
    r->topic = keep_str(room, r->topic);
    r->key = keep_str(room, r->key);
    r->value = keep_str(room, r->value);
    struct header *headers = keep(room, r->headers, r->header_count * sizeof *r->headers);
    for (size_t i = 0; i < r->header_count; i++) {
        headers[i].name = keep_str(room, headers[i].name);
        headers[i].value = keep_str(room, headers[i].value);
    }
    r->headers = headers;
}

static struct pending *pending_new(struct kafka *b, const struct publication *p)
{
    size_t n = kept(sizeof(struct pending)) + kept(p->change_count * sizeof *p->changes);
    n += p->change_count ? kept(strlen(p->state_of) + 1) : 0;
    for (size_t i = 0; i < p->change_count; i++)
        n += kept(p->changes[i].key.n) + kept(p->changes[i].value.n);
    for (size_t i = 0; i < p->record_count; i++)
        n += kept(sizeof(struct record)) + kept_record(&p->records[i]);
    char *room = mem_alloc(n);
    struct pending *made = (struct pending *)(void *)room;
    room += kept(sizeof *made);
    *made = (struct pending){ .b = b,
                              .done = p->done,
                              .ctx = p->ctx,
                              .tag = p->tag,
                              .failed = ATOMIC_FLAG_INIT,
                              .phase = PHASE_RECORDS,
                              .began_us = clock_mono_us(),
                              .record_count = p->record_count,
                              .change_count = p->change_count };
    if (p->change_count) {
        made->changes = keep(&room, p->changes, p->change_count * sizeof *p->changes);
        made->state_of = keep(&room, p->state_of, strlen(p->state_of) + 1);
    }
    for (size_t i = 0; i < p->change_count; i++) {
        made->changes[i].key = keep_str(&room, p->changes[i].key);
        made->changes[i].value = keep_str(&room, p->changes[i].value);
        if (p->changes[i].ahead)
            made->phase = PHASE_NOTES;
    }
    struct record *records = keep(&room, p->records, p->record_count * sizeof *records);
    for (size_t i = 0; i < p->record_count; i++)
        keep_record(&room, &records[i]);
    made->records = records;
    return made;
}

void kafka_publish(struct broker *base, const struct publication *p)
{
    struct kafka *b = (struct kafka *)base;
    atomic_fetch_add(&b->open, 1);
    wave_join(pending_new(b, p));
}

bool kafka_flush(struct broker *base, struct duration limit)
{
    struct kafka *b = (struct kafka *)base;
    struct timespec until = thread_until(limit);
    pthread_mutex_lock(&b->idle_lock);
    while (atomic_load(&b->open) > 0 && thread_wait(&b->idle, &b->idle_lock, until))
        continue;
    pthread_mutex_unlock(&b->idle_lock);
    return atomic_load(&b->open) == 0;
}

/* ---- the poller ---- */

/* Is it in the log? A report without an error is not enough. When a batch was refused with a passing error (not the
 * leader yet) while the next one was under way, a broker that knows nothing of this producer takes that next one,
 * and librdkafka 2.0.2 concludes that the first is stored too ("implicit ack"). It is not; what betrays it is that
 * it has no offset. */
static rd_kafka_resp_err_t verdict(const rd_kafka_message_t *m)
{
    return !m->err && m->offset < 0 ? RD_KAFKA_RESP_ERR__INCONSISTENT : m->err;
}

/* The cluster measures batches: where a topic's max.message.bytes is below batch.size, it refuses records that are
 * small enough because of their neighbours. Only one that is large by itself is given up. */
static const char *reason_of_report(const rd_kafka_message_t *m, rd_kafka_resp_err_t code)
{
    enum { LARGE = 256 << 10 };
    const char *reason = reason_of(code);
    return strcmp(reason, TOO_LARGE) == 0 && m->len + m->key_len < LARGE ? "batch_too_large" : reason;
}

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct pending *p = m->_private;
    rd_kafka_resp_err_t code = verdict(m);
    (void)rk;
    (void)opaque;
    if (code) {
        const char *topic = m->rkt ? rd_kafka_topic_name(m->rkt) : "?";
        if (code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
            kafka_topic_want(p->b, str_of(topic), true);
        fail(p, reason_of_report(m, code), topic, code);
    } else if (atomic_load_explicit(&p->b->down, memory_order_relaxed)) {
        atomic_store(&p->b->down, false);
    }
    reported(p);
}

static void on_error(rd_kafka_t *rk, int code, const char *text, void *opaque)
{
    struct kafka *b = opaque;
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        atomic_store(&b->down, true);
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        char why[KAFKA_ERRSTR];
        rd_kafka_resp_err_t cause = rd_kafka_fatal_error(rk, why, sizeof why);
        LOG(ERROR, "kafka producer failed for good; it gets a successor", LOG_C("cause", rd_kafka_err2name(cause)),
            LOG_C("text", why));
        /* Errors are served by rd_kafka_poll, on the poller, which is also the only one that changes the handle. */
        if (b->handle && b->handle->rk == rk)
            atomic_store(&b->handle->fatal, true);
        return;
    }
    kafka_log(4, rd_kafka_err2name(code), text);
}

static struct kafka_handle *handle_new(struct kafka *b, struct err *e)
{
    char text[KAFKA_ERRSTR];
    rd_kafka_conf_t *conf = kafka_conf(b->config, KAFKA_PRODUCER, NULL, e);
    if (!conf)
        return NULL;
    rd_kafka_conf_set_opaque(conf, b);
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        err_set(e, "broker: the kafka producer: %s", text);
        return NULL;
    }
    struct kafka_handle *h = mem_alloc(sizeof *h);
    h->rk = rk;
    pthread_mutex_init(&h->lock, NULL);
    return h;
}

/* Makes librdkafka give up everything it holds; the reports come while we poll. */
static void handle_purge(struct kafka_handle *h)
{
    rd_kafka_purge(h->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_poll(h->rk, 20);
}

static void handle_destroy(struct kafka_handle *h)
{
    if (!thread_run(handle_free, h, (struct duration){ 5000 }))
        LOG(WARN, "kafka producer does not end; it is left behind", LOG_C("client", "producer"));
}

static struct kafka_handle *replace(struct kafka *b, struct kafka_handle *old)
{
    struct err e = { "" };
    struct kafka_handle *h = handle_new(b, &e);
    if (!h) {
        kafka_log(3, "PRODUCER", e.text);
        return old;
    }
    metric_add(b->reborn, 1);
    pthread_mutex_lock(&b->lock);
    b->handle = h;
    pthread_mutex_unlock(&b->lock);
    /* Publications in the old one end as UNAVAILABLE; publishers that still hold it let go in a moment. */
    while (atomic_load(&old->users) > 0 || rd_kafka_outq_len(old->rk) > 0) {
        handle_purge(old);
        rd_kafka_poll(h->rk, 0);
    }
    handle_destroy(old);
    return h;
}

static void *poller_run(void *arg)
{
    struct kafka *b = arg;
    struct kafka_handle *h = b->handle;
    while (!atomic_load(&b->stop)) {
        wave_send(b, rd_kafka_outq_len(h->rk) ? 0 : IDLE_MS);
        rd_kafka_flush(h->rk, WAVE_MS); /* sends without lingering, and serves reports until all are there */
        rd_kafka_poll(h->rk, 0);
        if (atomic_load(&h->fatal))
            h = replace(b, h);
    }
    while (atomic_load(&b->open) > 0) {
        wave_send(b, 0);
        handle_purge(h);
    }
    return NULL;
}

bool kafka_producer_start(struct kafka *b, struct err *e)
{
    b->handle = handle_new(b, e);
    if (!b->handle)
        return false;
    CHECK(pthread_create(&b->poller, NULL, poller_run, b) == 0);
    return true;
}

void kafka_producer_stop(struct kafka *b)
{
    pthread_join(b->poller, NULL);
    handle_destroy(b->handle);
}
