/* SPDX-License-Identifier: MIT */
/* The producer: sends publications in waves, follows each through its stages, and replaces a client that failed.
 *
 *   INTENTS -------> RECORDS ---------> CHANGES ---------> STORED
 *   (changes with    (the events)       (the state topic)
 *    ahead = true)
 *   any failure, once everything sent in that stage is reported: UNAVAILABLE. It may have been stored all the same;
 *   whoever publishes it again uses the same id.
 *
 * The cluster refuses a whole batch for one record in it (too large for the topic, without a key for a compacted one). So
 * publications whose records were in such a batch are outcasts: each of these records is sent again with nothing else
 * under way, and what is refused then is INVALID.
 *
 * A stage begins when every record of the one before is reported, so an intent is there before its events and the
 * events before their changes. A source with changes publishes one batch at a time: that keeps its changes in order. */
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crash.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum { NAMELESS_MS = 30000 }; /* as message.timeout.ms */
/* A wave is waited for before the next is sent, as long as that does not take long: librdkafka makes a request of each
 * partition and has five of them under way; while more are wanted its thread does not sleep, and looks at every partition
 * each time. */
enum { WAVE_MS = 10, IDLE_MS = 1000, REBIRTH_MS = 1000, REBIRTH_MOST_MS = 8000 };
enum { OUTCOMES_MS = 5000 }; /* one whose login is over and who finds no cluster gets its reports within this */

/* ---- stages ---- */

static void producer_stage_end(struct kafka_publication *p);

/* Counts one report, or that all of the stage is sent; the last one ends the stage. */
static void producer_reported(struct kafka_publication *p)
{
    if (atomic_fetch_sub(&p->unreported, 1) == 1)
        producer_stage_end(p);
}

/* Sends everything of the stage; the last report of it ends it. */
static void producer_stage_begin(struct kafka_publication *p, enum kafka_stage stage)
{
    p->stage = stage;
    atomic_store(&p->unreported, 1);
    struct kafka_client *client = kafka_client_take(p->b);
    switch (stage) {
    case STAGE_INTENTS: kafka_send_changes(p, client, true); break;
    case STAGE_RECORDS: kafka_send_records(p, client); break;
    case STAGE_CHANGES: kafka_send_changes(p, client, false); break;
    }
    kafka_client_give(client);
    producer_reported(p);
}

/* The next record of an outcast that is not stored yet; NULL: all are. */
static const struct record *producer_outcast_next(const struct kafka_publication *p)
{
    for (size_t i = 0; i < p->record_count; i++)
        if (!p->sent[i].stored)
            return &p->records[i];
    return NULL;
}

/* Puts it behind the other outcasts, or, when it is one already, in front: it goes on first. */
static void producer_cast_out(struct kafka_publication *p)
{
    struct kafka_publication **at = &p->b->outcasts;
    while (*at && !p->alone)
        at = &(*at)->next;
    p->next = *at;
    *at = p;
}

static void producer_stage_end(struct kafka_publication *p)
{
    if (p->reason) {
        kafka_publication_finish(p);
        return;
    }
    if (p->stage == STAGE_RECORDS && (p->alone || p->suspect) && producer_outcast_next(p)) {
        producer_cast_out(p);
        return;
    }
    switch (p->stage) {
    case STAGE_INTENTS: producer_stage_begin(p, STAGE_RECORDS); return;
    case STAGE_RECORDS:
        crash_point("kafka-after-report");
        if (p->change_count)
            producer_stage_begin(p, STAGE_CHANGES);
        else
            kafka_publication_finish(p);
        return;
    case STAGE_CHANGES: kafka_publication_finish(p); return;
    }
}

/* Sends one record of the first outcast, once nothing else is under way. */
static void producer_outcast_send(struct kafka *b)
{
    struct kafka_publication *p = b->outcasts;
    struct kafka_client *client = kafka_client_take(b);
    if (p && rd_kafka_outq_len(client->rk) == 0) {
        b->outcasts = p->next;
        p->alone = true;
        atomic_store(&p->unreported, 1);
        kafka_send_record(p, client, producer_outcast_next(p));
        producer_reported(p);
    }
    kafka_client_give(client);
}

/* At the end: whoever waits for them hears that they are not stored. */
static void producer_outcasts_end(struct kafka *b)
{
    for (struct kafka_publication *p; (p = b->outcasts);) {
        b->outcasts = p->next;
        kafka_publication_refused(p, p->records[0].topic, RD_KAFKA_RESP_ERR__PURGE_QUEUE);
        kafka_publication_finish(p);
    }
}

/* ---- publishing ---- */

/* Adds to the wave to come. What is published while the poller sends and waits for reports forms its next wave: alone a publication waits for
 * nobody, under load the requests grow. (With linger.ms 0 and a caller that sends by itself the client makes a
 * request of every few records, and while more of them are wanted than may be in flight its thread spins, which a
 * busy machine feels.) */
