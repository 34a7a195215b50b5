/* SPDX-License-Identifier: MIT */
/* A sink that answers as the test's script says, and a source that emits what the test gives it. Both remember what the
 * core did with them. */
#pragma once
#include "bridge/connector.h"

enum { SCRIPT_TEXT = 64, SENT_MOST = 4096 };

/* ---- sink: says what the script says ---- */

struct sent {
    char id[SCRIPT_TEXT];
    char key[SCRIPT_TEXT];
    const char *endpoint; /* its name; NULL: none */
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
    size_t endpoints_open;
    int64_t wait_ms; /* how long the core would have it wait last */
    bool sleepless;  /* it does not */
    int64_t slow_ms; /* without an answer each call of work takes so long, by the fake clock */
};
extern const struct sink_ops script_sink_ops, script_broadcast_ops, script_endpoints_ops;
extern const char *script_refused; /* the endpoint of that name cannot be opened; NULL: all can */
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
    const char *failing; /* while it has room, reading fails so; NULL: it does not */
    bool blind;          /* it is not ready, and a read is only a wait */
    struct {
        char key[SCRIPT_TEXT], value[SCRIPT_TEXT];
    } state[64]; /* what restore() got */
    size_t state_count;
};
extern const struct source_ops script_source_ordered, script_source_unordered;
extern struct script_source *script_second; /* the last one that was opened as a copy of another */
void script_source_init(struct script_source *s, const char *id, const struct source_ops *ops);
void script_emit(struct script_source *s, const char *id, const char *type, uint64_t tag); /* source /s */
