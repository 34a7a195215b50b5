/* SPDX-License-Identifier: MIT */
/* The keeper: one thread that makes the topics that are wanted, knows how many partitions they have, and notices
 * whether the cluster answers. Everybody else says what they want and waits, or does not. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum {
    ASK_MS = 1000,     /* one question to the cluster */
    ANSWER_MS = 10000, /* a request to make topics, which may be many */
    MAKE_MS = 60000,
    LEADER_MS = 5000, /* a new topic has leaders by then */
    LOOK_MS = 5000,   /* between looks whether it answers, and at the topics' partitions */
    LOOK_DOWN_MS = 500,
    SAY_MS = 60000,
    ASK_MOST = 500, /* topics in one request */
};

struct topics_asked {         /* a topic while the cluster is asked about it */
    struct kafka_topic topic; /* a copy, with a name of its own */
    bool answered;            /* to the request to make it, with: */
    rd_kafka_resp_err_t code;
};

/* ---- what the keeper knows (under topics_lock) ---- */

static struct kafka_topic *topics_find(struct kafka *b, struct str name)
{
    for (size_t i = 0; i < b->topic_count; i++)
        if (str_eq(str_of(b->topics[i].name), name))
            return &b->topics[i];
    return NULL;
}

/* The topic; when nobody asked for it before, it is wanted from now on. */
static struct kafka_topic *topics_get(struct kafka *b, struct str name)
{
    struct kafka_topic *topic = topics_find(b, name);
    if (topic)
        return topic;
    b->topics = mem_grow(b->topics, b->topic_count + 1, sizeof *b->topics);
    topic = &b->topics[b->topic_count++];
    *topic = (struct kafka_topic){ .name = str_dup(name),
                                   .compact = str_eq(str_of(b->state_topic), name),
                                   .own = str_starts(name, str_of(b->config->prefix)) };
    topic->config.retention.ms = topic->own ? 0 : RETENTION_UNSAID;
    return topic;
}

static bool topics_is_due(const struct kafka_topic *topic, int64_t now)
{
    return topic->state == TOPIC_WANTED || (topic->state == TOPIC_FAILED && topic->retry_ms <= now);
}

/* Copies of all that are to be made or found now, a request's worth at most. */
static struct topics_asked *topics_due(struct kafka *b, size_t *count)
{
    int64_t now = clock_mono_ms();
    struct topics_asked *due = NULL;
    *count = 0;
    for (size_t i = 0; i < b->topic_count && *count < ASK_MOST; i++) {
        if (!topics_is_due(&b->topics[i], now))
            continue;
        due = mem_grow(due, *count + 1, sizeof *due);
        due[*count] = (struct topics_asked){ .topic = b->topics[i] };
        due[(*count)++].topic.name = str_dup(str_of(b->topics[i].name));
    }
    return due;
}

/* ---- asking the cluster (keeper only, no lock held) ---- */

static void topics_set(rd_kafka_NewTopic_t *t, const char *key, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    rd_kafka_NewTopic_set_config(t, key, text);
}

/* A topic to be made: with the settings that the user said, else with the cluster's; the bridge's own with what they
 * need, whatever the cluster's defaults. The state topic is small and is read whole at every start, so its segments are
 * small enough for compaction to work. */
