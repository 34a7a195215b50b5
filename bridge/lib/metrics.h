/* SPDX-License-Identifier: MIT */
/* Counters, gauges and histograms, shown in Prometheus text format.
 *
 * A family is defined once, beside the code that counts, under the very name that people see; the definition puts it into
 * the registry before main(), so `aqueduct help metrics` knows all families of the program without starting anything:
 *
 *   METRIC_COUNTER(aqueduct_source_refused_total, "Events not stored, by reason.", "source", "reason");
 *
 * A metric is one family with one value for each of its labels. It lives from its creation to the end of the process:
 *
 *   struct metric *m = metric_get(&aqueduct_source_refused_total, LABELS(s->id, "invalid"));
 *   metric_add(m, 1);
 *
 * Creating takes a lock and belongs to start-up (main thread, or open()); adding is one relaxed atomic, from any thread.
 * Nobody names a family by a text, so the compiler finds what nobody defined, and the linker what two define. A family
 * that two files share is `extern` in their header. */
#pragma once
#include <stdatomic.h>
#include <stdint.h>
#include "bridge/lib/buf.h"

enum metric_kind { METRIC_IS_COUNTER, METRIC_IS_GAUGE, METRIC_IS_HISTOGRAM };

struct metric;

struct metric_family {
    const char *name, *help; /* help: one sentence */
    enum metric_kind kind;
    const char *const *labels;     /* their names; ends with NULL */
    struct metric_family *next;    /* of the registry, sorted by name; NULL ends it */
    struct metric *first, *newest; /* private */
};

/* Defines a family: its name, its help, the names of its labels (or NULL: none). A counter's name ends in _total, a
 * histogram's in _seconds: it has fixed buckets from 100 us to 100 s and observes microseconds. */
#define METRIC_COUNTER(family, text, ...)   METRIC_FAMILY(family, METRIC_IS_COUNTER, text, __VA_ARGS__)
#define METRIC_GAUGE(family, text, ...)     METRIC_FAMILY(family, METRIC_IS_GAUGE, text, __VA_ARGS__)
#define METRIC_HISTOGRAM(family, text, ...) METRIC_FAMILY(family, METRIC_IS_HISTOGRAM, text, __VA_ARGS__)
#define METRIC_FAMILY(family, which, text, ...)                                                                        \
    extern struct metric_family family;                                                                                \
    __attribute__((constructor)) static void family##_register(void)                                                   \
    {                                                                                                                  \
        metric_register(&family);                                                                                      \
    }                                                                                                                  \
    struct metric_family family = {                                                                                    \
        .name = #family, .help = text, .kind = which, .labels = (const char *const[]){ __VA_ARGS__, NULL }             \
    }
void metric_register(struct metric_family *f); /* what the definition does; nobody else calls it */

/* The metric of the family with these values of its labels, in the order of their names; the last labels may be left out
 * (values are copied; they end with NULL; NULL: no labels). The same values give the same metric. Any thread. */
struct metric *metric_get(struct metric_family *f, const char *const *values);
#define LABELS(...) ((const char *const[]){ __VA_ARGS__, NULL })

void metric_add(struct metric *m, int64_t n);
void metric_set(struct metric *m, int64_t value);
void metric_observe_us(struct metric *m, int64_t us);
int64_t metric_value(const struct metric *m);
enum { METRIC_LABELS = 8 }; /* most labels of a family */
/* Calls each() with every metric of the family there is and the values of its labels, which it borrows; each() makes none. */
void metric_each(const struct metric_family *f, void (*each)(void *ctx, const char *const *values, int64_t value),
                 void *ctx);
enum { METRIC_BUCKETS = 20 };           /* of a histogram: the last one is of all that took longer */
int64_t metric_bound_us(size_t bucket); /* what it observed took at most so long; not of the last */
/* The same of a family of histograms: how many are in each bucket. */
void metric_each_histogram(const struct metric_family *f,
                           void (*each)(void *ctx, const char *const *values, const int64_t counts[METRIC_BUCKETS]),
                           void *ctx);
/* The page shows the value of now until this is called again. For counters that add up: the thread that changes them calls
 * this for all of them between two changes, when a page is wanted. */
void metric_keep(struct metric *m);

const struct metric_family *metric_families(void); /* the first of the registry */
const char *metric_kind_name(enum metric_kind kind);
/* The whole page: every metric there is, families sorted by name. What was kept is shown so; no metric_keep meanwhile, or
 * what adds up may not. */
void metrics_write(struct buf *out);
/* The same as a JSON list: [{"name", "type", "help", "series": [{"labels": {}, "value"}]}]; in the place of a histogram's value
 * "buckets": [[seconds, how many up to that]], "count" (with those beyond the last) and "sum" (seconds). */
void metrics_write_json(struct buf *out);
