/* SPDX-License-Identifier: MIT */
/* The options of an HTTP listener, each with its default, range and sentence, once for everybody.
 *
 * A connector has `struct http_server_options server_options` in its struct, and in its table one row for each option
 * that its users may set:
 *
 *     HTTP_ROW_LISTEN(struct mine, "8080"),
 *     HTTP_ROWS_TLS(struct mine, "HTTPS"),
 *     HTTP_ROW(struct mine, max_head),                                        its own name, the default below
 *     HTTP_ROW_AS(struct mine, "max_head", max_head, "16KiB"),                another name or default
 *     HTTP_ROW_OF(struct mine, "idle", stream_idle, .fallback = "30m", ...),  all of its own
 *
 * What no row offers, and what code that has no rows leaves 0, gets the default in http_server_new. */
#pragma once
#include "bridge/lib/option.h"
#include "bridge/net/forwarded.h"
#include "bridge/net/tls.h"

struct http_server;
struct http_server_options {
    /* Another one, which accepts for both: connections go to whichever of all these has fewest, and what limits those holds
     * for all together. Its other options are the same. NULL: it listens itself. */
    struct http_server *first;
    char *listen;                    /* "127.0.0.1:8080", "[::]:8080", "unix:/path"; port 0: any free one */
    char *tls_certificate, *tls_key; /* PEM files; both or none */
    char *tls_client_ca, *tls_client_crl;
    enum tls_client tls_client;
    struct strings trusted_proxies; /* networks; who comes from there may say for whom (client.c) */
    bool proxy_protocol;            /* and must, of each connection */
    enum proxy_header_kind proxy_header;
    struct bytes max_head;    /* request line and headers together: 431 */
    struct bytes max_body;    /* 413 */
    struct bytes max_message; /* one WebSocket message in: close 1009 */
    struct bytes max_held;    /* of incomplete requests, all connections together: 503; 0: 32 MiB and one body */
    struct bytes max_held_per_address; /* of that, one address's (IPv6: one /64's): 503; 0: half of it and one body */
    int64_t max_connections;           /* beyond: another one gives way, or it is closed with 503 */
    int64_t
        max_per_address;   /* beyond: an idle one gives way, or it is closed with 429; 0: no limit; not unix sockets */
    int64_t http2_streams; /* requests at a time on one connection of HTTP/2; 0: HTTP/1 only */
    struct bytes min_body_rate;   /* bytes a second of a body, over each part of body_timeout: 408; 0: none */
    bool reserved;                /* its descriptors are of the process's reserve, not of the listeners' share */
    struct duration head_timeout; /* from the first byte of a request to the end of its head: 408 */
    struct duration body_timeout; /* from the end of the head to the end of the body, and for the answer: 408 */
    struct duration idle_timeout; /* keep-alive without a request: closed */
    struct duration ping;         /* WebSocket: a ping after this much silence from the peer; 0: never */
    struct duration stream_idle;  /* WebSocket: closed (1001) after this much silence (pongs count); 0: never */
};

/* Defaults: a number, and its unit as the configuration writes it. */
#define HTTP_DEFAULT_max_head        32, KiB
#define HTTP_DEFAULT_max_body        1, MiB
#define HTTP_DEFAULT_max_message     64, KiB
#define HTTP_DEFAULT_max_connections 10000,
#define HTTP_DEFAULT_max_per_address 1000,
#define HTTP_DEFAULT_http2_streams   100,
#define HTTP_DEFAULT_min_body_rate   500,
#define HTTP_DEFAULT_head_timeout    10, s
#define HTTP_DEFAULT_body_timeout    30, s
#define HTTP_DEFAULT_idle_timeout    60, s

enum { HTTP_UNIT_ = 1, HTTP_UNIT_s = 1000, HTTP_UNIT_KiB = 1 << 10, HTTP_UNIT_MiB = 1 << 20 };
#define HTTP_NUMBER_(n, unit)     ((int64_t)(n)*HTTP_UNIT_##unit)
#define HTTP_TEXT_(n, unit)       #n #unit
#define HTTP_EXPAND_(macro, pair) macro(pair)
#define HTTP_DEFAULT(field)       HTTP_EXPAND_(HTTP_NUMBER_, HTTP_DEFAULT_##field) /* 32768 */
#define HTTP_DEFAULT_TEXT(field)  HTTP_EXPAND_(HTTP_TEXT_, HTTP_DEFAULT_##field)   /* "32KiB" */

/* Ranges and sentences. */
#define HTTP_RULES_max_head                                                                                            \
    .min = 1024, .max = 1 << 20, .doc = "Longest request line and headers together; beyond: 431."
