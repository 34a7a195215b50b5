/* SPDX-License-Identifier: MIT */
/* The stand for flow tests. */
#include "tests/support/flow.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/mailbox.h"
#include "tests/support/metric.h"

/* ---- broker ---- */

static pthread_mutex_t held_lock = PTHREAD_MUTEX_INITIALIZER; /* guards flow.held and flow.holding */

struct passing {
    struct flow *f;
    void (*done)(void *, uint64_t, enum outcome, const char *);
    void *ctx;
    bool hold;
};

static void pass_done(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    struct passing *p = ctx;
    bool hold = p->hold && o == OUTCOME_STORED;
    if (hold) {
        pthread_mutex_lock(&held_lock);
        p->f->holding[p->f->held].done = p->done;
        p->f->holding[p->f->held].ctx = p->ctx;
        p->f->holding[p->f->held++].tag = tag;
        pthread_mutex_unlock(&held_lock);
    } else
        p->done(p->ctx, tag, o, why);
    free(p);
}

static struct flow *flow_of(struct broker *b)
{
    return (struct flow *)b;
}

static bool pass_topic(struct broker *b, const struct topic_config *t, struct err *e)
{
    return broker_topic(flow_of(b)->inner, t, e);
}

static bool too_large(const struct flow *f, const struct publication *p)
{
    for (size_t i = 0; f->largest && i < p->record_count; i++) {
        size_t n = p->records[i].value.n;
        for (size_t k = 0; k < p->records[i].header_count; k++)
            n += p->records[i].headers[k].value.n;
        if (n > f->largest)
            return true;
    }
    return false;
}

static void pass_publish(struct broker *b, const struct publication *p)
{
    struct flow *f = flow_of(b);
    if (f->weather == REFUSE) {
        p->done(p->ctx, p->tag, OUTCOME_UNAVAILABLE, "refused by the test");
        return;
    }
    if (too_large(f, p)) {
        p->done(p->ctx, p->tag, OUTCOME_INVALID, "too large");
        return;
    }
    struct passing *pass = malloc(sizeof *pass);
    *pass = (struct passing){ f, p->done, p->ctx, f->weather == HOLD };
    struct publication inner = *p;
    inner.done = pass_done;
    inner.ctx = pass;
    broker_publish(f->inner, &inner);
}

static bool pass_state(struct broker *b, const char *s,
                       bool (*each)(void *, struct str, struct str, bool, struct err *), void *ctx, struct err *e)
{
    return broker_state(flow_of(b)->inner, s, each, ctx, e);
}

static bool pass_tail(struct broker *b, const char *t, int64_t n, void (*each)(void *, const struct record *),
                      void *ctx, struct err *e)
{
    return broker_tail(flow_of(b)->inner, t, n, each, ctx, e);
}

static struct consumer *pass_consume(struct broker *b, const struct consumer_options *o, struct err *e)
{
    return consumer_open(flow_of(b)->inner, o, e);
}

static bool pass_topics(struct broker *b, const char *prefix, void (*each)(void *, const char *), void *ctx,
                        struct err *e)
{
    return flow_of(b)->unlisted || broker_topics(flow_of(b)->inner, prefix, each, ctx, e);
}

static const struct broker_ops pass_ops = { .type = "flow",
                                            .topic = pass_topic,
                                            .topics = pass_topics,
                                            .publish = pass_publish,
                                            .state = pass_state,
                                            .tail = pass_tail,
                                            .consume = pass_consume };

void flow_open(struct flow *f)
{
    struct err e = { "" };
    *f = (struct flow){ .broker.ops = &pass_ops };
    f->names = (struct broker_config){
        .type = BROKER_LOCAL, .path = ":memory:", .prefix = "aq.", .group_prefix = "aq.", .servers = "", .instance = ""
    };
    f->inner = broker_open(&f->names, &e);
    if (!f->inner)
        fail_msg("%s", e.text);
}

void flow_close(struct flow *f)
{
    broker_close(f->inner);
    clock_real();
}

