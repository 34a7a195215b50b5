/* SPDX-License-Identifier: MIT */
/* A ring of sends. */
#include "fanout_uring.h"
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "bridge/lib/mem.h"

enum { ENTRIES = 1024 };

struct uring {
    int fd;
    unsigned waiting, done_head;
    _Atomic unsigned *sq_tail, *cq_head, *cq_tail;
    unsigned sq_mask, cq_mask, *array;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
};

static void *uring_map(int fd, size_t bytes, off_t what)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, what);
    CHECK(at != MAP_FAILED);
    return at;
}

struct uring *uring_new(void)
{
    struct io_uring_params p = { .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN };
    struct uring *u = mem_alloc(sizeof *u);
    u->fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &p);
    if (u->fd < 0) {
        perror("io_uring_setup");
        exit(1);
    }
    char *sq = uring_map(u->fd, p.sq_off.array + p.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
    char *cq = uring_map(u->fd, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
    u->sqes = uring_map(u->fd, p.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
    u->sq_tail = (void *)(sq + p.sq_off.tail);
    u->array = (void *)(sq + p.sq_off.array);
    u->sq_mask = p.sq_entries - 1;
    u->cq_head = (void *)(cq + p.cq_off.head);
    u->cq_tail = (void *)(cq + p.cq_off.tail);
    u->cqes = (void *)(cq + p.cq_off.cqes);
    u->cq_mask = p.cq_entries - 1;
    return u;
}

void uring_finish(struct uring *u)
{
    if (!u->waiting)
        return;
    long n = syscall(SYS_io_uring_enter, u->fd, u->waiting, u->waiting, IORING_ENTER_GETEVENTS, NULL, 0);
    CHECK(n == (long)u->waiting);
    unsigned head = atomic_load_explicit(u->cq_head, memory_order_relaxed),
             tail = atomic_load_explicit(u->cq_tail, memory_order_acquire);
    CHECK(tail - head == u->waiting);
    for (; head != tail; head++) {
        const struct io_uring_cqe *c = &u->cqes[head & u->cq_mask];
        if (c->res > 0)
            *(uint64_t *)(uintptr_t)c->user_data += (uint64_t)c->res;
    }
    atomic_store_explicit(u->cq_head, head, memory_order_release);
    u->waiting = 0;
}

void uring_send(struct uring *u, int fd, const char *bytes, size_t n, uint64_t *sent)
{
    if (u->waiting == ENTRIES)
        uring_finish(u);
    unsigned tail = atomic_load_explicit(u->sq_tail, memory_order_relaxed), at = tail & u->sq_mask;
    u->sqes[at] = (struct io_uring_sqe){ .opcode = IORING_OP_SEND,
                                         .fd = fd,
                                         .addr = (uintptr_t)bytes,
                                         .len = (unsigned)n,
                                         .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL,
                                         .user_data = (uintptr_t)sent };
    u->array[at] = at;
    atomic_store_explicit(u->sq_tail, tail + 1, memory_order_release);
    u->waiting++;
}
