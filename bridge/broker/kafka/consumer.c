/* SPDX-License-Identifier: MIT */
/* Consumers: every partition has its own queue, polled only while there is room and it is not held, so that
 * backpressure needs no pause (which throws the prefetched records away).
 *
 * Everything here runs on the consumer's thread, rebalances too (inside rd_kafka_consumer_poll); only the end of the
 * client, which may wait for a broker that does not answer, is left to a thread of its own and waited for a while. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"

enum { CLOSE_MS = 4000, RETRY_MS = 1000 };

/* ---- records ---- */

static void record_release(struct record *r)
{
    free(r);
}

static struct str copy_str(char **room, const void *at, size_t n)
{
    if (!at)
        return STR_ABSENT;
    char *to = *room;
    if (n)
        memcpy(to, at, n);
    *room += n;
    return (struct str){ to, n };
}

/* Walks the headers: with out NULL it only adds up the bytes they need. */
static size_t headers_copy(const rd_kafka_headers_t *headers, size_t count, struct header *out, char **room)
{
    size_t bytes = 0, n = 0;
    const char *name;
    const void *value;
    for (size_t i = 0;
         i < count && rd_kafka_header_get_all(headers, i, &name, &value, &n) == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        size_t name_n = strlen(name);
        bytes += name_n + n;
        if (!out)
            continue;
        out[i].name = copy_str(room, name, name_n);
        out[i].value = copy_str(room, value, n);
    }
    return bytes;
}

struct record *kafka_record(rd_kafka_message_t *m)
{
    rd_kafka_headers_t *headers = NULL;
    size_t count = rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR ? rd_kafka_header_cnt(headers)
                                                                                       : 0;
    const char *topic = rd_kafka_topic_name(m->rkt);
    size_t n = sizeof(struct record) + count * sizeof(struct header) + strlen(topic) + m->key_len + m->len
               + headers_copy(headers, count, NULL, NULL);
    struct record *r = malloc(n);
    CHECK(r);
    struct header *out = (struct header *)(void *)(r + 1);
    char *room = (char *)(out + count);
    rd_kafka_timestamp_type_t type;
    int64_t when = rd_kafka_message_timestamp(m, &type);
    *r = (struct record){ .partition = m->partition,
                          .offset = m->offset,
                          .timestamp_ms = when > 0 ? when : 0,
                          .topic = copy_str(&room, topic, strlen(topic)),
                          .key = copy_str(&room, m->key, m->key_len),
                          .value = copy_str(&room, m->payload, m->len),
                          .headers = out,
                          .header_count = count,
                          .release = record_release };
    headers_copy(headers, count, out, &room);
    return r;
}

/* ---- partitions ---- */

static void wake_with(rd_kafka_queue_t *q, int wake_fd)
{
    static const uint64_t one = 1;
    rd_kafka_queue_io_event_enable(q, wake_fd, &one, sizeof one);
}

static struct kafka_part *part_find(struct kafka_consumer *c, struct topic_partition p)
{
    for (size_t i = 0; i < c->part_count; i++)
        if (c->parts[i].place.partition == p.partition && strcmp(c->parts[i].place.topic, p.topic) == 0)
            return &c->parts[i];
    return NULL;
}

struct kafka_part *kafka_part_add(struct kafka_consumer *c, const char *topic, int32_t partition)
{
    c->parts = mem_grow(c->parts, c->part_count + 1, sizeof *c->parts);
    struct kafka_part *part = &c->parts[c->part_count++];
    *part = (struct kafka_part){ .place = { str_dup(str_of(topic)), partition }, .next = -1 };
    part->queue = rd_kafka_queue_get_partition(c->rk, topic, partition);
    CHECK(part->queue);
    rd_kafka_queue_forward(part->queue, NULL); /* before it is assigned, so that nothing goes to the common queue */
    wake_with(part->queue, c->wake_fd);
    return part;
}

static void parts_drop(struct kafka_consumer *c)
{
    for (size_t i = 0; i < c->part_count; i++) {
        wake_with(c->parts[i].queue, -1);
        rd_kafka_queue_destroy(c->parts[i].queue);
        free((char *)(uintptr_t)c->parts[i].place.topic);
    }
    c->part_count = 0;
}

