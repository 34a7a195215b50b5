/* SPDX-License-Identifier: MIT */
/* What sources and sinks remember, and where groups stand. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/cli/move_private.h"
#include "bridge/event/bookmarks.h"
#include "bridge/event/cursor.h"
#include "bridge/lib/crash.h"
#include "bridge/lib/mem.h"

enum { MOVE_WAIT_MS = 60000, MOVE_CHANGES = 500, MOVE_BYTES = 1 << 20, MOVE_VALUE = 1 << 20 };

/* ---- changes ---- */

static void move_answered(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    struct move *m = ctx;
    (void)tag;
    m->answer.outcome = o;
    why_copy(m->answer.why, why);
}

bool move_change(struct move *m, struct broker *b, const char *scope, const struct change *changes, size_t count)
{
    m->answer.outcome = 0;
    broker_publish(b,
                   &(struct publication){
                       .state_of = scope, .changes = changes, .change_count = count, .done = move_answered, .ctx = m });
    bool answered = broker_flush(b, (struct duration){ MOVE_WAIT_MS });
    if (answered && m->answer.outcome == OUTCOME_STORED)
        return true;
    return err_set(m->e, "the state of %s is not stored: %s", scope, answered ? m->answer.why : "no answer in time");
}

struct move_pairs { /* of one scope, on their way */
    struct move *m;
    const char *scope;
    struct hmac *key; /* of its cursors; NULL: it has none */
    struct change changes[MOVE_CHANGES];
    size_t count, bytes;
};

static bool move_flush(struct move_pairs *p)
{
    bool ok = p->count == 0 || move_change(p->m, p->m->target, p->scope, p->changes, p->count);
    for (size_t i = 0; i < p->count; i++) {
        free((char *)(uintptr_t)p->changes[i].key.at);
        free((char *)(uintptr_t)p->changes[i].value.at);
    }
    p->m->pairs += ok ? (int64_t)p->count : 0;
    p->count = p->bytes = 0;
    return ok;
}

static bool move_add(struct move_pairs *p, struct str key, struct str value)
{
    p->changes[p->count++] = (struct change){ .key = { str_dup(key), key.n },
                                              .value = { value.at ? str_dup(value) : NULL, value.n } };
    p->bytes += key.n + value.n;
    return (p->count < MOVE_CHANGES && p->bytes < MOVE_BYTES) || move_flush(p);
}

/* ---- cursors in bookmarks ---- */

static bool move_identity(void *ctx, const char *topic, uint64_t *out)
{
    struct move *m = ctx;
    return m->ops->identity(m->copy, topic, out, m->e);
}

/* Appends the word; if it is a cursor of the sink, one of the topics over there. */
static bool move_word(const struct move_pairs *p, struct str word, struct buf *out)
{
    struct err none;
    struct move *m = p->m;
    const char **names = mem_alloc((m->topic_count + 1) * sizeof *names);
    for (size_t i = 0; i < m->topic_count; i++)
        names[i] = m->topics[i].name;
    struct cursor *c = cursor_new(names, m->topic_count);
    bool is = cursor_read(c, p->key, word, &none), ok = !is || cursor_adopt(c, move_identity, m);
    if (is && ok)
        cursor_write(c, p->key, out);
    else
        buf_add_str(out, word);
    cursor_free(c);
    free(names);
    return ok;
}

/* A bookmark is words, of which one is a cursor (connectors/websocket). */
static bool move_bookmark(struct move_pairs *p, struct str key, struct str value)
{
    struct buf out = buf_new(MOVE_VALUE);
    struct str rest = value, word;
    bool ok = true, first = true;
    while (ok && str_cut(&rest, ' ', &word)) {
        if (!first)
            buf_add_char(&out, ' ');
        first = false;
        ok = move_word(p, word, &out);
    }
    ok = ok && move_add(p, key, out.failed ? value : buf_str(&out));
    buf_free(&out);
    return ok;
}

/* ---- state ---- */

static bool move_pair(void *ctx, struct str key, struct str value, bool ahead, struct err *e)
{
    struct move_pairs *p = ctx;
    (void)ahead, (void)e;
    bool secret = str_eq(key, STR(BOOKMARKS_SECRET_KEY));
    return p->key && !secret ? move_bookmark(p, key, value) : move_add(p, key, value);
}

/* An earlier try may have left what is not here any more. */
static bool move_forget(void *ctx, struct str key, struct str value, bool ahead, struct err *e)
{
    (void)value, (void)ahead, (void)e;
    return move_add(ctx, key, STR_ABSENT);
}

