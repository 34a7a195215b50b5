/* SPDX-License-Identifier: MIT */
/* Many WebSocket listeners in one child process that cost as little as possible: every frame has the same length, so
 * they count bytes and let the kernel throw them away (MSG_TRUNC). Progress and delays are in memory that both
 * processes share. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { LISTENERS_TIMES = 1 << 16, LISTENERS_DELAYS = 4096, LISTENERS_SAMPLED = 64 };

struct listeners_shared {
    _Atomic uint64_t connected;   /* listeners that may be sent to */
    _Atomic uint64_t slowest;     /* frames that every listener has */
    _Atomic uint64_t total;       /* frames of all listeners */
    _Atomic uint64_t gone;        /* listeners whose connection ended */
    _Atomic uint64_t frame_bytes; /* set by the publisher before the first frame */
    _Atomic bool stop;
    _Atomic int64_t sent_us[LISTENERS_TIMES]; /* when frame n was published, at n % LISTENERS_TIMES */
    uint64_t delays[LISTENERS_DELAYS]; /* of the sampled listeners, in steps of 50 us; read after the child's end */
    double cpu_s;                      /* the child's, likewise */
};

struct listeners {
    struct listeners_shared *shared;
    pid_t pid;
};

/* Starts a child with n connections to 127.0.0.1:port; `upgrade`: it asks for WebSocket first. */
bool listeners_start(struct listeners *l, int n, int port, bool upgrade, const char *target);
void listeners_stop(struct listeners *l); /* ends it; `shared` stays readable */
double listeners_delay_ms(const struct listeners *l, double quantile);
int listeners_free_port(void);
