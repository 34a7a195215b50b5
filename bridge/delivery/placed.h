/* SPDX-License-Identifier: MIT */
/* An endpoint that was made at run time, as the bridge's state has it: JSON of one version of it.
 *
 *   {"v":1,"version":3,"made":...,"changed":...,"paused":false,"core":{...},"own":{...}}
 *
 * `core`: its options of the core (filter, retry, ...), readable; `own`: those of its connector, among them its secrets. With
 * a key (auth/seal.h) these are sealed, bound to sink, name and version: "sealed" stands for them. {"v":1,"version":4,
 * "changed":...,"removed":true}: it is gone, and that its earlier versions do not come back this one says. The version rises by
 * one with each change. Any thread. */
#pragma once
#include <jansson.h>
#include "bridge/auth/seal.h"
#include "bridge/lib/buf.h"
#include "bridge/lib/err.h"

enum {
    PLACED_BYTES = 128 << 10, /* most of one */
    PLACED_DEPTH = 32,
};

struct placed { /* zeroed: nothing */
    int64_t version;
    int64_t made_ms, changed_ms; /* wall clock */
    bool paused, removed;
    json_t *core, *own; /* own NULL: it is sealed, and was not opened */
    char *sealed;       /* NULL: it is not */
};

/* False with *e: it is of a later version of the bridge, or damaged. */
bool placed_read(struct str text, struct placed *out, struct err *e);
/* Appends it; with `keys`, its own options are sealed by them, else as `sealed` has them, or as they are. `of`: sink/name. */
void placed_write(const struct placed *p, const char *of, const struct seal_keys *keys, struct buf *out);
/* Its own options from those that are sealed; also when they are open already. False with *e. */
bool placed_open(struct placed *p, const char *of, const struct seal_keys *keys, struct err *e);
void placed_free(struct placed *p); /* {0} again */
