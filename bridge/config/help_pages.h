/* SPDX-License-Identifier: MIT */
/* Pages of the help that are no option rows but text: what a filter and a template are, the metrics, the environment.
 * Main thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { DOC_INDENT = 6 }; /* of what is said below a name, on these pages and of an option */

const char *help_page_name(size_t i); /* NULL: there are no more */
/* False: there is no page of that name. */
bool help_page(const char *name, FILE *out);
