/* SPDX-License-Identifier: MIT */
/* The connector contract: everything a connector knows about the bridge.
 *
 * A connector is a plain struct that begins with `struct source` or `struct sink`. The core allocates it (zeroed,
 * ops->size bytes), fills its options from YAML by the table, and calls it from one thread only, so a connector never
 * locks, but for what its copies share (ops->copies of a source or a sink). It never logs a failure that it returns, and never retries: it reports, the core decides.
 *
 *   open        main thread, before its thread starts. On false, *e says why and everything taken has been released;
 *               close() will not be called. When the start fails elsewhere and is tried again: close(), the struct as
 *               the configuration filled it, open().
 *   the middle  this connector's own thread. May wait, but must return soon after wake_fd turns readable: the core has
 *               news or is stopping. Poll it; never read it, never close it.
 *   close       main thread, after that thread has ended. Exactly once. Never blocks.
 *
 * A connector may include this header and those of event/, auth/, net/ and lib/, nothing else of the bridge. How to add
 * one: connectors/README.md. */
#pragma once
#include <jansson.h>
#include "bridge/event/bookmarks.h"
#include "bridge/event/event.h"
#include "bridge/event/log.h"
#include "bridge/event/outcome.h"
#include "bridge/event/record.h"
#include "bridge/lib/err.h"
#include "bridge/lib/metrics.h"
#include "bridge/lib/option.h"

/* ---- sources: bring events in ---- */

struct source {
    const struct source_ops *ops;
    const char *id; /* name in the YAML; prefix of logs and metrics */
    /* How many of it run, each with its own struct and thread, all with the same options (`threads`, if ops->copies); 0 is
     * like 1. Limits hold for all of them together. */
    size_t copies;
    /* The one that is opened before and closed after this one; NULL: this is that one. */
    struct source *first;
    /* Set before each read(): it ends with the event that brings what it hands over to so many bytes (event_bytes). 0: no
     * limit; an ordered source bounds its batches itself. */
    size_t room_bytes;
    bool draining;     /* the core sets it (on the source's thread) when it begins to stop: room stays 0 from now on */
    struct sink *sink; /* whose receivers' events it brings (sink_ops.inward); NULL: it stands below `sources:` */
};

enum { EMISSION_FORMERS = 2 };

struct emission {
    const struct event *event; /* the core takes over the reference; NULL: only state (ordered sources) */
    uint64_t tag;              /* comes back in settle() */
    /* Whose word the event's id is: `<id of the source>` or that, '/' and more; ids of one scope say nothing of those of
     * another. Absent: whoever names the event's source. Borrowed until the next read(). */
    struct str scope;
    /* The scopes that earlier versions gave such an id, or absent: what was stored under one with the same content is this
     * event, too. Borrowed as well. */
    struct str former_scopes[EMISSION_FORMERS];
    /* With dedupe: its id is the sender's name of the thing, so that what has it is a repeat, whatever else is in it. */
    bool named;
    /* Its id was made for it, and nobody sends it again: it is not remembered. Unordered sources only. */
    bool unique;
    /* Why the event is none for a topic (it tells of input of which no other could be made): it becomes a dead letter for
     * that reason, and is settled as invalid once that is stored. NULL: an event like any other. Ordered sources only;
     * borrowed until the next read(). */
    const char *refused;
    /* They become durable together with the event, or after it, never before; borrowed until the next read(). */
    const struct change *changes;
    size_t change_count;
};

/* Takes one thing that is wrong with the options: where in them ("capture[2]"; "": the whole) and what, which may begin
 * with a key of that place ("types: ..."). Both are borrowed for the call. */
typedef void fault_fn(void *ctx, const char *place, const char *why);

/* A look at a file that a person names, in the place of the source's own (`aqueduct check --database`). */
struct trial {
    const char *path;
    fault_fn *wrong, *doubtful; /* what of the options does not fit it; what fits, and is probably not meant */
    void *faults;               /* of both */
    /* An event that the rule of that name would give of what the file holds, of its newest row or of one
     * before that; borrowed for the call. */
    void (*sample)(void *ctx, const char *rule, bool newest, const struct event *ev);
    /* An entry of that rule of which none came, for a person: "map[1] (chat.feedback): none of its last 100 rows fits". May
     * be NULL. */
    void (*missed)(void *ctx, const char *rule, const char *what);
    void *ctx;
};

/* ---- what commands ask of what is filled and not opened ---- */

