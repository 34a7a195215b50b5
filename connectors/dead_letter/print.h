/* SPDX-License-Identifier: MIT */
/* Dead letters on a terminal, and as JSON for programs (schemas/dead_letter.schema.json).
 *
 * What is shown comes from strangers: control characters never reach the terminal, except with --raw. */
#pragma once
#include <jansson.h>
#include <stdio.h>
#include "bridge/lib/buf.h"
#include "connectors/dead_letter/letters.h"

struct print_table {
    bool with_state;
    int owner; /* width of the column SINK: of the widest that print_table_fit was shown */
};

/* That the selection (filing.h) has no letter, and what may be wrong with it. */
void print_nothing(const json_t *which, FILE *out);
void print_table_fit(struct print_table *t, const struct letter *l);
void print_table_head(const struct print_table *t, FILE *out);
void print_table_row(const struct print_table *t, const struct letter *l, FILE *out);
void print_json(const struct letter *l, FILE *out);
/* The object alone, without what a terminal needs. */
void print_json_object(const struct letter *l, struct buf *out);
/* The same after what a command did with it; `why`, `to`: NULL: nothing to say. */
void print_json_result(const char *result, const char *why, const char *to, const struct letter *l, FILE *out);
/* Everything of one letter; data longer than `limit` bytes is cut and says so; 0: no limit. */
void print_letter(const struct letter *l, size_t limit, FILE *out);
void print_origin(const struct letter *l, int width,
                  FILE *out); /* <topic>/<partition>@<offset>, the topic cut to width */
/* Text with control characters replaced, cut to `width` characters (0: whole). Returns how many were printed. */
int print_clean(struct str text, int width, FILE *out);
