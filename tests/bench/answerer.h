/* SPDX-License-Identifier: MIT */
/* A child process that answers every POST with 204 as cheaply as can be: epoll, recv, send; at once or after a fixed time.
 * It reads of a request only its end. */
#pragma once
#include <openssl/ssl.h>
#include <stdint.h>
#include "child.h"
#include "meter.h"

struct answerer {
    struct child child;
    int listener, port, delay_ms;
    SSL_CTX *tls;
    bool knows;                       /* keeps the webhook-ids, and how old the events were */
    _Atomic bool refuses;             /* answers 503 */
    _Atomic uint64_t answered, again; /* again: with an id that was there before */
    _Atomic int64_t first_new_us;     /* when the first one with a new id came, since somebody put 0 here */
    struct delays age;                /* since the moment that is "at" in the data: us of clock_mono_us() */
};

/* tls: NULL: plain. NULL: it cannot; end it with child_stop() */
struct answerer *answerer_start(int delay_ms, bool knows, SSL_CTX *tls);
