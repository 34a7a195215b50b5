/* SPDX-License-Identifier: MIT */
/* What the files of the kafka broker share; nobody else includes this (but its own tests). Each file calls only those
 * above it:
 *
 *   login.c         who we are: TLS and the login, from broker.tls and broker.sasl
 *   follow.c        the login and the properties as their files were when they were good last, and who follows them
 *   token.c         tokens for OAUTHBEARER
 *   conf.c          properties: defaults, the user's, what is refused; librdkafka's log
 *   access.c        why the cluster cannot be reached, and what it denies us
 *   instance.c      the name under which we are a static member
 *   client.c        the producing client of now and its handles of topics; clients that only read
 *   record.c        a record and librdkafka's message, each from the other
 *   making.c        asks the cluster about topics, makes and widens them
 *   topics.c        the keeper: makes topics, knows their partitions, notices whether the cluster answers
 *   times.c         the time of a record: the event's, as far as its topic takes it; where what was stored at a time begins
 *   storing.c       publications without an outcome: does the cluster store?
 *   registry.c      the ids of schemas
 *   publication.c   a publication, from its copy to its outcome
 *   send.c          what a publication hands to librdkafka, and what a report says
 *   claim.c         publications of one source as transactions, of whoever claimed it last
 *   producer.c      publications in waves: intents, records, changes; a new client after a fatal error
 *   doubt.c         is a topic still the one that was read, or was it made anew?
 *   assignment.c    the partitions a consumer has, where they begin, and what to do when that position is gone
 *   groups.c        what the cluster knows of groups, ours or not
 *   adoption.c      positions of a group that has another name now
 *   consumed.c      records that the one group they are for has finished are deleted
 *   positions.c     the positions of a group and what is finished beyond them: restored, asked for, committed
 *   holes.c         offsets without a record: did compaction take them?
 *   consumer.c      consumers, of groups and broadcast, from their opening to their end
 *   poll.c          what one poll of a consumer does
 *   replay.c        the log from any position, for a broadcast sink
 *   read.c          reading back: a source's state, the tail of a topic
 *   peek.c          a cluster looked at from outside: partitions, groups, where one stands
 *   look.c          the records of a topic from outside: as they come, or merged by time
 *   remove.c        topics and groups of a throwaway run go
 *   copy.c          what another broker held comes here, with its offsets
 *   kafka.c         open, ready, close; the table of the broker
 *
 * What doubt.c, assignment.c, adoption.c, consumed.c, positions.c, holes.c, consumer.c and poll.c share beside it, a consumer, is in consumer.h.
 *
 * Threads of one broker: an opener for each consumer that is opened beside others, until it stands where it begins; the poller (delivery reports, the client's end and rebirth, the login's files), the keeper (everything that
 * asks the cluster and waits), one for each source that is claimed (claim.c), one for each broadcast sink that reads the log back (replay.c), librdkafka's own. No lock is taken while another one is held. */
#pragma once
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include "bridge/broker/broker.h"
#include "bridge/event/trail.h"
#include "bridge/lib/buf.h"
#include "bridge/lib/metrics.h"
#include "bridge/lib/thread.h"

enum {
    KAFKA_ERRSTR = 512,
    KAFKA_TOPIC_NAME = 256,
    KAFKA_METADATA = 4096, /* bytes of one position's metadata: a cluster's default offset.metadata.max.bytes */
    KAFKA_WHY = 448,       /* why a topic cannot be used, with the line that mends it */
};

/* ---- the broker ---- */

struct kafka_access {
    pthread_mutex_t lock; /* guards what follows, up to denied */
    int kind;             /* of the cause (access.c) */
    int64_t cause_ms, answered_ms;
    char cause[WHY_BYTES]; /* why connections fail; "": nothing heard since the cluster came back */
    struct kafka_denial *denials;
    atomic_int denied; /* how many they are */
    struct metric *denied_now;
};

struct kafka_asker {
    pthread_mutex_t lock; /* guards what follows */
    rd_kafka_t *rk;       /* NULL: nobody asked for a while */
    int users;
    int64_t used_ms;
    unsigned login; /* its version (follow.c) */
};

struct kafka_storing {
    pthread_mutex_t lock;                      /* guards what follows */
    struct kafka_publication *oldest, *newest; /* without an outcome */
    int64_t failed_ms;                         /* when one was given up last; 0: its topic stored one since */
    char failed[KAFKA_TOPIC_NAME];             /* its topic */
};

