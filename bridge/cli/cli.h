/* SPDX-License-Identifier: MIT */
/* The command line: from the words to one call of one command.
 *
 *   commands.c   the table of commands: a command is one file here with one `const struct command`, and one line there
 *   flags.c      the parser of flags, by each command's rows
 *   help.c       the text of the help, from the same rows
 *   usage.c      what is said about wrong usage
 *   publish.c    one record, stored durably, from a process that is not the daemon
 *
 * Exit codes: 0 done, 1 failed, 2 wrong usage. Main thread only. */
#pragma once
#include "bridge/connector.h"

int cli_main(const struct connectors *connectors, int argc, char **argv);
