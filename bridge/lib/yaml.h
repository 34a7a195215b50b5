/* SPDX-License-Identifier: MIT */
/* Text of a configuration that the program writes itself. Any thread. */
#pragma once
#include "bridge/lib/buf.h"

/* Appends a text as it stands in YAML: in quotes unless it is a plain word, and never a variable. */
void yaml_add_text(struct buf *out, const char *text);
