/* SPDX-License-Identifier: MIT */
/* A tiny HTTP receiver on a thread of its own, which behaves as the request's path says.
 *
 *   /status/503             answers with that status
 *   /after/TEXT             429 with `Retry-After: TEXT` ('_' stands for a space)
 *   /delivery/TEXT          500 with `webhook-delivery: TEXT`
 *   /gone                   410 with a body that has control characters
 *   /reset                  reads the request, then resets the connection
 *   /close                  reads the request, then closes it
 *   /hang                   never answers
 *   /slow                   a header, one byte at a time, without end
 *   /endless                200 and a body without end
 *   /continue               100 Continue again and again
 *   /short                  200 with a Content-Length that the body does not reach
 *   /once                   204, and closes the connection without a word soon after
 *   /dying                  204, and resets the connection as soon as another request comes on it, unread
 *   /half                   204, then sends no more on that connection, but goes on reading
 *   /early                  200 as soon as the head is there, then reads the body
 *   /long-header            200 and a header of 400 KiB
 *   /many-headers           200 and 400 headers of 1 KiB
 *   /redirect               302 to /status/204
 *   /redirect/HOST          302 to http://HOST/
 *   /later                  204, and soon after another answer, to nothing
 *   /rekey                  204, and soon after what TLS says to itself: a ticket and new keys, or, of 1.2, the wish for
 *                           another handshake; nothing when it is plain
 *   /torn                   an answer that ends with the connection, of which TLS says nothing
 *   /garbage                bytes that are no HTTP
 *   /told                   answers with the status that `told` says
 *   /on/TEXT/422            answers with that status when the body has the text in quotes; otherwise 204
 *   /above/1000/413         ... when the body has more bytes
 *   /raw/NAME               an answer of unusual form: chunked, old, unsized, interim, more, early
 *
 * It takes whole URLs as well, as a proxy does, and answers itself. */
#pragma once
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include "bridge/lib/buf.h"
#include "tests/support/folder.h"

enum { RECEIVER_CONNECTIONS = 256 };

struct receiver {
    int listen_fd, port;
    atomic_bool stop;
    atomic_int requests, connections;
    atomic_int cut; /* requests that broke off */
    atomic_int told;
    atomic_int later; /* times that something was said behind an answer */
    SSL_CTX *tls;     /* NULL: plain */
    char folder[FOLDER_BYTES], certificate[FOLDER_BYTES + 32];
    pthread_t thread;
    pthread_mutex_t lock; /* guards the rest */
    struct buf last_head, last_body;
    struct buf bodies; /* since receiver_forget, each with a line break */
};

void receiver_open(struct receiver *r);
/* Within TLS, whose newest version is TLS1_2_VERSION or, with 0, the newest there is; r->certificate is the PEM file that
 * makes it trusted. */
void receiver_open_tls(struct receiver *r, int newest);
void receiver_close(struct receiver *r);
/* A receiver for a whole program of tests, by cmocka_run_group_tests(tests, receiver_begin, receiver_end). */
extern struct receiver receiver;
int receiver_begin(void **state);
int receiver_begin_tls(void **state);
int receiver_begin_tls_1_2(void **state);
int receiver_end(void **state);
/* The value of a header of the last request, free() it; NULL when it had none. */
char *receiver_header(struct receiver *r, const char *name);
/* The body of the last request, free() it; NUL-terminated. */
char *receiver_body(struct receiver *r, size_t *n);
void receiver_forget(struct receiver *r); /* requests and bodies so far */
/* The bodies since then, free() it. */
char *receiver_bodies(struct receiver *r);
