/* SPDX-License-Identifier: MIT */
/* Requests for events: their way from one state to the next, and their answers. */
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/mem.h"
#include "bridge/lib/query.h"
#include "connectors/websocket/pull_private.h"

METRIC_COUNTER(aqueduct_pulled_answers_total, "Requests for events that were answered with some or none.", "sink");
METRIC_COUNTER(aqueduct_pulled_events_total, "Events in these answers.", "sink");

enum { PULL_RETRIES = 8 };

void pull_open(struct websocket_sink *s)
{
    s->pull = (struct pull){ .answers = metric_get(&aqueduct_pulled_answers_total, LABELS(s->base.id)),
                             .events = metric_get(&aqueduct_pulled_events_total, LABELS(s->base.id)) };
}

/* ---- paths ---- */

/* What follows the path of events: "", "/positions", "/positions/x". False: it is another path. */
static bool pull_rest(const struct websocket_sink *s, struct str path, struct str *rest)
{
    struct str own = str_of(s->path);
    own.n -= own.n > 0 && own.at[own.n - 1] == '/';
    if (!str_starts(path, own) || !str_starts(str_from(path, own.n), STR("/events")))
        return false;
    *rest = str_from(path, own.n + sizeof "/events" - 1);
    return rest->n == 0 || str_eq(*rest, STR("/positions")) || str_starts(*rest, STR("/positions/"));
}

bool pull_is_path(const struct websocket_sink *s, struct str path)
{
    struct str rest;
    return pull_rest(s, path, &rest);
}

/* ---- requests ---- */

static struct pulling *pull_new(const struct http_request *r, const struct rights *rights, struct peer *peer)
{
    struct pulling *p = mem_alloc(sizeof *p);
    struct str origin = http_header(r, "Origin", NULL);
    *p = (struct pulling){ .id = r->id, .peer = peer, .head = str_eq(r->method, STR("HEAD")) };
    p->origin = origin.n ? str_dup(origin) : NULL;
    p->give_up_ms = clock_mono_ms() + PULL_PATIENCE_MS;
    /* Let in within the leeway of its verifier: it waits for nothing. */
    p->until_ms = rights_are_over(rights, clock_wall_ms()) ? 0 : rights->until_ms;
    return p;
}

static void pull_free(struct pulling *p, struct websocket_sink *s)
{
    if (s->base.log)
        pull_close_readers(p, s);
    peer_leave(p->peer, clock_mono_us());
    subscription_free(&p->wanted);
    cursor_free(p->cursor);
    buf_free(&p->body);
    free(p->origin);
    free(p->from);
    free(p->name);
    free(p->by.user);
    free(p->ack);
    free(p);
}

/* ---- from state to state; each returns true when it is answered ---- */

static bool pull_keeps(struct pulling *p, struct websocket_sink *s)
{
    struct err e = { "" };
    if (p->tag)
        return false; /* its outcome is awaited */
    switch (pull_keep(p, s, &e)) {
    case PULL_KEPT_LATER:
    case PULL_KEPT_BEGUN: return false;
    case PULL_KEPT_FOREIGN: pull_fail(s, p, 403, NAMED_FOREIGN); return true;
    case PULL_KEPT_NONE: pull_fail(s, p, 404, "there is no position of this name"); return true;
    case PULL_KEPT_WRONG: pull_fail(s, p, 400, e.text); return true;
    case PULL_KEPT_CHANGED:
        p->state = PULL_ASKS;
        cursor_free(p->cursor);
        p->cursor = NULL;
        return false;
    }
    return false;
}

/* The bookmark has its outcome. */
static bool pull_kept(struct pulling *p, struct websocket_sink *s, const struct bookmark_done *done)
{
    bool only = p->sets || p->forgets;
    p->tag = 0;
    switch (done->outcome) {
    case BOOKMARK_STORED:
        p->state = p->creates ? PULL_READS : PULL_ASKS;
        if (only)
            pull_reply(s, p, 204, NULL, 0, STR(""));
        return only;
    case BOOKMARK_CHANGED:
        if (++p->retries > PULL_RETRIES)
            pull_fail(s, p, 503, "others move the same position at the same time");
        return p->retries > PULL_RETRIES;
    case BOOKMARK_REFUSED: pull_fail(s, p, 409, done->why); return true;
    case BOOKMARK_FAILED: pull_fail(s, p, 503, done->why); return true;
    }
    return false;
}

