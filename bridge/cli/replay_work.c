/* SPDX-License-Identifier: MIT */
/* Reads a topic's past and publishes it for one place, batch by batch. */
#include "bridge/cli/replay_work.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/broker/broker.h"
#include "bridge/cli/publish.h"
#include "bridge/cli/replay_claim.h"
#include "bridge/delivery/resend.h"
#include "bridge/event/event.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crash.h"
#include "bridge/lib/interrupt.h"
#include "bridge/lib/mem.h"

enum {
    REPLAY_BYTES = 8 << 20,      /* of a batch's data */
    REPLAY_KEPT_BYTES = 8 << 20, /* of what is kept of a replay */
    REPLAY_BATCHES = 4,          /* a second, with a rate */
    REPLAY_REST_MS = 200,        /* who waits longer leaves the log to a daemon that may start */
    REPLAY_DOUBT_MS = 10000,     /* who has kept nothing for so long looks whether another one has taken over */
};

/* ---- progress ---- */

static int64_t replay_left(const struct replay *r)
{
    int64_t left = 0;
    for (size_t i = 0; i < r->part_count; i++)
        left += r->parts[i].end > r->parts[i].reading ? r->parts[i].end - r->parts[i].reading : 0;
    return left;
}

static void replay_say(struct replay_work *w)
{
    const struct replay *r = w->of;
    progress_say(&w->progress, r->read + w->batch_read, replay_left(r), "%s: %" PRId64 " %s", r->name,
                 r->replayed + (int64_t)w->count, w->dry_run ? "counted" : "replayed");
}

/* ---- what is kept ---- */

static bool replay_keep(struct replay_work *w, enum replay_step step)
{
    struct replay *r = w->of;
    r->step = step;
    struct buf text = buf_new(REPLAY_KEPT_BYTES);
    char *topic = topic_name(w->call->prefix, TOPIC_REPLAYS, NULL);
    r->at_ms = clock_wall_ms();
    replay_kept_write(r, &text);
    const struct record record = {
        .topic = str_of(topic), .partition = -1, .key = str_of(r->name), .value = buf_str(&text)
    };
    bool ok = text.failed ? err_set(w->e, "how far it is cannot be kept: the topic has too many partitions")
                          : w->call->publish(w->call, &record, 1, w->e) == OUTCOME_STORED;
    w->kept_ms = clock_mono_ms();
    buf_free(&text);
    free(topic);
    return ok;
}

/* Before the first event: it is ours, and can be gone on with from here on. */
static bool replay_keep_first(struct replay_work *w)
{
    char *topic = topic_name(w->call->prefix, TOPIC_REPLAYS, NULL);
    struct topic_config t = { .name = topic, .partitions = 1, .retention = { RETENTION_UNSAID } };
    w->of->run = replay_run_new();
    bool ok = publisher_topic(w->call->publisher, &t, w->e) && replay_keep(w, REPLAY_BEGINS)
              && replay_claim_is_ours(w->call->config, w->of->name, &w->of->run, NULL, w->e);
    free(topic);
    return ok;
}

bool replay_claim(struct replay_work *w, struct err *e)
{
    struct replay now, *r = w->of;
    w->e = e;
    if (!replay_claim_is_free(w->call->config, r, e))
        return false;
    r->over = r->run.id;
    r->run.id = NULL;
    replay_run_free(&r->run);
    r->run = replay_run_new();
    if (!replay_keep(w, REPLAY_CLAIMS) || !replay_claim_is_ours(w->call->config, r->name, &r->run, &now, e))
        return false;
    replay_free(r); /* which somebody else may have gone on with since it was read */
    *r = now;
    w->begun = true;
    return !r->finished || (replay_keep(w, REPLAY_ENDS) && err_set(e, "%s is finished", r->name));
}

static bool replay_is_ours(struct replay_work *w)
{
    return w->dry_run || clock_mono_ms() - w->kept_ms < REPLAY_DOUBT_MS
           || replay_claim_is_ours(w->call->config, w->of->name, &w->of->run, NULL, w->e);
}

