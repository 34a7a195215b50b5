/* SPDX-License-Identifier: MIT */
/* Is a topic still the one that was read? A topic that was deleted and made anew has other records at the same offsets,
 * and a position in the old one may well be inside the new one.
 *
 * librdkafka keeps no id of a topic and hides the errors of the time between the two. What it tells is a line for its log
 * ("broker unavailable"), before it fetches again: whatever comes from the new topic comes after that line. So a line puts
 * its partition in doubt; a partition in doubt is fetched again from the last record that was handed out, and that record
 * tells by its time and size whether it is the same. (One that was compacted away meanwhile tells nothing: then it counts
 * as the same.) A partition's first fetch begins one record before its position, so that there is a record to know. */
#include <stdlib.h>
#include <string.h>
#include "bridge/broker/kafka/consumer.h"
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/mem.h"

void kafka_doubt_open(struct kafka_consumer *c)
{
    pthread_mutex_init(&c->doubt_lock, NULL);
}

void kafka_doubt_close(struct kafka_consumer *c)
{
    for (size_t i = 0; i < c->doubt_count; i++)
        free((char *)(uintptr_t)c->doubts[i].which.topic);
    free(c->doubts);
    for (size_t i = 0; i < c->past_count; i++) {
        free((char *)(uintptr_t)c->past[i].which.topic);
        ranges_free(&c->past[i].beyond);
    }
    free(c->past);
    pthread_mutex_destroy(&c->doubt_lock);
}

/* ---- what librdkafka says ---- */

/* "[thrd:...]: TOPIC [PARTITION]: broker unavailable: fetch: ..."; *vanished: because there was no such topic */
static bool doubt_parse(const char *text, struct str *topic, int32_t *partition, bool *vanished)
{
    const char *end = strstr(text, "]: broker unavailable: "), *open = end;
    while (open && open > text && *open != '[')
        open--;
    if (!open || open - text < 2 || open[-1] != ' ')
        return false;
    const char *from = open - 1;
    while (from > text && from[-1] != ' ')
        from--;
    *topic = (struct str){ from, (size_t)(open - 1 - from) };
    *partition = (int32_t)strtol(open + 1, NULL, 10);
    *vanished = strstr(end, rd_kafka_err2str(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)) != NULL;
    return topic->n > 0;
}

void kafka_doubt_hear(struct kafka_consumer *c, const char *text)
{
    struct str topic;
    int32_t partition;
    bool vanished;
    if (!doubt_parse(text, &topic, &partition, &vanished))
        return;
    pthread_mutex_lock(&c->doubt_lock);
    struct kafka_doubt *doubt = NULL;
    for (size_t i = 0; i < c->doubt_count && !doubt; i++)
        if (c->doubts[i].which.partition == partition && str_eq(str_of(c->doubts[i].which.topic), topic))
            doubt = &c->doubts[i];
    if (!doubt) {
        c->doubts = mem_grow(c->doubts, c->doubt_count + 1, sizeof *c->doubts);
        doubt = &c->doubts[c->doubt_count++];
        *doubt = (struct kafka_doubt){ .which = { str_dup(topic), partition } };
    }
    doubt->vanished = doubt->vanished || vanished;
    atomic_store(&c->doubt, true);
    pthread_mutex_unlock(&c->doubt_lock);
}

void kafka_doubt_serve(struct kafka_consumer *c)
{
    if (!atomic_load(&c->doubt))
        return;
    pthread_mutex_lock(&c->doubt_lock);
    struct kafka_doubt *doubts = c->doubts;
    size_t count = c->doubt_count;
    c->doubts = NULL;
    c->doubt_count = 0;
    atomic_store(&c->doubt, false);
    pthread_mutex_unlock(&c->doubt_lock);
    for (size_t i = 0; i < count; i++) {
        struct kafka_assigned *assigned = kafka_assigned_find(c, doubts[i].which);
        if (assigned) {
            assigned->doubted = true;
            assigned->vanished = assigned->vanished || doubts[i].vanished;
        }
        free((char *)(uintptr_t)doubts[i].which.topic);
    }
    free(doubts);
}

/* ---- what is remembered of a partition ---- */

struct kafka_past *kafka_past_find(struct kafka_consumer *c, struct topic_partition p)
{
    for (size_t i = 0; i < c->past_count; i++)
        if (c->past[i].which.partition == p.partition && strcmp(c->past[i].which.topic, p.topic) == 0)
            return &c->past[i];
    return NULL;
}

void kafka_doubt_remember(struct kafka_consumer *c, const struct kafka_assigned *assigned)
{
    struct kafka_past *past = kafka_past_find(c, assigned->which);
    if (past && assigned->anew)
        past->wanted = -1;
    if (assigned->last.offset < 0 || assigned->anew)
        return;
    if (!past) {
        c->past = mem_grow(c->past, c->past_count + 1, sizeof *c->past);
        past = &c->past[c->past_count++];
        *past = (struct kafka_past){ .which = { str_dup(str_of(assigned->which.topic)), assigned->which.partition } };
    }
    ranges_free(&past->beyond);
    past->beyond = ranges_union(&assigned->beyond, &assigned->restored);
    past->wanted = assigned->wanted;
    past->taken = assigned->taken;
    past->last = assigned->last;
    past->has_committed = assigned->has_committed;
}

void kafka_doubt_recall(struct kafka_consumer *c, struct kafka_assigned *assigned)
{
    const struct kafka_past *past = kafka_past_find(c, assigned->which);
    assigned->last.offset = assigned->past.offset = -1;
    if (!past)
        return;
    assigned->past = past->last;
    assigned->has_committed = past->has_committed;
}

static struct kafka_last doubt_last(const rd_kafka_message_t *m)
{
    rd_kafka_timestamp_type_t type;
    return (struct kafka_last){
        .offset = m->offset, .ms = rd_kafka_message_timestamp(m, &type), .key_n = m->key_len, .value_n = m->len
    };
}

static bool doubt_differs(const struct kafka_last *was, const struct kafka_last *is)
{
    return was->offset == is->offset && (was->ms != is->ms || was->key_n != is->key_n || was->value_n != is->value_n);
}

bool kafka_doubt_is_new(struct kafka_assigned *assigned, const rd_kafka_message_t *m)
{
    struct kafka_last is = doubt_last(m);
    if (doubt_differs(&assigned->last, &is) || doubt_differs(&assigned->past, &is)) {
        assigned->anew = true;
        return false;
    }
    bool is_new = m->offset >= assigned->next;
    if (is_new)
        assigned->next = m->offset + 1;
    if (is_new || m->offset > assigned->last.offset)
        assigned->last = is;
    return is_new;
}
