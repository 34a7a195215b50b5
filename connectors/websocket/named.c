/* SPDX-License-Identifier: MIT */
/* Names and what is stored of them. */
#include "connectors/websocket/named.h"
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"
#include "connectors/websocket/position.h"

enum { NAMED_BYTES = 64, NAMED_RETRIES = 8, NAMED_PATIENCE_MS = 10000 };

/* ---- what is stored ---- */

bool named_is_good(struct str name)
{
    if (name.n == 0 || name.n > NAMED_BYTES || name.at[0] == '.')
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.at[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_'
              || c == '.'))
            return false;
    }
    return true;
}

struct named_mark named_stored(struct str value)
{
    struct named_mark m = { .cursor = STR_ABSENT, .user = STR_ABSENT };
    struct str rest = value, ms, cursor;
    if (!str_cut(&rest, ' ', &ms) || !str_to_i64(ms, &m.since_ms) || !str_cut(&rest, ' ', &cursor))
        return m;
    m.cursor = cursor;
    m.user = rest;
    return m;
}

bool named_by(const struct rights *r, struct named_by *out)
{
    *out = (struct named_by){ 0 };
    if (!r || !r->claimed)
        return true;
    out->user = r->user ? str_dup(str_of(r->user)) : NULL;
    out->sees_all = !r->topics && !r->filter;
    return r->user;
}

bool named_may_use(const struct named_by *by, struct str value)
{
    struct str user = named_stored(value).user;
    if (!by->user || !value.at)
        return true;
    return user.at ? str_eq(user, str_of(by->user)) : by->sees_all;
}

void named_sign(struct buf *out, const struct named_by *by, struct str before)
{
    struct str user = before.at ? named_stored(before).user : str_of(by->user);
    if (!user.at)
        return;
    buf_add_char(out, ' ');
    buf_add_str(out, user);
}

static struct cursor *named_read(const struct strings *topics, struct hmac *key, struct str text, struct err *e)
{
    struct cursor *c = cursor_new((const char *const *)topics->at, topics->count);
    if (cursor_read(c, key, text, e))
        return c;
    cursor_free(c);
    return NULL;
}

/* Moves `to` to where `from` is farther in the same topic. */
static void named_move_on(struct cursor *to, const struct cursor *from)
{
    for (size_t i = 0; i < to->count; i++) {
        const struct cursor_topic *a = &to->topics[i], *b = &from->topics[i];
        for (int32_t k = 0; a->known && b->known && a->identity == b->identity && k < a->count && k < b->count; k++)
            if (b->parts[k].next > a->parts[k].next)
                cursor_move(to, i, k, b->parts[k].next, from->newest_ms);
    }
}

/* A cursor of fewer topics would forget how far the name is in the others. */
static bool named_covers(const struct cursor *to, const struct cursor *from, struct err *e)
{
    for (size_t i = 0; i < to->count; i++)
        if (from->topics[i].known && !to->topics[i].known)
            return err_set(
                e, "it says nothing of topic %.100s, of which this name has a place: use another name for fewer topics",
                to->topics[i].name);
    return true;
}

bool named_value(const struct strings *topics, struct hmac *key, const struct named_change *c, struct buf *out,
                 struct err *e)
{
    struct err ignored;
    struct cursor *to = named_read(topics, key, c->text, e);
    if (!to)
        return false;
    struct cursor *from = c->before.at && !c->back ? named_read(topics, key, named_stored(c->before).cursor, &ignored)
                                                   : NULL;
    bool covers = !from || named_covers(to, from, e);
    if (from)
        named_move_on(to, from);
    buf_printf(out, "%lld ", (long long)clock_wall_ms());
    cursor_write(to, key, out);
    named_sign(out, c->by, c->before);
    cursor_free(from);
    cursor_free(to);
    return covers;
}

/* ---- a name ---- */

struct named *named_new(struct names *all, struct str name, const struct named_by *by, void *owner)
{
    struct named *n = mem_alloc(sizeof *n);
    *n = (struct named){ .next = all->first,
                         .at = &all->first,
                         .owner = owner,
                         .name = str_dup(name),
                         .by = *by,
                         .state = NAMED_RECALLS,
                         .give_up_ms = clock_mono_ms() + NAMED_PATIENCE_MS };
    if (n->next)
        n->next->at = &n->next;
    all->first = n;
    return n;
}

