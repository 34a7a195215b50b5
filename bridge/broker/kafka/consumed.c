/* SPDX-License-Identifier: MIT */
/* Topics between the bridge and itself (topic_config.consumed_by): records that their one group has finished are deleted,
 * so that the topics stay as small as what waits in them.
 *
 * Nothing depends on it: it happens at most once a minute, after a commit of the group, and its answer is not waited for.
 * A cluster that does not let us keeps the records; that is said. */
#include "bridge/broker/kafka/consumer.h"
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"

enum { DELETE_MS = 60000 };

/* Those of the list that may be deleted up to. */
static rd_kafka_topic_partition_list_t *consumed_finished(struct kafka_consumer *c,
                                                          const rd_kafka_topic_partition_list_t *committed)
{
    rd_kafka_topic_partition_list_t *finished = rd_kafka_topic_partition_list_new(committed->cnt);
    for (int i = 0; i < committed->cnt; i++) {
        const rd_kafka_topic_partition_t *p = &committed->elems[i];
        if (!p->err && p->offset > 0 && kafka_topic_consumed_by(c->b, p->topic, c->group))
            rd_kafka_topic_partition_list_add(finished, p->topic, p->partition)->offset = p->offset;
    }
    return finished;
}

void kafka_consumed(struct kafka_consumer *c, const rd_kafka_topic_partition_list_t *committed)
{
    int64_t now = clock_mono_ms();
    if (c->closing || !c->group || c->deletes || now < c->delete_ms)
        return;
    rd_kafka_topic_partition_list_t *finished = consumed_finished(c, committed);
    if (finished->cnt > 0) {
        rd_kafka_DeleteRecords_t *request = rd_kafka_DeleteRecords_new(finished);
        c->deletes = rd_kafka_queue_new(c->rk);
        rd_kafka_DeleteRecords(c->rk, &request, 1, NULL, c->deletes);
        rd_kafka_DeleteRecords_destroy(request);
        c->delete_ms = now + DELETE_MS;
    }
    rd_kafka_topic_partition_list_destroy(finished);
}

void kafka_consumed_serve(struct kafka_consumer *c)
{
    rd_kafka_event_t *ev = c->deletes ? rd_kafka_queue_poll(c->deletes, 0) : NULL;
    if (!ev)
        return;
    const rd_kafka_topic_partition_list_t *list = NULL;
    if (rd_kafka_event_error(ev) == RD_KAFKA_RESP_ERR_NO_ERROR)
        list = rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(ev));
    for (int i = 0; list && i < list->cnt; i++)
        if (kafka_access_is_denial(list->elems[i].err))
            kafka_access_denied(c->b, KAFKA_DELETE, list->elems[i].topic);
        else if (!list->elems[i].err)
            kafka_access_granted(c->b, KAFKA_DELETE, list->elems[i].topic);
    rd_kafka_event_destroy(ev);
    kafka_consumed_end(c);
}

void kafka_consumed_end(struct kafka_consumer *c)
{
    if (c->deletes)
        rd_kafka_queue_destroy(c->deletes);
    c->deletes = NULL;
}
