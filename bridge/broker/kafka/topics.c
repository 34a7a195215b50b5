/* SPDX-License-Identifier: MIT */
/* The keeper: one thread that makes the topics that are wanted, knows how many partitions they have, and notices
 * whether the cluster answers. Everybody else says what they want and waits, or does not. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum {
    ASK_MS = 1000,   /* one question to the cluster */
    MAKE_MS = 60000, /* for a topic to be there, */
    WAIT_MS = 5000,  /* of it at a time */
    LOOK_MS = 5000,  /* between looks whether it answers, and at the topics' partitions */
    LOOK_DOWN_MS = 500,
    SETTINGS_MS = 60000, /* between looks at what the topics keep, */
    DOUBT_MS = 10000,    /* when somebody wants to know it at once */
    OLD_SAY_MS = 3600000,
    SAY_MS = 60000,
    ASK_MOST = 500, /* topics in one request */
};

METRIC_GAUGE(
    aqueduct_kafka_topics_narrow,
    "Blocked logs with fewer partitions than their topics, which the cluster does not let us give more: with several "
    "daemons, keys may stand still.",
    NULL);

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
                                   .own = str_starts(name, str_of(b->config->prefix)),
                                   .keeps_ms = KAFKA_KEEPS_UNTOLD };
    topic->config.retention.ms = topic->own ? 0 : RETENTION_UNSAID;
    return topic;
}

static bool topics_is_due(const struct kafka_topic *topic, int64_t now)
{
    return topic->state == TOPIC_WANTED || (topic->state == TOPIC_FAILED && topic->retry_ms <= now);
}

/* Copies of all that are to be made or found now, a request's worth at most. */
static struct kafka_asked *topics_due(struct kafka *b, size_t *count)
{
    int64_t now = clock_mono_ms();
    struct kafka_asked *due = NULL;
    *count = 0;
    for (size_t i = 0; i < b->topic_count && *count < ASK_MOST; i++) {
        if (!topics_is_due(&b->topics[i], now))
            continue;
        due = mem_grow(due, *count + 1, sizeof *due);
        due[*count] = (struct kafka_asked){ .topic = b->topics[i] };
        due[(*count)++].topic.name = str_dup(str_of(b->topics[i].name));
    }
    return due;
}

/* ---- the keeper ---- */

/* Says of a topic that got fewer partitions than the one it is like. */
static void topics_keeper_say_narrow(const struct kafka *b, struct kafka_topic *topic, const char *why)
{
    int64_t now = clock_mono_ms();
    if (topic->narrow_ms && now - topic->narrow_ms < SAY_MS)
        return;
    char mend[2 * WHY_BYTES] = "";
    kafka_access_tool(b, mend, sizeof mend, "kafka-topics.sh", "--alter --topic %s --partitions %" PRId64, topic->name,
                      topic->config.partitions);
    topic->narrow_ms = now;
    LOG(ERROR, "a blocked log has fewer partitions than its topic: with several daemons, keys of it may stand still",
        LOG_C("topic", topic->like), LOG_C("log", topic->name), LOG_INT("partitions", topic->partitions),
        LOG_C("why", why), LOG_C("mend", mend));
}

/* A topic that is like another gets as many partitions as that has by now. */
static void topics_keeper_compare(struct kafka *b)
{
    int64_t narrow = 0;
    for (size_t i = 0; i < b->topic_count; i++) {
        struct kafka_topic *topic = &b->topics[i];
        const struct kafka_topic *like = topic->like ? topics_find(b, str_of(topic->like)) : NULL;
        if (!like || topic->state != TOPIC_THERE)
            continue;
        if (topic->partitions < like->partitions) {
            narrow += topic->narrow_ms != 0;
            topic->config.partitions = like->partitions;
            topic->state = TOPIC_WANTED;
            continue;
        }
        if (topic->narrow_ms)
            LOG(INFO, "the blocked log has as many partitions as its topic again", LOG_C("topic", topic->like),
                LOG_C("log", topic->name));
        topic->narrow_ms = 0;
    }
    metric_set(metric_get(&aqueduct_kafka_topics_narrow, NULL), narrow);
}

