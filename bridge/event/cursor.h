/* SPDX-License-Identifier: MIT */
/* A position in a set of topics: of each partition the next offset, as text that a client keeps and brings back.
 *
 *     struct cursor *c = cursor_new(topics, count);
 *     if (!cursor_read(c, hmac, text, &e)) ...                         what a client brought; or leave it as it is
 *     while (!cursor_place(c, log, (struct cursor_start){ CURSOR_RESUME }))     "not yet": in work(), after wake_fd
 *         return;
 *     c->verdict, c->lost, c->topics[i].parts[p].next                  then readers from there (event/log.h)
 *     cursor_move(c, i, r->partition, r->offset + 1, r->stored_ms)  each record on its way to the client
 *     cursor_write(c, hmac, &buf)                                      the text, with this or a later record
 *
 * The text is base64url of: version 1 | varint: time of the newest record, ms | varint: topics | for each: 4 bytes of its name's
 * hash, 6 bytes of its identity, varint: partitions, for each a varint: next offset | 8 bytes of an HMAC-SHA256. 12
 * partitions of one topic take about 80 bytes, 128 about 0.7 KB, before base64. It does not tell what the client may read: that
 * is asked again whenever it comes back; the HMAC only keeps clients from making positions up.
 *
 * What the text does not say: a partition that it does not have begins at offset 0 (it was made since). A topic that it has
 * and the subscription has not is passed over. One that only the subscription has is `new` and begins CURSOR_SKEW_MS before
 * the newest record that the text knows, so that it misses nothing since; and so does a topic that was made anew, or a
 * partition that ends before the position: `reset`. Where the log cannot tell by its identity that a topic was made anew, the
 * record before the position does: one that is more than CURSOR_SKEW_MS newer than all that the cursor passed is not the
 * one that it passed.
 *
 * One thread. A cursor owns its memory and nothing else. */
#pragma once
#include "bridge/event/log.h"
#include "bridge/lib/buf.h"
#include "bridge/lib/crypto.h"

enum { CURSOR_TEXT_MAX = 32 << 10, CURSOR_SKEW_MS = 30000 };

enum cursor_verdict {                   /* no zero on purpose; the larger one counts for all */
                      CURSOR_EXACT = 1, /* it goes on where it stood */
                      CURSOR_NEW,       /* it had no position here */
                      CURSOR_GAP,       /* retention took some in between: `lost` */
                      CURSOR_RESET,     /* the topic is another one now: it goes on by time */
};
const char *cursor_verdict_text(enum cursor_verdict v); /* "exact" ... */

enum cursor_from {
    CURSOR_RESUME = 1, /* where it stands; a cursor that was not read begins at the end */
    CURSOR_RESUME_ALL, /* the same, but a topic that its text does not have begins at its oldest record */
    CURSOR_EARLIEST,
    CURSOR_LATEST, /* where send() goes on */
    CURSOR_TIME,   /* value: wall clock, ms */
    CURSOR_LAST,   /* value: about so many records, the same share of each partition */
};
struct cursor_start {
    enum cursor_from from;
    int64_t value;
};

struct cursor_part {
    int64_t next, lost;
    enum cursor_verdict verdict; /* 0: not placed yet */
};

struct cursor_topic {
    char *name;
    bool known; /* it has a position, in the topic of this identity */
    uint64_t identity;
    struct cursor_part *parts;
    int32_t count;
};

struct cursor { /* read it freely; changed by the functions below alone */
    struct cursor_topic *topics;
    size_t count;
    int64_t newest_ms; /* no record that it passed was stored later; 0: it was not placed */
    bool read;
    enum cursor_verdict verdict; /* of all; 0: not placed yet */
    int64_t lost;
};

struct cursor *cursor_new(const char *const *topics, size_t count);
void cursor_free(struct cursor *c); /* accepts NULL */
/* Takes the positions of its topics from the text; false with why not, and the cursor is as it was. Any text. */
bool cursor_read(struct cursor *c, struct hmac *key, struct str text, struct err *e);
void cursor_write(const struct cursor *c, struct hmac *key,
                  struct buf *out); /* appends it; a topic without a position is left out */
/* Its topics are elsewhere now, each record at its old offset: from now on they have these identities. False: identity() said so
 * of one. */
bool cursor_adopt(struct cursor *c, bool (*identity)(void *ctx, const char *topic, uint64_t *out), void *ctx);
/* Finds where each partition begins, with a verdict. False: not yet; call it again with the same start. */
bool cursor_place(struct cursor *c, struct log *log, struct cursor_start start);
void cursor_displace(
    struct cursor *c); /* to be placed again, from where it stands: partitions were added, or a reader is anew */
/* ms: when the newest record before `next` was stored, as far as this partition has one that was not passed; 0: some time
 * before now. */
void cursor_move(struct cursor *c, size_t topic, int32_t partition, int64_t next, int64_t ms);