void flow_release(struct flow *f)
{
    broker_flush(f->inner, (struct duration){ 10000 });
    f->weather = CLEAR;
    for (size_t i = 0; i < f->held; i++)
        f->holding[i].done(f->holding[i].ctx, f->holding[i].tag, OUTCOME_STORED, "");
    f->held = 0;
}

void flow_topic(struct flow *f, const char *name, int64_t partitions)
{
    struct err e = { "" };
    assert_true(broker_topic(f->inner,
                             &(struct topic_config){ .name = (char *)(uintptr_t)name, .partitions = partitions }, &e));
}

static void keep_outcome(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    (void)tag;
    (void)why;
    *(enum outcome *)ctx = o;
}

void flow_raw(struct flow *f, const struct record *r)
{
    enum outcome o = 0;
    broker_publish(f->inner, &(struct publication){ .records = r, .record_count = 1, .done = keep_outcome, .ctx = &o });
    assert_true(broker_flush(f->inner, (struct duration){ 10000 }));
    assert_int_equal(o, OUTCOME_STORED);
}

void flow_event(struct flow *f, const char *topic, const char *id, const char *key)
{
    struct err e = { "" };
    struct header headers[EVENT_HEADERS];
    const struct event *ev = event_new(&(struct event){ .id = str_of(id),
                                                        .source = STR("/test"),
                                                        .type = STR("t.happened"),
                                                        .datacontenttype = STR("application/json"),
                                                        .data = STR("{\"n\":1}") },
                                       &e);
    assert_non_null(ev);
    size_t n = event_to_headers(ev, headers);
    flow_raw(f, &(struct record){ .topic = str_of(topic),
                                  .partition = -1,
                                  .key = str_of(key),
                                  .value = ev->data,
                                  .headers = headers,
                                  .header_count = n });
    event_unref(ev);
}

size_t flow_read(struct flow *f, const char *topic, struct record **out, size_t room)
{
    static int reader;
    struct err e = { "" };
    char group[32];
    snprintf(group, sizeof group, "reader-%d", reader++);
    int wake = wake_new();
    struct consumer *c = consumer_open(f->inner,
                                       &(struct consumer_options){ .group = group,
                                                                   .topics = &topic,
                                                                   .topic_count = 1,
                                                                   .from_start = true,
                                                                   .wake_fd = wake },
                                       &e);
    assert_non_null(c);
    size_t n = 0;
    for (int got; n < room && (got = consumer_poll(c, out + n, room - n, &e)) > 0;)
        n += (size_t)got;
    consumer_close(c);
    close(wake);
    return n;
}

void flow_expect_header(const struct record *r, const char *name, const char *value)
{
    struct str got = record_header(r, name);
    if (!got.at)
        fail_msg("no header %s", name);
    if (!str_eq(got, str_of(value)))
        fail_msg("header %s is \"%.*s\", not \"%s\"", name, (int)got.n, got.at, value);
}

int64_t flow_count(const char *metric, const char *id)
{
    return metric_value(metric_named(metric, LABELS(id)));
}

/* ---- sink ---- */

static bool sink_open(struct sink *base, struct err *e)
{
    (void)base;
    (void)e;
    return true;
}

static void copy(char *out, struct str s)
{
    snprintf(out, 64, "%.*s", STR_ARG(s));
}

