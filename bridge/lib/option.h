/* SPDX-License-Identifier: MIT */
/* Options as rows of data: one row says key, type, default, range and documentation of one field of a struct.
 *
 * The loader (config.h), `aqueduct help` and schemas/config.schema.json all come from the rows.
 * The type column is taken from the field itself, so table and struct cannot disagree. An enum is an int to the
 * compiler (or an unsigned, without negative values): fields of these types are enums, and their rows have `.values`:
 *
 *   static const struct option_value colours[] = { { COLOUR_RED, "red" }, { COLOUR_BLUE, "blue" }, { 0 } };
 *   OPTION(struct thing, colour, .values = colours, .fallback = "red", .doc = "How it looks."),
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/err.h"
#include "bridge/lib/str.h"

struct bytes { /* 64KiB 1MiB 500B */
    int64_t n;
};
struct strings {
    char **at;
    size_t count;
};
struct moment { /* 2026-12-24 (its end, in UTC), 2026-12-24T18:00:00Z */
    int64_t ms; /* since 1970; 0: not given */
};
struct secret { /* never printed */
    char *text;
    struct moment until; /* in lists whose row has `.of` (secret_rows), else not given */
    char *written;       /* as the configuration has it, where it comes from a file (${file:...}); else NULL */
    char *name; /* in lists whose row has `.of` with one (named_secret_rows): whose it is, no secret; or NULL */
};
struct secrets {
    struct secret *at;
    size_t count;
};
struct durations {
    struct duration *at;
    size_t count;
};
struct map_entry {
    char *key, *value;
    char *written; /* the value as the configuration has it, where it comes from a file (${file:...}); else NULL */
};
struct map { /* text to text, in the file's order */
    struct map_entry *at;
    size_t count;
};
struct list { /* of structs described by `.of`, each `.of_size` bytes */
    void *at;
    size_t count;
};
struct preset {
    char *name;    /* NULL or "": none */
    void *content; /* what its file says: the struct that the rows `.of` describe; NULL: none */
};
struct tree { /* whatever YAML may be */
    /* numbers, true, false and null are what they are when written without quotes; NULL: nothing was said */
    char *json;
};
struct defaults {
    char *name; /* of the file */
};
struct filter;

struct option_value { /* one of the values of an enum field */
    int value;
    const char *text; /* as written in YAML; NULL ends a table */
};

enum option_type {
    OPT_BOOL,
    OPT_INT,
    OPT_REAL,
    OPT_STR,
    OPT_SECRET,
    OPT_ENUM, /* one of `.values` */
    OPT_DURATION,
    OPT_MOMENT,
    OPT_BYTES,
    OPT_STRINGS,
    OPT_SECRETS, /* with `.of`, an element may also be a mapping by these rows */
    OPT_DURATIONS,
    OPT_MAP,
    OPT_FILTER,
    OPT_PRESET,   /* the name of a file with the rows `.of`, which is loaded too */
    OPT_TREE,     /* one of `.values`, if it has some, a text with {{expressions}}, or a list or mapping of anything
                 (event/template.h) */
    OPT_DEFAULTS, /* the name of a file with keys of the same mapping, which hold where it does not say otherwise */
    OPT_LIST,     /* a sequence of mappings with the rows `.of` */
    OPT_GROUP,    /* one mapping with the rows `.of`, a struct inside the struct */
};

struct option_word { /* the last one is empty */
    const char *text, *list;
};

struct option {
    const char *key; /* as written in YAML; NULL ends a table */
    enum option_type type;
    size_t offset;
    bool required;
    bool folded;          /* help leaves out the rows `.of`, which are those beside it */
    bool own;             /* of an endpoint: what stands beside `endpoints:` is no default for it */
    const char *fallback; /* default, in the words of the YAML; NULL: zero, empty or absent */
    int64_t min, max; /* of numbers, durations (ms), sizes (bytes), and list lengths; both 0: no range beyond >= 0 */
    const struct option_value *values; /* of enums, and of OPT_TREE */
    const struct option_word *words;   /* OPT_DURATIONS: what may stand for a whole list; NULL: nothing */
    const struct option *of;           /* rows of OPT_LIST, OPT_GROUP, OPT_PRESET; OPT_SECRETS */
    size_t of_size;                    /* OPT_LIST, OPT_PRESET: bytes of the struct they fill */
    const char *folder; /* OPT_PRESET, OPT_DEFAULTS: where such files are, below schemas/; NULL: presets */
    const char *doc;    /* one sentence */
};

#define OPTION_TYPE(field)                                                                                             \
    _Generic((field), bool: OPT_BOOL, int64_t: OPT_INT, double: OPT_REAL, char *: OPT_STR,     \
        int: OPT_ENUM, unsigned: OPT_ENUM, \
        struct secret: OPT_SECRET, struct duration: OPT_DURATION, struct bytes: OPT_BYTES,     \
        struct moment: OPT_MOMENT, \
        struct strings: OPT_STRINGS, struct secrets: OPT_SECRETS, struct durations: OPT_DURATIONS, \
        struct map: OPT_MAP, struct filter *: OPT_FILTER, struct preset: OPT_PRESET, struct tree: OPT_TREE, \
        struct defaults: OPT_DEFAULTS, struct list: OPT_LIST)
/* A row whose YAML key is the field's name. */
#define OPTION(T, field, ...)                                                                                          \
    {                                                                                                                  \
        .key = #field, .type = OPTION_TYPE(((T *)0)->field), .offset = offsetof(T, field), __VA_ARGS__                 \
    }
/* The same of a field of a struct inside the struct, among the others in the YAML. */
#define OPTION_IN(T, in, field, ...)                                                                                   \
    {                                                                                                                  \
        .key = #field, .type = OPTION_TYPE(((T *)0)->in.field), .offset = offsetof(T, in.field), __VA_ARGS__           \
    }
/* A row for a struct inside the struct. */
#define OPTION_GROUP(T, field, rows, ...)                                                                              \
    {                                                                                                                  \
        .key = #field, .type = OPT_GROUP, .offset = offsetof(T, field), .of = (rows), __VA_ARGS__                      \
    }

static inline bool strings_have(const struct strings *list, struct str text)
{
    for (size_t i = 0; i < list->count; i++)
        if (str_eq(str_of(list->at[i]), text))
            return true;
    return false;
}