struct kafka {
    struct broker base;
    const struct broker_config *_Atomic config; /* others, of another login, may come (kafka_follow) */
    struct kafka_follow *follow;                /* NULL: outside */
    bool outside;      /* a look from outside (peek.c): only config and access are there, and nothing is logged */
    char *state_topic; /* <prefix>state */
    pthread_mutex_t instance_lock; /* guards what follows, up to instance_fd */
    bool instance_asked;
    char *instance;  /* our name as a static member; NULL: none */
    int instance_fd; /* holds the claim to it */
    pthread_t poller, keeper;
    atomic_bool stop;
    atomic_bool down; /* no answer lately */
    struct kafka_access access;
    struct kafka_storing storing;
    struct kafka_asker asker;
    pthread_mutex_t holes_lock; /* guards holes */
    struct kafka_left_hole *holes;

    pthread_mutex_t client_lock; /* guards client */
    struct kafka_client *client;

    pthread_mutex_t idle_lock; /* with idle: open or opening fell to 0 */
    pthread_cond_t idle;
    atomic_long open;    /* publications without an outcome */
    atomic_long opening; /* consumers that do not stand where they begin yet */

    pthread_mutex_t wave_lock; /* guards wave, wave_end, news; with wave_there */
    pthread_cond_t wave_there;
    struct kafka_publication *wave, **wave_end; /* published, not sent yet */
    bool news;                                  /* the client wants to be polled */
    struct kafka_publication *outcasts;         /* to be sent alone; poller only */
    struct kafka_publication *nameless;         /* the id of a schema of theirs is not known yet; poller only */
    struct kafka_registry *registry;            /* NULL: there is none */

    pthread_mutex_t claims_lock; /* guards claims */
    struct kafka_claim *claims;

    pthread_mutex_t topics_lock; /* guards topics, topic_count; with topics_changed */
    pthread_cond_t topics_changed;
    struct kafka_topic *topics;
    size_t topic_count;
    bool settings_wanted; /* somebody waits for some of the topics' settings */
    int64_t settings_ms;  /* when all of them are asked for again; keeper only */

    atomic_bool outlived;       /* a client was left behind, and may still call back */
    struct kafka *outlived_too; /* the one before; main thread only */

    struct metric *stored, *took, *reborn, *lost, *cut;
};

/* ---- login.c: any thread ---- */

enum { KAFKA_USER = 200 };

/* Sets what broker.tls and broker.sasl say. */
bool kafka_login_conf(rd_kafka_conf_t *conf, const struct broker_config *c, struct err *e);
bool kafka_login_permits(const struct broker_config *c, const char *key, struct err *e); /* a property of the user's */
bool kafka_login_check(const struct broker_config *c, struct err *e);                    /* broker_check */
bool kafka_login_advise(const struct broker_config *c, struct err *e);                   /* broker_advise */
/* The mechanism of the login, by whichever way it was said; "": none. */
const char *kafka_login_mechanism(const struct broker_config *c);
/* Its name, likewise. */
const char *kafka_login_username(const struct broker_config *c);
/* Does this librdkafka do SCRAM as Kafka has it since 3.7.2? */
bool kafka_login_scram_fails(const struct broker_config *c);
bool kafka_login_has_tls(const struct broker_config *c);
bool kafka_login_shows_certificate(const struct broker_config *c);
/* What was wrong with the last certificate of a server that was refused; false: none was. */
bool kafka_login_refused(char out[WHY_BYTES]);
/* The name that the cluster knows us by, without "User:"; false: unknown, or a token's. */
bool kafka_login_name(const struct broker_config *c, char out[KAFKA_USER]);
/* A secret as its file says it now; as it was at the start when that cannot be read. NULL: there is none. Wipe it. */
char *kafka_login_secret(const struct secret *s);
bool kafka_login_read(const struct secret *s, char **out, struct err *e); /* the same, or false with *e */
void kafka_login_wipe(char *secret);                                      /* and frees it; accepts NULL */

/* ---- follow.c ---- */

/* Reads the files of a configuration that was checked, which outlives it. NULL with *e. Main thread, as its end. */
struct kafka_follow *kafka_follow_open(const struct broker_config *config, struct err *e);
void kafka_follow_close(struct kafka_follow *f);                            /* accepts NULL */
void kafka_follow(struct broker *base, const struct broker_config *config); /* broker_follow; any thread */
void kafka_follow_turn(struct kafka *b);                                    /* reads what has changed; the poller */
/* Does all of it go together, as far as only librdkafka knows? (broker_may_follow.) */
bool kafka_follow_check(const struct broker_config *config, struct err *e);
/* What clients are made of: the configuration as it was good last. Give it back soon. Any thread. */
const struct broker_config *kafka_follow_take(const struct kafka *b);
void kafka_follow_give(const struct kafka *b, const struct broker_config *taken);
/* The configuration by now, whatever its files say. Any thread. */
const struct broker_config *kafka_follow_wanted(const struct kafka *b);
/* Asked for before a client is made, and kept with it. Any thread. */
unsigned kafka_follow_version(const struct kafka *b);
bool kafka_follow_is_over(const struct kafka *b, unsigned version); /* does a client of that version get a successor? */
/* Is the client of a login that is over, so that another one is needed? A new password is given to it here. The thread whose
 * client it is. */
