/* SPDX-License-Identifier: MIT */
/* Reading and writing of a plain or TLS connection. */
#include "bridge/net/conn.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bridge/lib/mem.h"

enum { RECORD = 16 * 1024 }; /* most that one TLS record holds */

/* Once SSL_write said "later", OpenSSL insists on getting the same bytes again. They are kept here, so that callers
 * are free to change their mind. */
struct conn_record {
    size_t n;
    char at[RECORD];
};

bool conn_open(struct conn *c, int fd, struct ssl_ctx_st *tls, struct loop *l)
{
    c->fd = fd;
    c->ssl = NULL;
    c->record = NULL;
    if (tls && (!(c->ssl = SSL_new(tls)) || SSL_set_fd(c->ssl, fd) != 1))
        goto fail;
    if (tls)
        SSL_set_accept_state(c->ssl);
    if (loop_add(l, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &c->handler))
        return true;
fail:
    SSL_free(c->ssl);
    close(fd);
    c->fd = -1;
    return false;
}

void conn_close(struct conn *c, struct loop *l)
{
    if (c->fd < 0)
        return;
    ERR_clear_error();
    if (c->ssl && SSL_is_init_finished(c->ssl) && !c->record)
        SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    free(c->record);
    loop_remove(l, c->fd);
    close(c->fd);
    c->fd = -1;
    c->ssl = NULL;
    c->record = NULL;
}

static long conn_tls_result(struct conn *c, int n)
{
    int why = SSL_get_error(c->ssl, n);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return CONN_AGAIN;
    return why == SSL_ERROR_ZERO_RETURN ? 0 : CONN_FAILED;
}

static long conn_tls_read(struct conn *c, char *out, size_t room)
{
    ERR_clear_error();
    int n = SSL_read(c->ssl, out, room > INT32_MAX ? INT32_MAX : (int)room);
    return n > 0 ? n : conn_tls_result(c, n);
}

/* Tries the record again that waits. 1: it went; 0: it waits on; CONN_FAILED. */
static long conn_tls_flush(struct conn *c)
{
    if (!c->record)
        return 1;
    ERR_clear_error();
    int n = SSL_write(c->ssl, c->record->at, (int)c->record->n);
    if (n <= 0)
        return conn_tls_result(c, n) == CONN_AGAIN ? 0 : CONN_FAILED;
    free(c->record);
    c->record = NULL;
    return 1;
}

static long conn_tls_write(struct conn *c, const char *bytes, size_t n)
{
    long flushed = conn_tls_flush(c);
    if (flushed <= 0)
        return flushed;
    size_t done = 0;
    while (done < n) {
        size_t part = n - done < RECORD ? n - done : RECORD;
        ERR_clear_error();
        int k = SSL_write(c->ssl, bytes + done, (int)part);
        if (k <= 0 && conn_tls_result(c, k) != CONN_AGAIN)
            return CONN_FAILED;
        done += k > 0 ? (size_t)k : part;
        if (k > 0)
            continue;
        c->record = mem_alloc(sizeof *c->record);
        c->record->n = part;
        memcpy(c->record->at, bytes + done - part, part);
        break;
    }
    return (long)done;
}

long conn_read(struct conn *c, char *out, size_t room)
{
    if (c->ssl)
        return conn_tls_read(c, out, room);
    ssize_t n = recv(c->fd, out, room, 0);
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? CONN_AGAIN : CONN_FAILED;
}

long conn_write(struct conn *c, const char *bytes, size_t n)
{
    if (c->ssl)
        return conn_tls_write(c, bytes, n);
    ssize_t k = send(c->fd, bytes, n, MSG_NOSIGNAL);
    if (k >= 0)
        return k;
    return errno == EAGAIN || errno == EINTR ? 0 : CONN_FAILED;
}

void conn_end_write(struct conn *c)
{
    ERR_clear_error();
    if (c->ssl && SSL_is_init_finished(c->ssl) && !c->record)
        SSL_shutdown(c->ssl);
    shutdown(c->fd, SHUT_WR);
}

bool conn_is_ready(const struct conn *c)
{
    return !c->ssl || SSL_is_init_finished(c->ssl);
}

size_t conn_pending(const struct conn *c)
{
    return c->record ? c->record->n : 0;
}

const struct x509_st *conn_certificate(const struct conn *c)
{
    return c->ssl && SSL_get_verify_mode(c->ssl) != SSL_VERIFY_NONE ? SSL_get0_peer_certificate(c->ssl) : NULL;
}

const char *conn_handshake_error(const struct conn *c)
{
    long refused = c->ssl ? SSL_get_verify_result(c->ssl) : X509_V_OK;
    unsigned long code = ERR_peek_error();
    bool gone = ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    return refused != X509_V_OK ? X509_verify_cert_error_string(refused) : gone ? NULL : ERR_reason_error_string(code);
}
