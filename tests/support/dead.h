/* SPDX-License-Identifier: MIT */
/* The sink `dead_letter` with a file of its own, and records as they stand in the dead-letter topic.
 *
 *     struct sink *s = dead_opened("keep: 3\n");
 *     dead_file(s, "{}", PAIRS(EVENT("e-1", "chat.created"), DIED("crm"), ORIGIN("42")));
 *     sink_end(s); */
#pragma once
#include "bridge/connector.h"
#include "bridge/event/trail.h"
#include "tests/support/connector.h"
#include "tests/support/folder.h"
#include "tests/support/test.h"

extern const struct sink_ops dead_letter_sink;
extern char dead_folder[FOLDER_BYTES], dead_path[128]; /* of the running test; the sink's file in it */

/* The fixture; afterwards nothing but what the sink and `out` left may be in the folder. */
int dead_begin(void **state);
int dead_end(void **state);
#define DEAD_TEST(f) cmocka_unit_test_setup_teardown(f, dead_begin, dead_end)

struct sink *dead_sink(const char *more); /* filled; with more lines of YAML */
struct sink *dead_opened(const char *more);

struct dead_record {
    struct header headers[24];
    struct record record;
    const struct event *event;
};

/* A record with these headers: pairs that end with NULL. */
void dead_record(struct dead_record *f, const char *value, const char *const *pairs);
#define EVENT(id, type)                                                                                                \
    "ce_specversion", "1.0", "ce_id", id, "ce_source", "/s", "ce_type", type, "content-type", "application/json"
#define ORIGIN(offset)                                                                                                 \
    TRAIL_TOPIC, "ai.chats", TRAIL_PARTITION, "3", TRAIL_OFFSET, offset, TRAIL_TIMESTAMP, "1700000000123"
#define LAST "2026-11-20T10:00:05.500Z"
#define DIED(sink)                                                                                                     \
    TRAIL_SINK, sink, TRAIL_ATTEMPTS, "6", TRAIL_FIRST, "2026-11-20T10:00:00.000Z", TRAIL_LAST, LAST, TRAIL_STATUS,    \
        "503", TRAIL_CLASS, "refused", TRAIL_REASON, "503 Service Unavailable"
#define PAIRS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* Sends these records (at most 8) in one go; each is delivered. */
void dead_file_all(struct sink *s, struct dead_record *f, size_t n);
void dead_file(struct sink *s, const char *value, const char *const *pairs); /* one */