#define HTTP_RULES_max_connections                                                                                     \
    .min = 1, .max = 1000000,                                                                                          \
    .doc =                                                                                                             \
        "Most connections, as far as there are file descriptors; beyond, the longest idle one gives way, then one of the address with most, else: 503."
#define HTTP_RULES_max_per_address                                                                                     \
    .min = 1, .max = 1000000,                                                                                          \
    .doc =                                                                                                             \
        "Most connections of one address (IPv6: one /64); beyond, its longest idle one gives way, else: 429. Raise it behind a proxy; unix sockets have no such limit."
#define HTTP_RULES_http2_streams                                                                                       \
    .max = 1000,                                                                                                       \
    .doc =                                                                                                             \
        "Most requests at a time on one HTTP/2 connection, with TLS (ALPN) or without (prior knowledge); 0: HTTP/1.1 only."
#define HTTP_RULES_min_body_rate                                                                                       \
    .max = 1 << 30,                                                                                                    \
    .doc =                                                                                                             \
        "Least bytes a second of a request's body, looked at about every 10 seconds; slower: 408. 0: any rate will do."
#define HTTP_RULES_head_timeout .min = 1, .max = 3600000, .doc = "Longest time for a request's head; then 408."
#define HTTP_RULES_body_timeout .min = 1, .max = 3600000, .doc = "Longest time for a request's body; then 408."
#define HTTP_RULES_idle_timeout .min = 1, .max = 86400000, .doc = "An idle connection is closed after this."

/* Rows. T: the connector's struct. */
#define HTTP_ROW_OF(T, name, field, ...)                                                                               \
    {                                                                                                                  \
        .key = name, .type = OPTION_TYPE(((T *)0)->server_options.field), .offset = offsetof(T, server_options.field), \
        __VA_ARGS__                                                                                                    \
    }
#define HTTP_ROW_AS(T, name, field, default_text)                                                                      \
    HTTP_ROW_OF(T, name, field, .fallback = (default_text), HTTP_RULES_##field)
#define HTTP_ROW(T, field) HTTP_ROW_AS(T, #field, field, HTTP_DEFAULT_TEXT(field))
#define HTTP_ROW_LISTEN(T, port)                                                                                       \
    HTTP_ROW_OF(T, "listen", listen, .fallback = "127.0.0.1:" port,                                                    \
                .doc = "Address to listen on: 127.0.0.1:" port ", [::]:" port " or unix:/path.")
#define HTTP_ROWS_TLS(T, schemes)                                                                                      \
    HTTP_ROW_OF(T, "tls_certificate", tls_certificate,                                                                 \
                .doc = "PEM file with the certificate chain; with tls_key: " schemes "."),                             \
        HTTP_ROW_OF(T, "tls_key", tls_key, .doc = "PEM file with the certificate's key."),                             \
        HTTP_ROW_OF(T, "tls_client", tls_client, .values = http_tls_clients, .doc = HTTP_TLS_CLIENT_DOC),              \
        HTTP_ROW_OF(T, "tls_client_ca", tls_client_ca, .doc = HTTP_TLS_CA_DOC),                                        \
        HTTP_ROW_OF(T, "tls_client_crl", tls_client_crl, .doc = HTTP_TLS_CRL_DOC)

extern const struct option_value http_tls_clients[], http_proxy_headers[];
#define HTTP_ROWS_PROXIES(T)                                                                                                                                                    \
    HTTP_ROW_OF(                                                                                                                                                                \
        T, "trusted_proxies", trusted_proxies,                                                                                                                                  \
        .doc =                                                                                                                                                                  \
            "Networks of proxies (10.0.0.0/8, or unix) that are believed when they say whose a request is; limits, logs and rules see that address then. Default: nobody is."), \
        HTTP_ROW_OF(T, "proxy_header", proxy_header, .values = http_proxy_headers, .fallback = "x-forwarded-for",                                                               \
                    .doc = "The header in which they say it: x-forwarded-for, forwarded (RFC 7239) or none."),                                                                  \
        HTTP_ROW_OF(                                                                                                                                                            \
            T, "proxy_protocol", proxy_protocol, .fallback = "false",                                                                                                           \
            .doc = "Each connection from trusted_proxies begins with a header of the PROXY protocol, version 1 or 2.")

#define HTTP_TLS_CLIENT_DOC                                                                                              \
    "Whether clients must show a certificate: none, optional (who shows one must show a good one) or required; default " \
    "required with tls_client_ca, else none."
#define HTTP_TLS_CA_DOC                                                                                                \
    "PEM file with the CAs whose certificates clients may show, or with such certificates themselves."
#define HTTP_TLS_CRL_DOC                                                                                               \
    "PEM file with these CAs' lists of revoked certificates; a CA whose list is not in it or out of date has no good one."
/* What the listener asks TLS for. */
struct tls_options http_tls_options(const struct http_server_options *o);
