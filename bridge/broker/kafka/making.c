/* SPDX-License-Identifier: MIT */
/* Asks the cluster about topics, and makes and widens them, each question waited for. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum {
    ASK_MS = 1000,     /* one question to the cluster */
    ANSWER_MS = 10000, /* a request to make topics, which may be many */
    LEADER_MS = 5000,  /* a new topic has leaders by then */
};

static void making_set(rd_kafka_NewTopic_t *t, const char *key, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    rd_kafka_NewTopic_set_config(t, key, text);
}

/* A topic to be made: with the settings that the user said, else with the cluster's; the bridge's own with what they
 * need, whatever the cluster's defaults. The state topic is small and is read whole at every start, so its segments are
 * small enough for compaction to work. */
static rd_kafka_NewTopic_t *making_new(const struct kafka *b, const struct kafka_topic *topic)
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
        making_set(t, "segment.bytes", 8 << 20);
        rd_kafka_NewTopic_set_config(t, "min.cleanable.dirty.ratio", "0.1");
        return t;
    }
    if (topic->own)
        rd_kafka_NewTopic_set_config(t, "cleanup.policy", "delete");
    if (limits)
        making_set(t, "retention.ms", config->retention.ms > 0 ? config->retention.ms : -1);
    if (limits || config->retention_bytes.n > 0)
        making_set(t, "retention.bytes", config->retention_bytes.n > 0 ? config->retention_bytes.n : -1);
    if (topic->consumed_by) /* a segment goes when all of it is deleted (consumed.c) and it is not the newest */
        making_set(t, "segment.bytes", 64 << 20);
    return t;
}

static void making_say_down(struct kafka *b, char *why, size_t room)
{
    struct err e;
    kafka_access_down(b, &e);
    snprintf(why, room, "%.*s", (int)room - 1, e.text);
}

/* "describe it", and so on */
static const char *making_doing(const char *operation)
{
    return strcmp(operation, "Describe") == 0 ? "describe it"
           : strcmp(operation, "Create") == 0 ? "create it"
                                              : "give it more partitions";
}

bool kafka_making_say(struct kafka *b, const char *topic, const char *operation, rd_kafka_resp_err_t code, char *why,
                      size_t room)
{
    char user[KAFKA_USER + 8];
    kafka_access_user(b, user);
    bool denied = kafka_access_is_denial(code);
    snprintf(why, room, "%s", rd_kafka_err2str(code));
    if (denied) {
        snprintf(why, room, "Kafka denies access: %s may not %s", user, making_doing(operation));
        kafka_access_grant(b, "topic", topic, operation, why, room);
    }
    return denied;
}

/* Waits for the answer to an admin request, not longer than clients of its login last; NULL with *why. */
static rd_kafka_event_t *making_answer(struct kafka *b, rd_kafka_queue_t *q, char *why, size_t room)
{
    rd_kafka_event_t *ev = NULL;
    unsigned login = kafka_follow_version(b);
    for (int i = 0; i < 10 * ANSWER_MS / 1000 && !ev && !atomic_load(&b->stop) && !kafka_follow_is_over(b, login); i++)
        ev = rd_kafka_queue_poll(q, 100);
    if (ev && rd_kafka_event_error(ev) == RD_KAFKA_RESP_ERR_NO_ERROR)
        return ev;
    if (ev)
        rd_kafka_event_destroy(ev);
    making_say_down(b, why, room);
    return NULL;
}

/* The cluster's answer about one topic. */
static rd_kafka_resp_err_t making_result(const rd_kafka_topic_result_t *result, char *why, size_t room)
{
    rd_kafka_resp_err_t code = rd_kafka_topic_result_error(result);
    const char *text = rd_kafka_topic_result_error_string(result);
    snprintf(why, room, "%s", code ? text ? text : rd_kafka_err2str(code) : "");
    return code;
}

static rd_kafka_AdminOptions_t *making_options(struct kafka_client *client)
{
    char text[KAFKA_ERRSTR];
    rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(client->rk, RD_KAFKA_ADMIN_OP_ANY);
    rd_kafka_AdminOptions_set_request_timeout(o, ANSWER_MS, text, sizeof text);
    return o;
}

static void making_take_results(struct kafka_asked *asked, size_t count, rd_kafka_event_t *ev)
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
            asked[k].code = making_result(results[i], topic->why, sizeof topic->why);
            break;
        }
}

