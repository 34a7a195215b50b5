/* SPDX-License-Identifier: MIT */
/* What a configuration has, as commands see it (struct command_call). One thread; the configuration outlives it. */
#pragma once
#include "bridge/command.h"
#include "bridge/config/config.h"

/* Sets config, sinks, names, sink_count, sources and prefix; known_free frees what that takes. */
void known_fill(struct command_call *call, const struct config *config);
void known_free(struct command_call *call);
/* One more endpoint of the sink, if there is such a sink: made at run time, so that its name is all that is known (its
 * receiver is NULL). Borrowed until known_free. */
void known_add(struct command_call *call, const char *sink, const char *endpoint);
