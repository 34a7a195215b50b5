/* SPDX-License-Identifier: MIT */
/* Drives libcurl transfers by epoll with as few system calls as can be. */
#include "connectors/webhook/multi.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bridge/lib/mem.h"

enum { EVENTS_PER_WAIT = 256 };

static struct multi_socket *multi_socket_of(struct multi *m, int fd)
{
    CHECK(fd >= 0);
    if ((size_t)fd >= m->socket_count) {
        size_t count = ((size_t)fd + 1) * 2;
        m->sockets = mem_grow(m->sockets, count, sizeof *m->sockets);
        memset(m->sockets + m->socket_count, 0, (count - m->socket_count) * sizeof *m->sockets);
        m->socket_count = count;
    }
    return &m->sockets[fd];
}

/* Takes the descriptor out of epoll. */
static void multi_forget(struct multi *m, int fd)
{
    epoll_ctl(m->epoll, EPOLL_CTL_DEL, fd, NULL);
    multi_socket_of(m, fd)->known = 0;
}

/* libcurl wants other events of a socket: recorded here, applied before the next wait. */
static int multi_on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *unused)
{
    (void)easy, (void)unused;
    struct multi *m = ctx;
    struct multi_socket *s = multi_socket_of(m, fd);
    s->wanted = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    if (what == CURL_POLL_REMOVE) {
        s->wanted = 0;
        if (!s->ours && s->known) /* the resolver's own pipe, closed after this call without a callback */
            multi_forget(m, fd);
        return 0;
    }
    if (s->listed || s->wanted == s->known)
        return 0;
    if (m->changed_count == m->changed_cap) {
        m->changed_cap = m->changed_cap ? 2 * m->changed_cap : 64;
        m->changed = mem_grow(m->changed, m->changed_cap, sizeof *m->changed);
    }
    m->changed[m->changed_count++] = fd;
    s->listed = true;
    return 0;
}

/* libcurl wants to be called at another time. */
static int multi_on_timer(CURLM *curl, long timeout_ms, void *ctx)
{
    (void)curl;
    struct multi *m = ctx;
    m->due_us = timeout_ms < 0 ? INT64_MAX : clock_mono_us() + timeout_ms * 1000;
    return 0;
}

static void multi_keep_address(struct multi_opened *o, const struct curl_sockaddr *a)
{
    o->address_n = a->addrlen <= sizeof o->address ? a->addrlen : 0;
    memcpy(&o->address, &a->addr, o->address_n);
}

/* The only way to a connection, so a host's address is judged whatever its name was, and each time anew. */
static curl_socket_t multi_on_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
    (void)purpose;
    struct multi_opened *o = ctx;
    struct multi *m = o->m;
    const char *blocked = o->rules ? address_blocked(o->rules, &a->addr) : NULL;
    if (blocked && !o->opened)
        multi_keep_address(o, a);
    if (blocked) {
        o->blocked = blocked;
        return CURL_SOCKET_BAD;
    }
    int fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
    if (fd < 0) {
        o->error = errno;
        return CURL_SOCKET_BAD;
    }
    o->opened = true;
    multi_keep_address(o, a);
    bool listed = multi_socket_of(m, fd)->listed; /* by an earlier socket of that number */
    *multi_socket_of(m, fd) = (struct multi_socket){ .ours = true, .listed = listed, .opened = o, .serial = o->serial };
    return fd;
}

static int multi_on_close(void *ctx, curl_socket_t fd)
{
    struct multi *m = ctx;
    struct multi_socket *s = multi_socket_of(m, fd);
    struct sockaddr_storage peer;
    socklen_t n = sizeof peer;
    struct multi_opened *o = s->opened && s->opened->serial == s->serial ? s->opened : NULL;
    if (o && getpeername(fd, (struct sockaddr *)&peer, &n) == 0)
        o->connected = true;
    *s = (struct multi_socket){ .listed = s->listed, .known = s->known };
    if (o && o->connected && o->keep && o->fd < 0) {
        o->fd = fd;
        return 0;
    }
    s->known = 0;
    return close(fd); /* which takes it out of epoll as well */
}

bool multi_open(struct multi *m, struct err *e)
{
    *m = (struct multi){ .epoll = epoll_create1(EPOLL_CLOEXEC), .wake_fd = -1, .due_us = INT64_MAX };
    if (m->epoll < 0)
        return err_set(e, "epoll: %s", strerror(errno));
    m->curl = curl_multi_init();
    CHECK(m->curl);
    curl_multi_setopt(m->curl, CURLMOPT_SOCKETFUNCTION, multi_on_socket);
    curl_multi_setopt(m->curl, CURLMOPT_SOCKETDATA, m);
    curl_multi_setopt(m->curl, CURLMOPT_TIMERFUNCTION, multi_on_timer);
    curl_multi_setopt(m->curl, CURLMOPT_TIMERDATA, m);
    curl_multi_setopt(m->curl, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    return true;
}

void multi_adopt(struct multi *m, CURL *easy, struct multi_opened *opened)
{
    *opened = (struct multi_opened){ .m = m, .serial = ++m->serial, .fd = -1 };
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, multi_on_open);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, opened);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, multi_on_close);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, m);
}

bool multi_watch(struct multi *m, int fd, multi_ready_fn *ready, void *ctx)
{
    struct multi_socket *s = multi_socket_of(m, fd);
    struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd };
    if (epoll_ctl(m->epoll, s->known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev) != 0)
        return false;
    *s = (struct multi_socket){ .listed = s->listed, .known = ev.events, .ready = ready, .ready_ctx = ctx };
    return true;
}