static void sink_send(struct sink *base, const struct message *m)
{
    struct script_sink *s = (struct script_sink *)base;
    assert_in_range(s->count, 0, SENT_MOST - 1);
    struct sent *sent = &s->sent[s->count++];
    copy(sent->id, m->event ? m->event->id : STR("-"));
    copy(sent->key, m->record->key);
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

static size_t sink_work(struct sink *base, int wake_fd, struct duration wait, struct result *out, size_t room)
{
    struct script_sink *s = (struct script_sink *)base;
    struct pollfd p = { .fd = wake_fd, .events = POLLIN };
    if (s->answer_count == 0)
        poll(&p, 1, (int)wait.ms);
    size_t n = s->answer_count < room ? s->answer_count : room;
    memcpy(out, s->answers, n * sizeof *out);
    memmove(s->answers, s->answers + n, (s->answer_count - n) * sizeof *out);
    s->answer_count -= n;
    return n;
}

static void broadcast_send(struct sink *base, const struct message *m)
{
    struct script_sink *s = (struct script_sink *)base;
    copy(s->sent[s->count++].id, m->event->id);
}

static void sink_close(struct sink *base)
{
    (void)base;
}

const struct sink_ops script_sink_ops = { .type = "script",
                                          .doc = "test",
                                          .size = sizeof(struct script_sink),
                                          .open = sink_open,
                                          .send = sink_send,
                                          .work = sink_work,
                                          .close = sink_close };
const struct sink_ops script_broadcast_ops = { .type = "broadcast",
                                               .doc = "test",
                                               .size = sizeof(struct script_sink),
                                               .broadcast = true,
                                               .open = sink_open,
                                               .send = broadcast_send,
                                               .work = sink_work,
                                               .close = sink_close };

void script_sink_init(struct script_sink *s, const char *id)
{
    const struct sink_ops *ops = s->base.ops ? s->base.ops : &script_sink_ops;
    memset(s, 0, sizeof *s);
    s->base.ops = ops;
    s->base.id = id;
}

/* ---- source ---- */

static bool source_restore(struct source *base, struct str key, struct str value, bool ahead, struct err *e)
{
    struct script_source *s = (struct script_source *)base;
    (void)e;
    copy(s->state[s->state_count].key, key);
    snprintf(s->state[s->state_count++].value, 64, "%s%.*s", ahead ? "ahead:" : "", STR_ARG(value));
    return true;
}

static bool source_open(struct source *base, struct err *e)
{
    (void)base;
    (void)e;
    return true;
}

static int source_read(struct source *base, int wake_fd, struct emission *out, size_t room, struct err *e)
{
    struct script_source *s = (struct script_source *)base;
    (void)e;
    s->last_room = room;
    size_t n = s->count - s->taken < room ? s->count - s->taken : room;
    memcpy(out, s->emissions + s->taken, n * sizeof *out);
    s->taken += n;
    struct pollfd p = { .fd = wake_fd, .events = POLLIN };
    if (n == 0)
        poll(&p, 1, 100);
    return (int)n;
}

static void source_settle(struct source *base, uint64_t tag, enum outcome o, const char *why)
{
    struct script_source *s = (struct script_source *)base;
    s->settled[s->settled_count].tag = tag;
    s->settled[s->settled_count].outcome = o;
    why_copy(s->settled[s->settled_count++].why, why);
}

static void source_close(struct source *base)
{
    (void)base;
}

const struct source_ops script_source_ordered = { .type = "script",
                                                  .doc = "test",
                                                  .size = sizeof(struct script_source),
                                                  .ordered = true,
                                                  .restore = source_restore,
                                                  .open = source_open,
                                                  .read = source_read,
                                                  .settle = source_settle,
                                                  .close = source_close };
const struct source_ops script_source_unordered = { .type = "script",
                                                    .doc = "test",
                                                    .size = sizeof(struct script_source),
                                                    .dedupe = true,
                                                    .open = source_open,
                                                    .read = source_read,
                                                    .settle = source_settle,
                                                    .close = source_close };

void script_source_init(struct script_source *s, const char *id, const struct source_ops *ops)
{
    memset(s, 0, sizeof *s);
    s->base.ops = ops;
    s->base.id = id;
}

void script_emit(struct script_source *s, const char *id, const char *type, uint64_t tag)
{
    struct err e = { "" };
    const struct event *ev = event_new(&(struct event){ .id = str_of(id),
                                                        .source = STR("/s"),
                                                        .type = str_of(type),
                                                        .subject = STR("thing/1"),
                                                        .datacontenttype = STR("application/json"),
                                                        .data = STR("{}") },
                                       &e);
    assert_non_null(ev);
    s->emissions[s->count++] = (struct emission){ .event = ev, .tag = tag };
}