static rd_kafka_NewTopic_t *topics_new(const struct kafka *b, const struct kafka_topic *topic)
{
    char text[KAFKA_ERRSTR];
    const struct topic_config *config = &topic->config;
    int partitions = topic->compact ? 1 : config->partitions > 0 ? (int)config->partitions : topic->own ? 1 : -1;
    rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(topic->name, partitions, (int)b->config->replication, text,
                                                   sizeof text);
    if (!t)
        return NULL;
    bool limits = config->retention.ms != RETENTION_UNSAID; /* said, so the cluster's do not count */
    if (topic->compact) {
        rd_kafka_NewTopic_set_config(t, "cleanup.policy", "compact");
        topics_set(t, "segment.bytes", 8 << 20);
        rd_kafka_NewTopic_set_config(t, "min.cleanable.dirty.ratio", "0.1");
        return t;
    }
    if (topic->own)
        rd_kafka_NewTopic_set_config(t, "cleanup.policy", "delete");
    if (limits)
        topics_set(t, "retention.ms", config->retention.ms > 0 ? config->retention.ms : -1);
    if (limits || config->retention_bytes.n > 0)
        topics_set(t, "retention.bytes", config->retention_bytes.n > 0 ? config->retention_bytes.n : -1);
    if (topic->consumed_by) /* a segment goes when all of it is deleted (consumed.c) and it is not the newest */
        topics_set(t, "segment.bytes", 64 << 20);
    return t;
}

static void topics_say_down(struct kafka *b, char *why, size_t room)
{
    struct err e;
    kafka_access_down(b, &e);
    snprintf(why, room, "%.*s", (int)room - 1, e.text);
}

/* What the cluster says of a topic; true when it denies something, such as "describe it". */
static bool topics_say(struct kafka *b, const char *doing, rd_kafka_resp_err_t code, char *why, size_t room)
{
    char user[KAFKA_USER];
    kafka_access_user(b, user);
    bool denied = kafka_access_is_denial(code);
    if (denied)
        snprintf(why, room, "Kafka denies access: %s may not %s", user, doing);
    else
        snprintf(why, room, "%s", rd_kafka_err2str(code));
    return denied;
}

/* Waits for the answer to an admin request; NULL with *why. */
static rd_kafka_event_t *topics_answer(struct kafka *b, rd_kafka_queue_t *q, char *why, size_t room)
{
    rd_kafka_event_t *ev = NULL;
    for (int i = 0; i < 10 * ANSWER_MS / 1000 && !ev && !atomic_load(&b->stop); i++)
        ev = rd_kafka_queue_poll(q, 100);
    if (ev && rd_kafka_event_error(ev) == RD_KAFKA_RESP_ERR_NO_ERROR)
        return ev;
    if (ev)
        rd_kafka_event_destroy(ev);
    topics_say_down(b, why, room);
    return NULL;
}

/* The cluster's answer about one topic. */
static rd_kafka_resp_err_t topics_result(const rd_kafka_topic_result_t *result, char *why, size_t room)
{
    rd_kafka_resp_err_t code = rd_kafka_topic_result_error(result);
    const char *text = rd_kafka_topic_result_error_string(result);
    snprintf(why, room, "%s", code ? text ? text : rd_kafka_err2str(code) : "");
    return code;
}

static rd_kafka_AdminOptions_t *topics_options(struct kafka_client *client)
{
    char text[KAFKA_ERRSTR];
    rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(client->rk, RD_KAFKA_ADMIN_OP_ANY);
    rd_kafka_AdminOptions_set_request_timeout(o, ANSWER_MS, text, sizeof text);
    return o;
}

static void topics_take_results(struct topics_asked *asked, size_t count, rd_kafka_event_t *ev)
{
    size_t n = 0;
    const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(
                                                                                      ev),
                                                                                  &n);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < count; k++) {
            struct kafka_topic *topic = &asked[k].topic;
            if (strcmp(topic->name, rd_kafka_topic_result_name(results[i])) != 0)
                continue;
            asked[k].answered = true;
            asked[k].code = topics_result(results[i], topic->why, sizeof topic->why);
            break;
        }
}

