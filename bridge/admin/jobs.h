/* SPDX-License-Identifier: MIT */
/* Work that takes time, beside the main thread, which must not wait: lanes, each with a thread that does one job after the
 * other and a bounded queue of those that wait.
 *
 *   jobs_add -> [queue] -> work() on the lane's thread -> end() on the main thread, in jobs_turn
 *
 * A lane's thread begins with its first job. At the end (jobs_free) jobs are asked to stop (jobs_stopping), and each that
 * was added still gets its end(). */
#pragma once
#include <stdbool.h>

enum lane {
    LANE_READ, /* short: the log and files are looked at */
    LANE_MOVE, /* short: some events are moved, and somebody waits for it */
    LANE_BULK, /* long: many events are moved */
    LANES
};
enum { JOBS_WAITING = 16 }; /* most that wait in a lane, besides the one that runs */

struct job {
    void (*work)(struct job *j); /* NULL: it is not done any more, end() comes at once */
    void (*end)(struct job *j);  /* the job is its own to free */
    struct job *next;            /* private */
};

struct jobs;
struct jobs *jobs_new(void);
void jobs_free(struct jobs *jobs);    /* accepts NULL; main thread */
int jobs_fd(const struct jobs *jobs); /* readable: jobs_turn has something to do */
void jobs_turn(struct jobs *jobs);
bool jobs_any(const struct jobs *jobs); /* that have not got their end(); main thread */
/* Main thread. False: too many wait already; the job is the caller's. */
bool jobs_add(struct jobs *jobs, enum lane lane, struct job *j);
bool jobs_stopping(const struct jobs *jobs); /* any thread: end as soon as nothing is half done */
