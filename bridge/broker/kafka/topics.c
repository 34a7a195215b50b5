/* SPDX-License-Identifier: MIT */
/* The keeper: one thread that makes the topics that are wanted, knows how many partitions they have, and notices
 * whether the cluster answers. Everybody else notes what they want and waits, or does not. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum {
    ASK_MS = 1000,    /* one question to the cluster */
    LEADER_MS = 5000, /* a new topic has leaders by then */
    LOOK_MS = 5000,   /* between looks whether it answers, and at the topics' partitions */
    LOOK_DOWN_MS = 500,
};

/* ---- notes (under topics_lock) ---- */

static struct topic_note *note_find(struct kafka *b, struct str name)
{
    for (size_t i = 0; i < b->note_count; i++)
        if (str_eq(str_of(b->notes[i].name), name))
            return &b->notes[i];
    return NULL;
}

static struct topic_note *note_get(struct kafka *b, struct str name)
{
    struct topic_note *n = note_find(b, name);
    if (n)
        return n;
    char *state = kafka_state_topic(b);
    b->notes = mem_grow(b->notes, b->note_count + 1, sizeof *b->notes);
    n = &b->notes[b->note_count++];
    *n = (struct topic_note){ .name = str_dup(name), .compact = str_eq(str_of(state), name) };
    free(state);
    return n;
}

static struct topic_note *note_due(struct kafka *b)
{
    int64_t now = clock_mono_ms();
    for (size_t i = 0; i < b->note_count; i++) {
        struct topic_note *n = &b->notes[i];
        if (n->state == TOPIC_WANTED || (n->state == TOPIC_FAILED && n->retry_ms <= now))
            return n;
    }
    return NULL;
}

/* ---- asking the cluster (keeper only, no lock held) ---- */

static void topic_setting(rd_kafka_NewTopic_t *t, const char *key, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    rd_kafka_NewTopic_set_config(t, key, text);
}

/* The new topic of a note: with settings when the user listed it, else with the cluster's. The state topic is small
 * and is read whole at every start, so its segments are small enough for compaction to work. */
static rd_kafka_NewTopic_t *new_topic(const struct kafka *b, const struct topic_note *n)
{
    char text[KAFKA_ERRSTR];
    int partitions = n->compact ? 1 : n->config.partitions > 0 ? (int)n->config.partitions : -1;
    rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(n->name, partitions, (int)b->config->replication, text, sizeof text);
    if (!t)
        return NULL;
    if (n->compact) {
        rd_kafka_NewTopic_set_config(t, "cleanup.policy", "compact");
        topic_setting(t, "segment.bytes", 8 << 20);
        rd_kafka_NewTopic_set_config(t, "min.cleanable.dirty.ratio", "0.1");
    } else if (n->config.partitions > 0) {
        topic_setting(t, "retention.ms", n->config.retention.ms > 0 ? n->config.retention.ms : -1);
        topic_setting(t, "retention.bytes", n->config.retention_bytes.n > 0 ? n->config.retention_bytes.n : -1);
    }
    return t;
}

/* Waits for the answer to an admin request and takes the one topic's result. */
static bool admin_answer(struct kafka *b, rd_kafka_queue_t *q, bool creating, rd_kafka_resp_err_t *code, char *why,
                         size_t room)
{
    rd_kafka_event_t *ev = NULL;
    for (int i = 0; i < 30 && !ev && !atomic_load(&b->stop); i++)
        ev = rd_kafka_queue_poll(q, 100);
    if (!ev) {
        snprintf(why, room, "Kafka at %s does not answer", b->config->servers);
        return false;
    }
    *code = rd_kafka_event_error(ev);
    if (*code)
        snprintf(why, room, "Kafka at %s does not answer (%s)", b->config->servers, rd_kafka_event_error_string(ev));
    size_t count = 0;
    const rd_kafka_topic_result_t **results = NULL;
    if (!*code)
        results = creating
                      ? rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(ev), &count)
                      : rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(ev), &count);
    if (count == 1) {
        *code = rd_kafka_topic_result_error(results[0]);
        const char *text = rd_kafka_topic_result_error_string(results[0]);
        snprintf(why, room, "%s", *code ? text ? text : rd_kafka_err2str(*code) : "");
    }
    rd_kafka_event_destroy(ev);
    return true;
}