bool kafka_follow_is_old(const struct kafka *b, rd_kafka_t *rk, unsigned *version);
void kafka_follow_note(const struct kafka *b, struct err *why); /* what is not good about its files; "": nothing */

/* ---- token.c: any thread ---- */

/* For OAUTHBEARER, else nothing: a client of this configuration gets its tokens, on a thread of its own; the configuration
 * outlives it. */
bool kafka_token_conf(rd_kafka_conf_t *conf, const struct broker_config *c);
void kafka_token_serve(rd_kafka_t *rk);      /* of each client, right after it was made */
bool kafka_token_name(char out[KAFKA_USER]); /* whose the last token was; false: unknown */

/* ---- conf.c ---- */

enum kafka_role {
    KAFKA_PRODUCER = 1,
    KAFKA_MEMBER = 2, /* a consumer, in a group or broadcast */
    KAFKA_READER = 4, /* reads a stretch and ends */
};

/* A configuration for a client of that role: our defaults, then the user's properties, then what must be so. `group`
 * is NULL for producers. NULL with *e naming the property. */
rd_kafka_conf_t *kafka_conf(const struct broker_config *config, enum kafka_role role, const char *group, struct err *e);
/* The same of a broker, with its login as that was good last. */
rd_kafka_conf_t *kafka_conf_of(struct kafka *b, enum kafka_role role, const char *group, struct err *e);
/* Makes a producer's one of transactions. */
bool kafka_conf_transactional(rd_kafka_conf_t *conf, const struct broker_config *config, const char *id, struct err *e);
/* A static member of the group, by that name and a number for its topics: one that comes back with other topics would have
 * the partitions of its old ones, and no others. */
bool kafka_conf_instance(rd_kafka_conf_t *conf, const char *instance, const char *group, uint64_t topics,
                         struct err *e);
/* What a consumer of so many partitions may read ahead: its share of the daemon's. */
bool kafka_conf_prefetch(rd_kafka_conf_t *conf, const struct broker_config *config, int64_t partitions, struct err *e);
/* All that can be wrong with servers and properties, for producers and consumers, and with the files they name. */
bool kafka_conf_check(const struct broker_config *config, struct err *e);
/* Does the file serve that the property names, if it names one? */
bool kafka_conf_check_file(const struct map_entry *p, struct err *e);
bool kafka_conf_is_kept(const char *key,
                        const char *value); /* does it name one of which a copy in memory does as well? */
bool kafka_conf_has(const struct broker_config *config, const char *key); /* did the user set the property? */
const char *kafka_conf_value(const struct broker_config *config,
                             const char *key); /* what it was set to; "": it was not */
bool kafka_conf_is_close(const char *text);    /* does it tell of a connection that was closed, and no more? */
void kafka_conf_on_log(const rd_kafka_t *rk, int level, const char *kind, const char *text); /* librdkafka's log */
/* One line of librdkafka's (or about it) to our log, at most a few in a second. */
void kafka_log(int syslog_level, const char *kind, const char *text);

/* ---- access.c: any thread ---- */

/* KAFKA_DELETE can be done without: it is said, and no reason to be unready. */
enum kafka_right { KAFKA_WRITE, KAFKA_READ, KAFKA_GROUP, KAFKA_PRODUCE, KAFKA_TRANSACT, KAFKA_DELETE, KAFKA_RIGHTS };
extern struct metric_family aqueduct_kafka_denials_total; /* by right: write, read, group, produce, transact, delete */

void kafka_access_open(struct kafka *b);
void kafka_access_close(struct kafka *b);
/* What a client's error callback heard: logged, and kept when it says why there is no connection. */
void kafka_access_error(struct kafka *b, int code, const char *text);
void kafka_access_up(struct kafka *b);                    /* the cluster answered */
bool kafka_access_down(struct kafka *b, struct err *why); /* false, with why the cluster does not answer */
bool kafka_access_is_refused(struct kafka *b);            /* the login, TLS, or neither: waiting hardly helps */
bool kafka_access_is_deserted(struct kafka *b);           /* nothing listens there, or there is no such host */
bool kafka_access_is_denial(rd_kafka_resp_err_t code);    /* an authorization that failed */
/* Appends how one of Kafka's own programs is called against this cluster: "kafka-topics.sh --bootstrap-server ADDRESS", where the port
 * wants TLS or a login a file that has an administrator's, and the words behind it. */
