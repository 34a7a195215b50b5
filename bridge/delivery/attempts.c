/* SPDX-License-Identifier: MIT */
/* Makes events of attempts, and publishes them behind the deliveries' back. */
#include "bridge/delivery/attempts.h"
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/event/trail.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

METRIC_COUNTER(aqueduct_attempts_omitted_total,
               "Attempts left out of the delivery log: it was busier than the broker, or not stored.", "sink");

enum {
    DATA_MOST = 256 * 1024,             /* bytes of one event's data */
    WAITING_MOST = 1024,                /* events that wait to be published */
    WAITING_BYTES = 1024 * 1024,        /* and their size */
    BATCH = 256,                        /* so many are published at once */
    HOLD_MS = 100,                      /* what is less waits so long for more */
    UNFINISHED_BYTES = 4 * 1024 * 1024, /* published and not stored: about what a commit of 150 ms takes at 25,000/s */
    TAG_COUNT_BITS = 16,                /* of a publication's tag; its bytes stand above them */
    SAMPLE = 100,                       /* one success of so many, with attempts: sample */
    RETENTION_MS = 3 * 24 * 60 * 60 * 1000,
    HEADERS = 16, /* of an event without extensions */
};

struct attempts {
    struct broker *broker;
    char *topic;
    enum sink_attempts which;
    struct metric *omitted;
    const struct event *waiting[WAITING_MOST];
    size_t count, bytes;
    int64_t due_ms; /* clock_mono_ms */
    uint64_t successes;
    atomic_size_t unfinished; /* bytes published and not done */
    atomic_uint users;        /* the sink, and publications that are not done */
};

/* ---- an attempt as an event ---- */

static const char *attempts_verdict(enum verdict v)
{
    switch (v) {
    case VERDICT_DELIVERED: return "delivered";
    case VERDICT_RETRY: return "retry";
    case VERDICT_REJECT: return "reject";
    case VERDICT_UNTRIED: break;
    }
    return "untried";
}

static const char *attempts_end(enum attempt_end end)
{
    switch (end) {
    case ATTEMPT_DELIVERED: return "delivered";
    case ATTEMPT_RETRY: return "retry";
    case ATTEMPT_SPARED: return "spared";
    case ATTEMPT_DEAD: return "dead";
    case ATTEMPT_RELEASED: break;
    }
    return "released";
}

/* Where the record stood first, as far as it tells; else where it stands. */
static void attempts_add_place(struct buf *out, const struct record *r)
{
    struct str topic = record_header(r, TRAIL_TOPIC);
    int64_t partition = r->partition, offset = r->offset;
    bool moved = topic.at && str_to_i64(record_header(r, TRAIL_PARTITION), &partition)
                 && str_to_i64(record_header(r, TRAIL_OFFSET), &offset);
    buf_add_c(out, ",\"record\":{");
    json_add_text(out, "topic", moved ? topic : r->topic);
    buf_printf(out, ",\"partition\":%" PRId64 ",\"offset\":%" PRId64 "}", moved ? partition : r->partition,
               moved ? offset : r->offset);
}

/* The beginning of the answer; a character that the limit cuts is left out. */
static struct str attempts_response(struct str answer)
{
    if (answer.n <= ATTEMPT_RESPONSE)
        return answer;
    size_t n = ATTEMPT_RESPONSE;
    while (n > ATTEMPT_RESPONSE - 4 && ((unsigned char)answer.at[n] & 0xc0) == 0x80)
        n--;
    return (struct str){ answer.at, n };
}

static void attempts_add_result(struct buf *out, const struct attempt *a)
{
    const struct result *r = a->result;
    bool failed = r->verdict != VERDICT_DELIVERED;
    buf_printf(out, ",\"attempt\":%u", a->number);
    json_add_text(out, "verdict", str_of(attempts_verdict(r->verdict)));
    json_add_text(out, "class", failed ? str_of(a->class) : STR_ABSENT);
    json_add_text(out, "reason", failed && r->why[0] ? str_of(r->why) : STR_ABSENT);
    if (r->status)
        buf_printf(out, ",\"status\":%d", r->status);
    else
        buf_add_c(out, ",\"status\":null");
    if (r->batch)
        buf_printf(out, ",\"batch\":%u", r->batch);
    buf_printf(out, ",\"duration_ms\":%" PRId64, r->took.ms);
    json_add_text(out, "end", str_of(attempts_end(a->end)));
    json_add_moment(out, "next", a->end == ATTEMPT_RETRY ? a->next_ms : 0);
    json_add_text(out, "response", r->answer.n ? attempts_response(r->answer) : STR_ABSENT);
}

static void attempts_add_data(struct buf *out, const struct attempt *a)
{
    buf_add_char(out, '{');
    json_add_moment(out, "time", a->ended_ms);
    json_add_text(out, "sink", str_of(a->sink));
    json_add_text(out, "endpoint", str_of(a->endpoint));
    buf_add_c(out, ",\"event\":{");
    json_add_text(out, "id", a->event->id);
    json_add_text(out, "source", a->event->source);
    json_add_text(out, "type", a->event->type);
    json_add_text(out, "subject", a->event->subject);
    buf_add_char(out, '}');
    attempts_add_place(out, a->record);
    attempts_add_result(out, a);
    buf_add_char(out, '}');
}

static void attempts_id(const struct attempt *a, char out[UUID_TEXT])
{
    char place[96];
    int n = snprintf(place, sizeof place, "%" PRId32 "/%" PRId64 "/%u", a->record->partition, a->record->offset,
                     a->number);
    if (a->end == ATTEMPT_SPARED)
        snprintf(place + n, sizeof place - (size_t)n, "/%" PRId64, a->ended_ms);
    const struct str fields[] = { STR("attempt"), str_of(a->sink),  str_of(a->endpoint), a->record->topic,
                                  str_of(place),  a->event->source, a->event->id };
    uuid_of(fields, sizeof fields / sizeof *fields, out);
}

