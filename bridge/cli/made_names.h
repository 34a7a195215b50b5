/* SPDX-License-Identifier: MIT */
/* Adds the endpoints that a running daemon says were made at run time to those that the command knows; NULL when
 * none runs, or it does not tell them. The list is the API's (GET /endpoints), those of the configuration among them, and
 * has the names: the caller's reference, after known_free. */
#pragma once
#include <jansson.h>
#include "bridge/command.h"

json_t *made_names_ask(struct command_call *call);