static bool pull_asks(struct pulling *p, struct websocket_sink *s)
{
    struct err e = { "" };
    if (pull_place(p, s, &e)) {
        p->state = p->creates ? PULL_KEEPS : PULL_READS;
        return false;
    }
    if (e.text[0])
        pull_fail(s, p, p->foreign ? 403 : 400, e.text);
    return e.text[0];
}

static bool pull_reads(struct pulling *p, struct websocket_sink *s, bool *again)
{
    uint64_t sent = s->pull.sent;
    if (http_server_unsent(s->server) > (size_t)s->max_buffered.n)
        return false; /* those who have their answers are to take them first */
    switch (pull_read(p, s)) {
    case PULL_MORE: *again = true; return false;
    case PULL_LATER: return false;
    case PULL_END:
        p->state = PULL_WAITS;
        p->seen = sent;
        if (p->count == 0 && clock_mono_ms() < p->due_ms && !s->draining)
            return false;
        break;
    case PULL_FULL: break;
    }
    pull_answer(p, s);
    return true;
}

/* Its token has expired: it is answered with what was read before that. */
static void pull_end_expired(struct pulling *p, struct websocket_sink *s)
{
    if (p->count > 0)
        pull_answer(p, s);
    else
        pull_fail(s, p, 401, "the token has expired");
}

static bool pull_step(struct pulling *p, struct websocket_sink *s, bool *again)
{
    int64_t now = clock_mono_ms();
    if (p->until_ms && clock_wall_ms() >= p->until_ms && !p->tag) {
        pull_end_expired(p, s);
        return true;
    }
    if (p->state == PULL_WAITS && (p->seen != s->pull.sent || now >= p->due_ms))
        p->state = PULL_READS;
    bool answered = false;
    if (!answered && p->state == PULL_LISTS)
        answered = pull_list(p, s);
    if (!answered && p->state == PULL_KEEPS)
        answered = pull_keeps(p, s);
    if (!answered && p->state == PULL_ASKS)
        answered = pull_asks(p, s);
    if (!answered && p->state == PULL_KEEPS)
        answered = pull_keeps(p, s);
    if (!answered && p->state == PULL_READS)
        answered = pull_reads(p, s, again);
    if (!answered && now >= p->give_up_ms) {
        pull_fail(s, p, 503, "the log does not answer");
        answered = true;
    }
    return answered;
}

/* False: it is none of ours. */
static bool pull_outcome(struct websocket_sink *s, const struct bookmark_done *done)
{
    for (struct pulling **at = &s->pull.first, *p; (p = *at); at = &p->next)
        if (p->tag == done->tag) {
            if (pull_kept(p, s, done)) {
                *at = p->next;
                pull_free(p, s);
            }
            return true;
        }
    return false;
}

/* Whose bookmarks have their outcomes. */
static void pull_outcomes(struct websocket_sink *s)
{
    struct bookmark_done done[16];
    size_t n;
    while (s->base.bookmarks && (n = s->base.bookmarks->ops->done(s->base.bookmarks, done, 16)) > 0)
        for (size_t i = 0; i < n; i++)
            if (!pull_outcome(s, &done[i]))
                names_outcome(&s->names, &done[i]);
}

static bool pull_has_key(struct websocket_sink *s)
{
    unsigned char secret[32];
    if (s->pull.key || !s->base.bookmarks->ops->secret(s->base.bookmarks, secret))
        return s->pull.key;
    s->pull.key = hmac_new((struct str){ (const char *)secret, sizeof secret });
    crypto_wipe(secret, sizeof secret);
    return true;
}

