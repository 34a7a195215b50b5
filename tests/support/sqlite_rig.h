/* SPDX-License-Identifier: MIT */
/* What the tests of the SQLite source share: an application's database (app_), and a rig around the source that reads
 * and settles as an ordered core does, keeps its state as a broker would, and collects its events. */
#pragma once
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "connectors/sqlite/sqlite.h"
#include "tests/support/folder.h"
#include "tests/support/test.h"

enum { RIG_EVENTS = 4096, RIG_DEAD = 64 };

extern const struct source_ops sqlite_source;

struct rig_pair {
    char *key, *value;
    size_t value_n;
    bool forget;
};

struct rig_pairs {
    struct rig_pair *at;
    size_t count;
};

struct rig {
    char folder[FOLDER_BYTES], path[128];
    sqlite3 *app;
    char *yaml;
    struct source *s;
    int wake;
    struct rig_pairs state, ahead; /* what the broker has; what was written ahead of what it has not */
    const struct event *seen[RIG_EVENTS];
    size_t seen_count;
    const struct event
        *dead[RIG_DEAD]; /* those that are to become dead letters, not among `seen`; and the last reason */
    size_t dead_count;
    char dead_why[WHY_BYTES];
    size_t room;
    bool confirm; /* false: the core dies between the events and their state */
};

/* ---- the application ---- */

void app_open(struct rig *rig, const char *journal);
void app_close(struct rig *rig);
void app_exec(struct rig *rig, const char *sql);
__attribute__((format(printf, 2, 3))) void app_do(struct rig *rig, const char *format, ...);
void app_schema(struct rig *rig); /* AnythingLLM's tables */

/* ---- the source ---- */

/* A folder of its own, and an empty database in it. */
void rig_new(struct rig *rig, const char *journal);
/* Fills and opens a source from YAML (NULL: the preset anythingllm); the state of the rig is restored first, as the
 * core does it. */
bool rig_try(struct rig *rig, const char *yaml, struct err *e);
void rig_open(struct rig *rig, const char *yaml);
/* A new rig whose tables are there when the source opens, and whose source has found nothing new in them. */
void rig_begin(struct rig *rig, const char *journal, const char *schema, const char *yaml);
void rig_close(struct rig *rig);
void rig_restart(struct rig *rig); /* the daemon is gone and comes back with what the broker has */
void rig_end(struct rig *rig);

/* One read() as an ordered core does it: the batch is stored whole, with its state, and settled. */
int rig_read(struct rig *rig, struct err *e);
void rig_settle(struct rig *rig); /* reads until all that is committed was handed out */
/* The first read that fails, as text; "" when the source works. */
void rig_failure(struct rig *rig, struct err *e);
/* As sqlite_source, for what only its inside knows. */
struct sqlite_source *rig_inside(const struct rig *rig);
/* Has the source handed out all that is committed? */
bool sqlite_is_idle(struct sqlite_source *s);

/* ---- what was seen ---- */

struct str rig_state(const struct rig *rig, const char *key); /* absent: the broker does not have it */
void rig_forget(struct rig *rig);                             /* the events seen */
size_t rig_count(const struct rig *rig, const char *type, const char *subject); /* NULL: any */
const struct event *rig_event(const struct rig *rig, const char *type, const char *subject,
                              size_t i);                            /* the i-th of them; NULL subject: any */
struct str rig_attribute(const struct event *ev, const char *name); /* "" when it has none */
bool rig_has(const struct event *ev, const char *piece);            /* in its data */
/* The types of all events seen, in order, are "a b c"; then they are forgotten. */
void assert_types(struct rig *rig, const char *wanted);
/* What is committed makes events of these types and no others. */
void assert_captured(struct rig *rig, const char *types);
