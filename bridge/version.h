/* SPDX-License-Identifier: MIT */
/* A version of the configuration: one that was loaded, and its connectors' structs as it filled them. A connector is opened
 * with nothing but its options in its struct, so before it is opened once more they are put back. Main thread. */
#pragma once
#include "bridge/config/config.h"

struct version;

struct version *version_new(const struct config *config); /* borrowed; no connector was opened yet */
void version_restore(struct version *v);                  /* all of them; none is open */
void version_free(struct version *v);                     /* accepts NULL */
