/* SPDX-License-Identifier: MIT */
/* Redrives and discards dead letters, batch by batch. */
#include "connectors/dead_letter/redrive.h"
#include <poll.h>
#include <stdlib.h>
#include "bridge/event/trail.h"
#include "bridge/lib/crash.h"
#include "connectors/dead_letter/names.h"

enum {
    REDRIVE_BYTES = 8 << 20, /* of a batch's data */
    REDRIVE_TIMES = 3,       /* of one letter; then it is not taken again */
    REDRIVE_PARTS = 4,       /* batches a second, with a rate */
    REDRIVE_WAIT_MS = 100,   /* between two questions whether to go on */
    REDRIVE_SKIPPED = 20,    /* most that are named, newest first */
    REDRIVE_FAILURES = 3, /* one record that cannot be published is that record's; so many in a row are the broker's */
};

/* ---- records ---- */

struct redrive_record { /* one that is published, and what it borrows */
    struct moved moved;
    char *topic, *owner, *endpoint, *identity, *to, last[CLOCK_TEXT];
};

static void redrive_free_records(struct redrive_record *records, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        trail_free(&records[i].moved);
        free(records[i].topic);
        free(records[i].owner);
        free(records[i].endpoint);
        free(records[i].identity);
        free(records[i].to);
    }
    free(records);
}

static char *redrive_text(struct str s)
{
    return s.at ? str_dup(s) : NULL;
}

/* The event, for the sink's redrive topic. */
static void redrive_event(const struct redrive *d, const struct letter *l, struct redrive_record *out)
{
    out->owner = d->to.sink ? str_dup(str_of(d->to.sink)) : str_dup(l->owner);
    out->endpoint = d->to.sink ? redrive_text(str_of(d->to.endpoint)) : redrive_text(l->endpoint);
    out->topic = topic_name(d->call->prefix, TOPIC_REDRIVE, out->owner);
    trail_move(&out->moved, &l->record, out->topic, (const char *const[]){ TRAIL_ENDPOINT, out->endpoint, NULL });
}

/* What became of the letter, for the dead-letter topic: every list of dead letters learns it there, not only this file. */
static void redrive_news(const struct redrive *d, const struct letter *l, struct redrive_record *out)
{
    out->owner = str_dup(l->owner);
    out->endpoint = redrive_text(l->endpoint);
    out->identity = d->becomes == LETTER_DISCARDED ? redrive_text(l->identity) : NULL;
    const struct command_place *to = &d->to;
    out->to = to->sink ? trail_place(to->sink, to->endpoint) : NULL;
    out->topic = topic_name(d->call->prefix, TOPIC_DEAD_LETTER, NULL);
    clock_text(l->last_ms, out->last);
    trail_move(&out->moved, &l->record, out->topic,
               (const char *const[]){ l->of_source ? TRAIL_SOURCE : TRAIL_SINK, out->owner, TRAIL_ENDPOINT,
                                      out->endpoint, TRAIL_STATE, letter_state(d->becomes), TRAIL_LETTER, out->identity,
                                      TRAIL_TO, out->to, TRAIL_LAST, l->last_ms ? out->last : NULL, NULL });
    out->moved.record.value = STR_ABSENT;
}

/* That another sink got the event, which has no letter of it. */
static void redrive_resent(const struct redrive *d, const struct letter *l, struct redrive_record *out)
{
    out->topic = topic_name(d->call->prefix, TOPIC_DEAD_LETTER, NULL);
    trail_resent(&out->moved, &l->record, out->topic, d->to.sink, d->to.endpoint);
}

static enum outcome redrive_publish(const struct redrive *d, const struct redrive_record *records, size_t count,
                                    struct err *e)
{
    struct record *plain = mem_alloc(count * sizeof *plain);
    for (size_t i = 0; i < count; i++)
        plain[i] = records[i].moved.record;
    enum outcome o = d->call->publish(d->call, plain, count, e);
    free(plain);
    return o;
}

/* ---- the batch ---- */

/* Takes letters that could not be published out of the batch: all but the `kept` first. */
static void redrive_drop(struct redrive *d, size_t kept)
{
    for (size_t i = kept; i < d->count; i++)
        letter_free(&d->batch[i]);
    d->count = kept;
    d->bytes = 0;
}