void kafka_making_create(struct kafka *b, struct kafka_client *client, struct kafka_asked *asked, size_t count)
{
    size_t n = 0;
    char why[KAFKA_WHY];
    rd_kafka_NewTopic_t **topics = mem_alloc((count + 1) * sizeof *topics);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_NewTopic_t *t = making_new(b, &asked[i].topic);
        snprintf(asked[i].topic.why, sizeof asked[i].topic.why,
                 t ? "the cluster does not say what became of it"
                   : "not a topic name, number of partitions or replication factor that Kafka knows");
        if (t)
            topics[n++] = t;
    }
    rd_kafka_queue_t *q = rd_kafka_queue_new(client->rk);
    rd_kafka_AdminOptions_t *o = making_options(client);
    rd_kafka_event_t *ev = NULL;
    if (n > 0) {
        rd_kafka_CreateTopics(client->rk, topics, n, o, q);
        ev = making_answer(b, q, why, sizeof why);
    }
    if (ev)
        making_take_results(asked, count, ev);
    for (size_t i = 0; i < count && n > 0 && !ev; i++)
        memcpy(asked[i].topic.why, why, sizeof why);
    if (ev)
        rd_kafka_event_destroy(ev);
    rd_kafka_AdminOptions_destroy(o);
    rd_kafka_queue_destroy(q);
    rd_kafka_NewTopic_destroy_array(topics, n);
    free(topics);
}

bool kafka_making_could(struct kafka *b, rd_kafka_t *rk, const char *name, struct err *e)
{
    char text[KAFKA_ERRSTR], user[KAFKA_USER + 8];
    size_t n = 0;
    rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(name, 1, (int)b->config->replication, text, sizeof text);
    if (!t)
        return err_set(e, "%s", text);
    rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_AdminOptions_set_request_timeout(o, ANSWER_MS, text, sizeof text);
    rd_kafka_AdminOptions_set_validate_only(o, 1, text, sizeof text);
    rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
    rd_kafka_CreateTopics(rk, &t, 1, o, q);
    rd_kafka_event_t *ev = rd_kafka_queue_poll(q, ANSWER_MS);
    rd_kafka_resp_err_t code = ev ? rd_kafka_event_error(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    const rd_kafka_topic_result_t **found = NULL;
    if (!code)
        found = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(ev), &n);
    if (n == 1)
        code = making_result(found[0], text, sizeof text);
    if (ev)
        rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(q);
    rd_kafka_AdminOptions_destroy(o);
    rd_kafka_NewTopic_destroy(t);
    if (!code)
        return true;
    bool there = code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS; /* and we do not see it */
    if (!there && !kafka_access_is_denial(code))
        return n == 1 ? err_set(e, "%s", text) : kafka_access_fail(b, code, name, NULL, e);
    kafka_access_user(b, user);
    struct err why;
    err_set(&why, "Kafka denies access: %s may %s describe it", user, there ? "not" : "neither create nor");
    kafka_access_grant(b, "topic", name, there ? "Describe" : "Create Describe", why.text, sizeof why.text);
    return err_set(e, "%s", why.text);
}

/* True also when another daemon has done it meanwhile. */
static bool making_widen(struct kafka *b, struct kafka_client *client, const struct kafka_topic *topic, char *why,
                         size_t room)
{
    char text[KAFKA_ERRSTR];
    rd_kafka_NewPartitions_t *p = rd_kafka_NewPartitions_new(topic->name, (size_t)topic->config.partitions, text,
                                                             sizeof text);
    if (!p)
        return false;
    rd_kafka_queue_t *q = rd_kafka_queue_new(client->rk);
    rd_kafka_AdminOptions_t *o = making_options(client);
    rd_kafka_CreatePartitions(client->rk, &p, 1, o, q);
    rd_kafka_event_t *ev = making_answer(b, q, why, room);
    size_t n = 0;
    const rd_kafka_topic_result_t *
        *results = ev ? rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(ev), &n) : NULL;
    rd_kafka_resp_err_t code = n == 1 ? making_result(results[0], why, room) : RD_KAFKA_RESP_ERR_UNKNOWN;
    bool done = code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_INVALID_PARTITIONS;
    if (kafka_access_is_denial(code))
        kafka_making_say(b, topic->name, "Alter", code, why, room);
    if (ev)
        rd_kafka_event_destroy(ev);
    rd_kafka_AdminOptions_destroy(o);
    rd_kafka_queue_destroy(q);
    rd_kafka_NewPartitions_destroy(p);
    return done;
}

/* Number of partitions when the topic exists and each has a leader; 0 with *why. Also teaches the producer, whose first
 * message to a topic it does not know may otherwise be up to a second late (librdkafka before 2.10.1). */
