/* SPDX-License-Identifier: MIT */
/* Runs the waiter: its life, its turn, and what becomes of a record whose time has come. */
#include "bridge/delivery/waiter.h"
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "bridge/delivery/ladder.h"
#include "bridge/delivery/orphans.h"
#include "bridge/delivery/register.h"
#include "bridge/delivery/replaced.h"
#include "bridge/delivery/shelf.h"
#include "bridge/lib/crash.h"
#include "bridge/lib/errand.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

METRIC_COUNTER(aqueduct_waiting_moves_total,
               "Waiting events that went on to another waiting topic: not due yet, or their sink had no room.", NULL);
extern struct metric_family aqueduct_sink_waiting;

enum {
    WAITER_POLL = 64,       /* records of one turn */
    WAITER_STORING = 256,   /* most copies on their way */
    WAITER_AGAIN_MS = 1000, /* until a copy that could not be stored is tried again */
    WAITER_ASLEEP_MS = 2000,
    WAITER_STOCK = 256,      /* records: a sink that has so many is busy for a while, */
    WAITER_REST_US = 1000,   /* for this one; a turn behind each that it finishes would cost more than the record */
    WAITER_REVOKE_MS = 2000, /* how long a partition's hand-over may wait for the sinks */
    WAITER_REVOKE_TURN_MS = 20,
    ROOM_HERE_MS = 1000,      /* how long a few may wait in memory for room before they go to a topic; of a sink that */
    ROOM_GETS_ON_MS = 500,    /* took something in this time all wait, unless that was in vain */
    ROOM_SLOW_MS = 10000,     /* in this one, because others stand behind them meanwhile */
    ROOM_LOOK_MS = 2000,      /* those that wait for room are looked at so often, besides when there is some */
    ROOM_MOVES = 200,         /* a second: what waits for room in topics costs about so many moves, */
    ROOM_STEP_MOST = 2,       /* or more, rather than that it stands in a topic of a longer delay */
    UNTIL_MOST_MS = 86400000, /* the longest delay; whatever a record says, it is looked at after that */
};

struct waiter_sink {
    const struct sink_config *config;
    struct delivery *delivery, *held; /* delivery NULL: it is held, and this was it */
    size_t room, out;                 /* most records handed over, and how many are */
    int64_t took_ms, in_vain_ms; /* wall clock: when it was last done with one; when one had waited here for nothing */
    struct metric *waiting;
};

struct waiter {
    struct broker *broker;
    struct register_of_groups *groups; /* NULL: nobody wants to know */
    struct consumer *consumer;
    struct ladder ladder;
    char *group;
    int wake_fd;
    struct mailbox stored, reports; /* of the broker about copies; of the deliveries about what was handed over */
    atomic_bool stopping, abandoned;
    struct shelf shelf;
    struct waiter_sink **sinks;
    size_t sink_count;
    struct orphans orphans;
    const struct broker_config *names;
    int64_t began_ms; /* wall clock: what was put there before, others counted, or survey does */
    enum { SURVEY_DUE, SURVEY_MADE, SURVEY_FAILED } survey;
    struct ranges settled; /* of the orphans, as notes said before they were read */
    struct replaced replaced;
    bool offers; /* some sink may have more room than when what is parked was looked at */
    bool closing, poll_failed, store_failed;
    bool recalling; /* what comes back is read again by whoever gets its partition */
    bool again;     /* a sink came: what waits is counted anew */
    struct errand *errand;
    struct metric *moves;
};

/* ---- sinks ---- */

/* The sink of that name, or that formerly had it; NULL: none. */
static struct waiter_sink *waiter_sink(const struct waiter *w, struct str name)
{
    bool formerly;
    for (size_t i = 0; i < w->sink_count; i++)
        if (register_is(w->sinks[i]->config, name, &formerly))
            return w->sinks[i];
    return NULL;
}

/* ---- what becomes of a record ---- */

