/* SPDX-License-Identifier: MIT */
/* Events that nobody serves, batch by batch. */
#include "bridge/cli/settle.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/broker/broker.h"
#include "bridge/delivery/orphans.h"
#include "bridge/event/trail.h"
#include "bridge/lib/crash.h"
#include "bridge/lib/mem.h"

enum { SETTLE_BATCH = 256, SETTLE_BYTES = 8 << 20, SETTLE_SAY = 2048 };

struct settle {
    const struct config *config;
    struct publisher *publisher;
    const struct unserved_events *of;
    bool dead;
    char *dead_letters; /* the topic */
    struct record *batch[SETTLE_BATCH];
    size_t count, bytes;
    struct settled *out;
    struct err *e;
    bool failed;
};

/* ---- letters ---- */

struct settle_letter {
    struct moved moved;
    char *endpoint, attempts[16], first[CLOCK_TEXT], last[CLOCK_TEXT];
};

static void settle_letter(const struct settle *s, const struct record *r, struct settle_letter *l)
{
    struct trail t = trail_read(r);
    int64_t now = clock_wall_ms();
    const char *why = unserved_why(s->of);
    l->endpoint = topic_name_ok(t.endpoint) ? str_dup(t.endpoint) : NULL; /* a foreign one is no name */
    snprintf(l->attempts, sizeof l->attempts, "%u", t.attempts);
    clock_text(t.first_ms ? t.first_ms : now, l->first);
    clock_text(t.last_ms ? t.last_ms : now, l->last);
    trail_move(&l->moved, r, s->dead_letters,
               (const char *const[]){ TRAIL_SINK, s->of->sink, TRAIL_ENDPOINT, l->endpoint, TRAIL_ATTEMPTS, l->attempts,
                                      TRAIL_FIRST, l->first, TRAIL_LAST, l->last, TRAIL_CLASS, "orphaned", TRAIL_REASON,
                                      why, NULL });
}

static void settle_letter_free(struct settle_letter *l)
{
    trail_free(&l->moved);
    free(l->endpoint);
}

/* One after the other, since one of them is larger than the broker takes: that one goes without its data. */
static bool settle_singly(struct settle *s, struct record *letters, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        enum outcome o = publisher_put(s->publisher, &letters[i], 1, s->e);
        if (o == OUTCOME_INVALID) {
            letters[i].value = STR_ABSENT;
            o = publisher_put(s->publisher, &letters[i], 1, s->e);
            s->out->bare += o == OUTCOME_STORED;
        }
        if (o != OUTCOME_STORED)
            return err_prefix(s->e, "%s/%d@%" PRId64, s->of->topic, (int)s->batch[i]->partition, s->batch[i]->offset);
    }
    return true;
}

/* Stores the batch as dead letters. */
static bool settle_letters(struct settle *s)
{
    struct settle_letter *letters = mem_alloc(s->count * sizeof *letters);
    struct record *records = mem_alloc(s->count * sizeof *records);
    for (size_t i = 0; i < s->count; i++) {
        settle_letter(s, s->batch[i], &letters[i]);
        records[i] = letters[i].moved.record;
    }
    enum outcome o = publisher_put(s->publisher, records, s->count, s->e);
    bool ok = o == OUTCOME_STORED || (o == OUTCOME_INVALID && settle_singly(s, records, s->count));
    for (size_t i = 0; i < s->count; i++)
        settle_letter_free(&letters[i]);
    free(records);
    free(letters);
    return ok;
}

/* ---- batches ---- */

/* Says in the topic of orphans that the batch is finished. */
static bool settle_note(struct settle *s)
{
    struct ranges offsets = { 0 };
    struct orphans_note *note = mem_alloc(sizeof *note);
    for (size_t i = 0; i < s->count; i++)
        ranges_add(&offsets, s->batch[i]->offset, s->batch[i]->offset + 1);
    orphans_note(note, s->of->topic, str_of(s->of->sink), &offsets);
    bool ok = publisher_put(s->publisher, &note->record, 1, s->e) == OUTCOME_STORED;
    ranges_free(&offsets);
    free(note);
    return ok;
}

static void settle_drop_batch(struct settle *s)
{
    for (size_t i = 0; i < s->count; i++)
        record_free(s->batch[i]);
    s->count = s->bytes = 0;
}

static bool settle_flush(struct settle *s)
{
    if (s->count == 0)
        return true;
    bool ok = !s->dead || settle_letters(s);
    crash_point("command-orphans-after-letters");
    ok = ok && (s->of->kind != UNSERVED_WAITING || settle_note(s));
    if (ok) {
        int64_t before = s->out->ended;
        s->out->ended += (int64_t)s->count;
        if (before / SETTLE_SAY != s->out->ended / SETTLE_SAY)
            fprintf(stderr, "%s %s: %" PRId64 " of %" PRId64 "\n", s->of->sink, unserved_word(s->of->kind),
                    s->out->ended, s->of->events);
    }
    settle_drop_batch(s);
    return ok;
}

static bool settle_take(void *ctx, const struct record *r)
{
    struct settle *s = ctx;
    if (s->count && s->batch[0]->partition != r->partition)
        s->failed = !settle_flush(s);
    s->batch[s->count++] = record_ref((struct record *)(uintptr_t)r);
    s->bytes += r->value.n;
    if (!s->failed && (s->count == SETTLE_BATCH || s->bytes >= SETTLE_BYTES))
        s->failed = !settle_flush(s);
    return !s->failed;
}

bool settle_events(const struct config *config, struct publisher *p, const struct unserved_events *of, bool dead,
                   struct settled *out, struct err *e)
{
    struct settle s = { .config = config, .publisher = p, .of = of, .out = out, .e = e };
    bool waiting = of->kind == UNSERVED_WAITING, ok = true;
    *out = (struct settled){ 0 };
    s.dead_letters = topic_name(config->broker.prefix, TOPIC_DEAD_LETTER, NULL);
    s.dead = dead && strcmp(of->topic, s.dead_letters) != 0; /* these are dead letters already */
    if (s.dead || waiting)
        ok = unserved_each(config, of, settle_take, &s, e) && !s.failed && settle_flush(&s);
    else
        out->ended = of->events;
    settle_drop_batch(&s);
    if (ok && !waiting) {
        char *group = str_join(config->broker.group_prefix, of->sink, "");
        ok = publisher_forget(p, group, of->topic, e);
        free(group);
    }
    out->ended = ok || waiting ? out->ended : 0;
    free(s.dead_letters);
    return ok;
}
