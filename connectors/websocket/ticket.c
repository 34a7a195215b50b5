/* SPDX-License-Identifier: MIT */
/* Tickets and their ends. */
#include "connectors/websocket/ticket.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

enum { TICKET_GRACE_MS = 30000 };

/* What was held back goes out. */
static void ticket_resume(struct listener *l)
{
    l->blocked = true;
    listener_writable(l);
    if (!l->seats)
        l->blocked = false;
}

void ticket_drop(struct ticket **all, struct listener *l)
{
    struct ticket *t = l->ticket;
    if (!t)
        return;
    if (t->before)
        t->before->next = t->next;
    else
        *all = t->next;
    if (t->next)
        t->next->before = t->before;
    l->ticket = NULL;
    rights_free(&t->rights);
    free(t);
}

void ticket_give(struct ticket **all, struct listener *l, struct rights *r)
{
    bool paused = l->ticket && l->ticket->paused;
    ticket_drop(all, l);
    if (r->until_ms || r->topics || r->filter || r->publish) {
        struct ticket *t = mem_alloc(sizeof *t);
        *t = (struct ticket){ .next = *all, .listener = l, .rights = *r };
        if (t->next)
            t->next->before = t;
        *all = l->ticket = t;
    }
    *r = (struct rights){ 0 };
    if (paused)
        ticket_resume(l);
}

/* It is not stalled: we give it nothing. */
static void ticket_excuse(struct ticket *t)
{
    t->listener->moved_s = (uint32_t)(clock_mono_ms() / 1000);
}

void tickets_turn(struct ticket *all, int64_t wall_ms, void (*tell)(struct listener *l),
                  void (*end)(struct listener *l))
{
    for (struct ticket *t = all, *next; t; t = next) {
        next = t->next;
        if (t->paused)
            ticket_excuse(t);
        if (t->listener->sent_away || !rights_are_over(&t->rights, wall_ms))
            continue;
        if ((t->listener->talk || t->listener->unfinished) && !t->paused) {
            t->paused = t->listener->blocked = true;
            ticket_excuse(t);
            t->ends_ms = wall_ms + TICKET_GRACE_MS;
            if (t->listener->talk)
                tell(t->listener);
        } else if (!t->paused || wall_ms >= t->ends_ms)
            end(t->listener);
    }
}