/* They are being taken: whoever works on them finishes and commits now. */
static void parts_revoke(struct kafka_consumer *c)
{
    if (!c->part_count)
        return;
    struct topic_partition *places = mem_alloc(c->part_count * sizeof *places);
    for (size_t i = 0; i < c->part_count; i++)
        places[i] = c->parts[i].place;
    if (c->revoked)
        c->revoked(c->ctx, places, c->part_count);
    free(places);
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct kafka_consumer *c = opaque;
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && !c->closing) {
        for (int i = 0; i < list->cnt; i++)
            kafka_part_add(c, list->elems[i].topic, list->elems[i].partition);
        kafka_places_begin(c, list);
        rd_kafka_assign(rk, list);
        LOG(INFO, "partitions assigned", LOG_C("group", c->group), LOG_INT("count", list->cnt));
        return;
    }
    if (!c->closing) {
        LOG(INFO, "partitions revoked", LOG_C("group", c->group), LOG_INT("count", list->cnt),
            LOG_C("lost", rd_kafka_assignment_lost(rk) ? "yes" : "no"));
        parts_revoke(c);
        parts_drop(c);
    }
    /* Commits what is stored, and only then lets the group go on. */
    rd_kafka_assign(rk, NULL);
}

static void on_commit(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct kafka_consumer *c = opaque;
    (void)rk;
    (void)list;
    /* Kept by librdkafka and committed with the next ones; the worst that follows is a repeat. */
    if (code && code != RD_KAFKA_RESP_ERR__NO_OFFSET)
        LOG(WARN, "kafka did not take a position", LOG_C("group", c->group), LOG_C("why", rd_kafka_err2str(code)));
}

/* ---- open ---- */

static rd_kafka_t *client_new(struct kafka_consumer *c, struct err *e)
{
    char text[KAFKA_ERRSTR], group[256];
    /* librdkafka wants a group even from who joins none; it is never seen by the cluster. */
    snprintf(group, sizeof group, "%sbroadcast", c->b->config->group_prefix);
    rd_kafka_conf_t *conf = kafka_conf(c->b->config, KAFKA_MEMBER, c->group ? c->group : group, e);
    if (!conf)
        return NULL;
    rd_kafka_conf_set_opaque(conf, c);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_offset_commit_cb(conf, on_commit);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    if (rk)
        return rk;
    rd_kafka_conf_destroy(conf);
    err_set(e, "a kafka consumer of group %s: %s", c->group ? c->group : "(none)", text);
    return NULL;
}

static bool subscribe(struct kafka_consumer *c, struct err *e)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)c->topic_count);
    for (size_t i = 0; i < c->topic_count; i++)
        rd_kafka_topic_partition_list_add(list, c->topics[i], RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(c->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR
           || err_set(e, "group %s cannot subscribe: %s", c->group, rd_kafka_err2str(code));
}

static void consumer_free(struct kafka_consumer *c)
{
    for (size_t i = 0; i < c->topic_count; i++)
        free(c->topics[i]);
    free(c->topics);
    free(c->group);
    free(c->parts);
    free(c);
}

/* May wait long for a broker; the consumer goes with it, whenever that is. */
static void *client_end(void *arg)
{
    struct kafka_consumer *c = arg;
    rd_kafka_consumer_close(c->rk);
    rd_kafka_destroy(c->rk);
    consumer_free(c);
    return NULL;
}

struct consumer *kafka_consume(struct broker *base, const struct consumer_options *o, struct err *e)
{
    struct kafka_consumer *c = mem_alloc(sizeof *c);
    *c = (struct kafka_consumer){ .base.ops = &broker_kafka,
                                  .b = (struct kafka *)base,
                                  .topic_count = o->topic_count,
                                  .group = o->group ? str_dup(str_of(o->group)) : NULL,
                                  .from_start = o->from_start,
                                  .wake_fd = o->wake_fd,
                                  .revoked = o->revoked,
                                  .ctx = o->ctx };
    c->topics = mem_alloc((o->topic_count + 1) * sizeof *c->topics);
    for (size_t i = 0; i < o->topic_count; i++)
        c->topics[i] = str_dup(str_of(o->topics[i]));
    c->rk = client_new(c, e);
    if (!c->rk) {
        consumer_free(c);
        return NULL;
    }
    rd_kafka_poll_set_consumer(c->rk);
    c->queue = rd_kafka_queue_get_consumer(c->rk);
    wake_with(c->queue, c->wake_fd);
    /* A topic that is not there yet is made now; a cluster that does not answer now is waited for later. */
    for (size_t i = 0; i < c->topic_count; i++)
        kafka_topic_wait(c->b, c->topics[i], (struct duration){ i == 0 || !atomic_load(&c->b->down) ? 2000 : 0 }, NULL);
    if (!c->group) {
        kafka_places_look(c);
        return &c->base;
    }
    if (!c->from_start)
        kafka_places_pin(c, NULL);
    if (subscribe(c, e))
        return &c->base;
    kafka_leave(&c->base);
    return NULL;
}

/* ---- poll ---- */

/* Errors that librdkafka mends by itself. */
static bool passing(rd_kafka_resp_err_t code)
{
    switch ((int)code) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET: return true;
    default: return false;
    }
}

