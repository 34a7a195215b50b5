/* SPDX-License-Identifier: MIT */
/* Decides by what came lately whether more is worth waiting for. */
#include "connectors/websocket/pace.h"

enum { SHARE = 4 }; /* of the time that serving takes */

void pace_add(struct pace *p, int64_t now_us, size_t bytes)
{
    if (p->events++ == 0)
        p->first_us = now_us;
    p->bytes += bytes;
}

int64_t pace_left_us(const struct pace *p, int64_t now_us)
{
    int64_t cost = p->ended_us - p->begun_us, near = cost > PACE_US ? cost : PACE_US, gather = cost / SHARE;
    if (p->bytes >= PACE_BYTES)
        return 0;
    gather = gather < PACE_US ? PACE_US : gather > PACE_MOST_US ? PACE_MOST_US : gather;
    bool more = (p->several || p->events > 1) && p->first_us - p->ended_us < near;
    int64_t due = more ? p->first_us + gather : p->begun_us + PACE_US;
    return due - now_us;
}

void pace_begin(struct pace *p, int64_t now_us)
{
    p->several = p->events > 1;
    p->events = p->bytes = 0;
    p->begun_us = now_us;
}

void pace_end(struct pace *p, int64_t now_us)
{
    p->ended_us = now_us;
}
