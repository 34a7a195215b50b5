/* SPDX-License-Identifier: MIT */
/* Waiting: for a notice that the database was written, for the time to look without one, for a lock to go, or while
 * it is the application's turn. */
#pragma once
#include "connectors/sqlite/sqlite.h"

enum wake {
    WAKE_CORE,   /* the core wants us */
    WAKE_NOTICE, /* our file was written */
    WAKE_TIME,   /* the time is over */
    WAKE_NOTHING /* no reason to look: only another file in the folder was written */
};
void wait_open(struct sqlite_source *s);
void wait_close(struct sqlite_source *s);
void wait_watch(struct sqlite_source *s); /* the folder, for notices; without them `poll` does it alone */
void wait_note(struct sqlite_source *s);  /* takes the notices that are there; the next wait for them does not wait */
enum wake wait_for(struct sqlite_source *s, int wake_fd, int64_t ms, bool notices);
void wait_locked(struct sqlite_source *s); /* the file is locked: how long the next wait_for_lock() takes */
bool wait_is_over_for_lock(const struct sqlite_source *s); /* the waits have become as long as they do */
enum wake wait_for_lock(struct sqlite_source *s, int wake_fd);
/* Until there is reason to look at the file, at the latest at `due_ms` (wall clock). */
enum wake wait_for_reason(struct sqlite_source *s, int wake_fd, int64_t due_ms);
/* Until the files of a database that was let go look different, or a look is due. */
enum wake wait_let_go(struct sqlite_source *s, int wake_fd);
void wait_mark(const struct sqlite_source *s, struct file_mark *out);
bool wait_is_marked(const struct sqlite_source *s, const struct file_mark *now); /* as s->idle.mark? */
void wait_before_second_look(struct sqlite_source *s);                           /* once let go */
void wait_poll_next(struct sqlite_source *s, bool soon);
void wait_rest(struct sqlite_source *s, int64_t busy_us);
