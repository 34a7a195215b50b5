/* SPDX-License-Identifier: MIT */
/* A scheme as text for people: `aqueduct help github`. Any thread. */
#pragma once
#include <stdbool.h>
#include <stdio.h>

/* False: there is no scheme of that name. */
bool verify_about(const char *name, FILE *out);
