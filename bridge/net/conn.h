/* SPDX-License-Identifier: MIT */
/* One non-blocking connection, plain or TLS (OpenSSL).
 *
 * Reading and writing never block and look the same for both kinds. A connection is watched edge-triggered for
 * everything from the start, so no epoll_ctl is needed while it lives: whoever stops reading before conn_read said
 * CONN_AGAIN must come back to it by itself. One thread. With TLS the program must ignore SIGPIPE, since OpenSSL
 * writes without MSG_NOSIGNAL. */
#pragma once
#include "bridge/lib/err.h"
#include "bridge/lib/str.h"
#include "bridge/net/loop.h"

struct ssl_st;
struct ssl_ctx_st;
struct x509_st;

enum { CONN_AGAIN = -1, CONN_FAILED = -2 };

struct conn {
    struct loop_handler handler;
    int fd;
    struct ssl_st *ssl;         /* NULL: plain */
    struct conn_record *record; /* TLS: bytes already reported as written that wait for the kernel; NULL: none */
};

/* Takes an accepted fd; tls may be NULL. False closes it. */
bool conn_open(struct conn *c, int fd, struct ssl_ctx_st *tls, struct loop *l);
void conn_close(struct conn *c, struct loop *l);              /* TLS says goodbye if it can; twice is harmless */
long conn_read(struct conn *c, char *out, size_t room);       /* bytes; 0: the peer ended; CONN_AGAIN; CONN_FAILED */
long conn_write(struct conn *c, const char *bytes, size_t n); /* how many were taken, 0: none now; CONN_FAILED */
void conn_end_write(struct conn *c);                          /* the peer sees the end after what was written */
bool conn_is_ready(const struct conn *c);                     /* plain, or the TLS handshake is done */
size_t conn_pending(const struct conn *c);                    /* bytes that TLS has read ahead or must still write */
/* The client's certificate, once the handshake is done: it was verified. NULL: it showed none, or was not asked. */
const struct x509_st *conn_certificate(const struct conn *c);
/* Right after CONN_FAILED, if it was not ready before that: why there was no handshake; NULL: the client went. */
const char *conn_handshake_error(const struct conn *c);