void kafka_access_tool(const struct kafka *b, char *out, size_t room, const char *tool, const char *words, ...)
    __attribute__((format(printf, 5, 6)));
/* Appends "; to allow it: kafka-acls.sh ..." to what was said of a right that is missing. `kind`: topic, group, cluster, transactional-id;
 * `operations`: one, or several between blanks. The bridge's own topics and groups are many, and get it by their prefix. */
void kafka_access_grant(const struct kafka *b, const char *kind, const char *name, const char *operations, char *out,
                        size_t room);
/* Why the cluster refused or did not answer, for a person: the right that is missing on the topic (which is
 * remembered) or group, or why there is no connection. Returns false. */
bool kafka_access_fail(struct kafka *b, rd_kafka_resp_err_t code, const char *topic, const char *group, struct err *e);
void kafka_access_user(const struct kafka *b, char out[KAFKA_USER + 8]); /* "user x" */
/* Who lacks which right, and the line that grants it; `why` may be NULL. */
void kafka_access_reason(const struct kafka *b, enum kafka_right right, const char *name, struct err *why);
/* The cluster denied it, or did it after all; `name`: the topic, group or transactional id, "" for KAFKA_PRODUCE. Said once. */
void kafka_access_denied(struct kafka *b, enum kafka_right right, const char *name);
void kafka_access_granted(struct kafka *b, enum kafka_right right, const char *name);
bool kafka_access_forget(struct kafka *b, enum kafka_right right, const char *name); /* nobody wants it any more */
void kafka_access_say_again(struct kafka *b); /* logs what is denied still, each once a minute */
/* Is nothing denied now? *why names what is. */
bool kafka_access_ready(struct kafka *b, struct err *why);

/* ---- instance.c ---- */

void kafka_instance_open(struct kafka *b);
const char *kafka_instance(struct kafka *b); /* our name; NULL: none. Any thread. */
void kafka_instance_close(struct kafka *b);

/* ---- client.c ---- */

/* One librdkafka producer. After a fatal error the broker gets another; the old one lives until its last user gave it
 * back. */
struct kafka_client {
    rd_kafka_t *rk;
    rd_kafka_queue_t *news; /* what rd_kafka_poll serves */
    atomic_int users;
    atomic_bool fatal;
    unsigned login;       /* its version (follow.c) */
    pthread_mutex_t lock; /* guards topics, topic_count */
    struct kafka_topic_handle *topics;
    size_t topic_count;
};

/* librdkafka's client; takes over conf. NULL with *e. */
rd_kafka_t *kafka_client_begin(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct err *e);
/* A consumer of no topics, for who asks about groups or reads a stretch; it joins no group. `b` hears why it cannot connect.
 * NULL with *e. */
rd_kafka_t *kafka_client_reader(const struct broker_config *config, struct kafka *b, struct err *e);
/* The same, and what it reads ahead is bounded as that of a consumer of so many partitions. */
rd_kafka_t *kafka_client_reader_of(const struct broker_config *config, struct kafka *b, int64_t partitions,
                                   struct err *e);
void kafka_client_reader_end(rd_kafka_t *rk, struct kafka *b);
struct kafka_client *kafka_client_new(rd_kafka_t *rk);   /* takes over rk */
void kafka_client_free(struct kafka_client *client);     /* waits for librdkafka's end, a few seconds at most */
struct kafka_client *kafka_client_take(struct kafka *b); /* the client of now; give it back soon */
void kafka_client_give(struct kafka_client *client);
/* Closes and destroys a client that reads; false: it did not end in time, and is left behind. */
bool kafka_client_end(rd_kafka_t *rk, struct duration limit);
/* The partition's first offset and one past its last, as far as this client may see. Waits at most so long, which
 * rd_kafka_query_watermark_offsets does not before 2.3: while the leader it knows is down, it waits until that is back. */
rd_kafka_resp_err_t kafka_watermarks(rd_kafka_t *rk, const char *topic, int32_t partition, int64_t *low, int64_t *high,
                                     int wait_ms);
/* Fetches these from there; each has its own error. False: not all answers came in time. */
bool kafka_client_seek(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int wait_ms);
/* The partition's own queue, asked for before it is assigned, so that nothing goes to the common one. */
rd_kafka_queue_t *kafka_queue_own(rd_kafka_t *rk, const char *topic, int32_t partition);
/* NULL when it is not a topic name. *created: asked for the first time. */
rd_kafka_topic_t *kafka_client_topic(struct kafka_client *client, struct str name, bool *created);

