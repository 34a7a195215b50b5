/* SPDX-License-Identifier: MIT */
/* What another broker held comes here, with its offsets (copy.h).
 *
 * An idempotent producer of its own: within a partition its records are stored in their order and once, or it fails for good.
 * Each report says at which offset the record is, which must be the one that it had. What an earlier process had under way when
 * it was killed may still arrive; whoever goes on waits a moment first. */
#include <stdlib.h>
#include <string.h>
#include "bridge/broker/copy.h"
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum {
    ASK_MS = 10000,
    CUT_MS = 60000,
    SETTLE_MS = 300000, /* for all that is under way */
    END_MS = 5000,
};

struct kafka_copy {
    struct copy base;
    struct kafka *b; /* of the reader */
    const struct broker_config *config;
    rd_kafka_t *producer, *reader;
    size_t metadata_max;
    struct err failure; /* of what was put; "": none */
};

/* ---- open and close ---- */

static void copy_say_large(struct kafka_copy *c, const char *topic, int32_t partition, int64_t offset, size_t bytes)
{
    err_set(&c->failure,
            "%s/%d@%lld: the record has %zu bytes, more than the topic takes: raise its max.message.bytes "
            "(and message.max.bytes in broker.properties); the same command goes on then",
            topic, (int)partition, (long long)offset, bytes);
}

static void copy_fail(struct kafka_copy *c, const rd_kafka_message_t *m, int64_t wanted)
{
    const char *topic = m->rkt ? rd_kafka_topic_name(m->rkt) : "?";
    if (c->failure.text[0])
        return;
    if (m->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        copy_say_large(c, topic, m->partition, wanted, m->len + m->key_len);
    else if (m->err)
        err_set(&c->failure, "%s/%d@%lld: the record was not stored: %s", topic, (int)m->partition, (long long)wanted,
                rd_kafka_err2str(m->err));
    else if (m->offset < 0)
        err_set(&c->failure, "%s/%d@%lld: it is not known whether the record was stored", topic, (int)m->partition,
                (long long)wanted);
    else
        err_set(&c->failure,
                "%s/%d@%lld: the record was stored at offset %lld: somebody else writes to the topic; delete it, and "
                "begin again when nobody does",
                topic, (int)m->partition, (long long)wanted, (long long)m->offset);
}

static void copy_on_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    int64_t wanted = (int64_t)(intptr_t)m->_private;
    (void)rk;
    if (m->err || m->offset != wanted)
        copy_fail(opaque, m, wanted);
}

static void copy_on_error(rd_kafka_t *rk, int code, const char *text, void *opaque)
{
    (void)rk, (void)opaque;
    if (code != RD_KAFKA_RESP_ERR__FATAL)
        LOG(WARN, "kafka", LOG_C("text", text));
}

static bool copy_producer(struct kafka_copy *c, struct err *e)
{
    rd_kafka_conf_t *conf = kafka_conf(c->config, KAFKA_PRODUCER, NULL, e);
    if (!conf)
        return false;
    rd_kafka_conf_set(conf, "linger.ms", "20", NULL, 0); /* nobody waits for one record */
    rd_kafka_conf_set(conf, "message.timeout.ms", "300000", NULL, 0);
    rd_kafka_conf_set_opaque(conf, c);
    rd_kafka_conf_set_dr_msg_cb(conf, copy_on_report);
    rd_kafka_conf_set_error_cb(conf, copy_on_error);
    c->producer = kafka_client_begin(RD_KAFKA_PRODUCER, conf, e);
    return c->producer != NULL;
}

