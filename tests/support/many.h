/* SPDX-License-Identifier: MIT */
/* A sink with several endpoints in a flow (flow.h), by names that a test reads well: configure with endpoint() and `config`,
 * start(), turn() as often as needed, and see what was sent. Without an endpoint the sink is its only receiver. The clock
 * is the fake one. */
#pragma once
#include <jansson.h>
#include "bridge/delivery/account.h"
#include "bridge/delivery/delivery.h"
#include "bridge/delivery/waiter.h"
#include "tests/support/flow.h"
#include "tests/support/script.h"

enum { MANY = 1000 };

extern struct flow flow;
extern struct script_sink sink;
extern struct sink_config config;
extern struct endpoint_config endpoints[MANY];
extern struct endpoint receivers[MANY];
extern char endpoint_names[MANY][8];
extern struct delivery *d;
extern struct waiter *waiter;
extern struct duration second[1], long_wait[1];
extern char id[32];         /* the sink's */
extern const char *hanging; /* the endpoint that one_hangs and one_fails speak of */

int many_setup(void **state);
int many_teardown(void **state);
#define FLOW(f) cmocka_unit_test_setup_teardown(f, many_setup, many_teardown)

struct filter *filter_of(const char *json);
void endpoint(size_t i, const char *filter); /* the i-th one is called e<i>; filter NULL: none */
struct delivery *try_start(struct err *e);   /* NULL with *e: it cannot be started */
void start(void);
void turn(int times); /* of the waiter and the sink; what is published is stored */
void end(void);       /* in the supervisor's order: the sink is closed, then the waiter hears of it and ends */
void crash(void);     /* as kill -9, and a start: nothing more is finished */
void stop(void);      /* drains */
void revoke(
    void); /* the partition and its blocked log go to another member; what is in flight is not awaited for long */

void store(const char *event_id, const char *type);
void store_many(int from, int to); /* n<from> and so on, of one key */
extern int keys;
void store_keys(int from, int to);                             /* s<from> and so on, of so many keys in turns */
size_t times_sent(const char *endpoint, const char *event_id); /* how often it got that event (NULL: any) */
int64_t count(const char *what, const char *endpoint);         /* the metric aqueduct_sink_<what> */
json_t *many_account(const struct account_question *q);        /* the sink's, after a turn; the caller's reference */
void reconciles(void); /* each endpoint's counters come to the same sum, and so do those of what concerns none */

enum verdict one_hangs(const struct sent *sent, struct result *r);
enum verdict one_fails(const struct sent *sent, struct result *r);
enum verdict nobody_answers(const struct sent *sent, struct result *r);