/* ---- a batch ---- */

static enum outcome replay_publish(struct replay_work *w, size_t from, size_t count)
{
    struct resent *made = mem_alloc(count * sizeof *made);
    struct record *records = mem_alloc(2 * count * sizeof *records);
    for (size_t i = 0; i < count; i++) {
        resent_make(&made[i], w->batch[from + i], w->call->prefix, &w->to);
        records[2 * i] = made[i].records[0];
        records[2 * i + 1] = made[i].records[1];
    }
    enum outcome o = w->call->publish(w->call, records, 2 * count, w->e);
    for (size_t i = 0; i < count; i++)
        resent_free(&made[i]);
    free(records);
    free(made);
    return o;
}

static void replay_count_type(struct replay_work *w, const struct record *r)
{
    const struct event *ev = event_from_record(r, NULL);
    CHECK(ev); /* it was one when it was put into the batch */
    char *type = str_dup(ev->type);
    const char *as = json_object_get(w->types, type) || json_object_size(w->types) < REPLAY_TYPES ? type : "...";
    json_object_set_new_nocheck(w->types, as, json_integer(json_integer_value(json_object_get(w->types, as)) + 1));
    free(type);
    event_unref(ev);
}

static void replay_refuse(struct replay_work *w, const struct record *r)
{
    progress_clear(&w->progress);
    fprintf(stderr, "aqueduct replay: %.*s/%" PRId32 "@%" PRId64 " is left out: %s\n", STR_ARG(r->topic), r->partition,
            r->offset, w->e->text);
    w->of->refused++;
}

/* One after the other, since not all of them can be stored: those that never can be are left out. */
static bool replay_singly(struct replay_work *w)
{
    for (size_t i = 0; i < w->count; i++) {
        enum outcome o = replay_publish(w, i, 1);
        if (o == OUTCOME_INVALID) {
            replay_refuse(w, w->batch[i]);
        } else if (o != OUTCOME_STORED) {
            return false;
        } else {
            replay_count_type(w, w->batch[i]);
            w->of->replayed++;
        }
    }
    return true;
}

static bool replay_store(struct replay_work *w)
{
    enum outcome o = w->dry_run ? OUTCOME_STORED : replay_publish(w, 0, w->count);
    if (o == OUTCOME_INVALID)
        return replay_singly(w);
    for (size_t i = 0; o == OUTCOME_STORED && i < w->count; i++)
        replay_count_type(w, w->batch[i]);
    w->of->replayed += o == OUTCOME_STORED ? (int64_t)w->count : 0;
    return o == OUTCOME_STORED;
}

static void replay_drop(struct replay_work *w)
{
    for (size_t i = 0; i < w->count; i++)
        record_free(w->batch[i]);
    w->count = w->bytes = 0;
}

/* Stores the batch, and then that it is. */
static bool replay_flush(struct replay_work *w)
{
    struct replay *r = w->of;
    bool ok = replay_is_ours(w) && (w->count == 0 || replay_store(w));
    if (ok) {
        for (size_t i = 0; i < r->part_count; i++)
            r->parts[i].next = r->parts[i].reading;
        r->read += w->batch_read;
        r->no_events += w->batch_no_events;
        r->gone += w->batch_gone;
        w->batch_read = w->batch_no_events = w->batch_gone = 0;
        crash_point("command-replay-after-events");
        ok = w->dry_run || replay_keep(w, REPLAY_GOES_ON);
    }
    int64_t now = clock_mono_ms();
    if (w->rate && !w->dry_run)
        w->due_ms = (w->due_ms > now ? w->due_ms : now) + (int64_t)w->count * 1000 / w->rate;
    replay_drop(w);
    replay_say(w);
    return ok;
}

