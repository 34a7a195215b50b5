/* SPDX-License-Identifier: MIT */
/* The configuration: YAML files -> tree with file:line:column -> options checked against tables -> this struct.
 *
 * Everything wrong is collected (struct problems), so `aqueduct check` can say all of it at once; each problem names
 * the place, the object, the cause, and the nearest valid name where there is one:
 *
 *   bridge.yaml:14:12: sinks.crm.timeout: "5 parsecs" is not a duration (examples: 250ms 30s 5m 2h 7d)
 *
 * ${VAR}, ${VAR:-default} and ${file:/path} work inside any scalar; $${ is a literal ${. Several files merge:
 * mappings by key, lists by appending; the same scalar twice is an error. Main thread only. All memory lives until
 * config_free. */
#pragma once
#include <stdio.h>
#include "bridge/auth/token_file.h"
#include "bridge/broker/broker.h"
#include "bridge/connector.h"
#include "bridge/event/filter.h"
#include "bridge/lib/log.h"
#include "bridge/net/http/options.h"
#include "bridge/verify/options.h"

struct problem {
    char *file;       /* NULL: not of a file (an unset AQUEDUCT_CONFIG) */
    int line, column; /* from 1; 0: unknown */
    char *text;
    bool warning; /* the configuration is good all the same */
};

struct problems {
    struct problem *at;
    size_t count;
};

enum { ROUTE_TARGETS = 16 }; /* most topics one event goes to; config_load refuses more `also` routes in a row */

enum route_encoding {
    ENCODING_BINARY,
    ENCODING_STRUCTURED,
    ENCODING_AVRO, /* this and those behind it have a schema in the registry */
    ENCODING_AVRO_COLUMNS,
    ENCODING_JSON_SCHEMA
};
enum route_timestamp { TIMESTAMP_EVENT, TIMESTAMP_STORED };
enum empty_data { EMPTY_DATA_NULL, EMPTY_DATA_EMPTY, EMPTY_DATA_JSON };
enum unrouted { UNROUTED_ERROR, UNROUTED_DROP };
enum reload_when { RELOAD_ON_REQUEST, RELOAD_ON_CHANGE };
enum sink_order { ORDER_NONE, ORDER_KEY };
enum sink_start { START_EARLIEST, START_LATEST };
enum sink_attempts { ATTEMPTS_NONE, ATTEMPTS_FAILURES, ATTEMPTS_SAMPLE, ATTEMPTS_ALL };

struct route_config {      /* an entry of `routes:`; rows in route_options */
    struct filter *filter; /* NULL: everything */
    char *topic;
    char *key; /* attribute whose value becomes the record key; NULL: the partitionkey extension, else the subject */
    enum route_encoding encoding;
    enum route_timestamp timestamp; /* which time others see as the record's */
    enum empty_data empty_data;     /* binary: the value of an event without data */
    struct strings tombstones;      /* types whose events with a key are stored without a value, in binary mode */
    bool also;                      /* go on to later routes after this one took the event */
};

enum source_delivery { AT_LEAST_ONCE, EXACTLY_ONCE };

struct source_config {
    struct source *source;         /* allocated, options filled, not opened */
    int64_t in_flight;             /* the core's own rows (source_options): most events between read() and settle() */
    struct bytes in_flight_bytes;  /* and most bytes of those; 0: no limit */
    int64_t dedupe_size;           /* most ids remembered */
    struct duration dedupe_window; /* for how long; 0: no limit */
    int64_t threads;               /* copies of it that run (struct source) */
    enum source_delivery delivery; /* into the topics */
    int64_t transaction;           /* EXACTLY_ONCE: most events in one */
};

struct circuit_config {    /* rows in circuit_options */
    int64_t failures;      /* so many in a row open it; 0: none do */
    int64_t share;         /* so many per cent of the last attempts do; 0: none do */
    struct duration probe; /* from one attempt to the next while it is open */
};

struct endpoint_config {       /* an entry of a sink's `endpoints:` */
    struct endpoint *endpoint; /* allocated, options filled, not opened */
    /* the core's own rows (endpoint_options): */
    struct filter *filter; /* which of the sink's events */
    struct durations retry;
    int64_t retry_jitter;
    struct duration retry_for, retry_memory;
    int64_t window; /* most events of it that may hold up the sink's window */
    double rate;    /* most attempts in a second; 0: no limit */
    struct circuit_config circuit;
    bool paused; /* it gets nothing; what is for it waits */
    enum sink_order order;
};

