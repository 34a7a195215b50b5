/* SPDX-License-Identifier: MIT */
/* The inside of the embedded broker: one SQLite file, one thread that writes, many that read. Each file calls only
 * those above it:
 *
 *   record.c        a record as bytes, with its checksum
 *   wal.c           is the write-ahead log whole?
 *   folder.c        the folder and its lock
 *   shelf.c         what was just read of a partition, for all of its readers
 *   topics.c        topics and partitions in memory, and what the open transaction changes of them
 *   status.c        ready, blocked or failed, and why
 *   backlog.c       what a group would begin with, and whether it is damaged, in a log that is not opened
 *   look.c          the records of a topic there
 *   standing.c      where a group stands, in one that is not opened, and by its consumer; the records there
 *   store.c         the file: made, checked, opened; connections and statements
 *   publication.c   a publication, copied and encoded
 *   queue.c         the queue between those who publish and the writer
 *   age.c           how old records are
 *   retain.c        what retention removes, and whom it waits for
 *   writer.c        the writer's thread: groups of publications, positions, checkpoints
 *   groups.c        where groups stand, whether they are configured or not
 *   consumer.c      consumers and the tail of a topic
 *   replay.c        the log from any position, for a broadcast sink
 *   state.c         the state of sources and sinks; the log's identity
 *   local.c         open, publish, close; the table of the broker
 *
 *   broker_publish (any thread)          writer thread                         consumers (each its own thread)
 *   encode records  -> queue -> [ BEGIN, insert, state, positions,  ] -> end offsets (atomics) -> SELECT on its own
 *   (one allocation)            [ retention; COMMIT = one fdatasync ] -> wake fds                 read-only connection
 *                                        -> done() of each
 *
 * What arrives during a commit forms the next group, so there is no timer: alone a record waits for nobody, under load
 * the groups grow. Only the writer's connection writes or checkpoints (SQLite before 3.51.3 can corrupt a WAL that two
 * connections reset at once). With `:memory:` there is one connection for all, and its lock is held for a whole
 * transaction.
 *
 * Tables: topic(name, retention, retention_bytes); partition(id, topic, number, base, base_bytes); position(grp, part,
 * next, beyond); state(source, key, value, crc); and per partition log_<id>(offset, stored, bytes, record), so that
 * appends stay on one page. `stored` is the log's time of the append (age.c), `bytes` the sum of all record sizes up to this one:
 * retention by age and by size both look only at the front. `base` is the first offset that is kept, so offsets go on
 * after retention emptied the log. `beyond` is what the group has finished beyond `next` (lib/ranges), NULL for nothing;
 * only readers of the group look at it. Format 1 had no such column; it is added when such a file is opened.
 *
 * Locks: queue_lock, topics_lock, consumers_lock, status_lock, each shelf's; none is taken while another of them is held. The
 * connection's own lock (in memory only) is the outermost. */
#pragma once
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include "bridge/broker/broker.h"
#include "bridge/event/trail.h"
#include "bridge/lib/metrics.h"

enum {
    LOCAL_APPLICATION = 0x41715564, /* "AqUd": SQLite's application_id */
    LOCAL_VERSION = 2,              /* SQLite's user_version */
    LOCAL_PAGE = 4096,
    LOCAL_PROBE_MS = 1000,  /* how often a blocked writer looks whether it can write again */
    RECORD_MAX = 16 << 20,  /* bytes of one record as stored */
    BEYOND_MAX = 64 << 10,  /* bytes of what is finished beyond one position */
    PARTITIONS_MAX = 16384, /* of all topics together */
};

/* ---- shared structures ---- */

struct reader_group { /* a group that this process serves or served; it stays until the log is closed */
    struct reader_group *next;
    bool former;          /* the earlier name of one that it serves */
    atomic_int consumers; /* of it */
    atomic_bool served;   /* one has it, or had it at the last broker_retain */
    char name[];
};

struct batch;

struct shelf_reader { /* where one consumer is, as far as the shelf knows */
    struct shelf_reader *next;
    int64_t at;
};

enum { SHELF_READINGS = 4 }; /* of one partition at the same time */

struct shelf {            /* of a partition */
    pthread_mutex_t lock; /* guards all of it */
    pthread_cond_t read;  /* a reading has ended */
    struct batch *first;  /* by offset */
    unsigned batches;
    struct shelf_reader *readers;
    struct shelf_reading {
        bool busy;
        int64_t at;
    } readings[SHELF_READINGS];
};

