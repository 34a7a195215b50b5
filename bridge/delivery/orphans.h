/* SPDX-License-Identifier: MIT */
/* How many events wait for each sink that the configuration does not have: a gauge, and one line in the log for each
 * name. At most 100 names are told apart; the others, and what says no name, count together as "(others)". One thread. */
#pragma once
#include "bridge/lib/metrics.h"
#include "bridge/lib/str.h"

enum { ORPHAN_NAMES = 100, ORPHAN_NAME = 64 };

struct orphans { /* zeroed: none */
    struct {
        char name[ORPHAN_NAME];
        struct metric *count;
    } sinks[ORPHAN_NAMES];
    size_t count;
};

void orphans_add(struct orphans *o, struct str sink);
void orphans_forget(struct orphans *o); /* the gauges are 0 again: whoever reads the topics next counts anew */
