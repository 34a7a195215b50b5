/* SPDX-License-Identifier: MIT */
/* A child process that answers every POST with 204 as cheaply as can be: epoll, recv, send. It reads of a request
 * only its end. */
#pragma once
#include <stdint.h>
#include "child.h"

struct answerer {
    struct child child;
    int listener, port;
    _Atomic uint64_t answered;
};

struct answerer *answerer_start(void); /* NULL: it cannot; end it with child_stop() */
