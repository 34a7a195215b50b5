/* SPDX-License-Identifier: MIT */
/* An event for a person's eyes: as JSON over several lines, what is called as a secret would be left out, in colour on a
 * terminal. */
#pragma once
#include <jansson.h>
#include <stdio.h>
#include "bridge/event/event.h"

/* The structured event with "***" in the place of every text whose name is that of a secret. The caller's reference. */
json_t *show_event_json(const struct event *ev);
void show_event(const struct event *ev, FILE *out);
