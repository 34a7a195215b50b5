/* SPDX-License-Identifier: MIT */
/* The inbox: records that the waiter hands to this sink, and what it wants back. */
#include <stdlib.h>
#include "bridge/delivery/private.h"
#include "bridge/lib/mem.h"

void inbox_open(struct delivery *d)
{
    pthread_mutex_init(&d->inbox.lock, NULL);
    d->lent.own = true;
    d->lent.where.partition = -1;
}

static void inbox_free(struct handed *h)
{
    record_free(h->record);
    free(h);
}

struct handed *inbox_take(struct delivery *d)
{
    if (!d->inbox.taken) { /* all at once: a lock and a wake-up for each is what the two threads would wait for */
        pthread_mutex_lock(&d->inbox.lock);
        d->inbox.taken = d->inbox.first;
        d->inbox.first = NULL;
        pthread_mutex_unlock(&d->inbox.lock);
    }
    struct handed *h = d->inbox.taken;
    if (h)
        d->inbox.taken = h->next;
    return h;
}

/* Nobody has looked at it: it goes back. */
static void inbox_give_back(struct delivery *d)
{
    for (struct handed *h; (h = inbox_take(d));) {
        mailbox_put(h->reports, h->tag, HANDED_BACK, NULL);
        inbox_free(h);
    }
}

void inbox_close(struct delivery *d)
{
    inbox_give_back(d);
    pthread_mutex_destroy(&d->inbox.lock);
}

void delivery_hand(struct delivery *d, struct record *r, struct mailbox *reports, uint64_t tag)
{
    struct handed *h = mem_alloc(sizeof *h);
    *h = (struct handed){ .record = r, .reports = reports, .tag = tag };
    pthread_mutex_lock(&d->inbox.lock);
    bool first = !d->inbox.first;
    if (first)
        d->inbox.first = h;
    else
        d->inbox.last->next = h;
    d->inbox.last = h;
    pthread_mutex_unlock(&d->inbox.lock);
    if (first) /* else it is awake, or takes them when it has room */
        wake_up(d->wake_fd);
}

void delivery_recall(struct delivery *d)
{
    atomic_store(&d->inbox.recalled, true);
    wake_up(d->wake_fd);
}

void inbox_answer_recall(struct delivery *d)
{
    if (!atomic_exchange(&d->inbox.recalled, false))
        return;
    inbox_give_back(d);
    for (size_t i = 0; i < d->entry_cap; i++) {
        struct entry *en = d->entries[i];
        if (en->state == ENTRY_FREE || !en->of->lender || en->state == ENTRY_FLYING || en->state == ENTRY_STORING)
            continue;
        if (en->state == ENTRY_READY)
            window_unready(en);
        en->of->partition = NULL;
        window_finish(d, en, en->to->count.released);
    }
}
