/* SPDX-License-Identifier: MIT */
/* Turns the requests of one path into events: reads the body, and completes what comes as CloudEvents. */
#include "bridge/event/trace.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/jscan.h"
#include "connectors/http/exchange.h"
#include "connectors/http/taking.h"
#include "connectors/http/unpack.h"
#include "connectors/http/wrapped.h"

enum { FORM_KEPT = 1 << 20 /* of memory, between two bodies */ };

bool path_is_batch(const struct path *p, const struct http_request *r)
{
    return reader_reading(&p->reader, r) == READING_BATCH;
}

static bool path_check_data(struct str content_type, struct str data, struct err *e)
{
    struct jscan_value value;
    if (!event_type_is_json(content_type) || jscan_check(data, &value, e))
        return true;
    err_prefix(e, "the body is not valid JSON");
    return false;
}

/* May a sender on this path name the source, and how many attributes? */
static bool path_check_event(const struct taking *t, const struct event *ev)
{
    if (ev->extension_count > t->most->attributes) {
        *t->status = 400;
        return err_set(t->e, "%zu extension attributes, max_attributes allows %zu", ev->extension_count,
                       t->most->attributes);
    }
    if (!event_check_uris(ev, t->e)) {
        *t->status = 400;
        return false;
    }
    if (t->p->o->ce_source != SOURCE_PREFIX || owner_has(&t->p->owner, ev->source))
        return true;
    metric_add(t->p->foreign, 1);
    *t->status = 403;
    struct str own = t->p->source, shown = { ev->source.at, ev->source.n < 100 ? ev->source.n : 100 };
    return err_set(t->e, "source \"%.*s\" is not this path's: %.*s, or one below it that no other path has",
                   STR_ARG(shown), (int)(own.n < 200 ? own.n : 200), own.at);
}

/* A copy of the event with what its sender left out, or may not choose: source, time, and the trace context of the
 * request. NULL with t->e: it cannot be taken. Takes over ev. */
static const struct event *path_complete(const struct taking *t, const struct event *ev)
{
    struct header extensions[EVENT_ATTRIBUTES];
    struct trace trace;
    char now[CLOCK_TEXT];
    *t->status = 400;
    if (!path_check_event(t, ev)) {
        event_unref(ev);
        return NULL;
    }
    size_t count = taking_context(t, ev, &trace, extensions, ev->extension_count);
    bool pinned = t->p->o->ce_source == SOURCE_PIN;
    if (pinned) /* two of its producers may use the same ids */
        taking_add_origin(t, "a pinned source", ev->source);
    if (ev->time.at && count == ev->extension_count && !pinned)
        return ev;
    for (size_t i = 0; i < ev->extension_count; i++)
        extensions[i] = ev->extensions[i]; /* in the same place: their types are bits */
    struct event f = *ev;
    f.extensions = extensions;
    f.extension_count = count;
    if (pinned)
        f.source = t->p->source;
    if (!f.time.at) {
        clock_text(clock_wall_ms(), now);
        f.time = str_of(now);
    }
    const struct event *full = event_new(&f, t->e);
    event_unref(ev);
    return full;
}

/* The event at that place cannot be taken; t->e says why. */
static void path_note_bad(struct taking *t, size_t index, int status)
{
    struct path_bad *bad = t->most->bad;
    if (bad->count == 0) {
        bad->status = status;
        bad->first = *t->e;
        err_prefix(&bad->first, "event batch[%zu]", index);
    }
    exchange_list_refused(&bad->list, &bad->count, index, t->e->text);
}

static void path_note_none(void *ctx, size_t index, const char *why)
{
    struct taking *t = ctx;
    err_set(t->e, "%s", why);
    path_note_bad(t, index, 400);
}

/* False: that event refuses all of the batch. */
static bool path_complete_one(struct taking *t, size_t i)
{
    if (t->out[i] && !(t->out[i] = path_complete(t, t->out[i]))) {
        if (!t->most->bad)
            return err_prefix(t->e, "event batch[%zu]", i);
        path_note_bad(t, i, *t->status);
    }
    if (!t->out[i] && t->p->o->ce_source == SOURCE_PIN)
        taking_add_origin(t, "none", STR("")); /* keeps its place */
    return true;
}

