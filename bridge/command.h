/* SPDX-License-Identifier: MIT */
/* The contract of commands: `aqueduct NAME`. Each is one constant struct, handed on by a table: bridge/cli/commands.c
 * for the core's, connectors/connectors.c for a connector's.
 *
 * The command line parses the words by the command's flag rows, loads the configuration if the command needs it, and
 * calls run() once, on the main thread, with nothing opened and no other thread. The same rows are its help.
 *
 *   struct greet_flags { struct str name; bool loud; };
 *   static const struct flag greet_flags[] = {
 *       FLAG(struct greet_flags, name, .name = "--name", .value = "NAME", .doc = "whom"),
 *       FLAG(struct greet_flags, loud, .name = "--loud", .doc = "in capitals"),
 *       { 0 },
 *   };
 */
#pragma once
#include <stdint.h>
#include "bridge/event/outcome.h"
#include "bridge/lib/err.h"
#include "bridge/lib/option.h"
#include "bridge/lib/str.h"

/* ---- flags ---- */

enum flag_type {
    FLAG_SWITCH, /* takes no value */
    FLAG_NUMBER, /* a whole number from min to max */
    FLAG_TEXT,   /* any text but an empty one, or one of `choices`; absent when it was not given */
    FLAG_TEXTS,  /* the same; may be given several times */
};

struct flag {
    const char *name;   /* "--limit"; NULL ends a table */
    const char *letter; /* "-n", the short way to write it; NULL: none */
    enum flag_type type;
    size_t offset;
    const char *value;   /* what the help calls its value: "FILE" */
    int64_t min, max;    /* of numbers */
    const char *choices; /* of texts: "a|b|c"; NULL: any */
    const char *group;   /* the help has this line above it; "": an empty one; NULL: none */
    const char *doc;     /* a few words */
};

#define FLAG_TYPE(field)                                                                                               \
    _Generic((field), bool : FLAG_SWITCH, int64_t : FLAG_NUMBER, struct str : FLAG_TEXT, struct strings : FLAG_TEXTS)
/* A row; the type column is taken from the field. */
#define FLAG(T, field, ...)                                                                                            \
    {                                                                                                                  \
        .type = FLAG_TYPE(((T *)0)->field), .offset = offsetof(T, field), __VA_ARGS__                                  \
    }

/* The same of a field of a struct inside the struct. */
#define FLAG_IN(T, in, field, ...)                                                                                     \
    {                                                                                                                  \
        .type = FLAG_TYPE(((T *)0)->in.field), .offset = offsetof(T, in.field), __VA_ARGS__                            \
    }

/* ---- commands ---- */

enum { COMMAND_DONE = 0, COMMAND_FAILED = 1, COMMAND_USAGE = 2 }; /* exit codes: done, failed, wrong usage */

struct config;
struct connectors;
struct publisher;
struct endpoint;
struct record;
struct sink;
struct source;

struct command_names {                 /* in the configuration, beside a sink */
    struct strings endpoints;          /* of its endpoints; none: it is without `endpoints:`, or these are not known */
    struct endpoint *const *receivers; /* these endpoints: options filled, not opened; NULL: it was made at run time */
    bool many;                         /* it has `endpoints:` */
    struct strings formerly;           /* its earlier names */
};

struct command_place { /* to which an event can be given: borrowed from the configuration */
    const char *sink;
    const char *endpoint; /* NULL: the sink has no endpoints */
};

struct command_call;
struct json_t;

enum command_asked {
    ASKED_DONE = 1, /* status is 2xx */
    ASKED_REFUSED,  /* the daemon says in *e why not */
    ASKED_NOBODY, /* no daemon runs, or it has no API, or does not have it for whoever asks: *e. What can be done without is */
    ASKED_FAILED, /* it was asked, and what became of it is not known: *e */
};
struct command_question {      /* to the running daemon, of its JSON API (admin/api.h) */
    const char *method, *path; /* "POST", "/api/v1/..." with its query */
    const struct json_t *body; /* NULL: none */
    int64_t version;           /* If-Match; 0: none */
    int64_t wait_ms;           /* for the answer; 0: 30 s */
    long status;               /* what it answered with; 0: nothing */
    struct json_t *answer;     /* its JSON, also of what it refused: the caller's reference; NULL: none */
};
typedef void command_use_fn(void *ctx, struct source *const *sources, size_t count);

struct command_call {                    /* everything is borrowed for the call */
    char *const *words;                  /* behind the command's name, without the flags */
    size_t word_count;                   /* from min_words to max_words */
    void *flags;                         /* the command's struct, filled by its rows */
    struct strings files;                /* the configuration's files: -c, else AQUEDUCT_CONFIG, else ./bridge.yaml */
    const struct connectors *connectors; /* for the core's commands */
    /* Reads a configuration from text, as from a file, and calls use() with its sources: options filled, not opened, gone
     * afterwards. False with the first that is wrong with it. */
    bool (*load)(const struct command_call *call, struct str yaml, command_use_fn *use, void *ctx, struct err *e);
    /* Reads the configuration of `files` and calls use() in the same way, if it passes the check. False: what is wrong with it
     * was said on stderr. */
    bool (*load_files)(const struct command_call *call, command_use_fn *use, void *ctx);
    /* What a command with `config` gets as well: */
    const struct config *config; /* for the core's commands */
    struct sink *const *sinks;   /* every configured sink, options filled, not opened; those of a type have its ops */
    const struct command_names *names; /* of each of these sinks */
    size_t sink_count;
    const struct json_t *made; /* for the core's commands: endpoints as a running daemon lists them; NULL: none tells */
    const char *const *sources; /* the names of all configured sources; ends with NULL */
    const char *prefix;         /* of the bridge's own topics */
    /* Publishes the records durably, as one publication (through the running daemon when it owns the log): returns when they
     * are stored, or says in *e why not. INVALID: one of them can never be. */
    enum outcome (*publish)(const struct command_call *call, const struct record *records, size_t count, struct err *e);
    struct publisher *publisher; /* of publish() */
    /* Asks the running daemon. NULL in a call without `config`. */
    enum command_asked (*ask)(const struct command_call *call, struct command_question *q, struct err *e);
    /* Finds whom "SINK" or "SINK/ENDPOINT" names. False with *e, which says what there is: it is not configured, not told
     * which endpoint, cannot be given single events, or never ran with this broker, so that it would not find them. */
    bool (*place)(const struct command_call *call, struct str text, struct command_place *out, struct err *e);
};

struct command {
    const char *name, *doc;   /* "dead"; one sentence */
    const char *synopsis;     /* what follows the name, on one line: "[-c FILE]... [--json]"; NULL: see usage */
    const char *usage;        /* the head of its help; NULL: made of name, synopsis and doc */
    const char *notes;        /* below the flags; NULL: nothing */
    const struct flag *flags; /* ends with { 0 }; NULL: none */
    size_t size;              /* of the struct they fill */
    size_t min_words, max_words;
    const char *const *verbs; /* what the first word can be: "list", "show"; ends with NULL; NULL: anything */
    bool config;              /* needs a configuration that passes the check */
    bool (*needs_config)(const void *flags); /* does it with these flags? NULL: always */
    /* it uses the sinks of this type alone, so that the secrets of all others may be missing; NULL: all */
    const char *sinks;
    /* Returns the exit code. Prints to stdout and says errors on stderr. */
    int (*run)(struct command_call *call);
};
