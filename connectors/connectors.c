/* SPDX-License-Identifier: MIT */
/* The tables of connectors: one line each. */
#include "connectors/connectors.h"

extern const struct source_ops sqlite_source, http_source;
extern const struct sink_ops webhook_sink, websocket_sink, dead_letter_sink;
extern const struct command dead_command;

const struct source_ops *const source_types[] = { &sqlite_source, &http_source, NULL };
const struct sink_ops *const sink_types[] = { &webhook_sink, &websocket_sink, &dead_letter_sink, NULL };
static const struct command *const command_table[] = { &dead_command, NULL };

const struct connectors connectors = { source_types, sink_types, command_table };
