/* SPDX-License-Identifier: MIT */
/* What became of an event (status_event.h) as text for a person. */
#pragma once
#include <jansson.h>
#include <stdio.h>

void status_event_print(const json_t *event, FILE *out);
