/* SPDX-License-Identifier: MIT */
/* Rings of numbers, filled out of the account and the histograms. */
#include "bridge/admin/history.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/admin/figures.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/metrics.h"

enum { FRESH_MS = 5000 }; /* a rate is over at least so long */

enum history_name {
    STORED_RATE,
    DELIVERED_RATE,
    RETRIED_RATE,
    DEAD_RATE,
    TOPIC_RATE,
    PENDING,
    WAITING,
    DEAD,
    LAG,
    OLDEST_S,
    LATENCY_P50_MS,
    LATENCY_P99_MS
};
static const struct {
    const char *name, *label;
} history_names[] = {
    [STORED_RATE] = { "stored_rate", "source" },
    [DELIVERED_RATE] = { "delivered_rate", "sink" },
    [RETRIED_RATE] = { "retried_rate", "sink" },
    [DEAD_RATE] = { "dead_rate", "sink" },
    [TOPIC_RATE] = { "topic_rate", "topic" },
    [PENDING] = { "pending", "sink" },
    [WAITING] = { "waiting", "sink" },
    [DEAD] = { "dead", "sink" },
    [LAG] = { "lag", "sink" },
    [OLDEST_S] = { "oldest_s", "sink" },
    [LATENCY_P50_MS] = { "latency_p50_ms", "sink" },
    [LATENCY_P99_MS] = { "latency_p99_ms", "sink" },
};

struct history_mark { /* where a counter stood */
    int64_t count, at_ms;
};

struct history_series {
    struct history_series *next;
    enum history_name name;
    char *of;
    struct history_mark last, before; /* rates: at the last step and at the one before; count -1: not known */
    float points[HISTORY_POINTS];     /* by the step's number; NAN: none */
};

struct history_spread { /* a sink's histogram as it was at the last step */
    struct history_spread *next;
    const struct metric_family *family;
    char *sink;
    int64_t counts[METRIC_BUCKETS];
};

struct history {
    struct history_series *series, **end;
    size_t count, left_out; /* of series; of those that found no room, at the last step */
    struct history_spread *spreads;
    size_t spread_count;
    int64_t steps;    /* that there were */
    int64_t taken_ms; /* the last, clock_mono_ms */
    int64_t wall_ms;
};

struct history *history_new(void)
{
    struct history *h = mem_alloc(sizeof *h);
    h->end = &h->series;
    return h;
}

void history_free(struct history *h)
{
    if (!h)
        return;
    for (struct history_series *s = h->series, *next; s; s = next) {
        next = s->next;
        free(s->of);
        free(s);
    }
    for (struct history_spread *s = h->spreads, *next; s; s = next) {
        next = s->next;
        free(s->sink);
        free(s);
    }
    free(h);
}

/* ---- series ---- */

static struct history_series *history_find(const struct history *h, enum history_name name, const char *of)
{
    struct history_series *s = h->series;
    while (s && (s->name != name || strcmp(s->of, of) != 0))
        s = s->next;
    return s;
}

/* NULL: there is no room for another one. */
static struct history_series *history_get(struct history *h, enum history_name name, const char *of)
{
    struct history_series *s = history_find(h, name, of);
    if (s)
        return s;
    if (h->count == HISTORY_SERIES) {
        h->left_out++;
        return NULL;
    }
    s = mem_alloc(sizeof *s);
    s->name = name;
    s->of = str_dup(str_of(of));
    s->last.count = s->before.count = -1;
    for (size_t i = 0; i < HISTORY_POINTS; i++)
        s->points[i] = NAN;
    *h->end = s;
    h->end = &s->next;
    h->count++;
    return s;
}

static float *history_point(const struct history *h, struct history_series *s)
{
    return &s->points[h->steps % HISTORY_POINTS];
}

static void history_set(struct history *h, enum history_name name, const char *of, double value)
{
    struct history_series *s = value < 0 ? NULL : history_get(h, name, of);
    if (s)
        *history_point(h, s) = (float)value;
}

static double history_between(struct history_mark from, int64_t count, int64_t now_ms)
{
    if (from.count < 0 || count < from.count || now_ms <= from.at_ms)
        return -1;
    return (double)(count - from.count) * 1000 / (double)(now_ms - from.at_ms);
}

