/* SPDX-License-Identifier: MIT */
/* Inside pulling:
 *
 *   pull.c        a request's way from one state to the next
 *   pull_answer.c its answer
 *   pull_query.c  what it asks for
 *   pull_read.c   events out of the log
 *   pull_names.c  names: what is stored of them, and the requests about them
 */
#pragma once
#include "bridge/event/cursor.h"
#include "connectors/websocket/private.h"

enum {
    PULL_NAME_BYTES = 64,
    PULL_WAIT_MOST_S = 60,
    PULL_MAX = 100, /* events of an answer, unless it says otherwise */
    PULL_MAX_MOST = 1000,
    PULL_BYTES = 256 * 1024,  /* of an answer, and an event more */
    PULL_PATIENCE_MS = 10000, /* for what is not known yet */
};

enum pull_state {
    PULL_KEEPS = 1, /* a name is to stand where it says; its outcome is awaited */
    PULL_ASKS,      /* where it begins is not known yet */
    PULL_READS,
    PULL_WAITS, /* there is nothing more now */
    PULL_LISTS, /* the names are not known yet */
};

enum pull_format { PULL_JSON = 1, PULL_LINES, PULL_BATCH };

struct pulling { /* a request that is not answered yet */
    struct pulling *next;
    uint64_t id;
    char *origin; /* of a browser's script, checked; NULL: none */
    struct peer *peer;
    enum pull_state state;
    bool head;
    enum pull_format format;
    struct subscription wanted;
    struct cursor *cursor; /* NULL: not made yet */
    struct cursor_start start;
    char *from; /* the text of the cursor to begin with; NULL: see start */
    char *name; /* NULL: none */
    struct named_by by;
    char *ack;        /* a cursor that the name is to move to; NULL: none */
    size_t most;      /* events */
    int64_t due_ms;   /* when it is answered at the latest */
    int64_t until_ms; /* wall clock: when the token that it came with expires; 0: it does not */
    int64_t give_up_ms;
    enum cursor_verdict verdict;
    int64_t lost;
    size_t turn;                 /* the partition that is read next */
    struct log_reader **readers; /* of each partition; NULL: none yet */
    size_t reader_count;
    uint64_t seen;   /* pull.sent when it found nothing more */
    struct buf body; /* events, with what stands between */
    size_t count;
    bool more; /* it was not all */
    /* PULL_KEEPS: */
    uint64_t tag; /* 0: nothing is under way */
    int retries;
    bool sets;    /* PUT: also back; and the answer is about the name alone */
    bool forgets; /* DELETE */
    bool foreign; /* the name is another user's */
    bool creates; /* a new name */
};

/* ---- pull_query.c ---- */

/* Fills what the query says. False with *e. */
bool pull_query(struct pulling *p, const struct websocket_sink *s, const struct http_request *r, struct err *e);

/* ---- pull_read.c ---- */

enum pull_step {
    PULL_MORE = 1, /* go on */
    PULL_LATER,    /* something comes by and by */
    PULL_END,      /* there is nothing more now */
    PULL_FULL,     /* of this answer */
};

/* Where the request begins. False: not yet, or with *e. */
bool pull_place(struct pulling *p, struct websocket_sink *s, struct err *e);
/* Reads a bounded amount. */
enum pull_step pull_read(struct pulling *p, struct websocket_sink *s);
void pull_close_readers(struct pulling *p, struct websocket_sink *s);
bool pull_has_more(const struct pulling *p, struct websocket_sink *s); /* behind where the cursor stands */

/* ---- pull_names.c ---- */

enum pull_kept {
    PULL_KEPT_LATER = 1, /* ask again */
    PULL_KEPT_BEGUN,     /* its outcome comes by p->tag */
    PULL_KEPT_NONE,      /* there is no such name */
    PULL_KEPT_WRONG,     /* with *e */
    PULL_KEPT_CHANGED,   /* the new name is not new any more */
    PULL_KEPT_FOREIGN,   /* it is another user's */
};

/* Begins to store what is wanted of the name. */
enum pull_kept pull_keep(struct pulling *p, struct websocket_sink *s, struct err *e);
/* A request about names alone. False: it is answered. */
bool pull_names(struct pulling *p, struct websocket_sink *s, const struct http_request *r, struct str rest);
bool pull_list(struct pulling *p, struct websocket_sink *s); /* answers, unless they are not known yet */

/* ---- pull_answer.c ---- */

void pull_reply(struct websocket_sink *s, const struct pulling *p, int status, const struct header *more, size_t count,
                struct str body);
void pull_fail(struct websocket_sink *s, const struct pulling *p, int status, const char *why);
void pull_answer(struct pulling *p, struct websocket_sink *s); /* with what was read */
