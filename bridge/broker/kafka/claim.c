/* SPDX-License-Identifier: MIT */
/* Exactly once: the publications of one source as transactions, of whoever claimed it last.
 *
 *   begin -> claim record, records, changes -> all reported -> commit -> STORED
 *                     |                             `-- broken: was it committed? (below)
 *                     `-- refused -> abort -> UNAVAILABLE (published again), or INVALID
 *
 * A claim has a client of its own, with a transactional id made of the source's name: the cluster lets only the last one
 * that began with that id go on, and undoes what the one before left open. A thread of its own publishes, one after the
 * other, because each step waits for the cluster.
 *
 * librdkafka calls us fenced when another daemon began with our id, and also when the cluster was away for longer than
 * a transaction may last; and a client that failed may leave open whether its last transaction was committed. So each
 * transaction writes whose the source is, and its own number, to the state topic: "<token of the claim> <number>". The
 * record that is there says both: another token, and the source is somebody else's, here it ends; ours, and it goes on
 * with a new client, once it is known by the number whether the last one counts. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crash.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

METRIC_COUNTER(aqueduct_transactions_total,
               "kafka: transactions of sources with delivery: exactly_once, by how they ended: committed, aborted (and "
               "published again), fenced (another daemon has the source).",
               "source", "end");

enum {
    CLAIM_SLICE_MS = 1000,  /* one call of librdkafka: so soon the end of the claim is seen */
    CLAIM_BEGIN_MS = 30000, /* a coordinator that begins, too, takes some seconds */
    CLAIM_GRACE_MS = 3000,  /* who takes the id says next whose the source is: so long nobody takes it back */
    CLAIM_AGAIN_MS = 1000,
    CLAIM_AGAIN_MOST_MS = 8000,
    CLAIM_VALUE = UUID_TEXT + 24,
};

struct kafka_claim {
    struct kafka *b;
    struct kafka_claim *next; /* in b->claims */
    char *source, *id;        /* id: the transactional one */
    char token[UUID_TEXT];
    uint64_t number;             /* of the last transaction that is committed */
    struct kafka_client *client; /* the thread's, once that runs; NULL: the last one failed */
    pthread_t thread;
    atomic_bool stop;
    pthread_mutex_t lock; /* guards what follows; with there */
    pthread_cond_t there;
    struct kafka_publication *first, **end;
    bool lost;
    struct err why; /* lost */
};

const char *kafka_claim_source(const struct kafka_claim *c)
{
    return c->source;
}

bool kafka_claim_ends(const struct kafka_claim *c)
{
    return atomic_load(&c->stop) || atomic_load(&c->b->stop);
}

static void claim_count(const struct kafka_claim *c, const char *end)
{
    metric_add(metric_get(&aqueduct_transactions_total, LABELS(c->source, end)), 1);
}

/* ---- the client ---- */

static void claim_on_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct kafka_sent *sent = m->_private;
    rd_kafka_resp_err_t code = kafka_send_code(m);
    (void)rk;
    (void)opaque;
    if (!code) {
        kafka_send_stored(sent->p->b, m->rkt);
        return;
    }
    const char *topic = m->rkt ? rd_kafka_topic_name(m->rkt) : "?";
    if (code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        kafka_topic_want(sent->p->b, str_of(topic), true);
    kafka_publication_refused(sent->p, str_of(topic), code);
}

static void claim_on_error(rd_kafka_t *rk, int code, const char *text, void *opaque)
{
    (void)rk;
    if (code != RD_KAFKA_RESP_ERR__FATAL) /* which the call that meets it tells */
        kafka_access_error(((struct kafka_claim *)opaque)->b, code, text);
}

/* Transactions that fail are told by who began them. */
static void claim_on_log(const rd_kafka_t *rk, int level, const char *kind, const char *text)
{
    bool told = strcmp(kind, "TXNERR") == 0 || strcmp(kind, "FATAL") == 0 || strcmp(kind, "ADDPARTS") == 0
                || strcmp(kind, "GETPID") == 0;
    kafka_conf_on_log(rk, told && level < 6 ? 6 : level, kind, text);
}