/* Waits until more may be replayed; false: it was interrupted. */
static bool replay_may_go_on(struct replay_work *w)
{
    int64_t wait = w->due_ms - clock_mono_ms();
    if (wait > REPLAY_REST_MS)
        publisher_rest(w->call->publisher);
    w->interrupted = wait > 0 ? !interrupt_wait(wait) : interrupt_asked();
    return !w->interrupted;
}

/* ---- what is read ---- */

static int64_t replay_begin(void *ctx, const struct topic_partition *p, int64_t start, int64_t end)
{
    struct replay_work *w = ctx;
    bool made;
    struct replay_part *part = replay_part(w->of, p->partition, &made);
    if (made)
        *part = (struct replay_part){ p->partition, start, w->begun ? start : end, start }; /* else it is of later */
    part->reading = part->reading > end ? end : part->reading;
    return part->reading;
}

/* Retention was there first. */
static void replay_gone(void *ctx, const struct topic_partition *p, int64_t from, int64_t to)
{
    struct replay_work *w = ctx;
    bool made;
    struct replay_part *part = replay_part(w->of, p->partition, &made);
    to = to < part->end ? to : part->end;
    if (from >= to)
        return;
    part->reading = to;
    w->batch_gone += to - from;
    progress_clear(&w->progress);
    fprintf(stderr,
            "aqueduct replay: %s/%" PRId32 ": the %" PRId64 " records at offsets %" PRId64 " to %" PRId64
            " are gone: retention removed them before they were replayed\n",
            w->of->topic, p->partition, to - from, from, to - 1);
}

static size_t replay_room(const struct replay_work *w)
{
    int64_t part = w->dry_run ? 0 : w->rate / REPLAY_BATCHES;
    return w->rate == 0 || w->dry_run || part > REPLAY_BATCH ? REPLAY_BATCH : part ? (size_t)part : 1;
}

/* False: a batch is full, or for once it was read enough. */
static bool replay_take(void *ctx, const struct record *r)
{
    struct replay_work *w = ctx;
    bool made;
    struct replay_part *part = replay_part(w->of, r->partition, &made);
    if (r->offset >= part->end)
        return true; /* it came after the replay began */
    part->reading = r->offset + 1;
    w->batch_read++;
    const struct event *ev = event_from_record(r, NULL);
    w->batch_no_events += !ev;
    if (ev && r->stored_ms < w->of->until_ms && filter_match(w->filter, ev)) {
        w->batch[w->count++] = record_ref((struct record *)(uintptr_t)r);
        w->bytes += r->value.n;
    }
    event_unref(ev);
    w->full = w->count >= replay_room(w) || w->bytes >= REPLAY_BYTES || w->batch_read >= 64 * REPLAY_BATCH;
    return !w->full;
}

static bool replay_read(struct replay_work *w, struct look *look)
{
    do {
        w->full = false;
        if (!look_on(look, replay_take, w, w->e))
            return false;
        if (!w->begun && !w->dry_run && !replay_keep_first(w))
            return false;
        w->begun = true;
        for (size_t i = 0; !w->full && i < w->of->part_count; i++) /* what is left of it was stored too early */
            w->of->parts[i].reading = w->of->parts[i].end;
        w->of->finished = replay_left(w->of) == 0;
        if (!replay_flush(w))
            return false;
    } while (!w->of->finished && replay_may_go_on(w));
    return true;
}

bool replay_work(struct replay_work *w, struct err *e)
{
    const struct replay *r = w->of;
    w->e = e;
    w->types = json_object();
    progress_begin(&w->progress, r->read);
    const struct look_options o = {
        .topic = r->topic, .since_ms = r->from_ms, .by_time = true, .begin = replay_begin, .gone = replay_gone, .ctx = w
    };
    struct look *look = look_open(&w->call->config->broker, &o, e);
    interrupt_watch();
    bool ok = look && replay_read(w, look) && (w->dry_run || replay_keep(w, REPLAY_ENDS));
    replay_drop(w);
    progress_clear(&w->progress);
    if (look)
        look_close(look);
    return ok;
}
