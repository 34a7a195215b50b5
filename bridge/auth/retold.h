/* SPDX-License-Identifier: MIT */
/* What programs on the way make of a body that they should have left alone: the other versions of it, of which one may be
 * what was signed. Any thread. */
#pragma once
#include "bridge/lib/buf.h"

enum retold {
    RETOLD_FIRST,
    RETOLD_BREAK_ADDED = RETOLD_FIRST, /* as if a line break had been taken away: with one */
    RETOLD_BREAK_TAKEN,
    RETOLD_CR_ADDED,
    RETOLD_CR_TAKEN,
    RETOLD_BOM_TAKEN,
    RETOLD_EMPTY,
    RETOLD_PAYLOAD,
    RETOLD_UNPACKED,
    RETOLD_JSON_COMPACT,
    RETOLD_JSON_SPACED,
    RETOLD_JSON_ASCII,
    RETOLD_JSON_INDENTED,
    RETOLD_COUNT,
    RETOLD_CHEAP = RETOLD_JSON_COMPACT, /* those before it cost no more than a copy */
};
/* Appends that version; false: there is none that differs. */
bool retold(struct str body, enum retold how, struct buf *out);
const char *retold_name(enum retold how); /* "the body without ..." */