struct partition {
    int64_t id;
    struct topic *topic;
    int32_t number;
    _Atomic int64_t start, end; /* written by the writer: first kept offset, one past the last committed one */
    /* the writer's: */
    int64_t next, bytes;             /* as of the open transaction */
    int64_t end_bytes, start_before; /* what a rollback returns to */
    bool touched;                    /* by the open transaction */
    struct partition *next_touched;
    int64_t front, front_stored, front_bytes; /* the first row, as retention saw it last */
    int64_t said_ms;                          /* when the log heard last that retention waits here; 0: it does not */
    sqlite3_stmt *insert;
    struct shelf shelf;
    _Atomic(struct reader_group *) readers; /* who reads it; grows under consumers_lock, read freely */
};

struct topic {
    char *name;
    uint64_t hash;
    struct duration retention; /* the writer's */
    struct bytes retention_bytes;
    bool retention_strict;
    struct metric *held;
    char *consumed_by;             /* what this group has finished may go; NULL: nothing to do with any group */
    struct partition **partitions; /* grows under topics_lock */
    int32_t partition_count;
    uint32_t spread; /* the writer's: where the next record without a key goes */
};

struct age { /* of the log: its own time; the writer's */
    int64_t now_ms, measured_ms;
    bool said;
};

/* A connection and what guards it: NULL when it is this thread's own. */
struct link {
    sqlite3 *db;
    pthread_mutex_t *lock;
};

struct item { /* one record on its way to the writer */
    struct str topic;
    int32_t partition;
    bool keyed;
    uint64_t hash;
    unsigned char *blob; /* ends with 4 bytes for the checksum */
    size_t size;
    uint32_t crc;         /* of the blob without them */
    struct partition *to; /* the writer's choice */
};

struct local_publication { /* in the queue: one allocation */
    struct local_publication *next;
    void (*done)(void *ctx, uint64_t tag, enum outcome o, const char *why);
    void *ctx;
    uint64_t tag;
    size_t bytes;
    struct item *items;
    size_t item_count;
    struct str state_of;
    struct change *changes;
    size_t change_count;
    char *refusal; /* why the writer refuses this one alone; NULL: it does not */
};

struct local_group { /* what one transaction stores */
    struct local_publication *first;
    size_t count;
    struct topic_request *request;
    bool idle, last; /* nothing is queued behind it; the broker closes */
};

struct topic_request { /* any thread asks, writer answers */
    const struct topic_config *topic;
    const char *forget; /* a group: its positions in the topic go; NULL: the topic is made or changed */
    struct err *e;
    bool answered, ok;
};

enum local_status { LOCAL_READY, LOCAL_BLOCKED, LOCAL_FAILED };

struct local {
    struct broker base;
    char *folder, *file; /* NULL in memory */
    bool keys_as_kafka;  /* a key's partition is the one it has on Kafka; set before the writer runs */
    char *identity;      /* of this log: random, made once, and no other log's; NULL: it could not be stored */
    int lock_fd;
    int64_t max_size;
    struct link link; /* the writer's; in memory everybody's */
    pthread_mutex_t memory_lock;
    pthread_t writer;

    pthread_mutex_t topics_lock; /* guards adding to topics and partitions; the writer itself reads them freely */
    struct topic **topics;
    size_t topic_count, partition_count;
    atomic_uint generation; /* counts additions */

    /* guards this list, the growth of each consumer's `assigned`, and their positions */
    pthread_mutex_t consumers_lock;
    struct local_consumer *consumers;

    _Atomic size_t shelved; /* bytes on all shelves */

    pthread_mutex_t status_lock; /* guards why */
    _Atomic int status;          /* enum local_status */
    char why[WHY_BYTES];

    pthread_mutex_t queue_lock;   /* guards what follows up to `closing` */
    pthread_cond_t work, changed; /* for the writer; for who waits for the writer */
    struct local_publication *first, **last;
    size_t queued, queued_bytes, open; /* open: publications without an outcome yet */
    unsigned waiters;
    struct topic_request *request;
    bool sleeping, closing;
    _Atomic bool retaining;        /* all groups are known: retention may begin */
    _Atomic int64_t positions_due; /* when the writer stores positions at the latest; INT64_MAX: nothing to store */

