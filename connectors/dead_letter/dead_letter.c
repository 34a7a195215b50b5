/* SPDX-License-Identifier: MIT */
/* The dead-letter sink: files what other sinks gave up, where it can be listed, shown and redriven. */
#include "connectors/dead_letter/dead_letter.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/event/trail.h"

METRIC_GAUGE(aqueduct_dead_letters, "Letters in the dead-letter file.", "sink");
METRIC_GAUGE(aqueduct_dead_letters_discarded, "Letters in the file that a person gave up (aqueduct dead discard).",
             "sink");
METRIC_COUNTER(aqueduct_dead_letters_dropped_total, "Letters that left the file by keep or max_age.", "sink");

static const struct option dead_letter_options[] = {
    OPTION(struct dead_letter, path, .fallback = "./dead-letters.db",
           .doc = "File that holds the dead letters (a SQLite database)."),
    OPTION(struct dead_letter, keep, .fallback = "100000", .min = 1, .max = 100000000,
           .doc = "Most letters kept; the oldest go first."),
    OPTION(struct dead_letter, max_age, .doc = "Letters whose last attempt is older are dropped; 0: never."),
    { 0 }
};

static int64_t dead_letter_number(const struct record *r, const char *header)
{
    int64_t n;
    return str_to_i64(record_header(r, header), &n) ? n : 0;
}

static int64_t dead_letter_moment(const struct record *r, const char *header)
{
    int64_t ms;
    struct str text = record_header(r, header);
    return text.at && clock_parse(text, &ms) ? ms : 0;
}

/* What a record of the dead-letter topic says of a letter; everything is borrowed from m. */
static void dead_letter_read(const struct message *m, struct letter *out)
{
    const struct record *r = m->record;
    struct str source = record_header(r, TRAIL_SOURCE), sink = record_header(r, TRAIL_SINK);
    *out = (struct letter){
        .of_source = !sink.at && source.at,
        .owner = sink.at     ? sink
                 : source.at ? source
                             : STR(""),
        .endpoint = record_header(r, TRAIL_ENDPOINT),
        .first_ms = dead_letter_moment(r, TRAIL_FIRST),
        .last_ms = dead_letter_moment(r, TRAIL_LAST),
        .attempts = dead_letter_number(r, TRAIL_ATTEMPTS),
        .status = dead_letter_number(r, TRAIL_STATUS),
        .class = record_header(r, TRAIL_CLASS),
        .reason = record_header(r, TRAIL_REASON),
        .topic = record_header(r, TRAIL_TOPIC),
        .partition = dead_letter_number(r, TRAIL_PARTITION),
        .offset = dead_letter_number(r, TRAIL_OFFSET),
        .identity = record_header(r, TRAIL_LETTER),
        .record = *r,
    };
    if (m->event) {
        out->id = m->event->id;
        out->source = m->event->source;
        out->type = m->event->type;
        out->time = m->event->time;
    }
}

/* Files a letter, or what became of one. */
static bool dead_letter_file(struct dead_letter *d, const struct message *m, struct err *e)
{
    struct letter l;
    struct str state = record_header(m->record, TRAIL_STATE);
    dead_letter_read(m, &l);
    if (str_eq(state, STR("redriven")))
        return letters_redriven(d->letters, &l, e);
    if (str_eq(state, STR("discarded")))
        return letters_discarded(d->letters, &l, e);
    return str_eq(state, STR("resent")) || letters_file(d->letters, &l, e); /* an event alone: of no letter */
}

static void dead_letter_count(struct dead_letter *d)
{
    metric_set(d->filed, letters_count(d->letters));
    metric_set(d->discarded, letters_count_discarded(d->letters));
}

static bool dead_letter_open(struct sink *s, struct err *e)
{
    struct dead_letter *d = (struct dead_letter *)s;
    d->letters = letters_open(d->path, true, e);
    if (!d->letters)
        return false;
    d->filed = metric_get(&aqueduct_dead_letters, LABELS(s->id));
    d->discarded = metric_get(&aqueduct_dead_letters_discarded, LABELS(s->id));
    d->dropped = metric_get(&aqueduct_dead_letters_dropped_total, LABELS(s->id));
    dead_letter_count(d);
    return true;
}

static void dead_letter_review(const struct sink *s, fault_fn *wrong, fault_fn *doubtful, void *ctx)
{
    struct err e;
    (void)doubtful;
    if (letters_check(((const struct dead_letter *)s)->path, &e))
        return;
    err_prefix(&e, "path");
    wrong(ctx, "", e.text);
}

static void dead_letter_send(struct sink *s, const struct message *m)
{
    struct dead_letter *d = (struct dead_letter *)s;
    if (d->waiting_count == d->waiting_cap) {
        d->waiting_cap = d->waiting_cap ? 2 * d->waiting_cap : 64;
        d->waiting = mem_grow(d->waiting, d->waiting_cap, sizeof *d->waiting);
    }
    d->waiting[d->waiting_count++] = *m;
}

/* Files the first n waiting messages: all of them, durably, or none. */
static bool dead_letter_file_first(struct dead_letter *d, size_t n, struct err *e)
{
    bool ok = letters_begin(d->letters, e);
    for (size_t i = 0; ok && i < n; i++)
        ok = dead_letter_file(d, &d->waiting[i], e);
    int64_t oldest = d->max_age.ms > 0 ? clock_wall_ms() - d->max_age.ms : INT64_MIN;
    int64_t dropped = ok ? letters_trim(d->letters, d->keep, oldest, e) : -1;
    if (dropped < 0 || !letters_commit(d->letters, e)) {
        letters_rollback(d->letters);
        return false;
    }
    metric_add(d->dropped, dropped);
    dead_letter_count(d);
    return true;
}

static size_t dead_letter_work(struct sink *s, int wake_fd, struct duration wait, struct result *out, size_t room)
{
    struct dead_letter *d = (struct dead_letter *)s;
    size_t n = d->waiting_count < room ? d->waiting_count : room;
    if (n == 0) {
        struct pollfd news = { .fd = wake_fd, .events = POLLIN };
        poll(&news, 1, (int)(wait.ms > INT32_MAX ? INT32_MAX : wait.ms));
        return 0;
    }
    struct err e;
    bool ok = dead_letter_file_first(d, n, &e);
    for (size_t i = 0; i < n; i++) {
        out[i] = (struct result){ .tag = d->waiting[i].tag,
                                  .verdict = ok ? VERDICT_DELIVERED : VERDICT_RETRY,
                                  .reason = ok ? REASON_NONE : REASON_UNAVAILABLE };
        if (!ok)
            why_copy(out[i].why, e.text);
    }
    d->waiting_count -= n;
    memmove(d->waiting, d->waiting + n, d->waiting_count * sizeof *d->waiting);
    return n;
}

static void dead_letter_close(struct sink *s)
{
    struct dead_letter *d = (struct dead_letter *)s;
    letters_close(d->letters);
    free(d->waiting);
}

extern const struct sink_ops dead_letter_sink;
const struct sink_ops dead_letter_sink = {
    .type = "dead_letter",
    .doc = "Files the events that other sinks gave up, where `aqueduct dead` lists, shows, redrives and discards them.",
    .size = sizeof(struct dead_letter),
    .options = dead_letter_options,
    .dead_letters = true,
    .filed = &dead_letter_filed,
    .review = dead_letter_review,
    .open = dead_letter_open,
    .send = dead_letter_send,
    .work = dead_letter_work,
    .close = dead_letter_close,
};