/* An orphan was begun and is never finished: the position stays before it. */
static void waiter_keep_orphan(struct waiter *w, struct shelved *en)
{
    orphans_add(&w->orphans, record_header(en->record, TRAIL_SINK));
    shelf_leave(&w->shelf, en);
}

static void waiter_on_stored(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    struct waiter *w = ctx;
    mailbox_put(&w->stored, tag, (int32_t)o, why);
}

/* Publishes a copy that is looked at again at that time; waiter_take_stored says how that ended. */
static void waiter_store(struct waiter *w, struct shelved *en, const struct trail *t, int64_t again_ms)
{
    struct ladder_stay stay = { .record = en->record,
                                .sink = t->sink,
                                .endpoint = t->endpoint,
                                .attempts = t->attempts,
                                .first_ms = t->first_ms,
                                .last_ms = t->last_ms,
                                .due_ms = t->due_ms,
                                .again_ms = again_ms,
                                .put_ms = t->put_ms };
    struct publication how = { .done = waiter_on_stored, .ctx = w, .tag = shelf_tag(en) };
    shelf_set(&w->shelf, en, SHELF_STORING);
    if (en->sink)
        ladder_publish(&w->ladder, w->broker, &stay, &how);
    else
        ladder_publish_orphan(&w->ladder, w->broker, &stay, &how);
}

static void waiter_hand(struct waiter *w, struct shelved *en)
{
    struct record *r = record_ref(en->record); /* in case it comes back */
    if (en->sink->out++ == 0)
        en->sink->took_ms = clock_wall_ms();
    metric_add(en->sink->waiting, -1);
    shelf_set(&w->shelf, en, SHELF_HANDED);
    delivery_hand(en->sink->delivery, r, &w->reports, shelf_tag(en));
}

static bool waiter_has_room(const struct waiter_sink *s)
{
    return s->delivery && s->out < s->room;
}

/* How long what waits for room of this sink stands in a topic. The time is a bound alone, since whatever is at the head of
 * a topic goes as soon as there is room: so the more there are, the longer it is, and a sink that takes nothing for days
 * costs next to nothing. */
static int64_t waiter_room_ms(const struct waiter_sink *s)
{
    size_t step = 0;
    while (step < ROOM_STEP_MOST && metric_value(s->waiting) * 1000 > ROOM_MOVES * ladder_ms(step))
        step++;
    return ladder_ms(step);
}

/* Will there soon be room? */
static bool waiter_gets_on(const struct waiter_sink *s, int64_t now_ms)
{
    return now_ms - s->took_ms < ROOM_GETS_ON_MS && now_ms - s->in_vain_ms > ROOM_SLOW_MS;
}

/* It is due and its sink has no room: it waits here as long as its topic says, or for a moment if few do or the sink gets
 * on, then in a topic of its own choice; waiter_offer ends that sooner. */
static void waiter_queue(struct waiter *w, struct shelved *en, const struct trail *t, int64_t until_ms, int64_t now_ms)
{
    bool here = shelf_has_room(en->partition) || waiter_gets_on(en->sink, now_ms);
    if (!en->room_ms)
        en->room_ms = until_ms > now_ms ? until_ms : now_ms + (here ? ROOM_HERE_MS : 0);
    else if (en->room_ms <= now_ms)
        en->sink->in_vain_ms = now_ms;
    if (en->room_ms > now_ms)
        shelf_park(&w->shelf, en, en->room_ms < now_ms + ROOM_LOOK_MS ? en->room_ms : now_ms + ROOM_LOOK_MS);
    else /* a second more, so that the step is not missed by the time that passes until it is stored */
        waiter_store(w, en, t, now_ms + waiter_room_ms(en->sink) + 1000);
}

/* Hands over what waits here for room alone, as far as there is some now. */
static void waiter_offer(struct waiter *w)
{
    for (size_t i = 0; w->offers && i < w->shelf.entry_cap; i++) {
        struct shelved *en = w->shelf.entries[i];
        if (en->state == SHELF_PARKED && en->room_ms && waiter_has_room(en->sink))
            waiter_hand(w, en);
    }
    w->offers = false;
}