struct known_app {      /* an application whose files a type of source reads */
    const char *preset; /* of that type */
    const char *title;  /* "Open WebUI" */
    const char *const
        *places; /* patterns of where its file usually is (glob(7), ~ is the home folder); ends with NULL */
};

enum finding { /* no zero on purpose */
               FINDING_OK = 1,
               FINDING_SLOW,
               FINDING_RISKY, /* it works today */
               FINDING_BROKEN,
};
/* Takes one thing that `aqueduct doctor` found about an object: of what it is ("TLS"), how that is just now, and what to do
 * about it (NULL: nothing). Borrowed for the call; no secret. */
typedef void finding_fn(void *ctx, enum finding finding, const char *what, const char *how, const char *todo);

struct posted {      /* a request that somebody could send */
    struct str path; /* with its query */
    const struct header *headers;
    size_t header_count;
    struct str body;
    bool bare; /* nothing is added that proves who its sender is */
};

struct staged { /* how rows of an application's tables change */
    const char *
        schema; /* a file with the SQL of the tables, or a database that has them; NULL: they have what the rows name */
    const json_t *before,
        *after; /* {table: [{column: value}]}: as they are first, NULL for empty; as those of `after` become */
};

struct shown_request { /* one that a receiver would get; borrowed for the call */
    const char *method;
    struct str url; /* no secret of it is hidden */
    const struct header *headers;
    size_t header_count;
    struct str body;
    const char *signed_by; /* the scheme; NULL: it is not signed */
};

struct source_ops {
    const char *type, *doc; /* `type: sqlite`; one sentence for --help */
    size_t size;
    const struct option *options; /* ends with { 0 } */
    /* true: emissions follow one another and so do their changes; the core publishes one batch at a time, retries
     * until it is stored (events that are invalid become dead letters), and settles in order. false: each emission
     * stands alone, many are in flight, and the source hears every outcome. */
    bool ordered;
    /* true: several copies of one source may run at the same time. What they have in common they find through
     * source.first when they are opened; it is for them to make that safe for several threads. Unordered ones without a state only. */
    bool copies;
    /* true: an event whose (scope, source, id) was stored in the recent past is not published again: it is settled as
     * stored when its content is the same, or it is `named`, and otherwise as a conflict. */
    bool dedupe;
    /* One pair of the state stored earlier, after open() and before the first read(): on the source's own thread, so that
     * nobody waits for a large state, or, when the broker may be away, on the main one. May be NULL for a source without
     * state. */
    bool (*restore)(struct source *s, struct str key, struct str value, bool ahead, struct err *e);
    /* Looks at the options for what the rows cannot say (a preset that does not exist); opens and keeps nothing;
     * main thread. Called by config_load, so also by `aqueduct check`. May be NULL. */
    bool (*check)(const struct source *s, struct err *e);
    /* Called when check() said no, by a caller that wants to hear all of it: gives every fault to `each`, at least one.
     * For options that are lists of things, each of which can be wrong. NULL: the one that check() named is all. */
    void (*faults)(const struct source *s, fault_fn *each, void *ctx);
    /* Looks, for `aqueduct check` alone, at what is on this machine: `wrong` gets what would never work, `doubtful` what
     * may come right without a change of the options. Called when check() said yes; main thread; changes nothing, leaves
     * nothing, and waits for nobody. May be NULL. */
    void (*review)(const struct source *s, fault_fn *wrong, fault_fn *doubtful, void *ctx);
    /* The same about another file than its own. Where the file can be read, every rule that fits gives its samples. May be
     * NULL: it reads no file. */
    void (*trial)(const struct source *s, const struct trial *t);
    /* Tells every type that its events can have; {column} in it stands for any text, so that {type} alone is any type. For
     * warnings about filters; NULL: any type may come. Main thread, when check() said yes, before open(). */
    void (*types)(const struct source *s, void (*each)(void *ctx, const char *type), void *ctx);
    /* The type of events about the source itself, which it has only when it is asked for them: `types` tells it then. May be
     * NULL. */
    const char *own_type;
    /* Tells, in the same way, the types of those events whose data has what people wrote, as it is; `why`: the option by
     * which it has, and what tells less ("content: full; hash or none tells less"). May be NULL: it does not know. */
    void (*content)(const struct source *s, void (*each)(void *ctx, const char *type, const char *why), void *ctx);
    /* Gives `each` what of it cannot stand beside another source of its type, like faults(). May be NULL. */
    void (*beside)(const struct source *s, const struct source *other, fault_fn *each, void *ctx);
    /* Appends members of a JSON object that tell of it (`aqueduct status`), each behind a comma: where it listens, how many came.
     * When it does not run there are no counts. Any thread; may be NULL. */
    void (*account)(const struct source *s, bool runs, struct buf *out);
    const struct known_app *apps; /* for `aqueduct init`: ends with { 0 }; NULL: it knows none */
    /* Whose file is that? NULL with *e: it cannot be read, or "" in *e: no application's that is known. Only reads. */
    const struct known_app *(*recognise)(const char *path, struct err *e);
    /* For `aqueduct doctor`: looks at what it depends on, for about `limit` at most, changing nothing. On a thread of its own,
     * beside those of others; the options are filled, it is not opened. May be NULL. */
    void (*probe)(const struct source *s, struct duration limit, finding_fn *each, void *ctx);
    /* For `aqueduct test`: the events that the request would become, each with one reference, at most `room`; not opened. -1
     * with *e: it is refused, with *status if that is an answer of the source, else 0. Main thread; may be NULL. */
    int (*rehearse)(const struct source *s, const struct posted *p, const struct event **out, size_t room, int *status,
                    struct err *e);
    /* The same of rows: the events that it would tell once they have changed. What is wrong is told with its place among the
     * members of `staged` ("after.people[0].role"), and what it said of its rules that does not keep it from telling events is
     * doubtful. May be NULL: it reads no rows. */
    size_t (*rehearse_rows)(const struct source *s, const struct staged *of, const struct event **out, size_t room,
                            fault_fn *wrong, fault_fn *doubtful, void *ctx);
    bool (*open)(struct source *s, struct err *e);
    /* Does it see what it is to watch? False with a sentence in *why. Called between open() and close(), on the main
     * thread while the source's own thread runs (for /readyz), and on that one after a read. May be NULL: always. */
    bool (*ready)(const struct source *s, struct err *why);
    /* Waits for input; writes at most `room` emissions to out. Returns how many, 0 when woken or idle, -1 with *e
     * set (the core logs it once, backs off and calls again). room == 0 means "no new work": backpressure while
     * running, draining while stopping; the source still serves what it has begun (answers, time-outs). */
    int (*read)(struct source *s, int wake_fd, struct emission *out, size_t room, struct err *e);
    /* What became of emission `tag`; once per tag, never inside read(). An ordered source sees only STORED and
     * INVALID. why: of STORED absent or "", unless the event was stored before (`dedupe`). */
    void (*settle)(struct source *s, uint64_t tag, enum outcome o, const char *why);
    void (*close)(struct source *s);
};

