/* SPDX-License-Identifier: MIT */
/* The topics that a configuration needs: those that it lists, that its routes name, and the bridge's own. */
#pragma once
#include "bridge/config/config.h"

/* Makes sure that every one of them exists with its settings, also while others are in use; may wait for a cluster. Main
 * thread. */
bool topics_open(const struct config *c, struct broker *b, struct err *e);