/* Decides, now that it was read or that its wait is over. */
static void waiter_look(struct waiter *w, struct shelved *en)
{
    struct trail t = trail_read(en->record);
    int64_t now = clock_wall_ms();
    int64_t until = t.until_ms < now + UNTIL_MOST_MS ? t.until_ms : now + UNTIL_MOST_MS;
    if (!en->sink && en->stuck)
        waiter_keep_orphan(w, en);
    else if (!en->sink)
        waiter_store(w, en, &t, 0);
    else if (t.due_ms > now && until > now)
        shelf_park(&w->shelf, en, until);
    else if (t.due_ms > now && en->stuck)
        shelf_park(&w->shelf, en, t.due_ms < now + UNTIL_MOST_MS ? t.due_ms : now + UNTIL_MOST_MS);
    else if (t.due_ms > now)
        waiter_store(w, en, &t, t.due_ms);
    else if ((en->stuck && en->sink->delivery) || waiter_has_room(en->sink))
        waiter_hand(w, en);
    else
        waiter_queue(w, en, &t, until, now);
}

/* ---- the survey ---- */

static bool waiter_survey_note(void *ctx, const struct record *r)
{
    struct waiter *w = ctx;
    orphans_gather_note(r, &w->settled);
    return !atomic_load(&w->stopping);
}

static bool waiter_survey_record(void *ctx, const struct record *r)
{
    struct waiter *w = ctx;
    struct waiter_sink *s = waiter_sink(w, record_header(r, TRAIL_SINK));
    replaced_note(&w->replaced, r);
    bool settled = str_eq(r->topic, str_of(w->ladder.orphaned)) && r->partition == 0
                   && ranges_skip(&w->settled, r->offset) != r->offset;
    bool note = record_header(r, TRAIL_STATE).at != NULL;
    if (s && !settled && !note && trail_read(r).put_ms < w->began_ms)
        metric_add(s->waiting, 1);
    return !atomic_load(&w->stopping);
}

static bool waiter_survey_topic(struct waiter *w, const char *topic, bool (*each)(void *, const struct record *),
                                struct err *e)
{
    const struct look_options o = { .topic = topic, .group = w->group, .may_lack = true };
    return look_once(w->names, &o, each, w, e);
}

/* Before the first record is taken: counts what waits, since only the heads of the topics come into memory, and reads the
 * notes and what copies replace, since what they name stands before them. */
static void waiter_survey(struct waiter *w)
{
    struct err e = { "" };
    replaced_begin(&w->replaced, w->consumer);
    bool ok = waiter_survey_topic(w, w->ladder.orphaned, waiter_survey_note, &e);
    for (size_t i = 0; ok && i <= LADDER_STEPS; i++)
        ok = waiter_survey_topic(w, i < LADDER_STEPS ? w->ladder.topics[i] : w->ladder.orphaned, waiter_survey_record,
                                 &e);
    replaced_end(&w->replaced);
    w->survey = ok ? SURVEY_MADE : SURVEY_FAILED;
    for (size_t i = 0; ok && i < w->shelf.entry_cap; i++) /* what a sink has waits no more */
        if (w->shelf.entries[i]->state == SHELF_HANDED)
            metric_add(w->shelf.entries[i]->sink->waiting, -1);
    if (ok
        || (!broker_facts(w->names).own_folder && !broker_facts(w->names).is_shared)) /* in memory nothing was left */
        return;
    LOG(WARN, "cannot count what waits; aqueduct_sink_waiting counts it as it is met", LOG_C("reason", e.text));
    for (size_t i = 0; i < w->sink_count; i++)
        metric_set(w->sinks[i]->waiting, 0);
}

/* Partitions are somebody else's now, or a topic was made anew. */
static void waiter_survey_again(struct waiter *w)
{
    w->survey = SURVEY_DUE;
    w->began_ms = clock_wall_ms();
    ranges_free(&w->settled);
    replaced_free(&w->replaced);
    for (size_t i = 0; i < w->sink_count; i++)
        metric_set(w->sinks[i]->waiting, 0);
}