    /* the writer's: */
    sqlite3_stmt *begin, *commit, *rollback, *set_state, *forget_state, *set_position, *get_position, *set_base;
    struct partition *touched;
    bool retains; /* some topic has a limit */
    int64_t retention_due, probe_due;
    struct age age;
    bool unserved_said;
    int64_t held_most;       /* records that wait for the group in held_by */
    char held_by[WHY_BYTES]; /* for whom retention waits; empty: for nobody */
    size_t retention_turn;
    int wal_pages, checkpoint_at;
    struct metric *stored, *commits, *commit_time, *checkpoint_time, *refused_full, *refused_failed, *refused_queue,
        *refused_invalid, *lost, *cut;
};

struct local_assigned { /* a partition as one consumer sees it */
    struct partition *partition;
    int64_t next;
    bool hold;
    int64_t retry_at; /* after an error: not before this */
    struct shelf_reader reader;
    sqlite3_stmt *select;
    struct ranges restored; /* what the group had finished beyond its position, as far as that has not passed it */
    /* Under consumers_lock: the position asked for (-1: none), and what is finished beyond it, encoded. */
    int64_t wanted;
    unsigned char *beyond;
    size_t beyond_n;
    _Atomic uint64_t asked, durable; /* how often a position was asked for; which of those is stored */
    uint64_t writing;                /* the writer's */
};

struct local_consumer {
    struct consumer base;
    struct local *b;
    struct local_consumer *next; /* under consumers_lock */
    char *group;
    char **topics, **formerly; /* formerly: earlier names of the group */
    size_t topic_count, formerly_count;
    bool from_start;
    int wake_fd;
    struct link link;
    sqlite3_stmt *position;
    struct local_assigned **assigned;
    size_t assigned_count, turn;
    atomic_uint generation; /* of the topics it knows */
    _Atomic bool waiting;   /* its thread found nothing and wants to be woken */
};

/* ---- record.c ---- */

size_t local_record_size(const struct record *r); /* of the blob */
/* Writes all but the checksum; returns the checksum so far. */
uint32_t local_record_encode(const struct record *r, unsigned char *blob);
void local_record_seal(unsigned char *blob, size_t size, uint32_t crc, int64_t offset, int64_t stored);
/* NULL with *e when the checksum or the form is wrong. */
struct record *local_record_decode(struct str blob, struct str topic, int32_t partition, int64_t offset, int64_t stored,
                                   struct err *e);
uint32_t local_state_crc(struct str source, struct str key, struct str value);

/* ---- wal.c ---- */

bool local_wal_check(const char *file, struct err *e);

/* ---- folder.c ---- */

/* Makes the folder, locks it, and fills in the paths; the lock ends with lock_fd, or with the process. */
bool local_folder_open(struct local *b, const char *path, struct err *e);
/* What local_folder_open would refuse of the folder; makes nothing. */
bool local_folder_check(const char *path, struct err *e);
bool local_folder_sync(const char *folder, struct err *e);

/* ---- shelf.c: the threads of the consumers ---- */

void local_shelf_open(struct shelf *s);
void local_shelf_close(struct shelf *s); /* all readers have left */
void local_shelf_join(struct shelf *s, struct shelf_reader *r, int64_t at);
void local_shelf_part(struct local *l, struct shelf *s, struct shelf_reader *r);
/* References to records from `next` on and before `until` that stand on the shelf; waits while somebody reads at just that
 * place. 0: there are none, and the caller reads from `next` on, before *end: for all (*reads_on: it then owes
 * local_shelf_put), or for itself alone. */
size_t local_shelf_take(struct local *l, struct shelf *s, struct shelf_reader *r, int64_t next, int64_t until,
                        struct record **out, size_t room, int64_t *end, bool *reads_on);
/* Moves what was read from `from` on to the shelf, if anybody needs it; the caller itself goes on at `next`. */
void local_shelf_put(struct local *l, struct shelf *s, struct shelf_reader *r, int64_t from, int64_t next,
                     struct record *const *records, size_t count);

/* ---- topics.c: changed by the writer alone (or before it runs) ---- */

