/* SPDX-License-Identifier: MIT */
/* The names of sinks, sources and endpoints that `aqueduct dead` is given, and that letters have: which of them the
 * configuration has. A sink has its earlier names as well. One thread. */
#pragma once
#include "bridge/command.h"
#include "connectors/dead_letter/filing.h"

/* Is each name (absent: none) configured, or that of a letter (whose sink or endpoint is no more)? False after saying on
 * stderr which is not, and what is near. */
bool names_known(struct filing *f, struct str sink, struct str endpoint);
/* Can the letter go where it came from? False with *e when its sink or its endpoint is not configured. */
bool names_reachable(const struct command_call *call, const struct letter *l, struct err *e);
