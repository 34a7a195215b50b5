/* SPDX-License-Identifier: MIT */
/* What a listener asks for in its URL: topics, a filter, a format.
 *
 *   ?topics=ai.chats,ai.events & type=chat.* & subject=... & source=... & filter={"any":[...]} & event=type & cursor=1
 *
 * Where it begins and what becomes of it when it is slow is connectors/websocket/wish.h's. A value that ends with * is a
 * prefix. All conditions must hold. Anything unknown, twice or malformed is an error:
 * a listener that misspelled its filter must not get everything. */
#pragma once
#include "bridge/event/filter.h"
#include "bridge/lib/option.h"
#include "bridge/net/ws_deflate.h"
#include "connectors/websocket/op.h"

struct subscription {
    bool sse;               /* server-sent events; else WebSocket frames */
    bool named;             /* of these: each has its type as name */
    char *sub;              /* aqueduct.v1: its name in JSON; NULL: plain */
    bool with_cursor;       /* WebSocket: each event says the position after it */
    enum ws_window deflate; /* of WebSocket frames */
    bool cbor;              /* aqueduct.v1+cbor */
    struct strings topics;  /* sorted; empty: all that the sink gets */
    struct filter *filter;  /* NULL: everything */
    char *key;              /* equal subscriptions have equal keys */
};

/* `known`: the sink's topics; NULL or empty: any name is fine. is_secret: a parameter of that name is none of our business
 * here, and no text of ours shows its value; NULL: there is none. */
bool subscription_parse(struct subscription *s, struct str query, bool sse, const struct strings *known,
                        bool (*is_secret)(const void *ctx, struct str name), const void *ctx, struct err *e);
/* The same of an op `sub`, whose name is `name` (subs.h): topics is a list, filter a condition or a list of them. */
enum code subscription_of_op(struct subscription *s, const struct op *o, const char *name, const struct strings *known,
                             struct err *e);
/* Its frames are in CBOR, or deflated, so that it is another one. Last: what narrows it takes that back. */
void subscription_encode(struct subscription *s, bool cbor, enum ws_window window);
/* Narrows it to topics for which may() is true. False with *e: one that it names is not, or none is left. */
bool subscription_keep_topics(struct subscription *s, const struct strings *known,
                              bool (*may)(const void *ctx, struct str topic), const void *ctx, struct err *e);
/* One more condition, or a list of them, must hold. */
bool subscription_add_condition(struct subscription *s, const json_t *filter, struct err *e);
void subscription_free(struct subscription *s);                              /* also fit for a zeroed one */
bool subscription_has_topic(const struct subscription *s, struct str topic); /* does it want anything of that topic? */
