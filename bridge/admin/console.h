/* SPDX-License-Identifier: MIT */
/* The console: files of bridge/admin/console/ that were compiled in and hold nothing of anybody's, so that they need no token.
 * What they show they get from the API.
 *
 *   /                 index.html
 *   /console/NAME     the file of that name
 *
 * No script and no style stands in a page itself: the policy allows those of our own files only. One thread. */
#pragma once
#include "bridge/net/http/http.h"

struct console_text { /* a file that was compiled in */
    const char *name; /* ".../console/index.html"; NULL ends the table */
    struct str text;
};
extern const struct console_text console_texts[];

bool console_takes(struct str path); /* may the path be one of the console's? */
void console_answer(struct http_server *server, const struct http_request *r); /* with the file, or 404, 405 */