/* Why a call failed; what the cluster denies is remembered. */
static void claim_note(struct kafka_claim *c, const rd_kafka_error_t *error, struct err *why)
{
    err_set(why, "%s", rd_kafka_error_string(error));
    if (rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
        return;
    kafka_access_denied(c->b, KAFKA_TRANSACT, c->id);
    kafka_access_reason(c->b, KAFKA_TRANSACT, c->id, why);
}

enum claim_call { CALL_DONE = 1, CALL_ABORT, CALL_BROKEN };

/* Is its login over? A new password is given to it. */
static bool claim_is_old(const struct kafka_claim *c)
{
    return c->client && kafka_follow_is_old(c->b, c->client->rk, &c->client->login);
}

/* Calls until it is done, or there is no use in calling again. */
static enum claim_call claim_call(struct kafka_claim *c, rd_kafka_t *rk, rd_kafka_error_t *(*call)(rd_kafka_t *, int),
                                  int64_t limit_ms, struct err *why)
{
    for (int64_t until = clock_mono_ms() + limit_ms;;) {
        int64_t began = clock_mono_ms();
        rd_kafka_error_t *error = call(rk, CLAIM_SLICE_MS);
        if (!error)
            return CALL_DONE;
        bool again = rd_kafka_error_is_retriable(error), undone = rd_kafka_error_txn_requires_abort(error);
        claim_note(c, error, why);
        rd_kafka_error_destroy(error);
        if (undone)
            return CALL_ABORT;
        if (!again || kafka_claim_ends(c) || clock_mono_ms() > until || claim_is_old(c))
            return CALL_BROKEN;
        if (clock_mono_ms() - began < CLAIM_SLICE_MS / 2)
            nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
    }
}

/* Gives up what it holds, and ends it. A transaction that is open stays so, for the next one or the cluster to undo. */
static void claim_drop(struct kafka_claim *c)
{
    for (int tries = 0; c->client && rd_kafka_outq_len(c->client->rk) > 0 && tries < 250; tries++) {
        rd_kafka_purge(c->client->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_poll(c->client->rk, 20);
    }
    if (c->client)
        kafka_client_free(c->client);
    c->client = NULL;
}

/* A client that may publish: from here on no earlier one does. */
static bool claim_client_open(struct kafka_claim *c, struct err *e)
{
    unsigned login = kafka_follow_version(c->b);
    rd_kafka_conf_t *conf = kafka_conf_of(c->b, KAFKA_PRODUCER, NULL, e);
    if (!conf)
        return false;
    if (!kafka_conf_transactional(conf, c->b->config, c->id, e)) {
        rd_kafka_conf_destroy(conf);
        return false;
    }
    rd_kafka_conf_set_opaque(conf, c);
    rd_kafka_conf_set_log_cb(conf, claim_on_log);
    rd_kafka_conf_set_dr_msg_cb(conf, claim_on_report);
    rd_kafka_conf_set_error_cb(conf, claim_on_error);
    rd_kafka_t *rk = kafka_client_begin(RD_KAFKA_PRODUCER, conf, e);
    if (!rk)
        return false;
    c->client = kafka_client_new(rk);
    c->client->login = login;
    if (claim_call(c, rk, rd_kafka_init_transactions, CLAIM_BEGIN_MS, e) == CALL_DONE) {
        kafka_access_granted(c->b, KAFKA_TRANSACT, c->id);
        return true;
    }
    claim_drop(c);
    return false;
}

/* ---- a transaction ---- */

enum claim_end { CLAIM_COMMITTED = 1, CLAIM_ABORTED, CLAIM_BROKEN };

/* Waits until everything is reported; message.timeout.ms is the limit. */
static void claim_flush(const struct kafka_claim *c)
{
    char text[KAFKA_ERRSTR];
    while (rd_kafka_flush(c->client->rk, CLAIM_SLICE_MS) == RD_KAFKA_RESP_ERR__TIMED_OUT && !kafka_claim_ends(c)
           && !rd_kafka_fatal_error(c->client->rk, text, sizeof text))
        claim_is_old(c); /* when it is, nothing is stored that is not yet, and the commit finds it */
}

/* Sends all of it, begins with whose it is. */
static void claim_send(struct kafka_claim *c, struct kafka_publication *p)
{
    char value[CLAIM_VALUE];
    snprintf(value, sizeof value, "%s %" PRIu64, c->token, c->number + 1);
    if (!kafka_send_claim(p, c->client, str_of(value)))
        return;
    kafka_send_records(p, c->client);
    kafka_send_changes(p, c->client, false);
    claim_flush(c);
}

static enum claim_end claim_try(struct kafka_claim *c, struct kafka_publication *p, struct err *why)
{
    rd_kafka_error_t *error = rd_kafka_begin_transaction(c->client->rk);
    if (error) {
        err_set(why, "%s", rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
        return CLAIM_BROKEN;
    }
    claim_send(c, p);
    crash_point("kafka-in-transaction");
    enum claim_call end = CALL_ABORT;
    if (p->reason)
        err_set(why, "%s", p->why);
    else
        end = claim_call(c, c->client->rk, rd_kafka_commit_transaction, INT64_MAX / 2, why);
    if (end == CALL_DONE) {
        crash_point("kafka-after-transaction");
        c->number++;
        claim_count(c, "committed");
        return CLAIM_COMMITTED;
    }
    struct err first = *why;
    if (end == CALL_BROKEN || claim_call(c, c->client->rk, rd_kafka_abort_transaction, INT64_MAX / 2, why) != CALL_DONE)
        return CLAIM_BROKEN;
    *why = first;
    rd_kafka_poll(c->client->rk, 0);
    if (rd_kafka_outq_len(c->client->rk) > 0) /* reports of what goes with p now */
        return CLAIM_BROKEN;
    claim_count(c, "aborted");
    return CLAIM_ABORTED;
}

/* ---- whose it is ---- */

/* Another one has it: nothing more is published here. */
static void claim_lose(struct kafka_claim *c)
{
    pthread_mutex_lock(&c->lock);
    c->lost = true;
    err_set(
        &c->why,
        "another daemon publishes for it now (transactional id %s): here it is stopped, so that nothing is told twice; "
        "stop one of the two, then restart this one",
        c->id);
    pthread_mutex_unlock(&c->lock);
    claim_count(c, "fenced");
}

static bool claim_is_lost(struct kafka_claim *c, struct err *why)
{
    pthread_mutex_lock(&c->lock);
    bool lost = c->lost;
    if (lost)
        *why = c->why;
    pthread_mutex_unlock(&c->lock);
    return lost;
}

/* Reads whose the source is, and the number of our last transaction that counts. False: it cannot be read now, or is lost. */
static bool claim_look(struct kafka_claim *c, bool settled, uint64_t *number, struct err *e)
{
    struct buf value = buf_new(CLAIM_VALUE);
    bool fine = kafka_state_claim(c->b, c->source, settled, &c->stop, &value, e);
    struct str text = buf_str(&value);
    size_t n = strlen(c->token);
    if (fine && text.n && (text.n < n + 2 || memcmp(text.at, c->token, n) != 0)) {
        claim_lose(c);
        fine = false;
    } else if (fine && text.n && !str_to_u64(str_from(text, n + 1), number)) {
        fine = err_set(e, "its claim on the topic %s cannot be read", c->b->state_topic);
    }
    buf_free(&value);
    return fine;
}

/* A new client, if it is still ours to have one. *number: that of the last transaction that counts. */
static bool claim_again(struct kafka_claim *c, uint64_t *number, struct err *e)
{
    if (!claim_look(c, false, number, e) || !claim_client_open(c, e))
        return false;
    if (claim_look(c, true, number, e)) /* what was open is over, and nobody came between */
        return true;
    claim_drop(c);
    return false;
}

static void claim_wait(struct kafka_claim *c, int64_t ms)
{
    struct timespec until = thread_until((struct duration){ ms });
    pthread_mutex_lock(&c->lock);
    while (!kafka_claim_ends(c) && thread_wait(&c->there, &c->lock, until))
        continue;
    pthread_mutex_unlock(&c->lock);
}

/* Tries until there is a client again; false: lost, or the claim ends. *number: as above. */
static bool claim_recover(struct kafka_claim *c, uint64_t *number)
{
    struct err e = { "" };
    for (int64_t wait = CLAIM_AGAIN_MS; !kafka_claim_ends(c); wait *= 2) {
        if (claim_again(c, number, &e))
            return true;
        if (claim_is_lost(c, &e))
            return false;
        LOG(WARN, "no transactions for now; trying again", LOG_C("source", c->source), LOG_C("reason", e.text));
        wait = wait < CLAIM_AGAIN_MOST_MS ? wait : CLAIM_AGAIN_MOST_MS;
        claim_wait(c, wait);
    }
    return false;
}

/* ---- the thread ---- */

/* One that broke: finds out whether it counts. */
static enum claim_end claim_resolve(struct kafka_claim *c, const struct err *why)
{
    char text[KAFKA_ERRSTR];
    uint64_t number = c->number;
    bool fenced = rd_kafka_fatal_error(c->client->rk, text, sizeof text) == RD_KAFKA_RESP_ERR__FENCED;
    LOG(WARN, "a transaction broke; finding out whether it counts", LOG_C("source", c->source),
        LOG_C("reason", why->text));
    claim_drop(c);
    if (fenced)
        claim_wait(c, CLAIM_GRACE_MS);
    if (!claim_recover(c, &number))
        return CLAIM_BROKEN;
    bool counts = number > c->number;
    c->number = number;
    claim_count(c, counts ? "committed" : "aborted");
    LOG(INFO, "transactions go on", LOG_C("source", c->source),
        LOG_C("the_last_one", counts ? "counts" : "was undone"));
    return counts ? CLAIM_COMMITTED : CLAIM_ABORTED;
}

static void claim_serve(struct kafka_claim *c, struct kafka_publication *p)
{
    struct err why = { "" };
    struct str topic;
    enum claim_end end = CLAIM_BROKEN;
    if (!kafka_publication_name(p, &topic, &why)) { /* the source publishes it again */
        claim_wait(c, CLAIM_AGAIN_MS);
        kafka_publication_broken(p, "schema", why.text);
        kafka_publication_finish(p);
        return;
    }
    if (!claim_is_lost(c, &why))
        end = claim_try(c, p, &why);
    if (end == CLAIM_BROKEN && !claim_is_lost(c, &why))
        end = claim_resolve(c, &why);
    bool lost = claim_is_lost(c, &why);
    if (end == CLAIM_COMMITTED || lost) /* what broke meanwhile is no matter */
        kafka_publication_forgive(p);
    if (end != CLAIM_COMMITTED)
        kafka_publication_broken(p, lost ? "fenced" : "aborted", why.text);
    kafka_publication_finish(p);
}

/* Waits for one; NULL: the end, or time to look after the client. */
static struct kafka_publication *claim_next(struct kafka_claim *c)
{
    struct timespec until = thread_until((struct duration){ CLAIM_SLICE_MS });
    pthread_mutex_lock(&c->lock);
    while (!c->first && !kafka_claim_ends(c) && thread_wait(&c->there, &c->lock, until))
        continue;
    struct kafka_publication *p = c->first;
    if (p) {
        c->first = p->next;
        c->end = c->first ? c->end : &c->first;
    }
    pthread_mutex_unlock(&c->lock);
    return p;
}

static void *claim_run(void *arg)
{
    struct kafka_claim *c = arg;
    for (struct kafka_publication *p; (p = claim_next(c)) || !kafka_claim_ends(c);) {
        if (p && kafka_claim_ends(c)) {
            kafka_publication_broken(p, "stopped", "the bridge stopped");
            kafka_publication_finish(p);
        } else if (p) {
            claim_serve(c, p);
        }
        if (c->client) /* errors of its connections */
            rd_kafka_poll(c->client->rk, 0);
        if (!kafka_claim_ends(c) && claim_is_old(c)) { /* nothing of it is open */
            claim_drop(c);
            claim_recover(c, &c->number);
        }
    }
    return NULL;
}

/* Where that of the source is, or would be; with claims_lock. */
static struct kafka_claim **claim_find(struct kafka *b, const char *source)
{
    struct kafka_claim **at = &b->claims;
    while (*at && strcmp((*at)->source, source) != 0)
        at = &(*at)->next;
    return at;
}

void kafka_claim_publish(struct kafka *b, const char *source, struct kafka_publication *p)
{
    pthread_mutex_lock(&b->claims_lock);
    struct kafka_claim *c = *claim_find(b, source);
    pthread_mutex_unlock(&b->claims_lock);
    CHECK(c);
    p->claim = c;
    pthread_mutex_lock(&c->lock);
    *c->end = p;
    c->end = &p->next;
    pthread_cond_signal(&c->there);
    pthread_mutex_unlock(&c->lock);
}

/* ---- begin and end ---- */

static void claim_free(struct kafka_claim *c)
{
    claim_drop(c);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->there);
    free(c->source);
    free(c->id);
    free(c);
}

static void claim_written(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    (void)tag;
    (void)o;
    if (why)
        err_set(ctx, "%s", why);
}

/* The claim itself, as the first transaction. The one that had the source may just be getting its id back. */
static bool claim_write(struct kafka_claim *c, struct err *e)
{
    struct err why = { "" };
    struct kafka_publication *p = kafka_publication_new(c->b,
                                                        &(struct publication){ .done = claim_written, .ctx = &why });
    p->claim = c;
    atomic_fetch_add(&c->b->open, 1);
    bool opened = claim_client_open(c, e), written = opened && claim_try(c, p, e) == CLAIM_COMMITTED;
    if (!written) {
        claim_drop(c);
        kafka_publication_broken(p, "aborted", e->text);
    }
    kafka_publication_finish(p);
    return written || (opened && err_set(e, "%s", why.text)); /* which has less room */
}

/* Waits for the cluster, and for those that want the same. */
static bool claim_begin(struct kafka_claim *c, struct err *e)
{
    int64_t until = clock_mono_ms() + CLAIM_BEGIN_MS;
    if (kafka_topic_wait(c->b, c->b->state_topic, (struct duration){ CLAIM_BEGIN_MS }, e) == 0)
        return false;
    bool written;
    while (!(written = claim_write(c, e)) && clock_mono_ms() < until && kafka_access_ready(c->b, NULL))
        nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL);
    return written;
}

bool kafka_claim(struct broker *base, const char *source, struct err *e)
{
    struct kafka *b = (struct kafka *)base;
    kafka_release(base, source);
    struct kafka_claim *c = mem_alloc(sizeof *c);
    *c = (struct kafka_claim){ .b = b,
                               .source = str_dup(str_of(source)),
                               .id = str_join(b->config->prefix, "source.", source),
                               .end = &c->first };
    uuid_random(c->token);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->there, NULL);
    if (!claim_begin(c, e)) {
        claim_free(c);
        return err_prefix(e, "source %s, delivery exactly_once", source);
    }
    CHECK(pthread_create(&c->thread, NULL, claim_run, c) == 0);
    pthread_mutex_lock(&b->claims_lock);
    c->next = b->claims;
    b->claims = c;
    pthread_mutex_unlock(&b->claims_lock);
    return true;
}

bool kafka_claimed(struct broker *base, const char *source, struct err *why)
{
    struct kafka *b = (struct kafka *)base;
    pthread_mutex_lock(&b->claims_lock);
    struct kafka_claim *c = *claim_find(b, source);
    pthread_mutex_unlock(&b->claims_lock);
    return c && !claim_is_lost(c, why);
}

void kafka_release(struct broker *base, const char *source)
{
    struct kafka *b = (struct kafka *)base;
    pthread_mutex_lock(&b->claims_lock);
    struct kafka_claim **at = claim_find(b, source), *c = *at;
    if (c)
        *at = c->next;
    pthread_mutex_unlock(&b->claims_lock);
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    atomic_store(&c->stop, true);
    pthread_cond_signal(&c->there);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    claim_free(c);
}

void kafka_claims_end(struct kafka *b)
{
    while (b->claims)
        kafka_release(&b->base, b->claims->source);
}