struct topic *local_topic_find(struct local *b, struct str name); /* the writer freely, others under topics_lock */
struct topic *local_topic_add(struct local *b, struct str name);
struct partition *local_topic_add_partition(struct local *b, struct topic *t, int64_t id);
void local_topic_set_limits(struct local *b, struct topic *t, struct duration retention, struct bytes retention_bytes);
/* What is not kept in the file: by which group it is read alone (NULL: none), whether retention is strict. */
void local_topic_set_use(struct local *b, struct topic *t, const struct topic_config *settings);
/* A group reads the partition: retention waits for it. `former`: it did, and another goes on in its place: retention does
 * not wait for it, and nothing is said of it. Under consumers_lock. */
void local_partition_add_reader(struct partition *p, const char *group, bool former);
void local_partition_drop_reader(struct partition *p, const char *group, bool former);
void local_topics_serve(struct local *b); /* groups without a consumer are not served any more */
void local_partition_set(struct partition *p, int64_t start, int64_t end, int64_t bytes);
void local_topics_free(struct local *b);
void local_topics_touch(struct local *b, struct partition *p); /* the open transaction changes it */
/* What the transaction touched becomes visible, or goes back to what it was. */
void local_topics_finish(struct local *b, bool committed);
void local_topics_untouch(struct local *b); /* after a commit, when consumers have been woken */

/* ---- status.c: set by the writer ---- */

void local_status_fail(struct local *b, int rc,
                       const char *doing); /* SQLite's code; blocked if it may pass, else failed. The link is locked */
void local_status_mend(struct local *b);   /* writing is possible: no longer blocked */
/* Has nobody deleted or replaced the files under us? Else what is committed is lost with them: failed. */
bool local_status_files_are_there(struct local *b);
void local_status_why(struct local *b, char out[WHY_BYTES]); /* any thread */

/* ---- backlog.c ---- */

int64_t local_backlog(const struct broker_config *config, const char *group, const char *topic);
bool local_stayed(const struct broker_config *config, struct err *e);
/* Opens the log in the folder for reading; NULL when there is none that can be read. sqlite3_close() it. */
sqlite3 *local_backlog_open(const char *folder);
bool local_backlog_readable(const struct broker_config *config, struct err *e); /* false with why not, for a person */
bool local_backlog_is_whole(const struct broker_config *config, struct duration limit, struct err *how);

/* ---- look.c ---- */

struct look *local_look(const struct broker_config *config, const struct look_options *o, struct err *e);
bool local_look_on(struct look *base, bool (*each)(void *, const struct record *), void *ctx, struct err *e);
void local_look_close(struct look *base);
/* The first offset in low..high of that partition that was stored at since_ms or later; `high`: none was. */
int64_t local_look_since(sqlite3 *db, int64_t id, int64_t low, int64_t high, int64_t since_ms);

struct local_rows { /* of a partition: the next ones from an offset on */
    const char *topic;
    int32_t number; /* of the partition */
    int64_t id, from;
    int most;
    size_t bytes; /* about: not one more when they have so many */
};
/* How many records, or -1 with *e; they are the caller's. The first may be another one than that at `from`. */
int local_look_rows(sqlite3 *db, const struct local_rows *w, struct record **out, struct err *e);

/* ---- standing.c ---- */

bool local_standing(const struct broker_config *config, const char *group, const char *topic,
                    void (*each)(void *, const struct standing *), void *ctx, struct err *e);
/* Opens the log that the configuration names, for reading; NULL with *e. */
sqlite3 *local_standing_open(const struct broker_config *config, struct err *e);
/* Closes it; false with *e unless rc says that all went well. */
bool local_standing_close(const struct broker_config *config, sqlite3 *db, int rc, struct err *e);
/* The same of an open database; `group` NULL: none has a position. SQLite's code. */
int local_standing_rows(sqlite3 *db, const char *group, const char *topic,
                        void (*each)(void *, const struct standing *), void *ctx);
void local_stands(struct consumer *base, void (*each)(void *, const struct standing *), void *ctx);

/* ---- store.c ---- */

