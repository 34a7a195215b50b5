/* SPDX-License-Identifier: MIT */
/* The scripted sink and source. */
#include "tests/support/script.h"
#include <poll.h>
#include <stdio.h>
#include "bridge/lib/clock.h"
#include "tests/support/event.h"
#include "tests/support/test.h"

/* ---- sink ---- */

static bool script_sink_open(struct sink *base, struct err *e)
{
    (void)base;
    (void)e;
    return true;
}

static void script_copy(char out[SCRIPT_TEXT], struct str s)
{
    snprintf(out, SCRIPT_TEXT, "%.*s", STR_ARG(s));
}

static void script_sink_send(struct sink *base, const struct message *m)
{
    struct script_sink *s = (struct script_sink *)base;
    assert_in_range(s->count, 0, SENT_MOST - 1);
    struct sent *sent = &s->sent[s->count++];
    script_copy(sent->id, m->event ? m->event->id : STR("-"));
    script_copy(sent->key, m->record->key);
    sent->endpoint = m->endpoint ? m->endpoint->name : NULL;
    sent->attempt = m->attempt;
    sent->tag = m->tag;
    if (++s->flying > s->most_flying)
        s->most_flying = s->flying;
    struct result r = { .verdict = VERDICT_DELIVERED };
    if (s->verdict)
        r.verdict = s->verdict(sent, &r);
    r.tag = m->tag;
    sent->open = r.verdict == 0;
    if (sent->open)
        return;
    s->flying--;
    s->answers[s->answer_count++] = r;
}

void script_answer(struct script_sink *s, size_t index, enum verdict v)
{
    assert_true(s->sent[index].open);
    s->sent[index].open = false;
    s->flying--;
    s->answers[s->answer_count++] = (struct result){ .tag = s->sent[index].tag, .verdict = v };
}

static size_t script_sink_work(struct sink *base, int wake_fd, struct duration wait, struct result *out, size_t room)
{
    struct script_sink *s = (struct script_sink *)base;
    struct pollfd p = { .fd = wake_fd, .events = POLLIN };
    s->wait_ms = wait.ms;
    if (s->answer_count == 0 && s->slow_ms)
        clock_fake_advance(s->slow_ms);
    else if (s->answer_count == 0 && !s->sleepless)
        poll(&p, 1, (int)wait.ms);
    size_t n = s->answer_count < room ? s->answer_count : room;
    memcpy(out, s->answers, n * sizeof *out);
    memmove(s->answers, s->answers + n, (s->answer_count - n) * sizeof *out);
    s->answer_count -= n;
    return n;
}

static void script_broadcast_send(struct sink *base, const struct message *m)
{
    struct script_sink *s = (struct script_sink *)base;
    script_copy(s->sent[s->count++].id, m->event->id);
}

static void script_sink_close(struct sink *base)
{
    assert_int_equal(((struct script_sink *)base)->endpoints_open, 0);
}

const char *script_refused;

static bool script_endpoint_open(struct sink *base, struct endpoint *ep, struct err *e)
{
    struct script_sink *s = (struct script_sink *)base;
    if (script_refused && strcmp(script_refused, ep->name) == 0)
        return err_set(e, "refused by the test");
    s->endpoints_open++;
    return true;
}

static void script_endpoint_close(struct sink *base, struct endpoint *ep)
{
    struct script_sink *s = (struct script_sink *)base;
    (void)ep;
    assert_true(s->endpoints_open-- > 0);
}

static const struct endpoint_ops script_endpoints = { .size = sizeof(struct endpoint),
                                                      .open = script_endpoint_open,
                                                      .close = script_endpoint_close };

const struct sink_ops script_sink_ops = { .type = "script",
                                          .doc = "test",
                                          .size = sizeof(struct script_sink),
                                          .open = script_sink_open,
                                          .send = script_sink_send,
                                          .work = script_sink_work,
                                          .close = script_sink_close };
const struct sink_ops script_endpoints_ops = { .type = "script",
                                               .doc = "test",
                                               .size = sizeof(struct script_sink),
                                               .endpoints = &script_endpoints,
                                               .open = script_sink_open,
                                               .send = script_sink_send,
                                               .work = script_sink_work,
                                               .close = script_sink_close };