/* Asks for all of them in one request. */
static void topics_create(struct kafka *b, struct kafka_client *client, struct topics_asked *asked, size_t count)
{
    size_t n = 0;
    char why[WHY_BYTES];
    rd_kafka_NewTopic_t **topics = mem_alloc((count + 1) * sizeof *topics);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_NewTopic_t *t = topics_new(b, &asked[i].topic);
        snprintf(asked[i].topic.why, sizeof asked[i].topic.why,
                 t ? "the cluster does not say what became of it"
                   : "not a topic name, number of partitions or replication factor that Kafka knows");
        if (t)
            topics[n++] = t;
    }
    rd_kafka_queue_t *q = rd_kafka_queue_new(client->rk);
    rd_kafka_AdminOptions_t *o = topics_options(client);
    rd_kafka_event_t *ev = NULL;
    if (n > 0) {
        rd_kafka_CreateTopics(client->rk, topics, n, o, q);
        ev = topics_answer(b, q, why, sizeof why);
    }
    if (ev)
        topics_take_results(asked, count, ev);
    for (size_t i = 0; i < count && n > 0 && !ev; i++)
        memcpy(asked[i].topic.why, why, sizeof why);
    if (ev)
        rd_kafka_event_destroy(ev);
    rd_kafka_AdminOptions_destroy(o);
    rd_kafka_queue_destroy(q);
    rd_kafka_NewTopic_destroy_array(topics, n);
    free(topics);
}

static bool topics_widen(struct kafka *b, struct kafka_client *client, const struct kafka_topic *topic, char *why,
                         size_t room)
{
    char text[KAFKA_ERRSTR];
    rd_kafka_NewPartitions_t *p = rd_kafka_NewPartitions_new(topic->name, (size_t)topic->config.partitions, text,
                                                             sizeof text);
    if (!p)
        return false;
    rd_kafka_queue_t *q = rd_kafka_queue_new(client->rk);
    rd_kafka_AdminOptions_t *o = topics_options(client);
    rd_kafka_CreatePartitions(client->rk, &p, 1, o, q);
    rd_kafka_event_t *ev = topics_answer(b, q, why, room);
    size_t n = 0;
    const rd_kafka_topic_result_t *
        *results = ev ? rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(ev), &n) : NULL;
    bool done = n == 1 && topics_result(results[0], why, room) == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (ev)
        rd_kafka_event_destroy(ev);
    rd_kafka_AdminOptions_destroy(o);
    rd_kafka_queue_destroy(q);
    rd_kafka_NewPartitions_destroy(p);
    return done;
}

/* Number of partitions when the topic exists and each has a leader; 0 with *why. Also teaches the producer, whose first
 * message to a topic it does not know may otherwise be up to a second late (librdkafka before 2.10.1). */
