/* SPDX-License-Identifier: MIT */
/* `aqueduct sqlite setup | verify | teardown`: makes, looks at and takes away what rules of kind outbox need in the
 * application's database (triggers.h). All that is done to a database is one transaction. The main thread; nothing is open
 * afterwards. */
#pragma once
#include "bridge/command.h"

struct setup_flags {
    bool json, dry_run, drop;
    struct str source;
};

/* The exit code. *known is false when the first word is none of these three. */
int setup_run(const struct command_call *call, const struct setup_flags *flags, bool *known);
