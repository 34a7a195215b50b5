/* SPDX-License-Identifier: MIT */
/* When a connection has its turn: deadlines, and the list of what is done at the end of the round. */
#include "bridge/net/http/private.h"

/* ---- deadlines ---- */

/* Takes c out of the queue of its deadline. */
static void schedule_leave(struct http_conn *c)
{
    if (c->due == DUE_NEVER)
        return;
    struct http_queue *q = &c->s->queues[c->due];
    *(c->before ? &c->before->after : &q->first) = c->after;
    *(c->after ? &c->after->before : &q->last) = c->before;
    c->due = DUE_NEVER;
}

void http_schedule_due(struct http_conn *c, enum http_due kind)
{
    schedule_leave(c);
    if (kind == DUE_NEVER)
        return;
    struct http_queue *q = &c->s->queues[kind];
    c->due = kind & 15u;
    c->due_ms = c->s->now_ms + c->s->lasts[kind];
    c->before = q->last;
    c->after = NULL;
    *(q->last ? &q->last->after : &q->first) = c;
    q->last = c;
}

struct http_conn *http_schedule_expired(struct http_server *s, enum http_due *kind)
{
    for (enum http_due k = 0; k < DUE_KINDS; k++) {
        struct http_conn *c = s->queues[k].first;
        if (!c || c->due_ms > s->now_ms)
            continue;
        schedule_leave(c);
        *kind = k;
        return c;
    }
    return NULL;
}

int64_t http_schedule_next_ms(const struct http_server *s)
{
    int64_t next = INT64_MAX;
    for (int kind = 0; kind < DUE_KINDS; kind++)
        if (s->queues[kind].first && s->queues[kind].first->due_ms < next)
            next = s->queues[kind].first->due_ms;
    return next;
}

/* ---- the later list ---- */

void http_schedule_later(struct http_conn *c)
{
    struct http_server *s = c->s;
    if (c->is_later)
        return;
    c->is_later = true;
    c->next_later = NULL;
    *(s->later_last ? &s->later_last->next_later : &s->later_first) = c;
    s->later_last = c;
}

struct http_conn *http_schedule_take(struct http_server *s)
{
    struct http_conn *first = s->later_first;
    s->later_first = s->later_last = NULL;
    return first;
}
