/* SPDX-License-Identifier: MIT */
/* What commands ask the running daemon, by its JSON API: over the control socket, or where there is none on `admin.listen`, as
 * whom the configuration's first token is of. Main thread.
 *
 * A command that can do without a daemon does what it was to ask for itself when the answer is ASKED_NOBODY, by the functions
 * that the API calls as well, and makes what it prints of the same JSON: so both say the same. */
#pragma once
#include <jansson.h>
#include "bridge/command.h"

enum command_asked ask_daemon(const struct config *config, struct command_question *q, struct err *e);
/* The answer of one without which nothing can be done; NULL with *e. The caller's reference. */
json_t *ask_running(const struct command_call *call, struct command_question q, struct err *e);
