/* SPDX-License-Identifier: MIT */
/* Who listens now, and where each subscription stands: for people who ask why one did not get an event. */
#include <stdlib.h>
#include "bridge/lib/jscan.h"
#include "bridge/lib/json.h"
#include "connectors/websocket/private.h"

struct roll {
    struct websocket_sink *s;
    const struct listener_question *question;
    struct buf *out;
    size_t count;
};

static const char *roll_slow(const struct seat *t)
{
    switch ((enum slow)t->slow) {
    case SLOW_CATCHUP: return "catchup";
    case SLOW_LATEST: return "latest";
    case SLOW_CONFLATE_SUBJECT: return "conflate by subject";
    case SLOW_CONFLATE_KEY: return "conflate by key";
    case SLOW_CLOSE: return "close";
    }
    return "catchup";
}

/* "topics":[..] or null: all */
static void roll_topics(struct buf *out, const struct strings *topics)
{
    buf_add_c(out, ",\"topics\":");
    if (topics->count == 0)
        buf_add_c(out, "null");
    for (size_t i = 0; i < topics->count; i++) {
        buf_add_char(out, i ? ',' : '[');
        jscan_add_string(out, str_of(topics->at[i]));
    }
    buf_add_c(out, topics->count ? "]" : "");
}

/* What it gets next of each partition, as far as that is known. */
static void roll_next(const struct roll *r, const struct seat *t)
{
    const struct places *p = &r->s->places;
    struct spot *spot = replay_where(&r->s->replay, t);
    const char *separator = "";
    buf_add_c(r->out, ",\"next\":{");
    for (uint32_t i = 0; spot && i < spot->count && i < p->count; i++) {
        if (spot->next[i] < 0 || !subscription_has_topic(&t->cohort->subscription, str_of(p->at[i].topic)))
            continue;
        buf_printf(r->out, "%s\"%s/%d\":%lld", separator, p->at[i].topic, (int)p->at[i].partition,
                   (long long)spot->next[i]);
        separator = ",";
    }
    buf_add_char(r->out, '}');
    spot_unref(spot);
}

static void roll_listener(const struct roll *r, const struct listener *l)
{
    const char *kind = http_stream_is_websocket(l->stream) ? "websocket" : "sse";
    const char *protocol = !l->talk ? NULL : l->talk->cbor ? "aqueduct.v1+cbor" : "aqueduct.v1+json";
    buf_printf(r->out, "%s{\"connection\":%u,\"kind\":\"%s\"", r->count ? "," : "", http_stream_number(l->stream),
               kind);
    json_add_text(r->out, "protocol", protocol ? str_of(protocol) : STR_ABSENT);
    json_add_text(r->out, "address", l->peer->name);
    json_add_text(r->out, "user", l->user == l->peer ? STR_ABSENT : l->user->name);
    json_add_moment(r->out, "since", http_stream_since(l->stream));
    buf_printf(r->out, ",\"token_expired\":%s", l->ticket && l->ticket->paused ? "true" : "false");
}

static bool roll_is_wanted(const struct roll *r, const struct listener *l)
{
    return r->count < r->question->most
           && (!r->question->connection || r->question->connection == http_stream_number(l->stream));
}

/* A row for each subscription; one without any says so of the connection. */
static void roll_seat(void *ctx, struct seat *t)
{
    struct roll *r = ctx;
    const struct subscription *s = &t->cohort->subscription;
    if (!roll_is_wanted(r, t->listener))
        return;
    roll_listener(r, t->listener);
    buf_printf(r->out, ",\"sub\":%s", s->sub ? s->sub : "null");
    roll_topics(r->out, &s->topics);
    char *filter = s->filter ? filter_text(s->filter) : NULL;
    buf_printf(r->out, ",\"filter\":%s,\"slow\":\"%s\",\"state\":\"%s\"", filter ? filter : "null", roll_slow(t),
               t->index == SEAT_BEHIND ? replay_state(&r->s->replay, t)
               : t->listener->blocked  ? "takes nothing"
                                       : "live");
    free(filter);
    roll_next(r, t);
    buf_add_char(r->out, '}');
    r->count++;
}

static void roll_talk(struct roll *r, const struct talk *t)
{
    if (t->subs || !roll_is_wanted(r, t->listener))
        return;
    roll_listener(r, t->listener);
    buf_printf(r->out, ",\"sub\":null,\"topics\":[],\"filter\":null,\"slow\":null,\"state\":\"%s\",\"next\":{}}",
               t->hello_by_ms ? "has shown no token yet" : "subscribes to nothing");
    r->count++;
}

void roll_write(struct sink *base, const struct listener_question *question, struct buf *out)
{
    struct roll r = { .s = (struct websocket_sink *)base, .question = question, .out = out };
    places_look(&r.s->places);
    buf_add_char(out, '[');
    for (struct cohort *c = r.s->cohorts.first; c; c = c->next)
        for (uint32_t i = 0; i < c->count; i++)
            roll_seat(&r, c->seats[i]);
    replay_each(&r.s->replay, roll_seat, &r);
    for (const struct talk *t = r.s->talks; t; t = t->next)
        roll_talk(&r, t);
    buf_add_char(out, ']');
}
