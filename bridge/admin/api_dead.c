/* SPDX-License-Identifier: MIT */
/* Dead letters: listed, shown, redriven, discarded, in the file of a sink that files them (struct filed_ops). */
#include <stdlib.h>
#include "bridge/admin/api_work.h"
#include "bridge/admin/event_view.h"
#include "bridge/config/known.h"
#include "bridge/delivery/place.h"

enum { DEAD_DATA = 128 << 20, DEAD_PAGE = 256 };

/* The sink whose file is meant by `from`; NULL: the work has failed. */
static const struct sink *dead_sink(struct api_work *w, const json_t *of)
{
    const struct config *c = w->home->config;
    const char *from = json_string_value(json_object_get(of, "from"));
    const struct sink *found = NULL;
    size_t count = 0;
    for (size_t i = 0; i < c->sink_count; i++) {
        const struct sink *s = c->sinks[i].sink;
        if (!s->ops->filed || (from && strcmp(from, s->id) != 0))
            continue;
        found = s;
        count++;
    }
    if (count == 0)
        api_work_fail(w, 404,
                      from ? "there is no sink of that name that files dead letters"
                           : "no sink files dead letters: add one of type dead_letter");
    else if (count > 1)
        api_work_fail(w, 409, "several sinks file dead letters: say which by from");
    return count == 1 ? found : NULL;
}

static void dead_list(struct api_work *w)
{
    struct err e = { "" };
    const struct sink *s = dead_sink(w, w->query);
    if (!s)
        return;
    json_object_set_new(w->query, "limit", json_integer((json_int_t)api_work_limit(w)));
    w->answer = s->ops->filed->list(s, w->query, &e);
    if (!w->answer)
        api_work_fail(w, strncmp(e.text, "after:", 6) == 0 ? 404 : 503, "%s", e.text);
}

static void dead_show(struct api_work *w)
{
    struct err e = { "" };
    struct buf data = buf_new(DEAD_DATA);
    const struct sink *s = dead_sink(w, w->query);
    json_t *letter = s ? s->ops->filed->show(s, w->parameters[0], &data, &e) : NULL;
    if (letter) {
        event_view_set_data(letter, buf_str(&data),
                            json_is_true(json_object_get(w->query, "whole")) ? DEAD_DATA : API_EXCERPT);
        w->answer = letter;
    } else if (s)
        api_work_fail(w, e.text[0] ? 503 : 404, "%s",
                      e.text[0] ? e.text : "there is no such letter: letters are named by the `letter` of the list");
    buf_free(&data);
}

/* ---- redrive, discard ---- */

static bool dead_goes_on(void *ctx, int64_t done, int64_t of)
{
    struct api_work *w = ctx;
    atomic_store(&w->done, done);
    atomic_store(&w->of, of);
    return !api_work_is_over(w);
}

struct dead_call {            /* what the connector calls back */
    struct command_call base; /* first */
    const struct api_home *home;
};

static enum outcome dead_publish(const struct command_call *call, const struct record *records, size_t count,
                                 struct err *e)
{
    return api_work_publish(((const struct dead_call *)call)->home, records, count, e);
}

static void dead_end(struct api_work *w, bool discard)
{
    struct err e = { "" };
    const struct sink *s = dead_sink(w, w->body);
    if (!s)
        return;
    if (json_object_get(w->body, "limit"))
        w->until_ms = INT64_MAX; /* a page that was begun is ended */
    struct dead_call call = { .base = { .publish = dead_publish, .place = place_find }, .home = w->home };
    json_t *made = api_work_known(w, &call.base);
    struct filed_work work = {
        .what = w->body, .discard = discard, .call = &call.base, .goes_on = dead_goes_on, .ctx = w
    };
    bool good = s->ops->filed->end(s, &work, &e);
    json_int_t done = json_integer_value(json_object_get(work.result, "done")),
               refused = json_integer_value(json_object_get(work.result, "refused"));
    if (work.result)
        atomic_store(&w->done, done + refused);
    w->answer = work.result;
    if (!good && !w->number)
        api_work_fail(w, strncmp(e.text, "after:", 6) == 0 ? 404 : work.result ? 503 : 409, "%s", e.text);
    else if (!good)
        w->why = e; /* what was done before that is told as well */
    w->status = w->status ? w->status : 200;
    known_free(&call.base);
    json_decref(made);
}

static void dead_redrive(struct api_work *w)
{
    dead_end(w, false);
}

static void dead_discard(struct api_work *w)
{
    dead_end(w, true);
}

/* What only says what would be done, and a page, are answered with that; the rest is a job. */
static void dead_begin(struct api_call *call, void (*run)(struct api_work *w))
{
    if (json_is_true(json_object_get(call->body, "dry_run")) || json_object_get(call->body, "limit"))
        api_later(call, LANE_MOVE, run);
    else
        api_long(call, run);
}

