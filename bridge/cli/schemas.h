/* SPDX-License-Identifier: MIT */
/* What `aqueduct help events` and `aqueduct schema NAME` print of the vocabulary, from schemas/ as it was compiled in. */
#pragma once
#include <stdio.h>
#include "bridge/event/record.h"
#include "bridge/event/vocabulary.h"
#include "bridge/lib/str.h"

struct schema_text {  /* a file of schemas/ */
    const char *name; /* its path there: "events/chat.edited.1.schema.json"; NULL ends the table */
    struct str text;
};
extern const struct schema_text schema_texts[];

void schemas_list(FILE *out);                                         /* every type and what it means */
void schemas_describe(const struct vocabulary_type *type, FILE *out); /* its fields and examples */
/* The schema of a type with all that it refers to; `closed`: keys that it does not name are wrong. */
void schemas_print(const struct vocabulary_type *type, bool closed, FILE *out);
void schemas_print_asyncapi(FILE *out);
void schemas_print_registered(enum record_schema which, FILE *out); /* as a schema registry gets it */
void schemas_print_openapi(FILE *out);                              /* of the JSON API (admin.api) */