/* ---- sinks: take events out ---- */

/* One receiver of a sink that can serve several (endpoint_ops); a connector's own struct begins with it. */
struct endpoint {
    const char *name; /* in the YAML, below `endpoints:`; NULL: the sink's only receiver */
    const char *host; /* of its address, for dead letters: set in open(), kept until close(); NULL: it has none */
    /* Most messages that it wants at the same time; 0: no limit. The connector sets it in open(), and changes it inside
     * work() as it likes: the core keeps what is above. */
    size_t limit;
    /* Most attempts in a second; 0: no limit. As the configuration says; in work() the connector may set what the receiver
     * allows: the lower one counts. */
    double rate;
};

struct sink {
    const struct sink_ops *ops;
    const char *id;
    size_t copies;                /* as those of a source: how many of it run, if ops->copies */
    struct sink *first;           /* the same; NULL: this is that one */
    const struct strings *topics; /* what the core feeds it; set before open() */
    struct endpoint *endpoint;    /* its only receiver, or NULL: it has several, or its type knows no endpoints */
    struct source *inward;        /* where its receivers' events go (sink_ops.inward); NULL: they bring none */
    size_t limit;                 /* as that of an endpoint, but for all of them together */
    /* Of a broadcast sink: what its topics hold, from any position, beside what send() brings. Set before open(). NULL: not
     * a broadcast sink. */
    struct log *log;
    struct bookmarks *bookmarks; /* of a broadcast sink: what it keeps by name; as log */
    /* nothing more comes for now: what the sink still collects goes at once. The core sets it before work() */
    bool draining;
};

/* One event on its way to a sink. Everything is borrowed and stays valid until its result is returned (for a
 * broadcast sink: until send() returns). */