static void copy_close(struct copy *base)
{
    struct kafka_copy *c = (struct kafka_copy *)base;
    if (!c)
        return;
    if (c->producer) {
        rd_kafka_purge(c->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_flush(c->producer, END_MS);
        rd_kafka_destroy(c->producer);
    }
    kafka_peek_close(c->b, c->reader);
    free(c);
}

static struct copy *copy_open(const struct broker_config *config, struct err *e)
{
    struct kafka_copy *c = mem_alloc(sizeof *c);
    *c = (struct kafka_copy){
        .base.ops = &kafka_copy, .b = kafka_peek_open(config), .config = config, .metadata_max = KAFKA_METADATA
    };
    c->reader = kafka_client_reader(config, c->b, e);
    if (c->reader && copy_producer(c, e))
        return &c->base;
    copy_close(&c->base);
    return NULL;
}

/* ---- what is there ---- */

static int32_t copy_partitions(struct copy *base, const char *topic, struct err *e)
{
    struct kafka_copy *c = (struct kafka_copy *)base;
    rd_kafka_topic_partition_list_t *list = kafka_peek_partitions(c->b, c->reader, topic, e);
    int32_t count = list ? list->cnt : -1;
    if (list)
        rd_kafka_topic_partition_list_destroy(list);
    return count;
}

static bool copy_ends(struct copy *base, struct topic_partition p, int64_t *start, int64_t *end, struct err *e)
{
    struct kafka_copy *c = (struct kafka_copy *)base;
    rd_kafka_resp_err_t code = kafka_ends(c->reader, p.topic, p.partition, start, end);
    return !code || err_set(e, "%s/%d: %s", p.topic, (int)p.partition, rd_kafka_err2str(code));
}

/* Its number; -1: it is none, or not known. */
static int64_t copy_number(rd_kafka_event_t *ev, const char *key)
{
    size_t n = 0, entries = 0;
    int64_t value;
    const rd_kafka_ConfigResource_t *
        *found = rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(ev), &n);
    const rd_kafka_ConfigEntry_t **entry = n == 1 ? rd_kafka_ConfigResource_configs(found[0], &entries) : NULL;
    for (size_t i = 0; i < entries; i++)
        if (strcmp(rd_kafka_ConfigEntry_name(entry[i]), key) == 0
            && str_to_i64(str_of(rd_kafka_ConfigEntry_value(entry[i])), &value) && value > 0)
            return value;
    return -1;
}

