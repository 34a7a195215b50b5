/* SPDX-License-Identifier: MIT */
/* The durable log behind the topics: `local` (embedded, SQLite) or `kafka` (librdkafka). One interface, the same
 * promises.
 *
 * - A publication (records and state changes) is stored as a whole before done(OUTCOME_STORED) is called, or it is not
 *   acknowledged. `local`: one transaction. `kafka`: every record's delivery report (idempotent, acks=all), then the
 *   changes on the compacted topic `<prefix>state`, then done; or, of a source that is claimed, one transaction, too.
 * - Publications of one thread keep their order per partition.
 * - A topic's offsets rise by one per record, may have gaps when read, start at 0.
 * - A group's position is an offset and the set of what is finished beyond it. What is in the set is not handed out
 *   again: not after a crash or another start, not to the member that gets the partition next.
 *
 * Which of the two it is, nobody asks: where they differ for the bridge, broker_facts says how.
 *
 * Threads: broker_publish from any thread, never blocks; done() on the broker's own thread (or inside broker_publish
 * when it is refused at once), once, and must only put a notice into a mailbox. A consumer belongs to the thread that
 * uses it. The rest: main thread. */
#pragma once
#include "bridge/event/log.h"
#include "bridge/event/outcome.h"
#include "bridge/lib/metrics.h"
#include "bridge/lib/option.h"
#include "bridge/lib/ranges.h"

enum broker_type { BROKER_LOCAL, BROKER_KAFKA };
enum compression { COMPRESSION_LZ4, COMPRESSION_NONE, COMPRESSION_GZIP, COMPRESSION_SNAPPY, COMPRESSION_ZSTD };

enum broker_tls_use { BROKER_TLS_UNSAID, BROKER_TLS_ON, BROKER_TLS_OFF };

struct broker_tls { /* kafka: `tls:`; used when any of it is said, unless it is off */
    enum broker_tls_use enabled;
    char *ca_file, *cert_file, *key_file;
};

enum sasl_mechanism { SASL_NONE, SASL_PLAIN, SASL_SCRAM_256, SASL_SCRAM_512, SASL_OAUTHBEARER };

struct broker_sasl { /* kafka: `sasl:` */
    enum sasl_mechanism mechanism;
    char *username; /* PLAIN, SCRAM */
    struct secret password;
    char *token_url, *client_id; /* OAUTHBEARER: who gives us tokens */
    struct secret client_secret;
    char *scope, *ca_file; /* ca_file: of token_url */
    struct map parameters, extensions;
    struct secret token; /* OAUTHBEARER: a token that somebody else renews, instead */
};

enum registry_subject { REGISTRY_TOPIC, REGISTRY_RECORD, REGISTRY_TOPIC_RECORD };

struct registry_config { /* kafka: the schema registry */
    char *url;           /* NULL: none */
    enum registry_subject subject;
    bool registers; /* registers the schema where it is missing; else it only looks it up */
    char *username;
    struct secret password, token;
    char *ca_file; /* NULL: the system's */
    char *cert_file, *key_file;
};

struct broker_config { /* the `broker:` section; rows in broker_options */
    enum broker_type type;
    char *path;            /* local: folder of the log, or ":memory:" (gone at exit: for tests) */
    struct bytes max_size; /* local: publications are refused above this; 0: the disk is the limit */
    char *servers;         /* kafka: bootstrap servers */
    struct broker_tls tls;
    struct broker_sasl sasl;
    struct map properties;        /* kafka: any librdkafka property, for producer and consumers */
    enum compression compression; /* kafka: of what is produced, unless the properties say */
    bool create_topics;           /* kafka: create topics that are listed or used and do not exist */
    int64_t replication;          /* kafka: replication factor of topics that are created; -1: the cluster's default */
    char *prefix;                 /* of the bridge's own topics: aqueduct. */
    char *group_prefix;           /* of consumer groups: aqueduct. */
    char *instance;        /* kafka: name of this daemon for static membership; "auto": the machine's; empty: none */
    struct bytes prefetch; /* kafka: what all consumers together read ahead */
    struct registry_config registry;
    int64_t readers;                 /* how many they will be: the configuration's sinks, and the waiter; 0: unknown */
    struct duration session_timeout; /* kafka: a dead daemon's partitions move after this */
};
extern const struct option broker_options[];

