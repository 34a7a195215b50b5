/* SPDX-License-Identifier: MIT */
/* Many keep-alive connections in one child process that post events and wait for each answer; they cost less than
 * any server. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { POSTERS_DELAYS = 1 << 16, POSTERS_STEP_US = 5 };

struct posters_shared {
    _Atomic uint64_t answered, refused; /* 202, anything else */
    _Atomic bool stop;
    uint64_t delays[POSTERS_DELAYS]; /* of every request, in steps of POSTERS_STEP_US; read after the child's end */
    double cpu_s;                    /* the child's, likewise */
};

struct posters {
    struct posters_shared *shared;
    pid_t pid;
};

/* Starts a child with n connections to 127.0.0.1:port that post `bytes` of JSON to the path, each with an id of its
 * own. */
bool posters_start(struct posters *p, int n, int port, const char *path, const char *token, int bytes);
void posters_stop(struct posters *p); /* ends it; `shared` stays readable */
double posters_delay_ms(const struct posters *p, double quantile);
