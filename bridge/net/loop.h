/* SPDX-License-Identifier: MIT */
/* A small epoll loop. One thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_handler {                                       /* embed it in what the fd belongs to */
    void (*ready)(struct loop_handler *h, uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLHUP ... */
};

struct loop *loop_new(void);
void loop_free(struct loop *l);
/* Level-triggered unless EPOLLET is asked for. */
bool loop_add(struct loop *l, int fd, uint32_t events, struct loop_handler *h);
void loop_change(struct loop *l, int fd, uint32_t events, struct loop_handler *h);
void loop_remove(struct loop *l, int fd); /* before the fd is closed; events already fetched for it are not delivered */
/* Waits at most wait_ms (-1: no limit) and calls handlers. Returns soon after wake_fd (or -1: none) is readable,
 * without reading it. */
void loop_run(struct loop *l, int wake_fd, int wait_ms);
int loop_fd(const struct loop *l); /* the epoll fd, for nesting in another poll */
