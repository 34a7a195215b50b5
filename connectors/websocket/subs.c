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

/* Takes the name and the subscription over. */
static enum code subs_join(struct talk *t, const struct subs_house *h, char *name, struct arriving *a, struct err *e)
{
    enum code code = subs_grant(h, a, e);
    struct cohort *c = code ? NULL : cohorts_get(h->cohorts, &a->wanted, t->listener, e);
    if (!c) {
        free(name);
        return code ? code : CODE_TOO_MANY;
    }
    struct sub *s = mem_alloc(sizeof *s);
    s->name = name;
    s->next = t->subs;
    t->subs = s;
    t->count++;
    seat_take(&s->seat, t->listener);
    subs_seat(h, a, c, &s->seat);
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
    return code ? code : wish_of_op(&a->wish, o, e) ? 0 : CODE_MALFORMED;
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
        code = subs_join(t, h, name, &a, e);
    subscription_free(&a.wanted);
    wish_free(&a.wish);
    granted_free(&a.granted);
    return code;
}

enum code subs_drop(struct talk *t, const struct op *o, struct err *e)
{
    char *name = subs_name(o, e);
    if (!name)
        return CODE_MALFORMED;
    struct sub *s = subs_find(t, name);
    free(name);
    if (!s || s->ending) {
        err_set(e, "sub: there is none of this name");
        return CODE_UNKNOWN;
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
    free(s->name);
    free(s);
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