static void history_count(struct history *h, enum history_name name, const char *of, int64_t count)
{
    struct history_series *s = count < 0 ? NULL : history_get(h, name, of);
    if (!s)
        return;
    double rate = history_between(s->last, count, h->taken_ms);
    if (rate >= 0)
        *history_point(h, s) = (float)rate;
    s->before = s->last;
    s->last = (struct history_mark){ count, h->taken_ms };
}

/* ---- the account ---- */

/* The end of a topic's partition, from whichever sink reads it; what several say is taken once. */
int64_t history_topic_end(const json_t *account, const char *topic)
{
    size_t i, k;
    const json_t *sink, *p;
    int64_t best = -1;
    json_array_foreach(json_object_get(account, "sinks"), i, sink)
    {
        int64_t sum = -1;
        json_array_foreach(json_object_get(sink, "topics"), k, p)
        {
            const json_t *end = json_object_get(p, "end");
            if (strcmp(json_text(p, "topic"), topic) == 0 && json_is_integer(end))
                sum = (sum < 0 ? 0 : sum) + json_integer_value(end);
        }
        best = sum > best ? sum : best;
    }
    return best;
}

static void history_topics(struct history *h, const json_t *account)
{
    json_t *seen = json_object(), *names = json_object_get(account, "sinks");
    size_t i, k;
    const json_t *sink, *p;
    json_array_foreach(names, i, sink)
    {
        json_array_foreach(json_object_get(sink, "topics"), k, p)
        {
            const char *topic = json_text(p, "topic");
            if (json_object_get(seen, topic))
                continue;
            json_object_set_new(seen, topic, json_true());
            history_count(h, TOPIC_RATE, topic, history_topic_end(account, topic));
        }
    }
    json_decref(seen);
}

static void history_sink(struct history *h, const json_t *sink)
{
    const char *of = json_text(sink, "sink");
    struct figures f = figures_of(sink);
    int64_t age_ms = f.oldest_ms < 0 ? 0 : h->wall_ms - f.oldest_ms;
    history_count(h, DELIVERED_RATE, of, f.delivered);
    history_count(h, RETRIED_RATE, of, f.retries);
    history_count(h, DEAD_RATE, of, f.dead);
    history_set(h, PENDING, of, (double)f.pending);
    history_set(h, WAITING, of, (double)f.waiting);
    history_set(h, DEAD, of, (double)f.dead);
    history_set(h, LAG, of, (double)f.lag);
    if (f.pending >= 0)
        history_set(h, OLDEST_S, of, age_ms > 0 ? (double)age_ms / 1000 : 0);
}

static void history_account(struct history *h, const json_t *account)
{
    size_t i;
    const json_t *one;
    json_array_foreach(json_object_get(account, "sources"), i, one)
    {
        const json_t *stored = json_object_get(one, "stored");
        history_count(h, STORED_RATE, json_text(one, "source"),
                      json_is_integer(stored) ? json_integer_value(stored) : -1);
    }
    json_array_foreach(json_object_get(account, "sinks"), i, one)
    {
        history_sink(h, one);
    }
    history_topics(h, account);
}

/* ---- latencies ---- */

/* Where the part q of so many observations ends, in milliseconds: as if those of a bucket were spread evenly over it. */
static double history_quantile(const int64_t counts[METRIC_BUCKETS], int64_t total, double q)
{
    double rank = q * (double)total, below = 0;
    for (size_t i = 0; i < METRIC_BUCKETS; i++) {
        double from = i ? (double)metric_bound_us(i - 1) : 0;
        if (counts[i] > 0 && below + (double)counts[i] >= rank) {
            double to = i < METRIC_BUCKETS - 1 ? (double)metric_bound_us(i) : from;
            return (from + (to - from) * (rank - below) / (double)counts[i]) / 1000;
        }
        below += (double)counts[i];
    }
    return -1;
}

static struct history_spread *history_spread(struct history *h, const struct metric_family *f, const char *sink)
{
    struct history_spread *s = h->spreads;
    while (s && (s->family != f || strcmp(s->sink, sink) != 0))
        s = s->next;
    if (s || h->spread_count == HISTORY_SERIES)
        return s;
    s = mem_alloc(sizeof *s);
    *s = (struct history_spread){ .next = h->spreads, .family = f, .sink = str_dup(str_of(sink)) };
    h->spreads = s;
    h->spread_count++;
    return s;
}