/* ---- records come in ---- */

/* Does it count already? By this process, which put it there, or by the survey; without one, it counts when it is read. */
static bool waiter_counted(const struct waiter *w, const struct record *r)
{
    return w->survey == SURVEY_MADE || trail_read(r).put_ms >= w->began_ms;
}

static void waiter_lost(struct shelved *en)
{
    if (en->sink && en->state == SHELF_HANDED)
        en->sink->out--;
    else if (en->sink)
        metric_add(en->sink->waiting, -1);
}

/* A record of the topic of orphans that was ended by command, or says of others that they were; false: it is neither. */
static bool waiter_settle(struct waiter *w, struct shelved *en)
{
    struct ranges settled;
    if (ranges_skip(&w->settled, en->offset) != en->offset && en->partition->where.partition == 0) {
        shelf_finish(&w->shelf, en);
        return true;
    }
    if (!orphans_read_note(en->record, &settled))
        return false;
    struct shelf_partition *p = en->partition;
    struct record *r = record_ref(en->record);
    shelf_finish(&w->shelf, en);
    orphans_settle(&w->orphans, record_header(r, TRAIL_SINK), shelf_settle(&w->shelf, p, &settled));
    record_free(r);
    ranges_free(&settled);
    return true;
}

/* Its copy waits as well: that goes on alone. */
static void waiter_drop_replaced(struct waiter *w, struct shelved *en)
{
    if (en->sink)
        metric_add(en->sink->waiting, -1);
    shelf_finish(&w->shelf, en);
}

/* An orphan that is read once more, since a sink came: it goes on if that is its own. */
static void waiter_take_again(struct waiter *w, struct shelf_partition *p, struct record *r)
{
    struct waiter_sink *s = waiter_sink(w, record_header(r, TRAIL_SINK));
    if (!s || !watermark_is_open(&p->done, r->offset) || shelf_has(&w->shelf, p, r->offset)) {
        record_free(r);
        return;
    }
    orphans_settle(&w->orphans, record_header(r, TRAIL_SINK), 1);
    struct shelved *en = shelf_add(&w->shelf, r, p);
    en->sink = s;
    metric_add(s->waiting, w->survey != SURVEY_MADE); /* else it was counted when the sink came */
    if (replaced_has(&w->replaced, r))
        waiter_drop_replaced(w, en);
    else
        waiter_look(w, en);
}

/* Takes a record in. */
static void waiter_take(struct waiter *w, struct record *r)
{
    struct shelf_partition *p = shelf_partition(&w->shelf, r);
    if (r->offset < p->again) {
        waiter_take_again(w, p, r);
        return;
    }
    p->again = 0;
    if (r->offset <= p->newest) { /* the topic was made anew */
        shelf_forget(&w->shelf, p, waiter_lost);
        waiter_survey_again(w);
        waiter_survey(w);
        p = shelf_partition(&w->shelf, r);
    }
    p->orphaned = str_eq(r->topic, str_of(w->ladder.orphaned));
    p->newest = r->offset;
    watermark_begin(&p->done, r->offset);
    struct shelved *en = shelf_add(&w->shelf, r, p);
    if (p->orphaned && waiter_settle(w, en))
        return;
    en->sink = waiter_sink(w, record_header(r, TRAIL_SINK));
    if (en->sink)
        metric_add(en->sink->waiting, !waiter_counted(w, r));
    if (replaced_has(&w->replaced, r))
        waiter_drop_replaced(w, en);
    else if (!en->sink && p->orphaned)
        waiter_keep_orphan(w, en);
    else
        waiter_look(w, en);
}

/* ---- what others say ---- */

/* A copy is stored: the original is finished. */
static void waiter_moved(struct waiter *w, struct shelved *en)
{
    crash_point("waiter-after-move");
    metric_add(w->moves, 1);
    if (en->sink && !waiter_counted(w, en->record))
        metric_add(en->sink->waiting, -1); /* counted again when the copy is read */
    shelf_finish(&w->shelf, en);
}

