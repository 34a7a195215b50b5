/* SPDX-License-Identifier: MIT */
/* Follows topics of the broker: a look at each, now and then. */
#include <stdlib.h>
#include "bridge/delivery/find_event.h"
#include "bridge/cli/tail_private.h"
#include "bridge/cli/usage.h"
#include "bridge/lib/interrupt.h"
#include "bridge/lib/mem.h"

enum { TAIL_LOOK_MS = 200, TAIL_POSITION_BYTES = 1 << 20 };

struct tail_kept { /* of --from last:N */
    struct record *record;
    int64_t ms; /* when it was stored, never before the one in front of it in its partition */
    size_t number;
};

struct tail_topics {
    struct tail *tail;
    struct look **looks;
    size_t count;
    bool begun; /* each was looked at once */
    bool may_lack;
    struct tail_kept *kept;
    size_t kept_count, taken;
    bool enough;
    struct err *e;
};

/* ---- where each partition begins ---- */

static int64_t tail_topics_begin(void *ctx, const struct topic_partition *p, int64_t start, int64_t end)
{
    struct tail_topics *t = ctx;
    const struct tail_from *from = &t->tail->from;
    struct tail_place *place = tail_from_place(&t->tail->from, str_of(p->topic), p->partition);
    place->begun = true;
    place->end = end;
    if (t->begun) /* the partition was made meanwhile */
        return place->next = start;
    switch (from->point) {
    case TAIL_LATEST: place->next = end; break;
    case TAIL_TIME: /* the look leaves out what is older */
    case TAIL_EARLIEST: place->next = start; break;
    case TAIL_LAST: place->next = end; return end - start > from->last ? end - from->last : start;
    case TAIL_POSITION:
        if (place->next < start)
            tail_say("%lld records before %s/%d@%lld are gone", (long long)(start - place->next), p->topic,
                     (int)p->partition, (long long)start);
        place->next = place->next < start ? start : place->next > end ? end : place->next;
        break;
    }
    return place->next;
}

/* ---- records ---- */

static bool tail_topics_show(struct tail_topics *t, const struct record *r)
{
    struct err why;
    struct tail_place *place = tail_from_place(&t->tail->from, r->topic, r->partition);
    place->next = r->offset + 1;
    const struct event *ev = event_from_record(r, &why);
    if (!ev) {
        tail_say("%.*s/%d@%lld is no event: %s", STR_ARG(r->topic), (int)r->partition, (long long)r->offset, why.text);
        return true;
    }
    struct buf position = buf_new(TAIL_POSITION_BYTES);
    if (t->tail->flags->json)
        tail_from_text(&t->tail->from, &position);
    t->enough = !tail_show(t->tail, ev, r, buf_str(&position)) || interrupt_asked();
    buf_free(&position);
    event_unref(ev);
    return !t->enough;
}