/* ---- asker.c ---- */

void kafka_asker_open(struct kafka *b);
void kafka_asker_turn(
    struct kafka *b); /* ends a client that nobody needs, or whose login is over; the keeper, now and then */
void kafka_asker_close(struct kafka *b);
/* The partition's first offset, and one past its last that is committed; the first offset with that timestamp or a later one
 * (RD_KAFKA_OFFSET_END: there is none). Both wait at most so long, and not for fetches that are under way. Any thread. */
rd_kafka_resp_err_t kafka_ask_ends(struct kafka *b, const char *topic, int32_t partition, int64_t *low, int64_t *high,
                                   int wait_ms);
rd_kafka_resp_err_t kafka_ask_time(struct kafka *b, const char *topic, int32_t partition, int64_t ms, int64_t *offset,
                                   int wait_ms);
/* Does the cluster answer somebody who neither fetches nor writes? */
bool kafka_ask_alive(struct kafka *b, int wait_ms);

/* ---- record.c ---- */

/* A record of our own: one allocation that holds everything, so it does not pin librdkafka's fetch buffers. */
struct record *kafka_record(rd_kafka_message_t *m);
/* With TRAIL_STORED, unless `stored` is absent; NULL when there are none. */
rd_kafka_headers_t *kafka_record_headers(const struct record *r, struct str stored);

/* ---- publication.c ---- */

enum kafka_stage { STAGE_INTENTS, STAGE_RECORDS, STAGE_CHANGES };

struct kafka_sent { /* what a report tells of: a record of a publication, or (the last one) a change */
    struct kafka_publication *p;
    bool stored;
};

struct kafka_publication { /* one allocation with copies of what it publishes */
    struct kafka *b;
    struct kafka_publication *next;          /* in the wave to come, or among the outcasts */
    struct kafka_publication *older, *newer; /* of those without an outcome (storing.c) */
    void (*done)(void *ctx, uint64_t tag, enum outcome o, const char *why);
    void *ctx;
    uint64_t tag;
    struct kafka_claim *claim; /* it is a transaction of this one; NULL: it is none */
    enum kafka_stage stage;
    atomic_size_t unreported; /* records of this stage, and one while they are being sent */
    bool suspect;             /* a batch was refused, and it may be for one of these records; poller only */
    bool alone;               /* its records are sent one by one, each in a batch of its own; poller only */
    struct kafka_sent *sent;  /* record_count + 1 */
    atomic_flag failed;       /* whoever sets it writes why and reason */
    const char *reason;       /* NULL: nothing failed */
    char *why;                /* NULL: nothing failed */
    int64_t began_us;
    const struct record *records;
    size_t record_count;
    const char *state_of;
    struct change *changes;
    size_t change_count;
};

struct kafka_publication *kafka_publication_new(struct kafka *b, const struct publication *p);
/* Did the cluster refuse a batch for what is in it? Of several records that says nothing of each. */
bool kafka_publication_is_verdict(rd_kafka_resp_err_t code);
/* A record of it was not taken: when it was sent, or by its report. The first failure becomes the outcome. Any thread. */
void kafka_publication_refused(struct kafka_publication *p, struct str topic, rd_kafka_resp_err_t code);
/* Puts the ids of their schemas into its records; false, with the topic and why, when one is not known yet. */
bool kafka_publication_name(struct kafka_publication *p, struct str *topic, struct err *why);
/* All of it was not taken, for that reason (of the metric, a literal), which is `why`. */
void kafka_publication_broken(struct kafka_publication *p, const char *reason, const char *why);
void kafka_publication_forgive(struct kafka_publication *p); /* all of it was taken, as it turns out */
void kafka_publication_finish(struct kafka_publication *p);  /* tells the outcome and frees it */

/* ---- storing.c: any thread ---- */

void kafka_storing_begin(struct kafka_publication *p);
void kafka_storing_end(struct kafka_publication *p,
                       bool gave_up); /* it has its outcome; gave_up: the cluster had its time */
/* Is what was published stored in time? *why names the topic, and what is known of its replicas. */
bool kafka_storing_ready(struct kafka *b, struct err *why);

/* ---- topics: making.c, topics.c ---- */

enum topic_state { TOPIC_WANTED, TOPIC_THERE, TOPIC_FAILED };

