/* SPDX-License-Identifier: MIT */
/* What the files of config/ share: the YAML tree, the collected problems, and filling structs by option rows.
 *
 *   load.c       files -> one tree -> struct config
 *   environment.c  variables -> the same tree
 *   tree.c       text -> tree of nodes, each with its place; aliases, merge keys, several files
 *   sections.c   the sections: their rows, and the mappings by name
 *   endpoints.c  the receivers of a sink that has several
 *   made.c       one of them that is made at run time
 *   fill.c       a mapping of the tree -> structs, by rows
 *   scalar.c     one scalar of the tree -> one field, by its row
 *   value.c      text -> number, duration, size, name, and back
 *   preset.c     the text of a preset
 *   check.c      what the sections say about each other
 *   review.c     what this machine says about them, and warnings
 *   trial.c      what a source makes of a file that a person names
 *   view.c       what is in effect, and where it stands
 *   differ.c     two structs -> the keys in which they differ
 *   plan.c       two configurations -> what is different, object by object
 *   problems.c   problems: collected, sorted, printed
 *   help.c, schema.c   the rows shown to people and editors
 *   help_pages.c the help that is text
 *   help_preset.c  what a preset does, as text
 *
 * The tree lives as long as the configuration. */
#pragma once
#include "bridge/config/config.h"
#include "bridge/lib/arena.h"

enum {
    CONFIG_PROBLEMS = 100,       /* most problems kept */
    CONFIG_FILE_BYTES = 1 << 20, /* longest configuration file */
    CONFIG_DEPTH = 64,           /* deepest nesting */
    CONFIG_NODES = 100000,       /* most nodes after aliases are followed */
    CONFIG_KEYS = 4096,          /* most keys of one mapping */
};

/* ---- the tree ---- */

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAPPING };

struct node {
    enum node_kind kind;
    const char *file;
    int line, column;
    struct str written;  /* a scalar as it stands in the file: this may be shown, unless it is a secret */
    struct str text;     /* the same, expanded; of a list or mapping: what its variable says, as a text */
    const char *exposed; /* it holds the text of a file that all users may read: that, and the fix; NULL: it does not */
    bool plain;          /* written without quotes */
    bool broken;         /* already reported: nothing of it is used, and no more is said of it */
    const char *why;     /* broken, and not reported yet (tree_load_part) */
    const char *no_yaml; /* a variable's value that begins as YAML and is a text: what is wrong with it as YAML */
    struct entry *at;    /* of lists (key NULL) and mappings */
    size_t count, cap;
};
struct entry {
    struct node *key, *value;
};

/* The tree of one YAML document, or NULL with a problem added. Problems that leave a tree (a duplicate key, an unset
 * variable) are added too. `file` must live as long as the arena. */
struct node *tree_load(struct arena *a, const char *file, struct str yaml, struct problems *out);
/* The same, but of what cannot be expanded only node.why tells. */
struct node *tree_load_part(struct arena *a, const char *file, struct str yaml, struct problems *out);
/* The first node with `why` at or below n, which may be NULL; NULL: there is none. */
const struct node *tree_find_why(const struct node *n);
/* Merges mapping `from` into mapping `into`: mappings by key, lists by appending, anything else twice is a problem. */
void tree_merge(struct arena *a, struct node *into, struct node *from, struct problems *out);
/* Gives *n the value of the variable `name` as a text, expanded. Shown of it is "${NAME}". */
void tree_text(struct arena *a, struct node *n, const char *name, struct str value, bool part, struct problems *out);
/* The same; but what begins with [ or { and is YAML is that, where no text is wanted. */
void tree_value(struct arena *a, struct node *n, const char *name, struct str value, bool part, struct problems *out);
/* What has the key `word` (in any case, with _ for - and .) in the mapping, or is its entry of that number in the list; made if it is
 * not there, said by `file`. NULL: n is neither, or has entries up to there. */