struct node;

struct sink_config {
    struct sink *sink; /* allocated, options filled, not opened; so is its only endpoint */
    struct endpoint_config *endpoints;
    size_t endpoint_count;
    bool many; /* it has `endpoints:`, if only empty ones: those that are made at run time come to them */
    const struct node *written; /* its mapping; private (made.h) */
    /* the core's own rows (sink_options), valid for every sink type: */
    struct strings topics;
    struct filter *filter;
    struct durations retry;        /* waits between attempts; afterwards a dead letter */
    int64_t retry_jitter;          /* per cent by which a wait may be longer */
    struct duration retry_for;     /* longest time from the first attempt to the last; 0: no limit */
    struct duration retry_memory;  /* waits up to this stay in memory, longer ones happen in waiting topics */
    int64_t window;                /* most events between poll and done */
    double rate;                   /* most attempts in a second, to all of its endpoints together; 0: no limit */
    struct circuit_config circuit; /* of its only receiver */
    bool paused;                   /* nothing is taken from its topics and nothing sent */
    enum sink_order order;
    enum sink_start start;       /* where a sink begins that has no position yet */
    enum sink_attempts attempts; /* which of its attempts the delivery log gets */
    struct strings formerly;     /* its earlier names, whose position and waiting events are its own */
    int64_t threads;             /* copies of it that run (struct sink) */
};

/* Does it write to the delivery log? */
static inline bool sink_logs_attempts(const struct sink_config *s)
{
    return s->attempts != ATTEMPTS_NONE && !s->sink->ops->broadcast && !s->sink->ops->dead_letters;
}

struct admin_config {
    char *listen;  /* "" : none */
    char *control; /* "" : beside the log, or none */
    char *tls_certificate, *tls_key, *tls_client_ca, *tls_client_crl;
    enum tls_client tls_client;
    struct secrets tokens;
    struct verify_options verify;
    struct strings hosts;
    bool api, console, audit;
    char *token_file;
    struct strings operators; /* names, of those whom `tokens` and `verify` let in */
    enum role loopback;
    struct duration session;
    char *key_file; /* of keys under which secrets lie in the state; NULL or "": none */
};

/* Does the listener have the JSON API? The console is one of its users. */
static inline bool admin_has_api(const struct admin_config *a)
{
    return a->listen[0] && (a->api || a->console);
}

static inline struct tls_options admin_tls(const struct admin_config *a)
{
    return (struct tls_options){ .certificate = a->tls_certificate,
                                 .key = a->tls_key,
                                 .client_ca = a->tls_client_ca,
                                 .client_crl = a->tls_client_crl,
                                 .client = a->tls_client };
}

struct log_config {
    enum log_level level; /* the least that is written */
    enum log_format format;
};

struct traces_config {
    char *endpoint; /* "": there are none */
    struct map headers;
    double sample; /* share of the traces */
    char *service;
    char *ca_file, *cert_file, *key_file;
};

struct config_value { /* of an option, as it is in effect */
    char *path;       /* sinks.crm.retry */
    char *value;      /* as it is written: variables are not expanded; what may be a secret is hidden */
    char *file;       /* where it stands; NULL: nobody said it, it is the default */
    int line, column;
};
struct config_view {
    struct config_value *at;
    size_t count, cap;
    bool cut; /* there are more */
};

struct config {
    struct broker_config broker;
    struct list topics;            /* of struct topic_config */
    struct source_config *sources; /* at the end those of sinks (sink_ops.inward) */
    size_t source_count;
    struct sink_config *sinks;
    size_t sink_count;
    struct list routes;     /* of struct route_config */
    enum unrouted unrouted; /* what happens to an event that no route takes */
    struct admin_config admin;
    struct log_config log;
    struct traces_config traces;
    struct duration drain; /* deadline of a graceful stop */
    enum reload_when reload;
    struct strings files;                /* that ${file:...} names in it */
    struct config_view view;             /* every option in effect, in no order */
    const struct connectors *connectors; /* it was read with these */
    char *broker_missing;                /* why the broker's section is not whole (config_load_part); NULL: it is */
    const struct node *broker_written;   /* its mapping; NULL: there is none; private (config_broker_json) */
    void *arena;                         /* private */
};