static int32_t making_ask(struct kafka *b, struct kafka_client *client, const char *name, bool *denied, char *why,
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
        making_say_down(b, why, room);
        return 0;
    }
    kafka_access_up(b);
    int32_t count = 0;
    if (md->topic_cnt != 1 || md->topics[0].err)
        *denied = kafka_making_say(b, name, "Describe",
                                   md->topic_cnt == 1 ? md->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
                                   why, room);
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
static bool making_have_leaders(struct kafka *b, struct kafka_client *client, const char *name, int32_t count,
                                char *why, size_t room)
{
    for (int32_t p = 0; p < count; p++) {
        int64_t low, high;
        rd_kafka_resp_err_t code = kafka_watermarks(client->rk, name, p, &low, &high, ASK_MS);
        if (!code)
            continue;
        struct err e;
        kafka_access_fail(b, code, name, NULL, &e);
        snprintf(why, room, "partition %d: %.*s", p, KAFKA_WHY - 32, e.text);
        return false;
    }
    return true;
}

/* Asks until the new topic has at least `least` partitions that can be written to. */
static int32_t making_await(struct kafka *b, struct kafka_client *client, const char *name, int32_t least, char *why,
                            size_t room)
{
    int64_t until = clock_mono_ms() + LEADER_MS;
    bool denied;
    for (;;) {
        int32_t count = making_ask(b, client, name, &denied, why, room);
        if (count >= least && making_have_leaders(b, client, name, count, why, room))
            return count;
        if (clock_mono_ms() > until || atomic_load(&b->stop))
            return 0;
        nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
    }
}

static void making_say_unseen(struct kafka *b, const char *name, const char *error)
{
    char why[KAFKA_WHY];
    snprintf(why, sizeof why, "%s", error ? error : "no answer");
    if (error)
        kafka_access_grant(b, "topic", name, "DescribeConfigs", why, sizeof why);
    LOG(WARN, "whether the state topic is compacted is not known: it has to be, and we may not see it",
        LOG_C("topic", name), LOG_C("why", why));
}

/* Asks for a topic's settings; NULL with *why. */
static rd_kafka_event_t *making_describe(struct kafka *b, struct kafka_client *client, const char *name, char *why,
                                         size_t room)
{
    rd_kafka_ConfigResource_t *r = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name);
    rd_kafka_queue_t *q = rd_kafka_queue_new(client->rk);
    rd_kafka_DescribeConfigs(client->rk, &r, 1, NULL, q);
    rd_kafka_event_t *ev = making_answer(b, q, why, room);
    rd_kafka_queue_destroy(q);
    rd_kafka_ConfigResource_destroy(r);
    return ev;
}

/* One of the settings; NULL: it is not there, or we may not see it. */
static const char *making_setting(rd_kafka_event_t *ev, const char *name)
{
    size_t n = 0, entries = 0;
    const rd_kafka_ConfigResource_t *
        *found = rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(ev), &n);
    const rd_kafka_ConfigEntry_t **entry = n == 1 ? rd_kafka_ConfigResource_configs(found[0], &entries) : NULL;
    for (size_t i = 0; i < entries; i++)
        if (strcmp(rd_kafka_ConfigEntry_name(entry[i]), name) == 0)
            return rd_kafka_ConfigEntry_value(entry[i]);
    return NULL;
}

/* A time in ms; INT64_MAX: there is none. */
static int64_t making_time(rd_kafka_event_t *ev, const char *name)
{
    int64_t ms;
    const char *text = making_setting(ev, name);
    return text && str_to_i64(str_of(text), &ms) && ms >= 0 ? ms : INT64_MAX;
}

/* Half of what is kept; and the cluster has limits of its own to what it takes. */
void kafka_making_keeps(struct kafka *b, struct kafka_client *client, struct kafka_topic *topic)
{
    enum { MARGIN_MS = 60000 };
    char why[WHY_BYTES];
    int64_t now = clock_mono_ms();
    rd_kafka_event_t *ev = making_describe(b, client, topic->name, why, sizeof why);
    if (!ev)
        return;
    const char *policy = making_setting(ev, "cleanup.policy");
    const char *type = making_setting(ev, "message.timestamp.type");
    topic->set_ms = now;
    topic->keeps_ms = KAFKA_KEEPS_UNTOLD;
    topic->compacts = policy && strstr(policy, "compact");
    if (policy) {
        const char *const limits[] = { "message.timestamp.before.max.ms", "message.timestamp.difference.max.ms" };
        int64_t kept = strstr(policy, "delete") ? making_time(ev, "retention.ms") : INT64_MAX;
        topic->keeps_ms = kept / 2;
        for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
            int64_t limit = making_time(ev, limits[i]);
            limit = limit > MARGIN_MS ? limit - MARGIN_MS : 0;
            topic->keeps_ms = limit < topic->keeps_ms ? limit : topic->keeps_ms;
        }
    }
    if (type && strcmp(type, "LogAppendTime") == 0)
        topic->keeps_ms = KAFKA_KEEPS_APPENDED;
    rd_kafka_event_destroy(ev);
}

