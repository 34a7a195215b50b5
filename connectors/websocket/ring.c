/* SPDX-License-Identifier: MIT */
/* The ring of bytes, mapped twice. */
#include "connectors/websocket/ring.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "bridge/lib/mem.h"

enum { KEEP_BYTES = 256 * 1024 }; /* a rewound ring keeps this much memory */

/* Both halves show the same pages of one unnamed file. */
static char *ring_map_twice(size_t size)
{
    int fd = memfd_create("aqueduct-ring", MFD_CLOEXEC);
    if (fd < 0)
        return NULL;
    char *at = MAP_FAILED;
    if (ftruncate(fd, (off_t)size) == 0)
        at = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool good = at != MAP_FAILED;
    for (int half = 0; good && half < 2; half++)
        good = mmap(at + (size_t)half * size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0)
               != MAP_FAILED;
    int why = errno;
    close(fd);
    if (!good && at != MAP_FAILED)
        munmap(at, 2 * size);
    errno = why;
    return good ? at : NULL;
}

bool ring_open(struct ring *r, size_t least_size, size_t *held, struct err *e)
{
    *r = (struct ring){ .size = (size_t)sysconf(_SC_PAGESIZE), .held = held };
    while (r->size < least_size)
        r->size *= 2;
    r->at = ring_map_twice(r->size);
    return r->at || err_set(e, "no memory for a buffer of %zu bytes: %s", r->size, strerror(errno));
}

void ring_close(struct ring *r)
{
    if (!r->at)
        return;
    munmap(r->at, 2 * r->size);
    *r->held -= r->touched;
    r->at = NULL;
}

void ring_add(struct ring *r, struct str bytes)
{
    CHECK(bytes.n <= r->size);
    size_t offset = (size_t)((r->head - r->origin) & (r->size - 1));
    memcpy(r->at + offset, bytes.at, bytes.n);
    r->head += bytes.n;
    size_t touched = offset + bytes.n < r->size ? offset + bytes.n : r->size;
    if (touched <= r->touched)
        return;
    *r->held += touched - r->touched;
    r->touched = touched;
}

void ring_rewind(struct ring *r)
{
    r->origin = r->head;
    if (r->touched > KEEP_BYTES)
        ring_give_back(r);
}

void ring_give_back(struct ring *r)
{
    r->origin = r->head;
    madvise(r->at, r->size, MADV_REMOVE);
    *r->held -= r->touched;
    r->touched = 0;
}

void ring_trim(struct ring *r, uint64_t low)
{
    size_t kept = (size_t)(r->head - low), page = (size_t)sysconf(_SC_PAGESIZE), end = (kept + page - 1) / page * page;
    if (kept == 0) {
        ring_give_back(r);
        return;
    }
    char *copy = mem_alloc(kept); /* source and target may be the same pages by way of the second mapping */
    memcpy(copy, ring_bytes(r, low), kept);
    memcpy(r->at, copy, kept);
    free(copy);
    r->origin = low;
    if (end < r->size)
        madvise(r->at + end, r->size - end, MADV_REMOVE);
    *r->held -= r->touched - kept;
    r->touched = kept;
}
