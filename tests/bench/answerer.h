/* SPDX-License-Identifier: MIT */
/* A child process that answers every POST with 204 as cheaply as can be: epoll, recv, send; at once or after a fixed time.
 * It reads of a request only its end. */
#pragma once
#include <openssl/ssl.h>
#include <stdint.h>
#include "child.h"

struct answerer {
    struct child child;
    int listener, port, delay_ms;
    SSL_CTX *tls;
    _Atomic uint64_t answered;
};

/* tls: NULL: plain. */
struct answerer *answerer_start(int delay_ms, SSL_CTX *tls); /* NULL: it cannot; end it with child_stop() */
