/* SPDX-License-Identifier: MIT */
/* The in-memory broker of flow tests, behind a wrapper that a test can switch. */
#include "tests/support/flow.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/mailbox.h"
#include "tests/support/event.h"
#include "tests/support/metric.h"

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

static bool refused_by_topic(const struct flow *f, const struct publication *p)
{
    for (size_t i = 0; f->refuses && i < p->record_count; i++)
        if (str_eq(p->records[i].topic, str_of(f->refuses)))
            return true;
    return false;
}

static void pass_publish(struct broker *b, const struct publication *p)
{
    struct flow *f = flow_of(b);
    if (f->weather == REFUSE) {
        p->done(p->ctx, p->tag, OUTCOME_UNAVAILABLE, "refused by the test");
        return;
    }
    if (refused_by_topic(f, p)) {
        p->done(p->ctx, p->tag, OUTCOME_INVALID, "not taken by this topic");
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

static bool pass_tail(struct broker *b, const char *t, const struct tail_options *o,
                      void (*each)(void *, const struct record *), void *ctx, struct err *e)
{
    const char *why = flow_of(b)->tail_fails;
    return why ? err_set(e, "%s", why) : broker_tail(flow_of(b)->inner, t, o, each, ctx, e);
}

static int32_t pass_partitions(struct broker *b, const char *topic)
{
    return broker_partitions(flow_of(b)->inner, topic);
}

static struct flow *passing; /* whose consumers those are, and what they really do */
static const struct broker_ops *passed;
static struct broker_ops pass_consumer_ops;

static unsigned pass_commit(struct consumer *c, struct topic_partition p, int64_t next, const struct ranges *beyond)
{
    unsigned full = passing->crashed ? 0 : passed->commit(c, p, next, beyond);
    return passing->full ? passing->full : full;
}

static struct consumer *pass_consume(struct broker *b, const struct consumer_options *o, struct err *e)
{
    flow_of(b)->last = *o;
    struct consumer *c = consumer_open(flow_of(b)->inner, o, e);
    if (!c)
        return NULL;
    if (passing != flow_of(b) || passed != passing->inner->ops) { /* not while others read it */
        passing = flow_of(b);
        passed = passing->inner->ops;
        pass_consumer_ops = *passed;
        pass_consumer_ops.commit = pass_commit;
    }
    c->ops = &pass_consumer_ops;
    return c;
}

static bool pass_topics(struct broker *b, const char *prefix, void (*each)(void *, const char *), void *ctx,
                        struct err *e)
{
    return flow_of(b)->unlisted || broker_topics(flow_of(b)->inner, prefix, each, ctx, e);
}

static bool pass_groups(struct broker *b, const char *prefix, const struct group_seen *seen, struct err *e)
{
    return broker_groups(flow_of(b)->inner, prefix, seen, e);
}

static struct log *pass_log(struct broker *b, const struct log_options *o, struct err *e)
{
    return broker_log(flow_of(b)->inner, o, e);
}

static void pass_log_close(struct log *l)
{
    passed->log_close(l);
}

static const struct broker_ops pass_ops = { .type = "flow",
                                            .topic = pass_topic,
                                            .topics = pass_topics,
                                            .partitions = pass_partitions,
                                            .groups = pass_groups,
                                            .publish = pass_publish,
                                            .state = pass_state,
                                            .tail = pass_tail,
                                            .consume = pass_consume,
                                            .log = pass_log,
                                            .log_close = pass_log_close };

void flow_open_in(struct flow *f, const char *folder)
{
    struct err e = { "" };
    *f = (struct flow){ .broker.ops = &pass_ops };
    f->names = (struct broker_config){ .type = BROKER_LOCAL,
                                       .path = (char *)(uintptr_t)folder,
                                       .prefix = "aq.",
                                       .group_prefix = "aq.",
                                       .servers = "",
                                       .instance = "" };
    f->inner = broker_open(&f->names, &e);
    if (!f->inner)
        fail_msg("%s", e.text);
}

void flow_open(struct flow *f)
{
    flow_open_in(f, ":memory:");
}

void flow_close(struct flow *f)
{
    broker_close(f->inner);
    clock_real();
}

static void flow_end_held(struct flow *f, enum outcome o, const char *why)
{
    broker_flush(f->inner, (struct duration){ 10000 });
    f->weather = CLEAR;
    for (size_t i = 0; i < f->held; i++)
        f->holding[i].done(f->holding[i].ctx, f->holding[i].tag, o, why);
    f->held = 0;
}

void flow_release(struct flow *f)
{
    flow_end_held(f, OUTCOME_STORED, "");
}

void flow_refuse_held(struct flow *f)
{
    flow_end_held(f, OUTCOME_UNAVAILABLE, "refused by the test");
}

bool flow_make_topic(void *ctx, const char *topic, const char *group, struct err *e)
{
    struct flow *f = ctx;
    return broker_topic(f->inner,
                        &(struct topic_config){
                            .name = (char *)(uintptr_t)topic, .partitions = 1, .consumed_by = group },
                        e);
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
    flow_store(f, topic, key,
               event_like((struct event){ .id = str_of(id),
                                          .type = STR("t.happened"),
                                          .datacontenttype = STR("application/json"),
                                          .data = STR("{\"n\":1}") }));
}

void flow_store(struct flow *f, const char *topic, const char *key, const struct event *ev)
{
    struct header headers[EVENT_HEADERS];
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
