/* SPDX-License-Identifier: MIT */
/* The scripted HTTP receiver of the webhook tests. */
#include "tests/support/receiver.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <openssl/err.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bridge/lib/mem.h"
#include "tests/support/loopback.h"
#include "tests/support/tls_receiver.h"

enum { TICK_MS = 5 };

struct conn {
    int fd;
    struct buf in;
    const char *drip;       /* sent once per tick, for ever */
    bool close_soon, dying; /* dying: the next byte resets it */
    bool answered;          /* early */
    const char *later;      /* said once, soon; "": new keys */
    SSL *ssl;               /* NULL: plain */
};

/* Until the descriptor, which does not block, can do what OpenSSL wants; false: that is not what it wants. */
static bool wait_for(struct conn *c, int result)
{
    int why = SSL_get_error(c->ssl, result);
    struct pollfd p = { .fd = c->fd, .events = why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT };
    return (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) && poll(&p, 1, 1000) == 1;
}

static void say(struct conn *c, const char *text)
{
    int n = (int)strlen(text), result;
    if (n == 0)
        return;
    if (!c->ssl) {
        if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL) < 0)
            return; /* the sink gave up first: part of the game */
        return;
    }
    do
        result = SSL_write(c->ssl, text, n);
    while (result <= 0 && wait_for(c, result));
    ERR_clear_error();
}

/* Bytes that came; 0: the end; -1: none for now. */
static ssize_t hear(struct conn *c, char *bytes, size_t room)
{
    if (!c->ssl) {
        ssize_t n = recv(c->fd, bytes, room, MSG_DONTWAIT);
        return n < 0 && errno != EAGAIN ? 0 : n;
    }
    int n = SSL_read(c->ssl, bytes, (int)room), why = SSL_get_error(c->ssl, n);
    ERR_clear_error();
    return n > 0 ? n : why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? -1 : 0;
}

static void shake_hands(struct conn *c)
{
    int result;
    do
        result = SSL_do_handshake(c->ssl);
    while (result <= 0 && wait_for(c, result));
}

/* A ticket and new keys; of TLS 1.2 the wish for another handshake. */
static void say_new_keys(struct conn *c)
{
    if (!c->ssl)
        return;
    if (SSL_version(c->ssl) == TLS1_2_VERSION) {
        CHECK(SSL_renegotiate(c->ssl) == 1 && SSL_do_handshake(c->ssl) == 1);
        return;
    }
    CHECK(SSL_new_session_ticket(c->ssl) == 1);
    shake_hands(c);
    CHECK(SSL_key_update(c->ssl, SSL_KEY_UPDATE_REQUESTED) == 1);
    shake_hands(c);
}

/* 400 KiB in one header, or in headers of 1 KiB each. */
static void say_long_headers(struct conn *c, bool one)
{
    char piece[1025];
    memset(piece, 'x', sizeof piece - 1);
    piece[sizeof piece - 1] = '\0';
    say(c, "HTTP/1.1 200 OK\r\nX-Long: ");
    for (int i = 0; i < 400; i++) {
        say(c, piece);
        say(c, one ? "" : "\r\nX-Long: ");
    }
    say(c, "\r\nContent-Length: 0\r\n\r\n");
}

static void drop(struct conn *c, bool reset)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };
    if (reset)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    else if (c->ssl && SSL_is_init_finished(c->ssl))
        SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    ERR_clear_error();
    close(c->fd);
    buf_free(&c->in);
    *c = (struct conn){ .fd = -1 };
}

static void answer_status(struct conn *c, int status, const char *headers, const char *body)
{
    char text[1024];
    snprintf(text, sizeof text, "HTTP/1.1 %d Whatever\r\n%sContent-Length: %zu\r\n\r\n%s", status, headers,
             status == 204 ? 0 : strlen(body), status == 204 ? "" : body);
    say(c, text);
}

