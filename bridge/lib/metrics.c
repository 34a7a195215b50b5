/* SPDX-License-Identifier: MIT */
/* The registry of metrics and its page in Prometheus text format. */
#include "bridge/lib/metrics.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/jscan.h"
#include "bridge/lib/mem.h"

static const int64_t bounds_us[] = { 100,     250,      500,      1000,     2500,     5000,    10000,
                                     25000,   50000,    100000,   250000,   500000,   1000000, 2500000,
                                     5000000, 10000000, 25000000, 50000000, 100000000 };
enum { BOUNDS = sizeof bounds_us / sizeof *bounds_us };
_Static_assert(METRIC_BUCKETS == BOUNDS + 1, "one more than the bounds");

struct metric {
    const struct metric_family *family;
    char *labels;               /* as shown: sink="crm",reason="timeout" */
    atomic_int_least64_t value; /* of a histogram: the sum in microseconds */
    atomic_int_least64_t shown; /* if it is kept */
    atomic_bool kept;
    atomic_int_least64_t *buckets; /* BOUNDS + 1, not cumulative; NULL unless a histogram */
    struct metric *next;           /* of the family, sorted by labels */
};

static struct metric_family *families; /* written before main() */
/* Guards the families' lists of metrics, which never go away. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void metric_register(struct metric_family *f)
{
    struct metric_family **at = &families;
    while (*at && strcmp((*at)->name, f->name) < 0)
        at = &(*at)->next;
    f->next = *at;
    *at = f;
}

static void metrics_add_label_value(struct buf *out, const char *value)
{
    for (; *value; value++) {
        if (*value == '\n')
            buf_add_c(out, "\\n");
        else if (*value == '"' || *value == '\\')
            buf_add(out, (const char[]){ '\\', *value }, 2);
        else
            buf_add_char(out, *value);
    }
}

static char *metrics_labels_text(const char *const *names, const char *const *values)
{
    struct buf out = buf_new(64 * 1024);
    size_t i = 0;
    for (; names[i] && values && values[i]; i++) {
        buf_printf(&out, "%s%s=\"", i > 0 ? "," : "", names[i]);
        metrics_add_label_value(&out, values[i]);
        buf_add_char(&out, '"');
    }
    CHECK(!values || !values[i]); /* no more values than names */
    CHECK(buf_c(&out));
    return out.at;
}

static struct metric *metrics_new(const struct metric_family *f, char *labels, struct metric *next)
{
    struct metric *m = mem_alloc(sizeof *m);
    m->family = f;
    m->labels = labels;
    m->buckets = f->kind == METRIC_IS_HISTOGRAM ? mem_alloc((BOUNDS + 1) * sizeof *m->buckets) : NULL;
    m->next = next;
    return m;
}

struct metric *metric_get(struct metric_family *f, const char *const *values)
{
    char *labels = metrics_labels_text(f->labels, values);
    pthread_mutex_lock(&lock);
    struct metric **at = &f->first;
    if (f->newest && strcmp(f->newest->labels, labels) < 0) /* many are often made in order */
        at = &f->newest->next;
    while (*at && strcmp((*at)->labels, labels) < 0)
        at = &(*at)->next;
    if (*at && strcmp((*at)->labels, labels) == 0)
        free(labels);
    else
        *at = metrics_new(f, labels, *at);
    struct metric *m = f->newest = *at;
    pthread_mutex_unlock(&lock);
    return m;
}

void metric_add(struct metric *m, int64_t n)
{
    atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}

void metric_set(struct metric *m, int64_t value)
{
    atomic_store_explicit(&m->value, value, memory_order_relaxed);
}

void metric_observe_us(struct metric *m, int64_t us)
{
    size_t i = 0;
    while (i < BOUNDS && us > bounds_us[i])
        i++;
    atomic_fetch_add_explicit(&m->buckets[i], 1, memory_order_relaxed);
    metric_add(m, us > 0 ? us : 0); /* a sum never goes down */
}

int64_t metric_value(const struct metric *m)
{
    return atomic_load_explicit(&m->value, memory_order_relaxed);
}

/* Takes the values out of a copy of the labels, as metrics_labels_text wrote them. */
static void metrics_values(char *labels, const char *values[METRIC_LABELS + 1])
{
    size_t count = 0;
    char *out = labels;
    bool inside = false;
    for (const char *c = labels; *c; c++) {
        if (*c == '"') {
            inside = !inside;
            if (inside && count < METRIC_LABELS)
                values[count++] = out;
            else
                *out++ = '\0';
        } else if (inside) {
            bool escaped = *c == '\\';
            c += escaped;
            *out++ = *c;
            if (escaped && *c == 'n')
                out[-1] = '\n';
        }
    }
    values[count] = NULL;
}

void metric_each(const struct metric_family *f, void (*each)(void *ctx, const char *const *values, int64_t value),
                 void *ctx)
{
    const char *values[METRIC_LABELS + 1];
    pthread_mutex_lock(&lock);
    for (const struct metric *m = f->first; m; m = m->next) {
        char *labels = str_dup(str_of(m->labels));
        metrics_values(labels, values);
        each(ctx, values, metric_value(m));
        free(labels);
    }
    pthread_mutex_unlock(&lock);
}

int64_t metric_bound_us(size_t bucket)
{
    return bounds_us[bucket];
}

void metric_each_histogram(const struct metric_family *f,
                           void (*each)(void *ctx, const char *const *values, const int64_t counts[METRIC_BUCKETS]),
                           void *ctx)
{
    const char *values[METRIC_LABELS + 1];
    int64_t counts[METRIC_BUCKETS];
    pthread_mutex_lock(&lock);
    for (const struct metric *m = f->first; m; m = m->next) {
        char *labels = str_dup(str_of(m->labels));
        metrics_values(labels, values);
        for (size_t i = 0; i < METRIC_BUCKETS; i++)
            counts[i] = atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
        each(ctx, values, counts);
        free(labels);
    }
    pthread_mutex_unlock(&lock);
}