/* A copy is not stored: again in a while, or, when it never can be, the original waits here. */
static void waiter_not_moved(struct waiter *w, struct shelved *en, enum outcome o, const char *why)
{
    if (!w->store_failed)
        LOG(ERROR, "cannot store what is to wait on; trying until it is stored", LOG_STR("topic", en->record->topic),
            LOG_INT("offset", en->offset), LOG_C("reason", why));
    w->store_failed = true;
    en->stuck = o == OUTCOME_INVALID;
    shelf_park(&w->shelf, en, clock_wall_ms() + WAITER_AGAIN_MS);
}

static void waiter_take_stored(struct waiter *w)
{
    struct notice notices[64];
    for (size_t n; (n = mailbox_take(&w->stored, notices, sizeof notices / sizeof *notices)) > 0;)
        for (size_t i = 0; i < n; i++) {
            struct shelved *en = shelf_find(&w->shelf, notices[i].tag);
            if (!en)
                continue;
            if (notices[i].code != OUTCOME_STORED) {
                waiter_not_moved(w, en, (enum outcome)notices[i].code, notices[i].why);
                continue;
            }
            w->store_failed = false;
            waiter_moved(w, en);
        }
}

/* A sink gives it back: it ends, or its partition goes to somebody else, who reads it again, or all ends. */
static void waiter_back(struct waiter *w, struct shelved *en)
{
    if (w->recalling || atomic_load(&w->stopping)) {
        shelf_leave(&w->shelf, en);
        return;
    }
    metric_add(en->sink->waiting, 1);
    shelf_set(&w->shelf, en, SHELF_PARKED);
    waiter_look(w, en);
}

static void waiter_take_reports(struct waiter *w)
{
    struct notice notices[64];
    for (size_t n; (n = mailbox_take(&w->reports, notices, sizeof notices / sizeof *notices)) > 0;)
        for (size_t i = 0; i < n; i++) {
            struct shelved *en = shelf_find(&w->shelf, notices[i].tag);
            if (!en || en->state != SHELF_HANDED)
                continue;
            en->sink->out--;
            en->sink->took_ms = clock_wall_ms();
            w->offers = true;
            if (notices[i].code == HANDED_FINISHED)
                shelf_finish(&w->shelf, en);
            else
                waiter_back(w, en);
        }
}

/* ---- start, turn, end ---- */

/* Waits a moment until the sinks gave back what they do not send just now, and finished the rest. */
static void waiter_recall(struct waiter *w)
{
    int64_t limit = clock_mono_ms() + WAITER_REVOKE_MS;
    w->recalling = true;
    while (!w->closing && w->shelf.handed + w->shelf.storing > 0 && clock_mono_ms() < limit
           && !atomic_load(&w->abandoned)) {
        for (size_t i = 0; i < w->sink_count; i++)
            if (w->sinks[i]->delivery)
                delivery_recall(w->sinks[i]->delivery);
        wake_clear(w->wake_fd);
        waiter_take_stored(w);
        waiter_take_reports(w);
        poll(&(struct pollfd){ .fd = w->wake_fd, .events = POLLIN }, 1, WAITER_REVOKE_TURN_MS);
    }
    w->recalling = false;
}

/* Partitions are taken away. When it is not all of them, their topic is gone: nothing can be finished there any more, and
 * what the sinks have of the others stays with them. */
static void waiter_revoked(void *ctx, const struct topic_partition *partitions, size_t count)
{
    struct waiter *w = ctx;
    bool all = true;
    for (const struct shelf_partition *p = w->shelf.partitions; p; p = p->next)
        all = all && shelf_is_among(p, partitions, count);
    if (all)
        waiter_recall(w);
    shelf_commit(&w->shelf, true);
    for (struct shelf_partition *p = w->shelf.partitions, *next; p; p = next) {
        next = p->next;
        if (!shelf_is_among(p, partitions, count))
            continue;
        if (p->orphaned)
            orphans_forget(&w->orphans);
        shelf_forget(&w->shelf, p, waiter_lost);
    }
    waiter_survey_again(w);
}

