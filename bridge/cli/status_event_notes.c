/* SPDX-License-Identifier: MIT */
/* Reads what the bridge's own topics say of an event. */
#include <stdlib.h>
#include <string.h>
#include "bridge/cli/status_event_private.h"
#include "bridge/cli/status_log.h"
#include "bridge/cli/unserved.h"
#include "bridge/delivery/delivery.h"
#include "bridge/delivery/find_event.h"
#include "bridge/delivery/ladder.h"
#include "bridge/delivery/register.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/progress.h"

static json_t *event_number(struct str s)
{
    int64_t n;
    return str_to_i64(s, &n) ? json_integer(n) : json_null();
}

/* ---- what the bridge's own topics say ---- */

/* Where the record stood first: "topic/partition/offset". */
static void event_origin(const struct record *r, char out[EVENT_ORIGIN])
{
    snprintf(out, EVENT_ORIGIN, "%.*s/%.*s/%.*s", STR_ARG(record_header(r, TRAIL_TOPIC)),
             STR_ARG(record_header(r, TRAIL_PARTITION)), STR_ARG(record_header(r, TRAIL_OFFSET)));
}

/* Remembers the event of a copy: its record may be gone. */
static void event_copy(struct event_find *f, const struct record *r)
{
    struct event_copy c;
    struct str topic = record_header(r, TRAIL_TOPIC);
    if (f->copy_count == EVENT_STORED || !topic.at || !str_to_i64(record_header(r, TRAIL_PARTITION), &c.partition)
        || !str_to_i64(record_header(r, TRAIL_OFFSET), &c.offset) || c.partition < 0 || c.partition > INT32_MAX)
        return;
    for (size_t i = 0; i < f->copy_count; i++)
        if (c.partition == f->copies[i].partition && c.offset == f->copies[i].offset
            && str_eq(topic, str_of(f->copies[i].topic)))
            return;
    if (!str_to_i64(record_header(r, TRAIL_TIMESTAMP), &c.time_ms))
        c.time_ms = r->timestamp_ms;
    if (!(c.event = event_from_record(r, NULL)))
        return;
    c.topic = str_dup(topic);
    f->copies[f->copy_count++] = c;
}

/* What a record with this state says: of the dead-letter topic a letter, or news of one; of a redrive topic an event that
 * was redriven, or resent. */
static const char *event_kind(const struct event_find *f, struct str state)
{
    static const char *const kinds[] = { "redriven", "discarded", "resent" };
    if (strcmp(f->kind, "redrive") == 0 && str_eq(state, STR("resent")))
        return "resend";
    for (size_t i = 0; strcmp(f->kind, "dead") == 0 && i < sizeof kinds / sizeof *kinds; i++)
        if (str_eq(state, str_of(kinds[i])))
            return kinds[i];
    return f->kind;
}

/* What no topic could take; `news`: that a person discarded it. Takes the note. */
static void event_refuse(struct event_find *f, struct str source, bool news, json_t *note)
{
    size_t i;
    json_t *one;
    json_object_set_new(note, "source", json_of_text(source));
    json_object_set_new(note, "discarded", json_false());
    if (!news) {
        json_array_append_new(f->refused, note);
        return;
    }
    json_array_foreach(f->refused, i, one)
    {
        if (json_equal(json_object_get(one, "source"), json_object_get(note, "source"))
            && json_equal(json_object_get(one, "last"), json_object_get(note, "last")))
            json_object_set_new(one, "discarded", json_true());
    }
    json_decref(note);
}

