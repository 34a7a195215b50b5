/* SPDX-License-Identifier: MIT */
/* A log in memory for the sink of live.h, with the partitions 0 to 2 of ai.chats and 0 of ai.events:
 *
 *     log_open();
 *     live_open("");
 *     log_store(0, 5);      the next five records of partition 0; their events have the ids 0/0 ... 0/4
 *     log_send();           and the sink gets what it has not got, in the order of storing
 *
 * Partition 3 is that of ai.events. */
#pragma once
#include "bridge/connector.h"
#include "tests/support/live.h"

enum { LOG_PLACES = 4, LOG_MOST = 20000 };

struct log_place {
    struct record *at[LOG_MOST];
    int64_t start, end, live; /* kept from; stored up to; sent up to */
};

extern struct log_place log_places[LOG_PLACES + 1]; /* the last one is empty */
extern uint64_t log_identity_now;                   /* of the topics */
extern int log_patience; /* so many times, each question is answered "not yet" first, and each reading gives nothing */
extern const char *log_data;   /* of the events that are stored: JSON */
extern const char *log_type;   /* of the events, too */
extern int32_t log_partitions; /* of ai.chats, those beyond 3 without records */
extern int64_t log_reads;      /* readings that gave something */

void log_open(void); /* before live_open(); gone with log_close() */
int log_close(void **state);
#define LOGGED(test) cmocka_unit_test_teardown(test, log_close)

void log_store(int place, int count);
void log_send(void);
void log_pass(int place, int count); /* both */
void log_renew(int place);           /* it is another one of the same identity, and empty */