static int tail_topics_by_time(const void *a, const void *b)
{
    const struct tail_kept *x = a, *y = b;
    if (x->ms != y->ms)
        return x->ms < y->ms ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* Keeps the newest `most` of them, in the order of time. */
static void tail_topics_sort(struct tail_topics *t, size_t most)
{
    if (t->kept_count)
        qsort(t->kept, t->kept_count, sizeof *t->kept, tail_topics_by_time);
    size_t drop = t->kept_count > most ? t->kept_count - most : 0;
    for (size_t i = 0; i < drop; i++)
        record_free(t->kept[i].record);
    t->kept_count -= drop;
    if (drop)
        memmove(t->kept, t->kept + drop, t->kept_count * sizeof *t->kept);
}

static void tail_topics_keep(struct tail_topics *t, const struct record *r)
{
    size_t most = (size_t)t->tail->from.last;
    struct tail_place *place = tail_from_place(&t->tail->from, r->topic, r->partition);
    place->newest_ms = r->stored_ms > place->newest_ms ? r->stored_ms : place->newest_ms;
    if (!t->kept)
        t->kept = mem_alloc(2 * most * sizeof *t->kept);
    t->kept[t->kept_count++] = (struct tail_kept){ .record = record_ref((struct record *)(uintptr_t)r),
                                                   .ms = place->newest_ms,
                                                   .number = t->taken++ };
    if (t->kept_count == 2 * most)
        tail_topics_sort(t, most);
}

static bool tail_topics_record(void *ctx, const struct record *r)
{
    struct tail_topics *t = ctx;
    if (t->tail->from.point == TAIL_LAST && !t->begun) {
        tail_topics_keep(t, r);
        return !interrupt_asked();
    }
    return tail_topics_show(t, r);
}

/* Shows what was kept, each partition's position being where its first one stands. */
static void tail_topics_show_kept(struct tail_topics *t)
{
    if (!t->kept)
        return;
    tail_topics_sort(t, (size_t)t->tail->from.last);
    for (size_t i = t->kept_count; i-- > 0;) {
        const struct record *r = t->kept[i].record;
        tail_from_place(&t->tail->from, r->topic, r->partition)->next = r->offset;
    }
    for (size_t i = 0; i < t->kept_count; i++) {
        if (!t->enough)
            tail_topics_show(t, t->kept[i].record);
        record_free(t->kept[i].record);
    }
    free(t->kept);
    t->kept = NULL;
}

/* ---- topics ---- */

static bool tail_topics_add(void *ctx, const char *topic)
{
    struct tail_topics *t = ctx;
    const struct look_options o = {
        .topic = topic, .since_ms = t->tail->from.ms, .may_lack = t->may_lack, .begin = tail_topics_begin, .ctx = t
    };
    struct look *look = look_open(&t->tail->call->config->broker, &o, t->e);
    if (!look)
        return false;
    t->looks = mem_grow(t->looks, t->count + 1, sizeof *t->looks);
    t->looks[t->count++] = look;
    return true;
}

/* Those that were asked for, or all of the configuration. */
static bool tail_topics_open(struct tail_topics *t)
{
    const struct strings *asked = &t->tail->flags->topics;
    t->may_lack = asked->count == 0;
    for (size_t i = 0; i < asked->count; i++)
        if (!tail_topics_add(t, asked->at[i]))
            return false;
    if (asked->count)
        return true;
    return find_event_topics(t->tail->call->config, tail_topics_add, t)
           && (t->count || err_set(t->e, "the configuration names no topic; say --topic NAME"));
}

static bool tail_topics_look(struct tail_topics *t)
{
    const struct strings *asked = &t->tail->flags->topics;
    for (size_t i = 0; i < t->count && !t->enough && !interrupt_asked(); i++) {
        if (look_on(t->looks[i], tail_topics_record, t, t->e))
            continue;
        const char *near = i < asked->count ? find_event_nearest(t->tail->call->config, asked->at[i]) : NULL;
        struct err why = *t->e;
        return near && !t->begun ? err_set(t->e, "%s (did you mean %s?)", why.text, near) : false;
    }
    tail_topics_show_kept(t);
    if (!t->begun && t->tail->from.point == TAIL_TIME && !t->enough)
        for (size_t i = 0; i < t->tail->from.count; i++) { /* all of it is older than that */
            struct tail_place *p = &t->tail->from.places[i];
            p->next = p->next < p->end ? p->end : p->next;
        }
    t->begun = true;
    return true;
}

int tail_broker(struct tail *tail)
{
    struct err e = { "" };
    struct tail_topics t = { .tail = tail, .e = &e };
    bool good = tail_topics_open(&t) && tail_topics_look(&t);
    while (good && !t.enough && !tail->flags->no_follow && interrupt_wait(TAIL_LOOK_MS))
        good = tail_topics_look(&t);
    for (size_t i = 0; i < t.count; i++)
        look_close(t.looks[i]);
    free(t.looks);
    if (!good)
        return usage_failed("tail", &e);
    return tail->failed ? COMMAND_FAILED : COMMAND_DONE;
}
