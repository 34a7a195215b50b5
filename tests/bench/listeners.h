/* SPDX-License-Identifier: MIT */
/* Many WebSocket listeners in one child process that cost as little as possible: every frame has the same length, so
 * they count bytes and let the kernel throw them away (MSG_TRUNC). Progress and delays are in memory that both
 * processes share. */
#pragma once
#include <stdint.h>
#include "child.h"
#include "meter.h"

enum { LISTENERS_TIMES = 1 << 16, LISTENERS_SAMPLED = 64, LISTENERS_TARGET = 64 };

struct listeners {
    struct child child;
    int count, port;
    bool upgrade;
    char target[LISTENERS_TARGET];
    _Atomic uint64_t connected;               /* listeners that may be sent to */
    _Atomic uint64_t slowest;                 /* frames that every listener has */
    _Atomic uint64_t total;                   /* frames of all listeners */
    _Atomic uint64_t gone;                    /* listeners whose connection ended */
    _Atomic uint64_t frame_bytes;             /* set by the publisher before the first frame */
    _Atomic int64_t sent_us[LISTENERS_TIMES]; /* when frame n was published, at n % LISTENERS_TIMES */
    struct delays delays;                     /* of the sampled listeners; read after the child's end */
};

/* Starts a child with n connections to 127.0.0.1:port; `upgrade`: it asks for WebSocket first. NULL: it cannot; end it
 * with child_stop(). */
struct listeners *listeners_start(int n, int port, bool upgrade, const char *target);
