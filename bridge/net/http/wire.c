/* SPDX-License-Identifier: MIT */
/* Bytes out: to the kernel at once, or kept until it takes them; and how a connection ends. */
#include <errno.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"
#include "bridge/net/http/private.h"

bool http_wire_waits(const struct http_conn *c)
{
    return c->out || conn_pending(&c->io);
}

size_t http_wire_kept(const struct http_conn *c)
{
    return c->out ? c->out->n : 0;
}

static void wire_free_out(struct http_conn *c)
{
    c->s->unsent -= c->out ? c->out->n : 0;
    if (c->out)
        buf_free(c->out);
    free(c->out);
    c->out = NULL;
}

/* ---- the end ---- */

void http_wire_kill(struct http_conn *c)
{
    if (c->state == HTTP_DEAD)
        return;
    c->state = HTTP_DEAD;
    c->id = 0;
    conn_close(&c->io, c->s->loop);
    http_holders_leave(c);
    wire_free_out(c);
    http_schedule_due(c, DUE_NEVER);
    http_schedule_later(c);
}

/* Shuts our side and waits until the peer has read all and shuts its own. Closing at once would reset the connection
 * when there is input that nobody read, and the reset may overtake the answer. */
static void wire_linger(struct http_conn *c)
{
    conn_end_write(&c->io);
    c->state = HTTP_LINGER;
    c->drained = 0;
    http_schedule_due(c, DUE_LINGER);
}

void http_wire_finish(struct http_conn *c)
{
    if (c->state != HTTP_OPEN)
        return;
    http_schedule_later(c);
    if (!http_wire_waits(c)) {
        wire_linger(c);
        return;
    }
    c->state = HTTP_ENDING;
    http_schedule_due(c, DUE_ANSWER);
}

/* ---- bytes ---- */

long http_wire_wrote(struct http_conn *c, long taken)
{
    if (taken >= 0)
        return taken;
    if (taken == -EAGAIN || taken == -EINTR)
        return 0;
    http_wire_kill(c);
    return -1;
}

long http_wire_write(struct http_conn *c, const char *bytes, size_t n)
{
    long taken = conn_write(&c->io, bytes, n);
    if (taken >= 0)
        return taken;
    http_wire_kill(c);
    return -1;
}

/* Keeps bytes until the kernel takes some again. */
static void wire_keep(struct http_conn *c, struct str bytes)
{
    if (!c->out) {
        c->out = mem_alloc(sizeof *c->out);
        *c->out = buf_new(HTTP_OUTPUT_MAX);
    }
    buf_add_str(c->out, bytes);
    c->s->unsent += bytes.n;
}

void http_wire_put(struct http_conn *c, struct str bytes)
{
    if (c->state == HTTP_DEAD)
        return;
    long n = http_wire_waits(c) ? 0 : http_wire_write(c, bytes.at, bytes.n);
    if (n >= 0 && (size_t)n < bytes.n)
        wire_keep(c, (struct str){ bytes.at + n, bytes.n - (size_t)n });
}

bool http_wire_flush(struct http_conn *c)
{
    if (!http_wire_waits(c))
        return true;
    struct str out = c->out ? buf_str(c->out) : STR("");
    long n = http_wire_write(c, out.at, out.n);
    if (n < 0)
        return false;
    if (c->out) {
        buf_drop(c->out, (size_t)n);
        c->s->unsent -= (size_t)n;
    }
    if (c->out && c->out->n == 0)
        wire_free_out(c);
    if (http_wire_waits(c))
        return false;
    if (c->state == HTTP_ENDING)
        wire_linger(c);
    return true;
}
