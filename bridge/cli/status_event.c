/* SPDX-License-Identifier: MIT */
/* Finds an event in the log, and says what became of it. */
#include "bridge/cli/status_event.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/cli/status_event_private.h"
#include "bridge/cli/status_log.h"
#include "bridge/delivery/find_event.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/progress.h"

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
    const json_t *why = NULL, *resent = status_event_noted(f, "resent", id, endpoint, at->origin);
    if (wanted || status_event_came(f, id, endpoint, at->origin))
        state = status_event_state(f, id, endpoint, at->origin, at->finished || !wanted, &why);
    if (!state)
        return;
    status_event_destination(list, id, endpoint, state, why);
    json_t *said = json_array_get(list, json_array_size(list) - 1);
    json_object_set(said, "resent", resent ? json_object_get(resent, "last") : json_null());
    if (strcmp(state, EVENT_REDIRECTED) == 0)
        json_object_set(said, "to", json_object_get(status_event_noted(f, NULL, id, endpoint, at->origin), "to"));
}

/* The daemon's list of endpoints has it, made at run time; NULL: it has not. */
static const json_t *event_made(const struct event_find *f, const char *sink, const char *endpoint)
{
    size_t i;
    const json_t *one;
    json_array_foreach(f->made, i, one)
    {
        if (status_event_same(one, "sink", sink) && status_event_same(one, "name", endpoint)
            && status_event_same(one, "origin", "api"))
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
            status_event_destination(list, sink->sink->id, NULL, wanted ? "live" : "filtered", NULL);
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
    char origin[EVENT_ORIGIN], *topic = str_dup(r->topic), *group = NULL;
    bool reads = event_reads(sink, r->topic);
    bool ok = sink->sink->ops->broadcast || !reads
              || ((group = status_group(f->config, sink, topic, f->e))
                  && broker_standing(&f->config->broker, group, topic, event_stand, f, f->e));
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
        if (status_event_same(note, "kind", "unserved") && status_event_same(note, "origin", origin))
            status_event_destination(list, json_string_value(json_object_get(note, "sink")),
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
        if (status_event_same(one, "topic", c->topic) && json_integer_value(json_object_get(one, "offset")) == c->offset
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
    return status_event_look(f, topic, NULL, event_found, f->e) && !f->e->text[0];
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
    bool ok = status_event_notes(&f, e) && find_event_topics(config, event_topic, &f) && event_copies(&f);
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
