/* SPDX-License-Identifier: MIT */
/* What the files of delivery/ share; nobody else includes it.
 *
 *   delivery.c     a sink's life and turn, its partitions' hand-over
 *   poll.c         records come in
 *   inbox.c        what the waiter hands over
 *   control.c      what is changed while the sink runs
 *   verdicts.c     what becomes of them after an attempt
 *   blocked.c      keys that step aside
 *   blocked_read.c what stands in their logs, and comes back from there
 *   blocked_logs.c the logs, and the marks at their ends
 *   keys.c         what is known of them
 *   moves.c        dead letters, and what waits long, move to topics of their own
 *   partitions.c   how far each partition is finished
 *   window.c       what was taken, and what is to be done with it
 *   gates.c        when a destination may get an attempt
 *   outlets.c      the endpoints as the sink has them open
 *   destinations.c the receivers that a sink serves
 *   attempts.c     the delivery log
 *   way.c          the way of one event, in the debug log
 *   account.c      what is finished, pending, waiting, and what fails
 *
 * Each calls only files below it. */
#pragma once
#include <stdatomic.h>
#include "bridge/delivery/account.h"
#include "bridge/delivery/attempts.h"
#include "bridge/delivery/circuit.h"
#include "bridge/delivery/control.h"
#include "bridge/delivery/delivery.h"
#include "bridge/delivery/ladder.h"
#include "bridge/delivery/rate.h"
#include "bridge/event/filter_index.h"
#include "bridge/event/span.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/timers.h"
#include "bridge/lib/watermark.h"

struct partition { /* a partition we read */
    struct partition *next;
    struct topic_partition where; /* owns the topic's name */
    struct str topic;
    bool own;                /* a retry or redrive topic, the waiter, or old: its records passed the filter before */
    bool old;                /* a blocked log of an earlier configuration, which is emptied */
    bool at_mark;            /* that has been read up to the mark at its end */
    struct blocked *blocked; /* order: key: what it and its log belong to, as soon as that was asked */
    bool holds;              /* it is not read on, until it is known which keys are blocked */
    struct watermark done;
    int64_t newest; /* -1: none yet */
    bool changed;   /* something finished that was not committed yet */
    unsigned full;  /* how full the room for what is finished beyond the position is, in per cent (consumer_commit) */
};

enum entry_state {
    ENTRY_FREE,
    ENTRY_READY,   /* in the ready queue */
    ENTRY_BEHIND,  /* order: key; waits for an earlier one of its key */
    ENTRY_HELD,    /* order: key; until it is known which keys are blocked */
    ENTRY_FLYING,  /* the sink has it */
    ENTRY_WAITING, /* for its next attempt; a timer is set */
    ENTRY_STORING, /* its dead letter or waiting record is being published (or will be again: a timer) */
};

/* A record between poll and done. It is shared by its entries, one for each destination, and done when all of them are. */
struct taken {
    struct record *record;
    const struct event *event;   /* NULL: the record is no event */
    struct partition *partition; /* NULL: it was taken away */
    size_t open;                 /* entries that are not done, and one more while they are made */
    bool stays;                  /* in its blocked log: it is given back, not done */
    struct mailbox *lender;      /* the waiter's, which is told how it ends; NULL: it came from a topic */
    uint64_t lent_tag;
    bool partly; /* one of its entries is done */
    size_t kept; /* entries in flight that borrow its record, and are another one's by now */
};

struct entry { /* what is to be done with a record at one destination */
    uint32_t index, generation;
    enum entry_state state;
    struct taken *of;
    struct destination *to;
    struct entry *next;  /* in a queue */
    struct entry *chain; /* in its bucket of keys */
    uint64_t key_hash;
    bool chained;
    unsigned attempts;
    int64_t first_ms, last_ms; /* wall clock */
    int64_t wake_ms;           /* ENTRY_WAITING: of the next attempt, clock_mono_ms() */
    int64_t next_ms;           /* of the next attempt, if the last one failed and there is one */
    uint64_t span;             /* ENTRY_FLYING: of the attempt, in the event's trace; 0: none */
    bool probe;                /* ENTRY_FLYING: of the destination's circuit */
    struct outlet *via;        /* ENTRY_FLYING: where to */
    struct result last;
    const char *dead_class; /* ENTRY_STORING: becomes a dead letter of this class; NULL: goes to a waiting topic */
    int64_t due_ms;         /* there: wall clock of the next attempt */
    const struct topic_partition *log; /* goes there instead: a blocked log */
    bool copied;                       /* its log gets a copy of it while it is here: blocked_copy */
    bool in_log;                       /* that is stored */
    bool copy;                         /* ENTRY_STORING: is that copy */
    struct taken *before;              /* ENTRY_FLYING: whose record the sink has, if not of's */
    int64_t note_of; /* there: it stands at this offset already and only a note goes; -1: it goes itself */
    unsigned store_attempts;
    unsigned bare; /* what is too large for a dead letter is left out: 1 the data, 2 key and headers as well */
};