static int32_t topics_ask(struct kafka *b, struct kafka_client *client, const char *name, bool *denied, char *why,
                          size_t room)
{
    *denied = false;
    bool created;
    rd_kafka_topic_t *rkt = kafka_client_topic(client, str_of(name), &created);
    const struct rd_kafka_metadata *md = NULL;
    if (!rkt) {
        snprintf(why, room, "not a topic name");
        return 0;
    }
    rd_kafka_resp_err_t code = rd_kafka_metadata(client->rk, 0, rkt, &md, ASK_MS);
    if (code) {
        atomic_store(&b->down, true);
        topics_say_down(b, why, room);
        return 0;
    }
    kafka_access_up(b);
    int32_t count = 0;
    if (md->topic_cnt != 1 || md->topics[0].err)
        *denied = topics_say(b, "describe it",
                             md->topic_cnt == 1 ? md->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, why,
                             room);
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
static bool topics_have_leaders(struct kafka_client *client, const char *name, int32_t count, char *why, size_t room)
{
    for (int32_t p = 0; p < count; p++) {
        int64_t low, high;
        rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(client->rk, name, p, &low, &high, ASK_MS);
        if (!code)
            continue;
        snprintf(why, room, "partition %d: %s", p, rd_kafka_err2str(code));
        return false;
    }
    return true;
}

/* Asks until the new topic has at least `least` partitions that can be written to. */
static int32_t topics_await(struct kafka *b, struct kafka_client *client, const char *name, int32_t least, char *why,
                            size_t room)
{
    int64_t until = clock_mono_ms() + LEADER_MS;
    bool denied;
    for (;;) {
        int32_t count = topics_ask(b, client, name, &denied, why, room);
        if (count >= least && topics_have_leaders(client, name, count, why, room))
            return count;
        if (clock_mono_ms() > until || atomic_load(&b->stop))
            return 0;
        nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
    }
}

/* What the user says of the state topic's cleanup.policy: true when nothing of it is forgotten, or it may not be known. */
static bool topics_is_compacted(struct kafka *b, struct kafka_client *client, const char *name, char *why, size_t room)
{
    size_t n = 0, entries = 0;
    rd_kafka_ConfigResource_t *r = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name);
    rd_kafka_queue_t *q = rd_kafka_queue_new(client->rk);
    rd_kafka_DescribeConfigs(client->rk, &r, 1, NULL, q);
    rd_kafka_event_t *ev = topics_answer(b, q, why, room);
    const rd_kafka_ConfigResource_t *
        *found = ev ? rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(ev), &n) : NULL;
    const rd_kafka_ConfigEntry_t **entry = n == 1 ? rd_kafka_ConfigResource_configs(found[0], &entries) : NULL;
    const char *policy = NULL;
    for (size_t i = 0; i < entries && !policy; i++)
        if (strcmp(rd_kafka_ConfigEntry_name(entry[i]), "cleanup.policy") == 0)
            policy = rd_kafka_ConfigEntry_value(entry[i]);
    bool fine = ev && (!policy || strcmp(policy, "compact") == 0);
    if (ev && !policy)
        LOG(WARN, "whether the state topic is compacted is not known: it has to be, and we may not see it",
            LOG_C("topic", name), LOG_C("why", n == 1 ? rd_kafka_ConfigResource_error_string(found[0]) : "no answer"));
    if (ev && !fine)
        snprintf(
            why, room,
            "its cleanup.policy is %s, so the cluster forgets what sources have read; mend it with kafka-configs.sh "
            "--alter --entity-type topics --entity-name %s --add-config cleanup.policy=compact",
            policy, name);
    if (ev)
        rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(q);
    rd_kafka_ConfigResource_destroy(r);
    return fine;
}