struct waiter *waiter_new(const struct broker_config *names, struct broker *broker)
{
    struct waiter *w = mem_alloc(sizeof *w);
    w->broker = broker;
    w->names = names;
    w->wake_fd = wake_new();
    w->began_ms = clock_wall_ms();
    w->moves = metric_get(&aqueduct_waiting_moves_total, NULL);
    w->group = ladder_group(names);
    ladder_open(&w->ladder, names->prefix);
    mailbox_open(&w->stored, w->wake_fd);
    mailbox_open(&w->reports, w->wake_fd);
    w->errand = errand_new(w->wake_fd);
    return w;
}

static struct waiter_sink *waiter_sink_named(const struct waiter *w, const char *name)
{
    for (size_t i = 0; i < w->sink_count; i++)
        if (strcmp(w->sinks[i]->config->sink->id, name) == 0)
            return w->sinks[i];
    return NULL;
}

void waiter_serve(struct waiter *w, const struct sink_config *sink, struct delivery *d)
{
    struct waiter_sink *s = waiter_sink_named(w, sink->sink->id);
    if (!s) {
        s = mem_alloc(sizeof *s);
        s->waiting = metric_get(&aqueduct_sink_waiting, LABELS(sink->sink->id));
        metric_set(s->waiting, 0);
        w->sinks = mem_grow(w->sinks, w->sink_count + 1, sizeof(struct waiter_sink *));
        w->sinks[w->sink_count++] = s;
    }
    s->config = sink;
    s->delivery = d;
    s->room = sink->window > 1 ? (size_t)sink->window / 2 : 1;
    w->offers = true;
}

void waiter_look_around(struct waiter *w, const struct config *config)
{
    register_free(w->groups);
    w->groups = register_new(config);
}

size_t waiter_serves(const struct waiter *w)
{
    return w->sink_count;
}

bool waiter_open(struct waiter *w, struct err *e)
{
    const char *topics[LADDER_STEPS + 1] = { w->ladder.orphaned };
    for (size_t i = 0; i < LADDER_STEPS; i++)
        topics[i + 1] = w->ladder.topics[i];
    w->consumer = consumer_open(w->broker,
                                &(struct consumer_options){ .group = w->group,
                                                            .topics = topics,
                                                            .topic_count = LADDER_STEPS + 1,
                                                            .from_start = true,
                                                            .wake_fd = w->wake_fd,
                                                            .revoked = waiter_revoked,
                                                            .ctx = w },
                                e);
    w->shelf.consumer = w->consumer;
    return w->consumer || err_prefix(e, "the waiting topics");
}

/* ---- sinks come and go ---- */

struct waiter_errand {
    struct waiter *w;
    const struct sink_config *sink;
    struct delivery *d;
    const char *name;
    const struct config *config;
};

static bool waiter_do_hold(void *ctx, struct err *e)
{
    const struct waiter_errand *o = ctx;
    struct waiter_sink *s = waiter_sink_named(o->w, o->name);
    (void)e;
    if (s && s->delivery) {
        s->held = s->delivery;
        s->delivery = NULL;
    }
    return true;
}

/* Reads the orphans once more, from the first that was left. */
static void waiter_reread_orphans(struct waiter *w)
{
    for (struct shelf_partition *p = w->shelf.partitions; p; p = p->next) {
        int64_t first = p->orphaned ? watermark_first_open(&p->done) : -1;
        if (first < 0)
            continue;
        p->again = p->newest + 1;
        consumer_seek(w->consumer, p->where, first);
    }
}

