/* SPDX-License-Identifier: MIT */
/* Finds an event in the log, and what the topics of the bridge say of it. */
#include "bridge/cli/status_event.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/delivery/find_event.h"
#include "bridge/cli/unserved.h"
#include "bridge/delivery/delivery.h"
#include "bridge/delivery/ladder.h"
#include "bridge/delivery/register.h"
#include "bridge/event/event.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/progress.h"

#define EVENT_REDIRECTED "redirected"

enum { EVENT_STORED = 20, EVENT_ORIGIN = TOPIC_NAME_MAX + 40 };

struct event_find {
    const struct config *config;
    const json_t *account, *made;
    struct str id;
    int64_t since_ms;
    json_t *stored, *refused;
    json_t *notes;              /* what the bridge's own topics say: kind, sink, endpoint, origin and more */
    const char *kind, *reading; /* of what is being read now, and its topic */
    struct event_copy {
        char *topic; /* where the record stood first */
        int64_t partition, offset, time_ms;
        const struct event *event;
    } copies[EVENT_STORED]; /* in the bridge's own topics, one of each record */
    size_t copy_count;
    struct event_stand {
        int64_t position;
        struct ranges beyond;
    } * stands; /* of the group that reads that topic, by partition */
    size_t stand_count;
    struct err *e;
};

/* ---- records ---- */

static json_t *event_number(struct str s)
{
    int64_t n;
    return str_to_i64(s, &n) ? json_integer(n) : json_null();
}

/* ---- how far the group is that reads a topic ---- */

static void event_stand(void *ctx, const struct standing *s)
{
    static const struct ranges nothing;
    struct event_find *f = ctx;
    f->stands = mem_grow(f->stands, (size_t)s->partition + 1, sizeof *f->stands);
    while (f->stand_count <= (size_t)s->partition)
        f->stands[f->stand_count++] = (struct event_stand){ .position = -1 };
    f->stands[s->partition] = (struct event_stand){ s->position, ranges_union(s->beyond, &nothing) };
}

static void event_stand_end(struct event_find *f)
{
    for (size_t i = 0; i < f->stand_count; i++)
        ranges_free(&f->stands[i].beyond);
    free(f->stands);
    f->stands = NULL;
    f->stand_count = 0;
}