static void topics_keeper_note_settings(struct kafka_topic *topic, const struct kafka_topic *asked)
{
    if (asked->set_ms == topic->set_ms) /* it was not answered */
        return;
    topic->keeps_ms = asked->keeps_ms;
    topic->compacts = asked->compacts;
    topic->set_ms = asked->set_ms;
    topic->doubtful = false;
}

/* What became of a topic. */
static void topics_keeper_note(struct kafka *b, const struct kafka_topic *asked, int32_t count)
{
    struct kafka_topic *topic = topics_find(b, str_of(asked->name));
    topic->tries++;
    /* Somebody may have asked for more meanwhile. */
    bool same = topic->config.partitions == asked->config.partitions;
    topic->state = count == 0 ? TOPIC_FAILED : same ? TOPIC_THERE : TOPIC_WANTED;
    topic->partitions = count > 0 ? count : topic->partitions;
    topics_keeper_note_settings(topic, asked);
    topic->retry_ms = clock_mono_ms() + (topic->tries < 20 ? 500 : 5000);
    memcpy(topic->why, asked->why, sizeof topic->why);
    if (topic->like && same && count > 0 && count < topic->config.partitions)
        topics_keeper_say_narrow(b, topic, asked->why);
    if (count > 0 && topic->said_ms)
        LOG(INFO, "the topic can be used again", LOG_C("topic", topic->name));
    if (count > 0)
        topic->said_ms = 0;
    pthread_cond_broadcast(&b->topics_changed);
}

/* The first start says so, and each after which the state was lost: what that means is not seen elsewhere. */
static void topics_keeper_say_made(const struct kafka_asked *asked)
{
    if (!asked->topic.compact || !asked->answered || asked->code)
        return;
    LOG(INFO,
        asked->topic.config.moved
            ? "the topic of the state is made: what sources and sinks remember is moved into it"
            : "there was no state, its topic is made and empty: a daemon that finds it so reads databases from their start "
              "option and knows nothing that came before",
        LOG_C("topic", asked->topic.name));
}

/* Makes or finds all topics that are due. Called with topics_lock, which it releases while it asks the cluster; false:
 * none are. */