struct broker_facts {       /* what a configuration says of its broker, before it is opened */
    const char *type;       /* as in YAML */
    bool needs_servers;     /* broker.servers must be set */
    bool may_be_away;       /* it may not answer yet when the bridge starts: the start is tried again */
    bool is_shared;         /* other programs may fill its topics as well */
    const char *own_folder; /* its folder on this machine, the bridge's alone; NULL: none */
};
struct broker_facts broker_facts(const struct broker_config *config);

enum { RETENTION_UNSAID = -1 };

struct topic_config { /* an entry of `topics:` */
    char *name;
    int64_t partitions;           /* 1..1024; 0: local one, kafka as many as the cluster gives a topic */
    struct duration retention;    /* 0: for ever; RETENTION_UNSAID: local 7 days, kafka what the cluster says */
    struct bytes retention_bytes; /* per partition; 0: no limit */
    bool retention_strict;        /* local: retention removes even what a sink has not finished */
    /* A topic between the bridge and itself: what this consumer group has finished goes (local: at once; kafka: within
     * minutes, if we may delete records there). NULL: only the limits above count. */
    const char *consumed_by;
    enum record_schema schema; /* kafka: one that its records will have, so that it is asked for at once */
    /* kafka: it has at least as many partitions as this topic, and gets more when that does. NULL: it goes with none. */
    const char *like;
    bool moved; /* kafka: it is made for what is moved into it: that it is empty is no loss */
};

/* Scopes of the state that are no source's or sink's: which log it is (local), and what was moved (`aqueduct move`): where to, in
 * the log that was left; from which log, where it came to. */
#define STATE_LOG      "aqueduct/log"
#define STATE_IDENTITY "identity" /* its key, and one of STATE_MOVE */
#define STATE_KEYS     "keys" /* of the log: how keys choose partitions; murmur2: as on Kafka; absent: as before 0.2 */
#define STATE_MOVE     "aqueduct/move"
#define STATE_MOVED_TO "to" /* a key of it: for a person; once it is there, all of it was moved */
#define STATE_FINISHED "finished"

struct publication {
    const struct record *records; /* borrowed for the call */
    size_t record_count;
    const char *state_of;         /* whose changes these are: a source's id; NULL when there are none */
    const struct change *changes; /* borrowed for the call */
    size_t change_count;
    /* The source is claimed (broker_claim): who reads what is committed sees all of it or nothing, and it once. */
    bool exactly_once;
    /* STORED; UNAVAILABLE: not now, and maybe stored all the same; INVALID: it can never be stored (a record is too
     * large, or one that its topic refuses). */
    void (*done)(void *ctx, uint64_t tag, enum outcome o, const char *why);
    void *ctx;
    uint64_t tag;
};

struct broker;
struct consumer;
struct look;

/* What broker_open would refuse of the configuration, found without opening, making or reaching anything. *e begins with
 * the option: "broker.path: ...". */
bool broker_check(const struct broker_config *config, struct err *e);
/* Is there something that works, and is better otherwise? Then false with *e, as above. */
bool broker_advise(const struct broker_config *config, struct err *e);
/* Was all that this log holds moved elsewhere (aqueduct move), so that broker_open refuses it? Then false with *e, as above; found from
 * outside, and what cannot be read is told by who reads. */
bool broker_stayed(const struct broker_config *config, struct err *e);
/* How many records of the topic a consumer of this group would begin with that has no position yet; 0: it has one, or
 * that cannot be known without opening or reaching anything (kafka). Changes nothing. */
int64_t broker_backlog(const struct broker_config *config, const char *group, const char *topic);
struct standing { /* where a group stands in one partition */
    const char *topic;
    int32_t partition;
    int64_t position;            /* everything before it is finished; -1: the group has none yet */
    int64_t start, end;          /* the first record that is kept, and one past the last; -1: not known now */
    const struct ranges *beyond; /* what is finished beyond the position */
};
/* Is what is stored whole, as far as a look from outside of about so long shows? *how: what is wrong, or how far it went; "": there
 * is nothing that could be looked at (no log yet, or kafka's). Changes nothing. */
