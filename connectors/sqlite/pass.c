/* SPDX-License-Identifier: MIT */
/* A pass: begun once anything has changed, then every rule once, slice by slice. */
#include "bridge/lib/log.h"
#include "connectors/sqlite/open.h"
#include "connectors/sqlite/wait.h"

enum { PASS_SAY_MS = 10000 }; /* from one word of how far the first pass is to the next */

METRIC_COUNTER(aqueduct_sqlite_rule_rows_read_total, "Rows read for a capture rule.", "source", "rule");
METRIC_COUNTER(aqueduct_sqlite_rule_events_total, "Events captured by a rule.", "source", "rule");
METRIC_HISTOGRAM(aqueduct_sqlite_rule_ack_seconds,
                 "From noticing a rule's changes to the acknowledgement of their events by the broker.", "source",
                 "rule");
METRIC_GAUGE(aqueduct_sqlite_rule_open_rows, "Unfinished rows that a rule of kind open_row watches.", "source", "rule");
METRIC_GAUGE(aqueduct_sqlite_rule_last_change_timestamp_seconds,
             "When a rule last captured something, in seconds since 1970; 0: not since the start.", "source", "rule");

/* When the next open row is to be aborted, be there a change or not. */
static int64_t pass_due_ms(const struct sqlite_source *s)
{
    int64_t due_ms = INT64_MAX;
    for (size_t i = 0; i < s->rule_count; i++) {
        int64_t ms = open_due_ms(s->rules[i]);
        due_ms = ms < due_ms ? ms : due_ms;
    }
    return due_ms;
}

static void pass_start(struct sqlite_source *s, int64_t version)
{
    s->idle.quiet_ms = clock_mono_ms();
    s->pass = (struct pass){
        .running = true,
        .number = s->pass.number + 1,
        .version = version,
        .began_us = clock_mono_us(),
        .said_ms = clock_mono_ms(),
    };
}

/* Nothing has changed for a while, by data_version, and by the files as they are looked at before it. */
static bool pass_is_idle(struct sqlite_source *s, const struct file_mark *mark)
{
    if (!wait_is_marked(s, mark)) {
        s->idle.mark = *mark;
        s->idle.second = false;
        s->idle.quiet_ms = clock_mono_ms();
    }
    return clock_mono_ms() - s->idle.quiet_ms >= WAIT_QUIET_MS;
}

/* Closes the database until its files look different. */
static void pass_let_go(struct sqlite_source *s, int64_t due_ms)
{
    wait_before_second_look(s);
    database_close(s);
    s->idle.let_go = true;
    s->idle.due_ms = due_ms;
}

int pass_begin(struct sqlite_source *s, int wake_fd, struct err *e)
{
    int64_t due_ms = pass_due_ms(s);
    enum wake wake = wait_for_reason(s, wake_fd, due_ms);
    if (wake == WAKE_CORE || wake == WAKE_NOTHING)
        return 0;
    if (database_replaced(s)) {
        database_note_replaced(s);
        database_close(s);
        return 0;
    }
    int64_t version = s->seen_version;
    struct err why = { 0 };
    struct file_mark mark;
    wait_mark(s, &mark);
    switch (database_version(s, &version, &why)) {
    case DB_BUSY: wait_locked(s); return 0;
    case DB_GONE: return database_fail(s, &why, e);
    case DB_OK: break;
    }
    s->wait.lock_ms = 0;
    metric_set(s->last_look, clock_wall_ms() / 1000);
    bool idle = pass_is_idle(s, &mark);
    wait_poll_next(s, wake == WAKE_NOTICE);
    if (version != s->seen_version || clock_wall_ms() >= due_ms)
        pass_start(s, version);
    else if (idle)
        pass_let_go(s, due_ms);
    return 0;
}

static void pass_end(struct sqlite_source *s)
{
    s->pass.running = false;
    if (s->seen_version < 0 && !s->idle.resumed) /* with start: now, what comes from here on is reported */
        LOG(INFO, "watching", LOG_C("source", s->base.id), LOG_C("path", s->path));
    s->seen_version = s->pass.version;
    wait_rest(s, s->pass.busy_us);
    wait_poll_next(s, true);
    s->failure.text[0] = '\0';
}

enum step pass_step(struct sqlite_source *s, struct rule *r, struct err *e)
{
    if (!r->usable)
        return STEP_DONE;
    switch (r->o->kind) {
    case KIND_APPEND:
    case KIND_OPEN_ROW: return append_step(s, r, e);
    case KIND_UPDATED: return updated_step(s, r, e);
    case KIND_DIFF: return diff_step(s, r, e);
    case KIND_OUTBOX: return outbox_step(s, r, e);
    }
    return STEP_DONE;
}