static void dead_get(struct api_call *call)
{
    api_later(call, LANE_READ, dead_list);
}

static void dead_get_one(struct api_call *call)
{
    api_later(call, LANE_READ, dead_show);
}

static void dead_post_redrive(struct api_call *call)
{
    dead_begin(call, dead_redrive);
}

static void dead_post_discard(struct api_call *call)
{
    dead_begin(call, dead_discard);
}

/* ---- rows ---- */

#define DEAD_FROM                                                                                                      \
    {                                                                                                                  \
        "from", SHAPE_TEXT, .min = 1, .doc = "The dead_letter sink whose file is meant, when there are several."       \
    }
#define DEAD_FILTER                                                                                                    \
    { "sink", SHAPE_TEXT, .min = 1, .doc = "The sink that gave up, or the source whose event no topic could take." },  \
        { "endpoint", SHAPE_TEXT, .min = 1, .doc = "The one of its endpoints that gave up." },                         \
        { "class", SHAPE_TEXT, .values = "refused|unavailable|configuration|poison|blocked|orphaned|invalid|unrouted", \
          .doc = "Why." },                                                                                             \
        { "type", SHAPE_TEXT, .min = 1, .doc = "Event types that begin like this." },                                  \
        { "source", SHAPE_TEXT, .min = 1, .doc = "Event sources that begin like this." },                              \
        { "id", SHAPE_TEXT, .min = 1, .doc = "One event; of what is none, where it stood: topic/partition@offset." },  \
        { "since", SHAPE_SINCE, .doc = "Last attempt at or after." },                                                  \
        { "until", SHAPE_SINCE, .doc = "Last attempt before." },                                                       \
    {                                                                                                                  \
        "state", SHAPE_TEXT, .values = "dead|redriven|discarded|all", .doc = "How they are; without it dead."          \
    }
#define DEAD_WHICH                                                                                                     \
    DEAD_FILTER, { "all", SHAPE_BOOLEAN, .values = "true", .doc = "Every letter: must be said without a filter." },    \
        { "dry_run", SHAPE_BOOLEAN, .doc = "Only say what would be done: answered at once." },                         \
        { "limit", SHAPE_INTEGER, .min = 1, .max = DEAD_PAGE,                                                          \
          .doc = "A page: the oldest so many, answered at once, each with what became of it." },                       \
        { "after", SHAPE_TEXT, .max = 32, .doc = "Of pages: what `next` of the one before said: go on there." },       \
    {                                                                                                                  \
        "last", SHAPE_BOOLEAN, .doc = "Of pages: none follows, whatever `next` says; the audit tells the whole then."  \
    }

#define DEAD_ANY_OF "sink|endpoint|class|type|source|id|since|until|all"

static const struct shape dead_query[] = { DEAD_FILTER, DEAD_FROM, API_LIST_QUERY, { 0 } };
static const struct shape dead_one_query[] = {
    DEAD_FROM,
    { "whole", SHAPE_BOOLEAN, .doc = "All of its data, however long." },
    { 0 },
};
static const struct shape dead_redrive_body[] = {
    DEAD_WHICH,
    DEAD_FROM,
    { "to", SHAPE_TEXT, .min = 1, .doc = "To this SINK or SINK/ENDPOINT instead of where they came from." },
    { "rate", SHAPE_INTEGER, .min = 1, .max = 1000000, .doc = "At most so many a second." },
    { "again", SHAPE_BOOLEAN, .doc = "Also what was redriven before." },
    { 0 },
};
static const struct shape dead_discard_body[] = { DEAD_WHICH, DEAD_FROM, { 0 } };

#define DEAD_LETTER                                                                                                    \
    { "letter", SHAPE_TEXT, .required = true, .doc = "Its number in the file." },                                      \
        { "state", SHAPE_TEXT, .required = true, .values = "dead|redriven|discarded", .doc = "How it is." },           \
        { "sink", SHAPE_TEXT, .required = true, .nullable = true, .doc = "The sink that gave up." },                   \
        { "endpoint", SHAPE_TEXT, .required = true, .nullable = true, .doc = "Its endpoint." },                        \
        { "from", SHAPE_TEXT, .required = true, .nullable = true, .doc = "The source that could not store it." },      \
        { "id", SHAPE_TEXT, .required = true, .nullable = true, .doc = "The event's id." },                            \
        { "source", SHAPE_TEXT, .required = true, .nullable = true, .doc = "The event's source." },                    \
        { "type", SHAPE_TEXT, .required = true, .nullable = true, .doc = "The event's type." },                        \
        { "class", SHAPE_TEXT, .required = true, .nullable = true, .doc = "The class of the reason." },                \
        { "reason", SHAPE_TEXT, .required = true, .nullable = true, .doc = "Why it was given up." },                   \
        { "status", SHAPE_INTEGER, .required = true, .nullable = true, .doc = "What the receiver answered last." },    \
        { "attempts", SHAPE_INTEGER, .required = true, .doc = "How often it was tried." },                             \
        { "first", SHAPE_MOMENT, .required = true, .nullable = true, .doc = "The first attempt." },                    \
        { "last", SHAPE_MOMENT, .required = true, .nullable = true, .doc = "The last attempt." },                      \
        { "redrives", SHAPE_INTEGER, .required = true, .doc = "How often it was redriven." },                          \
        { "origin", SHAPE_OBJECT, .required = true, .nullable = true, .doc = "topic, partition, offset." },            \
    {                                                                                                                  \
        "size", SHAPE_INTEGER, .required = true, .doc = "Bytes of its data."                                           \
    }

