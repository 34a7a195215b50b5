/* SPDX-License-Identifier: MIT */
/* Addresses in text, binding and accepting. */
#include "bridge/net/listen.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "bridge/lib/mem.h"
#include "bridge/lib/str.h"

enum { BACKLOG = 4096 };

union listen_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

static bool listen_is_local(const char *address)
{
    return strncmp(address, "unix:", 5) == 0;
}

bool listen_is_private(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]:", 6) == 0
           || strncmp(address, "localhost:", 10) == 0 || listen_is_local(address);
}

/* "127.0.0.1:8080" or "[::1]:8080": the length of the address, or 0 with *e set. */
static socklen_t listen_parse_tcp(const char *text, union listen_address *out, struct err *e)
{
    const char *shape = "an address: write 127.0.0.1:8080, [::1]:8080 or unix:/path";
    const char *colon = strrchr(text, ':');
    char host[INET6_ADDRSTRLEN + 2];
    size_t n = colon ? (size_t)(colon - text) : 0;
    if (n == 0 || n >= sizeof host)
        return err_set(e, "\"%s\" is not %s", text, shape);
    memcpy(host, text, n);
    host[n] = 0;
    uint64_t port;
    if (!str_to_u64(str_of(colon + 1), &port) || port > UINT16_MAX)
        return err_set(e, "\"%s\" is not an address: the port must be 0 to 65535", text);
    memset(out, 0, sizeof *out);
    if (host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = 0;
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons((uint16_t)port);
        if (inet_pton(AF_INET6, host + 1, &out->v6.sin6_addr) == 1)
            return sizeof out->v6;
    } else {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons((uint16_t)port);
        if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &out->v4.sin_addr) == 1)
            return sizeof out->v4;
    }
    return err_set(e, "\"%s\" is not %s", text, shape);
}

static socklen_t listen_parse_local(const char *text, union listen_address *out, struct err *e)
{
    size_t n = strlen(text + 5);
    if (n == 0 || n >= sizeof out->local.sun_path)
        return err_set(e, "\"%s\" is not an address: a socket's path has 1 to %zu bytes", text,
                       sizeof out->local.sun_path - 1);
    memset(out, 0, sizeof *out);
    out->local.sun_family = AF_UNIX;
    memcpy(out->local.sun_path, text + 5, n);
    return sizeof out->local;
}