/* A sink that is held has nothing more: what an abandoned delivery did not give back is here as well. */
static void waiter_reclaim(struct waiter *w, struct waiter_sink *s)
{
    waiter_take_reports(w);
    for (size_t i = 0; i < w->shelf.entry_cap; i++) {
        struct shelved *en = w->shelf.entries[i];
        if (en->state == SHELF_HANDED && en->sink == s)
            waiter_back(w, en);
    }
    s->out = 0;
}

static bool waiter_do_serve(void *ctx, struct err *e)
{
    const struct waiter_errand *o = ctx;
    struct waiter_sink *known = waiter_sink_named(o->w, o->sink->sink->id);
    if (!o->w->consumer && !waiter_open(o->w, e))
        return false;
    if (known && !known->delivery && known->held != o->d)
        waiter_reclaim(o->w, known);
    waiter_serve(o->w, o->sink, o->d);
    if (known)
        return true;
    waiter_reread_orphans(o->w);
    o->w->again = true;
    return true;
}

/* What it has of the sink in memory is an orphan, or that of another one, which took the sink's name over. */
static bool waiter_do_dismiss(void *ctx, struct err *e)
{
    const struct waiter_errand *o = ctx;
    struct waiter *w = o->w;
    struct waiter_sink *s = waiter_sink_named(w, o->name);
    (void)e;
    if (!s)
        return true;
    waiter_reclaim(w, s);
    metric_set(s->waiting, 0);
    size_t i = 0;
    while (w->sinks[i] != s)
        i++;
    w->sinks[i] = w->sinks[--w->sink_count];
    for (size_t k = 0; k < w->shelf.entry_cap; k++) {
        struct shelved *en = w->shelf.entries[k];
        if (en->state == SHELF_FREE || en->sink != s)
            continue;
        en->sink = waiter_sink(w, record_header(en->record, TRAIL_SINK));
        if (en->sink)
            metric_add(en->sink->waiting, 1);
        if (en->state == SHELF_PARKED)
            waiter_look(w, en);
    }
    free(s);
    return true;
}

static bool waiter_do_look_around(void *ctx, struct err *e)
{
    const struct waiter_errand *o = ctx;
    (void)e;
    waiter_look_around(o->w, o->config);
    return true;
}

bool waiter_hold(struct waiter *w, const char *sink, struct timespec until, struct err *e)
{
    return errand_run(w->errand, waiter_do_hold, &(struct waiter_errand){ .w = w, .name = sink }, until, e)
           || err_prefix(e, "the waiting topics");
}

bool waiter_serve_now(struct waiter *w, const struct sink_config *sink, struct delivery *d, struct timespec until,
                      struct err *e)
{
    return errand_run(w->errand, waiter_do_serve, &(struct waiter_errand){ .w = w, .sink = sink, .d = d }, until, e)
           || err_prefix(e, "the waiting topics");
}

bool waiter_dismiss(struct waiter *w, const char *sink, struct timespec until, struct err *e)
{
    return errand_run(w->errand, waiter_do_dismiss, &(struct waiter_errand){ .w = w, .name = sink }, until, e)
           || err_prefix(e, "the waiting topics");
}

bool waiter_look_around_now(struct waiter *w, const struct config *config, struct timespec until, struct err *e)
{
    return errand_run(w->errand, waiter_do_look_around, &(struct waiter_errand){ .w = w, .config = config }, until, e)
           || err_prefix(e, "the waiting topics");
}

/* A sink came, for which something may wait. */
static void waiter_count_again(struct waiter *w)
{
    w->again = false;
    if (w->survey != SURVEY_MADE) /* it will be, before the first record */
        return;
    shelf_commit(&w->shelf, true);
    waiter_survey_again(w);
    waiter_survey(w);
}

/* ---- the turn ---- */