struct move_wanted {
    const char *key;
    char *value;
};

static bool move_take_value(void *ctx, struct str key, struct str value, bool ahead, struct err *e)
{
    struct move_wanted *wanted = ctx;
    (void)ahead, (void)e;
    if (!str_eq(key, str_of(wanted->key)))
        return true;
    free(wanted->value);
    wanted->value = str_dup(value);
    return true;
}

bool move_state_value(struct move *m, struct broker *b, const char *scope, const char *key, char **out)
{
    struct move_wanted wanted = { .key = key };
    bool ok = broker_state(b, scope, move_take_value, &wanted, m->e);
    *out = wanted.value;
    return ok;
}

/* What a sink's cursors are signed with. */
static bool move_key(struct move *m, const char *scope, struct hmac **out)
{
    char *secret = NULL;
    bool ok = !str_starts(str_of(scope), STR(BOOKMARKS_SCOPE))
              || move_state_value(m, m->source, scope, BOOKMARKS_SECRET_KEY, &secret);
    if (secret)
        *out = hmac_new((struct str){ secret, BOOKMARKS_SECRET }); /* str_dup keeps bytes, whatever they are */
    free(secret);
    return ok;
}

static bool move_scope(void *ctx, const char *scope, struct err *e)
{
    struct move *m = ctx;
    struct move_pairs *p = mem_alloc(sizeof *p);
    *p = (struct move_pairs){ .m = m, .scope = scope };
    bool ok = true;
    if (strcmp(scope, STATE_LOG) != 0 && strcmp(scope, STATE_MOVE) != 0)
        ok = (!m->resumed || (broker_state(m->target, scope, move_forget, p, e) && move_flush(p)))
             && move_key(m, scope, &p->key) && broker_state(m->source, scope, move_pair, p, e);
    ok = move_flush(p) && ok;
    hmac_free(p->key);
    free(p);
    return ok;
}

bool move_state(struct move *m)
{
    m->pairs = 0;
    bool ok = broker_scopes(m->source, move_scope, m, m->e);
    crash_point("command-move-after-state");
    return ok;
}

/* ---- where groups stand ---- */

struct move_group { /* of one group, on their way */
    struct move *m;
    char *name;
    struct standing *at;
    size_t count;
    struct err *e;
    bool ok;
};

static void move_stands(void *ctx, const struct standing *s)
{
    static const struct ranges nothing;
    struct move_group *g = ctx;
    if (s->position < 0)
        return;
    struct ranges *beyond = mem_alloc(sizeof *beyond);
    *beyond = ranges_union(s->beyond, &nothing);
    g->at = mem_grow(g->at, g->count + 1, sizeof *g->at);
    g->at[g->count] = *s;
    g->at[g->count].topic = str_dup(str_of(s->topic));
    g->at[g->count++].beyond = beyond;
}

static bool move_group_end(struct move_group *g)
{
    struct move *m = g->m;
    size_t cut = 0;
    bool ok = g->ok && (g->count == 0 || m->ops->stand(m->copy, g->name, g->at, g->count, &cut, m->e));
    m->groups += g->count > 0;
    m->positions += (int64_t)g->count;
    m->cut += (int64_t)cut;
    for (size_t i = 0; i < g->count; i++) {
        ranges_free((struct ranges *)(uintptr_t)g->at[i].beyond);
        free((struct ranges *)(uintptr_t)g->at[i].beyond);
        free((char *)(uintptr_t)g->at[i].topic);
    }
    free(g->at);
    free(g->name);
    *g = (struct move_group){ .m = m, .ok = ok };
    return ok;
}

static void move_group(void *ctx, const char *group, bool idle, const char *topic, int64_t unread)
{
    struct move_group *g = ctx;
    (void)idle, (void)unread;
    if (g->name && strcmp(g->name, group) != 0)
        move_group_end(g);
    if (!g->name)
        g->name = str_dup(str_of(group));
    g->ok = g->ok && broker_standing(&g->m->from->broker, group, topic, move_stands, g, g->m->e);
}

bool move_positions(struct move *m)
{
    struct move_group g = { .m = m, .ok = true };
    const struct group_seen seen = { move_group, &g };
    m->groups = m->positions = m->cut = 0;
    bool ok = broker_groups_outside(&m->from->broker, "", &seen, m->e);
    ok = move_group_end(&g) && ok;
    crash_point("command-move-after-positions");
    return ok;
}
