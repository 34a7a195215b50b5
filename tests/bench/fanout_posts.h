/* SPDX-License-Identifier: MIT */
/* What the fan-out benchmark publishes: numbered events, posted over several keep-alive connections, each of which waits
 * for its answer. One thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "bridge/event/event.h"

enum { POSTS_CONNECTIONS = 16, POSTS_MOST = 256 };

struct posts {
    int fds[POSTS_CONNECTIONS];
    bool busy[POSTS_CONNECTIONS]; /* it waits for its answer */
    int count, most;              /* connections; events in one post */
    const char *path, *token;
    const char *before, *after;           /* of the body, where it is no event and no array of them; or NULL */
    const char *each_before, *each_after; /* of each event in it; or NULL */
};

/* Events of one length: only the digits of the id and of the subject ("u/0007", the number modulo `subjects`) differ, and
 * a daemon has nothing to add to them. */
const struct event *posts_event(uint64_t number, int subjects);
size_t posts_frame_bytes(int subjects); /* of the WebSocket frame with one */

void posts_open(struct posts *p, int port);
/* Begins one post of so many events; false: all connections are busy. */
bool posts_send(struct posts *p, uint64_t first, int n, int subjects);
/* Waits for an answer, for `also_fd`, or for so many microseconds. An answer that is no 200, 201 or 202 ends the program. */
void posts_wait(struct posts *p, int also_fd, int64_t us);
bool posts_are_answered(const struct posts *p); /* all of them */
