/* SPDX-License-Identifier: MIT */
/* The way to an HTTP server that we are a client of, from its options to libcurl's: TLS, a certificate of our own, HTTP's version, a proxy. */
#pragma once
#include <curl/curl.h>
#include <stdbool.h>
#include "bridge/lib/err.h"
#include "bridge/lib/option.h"

enum tls_version {
    TLS_MIN_1_2 = 1,
    TLS_MIN_1_3,
};

enum http_version {
    HTTP_1_1 = 1,
    HTTP_2, /* if the receiver agrees (ALPN); over TLS only */
};

/* What is borrowed lives as long as the receiver does. */
struct transport {
    bool tls;              /* https */
    const char *ca_file;   /* NULL: the system's */
    const char *cert_file; /* of ours, its chain behind it; NULL: none */
    const char *key_file;  /* NULL: its key stands in cert_file */
    enum tls_version tls_min;
    enum http_version http;
    const char *proxy; /* its URL, a secret; NULL or "": none, whatever the environment says */
};

/* Reads the files; false with the first option that does not work. */
bool transport_check(const struct transport *t, struct err *e);
bool transport_check_proxy(const char *proxy, struct err *e); /* the error holds nothing of it */
/* Can a handle that was set up for one serve the other? libcurl does not take all of it back. */
bool transport_is_same(const struct transport *a, const struct transport *b);
/* Gives an easy handle what all requests on this way need; libcurl-security(3) is the checklist. */
void transport_set_up(const struct transport *t, CURL *c);
