/* SPDX-License-Identifier: MIT */
/* A replay as JSON and back, and those that a topic holds. */
#include "bridge/cli/replay_kept.h"
#include <stdlib.h>
#include <string.h>
#include "bridge/broker/broker.h"
#include "bridge/event/trail.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

static const char *const replay_steps[] = {
    [REPLAY_BEGINS] = "begins",
    [REPLAY_CLAIMS] = "claims",
    [REPLAY_ENDS] = "ends",
};

void replay_kept_write(const struct replay *r, struct buf *out)
{
    json_t *parts = json_array();
    for (size_t i = 0; i < r->part_count; i++)
        json_array_append_new(parts, json_pack("[i,I,I]", (int)r->parts[i].partition, (json_int_t)r->parts[i].next,
                                               (json_int_t)r->parts[i].end));
    json_t *j = json_pack("{s:s,s:s,s:s,s:O,s:I,s:I,s:I,s:I,s:o,s:I,s:I,s:I,s:I,s:I,s:b}", "name", r->name, "topic",
                          r->topic, "to", r->to, "filter", r->filter, "from", (json_int_t)r->from_ms, "until",
                          (json_int_t)r->until_ms, "began", (json_int_t)r->began_ms, "at", (json_int_t)r->at_ms,
                          "partitions", parts, "read", (json_int_t)r->read, "replayed", (json_int_t)r->replayed,
                          "refused", (json_int_t)r->refused, "no_events", (json_int_t)r->no_events, "gone",
                          (json_int_t)r->gone, "finished", (int)r->finished);
    CHECK(j);
    if (r->run.id)
        json_object_set_new(j, "run", replay_run_json(&r->run));
    if (replay_steps[r->step])
        json_object_set_new(j, "step", json_string(replay_steps[r->step]));
    if (r->over)
        json_object_set_new(j, "over", json_string(r->over));
    char *text = json_dumps(j, JSON_COMPACT);
    CHECK(text);
    buf_add_c(out, text);
    free(text);
    json_decref(j);
}

static char *replay_kept_text(const json_t *j, const char *key)
{
    const json_t *text = json_object_get(j, key);
    return json_is_string(text) ? str_dup((struct str){ json_string_value(text), json_string_length(text) }) : NULL;
}

static int64_t replay_kept_number(const json_t *j, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(j, key));
    return n > 0 ? n : 0;
}

static enum replay_step replay_kept_step(const json_t *j)
{
    const char *text = json_string_value(json_object_get(j, "step"));
    for (size_t i = 0; text && i < sizeof replay_steps / sizeof *replay_steps; i++)
        if (replay_steps[i] && strcmp(replay_steps[i], text) == 0)
            return (enum replay_step)i;
    return REPLAY_GOES_ON;
}

static bool replay_kept_parts(const json_t *list, struct replay *out)
{
    size_t i;
    const json_t *one;
    if (json_array_size(list) > REPLAY_PARTS)
        return false;
    json_array_foreach(list, i, one)
    {
        bool made;
        json_int_t number = json_integer_value(json_array_get(one, 0));
        struct replay_part *p = number >= 0 && number <= INT32_MAX ? replay_part(out, (int32_t)number, &made) : NULL;
        if (!p || json_array_size(one) != 3)
            return false;
        p->next = p->reading = json_integer_value(json_array_get(one, 1));
        p->end = json_integer_value(json_array_get(one, 2));
        if (p->next < 0 || p->end < 0)
            return false;
    }
    return true;
}

