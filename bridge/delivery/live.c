/* SPDX-License-Identifier: MIT */
/* The log beside a broadcast sink: what it reads there, where send() stands in it, and what it remembers. */
#include "bridge/delivery/bookmarks.h"
#include "bridge/delivery/private.h"

/* What was polled and not sent yet comes first; then what the consumer reads next. */
static bool live_next(void *ctx, struct topic_partition p, int64_t *out)
{
    const struct delivery *d = ctx;
    for (size_t i = 0; i < d->coming_count; i++)
        if (d->coming[i]->partition == p.partition && str_eq(d->coming[i]->topic, str_of(p.topic))) {
            *out = d->coming[i]->offset;
            return true;
        }
    return consumer_next(d->consumer, p, out);
}

static bool live_wanted(void *ctx, const struct event *ev)
{
    return filter_match(((struct delivery *)ctx)->self.filter, ev);
}

bool live_open(struct delivery *d, const struct broker_config *names, struct err *e)
{
    d->bookmarks = d->first ? bookmarks_copy(d->first->bookmarks, d->wake_fd)
                            : bookmarks_new(d->broker, d->s->id, broker_facts(names).is_shared, d->wake_fd);
    d->s->bookmarks = d->bookmarks;
    d->s->log = broker_log(d->broker,
                           &(struct log_options){
                               .wake_fd = d->wake_fd, .live = live_next, .wanted = live_wanted, .ctx = d },
                           e);
    return d->s->log != NULL;
}

void live_close(struct delivery *d)
{
    broker_log_close(d->broker, d->s->log);
    d->s->log = NULL;
    d->s->bookmarks = NULL;
    if (!d->first)
        bookmarks_close(d->bookmarks);
}

void live_free(struct delivery *d)
{
    bookmarks_free(d->bookmarks);
}
