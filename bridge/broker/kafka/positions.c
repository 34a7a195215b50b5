/* SPDX-License-Identifier: MIT */
/* Positions of a group: what is asked for goes to the cluster as an offset, and what is finished beyond it as the commit's
 * metadata: "aq1:" and lib/ranges in base64. Whoever gets the partition next reads both.
 *
 *   asked --one commit at a time--> [under way] --answer--> done
 *     ^                                  | refused: again a second later
 *     `----------------------------------'
 *
 * librdkafka's own commits are off: they carry no metadata, and would wipe ours. Metadata of somebody else, damaged or of
 * another offset counts as none: what it would have kept from coming again comes again. */
#include <stdlib.h>
#include "bridge/broker/kafka/consumer.h"
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/buf.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum {
    ANSWER_MS = 2000,  /* at the end, and when partitions are taken: how long an answer is waited for */
    FORGET_MS = 60000, /* a commit under way that never has an answer */
    AGAIN_MS = 1000,
    BYTES_MAX = KAFKA_METADATA,
};

static const char position_mark[] = "aq1:";

/* How many bytes of base64's content fit into that much metadata. */
static size_t position_room(size_t metadata)
{
    size_t mark = sizeof position_mark - 1;
    return metadata > mark ? (metadata - mark) / 4 * 3 : 0;
}

/* ---- what the cluster has ---- */

/* False: the metadata is not ours. */
static bool position_decode(const rd_kafka_topic_partition_t *committed, struct ranges *out)
{
    struct buf bytes = buf_new(position_room(BYTES_MAX) + 3);
    struct str text = { committed->metadata, committed->metadata_size };
    *out = (struct ranges){ 0 };
    bool none = committed->offset < 0 || !text.at || text.n == 0;
    bool ok = none
              || (str_starts(text, str_of(position_mark)) && text.n <= BYTES_MAX
                  && base64_decode(&bytes, str_from(text, sizeof position_mark - 1))
                  && ranges_decode(out, committed->offset, buf_str(&bytes)));
    buf_free(&bytes);
    return ok;
}

struct ranges kafka_position_beyond(const rd_kafka_topic_partition_t *committed)
{
    struct ranges beyond;
    position_decode(committed, &beyond);
    return beyond;
}

/* What we finished when the partition was ours is finished, whoever had it since and wherever the cluster says that the group
 * stands: when it did not answer, that is behind. Only who set the position back wants it again. */
static void position_recall(struct kafka_consumer *c, struct kafka_assigned *assigned)
{
    const struct kafka_past *past = kafka_past_find(c, assigned->which);
    if (!past || past->wanted < 0 || assigned->wanted < past->taken)
        return;
    struct ranges all = ranges_union(&assigned->restored, &past->beyond);
    assigned->wanted = ranges_skip(&all, assigned->wanted > past->wanted ? assigned->wanted : past->wanted);
    ranges_cut(&all, assigned->wanted);
    ranges_free(&assigned->restored);
    ranges_free(&assigned->beyond);
    assigned->restored = all;
    assigned->beyond = ranges_union(&all, &(struct ranges){ 0 });
    assigned->asked = true;
}

int64_t kafka_position_restore(struct kafka_consumer *c, struct kafka_assigned *assigned,
                               const rd_kafka_topic_partition_t *committed)
{
    ranges_free(&assigned->restored);
    assigned->wanted = assigned->taken = committed->offset < 0 ? -1 : committed->offset;
    assigned->has_committed |= committed->offset >= 0;
    if (!position_decode(committed, &assigned->restored))
        LOG(WARN, "the metadata of a position is not ours: what was finished beyond it comes again",
            LOG_C("group", c->group), LOG_C("topic", assigned->which.topic),
            LOG_INT("partition", assigned->which.partition), LOG_INT("position", committed->offset));
    position_recall(c, assigned);
    return assigned->wanted;
}

/* ---- commits ---- */

void kafka_position_set(rd_kafka_topic_partition_t *to, int64_t next, const struct ranges *beyond, size_t metadata,
                        bool *cut)
{
    unsigned char bytes[BYTES_MAX];
    struct buf text = buf_new(BYTES_MAX + 1);
    size_t needed = 0, n = 0;
    to->offset = next;
    if (beyond->count)
        n = ranges_encode(beyond, next, bytes, position_room(metadata), &needed);
    *cut = needed > n;
    if (n == 0)
        return;
    buf_add_c(&text, position_mark);
    base64_add(&text, (struct str){ (const char *)bytes, n });
    CHECK(!text.failed);
    to->metadata_size = text.n;
    to->metadata = (char *)(uintptr_t)buf_c(&text); /* librdkafka frees it with the list */
}