struct window_queue {
    struct entry *first, *last;
};

struct inbox {                   /* what the waiter handed over and no turn has taken yet */
    pthread_mutex_t lock;        /* guards first, last */
    struct handed *first, *last; /* last: while there is a first */
    atomic_bool recalled;
    struct handed *taken; /* of the sink's thread: taken out of these, and not looked at */
};

struct handed {
    struct handed *next;
    struct record *record;
    struct mailbox *reports;
    uint64_t tag;
};

enum { LENT_FINISHED = 64 }; /* records of the waiter that it hears of at once */

struct delivery_counters {
    struct metric *consumed, *delivered, *dead, *filtered, *moved, *released, *attempts, *retries, *untried, *pending,
        *waiting, *throttled, *paused, *circuit_open; /* NULL: its circuit never opens */
};

struct outlet { /* an endpoint that the sink has open */
    struct outlet *next;
    struct endpoint *endpoint; /* NULL: the sink's type knows none */
    void (*release)(void *ctx);
    void *ctx;
    size_t flying;
    bool open;
    bool left; /* its destination has another one by now, or is gone */
};

struct destination {       /* one receiver of the sink */
    size_t number;         /* among the sink's endpoints */
    bool gone;             /* it was removed: what is left of it becomes dead letters */
    struct outlet *outlet; /* NULL: it is gone */
    char *name;            /* the endpoint's; NULL: the sink as a whole */
    const struct filter *filter;
    const struct durations *retry;
    int64_t retry_jitter;
    struct duration retry_for, retry_memory;
    size_t share;           /* entries that may hold up the window when others need it */
    size_t open;            /* entries */
    size_t keys;            /* blocked ones */
    size_t flying, storing; /* those that the sink has, and those that are being moved */
    int64_t busy_ms;        /* of an endpoint: since when it has entries, clock_mono_ms() */
    int64_t delivered_ms;   /* when it took the last one, clock_mono_ms(); 0: never */
    struct rate rate;       /* of its attempts */
    struct circuit circuit;
    double said, allowed; /* its rate by the configuration, and by the receiver */
    bool spared;          /* its last attempt did not count, for gates_heard */
    bool paused;
    int64_t paused_ms; /* since then, wall clock */
    int64_t held_ms,
        again_ms; /* it is to get nothing: since then, wall clock, and until then, clock_mono_ms; 0: it is */
    char held_why[WHY_BYTES];
    struct destination *after; /* among those that are gone */
    struct destination *next;  /* in the list of those with ready entries, or of those that rest */
    bool listed;               /* in one of them */
    struct window_queue ready;
    size_t waiting;        /* entries, in memory, for their next attempt */
    struct entry **chains; /* order: key; NULL otherwise */
    size_t chain_mask;
    bool failing;          /* the log has heard so */
    int64_t failing_ms;    /* since then, wall clock */
    struct result failure; /* the last one */
    int64_t lack_said_ms;  /* when the log last heard that our own machine lacks something; 0: never */
    struct delivery_counters count;
};

enum blocked_state { /* of a blocked log; blocked.c says more */
                     BLOCKED_UNREAD = 1,
                     BLOCKED_MARKING,
                     BLOCKED_READ,
                     BLOCKED_ABSENT,
};

struct blocked_place {
    int64_t offset;                   /* in the log */
    int64_t origin_offset, origin_ms; /* where it stood in the topic, and its time there */
};

