/* SPDX-License-Identifier: MIT */
/* One event: found by its id, shown, and given once more to a place. */
#include <stdlib.h>
#include "bridge/admin/api_work.h"
#include "bridge/admin/event_view.h"
#include "bridge/config/known.h"
#include "bridge/delivery/place.h"
#include "bridge/delivery/resend.h"

static bool events_go_on(void *ctx, const char *topic, int64_t read)
{
    (void)topic, (void)read;
    return !api_work_is_over(ctx);
}

/* Looks for the event of the path; `of`: where source, topic and since are said. False: it failed, and resend_free is still
 * to be called. */
static bool events_search(struct api_work *w, const json_t *of, struct resend *s)
{
    struct err e = { "" };
    const char *since = json_string_value(json_object_get(of, "since"));
    *s = (struct resend){ .config = w->home->config,
                          .id = str_of(w->parameters[0]),
                          .source = str_of(json_string_value(json_object_get(of, "source"))),
                          .topic = str_of(json_string_value(json_object_get(of, "topic"))),
                          .go_on = events_go_on,
                          .ctx = w };
    if (since)
        clock_since(str_of(since), &s->since_ms);
    bool found = resend_search(s, &e);
    if (!found)
        api_work_fail(w, s->topic.at ? 404 : 503, "%s", e.text);
    else if (s->count == 0) {
        resend_none(s, &e);
        api_work_fail(w, s->whole ? 404 : 504, "%s", e.text);
    }
    return found && s->count > 0;
}

static void events_show(struct api_work *w)
{
    struct resend s;
    if (events_search(w, w->query, &s)) {
        json_t *items = json_array();
        for (size_t i = 0; i < s.count; i++)
            json_array_append_new(items, event_view_json(s.found[i], API_EXCERPT));
        w->answer = json_pack("{s:o,s:b}", "items", items, "whole", (int)s.whole);
    }
    resend_free(&s);
}

/* Publishes the one event that was found. */
static void events_publish(struct api_work *w, const struct resend *s, const struct command_place *to)
{
    struct resent m;
    struct err e = { "" };
    if (s->count > 1) {
        api_work_fail(w, 409, "several events have this id: choose one by topic or source");
        return;
    }
    resent_make(&m, s->found[0], w->home->config->broker.prefix, to);
    if (api_work_publish(w->home, m.records, 2, &e) == OUTCOME_STORED)
        w->answer = event_view_json(s->found[0], 0);
    else
        api_work_fail(w, 503, "%s", e.text);
    resent_free(&m);
}

static void events_resend(struct api_work *w)
{
    struct command_call call = { 0 };
    struct command_place to;
    struct resend s = { 0 };
    struct err e = { "" };
    const char *sink = json_string_value(json_object_get(w->body, "sink")),
               *endpoint = json_string_value(json_object_get(w->body, "endpoint"));
    char *place = str_join(sink, endpoint ? "/" : "", endpoint ? endpoint : "");
    json_t *made = api_work_known(w, &call);
    if (!place_find(&call, str_of(place), &to, &e))
        api_work_fail(w, 409, "%s", e.text);
    else if (events_search(w, w->body, &s))
        events_publish(w, &s, &to);
    resend_free(&s);
    known_free(&call);
    json_decref(made);
    free(place);
}

static void events_get(struct api_call *call)
{
    api_later(call, LANE_READ, events_show);
}

static void events_post(struct api_call *call)
{
    api_later(call, LANE_READ, events_resend);
}

#define EVENTS_WHICH                                                                                                   \
    { "source", SHAPE_TEXT, .min = 1, .doc = "The event's source, where several events have the id." },                \
        { "topic", SHAPE_TEXT, .min = 1, .doc = "Look for it in this topic alone, else in all that are configured." }, \
    {                                                                                                                  \
        "since", SHAPE_SINCE, .doc = "Stored at or after."                                                             \
    }

static const struct shape events_query[] = { EVENTS_WHICH, { 0 } };
static const struct shape events_resend_body[] = {
    { "sink", SHAPE_TEXT, .required = true, .min = 1, .doc = "The sink that gets it." },
    { "endpoint", SHAPE_TEXT, .min = 1, .doc = "Which of its endpoints, if it has some." },
    EVENTS_WHICH,
    { 0 },
};
static const struct shape events_answer[] = {
    { "items", SHAPE_OBJECT, .list = true, .required = true, .of = event_view,
      .doc = "The newest of each topic and source." },
    { "whole", SHAPE_BOOLEAN, .required = true, .doc = "Was all looked at? Else say topic or since." },
    { 0 },
};

extern const struct api_row api_event_rows[];
const struct api_row api_event_rows[] = {
    { "GET", "/api/v1/events/{id}", "getEvent", ROLE_VIEWER, "The event with this id, as it is stored.",
      .query = events_query, .done = 200, .answer = events_answer, .handle = events_get },
    { "POST", "/api/v1/events/{id}/resend", "resendEvent", ROLE_OPERATOR,
      "Gives a stored event once more to one sink or endpoint.", .body = events_resend_body, .done = 202,
      .answer = event_view, .handle = events_post },
    { 0 },
};