void multi_unwatch(struct multi *m, int fd)
{
    struct multi_socket *s = multi_socket_of(m, fd);
    *s = (struct multi_socket){ .listed = s->listed };
}

void multi_start(struct multi *m, CURL *easy)
{
    CHECK(curl_multi_add_handle(m->curl, easy) == CURLM_OK);
    m->started++;
    m->running++;
}

void multi_stop(struct multi *m, CURL *easy)
{
    for (size_t i = m->ended_at; i < m->ended_count; i++)
        if (m->ended[i].easy == easy)
            m->ended[i].easy = NULL;
    curl_multi_remove_handle(m->curl, easy);
    m->started--;
    m->running = m->started; /* until libcurl, which is asked at once, counts anew */
    m->due_us = 0;
}

/* Tells epoll what changed since the last wait. */
static void multi_apply_changes(struct multi *m)
{
    for (size_t i = 0; i < m->changed_count; i++) {
        int fd = m->changed[i];
        struct multi_socket *s = multi_socket_of(m, fd);
        s->listed = false;
        if (s->wanted == 0 || s->wanted == s->known)
            continue;
        struct epoll_event ev = { .events = s->wanted, .data.fd = fd };
        if (epoll_ctl(m->epoll, s->known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev) == 0)
            s->known = s->wanted;
    }
    m->changed_count = 0;
}

/* Has epoll watch this wake_fd in place of the last one. */
static void multi_watch_wake_fd(struct multi *m, int wake_fd)
{
    if (m->wake_fd == wake_fd)
        return;
    if (m->wake_fd >= 0)
        epoll_ctl(m->epoll, EPOLL_CTL_DEL, m->wake_fd, NULL);
    struct epoll_event ev = { .events = EPOLLIN, .data.fd = wake_fd };
    CHECK(wake_fd < 0 || epoll_ctl(m->epoll, EPOLL_CTL_ADD, wake_fd, &ev) == 0);
    m->wake_fd = wake_fd;
}

/* Calls libcurl as long as it is due, within a limit. */
static void multi_run_timers(struct multi *m)
{
    for (int turns = 0; turns < 8 && clock_mono_us() >= m->due_us; turns++) { /* often it is due again at once */
        m->due_us = INT64_MAX;
        curl_multi_socket_action(m->curl, CURL_SOCKET_TIMEOUT, 0, &m->running);
    }
}

static int multi_wait_ms(const struct multi *m, struct duration wait)
{
    if (m->ready || m->running < m->started) /* one ended already: a fast answer was there right behind the request */
        return 0;
    if (m->due_us == INT64_MAX)
        return (int)(wait.ms > INT32_MAX ? INT32_MAX : wait.ms);
    int64_t left_us = m->due_us - clock_mono_us();
    int64_t ms = left_us <= 0 ? 0 : (left_us + 999) / 1000;
    ms = ms < wait.ms ? ms : wait.ms;
    return (int)(ms > INT32_MAX ? INT32_MAX : ms);
}

bool multi_run(struct multi *m, int wake_fd, struct duration wait)
{
    multi_watch_wake_fd(m, wake_fd);
    multi_run_timers(m);
    multi_apply_changes(m);
    struct epoll_event events[EVENTS_PER_WAIT];
    int n = epoll_wait(m->epoll, events, EVENTS_PER_WAIT, multi_wait_ms(m, wait));
    bool woken = false;
    for (int i = 0; i < n; i++) {
        int fd = events[i].data.fd;
        if (fd == m->wake_fd) {
            woken = true;
            continue;
        }
        struct multi_socket *s = multi_socket_of(m, fd);
        if (s->ready) {
            s->ready(s->ready_ctx, events[i].events);
            continue;
        }
        if (s->wanted == 0) { /* an idle connection: libcurl looks when it wants to reuse it */
            multi_forget(m, fd);
            continue;
        }
        int what = (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0)
                   | (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0)
                   | (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
        curl_multi_socket_action(m->curl, fd, what, &m->running);
    }
    multi_run_timers(m);
    return woken;
}

/* Takes in what libcurl says has ended. */
static void multi_hear(struct multi *m)
{
    int left;
    m->ended_at = m->ended_count = 0;
    for (CURLMsg *msg; (msg = curl_multi_info_read(m->curl, &left));) {
        if (msg->msg != CURLMSG_DONE)
            continue;
        if (m->ended_count == m->ended_cap) {
            m->ended_cap = m->ended_cap ? 2 * m->ended_cap : 64;
            m->ended = mem_grow(m->ended, m->ended_cap, sizeof *m->ended);
        }
        m->ended[m->ended_count++] = (struct multi_ended){ msg->easy_handle, msg->data.result };
    }
}

CURL *multi_done(struct multi *m, CURLcode *code)
{
    if (m->ended_at == m->ended_count)
        multi_hear(m);
    while (m->ended_at < m->ended_count) {
        struct multi_ended *e = &m->ended[m->ended_at++];
        if (!e->easy)
            continue;
        *code = e->code;
        m->started--;
        return e->easy;
    }
    return NULL;
}

void multi_take_out(struct multi *m, CURL *easy)
{
    curl_multi_remove_handle(m->curl, easy);
}

void multi_close(struct multi *m)
{
    if (m->curl) {
        curl_multi_cleanup(m->curl);
        close(m->epoll);
    }
    free(m->sockets);
    free(m->changed);
    free(m->ended);
    *m = (struct multi){ 0 };
}
