/* SPDX-License-Identifier: MIT */
/* Metrics by the names that people see. */
#pragma once
#include "bridge/lib/metrics.h"

/* A metric that is defined somewhere in the program under test, by the values of its labels. */
struct metric *metric_named(const char *name, const char *const *values);