struct kafka_topic { /* what the keeper knows of a topic */
    char *name;
    struct topic_config config; /* partitions 0: nobody said how many */
    char *consumed_by, *like;   /* as in topic_config, of our own */
    bool compact;               /* the state topic */
    bool own;                   /* the bridge's: its name begins with the prefix */
    bool declared;              /* and not asked for since */
    enum topic_state state;
    int32_t partitions;        /* as last heard; 0: unknown */
    int32_t thin;              /* its partition with the fewest replicas in sync, as last heard, */
    int32_t in_sync, replicas; /* and how many it has; in_sync -1: no leader; replicas 0: unknown */
    int64_t retry_ms;          /* TOPIC_FAILED: try again then (clock_mono_ms) */
    unsigned tries;
    int64_t said_ms;   /* TOPIC_FAILED: when it was logged, 0: not yet */
    int64_t narrow_ms; /* when it was logged that it has fewer partitions than the topic it is like; 0: it has not */
    bool compacts;     /* it keeps the newest record of each key; not of our own */
    int64_t keeps_ms;  /* how old an event may be to give its record its time; KAFKA_KEEPS_*; not of our own */
    int64_t set_ms;    /* when the cluster was asked for these two last, and answered; 0: never */
    bool doubtful;     /* somebody wants to know them as they are now: */
    int64_t doubt_ms;  /* not before */
    int64_t old_ms;    /* when it was logged that some are older; 0: it was not */
    char why[KAFKA_WHY];
};

enum {
    KAFKA_KEEPS_APPENDED = -1,        /* the cluster gives records the time at which it appends them */
    KAFKA_KEEPS_UNTOLD = 3600 * 1000, /* the cluster does not tell: no topic that keeps two hours loses anything */
};

/* ---- making.c: the keeper's thread, without a lock ---- */

struct kafka_asked {          /* a topic while the cluster is asked about it */
    struct kafka_topic topic; /* a copy, with a name of its own */
    bool answered;            /* to the request to make it, with: */
    rd_kafka_resp_err_t code;
};

/* Would the cluster make the topic? Asks `rk`, and makes nothing. Any thread. */
bool kafka_making_could(struct kafka *b, rd_kafka_t *rk, const char *name, struct err *e);
/* Asks for all of them in one request. */
void kafka_making_create(struct kafka *b, struct kafka_client *client, struct kafka_asked *asked, size_t count);
/* Waits until the topic is made, or finds it; its number of partitions, 0 with its why. */
int32_t kafka_making_finish(struct kafka *b, struct kafka_client *client, struct kafka_asked *asked);
/* What the cluster says of a topic; true when it denies us an operation, such as "Describe". */
bool kafka_making_say(struct kafka *b, const char *topic, const char *operation, rd_kafka_resp_err_t code, char *why,
                      size_t room);

/* Asks for the settings that say how old a record may be, and whether it is compacted; no answer leaves them as they were. */
void kafka_making_keeps(struct kafka *b, struct kafka_client *client, struct kafka_topic *topic);

/* ---- topics.c ---- */

void kafka_topics_start(struct kafka *b);
void kafka_topics_stop(struct kafka *b);
void kafka_topic_declare(struct broker *base, const struct topic_config *config);
bool kafka_topic(struct broker *base, const struct topic_config *topic, struct err *e);
bool kafka_topics(struct broker *base, const char *prefix, void (*each)(void *ctx, const char *topic), void *ctx,
                  struct err *e);
/* Tells the keeper that the topic is used, so that it makes it or finds it; does not wait. Any thread. */
void kafka_topic_want(struct kafka *b, struct str name, bool again);
/* Waits until the topic is there; its number of partitions, or 0 with *e. */
int32_t kafka_topic_wait(struct kafka *b, const char *name, struct duration limit, struct err *e);
/* Its number of partitions as last heard, 0 when unknown; does not wait. */
int32_t kafka_topic_partitions(struct kafka *b, const char *name);
/* Writes what is known of its partition with the fewest replicas in sync, ": partition 2 has ..."; "": nothing. */
void kafka_topic_replicas(struct kafka *b, const char *name, char *out, size_t room);
/* Is it compacted, as it was at that moment or after it? False: that is not known, was waited for that long, and is asked for
 * soon, for whom does not wait every few seconds at most. */
bool kafka_topic_compacts(struct kafka *b, const char *name, int64_t since_ms, struct duration wait, bool *compacts);
/* Is the topic there for this group alone? */
bool kafka_topic_consumed_by(struct kafka *b, const char *name, const char *group);
/* The first topic that could not be made, or widened as the one it is like: true with its name and reason in *why. */
bool kafka_topic_failed(struct kafka *b, struct err *why);

/* How old an event may be to give its record its time (keeps_ms). */
int64_t kafka_topic_keeps(struct kafka *b, struct str name);
/* Some are older: true if that was not said for an hour. */
bool kafka_topic_say_old(struct kafka *b, struct str name);

/* ---- times.c ---- */

extern struct metric_family aqueduct_kafka_event_times_total; /* refused ones, by why: old, ahead */