static rd_kafka_AdminOptions_t *admin_options(struct kafka_handle *h)
{
    char text[KAFKA_ERRSTR];
    rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(h->rk, RD_KAFKA_ADMIN_OP_ANY);
    rd_kafka_AdminOptions_set_request_timeout(o, 3 * ASK_MS, text, sizeof text);
    return o;
}

static bool topic_create(struct kafka *b, struct kafka_handle *h, const struct topic_note *n, rd_kafka_resp_err_t *code,
                         char *why, size_t room)
{
    rd_kafka_NewTopic_t *t = new_topic(b, n);
    if (!t) {
        snprintf(why, room, "not a topic name, number of partitions or replication factor that Kafka knows");
        return false;
    }
    rd_kafka_queue_t *q = rd_kafka_queue_new(h->rk);
    rd_kafka_AdminOptions_t *o = admin_options(h);
    rd_kafka_CreateTopics(h->rk, &t, 1, o, q);
    bool answered = admin_answer(b, q, true, code, why, room);
    rd_kafka_AdminOptions_destroy(o);
    rd_kafka_queue_destroy(q);
    rd_kafka_NewTopic_destroy(t);
    return answered;
}

static bool topic_widen(struct kafka *b, struct kafka_handle *h, const struct topic_note *n, char *why, size_t room)
{
    char text[KAFKA_ERRSTR];
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_NewPartitions_t *p = rd_kafka_NewPartitions_new(n->name, (size_t)n->config.partitions, text, sizeof text);
    if (!p)
        return false;
    rd_kafka_queue_t *q = rd_kafka_queue_new(h->rk);
    rd_kafka_AdminOptions_t *o = admin_options(h);
    rd_kafka_CreatePartitions(h->rk, &p, 1, o, q);
    bool done = admin_answer(b, q, false, &code, why, room) && code == RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_AdminOptions_destroy(o);
    rd_kafka_queue_destroy(q);
    rd_kafka_NewPartitions_destroy(p);
    return done;
}

/* Number of partitions when the topic exists and each has a leader; 0 with *why. Also teaches the producer, whose first
 * message to a topic it does not know may otherwise be up to a second late (librdkafka before 2.10.1). */
static int32_t topic_ask(struct kafka *b, struct kafka_handle *h, const char *name, char *why, size_t room)
{
    bool created;
    rd_kafka_topic_t *rkt = kafka_handle_topic(h, str_of(name), &created);
    const struct rd_kafka_metadata *md = NULL;
    if (!rkt) {
        snprintf(why, room, "not a topic name");
        return 0;
    }
    rd_kafka_resp_err_t code = rd_kafka_metadata(h->rk, 0, rkt, &md, ASK_MS);
    if (code) {
        atomic_store(&b->down, true);
        snprintf(why, room, "Kafka at %s does not answer (%s)", b->config->servers, rd_kafka_err2str(code));
        return 0;
    }
    atomic_store(&b->down, false);
    int32_t count = 0;
    if (md->topic_cnt != 1 || md->topics[0].err)
        snprintf(why, room, "%s",
                 rd_kafka_err2str(md->topic_cnt == 1 ? md->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART));
    else
        count = md->topics[0].partition_cnt;
    for (int i = 0; i < count; i++)
        if (md->topics[0].partitions[i].leader < 0) {
            snprintf(why, room, "partition %d has no leader", i);
            count = 0;
        }
    rd_kafka_metadata_destroy(md);
    return count;
}

/* Do the leaders that the metadata names know that they are? One that does not refuses the first batch, and the
 * second may then overtake it. */
static bool leaders_lead(struct kafka_handle *h, const char *name, int32_t count, char *why, size_t room)
{
    for (int32_t p = 0; p < count; p++) {
        int64_t low, high;
        rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(h->rk, name, p, &low, &high, ASK_MS);
        if (!code)
            continue;
        snprintf(why, room, "partition %d: %s", p, rd_kafka_err2str(code));
        return false;
    }
    return true;
}

/* Asks until the new topic has at least `least` partitions that can be written to. */
static int32_t topic_await(struct kafka *b, struct kafka_handle *h, const char *name, int32_t least, char *why,
                           size_t room)
{
    int64_t until = clock_mono_ms() + LEADER_MS;
    for (;;) {
        int32_t count = topic_ask(b, h, name, why, room);
        if (count >= least && leaders_lead(h, name, count, why, room))
            return count;
        if (clock_mono_ms() > until || atomic_load(&b->stop))
            return 0;
        nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
    }
}

