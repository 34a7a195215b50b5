/* SPDX-License-Identifier: MIT */
/* The source behind a publishing sink. */
#include "connectors/websocket/inward.h"
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/lib/mem.h"

enum { INWARD_WAIT_MS = 1000 };

bool inward_open(struct source *base, struct err *e)
{
    struct inward *in = (struct inward *)base;
    (void)e;
    in->wake_fd = wake_new();
    mailbox_open(&in->box, in->wake_fd);
    atomic_init(&in->closed, false);
    return true;
}

void inward_close(struct source *base)
{
    struct inward *in = (struct inward *)base;
    mailbox_close(&in->box);
    close(in->wake_fd);
}

bool inward_hand(struct inward *in, struct published *p)
{
    if (atomic_load(&in->closed))
        return false;
    mailbox_put(&in->box, (uint64_t)(uintptr_t)p, 0, NULL);
    return true;
}

static struct published *inward_of(uint64_t tag)
{
    return (struct published *)(uintptr_t)tag;
}

/* The oldest that was not read; NULL: there is none. */
static struct published *inward_next(struct inward *in)
{
    struct notice taken[INWARD_HELD];
    if (in->count == 0) {
        in->first = 0;
        wake_clear(in->wake_fd);
        in->count = mailbox_take(&in->box, taken, INWARD_HELD);
        for (size_t i = 0; i < in->count; i++)
            in->held[i] = inward_of(taken[i].tag);
    }
    return in->count ? in->held[in->first] : NULL;
}

static void inward_drop(struct inward *in)
{
    in->first++;
    in->count--;
}

/* Until somebody publishes, or the core has news. */
static void inward_wait(const struct inward *in, int wake_fd, bool room)
{
    struct pollfd fds[2] = { { .fd = wake_fd, .events = POLLIN }, { .fd = in->wake_fd, .events = POLLIN } };
    poll(fds, room ? 2 : 1, INWARD_WAIT_MS);
}

/* Says no to what the core will not take any more. */
static void inward_stop(struct inward *in)
{
    atomic_store(&in->closed, true);
    for (struct published *p; (p = inward_next(in)); inward_drop(in))
        mailbox_put(p->answers, (uint64_t)(uintptr_t)p, OUTCOME_UNAVAILABLE, "shutting down");
}

int inward_read(struct source *base, int wake_fd, struct emission *out, size_t room, struct err *e)
{
    struct inward *in = (struct inward *)base;
    size_t n = 0, bytes = 0;
    (void)e;
    if (base->draining)
        inward_stop(in);
    if (room == 0 || !inward_next(in))
        inward_wait(in, wake_fd, room);
    for (struct published *p; n < room && (p = inward_next(in)); inward_drop(in)) {
        if (base->room_bytes && bytes >= base->room_bytes)
            break;
        bytes += event_bytes(p->event);
        out[n++] = (struct emission){
            .event = event_ref(p->event), .tag = (uint64_t)(uintptr_t)p, .scope = str_of(p->scope), .unique = p->unique
        };
    }
    return (int)n;
}

void inward_settle(struct source *base, uint64_t tag, enum outcome o, const char *why)
{
    (void)base;
    mailbox_put(inward_of(tag)->answers, tag, (int32_t)o, why);
}
