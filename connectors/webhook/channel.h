/* SPDX-License-Identifier: MIT */
/* The bytes of a connection that libcurl has opened, plain or within TLS.
 *
 *   channel_of(fd)  or  channel_take(easy)  ->  channel_send, channel_recv ...  ->  channel_close
 *
 * A plain one is a descriptor. For TLS, libcurl has also shaken hands and verified who is there (CURLOPT_CONNECT_ONLY); from
 * then on requests go by OpenSSL directly. The session stays libcurl's: its easy handle remains in the multi handle, which
 * holds the connection for in use, and closes it, with a word of it to the receiver, when the channel is closed. Nothing
 * blocks. One thread. */
#pragma once
#include <openssl/ssl.h>
#include <sys/types.h>
#include "connectors/webhook/multi.h"

enum { CHANNEL_AGAIN = -1, CHANNEL_LOST = -2 };

struct channel {
    int fd;
    SSL *ssl;   /* NULL: plain */
    CURL *easy; /* whose connection it is; NULL: plain */
    bool begun; /* `first` came right behind the handshake, and was not given out yet */
    char first;
    int os_errno;            /* of the last loss; 0: none, or it was closed */
    unsigned long tls_error; /* of the last loss, OpenSSL's; 0: none */
};

struct channel channel_of(int fd); /* moved */
/* Takes over the connection of a handle that has ended and is still in its multi handle. The handle is the channel's with
 * CURLE_OK alone. CURLE_NOT_BUILT_IN: libcurl has another TLS than OpenSSL. `said`: what libcurl says of it, if anything. */
CURLcode channel_take(struct channel *c, CURL *easy, char said[CURL_ERROR_SIZE]);
/* Bytes of head and body from `sent` on; returns how many went, CHANNEL_AGAIN or CHANNEL_LOST. What did not go has to be
 * sent next. */
ssize_t channel_send(struct channel *c, struct str head, struct str body, size_t sent);
/* Returns how many bytes came, 0 at their end, CHANNEL_AGAIN or CHANNEL_LOST. */
ssize_t channel_recv(struct channel *c, char *out, size_t room);
/* Has nothing come, and it has not ended? What TLS says to itself (tickets, new keys) is nothing. */
bool channel_is_quiet(struct channel *c);
void channel_close(struct channel *c, struct multi *m);
