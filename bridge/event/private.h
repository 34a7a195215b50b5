/* SPDX-License-Identifier: MIT */
/* What the files of event/ share: a compiled filter. */
#pragma once
#include "bridge/event/filter.h"
#include "bridge/lib/jpointer.h"

enum dialect { EXACT, PREFIX, SUFFIX, ALL, ANY, NOT };

/* A leaf (one attribute or JSON pointer, and one value) or a node with filters below it. */
struct filter {
    enum dialect dialect;
    bool data;              /* a condition on the data, or a node with one below it */
    struct str name, value; /* of a leaf; point into `bytes`; the name is a pointer when `data`; value absent: null */
    size_t place;           /* of the pointer, among the values */
    char *bytes;
    struct filter **below;
    size_t count;
    struct jpointers *pointers; /* of the whole filter, at its top; NULL: no condition is on the data */
};

/* Does the text do what a leaf of that dialect wants? */
bool filter_fits(enum dialect dialect, struct str text, struct str value);
