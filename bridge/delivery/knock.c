/* SPDX-License-Identifier: MIT */
/* One event to one receiver, through a sink that is there for it alone. */
#include "bridge/delivery/knock.h"
#include <string.h>
#include <unistd.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/mailbox.h"

enum { KNOCK_TURN_MS = 200 };

static bool knock_wait(struct sink *sink, int wake_fd, const atomic_bool *stop, struct result *out)
{
    int64_t until = clock_mono_ms() + KNOCK_MS;
    for (int64_t left; (left = until - clock_mono_ms()) > 0 && !atomic_load(stop);)
        if (sink->ops->work(sink, wake_fd, (struct duration){ left < KNOCK_TURN_MS ? left : KNOCK_TURN_MS }, out, 1))
            return true;
    return false;
}

static void knock_send(struct sink *sink, struct endpoint *ep, const struct event *ev, const atomic_bool *stop,
                       struct knock *out)
{
    int wake_fd = wake_new();
    sink->draining = true; /* what it collects goes at once */
    sink->ops->send(sink,
                    &(struct message){
                        .event = ev, .endpoint = ep, .attempt = 1, .awaited = true, .tag = 1, .sent = &out->sent });
    if (!knock_wait(sink, wake_fd, stop, &out->result)) {
        out->result = (struct result){ .verdict = VERDICT_RETRY, .reason = REASON_UNAVAILABLE };
        snprintf(out->result.why, sizeof out->result.why, "no answer within %d s", KNOCK_MS / 1000);
    }
    out->excerpt_n = out->result.answer.n < sizeof out->excerpt ? out->result.answer.n : sizeof out->excerpt;
    memcpy(out->excerpt, out->result.answer.at ? out->result.answer.at : "", out->excerpt_n);
    out->result.answer = (struct str){ out->excerpt, out->excerpt_n };
    close(wake_fd);
}

bool knock(struct made *m, const struct sink_config *s, const struct event *ev, const atomic_bool *stop,
           struct knock *out, struct err *e)
{
    struct sink *sink = made_sink(m, s);
    const struct sink_ops *ops = sink->ops;
    *out = (struct knock){ .sent = buf_new(KNOCK_SENT) };
    if (!ops->open(sink, e))
        return false;
    bool fine = ops->endpoints->open(sink, m->config.endpoint, e);
    if (fine) {
        knock_send(sink, m->config.endpoint, ev, stop, out);
        ops->endpoints->close(sink, m->config.endpoint);
    }
    ops->close(sink);
    return fine;
}

void knock_free(struct knock *k)
{
    buf_free(&k->sent);
}
