/* SPDX-License-Identifier: MIT */
/* The source `http` itself, for the files that it is made of: http.c has its options and its life, arrive.c what becomes of a
 * request, source_check.c what is said of its options before it is open. One thread. */
#pragma once
#include "bridge/connector.h"
#include "bridge/net/http/options.h"
#include "connectors/http/reply.h"
#include "connectors/http/sandbox.h"

struct unpacker;

/* What the copies of a source have in common; of the first one. */
struct http_shared {
    struct limits *limiter;
    struct exchanges_held held;
    struct replies_shared replies;
};

struct http_source {
    struct source base;
    struct http_server_options server_options;
    struct duration wait;
    int64_t max_pending;
    struct bytes max_pending_bytes;
    int64_t max_batch, max_attributes;
    enum requests requests;
    struct request_log_options request_log;
    struct limits_options limits;
    struct list path_options; /* of struct path_options */
    /* from here on: not options */
    struct http_server *server;
    bool follows; /* some of its secrets come from files */
    int64_t refresh_ms;
    struct sandbox sandbox; /* if some path reads bodies */
    struct path *paths;
    size_t path_count;
    struct exchanges exchanges;
    struct http_shared *shared;
    struct limits *limiter; /* shared */
    struct replies replies;
    const struct event **events; /* of the request at hand: max_batch of them */
    struct buf origins;          /* of those */
    struct buf form;             /* the body of the request at hand, if it was a form */
    struct path_bad bad;         /* of it */
    struct unpacker *unpacker;
    uint64_t verified; /* the request that was let in last; 0: none */
    struct str key;    /* whose that is */
    bool stopping;
};

/* Events of the server (struct http_events); ctx: the source. */
bool arrive_head(void *ctx, const struct http_request *r, int64_t *max_body);
void arrive_request(void *ctx, const struct http_request *r);

/* As those of struct source_ops. */
bool source_check(const struct source *base, struct err *e);
void source_faults(const struct source *base, fault_fn *each, void *ctx);
void source_review(const struct source *base, fault_fn *wrong, fault_fn *doubtful, void *ctx);
void source_account(const struct source *base, bool runs, struct buf *out);
void source_beside(const struct source *base, const struct source *before, fault_fn *each, void *ctx);