bool broker_is_whole(const struct broker_config *config, struct duration limit, struct err *how);
int64_t standing_pending(const struct standing *s); /* records that are not finished; -1: not known */
bool standing_finished(const struct standing *s, int64_t offset);
/* Where the group stands in each partition of the topic, as stored, also beside a daemon that runs (kafka: asks the cluster).
 * None when there is no such topic. False with *e; of :memory: nothing is known. Changes nothing. */
bool broker_standing(const struct broker_config *config, const char *group, const char *topic,
                     void (*each)(void *ctx, const struct standing *s), void *ctx, struct err *e);
/* Of a topic that broker_standing does not find: will the start make it? Asks from outside, and makes nothing. False with *e:
 * we may not make it, or may not see it. */
bool broker_can_make(const struct broker_config *config, const char *topic, struct err *e);
struct look_options {
    const char *topic;
    const char *group; /* only what this group has not finished, as of look_open; NULL: everything */
    int64_t since_ms;  /* none that were stored before; 0: all */
    int64_t most;      /* about so many, the newest, of those there are at the first call; 0: all */
    bool may_lack;     /* a topic that is not there is an empty one */
    /* Partitions are merged by when their records were stored: of those that are next, the oldest comes first. In memory is
     * one record of each, and what is read ahead (bounded over all of them). Else one partition may come after the other. */
    bool by_time;
    /* Called once for each partition, whose kept records go from start to before end: with which to begin. NULL: with the
     * first that the others leave. */
    int64_t (*begin)(void *ctx, const struct topic_partition *p, int64_t start, int64_t end);
    /* What was wanted from `from` to before `to` will not come: it was removed before it was handed out. NULL: nobody wants to
     * know. (kafka: offsets, of which those of a transaction's marks are no records.) */
    void (*gone)(void *ctx, const struct topic_partition *p, int64_t from, int64_t to);
    void *ctx;
};
/* A look at one topic from outside, beside a daemon that runs or none: no group, no position, nothing is made or changed.
 * The options are borrowed for the call. NULL with *e: there is no such log. */
struct look *look_open(const struct broker_config *config, const struct look_options *o, struct err *e);
/* Hands out every record that is there by now and was not handed out before, per partition in order, until each() returns
 * false; waits for none. What is stored meanwhile may have to wait for the next call. False with *e, also when there is no such topic. */
bool look_on(struct look *l, bool (*each)(void *ctx, const struct record *r), void *ctx, struct err *e);
void look_close(struct look *l); /* accepts NULL */
/* One look: open, on, close. */
bool look_once(const struct broker_config *config, const struct look_options *o,
               bool (*each)(void *ctx, const struct record *r), void *ctx, struct err *e);
/* Opens the log or connects. NULL with *e: a damaged or foreign file is refused, never re-created; a Kafka that does
 * not answer is not an error here (publications wait until message.timeout.ms), a wrong property is. */
struct broker *broker_open(const struct broker_config *config, struct err *e);
/* Says that the topic will be asked for, so that all of them are made at once (kafka: in one request); does not wait. */
void broker_declare(struct broker *b, const struct topic_config *topic);
/* Makes sure the topic exists with these settings (local: always; kafka: when create_topics). Existing partitions
 * never shrink. Any thread. */
bool broker_topic(struct broker *b, const struct topic_config *topic, struct err *e);
/* Every topic that exists and whose name begins with `prefix` (kafka: as the cluster says, asked for at most a few
 * seconds). */
bool broker_topics(struct broker *b, const char *prefix, void (*each)(void *ctx, const char *topic), void *ctx,
                   struct err *e);
/* Waits until every consumer that was opened beside others stands where it begins (bounded): before anything is
 * published that those which begin at the end are to see. */
void broker_gather(struct broker *b);
/* Every group of the configuration has its consumer by now: from here on retention removes what all of them have
 * finished (kafka: the cluster's business). It does not wait for groups that nobody opened before; they are logged. Once more
 * after another configuration: it waits no longer for groups that have no consumer now. */
void broker_retain(struct broker *b);
/* How many partitions the topic has; 0: it is not there, as far as is known within a few seconds. Any thread. */
int32_t broker_partitions(struct broker *b, const char *topic);
/* For each group whose name begins with `prefix`, and each topic in which it has a position: how many records it has not
 * finished there, and whether it is idle (kafka: nobody consumes with it; local: no consumer of this process does).
 * Changes nothing; kafka: asks the cluster, and leaves out what it cannot know now. Any thread. */
