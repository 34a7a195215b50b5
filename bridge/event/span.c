/* SPDX-License-Identifier: MIT */
/* Spans: their ids, their JSON, and the buffer in which they wait. */
#include "bridge/event/span.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/metrics.h"

METRIC_COUNTER(aqueduct_spans_total, "Spans of traces that were made.", NULL);
METRIC_COUNTER(aqueduct_spans_dropped_total, "Spans that were dropped, since the collector did not take so many.",
               NULL);

enum { SPANS_BYTES = 8 << 20, SPAN_BYTES = 16 << 10, TEXT_BYTES = 1024, TRACE_HEX = 2 * SPAN_TRACE_BYTES };

atomic_bool span_collected;

static struct {
    pthread_mutex_t lock; /* guards what follows */
    struct buf waiting;
    size_t count;
    double sample; /* set before span_collected */
    struct metric *made, *dropped;
} spans = { .lock = PTHREAD_MUTEX_INITIALIZER };

void span_collect(double sample)
{
    spans.sample = sample;
    spans.waiting = buf_new(SPANS_BYTES);
    spans.made = metric_get(&aqueduct_spans_total, NULL);
    spans.dropped = metric_get(&aqueduct_spans_dropped_total, NULL);
    atomic_store(&span_collected, true);
}

void span_collect_end(void)
{
    atomic_store(&span_collected, false);
    pthread_mutex_lock(&spans.lock);
    buf_free(&spans.waiting);
    spans.count = 0;
    pthread_mutex_unlock(&spans.lock);
}

/* ---- ids ---- */

static uint64_t span_number(const unsigned char *at)
{
    uint64_t n = 0;
    for (int i = 0; i < 8; i++)
        n = n << 8 | at[i];
    return n;
}

/* A digest of the parts, each with its length before it. */
static void span_digest(const struct str *parts, size_t count, unsigned char out[SHA256_BYTES])
{
    struct buf all = buf_new(SIZE_MAX / 2);
    for (size_t i = 0; i < count; i++) {
        buf_printf(&all, "%zu:", parts[i].n);
        buf_add_str(&all, parts[i]);
    }
    sha256_of(buf_str(&all), out);
    buf_free(&all);
}

static uint64_t span_of(const struct span_root *root, struct str step)
{
    unsigned char digest[SHA256_BYTES];
    const struct str parts[] = { { (const char *)root->trace, SPAN_TRACE_BYTES }, root->source, root->id, step };
    span_digest(parts, sizeof parts / sizeof *parts, digest);
    uint64_t id = span_number(digest);
    return id ? id : 1;
}

/* Of a valid traceparent "00-<trace>-<parent>-<flags>". */
static bool span_take_parent(struct str text, struct span_root *out)
{
    struct buf raw = buf_new(64);
    hex_decode(&raw, (struct str){ text.at + 3, TRACE_HEX });
    hex_decode(&raw, (struct str){ text.at + 4 + TRACE_HEX, 16 });
    hex_decode(&raw, (struct str){ text.at + TRACE_PARENT_BYTES - 2, 2 });
    memcpy(out->trace, raw.at, SPAN_TRACE_BYTES);
    out->parent = span_number((const unsigned char *)raw.at + SPAN_TRACE_BYTES);
    bool sampled = raw.at[SPAN_TRACE_BYTES + 8] & 1;
    buf_free(&raw);
    return sampled;
}

bool span_root_of(const struct event *ev, struct span_root *out)
{
    unsigned char digest[SHA256_BYTES];
    struct trace t;
    bool sampled;
    *out = (struct span_root){ .type = ev->type, .id = ev->id, .source = ev->source };
    trace_read(&t, ev->extensions, ev->extension_count);
    if (t.parent.at) {
        sampled = span_take_parent(t.parent, out);
    } else {
        const struct str parts[] = { ev->source, ev->id };
        span_digest(parts, 2, digest);
        memcpy(out->trace, digest, SPAN_TRACE_BYTES);
        sampled = spans.sample >= 1 || (double)span_number(out->trace + 8) < spans.sample * 0x1p64;
    }
    if (!sampled)
        return false;
    out->received = span_of(out, STR("receive"));
    out->published = span_of(out, STR("publish"));
    return true;
}

