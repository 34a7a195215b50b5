/* SPDX-License-Identifier: MIT */
/* The topics of the ladder, and the trail of what waits there. */
#include "bridge/delivery/ladder.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"

static const struct {
    const char *name;
    int64_t ms;
} ladder_steps[LADDER_STEPS] = {
    { "30s", 30000 }, { "2m", 120000 }, { "10m", 600000 }, { "1h", 3600000 }, { "6h", 21600000 }, { "1d", 86400000 },
};

void ladder_open(struct ladder *l, const char *prefix)
{
    for (size_t i = 0; i < LADDER_STEPS; i++)
        l->topics[i] = topic_name(prefix, TOPIC_WAITING, ladder_steps[i].name);
    l->orphaned = topic_name(prefix, TOPIC_WAITING, "orphaned");
}

void ladder_close(struct ladder *l)
{
    for (size_t i = 0; i < LADDER_STEPS; i++)
        free(l->topics[i]);
    free(l->orphaned);
    *l = (struct ladder){ 0 };
}

size_t ladder_step(int64_t wait_ms)
{
    size_t step = 0;
    while (step + 1 < LADDER_STEPS && ladder_steps[step + 1].ms <= wait_ms)
        step++;
    return step;
}

int64_t ladder_ms(size_t step)
{
    return ladder_steps[step].ms;
}

static bool ladder_holds(const struct ladder *l, struct str topic)
{
    bool is = str_eq(topic, str_of(l->orphaned));
    for (size_t i = 0; i < LADDER_STEPS && !is; i++)
        is = str_eq(topic, str_of(l->topics[i]));
    return is;
}

/* Names the waiting record that this stay goes on with as a whole: not with one of several endpoints that it was for. */
static void ladder_name_replaced(const struct ladder *l, const struct ladder_stay *stay, char *out, size_t n)
{
    const struct record *r = stay->record;
    if (ladder_holds(l, r->topic) && str_eq(stay->endpoint, record_header(r, TRAIL_ENDPOINT)))
        snprintf(out, n, "%.*s/%" PRId32 "/%" PRId64, STR_ARG(r->topic), r->partition, r->offset);
}

/* Publishes the copy; until_ms 0: it waits for nothing but its sink. */
static void ladder_store(const struct ladder *l, struct broker *b, const char *topic, const struct ladder_stay *stay,
                         int64_t until_ms, const struct publication *how)
{
    struct moved m;
    char sink[256], endpoint[256], attempts[16], first[CLOCK_TEXT] = "", last[CLOCK_TEXT] = "", due[24], until[24] = "",
                                                 put[24] = "", replaces[TOPIC_NAME_MAX + 40] = "";
    snprintf(sink, sizeof sink, "%.*s", STR_ARG(stay->sink));
    snprintf(endpoint, sizeof endpoint, "%.*s", STR_ARG(stay->endpoint));
    snprintf(attempts, sizeof attempts, "%u", stay->attempts);
    snprintf(due, sizeof due, "%" PRId64, stay->due_ms);
    if (until_ms)
        snprintf(until, sizeof until, "%" PRId64, until_ms);
    ladder_name_replaced(l, stay, replaces, sizeof replaces);
    if (stay->put_ms)
        snprintf(put, sizeof put, "%" PRId64, stay->put_ms);
    if (stay->first_ms)
        clock_text(stay->first_ms, first);
    if (stay->last_ms)
        clock_text(stay->last_ms, last);
    trail_move(&m, stay->record, topic,
               (const char *const[]){ TRAIL_SINK, sink, TRAIL_ENDPOINT, endpoint, TRAIL_ATTEMPTS, attempts, TRAIL_FIRST,
                                      first, TRAIL_LAST, last, TRAIL_DUE, due, TRAIL_UNTIL, until, TRAIL_PUT, put,
                                      TRAIL_REPLACES, replaces, NULL });
    struct publication p = *how;
    p.records = &m.record;
    p.record_count = 1;
    broker_publish(b, &p);
    trail_free(&m);
}

void ladder_publish(const struct ladder *l, struct broker *b, const struct ladder_stay *stay,
                    const struct publication *how)
{
    int64_t now = clock_wall_ms();
    size_t step = ladder_step(stay->again_ms - now);
    int64_t until = now + ladder_steps[step].ms;
    ladder_store(l, b, l->topics[step], stay, until < stay->again_ms ? until : stay->again_ms, how);
}

void ladder_publish_orphan(const struct ladder *l, struct broker *b, const struct ladder_stay *stay,
                           const struct publication *how)
{
    ladder_store(l, b, l->orphaned, stay, 0, how);
}

bool ladder_topics(const struct broker_config *names,
                   bool (*each)(void *ctx, const char *topic, const char *group, struct err *e), void *ctx,
                   struct err *e)
{
    struct ladder l;
    ladder_open(&l, names->prefix);
    char *group = ladder_group(names);
    bool ok = each(ctx, l.orphaned, group, e);
    for (size_t i = 0; i < LADDER_STEPS && ok; i++)
        ok = each(ctx, l.topics[i], group, e);
    free(group);
    ladder_close(&l);
    return ok;
}

char *ladder_group(const struct broker_config *names)
{
    return str_join(names->group_prefix, "bridge.waiter", "");
}
