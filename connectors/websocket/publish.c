/* SPDX-License-Identifier: MIT */
/* Events of listeners on their way. */
#include "connectors/websocket/publish.h"
#include <stdlib.h>
#include <unistd.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/uri.h"
#include "connectors/websocket/message.h"

METRIC_COUNTER(aqueduct_listener_published_total, "Events of listeners that are stored.", "sink");
METRIC_COUNTER(aqueduct_listener_published_refused_total,
               "Messages of listeners that were not stored, whatever the reason.", "sink");

enum {
    PUBLISH_USER_BYTES = 2 << 20, /* most on their way of one user, but at least one message */
    PUBLISH_BYTES = 32 << 20,     /* of all; one message may go beyond */
    PUBLISH_TAKEN = 64,
};

const struct option publish_rows[] = {
    OPTION(struct publish_options, types,
           .doc = "Types that listeners may publish, such as chat.message; chat.* for all that begin so, * for any. "
                  "Default: nothing is published."),
    OPTION(struct publish_options, subjects,
           .doc = "Subjects that such events may have, written in the same way. Default: any, and none."),
    OPTION(struct publish_options, source,
           .doc =
               "CloudEvents source of all of them, whatever the client says; default /websocket/<name of the sink>."),
    OPTION(struct publish_options, per_second, .fallback = "100", .max = 1000000,
           .doc =
               "Most messages a second of one user (whose token it is, else the address); beyond: 4429. 0: no limit."),
    OPTION(struct publish_options, burst, .fallback = "200", .min = 1, .max = 1000000,
           .doc = "Most of those at once, after silence."),
    OPTION(struct publish_options, in_flight, .fallback = "64", .min = 1, .max = 1024,
           .doc = "Most events of one user that are not acknowledged yet; beyond: 4429."),
    { 0 },
};

bool publish_is_set(const struct publish_options *o)
{
    return o->types.count > 0;
}

static bool publish_is_text(const char *text)
{
    return text && *text;
}

bool publish_check(const struct publish_options *o, struct err *e)
{
    if (!publish_is_set(o))
        return (o->subjects.count == 0 && !publish_is_text(o->source))
               || err_set(e, "publish.types: is missing: say which types listeners may publish; [\"*\"]: any");
    if (publish_is_text(o->source) && !uri_is_reference(str_of(o->source)))
        return err_set(e, "publish.source: \"%.100s\" is not a URI reference (RFC 3986)", o->source);
    for (size_t i = 0; i < o->types.count; i++)
        if (!*o->types.at[i])
            return err_set(e, "publish.types[%zu]: is empty", i);
    return true;
}

void publish_open(struct publisher *p, const struct sink *s)
{
    p->inward = (struct inward *)s->inward;
    p->source = publish_is_text(p->o.source) ? str_dup(str_of(p->o.source)) : str_join("/websocket/", s->id, "");
    p->wake_fd = wake_new();
    mailbox_open(&p->answers, p->wake_fd);
    p->stored = metric_get(&aqueduct_listener_published_total, LABELS(s->id));
    p->refused = metric_get(&aqueduct_listener_published_refused_total, LABELS(s->id));
}

/* It is answered, or never will be. */
static void publish_end(struct publisher *p, struct publishing *one)
{
    peer_published(one->user, one->bytes);
    if (one->before)
        one->before->next = one->next;
    else
        p->first = one->next;
    if (one->next)
        one->next->before = one->before;
    event_unref(one->base.event);
    free(one->base.scope);
    free(one);
}

void publish_close(struct publisher *p)
{
    for (struct publishing *one; (one = p->first);) {
        CHECK(!one->before);
        publish_end(p, one);
    }
    mailbox_close(&p->answers);
    close(p->wake_fd);
    free(p->source);
}

/* ---- messages ---- */

static bool publish_fits(const struct strings *patterns, struct str text)
{
    for (size_t i = 0; i < patterns->count; i++) {
        struct str one = str_of(patterns->at[i]);
        if (str_ends(one, STR("*")) ? str_starts(text, (struct str){ one.at, one.n - 1 }) : str_eq(text, one))
            return true;
    }
    return false;
}

static bool publish_is_allowed(const struct publisher *p, const struct rights *rights, const struct event *ev,
                               struct err *e)
{
    if (!publish_fits(&p->o.types, ev->type) || (rights && !rights_let_publish(rights, ev->type)))
        return err_set(e, "type \"%.*s\" may not be published here", (int)(ev->type.n < 100 ? ev->type.n : 100),
                       ev->type.at);
    if (p->o.subjects.count && !publish_fits(&p->o.subjects, ev->subject))
        return err_set(e, "subject \"%.*s\" may not be published here",
                       (int)(ev->subject.n < 100 ? ev->subject.n : 100), ev->subject.n ? ev->subject.at : "");
    return true;
}

