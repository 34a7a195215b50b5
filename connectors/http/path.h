/* SPDX-License-Identifier: MIT */
/* One path of the HTTP source: who may post there, and how a request becomes events.
 *
 * CloudEvents come as they are (binary, structured or batch); of any other body the path's `map` makes events of the
 * vocabulary, or else it is wrapped: the data is the body byte for byte, id from the sender's header, type from the
 * configuration. One thread. */
#pragma once
#include "bridge/event/event.h"
#include "bridge/lib/metrics.h"
#include "connectors/http/mapping.h"
#include "connectors/http/owner.h"
#include "connectors/http/path_options.h"
#include "connectors/http/reading.h"

enum { PATH_ORIGIN = 36 }; /* bytes of the digest of a source */

extern struct metric_family aqueduct_http_refused_total;

/* What became of a request, as metrics and the request log have it. */
enum path_end {
    PATH_STORED,
    PATH_REPEAT,      /* stored before */
    PATH_UNVERIFIED,  /* 401 */
    PATH_REFUSED,     /* another 4xx */
    PATH_CONFLICT,    /* another event has the id */
    PATH_LIMITED,     /* 429 */
    PATH_UNAVAILABLE, /* 503 */
    PATH_ENDS,
};
const char *path_end_name(enum path_end end);

/* Events of a batch that cannot be taken, while others can. */
struct path_bad {
    uint32_t count;
    struct buf list;  /* exchange_list_refused */
    struct err first; /* why, with its place */
    int status;       /* of an answer, if there were no other */
};

struct path_limits {           /* of one request */
    size_t events;             /* most of a batch */
    size_t attributes;         /* most extension attributes of a CloudEvent */
    size_t body;               /* longest body, unpacked */
    struct unpacker *unpacker; /* where that happens */
    struct buf *form;          /* where a form becomes JSON */
    struct path_bad *bad;      /* NULL: one bad event of a batch refuses all of it */
};

struct path {
    const struct path_options *o;
    struct str name;    /* what requests are matched with */
    bool pattern;       /* it has parameters */
    char *label;        /* in metrics and the log: nothing in it is secret */
    struct str source;  /* CloudEvents source of wrapped bodies */
    struct owner owner; /* which sources its CloudEvents may name */
    struct str scope;   /* of the ids that are sent here: "<source>/v1/github" */
    struct str type;
    const char *type_header; /* NULL: none */
    struct attributes *attributes;
    struct verifier *verifier;
    enum cover signs; /* what the verifier vouches for */
    struct reader reader;
    struct mapping *mapping; /* NULL: nothing of a body is read */
    struct metric *refused[REFUSAL_COUNT];
    struct metric *foreign;            /* requests whose CloudEvents name a source that is not the path's */
    struct metric *accepted;           /* requests answered with path_status */
    struct metric *seconds[PATH_ENDS]; /* path_seconds; NULL: there was none yet */
};

/* The histogram of that end, made when it is needed. */
struct metric *path_seconds(struct path *p, enum path_end end, const char *source_id);

/* *p was zeroed; on false it needs path_close like after success. Borrows the sandbox, in which its SQL is prepared. */
bool path_open(struct path *p, const struct path_options *o, struct sandbox *b, const char *source_id, struct err *e);
void path_close(struct path *p);

/* Is the request for this path? Those without parameters are asked first. */
bool path_takes(const struct path *p, struct str name);
int path_status(const struct path *p); /* of the answer to what is stored */
/* May events come from there, by the CloudEvents webhook specification's `WebHook-Request-Origin`? */
bool path_allows_origin(const struct path *p, struct str origin);
/* Is the verified request a question that its sender asks before the first event (Slack's url_verification)? Then writes the
 * answer. */
bool path_answers(const struct path *p, const struct http_request *r, struct buf *answer);

/* ---- path_events.c ---- */

/* The events of a verified request, at most most->events; each has one reference; of a batch NULL in the places of those in
 * most->bad. 0: an empty batch, or a body that nothing is to be made of. -1: no events, *status and *e are what the sender
 * should know; 403: an event names a source that is not the path's, and *e shows the path. `origins` gets PATH_ORIGIN bytes an
 * event that count with its id: of the source that was replaced, or of the body and the type where nobody signed the id or
 * that (of mapped ones: of all that they are), and then once more what counted in an earlier version. Else it gets nothing. */
int path_events(const struct path *p, const struct http_request *r, const struct path_limits *most,
                const struct event **out, struct buf *origins, int *status, struct err *e);
/* Is the request a batch? Its answer looks different. */
bool path_is_batch(const struct path *p, const struct http_request *r);