/* Finds a topic that we did not make; its number of partitions, 0 with why. */
static int32_t topics_find_there(struct kafka *b, struct kafka_client *client, struct topics_asked *asked)
{
    bool undescribed, denied = kafka_access_is_denial(asked->code);
    struct kafka_topic *topic = &asked->topic;
    char text[WHY_BYTES], user[KAFKA_USER];
    int32_t count = topics_ask(b, client, topic->name, &undescribed, text, sizeof text);
    kafka_access_user(b, user);
    if (count == 0 && denied && undescribed)
        snprintf(topic->why, sizeof topic->why, "Kafka denies access: %s may neither create nor describe it", user);
    else if (count == 0 && denied)
        snprintf(topic->why, sizeof topic->why, "Kafka denies access: it does not exist, and %s may not create it",
                 user);
    if (count == 0 && asked->code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        count = topics_await(b, client, topic->name, 1, topic->why, sizeof topic->why);
    if (count == 0 || topic->config.partitions <= count)
        return count;
    if (!topics_widen(b, client, topic, topic->why, sizeof topic->why)) {
        LOG(WARN, "topic has fewer partitions than configured", LOG_C("topic", topic->name),
            LOG_INT("partitions", count), LOG_INT("configured", topic->config.partitions), LOG_C("why", topic->why));
        return count;
    }
    return topics_await(b, client, topic->name, (int32_t)topic->config.partitions, topic->why, sizeof topic->why);
}

/* Makes the topic, or finds it; its number of partitions, 0 with its why. */
static int32_t topics_make(struct kafka *b, struct kafka_client *client, struct topics_asked *asked)
{
    bool undescribed;
    int32_t count = 0;
    struct kafka_topic *topic = &asked->topic;
    if (!b->config->create_topics) {
        count = topics_ask(b, client, topic->name, &undescribed, topic->why, sizeof topic->why);
        if (count == 0 && !undescribed && !atomic_load(&b->down))
            snprintf(topic->why, sizeof topic->why, "it does not exist and broker.create_topics is off");
    } else if (asked->answered && asked->code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        return topics_await(b, client, topic->name, 1, topic->why, sizeof topic->why);
    } else if (asked->answered) { /* it is there already, or we may not make it: then it may be there all the same */
        count = topics_find_there(b, client, asked);
    }
    if (count > 0 && topic->compact && !topics_is_compacted(b, client, topic->name, topic->why, sizeof topic->why))
        return 0;
    return count;
}

/* ---- the keeper ---- */

/* What became of a topic. */
static void topics_keeper_note(struct kafka *b, const struct kafka_topic *asked, int32_t count)
{
    struct kafka_topic *topic = topics_find(b, str_of(asked->name));
    topic->tries++;
    /* Somebody may have asked for more meanwhile. */
    bool same = topic->config.partitions == asked->config.partitions;
    topic->state = count == 0 ? TOPIC_FAILED : same ? TOPIC_THERE : TOPIC_WANTED;
    topic->partitions = count > 0 ? count : topic->partitions;
    topic->retry_ms = clock_mono_ms() + (topic->tries < 20 ? 500 : 5000);
    memcpy(topic->why, asked->why, sizeof topic->why);
    if (count > 0 && topic->said_ms)
        LOG(INFO, "the topic can be used again", LOG_C("topic", topic->name));
    if (count > 0)
        topic->said_ms = 0;
    pthread_cond_broadcast(&b->topics_changed);
}

/* Makes or finds all topics that are due. Called with topics_lock, which it releases while it asks the cluster; false:
 * none are. */
static bool topics_keeper_make(struct kafka *b)
{
    size_t count;
    struct topics_asked *due = topics_due(b, &count);
    if (count == 0)
        return false;
    pthread_mutex_unlock(&b->topics_lock);
    struct kafka_client *client = kafka_client_take(b);
    if (b->config->create_topics)
        topics_create(b, client, due, count);
    for (size_t i = 0; i < count; i++) {
        int32_t partitions = topics_make(b, client, &due[i]);
        pthread_mutex_lock(&b->topics_lock);
        topics_keeper_note(b, &due[i].topic, partitions);
        pthread_mutex_unlock(&b->topics_lock);
        free(due[i].topic.name);
    }
    kafka_client_give(client);
    free(due);
    pthread_mutex_lock(&b->topics_lock);
    return true;
}

/* Does the cluster answer, and how many partitions do the topics we use have? */
static void topics_keeper_look(struct kafka *b)
{
    const struct rd_kafka_metadata *md = NULL;
    kafka_access_say_again(b);
    struct kafka_client *client = kafka_client_take(b);
    rd_kafka_resp_err_t code = rd_kafka_metadata(client->rk, 0, NULL, &md, ASK_MS);
    kafka_client_give(client);
    if (code) {
        atomic_store(&b->down, true);
        return;
    }
    kafka_access_up(b);
    pthread_mutex_lock(&b->topics_lock);
    for (int i = 0; i < md->topic_cnt; i++) {
        struct kafka_topic *topic = topics_find(b, str_of(md->topics[i].topic));
        if (topic && topic->state == TOPIC_THERE && kafka_access_is_denial(md->topics[i].err)) {
            topics_say(b, "describe it", md->topics[i].err, topic->why, sizeof topic->why);
            topic->state = TOPIC_FAILED;
            topic->retry_ms = 0;
        }
        if (topic && !md->topics[i].err && md->topics[i].partition_cnt > topic->partitions)
            topic->partitions = md->topics[i].partition_cnt;
    }
    pthread_mutex_unlock(&b->topics_lock);
    rd_kafka_metadata_destroy(md);
}

bool kafka_topics(struct broker *base, const char *prefix, void (*each)(void *ctx, const char *topic), void *ctx,
                  struct err *e)
{
    struct kafka *b = (struct kafka *)base;
    const struct rd_kafka_metadata *md = NULL;
    struct kafka_client *client = kafka_client_take(b);
    rd_kafka_resp_err_t code = rd_kafka_metadata(client->rk, 1, NULL, &md, 5 * ASK_MS);
    kafka_client_give(client);
    if (code)
        return err_set(e, "Kafka at %s does not list its topics: %s", b->config->servers, rd_kafka_err2str(code));
    for (int i = 0; i < md->topic_cnt; i++)
        if (!md->topics[i].err && str_starts(str_of(md->topics[i].topic), str_of(prefix)))
            each(ctx, md->topics[i].topic);
    rd_kafka_metadata_destroy(md);
    return true;
}

/* Logs what cannot be used, each once a minute. A cluster that is away is another matter. */
static void topics_say_failed(struct kafka *b)
{
    int64_t now = clock_mono_ms();
    for (size_t i = 0; i < b->topic_count && !atomic_load(&b->down); i++) {
        struct kafka_topic *topic = &b->topics[i];
        if (topic->state != TOPIC_FAILED || (topic->said_ms && now - topic->said_ms < SAY_MS))
            continue;
        topic->said_ms = now;
        LOG(ERROR, "a topic cannot be used", LOG_C("topic", topic->name), LOG_C("why", topic->why));
    }
}

/* When there is something to do, at most `look`. (Who finds the cluster away waits for no more than a second.) */
static int64_t topics_next(const struct kafka *b, int64_t look)
{
    int64_t soon = clock_mono_ms() + ASK_MS;
    int64_t next = look < soon ? look : soon;
    for (size_t i = 0; i < b->topic_count; i++)
        if (b->topics[i].state == TOPIC_FAILED && b->topics[i].retry_ms < next)
            next = b->topics[i].retry_ms;
    return next;
}

static void *topics_keeper_run(void *arg)
{
    struct kafka *b = arg;
    int64_t look = 0;
    pthread_mutex_lock(&b->topics_lock);
    while (!atomic_load(&b->stop)) {
        topics_say_failed(b);
        if (topics_keeper_make(b))
            continue;
        if (clock_mono_ms() >= look) {
            pthread_mutex_unlock(&b->topics_lock);
            topics_keeper_look(b);
            look = clock_mono_ms() + (atomic_load(&b->down) ? LOOK_DOWN_MS : LOOK_MS);
            pthread_mutex_lock(&b->topics_lock);
        } else {
            struct duration wait = { topics_next(b, look) - clock_mono_ms() };
            thread_wait(&b->topics_changed, &b->topics_lock, thread_until(wait));
        }
    }
    pthread_mutex_unlock(&b->topics_lock);
    return NULL;
}

void kafka_topics_start(struct kafka *b)
{
    CHECK(pthread_create(&b->keeper, NULL, topics_keeper_run, b) == 0);
}

void kafka_topics_stop(struct kafka *b)
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
    size_t before = b->topic_count;
    struct kafka_topic *topic = topics_get(b, name);
    if (again && topic->state == TOPIC_THERE)
        topic->state = TOPIC_WANTED;
    if (again || b->topic_count != before)
        pthread_cond_broadcast(&b->topics_changed);
    pthread_mutex_unlock(&b->topics_lock);
}

