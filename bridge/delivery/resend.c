/* SPDX-License-Identifier: MIT */
/* Finds an event by its id in the log, and gives it once more to a place. */
#include "bridge/delivery/resend.h"
#include <inttypes.h>
#include <stdlib.h>
#include "bridge/delivery/find_event.h"
#include "bridge/event/event.h"

enum { RESEND_LOOKED = 4096 }; /* bytes about where it was searched */

static bool resend_is_source(const struct record *r, struct str source)
{
    const struct event *ev = event_from_record(r, NULL);
    bool is = ev && (!source.at || str_eq(ev->source, source));
    event_unref(ev);
    return is;
}

/* Of the same topic and source? */
static bool resend_is_repeat(const struct record *a, const struct record *b)
{
    const struct event *ev = event_from_record(a, NULL);
    bool is = ev && str_eq(a->topic, b->topic) && resend_is_source(b, ev->source);
    event_unref(ev);
    return is;
}

static void resend_keep(struct resend *s, const struct record *r)
{
    size_t i = 0;
    while (i < s->count && !resend_is_repeat(s->found[i], r))
        i++;
    if (i == RESEND_FOUND || (i < s->count && s->found[i]->timestamp_ms > r->timestamp_ms))
        return;
    if (i < s->count)
        record_free(s->found[i]);
    s->found[i] = record_ref((struct record *)(uintptr_t)r);
    s->count += i == s->count;
}

static bool resend_look_at(void *ctx, const struct record *r)
{
    struct resend *s = ctx;
    s->read++;
    s->whole = s->whole && (!s->go_on || s->go_on(s->ctx, s->reading, s->read));
    if (find_event_is(r, s->id) && resend_is_source(r, s->source))
        resend_keep(s, r);
    return s->whole;
}

static bool resend_topic(void *ctx, const char *topic)
{
    struct resend *s = ctx;
    const struct look_options o = {
        .topic = topic, .since_ms = s->since_ms, .most = FIND_EVENT_SCAN, .may_lack = !s->topic.at
    };
    s->reading = topic;
    s->read = 0;
    bool ok = look_once(&s->config->broker, &o, resend_look_at, s, s->e);
    buf_printf(&s->looked, "%s%s (%" PRId64 "%s)", s->looked.n ? ", " : "", topic, s->read,
               s->read >= FIND_EVENT_SCAN ? " newest records"
               : s->read == 1             ? " record"
                                          : " records");
    return ok;
}

bool resend_search(struct resend *s, struct err *e)
{
    const struct config *c = s->config;
    s->looked = buf_new(RESEND_LOOKED);
    s->whole = true;
    s->e = e;
    if (!s->topic.at)
        return find_event_topics(c, resend_topic, s);
    char *topic = str_dup(s->topic);
    const char *near = find_event_nearest(c, topic);
    bool ok = find_event_is_own(c, topic) ? err_set(s->e, "topic %s: is the bridge's own", topic)
                                          : resend_topic(s, topic);
    struct err why = *s->e;
    if (!ok && near)
        err_set(s->e, "%s (did you mean %s?)", why.text, near);
    free(topic);
    return ok;
}

void resend_none(const struct resend *s, struct err *e)
{
    err_set(e, "there is no event with this id%s%s; looked at %.*s%s%s%s", s->source.at ? " and source" : "",
            find_event_hint(s->id), STR_ARG(buf_str(&s->looked)), s->looked.failed ? ", ..." : "",
            s->since_ms ? ", as far back as since says" : "",
            s->whole ? "" : ", and stopped there: say topic or since");
}

void resend_free(struct resend *s)
{
    for (size_t i = 0; i < s->count; i++)
        record_free(s->found[i]);
    buf_free(&s->looked);
}

void resent_make(struct resent *out, const struct record *r, const char *prefix, const struct command_place *to)
{
    out->redrive = topic_name(prefix, TOPIC_REDRIVE, to->sink);
    out->dead = topic_name(prefix, TOPIC_DEAD_LETTER, NULL);
    trail_move(&out->event, r, out->redrive,
               (const char *const[]){ TRAIL_ENDPOINT, to->endpoint, TRAIL_STATE, "resent", NULL });
    trail_resent(&out->note, r, out->dead, to->sink, to->endpoint);
    out->records[0] = out->event.record;
    out->records[1] = out->note.record;
}

void resent_free(struct resent *m)
{
    trail_free(&m->note);
    trail_free(&m->event);
    free(m->dead);
    free(m->redrive);
}