/* Takes room for one more message of the user, whatever is in it. */
static enum code publish_room(struct publisher *p, struct peer *user, size_t bytes, struct err *e)
{
    const struct bucket_size size = { p->o.per_second, (double)p->o.burst };
    const struct peer_publishing most = { p->o.in_flight, PUBLISH_USER_BYTES, PUBLISH_BYTES };
    uint32_t under_way = 0;
    if (!p->inward) {
        err_set(e, "nothing is published here; see option publish");
        return CODE_FORBIDDEN;
    }
    int64_t wait = peer_take(user, PEER_PUBLISHES, &size, clock_mono_us());
    if (wait > 0) {
        err_set(e, "too many messages a second; the next one is taken in %lld ms", (long long)(wait + 999) / 1000);
        return CODE_TOO_MANY;
    }
    switch (peer_publish(user, &most, bytes, &under_way)) {
    case PEER_HAS_ROOM: return 0;
    case PEER_IS_FULL:
        err_set(e, "%u events of yours are not acknowledged yet; wait for one", under_way);
        return CODE_TOO_MANY;
    case PEERS_ARE_FULL: break;
    }
    err_set(e, "too much is being stored; send it again later");
    return CODE_UNAVAILABLE;
}

static void publish_start(struct publisher *p, const struct publish_call *c, const struct published_event *pe)
{
    struct publishing *one = mem_alloc(sizeof *one);
    *one = (struct publishing){ .base = { pe->event, pe->scope, pe->unique, &p->answers },
                                .next = p->first,
                                .listener = c->listener,
                                .request = c->request,
                                .user = c->user,
                                .bytes = event_bytes(pe->event),
                                .asked = c->asked };
    if (p->first)
        p->first->before = one;
    p->first = one;
    peer_resize(c->user, c->json.n, one->bytes);
    if (!inward_hand(p->inward, &one->base))
        mailbox_put(&p->answers, (uint64_t)(uintptr_t)one, OUTCOME_UNAVAILABLE, "shutting down");
}

/* 0: the message is an event that may be published. */
static enum code publish_read(const struct publisher *p, const char *sink_id, const struct publish_call *c,
                              struct published_event *out, struct err *e)
{
    char *scope = str_join(sink_id, c->name.at ? "/" : "", "");
    struct buf whose = buf_new(EVENT_ATTRIBUTE_BYTES);
    buf_add_c(&whose, scope);
    buf_add_str(&whose, c->name);
    const struct author by = { str_of(p->source), c->name, buf_str(&whose) };
    bool read = message_read(c->json, &by, out, e);
    buf_free(&whose);
    free(scope);
    if (!read)
        return CODE_MALFORMED;
    if (publish_is_allowed(p, c->rights, out->event, e))
        return 0;
    event_unref(out->event);
    free(out->scope);
    return CODE_FORBIDDEN;
}

enum code publish_message(struct publisher *p, const char *sink_id, const struct publish_call *c, struct err *e)
{
    struct published_event pe;
    enum code code = publish_room(p, c->user, c->json.n, e);
    if (!code) {
        code = publish_read(p, sink_id, c, &pe, e);
        if (code)
            peer_published(c->user, c->json.n);
        else
            publish_start(p, c, &pe);
    }
    if (code)
        metric_add(p->refused, 1);
    return code;
}

void publish_forget(struct publisher *p, const struct listener *l)
{
    for (struct publishing *one = p->first; one; one = one->next)
        if (one->listener == l)
            one->listener = NULL;
}

/* ---- answers ---- */

static enum code publish_code(enum outcome o)
{
    switch (o) {
    case OUTCOME_STORED: return 0;
    case OUTCOME_INVALID: return CODE_INVALID;
    case OUTCOME_CONFLICT: return CODE_CONFLICT;
    case OUTCOME_UNAVAILABLE: return CODE_UNAVAILABLE;
    }
    return CODE_UNAVAILABLE;
}

static void publish_answer_one(struct publisher *p, const struct notice *n,
                               void (*tell)(void *ctx, const struct publish_answer *a), void *ctx)
{
    struct publishing *one = (struct publishing *)(uintptr_t)n->tag;
    enum code code = publish_code((enum outcome)n->code);
    metric_add(code ? p->refused : p->stored, 1);
    tell(ctx, &(struct publish_answer){ .listener = one->listener,
                                        .request = one->request,
                                        .asked = &one->asked,
                                        .event_id = one->base.event->id,
                                        .code = code,
                                        .why = n->why });
    publish_end(p, one);
}

void publish_answers(struct publisher *p, void (*tell)(void *ctx, const struct publish_answer *a), void *ctx)
{
    struct notice notices[PUBLISH_TAKEN];
    wake_clear(p->wake_fd);
    for (size_t n; (n = mailbox_take(&p->answers, notices, PUBLISH_TAKEN)) > 0;)
        for (size_t i = 0; i < n; i++)
            publish_answer_one(p, &notices[i], tell, ctx);
}