uint64_t span_new(void)
{
    uint64_t id = 0;
    while (!id)
        crypto_random(&id, sizeof id);
    return id;
}

void span_parent_text(const struct span_root *root, uint64_t id, char out[SPAN_PARENT_TEXT])
{
    size_t n = 3;
    memcpy(out, "00-", 4);
    for (int i = 0; i < SPAN_TRACE_BYTES; i++, n += 2)
        snprintf(out + n, SPAN_PARENT_TEXT - n, "%02x", root->trace[i]);
    snprintf(out + n, SPAN_PARENT_TEXT - n, "-%016" PRIx64 "-01", id);
}

/* ---- JSON ---- */

/* OTLP/JSON: ids in hex, 64-bit numbers as texts, enums as numbers. */
static void span_add_attribute(struct buf *out, const char *name, struct str text, int64_t number)
{
    buf_printf(out, "%s{\"key\":\"%s\",\"value\":{", out->at[out->n - 1] == '[' ? "" : ",", name);
    if (text.at) {
        buf_add_c(out, "\"stringValue\":");
        jscan_add_string(out, (struct str){ text.at, text.n < TEXT_BYTES ? text.n : TEXT_BYTES });
    } else {
        buf_printf(out, "\"intValue\":\"%" PRId64 "\"", number);
    }
    buf_add_c(out, "}}");
}

static void span_write(const struct span_root *root, const struct span *s, struct buf *out)
{
    buf_add_c(out, "{\"traceId\":\"");
    hex_add(out, (struct str){ (const char *)root->trace, SPAN_TRACE_BYTES });
    buf_printf(out, "\",\"spanId\":\"%016" PRIx64 "\"", s->id);
    if (s->parent)
        buf_printf(out, ",\"parentSpanId\":\"%016" PRIx64 "\"", s->parent);
    int64_t ended = s->ended_us > s->began_us ? s->ended_us : s->began_us;
    buf_printf(out,
               ",\"name\":\"%s\",\"kind\":%d,\"startTimeUnixNano\":\"%" PRId64 "000\",\"endTimeUnixNano\":\"%" PRId64
               "000\",\"attributes\":[",
               s->name, (int)s->kind, s->began_us, ended);
    span_add_attribute(out, "cloudevents.event_id", root->id, 0);
    span_add_attribute(out, "cloudevents.event_source", root->source, 0);
    span_add_attribute(out, "cloudevents.event_type", root->type, 0);
    for (const struct span_attribute *a = s->attributes; a < s->attributes + SPAN_ATTRIBUTES && a->name; a++)
        span_add_attribute(out, a->name, a->text, a->number);
    buf_add_c(out, "]");
    if (s->failed) {
        buf_add_c(out, ",\"status\":{\"code\":2,\"message\":");
        jscan_add_string(out, str_of(s->failed));
        buf_add_char(out, '}');
    }
    buf_add_char(out, '}');
}

/* ---- the buffer ---- */

void span_add(const struct span_root *root, const struct span *s)
{
    struct buf json = buf_new(SPAN_BYTES);
    span_write(root, s, &json);
    pthread_mutex_lock(&spans.lock);
    bool fits = span_on() && !json.failed && spans.waiting.n + json.n + 1 <= spans.waiting.max;
    if (fits) {
        if (spans.count++)
            buf_add_char(&spans.waiting, ',');
        buf_add_str(&spans.waiting, buf_str(&json));
    }
    pthread_mutex_unlock(&spans.lock);
    metric_add(spans.made, 1);
    metric_add(spans.dropped, !fits);
    buf_free(&json);
}

size_t span_take(struct buf *out)
{
    pthread_mutex_lock(&spans.lock);
    size_t count = spans.count;
    *out = spans.waiting;
    spans.waiting = buf_new(SPANS_BYTES);
    spans.count = 0;
    pthread_mutex_unlock(&spans.lock);
    return count;
}
