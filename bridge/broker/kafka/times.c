/* SPDX-License-Identifier: MIT */
/* The time of a record on Kafka.
 *
 * Stream processors put a record in a window by its timestamp, so that is the event's time. The cluster deletes by it as well:
 * an event that is older than retention.ms would be gone at once, acknowledged and not delivered. So an event has to be younger
 * than half of what its topic keeps, and not of the future, which would end every window before it; any other gets the time at
 * which it is stored. Where the two differ the header TRAIL_STORED tells the second: by that one the bridge itself goes (since
 * when, how old, which came first), for only that rises with the offsets. */
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/log.h"

enum { AHEAD_MS = 60000 }; /* clocks differ */

METRIC_COUNTER(aqueduct_kafka_event_times_total,
               "Events whose records have the time at which they were stored and not their own; old: the topic keeps "
               "records for less than twice their age; ahead: they are of the future.",
               "why");

int64_t kafka_time_of(struct kafka *b, const struct record *r, int64_t now_ms)
{
    if (r->event_ms <= 0)
        return r->timestamp_ms;
    int64_t age = now_ms - r->event_ms, keeps = age > 0 ? kafka_topic_keeps(b, r->topic) : 0;
    if (age < -AHEAD_MS)
        metric_add(metric_get(&aqueduct_kafka_event_times_total, LABELS("ahead")), 1);
    if (age <= 0 || keeps == KAFKA_KEEPS_APPENDED)
        return 0;
    if (age <= keeps)
        return r->event_ms;
    metric_add(metric_get(&aqueduct_kafka_event_times_total, LABELS("old")), 1);
    if (kafka_topic_say_old(b, r->topic))
        LOG(WARN,
            "events are older than half of what their topic keeps: the cluster would delete them by their time, so "
            "their records have the time at which they are stored",
            LOG_STR("topic", r->topic), LOG_INT("keeps_s", 2 * keeps / 1000), LOG_INT("age_s", age / 1000));
    return 0;
}

bool kafka_time_search(int64_t low, int64_t high, int64_t ms, kafka_look_fn *look, void *ctx, int64_t *out)
{
    int64_t step = 1, found,
            stored_ms; /* back from the end in growing steps, then by halves; mostly one look is enough */
    while (low < high) {
        int64_t at = !step ? low + (high - low) / 2 : high - step > low ? high - step : low;
        if (!look(ctx, at, &found, &stored_ms))
            return false;
        if (found < high && stored_ms < ms) {
            low = found + 1;
            step = 0;
        } else {
            high = at;
            step *= 2;
        }
    }
    *out = high;
    return true;
}
