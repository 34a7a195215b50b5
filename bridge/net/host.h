/* SPDX-License-Identifier: MIT */
/* The name by which a client reached us, as its Host header says.
 *
 * DNS rebinding: somebody makes a name of his own point to this machine, so that his site's scripts reach a listener here
 * as if it were theirs. An address or localhost cannot be made to point elsewhere; every other name must be known. */
#pragma once
#include "bridge/lib/str.h"

struct str host_name(struct str authority); /* "127.0.0.1:80", "[::1]:80", "a.example": without the port */
bool host_is_address(struct str authority); /* or localhost, or absent */
