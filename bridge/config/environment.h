/* SPDX-License-Identifier: MIT */
/* The configuration that the environment says. A value of a variable stands in the tree like one of a file whose name is the
 * variable's; what is shown of it is "${NAME}", never itself. Main thread, while nobody changes the environment. */
#pragma once
#include <stdbool.h>

struct arena;
struct node;
struct problems;

struct environment_variable { /* of the small set */
    const char *name;
    const char *yaml; /* what it says, with @ for its value; NULL: others name it */
    bool begins;      /* it alone makes a configuration where there is no file */
    bool secret;      /* NAME_FILE, too: the file that has it */
    const char *doc;
};
extern const struct environment_variable environment_variables[]; /* ends with { 0 } */

/* Puts into *root what variables say: AQUEDUCT__SINKS__CRM__URL over what files say, and the small set where no file is (*root is
 * NULL). False: *root is NULL still, as they say nothing. */
bool environment_apply(struct arena *arena, struct node **root, bool part, struct problems *out);
/* Warns of variables called AQUEDUCT_... that nobody reads; `alone`: there is no file. */
void environment_review(struct arena *arena, const struct node *root, bool alone, struct problems *out);
