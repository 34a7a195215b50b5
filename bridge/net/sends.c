/* SPDX-License-Identifier: MIT */
/* A ring of sends, by the system calls of io_uring(7). */
#include "bridge/net/sends.h"
#include <errno.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "bridge/lib/mem.h"

struct sends_area { /* that is shared with the kernel */
    void *at;
    size_t bytes;
};

struct sends {
    int fd;
    unsigned waiting; /* added, not handed over */
    struct sends_area submission, completion, entries;
    _Atomic unsigned *sq_head, *sq_tail, *cq_head, *cq_tail;
    unsigned sq_mask, cq_mask;
    struct io_uring_sqe *sqes;
    const struct io_uring_cqe *cqes;
};

static bool sends_map(struct sends *s, struct sends_area *out, size_t bytes, off_t what)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, s->fd, what);
    if (at == MAP_FAILED)
        return false;
    *out = (struct sends_area){ at, bytes };
    return true;
}

static void sends_unmap(const struct sends_area *a)
{
    if (a->at)
        munmap(a->at, a->bytes);
}

/* The n-th word of an area. */
static void *sends_word(const struct sends_area *a, unsigned offset)
{
    return (char *)a->at + offset;
}

/* Finds what the kernel made. */
static bool sends_open(struct sends *s, const struct io_uring_params *p)
{
    if (!sends_map(s, &s->submission, p->sq_off.array + p->sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING)
        || !sends_map(s, &s->completion, p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe),
                      IORING_OFF_CQ_RING)
        || !sends_map(s, &s->entries, p->sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES))
        return false;
    s->sq_head = sends_word(&s->submission, p->sq_off.head);
    s->sq_tail = sends_word(&s->submission, p->sq_off.tail);
    s->sq_mask = p->sq_entries - 1;
    s->cq_head = sends_word(&s->completion, p->cq_off.head);
    s->cq_tail = sends_word(&s->completion, p->cq_off.tail);
    s->cq_mask = p->cq_entries - 1;
    s->cqes = sends_word(&s->completion, p->cq_off.cqes);
    s->sqes = s->entries.at;
    unsigned *array = sends_word(&s->submission, p->sq_off.array);
    for (unsigned i = 0; i < p->sq_entries; i++)
        array[i] = i;
    return true;
}

struct sends *sends_new(void)
{
    struct io_uring_params p = { .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN };
    int fd = (int)syscall(SYS_io_uring_setup, SENDS_MOST, &p);
    if (fd < 0)
        return NULL;
    struct sends *s = mem_alloc(sizeof *s);
    s->fd = fd;
    if (sends_open(s, &p))
        return s;
    sends_free(s);
    return NULL;
}

void sends_free(struct sends *s)
{
    if (!s)
        return;
    sends_unmap(&s->submission);
    sends_unmap(&s->completion);
    sends_unmap(&s->entries);
    close(s->fd);
    free(s);
}

size_t sends_room(const struct sends *s)
{
    return SENDS_MOST - s->waiting;
}

void sends_add(struct sends *s, int fd, const char *bytes, size_t n, long *taken)
{
    unsigned tail = atomic_load_explicit(s->sq_tail, memory_order_relaxed);
    CHECK(s->waiting < SENDS_MOST);
    s->sqes[tail & s->sq_mask] = (struct io_uring_sqe){ .opcode = IORING_OP_SEND,
                                                        .fd = fd,
                                                        .addr = (uintptr_t)bytes,
                                                        .len = n < INT32_MAX ? (unsigned)n : INT32_MAX,
                                                        .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL,
                                                        .user_data = (uintptr_t)taken };
    atomic_store_explicit(s->sq_tail, tail + 1, memory_order_release);
    s->waiting++;
}

/* Takes the results that are there; returns how many. */
static unsigned sends_reap(struct sends *s)
{
    unsigned head = atomic_load_explicit(s->cq_head, memory_order_relaxed),
             tail = atomic_load_explicit(s->cq_tail, memory_order_acquire), n = tail - head;
    for (; head != tail; head++) {
        const struct io_uring_cqe *c = &s->cqes[head & s->cq_mask];
        *(long *)(uintptr_t)c->user_data = c->res;
    }
    atomic_store_explicit(s->cq_head, head, memory_order_release);
    return n;
}

/* What the kernel had no memory to take over is taken back and sent one by one. */
static void sends_by_hand(struct sends *s)
{
    unsigned head = atomic_load_explicit(s->sq_head, memory_order_acquire),
             tail = atomic_load_explicit(s->sq_tail, memory_order_relaxed);
    for (unsigned i = head; i != tail; i++) {
        const struct io_uring_sqe *e = &s->sqes[i & s->sq_mask];
        ssize_t k = send(e->fd, (const void *)(uintptr_t)e->addr, e->len, MSG_DONTWAIT | MSG_NOSIGNAL);
        *(long *)(uintptr_t)e->user_data = k < 0 ? -errno : k;
    }
    atomic_store_explicit(s->sq_tail, head, memory_order_release);
}

void sends_finish(struct sends *s)
{
    unsigned ahead = 0; /* handed over, without a result */
    while (s->waiting || ahead) {
        long n = syscall(SYS_io_uring_enter, s->fd, s->waiting, s->waiting + ahead, IORING_ENTER_GETEVENTS, NULL, 0);
        if (n < 0 && errno != EINTR && s->waiting) {
            sends_by_hand(s);
            s->waiting = 0;
        }
        if (n > 0) {
            s->waiting -= (unsigned)n;
            ahead += (unsigned)n;
        }
        ahead -= sends_reap(s);
    }
}