static void producer_wave_join(struct kafka_publication *p)
{
    struct kafka *b = p->b;
    pthread_mutex_lock(&b->wave_lock);
    *b->wave_end = p;
    b->wave_end = &p->next;
    if (b->wave == p)
        pthread_cond_signal(&b->wave_there);
    pthread_mutex_unlock(&b->wave_lock);
}

void kafka_wave_wake(struct kafka *b)
{
    pthread_mutex_lock(&b->wave_lock);
    b->news = true;
    pthread_cond_signal(&b->wave_there);
    pthread_mutex_unlock(&b->wave_lock);
}

/* The client has something for rd_kafka_poll; librdkafka's threads. */
static void producer_on_news(rd_kafka_t *rk, void *opaque)
{
    (void)rk;
    kafka_wave_wake(opaque);
}

/* Sends each in order; those whose schemas have no id yet wait for it, as for a broker that is away. */
static void producer_admit(struct kafka *b, struct kafka_publication *list, struct kafka_publication ***end)
{
    for (struct kafka_publication *p = list, *next; p; p = next) {
        struct err why = { "" };
        struct str topic;
        next = p->next;
        p->next = NULL;
        if (kafka_publication_name(p, &topic, &why)) {
            producer_stage_begin(p, p->stage);
        } else if (atomic_load(&b->stop) || clock_mono_us() - p->began_us > (int64_t)NAMELESS_MS * 1000) {
            err_prefix(&why, "topic %.*s", (int)topic.n, topic.at);
            kafka_publication_broken(p, "schema", why.text);
            kafka_publication_finish(p);
        } else {
            **end = p;
            *end = &p->next;
        }
    }
}

/* Takes the wave, waiting for one or for news at most `wait_ms`, and sends it; on the poller. */
static void producer_wave_send(struct kafka *b, int64_t wait_ms)
{
    struct timespec until = thread_until((struct duration){ wait_ms });
    pthread_mutex_lock(&b->wave_lock);
    while (!b->wave && !b->news && wait_ms && thread_wait(&b->wave_there, &b->wave_lock, until))
        continue;
    struct kafka_publication *wave = b->wave;
    b->news = false;
    b->wave = NULL;
    b->wave_end = &b->wave;
    pthread_mutex_unlock(&b->wave_lock);
    struct kafka_publication *earlier = b->nameless, **end = &b->nameless;
    b->nameless = NULL;
    producer_admit(b, earlier, &end);
    producer_admit(b, wave, &end);
}

void kafka_publish(struct broker *base, const struct publication *p)
{
    struct kafka *b = (struct kafka *)base;
    struct kafka_publication *made = kafka_publication_new(b, p);
    atomic_fetch_add(&b->open, 1);
    kafka_storing_begin(made);
    if (p->exactly_once)
        kafka_claim_publish(b, p->state_of, made);
    else
        producer_wave_join(made);
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

/* Not taken: for its own fault, or for that of another in its batch. */
static void producer_on_refusal(struct kafka_publication *p, const rd_kafka_message_t *m, rd_kafka_resp_err_t code)
{
    const char *topic = m->rkt ? rd_kafka_topic_name(m->rkt) : "?";
    if (code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        kafka_topic_want(p->b, str_of(topic), true);
    if (p->stage == STAGE_RECORDS && !p->alone && kafka_publication_is_verdict(code))
        p->suspect = true;
    else
        kafka_publication_refused(p, str_of(topic), code);
}

static void producer_on_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct kafka_sent *sent = m->_private;
    rd_kafka_resp_err_t code = kafka_send_code(m);
    (void)rk;
    (void)opaque;
    if (code) {
        producer_on_refusal(sent->p, m, code);
    } else {
        sent->stored = true;
        kafka_send_stored(sent->p->b, m->rkt);
    }
    producer_reported(sent->p);
}

static void producer_on_error(rd_kafka_t *rk, int code, const char *text, void *opaque)
{
    struct kafka *b = opaque;
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        atomic_store(&b->down, true);
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        char why[KAFKA_ERRSTR];
        rd_kafka_resp_err_t cause = rd_kafka_fatal_error(rk, why, sizeof why);
        if (!kafka_access_is_denial(cause)) /* which is said by itself, and not with every successor */
            LOG(ERROR, "kafka producer failed for good; it gets a successor", LOG_C("cause", rd_kafka_err2name(cause)),
                LOG_C("text", why));
        /* Errors are served by rd_kafka_poll, on the poller, which is also the only one that changes the handle. */
        if (b->client && b->client->rk == rk)
            atomic_store(&b->client->fatal, true);
        if (kafka_access_is_denial(cause))
            kafka_access_denied(b, KAFKA_PRODUCE, "");
        return;
    }
    kafka_access_error(b, code, text);
}

