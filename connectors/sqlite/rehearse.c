/* SPDX-License-Identifier: MIT */
/* For `aqueduct test`: the source at work on a database in which a case's rows change. It looks at what is there before,
 * as with `start: now`, and once more when they have changed: what that look tells are the events of the case. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "connectors/sqlite/stage.h"

enum { REHEARSE_ROOM = 64 };

extern const struct source_ops sqlite_source;

struct rehearsal {
    struct sqlite_source s;
    fault_fn *wrong, *doubtful;
    void *ctx;
    bool guessed; /* the tables are those that the rows name */
    const struct event **out;
    size_t count, room;
    struct remark {
        const struct rule *rule;
        char *text;
    } * remarks; /* what it said of its rules */
    size_t remark_count, judged;
};

static void rehearse_told(void *ctx, const struct rule *r, const char *why)
{
    struct rehearsal *h = ctx;
    h->remarks = mem_grow(h->remarks, h->remark_count + 1, sizeof *h->remarks);
    h->remarks[h->remark_count++] = (struct remark){ r, str_dup(str_of(why)) };
}

/* ---- events ---- */

/* A row of which no event can be made: what is told of it says why. */
static void rehearse_refused(struct rehearsal *h, const struct event *ev, const char *why)
{
    struct err e;
    json_t *told = json_loadb(ev->data.at, ev->data.n, 0, NULL);
    err_set(&e, "%s: rule %.60s: the row %.60s is refused, and becomes a dead letter: %s", h->s.base.id,
            json_text(told, "rule"), json_text(told, "row"), why);
    json_decref(told);
    h->wrong(h->ctx, "", e.text);
}

/* `keep`: its event is one of the case; otherwise it is of what was there before. */
static void rehearse_take(struct rehearsal *h, const struct emission *one, bool keep)
{
    struct err e;
    if (one->event && one->refused) {
        rehearse_refused(h, one->event, one->refused);
    } else if (one->event && keep && h->count < h->room) {
        h->out[h->count++] = one->event;
        return;
    } else if (one->event && keep) {
        err_set(&e, "%s: the rows give more than %zu events", h->s.base.id, h->room);
        h->wrong(h->ctx, "", e.text);
    }
    event_unref(one->event);
}

/* One pass over all rules. False: it cannot read, *e says why. */
static bool rehearse_look(struct rehearsal *h, bool keep, struct err *e)
{
    struct emission got[REHEARSE_ROOM];
    struct source *s = &h->s.base;
    uint32_t before = h->s.pass.number;
    int n;
    do {
        n = sqlite_source.read(s, -1, got, REHEARSE_ROOM, e);
        for (int i = 0; i < n; i++)
            rehearse_take(h, &got[i], keep);
        for (int i = 0; i < n; i++)
            sqlite_source.settle(s, got[i].tag, OUTCOME_STORED, NULL);
    } while (n > 0 || (n == 0 && (h->s.pass.running || h->s.pass.number == before)));
    return n == 0;
}

/* ---- what does not fit ---- */

static bool rehearse_is_own(const struct rehearsal *h, const struct rule *r)
{
    const struct rule_options *first = h->s.capture.at, *o = r->o;
    for (size_t i = 0; i < h->s.capture.count; i++)
        if (o == &first[i] || instance_is_of(&first[i], str_of(r->name)))
            return true;
    return false;
}

static bool rehearse_is_last(const struct rehearsal *h, size_t i)
{
    for (size_t k = i + 1; k < h->remark_count; k++)
        if (h->remarks[k].rule == h->remarks[i].rule)
            return false;
    return true;
}

/* A rule whose table the case does not have is none of the case. What a preset does not find in a schema may be of another
 * version of its application. */
static void rehearse_judge(struct rehearsal *h)
{
    for (size_t i = h->judged; i < h->remark_count; i++) {
        struct err e;
        const struct rule *r = h->remarks[i].rule;
        const char *text = h->remarks[i].text;
        bool lacks = strstr(text, "no such column") || strstr(text, "no such table");
        if (!r || r->no_table)
            continue;
        err_set(&e, "%s: rule %.60s: %s%s", h->s.base.id, r->name, text,
                lacks && h->guessed ? "; say it in the rows, or name a schema" : "");
        bool wrong = lacks ? h->guessed || rehearse_is_own(h, r)
                           : strstr(text, "syntax error") || (!r->usable && rehearse_is_last(h, i));
        (wrong ? h->wrong : h->doubtful)(h->ctx, "", e.text);
    }
    h->judged = h->remark_count;
}

/* ---- the whole ---- */

static void rehearse_on(struct rehearsal *h, struct staging *st)
{
    struct err e = { "" };
    h->s.path = (char *)(uintptr_t)stage_path(st);
    h->s.start = START_NOW;
    h->s.poll.ms = 1;
    if (!sqlite_source.open(&h->s.base, &e)) {
        h->wrong(h->ctx, "", e.text);
        return;
    }
    h->s.told = rehearse_told;
    h->s.told_ctx = h;
    h->s.rehearsed = true;
    bool filled = stage_fill(st, &h->s), good = !filled || rehearse_look(h, false, &e);
    rehearse_judge(h); /* before it is said what came of that */
    if (filled && good && stage_change(st))
        good = rehearse_look(h, true, &e);
    rehearse_judge(h);
    if (!good)
        h->wrong(h->ctx, "", e.text);
    sqlite_source.close(&h->s.base);
}

size_t rehearse_staged(const struct source *base, const struct staged *of, const struct event **out, size_t room,
                       fault_fn *wrong, fault_fn *doubtful, void *ctx)
{
    struct rehearsal *h = mem_alloc(sizeof *h);
    *h = (struct rehearsal){ .s = *(const struct sqlite_source *)base,
                             .wrong = wrong,
                             .doubtful = doubtful,
                             .ctx = ctx,
                             .guessed = !of->schema,
                             .out = out,
                             .room = room };
    h->s.rules = NULL;
    h->s.rule_count = 0;
    struct staging *st = stage_new(of, wrong, ctx);
    if (st)
        rehearse_on(h, st);
    stage_free(st);
    size_t count = h->count;
    for (size_t i = 0; i < h->remark_count; i++)
        free(h->remarks[i].text);
    free(h->remarks);
    free(h);
    return count;
}
