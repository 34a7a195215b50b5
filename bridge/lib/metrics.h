/* SPDX-License-Identifier: MIT */
/* Counters, gauges and histograms, shown in Prometheus text format.
 *
 * A metric lives from its creation to the end of the process. Creating takes a lock and belongs to start-up (main
 * thread, or open()); adding is one relaxed atomic, from any thread. Asking for the same name and labels again gives
 * the same metric. */
#pragma once
#include <stdatomic.h>
#include <stdint.h>
#include "bridge/lib/buf.h"

struct metric;

/* `labels` is a list "sink", "crm", "reason", "timeout", NULL of names and values (values are copied). `name` and
 * `help` are literals; counters end in _total by convention. */
struct metric *metric_counter(const char *name, const char *help, const char *const *labels);
struct metric *metric_gauge(const char *name, const char *help, const char *const *labels);
/* A histogram of seconds with fixed buckets from 100 us to 100 s; observe in microseconds. */
struct metric *metric_histogram(const char *name, const char *help, const char *const *labels);
#define LABELS(...) ((const char *const[]){ __VA_ARGS__, NULL })

void metric_add(struct metric *m, int64_t n);
void metric_set(struct metric *m, int64_t value);
void metric_observe_us(struct metric *m, int64_t us);
int64_t metric_value(const struct metric *m);

void metrics_write(struct buf *out); /* the whole page, families sorted by name */
