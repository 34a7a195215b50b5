/* SPDX-License-Identifier: MIT */
/* Bodies, queries and answers of the API as rows of data: a row says name, kind, range and meaning of one member of a
 * JSON object.
 *
 *   static const struct shape pause_body[] = {
 *       { "reason", SHAPE_TEXT, .max = 200, .doc = "Why, for whoever reads it later." },
 *       { "until", SHAPE_MOMENT, .nullable = true, .doc = "When it goes on by itself." },
 *       { 0 },
 *   };
 *
 * What comes in is checked by the rows (shape_check, shape_query), and the schemas of OpenAPI are made of them
 * (shape_schema), so that the two cannot disagree. Any thread. */
#pragma once
#include <jansson.h>
#include "bridge/lib/buf.h"
#include "bridge/lib/err.h"

enum shape_kind {
    SHAPE_TEXT = 1,
    SHAPE_INTEGER,
    SHAPE_NUMBER,
    SHAPE_BOOLEAN,
    SHAPE_MOMENT, /* RFC 3339 with a zone: 2026-12-24T18:00:00Z */
    SHAPE_SINCE,  /* the same, or so long ago: 90s 30m 2h 7d */
    SHAPE_OBJECT,
    SHAPE_ANY, /* any JSON */
};

struct shape {
    const char *name; /* NULL ends a table */
    enum shape_kind kind;
    bool list; /* a list of such */
    bool map;  /* an object in which every member, whatever its name, is such */
    bool required, nullable;
    int64_t min, max;       /* of numbers; of texts: characters; both 0: no range */
    const char *values;     /* of a text: "viewer|operator"; of a boolean: the one that it may be; NULL: any */
    const char *pattern;    /* of a text, for the schema: who reads it looks more closely; NULL: none */
    const struct shape *of; /* SHAPE_OBJECT: its members; NULL: any */
    const char *doc;        /* one sentence */
};

/* The name of a row for all members that have none of their own. */
#define SHAPE_OTHERS "*"

enum { SHAPE_LIST = 1000 }; /* most elements of a list that comes in */

/* Is it an object with these members and no others? False with *e ("topics: [2]: must be a text"). */
bool shape_check(const struct shape *rows, const json_t *object, struct err *e);
/* A query as an object by the rows, checked: each parameter at most once; NULL with *e. `others` says what else may be
 * there, and is passed over. The caller's reference. */
json_t *shape_query(const struct shape *rows, struct str query, bool (*others)(void *ctx, struct str name), void *ctx,
                    struct err *e);
/* Is one of the members of these names ("sink|all") there? False with *e. */
bool shape_any_of(const char *names, const json_t *object, struct err *e);
/* JSON Schema of an object with these members; `closed`: without others, for what comes in. The caller's reference. */
json_t *shape_schema(const struct shape *rows, bool closed);
/* The same of one row's value. */
json_t *shape_schema_of(const struct shape *row, bool closed);
