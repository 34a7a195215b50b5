/* SPDX-License-Identifier: MIT */
/* Does the cluster store what it is given? It may answer every question and still take no record: a partition without a leader,
 * or with fewer replicas in sync than its topic wants (min.insync.replicas). Clients try again until message.timeout.ms,
 * and say nothing meanwhile, so the oldest publication without an outcome is looked at.
 *
 * A topic that gave one up is in trouble until it stores one, or for a while: who sends may wait for us to be ready. */
#include <inttypes.h>
#include <stdio.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"

enum { STALL_MS = 5000, DOUBT_MS = 30000 };

static struct str storing_topic(const struct kafka_publication *p)
{
    return p->record_count ? p->records[0].topic : str_of(p->b->state_topic);
}

void kafka_storing_begin(struct kafka_publication *p)
{
    struct kafka_storing *s = &p->b->storing;
    pthread_mutex_lock(&s->lock);
    p->older = s->newest;
    *(s->newest ? &s->newest->newer : &s->oldest) = p;
    s->newest = p;
    pthread_mutex_unlock(&s->lock);
}

void kafka_storing_end(struct kafka_publication *p, bool gave_up)
{
    struct kafka_storing *s = &p->b->storing;
    pthread_mutex_lock(&s->lock);
    *(p->older ? &p->older->newer : &s->oldest) = p->newer;
    *(p->newer ? &p->newer->older : &s->newest) = p->older;
    if (gave_up) {
        s->failed_ms = clock_mono_ms();
        snprintf(s->failed, sizeof s->failed, "%.*s", (int)storing_topic(p).n, storing_topic(p).at);
    } else if (s->failed_ms && !p->reason && str_eq(storing_topic(p), str_of(s->failed))) {
        s->failed_ms = 0;
    }
    pthread_mutex_unlock(&s->lock);
}

bool kafka_storing_ready(struct kafka *b, struct err *why)
{
    char topic[KAFKA_TOPIC_NAME] = "", replicas[WHY_BYTES];
    struct kafka_storing *s = &b->storing;
    int64_t now = clock_mono_ms(), waited = 0;
    pthread_mutex_lock(&s->lock);
    if (s->oldest && (waited = now - s->oldest->began_us / 1000) >= STALL_MS)
        snprintf(topic, sizeof topic, "%.*s", (int)storing_topic(s->oldest).n, storing_topic(s->oldest).at);
    else if (s->failed_ms && now - s->failed_ms < DOUBT_MS)
        snprintf(topic, sizeof topic, "%s", s->failed);
    pthread_mutex_unlock(&s->lock);
    if (!topic[0])
        return true;
    kafka_topic_replicas(b, topic, replicas, sizeof replicas);
    return waited >= STALL_MS
               ? err_set(why, "Kafka answers, but has not stored a record of topic %s for %" PRId64 " s%s", topic,
                         waited / 1000, replicas)
               : err_set(why, "Kafka answers, but did not store a record of topic %s in time%s", topic, replicas);
}