/* Adds the position to a commit. */
static void position_add(struct kafka_consumer *c, struct kafka_assigned *assigned,
                         rd_kafka_topic_partition_list_t *list)
{
    bool cut;
    rd_kafka_topic_partition_t *to = rd_kafka_topic_partition_list_add(list, assigned->which.topic,
                                                                       assigned->which.partition);
    kafka_position_set(to, assigned->wanted, &assigned->beyond, c->metadata_max, &cut);
    assigned->asked = false;
    metric_add(c->b->cut, cut);
}

/* Every position that was asked for and is not under way; NULL: none. */
static rd_kafka_topic_partition_list_t *position_asked(struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    for (size_t i = 0; i < c->assigned_count; i++) {
        if (!c->assigned[i].asked)
            continue;
        list = list ? list : rd_kafka_topic_partition_list_new((int)c->assigned_count);
        position_add(c, &c->assigned[i], list);
    }
    return list;
}

/* The cluster takes less metadata than we thought: from now on we send less. */
static void position_shorten(struct kafka_consumer *c)
{
    c->metadata_max /= 2;
    LOG(WARN,
        "the cluster takes less metadata of a position than is its default (offset.metadata.max.bytes): more "
        "comes again after a crash",
        LOG_C("group", c->group), LOG_INT("bytes", (int64_t)c->metadata_max));
}

/* The cluster did not take it: asked for again, unless it is no longer ours to ask; the worst that follows is a repeat. */
static void position_refused(struct kafka_consumer *c, const rd_kafka_topic_partition_t *p, rd_kafka_resp_err_t code)
{
    struct kafka_assigned *assigned = kafka_assigned_find(c, (struct topic_partition){ p->topic, p->partition });
    struct err why;
    if (code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED)
        kafka_access_denied(c->b, KAFKA_GROUP, c->group);
    kafka_access_fail(c->b, code, p->topic, c->group, &why);
    LOG(WARN, "kafka did not take a position", LOG_C("group", c->group), LOG_C("topic", p->topic),
        LOG_INT("partition", p->partition), LOG_C("why", why.text));
    if (assigned)
        assigned->asked = true;
    if (code != RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE)
        c->commit_again_ms = clock_mono_ms() + AGAIN_MS;
}

/* The cluster has it. */
static void position_taken(struct kafka_consumer *c, const rd_kafka_topic_partition_t *p)
{
    struct kafka_assigned *assigned = kafka_assigned_find(c, (struct topic_partition){ p->topic, p->partition });
    kafka_access_granted(c->b, KAFKA_GROUP, c->group);
    if (!assigned)
        return;
    assigned->has_committed = true;
    assigned->taken = p->offset;
    kafka_hole_pass(assigned, p->offset);
}

/* `mark` comes back with its answer: not NULL for the last one. */
static void position_send(struct kafka_consumer *c, rd_kafka_topic_partition_list_t *list, void *mark)
{
    rd_kafka_resp_err_t code = rd_kafka_commit_queue(c->rk, list, c->positions, NULL, mark);
    c->committing_ms = clock_mono_ms();
    if (!code)
        c->committing++;
    for (int i = 0; code && i < list->cnt; i++)
        position_refused(c, &list->elems[i], code);
    rd_kafka_topic_partition_list_destroy(list);
}

/* Takes the answers that are there, waits for one at most so long. */
static void position_answers(struct kafka_consumer *c, int wait_ms)
{
    for (rd_kafka_event_t *ev; c->committing && (ev = rd_kafka_queue_poll(c->positions, wait_ms)); wait_ms = 0) {
        bool too_long = false;
        const rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(ev);
        for (int i = 0; list && i < list->cnt; i++) {
            rd_kafka_resp_err_t code = list->elems[i].err ? list->elems[i].err : rd_kafka_event_error(ev);
            if (code)
                position_refused(c, &list->elems[i], code);
            else
                position_taken(c, &list->elems[i]);
            too_long |= code == RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE;
        }
        if (too_long)
            position_shorten(c);
        if (list && !rd_kafka_event_error(ev))
            kafka_consumed(c, list);
        c->overtaken = !rd_kafka_event_opaque(ev);
        rd_kafka_event_destroy(ev);
        c->committing--;
    }
}

void kafka_positions_serve(struct kafka_consumer *c)
{
    if (!c->positions)
        return;
    position_answers(c, 0);
    int64_t now = clock_mono_ms();
    if (c->committing && now - c->committing_ms < FORGET_MS)
        return;
    c->committing = 0;
    rd_kafka_topic_partition_list_t *list = now >= c->commit_again_ms ? position_asked(c) : NULL;
    if (list)
        position_send(c, list, NULL);
}

