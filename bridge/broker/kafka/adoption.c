/* SPDX-License-Identifier: MIT */
/* A group with a new name goes on where its earlier names stood: their positions, with what is finished beyond them, are
 * committed as its own wherever it has none, before it reads anything. */
#include <stdlib.h>
#include "bridge/broker/kafka/consumer.h"
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum { ASK_MS = 3000 };

/* Those of the partitions that the group has no position in; NULL with *e. */
static rd_kafka_topic_partition_list_t *adoption_missing(struct kafka_consumer *c, struct err *e)
{
    rd_kafka_topic_partition_list_t *all = kafka_assignment_all(c);
    rd_kafka_resp_err_t code = all->cnt ? rd_kafka_committed(c->rk, all, ASK_MS) : RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
    rd_kafka_topic_partition_list_t *missing = NULL;
    if (code)
        (void)(kafka_access_fail(c->b, code, c->topics[0], c->group, e)
               || err_prefix(e, "group %s: cannot ask where it stands", c->group));
    else
        missing = rd_kafka_topic_partition_list_new(all->cnt);
    for (int i = 0; missing && i < all->cnt; i++)
        if (all->elems[i].offset < 0)
            rd_kafka_topic_partition_list_add(missing, all->elems[i].topic, all->elems[i].partition);
    rd_kafka_topic_partition_list_destroy(all);
    return missing;
}

/* Moves what has a position from `missing` to `found`. */
static void adoption_take(rd_kafka_topic_partition_list_t *missing, rd_kafka_topic_partition_list_t *found,
                          const rd_kafka_topic_partition_list_t *theirs)
{
    for (int i = 0; i < theirs->cnt; i++) {
        const rd_kafka_topic_partition_t *p = &theirs->elems[i];
        if (p->err || p->offset < 0 || !rd_kafka_topic_partition_list_del(missing, p->topic, p->partition))
            continue;
        rd_kafka_topic_partition_t *to = rd_kafka_topic_partition_list_add(found, p->topic, p->partition);
        to->offset = p->offset;
        if (!p->metadata_size)
            continue;
        to->metadata = malloc(p->metadata_size); /* librdkafka frees it with the list */
        CHECK(to->metadata);
        memcpy(to->metadata, p->metadata, p->metadata_size);
        to->metadata_size = p->metadata_size;
    }
}

/* Asks where another group stands in what is missing. */
static bool adoption_ask(struct kafka_consumer *c, const char *group, rd_kafka_topic_partition_list_t *missing,
                         rd_kafka_topic_partition_list_t *found, struct err *e)
{
    if (missing->cnt == 0)
        return true;
    const rd_kafka_topic_partition_list_t *theirs;
    rd_kafka_event_t *ev = kafka_group_positions(c->b, c->rk, group, missing, ASK_MS, &theirs, e);
    if (!ev)
        return err_prefix(e, "group %s, which was %s", c->group, group);
    adoption_take(missing, found, theirs);
    rd_kafka_event_destroy(ev);
    return true;
}

bool kafka_adopt(struct kafka_consumer *c, struct err *e)
{
    if (c->adopted)
        return true;
    rd_kafka_topic_partition_list_t *missing = adoption_missing(c, e);
    if (!missing)
        return false;
    rd_kafka_topic_partition_list_t *found = rd_kafka_topic_partition_list_new(missing->cnt);
    c->adopted = true;
    for (size_t i = 0; i < c->formerly_count && c->adopted; i++)
        c->adopted = adoption_ask(c, c->formerly[i], missing, found, e);
    c->adopted = c->adopted && kafka_assignment_commit(c, found, e);
    if (c->adopted && found->cnt > 0)
        LOG(INFO, "positions taken over from a former group", LOG_C("group", c->group),
            LOG_INT("partitions", found->cnt));
    rd_kafka_topic_partition_list_destroy(found);
    rd_kafka_topic_partition_list_destroy(missing);
    return c->adopted;
}