static void answer_raw(struct conn *c, const char *name)
{
    static const struct {
        const char *name, *text;
        bool close;
    } answers[] = {
        { "chunked",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n", false },
        { "old", "HTTP/1.0 200 OK\nContent-Length: 5\n\nabcde", true },
        { "unsized", "HTTP/1.1 200 OK\r\n\r\nabcde", true },
        { "interim",
          "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
          false },
        { "more", "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", false },
        { "last", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", true },
        { "broken-length", "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n", false },
        { "broken-chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false },
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        if (!strcmp(name, answers[i].name)) {
            say(c, answers[i].text);
            if (answers[i].close)
                drop(c, false);
            return;
        }
}

/* By what the request's body is, or the test says; false: the path does not say so. */
static bool answer_as_said(struct receiver *r, struct conn *c, const char *path)
{
    char text[64], quoted[68];
    unsigned long most;
    int status = atomic_load(&r->told);
    bool hit;
    if (!strcmp(path, "/told"))
        hit = true;
    else if (sscanf(path, "/above/%lu/%d", &most, &status) == 2)
        hit = r->last_body.n > most;
    else if (sscanf(path, "/on/%63[^/]/%d", text, &status) == 2) {
        int n = snprintf(quoted, sizeof quoted, "\"%s\"", text);
        hit = memmem(r->last_body.at, r->last_body.n, quoted, (size_t)n);
    } else
        return false;
    answer_status(c, hit ? status : 204, "", "the receiver's words");
    return true;
}

/* Answers one whole request; `path` is NUL-terminated. */
static void answer(struct conn *c, const char *path)
{
    char line[256];
    int status;
    if (sscanf(path, "/status/%d", &status) == 1) {
        answer_status(c, status, "", "the receiver's words");
    } else if (!strncmp(path, "/after/", 7)) {
        snprintf(line, sizeof line, "Retry-After: %s\r\n", path + 7);
        for (char *at = line + 13; *at; at++)
            *at = *at == '_' ? ' ' : *at;
        answer_status(c, 429, line, "");
    } else if (!strncmp(path, "/delivery/", 10)) {
        snprintf(line, sizeof line, "webhook-delivery: %s\r\n", path + 10);
        answer_status(c, 500, line, "");
    } else if (!strcmp(path, "/gone")) {
        answer_status(c, 410, "", "\x1b[31mno\tmore \r\n\r\n of it\x7f \xc3\xa9");
    } else if (!strcmp(path, "/reset")) {
        drop(c, true);
    } else if (!strcmp(path, "/close")) {
        drop(c, false);
    } else if (!strcmp(path, "/slow")) {
        say(c, "HTTP/1.1 200 OK\r\nX-Slow: ");
        c->drip = "a";
    } else if (!strcmp(path, "/endless")) {
        say(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        c->drip = "400\r\n"
#define DRIP_64  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DRIP_256 DRIP_64 DRIP_64 DRIP_64 DRIP_64
            DRIP_256 DRIP_256 DRIP_256 DRIP_256 "\r\n";
    } else if (!strcmp(path, "/continue")) {
        c->drip = "HTTP/1.1 100 Continue\r\n\r\n";
    } else if (!strcmp(path, "/short")) {
        say(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
        drop(c, false);
    } else if (!strcmp(path, "/once")) {
        answer_status(c, 204, "", "");
        c->close_soon = true;
    } else if (!strcmp(path, "/half")) {
        answer_status(c, 204, "", "");
        if (c->ssl)
            SSL_shutdown(c->ssl);
        shutdown(c->fd, SHUT_WR);
    } else if (!strcmp(path, "/dying")) {
        answer_status(c, 204, "", "");
        c->dying = true;
    } else if (!strcmp(path, "/later") || !strcmp(path, "/rekey")) {
        answer_status(c, 204, "", "");
        c->later = path[1] == 'l' ? "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n" : "";
    } else if (!strcmp(path, "/torn")) {
        say(c, "HTTP/1.1 200 OK\r\n\r\nsome");
        SSL_free(c->ssl);
        c->ssl = NULL;
        drop(c, false);
    } else if (!strcmp(path, "/long-header")) {
        say_long_headers(c, true);
    } else if (!strcmp(path, "/many-headers")) {
        say_long_headers(c, false);
    } else if (!strcmp(path, "/redirect")) {
        answer_status(c, 302, "Location: /status/204\r\n", "");
    } else if (!strncmp(path, "/redirect/", 10)) {
        snprintf(line, sizeof line, "Location: http://%s/\r\n", path + 10);
        answer_status(c, 302, line, "");
    } else if (!strncmp(path, "/raw/", 5)) {
        answer_raw(c, path + 5);
    } else if (!strcmp(path, "/garbage")) {
        say(c, "SSH-2.0-this is no HTTP\r\n\r\n");
        drop(c, false);
    } else if (strcmp(path, "/hang") && strcmp(path, "/early")) {
        answer_status(c, 404, "", "");
    }
}

/* Takes a whole request from the front of c->in, if there is one. */
static bool take_request(struct receiver *r, struct conn *c)
{
    const char *end = c->in.n ? memmem(c->in.at, c->in.n, "\r\n\r\n", 4) : NULL;
    if (!end)
        return false;
    size_t head = (size_t)(end - c->in.at) + 4;
    const char *length = memmem(c->in.at, head, "Content-Length: ", 16);
    size_t body = length ? strtoul(length + 16, NULL, 10) : 0;
    char path[128] = "";
    const char *url = c->in.at + strcspn(c->in.at, " ") + 1; /* behind the method */
    if (!strncmp(url, "http://", 7))
        url = strchr(url + 7, '/');
    snprintf(path, sizeof path, "%.*s", (int)strcspn(url, " "), url);
    if (!strcmp(path, "/early") && !c->answered) {
        answer_status(c, 200, "", "");
        c->answered = true;
    }
    if (c->in.n < head + body)
        return false;
    c->answered = false;
    pthread_mutex_lock(&r->lock);
    buf_reset(&r->last_head);
    buf_reset(&r->last_body);
    buf_add(&r->last_head, c->in.at, head);
    buf_add(&r->last_body, c->in.at + head, body);
    buf_add(&r->bodies, c->in.at + head, body);
    buf_add_char(&r->bodies, '\n');
    pthread_mutex_unlock(&r->lock);
    atomic_fetch_add(&r->requests, 1);
    buf_drop(&c->in, head + body);
    if (!answer_as_said(r, c, path))
        answer(c, path);
    return true;
}

static void serve(struct receiver *r, struct conn *c)
{
    char bytes[65536];
    if (c->dying) {
        drop(c, true);
        return;
    }
    ssize_t n;
    while (c->fd >= 0 && !c->dying && (n = hear(c, bytes, sizeof bytes)) >= 0) {
        if (n == 0) {
            atomic_fetch_add(&r->cut, c->in.n > 0);
            drop(c, false);
            return;
        }
        buf_add(&c->in, bytes, (size_t)n);
        while (c->fd >= 0 && take_request(r, c))
            ;
        if (!c->ssl) /* poll() tells of the rest, but of nothing that OpenSSL has read */
            return;
    }
}

/* Until the other side's kernel has all that was said: a busy machine delivers later than send() returns. */
static void wait_for_arrival(const struct receiver *r, const struct conn *c)
{
    int waiting = 0;
    while (!atomic_load(&r->stop) && ioctl(c->fd, SIOCOUTQ, &waiting) == 0 && waiting > 0)
        usleep(100);
}

static void tick(struct receiver *r, struct conn *c)
{
    if (c->fd >= 0 && c->later) {
        say(c, c->later);
        if (!*c->later)
            say_new_keys(c);
        c->later = NULL;
        wait_for_arrival(r, c);
        atomic_fetch_add(&r->later, 1);
    }
    if (c->fd >= 0 && c->drip)
        say(c, c->drip);
    if (c->fd >= 0 && c->close_soon)
        drop(c, false);
}

static void begin(struct receiver *r, struct conn *c)
{
    *c = (struct conn){ .fd = accept(r->listen_fd, NULL, NULL), .in = buf_new(8 << 20) };
    if (!r->tls || c->fd < 0)
        return;
    c->ssl = SSL_new(r->tls);
    CHECK(c->ssl && SSL_set_fd(c->ssl, c->fd) == 1 && fcntl(c->fd, F_SETFL, O_NONBLOCK) == 0);
    SSL_set_accept_state(c->ssl);
}

static void *run(void *ctx)
{
    struct receiver *r = ctx;
    struct conn *conns = mem_alloc(RECEIVER_CONNECTIONS * sizeof *conns);
    for (size_t i = 0; i < RECEIVER_CONNECTIONS; i++)
        conns[i] = (struct conn){ .fd = -1 };
    while (!atomic_load(&r->stop)) {
        struct pollfd fds[RECEIVER_CONNECTIONS + 1] = { { .fd = r->listen_fd, .events = POLLIN } };
        struct conn *of[RECEIVER_CONNECTIONS + 1];
        nfds_t count = 1; /* no more than there are: poll() refuses more than the process may have open */
        for (size_t i = 0; i < RECEIVER_CONNECTIONS; i++)
            if (conns[i].fd >= 0) {
                of[count] = &conns[i];
                fds[count++] = (struct pollfd){ .fd = conns[i].fd, .events = POLLIN };
            }
        if (poll(fds, count, TICK_MS) < 0)
            continue;
        for (nfds_t i = 1; i < count; i++) {
            if (fds[i].revents)
                serve(r, of[i]);
            tick(r, of[i]);
        }
        for (size_t i = 0; fds[0].revents && i < RECEIVER_CONNECTIONS; i++)
            if (conns[i].fd < 0) {
                begin(r, &conns[i]);
                atomic_fetch_add(&r->connections, 1);
                break;
            }
    }
    for (size_t i = 0; i < RECEIVER_CONNECTIONS; i++)
        if (conns[i].fd >= 0)
            drop(&conns[i], false);
    free(conns);
    return NULL;
}

static void start(struct receiver *r)
{
    pthread_mutex_init(&r->lock, NULL);
    r->last_head = buf_new(1 << 20);
    r->last_body = buf_new(8 << 20);
    r->bodies = buf_new(1 << 20);
    r->listen_fd = loopback_listen(&r->port);
    CHECK(pthread_create(&r->thread, NULL, run, r) == 0);
}

void receiver_open(struct receiver *r)
{
    memset(r, 0, sizeof *r);
    start(r);
}

void receiver_open_tls(struct receiver *r, int newest)
{
    memset(r, 0, sizeof *r);
    folder_make(r->folder);
    snprintf(r->certificate, sizeof r->certificate, "%s/receiver.pem", r->folder);
    r->tls = tls_server("IP:127.0.0.1", 3600, r->certificate);
    CHECK(SSL_CTX_set_max_proto_version(r->tls, newest) == 1);
    start(r);
}

void receiver_close(struct receiver *r)
{
    atomic_store(&r->stop, true);
    pthread_join(r->thread, NULL);
    close(r->listen_fd);
    buf_free(&r->last_head);
    buf_free(&r->last_body);
    buf_free(&r->bodies);
    pthread_mutex_destroy(&r->lock);
    if (r->tls)
        folder_remove(r->folder);
    SSL_CTX_free(r->tls);
}

struct receiver receiver;

int receiver_begin(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    receiver_open(&receiver);
    return 0;
}

int receiver_begin_tls(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    receiver_open_tls(&receiver, 0);
    return 0;
}

int receiver_begin_tls_1_2(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    receiver_open_tls(&receiver, TLS1_2_VERSION);
    return 0;
}

int receiver_end(void **state)
{
    (void)state;
    receiver_close(&receiver);
    return 0;
}

char *receiver_header(struct receiver *r, const char *name)
{
    char *value = NULL;
    pthread_mutex_lock(&r->lock);
    struct str rest = buf_str(&r->last_head), line;
    while (!value && str_cut(&rest, '\n', &line)) {
        struct str key;
        if (line.n && str_cut(&line, ':', &key) && line.at && str_eq_nocase(key, str_of(name)))
            value = str_dup(
                str_trim((struct str){ line.at, line.n && line.at[line.n - 1] == '\r' ? line.n - 1 : line.n }));
    }
    pthread_mutex_unlock(&r->lock);
    return value;
}

char *receiver_body(struct receiver *r, size_t *n)
{
    pthread_mutex_lock(&r->lock);
    char *body = str_dup(buf_str(&r->last_body));
    if (n)
        *n = r->last_body.n;
    pthread_mutex_unlock(&r->lock);
    return body;
}

void receiver_forget(struct receiver *r)
{
    pthread_mutex_lock(&r->lock);
    atomic_store(&r->requests, 0);
    buf_reset(&r->bodies);
    pthread_mutex_unlock(&r->lock);
}

char *receiver_bodies(struct receiver *r)
{
    pthread_mutex_lock(&r->lock);
    char *bodies = str_dup(buf_str(&r->bodies));
    pthread_mutex_unlock(&r->lock);
    return bodies;
}
