/* SPDX-License-Identifier: MIT */
/* TLS of a listener (OpenSSL): its certificate and key, and whom it asks for a certificate in turn. TLS 1.2 with forward
 * secrecy, or later.
 *
 * All of it comes from PEM files, which may be replaced while the listener runs (bridge/lib/watch.h): new connections get
 * what they say by then, those that are open keep what they began with. One thread. */
#pragma once
#include "bridge/lib/err.h"

struct ssl_ctx_st;
struct tls;

/* Is the client asked for a certificate? */
enum tls_client {
    TLS_CLIENT_BY_CA, /* required where there is a CA, else none */
    TLS_CLIENT_NONE,
    TLS_CLIENT_OPTIONAL, /* who shows none is let in as well; who shows one that is not good is not */
    TLS_CLIENT_REQUIRED,
};

struct tls_options {               /* borrowed; "" as NULL */
    const char *certificate, *key; /* PEM files; neither: no TLS */
    const char *client_ca;         /* PEM file with the CAs whose certificates are taken, or with such certificates */
    const char *client_crl;        /* PEM file with lists of certificates that are revoked; NULL: none are */
    enum tls_client client;
    bool http2;             /* is offered by ALPN, before HTTP/1.1 */
    const struct tls *like; /* a session that began there goes on here, and the other way round; NULL: nowhere else */
};

bool tls_fits(const struct tls_options *o, struct err *e); /* do they go together? */
/* Do they, and can the files be used? The error begins with the option: "tls_key ...". */
bool tls_check(const struct tls_options *o, struct err *e);
/* Is a client asked for its certificate? */
bool tls_asks(const struct tls_options *o);
static inline bool tls_demands(const struct tls_options *o) /* does nobody get in without one? */
{
    return tls_asks(o) && o->client != TLS_CLIENT_OPTIONAL;
}
/* `name`: the listener's, for the log; copied. *out NULL: no TLS. False with *e as of tls_check. */
bool tls_open(const struct tls_options *o, const char *name, struct tls **out, struct err *e);
/* What the next connection is to use; borrowed until the next call. Looks for new files now and then. */
struct ssl_ctx_st *tls_context(struct tls *t);
void tls_close(struct tls *t); /* accepts NULL */