/* Those that can be taken are: their sender takes a refusal for final. The others' places are NULL. */
static int path_batch(struct taking *t)
{
    struct path_bad *bad = t->most->bad;
    int n = event_from_json_each(t->body, t->out, t->most->events, bad ? path_note_none : NULL, t, t->e);
    if (n < 0)
        return taking_fail(t, 400);
    for (int i = 0; i < n; i++) {
        if (path_complete_one(t, (size_t)i))
            continue;
        for (int j = 0; j < n; j++)
            event_unref(t->out[j]); /* t->out[i] is NULL */
        return -1;
    }
    if (n == 0 || !bad || bad->count < (uint32_t)n)
        return n;
    *t->e = bad->first;
    return taking_fail(t, bad->status);
}

static int path_cloudevent(struct taking *t, bool binary)
{
    if (binary && t->body.n && t->content_type.n && !path_check_data(t->content_type, t->body, t->e))
        return taking_fail(t, 400);
    *t->out = event_from_http(t->r->headers, t->r->header_count, t->body, t->e);
    if (!*t->out)
        return taking_fail(t, 400);
    *t->out = path_complete(t, *t->out);
    return *t->out ? 1 : -1;
}

static int path_refuse(struct taking *t, int status, const char *why)
{
    err_set(t->e, "%s", why);
    return taking_fail(t, status);
}

static int path_refuse_empty(struct taking *t)
{
    size_t lengths = 0, codings = 0;
    http_header(t->r, "content-length", &lengths);
    http_header(t->r, "transfer-encoding", &codings);
    return lengths || codings ? path_refuse(t, 400, "the body is empty")
                              : path_refuse(t, 411, "there is no body: no Content-Length, no Transfer-Encoding");
}

/* Unpacks the body. */
static bool path_unpack(struct taking *t)
{
    struct str encoding = http_header(t->r, "content-encoding", NULL);
    if (encoding.n == 0 || str_eq_nocase(encoding, STR("identity")))
        return true;
    *t->status = 415;
    if (!unpack_knows(encoding))
        return err_set(t->e, "bodies are taken with Content-Encoding gzip or deflate, or without");
    if (!reader_unpacks(&t->p->reader, t->content_type))
        return err_set(t->e,
                       "Content-Encoding is not signed, so that a body that is not JSON is taken as it came: send "
                       "it without");
    bool raw = !t->p->reader.fixed; /* else the data would be another when somebody takes Content-Encoding away */
    *t->status = unpack(t->most->unpacker, encoding, t->r->body, raw, t->most->body, &t->body, t->e);
    return *t->status == 0;
}

/* The body as it is read: unpacked, a form as JSON where the path says so, without a byte order mark. What was verified is
 * the body as it came. */
static bool path_read_body(struct taking *t, enum reading how)
{
    t->body = t->r->body;
    if (!path_unpack(t))
        return false;
    *t->status = 400;
    if (t->most->form->cap > FORM_KEPT)
        buf_free(t->most->form);
    buf_reset(t->most->form);
    if (how == READING_DATA && !reader_unform(&t->p->reader, &t->content_type, &t->body, t->most->form, t->e))
        return false;
    if (t->content_type.n == 0 || event_type_is_json(t->content_type))
        t->body = jscan_skip_mark(t->body);
    return true;
}

int path_events(const struct path *p, const struct http_request *r, const struct path_limits *most,
                const struct event **out, struct buf *origins, int *status, struct err *e)
{
    struct taking t;
    t.p = p, t.r = r, t.most = most, t.out = out, t.origins = origins, t.status = status, t.e = e,
    t.drop = t.random = false;
    buf_reset(origins);
    enum reading how;
    if (!reader_read(&p->reader, r, &how, &t.content_type, status, e) || !path_read_body(&t, how))
        return -1;
    if (t.body.n == 0 && how != READING_HEADERS)
        return path_refuse_empty(&t);
    switch (how) {
    case READING_BATCH: return path_batch(&t);
    case READING_EVENT: return path_cloudevent(&t, false);
    case READING_HEADERS: return path_cloudevent(&t, true);
    case READING_DATA: return wrapped_events(&t);
    }
    return -1;
}
