/* SPDX-License-Identifier: MIT */
/* A TLS receiver on a thread of its own, with a certificate made for it, that misbehaves as asked.
 *
 *   struct tls_receiver r = { .name = "DNS:other.example", .manner = TLS_ANSWERS };
 *   tls_receiver_open(&r, folder);      r.port; r.certificate is the PEM file that makes it trusted */
#pragma once
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include "tests/support/folder.h"

/* A context of a server, with a self-signed certificate for this name (IP:127.0.0.1, DNS:...), which is also written to a
 * file, as PEM, and ends so many seconds from now. */
SSL_CTX *tls_server(const char *subject, int valid_s, const char *file);

enum tls_manner {
    TLS_ANSWERS,            /* 204 to each request */
    TLS_ANSWERS_FIRST,      /* 503, as soon as hands are shaken */
    TLS_IS_SILENT,          /* takes the connection and never says a word */
    TLS_CLOSES,             /* closes it when the client has begun the handshake */
    TLS_RESETS,             /* resets it then */
    TLS_SPEAKS_PLAIN_HTTP,  /* answers 400 then, without TLS */
    TLS_IS_OLD,             /* 1.1 at most */
    TLS_WANTS_A_CERTIFICATE /* of the client */
};

struct tls_receiver {
    const char *name; /* what the certificate is for: IP:127.0.0.1, DNS:... */
    enum tls_manner manner;
    int newest;  /* TLS1_2_VERSION; 0: the newest there is */
    int valid_s; /* of the certificate, from now; 0: an hour; negative: it has ended */
    int listen_fd, port;
    char certificate[FOLDER_BYTES + 32];
    SSL_CTX *ctx;
    atomic_bool stop;
    pthread_t thread;
};

void tls_receiver_open(struct tls_receiver *r, const char *folder);
void tls_receiver_close(struct tls_receiver *r);
