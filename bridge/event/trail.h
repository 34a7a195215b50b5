/* SPDX-License-Identifier: MIT */
/* The trail: headers that the bridge adds to a record on its way through retry, dead-letter and redrive topics.
 *
 * All names begin with "aqueduct-"; key, value, timestamp and every other header stay as they were. Whoever moves a record on
 * leaves the old trail out, but for from, types and origin, and writes a new one; a redriven record carries these alone.
 *
 *   topic                        written by              carries
 *   topics of the routes         intake                  from, types; kafka: stored
 *   <prefix>waiting.<step>       delivery, waiter        sink, endpoint, attempts, first, last, due, until, put, replaces, origin
 *   <prefix>waiting.orphaned     waiter                  the same, of a sink that the configuration does not have
 *   <prefix>waiting.orphaned     `aqueduct orphans`      sink, state: settled, note; the value: which earlier records there are finished (orphans.h)
 *   <prefix>blocked.<sink>.<topic> delivery              sink, attempts, first, last, due, origin; and records without an event: marks (state:
 *                                                     mark, reason) and notes on an earlier record there (state: note, note, attempts, first,
 *                                                     last, due)
 *   <prefix>retry.<sink>.<wait>  earlier versions        attempts, first, due, origin
 *   <prefix>dead-letter          delivery, intake        sink and endpoint (or source), host, attempts, first, last, status, class, reason, origin
 *   <prefix>dead-letter          `aqueduct dead redrive` sink, endpoint, state: redriven, to, last, origin; the event's headers, no value: "no longer
 *                                                     dead since that last attempt" (a later failure of the same event stays dead)
 *   <prefix>dead-letter          `aqueduct dead discard` sink and endpoint (or source), state: discarded, letter, last, origin; likewise
 *   <prefix>dead-letter          `aqueduct resend`, `aqueduct replay`, `aqueduct dead redrive --to`  sink, endpoint, state: resent, last (when it was), origin; the
 *                                                     event's headers, no value: the sink got the event once more; of no letter
 *   <prefix>redrive.<sink>       `aqueduct dead redrive` endpoint, origin
 *   <prefix>redrive.<sink>       `aqueduct resend`, `aqueduct replay`  endpoint, state: resent, origin
 *   <prefix>attempts             delivery                nothing: events of its own
 */
#pragma once
#include "bridge/lib/clock.h"
#include "bridge/event/record.h"

#define TRAIL_PREFIX "aqueduct-"
#define TRAIL_FROM   "aqueduct-from"  /* who chose the event's id: the scope of its emission (connector.h) */
#define TRAIL_TYPES  "aqueduct-types" /* of the event's attributes that are no strings: "count=integer,flag=boolean" */
#define TRAIL_STORED                                                                                                   \
    "aqueduct-stored" /* decimal ms since 1970: when it was stored, where its timestamp is the event's time */
#define TRAIL_SINK      "aqueduct-sink"     /* id of the sink that gave up, or for which the record waits */
#define TRAIL_ENDPOINT  "aqueduct-endpoint" /* of the sink: the one that this is about; absent: all of them */
#define TRAIL_HOST      "aqueduct-host"     /* of the receiver's address; left out when it has none */
#define TRAIL_SOURCE    "aqueduct-source"   /* instead of sink: id of the source whose event no topic could take */
#define TRAIL_ATTEMPTS  "aqueduct-attempts" /* decimal */
#define TRAIL_FIRST     "aqueduct-first"    /* RFC 3339: first attempt */
#define TRAIL_LAST      "aqueduct-last"     /* RFC 3339: last attempt */
#define TRAIL_DUE       "aqueduct-due"      /* decimal ms since 1970: the next attempt is not made before */
#define TRAIL_UNTIL     "aqueduct-until"    /* decimal ms since 1970: the record waits in this topic until then */
#define TRAIL_PUT       "aqueduct-put" /* decimal ms since 1970: when it was put among what waits; a copy there keeps it */
#define TRAIL_REPLACES  "aqueduct-replaces" /* "<topic>/<partition>/<offset>": the waiting record it stands for */
#define TRAIL_STATUS    "aqueduct-status"   /* decimal: the receiver's last status; left out when there was none */
#define TRAIL_CLASS     "aqueduct-class" /* refused unavailable configuration poison blocked orphaned invalid unrouted */
#define TRAIL_REASON    "aqueduct-reason" /* for a person */
#define TRAIL_STATE     "aqueduct-state"  /* "redriven" "discarded" "resent" "mark" "note" "settled" */
#define TRAIL_TO        "aqueduct-to" /* "<sink>" or "<sink>/<endpoint>": the other place that a letter was given to */
#define TRAIL_LETTER    "aqueduct-letter" /* which of the owner's letters it is, as the dead-letter sink files them */
#define TRAIL_NOTE      "aqueduct-note"   /* decimal: the offset in the same log that a note is about, or begins with */
#define TRAIL_TOPIC     "aqueduct-topic"  /* origin: where the record stood first */
#define TRAIL_PARTITION "aqueduct-partition"
#define TRAIL_OFFSET    "aqueduct-offset"
#define TRAIL_TIMESTAMP "aqueduct-timestamp" /* decimal ms since 1970: its time there */