struct node *tree_below(struct arena *a, struct node *n, const char *file, struct str word);
struct node *node_get(const struct node *mapping, const char *key); /* NULL: not there, or no mapping */
bool node_is_null(const struct node *n);                            /* nothing, ~ or null */
const char *node_kind_name(const struct node *n);                   /* "a list" */

/* ---- problems ---- */

struct where {              /* where in the configuration: sinks.crm.retry[2]; lives on the stack of the walk */
    const struct where *up; /* NULL: the top */
    struct str key;         /* absent: a list's element */
    size_t index;
};

void problem_add(struct problems *out, const char *file, int line, int column, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* The same with the place's name before the text. `at` may be NULL. */
void problem_at(struct problems *out, const struct node *n, const struct where *at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The same as a warning: the configuration is good all the same. */
void problem_warn(struct problems *out, const struct node *n, const struct where *at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* By file (in the order given), line and column; equal ones once. */
void problems_sort(struct problems *p, const char *const *files, size_t count);

struct faults { /* what a connector says about one object */
    struct problems *out;
    const struct node *n;
    const struct where *at;
    size_t count;
};
/* Both are fault_fn (bridge/connector.h) and take a struct faults; the second makes warnings. */
void fault_say(void *ctx, const char *place, const char *why);
void fault_warn(void *ctx, const char *place, const char *why);
/* An error of a connector that begins with one of its keys ("url: ...", "secrets[1]: ...") is put at that key. */
void fault_say_at_key(struct problems *out, const struct node *n, const struct where *at, const char *text);

enum { SHOWN_BYTES = 64 };
/* A value cut to a length that is fit to be shown, for "%.*s". */
#define SHOWN(s) (int)shown_length(s), (s).at ? (s).at : ""
size_t shown_length(struct str s);

/* " (did you mean x?)" or "", in `out`. */
enum { HINT_TEXT = 128 };
const char *problem_hint(struct str word, const char *const *names, char out[HINT_TEXT]);

/* ---- values ---- */

bool value_duration(struct str text, int64_t *ms);
bool value_bytes(struct str text, int64_t *n);
enum { VALUE_TEXT = 32, RANGE_TEXT = 80 };
/* A row's range (of numbers, or of a list's length) as text: "from 100ms to 10m", "at least 1". */
const char *value_range(const struct option *row, char out[RANGE_TEXT]);
bool value_open_range(const struct option *row); /* no upper end: max is not above min */

/* ---- filling ---- */

struct fill_target { /* one mapping may fill several structs: the core's own and the connector's */
    const struct option *rows;
    void *obj;
    const struct node *defaults; /* a mapping with what the first one lacks, but for rows that are `own`; NULL: none */
};

struct fill {
    struct arena *arena; /* of the values */
    struct problems *out;
    struct config_view *view; /* is told of each option; NULL: nobody is */
};

/* Notes the option, and what it says: n, or NULL, its default. */
void view_row(struct fill *f, const struct option *row, const struct node *n, const struct where *at);
void view_free(struct config_view *v);

/* Fills one field from a scalar; problems for one that does not fit the row. Not for lists, mappings and their kin. */
void scalar_fill(struct fill *f, const struct option *row, const struct node *n, void *field, const struct where *at);
/* May n, which says something, be a secret? Not when it comes from a file that all users can read: then a problem. */
bool scalar_check_secret(struct fill *f, const struct node *n, const struct where *at);
/* Is n a scalar that says something? If not, a problem. */
bool scalar_check(struct fill *f, const struct node *n, const struct where *at);
/* Fills the targets from a mapping: defaults, values, and problems for unknown and missing keys. `n` NULL: only defaults.
 * `others` (NULL-terminated, or NULL): keys that are read elsewhere. */
void fill_mapping(struct fill *f, const struct node *n, const struct fill_target *targets, size_t count,
                  const char *const *others, const struct where *at);
json_t *fill_json(const struct node *n); /* every scalar is a text; NULL: one is not UTF-8 */
/* Is n a mapping? If not, a problem; null counts as an empty one. */
bool fill_is_mapping(struct fill *f, const struct node *n, const struct where *at);

/* ---- sections ---- */

enum { KIND_SOURCE, KIND_SINK, CONNECTOR_KINDS };

struct connector_type { /* what the configuration knows of a type of source or sink */
    const char *type, *doc;
    size_t size;
    const struct option *options;
    bool broadcast, dead_letters;         /* of a sink (bridge/connector.h) */
    const struct endpoint_ops *endpoints; /* of a sink; NULL: it knows none */
    bool copies;                          /* several of it may run */
    bool ordered;                         /* of a source */
};
/* Why an entry of that type has no use for an option of the core ("shows what comes ..."); NULL: it has. */
const char *sections_no_use(const struct connector_type *t, const char *key);
bool sections_is_name(struct str s); /* of a source or sink */
struct connector_kind {
    const char *name, *section; /* "source", "sources" */
    const struct option *core;  /* the core's own rows for every type */
    /* The i-th type; false: there are no more. */
    bool (*type)(const struct connectors *connectors, size_t i, struct connector_type *out);
};
extern const struct connector_kind connector_kinds[CONNECTOR_KINDS];

/* The only endpoint of a sink without `endpoints:`, allocated, and what fills it from the sink's own mapping; NULL: it has
 * several, or none at all. */
struct endpoint *endpoints_only(struct fill *f, const struct connector_type *t, const struct node *n,
                                struct fill_target *target);
enum { SINK_KEYS = 64 };
/* The keys of a sink's (or source's) mapping that are not filled with it: its type, and what is for its endpoints. */
void endpoints_keys(const struct connector_type *t, const struct node *n, const char *keys[SINK_KEYS]);
/* Fills the entries of `endpoints:` in the sink's mapping. */
void endpoints_fill(struct fill *f, const struct connector_type *t, struct sink_config *s, const struct node *n,
                    const struct where *at);
/* Fills one of them, by `ops` and the core's rows; `sink`: the mapping beside it. */
void endpoints_fill_one(struct fill *f, const struct endpoint_ops *ops, struct endpoint_config *c,
                        const struct entry *entry, const struct node *sink, const struct where *up);
/* Is it the name of a source, a sink or an endpoint? If not, a problem. */
void name_check(struct fill *f, const struct node *key, const struct where *at);
/* Fills the whole configuration from the tree. */
void sections_fill(const struct connectors *connectors, struct config *c, struct node *root, struct problems *out);

/* What of it neither its rows nor the connector's can say; `own`: its mapping. */
void check_receiver(const struct sink_config *s, const struct endpoint_config *c, const struct node *own,
                    const struct where *at, struct problems *out);
/* What the sections say about each other. */
void config_check(const struct config *c, const struct node *root, struct problems *out);
/* Warns of paths into the data that no event has which comes there; each source can say its types. */
void paths_review(const struct config *c, const struct node *root, struct problems *out);
/* Warns of filters for event types that nobody emits, and of such paths. */
void emitted_review(const struct config *c, const struct node *root, struct problems *out);
/* What this machine says about them, and warnings. */
void config_review(const struct config *c, const struct node *root, const struct config_trial *trial,
                   struct problems *out);
/* Does each of its files say which source is meant, and is it there? If not, problems. */
bool trial_check(const struct config *c, const struct config_trial *t, struct problems *out);
/* Tries the source on the files that are meant for it; false: there is none, or no trial. */
bool trial_source(const struct config *c, const struct config_trial *t, const struct source *source,
                  struct faults *faults);
/* A row with that key and type, or NULL. */
const struct option *option_find(const struct option *rows, const char *key, enum option_type type);

/* ---- differences ---- */

enum { DIFFER_KEY = 256, DIFFER_MOST = 100 };
struct differences { /* zeroed: none */
    char **keys;     /* at most DIFFER_MOST */
    size_t count;
};
bool differ_field(const struct option *row, const void *a, const void *b); /* of fields that the row filled */
/* Adds every key, below `path`, in which two structs differ that these rows filled. */
void differ_rows(const struct option *rows, const void *a, const void *b, const char *path, struct differences *out);
void differ_add(struct differences *out, const char *key);