struct blocked_key {
    struct blocked_key *next;        /* in its bucket */
    struct blocked_key *next_active; /* its first event is due: it may be read and sent */
    bool active;
    uint64_t hash;
    struct destination *to;
    struct blocked_place *places; /* of its events, oldest first: from head on */
    size_t head, count, cap;
    size_t loaded;     /* the first ones: in the window */
    size_t coming;     /* more, being published */
    int64_t copied;    /* of these the one that is in the window too, as it stands in the topic; -1: none */
    unsigned attempts; /* of the first one */
    int64_t first_ms, last_ms, due_ms;
    int64_t note; /* where the log says so; -1: nowhere */
};

struct blocked { /* a partition of a topic and its log */
    struct blocked *next;
    uint64_t number;
    const char *log;              /* the log's topic */
    struct topic_partition where; /* the log */
    struct partition *read;       /* the log, as long as something of it was read */
    enum blocked_state state;
    char mark[17];
    size_t olds; /* old logs of this partition that are not read up to it yet */
    bool mark_failed;
    int64_t mark_again_ms; /* clock_mono_ms; INT64_MAX: it is on its way */
    struct window_queue held;
    struct blocked_key **keys; /* buckets */
    size_t key_mask, key_count;
    struct blocked_key *active;
    struct timers due; /* of resting keys */
    int64_t cursor;    /* the offset that is read next */
    bool waits;        /* it is not read on: what comes next has no room in the window yet */
};

struct blocked_log {
    char *topic;
    const char *of;     /* whose log it is */
    int32_t partitions; /* that it is known to have */
};

struct delivery {
    struct sink *s;
    struct sink *own;        /* s, if it is a copy */
    void *fresh;             /* the sink's struct before it was opened; NULL: there are no copies */
    struct delivery *first;  /* whose copy it is; NULL: this is that one */
    struct delivery *copies; /* of the first: the copy made last; of a copy: the one before it */
    const struct sink_config *config;
    struct broker *broker;
    struct consumer *consumer;
    int wake_fd;
    struct mailbox stored;     /* notices of the broker about what we publish */
    struct attempts *attempts; /* NULL: none are logged */
    atomic_bool stopping, abandoned;
    bool stopped; /* stopping, as this turn sees it */
    bool open;
    struct account *account;
    struct control *control;

    struct partition *partitions, *last_partition;
    bool changed;         /* some partition is */
    size_t finished;      /* records since the last commit, */
    int64_t committed_ms; /* which was then (clock_mono_ms) */
    struct entry **entries;
    size_t entry_cap;
    uint32_t *free;
    size_t free_count;
    size_t window_used; /* records taken */
    size_t held;        /* of these: do not count in the window */
    size_t flying, storing;
    struct inbox inbox;
    struct mailbox *lender; /* is to hear that these are finished: window_tell */
    uint64_t lent_finished[LENT_FINISHED];
    size_t lent_finished_count;
    struct partition lent; /* stands for where the waiter's records come from; not in the list */
    struct timers timers;
    bool poll_failed;
    struct record *const *coming; /* broadcast: polled, not sent yet */
    size_t coming_count;
    struct bookmarks *bookmarks;       /* broadcast */
    struct destination self;           /* the sink as one destination, and what concerns no endpoint in particular */
    bool many;                         /* it has `endpoints:`; else self is the only one */
    struct destination **destinations; /* those */
    size_t destination_count;
    struct destination *gone; /* linked by after */
    struct outlet *outlets;
    size_t left;                             /* how many of them their destinations have left */
    struct filter_index *index;              /* of their filters */
    struct destination *ready, **ready_tail; /* those with ready entries, in turns */
    size_t ready_count;
    struct destination *resting; /* those that may not get an attempt before a time */
    int64_t rest_ms;             /* clock_mono_ms: the earliest of these times; INT64_MAX: nobody's */
    int64_t tidied_ms;           /* clock_mono_ms: when what these have in memory was last moved on */
    int64_t hold_ms; /* ... until the sink as a whole may send what is ready; INT64_MAX: not that holds it up */

    struct blocked *blocked;
    struct blocked_log *logs;
    size_t log_count;
    struct blocked_log *old; /* those of an earlier configuration that exist */
    size_t old_count;
    size_t blocked_loaded; /* events of blocked logs in the window */
    struct mailbox marks;  /* notices of the broker about marks */
    struct metric *blocked_events, *blocked_keys;