static void position_await(struct kafka_consumer *c, int64_t until)
{
    for (int64_t now; c->committing && (now = clock_mono_ms()) < until;)
        position_answers(c, (int)(until - now));
}

/* What was under way before may have been tried again by librdkafka (the coordinator moves): if it is answered after the last one, it
 * came after it and has set the group back, so the last one is sent once more. */
void kafka_positions_flush(struct kafka_consumer *c)
{
    int64_t until = clock_mono_ms() + ANSWER_MS;
    rd_kafka_topic_partition_list_t *list = c->last ? c->last : position_asked(c);
    rd_kafka_topic_partition_list_t *again = list && c->committing ? rd_kafka_topic_partition_list_copy(list) : NULL;
    c->last = NULL;
    c->overtaken = false;
    if (list)
        position_send(c, list, c);
    position_await(c, until);
    if (again && c->overtaken)
        position_send(c, again, c);
    else if (again)
        rd_kafka_topic_partition_list_destroy(again);
    position_await(c, until);
}

/* The last commit counts as taken: when it is answered the partitions are gone. */
void kafka_positions_keep(struct kafka_consumer *c)
{
    c->last = position_asked(c);
    for (size_t i = 0; i < c->assigned_count; i++)
        kafka_hole_pass(&c->assigned[i], c->assigned[i].wanted);
}

/* Over what holds no records, which would count as pending for ever. */
static int64_t position_over_void(const struct kafka_assigned *assigned, int64_t position)
{
    bool inside = position >= assigned->void_from && position < assigned->void_to;
    return inside ? assigned->void_to : position;
}

void kafka_position_end(struct kafka_consumer *c, struct kafka_assigned *assigned, int64_t end)
{
    int64_t from = assigned->next >= 0 ? assigned->next : assigned->wanted;
    if (!c->group || from < 0 || end <= from)
        return;
    assigned->void_from = from;
    assigned->void_to = assigned->next = end;
    if (assigned->wanted != from)
        return;
    assigned->wanted = end;
    ranges_cut(&assigned->beyond, end);
    ranges_cut(&assigned->restored, end);
    assigned->asked = true;
}

void kafka_position_finish(struct kafka_assigned *assigned, const struct ranges *none)
{
    for (size_t i = 0; i < none->count; i++) {
        ranges_add(&assigned->restored, none->at[i].from, none->at[i].to);
        ranges_add(&assigned->beyond, none->at[i].from, none->at[i].to);
    }
    if (!none->count || assigned->wanted < 0)
        return;
    assigned->wanted = ranges_skip(&assigned->beyond, assigned->wanted);
    ranges_cut(&assigned->beyond, assigned->wanted);
    ranges_cut(&assigned->restored, assigned->wanted);
    assigned->asked = true;
}

unsigned kafka_commit(struct consumer *base, struct topic_partition p, int64_t next, const struct ranges *beyond)
{
    struct kafka_consumer *c = (struct kafka_consumer *)base;
    struct kafka_assigned *assigned = kafka_assigned_find(c, p);
    if (!c->group || !assigned || assigned->anew) /* not ours any more: a repeat for the new owner */
        return 0;
    ranges_free(&assigned->beyond);
    assigned->beyond = ranges_union(beyond, &assigned->restored);
    assigned->wanted = position_over_void(assigned, ranges_skip(&assigned->beyond, next));
    ranges_cut(&assigned->beyond, assigned->wanted);
    ranges_cut(&assigned->restored, assigned->wanted);
    assigned->asked = true;
    size_t needed = 0, room = position_room(c->metadata_max);
    if (assigned->beyond.count)
        ranges_encode(&assigned->beyond, assigned->wanted, (unsigned char[1]){ 0 }, 0, &needed);
    return room ? (unsigned)(needed * 100 / room) : needed ? 1000 : 0;
}

void kafka_stands(struct consumer *base, void (*each)(void *, const struct standing *), void *ctx)
{
    struct kafka_consumer *c = (struct kafka_consumer *)base;
    for (size_t i = 0; i < c->assigned_count; i++) {
        const struct kafka_assigned *at = &c->assigned[i];
        struct ranges beyond = ranges_union(&at->beyond, &at->restored);
        int64_t low = -1, high = -1; /* as the last fetch heard */
        rd_kafka_get_watermark_offsets(c->rk, at->which.topic, at->which.partition, &low, &high);
        each(ctx, &(struct standing){ .topic = at->which.topic,
                                      .partition = at->which.partition,
                                      .position = c->group ? at->wanted : at->next,
                                      .start = low < 0 ? -1 : low,
                                      .end = high < 0 ? -1 : high,
                                      .beyond = &beyond });
        ranges_free(&beyond);
    }
}
