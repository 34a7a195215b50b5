/* SPDX-License-Identifier: MIT */
/* All commands: the core's, each defined in a file of its own here, and the connectors'. */
#pragma once
#include "bridge/command.h"
#include "bridge/connector.h"

extern const struct command command_run, command_check, command_doctor;    /* run.c, check.c, doctor.c */
extern const struct command command_status, command_orphans;               /* status.c, orphans.c */
extern const struct command command_resend, command_tail, command_log;     /* resend.c, tail.c, log.c */
extern const struct command command_replay, command_move, command_prove;   /* replay.c, move.c, prove.c */
extern const struct command command_explain, command_test;                 /* explain.c, test.c */
extern const struct command command_init, command_endpoints;               /* init.c, endpoints.c */
extern const struct command command_console;                               /* console.c */
extern const struct command command_reload, command_plan;                  /* reload.c */
extern const struct command command_completion, command_man;               /* completion.c, man.c */
extern const struct command command_help, command_schema, command_version; /* about.c */

/* The i-th command, the core's first, as the help lists them; NULL: there are no more. */
const struct command *commands_at(const struct connectors *connectors, size_t i);
const struct command *commands_find(const struct connectors *connectors, const char *name); /* NULL: unknown */
/* Writes their names to out behind the `count` that are there, and NULL. */
void commands_names(const struct connectors *connectors, const char **out, size_t count, size_t room);
bool commands_has_verb(const struct command *command, const char *word); /* also true when it has none */