    char *group, *dead_letter_topic;
    char **formerly;         /* groups of the sink's earlier names */
    char **redrive_topics;   /* of its name, then of those */
    struct metric *unstored; /* entries that the broker does not take */
    struct ladder ladder;
    char **retry_names; /* the retry topics of an earlier version */
    size_t retry_name_count;
};

/* ---- destinations.c ---- */

bool destinations_open(struct delivery *d, struct err *e); /* and the sink's endpoints; the sink is open */
void destinations_make(struct delivery *d);                /* them and their counters; before anything is counted */
void destinations_free(struct delivery *d);
/* See control.h. */
bool destinations_add(struct delivery *d, const struct endpoint_order *o, struct err *e);
bool destinations_change(struct delivery *d, struct destination *to, const struct endpoint_order *o, struct err *e);
void destinations_remove(struct delivery *d,
                         struct destination *to); /* what it has in memory is ready to be an orphan */
void destinations_bury(struct delivery *d);       /* those that are gone and of which nothing is left */
/* The one of that name; NULL: there is none any more. */
struct destination *destinations_find(struct delivery *d, struct str name);
/* Calls each() for every destination that gets the event. */
void destinations_match(struct delivery *d, const struct event *ev,
                        void (*each)(struct delivery *d, struct destination *to, void *ctx), void *ctx);

/* ---- window.c ---- */

enum { DESTINATIONS_MOST = 4096 };     /* of one sink, so that the window has room for a record for all of them */
enum { WINDOW_ENTRIES = 65536 };       /* most, about, of a sink with endpoints, whatever its window is */
void window_close(struct delivery *d); /* what is still in it counts as released */
/* Takes a record over, and `ev`'s reference; window_release after its entries are made. */
struct taken *window_take(struct delivery *d, struct record *r, const struct event *ev, struct partition *p);
/* Gives back one share in it; with the last one it is done: its partition's watermark moves, or the waiter is told. */
void window_release(struct delivery *d, struct taken *t);
/* Tells the waiter what was finished of its records since the last time: it is woken once for many. Before each wait. */
void window_tell(struct delivery *d);
struct entry *window_add(struct delivery *d, struct taken *t, struct destination *to);
void window_pass_on(struct delivery *d, struct entry *en, struct taken *t); /* it becomes t's entry */
void window_landed(struct entry *en);                                       /* its attempt ended */
uint64_t window_tag(const struct entry *en);
struct entry *window_find(struct delivery *d, uint64_t tag); /* NULL: that one ended long ago */
/* Ends the entry, counts it, and gives everything back. */
void window_finish(struct delivery *d, struct entry *en, struct metric *counter);
void window_ready(struct delivery *d, struct entry *en); /* it may be sent */
/* The next to be sent, in turns; NULL: none, or none may. */
struct entry *window_next(struct delivery *d, int64_t now_ms);
/* When a destination that rests may go on: clock_mono_ms; INT64_MAX: there is none. */
int64_t window_rest(const struct delivery *d);
void window_look_again(struct delivery *d); /* some that rest may go on sooner than they said */
void window_unready(struct entry *en);      /* takes it out of the ready ones */
void window_renew(struct entry *en);        /* gives it a new tag: its timer means nothing any more */
/* Puts it behind the others of its key; true when it may go at once. */
bool window_chain_enter(struct entry *en);
bool window_is_awaited(const struct entry *en); /* is another one of its key behind it? */

/* ---- outlets.c ---- */

struct outlet *outlet_new(struct delivery *d, struct endpoint *ep,
                          const struct endpoint_order *from); /* from NULL: the configuration's */
bool outlet_open(struct delivery *d, struct outlet *o, struct err *e);
void outlet_forget(struct delivery *d, struct outlet *o); /* closes and releases it; nothing is in flight to it */
void outlet_leave(struct delivery *d, struct outlet *o);  /* its destination has another one, or is gone */
/* Forgets those that were left and have nothing in flight any more; `all`: closes all of them, before the sink is closed. */
void outlets_close(struct delivery *d, bool all);
void outlets_free(struct delivery *d);

/* ---- gates.c ---- */