static bool copy_retention(struct copy *base, const char *topic, int64_t *ms, struct err *e)
{
    struct kafka_copy *c = (struct kafka_copy *)base;
    rd_kafka_ConfigResource_t *r = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    rd_kafka_queue_t *q = rd_kafka_queue_new(c->producer);
    rd_kafka_DescribeConfigs(c->producer, &r, 1, NULL, q);
    rd_kafka_event_t *ev = rd_kafka_queue_poll(q, ASK_MS);
    rd_kafka_resp_err_t code = ev ? rd_kafka_event_error(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    *ms = code ? -1 : copy_number(ev, "retention.ms");
    if (ev)
        rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(q);
    rd_kafka_ConfigResource_destroy(r);
    return !code || err_set(e, "topic %s: its retention cannot be asked for: %s", topic, rd_kafka_err2str(code));
}

static bool copy_identity(struct copy *base, const char *topic, uint64_t *out, struct err *e)
{
    struct kafka_copy *c = (struct kafka_copy *)base;
    return kafka_identity(c->producer, topic, ASK_MS, out)
           || err_set(e, "Kafka at %s does not say its cluster's id", c->config->servers);
}

/* librdkafka's partitioners by their names, as they put what has a key. */
static const struct {
    const char *name;
    int32_t (*place)(const rd_kafka_topic_t *, const void *, size_t, int32_t, void *, void *);
} copy_partitioners[] = {
    { "murmur2_random", rd_kafka_msg_partitioner_murmur2 }, /* ours, unless the properties say another one */
    { "murmur2", rd_kafka_msg_partitioner_murmur2 },
    { "consistent", rd_kafka_msg_partitioner_consistent },
    { "consistent_random", rd_kafka_msg_partitioner_consistent },
    { "fnv1a", rd_kafka_msg_partitioner_fnv1a },
    { "fnv1a_random", rd_kafka_msg_partitioner_fnv1a },
};

static int32_t copy_place(struct copy *base, struct str key, int32_t partitions)
{
    struct kafka_copy *c = (struct kafka_copy *)base;
    char name[64];
    size_t size = sizeof name;
    if (rd_kafka_conf_get(rd_kafka_conf(c->producer), "partitioner", name, &size) != RD_KAFKA_CONF_OK)
        return -1;
    for (size_t i = 0; i < sizeof copy_partitioners / sizeof *copy_partitioners; i++)
        if (strcmp(copy_partitioners[i].name, name) == 0)
            return copy_partitioners[i].place(NULL, key.at, key.n, partitions, NULL, NULL);
    return -1;
}

/* ---- records ---- */

/* The vtypes themselves, because the header's macros around them are not C11. */
static bool copy_send(struct kafka_copy *c, const struct record *r, struct err *e)
{
    char *topic = str_dup(r->topic);
    rd_kafka_headers_t *headers = kafka_record_headers(r, STR_ABSENT);
    rd_kafka_resp_err_t code;
    do {
        code = rd_kafka_producev(c->producer, RD_KAFKA_VTYPE_TOPIC, topic, RD_KAFKA_VTYPE_PARTITION, r->partition,
                                 RD_KAFKA_VTYPE_MSGFLAGS, RD_KAFKA_MSG_F_COPY, RD_KAFKA_VTYPE_KEY, r->key.at, r->key.n,
                                 RD_KAFKA_VTYPE_VALUE, r->value.at, r->value.n, RD_KAFKA_VTYPE_TIMESTAMP,
                                 r->timestamp_ms, RD_KAFKA_VTYPE_HEADERS, headers, RD_KAFKA_VTYPE_OPAQUE,
                                 (void *)(intptr_t)r->offset, RD_KAFKA_VTYPE_END);
        rd_kafka_poll(c->producer, code == RD_KAFKA_RESP_ERR__QUEUE_FULL ? 100 : 0);
    } while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL && !c->failure.text[0]);
    if (code && headers)
        rd_kafka_headers_destroy(headers);
    if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE && !c->failure.text[0])
        copy_say_large(c, topic, r->partition, r->offset, r->key.n + r->value.n);
    if (code && !c->failure.text[0])
        err_set(&c->failure, "%s/%d@%lld: the record was not taken: %s", topic, (int)r->partition, (long long)r->offset,
                rd_kafka_err2str(code));
    free(topic);
    return !c->failure.text[0] || err_set(e, "%s", c->failure.text);
}

static bool copy_pad(struct copy *base, struct topic_partition p, int64_t offset, struct err *e)
{
    return copy_send((struct kafka_copy *)base,
                     &(struct record){ .topic = str_of(p.topic), .partition = p.partition, .offset = offset }, e);
}

static bool copy_put(struct copy *base, const struct record *r, struct err *e)
{
    return copy_send((struct kafka_copy *)base, r, e);
}

static bool copy_settle(struct copy *base, struct err *e)
{
    struct kafka_copy *c = (struct kafka_copy *)base;
    rd_kafka_resp_err_t code = rd_kafka_flush(c->producer, SETTLE_MS);
    if (c->failure.text[0])
        return err_set(e, "%s", c->failure.text);
    return !code
           || err_set(e, "Kafka at %s does not take what was put: %s", c->config->servers, rd_kafka_err2str(code));
}

