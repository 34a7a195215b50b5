/* SPDX-License-Identifier: MIT */
/* The last hour in numbers, for the plots of the console: a ring of one point every ten seconds for each series.
 *
 *   stored_rate (source), delivered_rate, retried_rate, dead_rate (sink), topic_rate (topic)   events a second
 *   pending, waiting, dead, lag, oldest_s (sink)                                               as in figures.h
 *   latency_p50_ms, latency_p99_ms (sink)       of the attempts that ended within the step: the place within a bucket of the
 *                                               sink's histogram (lib/metrics.h), so no finer than those are
 *
 * history_take() is given the account of all sinks every step, from which all but the latencies come. What was not known
 * is no point. Memory: 1.5 KB a series, at most HISTORY_SERIES of them (0.8 MB), which is the room for 50 sinks; those beyond are
 * left out, and counted. A restart begins with nothing. One thread. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include "bridge/lib/buf.h"

enum { HISTORY_STEP_MS = 10000, HISTORY_POINTS = 360, HISTORY_SERIES = 512 };

struct history;
struct history *history_new(void);
void history_free(struct history *h); /* accepts NULL */

/* Is it time for a point? now_ms: clock_mono_ms, here and below. */
bool history_due(const struct history *h, int64_t now_ms);
/* Adds a point to every series. Steps that were missed have none. */
void history_take(struct history *h, const json_t *account, int64_t now_ms, int64_t wall_ms);

enum history_rate { HISTORY_STORED, HISTORY_DELIVERED, HISTORY_TOPIC };
/* How many a second it is since a few seconds ago, now that the counter says `count`; `of`: the source, sink or topic. -1: not
 * known yet. */
double history_rate(const struct history *h, enum history_rate which, const char *of, int64_t count, int64_t now_ms);
/* How many records a topic ever had, as far as the sinks that read it know; -1: none of them does. */
int64_t history_topic_end(const json_t *account, const char *topic);

/* Appends {"step_s", "from", "until", "left_out", "series": [{"name", "labels", "points"}]}, the newest point last. */
void history_write(const struct history *h, struct buf *out);