static int32_t topic_make(struct kafka *b, struct kafka_handle *h, const struct topic_note *n, char *why, size_t room)
{
    if (!b->config->create_topics) {
        int32_t count = topic_ask(b, h, n->name, why, room);
        if (count == 0 && !atomic_load(&b->down))
            snprintf(why, room, "it does not exist and broker.create_topics is off");
        return count;
    }
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (!topic_create(b, h, n, &code, why, room))
        return 0;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return topic_await(b, h, n->name, 1, why, room);
    /* It is there already, or we may not make it: then it may be there all the same. */
    char text[WHY_BYTES];
    int32_t count = topic_ask(b, h, n->name, text, sizeof text);
    if (count == 0 && code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        count = topic_await(b, h, n->name, 1, why, room);
    if (count == 0 || n->config.partitions <= count)
        return count;
    if (!topic_widen(b, h, n, why, room)) {
        LOG(WARN, "topic has fewer partitions than configured", LOG_C("topic", n->name), LOG_INT("partitions", count),
            LOG_INT("configured", n->config.partitions), LOG_C("why", why));
        return count;
    }
    return topic_await(b, h, n->name, (int32_t)n->config.partitions, why, room);
}

/* ---- the keeper ---- */

/* Called with the lock; lets go of it while the cluster is asked. */
static void keeper_make(struct kafka *b, struct topic_note *n)
{
    struct topic_note copy = *n;
    copy.name = str_dup(str_of(n->name));
    pthread_mutex_unlock(&b->topics_lock);
    struct kafka_handle *h = kafka_take(b);
    int32_t count = topic_make(b, h, &copy, copy.why, sizeof copy.why);
    kafka_give(h);
    pthread_mutex_lock(&b->topics_lock);
    n = note_find(b, str_of(copy.name));
    n->tries++;
    /* Somebody may have asked for more meanwhile. */
    bool same = n->config.partitions == copy.config.partitions;
    n->state = count == 0 ? TOPIC_FAILED : same ? TOPIC_THERE : TOPIC_WANTED;
    n->partitions = count > 0 ? count : n->partitions;
    n->retry_ms = clock_mono_ms() + (n->tries < 20 ? 500 : 5000);
    memcpy(n->why, copy.why, sizeof n->why);
    free(copy.name);
    pthread_cond_broadcast(&b->topics_changed);
}

/* Does the cluster answer, and how many partitions do the topics we use have? */
static void keeper_look(struct kafka *b)
{
    const struct rd_kafka_metadata *md = NULL;
    struct kafka_handle *h = kafka_take(b);
    rd_kafka_resp_err_t code = rd_kafka_metadata(h->rk, 0, NULL, &md, ASK_MS);
    kafka_give(h);
    atomic_store(&b->down, code != RD_KAFKA_RESP_ERR_NO_ERROR);
    if (code)
        return;
    pthread_mutex_lock(&b->topics_lock);
    for (int i = 0; i < md->topic_cnt; i++) {
        struct topic_note *n = note_find(b, str_of(md->topics[i].topic));
        if (n && !md->topics[i].err && md->topics[i].partition_cnt > n->partitions)
            n->partitions = md->topics[i].partition_cnt;
    }
    pthread_mutex_unlock(&b->topics_lock);
    rd_kafka_metadata_destroy(md);
}

bool kafka_topics(struct broker *base, const char *prefix, void (*each)(void *ctx, const char *topic), void *ctx,
                  struct err *e)
{
    struct kafka *b = (struct kafka *)base;
    const struct rd_kafka_metadata *md = NULL;
    struct kafka_handle *h = kafka_take(b);
    rd_kafka_resp_err_t code = rd_kafka_metadata(h->rk, 1, NULL, &md, 5 * ASK_MS);
    kafka_give(h);
    if (code)
        return err_set(e, "Kafka at %s does not list its topics: %s", b->config->servers, rd_kafka_err2str(code));
    for (int i = 0; i < md->topic_cnt; i++)
        if (!md->topics[i].err && str_starts(str_of(md->topics[i].topic), str_of(prefix)))
            each(ctx, md->topics[i].topic);
    rd_kafka_metadata_destroy(md);
    return true;
}

static void *keeper_run(void *arg)
{
    struct kafka *b = arg;
    int64_t look = 0;
    pthread_mutex_lock(&b->topics_lock);
    while (!atomic_load(&b->stop)) {
        struct topic_note *due = note_due(b);
        if (due) {
            keeper_make(b, due);
        } else if (clock_mono_ms() >= look) {
            pthread_mutex_unlock(&b->topics_lock);
            keeper_look(b);
            look = clock_mono_ms() + (atomic_load(&b->down) ? LOOK_DOWN_MS : LOOK_MS);
            pthread_mutex_lock(&b->topics_lock);
        } else {
            int64_t wait_ms = look - clock_mono_ms();
            struct duration wait = { wait_ms < LOOK_DOWN_MS ? wait_ms : LOOK_DOWN_MS };
            thread_wait(&b->topics_changed, &b->topics_lock, thread_until(wait));
        }
    }
    pthread_mutex_unlock(&b->topics_lock);
    return NULL;
}

void kafka_keeper_start(struct kafka *b)
{
    CHECK(pthread_create(&b->keeper, NULL, keeper_run, b) == 0);
}

void kafka_keeper_stop(struct kafka *b)
{
    pthread_mutex_lock(&b->topics_lock);
    pthread_cond_broadcast(&b->topics_changed);
    pthread_mutex_unlock(&b->topics_lock);
    pthread_join(b->keeper, NULL);
}

/* ---- what others ask ---- */

void kafka_topic_want(struct kafka *b, struct str name, bool again)
{
    pthread_mutex_lock(&b->topics_lock);
    size_t before = b->note_count;
    struct topic_note *n = note_get(b, name);
    if (again && n->state == TOPIC_THERE)
        n->state = TOPIC_WANTED;
    if (again || b->note_count != before)
        pthread_cond_broadcast(&b->topics_changed);
    pthread_mutex_unlock(&b->topics_lock);
}

int32_t kafka_topic_wait(struct kafka *b, const char *name, struct duration limit, struct err *e)
{
    struct timespec until = thread_until(limit);
    pthread_mutex_lock(&b->topics_lock);
    unsigned tries = note_get(b, str_of(name))->tries;
    pthread_cond_broadcast(&b->topics_changed);
    struct topic_note *n;
    /* One failed try is answer enough when the cluster is there; when it is not, it may come back. */
    while ((n = note_find(b, str_of(name)))->state != TOPIC_THERE && (n->tries == tries || atomic_load(&b->down))
           && thread_wait(&b->topics_changed, &b->topics_lock, until))
        continue;
    int32_t count = n->state == TOPIC_THERE ? n->partitions : 0;
    if (count == 0 && n->why[0])
        err_set(e, "topic %s: %s", name, n->why);
    else if (count == 0)
        err_set(e, "topic %s: Kafka at %s does not answer", name, b->config->servers);
    pthread_mutex_unlock(&b->topics_lock);
    return count;
}

bool kafka_topic(struct broker *base, const struct topic_config *topic, struct err *e)
{
    struct kafka *b = (struct kafka *)base;
    pthread_mutex_lock(&b->topics_lock);
    struct topic_note *n = note_get(b, str_of(topic->name));
    n->config = *topic;
    n->config.name = NULL;
    n->state = TOPIC_WANTED;
    pthread_mutex_unlock(&b->topics_lock);
    return kafka_topic_wait(b, topic->name, (struct duration){ LEADER_MS }, e) > 0;
}

int32_t kafka_topic_partitions(struct kafka *b, const char *name)
{
    pthread_mutex_lock(&b->topics_lock);
    struct topic_note *n = note_find(b, str_of(name));
    int32_t count = n ? n->partitions : 0;
    pthread_mutex_unlock(&b->topics_lock);
    return count;
}

bool kafka_topic_failed(struct kafka *b, struct err *why)
{
    bool failed = false;
    pthread_mutex_lock(&b->topics_lock);
    for (size_t i = 0; i < b->note_count && !failed; i++)
        if (b->notes[i].state == TOPIC_FAILED) {
            err_set(why, "topic %s: %s", b->notes[i].name, b->notes[i].why);
            failed = true;
        }
    pthread_mutex_unlock(&b->topics_lock);
    return failed;
}
