/* SPDX-License-Identifier: MIT */
/* Collects events of one receiver until they are a batch. */
#include "connectors/webhook/batches.h"

#include <stdlib.h>
#include "bridge/lib/mem.h"

const struct option batches_rows[] = {
    OPTION(struct batches_options, count, .required = true, .min = 1, .max = PARCEL_MOST,
           .doc = "Most events of one request; 1: each has its own, as without batch."),
    OPTION(struct batches_options, bytes, .fallback = "256KiB", .min = 1024, .max = 64 << 20,
           .doc = "Most bytes of its body; a larger event goes alone."),
    OPTION(struct batches_options, age, .fallback = "1s", .min = 1, .max = 60000,
           .doc = "Longest time that an event waits for others to go with it."),
    { 0 }
};

/* Names of `for` whose receivers take one message a request. */
static const char *const batches_single[] = { "slack", "discord", "teams", "airflow", "flowise", NULL };

static bool batches_check_receiver(const char *receiver, struct err *e)
{
    for (size_t i = 0; receiver && batches_single[i]; i++)
        if (strcmp(receiver, batches_single[i]) == 0)
            return err_set(e, "batch: for: %s takes one message a request (batch: {count: 1} sends them so)", receiver);
    return true;
}

/* What differs from event to event has no place in a request for several. */
static bool batches_check_url(const struct shape_options *shape, struct err *e)
{
    if (shape->path && template_has_expressions(str_of(shape->path)))
        return err_set(e, "batch: path has {{expressions}}, and a batch has one path for all of its events");
    for (size_t i = 0; i < shape->query->count; i++)
        if (template_has_expressions(str_of(shape->query->at[i].value)))
            return err_set(e,
                           "batch: query: %.64s has {{expressions}}, and a batch has one query for all of its events",
                           shape->query->at[i].key);
    for (size_t i = 0; i < shape->headers->count; i++)
        if (template_has_expressions(str_of(shape->headers->at[i].value)))
            return err_set(e,
                           "batch: headers: %.64s has {{expressions}}, and a batch has the same headers for all of its "
                           "events",
                           shape->headers->at[i].key);
    return true;
}

bool batches_check(const struct batches_options *o, const struct shape_options *shape, const char *receiver,
                   struct err *e)
{
    const char *type = shape->content_type;
    if (o->count < 2)
        return true;
    if (shape->body->json && strcmp(shape->body->json, "\"binary\"") == 0)
        return err_set(e, "batch: with body: binary the headers are one event's (structured puts many in one body)");
    if (type && template_has_expressions(str_of(type)))
        return err_set(e, "batch: content_type has {{expressions}}, and a batch has one for all of its events");
    if (type && !event_type_is_json(str_of(type)))
        return err_set(e, "batch: content_type: %.64s is no JSON, and a batch is a JSON array", type);
    if (shape_body_is_text(shape))
        return err_set(e, "batch: body is a text, and a batch is a JSON array (content_type: application/json makes it "
                          "JSON)");
    return batches_check_receiver(receiver, e) && batches_check_url(shape, e);
}

/* ---- collecting ---- */

void batches_open(struct batches *b, const struct batches_options *o, struct request_template *t)
{
    *b = (struct batches){ .options = o, .template = t };
    b->last = &b->first;
}

void batches_close(struct batches *b)
{
    for (struct parcel *one; (one = b->first);) {
        b->first = one->next;
        parcel_free(one);
    }
    parcel_free(b->open);
    *b = (struct batches){ 0 };
}

static void batches_append(struct batches *b, struct parcel *one)
{
    one->due_ms = 0;
    *b->last = one;
    b->last = &one->next;
}

/* Nothing more goes into the open one. */
static void batches_shut(struct batches *b)
{
    batches_append(b, b->open);
    b->open = NULL;
}

/* Lets the event end by itself: it cannot be part of a JSON array. */
static void batches_refuse(struct batches *b, const struct message *m, const struct err *why)
{
    struct parcel *one = parcel_new();
    parcel_push(one, m);
    one->why = str_dup(str_of(why->text));
    batches_append(b, one);
}

/* What begins behind `at` is too much for this batch: it begins the next one. */
static struct parcel *batches_move(struct batches *b, size_t at, int64_t due_ms)
{
    struct parcel *full = b->open, *next = parcel_new();
    next->due_ms = due_ms;
    buf_add(&next->json, full->json.at + at, full->json.n - at);
    full->json.n = at;
    batches_shut(b);
    return next;
}

void batches_add(struct batches *b, const struct message *m)
{
    struct err e;
    int64_t now = clock_mono_ms(), due = now + b->options->age.ms;
    if (!b->open)
        b->open = parcel_new();
    if (b->open->count == 0)
        b->open->due_ms = due;
    struct buf *json = &b->open->json;
    size_t before = json->n, most = (size_t)b->options->bytes.n;
    if (!request_add_element(json, b->template, m, &e)) {
        json->n = before;
        json->failed = false;
        batches_refuse(b, m, &e);
        return;
    }
    if (json->n + 1 > most && b->open->count > 0)
        b->open = batches_move(b, before, due);
    parcel_push(b->open, m);
    if (m->awaited)
        b->open->due_ms = now;
    if (b->open->count >= (size_t)b->options->count || b->open->json.n >= most)
        batches_shut(b);
}

int64_t batches_due(const struct batches *b)
{
    if (b->first)
        return 0;
    return b->open && b->open->count ? b->open->due_ms : INT64_MAX;
}

struct parcel *batches_take(struct batches *b)
{
    if (!b->first)
        batches_shut(b);
    struct parcel *one = b->first;
    CHECK(one); /* batches_due says so */
    b->first = one->next;
    if (!b->first)
        b->last = &b->first;
    one->next = NULL;
    return one;
}