void named_free(struct named *n)
{
    if (!n)
        return;
    *n->at = n->next;
    if (n->next)
        n->next->at = n->at;
    for (size_t i = 0; i < n->count; i++)
        free(n->acks[i].text);
    cursor_free(n->cursor);
    free(n->text);
    free(n->name);
    free(n->by.user);
    free(n);
}

bool names_outcome(struct names *all, const struct bookmark_done *done)
{
    struct named *n = all->first;
    while (n && n->tag != done->tag)
        n = n->next;
    if (!n)
        return false;
    n->tag = 0;
    n->done = *done;
    return true;
}

static struct bookmarks *named_bookmarks(const struct names *all)
{
    return all->places->bookmarks;
}

static void named_store(struct named *n, struct names *all, struct str before, struct str value)
{
    struct bookmarks *b = named_bookmarks(all);
    n->done = (struct bookmark_done){ 0 };
    n->tag = ++*all->tag;
    b->ops->remember(b, str_of(n->name), before, value, n->tag);
}

/* The outcome of what was stored: 0, or what is wrong with it. *again: somebody else moved the name meanwhile. */
static enum code named_judge(struct named *n, bool *again, struct err *e)
{
    *again = false;
    switch (n->done.outcome) {
    case BOOKMARK_STORED: n->retries = 0; return 0;
    case BOOKMARK_CHANGED:
        *again = ++n->retries <= NAMED_RETRIES;
        if (*again)
            return 0;
        err_set(e, "others move the same position at the same time");
        return CODE_UNAVAILABLE;
    case BOOKMARK_REFUSED: err_set(e, "%s", n->done.why); return CODE_CONFLICT;
    case BOOKMARK_FAILED: err_set(e, "%s", n->done.why); return CODE_UNAVAILABLE;
    }
    return CODE_UNAVAILABLE;
}

/* ---- where it stands ---- */

/* The name may be there. */
static enum grant named_recall(struct named *n, struct names *all, enum code *code, struct err *e)
{
    struct bookmarks *b = named_bookmarks(all);
    struct str value;
    if (!all->places->key || !b->ops->recall(b, str_of(n->name), &value))
        return GRANT_NOT_YET;
    if (!named_may_use(&n->by, value)) {
        *code = CODE_FORBIDDEN;
        err_set(e, "name: " NAMED_FOREIGN);
        return GRANT_NO;
    }
    n->state = value.at ? NAMED_STANDS : NAMED_PLACES;
    if (!value.at)
        return GRANT_NOT_YET;
    struct str text = named_stored(value).cursor;
    if (text.at) {
        free(n->text);
        n->text = str_dup(text);
        return GRANT_YES;
    }
    *code = CODE_BAD_POSITION;
    err_set(e, "name: what is stored of it is damaged; DELETE it by /events/positions");
    return GRANT_NO;
}

/* A new one is to begin where the wish does. */
static enum grant named_begin(struct named *n, struct names *all, const struct wish *w, const struct subscription *s,
                              enum code *code, struct err *e)
{
    struct places *p = all->places;
    struct buf value = buf_new(BOOKMARK_BYTES);
    if (!n->cursor) {
        n->cursor = position_new(p, s);
        if (w->text && !cursor_read(n->cursor, p->key, str_of(w->text), e)) {
            err_prefix(e, "%s", w->parameter);
            *code = CODE_BAD_POSITION;
            return GRANT_NO;
        }
    }
    if (!p->settled || !cursor_place(n->cursor, p->log, w->start))
        return GRANT_NOT_YET;
    buf_printf(&value, "%lld ", (long long)clock_wall_ms());
    cursor_write(n->cursor, p->key, &value);
    named_sign(&value, &n->by, STR_ABSENT);
    bool fits = !value.failed;
    if (fits) {
        free(n->text);
        n->text = str_dup(named_stored(buf_str(&value)).cursor);
        named_store(n, all, STR_ABSENT, buf_str(&value));
        n->state = NAMED_STORES;
    }
    buf_free(&value);
    *code = CODE_TOO_LONG;
    return fits || err_set(e, "name: a position in so many partitions is too long to be kept") ? GRANT_NOT_YET
                                                                                               : GRANT_NO;
}

