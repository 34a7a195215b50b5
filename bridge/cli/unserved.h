/* SPDX-License-Identifier: MIT */
/* What the broker keeps for sinks that the configuration does not have, or no longer gives to those that it has, found from
 * outside: beside a daemon that runs or none. Changes nothing. One thread. */
#pragma once
#include "bridge/config/config.h"

enum unserved_kind {
    UNSERVED_WAITING = 1, /* for an attempt of a sink that is gone, in a waiting topic */
    UNSERVED_BLOCKED,     /* in the blocked log of a sink that is gone */
    UNSERVED_UNREAD,      /* the sink's group has not finished them */
};
const char *unserved_word(enum unserved_kind kind);

struct unserved_events { /* of one sink in one topic */
    enum unserved_kind kind;
    char *sink, *topic;
    int64_t events; /* 0: all is read, but the group still stands there: what comes later would be unread */
    bool known;     /* the sink is configured, without the topic */
    /* waiting: behind others in a topic of the ladder, until a daemon meets them and puts them among orphans */
    bool later;
};

const char *unserved_why(const struct unserved_events *of); /* for a person */

struct unserved_list { /* {0}: empty */
    struct unserved_events *at;
    size_t count;
};

enum { UNSERVED_MOST = 1000 }; /* pairs; what exceeds them is left out */

/* Those of the sink and the topic; absent: of all. False with *e; free the list in either case. */
bool unserved_find(const struct config *config, struct str sink, struct str topic, struct unserved_list *out,
                   struct err *e);
/* Only what groups left, and what is in blocked logs uncounted: a first look. */
bool unserved_left(const struct config *config, struct unserved_list *out, struct err *e);
void unserved_free(struct unserved_list *list);

/* Hands out every event of one entry, oldest first per partition, until each() returns false. */
bool unserved_each(const struct config *config, const struct unserved_events *of,
                   bool (*each)(void *ctx, const struct record *r), void *ctx, struct err *e);
