/* SPDX-License-Identifier: MIT */
/* The command line's side of the control socket. */
#pragma once
#include "bridge/config/config.h"

/* Has the running daemon store one record; waits for it. False with *e; *nobody says that no daemon listens there. */
bool control_publish(const struct config *config, const struct record *r, bool *nobody, struct err *e);
