/* SPDX-License-Identifier: MIT */
/* Reads and writes connections, plain ones by the kernel, others by OpenSSL. */
#include "connectors/webhook/channel.h"

#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "bridge/lib/mem.h"

enum { CHANNEL_RECORD = 16 * 1024 }; /* most that one of TLS holds */

struct channel channel_of(int fd)
{
    return (struct channel){ .fd = fd };
}

/* What libcurl says last, as its error buffer keeps what it said first, be that of no consequence. */
static int channel_hear(CURL *easy, curl_infotype type, char *text, size_t n, void *ctx)
{
    (void)easy;
    n -= n > 0 && text[n - 1] == '\n';
    if (type == CURLINFO_TEXT && n < CURL_ERROR_SIZE) {
        memcpy(ctx, text, n);
        ((char *)ctx)[n] = '\0';
    }
    return 0;
}

/* It also ties the connection to the handle: one that is tied to none is idle, and libcurl's to close. */
static CURLcode channel_tie(struct channel *c, CURL *easy, size_t *n, char said[CURL_ERROR_SIZE])
{
    curl_easy_setopt(easy, CURLOPT_DEBUGFUNCTION, channel_hear);
    curl_easy_setopt(easy, CURLOPT_DEBUGDATA, said);
    curl_easy_setopt(easy, CURLOPT_VERBOSE, 1L);
    CURLcode code = curl_easy_recv(easy, &c->first, 1, n);
    curl_easy_setopt(easy, CURLOPT_VERBOSE, 0L);
    return code;
}

CURLcode channel_take(struct channel *c, CURL *easy, char said[CURL_ERROR_SIZE])
{
    size_t n = 0;
    struct curl_tlssessioninfo *tls = NULL;
    curl_socket_t fd = CURL_SOCKET_BAD;
    *c = (struct channel){ .fd = -1, .easy = easy };
    CURLcode code = channel_tie(c, easy, &n, said);
    if (code == CURLE_OK && n == 0)
        return CURLE_GOT_NOTHING;
    if (code != CURLE_OK && code != CURLE_AGAIN)
        return CURLE_RECV_ERROR;
    c->begun = code == CURLE_OK;
    if (curl_easy_getinfo(easy, CURLINFO_TLS_SSL_PTR, &tls) != CURLE_OK || tls->backend != CURLSSLBACKEND_OPENSSL
        || !(c->ssl = tls->internals))
        return CURLE_NOT_BUILT_IN;
    CHECK(curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd) == CURLE_OK && fd != CURL_SOCKET_BAD);
    c->fd = fd;
    CHECK(SSL_set_fd(c->ssl, fd) == 1); /* in place of libcurl's own way, which it walks within its calls only */
    SSL_CTX_sess_set_new_cb(SSL_get_SSL_CTX(c->ssl), NULL); /* it leads there, too; each session has its context */
    SSL_set_mode(c->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_set_read_ahead(c->ssl, 1);                     /* a record by one system call */
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL); /* it belongs to the transfer that opened the connection */
    return CURLE_OK;
}

static ssize_t channel_lose(struct channel *c, int os_errno, unsigned long tls_error)
{
    c->os_errno = os_errno;
    c->tls_error = tls_error;
    return CHANNEL_LOST;
}

/* What OpenSSL's function, which returned n, did not do. Many a receiver closes its connections without TLS's word for it:
 * an end is an end, as it is to libcurl. */
static ssize_t channel_tls_result(struct channel *c, int n)
{
    int os_errno = errno, why = SSL_get_error(c->ssl, n);
    unsigned long code = ERR_peek_error();
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return CHANNEL_AGAIN;
    if (why == SSL_ERROR_SYSCALL)
        return os_errno ? channel_lose(c, os_errno, 0) : 0;
    if (why == SSL_ERROR_ZERO_RETURN || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return 0;
    return channel_lose(c, 0, code);
}

static void channel_forget_errors(void)
{
    ERR_clear_error();
    errno = 0;
}

static ssize_t channel_send_tls(struct channel *c, const struct iovec parts[2])
{
    char bytes[CHANNEL_RECORD];
    const char *at = parts[1].iov_base;
    size_t n = parts[1].iov_len;
    if (parts[0].iov_len) { /* one record of both: OpenSSL takes one piece */
        size_t of_head = parts[0].iov_len < sizeof bytes ? parts[0].iov_len : sizeof bytes;
        size_t of_body = n < sizeof bytes - of_head ? n : sizeof bytes - of_head;
        memcpy(bytes, parts[0].iov_base, of_head);
        if (of_body)
            memcpy(bytes + of_head, at, of_body);
        at = bytes;
        n = of_head + of_body;
    }
    channel_forget_errors();
    int sent = SSL_write(c->ssl, at, n < CHANNEL_RECORD ? (int)n : CHANNEL_RECORD);
    return sent > 0 ? sent : channel_tls_result(c, sent);
}

ssize_t channel_send(struct channel *c, struct str head, struct str body, size_t sent)
{
    size_t of_body = sent > head.n ? sent - head.n : 0, of_head = sent - of_body;
    struct iovec parts[2] = { { (char *)(uintptr_t)head.at + of_head, head.n - of_head },
                              { (char *)(uintptr_t)body.at + of_body, body.n - of_body } };
    if (c->ssl)
        return channel_send_tls(c, parts);
    struct msghdr m = { .msg_iov = parts, .msg_iovlen = 2 };
    ssize_t n;
    do
        n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n >= 0 ? n : errno == EAGAIN ? CHANNEL_AGAIN : channel_lose(c, errno, 0);
}

static ssize_t channel_recv_plain(struct channel *c, char *out, size_t room, int how)
{
    ssize_t n;
    do
        n = recv(c->fd, out, room, MSG_DONTWAIT | how);
    while (n < 0 && errno == EINTR);
    return n >= 0 ? n : errno == EAGAIN ? CHANNEL_AGAIN : channel_lose(c, errno, 0);
}

ssize_t channel_recv(struct channel *c, char *out, size_t room)
{
    if (!c->ssl)
        return channel_recv_plain(c, out, room, 0);
    if (c->begun) {
        c->begun = false;
        *out = c->first;
        return 1;
    }
    channel_forget_errors();
    int n = SSL_read(c->ssl, out, room < INT32_MAX ? (int)room : INT32_MAX);
    return n > 0 ? n : channel_tls_result(c, n);
}

bool channel_is_quiet(struct channel *c)
{
    char byte;
    bool idle = channel_recv_plain(c, &byte, 1, MSG_PEEK) == CHANNEL_AGAIN;
    if (!c->ssl || (idle && !SSL_has_pending(c->ssl)))
        return idle;
    channel_forget_errors();
    int n = SSL_peek(c->ssl, &byte, 1);
    return n <= 0 && channel_tls_result(c, n) == CHANNEL_AGAIN;
}

void channel_close(struct channel *c, struct multi *m)
{
    if (!c->easy) {
        close(c->fd);
        return;
    }
    ERR_clear_error();
    multi_take_out(m, c->easy);
    curl_easy_cleanup(c->easy);
    ERR_clear_error();
}
