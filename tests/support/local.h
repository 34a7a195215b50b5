/* SPDX-License-Identifier: MIT */
/* The embedded broker in a folder, for its own tests: open it, damage its files, publish numbers, read them. */
#pragma once
#include "bridge/broker/broker.h"
#include "tests/support/folder.h"
#include "tests/support/test.h"

#define FOREVER   ((struct duration){ 0 })
#define UNBOUNDED ((struct bytes){ 0 })

extern char local_folder[FOLDER_BYTES]; /* of the running test */
extern struct broker *local_broker;
extern struct broker_config local_config;

/* The fixture: a folder and a configuration, nothing is open; afterwards neither is left. */
int local_set_up(void **state);
int local_tear_down(void **state);
#define LOCAL_TEST(f) cmocka_unit_test_setup_teardown(f, local_set_up, local_tear_down)

void local_open(void);
void local_close(void);
/* Does opening fail with a message that contains `part`? */
bool local_refused(const char *part);
void local_topic(const char *name, int64_t partitions, struct duration retention, struct bytes bytes);

/* ---- its files ---- */

const char *local_path(const char *name);        /* of a file in the folder; overwritten by the next call */
long long local_size(const char *name);          /* -1: it is not there */
void local_flip(const char *name, long long at); /* changes one bit of that byte */
/* Where the bytes stand first, or -1. */
long long local_find(const char *name, const char *bytes);

/* ---- its records ---- */

/* Publishes one record and waits; true: stored. `why` (WHY_BYTES) may be NULL. */
bool local_put(const char *topic, int32_t partition, struct str value, char *why);
/* The record "number-<n>;". */
bool local_put_number(const char *topic, int32_t partition, int n);
/* `count` of them, none waits for the one before. */
void local_put_numbers(const char *topic, int32_t partition, int from, int count);
struct consumer *local_reader(const char *group, const char *topic);
struct consumer *local_renamed(const char *group, const char *formerly, const char *topic);
/* The next `count` records are the numbers from `first` on. */
void local_expect(struct consumer *c, int first, int count);
/* Polls until it fails; how many records came before. */
int local_until_error(struct consumer *c, struct err *e);
