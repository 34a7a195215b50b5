/* SPDX-License-Identifier: MIT */
/* Into a broker comes what another one held, each record at the offset that it had: `aqueduct move`.
 *
 * So every position keeps its meaning: those of groups and what is finished beyond them, those that listeners keep, the
 * origins that dead letters and waiting events name. An offset cannot be chosen; but the log ends where the next record goes. So
 * what retention had removed of a partition before the first record that is kept is filled with empty records, which are
 * removed again (pad, cut), and each record is stored behind the one before it. Where a partition ends is how far its copying
 * is: there it goes on after any end.
 *
 * One thread. The first failure is final: close it, open another and go on. */
#pragma once
#include "bridge/broker/broker.h"

struct copy {
    const struct copy_ops *ops;
};

struct copy_ops {
    struct copy *(*open)(const struct broker_config *config, struct err *e); /* config is borrowed until close */
    /* How many partitions the topic has; 0: there is no such topic; -1 with *e. Makes none. */
    int32_t (*partitions)(struct copy *c, const char *topic, struct err *e);
    /* The first record of a partition that is kept, and one past the last. */
    bool (*ends)(struct copy *c, struct topic_partition p, int64_t *start, int64_t *end, struct err *e);
    /* Stores an empty record; it goes to r->offset, which is the end of its partition and of all that was put. Takes its time
     * when much is under way. False with *e: something put earlier is not stored where it belongs. */
    bool (*pad)(struct copy *c, struct topic_partition p, int64_t offset, struct err *e);
    bool (*put)(struct copy *c, const struct record *r, struct err *e); /* the record; the same */
    bool (*settle)(struct copy *c, struct err *e);                      /* waits until all that was put is stored */
    bool (*cut)(struct copy *c, struct topic_partition p, int64_t start, struct err *e); /* removes what is before */
    /* Does nobody consume with the group? False with *e. */
    bool (*is_alone)(struct copy *c, const char *group, struct err *e);
    /* Where the group stands in these partitions; *cut counts those of which not all that is finished beyond the position
     * could be kept. Nobody consumes with the group. */
    bool (*stand)(struct copy *c, const char *group, const struct standing *at, size_t count, size_t *cut,
                  struct err *e);
    /* In which of so many partitions a new record with that key goes; -1: not known. */
    int32_t (*place)(struct copy *c, struct str key, int32_t partitions);
    bool (*retention)(struct copy *c, const char *topic, int64_t *ms, struct err *e);  /* -1: for ever, or not known */
    bool (*identity)(struct copy *c, const char *topic, uint64_t *out, struct err *e); /* event/log.h */
    void (*close)(struct copy *c);                                                     /* accepts NULL */
};

/* NULL: nothing can be moved into a broker of this type. */
const struct copy_ops *broker_copy_ops(const struct broker_config *config);