static bool event_note(void *ctx, const struct record *r)
{
    struct event_find *f = ctx;
    char origin[EVENT_ORIGIN];
    struct str source = record_header(r, TRAIL_SOURCE);
    progress_count(f->reading, "records read");
    if (!find_event_is(r, f->id))
        return true;
    struct trail t = trail_read(r);
    t.due_ms -= t.due_ms ? trail_ahead_ms(&t, clock_wall_ms()) : 0;
    event_origin(r, origin);
    const char *kind = event_kind(f, record_header(r, TRAIL_STATE));
    bool news = strcmp(f->kind, "dead") == 0 && strcmp(kind, "dead") != 0;
    json_t *note = json_pack("{s:s,s:o,s:o,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "kind", kind, "sink",
                             json_of_text(register_present(f->config, record_header(r, TRAIL_SINK))), "endpoint",
                             json_of_text(record_header(r, TRAIL_ENDPOINT)), "origin", origin, "attempts",
                             event_number(record_header(r, TRAIL_ATTEMPTS)), "due", json_of_moment(t.due_ms), "last",
                             json_of_moment(t.last_ms), "status", event_number(record_header(r, TRAIL_STATUS)), "class",
                             json_of_text(record_header(r, TRAIL_CLASS)), "reason",
                             json_of_text(record_header(r, TRAIL_REASON)), "to",
                             json_of_text(record_header(r, TRAIL_TO)));
    if (source.at)
        event_refuse(f, source, news, note);
    else
        json_array_append_new(f->notes, note);
    if (!source.at && !news) /* which has no data */
        event_copy(f, r);
    return true;
}

bool status_event_look(struct event_find *f, const char *topic, const char *group,
                       bool (*each)(void *ctx, const struct record *r), struct err *e)
{
    const struct look_options o = {
        .topic = topic, .group = group, .since_ms = f->since_ms, .most = FIND_EVENT_SCAN, .may_lack = true
    };
    f->reading = topic;
    return look_once(&f->config->broker, &o, each, f, e);
}

/* Reads one of the bridge's topics; `group` NULL: whatever is in it counts. */
static bool event_notes(struct event_find *f, const char *kind, const char *topic, const char *group, struct err *e)
{
    f->kind = kind;
    return status_event_look(f, topic, group, event_note, e);
}

static bool event_waiting_topic(void *ctx, const char *topic, const char *group, struct err *e)
{
    return event_notes(ctx, "waiting", topic, group, e);
}

/* What of a topic its sink has not finished. */
static bool event_open_notes(struct event_find *f, const char *kind, const char *topic, struct err *e)
{
    char *group = status_group(f->config, f->of, topic, e);
    bool ok = group && event_notes(f, kind, topic, group, e);
    free(group);
    return ok;
}

static bool event_redrive_topic(void *ctx, const char *topic, const char *group, struct err *e)
{
    (void)group;
    return event_open_notes(ctx, "redrive", topic, e);
}

static bool event_blocked_log(void *ctx, const char *topic, const char *like, const char *group, struct err *e)
{
    (void)like, (void)group;
    return event_open_notes(ctx, "waiting", topic, e);
}

/* What the topics of the sink's own say. A record of its redrive topic does not name the sink, one of an old log its old
 * name. */
static bool event_own_topics(struct event_find *f, const struct sink_config *sink, struct err *e)
{
    size_t before = json_array_size(f->notes);
    f->of = sink;
    bool ok = delivery_topics(sink, &f->config->broker, event_redrive_topic, f, e)
              && blocked_old_topics(sink, &f->config->broker, event_blocked_log, f, e);
    for (size_t i = before; i < json_array_size(f->notes); i++)
        json_object_set_new(json_array_get(f->notes, i), "sink", json_string(sink->sink->id));
    return ok && blocked_topics(sink, &f->config->broker, event_blocked_log, f, e);
}

/* What stands in blocked logs that nobody reads any more. */
static bool event_unserved(struct event_find *f, struct err *e)
{
    struct unserved_list left = { 0 };
    bool ok = unserved_left(f->config, &left, e);
    for (size_t i = 0; ok && i < left.count; i++) {
        char *group = str_join(f->config->broker.group_prefix, left.at[i].sink, "");
        ok = left.at[i].kind != UNSERVED_BLOCKED || event_notes(f, "unserved", left.at[i].topic, group, e);
        free(group);
    }
    unserved_free(&left);
    return ok;
}

bool status_event_notes(struct event_find *f, struct err *e)
{
    char *dead = topic_name(f->config->broker.prefix, TOPIC_DEAD_LETTER, NULL);
    bool ok = event_notes(f, "dead", dead, NULL, e) && ladder_topics(&f->config->broker, event_waiting_topic, f, e);
    for (size_t i = 0; ok && i < f->config->sink_count; i++)
        ok = event_own_topics(f, &f->config->sinks[i], e);
    free(dead);
    return ok && event_unserved(f, e);
}