/* Rebalances and errors. False with *e when this consumer cannot go on. */
static bool serve(struct kafka_consumer *c, struct err *e)
{
    bool fine = true;
    for (rd_kafka_message_t *m; (m = rd_kafka_consumer_poll(c->rk, 0)); rd_kafka_message_destroy(m)) {
        CHECK(m->err); /* records come through the partitions' own queues */
        if (m->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART && m->rkt)
            kafka_topic_want(c->b, str_of(rd_kafka_topic_name(m->rkt)), true);
        if (passing(m->err))
            kafka_log(6, rd_kafka_err2name(m->err), rd_kafka_message_errstr(m));
        else
            fine = err_set(e, "group %s: %s", c->group ? c->group : "(none)", rd_kafka_message_errstr(m));
    }
    char text[KAFKA_ERRSTR];
    rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(c->rk, text, sizeof text);
    return fatal ? err_set(e, "group %s: %s (a second daemon with the same broker.instance?)", c->group, text) : fine;
}

/* librdkafka could not give us a record. */
static bool trouble(struct kafka_consumer *c, struct kafka_part *part, const rd_kafka_message_t *m, struct err *e)
{
    (void)c;
    if (m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET) {
        part->adrift = true;
        return true;
    }
    if (passing(m->err)) {
        kafka_log(6, rd_kafka_err2name(m->err), rd_kafka_message_errstr(m));
        return true;
    }
    part->damaged = true;
    part->next = part->next >= 0 ? part->next : m->offset;
    part->retry_ms = clock_mono_ms() + RETRY_MS;
    return err_set(e, "topic %s, partition %d, offset %lld: %s", part->place.topic, part->place.partition,
                   (long long)m->offset, rd_kafka_message_errstr(m));
}

/* Parts that librdkafka cannot go on with get a new place. */
static bool mend(struct kafka_consumer *c, struct err *e)
{
    bool fine = true, found = false;
    for (size_t i = 0; i < c->part_count; i++) {
        struct kafka_part *part = &c->parts[i];
        if ((!part->adrift && !part->damaged) || clock_mono_ms() < part->retry_ms)
            continue;
        part->retry_ms = clock_mono_ms() + RETRY_MS;
        if (kafka_places_find(c, part, e))
            found = true;
        else
            fine = false;
    }
    if (found)
        kafka_places_go(c);
    return fine;
}

/* Takes what is there; -1 - n with *e when this partition is in trouble after n records. */
static int part_take(struct kafka_consumer *c, struct kafka_part *part, struct record **out, size_t room, struct err *e)
{
    int n = 0;
    bool fine = true;
    for (rd_kafka_message_t *m;
         fine && !part->adrift && !part->damaged && (size_t)n < room && (m = rd_kafka_consume_queue(part->queue, 0));) {
        if (m->err) {
            fine = trouble(c, part, m, e);
        } else if (m->offset >= part->next) {
            out[n++] = kafka_record(m);
            part->next = m->offset + 1;
        }
        rd_kafka_message_destroy(m);
    }
    return fine ? n : -1 - n;
}

int kafka_poll(struct consumer *base, struct record **out, size_t room, struct err *e)
{
    struct kafka_consumer *c = (struct kafka_consumer *)base;
    bool fine = serve(c, e);
    if (!c->group && clock_mono_ms() >= c->look_ms)
        kafka_places_look(c);
    fine = mend(c, e) && fine;
    size_t n = 0;
    for (size_t i = 0; i < c->part_count && n < room; i++) {
        struct kafka_part *part = &c->parts[(c->turn + i) % c->part_count];
        if (part->held)
            continue;
        int got = part_take(c, part, out + n, room - n, e);
        fine = fine && got >= 0;
        n += (size_t)(got >= 0 ? got : -1 - got);
    }
    c->turn++;
    return n > 0 || fine ? (int)n : -1;
}

void kafka_hold(struct consumer *base, struct topic_partition p, bool hold)
{
    struct kafka_part *part = part_find((struct kafka_consumer *)base, p);
    if (!part)
        return;
    if (part->held && !hold)
        wake_up(((struct kafka_consumer *)base)->wake_fd);
    part->held = hold;
}

void kafka_commit(struct consumer *base, struct topic_partition p, int64_t next)
{
    struct kafka_consumer *c = (struct kafka_consumer *)base;
    if (!c->group)
        return;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, p.topic, p.partition)->offset = next;
    rd_kafka_offsets_store(c->rk, list); /* not ours any more: an error that means a repeat for the new owner */
    rd_kafka_topic_partition_list_destroy(list);
}

void kafka_leave(struct consumer *base)
{
    struct kafka_consumer *c = (struct kafka_consumer *)base;
    parts_revoke(c);
    c->closing = true;
    wake_with(c->queue, -1);
    parts_drop(c);
    rd_kafka_queue_destroy(c->queue);
    if (!thread_run(client_end, c, (struct duration){ CLOSE_MS }))
        LOG(WARN, "a kafka consumer does not end; it is left behind", LOG_INT("waited_ms", CLOSE_MS));
}