/* A socket file that nobody answers at was left behind by a dead process: removed. Anything else stays. */
static void listen_remove_stale(const union listen_address *a)
{
    struct stat st;
    if (lstat(a->local.sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (connect(fd, &a->any, sizeof a->local) != 0 && errno == ECONNREFUSED)
        unlink(a->local.sun_path);
    close(fd);
}

/* Binds; only this user may connect. Keeps errno of bind. */
static bool listen_bind_local(int fd, const union listen_address *a, socklen_t n)
{
    listen_remove_stale(a);
    mode_t before = umask(0177);
    int bound = bind(fd, &a->any, n);
    int why = errno;
    umask(before);
    errno = why;
    return bound == 0;
}

static bool listen_bind_tcp(int fd, const union listen_address *a, socklen_t n)
{
    /* Accepted connections inherit TCP_NODELAY. */
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return bind(fd, &a->any, n) == 0;
}

static socklen_t listen_parse(const char *text, union listen_address *out, struct err *e)
{
    return listen_is_local(text) ? listen_parse_local(text, out, e) : listen_parse_tcp(text, out, e);
}

bool listen_check(const char *address, struct err *e)
{
    union listen_address a;
    return listen_parse(address, &a, e) > 0;
}

static const char *listen_hint(int why)
{
    return why == EADDRINUSE      ? "; another program has it: stop that one, or choose another address"
           : why == EADDRNOTAVAIL ? "; this machine has no such address"
           : why == EACCES        ? "; ports below 1024 need CAP_NET_BIND_SERVICE, a socket's folder must be writable"
                                  : "";
}

bool listen_is_possible(const char *address, struct err *e)
{
    union listen_address a = { 0 };
    socklen_t n = listen_is_local(address) ? 0 : listen_parse(address, &a, e);
    int fd = n ? socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    bool refused = fd >= 0 && !listen_bind_tcp(fd, &a, n) && (errno == EADDRNOTAVAIL || errno == EACCES);
    int why = errno;
    if (fd >= 0)
        close(fd);
    return !refused || err_set(e, "cannot listen on %s: %s%s", address, strerror(why), listen_hint(why));
}

/* ---- what is held for who comes next ---- */

struct listen_held {
    char *address;
    int fd;
    struct listen_held *next;
};

static struct {
    pthread_mutex_t lock; /* guards what follows */
    bool on;
    struct listen_held *first;
} listen_holds = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Keeps a descriptor that is given up; false: it is to be closed. */
static bool listen_keep(int fd, const char *address)
{
    pthread_mutex_lock(&listen_holds.lock);
    bool on = listen_holds.on;
    if (on) {
        struct listen_held *held = mem_alloc(sizeof *held);
        *held = (struct listen_held){ str_dup(str_of(address)), fd, listen_holds.first };
        listen_holds.first = held;
    }
    pthread_mutex_unlock(&listen_holds.lock);
    return on;
}

/* What is held of that address; -1: nothing. */
static int listen_take(const char *address)
{
    int fd = -1;
    pthread_mutex_lock(&listen_holds.lock);
    for (struct listen_held **at = &listen_holds.first, *held; fd < 0 && (held = *at);) {
        if (strcmp(held->address, address) != 0) {
            at = &held->next;
            continue;
        }
        fd = held->fd;
        *at = held->next;
        free(held->address);
        free(held);
    }
    pthread_mutex_unlock(&listen_holds.lock);
    return fd;
}

static void listen_end(int fd, const char *address)
{
    close(fd);
    if (listen_is_local(address))
        unlink(address + 5);
}

static void listen_end_all(struct listen_held *held)
{
    for (struct listen_held *next; held; held = next) {
        next = held->next;
        listen_end(held->fd, held->address);
        free(held->address);
        free(held);
    }
}

void listen_hold(bool on)
{
    pthread_mutex_lock(&listen_holds.lock);
    struct listen_held *left = on ? NULL : listen_holds.first;
    listen_holds.first = on ? listen_holds.first : NULL;
    listen_holds.on = on;
    pthread_mutex_unlock(&listen_holds.lock);
    listen_end_all(left);
}

/* What is held of the same port, in another spelling or of other addresses, gives way. False: nothing is. */
static bool listen_give_way(const char *address)
{
    struct listen_held *same = NULL;
    pthread_mutex_lock(&listen_holds.lock);
    for (struct listen_held **at = &listen_holds.first, *held; (held = *at);) {
        const char *port = strrchr(held->address, ':'), *wanted = strrchr(address, ':');
        if (!port || !wanted || strcmp(port, wanted) != 0) {
            at = &held->next;
            continue;
        }
        *at = held->next;
        held->next = same;
        same = held;
    }
    pthread_mutex_unlock(&listen_holds.lock);
    listen_end_all(same);
    return same != NULL;
}

/* Binds and listens: the descriptor; -1 with *e. */
static int listen_begin(const char *address, const union listen_address *a, socklen_t n, struct err *e)
{
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool local = listen_is_local(address);
    bool bound = fd >= 0 && (local ? listen_bind_local(fd, a, n) : listen_bind_tcp(fd, a, n));
    if (fd >= 0 && !bound && errno == EADDRINUSE && !local && listen_give_way(address))
        bound = listen_bind_tcp(fd, a, n);
    if (bound && listen(fd, BACKLOG) == 0)
        return fd;
    err_set(e, "cannot listen on %s: %s%s", address, strerror(errno), listen_hint(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

int listen_open(const char *address, int *port, struct err *e)
{
    union listen_address a = { 0 };
    socklen_t n = listen_parse(address, &a, e);
    if (n == 0)
        return -1;
    int held = listen_take(address), fd = held >= 0 ? held : listen_begin(address, &a, n, e);
    if (fd < 0)
        return -1;
    n = sizeof a;
    getsockname(fd, &a.any, &n);
    *port = listen_is_local(address) ? 0 : ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
    return fd;
}

void listen_network_v6(const unsigned char address[16], char network[LISTEN_NETWORK])
{
    static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
    unsigned char prefix[16] = { 0 };
    if (memcmp(address, mapped, sizeof mapped) == 0) {
        inet_ntop(AF_INET, address + 12, network, LISTEN_NETWORK);
        return;
    }
    memcpy(prefix, address, 8);
    char text[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, prefix, text, sizeof text);
    snprintf(network, LISTEN_NETWORK, "%s/64", text);
}

void listen_name(const struct address *a, int port, char peer[LISTEN_PEER], char network[LISTEN_NETWORK])
{
    char text[INET6_ADDRSTRLEN], behind[8] = "";
    if (port)
        snprintf(behind, sizeof behind, ":%hu", (unsigned short)port);
    listen_network_v6(a->at, network);
    if (strchr(network, ':') == NULL)
        snprintf(peer, LISTEN_PEER, "%.45s%s", network, behind);
    else
        snprintf(peer, LISTEN_PEER, "[%s]%s", inet_ntop(AF_INET6, a->at, text, sizeof text), behind);
}

int listen_accept(int fd, char peer[LISTEN_PEER], char network[LISTEN_NETWORK])
{
    union listen_address a = { 0 }; /* a local peer has no address: nothing is written */
    struct address from;
    socklen_t n = sizeof a;
    int taken = accept4(fd, &a.any, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (taken < 0)
        return -1;
    if (a.any.sa_family == AF_INET) {
        address_map(&a.v4.sin_addr, &from);
        listen_name(&from, ntohs(a.v4.sin_port), peer, network);
    } else if (a.any.sa_family == AF_INET6) {
        memcpy(from.at, &a.v6.sin6_addr, sizeof from.at);
        listen_name(&from, ntohs(a.v6.sin6_port), peer, network);
    } else {
        snprintf(peer, LISTEN_PEER, "unix");
        snprintf(network, LISTEN_NETWORK, "unix");
    }
    return taken;
}

void listen_close(int fd, const char *address)
{
    if (!listen_keep(fd, address))
        listen_end(fd, address);
}