struct message {
    const struct event *event;   /* NULL only for a dead_letters sink, when the record is no event */
    const struct record *record; /* as it stands in the topic: place, key, all headers */
    struct endpoint *endpoint;   /* whom it is for; NULL: sink.endpoint */
    unsigned attempt;            /* 1 for the first */
    uint64_t span; /* of this attempt in the event's trace, for the receiver's traceparent (event/span.h); 0: none */
    bool awaited;  /* others wait for its result: a sink that collects messages does not let it wait for more of them */
    uint64_t tag;
    /* Where a person wants to see what goes out: gets the request's header lines, an empty one and the beginning of its
     * body, with stars for secrets. NULL: nobody does. May be left empty. */
    struct buf *sent;
};

enum verdict {
    VERDICT_DELIVERED = 1, /* no zero on purpose */
    VERDICT_RETRY,
    VERDICT_REJECT,
    VERDICT_UNTRIED, /* our own machine lacked something (descriptors, memory, ports, a key): no attempt, sent again soon;
                        or, with `away`, the receiver is to get nothing yet */
};

/* Why it was not delivered, as a class a person can act on; becomes the dead letter's aqueduct-class header. */
enum reason {
    REASON_NONE,
    REASON_REFUSED,       /* the receiver answered and said no */
    REASON_UNAVAILABLE,   /* no answer: connection, time-out, reset */
    REASON_CONFIGURATION, /* our own set-up is wrong (bad URL, key) */
    REASON_POISON,        /* the record is no event */
    REASON_BLOCKED,       /* the address is not allowed */
};

struct result {
    uint64_t tag;
    enum verdict verdict;
    enum reason reason;
    /* With VERDICT_RETRY: the receiver is at fault, whatever the event: it did not answer, or said that it can do nothing
     * just now. With VERDICT_UNTRIED: it is to get nothing until retry_after is over, for the reason in `why`; ""
     * (nothing is wrong): only this event comes again, in its turn. */
    bool away;
    int status; /* the receiver's status (HTTP), 0 when there is none */
    /* How many messages the request carried, when it was one for several; and it is not the first result of that request:
     * the receiver was tried once, whatever came with it. */
    unsigned batch;
    bool same_request;
    /* The receiver asked for this much patience, or what our own machine lacks is not there before; 0: nobody knows. */
    struct duration retry_after;
    char why[WHY_BYTES];  /* for a person: "503 Service Unavailable", "timeout after 10 s"; never a secret */
    struct duration took; /* how long the attempt took; 0: unknown */
    /* The beginning of what the receiver answered, as it is, for the delivery log; never a secret; absent: nothing. Borrowed
     * until the next call of the sink. */
    struct str answer;
};

/* For a sink that serves many receivers with one reading of its topics. Its users write the receivers' options below
 * `endpoints:`, by name, or, when there is only one, beside the sink's own. The core gives each receiver its own filter,
 * retries and share of the window; the sink only sends. */
struct endpoint_ops {
    size_t size;                  /* of a struct that begins with struct endpoint; allocated and filled as a sink is */
    const struct option *options; /* ends with { 0 } */
    /* As that of a sink; may be NULL. */
    bool (*check)(const struct sink *s, const struct endpoint *ep, struct err *e);
    void (*faults)(const struct sink *s, const struct endpoint *ep, fault_fn *each, void *ctx); /* as of a source */
    void (*review)(const struct sink *s, const struct endpoint *ep, fault_fn *wrong, fault_fn *doubtful, void *ctx);
    /* As that of a source. No event is sent. May be NULL. */
    void (*probe)(const struct sink *s, const struct endpoint *ep, struct duration limit, finding_fn *each, void *ctx);
    /* For `aqueduct test`: hands the request to use() that the receiver would get for the message; not opened. False with *e: it
     * can get none. Main thread; may be NULL. */
    bool (*show)(const struct sink *s, const struct endpoint *ep, const struct message *m,
                 void (*use)(void *ctx, const struct shown_request *r), void *ctx, struct err *e);
    /* After the sink's open(): main thread, or, for one that is added later, the sink's own between two calls. On false
     * everything taken for this one has been released. */
    bool (*open)(struct sink *s, struct endpoint *ep, struct err *e);
    /* Before the sink's close(), once for each that was opened, on the same threads: abandons what is in flight to it.
     * While the sink runs nothing is, and every result was taken. */
    void (*close)(struct sink *s, struct endpoint *ep);
};

struct command_call;

/* Letters that are redriven or discarded; everything is borrowed. `what`: which, an object with the members of a list's query,
 * and `to`, `rate`, `again`, `dry_run`. With a `limit` it is a page: the oldest so many, behind the letter `after` if that is
 * said; and *result names each of them (`items`, with `result` and `why`), where to go on (`next`), and why it ended early
 * (`error`), which is no failure then. */
