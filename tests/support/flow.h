/* SPDX-License-Identifier: MIT */
/* What flow tests stand on: the in-memory broker behind a switchable wrapper, a scripted source, a scripted sink. */
#pragma once
#include "bridge/broker/broker.h"
#include "bridge/config/config.h"
#include "tests/support/test.h"

/* ---- broker: `:memory:`, and what a test may do to it ---- */

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
    size_t largest; /* a record with more bytes in value and header values can never be stored; 0: no limit */
    bool unlisted;  /* broker_topics knows of none, as a node of a cluster for a while after they were made */
    size_t held;    /* done() calls kept back */
    struct {
        void (*done)(void *, uint64_t, enum outcome, const char *);
        void *ctx;
        uint64_t tag;
    } holding[64];
};

void flow_open(struct flow *f);
void flow_close(struct flow *f);
void flow_release(struct flow *f); /* lets all that is held be done */
void flow_topic(struct flow *f, const char *name, int64_t partitions);
/* Stores one event (id, key, JSON data) in a topic and waits until it is stored. */
void flow_event(struct flow *f, const char *topic, const char *id, const char *key);
void flow_raw(struct flow *f, const struct record *r);
/* The records of a topic, oldest first, at most room; free each. */
size_t flow_read(struct flow *f, const char *topic, struct record **out, size_t room);
void flow_expect_header(const struct record *r, const char *name, const char *value);
int64_t flow_count(const char *metric, const char *id); /* a counter's value */

/* ---- sink: says what the script says ---- */

enum { SENT_MOST = 1024 };
struct sent {
    char id[64];
    char key[64];
    unsigned attempt;
    uint64_t tag;
    bool open;
};

struct script_sink {
    struct sink base;
    /* Called for each send; the verdict, or 0: no answer until script_answer. NULL: always delivered. */
    enum verdict (*verdict)(const struct sent *sent, struct result *r);
    struct sent sent[SENT_MOST];
    size_t count, flying, most_flying;
    struct result answers[SENT_MOST];
    size_t answer_count;
};
extern const struct sink_ops script_sink_ops, script_broadcast_ops;
void script_sink_init(struct script_sink *s, const char *id);
void script_answer(struct script_sink *s, size_t index, enum verdict v); /* the index-th send */

/* ---- source: emits what it is given ---- */

struct script_source {
    struct source base;
    struct emission emissions[256];
    size_t count, taken;
    struct {
        uint64_t tag;
        enum outcome outcome;
        char why[WHY_BYTES];
    } settled[512];
    size_t settled_count;
    size_t last_room;
    struct {
        char key[64], value[64];
    } state[64]; /* what restore() got */
    size_t state_count;
};
extern const struct source_ops script_source_ordered, script_source_unordered;
void script_source_init(struct script_source *s, const char *id, const struct source_ops *ops);
void script_emit(struct script_source *s, const char *id, const char *type, uint64_t tag); /* source /s */
