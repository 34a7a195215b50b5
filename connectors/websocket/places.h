/* SPDX-License-Identifier: MIT */
/* The partitions of a sink's topics, and positions in all of them at once.
 *
 * A spot says for each partition which offset comes next (SPOT_LIVE: what send() begins with); it never changes, and is
 * shared by all who are there. Partitions that were made later begin at 0.
 *
 * `now` is where send() stands. It is moved by places_sent, at the end of send(), and by places_look, which asks the log
 * and is never called inside of send(): so what the cohorts' rings have at any moment is what lies before `now`. One
 * thread. */
#pragma once
#include "bridge/connector.h"
#include "bridge/lib/crypto.h"

#define PLACE_NONE UINT32_MAX
enum { SPOT_LIVE = -1 };

struct place { /* one partition */
    const char *topic;
    int32_t partition;
    bool known; /* where `now` is */
    int64_t now;
    bool anew; /* send() went back: the topic was made anew; until somebody has told */
    bool identified;
    uint64_t identity; /* of the topic */
};

struct places {
    struct log *log; /* NULL: the broker has none to read; then there are no places */
    struct bookmarks *bookmarks;
    struct hmac *key; /* of cursors; NULL: not known yet */
    const struct strings *topics;
    int32_t *partitions; /* of each topic, as last looked at */
    struct place *at;
    uint32_t count, cap;
    bool anew;    /* one of them is */
    bool settled; /* the key is known, and of every topic the partitions and what send() brings, when last looked at */
};

struct spot {
    uint32_t refs, count;
    int64_t next[];
};

void places_open(struct places *p, struct log *log, struct bookmarks *bookmarks, const struct strings *topics);
void places_close(struct places *p);
void places_look(struct places *p);
uint32_t places_find(struct places *p, struct str topic, int32_t partition); /* PLACE_NONE: none of the sink's topics */
void places_sends(struct places *p, uint32_t place, int64_t offset);         /* that record is about to be sent */
void places_sent(struct places *p, uint32_t place, int64_t offset);          /* it has been */

struct spot *spot_ref(struct spot *t);
void spot_unref(struct spot *t); /* accepts NULL */
struct spot *spot_now(const struct places *p);
struct spot *spot_copy(const struct places *p, const struct spot *t); /* for all places there are now */
bool spot_is(const struct spot *a, const struct spot *b);

static inline int64_t spot_next(const struct spot *t, uint32_t place)
{
    return place < t->count ? t->next[place] : 0;
}
