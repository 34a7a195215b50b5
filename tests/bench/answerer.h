/* SPDX-License-Identifier: MIT */
/* A child process that answers every POST with 204 as cheaply as can be: epoll, recv, send. It reads of a request
 * only its end. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct answerer {
    struct answerer_shared {
        _Atomic uint64_t answered;
        _Atomic bool stop;
    } * shared;
    pid_t pid;
    int port;
};

bool answerer_start(struct answerer *a);
void answerer_stop(struct answerer *a); /* ends it; `shared` stays readable */