static bool event_finished(const struct event_find *f, int32_t partition, int64_t offset)
{
    if ((size_t)partition >= f->stand_count)
        return false;
    const struct event_stand *at = &f->stands[partition];
    return standing_finished(&(struct standing){ .position = at->position, .beyond = &at->beyond }, offset);
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

/* Hands out the newest records of a topic, as far back as was asked for. */
static bool event_look(struct event_find *f, const char *topic, const char *group,
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
    return event_look(f, topic, group, event_note, e);
}

static bool event_waiting_topic(void *ctx, const char *topic, const char *group, struct err *e)
{
    return event_notes(ctx, "waiting", topic, group, e);
}

static bool event_redrive_topic(void *ctx, const char *topic, const char *group, struct err *e)
{
    return event_notes(ctx, "redrive", topic, group, e);
}

static bool event_blocked_log(void *ctx, const char *topic, const char *like, const char *group, struct err *e)
{
    (void)like;
    return event_notes(ctx, "waiting", topic, group, e);
}

/* What the topics of the sink's own say. A record of its redrive topic does not name the sink, one of an old log its old
 * name. */
static bool event_own_topics(struct event_find *f, const struct sink_config *sink, struct err *e)
{
    size_t before = json_array_size(f->notes);
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

static bool event_all_notes(struct event_find *f, struct err *e)
{
    char *dead = topic_name(f->config->broker.prefix, TOPIC_DEAD_LETTER, NULL);
    bool ok = event_notes(f, "dead", dead, NULL, e) && ladder_topics(&f->config->broker, event_waiting_topic, f, e);
    for (size_t i = 0; ok && i < f->config->sink_count; i++)
        ok = event_own_topics(f, &f->config->sinks[i], e);
    free(dead);
    return ok && event_unserved(f, e);
}

/* ---- one destination ---- */

static bool event_same(const json_t *note, const char *key, const char *text)
{
    const char *own = json_string_value(json_object_get(note, key));
    return own && text ? strcmp(own, text) == 0 : !own && !text;
}

/* What became of a letter is said, behind it, with the letter's own last attempt. */
static bool event_is_newer(const json_t *note, const json_t *than)
{
    const char *a = json_string_value(json_object_get(note, "last")),
               *b = json_string_value(json_object_get(than, "last"));
    int order = strcmp(a ? a : "", b ? b : "");
    return !than || order > 0 || (order == 0 && !event_same(note, "kind", "dead"));
}

/* The newest note of that kind about this destination and record (or, with `kind` NULL, any of dead letters). */
static const json_t *event_noted(const struct event_find *f, const char *kind, const char *sink, const char *endpoint,
                                 const char *origin)
{
    size_t i;
    const json_t *note, *newest = NULL;
    json_array_foreach(f->notes, i, note)
    {
        bool whole = event_same(note, "endpoint", NULL) || event_same(note, "endpoint", endpoint);
        bool is = kind ? event_same(note, "kind", kind)
                       : event_same(note, "kind", "dead") || event_same(note, "kind", "redriven")
                             || event_same(note, "kind", "discarded");
        if (is && whole && event_same(note, "sink", sink) && event_same(note, "origin", origin)
            && event_is_newer(note, newest))
            newest = note;
    }
    return newest;
}

/* What the daemon has in memory of this event for the destination; `any`: for whichever of the sink. */
static const json_t *event_in_memory(const struct event_find *f, const char *sink, const char *endpoint, bool any)
{
    size_t i, k;
    const json_t *one, *ev;
    json_array_foreach(json_object_get(f->account, "sinks"), i, one)
    {
        if (!event_same(one, "sink", sink))
            continue;
        json_array_foreach(json_object_get(one, "events"), k,
                           ev) if (any || event_same(ev, "endpoint", endpoint)) return ev;
    }
    return NULL;
}

/* Was the letter given to another place than its own? */
static bool event_is_redirected(const json_t *letter, const char *sink, const char *endpoint)
{
    const char *to = json_text(letter, "to");
    if (!event_same(letter, "kind", "redriven") || !to[0])
        return false;
    char *own = trail_place(sink, endpoint);
    bool is = strcmp(own, to) != 0;
    free(own);
    return is;
}

/* Is it paused, with what the daemon has for it? */
static bool event_is_paused(const struct event_find *f, const char *sink, const char *endpoint)
{
    size_t i, k;
    const json_t *one, *to;
    json_array_foreach(json_object_get(f->account, "sinks"), i, one)
    {
        json_array_foreach(json_object_get(one, "destinations"), k, to)
        {
            if (event_same(one, "sink", sink) && event_same(to, "endpoint", endpoint))
                return json_is_true(json_object_get(to, "paused"));
        }
    }
    return false;
}

/* Its state and what that rests on (a note, an event in memory, or nothing). */
static const char *event_state(const struct event_find *f, const char *sink, const char *endpoint, const char *origin,
                               bool finished, const json_t **why)
{
    const json_t *memory = event_in_memory(f, sink, endpoint, false);
    const json_t *letter = event_noted(f, NULL, sink, endpoint, origin);
    *why = memory;
    if (memory && event_same(memory, "state", "ready") && event_is_paused(f, sink, endpoint))
        return "paused";
    if (memory)
        return json_string_value(json_object_get(memory, "state"));
    if ((*why = event_noted(f, "waiting", sink, endpoint, origin)))
        return "waiting";
    if ((*why = event_noted(f, "redrive", sink, endpoint, origin)))
        return "redriven";
    if ((*why = event_noted(f, "resend", sink, endpoint, origin)))
        return "resent";
    *why = event_noted(f, "dead", sink, endpoint, origin); /* that it was discarded says no more */
    if (letter && !event_same(letter, "kind", "redriven"))
        return json_text(letter, "kind");
    if (event_is_redirected(letter, sink, endpoint))
        return EVENT_REDIRECTED;
    *why = NULL;
    /* of a record that is open at others of the sink alone */
    return finished || (f->account && event_in_memory(f, sink, endpoint, true)) ? "finished" : "pending";
}

/* Was it given to the destination once more, whatever that reads, or is it there now? */
static bool event_came(const struct event_find *f, const char *sink, const char *endpoint, const char *origin)
{
    size_t i;
    const json_t *note;
    json_array_foreach(f->notes, i, note)
    {
        if (event_same(note, "sink", sink) && event_same(note, "endpoint", endpoint)
            && event_same(note, "origin", origin) && !event_same(note, "kind", "unserved"))
            return true;
    }
    return event_in_memory(f, sink, endpoint, false) != NULL;
}

static void event_destination(json_t *list, const char *sink, const char *endpoint, const char *state,
                              const json_t *why)
{
    static const char *const keys[] = { "attempts", "due", "last", "status", "class", "reason" };
    json_t *j = json_pack("{s:s,s:o,s:s}", "sink", sink, "endpoint", json_of_text(str_of(endpoint)), "state", state);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        json_t *value = json_object_get(why, keys[i]);
        json_object_set_new(j, keys[i], value ? json_deep_copy(value) : json_null());
    }
    json_array_append_new(list, j);
}

/* ---- the records of the event ---- */

static bool event_reads(const struct sink_config *sink, struct str topic)
{
    for (size_t i = 0; i < sink->topics.count; i++)
        if (str_eq(topic, str_of(sink->topics.at[i])))
            return true;
    return false;
}

struct event_place { /* a sink, and the record there */
    const struct sink_config *sink;
    const char *origin;
    const struct event *event;
    int64_t time_ms;      /* of the record */
    bool reads, finished; /* does it read the record's topic, and is it behind it? */
};

/* What became of it at the sink (`endpoint` NULL) or one of its endpoints; `wanted`: its filter takes it. Nothing is said
 * when it does not read the topic and got nothing else. */
static void event_at(const struct event_find *f, const struct event_place *at, const char *endpoint, bool wanted,
                     json_t *list)
{
    const char *id = at->sink->sink->id, *state = at->reads ? "filtered" : NULL;
    const json_t *why = NULL, *resent = event_noted(f, "resent", id, endpoint, at->origin);
    if (wanted || event_came(f, id, endpoint, at->origin))
        state = event_state(f, id, endpoint, at->origin, at->finished || !wanted, &why);
    if (!state)
        return;
    event_destination(list, id, endpoint, state, why);
    json_t *said = json_array_get(list, json_array_size(list) - 1);
    json_object_set(said, "resent", resent ? json_object_get(resent, "last") : json_null());
    if (strcmp(state, EVENT_REDIRECTED) == 0)
        json_object_set(said, "to", json_object_get(event_noted(f, NULL, id, endpoint, at->origin), "to"));
}

/* The daemon's list of endpoints has it, made at run time; NULL: it has not. */
static const json_t *event_made(const struct event_find *f, const char *sink, const char *endpoint)
{
    size_t i;
    const json_t *one;
    json_array_foreach(f->made, i, one)
    {
        if (event_same(one, "sink", sink) && event_same(one, "name", endpoint) && event_same(one, "origin", "api"))
            return one;
    }
    return NULL;
}

/* Of an endpoint that was made at run time, before the record came, all is said; of others only what they got. */
static void event_at_made(const struct event_find *f, const struct event_place *at, const char *endpoint, json_t *list)
{
    struct event_place here = *at;
    struct err e;
    int64_t since;
    const json_t *made = event_made(f, at->sink->sink->id, endpoint), *wants = json_object_get(made, "filter");
    here.reads = at->reads && made && clock_parse(str_of(json_text(made, "made")), &since) && since <= at->time_ms;
    struct filter *filter = json_is_object(wants) || json_is_array(wants) ? filter_new(wants, &e) : NULL;
    event_at(f, &here, endpoint, here.reads && filter_match(filter, at->event), list);
    filter_free(filter);
}

/* Endpoints that the daemon has and the configuration has not. */
static void event_at_others(const struct event_find *f, const struct event_place *at, json_t *list)
{
    json_t *sink, *one;
    size_t i, k;
    json_array_foreach(json_object_get(f->account, "sinks"), i, sink)
    {
        if (strcmp(json_text(sink, "sink"), at->sink->sink->id) != 0)
            continue;
        json_array_foreach(json_object_get(sink, "destinations"), k, one)
        {
            const char *name = json_string_value(json_object_get(one, "endpoint"));
            bool ours = !name;
            for (size_t n = 0; n < at->sink->endpoint_count && !ours; n++)
                ours = strcmp(at->sink->endpoints[n].endpoint->name, name) == 0;
            if (!ours)
                event_at_made(f, at, name, list);
        }
    }
}

static void event_at_places(const struct event_find *f, const struct event_place *at, json_t *list)
{
    const struct sink_config *sink = at->sink;
    bool wanted = at->reads && filter_match(sink->filter, at->event);
    struct event_place endpoints = *at;
    if (sink->sink->ops->broadcast) {
        if (at->reads)
            event_destination(list, sink->sink->id, NULL, wanted ? "live" : "filtered", NULL);
        return;
    }
    if (!sink->many || !wanted)
        event_at(f, at, NULL, wanted, list);
    endpoints.reads = wanted; /* else it was said of all of them */
    for (size_t i = 0; i < sink->endpoint_count; i++)
        event_at(f, &endpoints, sink->endpoints[i].endpoint->name,
                 wanted && filter_match(sink->endpoints[i].filter, at->event), list);
    event_at_others(f, &endpoints, list);
}

/* What became of it at one sink. */
static bool event_at_sink(struct event_find *f, const struct sink_config *sink, const struct record *r,
                          const struct event *ev, json_t *list)
{
    char origin[EVENT_ORIGIN], *topic = str_dup(r->topic),
                               *group = str_join(f->config->broker.group_prefix, sink->sink->id, "");
    bool reads = event_reads(sink, r->topic);
    bool ok = sink->sink->ops->broadcast || !reads
              || broker_standing(&f->config->broker, group, topic, event_stand, f, f->e);
    snprintf(origin, sizeof origin, "%s/%" PRId32 "/%" PRId64, topic, r->partition, r->offset);
    event_at_places(f,
                    &(struct event_place){ .sink = sink,
                                           .origin = origin,
                                           .event = ev,
                                           .time_ms = r->timestamp_ms,
                                           .reads = reads,
                                           .finished = event_finished(f, r->partition, r->offset) },
                    list);
    event_stand_end(f);
    free(group);
    free(topic);
    return ok;
}

/* Where a copy of the record is kept that nobody reads any more. */
static void event_at_nobody(const struct event_find *f, const struct record *r, json_t *list)
{
    char origin[EVENT_ORIGIN];
    snprintf(origin, sizeof origin, "%.*s/%" PRId32 "/%" PRId64, STR_ARG(r->topic), r->partition, r->offset);
    for (size_t i = 0; i < json_array_size(f->notes); i++) {
        const json_t *note = json_array_get(f->notes, i);
        if (event_same(note, "kind", "unserved") && event_same(note, "origin", origin))
            event_destination(list, json_string_value(json_object_get(note, "sink")),
                              json_string_value(json_object_get(note, "endpoint")), "unserved", note);
    }
}

/* Says what became of the record's event everywhere. `copy`: the record itself was not found. */
static bool event_store(struct event_find *f, const struct record *r, const struct event *ev, bool copy)
{
    json_t *list = json_array();
    bool ok = true;
    for (size_t i = 0; ok && i < f->config->sink_count; i++)
        if (!f->config->sinks[i].sink->ops->dead_letters)
            ok = event_at_sink(f, &f->config->sinks[i], r, ev, list);
    if (ok) {
        event_at_nobody(f, r, list);
        json_array_append_new(f->stored, json_pack("{s:o,s:i,s:I,s:o,s:b,s:o,s:o,s:O}", "topic", json_of_text(r->topic),
                                                   "partition", (int)r->partition, "offset", (json_int_t)r->offset,
                                                   "time", json_of_moment(r->timestamp_ms), "copy", (int)copy, "type",
                                                   json_of_text(ev->type), "source", json_of_text(ev->source),
                                                   "destinations", list));
    }
    json_decref(list);
    return ok;
}

static bool event_found(void *ctx, const struct record *r)
{
    struct event_find *f = ctx;
    progress_count(f->reading, "records read");
    if (!find_event_is(r, f->id))
        return true;
    const struct event *ev = event_from_record(r, f->e);
    bool ok = ev && event_store(f, r, ev, false);
    event_unref(ev);
    return ok && json_array_size(f->stored) < EVENT_STORED;
}

static bool event_is_stored(const struct event_find *f, const struct event_copy *c)
{
    size_t i;
    const json_t *one;
    json_array_foreach(f->stored, i, one)
    {
        if (event_same(one, "topic", c->topic) && json_integer_value(json_object_get(one, "offset")) == c->offset
            && json_integer_value(json_object_get(one, "partition")) == c->partition)
            return true;
    }
    return false;
}

/* Says the same of each record that its topic has no longer, from the copy. */
static bool event_copies(struct event_find *f)
{
    bool ok = true;
    for (size_t i = 0; ok && i < f->copy_count && json_array_size(f->stored) < EVENT_STORED; i++) {
        const struct event_copy *c = &f->copies[i];
        struct record place = { .topic = str_of(c->topic),
                                .partition = (int32_t)c->partition,
                                .offset = c->offset,
                                .timestamp_ms = c->time_ms };
        ok = event_is_stored(f, c) || event_store(f, &place, c->event, true);
    }
    return ok;
}

/* ---- all topics ---- */

static bool event_topic(void *ctx, const char *topic)
{
    struct event_find *f = ctx;
    return event_look(f, topic, NULL, event_found, f->e) && !f->e->text[0];
}

json_t *status_event(const struct config *config, const json_t *account, const json_t *made, struct str id,
                     int64_t since_ms, struct err *e)
{
    struct event_find f = { .config = config,
                            .account = account,
                            .made = made,
                            .id = id,
                            .since_ms = since_ms,
                            .stored = json_array(),
                            .refused = json_array(),
                            .notes = json_array(),
                            .e = e };
    bool ok = event_all_notes(&f, e) && find_event_topics(config, event_topic, &f) && event_copies(&f);
    for (size_t i = 0; i < f.copy_count; i++) {
        event_unref(f.copies[i].event);
        free(f.copies[i].topic);
    }
    json_decref(f.notes);
    if (ok)
        return json_pack("{s:o,s:o,s:o}", "event", json_of_text(id), "stored", f.stored, "refused", f.refused);
    json_decref(f.stored);
    json_decref(f.refused);
    return NULL;
}
