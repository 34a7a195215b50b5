/* SPDX-License-Identifier: MIT */
/* Inside `aqueduct test`:
 *
 *   test.c         its files and their cases, one after the other
 *   test_given.c   what a case gives, as events: an event, a request or rows that change
 *   test_wanted.c  what is expected of them: events, topics and keys, sinks, requests
 *   test_fail.c    what is not so, with its place, and how it is said
 *
 * Main thread. */
#pragma once
#include "bridge/cli/case.h"
#include "bridge/config/sheet.h"
#include "bridge/intake/route.h"

enum { TEST_EVENTS = 1000, TEST_PATH = 256 };

struct test {
    const struct config *config;
    struct router *router;
    json_t *failures, *doubts; /* of the case at hand: what its source said of its rules */
    const struct sheet *sheet; /* of the file at hand */
    const char *file;
    const struct test_case *at;
    size_t index, cases, failed, here; /* `here`: failures of the case at hand */
    const struct event *events[TEST_EVENTS];
    size_t event_count;
};

/* ---- test_fail.c ---- */

/* At a part of the case ("requests[0].body"); `wanted`, `got` and `why` may be NULL. */
void test_fail(struct test *t, const char *part, const json_t *wanted, const json_t *got, const char *why);
/* Each difference of the two (match.h) fails, at that part or below. */
void test_match(struct test *t, const char *part, const json_t *wanted, const json_t *got);
bool test_says(const struct test *t, const char *part); /* does the case have that part? */
void test_say_all(const struct test *t, const struct problems *problems, bool good, bool as_json);

/* ---- test_given.c: fill t->events, or fail ---- */

void test_take_event(struct test *t);
void test_take_request(struct test *t);
void test_take_rows(struct test *t);

/* ---- test_wanted.c ---- */

void test_expect(struct test *t);
