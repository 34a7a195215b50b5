/* SPDX-License-Identifier: MIT */
/* The registry of metrics and its page in Prometheus text format. */
#include "bridge/lib/metrics.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"

enum kind { COUNTER, GAUGE, HISTOGRAM };

static const int64_t bounds_us[] = { 100,     250,      500,      1000,     2500,     5000,    10000,
                                     25000,   50000,    100000,   250000,   500000,   1000000, 2500000,
                                     5000000, 10000000, 25000000, 50000000, 100000000 };
enum { BOUNDS = sizeof bounds_us / sizeof *bounds_us };

struct metric {
    const char *name, *help;
    char *labels; /* as shown: sink="crm",reason="timeout" */
    enum kind kind;
    atomic_int_least64_t value;    /* of a histogram: the sum in microseconds */
    atomic_int_least64_t *buckets; /* BOUNDS + 1, not cumulative; NULL unless a histogram */
    struct metric *next;           /* sorted by name, then labels */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct metric *first; /* guarded by lock; metrics never go away */

static void add_label_value(struct buf *out, const char *value)
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

static char *labels_text(const char *const *labels)
{
    struct buf out = buf_new(64 * 1024);
    for (; labels && labels[0]; labels += 2) {
        CHECK(labels[1]);
        buf_printf(&out, "%s%s=\"", out.n > 0 ? "," : "", labels[0]);
        add_label_value(&out, labels[1]);
        buf_add_char(&out, '"');
    }
    CHECK(buf_c(&out));
    return out.at;
}

static int compare(const struct metric *m, const char *name, const char *labels)
{
    int order = strcmp(m->name, name);
    return order != 0 ? order : strcmp(m->labels, labels);
}

static struct metric *metric_get(enum kind kind, const char *name, const char *help, const char *const *labels)
{
    char *text = labels_text(labels);
    pthread_mutex_lock(&lock);
    struct metric **at = &first;
    while (*at && compare(*at, name, text) < 0)
        at = &(*at)->next;
    struct metric *m = *at;
    if (m && compare(m, name, text) == 0) {
        free(text);
    } else {
        m = mem_alloc(sizeof *m);
        m->name = name;
        m->help = help;
        m->labels = text;
        m->kind = kind;
        m->buckets = kind == HISTOGRAM ? mem_alloc((BOUNDS + 1) * sizeof *m->buckets) : NULL;
        m->next = *at;
        *at = m;
    }
    pthread_mutex_unlock(&lock);
    CHECK(m->kind == kind);
    return m;
}

struct metric *metric_counter(const char *name, const char *help, const char *const *labels)
{
    return metric_get(COUNTER, name, help, labels);
}

struct metric *metric_gauge(const char *name, const char *help, const char *const *labels)
{
    return metric_get(GAUGE, name, help, labels);
}

struct metric *metric_histogram(const char *name, const char *help, const char *const *labels)
{
    return metric_get(HISTOGRAM, name, help, labels);
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

/* Microseconds as seconds, without the zeros behind. */
static void add_seconds(struct buf *out, int64_t us)
{
    char fraction[8];
    int n = snprintf(fraction, sizeof fraction, ".%06u", (unsigned)(us % 1000000));
    while (n > 0 && (fraction[n - 1] == '0' || fraction[n - 1] == '.'))
        if (fraction[--n] == '.')
            break;
    buf_printf(out, "%" PRId64 "%.*s", us / 1000000, n, fraction);
}

static void add_sample(struct buf *out, const struct metric *m, const char *suffix)
{
    buf_printf(out, "%s%s", m->name, suffix);
    if (*m->labels)
        buf_printf(out, "{%s}", m->labels);
    buf_add_char(out, ' ');
}

static void write_histogram(struct buf *out, const struct metric *m)
{
    int64_t count = 0;
    for (size_t i = 0; i <= BOUNDS; i++) {
        count += atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
        buf_printf(out, "%s_bucket{%s%sle=\"", m->name, m->labels, *m->labels ? "," : "");
        if (i < BOUNDS)
            add_seconds(out, bounds_us[i]);
        else
            buf_add_c(out, "+Inf");
        buf_printf(out, "\"} %" PRId64 "\n", count);
    }
    add_sample(out, m, "_sum");
    add_seconds(out, metric_value(m));
    buf_add_char(out, '\n');
    add_sample(out, m, "_count");
    buf_printf(out, "%" PRId64 "\n", count);
}

static void write_family(struct buf *out, const struct metric *m)
{
    static const char *const kinds[] = { [COUNTER] = "counter", [GAUGE] = "gauge", [HISTOGRAM] = "histogram" };
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, kinds[m->kind]);
}

void metrics_write(struct buf *out)
{
    const char *family = "";
    pthread_mutex_lock(&lock);
    for (const struct metric *m = first; m; m = m->next) {
        if (strcmp(family, m->name) != 0)
            write_family(out, m);
        family = m->name;
        if (m->kind == HISTOGRAM) {
            write_histogram(out, m);
            continue;
        }
        add_sample(out, m, "");
        buf_printf(out, "%" PRId64 "\n", metric_value(m));
    }
    pthread_mutex_unlock(&lock);
}
