/* SPDX-License-Identifier: MIT */
/* Where a waiting record goes when its time has come, and what becomes of it there. */
#include <stdlib.h>
#include "bridge/delivery/waiter_private.h"
#include "bridge/lib/crash.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum {
    WAITER_AGAIN_MS = 1000,   /* until a copy that could not be stored is tried again */
    ROOM_HERE_MS = 1000,      /* how long a few may wait in memory for room before they go to a topic; of a sink that */
    ROOM_GETS_ON_MS = 500,    /* took something in this time all wait, unless that was in vain */
    ROOM_SLOW_MS = 10000,     /* in this one, because others stand behind them meanwhile */
    ROOM_LOOK_MS = 2000,      /* those that wait for room are looked at so often, besides when there is some */
    ROOM_MOVES = 200,         /* a second: what waits for room in topics costs about so many moves, */
    ROOM_STEP_MOST = 2,       /* or more, rather than that it stands in a topic of a longer delay */
    UNTIL_MOST_MS = 86400000, /* the longest delay; whatever a record says, it is looked at after that */
};

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

/* By how much its trail is late of the wall clock as it is now, since somebody set that; 0: by no more than clocks differ. */
static int64_t waiter_late_ms(const struct shelved *en, const struct trail *t, int64_t elapsed_to_wall)
{
    int64_t late = t->due_ms > 0 ? t->due_ms - (en->due_ms + elapsed_to_wall) : 0;
    return late > TRAIL_SKEW_MS || late < -TRAIL_SKEW_MS ? late : 0;
}

/* Publishes a copy that is looked at again at that time (clock_elapsed_ms); waiter_take_stored says how that ended. */
static void waiter_store(struct waiter *w, struct shelved *en, const struct trail *t, int64_t again_ms)
{
    int64_t to_wall = clock_wall_ms() - clock_elapsed_ms(), late = waiter_late_ms(en, t, to_wall);
    struct ladder_stay stay = { .record = en->record,
                                .sink = t->sink,
                                .endpoint = t->endpoint,
                                .attempts = t->attempts,
                                .first_ms = t->first_ms,
                                .last_ms = t->last_ms ? t->last_ms - late : 0,
                                .due_ms = t->due_ms ? t->due_ms - late : 0,
                                .again_ms = again_ms + to_wall,
                                .put_ms = t->put_ms ? t->put_ms - late : 0 };
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
        en->sink->took_ms = clock_elapsed_ms();
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
void waiter_offer(struct waiter *w)
{
    for (size_t i = 0; w->offers && i < w->shelf.entry_cap; i++) {
        struct shelved *en = w->shelf.entries[i];
        if (en->state == SHELF_PARKED && en->room_ms && waiter_has_room(en->sink))
            waiter_hand(w, en);
    }
    w->offers = false;
}

/* Decides, now that it was read or that its wait is over. */
void waiter_look(struct waiter *w, struct shelved *en)
{
    struct trail t = trail_read(en->record);
    int64_t now = clock_elapsed_ms(), due = en->due_ms, most = now + UNTIL_MOST_MS;
    int64_t until = en->until_ms < most ? en->until_ms : most;
    if (!en->sink && en->stuck)
        waiter_keep_orphan(w, en);
    else if (!en->sink)
        waiter_store(w, en, &t, 0);
    else if (due > now && until > now)
        shelf_park(&w->shelf, en, until);
    else if (due > now && en->stuck)
        shelf_park(&w->shelf, en, due < most ? due : most);
    else if (due > now)
        waiter_store(w, en, &t, due);
    else if ((en->stuck && en->sink->delivery) || waiter_has_room(en->sink))
        waiter_hand(w, en);
    else
        waiter_queue(w, en, &t, until, now);
}

/* ---- records come in ---- */

/* Takes a record over, with its times by the clock that nobody sets. */
static struct shelved *waiter_add(struct waiter *w, struct record *r, struct shelf_partition *p)
{
    struct trail t = trail_read(r);
    struct shelved *en = shelf_add(&w->shelf, r, p);
    int64_t wall = clock_wall_ms();
    int64_t gone = clock_elapsed_ms() - wall - trail_ahead_ms(&t, wall);
    en->due_ms = t.due_ms > 0 ? t.due_ms + gone : INT64_MIN;
    en->until_ms = t.until_ms > 0 ? t.until_ms + gone : INT64_MIN;
    return en;
}

/* Does it count already? By this process, which put it there, or by the survey; without one, it counts when it is read. */
static bool waiter_counted(const struct waiter *w, const struct record *r)
{
    return w->survey == SURVEY_MADE || trail_read(r).put_ms >= w->began_ms;
}

void waiter_lost(struct shelved *en)
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
    struct shelved *en = waiter_add(w, r, p);
    en->sink = s;
    metric_add(s->waiting, w->survey != SURVEY_MADE); /* else it was counted when the sink came */
    if (replaced_has(&w->replaced, r))
        waiter_drop_replaced(w, en);
    else
        waiter_look(w, en);
}

/* Takes a record in. */
void waiter_take(struct waiter *w, struct record *r)
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
    struct shelved *en = waiter_add(w, r, p);
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
    shelf_park(&w->shelf, en, clock_elapsed_ms() + WAITER_AGAIN_MS);
}

void waiter_take_stored(struct waiter *w)
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
void waiter_back(struct waiter *w, struct shelved *en)
{
    if (w->recalling || atomic_load(&w->stopping)) {
        shelf_leave(&w->shelf, en);
        return;
    }
    metric_add(en->sink->waiting, 1);
    shelf_set(&w->shelf, en, SHELF_PARKED);
    waiter_look(w, en);
}

void waiter_take_reports(struct waiter *w)
{
    struct notice notices[64];
    for (size_t n; (n = mailbox_take(&w->reports, notices, sizeof notices / sizeof *notices)) > 0;)
        for (size_t i = 0; i < n; i++) {
            struct shelved *en = shelf_find(&w->shelf, notices[i].tag);
            if (!en || en->state != SHELF_HANDED)
                continue;
            en->sink->out--;
            en->sink->took_ms = clock_elapsed_ms();
            w->offers = true;
            if (notices[i].code == HANDED_FINISHED)
                shelf_finish(&w->shelf, en);
            else
                waiter_back(w, en);
        }
}