static bool topics_keeper_make(struct kafka *b)
{
    size_t count;
    struct kafka_asked *due = topics_due(b, &count);
    if (count == 0)
        return false;
    pthread_mutex_unlock(&b->topics_lock);
    struct kafka_client *client = kafka_client_take(b);
    if (b->config->create_topics)
        kafka_making_create(b, client, due, count);
    for (size_t i = 0; i < count; i++) {
        int32_t partitions = kafka_making_finish(b, client, &due[i]);
        topics_keeper_say_made(&due[i]);
        if (partitions > 0 && !due[i].topic.own)
            kafka_making_keeps(b, client, &due[i].topic);
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

/* A copy of the next topic from the index on whose settings are to be asked for, with a name of its own; name NULL: there is none. */
static struct kafka_topic topics_next_set(struct kafka *b, size_t *i, bool all, int64_t now)
{
    struct kafka_topic next = { .name = NULL };
    pthread_mutex_lock(&b->topics_lock);
    for (; *i < b->topic_count && !next.name; ++*i) {
        struct kafka_topic *topic = &b->topics[*i];
        bool doubtful = topic->doubtful && now >= topic->doubt_ms;
        if (topic->state != TOPIC_THERE || topic->own || !(all || doubtful))
            continue;
        if (doubtful)
            topic->doubt_ms = now + DOUBT_MS;
        next = *topic;
        next.name = str_dup(str_of(topic->name));
    }
    pthread_mutex_unlock(&b->topics_lock);
    return next;
}

/* What do the topics keep now? */
static void topics_keeper_ask_settings(struct kafka *b)
{
    int64_t now = clock_mono_ms();
    bool all = now >= b->settings_ms;
    size_t i = 0;
    struct kafka_client *client = kafka_client_take(b);
    for (struct kafka_topic asked; !atomic_load(&b->stop) && (asked = topics_next_set(b, &i, all, now)).name;) {
        kafka_making_keeps(b, client, &asked);
        pthread_mutex_lock(&b->topics_lock);
        topics_keeper_note_settings(topics_find(b, str_of(asked.name)), &asked);
        pthread_cond_broadcast(&b->topics_changed);
        pthread_mutex_unlock(&b->topics_lock);
        free(asked.name);
    }
    kafka_client_give(client);
    if (all)
        b->settings_ms = clock_mono_ms() + SETTINGS_MS;
}

/* Which of its partitions has the fewest replicas in sync? One without a leader has none. */
static void topics_keeper_weigh(struct kafka_topic *topic, const struct rd_kafka_metadata_topic *md)
{
    topic->replicas = 0;
    for (int i = 0; i < md->partition_cnt; i++) {
        const struct rd_kafka_metadata_partition *p = &md->partitions[i];
        int32_t in_sync = p->leader < 0 ? -1 : p->isr_cnt;
        if (topic->replicas && in_sync >= topic->in_sync)
            continue;
        topic->thin = p->id;
        topic->in_sync = in_sync;
        topic->replicas = p->replica_cnt;
    }
}

/* Does the cluster answer, and how many partitions do the topics we use have? */
static void topics_keeper_look(struct kafka *b)
{
    const struct rd_kafka_metadata *md = NULL;
    kafka_asker_turn(b);
    kafka_access_say_again(b);
    struct kafka_client *client = kafka_client_take(b);
    rd_kafka_resp_err_t code = rd_kafka_metadata(client->rk, 0, NULL, &md, ASK_MS);
    kafka_client_give(client);
    if (code && !kafka_ask_alive(b, ASK_MS)) {
        atomic_store(&b->down, true);
        return;
    }
    kafka_access_up(b);
    if (code) /* the question waits behind a write */
        return;
    pthread_mutex_lock(&b->topics_lock);
    for (int i = 0; i < md->topic_cnt; i++) {
        struct kafka_topic *topic = topics_find(b, str_of(md->topics[i].topic));
        if (topic && topic->state == TOPIC_THERE && kafka_access_is_denial(md->topics[i].err)) {
            kafka_making_say(b, topic->name, "Describe", md->topics[i].err, topic->why, sizeof topic->why);
            topic->state = TOPIC_FAILED;
            topic->retry_ms = 0;
        }
        if (!topic || md->topics[i].err)
            continue;
        topics_keeper_weigh(topic, &md->topics[i]);
        if (md->topics[i].partition_cnt > topic->partitions)
            topic->partitions = md->topics[i].partition_cnt;
    }
    topics_keeper_compare(b);
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
        return kafka_access_fail(b, code, NULL, NULL, e)
               || err_prefix(e, "Kafka at %s does not list its topics", b->config->servers);
    for (int i = 0; i < md->topic_cnt; i++)
        if (!md->topics[i].err && str_starts(str_of(md->topics[i].topic), str_of(prefix)))
            each(ctx, md->topics[i].topic);
    rd_kafka_metadata_destroy(md);
    return true;
}

static bool topics_is_unsaid(const struct kafka_topic *topic, int64_t now)
{
    return topic->state == TOPIC_FAILED && (!topic->said_ms || now - topic->said_ms >= SAY_MS);
}

/* Logs what cannot be used, each once a minute, and what is so for the same reason in one line (a right that is given by a
 * prefix). A cluster that is away is another matter. */
static void topics_say_failed(struct kafka *b)
{
    int64_t now = clock_mono_ms();
    for (size_t i = 0; i < b->topic_count && !atomic_load(&b->down); i++) {
        struct kafka_topic *topic = &b->topics[i];
        int64_t others = 0;
        if (!topics_is_unsaid(topic, now))
            continue;
        topic->said_ms = now;
        for (size_t k = i + 1; k < b->topic_count; k++)
            if (topics_is_unsaid(&b->topics[k], now) && strcmp(b->topics[k].why, topic->why) == 0) {
                b->topics[k].said_ms = now;
                others++;
            }
        LOG(ERROR, "a topic cannot be used", LOG_C("topic", topic->name), LOG_INT("others", others),
            LOG_C("why", topic->why));
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
        bool due = clock_mono_ms() >= look;
        if (due || b->settings_wanted) {
            b->settings_wanted = false;
            pthread_mutex_unlock(&b->topics_lock);
            if (due)
                topics_keeper_look(b);
            if (!atomic_load(&b->down))
                topics_keeper_ask_settings(b);
            if (due)
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
    topic->config.consumed_by = topic->config.like = NULL;
    free(topic->consumed_by);
    topic->consumed_by = config->consumed_by ? str_dup(str_of(config->consumed_by)) : NULL;
    free(topic->like);
    topic->like = config->like ? str_dup(str_of(config->like)) : NULL;
    topic->state = TOPIC_WANTED;
    topic->declared = only;
}

void kafka_topic_declare(struct broker *base, const struct topic_config *config)
{
    struct kafka *b = (struct kafka *)base;
    kafka_registry_declare(b, str_of(config->name), config->schema);
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
        count = kafka_topic_wait(b, config->name, (struct duration){ WAIT_MS }, e);
    while (count == 0 && !atomic_load(&b->down) && topics_is_wanted(b, config->name) && clock_mono_ms() < until);
    return count > 0;
}

int64_t kafka_topic_keeps(struct kafka *b, struct str name)
{
    pthread_mutex_lock(&b->topics_lock);
    const struct kafka_topic *topic = topics_find(b, name);
    int64_t keeps = topic ? topic->keeps_ms : KAFKA_KEEPS_UNTOLD;
    pthread_mutex_unlock(&b->topics_lock);
    return keeps;
}

bool kafka_topic_say_old(struct kafka *b, struct str name)
{
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&b->topics_lock);
    struct kafka_topic *topic = topics_find(b, name);
    bool say = topic && (!topic->old_ms || now - topic->old_ms > OLD_SAY_MS);
    if (say)
        topic->old_ms = now;
    pthread_mutex_unlock(&b->topics_lock);
    return say;
}

int32_t kafka_topic_partitions(struct kafka *b, const char *name)
{
    pthread_mutex_lock(&b->topics_lock);
    struct kafka_topic *topic = topics_find(b, str_of(name));
    int32_t count = topic ? topic->partitions : 0;
    pthread_mutex_unlock(&b->topics_lock);
    return count;
}

void kafka_topic_replicas(struct kafka *b, const char *name, char *out, size_t room)
{
    out[0] = '\0';
    pthread_mutex_lock(&b->topics_lock);
    const struct kafka_topic *topic = topics_find(b, str_of(name));
    if (topic && topic->replicas && topic->in_sync < 0)
        snprintf(out, room, ": partition %" PRId32 " has no leader", topic->thin);
    else if (topic && topic->replicas)
        snprintf(out, room,
                 ": partition %" PRId32 " has %" PRId32 " of %" PRId32
                 " replicas in sync, and the topic may want more (min.insync.replicas)",
                 topic->thin, topic->in_sync, topic->replicas);
    pthread_mutex_unlock(&b->topics_lock);
}

/* Its settings are to be asked for: at once, or when they were not lately. False: they cannot be now. */
static bool topics_doubt(struct kafka *b, struct kafka_topic *topic, bool at_once)
{
    topic->doubtful = true;
    topic->doubt_ms = at_once ? 0 : topic->doubt_ms;
    if (atomic_load(&b->down) || topic->state != TOPIC_THERE)
        return false;
    if (!b->settings_wanted && clock_mono_ms() >= topic->doubt_ms) {
        b->settings_wanted = true;
        pthread_cond_broadcast(&b->topics_changed);
    }
    return true;
}

bool kafka_topic_compacts(struct kafka *b, const char *name, int64_t since_ms, struct duration wait, bool *compacts)
{
    struct timespec until = thread_until(wait);
    bool known, asked;
    pthread_mutex_lock(&b->topics_lock);
    do {
        struct kafka_topic *topic = topics_find(b, str_of(name));
        *compacts = topic && topic->compacts;
        known = !topic || topic->own || topic->compacts || topic->set_ms >= since_ms;
        asked = !known && topics_doubt(b, topic, wait.ms > 0);
    } while (asked && wait.ms > 0 && thread_wait(&b->topics_changed, &b->topics_lock, until));
    pthread_mutex_unlock(&b->topics_lock);
    return known;
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
        } else if (b->topics[i].narrow_ms) {
            err_set(why, "topic %s: it has %d partitions, and %s has %" PRId64 ": %s", b->topics[i].name,
                    (int)b->topics[i].partitions, b->topics[i].like, b->topics[i].config.partitions, b->topics[i].why);
            failed = true;
        }
    pthread_mutex_unlock(&b->topics_lock);
    return failed;
}
