/* SPDX-License-Identifier: MIT */
/* Wishes: parsed, and granted from what the log has. */
#include "connectors/websocket/wish.h"
#include <stdlib.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/query.h"
#include "connectors/websocket/position.h"

enum { LAST_MOST = 1000000, VALUE_BYTES = 64 * 1024 };

/* ---- parsing ---- */

static bool wish_take_cursor(struct wish *w, struct str text, const char *parameter, struct err *e)
{
    if (text.n > CURSOR_TEXT_MAX)
        return err_set(e, "%s: this is longer than any position", parameter);
    w->start.from = CURSOR_RESUME;
    w->text = str_dup(text);
    w->parameter = parameter;
    return true;
}

static bool wish_parse_last(struct wish *w, struct str text, struct err *e)
{
    int64_t n = 0;
    bool good = text.n > 0 && text.n <= 7;
    for (size_t i = 0; i < text.n && good; i++) {
        good = text.at[i] >= '0' && text.at[i] <= '9';
        n = 10 * n + (text.at[i] - '0');
    }
    if (!good || n < 1 || n > LAST_MOST)
        return err_set(e, "from: last:<n> takes a number from 1 to %d", LAST_MOST);
    w->start = (struct cursor_start){ CURSOR_LAST, n };
    return true;
}

static bool wish_parse_from(struct wish *w, struct str text, struct err *e)
{
    int64_t ms;
    if (str_eq(text, STR("latest")))
        return true;
    if (str_starts(text, STR("last:")))
        return wish_parse_last(w, str_from(text, 5), e);
    if (str_eq(text, STR("earliest")))
        w->start.from = CURSOR_EARLIEST;
    else if (clock_since(text, &ms))
        w->start = (struct cursor_start){ CURSOR_TIME, ms };
    else
        return wish_take_cursor(w, text, "from", e);
    return true;
}

static bool wish_parse_slow(struct wish *w, struct str slow, struct str by, struct err *e)
{
    bool conflates = str_eq(slow, STR("conflate"));
    w->slow = SLOW_CATCHUP;
    if (str_eq(slow, STR("latest")))
        w->slow = SLOW_LATEST;
    else if (str_eq(slow, STR("close")))
        w->slow = SLOW_CLOSE;
    else if (conflates)
        w->slow = str_eq(by, STR("key")) ? SLOW_CONFLATE_KEY : SLOW_CONFLATE_SUBJECT;
    else if (slow.n && !str_eq(slow, STR("catchup")))
        return err_set(e, "slow: there are catchup, latest, conflate and close");
    if (by.n && !conflates)
        return err_set(e, "by: goes with slow=conflate alone");
    if (by.n && !str_eq(by, STR("key")) && !str_eq(by, STR("subject")))
        return err_set(e, "by: there are subject and key");
    return true;
}

/* The parameter's value; empty: it is not there. subscription_parse has seen that it is text, and there once. */
static struct str wish_parameter(struct str query, const char *name, struct buf *value)
{
    return query_value(query, str_of(name), value, NULL) ? buf_str(value) : STR("");
}

bool wish_parse(struct wish *w, struct str query, struct str last_event_id, struct err *e)
{
    struct buf slow = buf_new(VALUE_BYTES), by = buf_new(VALUE_BYTES), from = buf_new(VALUE_BYTES);
    *w = (struct wish){ .start = { CURSOR_LATEST, 0 } };
    bool good = wish_parse_slow(w, wish_parameter(query, "slow", &slow), wish_parameter(query, "by", &by), e);
    struct str text = last_event_id;
    const char *name = "Last-Event-ID";
    if (!text.n)
        text = wish_parameter(query, name = "last_event_id", &from);
    if (!text.n)
        text = wish_parameter(query, name = "lastEventId", &from);
    if (good && text.n)
        good = wish_take_cursor(w, text, name, e);
    else if (good && (text = wish_parameter(query, "from", &from)).n)
        good = wish_parse_from(w, text, e);
    buf_free(&slow);
    buf_free(&by);
    buf_free(&from);
    return good;
}

/* The text of a member; empty: it is not there. */
static bool wish_member(const struct op *o, const char *name, struct buf *value, struct err *e)
{
    return !op_member(o, name) || op_text(o, name, CURSOR_TEXT_MAX, value, e);
}

bool wish_of_op(struct wish *w, const struct op *o, struct err *e)
{
    struct buf slow = buf_new(VALUE_BYTES), by = buf_new(VALUE_BYTES), from = buf_new(CURSOR_TEXT_MAX + 1);
    *w = (struct wish){ .start = { CURSOR_LATEST, 0 } };
    bool good = wish_member(o, "slow", &slow, e) && wish_member(o, "by", &by, e) && wish_member(o, "from", &from, e)
                && wish_parse_slow(w, buf_str(&slow), buf_str(&by), e)
                && (from.n == 0 || wish_parse_from(w, buf_str(&from), e));
    buf_free(&slow);
    buf_free(&by);
    buf_free(&from);
    return good;
}

void wish_resume(struct wish *w, struct str text, const char *parameter, bool made)
{
    struct wish anew = {
        .start = { CURSOR_RESUME_ALL, 0 }, .slow = w->slow, .text = str_dup(text), .parameter = parameter, .made = made
    };
    wish_free(w);
    *w = anew;
}

void wish_free(struct wish *w)
{
    free(w->text);
    cursor_free(w->cursor);
    *w = (struct wish){ 0 };
}

/* ---- granting ---- */

/* Where the cursor is placed, and what is gone. */
static void wish_tell(struct places *p, const struct cursor *c, struct granted *out)
{
    out->resume = (enum resume)c->verdict;
    out->spot = position_spot(p, c);
    out->lost_total = c->lost;
    out->lost = mem_alloc((p->count + 1) * sizeof *out->lost);
    for (size_t i = 0; i < c->count; i++)
        for (int32_t k = 0; k < c->topics[i].count; k++)
            out->lost[places_find(p, str_of(c->topics[i].name), k)] = c->topics[i].parts[k].lost;
}

enum grant wish_grant(struct wish *w, struct places *p, const struct subscription *s, struct granted *out,
                      struct err *e)
{
    *out = (struct granted){ .resume = RESUME_NEW };
    if (w->start.from == CURSOR_LATEST) {
        out->spot = spot_now(p);
        return GRANT_YES;
    }
    if (!p->log) {
        err_set(e, "this log cannot be read from a position: events come live alone");
        return GRANT_NO;
    }
    if (w->text && !p->key)
        return GRANT_NOT_YET;
    if (!w->cursor) {
        w->cursor = position_new(p, s);
        if (w->text && !cursor_read(w->cursor, p->key, str_of(w->text), e)) {
            err_prefix(e, "%s", w->parameter);
            return GRANT_NO;
        }
    }
    if (!p->settled || !cursor_place(w->cursor, p->log, w->start))
        return GRANT_NOT_YET;
    wish_tell(p, w->cursor, out);
    if (w->made)
        out->resume = RESUME_NEW;
    return GRANT_YES;
}

void granted_free(struct granted *g)
{
    spot_unref(g->spot);
    free(g->lost);
    *g = (struct granted){ 0 };
}
