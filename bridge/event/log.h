/* SPDX-License-Identifier: MIT */
/* The log behind the topics of a broadcast sink: its records from any position, beside the live stream that send()
 * brings.
 *
 * Offsets of a partition rise, may have gaps, begin at 0. The way of a listener that comes with a position:
 *
 *   position   of each partition the next offset it wants: from a cursor (event/cursor.h), from start or end (bounds),
 *              from a time (offset_at), or so many before `live`.
 *   verdict    identity says whether the topic is still the one that the position is of; bounds say whether what it wants
 *              is kept: what is before `start` is lost, and so many.
 *   replay     a reader for each partition whose position is before `live`. In work(): read(), up to `live` as it is at
 *              that moment, and send on what came. 0 records: wake_fd turns readable when there is more.
 *   join       when reader->next has reached `live`, close the reader: the next record of the partition that send() brings
 *              is the one that follows. Nothing comes twice, nothing is left out: all of it is one thread, and only send()
 *              moves `live`. A partition whose position is at `live` (or beyond: then leave out what send() brings
 *              before it) needs no reader.
 *
 *        0 ......... start ............ reader->next ......... live ................. end
 *        removed by        replayed                  waits for        stored, comes
 *        retention                                   the reader       through send()
 *
 * Nothing here waits for the network: what is not known yet is said as such ("not yet"), is being asked for from then
 * on, and the wake_fd of work() turns readable when it is worth asking again. What the answer says is at most a second or
 * so old; `live` is exact. All of it belongs to the sink's thread, from its first work() or send() on, until close(), where
 * it closes its readers.
 *
 * A test gives a sink a log of its own by a table of its own, or that of a broker in memory (broker_log). */
#pragma once
#include "bridge/event/event.h"
#include "bridge/event/record.h"
#include "bridge/lib/err.h"

struct topic_partition {
    const char *topic;
    int32_t partition;
};

struct log_bounds {
    int64_t start, end; /* the first offset that is kept; one past the last record that is stored */
};

struct log_reader { /* what the log has of a reader begins with these; read them, never write them */
    int64_t next;   /* all before it was handed out, or is not there */
    int64_t lost;   /* records that retention removed before they were read, since it was opened */
    bool anew;      /* the topic was made anew: nothing more comes; close it and take a verdict again */
};

struct log {
    const struct log_ops *ops;
};

struct log_ops {
    /* How many partitions the topic has; 0: not yet. It may grow; the new ones begin at 0. */
    int32_t (*partitions)(struct log *, const char *topic);
    /* A number that is another one when the topic is another one of the same name; the same in all daemons and after a
     * restart. False: not yet. */
    bool (*identity)(struct log *, const char *topic, uint64_t *out);
    bool (*bounds)(struct log *, struct topic_partition p, struct log_bounds *out); /* false: not yet */
    /* The offset of the first record that was stored at that time or later, by the clock of the log (which may be some
     * ms off that of who published); `end` when there is none. False: not yet: ask for the same again. */
    bool (*offset_at)(struct log *, struct topic_partition p, int64_t ms, int64_t *out);
    /* When the record at that offset, or the next one, was stored; -1: nobody knows. False: not yet. NULL: nobody needs to
     * ask, for `identity` tells every topic from another one (it does not where a cluster hides it). */
    bool (*time_of)(struct log *, struct topic_partition p, int64_t offset, int64_t *out);
    /* From here on records come through send(): all that are stored at this offset or later, and none before it. It moves
     * when send() is called (to the record's offset + 1, as seen inside of it) and over records that the sink's filter
     * leaves out, never between; back only where a topic is made anew. False: not yet (the sink's start, a partition that
     * was just made). */
    bool (*live)(struct log *, struct topic_partition p, int64_t *out);
    /* Does the sink's `filter` take it? send() brings no other; read() hands out all. */
    bool (*wanted)(struct log *, const struct event *ev);
    /* A reader of one partition from that offset on; takes no time and little memory: thousands at the same time are
     * well, and those at the same place share one reading. `anew` at once when `identity` is not the topic's. */
    struct log_reader *(*open)(struct log *, struct topic_partition p, uint64_t identity, int64_t offset);
    /* At most `room` records before `until` that are there now, in order, and about `bytes` of them at most (one record
     * more than that when it is the first); each is the caller's (record_free). 0: none now, wake_fd follows, or there
     * are none before `until`: then next is `until`. -1 with *e: the next one cannot be read now (*e names topic,
     * partition and offset); ask again later, wake_fd follows. */
    int (*read)(struct log *, struct log_reader *, int64_t until, struct record **out, size_t room, size_t bytes,
                struct err *e);
    void (*close)(struct log *, struct log_reader *); /* accepts NULL */
};