/* When the destination may get its next attempt: clock_mono_ms; 0: now. */
int64_t gates_due(const struct destination *to);
void gates_sent(struct delivery *d, struct entry *en); /* it gets one */
/* An attempt ended; true: it does not count among its event's, for the circuit is open and the receiver away. */
bool gates_heard(struct delivery *d, struct entry *en, const struct result *r);
/* What the configuration says of its rate. */
void gates_set_rate(struct destination *to, double in_a_second);
/* Its sink says that it is to get nothing for so long. */
void gates_hold(struct delivery *d, struct destination *to, const struct result *r);
/* It gets nothing any more, or again; of `self`: nobody does, and nothing is read. */
void gates_pause(struct delivery *d, struct destination *to, bool paused);
/* Are they closed for a while already: paused, held, or its circuit open? */
bool gates_stay_closed(const struct destination *to);
/* Has it more than its share, more than what its rate lets through soon? */
bool gates_take_long(const struct destination *to);
/* How long what it has no room for waits before it is looked at again. */
int64_t gates_aside_ms(struct destination *to);
/* ... when no more than `most` of what it has stay in memory. */
int64_t gates_aside_behind_ms(struct destination *to, size_t most);

/* ---- partitions.c ---- */

struct partition *partition_find(struct delivery *d, struct str topic, int32_t partition); /* NULL: not read */
struct partition *partition_of(struct delivery *d, const struct record *r);                /* made if need be */
/* Forgets a partition and what is open of it: whoever reads it next gets that again. */
void partition_release(struct delivery *d, struct partition *p);
void partition_free(struct delivery *d, struct partition *gone); /* no entry is of it */
/* Is anything of them in flight, or being stored? Members may be NULL. */
bool partitions_busy(const struct delivery *d, struct partition *const *partitions, size_t count);
/* Commits how far each partition is finished and what is finished beyond, when the last time is an interval ago; `all`:
 * now. */
void partitions_commit(struct delivery *d, bool all);
int64_t partitions_commit_due(const struct delivery *d); /* clock_mono_ms; INT64_MAX: nothing to commit */
/* A partition whose room for what is finished beyond its position is nearly full: moving on the oldest events that wait
 * in memory makes room. NULL: none. */
struct partition *partitions_crowded(const struct delivery *d);

/* ---- moves.c ---- */

const char *moves_name(const struct sink_config *sink, size_t i); /* the sink's name, then its earlier ones */
bool moves_open(struct delivery *d, const struct broker_config *names, struct err *e);
void moves_close(struct delivery *d);
bool moves_owns(const struct delivery *d, struct str topic); /* a retry or redrive topic of the sink? */
/* Starts moving the entry; its end comes through moves_done. */
void moves_dead_letter(struct delivery *d, struct entry *en, const char *dead_class);
/* There is no endpoint of that name any more. */
void moves_orphan(struct delivery *d, struct entry *en, struct str endpoint);
/* Has it nowhere to step aside to, and waits among what waits for all sinks? Without an order, without a key, or redriven. */
bool moves_has_no_log(const struct entry *en);
void moves_wait(struct delivery *d, struct entry *en, int64_t wait_ms); /* on a waiting topic */
void moves_again(struct delivery *d, struct entry *en);                 /* its publication failed a while ago */
/* The entry's copy is stored, or no longer tried: it is counted among the unstored no more. */
void moves_count_stored(struct delivery *d, struct entry *en);
void moves_done(struct delivery *d, struct entry *en, enum outcome o, const char *why);
const char *moves_class(enum reason r); /* of the dead letter */
/* Moves one that was to wait in memory, or for its turn, to a waiting topic, for at least so long. */
void moves_aside(struct delivery *d, struct entry *en, int64_t least_ms);
/* What is finished beyond a position has little room left on the broker: moves on what waits in memory there, so that the
 * position moves and nothing has to be left out. */
void moves_relieve(struct delivery *d);
/* A full window that slow endpoints hold up stops the others. An equal part of it for each endpoint that has something in
 * it; 0: nobody waits for another, or something is on its way already. */
size_t moves_fair_part(const struct delivery *d);
bool moves_has_too_much(const struct destination *to,
                        size_t part); /* of an endpoint: more than its share, or its part; of a paused one: anything? */