struct history_sight {
    struct history *h;
    const struct metric_family *family;
};

static void history_latency(void *ctx, const char *const *values, const int64_t now[METRIC_BUCKETS])
{
    const struct history_sight *sight = ctx;
    struct history_spread *s = history_spread(sight->h, sight->family, values[0]);
    int64_t since[METRIC_BUCKETS], total = 0;
    if (!s)
        return;
    for (size_t i = 0; i < METRIC_BUCKETS; i++) {
        since[i] = now[i] - s->counts[i];
        total += since[i];
        s->counts[i] = now[i];
    }
    if (total == 0)
        return;
    history_set(sight->h, LATENCY_P50_MS, s->sink, history_quantile(since, total, 0.5));
    history_set(sight->h, LATENCY_P99_MS, s->sink, history_quantile(since, total, 0.99));
}

/* Of the histograms that are a sink's and nothing else's. */
static void history_latencies(struct history *h)
{
    for (const struct metric_family *f = metric_families(); f; f = f->next)
        if (f->kind == METRIC_IS_HISTOGRAM && f->labels[0] && strcmp(f->labels[0], "sink") == 0 && !f->labels[1])
            metric_each_histogram(f, history_latency, &(struct history_sight){ h, f });
}

/* ---- steps ---- */

bool history_due(const struct history *h, int64_t now_ms)
{
    return h->steps == 0 || now_ms - h->taken_ms >= HISTORY_STEP_MS;
}

void history_take(struct history *h, const json_t *account, int64_t now_ms, int64_t wall_ms)
{
    int64_t passed = h->steps ? (now_ms - h->taken_ms) / HISTORY_STEP_MS : 1;
    if (passed < 1)
        passed = 1;
    for (int64_t i = 0; i < passed && i < HISTORY_POINTS; i++) {
        h->steps++;
        for (struct history_series *s = h->series; s; s = s->next)
            *history_point(h, s) = NAN;
    }
    h->taken_ms = now_ms;
    h->wall_ms = wall_ms;
    h->left_out = 0;
    history_account(h, account);
    history_latencies(h);
}

double history_rate(const struct history *h, enum history_rate which, const char *of, int64_t count, int64_t now_ms)
{
    static const enum history_name names[] = {
        [HISTORY_STORED] = STORED_RATE, [HISTORY_DELIVERED] = DELIVERED_RATE, [HISTORY_TOPIC] = TOPIC_RATE
    };
    const struct history_series *s = count < 0 ? NULL : history_find(h, names[which], of);
    if (!s)
        return -1;
    return history_between(now_ms - s->last.at_ms < FRESH_MS && s->before.count >= 0 ? s->before : s->last, count,
                           now_ms);
}

/* ---- writing ---- */

static void history_write_series(const struct history *h, const struct history_series *s, struct buf *out)
{
    buf_printf(out, "{\"name\":\"%s\",\"labels\":{\"%s\":", history_names[s->name].name, history_names[s->name].label);
    jscan_add_string(out, str_of(s->of));
    buf_add_c(out, "},\"points\":[");
    for (int64_t i = 1; i <= HISTORY_POINTS; i++) {
        float value = s->points[(h->steps + i) % HISTORY_POINTS];
        buf_add_c(out, i > 1 ? "," : "");
        if (isnan(value))
            buf_add_c(out, "null");
        else
            buf_printf(out, "%.7g", (double)value);
    }
    buf_add_c(out, "]}");
}

void history_write(const struct history *h, struct buf *out)
{
    char from[CLOCK_TEXT], until[CLOCK_TEXT];
    int64_t now = h->steps ? h->wall_ms : clock_wall_ms();
    clock_text(now - (int64_t)(HISTORY_POINTS - 1) * HISTORY_STEP_MS, from);
    clock_text(now, until);
    buf_printf(out, "{\"step_s\":%d,\"from\":\"%s\",\"until\":\"%s\",\"left_out\":%zu,\"series\":[",
               HISTORY_STEP_MS / 1000, from, until, h->left_out);
    for (const struct history_series *s = h->series; s; s = s->next) {
        if (s != h->series)
            buf_add_char(out, ',');
        history_write_series(h, s, out);
    }
    buf_add_c(out, "]}");
}
