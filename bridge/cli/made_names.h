/* SPDX-License-Identifier: MIT */
/* Adds the endpoints that a running daemon says were made at run time to those that the command knows. When none runs, they
 * are not known. The names are the answer's: the caller's reference, after known_free. */
#pragma once
#include <jansson.h>
#include "bridge/command.h"

json_t *made_names_ask(struct command_call *call);
