/* SPDX-License-Identifier: MIT */
/* Presets: option files by name, kept as data. Finds the text; filling a struct from it is fill.c's.
 *
 * Each is of a folder below schemas/: `presets`, for databases, `inbound`, for what senders post, or `receivers`, for who gets webhooks. A name that holds a
 * '/' or ends in .yaml is a file. Any other is looked for as <name>.yaml in the folder AQUEDUCT_PRESETS (inbound: in
 * AQUEDUCT_PRESETS/inbound; receivers alike), then among those installed beside the program, then among those compiled into it. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/err.h"

enum { PRESET_BYTES = 1 << 20, PRESET_FILE = 4096 };

#define PRESET_FOLDER    "presets" /* of an option that names none */
#define PRESET_INBOUND   "inbound"
#define PRESET_RECEIVERS "receivers"

struct preset_text {  /* a preset that was compiled in: schemas/<name>.yaml */
    const char *name; /* presets/anythingllm; NULL ends the table */
    struct str text;
};
extern const struct preset_text preset_texts[];

/* The name of one of that folder, as it is written in a configuration; NULL: it is of another folder. */
const char *preset_name(const struct preset_text *p, const char *folder);

/* Appends the preset's text to out, which has room for PRESET_BYTES + 1, and says in `file` where it is from, as errors
 * name it. */
bool preset_find(const char *folder, const char *name, struct buf *out, char file[PRESET_FILE], struct err *e);