static enum grant named_made(struct named *n, enum code *code, struct err *e)
{
    bool again;
    if (!n->done.outcome)
        return GRANT_NOT_YET;
    *code = named_judge(n, &again, e);
    if (again) {
        cursor_free(n->cursor);
        n->cursor = NULL;
        n->state = NAMED_RECALLS;
        return GRANT_NOT_YET;
    }
    if (*code)
        return GRANT_NO;
    n->state = NAMED_STANDS;
    return GRANT_YES;
}

enum grant named_place(struct named *n, struct names *all, struct wish *w, const struct subscription *s,
                       enum code *code, struct err *e)
{
    bool made = n->state == NAMED_STORES;
    enum grant is = GRANT_NOT_YET;
    if (n->state == NAMED_STORES)
        is = named_made(n, code, e);
    if (is == GRANT_NOT_YET && n->state == NAMED_RECALLS)
        is = named_recall(n, all, code, e);
    if (is == GRANT_NOT_YET && n->state == NAMED_PLACES)
        is = named_begin(n, all, w, s, code, e);
    if (is == GRANT_NOT_YET && clock_mono_ms() >= n->give_up_ms) {
        err_set(e, "name: the log does not answer");
        *code = CODE_UNAVAILABLE;
        return GRANT_NO;
    }
    if (is != GRANT_YES)
        return is;
    wish_resume(w, str_of(n->text), "name", made);
    n->done = (struct bookmark_done){ 0 };
    return GRANT_YES;
}

/* ---- what is acknowledged ---- */

struct cursor *named_cursor(const struct names *all, struct str text, struct err *e)
{
    return named_read(all->places->topics, all->places->key, text, e);
}

bool named_acknowledge(struct named *n, const struct asked *asked, struct str text)
{
    if (n->count == NAMED_ACKS)
        return false;
    n->acks[n->count++] = (struct ack){ *asked, str_dup(text) };
    return true;
}

/* The first so many have their outcome. */
static void named_tell(struct named *n, size_t count, enum code code, const char *why,
                       void (*told)(void *ctx, const struct asked *asked, enum code code, const char *why), void *ctx)
{
    for (size_t i = 0; i < count; i++) {
        told(ctx, &n->acks[i].asked, code, why);
        free(n->acks[i].text);
    }
    memmove(n->acks, n->acks + count, (n->count - count) * sizeof *n->acks);
    n->count -= count;
    n->stored = 0;
}

/* Puts all that waits into one value; the first that is wrong is not in it, and ends the row. Returns how many are. */
static size_t named_merge(struct named *n, struct names *all, struct str before, struct buf *value, struct err *e)
{
    struct places *p = all->places;
    struct buf next = buf_new(BOOKMARK_BYTES);
    size_t i = 0;
    for (; i < n->count; i++) {
        buf_reset(&next);
        const struct named_change c = { &n->by, i ? buf_str(value) : before, str_of(n->acks[i].text), false };
        if (!named_value(p->topics, p->key, &c, &next, e)
            || (next.failed && !err_set(e, "a position in so many partitions is too long to be kept")))
            break;
        buf_reset(value);
        buf_add_str(value, buf_str(&next));
    }
    buf_free(&next);
    return i;
}

void named_turn(struct named *n, struct names *all,
                void (*told)(void *ctx, const struct asked *asked, enum code code, const char *why), void *ctx)
{
    struct err e = { "" };
    struct str before;
    bool again;
    if (n->state != NAMED_STANDS || n->tag)
        return;
    if (n->done.outcome) {
        enum code code = named_judge(n, &again, &e);
        n->done = (struct bookmark_done){ 0 };
        if (!again)
            named_tell(n, n->stored, code, e.text, told, ctx);
    }
    struct bookmarks *b = named_bookmarks(all);
    if (n->count == 0 || !b->ops->recall(b, str_of(n->name), &before))
        return;
    if (!named_may_use(&n->by, before)) { /* it was forgotten, and made by somebody else */
        named_tell(n, n->count, CODE_FORBIDDEN, NAMED_FOREIGN, told, ctx);
        return;
    }
    struct buf value = buf_new(BOOKMARK_BYTES);
    n->stored = named_merge(n, all, before, &value, &e);
    if (n->stored)
        named_store(n, all, before, buf_str(&value));
    else
        named_tell(n, 1, CODE_MALFORMED, e.text, told, ctx);
    buf_free(&value);
}