bool local_store_open(struct local *b, struct err *e);                  /* opens or creates, checks, loads topics */
void local_store_close(struct local *b);                                /* checkpoints unless failed */
bool local_link_open(struct local *b, struct link *out, struct err *e); /* a connection for reading */
void local_link_close(struct link *l);
void local_link_lock(struct link *l);
void local_link_unlock(struct link *l);
bool local_store_prepare(struct link *l, sqlite3_stmt **out, struct err *e, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
bool local_store_number(sqlite3 *db, int64_t *out, const char *sql); /* the first column of the first row */
/* Says of a file that it is damaged, how, and what to do. Always false. */
bool local_store_damaged(const char *file, const char *how, struct err *e);
/* Is a file with these PRAGMAs (application_id, user_version) a log of a format that this program knows? False with *e. */
bool local_store_is_known(const char *file, int64_t application, int64_t version, struct err *e);
int local_store_run(sqlite3_stmt *s); /* steps a statement without rows and resets it; SQLite's code */
/* Makes or changes a topic in a transaction of its own; sets the status when that fails. The writer (or nobody else yet). */
int local_store_topic(struct local *b, const char *name, int64_t partitions, const struct topic_config *settings);
int local_store_forget(struct local *b, const char *group, const char *topic); /* its positions there; likewise */

/* ---- publication.c ---- */

/* A copy, with each key's hash (as_kafka: keys_as_kafka); free() it. */
struct local_publication *local_publication_new(const struct publication *p, bool as_kafka);

/* ---- queue.c: any thread, but for what is the writer's ---- */

bool local_queue_put(struct local *b, struct local_publication *p); /* takes it over; false: there is no room */
bool local_queue_flush(struct local *b, struct duration limit);
bool local_queue_ask(struct local *b, struct topic_request *r); /* waits for the answer; any thread */
void local_queue_positions(struct local *b, int64_t due_ms);    /* positions are to be stored by then */
/* Waits until positions that were asked for are durable, at most `limit`. */
void local_queue_wait_positions(struct local_consumer *c, struct duration limit);
void local_queue_retain(struct local *b); /* retention may begin */
void local_queue_close(struct local *b);  /* the writer ends when the queue is empty */
/* The writer's: waits for work and takes at most one commit's worth. */
struct local_group local_queue_take(struct local *b);
void local_queue_settled(struct local *b, size_t count); /* that many publications have their outcome */
void local_queue_answered(struct local *b, struct topic_request *r, bool ok);

/* ---- age.c: the writer's ---- */

void local_age_begin(struct age *a, int64_t newest_ms); /* newest_ms: stamp of the newest record; -1: there is none */
int64_t local_age_now(struct age *a);                   /* what a record is stamped with */

/* ---- retain.c ---- */

/* When it has to look next; INT64_MAX: never. */
static inline int64_t local_retention_due(const struct local *b)
{
    return b->retains && atomic_load(&b->retaining) ? b->retention_due : INT64_MAX;
}

int local_retain(struct local *b); /* one step inside the open transaction; SQLite's code */

/* ---- writer.c ---- */

void *local_writer(void *arg); /* a thread; arg: the struct local */

/* ---- groups.c ---- */

bool local_groups(struct broker *b, const char *prefix, const struct group_seen *seen, struct err *e);
bool local_groups_outside(const struct broker_config *config, const char *prefix, const struct group_seen *seen,
                          struct err *e);
bool local_forget(struct broker *b, const char *group, const char *topic, struct err *e);

/* ---- state.c ---- */

bool local_state(struct broker *base, const char *source,
                 bool (*each)(void *, struct str, struct str, bool, struct err *), void *ctx, struct err *e);
bool local_scopes(struct broker *base, bool (*each)(void *, const char *, struct err *), void *ctx, struct err *e);
bool local_check_moved(struct local *b, struct err *e);               /* false with *e: what it held is elsewhere now */
bool local_say_moved(const char *file, struct str to, struct err *e); /* false, with *e */
bool local_identify(
    struct local *b,
    struct err *e); /* finds the log's identity and how keys choose, or makes them; before the writer runs */

/* ---- consumer.c ---- */

struct consumer *local_consume(struct broker *b, const struct consumer_options *o, struct err *e);
int local_poll(struct consumer *base, struct record **out, size_t room, struct err *e);
void local_hold(struct consumer *base, struct topic_partition p, bool hold);
void local_seek(struct consumer *base, struct topic_partition p, int64_t offset);
unsigned local_commit(struct consumer *base, struct topic_partition p, int64_t next, const struct ranges *beyond);
bool local_next(struct consumer *base, struct topic_partition p, int64_t *out);
void local_leave(struct consumer *base);
bool local_tail(struct broker *b, const char *topic, const struct tail_options *o,
                void (*each)(void *, const struct record *), void *ctx, struct err *e);

/* ---- replay.c ---- */

struct log *local_replay(struct broker *base, const struct log_options *o, struct err *e);
void local_replay_close(struct log *base);
