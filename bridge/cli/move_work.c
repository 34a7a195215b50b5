/* SPDX-License-Identifier: MIT */
/* What there is here and over there, and the way through the steps. */
#include "bridge/cli/move_private.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/event/trail.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crash.h"
#include "bridge/lib/interrupt.h"
#include "bridge/lib/mem.h"

enum { MOVE_ARRIVES_MS = 1000, MOVE_TO = 200 };

/* ---- what the log holds ---- */

static void move_found(void *ctx, const char *topic)
{
    struct move *m = ctx;
    m->topics = mem_grow(m->topics, m->topic_count + 1, sizeof *m->topics);
    m->topics[m->topic_count++] = (struct move_topic){ .name = str_dup(str_of(topic)) };
}

static void move_found_part(void *ctx, const struct standing *s)
{
    struct move_topic *t = ctx;
    if (s->partition < t->count)
        t->parts[s->partition] = (struct move_part){ .start = s->start, .end = s->end };
}

static int move_by_name(const void *a, const void *b)
{
    const struct move_topic *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static bool move_survey(struct move *m)
{
    if (!broker_topics(m->source, "", move_found, m, m->e))
        return false;
    if (m->topic_count)
        qsort(m->topics, m->topic_count, sizeof *m->topics, move_by_name);
    for (size_t i = 0; i < m->topic_count; i++) {
        struct move_topic *t = &m->topics[i];
        t->count = broker_partitions(m->source, t->name);
        t->parts = mem_alloc(((size_t)t->count + 1) * sizeof *t->parts);
        if (!broker_standing(&m->from->broker, "", t->name, move_found_part, t, m->e))
            return false;
        for (int32_t k = 0; k < t->count; k++)
            m->records += t->parts[k].end - t->parts[k].start;
    }
    return true;
}

/* ---- what is over there ---- */

static bool move_any(void *ctx, struct str key, struct str value, bool ahead, struct err *e)
{
    (void)key, (void)value, (void)ahead;
    return err_set(e, "%s is remembered over there already", (const char *)ctx);
}

static bool move_scope_is_new(void *ctx, const char *scope, struct err *e)
{
    struct move *m = ctx;
    if (strcmp(scope, STATE_LOG) == 0 || strcmp(scope, STATE_MOVE) == 0)
        return true;
    return broker_state(m->target, scope, move_any, (void *)(uintptr_t)scope, e)
           || err_prefix(e, "what is moved to must be empty: state of");
}

static bool move_topic_is_new(struct move *m, const struct move_topic *t)
{
    int32_t count = m->ops->partitions(m->copy, t->name, m->e);
    bool ok = count >= 0;
    for (int32_t i = 0; ok && i < count; i++) {
        int64_t start, end;
        ok = m->ops->ends(m->copy, (struct topic_partition){ t->name, i }, &start, &end, m->e)
             && (end == 0
                 || err_set(m->e,
                            "what is moved to must be empty: topic %s has records over there, and they are of no move "
                            "of this log",
                            t->name));
    }
    return ok;
}

/* Is it empty, or has it what an earlier try of the same brought there? */
static bool move_look(struct move *m)
{
    char *state = topic_name(m->to->broker.prefix, TOPIC_STATE, NULL), *mark = NULL, *finished = NULL;
    int32_t has_state = m->ops->partitions(m->copy, state, m->e);
    bool ok = has_state >= 0;
    if (has_state > 0)
        ok = move_state_value(m, m->target, STATE_MOVE, STATE_IDENTITY, &mark)
             && move_state_value(m, m->target, STATE_MOVE, STATE_FINISHED, &finished);
    m->resumed = mark != NULL;
    m->finished = finished != NULL;
    if (ok && mark && strcmp(mark, m->identity) != 0)
        ok = err_set(m->e, "what is moved to must be empty: another log was moved there");
    for (size_t i = 0; ok && !mark && i < m->topic_count; i++)
        ok = move_topic_is_new(m, &m->topics[i]);
    if (ok && !mark && has_state > 0)
        ok = broker_scopes(m->source, move_scope_is_new, m, m->e);
    free(finished);
    free(mark);
    free(state);
    return ok;
}

struct move_alone {
    struct move *m;
    char *last; /* group */
    bool is;
};

static void move_group_is_alone(void *ctx, const char *group, bool idle, const char *topic, int64_t unread)
{
    struct move_alone *a = ctx;
    (void)idle, (void)topic, (void)unread;
    if (a->last && strcmp(a->last, group) == 0)
        return;
    free(a->last);
    a->last = str_dup(str_of(group));
    a->is = a->is && a->m->ops->is_alone(a->m->copy, group, a->m->e);
}

/* Does nobody run there already? He would deliver once more what comes. */
static bool move_is_alone(struct move *m)
{
    struct move_alone a = { .m = m, .is = true };
    const struct group_seen seen = { move_group_is_alone, &a };
    bool ok = broker_groups_outside(&m->from->broker, "", &seen, m->e) && a.is;
    free(a.last);
    return ok;
}

/* ---- open and close ---- */

static bool move_fits(struct move *m)
{
    const struct broker_config *from = &m->from->broker, *to = &m->to->broker;
    if (!broker_facts(from).own_folder)
        return err_set(m->e, "broker.type %s: only a local log in a folder is moved", broker_facts(from).type);
    m->ops = broker_copy_ops(to);
    if (!m->ops)
        return err_set(m->e, "broker.type %s: nothing is moved into it; --to names a configuration with Kafka",
                       broker_facts(to).type);
    if (strcmp(from->prefix, to->prefix) != 0 || strcmp(from->group_prefix, to->group_prefix) != 0)
        return err_set(m->e, "broker.prefix and broker.group_prefix must be the same in both configurations");
    return true;
}

static bool move_open_both(struct move *m)
{
    const struct look_options o = { .topic = "-", .may_lack = true };
    struct look *look = look_open(&m->from->broker, &o, m->e); /* makes no log where there is none */
    if (!look)
        return false;
    look_close(look);
    m->source = broker_open(&m->from->broker, m->e);
    if (!m->source || !move_state_value(m, m->source, STATE_LOG, STATE_IDENTITY, &m->identity))
        return false;
    if (!m->identity)
        return err_set(m->e, "the log has no identity yet, which it gets when it can be written to");
    m->target = broker_open(&m->to->broker, m->e);
    m->copy = m->target ? m->ops->open(&m->to->broker, m->e) : NULL;
    return m->copy != NULL;
}

bool move_open(struct move *m, struct err *e)
{
    m->e = e;
    return move_fits(m) && move_open_both(m) && move_survey(m) && move_look(m) && (m->finished || move_is_alone(m));
}

void move_close(struct move *m)
{
    if (m->copy)
        m->ops->close(m->copy);
    if (m->target)
        broker_close(m->target);
    if (m->source)
        broker_close(m->source);
    for (size_t i = 0; i < m->topic_count; i++) {
        free(m->topics[i].name);
        free(m->topics[i].parts);
    }
    free(m->topics);
    free(m->identity);
}

/* ---- the steps ---- */

/* The state's topic is made for what comes into it. */
static bool move_make_state(struct move *m)
{
    char *name = topic_name(m->to->broker.prefix, TOPIC_STATE, NULL);
    bool ok = broker_topic(m->target, &(struct topic_config){ .name = name, .partitions = 1, .moved = true }, m->e);
    free(name);
    return ok;
}

static bool move_mark(struct move *m)
{
    if (m->resumed) { /* what a process that was killed had under way arrives */
        m->interrupted = !interrupt_wait(MOVE_ARRIVES_MS);
        return true;
    }
    const struct change change = { .key = STR(STATE_IDENTITY), .value = str_of(m->identity) };
    bool ok = move_make_state(m) && move_change(m, m->target, STATE_MOVE, &change, 1);
    crash_point("command-move-after-mark");
    return ok;
}

/* From here on no daemon starts with the log. */
static bool move_leave(struct move *m)
{
    char when[CLOCK_TEXT], to[MOVE_TO];
    clock_text(clock_wall_ms(), when);
    snprintf(to, sizeof to, "%s (%.100s) at %s", broker_facts(&m->to->broker).type,
             m->to->broker.servers ? m->to->broker.servers : "", when);
    const struct change finished = { .key = STR(STATE_FINISHED), .value = str_of(when) },
                        left = { .key = STR(STATE_MOVED_TO), .value = str_of(to) };
    if (!m->finished && !move_change(m, m->target, STATE_MOVE, &finished, 1))
        return false;
    crash_point("command-move-after-finish");
    return move_change(m, m->source, STATE_MOVE, &left, 1);
}

bool move_do(struct move *m, struct err *e)
{
    /* Once it is marked nobody starts there, so it is looked once more whether somebody did before. */
    bool (*const steps[])(struct move *) = { move_mark,  move_is_alone,  move_topics, move_records,
                                             move_state, move_positions, move_verify };
    m->e = e;
    interrupt_watch();
    for (size_t i = 0; !m->finished && i < sizeof steps / sizeof *steps; i++) {
        if (!steps[i](m))
            return false;
        if (m->interrupted)
            return true;
    }
    return move_leave(m);
}
