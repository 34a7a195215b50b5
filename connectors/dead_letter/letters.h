/* SPDX-License-Identifier: MIT */
/* The file of dead letters: a SQLite database that the daemon writes and `aqueduct dead` reads.
 *
 * The command writes one thing, that letters were redriven or discarded, in short transactions of its own: the daemon, which
 * learns it from the topic, may not be running.
 *
 * One letter per sink, endpoint and event at its origin: a repeat takes the place of what was there and comes last again. An event
 * of another sender, type or origin with the same id has a letter of its own. A record that is no event is known by its origin. The rollback journal is used, not WAL: two processes share the file, and a
 * reader holds its lock only for one short query. synchronous=FULL: what was committed survives power loss.
 *
 *   writer   letters_open(.., true) -> letters_begin, letters_file..., letters_trim, letters_commit
 *   reader   letters_open(.., false) -> letters_each (letters_select, letters_load), letters_mark */
#pragma once
#include "bridge/lib/err.h"
#include "bridge/lib/mem.h"
#include "bridge/event/record.h"

enum letter_state {
    LETTER_DEAD = 1, /* no zero on purpose */
    LETTER_REDRIVEN,
    LETTER_DISCARDED, /* a person gave it up */
};

struct letter {
    int64_t seq;    /* order of filing */
    bool of_source; /* owner is the source whose event no topic could take; else the sink that gave up */
    struct str owner;
    struct str endpoint;               /* of the sink; absent: it has none, or the letter is about all of them */
    struct str id, source, type, time; /* of the event; absent when the record is no event */
    int64_t first_ms, last_ms;         /* attempts; 0 unknown */
    int64_t attempts, status;          /* status 0: none */
    struct str class, reason;
    struct str topic; /* origin; absent: it never was in a topic */
    int64_t partition, offset;
    enum letter_state state;
    int64_t redrives;
    struct str identity;  /* what no other letter of the owner has */
    bool cut;             /* loaded, but without what is too large to be held */
    struct record record; /* key, value, headers, timestamp_ms as stored, trail included */
    char *owned;          /* of a loaded letter */
    struct header *owned_headers;
};

const char *letter_state(enum letter_state state); /* its word */

struct selection { /* which letters; absent and 0: any */
    struct str owner, endpoint, class, type_prefix, source_prefix, id;
    int64_t since_ms, until_ms;             /* last attempt at or after, and before */
    bool dead, redriven, discarded;         /* states that are wanted */
    int64_t redrives_below, redrives_least; /* of those that are dead: redriven fewer times than that, or so often */
    int64_t behind;                         /* letters_each, the oldest first: those filed after this one; 0: all */
};

struct letters;

/* Opens, and when `write` creates, the file. NULL with *e: a file that is not ours, or of a later version, is
 * refused. */
struct letters *letters_open(const char *path, bool write, struct err *e);
/* Would that file, if it is there, be refused because it is not ours? Reads it without locks and leaves nothing. */
bool letters_check(const char *path, struct err *e);
void letters_close(struct letters *st); /* accepts NULL; rolls back */

bool letters_begin(struct letters *st, struct err *e);
bool letters_file(struct letters *st, const struct letter *l, struct err *e);
/* The letter of that sink, endpoint, origin and last attempt was redriven; nothing happens when there is none. */
bool letters_redriven(struct letters *st, const struct letter *l, struct err *e);
/* The letter of that owner, identity and last attempt was discarded; nothing happens when none is dead. */
bool letters_discarded(struct letters *st, const struct letter *l, struct err *e);
/* A reader redrove or discarded these letters, as they were loaded. Nothing happens to one that was filed anew since, or
 * that the daemon marked meanwhile. All or, with *e, none, such as of a file that this user may only read. */
bool letters_mark(struct letters *st, const struct letter *letters, size_t count, enum letter_state now, struct err *e);
/* Of several readers at the same time one alone has the claim, until it gives it up: between it and letters_mark no other
 * takes the same letters. The writer is not held up. A file system without such locks lets all of them go on. */
void letters_claim(struct letters *st);
void letters_unclaim(struct letters *st);
/* Is the letter in the state in which it was loaded? True as well when that cannot be read. */
bool letters_is_unchanged(struct letters *st, const struct letter *l);
/* Drops the oldest letters beyond `keep`, and those with a last attempt before `before_ms`; -1 on failure, else how
 * many. */
int64_t letters_trim(struct letters *st, int64_t keep, int64_t before_ms, struct err *e);
bool letters_commit(struct letters *st, struct err *e);
void letters_rollback(struct letters *st);
int64_t letters_count(struct letters *st);           /* letters in the file */
int64_t letters_count_discarded(struct letters *st); /* of these; 0 when that cannot be read */

/* Writes the seqs of matching letters to out: those behind `after`, or with `newest` those before it, in that order
 * (after 0: from the end in question). Returns how many, at most room; -1 with *e. */
int64_t letters_select(struct letters *st, const struct selection *sel, bool newest, int64_t after, int64_t *out,
                       size_t room, struct err *e);
int64_t letters_matches(struct letters *st, const struct selection *sel, struct err *e); /* how many; -1 with *e */
/* One letter as a copy; letter_free. False with *e; l->seq is 0 when that is because the letter is gone by now. */
bool letters_load(struct letters *st, int64_t seq, struct letter *l, struct err *e);
void letter_free(struct letter *l);

/* Calls `each` for the selected letters, a page at a time, so that the file is never locked for long; at most `most`
 * of them. Returns how many it called for; -1 with *e when the file fails or `each` does. Who keeps a letter leaves
 * zeroes in its place. */
typedef bool letters_each_fn(void *ctx, struct letter *l, struct err *e);
int64_t letters_each(struct letters *st, const struct selection *sel, bool newest, int64_t most, letters_each_fn *each,
                     void *ctx, struct err *e);