/* Has an endpoint enough, and gets on with none of it? More for it must not keep the others' from coming. */
bool moves_is_stuck(const struct delivery *d, const struct destination *to);
void moves_make_room(struct delivery *d, size_t part); /* moves that to the waiting topics */
/* Now and then: what an endpoint that stays closed has in memory waits on the broker instead, so that the position goes
 * on; where its circuit is open, all but one, which can be the probe; where it waits for its rate, what takes long. */
bool moves_tidy(struct delivery *d); /* false: not this time */
/* At the end: what only some of its endpoints have waits for the others on the broker, so that nobody gets it twice. */
void moves_leave(struct delivery *d);
/* To a blocked log, or only a note of it; its end comes through blocked_stored. */
void moves_block(struct delivery *d, struct entry *en, const struct topic_partition *log, int64_t note_of,
                 int64_t due_ms);

/* ---- keys.c ---- */

struct blocked_key *keys_find(const struct blocked *b, uint64_t hash,
                              const struct destination *to); /* NULL: not blocked */
struct blocked_key *keys_make(struct delivery *d, struct blocked *b, uint64_t hash, struct destination *to);
void keys_free(struct delivery *d, struct blocked *b, struct blocked_key *key); /* it is not blocked any more */
void keys_push(struct delivery *d, struct blocked_key *key, struct blocked_place place); /* one event more */
int64_t keys_offset(const struct blocked_key *key, size_t i); /* where its event number i stands in the log */
/* Is this record of the topic in the log? A crash may have come between that and the topic's position. */
bool keys_has(const struct blocked_key *key, const struct taken *t);
void keys_wake(struct blocked *b, struct blocked_key *key);          /* it may be read and sent from now on */
void keys_wake_all(struct blocked *b, const struct destination *to); /* ... its keys, due or not */
void keys_rest(struct blocked *b, struct blocked_key *key); /* ... from the time on when its first event is due */

/* ---- blocked_logs.c ---- */

void blocked_open(struct delivery *d, const struct broker_config *names);
bool blocked_find_old(struct delivery *d, const struct broker_config *names, struct err *e); /* after blocked_open */
bool blocked_is_old(const struct delivery *d, struct str topic);
/* Has it no event for this sink: a mark, a note, or that of a sink whose log has the same name by chance? */
bool blocked_is_none(const struct delivery *d, const struct record *r);
bool blocked_is_log(const struct delivery *d, struct str topic); /* the sink's own, or an old one */
/* How many events, without marks and notes, the partition of a log has that are not finished; -1: that is not known before
 * it has been read. */
int64_t blocked_pending(struct delivery *d, const struct standing *log);
/* What a partition belongs to; NULL: to none. */
struct blocked *blocked_of(struct delivery *d, struct partition *p);
/* Holds the entry, and its partition, until it is known which keys are blocked. */
void blocked_hold(struct delivery *d, struct blocked *b, struct entry *en);
/* Puts the entry behind the others of its key in the log. */
void blocked_put(struct delivery *d, struct blocked *b, struct entry *en, int64_t due_ms);
/* Does an earlier event of its key, which stands in the topic alone, come before it? What was redriven comes at any time. */
bool blocked_is_behind(const struct blocked *b, const struct entry *en);
/* One of an old log goes into the log of today at once, whatever its receiver does; false: it is of no old one, or behind
 * another. */
bool blocked_take_over(struct delivery *d, struct entry *en);
/* A record of an old log is no event; it may be the mark up to which that was to be read. */
void blocked_take_old_mark(struct delivery *d, struct partition *p, const struct record *r);
/* Is the log known, but not all that old ones have for it? The topic waits so long. */
bool blocked_waits_for_old(const struct blocked *b, const struct partition *p);
/* Begins to read the log, and old ones, up to their ends; the topic's partition waits so long. */
void blocked_begin(struct delivery *d, struct blocked *b);
void blocked_publish_mark(struct delivery *d, struct blocked *b); /* again, since it could not be stored */
/* The log has been read: which keys are blocked is known. */
void blocked_ready(struct delivery *d, struct blocked *b);
void blocked_take_marked(struct delivery *d); /* what the broker says of marks */

/* ---- blocked_read.c ---- */

