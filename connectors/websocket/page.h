/* SPDX-License-Identifier: MIT */
/* The page of a listener, and the JavaScript client beside it, which are part of the program: files of client/, without any
 * event in them, so that they need no token. One thread. */
#pragma once
#include "bridge/lib/str.h"

struct page_text {    /* a file that was compiled in */
    const char *name; /* ".../client/page.css"; NULL ends the table */
    struct str text;
};
extern const struct page_text page_texts[];