/* The bridge's own topics, each behind the broker's prefix. */
enum topic_kind {
    TOPIC_DEAD_LETTER, /* <prefix>dead-letter */
    TOPIC_STATE,       /* <prefix>state (kafka) */
    TOPIC_ATTEMPTS,    /* <prefix>attempts */
    TOPIC_AUDIT,       /* <prefix>audit */
    TOPIC_WAITING,     /* <prefix>waiting.<step> */
    TOPIC_RETRY,       /* <prefix>retry.<sink>.<wait> of earlier versions; `id` is "<sink>.<wait>" */
    TOPIC_REDRIVE,     /* <prefix>redrive.<sink> */
    TOPIC_REPLAYS,     /* <prefix>replays: how far each `aqueduct replay` is (cli/replay_kept.h) */
    TOPIC_BLOCKED,     /* <prefix>blocked.<sink>.<topic>; `id` is "<sink>.<topic>" */
};
/* Its name; `id` NULL: nothing behind the kind. free() it. */
char *topic_name(const char *prefix, enum topic_kind kind, const char *id);
/* Kafka's rule for names of topics, which every broker follows, so that a configuration can move. */
enum { TOPIC_NAME_MAX = 249 };
bool topic_name_ok(struct str name); /* [a-zA-Z0-9._-], 1 to TOPIC_NAME_MAX bytes, not "." or ".." */

/* How a place is written: "<sink>" or, unless `endpoint` is NULL, "<sink>/<endpoint>"; free() it. */
char *trail_place(const char *sink, const char *endpoint);

/* What is known of a record's way so far. */
struct trail {
    unsigned attempts;
    int64_t first_ms;    /* wall clock of the first attempt; 0: none yet */
    int64_t last_ms;     /* of the last one; 0: unknown */
    int64_t due_ms;      /* of the next one; 0: now */
    int64_t until_ms;    /* wall clock: the wait in this topic ends; 0: now */
    int64_t put_ms;      /* wall clock: when it was put among what waits; 0: unknown */
    struct str sink;     /* borrowed from the record; absent: it does not say */
    struct str endpoint; /* the same; absent: all of the sink's */
};

/* Reads the trail of a record of a waiting, retry or redrive topic; what is missing or broken counts as zero. */
struct trail trail_read(const struct record *r);

enum { TRAIL_SKEW_MS = 1000 }; /* by which clocks differ that nobody has set */
/* How far the last attempt (or, before any, when it was put there) lies in the future: the clock was set back since, so all times of
 * the trail are that much too late. 0: it does not, or by less than clocks differ. */
int64_t trail_ahead_ms(const struct trail *t, int64_t wall_ms);

/* A copy of `r` for another topic with the header pairs of `add` (name, value, ..., NULL; pairs without a value are
 * left out) as its new trail, and its origin: the one it carries, or else its own place. The view borrows r and the
 * pairs; free with trail_free. */
struct moved {
    struct record record;
    struct header *headers;
    char partition[24], offset[24], timestamp[24], when[CLOCK_TEXT];
};
void trail_move(struct moved *m, const struct record *r, const char *topic, const char *const *add);
/* The note for the dead-letter topic that the place got the event of `r` now, once more: state resent. */
void trail_resent(struct moved *m, const struct record *r, const char *topic, const char *sink, const char *endpoint);
void trail_free(struct moved *m);
