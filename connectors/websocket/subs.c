/* SPDX-License-Identifier: MIT */
/* Subscriptions by name. */
#include "connectors/websocket/subs.h"
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/mem.h"
#include "connectors/websocket/ticket.h"

enum { SUBS_NAME = 64 }; /* longest */

/* The name that an op gives, in JSON as it is always written; NULL with *e. free() it. */
static char *subs_name(const struct op *o, struct err *e)
{
    struct buf text = buf_new(SUBS_NAME + 1), json = buf_new(8 * SUBS_NAME);
    bool good = op_text(o, "sub", SUBS_NAME, &text, e);
    if (good)
        jscan_add_string(&json, buf_str(&text));
    char *name = good ? str_dup(buf_str(&json)) : NULL;
    buf_free(&text);
    buf_free(&json);
    return name;
}

static struct sub *subs_find(const struct talk *t, const char *name)
{
    for (struct sub *s = t->subs; s; s = s->next)
        if (strcmp(s->name, name) == 0)
            return s;
    return NULL;
}

/* What it wants, and whether that can be had. */
struct arriving {
    struct buf durable; /* its name, in names; empty: none */
    struct named_by by;
    int64_t window;
    struct subscription wanted;
    struct wish wish;
    enum grant grant;
    struct granted granted;
};

/* Gives the seat its place: in the ring, behind, or in doubt. */
static void subs_seat(const struct subs_house *h, struct arriving *a, struct cohort *c, struct seat *t)
{
    struct buf told = buf_new(TOLD_BYTES);
    bool latest = a->wish.start.from == CURSOR_LATEST;
    t->slow = (unsigned)a->wish.slow & SEAT_SLOW;
    if (a->grant == GRANT_YES && !latest)
        told_add(&told, &c->subscription,
                 &(struct told){ .resume = a->granted.resume, .places = h->places, .lost = a->granted.lost });
    if (a->grant != GRANT_YES)
        replay_ask(h->replay, c, t, &a->wish, buf_str(&told));
    else if (!latest)
        replay_begin(h->replay, c, t, spot_ref(a->granted.spot), buf_str(&told));
    else
        cohort_join(c, t);
    if (a->grant == GRANT_YES && h->places->log)
        replay_note(h->replay, &a->granted);
    buf_free(&told);
}

/* May it begin where it wants to? */
static enum code subs_grant(const struct subs_house *h, struct arriving *a, struct err *e)
{
    bool latest = a->wish.start.from == CURSOR_LATEST;
    if (!latest)
        places_look(h->places);
    a->grant = wish_grant(&a->wish, h->places, &a->wanted, &a->granted, e);
    if (a->grant == GRANT_NO)
        return CODE_BAD_POSITION;
    if (latest || replay_has_room(h->replay))
        return 0;
    err_set(e, "too many listeners catch up with the log; see option max_catching_up");
    return CODE_UNAVAILABLE;
}

static void subs_arriving_free(struct arriving *a)
{
    free(a->by.user);
    subscription_free(&a->wanted);
    wish_free(&a->wish);
    granted_free(&a->granted);
    buf_free(&a->durable);
}

/* One more of the connection, without a cohort. */
static struct sub *subs_new(struct talk *t, char *name)
{
    struct sub *s = mem_alloc(sizeof *s);
    s->name = name;
    s->next = t->subs;
    t->subs = s;
    t->count++;
    seat_take(&s->seat, t->listener);
    return s;
}

/* Takes the name over, and the subscription to a place, or to where its place is asked. */
static enum code subs_join(struct talk *t, const struct subs_house *h, const struct op *o, char *name,
                           struct arriving *a, struct err *e)
{
    if (a->durable.n) {
        struct sub *s = subs_new(t, name);
        s->asked = o->asked;
        s->named = named_new(h->names, buf_str(&a->durable), &a->by, s);
        a->by.user = NULL;
        s->arriving = mem_alloc(sizeof *a);
        *s->arriving = *a;
        *a = (struct arriving){ 0 };
        return 0;
    }
    enum code code = subs_grant(h, a, e);
    struct cohort *c = code ? NULL : cohorts_get(h->cohorts, &a->wanted, t->listener, e);
    if (!c) {
        free(name);
        return code ? code : CODE_TOO_MANY;
    }
    subs_seat(h, a, c, &subs_new(t, name)->seat);
    return 0;
}

static enum code subs_read_durable(const struct talk *t, const struct subs_house *h, const struct op *o,
                                   struct arriving *a, struct err *e)
{
    a->durable = buf_new(SUBS_NAME + 1);
    a->window = WINDOW;
    if (!op_member(o, "name"))
        return !op_member(o, "window") || err_set(e, "window: goes with name alone") ? 0 : CODE_MALFORMED;
    if (!op_text(o, "name", SUBS_NAME, &a->durable, e) || !op_number(o, "window", 1, WINDOW_MOST, &a->window, e))
        return CODE_MALFORMED;
    if (!named_is_good(buf_str(&a->durable))) {
        err_set(e, "name: has letters, digits, points, dashes and underlines");
        return CODE_MALFORMED;
    }
    if (!named_by(ticket_rights(t->listener), &a->by)) {
        err_set(e, "name: " NAMED_BY_NONE);
        return CODE_FORBIDDEN;
    }
    if (!h->places->log || !h->places->bookmarks) {
        err_set(e, "name: the log of this broker cannot be read from a position");
        return CODE_UNAVAILABLE;
    }
    if (a->wish.slow != SLOW_CATCHUP) {
        err_set(e, "slow: who has a name gets everything");
        return CODE_MALFORMED;
    }
    if (!op_member(o, "from"))
        a->wish.start.from = CURSOR_EARLIEST;
    return 0;
}

