/* SPDX-License-Identifier: MIT */
/* What `aqueduct --help`, `aqueduct help COMMAND` and `aqueduct version` print. */
#pragma once
#include <stdio.h>
#include "bridge/cli/commands.h"

void help_all(const struct connectors *connectors, FILE *out);
void help_command(const struct command *command, FILE *out);
void help_version(FILE *out);