extern const struct option config_options[], source_options[], sink_options[], endpoint_options[], route_options[],
    topic_options[];
extern const struct option_value route_encodings[]; /* enum route_encoding by name */

/* Reads and checks the files; `connectors`: which types of sources and sinks there are. NULL when there is any problem.
 * Does not open connectors. */
struct config *config_load(const struct connectors *connectors, const char *const *files, size_t count,
                           struct problems *out);
struct config_trial {         /* of a source's options on another file than its own (struct trial) */
    struct strings databases; /* each FILE, or NAME=FILE: of which source */
    void (*sample)(void *ctx, const char *source, const char *rule, bool newest, const struct event *ev);
    void (*missed)(void *ctx, const char *source, const char *rule, const char *what);
    void *ctx;
};
/* The same, and looks at what starting would stumble over on this machine (files, folders, certificates); adds
 * warnings, which are no reason for NULL. Opens and changes nothing. `trial` may be NULL. */
struct config *config_load_reviewed(const struct connectors *connectors, const char *const *files, size_t count,
                                    const struct config_trial *trial, struct problems *out);
/* Of one file's text; `name` is what problems call it. */
struct config *config_load_text(const struct connectors *connectors, const char *name, struct str yaml,
                                struct problems *out);
/* A text in the language of the configuration (YAML, so also JSON) as JSON in which every scalar is a text, as filters
 * are read (filter_new); NULL with *e. The caller's reference. */
json_t *config_json(struct str yaml, struct err *e);
/* The broker's section as it is in effect, secrets too, in which every scalar is a text; an empty one when nothing is said of it.
 * The caller's reference. */
json_t *config_broker_json(const struct config *c);
/* For a command that needs the sinks of that type alone: variables and files that other parts name may be missing.
 * Those parts are not filled; of a broker's, broker_missing says what is. */
struct config *config_load_part(const struct connectors *connectors, const char *const *files, size_t count,
                                const char *sink_type, struct problems *out);
void config_free(struct config *c); /* accepts NULL; frees the connectors' structs too (closed by then) */
void problems_free(struct problems *p);
size_t problems_errors(const struct problems *p);         /* how many are no warnings */
void problems_print(const struct problems *p, FILE *out); /* one line each: file:line:column: text */
json_t *problems_json(const struct problems *p);          /* [{file,line,column,severity,text}]; the caller's */
/* {"ok":false,"problems":[{file,line,column,severity,text}]}, and behind it the members of `more`, unless that is NULL. */
void problems_print_json(const struct problems *p, json_t *more, FILE *out);

/* Tells which topics get what people wrote, as it is, as far as sources and routes say it: topic by topic, each source,
 * and by which of its options (source_ops.content). */
void content_each(const struct config *c,
                  void (*each)(void *ctx, const char *topic, const char *source, const char *why), void *ctx);
/* The names in the files, whether or not they are right and secrets are there (for completion): of which "sources", "sinks",
 * "topics" or "places" (SINK, SINK/ENDPOINT). One may come twice. */
void config_each_name(const char *const *files, size_t count, const char *which,
                      void (*each)(void *ctx, const char *name), void *ctx);
/* Tells where it listens: of each source and sink, and of the admin pages (name ""); `certificate`: PEM file; NULL: no TLS. */
void config_each_listener(const struct config *c,
                          void (*each)(void *ctx, const char *section, const char *name, const char *listen,
                                       const char *certificate),
                          void *ctx);
/* JSON Schema (draft 2020-12) of the whole configuration, generated from the rows: schemas/config.schema.json. */
void config_schema(const struct connectors *connectors, FILE *out);
/* The options of one connector or section, all options of one key, or the metrics, as text for `aqueduct help <name>`;
 * false when there is no such thing. */
bool config_help(const struct connectors *connectors, const char *name, FILE *out);
/* The section's options alone, below an empty line; nothing when there is no such section. */
void config_help_add_section(const struct connectors *connectors, const char *name, FILE *out);
/* The options of that key, of one connector or section, or with `owner` NULL of all; false when there is none. */
bool config_help_option(const struct connectors *connectors, const char *owner, const char *key, FILE *out);
/* What there is help about, keys of options last; ends with NULL. */
const char *const *config_help_names(const struct connectors *connectors);
