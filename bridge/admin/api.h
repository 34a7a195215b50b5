/* SPDX-License-Identifier: MIT */
/* The JSON API: /api/v1 on the admin listener (`admin.api`), and always on the control socket, whose user is an operator.
 *
 * A row says all of one operation: method and path, who may, what comes in and goes out, and the function behind it. Rows
 * stand in tables, one a file (api_status.c); api_tables.c lists the tables. From the rows come the checks of what is asked
 * (shape.h), the description (openapi.h, GET /api/v1/openapi.json), and the audit of what changes something.
 *
 *   request -> access.h: who -> row by path -> role -> query and body by the row's shapes -> handle(call)
 *                                                                                            |
 *                         api_answer, api_problem: now, or later with a copy of call->ticket <-+
 *
 * handle() runs on the main thread and must not wait; what takes time goes to a thread (errands.h), and each ticket is
 * answered once. What is no answer is a problem (RFC 9457, application/problem+json: type, title, status, detail). Lists
 * are objects: {"items": [...], "next": "..."}, and `after` of the next request takes what `next` was. */
#pragma once
#include "bridge/admin/access.h"
#include "bridge/admin/shape.h"
#include "bridge/broker/broker.h"
#include "bridge/delivery/account.h"

enum {
    API_PARAMETERS = 4, /* most of a path */
    API_BODY = 1 << 20, /* longest body */
    API_ADDRESS = 64,
    API_OBJECT = 256,       /* of a path, as the audit names it */
    API_LIMIT = 100,        /* `limit` of a list that says none */
    API_MOST = 1000,        /* most that it may say */
    API_REFUSED = 409,      /* the status of what cannot be as things stand */
    API_EXCERPT = 16 << 10, /* of a payload in an answer; what is longer is cut, and said to be */
};

struct api;
struct api_row;
struct errands;
struct history;
struct roster;
struct api_ticket;

/* What the supervisor answers; main thread. */
struct admin_questions {
    bool (*ready)(void *ctx, struct err *why); /* false, with the reason, while the bridge is not ready */
    /* Adds the account of all sinks, as JSON (delivery/account.h). */
    void (*account)(void *ctx, const struct account_question *question, struct buf *out);
    void (*gather)(void *ctx); /* before a page of metrics: those that add up are kept as they stand */
    /* A plan, or (apply) a reload, is wanted: the main loop does it and answers the ticket, which is copied. False: one is under
     * way. */
    bool (*reload)(void *ctx, bool apply, const struct api_ticket *t);
    void *ctx; /* of all */
};

struct api_home { /* all borrowed, and there as long as the API is */
    const struct config *config;
    struct broker *broker;
    struct admin_questions ask;
    struct access *access;   /* of the listener; NULL: it has no API */
    struct history *history; /* the last hour: kept while the listener has an API, else it stays empty */
    struct roster *roster;   /* endpoints made at run time; NULL: there are none */
    struct errands *errands;
};

struct api_ticket { /* whom to answer; copy it to answer later */
    struct api *api;
    struct http_server *server;
    uint64_t id;
    const struct api_row *row; /* NULL: the request is none of a row */
    struct who who;
    char object[API_OBJECT];   /* the path behind /api/v1, as it came */
    char address[API_ADDRESS]; /* of the client */
    bool untold;               /* it is a page of a change that was told (paged.h) */
    const json_t *result;      /* what the audit says besides; NULL: nothing */
};

struct api_call {
    const struct api_home *home;
    struct api_ticket ticket;
    const struct http_request *request;    /* borrowed for the call, as is all that follows */
    struct str parameters[API_PARAMETERS]; /* of the path, in its order, decoded: text without NUL */
    const json_t *query; /* an object by the row's shape; a member is missing where nothing was said */
    const json_t *body;  /* the same; NULL: none came, or it is no JSON */
};

struct api_row {
    const char *method, *path;        /* "POST", "/api/v1/sinks/{sink}/endpoints"; NULL ends a table */
    const char *name;                 /* of the operation: "addEndpoint" */
    enum role role;                   /* the least that may; ROLE_NONE: everybody */
    const char *doc;                  /* one sentence */
    const struct shape *query, *body; /* NULL: none */
    const char *any_of;          /* names of members, "sink|all": one of them the body must have; NULL: no such rule */
    bool bodiless;               /* the body may be missing */
    const char *media;           /* of a body that is no JSON ("application/yaml"): handle() reads request->body */
    int done, also;              /* statuses when it is done: 200, 201, 202, 204, 303; 0: no other */
    const struct shape *answer;  /* NULL: no JSON */
    const struct shape *refusal; /* members of its 409 beside those of every problem; NULL: none */
    const char *answers;         /* media type of an answer that is no JSON; NULL: none */
    bool paged;                  /* it may be done in pages, each asked for alone, that are one change (paged.h) */
    bool harmless;               /* it changes nothing although its method could: no audit */
    void (*handle)(struct api_call *call);
};
extern const struct api_row *const api_tables[]; /* ends with NULL */

/* The members of a list's query and answer. */
#define API_LIST_QUERY                                                                                                 \
    { "limit", SHAPE_INTEGER, .min = 1, .max = API_MOST, .doc = "Most entries of the answer; without it 100." },       \
    {                                                                                                                  \
        "after", SHAPE_TEXT, .max = 512, .doc = "What `next` of an earlier answer said: go on there."                  \
    }
#define API_LIST_NEXT                                                                                                  \
    {                                                                                                                  \
        "next", SHAPE_TEXT, .required = true, .nullable = true, .doc = "Ask with after=this for more; null: no more."  \
    }

/* ---- answers ---- */

void api_answer(const struct api_ticket *t, int status, json_t *body); /* takes the reference; NULL: no content */
void api_answer_with(const struct api_ticket *t, int status, const struct header *more, size_t count, json_t *body);
void api_answer_bytes(const struct api_ticket *t, int status, const char *media, struct str body);
void api_problem(const struct api_ticket *t, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* 409, with more members: takes the reference. */
void api_refuse(const struct api_ticket *t, json_t *members, const char *detail);
/* Too much is under way: 429, and when to try again. */
void api_busy(const struct api_ticket *t);

const char *api_query_text(const struct api_call *call, const char *name); /* NULL: not said */
size_t api_query_limit(const struct api_call *call);

/* ---- the whole ---- */

struct api *api_new(const struct api_home *home);
/* From now on it is about this configuration, on a listener with this access; not while api_is_busy. */
void api_follow(struct api *a, const struct config *config, struct access *access);
const struct config *api_config(const struct api *a);
bool api_is_busy(const struct api *a); /* is something under way that uses what it is about, or is to be answered? */
void api_stop(
    struct api *a); /* ends what goes on beside the main thread; what was asked is answered. Before its servers end */
void api_free(struct api *a); /* accepts NULL; after its servers, which close its streams */
enum { API_FDS = 2 };
void api_fds(const struct api *a, int out[API_FDS]); /* one of them is readable: api_turn has something to do */
void api_idle(struct api *a);                        /* now and then: tells of what nobody goes on with */
void api_turn(struct api *a);
/* Is the path one of the API's, or of the console's when there is one? */
bool api_takes(const struct api *a, struct str path);
/* The head of such a request: false: it is answered, before its body is read. `control`: of the control socket. */
bool api_head(struct api *a, struct http_server *server, const struct http_request *r, bool control, int64_t *max_body);
void api_request(struct api *a, struct http_server *server, const struct http_request *r, bool control);
/* The servers' callbacks of streams. */
void api_writable(void *ctx, struct http_stream *st);
void api_closed(void *ctx, struct http_stream *st);
