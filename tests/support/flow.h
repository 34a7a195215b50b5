/* SPDX-License-Identifier: MIT */
/* The broker of flow tests: `:memory:`, or a file, behind a wrapper that refuses, holds back or finds too large what a test says.
 * With script.h a test plays the whole way of an event on one thread and a fake clock. */
#pragma once
#include "bridge/broker/broker.h"
#include "bridge/config/config.h"
#include "tests/support/test.h"

enum weather {
    CLEAR,
    REFUSE /* publications are refused */,
    HOLD /* stored, but done() is kept back until flow_release */
};

struct flow {
    struct broker broker; /* the wrapper: pass &flow->broker */
    struct broker *inner;
    struct broker_config names;
    enum weather weather;
    const char *refuses;    /* a topic that takes no record; NULL: none */
    size_t largest;         /* a record with more bytes in value and header values can never be stored; 0: no limit */
    const char *tail_fails; /* why no topic's tail can be read; NULL: they can */
    bool crashed;           /* nothing is committed from now on, as after a kill -9 */
    unsigned full;          /* what every commit says of the room for what is finished beyond, in per cent */
    bool unlisted;          /* broker_topics knows of none, as a node of a cluster for a while after they were made */
    size_t held;            /* done() calls kept back */
    struct consumer_options last; /* of the consumer that was opened last */
    struct {
        void (*done)(void *, uint64_t, enum outcome, const char *);
        void *ctx;
        uint64_t tag;
    } holding[64];
};

void flow_open(struct flow *f);
void flow_open_in(struct flow *f, const char *folder); /* in a file, which can be looked at from outside */
void flow_close(struct flow *f);
void flow_release(struct flow *f);     /* lets all that is held be done */
void flow_refuse_held(struct flow *f); /* lets it be refused after all */
void flow_topic(struct flow *f, const char *name, int64_t partitions);
/* For delivery_topics and its like; ctx: the flow. */
bool flow_make_topic(void *ctx, const char *topic, const char *group, struct err *e);
/* Stores one event (id, key, JSON data) in a topic and waits until it is stored. */
void flow_event(struct flow *f, const char *topic, const char *id, const char *key);
/* Stores this event; it takes over the reference. */
void flow_store(struct flow *f, const char *topic, const char *key, const struct event *ev);
void flow_raw(struct flow *f, const struct record *r);
/* The records of a topic, oldest first, at most room; free each. */
size_t flow_read(struct flow *f, const char *topic, struct record **out, size_t room);
void flow_expect_header(const struct record *r, const char *name, const char *value);
int64_t flow_count(const char *metric, const char *id); /* a counter's value */