const struct event *attempt_event(const struct attempt *a)
{
    char id[UUID_TEXT], time[CLOCK_TEXT];
    struct err e;
    struct buf data = buf_new(DATA_MOST);
    attempts_add_data(&data, a);
    attempts_id(a, id);
    clock_text(a->ended_ms, time);
    char *source = str_join("/aqueduct/", a->sink, "");
    const struct event *ev = NULL;
    if (!data.failed)
        ev = event_new(&(struct event){ .id = str_of(id),
                                        .source = str_of(source),
                                        .type = a->result->verdict == VERDICT_DELIVERED ? STR(ATTEMPT_TYPE "delivered")
                                                                                        : STR(ATTEMPT_TYPE "failed"),
                                        .subject = a->event->id,
                                        .time = str_of(time),
                                        .datacontenttype = STR("application/json"),
                                        .data = buf_str(&data) },
                       &e);
    free(source);
    buf_free(&data);
    return ev;
}

/* ---- the topic ---- */

bool attempts_topic(const struct config *config, struct broker *b, struct err *e)
{
    bool wanted = false;
    for (size_t i = 0; i < config->sink_count; i++)
        wanted = wanted || sink_logs_attempts(&config->sinks[i]);
    if (!wanted)
        return true;
    char *name = topic_name(config->broker.prefix, TOPIC_ATTEMPTS, NULL);
    bool made = broker_topic(b, &(struct topic_config){ .name = name, .partitions = 1, .retention = { RETENTION_MS } },
                             e);
    free(name);
    return made;
}

/* ---- a sink's attempts ---- */

struct attempts *attempts_new(const struct sink_config *sink, const char *prefix, struct broker *b)
{
    if (!sink_logs_attempts(sink))
        return NULL;
    struct attempts *a = mem_alloc(sizeof *a);
    *a = (struct attempts){ .broker = b,
                            .topic = topic_name(prefix, TOPIC_ATTEMPTS, NULL),
                            .which = sink->attempts,
                            .omitted = metric_get(&aqueduct_attempts_omitted_total, LABELS(sink->sink->id)),
                            .users = 1 };
    return a;
}

static void attempts_unref(struct attempts *a)
{
    if (atomic_fetch_sub(&a->users, 1) > 1)
        return;
    free(a->topic);
    free(a);
}

static bool attempts_asked_for(struct attempts *a, const struct attempt *attempt)
{
    if (str_starts(attempt->event->type, STR(ATTEMPT_TYPE)))
        return false;
    if (attempt->result->verdict != VERDICT_DELIVERED || a->which == ATTEMPTS_ALL)
        return true;
    return a->which == ATTEMPTS_SAMPLE && a->successes++ % SAMPLE == 0;
}

void attempts_add(struct attempts *a, const struct attempt *attempt)
{
    if (!a || !attempts_asked_for(a, attempt))
        return;
    const struct event *ev = a->count < WAITING_MOST && a->bytes < WAITING_BYTES ? attempt_event(attempt) : NULL;
    if (!ev) {
        metric_add(a->omitted, 1);
        return;
    }
    if (a->count == 0)
        a->due_ms = clock_mono_ms() + HOLD_MS;
    a->waiting[a->count++] = ev;
    a->bytes += event_bytes(ev);
}

static void attempts_done(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    struct attempts *a = ctx;
    (void)why;
    if (o != OUTCOME_STORED)
        metric_add(a->omitted, (int64_t)(tag & ((1u << TAG_COUNT_BITS) - 1)));
    atomic_fetch_sub(&a->unfinished, (size_t)(tag >> TAG_COUNT_BITS));
    attempts_unref(a);
}

void attempts_publish(struct attempts *a, bool all)
{
    if (!a || a->count == 0 || (!all && a->count < BATCH && clock_mono_ms() < a->due_ms))
        return;
    if (!all && atomic_load(&a->unfinished) + a->bytes > UNFINISHED_BYTES) {
        a->due_ms = clock_mono_ms() + HOLD_MS;
        return;
    }
    struct record *records = mem_alloc(a->count * sizeof *records);
    struct header *headers = mem_alloc(a->count * HEADERS * sizeof *headers);
    for (size_t i = 0; i < a->count; i++) {
        const struct event *ev = a->waiting[i];
        records[i] = (struct record){ .topic = str_of(a->topic),
                                      .partition = -1,
                                      .key = ev->subject,
                                      .value = ev->data,
                                      .headers = &headers[i * HEADERS],
                                      .header_count = event_to_headers(ev, &headers[i * HEADERS]) };
    }
    atomic_fetch_add(&a->users, 1);
    atomic_fetch_add(&a->unfinished, a->bytes);
    broker_publish(a->broker, &(struct publication){ .records = records,
                                                     .record_count = a->count,
                                                     .done = attempts_done,
                                                     .ctx = a,
                                                     .tag = (uint64_t)a->bytes << TAG_COUNT_BITS | a->count });
    for (size_t i = 0; i < a->count; i++)
        event_unref(a->waiting[i]);
    a->count = a->bytes = 0;
    free(headers);
    free(records);
}

int64_t attempts_due(const struct attempts *a)
{
    return a && a->count ? a->due_ms : INT64_MAX;
}

void attempts_free(struct attempts *a)
{
    if (!a)
        return;
    metric_add(a->omitted, (int64_t)a->count);
    for (size_t i = 0; i < a->count; i++)
        event_unref(a->waiting[i]);
    a->count = 0;
    attempts_unref(a);
}
