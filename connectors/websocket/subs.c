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

/* Takes the name and the subscription over. */
static enum code subs_join(struct talk *t, struct cohorts *all, char *name, struct subscription *wanted, struct err *e)
{
    struct cohort *c = cohorts_get(all, wanted, t->listener, e);
    if (!c) {
        free(name);
        return CODE_TOO_MANY;
    }
    struct sub *s = mem_alloc(sizeof *s);
    s->name = name;
    s->next = t->subs;
    t->subs = s;
    t->count++;
    seat_take(&s->seat, t->listener);
    cohort_join(c, &s->seat);
    return 0;
}

enum code subs_add(struct talk *t, struct cohorts *all, const struct op *o, const struct strings *topics, int64_t most,
                   struct err *e)
{
    struct subscription wanted = { 0 };
    char *name = subs_name(o, e);
    enum code code = name ? 0 : CODE_MALFORMED;
    if (!code && subs_find(t, name)) {
        err_set(e, "sub: there is one of this name already");
        code = CODE_CONFLICT;
    }
    if (!code && t->count >= most) {
        err_set(e, "there are %lld subscriptions already; see option max_subscriptions_per_listener",
                (long long)t->count);
        code = CODE_TOO_LONG;
    }
    if (!code)
        code = subscription_of_op(&wanted, o, name, topics, e);
    if (!code && ticket_rights(t->listener))
        code = rights_narrow(ticket_rights(t->listener), &wanted, topics, e);
    if (code)
        free(name);
    else
        code = subs_join(t, all, name, &wanted, e);
    subscription_free(&wanted);
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
