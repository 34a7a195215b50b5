/* SPDX-License-Identifier: MIT */
/* The presets that were compiled in: schemas/presets/<name>.yaml. Loading one is preset_load in option.h. */
#pragma once
#include "bridge/lib/str.h"

struct preset {
    const char *name; /* NULL ends the table */
    struct str text;
};

extern const struct preset presets[];