/* The timestamp of a record that is stored now; 0: that moment. Else its header TRAIL_STORED has to tell it. */
int64_t kafka_time_of(struct kafka *b, const struct record *r, int64_t now_ms);
/* Finds the first record of [low, high) that was stored at `ms` or later, or `high`, where they stand in the order in which
 * they were stored: their timestamps, by which the cluster knows them, need not. `look` tells of the first record at an
 * offset or behind it (INT64_MAX: there is none) when it was stored; false: not now. */
typedef bool kafka_look_fn(void *ctx, int64_t offset, int64_t *found, int64_t *stored_ms);
bool kafka_time_search(int64_t low, int64_t high, int64_t ms, kafka_look_fn *look, void *ctx, int64_t *out);

/* ---- registry.c ---- */

bool kafka_registry_check(const struct registry_config *c, struct err *e);
void kafka_registry_start(struct kafka *b);
void kafka_registry_stop(struct kafka *b);
void kafka_registry_free(struct kafka *b);
/* The id of the schema in the topic's subject; 0 with *why (may be NULL) while it is not known: it is asked for from then on,
 * and the wave is woken when it is there. Any thread. */
int32_t kafka_registry_id(struct kafka *b, struct str topic, enum record_schema schema, struct err *why);
/* The records of the topic have it in the configuration to come, so it is asked for at once (SCHEMA_NONE: they have none). */
void kafka_registry_declare(struct kafka *b, struct str topic, enum record_schema schema);
/* That configuration holds: what was not declared for it is wanted by nobody, but by records that wait. */
void kafka_registry_retain(struct kafka *b);
void kafka_registry_follow(struct kafka *b); /* it looks at once at what is configured now, and whether it is to stop */
bool kafka_registry_ready(struct kafka *b, struct err *why); /* false: a schema that is wanted cannot be had */

/* ---- holes.c ---- */

/* Tells what consumers left, as far as it can be judged; the poller. */
void kafka_holes_turn(struct kafka *b);
/* The same when all consumers are gone, and waits a little for what is not known yet. */
void kafka_holes_settle(struct kafka *b);
void kafka_holes_close(struct kafka *b); /* no other thread is left */

/* ---- send.c ---- */

/* Keys of the state topic: the source's id, a NUL, what the record is, then the change's key. An intent is written
 * ahead of the records that a change belongs to; a claim says whose the source is (claim.c). */
enum { STATE_PAIR = '=', STATE_INTENT = '~', STATE_CLAIM = '!' };
enum { INTENT_SET = '+', INTENT_FORGET = '-' }; /* first byte of an intent's value */

/* Hands a record to librdkafka; false: refused at once, and so is the publication. (One that is a transaction waits for
 * room.) */
bool kafka_send_record(struct kafka_publication *p, struct kafka_client *client, const struct record *r);
void kafka_send_records(struct kafka_publication *p, struct kafka_client *client);
void kafka_send_changes(struct kafka_publication *p, struct kafka_client *client, bool intents);
bool kafka_send_claim(struct kafka_publication *p, struct kafka_client *client, struct str value);
rd_kafka_resp_err_t kafka_send_code(const rd_kafka_message_t *m);     /* of a report */
void kafka_send_stored(struct kafka *b, const rd_kafka_topic_t *rkt); /* a report said that a record is stored */

/* ---- claim.c ---- */

bool kafka_claim(struct broker *base, const char *source, struct err *e);
bool kafka_claimed(struct broker *base, const char *source, struct err *why);
void kafka_release(struct broker *base, const char *source);
void kafka_claims_end(struct kafka *b); /* every publication of theirs has its outcome afterwards */
/* Publishes it as a transaction of its source, which is claimed. */
void kafka_claim_publish(struct kafka *b, const char *source, struct kafka_publication *p);
const char *kafka_claim_source(const struct kafka_claim *c);
bool kafka_claim_ends(const struct kafka_claim *c); /* nobody waits for it any more */

/* ---- producer.c ---- */

bool kafka_producer_start(struct kafka *b, struct err *e);
void kafka_wave_wake(struct kafka *b);     /* the poller looks at what waits; any thread */
void kafka_producer_stop(struct kafka *b); /* every open publication has its outcome afterwards */
void kafka_publish(struct broker *base, const struct publication *p);
bool kafka_flush(struct broker *base, struct duration limit);

/* ---- of consumers, what others need (the rest: consumer.h) ---- */

/* What the metadata of a committed position says is finished beyond it; empty if it is not ours. Free it. */
struct ranges kafka_position_beyond(const rd_kafka_topic_partition_t *committed);
/* Fills in what is to be committed: the offset, and as its metadata (at most so many bytes) what is finished beyond it, as
 * much of it as there is room for; *cut: not all of it. */
