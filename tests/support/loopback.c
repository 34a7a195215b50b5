/* SPDX-License-Identifier: MIT */
/* TCP on 127.0.0.1. */
#include "tests/support/loopback.h"
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bridge/lib/mem.h"

enum { BACKLOG = 4096 };

static struct sockaddr_in loopback_address(int port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

int loopback_listen(int *port)
{
    struct sockaddr_in a = loopback_address(0);
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, n) == 0 && listen(fd, BACKLOG) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&a, &n) == 0);
    *port = ntohs(a.sin_port);
    return fd;
}

int loopback_connect(int port)
{
    struct sockaddr_in a = loopback_address(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    return fd;
}

int loopback_connect_from(const char *own, int port)
{
    struct sockaddr_in a = loopback_address(port), from = loopback_address(0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(inet_pton(AF_INET, own, &from.sin_addr) == 1);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&from, sizeof from) == 0);
    CHECK(connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    return fd;
}

int loopback_free_port(void)
{
    int port;
    close(loopback_listen(&port));
    return port;
}