struct filed_work {
    const json_t *what;
    bool discard;
    const struct command_call *call; /* the names that are configured, and publish() */
    /* How far it is; false: it is to end where that leaves nothing half done. */
    bool (*goes_on)(void *ctx, int64_t done, int64_t of);
    void *ctx;
    json_t *result; /* what came of it, when it was done; the caller's reference */
};

/* What a sink that files dead letters tells of its file and does with it, for the API and commands. On any one thread, beside the
 * sink's own; it uses the sink's options alone. Which letters are meant, members of an object: sink, endpoint, class, type,
 * source, id, since, until, state, limit, after; a text or missing, limit a number. False and NULL: with *e. */
struct filed_ops {
    json_t *(*list)(const struct sink *s, const json_t *what,
                    struct err *e); /* {"items": [...], "next": text or null, "matched": of the first page} */
    /* The letter of that number, with the bytes of its data in *data, which the caller frees. NULL with an empty *e: there
     * is none. */
    json_t *(*show)(const struct sink *s, const char *number, struct buf *data, struct err *e);
    bool (*end)(const struct sink *s, struct filed_work *w, struct err *e);
};

/* Who listens now: at most so many rows, of one connection alone unless 0. */
struct listener_question {
    size_t most;
    uint64_t connection;
};

struct sink_ops {
    const char *type, *doc;
    size_t size;
    const struct option *options;
    const struct endpoint_ops *endpoints; /* NULL: the sink itself is the receiver */
    /* true: every instance sees every record of its topics from now on; the core joins no consumer group, commits
     * nothing, retries nothing, and takes no results: send() is all (websocket). */
    bool broadcast;
    /* true: several copies of one sink may run at the same time, as of a source; each is sent every record. What its
     * receivers bring in goes to one inward source, which answers each copy by the mailbox that came with it. Broadcast ones
     * only. */
    bool copies;
    /* true: fed from the dead-letter topic instead of `topics` (dead_letter). Its failures are retried for ever. */
    bool dead_letters;
    const struct filed_ops *filed; /* of its file of dead letters; NULL: it has none */
    /* Receivers may bring events in as well (a listener that publishes): the source that hands these over, without options
     * of its own. Where brings() says yes of a sink that was filled, the core gives it such a source, whose `sink` it is and
     * whose id is its own, opened after it and closed before it, with an intake like any other's. The two have a thread
     * each: they talk by mailboxes (lib/mailbox.h), and the sink bounds what it hands over for each of its receivers. At the
     * end the source stops first. NULL: receivers only receive. */
    const struct source_ops *inward;
    bool (*brings)(const struct sink *s);
    bool (*check)(const struct sink *s, struct err *e); /* as for a source; may be NULL */
    void (*review)(const struct sink *s, fault_fn *wrong, fault_fn *doubtful, void *ctx);    /* the same */
    void (*probe)(const struct sink *s, struct duration limit, finding_fn *each, void *ctx); /* as that of a source */
    bool (*open)(struct sink *s, struct err *e);
    /* As that of a source, for /readyz: has it what it serves its receivers with? Any thread. May be NULL: always. */
    bool (*ready)(const struct sink *s, struct err *why);
    /* Begins delivering. Never blocks, never refuses (the core respects the window). */
    void (*send)(struct sink *s, const struct message *m);
    /* Does I/O until something finishes, wake_fd is readable, or `wait` has passed; wait 0: only what can be done at
     * once. Returns how many results were written (at most room). Each tag sent gets one result. */
    size_t (*work)(struct sink *s, int wake_fd, struct duration wait, struct result *out, size_t room);
    /* Of a broadcast sink: appends a JSON list of who listens now, an object for each subscription: connection (its number),
     * kind, protocol, address, user, since, token_expired, sub, topics (null: all), filter, slow, state, next (of each
     * "topic/partition" the offset that it gets next). No token is in it. Own thread, between two calls; may be NULL. */
    void (*listeners)(struct sink *s, const struct listener_question *q, struct buf *out);
    /* A broadcast sink's share of a drain: tell listeners good-bye. Own thread, once, before close; may be NULL. */
    void (*drain)(struct sink *s, struct duration limit);
    void (*close)(struct sink *s); /* abandons what is in flight: the core will deliver it again */
};

/* ---- the tables ---- */

struct connectors { /* all there are; each table ends with NULL */
    const struct source_ops *const *sources;
    const struct sink_ops *const *sinks;
    const struct command *const *commands; /* what they add to the command line (bridge/command.h) */
};
