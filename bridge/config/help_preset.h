/* SPDX-License-Identifier: MIT */
/* A preset that is compiled in, as text for people: `aqueduct help anythingllm`. Any thread. */
#pragma once
#include <stdbool.h>
#include <stdio.h>

/* Of each source, and of the receivers, that which has the name; false: none has. */
bool help_preset(const char *name, FILE *out);
