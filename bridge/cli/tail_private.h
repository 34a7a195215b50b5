/* SPDX-License-Identifier: MIT */
/* Inside `aqueduct tail`:
 *
 *   tail.c         its flags, and what they mean
 *   tail_from.c    where it begins
 *   tail_broker.c  events out of the configuration's broker, beside a daemon that runs or none
 *   tail_url.c     events out of a listener's event stream
 *   tail_print.c   an event as a line
 *
 * Main thread; Ctrl-C is asked for by interrupt_asked. */
#pragma once
#include <jansson.h>
#include "bridge/command.h"
#include "bridge/config/config.h"
#include "bridge/event/filter.h"

enum { TAIL_LAST_MOST = 10000, TAIL_URL_BYTES = 64 * 1024 };

struct tail_flags {
    struct strings topics;
    struct str filter, type, subject, source, from, url, token_env, token_file, ca;
    int64_t count; /* 0: without end */
    bool json, no_follow, ids;
};

/* ---- where it begins ---- */

enum tail_point { TAIL_LATEST = 1, TAIL_EARLIEST, TAIL_TIME, TAIL_LAST, TAIL_POSITION };

struct tail_place { /* a partition, and the first offset of it that was not shown */
    char *topic;
    int32_t partition;
    int64_t next;
    int64_t end;       /* when it was begun */
    int64_t newest_ms; /* of what was handed out */
    bool begun;
};

struct tail_from {
    enum tail_point point;
    int64_t ms;                /* TAIL_TIME */
    int64_t last;              /* TAIL_LAST */
    struct tail_place *places; /* TAIL_POSITION; also what tail_broker keeps */
    size_t count;
};

/* `text` absent: the end, or with `whole` the beginning. False with *e: it says no such thing. */
bool tail_from_parse(struct tail_from *f, struct str text, bool whole, struct err *e);
void tail_from_free(struct tail_from *f);
/* Made if it is not there, and then at 0. Dies with the next call that makes one. */
struct tail_place *tail_from_place(struct tail_from *f, struct str topic, int32_t partition);
/* What --from takes to go on behind all that was shown: "ai.chats/0@12,ai.chats/1@7". */
void tail_from_text(const struct tail_from *f, struct buf *out);

/* ---- an event ---- */

struct tail {
    const struct command_call *call;
    const struct tail_flags *flags;
    json_t *conditions; /* of all flags that filter: a list */
    struct filter *filter;
    struct tail_from from;
    /* of tail_print.c: */
    int64_t shown;
    int type_width, subject_width, place_width, id_width;
    bool failed; /* stdout takes nothing more */
};

/* Shows it if it passes the filter; false: that was enough. `r`: as which record it is stored, NULL: unknown. */
bool tail_show(struct tail *t, const struct event *ev, const struct record *r, struct str position);
/* One line on stderr. */
void tail_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Until they have shown enough, or Ctrl-C. Return the exit code. */
int tail_broker(struct tail *t);
int tail_url(struct tail *t);