static void making_say_policy(const struct kafka *b, const char *name, const char *policy, char *why, size_t room)
{
    snprintf(why, room, "its cleanup.policy is %s, so the cluster forgets what sources have read; mend it with ",
             policy);
    kafka_access_tool(b, why, room, "kafka-configs.sh",
                      "--alter --entity-type topics --entity-name %s --add-config cleanup.policy=compact", name);
}

/* What the user says of the state topic's cleanup.policy: true when nothing of it is forgotten, or it may not be known. */
static bool making_is_compacted(struct kafka *b, struct kafka_client *client, const char *name, char *why, size_t room)
{
    size_t n = 0;
    rd_kafka_event_t *ev = making_describe(b, client, name, why, room);
    const rd_kafka_ConfigResource_t *
        *found = ev ? rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(ev), &n) : NULL;
    const char *policy = ev ? making_setting(ev, "cleanup.policy") : NULL;
    bool fine = ev && (!policy || strcmp(policy, "compact") == 0);
    if (ev && !policy)
        making_say_unseen(b, name, n == 1 ? rd_kafka_ConfigResource_error_string(found[0]) : NULL);
    if (ev && !fine)
        making_say_policy(b, name, policy, why, room);
    if (ev)
        rd_kafka_event_destroy(ev);
    return fine;
}

/* Finds a topic that we did not make; its number of partitions, 0 with why. */
static int32_t making_find_there(struct kafka *b, struct kafka_client *client, struct kafka_asked *asked)
{
    bool undescribed, denied = kafka_access_is_denial(asked->code);
    struct kafka_topic *topic = &asked->topic;
    char text[KAFKA_WHY], user[KAFKA_USER + 8];
    int32_t count = making_ask(b, client, topic->name, &undescribed, text, sizeof text);
    kafka_access_user(b, user);
    if (count == 0 && denied && undescribed)
        snprintf(topic->why, sizeof topic->why, "Kafka denies access: %s may neither create nor describe it", user);
    else if (count == 0 && denied)
        snprintf(topic->why, sizeof topic->why, "Kafka denies access: it does not exist, and %s may not create it",
                 user);
    if (count == 0 && denied)
        kafka_access_grant(b, "topic", topic->name, undescribed ? "Create Describe" : "Create", topic->why,
                           sizeof topic->why);
    if (count == 0 && asked->code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        count = making_await(b, client, topic->name, 1, topic->why, sizeof topic->why);
    if (count == 0 || topic->config.partitions <= count)
        return count;
    if (!making_widen(b, client, topic, topic->why, sizeof topic->why)) {
        if (!topic->like) /* else topics.c says more */
            LOG(WARN, "topic has fewer partitions than configured", LOG_C("topic", topic->name),
                LOG_INT("partitions", count), LOG_INT("configured", topic->config.partitions),
                LOG_C("why", topic->why));
        return count;
    }
    return making_await(b, client, topic->name, (int32_t)topic->config.partitions, topic->why, sizeof topic->why);
}

int32_t kafka_making_finish(struct kafka *b, struct kafka_client *client, struct kafka_asked *asked)
{
    bool undescribed;
    int32_t count = 0;
    struct kafka_topic *topic = &asked->topic;
    if (!b->config->create_topics) {
        count = making_ask(b, client, topic->name, &undescribed, topic->why, sizeof topic->why);
        if (count == 0 && !undescribed && !atomic_load(&b->down))
            snprintf(topic->why, sizeof topic->why, "it does not exist and broker.create_topics is off");
        if (count > 0)
            snprintf(topic->why, sizeof topic->why, "broker.create_topics is off");
    } else if (asked->answered && asked->code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        return making_await(b, client, topic->name, 1, topic->why, sizeof topic->why);
    } else if (asked->answered) { /* it is there already, or we may not make it: then it may be there all the same */
        count = making_find_there(b, client, asked);
    }
    if (count > 0 && topic->compact && !making_is_compacted(b, client, topic->name, topic->why, sizeof topic->why))
        return 0;
    return count;
}