/* Polls; true when there may be more at once. */
static bool waiter_poll(struct waiter *w)
{
    struct err e = { "" };
    struct record *records[WAITER_POLL];
    if (!w->consumer)
        return false;
    size_t room = w->shelf.storing < WAITER_STORING && !atomic_load(&w->stopping) ? WAITER_POLL : 0;
    int n = consumer_poll(w->consumer, records, room, &e);
    if (n < 0 && !w->poll_failed)
        LOG(ERROR, "reading the waiting topics failed; trying again", LOG_C("reason", e.text));
    if (n > 0 && w->poll_failed)
        LOG(INFO, "reading the waiting topics works again", LOG_C("group", w->group));
    w->poll_failed = n < 0 || (n == 0 && w->poll_failed);
    if (n > 0 && w->survey == SURVEY_DUE)
        waiter_survey(w);
    for (int i = 0; i < n; i++)
        waiter_take(w, records[i]);
    shelf_hold(&w->shelf);
    return n > 0;
}

static int64_t waiter_wait(const struct waiter *w, struct duration most)
{
    int64_t next = shelf_next(&w->shelf), due = shelf_commit_due(&w->shelf);
    int64_t wait = most.ms < WAITER_ASLEEP_MS ? most.ms : WAITER_ASLEEP_MS;
    if (next != INT64_MAX && next - clock_wall_ms() < wait)
        wait = next - clock_wall_ms();
    if (due != INT64_MAX && due - clock_mono_ms() < wait)
        wait = due - clock_mono_ms();
    return wait > 0 ? wait : 0;
}

/* Does a sink work on so much that its reports are better taken many at a time? */
static bool waiter_has_stocked(const struct waiter *w)
{
    for (size_t i = 0; i < w->sink_count; i++)
        if (w->sinks[i]->out >= WAITER_STOCK)
            return true;
    return false;
}

/* Until there is news, or the time of something has come. */
static void waiter_sleep(const struct waiter *w, struct duration most)
{
    int64_t wait = waiter_wait(w, most);
    if (wait > 0 && waiter_has_stocked(w))
        nanosleep(&(struct timespec){ .tv_nsec = WAITER_REST_US * 1000L }, NULL);
    poll(&(struct pollfd){ .fd = w->wake_fd, .events = POLLIN }, 1, (int)wait);
}

bool waiter_step(struct waiter *w, struct duration wait)
{
    wake_clear(w->wake_fd); /* before anything is looked at, so that no news is slept over */
    bool stopped = atomic_load(&w->stopping);
    if (atomic_load(&w->abandoned))
        return false;
    if (w->groups && !stopped && register_due(w->groups) <= clock_mono_ms())
        register_look(w->groups, w->broker);
    errand_answer(w->errand);
    if (w->again)
        waiter_count_again(w);
    waiter_take_stored(w);
    waiter_take_reports(w);
    for (struct shelved *en; !stopped && (en = shelf_due(&w->shelf, clock_wall_ms()));)
        waiter_look(w, en);
    if (!stopped)
        waiter_offer(w);
    bool more = waiter_poll(w);
    shelf_commit(&w->shelf, false);
    if (stopped && w->shelf.storing == 0)
        return false;
    if (!more)
        waiter_sleep(w, wait);
    return true;
}

void waiter_stop(struct waiter *w)
{
    atomic_store(&w->stopping, true);
    wake_up(w->wake_fd);
}

void waiter_abandon(struct waiter *w)
{
    atomic_store(&w->abandoned, true);
    wake_up(w->wake_fd);
}

void waiter_close(struct waiter *w)
{
    if (!w || !w->consumer)
        return;
    w->closing = true;
    orphans_forget(&w->orphans);
    shelf_commit(&w->shelf, true);
    consumer_close(w->consumer);
    w->consumer = NULL;
}

void waiter_free(struct waiter *w)
{
    if (!w)
        return;
    waiter_close(w);
    shelf_close(&w->shelf);
    mailbox_close(&w->stored);
    mailbox_close(&w->reports);
    ladder_close(&w->ladder);
    ranges_free(&w->settled);
    replaced_free(&w->replaced);
    register_free(w->groups);
    errand_free(w->errand);
    for (size_t i = 0; i < w->sink_count; i++)
        free(w->sinks[i]);
    free(w->sinks);
    free(w->group);
    close(w->wake_fd);
    free(w);
}