struct group_seen {
    void (*each)(void *ctx, const char *group, bool idle, const char *topic, int64_t unread);
    void *ctx;
};
bool broker_groups(struct broker *b, const char *prefix, const struct group_seen *seen, struct err *e);
/* The same from outside, beside a daemon that runs or none; local: every group is idle, as far as is known. */
bool broker_groups_outside(const struct broker_config *config, const char *prefix, const struct group_seen *seen,
                           struct err *e);
/* The group is owed nothing more of the topic: it has no position there from now on. False with *e, also while somebody
 * consumes the topic with it. Main thread. */
bool broker_forget(struct broker *b, const char *group, const char *topic, struct err *e);
/* From here on the source's publications with `exactly_once` are ours: each becomes one transaction, and who claimed it before,
 * here or elsewhere, publishes nothing more; what it left open is undone. Before its state is read. kafka: waits for the
 * cluster, for some seconds; local: nothing to do, every publication is one transaction, and the log has one writer.
 * One thread at a time. */
bool broker_claim(struct broker *b, const char *source, struct err *e);
/* Is it still? False with *why: somebody else claimed it, and nothing of it was or will be published here any more.
 * Any thread. */
bool broker_claimed(struct broker *b, const char *source, struct err *why);
/* Ends it: what is open has its outcome afterwards. Nothing when it is not claimed. One thread at a time. */
void broker_release(struct broker *b, const char *source);
/* Removes every topic and group whose name begins as this configuration's prefixes say, which nobody else may have: of a
 * throwaway run (`aqueduct prove`). What is in a folder of its own is the caller's to remove. Waits for groups to end. */
bool broker_remove(const struct broker_config *config, struct err *e);
void broker_publish(struct broker *b, const struct publication *p);
/* Waits until everything published is done, at most `limit`; false when something is still open. */
bool broker_flush(struct broker *b, struct duration limit);
/* Of this key of the section another value is taken while the broker is open (broker_follow). */
bool broker_follows(const char *key);
/* What is wrong with such a configuration beyond what broker_check says, so that it would not be taken: false with *e. Reaches
 * nothing. */
bool broker_may_follow(const struct broker_config *config, struct err *e);
/* Goes on with another configuration, of which such keys alone differ, and which outlives it. What is not good of it is logged, and what
 * held before stays. Main thread. */
void broker_follow(struct broker *b, const struct broker_config *config);
/* Is the broker able to store right now? *why says what is wrong (readiness, /readyz); when it is able, "" or what ought to be mended
 * still. Any thread. */
bool broker_ready(struct broker *b, struct err *why);
/* Has it failed in a way that only a restart mends (an fsync failed)? Any thread. */
bool broker_failed(struct broker *b);
/* Every pair of the state stored for `source`; intents of changes that were not confirmed (ahead) come last. Where several
 * daemons may write it, in the order in which they were stored: who finds its own before another's was the first. */
bool broker_state(struct broker *b, const char *source,
                  bool (*each)(void *ctx, struct str key, struct str value, bool ahead, struct err *e), void *ctx,
                  struct err *e);
/* False with *e: `aqueduct move` brings another log there and has not done so yet, so nobody may consume or publish. What
 * cannot be found out now is no hindrance. After its topics are there. */
bool broker_is_settled(struct broker *b, struct err *e);
struct tail_options {
    int64_t most;     /* about so many of the last records: the same number of each partition */
    int64_t since_ms; /* none that were stored before; 0: all */
};
/* Everybody whose state is stored (local; others keep no list: false). */
bool broker_scopes(struct broker *b, bool (*each)(void *ctx, const char *source, struct err *e), void *ctx,
                   struct err *e);
/* The last records of the topic, oldest first per partition (for the intake's memory of ids). */
bool broker_tail(struct broker *b, const char *topic, const struct tail_options *o,
                 void (*each)(void *ctx, const struct record *r), void *ctx, struct err *e);
/* Ends the broker's threads; what was not done is reported as UNAVAILABLE first. All consumers must be closed. */
void broker_close(struct broker *b);