static const struct shape dead_item[] = { DEAD_LETTER, { 0 } };
static const struct shape dead_ended[] = {
    { "result", SHAPE_TEXT, .required = true, .values = "redriven|discarded|would|refused|skipped",
      .doc = "What became of it." },
    { "why", SHAPE_TEXT, .required = true, .nullable = true, .doc = "Why it was refused or skipped." },
    DEAD_LETTER,
    { 0 },
};
static const struct shape dead_header[] = {
    { "name", SHAPE_TEXT, .required = true, .doc = "Its name." },
    { "value", SHAPE_TEXT, .required = true, .nullable = true, .doc = "Its value." },
    { 0 },
};
static const struct shape dead_whole[] = {
    DEAD_LETTER,
    { "data", SHAPE_TEXT, .doc = "Its data, when that is text." },
    { "data_base64", SHAPE_TEXT, .doc = "Its data, when that is no text." },
    { "cut", SHAPE_BOOLEAN, .required = true, .doc = "Is only the beginning of the data here?" },
    { "headers", SHAPE_OBJECT, .list = true, .required = true, .of = dead_header,
      .doc = "The record's headers, without the bridge's own." },
    { 0 },
};
static const struct shape dead_answer[] = {
    { "items", SHAPE_OBJECT, .list = true, .required = true, .of = dead_item, .doc = "The newest first." },
    { "matched", SHAPE_INTEGER, .doc = "Of the first page: so many match in all." },
    API_LIST_NEXT,
    { 0 },
};
static const struct shape dead_done[] = {
    { "job", SHAPE_TEXT, .doc = "With 202: its number, for GET /api/v1/jobs/{job}." },
    { "matched", SHAPE_INTEGER, .doc = "With 200: so many match; of a page that follows another: 0." },
    { "done", SHAPE_INTEGER, .doc = "With 200: so many were done, or would be." },
    { "refused", SHAPE_INTEGER, .doc = "With 200: so many could not be done." },
    { "skipped", SHAPE_INTEGER, .doc = "With 200: so many are left out, of all that match." },
    { "interrupted", SHAPE_BOOLEAN, .doc = "With 200: the daemon ends, and so did this." },
    { "items", SHAPE_OBJECT, .list = true, .of = dead_ended, .doc = "Of a page: each letter of it, the oldest first." },
    { "next", SHAPE_TEXT, .nullable = true, .doc = "Of a page: ask with after=this for the next one; null: no more." },
    { "error", SHAPE_TEXT, .nullable = true, .doc = "Of a page: why it ended before its end." },
    { "unmarked", SHAPE_TEXT, .nullable = true,
      .doc = "Of a page: why the file could not be told; it is when the daemon reads the news of it." },
    { 0 },
};

extern const struct api_row api_dead_rows[];
const struct api_row api_dead_rows[] = {
    { "GET", "/api/v1/dead-letters", "listDeadLetters", ROLE_VIEWER, "What sinks gave up.", .query = dead_query,
      .done = 200, .answer = dead_answer, .handle = dead_get },
    { "GET", "/api/v1/dead-letters/{letter}", "getDeadLetter", ROLE_VIEWER, "A dead letter with its data.",
      .query = dead_one_query, .done = 200, .answer = dead_whole, .handle = dead_get_one },
    { "POST", "/api/v1/dead-letters/redrive", "redriveDeadLetters", ROLE_OPERATOR,
      "Gives dead letters again to the sink that gave them up, or to another.", .body = dead_redrive_body,
      .any_of = DEAD_ANY_OF, .paged = true, .done = 202, .also = 200, .answer = dead_done,
      .handle = dead_post_redrive },
    { "POST", "/api/v1/dead-letters/discard", "discardDeadLetters", ROLE_OPERATOR, "Gives dead letters up for good.",
      .body = dead_discard_body, .any_of = DEAD_ANY_OF, .paged = true, .done = 202, .also = 200, .answer = dead_done,
      .handle = dead_post_discard },
    { 0 },
};
