/* SPDX-License-Identifier: MIT */
/* Do the options of a map go together, and does their SQL prepare? Any thread. */
#pragma once
#include "connectors/http/mapping_options.h"

bool mapping_check(const struct mapping_options *o, struct err *e);