struct consumer_options {
    const char *group; /* NULL: broadcast: all partitions, no group, no commits, from the end */
    const char *const *topics;
    size_t topic_count;
    /* Earlier names of the group (a sink was renamed): where it has no position, it takes over the first one of these
     * that has. They keep theirs. */
    const char *const *formerly;
    size_t formerly_count;
    bool from_start; /* where a group without any position begins: true earliest, false latest */
    bool beside;     /* what waits for a cluster is done beside, until broker_gather: many are opened at once */
    int wake_fd;     /* made readable when consumer_poll may have something new */
    /* Partitions are being taken away: finish what is in flight (bounded), commit, forget. Inside consumer_poll or
     * consumer_close. NULL: nothing to do. */
    void (*revoked)(void *ctx, const struct topic_partition *partitions, size_t count);
    void *ctx;
};

struct consumer *consumer_open(struct broker *b, const struct consumer_options *o, struct err *e);
/* At most `room` records that are there now, per partition in order; 0: none; -1 with *e: this consumer cannot go on
 * at its position now (the error names topic, partition, offset; a damaged record is never skipped); call again later.
 * Also serves the consumer's own business (rebalances), so call it at least every few seconds, with room 0 when
 * nothing is wanted. Memory: read ahead is bounded (local: none; kafka: its share of broker.prefetch). */
int consumer_poll(struct consumer *c, struct record **out, size_t room, struct err *e);
/* Stops or resumes handing out records of one partition (a waiting topic whose head is not due yet). */
void consumer_hold(struct consumer *c, struct topic_partition p, bool hold);
/* Hands out the records of one partition from that offset on, once more or leaving some out; what the group had finished
 * when this consumer began does not come. */
void consumer_seek(struct consumer *c, struct topic_partition p, int64_t offset);
/* A consumer without a group: the offset from which on all that is stored comes out of consumer_poll, and nothing before
 * it; known from the moment on that the partition has a place to begin at. False: not yet; wake_fd follows. */
bool consumer_next(struct consumer *c, struct topic_partition p, int64_t *out);
/* Everything before `next` is finished, and beyond it what is in the set (NULL: nothing; borrowed for the call). Not
 * waited for; later calls win; durable within a second, or at close. What the group had finished beyond its position
 * before this consumer began, the consumer itself adds until `next` has passed it. Returns how full the room for the
 * set is (local: 64 KiB; kafka: 4,096 bytes of text), in per cent: beyond 100 its
 * farthest ranges are left out, and would come again after a crash or a rebalance. */
unsigned consumer_commit(struct consumer *c, struct topic_partition p, int64_t next, const struct ranges *beyond);
/* Where it stands in each of its partitions, by what was asked to be committed; what is known without asking anybody. */
void consumer_standing(struct consumer *c, void (*each)(void *ctx, const struct standing *s), void *ctx);
/* Commits what was asked for (waits, bounded), leaves the group. */
void consumer_close(struct consumer *c);

struct log_options {
    int wake_fd; /* made readable when something that was not known is, or there is more to read */
    bool (*live)(void *ctx, struct topic_partition p, int64_t *out); /* answers log_ops.live */
    bool (*wanted)(void *ctx, const struct event *ev);               /* and log_ops.wanted */
    void *ctx;
};
/* The log from any position, beside a consumer without a group of the same topics and wake_fd that is polled: what that one
 * gets wakes the readers, too. It belongs to the thread that uses it. NULL with *e. */
struct log *broker_log(struct broker *b, const struct log_options *o, struct err *e);
void broker_log_close(struct broker *b, struct log *l); /* accepts NULL; its readers are closed. Never waits long. */

/* What both brokers count. */
extern struct metric_family aqueduct_broker_stored_total, aqueduct_broker_refused_total, aqueduct_broker_commit_seconds,
    aqueduct_records_lost_total, aqueduct_broker_positions_cut_total;

struct copy_ops;

/* Behind the interface: one table per broker. Each function does for its type what the function above of that name
 * promises (consume: consumer_open, leave: consumer_close); facts needs no open broker. */
