/* SPDX-License-Identifier: MIT */
/* `map`: which event of the vocabulary (bridge/event/vocabulary.h) something that an application tells becomes, and what
 * SQL gives each path of its data. What the SQL reads, a row or a body, is its connector's.
 *
 * As written, entries are options, with `data` that all of them share; at work an entry is an *outline*: its type, and one
 * *binding* per path, the shared ones and the entry's own together, in the order in which data is written. What a value
 * became is a *cell*, one per binding, in a buffer of JSON. An outline never changes; any thread may read it. */
#pragma once
#include "bridge/event/vocabulary.h"
#include "bridge/lib/option.h"

enum { MAP_ENTRIES = 32 };

struct map_options {
    char *type, *when, *subject, *partitionkey;
    struct strings op; /* of those connectors that tell operations apart */
    struct map data;
};
/* Option rows of an entry, but for `op`. */
#define MAP_ROWS(when_doc, data_doc)                                                                                   \
    OPTION(struct map_options, type, .required = true,                                                                 \
           .doc = "A type of the vocabulary, such as chat.response.generated or document.embedded."),                  \
        OPTION(struct map_options, when, .doc = (when_doc)), OPTION(struct map_options, data, .doc = (data_doc)),      \
        OPTION(struct map_options, subject,                                                                            \
               .doc = "SQL of the event's subject; default: by its ids, as conversations/<id>/messages/<id>."),        \
        OPTION(struct map_options, partitionkey,                                                                       \
               .doc = "SQL of the attribute partitionkey; default: the conversation's id, else the object's.")

struct cell {               /* what a value became, in a buffer of JSON */
    size_t at, n;           /* its member, "text":"..."; n 0: none */
    size_t more_at, more_n; /* members that the bridge makes of it ("chars":5) */
    bool large;             /* it would be too large */
    bool cut;               /* its text was cut */
};

struct binding {
    const struct vocabulary_path *path;
    const char *name;               /* the last word of the path */
    const char *sql;                /* NULL: app.name, which the source knows */
    bool constant;                  /* a literal, and no id: it alone makes no object */
    bool own;                       /* of the entry, not of all */
    bool vital;                     /* without it the data may lack what its type must have */
    bool counted, digested, marked; /* beside it the vocabulary has .chars, .digest, .truncated */
};

struct outline {
    const struct map_options *o;
    const struct vocabulary_type *type;
    size_t twin; /* how many entries before it have the same type */
    struct binding *bindings;
    size_t count;
};

/* `place` of what is wrong leads *e: "map[1]: data.run.id: ...". `map`: of struct map_options. What an op may be its
 * connector knows. */
bool map_check(const struct map *data, struct list map, struct err *e);
/* SQL that SQLite refused for `why`, and that is nothing but a word: probably a text that lacks its quotes. Writes that as
 * " (...)", else "". */
enum { MAP_HINT_TEXT = 128 };
void map_hint_quotes(const char *sql, const char *why, char out[MAP_HINT_TEXT]);
/* Has the data of its events anything that people wrote? */
bool map_tells_content(const struct map *data, const struct map_options *m);
/* Of entries that were checked: the i-th. */
void map_outline(const struct map *data, struct list map, size_t i, struct outline *out);
void map_end(struct outline *o);
