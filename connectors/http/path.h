/* SPDX-License-Identifier: MIT */
/* One path of the HTTP source: who may post there, and how a request becomes events.
 *
 * CloudEvents come as they are (binary, structured or batch); any other body is wrapped: the data is the body byte
 * for byte, id from the sender's header, type from the configuration. One thread. */
#pragma once
#include "bridge/event/event.h"
#include "bridge/lib/metrics.h"
#include "connectors/http/verify/verify.h"

/* Which of a path's requests are taken as CloudEvents. */
enum cloudevents {
    CLOUDEVENTS_BY_SCHEME, /* all that the scheme vouches for */
    CLOUDEVENTS_ALL,
    CLOUDEVENTS_STRUCTURED, /* one JSON, or a batch: what is signed with the body */
    CLOUDEVENTS_NONE,
};

/* Which source a CloudEvent may name. */
enum source_rule {
    SOURCE_PREFIX = 1, /* the path's own, or one below it */
    SOURCE_PIN,        /* any, but it is replaced by the path's own */
    SOURCE_ANY,
};

struct path_options { /* an entry of `paths:` as the user wrote it */
    char *path, *name;
    struct verify_options verify;
    char *type, *type_header;
    char *source;
    char *id_header;
    enum cloudevents cloudevents;
    enum source_rule ce_source;
    struct strings allowed_origins;
};
extern const struct option path_rows[];

struct path_limits {   /* of one request */
    size_t events;     /* most of a batch */
    size_t attributes; /* most extension attributes of a CloudEvent */
};

struct path {
    const struct path_options *o;
    struct str name;   /* what requests are matched with */
    char *label;       /* in metrics and the log: nothing in it is secret */
    struct str source; /* CloudEvents source of wrapped bodies */
    struct str *inner; /* sources of other paths that stand below this one's */
    size_t inner_count;
    struct str scope; /* of the ids that are sent here: "<source>/v1/github" */
    struct str type;
    const char *type_header; /* NULL: none */
    struct verifier *verifier;
    enum cloudevents cloudevents; /* never BY_SCHEME */
    struct metric *refused[REFUSAL_COUNT];
    struct metric *foreign;  /* requests whose CloudEvents name a source that is not the path's */
    struct metric *accepted; /* requests answered with 202 */
    struct metric *seconds;
};

/* What a path is called in scopes and sources: "/v1/github", or "/" and its name. Two of one source must differ. */
void path_add_called(const struct path_options *o, struct buf *out);
/* Do the options go together? */
bool path_check(const struct path_options *o, struct err *e);
/* *p was zeroed; on false it needs path_close like after success. */
bool path_open(struct path *p, const struct path_options *o, const char *source_id, struct err *e);
/* Sources of others (count of them, all open; p may be among them) that stand below the path's own are theirs alone. They
 * must live as long as p. */
void path_leave_to(struct path *p, const struct path *others, size_t count);
void path_close(struct path *p);

/* Is the id of what path_events makes of it an Idempotency-Key? */
bool path_is_keyed(const struct path *p, const struct http_request *r);
/* Is the request a batch? Its answer looks different. */
bool path_is_batch(const struct path *p, const struct http_request *r);
/* The events of a verified request, at most most->events; each has one reference. -1: no events, *status and *e are what
 * the sender should know; 403: an event names a source that is not the path's, and *e shows the path. */
int path_events(const struct path *p, const struct http_request *r, const struct path_limits *most,
                const struct event **out, int *status, struct err *e);
/* May events come from there, by the CloudEvents webhook specification's `WebHook-Request-Origin`? */
bool path_allows_origin(const struct path *p, struct str origin);