/* Takes over a record of a blocked log; false: it is of no such log. */
bool blocked_take(struct delivery *d, struct partition *p, struct record *r);
/* Is a record at this offset one that cannot come, unless the topic was made anew? */
bool blocked_is_anew(struct delivery *d, struct partition *p, int64_t offset);
/* One of the log that waits in memory waits there instead. */
void blocked_note(struct delivery *d, struct blocked *b, struct entry *en);
void blocked_turn(struct delivery *d);
int64_t blocked_next(const struct delivery *d); /* clock_mono_ms: when there is something to do; INT64_MAX: nothing */

/* ---- blocked.c ---- */

void blocked_close(struct delivery *d);
/* Is the entry held, before it enters its chain? */
bool blocked_holds(struct delivery *d, struct entry *en);
/* May the entry be sent? Else it went aside, or is held. */
bool blocked_passes(struct delivery *d, struct entry *en);
/* Lets the entry's key step aside for a wait that is too long for memory; false: it has no log. */
bool blocked_wait(struct delivery *d, struct entry *en, int64_t wait_ms);
void blocked_orphan_all(struct delivery *d, const struct destination *to); /* it is gone: its keys need not wait */
/* What ordered endpoints have too much of in a full window steps aside, key by key. */
void blocked_make_room(struct delivery *d, size_t part);
void blocked_tidy(struct delivery *d);                     /* as moves_tidy, for those with an order */
void blocked_leave(struct delivery *d);                    /* as moves_leave, for those with an order */
void blocked_stored(struct delivery *d, struct entry *en); /* what moves_block published is stored */
/* ... can never be. True: the entry is the caller's again; false: it was a copy, and ended. */
bool blocked_refused(struct delivery *d, struct entry *en);
void blocked_forget(struct delivery *d, struct partition *p); /* before it is released */

/* ---- inbox.c ---- */

void inbox_open(struct delivery *d);
void inbox_close(struct delivery *d);          /* what is in it stays the waiter's */
struct handed *inbox_take(struct delivery *d); /* the oldest, free() it; NULL: none */
void inbox_answer_recall(struct delivery *d);  /* gives back what the sink does not have, if that was asked for */

/* ---- account.c ---- */

struct account *account_new(void);
void account_free(struct account *a);
void account_keep(const struct destination *to); /* its counters for the page of metrics, between two changes */
void account_answer(struct delivery *d);         /* a turn's share: nothing unless somebody asked */

/* ---- control.c ---- */

struct control *control_new(void);
void control_free(struct control *c);
void control_answer(struct delivery *d); /* a turn's share: nothing unless somebody wants something changed */

/* ---- poll.c ---- */

bool poll_records(struct delivery *d);   /* true: there may be more at once */
bool poll_broadcast(struct delivery *d); /* the same for a broadcast sink */

/* ---- live.c: of a broadcast sink ---- */

/* Gives the sink its log and its bookmarks; before the sink's open(). */
bool live_open(struct delivery *d, const struct broker_config *names, struct err *e);
void live_close(struct delivery *d); /* after its close() */
void live_free(struct delivery *d);  /* when the broker reports nothing any more */

/* ---- way.c ---- */

/* Each writes one line with the event's id if the log is a debug log, and costs a look at that if it is not. An event may be
 * NULL: there is nothing to say. */
void way_taken(const struct delivery *d, const struct event *ev, const struct record *r, const char *endpoint);
void way_passed(const struct delivery *d, const struct event *ev, const struct record *r); /* no filter wants it */
void way_ended(const struct delivery *d, const struct entry *en, const struct result *r, enum attempt_end end);
void way_moved(const struct delivery *d, const struct entry *en); /* its dead letter or waiting record is stored */

/* ---- traced.c: only while span_on() ---- */

/* An attempt ended so, and the wait before it, if there was one. Before the entry hears of it. */
void traced_attempt(const struct delivery *d, const struct entry *en, const struct result *r);
void traced_dead_letter(const struct delivery *d, const struct entry *en); /* it is stored */
void traced_fan_out(const struct delivery *d, const struct event *ev, const struct record *r, int64_t began_us);

/* ---- verdicts.c ---- */

void verdicts_take(struct delivery *d, int64_t wait_ms); /* what the sink says; waits at most so long */
void verdicts_take_stored(struct delivery *d);           /* what the broker says of what was moved */
