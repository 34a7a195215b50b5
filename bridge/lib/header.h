/* SPDX-License-Identifier: MIT */
/* A name and a value: an HTTP header, a record's header, an extension attribute of an event. Borrowed, like struct str. */
#pragma once
#include "bridge/lib/str.h"

struct header {
    struct str name, value;
};