int64_t pull_turn(struct websocket_sink *s)
{
    int64_t wait = -1, now = clock_mono_ms();
    bool again = false;
    pull_outcomes(s);
    if (!s->pull.first)
        return -1;
    bool key = pull_has_key(s);
    for (struct pulling **at = &s->pull.first, *p; (p = *at);) {
        if (key ? pull_step(p, s, &again) : now >= p->give_up_ms) {
            if (!key)
                pull_fail(s, p, 503, "the broker does not answer yet");
            *at = p->next;
            pull_free(p, s);
            continue;
        }
        int64_t left = (p->state == PULL_WAITS ? p->due_ms : p->give_up_ms) - now,
                valid = p->until_ms && !p->tag ? p->until_ms - clock_wall_ms() : left;
        left = valid < left ? valid : left;
        left = left > 0 ? left : 0;
        wait = wait < 0 || left < wait ? left : wait;
        at = &p->next;
    }
    return again ? 0 : wait;
}

/* ---- coming and going ---- */

static void pull_queue(struct websocket_sink *s, struct pulling *p)
{
    struct pulling **at = &s->pull.first;
    while (*at)
        at = &(*at)->next;
    *at = p;
}

/* Does it use a name? */
static bool pull_uses_name(const struct http_request *r, struct str rest)
{
    struct buf value = buf_new(sizeof "");
    size_t count = 0;
    query_value(r->query, STR("position"), &value, &count);
    buf_free(&value);
    return rest.n > 0 || count > 0;
}

/* What it asks for. False: it is answered. */
static bool pull_begin(struct pulling *p, struct websocket_sink *s, const struct http_request *r, struct str rest,
                       const struct rights *rights)
{
    struct err e;
    if (pull_uses_name(r, rest) && !named_by(rights, &p->by)) {
        pull_fail(s, p, 403, NAMED_BY_NONE);
        return false;
    }
    if (!s->base.log || !s->base.bookmarks) {
        pull_fail(s, p, 503, "the log of this broker cannot be read from a position");
        return false;
    }
    if (rest.n)
        return pull_names(p, s, r, rest);
    if (!str_eq(r->method, STR("GET")) && !p->head) {
        pull_fail(s, p, 405, "events come by GET");
        return false;
    }
    if (!pull_query(p, s, r, &e)) {
        pull_fail(s, p, 400, e.text);
        return false;
    }
    if (rights_narrow(rights, &p->wanted, s->base.topics, &e)) {
        pull_fail(s, p, 403, e.text);
        return false;
    }
    if (p->head) /* changes nothing and waits for nothing */
        pull_reply(s, p, 200, NULL, 0, STR(""));
    if (!p->until_ms && rights->until_ms)
        p->due_ms = clock_mono_ms();
    p->state = p->ack ? PULL_KEEPS : PULL_ASKS;
    return !p->head;
}

void pull_request(struct websocket_sink *s, const struct http_request *r, const struct rights *rights)
{
    struct str rest = STR_ABSENT;
    pull_rest(s, r->path, &rest);
    struct peer *peer = peers_enter(s->sum->peers, PEER_ADDRESS, r->network, s->max_listeners_per_ip);
    if (!peer) {
        refuse_request(s, r, 429, "too many listeners of this address; see option max_listeners_per_ip");
        return;
    }
    struct pulling *p = pull_new(r, rights, peer);
    if (pull_begin(p, s, r, rest, rights))
        pull_queue(s, p);
    else
        pull_free(p, s);
}

void pull_drain(struct websocket_sink *s)
{
    for (struct pulling *p; (p = s->pull.first);) {
        s->pull.first = p->next;
        if (p->readers || p->state == PULL_WAITS)
            pull_answer(p, s);
        else
            pull_fail(s, p, 503, "shutting down; come back later");
        pull_free(p, s);
    }
}

void pull_close(struct websocket_sink *s)
{
    for (struct pulling *p; (p = s->pull.first);) {
        s->pull.first = p->next;
        pull_free(p, s);
    }
    hmac_free(s->pull.key);
    s->pull.key = NULL;
}