const struct sink_ops script_broadcast_ops = { .type = "broadcast",
                                               .doc = "test",
                                               .size = sizeof(struct script_sink),
                                               .broadcast = true,
                                               .open = script_sink_open,
                                               .send = script_broadcast_send,
                                               .work = script_sink_work,
                                               .close = script_sink_close };

void script_sink_init(struct script_sink *s, const char *id)
{
    const struct sink_ops *ops = s->base.ops ? s->base.ops : &script_sink_ops;
    memset(s, 0, sizeof *s);
    s->base.ops = ops;
    s->base.id = id;
}

/* ---- source ---- */

static bool script_source_restore(struct source *base, struct str key, struct str value, bool ahead, struct err *e)
{
    struct script_source *s = (struct script_source *)base;
    (void)e;
    script_copy(s->state[s->state_count].key, key);
    snprintf(s->state[s->state_count++].value, 64, "%s%.*s", ahead ? "ahead:" : "", STR_ARG(value));
    return true;
}

struct script_source *script_second;

static bool script_source_open(struct source *base, struct err *e)
{
    (void)e;
    if (base->first)
        script_second = (struct script_source *)base;
    return true;
}

static int script_source_read(struct source *base, int wake_fd, struct emission *out, size_t room, struct err *e)
{
    struct script_source *s = (struct script_source *)base;
    s->last_room = room;
    if (s->failing && room > 0) {
        err_set(e, "%s", s->failing);
        return -1;
    }
    size_t n = 0, bytes = 0;
    while (n < room && n < s->count - s->taken && (base->room_bytes == 0 || bytes < base->room_bytes)) {
        const struct event *ev = s->emissions[s->taken + n++].event;
        bytes += ev ? event_bytes(ev) : 0;
    }
    memcpy(out, s->emissions + s->taken, n * sizeof *out);
    s->taken += n;
    struct pollfd p = { .fd = wake_fd, .events = POLLIN };
    if (n == 0)
        poll(&p, 1, 100);
    return (int)n;
}

static void script_source_settle(struct source *base, uint64_t tag, enum outcome o, const char *why)
{
    struct script_source *s = (struct script_source *)base;
    s->settled[s->settled_count].tag = tag;
    s->settled[s->settled_count].outcome = o;
    why_copy(s->settled[s->settled_count++].why, why);
}

static void script_source_close(struct source *base)
{
    (void)base;
}

static bool script_source_ready(const struct source *base, struct err *why)
{
    return !((const struct script_source *)base)->blind || err_set(why, "blind");
}

const struct source_ops script_source_ordered = { .type = "script",
                                                  .doc = "test",
                                                  .size = sizeof(struct script_source),
                                                  .ordered = true,
                                                  .restore = script_source_restore,
                                                  .open = script_source_open,
                                                  .ready = script_source_ready,
                                                  .read = script_source_read,
                                                  .settle = script_source_settle,
                                                  .close = script_source_close };
const struct source_ops script_source_unordered = { .type = "script",
                                                    .doc = "test",
                                                    .size = sizeof(struct script_source),
                                                    .copies = true,
                                                    .dedupe = true,
                                                    .open = script_source_open,
                                                    .read = script_source_read,
                                                    .settle = script_source_settle,
                                                    .close = script_source_close };

void script_source_init(struct script_source *s, const char *id, const struct source_ops *ops)
{
    memset(s, 0, sizeof *s);
    s->base.ops = ops;
    s->base.id = id;
}

void script_emit(struct script_source *s, const char *id, const char *type, uint64_t tag)
{
    const struct event *ev = event_born(&(struct event){ .id = str_of(id),
                                                         .source = STR("/s"),
                                                         .type = str_of(type),
                                                         .subject = STR("thing/1"),
                                                         .datacontenttype = STR("application/json"),
                                                         .data = STR("{}") });
    s->emissions[s->count++] = (struct emission){ .event = ev, .tag = tag };
}