void kafka_position_set(rd_kafka_topic_partition_t *to, int64_t next, const struct ranges *beyond, size_t metadata,
                        bool *cut);
bool kafka_is_passing(rd_kafka_resp_err_t code); /* an error that librdkafka mends by itself */

/* ---- groups.c ---- */

/* Where a group stands in the partitions (NULL: in all where it does), with metadata: valid until the event is destroyed.
 * Waits at most so long for the cluster. NULL with *e. */
rd_kafka_event_t *kafka_group_positions(struct kafka *b, rd_kafka_t *rk, const char *group,
                                        const rd_kafka_topic_partition_list_t *partitions, int wait_ms,
                                        const rd_kafka_topic_partition_list_t **out, struct err *e);
/* Each group of the cluster with that prefix, and its topics; ends early when *stop (NULL: never) is set. */
bool kafka_groups_each(struct kafka *b, rd_kafka_t *rk, atomic_bool *stop, const char *prefix,
                       const struct group_seen *seen, struct err *e);
bool kafka_groups(struct broker *base, const char *prefix, const struct group_seen *seen, struct err *e);
bool kafka_forget(struct broker *base, const char *group, const char *topic, struct err *e);

/* ---- replay.c ---- */

struct log *kafka_replay(struct broker *base, const struct log_options *o, struct err *e);
void kafka_replay_close(struct log *base);
/* Of a topic, for cursors (event/log.h); false: not known within that time. */
bool kafka_identity(rd_kafka_t *rk, const char *topic, int wait_ms, uint64_t *out);

/* ---- remove.c ---- */

bool kafka_remove(const struct broker_config *config, struct err *e);

/* ---- copy.c ---- */

extern const struct copy_ops kafka_copy; /* copy.h */

/* ---- peek.c ---- */

/* As much of a broker as hears why a client from outside has no connection. */
struct kafka *kafka_peek_open(const struct broker_config *config);
void kafka_peek_close(struct kafka *b, rd_kafka_t *rk); /* and ends the client, if it is not NULL */
/* The topic's partitions, none when there is no such topic; NULL with *e. Makes none. */
rd_kafka_topic_partition_list_t *kafka_peek_partitions(struct kafka *b, rd_kafka_t *rk, const char *topic,
                                                       struct err *e);

/* Of a client from outside: hears what became of its connections (access.c); why a call failed, always false. */
void kafka_peek_hear(rd_kafka_t *rk);
bool kafka_peek_fail(struct kafka *b, rd_kafka_t *rk, rd_kafka_resp_err_t code, const char *topic, const char *group,
                     struct err *e);
/* Where the group stands in these partitions. */
bool kafka_peek_stands(struct kafka *b, rd_kafka_t *rk, const char *group, const rd_kafka_topic_partition_list_t *list,
                       void (*each)(void *, const struct standing *), void *ctx, struct err *e);

bool kafka_groups_outside(const struct broker_config *config, const char *prefix, const struct group_seen *seen,
                          struct err *e);
bool kafka_can_make(const struct broker_config *config, const char *topic, struct err *e);
bool kafka_standing(const struct broker_config *config, const char *group, const char *topic,
                    void (*each)(void *, const struct standing *), void *ctx, struct err *e);

/* ---- look.c ---- */

struct look *kafka_look(const struct broker_config *config, const struct look_options *o, struct err *e);
bool kafka_look_on(struct look *base, bool (*each)(void *, const struct record *), void *ctx, struct err *e);
void kafka_look_close(struct look *base);

/* ---- read.c ---- */

bool kafka_is_settled(struct broker *base, struct err *e); /* broker_is_settled */
bool kafka_state(struct broker *base, const char *source,
                 bool (*each)(void *, struct str, struct str, bool, struct err *), void *ctx, struct err *e);
bool kafka_tail(struct broker *base, const char *topic, const struct tail_options *o,
                void (*each)(void *, const struct record *), void *ctx, struct err *e);
/* What the claims of the source say: the last one's value in `out` ("" when there is none). `settled`: also one whose transaction
 * is open when it is called, which must be about to end. Ends early when *stop is set. */
bool kafka_state_claim(struct kafka *b, const char *source, bool settled, const atomic_bool *stop, struct buf *out,
                       struct err *e);
/* The first offset of the partition and one past its last. Asks again while it has no leader that knows that it is one:
 * after a restart or a change of leaders that takes a moment. */
rd_kafka_resp_err_t kafka_ends(rd_kafka_t *rk, const char *topic, int32_t partition, int64_t *low, int64_t *high);
