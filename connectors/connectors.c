/* SPDX-License-Identifier: MIT */
/* The tables of connectors: one line each. */
#include "connectors/connectors.h"

extern const struct source_ops sqlite_source, http_source;
extern const struct sink_ops webhook_sink, websocket_sink, dead_letter_sink;
extern const struct command dead_command, sqlite_command, keys_command, sign_command, verify_command, send_command;

static const struct source_ops *const sources[] = { &sqlite_source, &http_source, NULL };
static const struct sink_ops *const sinks[] = { &webhook_sink, &websocket_sink, &dead_letter_sink, NULL };
static const struct command *const commands[] = { &dead_command,   &sqlite_command, &keys_command, &sign_command,
                                                  &verify_command, &send_command,   NULL };

const struct connectors connectors = { .sources = sources, .sinks = sinks, .commands = commands };
