/* SPDX-License-Identifier: MIT */
/* Turns the requests of one path into events. */
#include "bridge/event/template.h"
#include "bridge/event/trace.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/jscan.h"
#include "connectors/http/attributes.h"
#include "connectors/http/exchange.h"
#include "connectors/http/path.h"
#include "connectors/http/path_check.h"
#include "connectors/http/unpack.h"

enum {
    TYPE_BYTES = 2 * PATH_TYPE_BYTES,
    FORM_KEPT = 1 << 20, /* of memory, between two bodies */
};

/* One request on its way to events. */
struct taking {
    const struct path *p;
    const struct http_request *r;
    const struct path_limits *most;
    struct str content_type;
    struct str body;              /* unpacked, and without a byte order mark, if it is JSON */
    struct attributed attributes; /* of what is no CloudEvent */
    const struct event **out;
    struct buf *origins;
    bool drop;   /* there are to be no events of it */
    bool random; /* its sender named none */
    int *status;
    struct err *e;
};

/* No events; the caller has set the error's text. */
static int path_fail(struct taking *t, int status)
{
    *t->status = status;
    return -1;
}

/* How it would be read; 0: not at all. */
static enum reading path_reading(const struct path *p, const struct http_request *r)
{
    enum reading how;
    struct str content_type;
    int status;
    return reader_read(&p->reader, r, &how, &content_type, &status, NULL) ? how : 0;
}

bool path_is_batch(const struct path *p, const struct http_request *r)
{
    return path_reading(p, r) == READING_BATCH;
}

static bool path_check_data(struct str content_type, struct str data, struct err *e)
{
    struct jscan_value value;
    if (!event_type_is_json(content_type) || jscan_check(data, &value, e))
        return true;
    err_prefix(e, "the body is not valid JSON");
    return false;
}

/* Puts the trace context of the request's headers, if it is valid, into out; returns how many extensions it is. */
static size_t path_trace_headers(const struct http_request *r, struct trace *t, struct header out[2])
{
    trace_read(t, r->headers, r->header_count);
    size_t n = 0;
    if (t->parent.at)
        out[n++] = (struct header){ STR("traceparent"), t->parent };
    if (t->state.at)
        out[n++] = (struct header){ STR("tracestate"), t->state };
    return n;
}