/* What the op asks for, within the rights of the listener. */
static enum code subs_read(const struct talk *t, const struct subs_house *h, const struct op *o, const char *name,
                           struct arriving *a, struct err *e)
{
    enum code code = subscription_of_op(&a->wanted, o, name, h->topics, e);
    if (!code && ticket_rights(t->listener))
        code = rights_narrow(ticket_rights(t->listener), &a->wanted, h->topics, e);
    if (!code)
        subscription_encode(&a->wanted, t->cbor, t->deflate);
    if (!code && !wish_of_op(&a->wish, o, e))
        code = CODE_MALFORMED;
    return code ? code : subs_read_durable(t, h, o, a, e);
}

enum code subs_add(struct talk *t, const struct subs_house *h, const struct op *o, struct err *e)
{
    struct arriving a = { .grant = GRANT_NO };
    char *name = subs_name(o, e);
    enum code code = name ? 0 : CODE_MALFORMED;
    if (!code && subs_find(t, name)) {
        err_set(e, "sub: there is one of this name already");
        code = CODE_CONFLICT;
    }
    if (!code && t->count >= h->most) {
        err_set(e, "there are %lld subscriptions already; see option max_subscriptions_per_listener",
                (long long)t->count);
        code = CODE_TOO_LONG;
    }
    if (!code)
        code = subs_read(t, h, o, name, &a, e);
    if (code)
        free(name);
    else
        code = subs_join(t, h, o, name, &a, e);
    subs_arriving_free(&a);
    return code;
}

enum code subs_drop(struct talk *t, const struct op *o, struct err *e)
{
    char *name = subs_name(o, e);
    if (!name)
        return CODE_MALFORMED;
    struct sub *s = subs_find(t, name);
    free(name);
    if (!s || s->ending || s->arriving) {
        err_set(e, s && s->arriving ? "sub: it is still being looked up" : "sub: there is none of this name");
        return s && s->arriving ? CODE_CONFLICT : CODE_UNKNOWN;
    }
    s->ending = true;
    s->asked = o->asked;
    return 0;
}

/* Its seat is off the listener. */
static void subs_free(struct talk *t, struct sub **at)
{
    struct sub *s = *at;
    *at = s->next;
    t->count--;
    named_free(s->named);
    if (s->arriving)
        subs_arriving_free(s->arriving);
    free(s->arriving);
    if (s->seat.windowed)
        window_free(&s->windowed.window);
    free(s->name);
    free(s);
}

/* Its name stands somewhere: it takes its seat. */
static enum code subs_settle(struct talk *t, const struct subs_house *h, struct sub *s, struct err *e)
{
    struct arriving *a = s->arriving;
    enum code code = subs_grant(h, a, e);
    struct cohort *c = code ? NULL : cohorts_get(h->cohorts, &a->wanted, t->listener, e);
    if (!c)
        return code ? code : CODE_TOO_MANY;
    s->seat.windowed = 1;
    s->windowed.window = (struct window){ .most = (uint32_t)a->window };
    subs_seat(h, a, c, &s->seat);
    subs_arriving_free(a);
    free(a);
    s->arriving = NULL;
    return 0;
}

enum grant subs_arrive(struct talk *t, const struct subs_house *h, struct sub *s, enum code *code, struct err *e)
{
    *code = 0;
    places_look(h->places);
    enum grant is = named_place(s->named, h->names, &s->arriving->wish, &s->arriving->wanted, code, e);
    if (is == GRANT_YES && (*code = subs_settle(t, h, s, e)))
        is = GRANT_NO;
    if (is != GRANT_NO)
        return is;
    struct sub **at = &t->subs;
    while (*at != s)
        at = &(*at)->next;
    seat_give_up(&s->seat);
    subs_free(t, at);
    return GRANT_NO;
}

enum code subs_acknowledge(struct talk *t, const struct subs_house *h, const struct op *o, struct err *e)
{
    struct buf text = buf_new(CURSOR_TEXT_MAX + 1);
    char *name = subs_name(o, e);
    struct sub *s = name ? subs_find(t, name) : NULL;
    enum code code = name ? 0 : CODE_MALFORMED;
    struct cursor *c = NULL;
    free(name);
    if (!code && (!s || s->ending || s->arriving || !s->named)) {
        err_set(e, s && !s->named ? "sub: it has no `name` that could stand anywhere"
                                  : "sub: there is none of this name, or none yet");
        code = s && !s->named ? CODE_MALFORMED : CODE_UNKNOWN;
    }
    if (!code && !op_text(o, "pos", CURSOR_TEXT_MAX, &text, e))
        code = CODE_MALFORMED;
    if (!code && !(c = named_cursor(h->names, buf_str(&text), e))) {
        err_prefix(e, "pos");
        code = CODE_BAD_POSITION;
    }
    if (!code && !named_acknowledge(s->named, &o->asked, buf_str(&text))) {
        err_set(e, "%d acknowledgements of it wait already", NAMED_ACKS);
        code = CODE_TOO_MANY;
    }
    if (!code) {
        window_acknowledge(&s->windowed.window, h->places, c);
        replay_acknowledged(h->replay, &s->seat);
    }
    cursor_free(c);
    buf_free(&text);
    return code;
}

void subs_turn(struct talk *t, void (*tell)(struct talk *t, const struct sub *s))
{
    for (struct sub **at = &t->subs, *s; (s = *at);) {
        if (!s->ending || t->listener->unfinished == &s->seat) {
            at = &s->next;
            continue;
        }
        seat_give_up(&s->seat);
        tell(t, s);
        subs_free(t, at);
    }
}

void subs_close(struct talk *t)
{
    while (t->subs)
        subs_free(t, &t->subs);
}