static struct kafka_client *producer_client_new(struct kafka *b, struct err *e)
{
    unsigned login = kafka_follow_version(b);
    rd_kafka_conf_t *conf = kafka_conf_of(b, KAFKA_PRODUCER, NULL, e);
    if (!conf)
        return NULL;
    rd_kafka_conf_set_opaque(conf, b);
    rd_kafka_conf_set_dr_msg_cb(conf, producer_on_report);
    rd_kafka_conf_set_error_cb(conf, producer_on_error);
    rd_kafka_t *rk = kafka_client_begin(RD_KAFKA_PRODUCER, conf, e);
    if (!rk) {
        err_prefix(e, "broker: the kafka producer");
        return NULL;
    }
    struct kafka_client *client = kafka_client_new(rk);
    client->login = login;
    client->news = rd_kafka_queue_get_main(rk);
    rd_kafka_queue_cb_event_enable(client->news, producer_on_news, b);
    return client;
}

/* Makes librdkafka give up everything it holds; the reports come while we poll. */
static void producer_purge(struct kafka_client *client)
{
    rd_kafka_purge(client->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_poll(client->rk, 20);
}

/* Makes a new client and ends the old one; the old one itself when none can be made. */
static struct kafka_client *producer_replace(struct kafka *b, struct kafka_client *old)
{
    struct err e = { "" };
    struct kafka_client *client = producer_client_new(b, &e);
    if (!client) {
        kafka_log(3, "PRODUCER", e.text);
        return old;
    }
    pthread_mutex_lock(&b->client_lock);
    b->client = client;
    pthread_mutex_unlock(&b->client_lock);
    /* Publications in the old one end as UNAVAILABLE; publishers that still hold it let go in a moment. */
    while (atomic_load(&old->users) > 0 || rd_kafka_outq_len(old->rk) > 0) {
        producer_purge(old);
        rd_kafka_poll(client->rk, 0);
    }
    kafka_client_free(old);
    return client;
}

/* Its login is over: it gets a successor once everything that it has is reported, before anything else is sent. *since: when
 * that was seen. True while it is waited for. */
static bool producer_follow(struct kafka *b, struct kafka_client **client, int64_t *since)
{
    int64_t now = clock_mono_ms();
    kafka_follow_turn(b);
    if (!kafka_follow_is_old(b, (*client)->rk, &(*client)->login)) {
        *since = 0;
        return false;
    }
    *since = *since ? *since : now;
    bool in_vain = atomic_load(&b->down) && now - *since > OUTCOMES_MS;
    if (rd_kafka_outq_len((*client)->rk) > 0 && !in_vain)
        return true;
    *client = producer_replace(b, *client);
    *since = 0;
    return false;
}

static void *producer_run(void *arg)
{
    struct kafka *b = arg;
    struct kafka_client *client = b->client;
    int64_t next_ms = 0, wait_ms = REBIRTH_MS; /* a successor not before: what denied the last may deny the next */
    int64_t since = 0;
    while (!atomic_load(&b->stop)) {
        bool waits = producer_follow(b, &client, &since);
        kafka_holes_turn(b);
        if (!waits && b->outcasts)
            producer_outcast_send(b);
        else if (!waits)
            producer_wave_send(b, rd_kafka_outq_len(client->rk) ? 0 : IDLE_MS);
        if (rd_kafka_outq_len(client->rk) > 0)   /* else it would only wake all of the client's threads */
            rd_kafka_flush(client->rk, WAVE_MS); /* sends without lingering, and serves reports until all are there */
        rd_kafka_poll(client->rk, 0);
        if (atomic_load(&client->fatal) && clock_mono_ms() >= next_ms) {
            const struct kafka_client *failed = client;
            client = producer_replace(b, client);
            metric_add(b->reborn, client != failed);
            int64_t now = clock_mono_ms();
            bool soon = now - next_ms < REBIRTH_MOST_MS; /* after the last one */
            wait_ms = !soon ? REBIRTH_MS : wait_ms * 2 < REBIRTH_MOST_MS ? wait_ms * 2 : REBIRTH_MOST_MS;
            next_ms = now + wait_ms;
        } else if (atomic_load(&client->fatal)) {
            producer_purge(client);
        }
    }
    while (atomic_load(&b->open) > 0) {
        producer_wave_send(b, 0);
        producer_purge(client);
        producer_outcasts_end(b);
    }
    return NULL;
}

bool kafka_producer_start(struct kafka *b, struct err *e)
{
    b->client = producer_client_new(b, e);
    if (!b->client)
        return false;
    CHECK(pthread_create(&b->poller, NULL, producer_run, b) == 0);
    return true;
}

void kafka_producer_stop(struct kafka *b)
{
    producer_on_news(NULL, b); /* so that it sees that it is to stop */
    pthread_join(b->poller, NULL);
    kafka_client_free(b->client);
}