static void redrive_refuse(struct redrive *d, const struct letter *l, const char *why)
{
    d->said(d->said_to, "refused", why, l);
    d->refused++;
}

/* Publishes the events one after the other, since not all of them can be stored: what cannot is refused. False with *e when
 * several in a row cannot; what was published stays in the batch. */
static bool redrive_singly(struct redrive *d, const struct redrive_record *events, struct err *e)
{
    size_t kept = 0, i = 0;
    for (; i < d->count && d->failures < REDRIVE_FAILURES; i++) {
        if (redrive_publish(d, &events[i], 1, e) == OUTCOME_STORED) {
            struct letter stored = d->batch[i];
            d->batch[i] = d->batch[kept];
            d->batch[kept++] = stored;
            d->failures = 0;
        } else {
            redrive_refuse(d, &d->batch[i], e->text);
            d->failures++;
        }
    }
    redrive_drop(d, kept);
    return d->failures < REDRIVE_FAILURES;
}

static bool redrive_events(struct redrive *d, struct err *e)
{
    if (d->becomes == LETTER_DISCARDED)
        return true;
    size_t count = d->count;
    struct redrive_record *events = mem_alloc(count * sizeof *events);
    for (size_t i = 0; i < count; i++)
        redrive_event(d, &d->batch[i], &events[i]);
    bool stored = count > 1 && redrive_publish(d, events, count, e) == OUTCOME_STORED;
    if (stored)
        d->failures = 0;
    bool ok = stored || redrive_singly(d, events, e);
    redrive_free_records(events, count);
    return ok;
}

static bool redrive_tell(const struct redrive *d, struct err *e)
{
    size_t count = 0;
    struct redrive_record *news = mem_alloc(2 * d->count * sizeof *news);
    for (size_t i = 0; i < d->count; i++) {
        redrive_news(d, &d->batch[i], &news[count++]);
        if (d->to.sink)
            redrive_resent(d, &d->batch[i], &news[count++]);
    }
    bool ok = redrive_publish(d, news, count, e) == OUTCOME_STORED;
    redrive_free_records(news, count);
    return ok;
}

/* Notes in the file and in the topic what became of the batch. */
static bool redrive_note(struct redrive *d, struct err *e)
{
    bool marked = letters_mark(d->letters, d->batch, d->count, d->becomes, &d->unmarked);
    return redrive_tell(d, e)
           || err_prefix(e, "the last %zu were %s, but the dead-letter topic could not be told%s", d->count,
                         letter_state(d->becomes), marked ? "" : "; they are still listed as they were");
}

/* Takes out what another command, or the daemon, has redriven or discarded since it was loaded. */
static void redrive_look_again(struct redrive *d)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->count; i++) {
        struct letter l = d->batch[i];
        if (!letters_is_unchanged(d->letters, &l)) {
            redrive_refuse(d, &l, "was redriven, discarded or filed anew meanwhile");
            continue;
        }
        d->batch[i] = d->batch[kept];
        d->batch[kept++] = l;
    }
    redrive_drop(d, kept);
}

/* Does it with the batch and notes it. False with *e; what was done stays in the batch. */
static bool redrive_do(struct redrive *d, struct err *e)
{
    bool ok = redrive_events(d, e);
    struct err untold;
    crash_point("command-redrive-after-events");
    if (d->count && !redrive_note(d, &untold)) {
        *e = untold;
        redrive_drop(d, 0);
        return false;
    }
    return ok;
}

static bool redrive_flush(struct redrive *d, struct err *e)
{
    if (d->count == 0)
        return true;
    letters_claim(d->letters);
    redrive_look_again(d);
    bool ok = d->count == 0 || redrive_do(d, e);
    letters_unclaim(d->letters);
    for (size_t i = 0; i < d->count; i++)
        d->said(d->said_to, letter_state(d->becomes), NULL, &d->batch[i]);
    d->done += (int64_t)d->count;
    redrive_drop(d, 0);
    return ok;
}

