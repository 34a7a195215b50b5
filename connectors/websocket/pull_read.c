/* SPDX-License-Identifier: MIT */
/* Events out of the log, for one answer. */
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/mem.h"
#include "connectors/websocket/pull_private.h"

enum { PULL_ROOM = 64, PULL_TURN_RECORDS = 512, PULL_BODY_MOST = PULL_BYTES + 2 * EVENT_DATA_BYTES };

/* ---- where it begins ---- */

/* The cursor that the name has, if it is stored. False: not yet, or with *e. */
static bool pull_recall(struct pulling *p, struct websocket_sink *s, struct err *e)
{
    struct str value;
    if (!s->base.bookmarks->ops->recall(s->base.bookmarks, str_of(p->name), &value))
        return false;
    p->foreign = !named_may_use(&p->by, value);
    if (p->foreign)
        return err_set(e, NAMED_FOREIGN);
    p->creates = !value.at;
    if (p->creates)
        return true;
    free(p->from);
    p->from = str_dup(named_stored(value).cursor);
    return p->from || err_set(e, "what is stored of it is damaged");
}

static bool pull_make_cursor(struct pulling *p, struct websocket_sink *s, struct err *e)
{
    const struct strings *topics = p->wanted.topics.count ? &p->wanted.topics : s->base.topics;
    if (p->name && !pull_recall(p, s, e))
        return false;
    p->cursor = cursor_new((const char *const *)topics->at, topics->count);
    if (!p->from)
        return true;
    p->start.from = p->name ? CURSOR_RESUME_ALL : CURSOR_RESUME;
    return cursor_read(p->cursor, s->pull.key, str_of(p->from), e) || err_prefix(e, p->name ? "position" : "from");
}

bool pull_place(struct pulling *p, struct websocket_sink *s, struct err *e)
{
    if (!p->cursor && !pull_make_cursor(p, s, e))
        return false;
    if (!cursor_place(p->cursor, s->base.log, p->start))
        return false;
    p->verdict = p->cursor->verdict;
    p->lost = p->cursor->lost;
    return true;
}

/* ---- readers ---- */

static size_t pull_parts(const struct cursor *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->count; i++)
        n += (size_t)c->topics[i].count;
    return n;
}

struct pull_part {
    size_t topic;
    struct topic_partition at;
    struct cursor_part *part;
};

static struct pull_part pull_part(const struct cursor *c, size_t n)
{
    size_t i = 0;
    while (n >= (size_t)c->topics[i].count)
        n -= (size_t)c->topics[i++].count;
    return (struct pull_part){ i, { c->topics[i].name, (int32_t)n }, &c->topics[i].parts[n] };
}

void pull_close_readers(struct pulling *p, struct websocket_sink *s)
{
    for (size_t i = 0; i < p->reader_count; i++) {
        if (p->readers[i] && p->readers[i]->lost) {
            p->lost += p->readers[i]->lost;
            p->verdict = p->verdict > CURSOR_GAP ? p->verdict : CURSOR_GAP;
        }
        s->base.log->ops->close(s->base.log, p->readers[i]);
    }
    free(p->readers);
    p->readers = NULL;
    p->reader_count = 0;
}

/* ---- events ---- */

static void pull_add(struct pulling *p, const struct event *ev)
{
    if (p->count++)
        buf_add_char(&p->body, p->format == PULL_LINES ? '\n' : ',');
    size_t at = p->body.n;
    event_to_json(ev, &p->body);
    for (; p->format == PULL_LINES && at < p->body.n; at++)
        if (p->body.at[at] == '\n' || p->body.at[at] == '\r')
            p->body.at[at] = ' '; /* stands between values: in a text it would be escaped */
}

static void pull_take(struct pulling *p, struct websocket_sink *s, const struct pull_part *at, struct record *r)
{
    struct err e;
    const struct event *ev = event_of_record(r, &e);
    if (ev && s->base.log->ops->wanted(s->base.log, ev) && filter_match(p->wanted.filter, ev))
        pull_add(p, ev);
    event_unref(ev);
    cursor_move(p->cursor, at->topic, at->at.partition, r->offset + 1, r->stored_ms);
    record_free(r);
}

/* Reads on in one partition: how many records; 0: none now; -1: this one takes no more of this answer. *later: there are some,
 * which come by and by. */
static int pull_read_part(struct pulling *p, struct websocket_sink *s, size_t n, bool *later)
{
    struct log *log = s->base.log;
    struct record *records[PULL_ROOM];
    struct pull_part at = pull_part(p->cursor, n);
    int64_t live;
    struct err e;
    if (!log->ops->live(log, at.at, &live) || at.part->next >= live)
        return 0;
    struct log_reader **reader = &p->readers[n];
    *reader = *reader ? *reader : log->ops->open(log, at.at, p->cursor->topics[at.topic].identity, at.part->next);
    size_t room = p->most - p->count < PULL_ROOM ? p->most - p->count : PULL_ROOM;
    int got = log->ops->read(log, *reader, live, records, room, PULL_BYTES - p->body.n, &e);
    if ((*reader)->anew)
        return -1;
    for (int i = 0; i < got; i++)
        pull_take(p, s, &at, records[i]);
    if (got <= 0 && (*reader)->next > at.part->next)
        cursor_move(p->cursor, at.topic, at.at.partition, (*reader)->next, 0);
    *later = *later || (got <= 0 && (*reader)->next < live);
    return got < 0 ? 0 : got; /* what cannot be read now is asked for again */
}

enum pull_step pull_read(struct pulling *p, struct websocket_sink *s)
{
    size_t parts = pull_parts(p->cursor), idle = 0;
    bool later = false;
    if (!p->readers) {
        p->body = p->body.max ? p->body : buf_new(PULL_BODY_MOST);
        p->readers = mem_alloc((parts + 1) * sizeof(struct log_reader *));
        memset(p->readers, 0, (parts + 1) * sizeof(struct log_reader *));
        p->reader_count = parts;
    }
    for (int budget = PULL_TURN_RECORDS; idle < parts; p->turn = (p->turn + 1) % parts) {
        int got = pull_read_part(p, s, p->turn, &later);
        if (got < 0 || p->count >= p->most || p->body.n >= PULL_BYTES)
            return PULL_FULL;
        idle = got ? 0 : idle + 1;
        budget -= got;
        if (budget <= 0)
            return PULL_MORE;
    }
    return later ? PULL_LATER : PULL_END;
}

bool pull_has_more(const struct pulling *p, struct websocket_sink *s)
{
    for (size_t i = 0, parts = pull_parts(p->cursor); i < parts; i++) {
        struct pull_part at = pull_part(p->cursor, i);
        int64_t live;
        if (s->base.log->ops->live(s->base.log, at.at, &live) && at.part->next < live)
            return true;
    }
    return false;
}
