/* SPDX-License-Identifier: MIT */
/* Many WebSocket listeners in one child process. Either each reads its bytes and goes from frame to frame, as any client
 * must; or, at the least cost there is, they count the bytes of frames of one length and let the kernel throw them away
 * (MSG_TRUNC). Progress and delays are in memory that both processes share. */
#pragma once
#include <stdint.h>
#include "child.h"
#include "meter.h"

enum { LISTENERS_TIMES = 1 << 16, LISTENERS_SAMPLED = 64, LISTENERS_TARGET = 512 };

struct listeners_options {
    int count, port;
    bool upgrade;       /* they ask for WebSocket first */
    const char *target; /* what they ask for; %d in it becomes the listener's number modulo `subjects` */
    int subjects;       /* 0: every listener gets every frame */
    uint64_t frame_bytes;
    bool reads; /* the bytes, all of them */
    int skip;   /* frames that come before the first event; a listener is there when it has them */
    bool lines; /* a frame may hold several events, each on a line of its own */
};

struct listeners {
    struct child child;
    struct listeners_options o;
    int progress_fd;                          /* readable when some frame has reached its last listener */
    _Atomic uint64_t connected;               /* listeners that may be sent to */
    _Atomic uint64_t slowest;                 /* frames that every listener has */
    _Atomic uint64_t total;                   /* frames of all listeners */
    _Atomic uint64_t gone;                    /* listeners whose connection ended */
    _Atomic int64_t sent_us[LISTENERS_TIMES]; /* when event n was published, at n % LISTENERS_TIMES */
    uint64_t frames, segments;                /* that the sampled listeners got: how many frames one send has carried */
    struct delays delays;                     /* of the sampled listeners; read after the child's end */
};

/* Starts a child with connections to 127.0.0.1:port. NULL: it cannot; end it with child_stop(). */
struct listeners *listeners_start(const struct listeners_options *o);