/* Waits so long; false: asked to end. */
static bool redrive_wait(const struct redrive *d, int64_t ms)
{
    int64_t until = clock_mono_ms() + ms, left;
    bool goes_on;
    while ((goes_on = d->goes_on(d->ctx, d->done + d->refused, d->total)) && (left = until - clock_mono_ms()) > 0)
        poll(NULL, 0, left < REDRIVE_WAIT_MS ? (int)left : REDRIVE_WAIT_MS);
    return goes_on;
}

/* Waits until one more may be done; false: asked to end. */
static bool redrive_may_go_on(struct redrive *d)
{
    int64_t due = d->rate ? d->began_ms + d->done * 1000 / d->rate : 0;
    d->interrupted = !redrive_wait(d, due - clock_mono_ms());
    return !d->interrupted;
}

/* ---- the letters ---- */

/* False with *e: why this letter cannot be redriven or discarded. */
static bool redrive_allowed(const struct redrive *d, const struct letter *l, struct err *e)
{
    if (d->becomes == LETTER_DISCARDED)
        return l->state == LETTER_DEAD || err_set(e, "is not dead");
    if (l->of_source)
        return err_set(e, "never reached a sink; it is of the source");
    if (l->owner.n == 0)
        return err_set(e, "does not say which sink gave up");
    if (l->cut)
        return err_set(e, "is too large to be read from the file of dead letters");
    if (l->state == LETTER_REDRIVEN && !d->again)
        return err_set(e, "was redriven before (--again)");
    return d->to.sink || names_reachable(d->call, l, e); /* else the daemon would find nobody to send it to */
}

static size_t redrive_room(const struct redrive *d)
{
    int64_t part = d->rate / REDRIVE_PARTS;
    return d->rate == 0 || part > REDRIVE_BATCH ? REDRIVE_BATCH : part ? (size_t)part : 1;
}

static bool redrive_letter(void *ctx, struct letter *l, struct err *e)
{
    struct redrive *d = ctx;
    struct err why;
    d->last = l->seq;
    if (!redrive_allowed(d, l, &why)) {
        redrive_refuse(d, l, why.text);
        return true;
    }
    if (d->dry_run) {
        d->said(d->said_to, "would", NULL, l);
        d->done++;
        d->interrupted = !redrive_wait(d, 0);
        return !d->interrupted;
    }
    d->bytes += l->record.value.n;
    d->batch[d->count++] = *l;
    *l = (struct letter){ 0 };
    if (d->count < redrive_room(d) && d->bytes < REDRIVE_BYTES)
        return true;
    return redrive_flush(d, e) && redrive_may_go_on(d);
}

bool redrive_letters(struct redrive *d, struct letters *st, const struct selection *sel, int64_t most, struct err *e)
{
    d->letters = st;
    d->began_ms = clock_mono_ms();
    bool ok = letters_each(st, sel, false, most, redrive_letter, d, e) >= 0 && redrive_flush(d, e);
    redrive_drop(d, 0);
    return ok || d->interrupted;
}

static bool redrive_skip(void *ctx, struct letter *l, struct err *e)
{
    const struct redrive *d = ctx;
    (void)e;
    d->said(d->said_to, "skipped",
            l->state == LETTER_DEAD ? "was redriven again and again, and is dead each time (--again)"
                                    : "was redriven before (--again)",
            l);
    return true;
}

/* Says of letters of the selection, the newest first, that they are left out, and counts them; false with *e. */
static bool redrive_say_skipped(struct redrive *d, struct letters *st, const struct selection *sel, struct err *e)
{
    int64_t count = letters_matches(st, sel, e);
    int64_t said = count < 0 ? -1 : letters_each(st, sel, true, REDRIVE_SKIPPED, redrive_skip, d, e);
    d->skipped = count;
    return said >= 0;
}

bool redrive_leave_out(struct redrive *d, struct letters *st, struct selection *sel, bool say, struct err *e)
{
    struct selection before = *sel;
    before.redriven = sel->dead && !sel->redriven; /* else each is refused by itself */
    before.discarded = false;
    before.redrives_least = REDRIVE_TIMES;
    sel->redrives_below = REDRIVE_TIMES;
    return !say || redrive_say_skipped(d, st, &before, e);
}