bool replay_kept_read(struct str text, struct replay *out)
{
    json_t *j = text.at ? json_loadb(text.at, text.n, JSON_REJECT_DUPLICATES, NULL) : NULL;
    *out = (struct replay){ .name = replay_kept_text(j, "name"),
                            .topic = replay_kept_text(j, "topic"),
                            .to = replay_kept_text(j, "to"),
                            .filter = json_incref(json_object_get(j, "filter")),
                            .from_ms = replay_kept_number(j, "from"),
                            .until_ms = replay_kept_number(j, "until"),
                            .began_ms = replay_kept_number(j, "began"),
                            .at_ms = replay_kept_number(j, "at"),
                            .read = replay_kept_number(j, "read"),
                            .replayed = replay_kept_number(j, "replayed"),
                            .refused = replay_kept_number(j, "refused"),
                            .no_events = replay_kept_number(j, "no_events"),
                            .gone = replay_kept_number(j, "gone"),
                            .run = replay_run_of(json_object_get(j, "run")),
                            .step = replay_kept_step(j),
                            .over = replay_kept_text(j, "over"),
                            .finished = json_is_true(json_object_get(j, "finished")) };
    bool ok = out->name && out->topic && out->to && json_is_array(out->filter) && out->until_ms
              && replay_kept_parts(json_object_get(j, "partitions"), out);
    json_decref(j);
    return ok;
}

void replay_free(struct replay *r)
{
    free(r->name);
    free(r->topic);
    free(r->to);
    json_decref(r->filter);
    free(r->parts);
    free(r->over);
    replay_run_free(&r->run);
    *r = (struct replay){ 0 };
}

struct replay_part *replay_part(struct replay *r, int32_t partition, bool *made)
{
    for (size_t i = 0; i < r->part_count; i++)
        if (r->parts[i].partition == partition) {
            *made = false;
            return &r->parts[i];
        }
    *made = true;
    r->parts = mem_grow(r->parts, r->part_count + 1, sizeof *r->parts);
    r->parts[r->part_count] = (struct replay_part){ .partition = partition };
    return &r->parts[r->part_count++];
}

struct replay *replays_named(const struct replays *list, struct str name)
{
    for (size_t i = 0; i < list->count; i++)
        if (str_eq(str_of(list->at[i].name), name))
            return &list->at[i];
    return NULL;
}

/* Has the run of `now` a right to it? */
static bool replays_counts(const struct replay *before, const struct replay *now)
{
    const char *mine = now->run.id, *other = before->run.id;
    return !mine || !other || strcmp(mine, other) == 0 || (now->over && strcmp(now->over, other) == 0);
}

/* What is known then; `now` is given away. */
static void replays_apply(struct replay *before, struct replay *now)
{
    if (now->step == REPLAY_CLAIMS && before->name) {
        struct replay_run run = before->run;
        before->run = now->run;
        before->at_ms = now->at_ms;
        now->run = run;
        replay_free(now);
        return;
    }
    replay_free(before);
    *before = *now;
    if (before->step == REPLAY_ENDS)
        replay_run_free(&before->run);
}

static bool replays_take(void *ctx, const struct record *r)
{
    struct replays *list = ctx;
    struct replay one;
    if (!replay_kept_read(r->value, &one)) {
        replay_free(&one);
        return true;
    }
    struct replay *before = replays_named(list, str_of(one.name));
    if (!before) {
        list->at = mem_grow(list->at, list->count + 1, sizeof *list->at);
        before = &list->at[list->count++];
        *before = (struct replay){ 0 };
    }
    if (replays_counts(before, &one))
        replays_apply(before, &one);
    else
        replay_free(&one);
    return true;
}

static int replays_by_name(const void *a, const void *b)
{
    const struct replay *x = a, *y = b;
    return strcmp(x->name, y->name);
}

bool replays_find(const struct config *c, struct replays *out, struct err *e)
{
    char *topic = topic_name(c->broker.prefix, TOPIC_REPLAYS, NULL);
    *out = (struct replays){ 0 };
    bool ok = look_once(&c->broker, &(struct look_options){ .topic = topic, .may_lack = true }, replays_take, out, e);
    if (out->count)
        qsort(out->at, out->count, sizeof *out->at, replays_by_name);
    free(topic);
    return ok;
}

void replays_free(struct replays *list)
{
    for (size_t i = 0; i < list->count; i++)
        replay_free(&list->at[i]);
    free(list->at);
}
