/* SPDX-License-Identifier: MIT */
/* Whom a person names to get an event once more: --to SINK or SINK/ENDPOINT. One thread. */
#pragma once
#include "bridge/command.h"

/* command_call.place */
bool place_find(const struct command_call *call, struct str text, struct command_place *out, struct err *e);
/* The same, by the names alone: whether the sink ever ran is not looked at. */
bool place_named(const struct command_call *call, struct str text, struct command_place *out, struct err *e);
