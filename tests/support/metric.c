/* SPDX-License-Identifier: MIT */
/* Looks a metric up in the registry. */
#include "tests/support/metric.h"
#include "tests/support/test.h"

struct metric *metric_named(const char *name, const char *const *values)
{
    for (const struct metric_family *f = metric_families(); f; f = f->next)
        if (strcmp(f->name, name) == 0)
            return metric_get((struct metric_family *)(uintptr_t)f, values);
    fail_msg("nobody defines the metric %s", name);
    return NULL;
}