struct broker_ops {
    const char *type, *doc;
    struct broker_facts (*facts)(const struct broker_config *);
    bool (*check)(const struct broker_config *, struct err *);
    bool (*advise)(const struct broker_config *, struct err *); /* NULL: nothing to say */
    bool (*stayed)(const struct broker_config *, struct err *); /* NULL: nothing is moved from there */
    int64_t (*backlog)(const struct broker_config *, const char *, const char *);  /* NULL: cannot be known */
    bool (*is_whole)(const struct broker_config *, struct duration, struct err *); /* NULL: cannot be known */
    struct look *(*look)(const struct broker_config *, const struct look_options *, struct err *); /* look_open;
                                                       NULL: it can only be read by who has it open */
    bool (*look_on)(struct look *, bool (*)(void *, const struct record *), void *, struct err *);
    void (*look_close)(struct look *);
    bool (*can_make)(const struct broker_config *, const char *, struct err *); /* NULL: always */
    bool (*standing)(const struct broker_config *, const char *, const char *,
                     void (*)(void *, const struct standing *), void *, struct err *);
    struct broker *(*open)(const struct broker_config *, struct err *);
    bool (*may_follow)(const struct broker_config *, struct err *); /* NULL with the next one */
    void (*follow)(struct broker *, const struct broker_config *);  /* NULL: nothing of it makes a difference */
    void (*declare)(struct broker *, const struct topic_config *);  /* NULL: nothing to do */
    bool (*topic)(struct broker *, const struct topic_config *, struct err *);
    bool (*topics)(struct broker *, const char *, void (*)(void *, const char *), void *, struct err *);
    void (*gather)(struct broker *); /* NULL: nothing to do */
    void (*retain)(struct broker *); /* NULL: nothing to do */
    int32_t (*partitions)(struct broker *, const char *);
    /* NULL: it keeps none. */
    bool (*groups)(struct broker *, const char *, const struct group_seen *, struct err *);
    bool (*groups_outside)(const struct broker_config *, const char *, const struct group_seen *, struct err *);
    bool (*forget)(struct broker *, const char *, const char *, struct err *);
    bool (*claim)(struct broker *, const char *, struct err *); /* NULL: every publication is one transaction anyway */
    bool (*claimed)(struct broker *, const char *, struct err *);
    void (*release)(struct broker *, const char *);
    void (*publish)(struct broker *, const struct publication *);
    bool (*flush)(struct broker *, struct duration);
    bool (*ready)(struct broker *, struct err *);
    bool (*failed)(struct broker *);
    bool (*state)(struct broker *, const char *, bool (*)(void *, struct str, struct str, bool, struct err *), void *,
                  struct err *);
    bool (*is_settled)(struct broker *, struct err *); /* NULL: always */
    bool (*scopes)(struct broker *, bool (*)(void *, const char *, struct err *), void *,
                   struct err *); /* NULL: no list */
    bool (*tail)(struct broker *, const char *, const struct tail_options *, void (*)(void *, const struct record *),
                 void *, struct err *);
    void (*close)(struct broker *);
    struct consumer *(*consume)(struct broker *, const struct consumer_options *, struct err *);
    int (*poll)(struct consumer *, struct record **, size_t, struct err *);
    void (*hold)(struct consumer *, struct topic_partition, bool);
    void (*seek)(struct consumer *, struct topic_partition, int64_t);
    bool (*next)(struct consumer *, struct topic_partition, int64_t *);
    unsigned (*commit)(struct consumer *, struct topic_partition, int64_t, const struct ranges *);
    void (*stands)(struct consumer *, void (*)(void *, const struct standing *), void *); /* consumer_standing */
    void (*leave)(struct consumer *);
    struct log *(*log)(struct broker *, const struct log_options *, struct err *);
    void (*log_close)(struct log *);
    bool (*remove)(const struct broker_config *, struct err *); /* NULL: nothing to do */
    const struct copy_ops *copy;                                /* copy.h; NULL: nothing can be moved into it */
};
struct broker {
    const struct broker_ops *ops;
}; /* each broker's own struct begins with these */
struct consumer {
    const struct broker_ops *ops;
};
struct look {
    const struct broker_ops *ops;
};
struct broker_log { /* each broker's own begins with it */
    struct log base;
    struct log_options options;
};
bool broker_log_live(struct log *l, struct topic_partition p, int64_t *out); /* for its table */
bool broker_log_wanted(struct log *l, const struct event *ev);
extern const struct broker_ops broker_local, broker_kafka;