/* What is kept of the request's headers, and its trace unless the event has one; returns how many extensions it is. */
static size_t path_context(const struct taking *t, const struct event *ev, struct trace *trace, struct header *out,
                           size_t n)
{
    bool traced = ev && (event_attribute(ev, STR("traceparent")).at || event_attribute(ev, STR("tracestate")).at);
    if (!traced && n + 2 <= EVENT_ATTRIBUTES)
        n += path_trace_headers(t->r, trace, out + n);
    attributes_keep(t->p->attributes, t->r, ev, out, &n);
    return n;
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

/* What counts with the event's id, beside the path. */
static void path_add_origin(const struct taking *t, const char *kind, struct str what)
{
    char digest[UUID_TEXT];
    uuid_of((const struct str[]){ str_of(kind), what }, 2, digest);
    buf_add(t->origins, digest, PATH_ORIGIN);
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
    size_t count = path_context(t, ev, &trace, extensions, ev->extension_count);
    bool pinned = t->p->o->ce_source == SOURCE_PIN;
    if (pinned) /* two of its producers may use the same ids */
        path_add_origin(t, "a pinned source", ev->source);
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
        path_add_origin(t, "none", STR("")); /* keeps its place */
    return true;
}

/* Those that can be taken are: their sender takes a refusal for final. The others' places are NULL. */
static int path_batch(struct taking *t)
{
    struct path_bad *bad = t->most->bad;
    int n = event_from_json_each(t->body, t->out, t->most->events, bad ? path_note_none : NULL, t, t->e);
    if (n < 0)
        return path_fail(t, 400);
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
    return path_fail(t, bad->status);
}

static int path_cloudevent(struct taking *t, bool binary)
{
    if (binary && t->body.n && t->content_type.n && !path_check_data(t->content_type, t->body, t->e))
        return path_fail(t, 400);
    *t->out = event_from_http(t->r->headers, t->r->header_count, t->body, t->e);
    if (!*t->out)
        return path_fail(t, 400);
    *t->out = path_complete(t, *t->out);
    return *t->out ? 1 : -1;
}

/* That of a template, or "<type>.<value of the type header, or of the body's type>", or the latter alone. In the value a '/' becomes '.'; what is not a letter, digit,
 * '.', '_' or '-' becomes '_'. *header: it is of that. */
static struct str path_event_type(const struct taking *t, struct buf *out, bool *header)
{
    const struct path *p = t->p;
    *header = false;
    if (t->attributes.type.at)
        return t->attributes.type;
    struct str value = p->type_header ? http_header(t->r, p->type_header, NULL) : attributes_scheme_type(p->attributes);
    *header = p->type_header && value.n > 0;
    if (value.n == 0)
        return p->type;
    if (!p->type_header && !verifier_type(p->verifier))
        return value;
    buf_add_str(out, p->type);
    buf_add_char(out, '.');
    size_t room = out->max - out->n;
    template_add_type(out, (struct str){ value.at, value.n < room ? value.n : room });
    return buf_str(out);
}

/* The sender's id of the delivery by the header that the user or the scheme names. *forgeable: nobody signed it. */
static struct str path_header_id(const struct path *p, const struct http_request *r, bool *forgeable)
{
    bool named = path_is_set(p->o->id_header);
    *forgeable = named ? !verifier_vouches(p->verifier, r, p->o->id_header) : p->signs == COVER_BODY;
    return named ? http_header(r, p->o->id_header, NULL) : verifier_id(p->verifier, r);
}

/* A quoted string by the draft, often sent bare. */
static struct str path_idempotency_key(const struct http_request *r)
{
    struct str id = http_header(r, "Idempotency-Key", NULL);
    bool quoted = id.n >= 2 && id.at[0] == '"' && id.at[id.n - 1] == '"';
    return quoted ? (struct str){ id.at + 1, id.n - 2 } : id;
}

/* Where nobody signed it, it counts only when the signed body has no id. */
static bool path_prefers_body_id(const struct path *p)
{
    return p->signs != COVER_REQUEST;
}

/* The sender's id of the delivery, which a repeat has as well; absent when there is none. */
static struct str path_sender_id(const struct taking *t, bool *forgeable)
{
    struct attributes *a = t->p->attributes;
    *forgeable = t->attributes.id_is_loose;
    if (t->attributes.id.at)
        return t->attributes.id;
    struct str id = path_header_id(t->p, t->r, forgeable);
    if (id.n)
        return id;
    *forgeable = false;
    id = attributes_scheme_id(a);
    if (id.n)
        return id;
    struct str key = path_idempotency_key(t->r);
    if (key.n && !path_prefers_body_id(t->p))
        return key;
    *forgeable = true; /* nobody said that it is the event's: another body under it is another event */
    id = attributes_body_id(a);
    return id.n ? id : key;
}

bool path_is_keyed(const struct path *p, const struct http_request *r)
{
    bool forgeable;
    if (http_header(r, "Idempotency-Key", NULL).n == 0 || path_reading(p, r) != READING_DATA)
        return false;
    if ((p->mapping && mapping_has_id(p->mapping)) || attributes_gave_id(p->attributes))
        return false;
    if (attributes_named(p->attributes) || path_header_id(p, r, &forgeable).n > 0)
        return false;
    return !path_prefers_body_id(p) || attributes_body_id(p->attributes).n == 0;
}

bool path_is_named(const struct path *p, const struct http_request *r)
{
    return attributes_named(p->attributes) && !(p->mapping && mapping_has_id(p->mapping))
           && path_reading(p, r) == READING_DATA;
}

/* The sender's id, or else ours. One that no attribute can be has a digest in its place, so that a repeat is still known. */
static struct str path_id(struct taking *t, char made[UUID_TEXT], bool *forgeable)
{
    struct str id = path_sender_id(t, forgeable);
    if (id.n && event_is_value(id))
        return id;
    if (id.n) {
        attributes_left_out(t->p->attributes);
        uuid_of((const struct str[]){ STR("an id that no attribute can be"), id }, 2, made);
    } else {
        *forgeable = false;
        uuid_random(made);
        t->random = true;
    }
    return str_of(made);
}

/* What counts with the id of data, because whoever saw a request can send its body again under another id, type or attribute:
 * the body, and those. So nothing that is resent takes the real one's place. */
static void path_add_forgeable(const struct taking *t, const struct event *ev, bool id, bool type)
{
    char digest[UUID_TEXT];
    struct str loose = t->attributes.loose;
    const struct str fields[] = { STR("what is not signed"), type ? ev->type : STR(""), t->r->body, loose };
    if (id) {
        uuid_of(fields, loose.n ? 4 : 3, digest);
        buf_add(t->origins, digest, PATH_ORIGIN);
    }
    if (!id && loose.n) {
        uuid_of((const struct str[]){ STR("attributes that are not signed"), fields[1], loose }, 3, digest);
        buf_add(t->origins, digest, PATH_ORIGIN);
    } else if (type && !loose.n) /* alone, or as an earlier version had it */
        path_add_origin(t, "a type that is not signed", ev->type);
}

/* What counts with the id of a mapped event that is made of what nobody signed: all that it is. */
static void path_add_mapped(const struct taking *t, int n)
{
    for (int i = 0; i < n; i++) {
        const struct event *ev = t->out[i];
        char digest[UUID_TEXT];
        struct str loose = t->attributes.loose;
        const struct str all[] = { STR("a map of what is not signed"), ev->type, ev->data, t->r->body, loose };
        uuid_of(all, loose.n ? 5 : 4, digest);
        buf_add(t->origins, digest, PATH_ORIGIN);
    }
}

/* The body through the path's `map`: how many events, or 0 with t->drop: there are to be none; else it is wrapped, with the
 * id and time that it has in `like`. *forgeable: of that id. */
static int path_map(struct taking *t, struct event *like, bool *forgeable)
{
    struct mapping_call c = {
        .body = t->body,
        .headers = t->r->headers,
        .header_count = t->r->header_count,
        .verify = &t->p->o->verify,
        .like = *like,
        .out = t->out,
        .room = t->most->events,
    };
    struct err why = { "the body is not JSON, as `map` wants it" };
    bool json = event_type_is_json(t->content_type) || jscan_check(t->body, &(struct jscan_value){ 0 }, NULL);
    int n = json ? mapping_events(t->p->mapping, &c, &why) : -1;
    bool unsigned_headers = t->p->signs != COVER_REQUEST;
    *forgeable = (c.by_like && *forgeable) || (c.by_headers && unsigned_headers);
    if (n > 0 && (*forgeable || (c.of_headers && unsigned_headers) || t->attributes.loose.n))
        path_add_mapped(t, n);
    if (n > 0 && t->random && c.by_like)
        attributes_unnamed(t->p->attributes);
    if (n > 0)
        return n;
    *like = c.like;
    if (!mapping_has_map(&t->p->o->mapping))
        return 0;
    if (n == 0)
        err_set(&why, "no entry of `map` fits the body");
    switch (mapping_miss(t->p->mapping, n == 0 ? MISS_OTHER : json ? MISS_FAILED : MISS_NOT_JSON, why.text)) {
    case UNMAPPED_STORE: return 0;
    case UNMAPPED_DROP: t->drop = true; return 0;
    case UNMAPPED_REFUSE: break;
    }
    err_set(t->e, "%s", why.text);
    return path_fail(t, 422);
}

/* The event's attributes but for the type, as the path's templates and the request say; the texts they point to are the
 * caller's. */
static void path_fill(struct taking *t, struct event *f, bool *forgeable, struct trace *trace, char made[UUID_TEXT],
                      char now[CLOCK_TEXT])
{
    struct attributed *a = &t->attributes;
    clock_text(clock_wall_ms(), now);
    bool below = a->source.at && owner_has(&t->p->owner, a->source);
    *f = (struct event){
        .id = path_id(t, made, forgeable),
        .source = below ? a->source : t->p->source,
        .subject = a->subject,
        .time = a->time.at ? a->time : str_of(now),
        .extensions = a->extensions,
        .extension_count = path_context(t, NULL, trace, a->extensions, a->extension_count),
    };
}

/* The data's content type, if it can be one. */
static struct str path_data_type(const struct taking *t)
{
    struct str type = t->content_type;
    bool good = event_is_value(type);
    for (size_t i = 0; i < type.n; i++)
        good = good && (unsigned char)type.at[i] < 0x80;
    if (!good)
        attributes_left_out(t->p->attributes);
    return !good ? STR("application/octet-stream") : type.n ? type : STR("application/json");
}

/* What is said to be JSON and is not: is it stored, as what it is? */
static bool path_takes_text(struct taking *t, bool named)
{
    if (t->p->o->not_json != NOT_JSON_STORE)
        return false;
    if (t->p->reader.fixed
        && unpack_looks_packed(t->body)) /* whoever takes Content-Encoding away would change the data */
        return err_set(t->e, "it is compressed, which Content-Encoding does not say");
    t->content_type = str_is_utf8(t->body) ? STR("text/plain; charset=utf-8") : STR("application/octet-stream");
    attributes_left_out(t->p->attributes); /* the content type */
    return attributes_see(t->p->attributes, t->r, t->body, false, named, t->e);
}

/* Shows the body to the path's templates, and checks what is JSON. */
static bool path_see(struct taking *t)
{
    bool forgeable, json = event_type_is_json(t->content_type);
    bool named = path_header_id(t->p, t->r, &forgeable).n > 0
                 || (!path_prefers_body_id(t->p) && path_idempotency_key(t->r).n > 0);
    return attributes_see(t->p->attributes, t->r, t->body, json, named, t->e) || path_takes_text(t, named)
           || err_prefix(t->e, "the body is not valid JSON");
}

/* The events of what is no CloudEvent. */
static int path_wrap(struct taking *t)
{
    struct attributes *a = t->p->attributes;
    bool forgeable, of_header;
    if (!path_see(t))
        return path_fail(t, 400);
    char now[CLOCK_TEXT], made[UUID_TEXT], type[TYPE_BYTES];
    struct buf types = buf_new(sizeof type);
    struct trace trace;
    struct event f;
    attributes_read(a, &t->attributes);
    path_fill(t, &f, &forgeable, &trace, made, now);
    if (t->p->mapping) {
        int n = path_map(t, &f, &forgeable);
        if (n || t->drop)
            return n;
    }
    if (t->random && f.id.at == made)
        attributes_unnamed(a);
    f.type = path_event_type(t, &types, &of_header);
    f.datacontenttype = path_data_type(t);
    f.data = t->body;
    *t->out = event_new(&f, t->e);
    if (*t->out)
        path_add_forgeable(t, *t->out, forgeable, t->p->reader.fixed && of_header);
    buf_free(&types);
    return *t->out ? 1 : path_fail(t, 400);
}

static int path_refuse(struct taking *t, int status, const char *why)
{
    err_set(t->e, "%s", why);
    return path_fail(t, status);
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
    case READING_DATA: return path_wrap(&t);
    }
    return -1;
}