void metric_keep(struct metric *m)
{
    atomic_store_explicit(&m->shown, metric_value(m), memory_order_relaxed);
    atomic_store_explicit(&m->kept, true, memory_order_release);
}

static int64_t metrics_shown(const struct metric *m)
{
    bool kept = atomic_load_explicit(&m->kept, memory_order_acquire);
    return kept ? atomic_load_explicit(&m->shown, memory_order_relaxed) : metric_value(m);
}

/* Microseconds as seconds, without the zeros behind. */
static void metrics_add_seconds(struct buf *out, int64_t us)
{
    char fraction[8];
    int n = snprintf(fraction, sizeof fraction, ".%06u", (unsigned)(us % 1000000));
    while (n > 0 && (fraction[n - 1] == '0' || fraction[n - 1] == '.'))
        if (fraction[--n] == '.')
            break;
    buf_printf(out, "%" PRId64 "%.*s", us / 1000000, n, fraction);
}

static void metrics_add_sample(struct buf *out, const struct metric *m, const char *suffix)
{
    buf_printf(out, "%s%s", m->family->name, suffix);
    if (*m->labels)
        buf_printf(out, "{%s}", m->labels);
    buf_add_char(out, ' ');
}

static void metrics_write_histogram(struct buf *out, const struct metric *m)
{
    int64_t count = 0;
    for (size_t i = 0; i <= BOUNDS; i++) {
        count += atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
        buf_printf(out, "%s_bucket{%s%sle=\"", m->family->name, m->labels, *m->labels ? "," : "");
        if (i < BOUNDS)
            metrics_add_seconds(out, bounds_us[i]);
        else
            buf_add_c(out, "+Inf");
        buf_printf(out, "\"} %" PRId64 "\n", count);
    }
    metrics_add_sample(out, m, "_sum");
    metrics_add_seconds(out, metric_value(m));
    buf_add_char(out, '\n');
    metrics_add_sample(out, m, "_count");
    buf_printf(out, "%" PRId64 "\n", count);
}

static void metrics_write_family(struct buf *out, const struct metric_family *f)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, metric_kind_name(f->kind));
    for (const struct metric *m = f->first; m; m = m->next) {
        if (f->kind == METRIC_IS_HISTOGRAM) {
            metrics_write_histogram(out, m);
            continue;
        }
        metrics_add_sample(out, m, "");
        buf_printf(out, "%" PRId64 "\n", metrics_shown(m));
    }
}

const struct metric_family *metric_families(void)
{
    return families;
}

const char *metric_kind_name(enum metric_kind kind)
{
    switch (kind) {
    case METRIC_IS_COUNTER: return "counter";
    case METRIC_IS_GAUGE: return "gauge";
    case METRIC_IS_HISTOGRAM: return "histogram";
    }
    return "";
}

void metrics_write(struct buf *out)
{
    pthread_mutex_lock(&lock);
    for (const struct metric_family *f = families; f; f = f->next)
        if (f->first)
            metrics_write_family(out, f);
    pthread_mutex_unlock(&lock);
}

/* ---- the same as JSON ---- */

static void metrics_json_labels(struct buf *out, const struct metric *m)
{
    const char *values[METRIC_LABELS + 1];
    char *labels = str_dup(str_of(m->labels));
    metrics_values(labels, values);
    buf_add_c(out, "{\"labels\":{");
    for (size_t i = 0; values[i] && m->family->labels[i]; i++) {
        buf_printf(out, "%s\"%s\":", i ? "," : "", m->family->labels[i]);
        jscan_add_string(out, str_of(values[i]));
    }
    buf_add_char(out, '}');
    free(labels);
}

static void metrics_json_histogram(struct buf *out, const struct metric *m)
{
    int64_t count = 0;
    buf_add_c(out, ",\"buckets\":[");
    for (size_t i = 0; i < BOUNDS; i++) {
        count += atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
        buf_add_c(out, i ? ",[" : "[");
        metrics_add_seconds(out, bounds_us[i]);
        buf_printf(out, ",%" PRId64 "]", count);
    }
    count += atomic_load_explicit(&m->buckets[BOUNDS], memory_order_relaxed);
    buf_printf(out, "],\"count\":%" PRId64 ",\"sum\":", count);
    metrics_add_seconds(out, metric_value(m));
}

static void metrics_json_family(struct buf *out, const struct metric_family *f)
{
    buf_printf(out, "{\"name\":\"%s\",\"type\":\"%s\",\"help\":", f->name, metric_kind_name(f->kind));
    jscan_add_string(out, str_of(f->help));
    buf_add_c(out, ",\"series\":[");
    for (const struct metric *m = f->first; m; m = m->next) {
        metrics_json_labels(out, m);
        if (f->kind == METRIC_IS_HISTOGRAM)
            metrics_json_histogram(out, m);
        else
            buf_printf(out, ",\"value\":%" PRId64, metrics_shown(m));
        buf_add_c(out, m->next ? "}," : "}");
    }
    buf_add_c(out, "]}");
}

void metrics_write_json(struct buf *out)
{
    bool any = false;
    pthread_mutex_lock(&lock);
    buf_add_char(out, '[');
    for (const struct metric_family *f = families; f; f = f->next) {
        if (!f->first)
            continue;
        buf_add_c(out, any ? "," : "");
        metrics_json_family(out, f);
        any = true;
    }
    buf_add_char(out, ']');
    pthread_mutex_unlock(&lock);
}