static bool copy_cut(struct copy *base, struct topic_partition p, int64_t start, struct err *e)
{
    struct kafka_copy *c = (struct kafka_copy *)base;
    char text[KAFKA_ERRSTR];
    rd_kafka_topic_partition_list_t *before = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(before, p.topic, p.partition)->offset = start;
    rd_kafka_DeleteRecords_t *request = rd_kafka_DeleteRecords_new(before);
    rd_kafka_queue_t *q = rd_kafka_queue_new(c->producer);
    rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(c->producer, RD_KAFKA_ADMIN_OP_DELETERECORDS);
    rd_kafka_AdminOptions_set_operation_timeout(o, CUT_MS, text, sizeof text);
    rd_kafka_AdminOptions_set_request_timeout(o, CUT_MS, text, sizeof text);
    rd_kafka_DeleteRecords(c->producer, &request, 1, o, q);
    rd_kafka_event_t *ev = rd_kafka_queue_poll(q, CUT_MS + END_MS);
    rd_kafka_resp_err_t code = ev ? rd_kafka_event_error(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    const rd_kafka_topic_partition_list_t *done = NULL;
    if (!code)
        done = rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(ev));
    for (int i = 0; done && i < done->cnt && !code; i++)
        code = done->elems[i].err;
    if (ev)
        rd_kafka_event_destroy(ev);
    rd_kafka_AdminOptions_destroy(o);
    rd_kafka_queue_destroy(q);
    rd_kafka_DeleteRecords_destroy(request);
    rd_kafka_topic_partition_list_destroy(before);
    return !code
           || err_set(e, "%s/%d@%lld: what is before it cannot be removed: %s", p.topic, (int)p.partition,
                      (long long)start, rd_kafka_err2str(code));
}

/* ---- positions ---- */

static bool copy_is_alone(struct copy *base, const char *group, struct err *e)
{
    struct kafka_copy *c = (struct kafka_copy *)base;
    const struct rd_kafka_group_list *list = NULL;
    rd_kafka_resp_err_t code = rd_kafka_list_groups(c->reader, group, &list, ASK_MS);
    int members = 0;
    for (int i = 0; list && i < list->group_cnt; i++)
        members += list->groups[i].member_cnt;
    if (list)
        rd_kafka_group_list_destroy(list);
    if (code)
        return err_set(e, "group %s: it is not known who consumes with it: %s", group, rd_kafka_err2str(code));
    return members == 0
           || err_set(e,
                      "group %s: somebody consumes with it at %s: stop the daemon there; the cluster forgets it "
                      "after its broker.session_timeout",
                      group, c->config->servers);
}

static rd_kafka_topic_partition_list_t *copy_positions(const struct kafka_copy *c, const struct standing *at,
                                                       size_t count, size_t *cut)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        bool lost = false;
        kafka_position_set(rd_kafka_topic_partition_list_add(list, at[i].topic, at[i].partition), at[i].position,
                           at[i].beyond, c->metadata_max, &lost);
        *cut += lost;
    }
    return list;
}

/* Of the list as a whole, or of one of its partitions. */
static rd_kafka_resp_err_t copy_commit(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_resp_err_t code = rd_kafka_commit(rk, list, 0);
    for (int i = 0; i < list->cnt && !code; i++)
        code = list->elems[i].err;
    return code;
}

static bool copy_stand(struct copy *base, const char *group, const struct standing *at, size_t count, size_t *cut,
                       struct err *e)
{
    struct kafka_copy *c = (struct kafka_copy *)base;
    rd_kafka_conf_t *conf = kafka_conf(c->config, KAFKA_READER, group, e);
    rd_kafka_t *rk = conf ? kafka_client_begin(RD_KAFKA_CONSUMER, conf, e) : NULL;
    if (!rk)
        return false;
    rd_kafka_poll_set_consumer(rk);
    rd_kafka_resp_err_t code;
    do {
        *cut = 0;
        rd_kafka_topic_partition_list_t *list = copy_positions(c, at, count, cut);
        code = copy_commit(rk, list);
        rd_kafka_topic_partition_list_destroy(list);
    } while (code == RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE && (c->metadata_max /= 2));
    kafka_client_end(rk, (struct duration){ END_MS });
    return !code || err_set(e, "group %s: where it stands cannot be kept: %s", group, rd_kafka_err2str(code));
}

const struct copy_ops kafka_copy = {
    .open = copy_open,
    .partitions = copy_partitions,
    .ends = copy_ends,
    .pad = copy_pad,
    .put = copy_put,
    .settle = copy_settle,
    .cut = copy_cut,
    .is_alone = copy_is_alone,
    .stand = copy_stand,
    .place = copy_place,
    .retention = copy_retention,
    .identity = copy_identity,
    .close = copy_close,
};
