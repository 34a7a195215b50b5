/* SPDX-License-Identifier: MIT */
/* Presets: option files by name, kept as data. Finds the text; filling a struct from it is fill.c's.
 *
 * A name that holds a '/' or ends in .yaml is a file. Any other is looked for as <name>.yaml in the folder
 * AQUEDUCT_PRESETS, then among the presets installed beside the program, then among those compiled into it. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/err.h"

enum { PRESET_BYTES = 1 << 20, PRESET_FILE = 4096 };

struct preset_text {  /* a preset that was compiled in: schemas/presets/<name>.yaml */
    const char *name; /* NULL ends the table */
    struct str text;
};
extern const struct preset_text preset_texts[];

/* Appends the preset's text to out, which has room for PRESET_BYTES + 1, and says in `file` where it is from, as errors
 * name it. */
bool preset_find(const char *name, struct buf *out, char file[PRESET_FILE], struct err *e);
