/* SPDX-License-Identifier: MIT */
/* Many keep-alive connections in one child process that post events and wait for each answer; they cost less than
 * any server. */
#pragma once
#include <stdint.h>
#include "child.h"
#include "meter.h"

struct posters {
    struct child child;
    int count, port;
    _Atomic uint64_t answered, refused; /* 202, anything else */
    struct delays delays;               /* of every request; read after the child's end */
};

/* Starts a child with n connections to 127.0.0.1:port that post `bytes` of JSON to the path, each with an id of its
 * own. NULL: it cannot; end it with child_stop(). */
struct posters *posters_start(int n, int port, const char *path, const char *token, int bytes);