int32_t kafka_topic_wait(struct kafka *b, const char *name, struct duration limit, struct err *e)
{
    struct timespec until = thread_until(limit);
    pthread_mutex_lock(&b->topics_lock);
    unsigned tries = topics_get(b, str_of(name))->tries;
    pthread_cond_broadcast(&b->topics_changed);
    struct kafka_topic *topic;
    /* One failed try is answer enough when the cluster is there; when it is not, it may come back. */
    while ((topic = topics_find(b, str_of(name)))->state != TOPIC_THERE
           && (topic->tries == tries || atomic_load(&b->down))
           && thread_wait(&b->topics_changed, &b->topics_lock, until))
        continue;
    int32_t count = topic->state == TOPIC_THERE ? topic->partitions : 0;
    if (count == 0 && topic->why[0])
        err_set(e, "topic %s: %s", name, topic->why);
    bool silent = count == 0 && !topic->why[0];
    pthread_mutex_unlock(&b->topics_lock);
    if (silent) {
        kafka_access_down(b, e);
        err_prefix(e, "topic %s", name);
    }
    return count;
}

static void topics_declare(struct kafka *b, const struct topic_config *config, bool only)
{
    struct kafka_topic *topic = topics_get(b, str_of(config->name));
    topic->config = *config;
    topic->config.name = NULL;
    topic->config.consumed_by = NULL;
    free(topic->consumed_by);
    topic->consumed_by = config->consumed_by ? str_dup(str_of(config->consumed_by)) : NULL;
    topic->state = TOPIC_WANTED;
    topic->declared = only;
}

