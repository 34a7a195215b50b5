/* SPDX-License-Identifier: MIT */
/* The vocabulary: every event type that an application's events are normalized to, and every path of their data.
 *
 * Types and paths are a closed list, kept in schemas/vocabulary.schema.json and schemas/events/; the tables are generated
 * from them (schemas/generate). Nothing is allocated, nothing changes: any thread may ask.
 *
 * A path is written with dots: "conversation.id", "duration_ms", "sources". The keys of the items of `sources` have paths,
 * too ("sources[].name"), which say what an item may have and in which form; they are no targets of a mapping. `before` and
 * `raw` are the bridge's own and have no paths; a value in `before` has the form and the flags of its path outside of it. */
#pragma once
#include <stdbool.h>
#include "bridge/lib/buf.h"
#include "bridge/lib/str.h"

enum vocabulary_form {
    VOCABULARY_STRING = 1, /* never empty */
    VOCABULARY_INTEGER,
    VOCABULARY_NUMBER,
    VOCABULARY_BOOLEAN,
    VOCABULARY_TIME,   /* RFC 3339, UTC, milliseconds */
    VOCABULARY_ARRAY,  /* of objects whose keys have the paths "<path>[].<key>" */
    VOCABULARY_OBJECT, /* any */
};

struct vocabulary_path {
    const char *path; /* NULL ends the table */
    enum vocabulary_form form;
    bool content;    /* what people wrote, or an answer to it: the option `content` acts on it */
    bool personal;   /* names a person: the option `personal` acts on it */
    bool made;       /* the bridge makes it of the text beside it: no target of a mapping */
    bool needed;     /* its object may not be without it */
    const char *doc; /* one sentence */
};

struct vocabulary_type {
    const char *name; /* "chat.response.generated"; NULL ends the table */
    unsigned major;   /* of its schema */
    const char *doc;  /* one sentence */
    /* What its data must have: a path, an object of which any path will do ("output"), or such with '|' between, of which
     * one will do. Ends with NULL, like the next two. */
    const char *const *required;
    const char *const *objects; /* what its data may have on top: "app", "conversation", "duration_ms" */
    /* The ids in its subject, the wider first: "conversation.id" and "message.id" make conversations/<id>/messages/<id>.
     * The first that has a value is the partitionkey. */
    const char *const *subject;
    const char *const *formerly; /* what it was called before; one that ends with '.': all that begin so */
};

extern const struct vocabulary_path vocabulary_paths[]; /* in the order in which data is written */
extern const struct vocabulary_type vocabulary_types[];

const struct vocabulary_path *vocabulary_path(struct str path); /* NULL: there is none */
const struct vocabulary_type *vocabulary_type(struct str name); /* the same; without a prefix */
const char *vocabulary_nearest_path(struct str path);           /* NULL: none is near */
const char *vocabulary_nearest_type(struct str name);
/* The type that was called so, or, with `prefix`, one of those that began so; NULL: there is none. */
const struct vocabulary_type *vocabulary_formerly(struct str name, bool prefix);

/* May data of that type have that path? */
bool vocabulary_carries(const struct vocabulary_type *type, struct str path);

typedef bool vocabulary_has_fn(void *ctx, const char *path);
/* What data of that type lacks when it has only the paths for which has() is true: the first of `required` that is not
 * met, or a needed path of an object of which it has another. NULL: nothing. app.name is taken as given. */
const char *vocabulary_lack(const struct vocabulary_type *type, vocabulary_has_fn *has, void *ctx);

/* May data of that type that has not that path lack something? */
bool vocabulary_is_vital(const struct vocabulary_type *type, const struct vocabulary_path *path);

typedef struct str vocabulary_value_fn(void *ctx, const char *path); /* the text of an id, or absent */
/* Appends the subject: of those ids that are not absent; nothing when all are. */
void vocabulary_subject(const struct vocabulary_type *type, vocabulary_value_fn *value, void *ctx, struct buf *out);

/* Does a dataschema name a type's present schema, whatever its base? */
bool vocabulary_of_schema(struct str dataschema);
/* Appends the type's dataschema: <base>/<type>/<major>. */
void vocabulary_schema(const struct vocabulary_type *type, const char *base, struct buf *out);