static void pass_make_counts(const struct sqlite_source *s, struct rule *r)
{
    const char *const *labels = LABELS(s->base.id, r->name);
    r->counts.rows_read = metric_get(&aqueduct_sqlite_rule_rows_read_total, labels);
    r->counts.events = metric_get(&aqueduct_sqlite_rule_events_total, labels);
    r->counts.ack = metric_get(&aqueduct_sqlite_rule_ack_seconds, labels);
    r->counts.last_change = metric_get(&aqueduct_sqlite_rule_last_change_timestamp_seconds, labels);
    if (r->o->kind == KIND_OPEN_ROW)
        r->counts.open = metric_get(&aqueduct_sqlite_rule_open_rows, labels);
}

/* One step of a rule, and what of the source's counters is its own. */
static enum step pass_count_step(struct sqlite_source *s, struct rule *r, struct err *e)
{
    int64_t rows = metric_value(s->rows_read), events = metric_value(s->events);
    if (!r->counts.events)
        pass_make_counts(s, r);
    enum step step = pass_step(s, r, e);
    metric_add(r->counts.rows_read, metric_value(s->rows_read) - rows);
    metric_add(r->counts.events, metric_value(s->events) - events);
    if (metric_value(s->events) != events) {
        metric_set(r->counts.last_change, clock_wall_ms() / 1000);
        r->counts.awaited = true;
    }
    if (r->counts.open)
        metric_set(r->counts.open, (int64_t)r->rows.count);
    return step;
}

/* The first look at large tables takes its time. */
static void pass_say_progress(struct sqlite_source *s)
{
    const struct rule *r = s->pass.rule < s->rule_count ? s->rules[s->pass.rule] : NULL;
    if (s->seen_version >= 0 || !r || !r->counts.events || clock_mono_ms() - s->pass.said_ms < PASS_SAY_MS)
        return;
    s->pass.said_ms = clock_mono_ms();
    LOG(INFO, "reading what is there", LOG_C("source", s->base.id), LOG_C("rule", r->name),
        LOG_INT("rows", metric_value(r->counts.rows_read)), LOG_INT("events", metric_value(r->counts.events)));
}

/* Rules one after the other until all are done or it is enough for this time. */
static enum step pass_run_rules(struct sqlite_source *s, struct err *e)
{
    while (s->pass.rule < s->rule_count) {
        struct rule *r = s->rules[s->pass.rule];
        if (r->no_table && !r->ready)
            state_store_ready(s, r); /* what its table will hold, once there is one, is all new */
        enum step step = pass_count_step(s, r, e);
        if (step == STEP_FULL || step == STEP_BUSY || step == STEP_GONE)
            return step;
        r->failed = step == STEP_FAILED;
        r->stage = STAGE_BEGIN;
        if (++s->pass.rule < s->rule_count && slice_is_over(s))
            return STEP_FULL;
    }
    return STEP_DONE;
}

/* One read transaction. */
static enum step pass_read(struct sqlite_source *s, struct err *e)
{
    enum step step = STEP_GONE;
    switch (database_begin(s, e)) {
    case DB_OK:
        step = pass_run_rules(s, e);
        database_end(s);
        break;
    case DB_BUSY: step = STEP_BUSY; break;
    case DB_GONE: break;
    }
    s->pass.busy_us += clock_mono_us() - s->read_began_us;
    return step;
}

int pass_slice(struct sqlite_source *s, struct emission *out, size_t room, struct err *e)
{
    uint64_t versions = s->versions;
    struct err why = { 0 };
    slice_begin(s, room);
    enum step step = pass_read(s, &why);
    if (s->versions != versions)
        state_store_versions(s);
    if (step == STEP_BUSY)
        wait_locked(s);
    else
        s->wait.lock_ms = 0;
    if (step != STEP_BUSY && step != STEP_GONE) {
        s->sight = SIGHT_GOOD;
        metric_set(s->last_look, clock_wall_ms() / 1000); /* a pass over much takes its time */
    }
    if (step == STEP_DONE)
        pass_end(s);
    else
        pass_say_progress(s);
    if (step == STEP_GONE)
        s->next_failure = why; /* after what was found so far has been handed out */
    int n = found_take(s, out, room);
    return n || step != STEP_GONE ? n : database_fail(s, &s->next_failure, e);
}