void kafka_topic_declare(struct broker *base, const struct topic_config *config)
{
    struct kafka *b = (struct kafka *)base;
    pthread_mutex_lock(&b->topics_lock);
    topics_declare(b, config, true);
    pthread_mutex_unlock(&b->topics_lock); /* the keeper is woken by whoever waits */
}

static bool topics_is_wanted(struct kafka *b, const char *name)
{
    pthread_mutex_lock(&b->topics_lock);
    bool wanted = topics_find(b, str_of(name))->state == TOPIC_WANTED;
    pthread_mutex_unlock(&b->topics_lock);
    return wanted;
}

bool kafka_topic(struct broker *base, const struct topic_config *config, struct err *e)
{
    struct kafka *b = (struct kafka *)base;
    pthread_mutex_lock(&b->topics_lock);
    struct kafka_topic *topic = topics_find(b, str_of(config->name));
    if (topic && topic->declared)
        topic->declared = false; /* whoever asks again may ask for something else */
    else
        topics_declare(b, config, false);
    pthread_mutex_unlock(&b->topics_lock);
    /* While the cluster answers, it may only be slow to make many. */
    int64_t until = clock_mono_ms() + MAKE_MS;
    int32_t count;
    do
        count = kafka_topic_wait(b, config->name, (struct duration){ LEADER_MS }, e);
    while (count == 0 && !atomic_load(&b->down) && topics_is_wanted(b, config->name) && clock_mono_ms() < until);
    return count > 0;
}

int32_t kafka_topic_partitions(struct kafka *b, const char *name)
{
    pthread_mutex_lock(&b->topics_lock);
    struct kafka_topic *topic = topics_find(b, str_of(name));
    int32_t count = topic ? topic->partitions : 0;
    pthread_mutex_unlock(&b->topics_lock);
    return count;
}

bool kafka_topic_consumed_by(struct kafka *b, const char *name, const char *group)
{
    pthread_mutex_lock(&b->topics_lock);
    struct kafka_topic *topic = topics_find(b, str_of(name));
    bool is = topic && topic->consumed_by && strcmp(topic->consumed_by, group) == 0;
    pthread_mutex_unlock(&b->topics_lock);
    return is;
}

bool kafka_topic_failed(struct kafka *b, struct err *why)
{
    bool failed = false;
    pthread_mutex_lock(&b->topics_lock);
    for (size_t i = 0; i < b->topic_count && !failed; i++)
        if (b->topics[i].state == TOPIC_FAILED) {
            err_set(why, "topic %s: %s", b->topics[i].name, b->topics[i].why);
            failed = true;
        }
    pthread_mutex_unlock(&b->topics_lock);
    return failed;
}
