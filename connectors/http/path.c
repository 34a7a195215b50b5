/* SPDX-License-Identifier: MIT */
/* Turns the requests of one path into events. */
#include "connectors/http/path.h"
#include <stdlib.h>
#include "bridge/event/trace.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/uri.h"
#include "connectors/http/called.h"

METRIC_COUNTER(aqueduct_http_refused_total, "Requests whose signature or token was refused.", "source", "path",
               "reason");
METRIC_COUNTER(aqueduct_http_foreign_sources_total,
               "Requests refused because a CloudEvent names a source that is not the path's.", "source", "path");
METRIC_HISTOGRAM(
    aqueduct_http_request_seconds,
    "From a whole request to its answer, by outcome: stored, repeat, unverified (401), refused (another 4xx), "
    "conflict, limited (429) or unavailable (503).",
    "source", "path", "outcome");

enum {
    TYPE_BYTES = 256,
    NAME_BYTES = 64,
};

static const struct option_value path_source_rules[] = {
    { SOURCE_PREFIX, "prefix" },
    { SOURCE_PIN, "pin" },
    { SOURCE_ANY, "any" },
    { 0 },
};

static const struct option_value path_cloudevents[] = {
    { CLOUDEVENTS_ALL, "all" },
    { CLOUDEVENTS_STRUCTURED, "structured" },
    { CLOUDEVENTS_NONE, "none" },
    { 0 },
};

const struct option path_rows[] = {
    OPTION(struct path_options, path, .required = true, .doc = "Path that senders post to, for example /v1/github."),
    OPTION(
        struct path_options, name,
        .doc =
            "What metrics, the log and events call the path, if only its senders may know it; without a name, a part that looks like a secret is shown as * in metrics and the log, and as a digest (~3f8a91c2) in events."),
    OPTION_GROUP(struct path_options, verify, verify_rows, .required = true,
                 .doc = "How requests are verified before anything is read from them."),
    OPTION(
        struct path_options, type,
        .doc =
            "Event type of bodies that are no CloudEvents; default by scheme (github: github; standard: the body's `type`), else webhook.received."),
    OPTION(
        struct path_options, type_header,
        .doc =
            "Header whose value is put behind the type and a dot; default by scheme (github: X-GitHub-Event, so that a push is github.push; stripe and slack: the body's type, as long as neither `type` nor this is set)."),
    OPTION(
        struct path_options, source,
        .doc =
            "The path's own CloudEvents source, that of such events; default /http/<name of the source><path>, without secrets in it."),
    OPTION(
        struct path_options, id_header,
        .doc =
            "Header with the sender's id, by which repeats are known; default by scheme (webhook-id, X-GitHub-Delivery; stripe and slack: the event's id in the body), else Idempotency-Key."),
    OPTION(
        struct path_options, cloudevents, .values = path_cloudevents,
        .doc =
            "Which CloudEvents are taken as they are: all, structured (one JSON, or a batch) or none; default all, but none for schemes that sign the body alone, where structured means that nothing else is taken: headers could be forged there."),
    OPTION(
        struct path_options, content_type,
        .doc =
            "Media type of bodies that are no CloudEvents, when there is one alone; others get 415. Default application/json for schemes that sign the body alone, else whatever the request says."),
    OPTION(
        struct path_options, ce_source, .values = path_source_rules, .fallback = "prefix",
        .doc =
            "Which source a CloudEvent may name: prefix (the path's own, or one below it; beyond: 403), pin (whatever it names, it gets the path's own) or any (its sender can then pass for every other source)."),
    {
        .key = "preset",
        .type = OPT_PRESET,
        .offset = offsetof(struct path_options, mapping.preset),
        .of = mapping_preset_rows,
        .of_size = sizeof(struct mapping_preset),
        .folder = "inbound",
        .doc =
            "A ready-made `map` for a sender (langfuse, langsmith, open-webui, openai), or the path of a file like it.",
    },
    MAPPING_RULE_ROWS(struct path_options, mapping.rules),
    OPTION_IN(
        struct path_options, mapping, unmapped, .fallback = "store", .values = mapping_unmapped,
        .doc =
            "What becomes of a body that no entry of `map` fits: store (as it came, as without `map`), drop (2xx, and nothing is stored) or refuse (422). One that the map fails on is stored as it came with store, and else refused."),
    OPTION_IN(struct path_options, mapping, raw, .fallback = "none", .values = mapping_raws,
              .doc = "body: events of `map` have the body, too (raw.body), or with `each` the element."),
    OPTION_IN(
        struct path_options, mapping, mask,
        .doc =
            "Members of JSON, at any depth, whose values become \"***\" where events of `map` tell JSON of the body: in `raw`, "
            "in objects and arrays of `data`, and in its texts that hold JSON. With `unmapped` drop or refuse."),
    TELL_ROWS(struct path_options, mapping.telling, "default: what the preset says. For paths with `map`.",
              "For paths with `map`.", "the body's length"),
    OPTION_GROUP(struct path_options, limits, limits_path_rows,
                 .doc = "How much may come on this path; what is beyond gets 429 and Retry-After."),
    OPTION(
        struct path_options, allowed_origins,
        .doc =
            "Senders that may register this path by OPTIONS and WebHook-Request-Origin (CloudEvents webhook specification); default: all, since each request is verified anyway."),
    { 0 },
};

static bool path_is_set(const char *s)
{
    return s && *s;
}

static bool path_check_name(const struct path_options *o, struct err *e)
{
    if (!path_is_set(o->path) || o->path[0] != '/')
        return err_set(e, "path must begin with /");
    for (const char *c = o->path; *c; c++)
        if (*c <= ' ' || *c > '~' || *c == '?' || *c == '#')
            return err_set(e, "path is compared as it is sent: no spaces, ?, # or characters beyond ASCII");
    return true;
}

static bool path_check_called(const struct path_options *o, struct err *e)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    if (!o->name)
        return true;
    size_t n = strspn(o->name, letters);
    if (n == 0 || n > NAME_BYTES || o->name[n])
        return err_set(e, "name has 1 to %d letters, digits, -, . and _", NAME_BYTES);
    return true;
}

static bool path_check_headers(const struct path_options *o, struct err *e)
{
    if (path_is_set(o->id_header) && !verify_check_name(o->id_header, e))
        return err_prefix(e, "id_header");
    if (path_is_set(o->type_header) && !verify_check_name(o->type_header, e))
        return err_prefix(e, "type_header");
    return true;
}

bool path_check(const struct path_options *o, struct err *e)
{
    if (!path_check_name(o, e) || !path_check_called(o, e) || !path_check_headers(o, e))
        return false;
    if (!limits_check_path(&o->limits, e))
        return false;
    if (path_is_set(o->type) && strlen(o->type) > TYPE_BYTES)
        return err_set(e, "type is longer than %d bytes", TYPE_BYTES);
    if (path_is_set(o->source) && strlen(o->source) > EVENT_ATTRIBUTE_BYTES)
        return err_set(e, "source is longer than %d bytes", EVENT_ATTRIBUTE_BYTES);
    if (path_is_set(o->source) && !uri_is_reference(str_of(o->source)))
        return err_set(e, "source is not a URI reference (RFC 3986), such as /shop or https://shop.example.com/");
    if (!path_is_set(o->source) && !uri_is_reference(str_of(o->path)))
        return err_set(e, "path has characters that no URI has, and the CloudEvents source is made of it: set source");
    struct verifier *v = verifier_new(&o->verify, e);
    bool ok = v && reader_check(o, e) && mapping_check(&o->mapping, e);
    verifier_free(v);
    return ok;
}

/* What the types of wrapped bodies begin with. */
static struct str path_type(const struct path_options *o, const struct verifier *v)
{
    const char *of_scheme = verifier_type(v);
    return path_is_set(o->type) ? str_of(o->type) : of_scheme ? str_of(of_scheme) : STR("webhook.received");
}

static const char *path_type_header(const struct path_options *o, const struct verifier *v)
{
    return path_is_set(o->type_header) ? o->type_header : verifier_type_header(v);
}

/* What a body is asked for: what the path's options do not say. */
static struct naming *path_naming(const struct path_options *o, const struct verifier *v)
{
    return naming_new(verifier_style(v), !path_is_set(o->id_header),
                      !path_is_set(o->type) && !path_is_set(o->type_header));
}

void path_types(const struct path_options *o, void (*each)(void *ctx, const char *type), void *ctx)
{
    struct err e;
    struct verifier *v = verifier_new(&o->verify, &e);
    struct reader d;
    reader_open(&d, o);
    if (!v || d.takes != CLOUDEVENTS_NONE)
        each(ctx, "{type}");
    mapping_types(&o->mapping, false, each, ctx);
    bool wrapped = !(d.fixed && d.takes == CLOUDEVENTS_STRUCTURED)
                   && (o->mapping.unmapped == UNMAPPED_STORE || !mapping_has_map(&o->mapping));
    if (v && wrapped) {
        struct str type = path_type(o, v);
        struct buf b = buf_new(2 * TYPE_BYTES);
        struct naming *naming = path_naming(o, v);
        buf_add_str(&b, type);
        each(ctx, buf_c(&b));
        if (naming_knows_type(naming) && !verifier_type(v))
            each(ctx, "{type}");
        else if (path_type_header(o, v) || naming_knows_type(naming)) {
            buf_add_c(&b, path_type_header(o, v) ? ".{header}" : ".{type}");
            each(ctx, buf_c(&b));
        }
        naming_free(naming);
        buf_free(&b);
    }
    verifier_free(v);
}

void path_content(const struct path_options *o, void (*each)(void *ctx, const char *type), void *ctx)
{
    mapping_types(&o->mapping, true, each, ctx);
}

struct metric *path_seconds(struct path *p, enum path_end end, const char *source_id)
{
    if (!p->seconds[end])
        p->seconds[end] = metric_get(&aqueduct_http_request_seconds, LABELS(source_id, p->label, path_end_name(end)));
    return p->seconds[end];
}

static void path_open_metrics(struct path *p, const char *source_id)
{
    for (int i = REFUSAL_MISSING; i < REFUSAL_COUNT; i++)
        p->refused[i] = metric_get(&aqueduct_http_refused_total,
                                   LABELS(source_id, p->label, refusal_text((enum refusal)i)));
    p->foreign = metric_get(&aqueduct_http_foreign_sources_total, LABELS(source_id, p->label));
    path_seconds(p, PATH_STORED, source_id);
}

bool path_open(struct path *p, const struct path_options *o, struct sandbox *b, const char *source_id, struct err *e)
{
    p->o = o;
    p->verifier = verifier_new(&o->verify, e);
    if (!p->verifier)
        return false;
    p->signs = verify_covers(o->verify.scheme);
    reader_open(&p->reader, o);
    p->name = str_of(o->path);
    struct buf label = buf_new(2 * EVENT_ATTRIBUTE_BYTES);
    called_add_label(o, &label);
    p->label = str_dup(buf_str(&label));
    buf_free(&label);
    p->type = path_type(o, p->verifier);
    p->type_header = path_type_header(o, p->verifier);
    p->naming = path_naming(o, p->verifier);
    struct buf source = buf_new(2 * EVENT_ATTRIBUTE_BYTES);
    called_add_source(o, source_id, &source);
    p->source = buf_str(&source); /* path_close frees it */
    struct buf scope = buf_new(2 * EVENT_ATTRIBUTE_BYTES);
    buf_add_c(&scope, source_id);
    called_add(o, &scope);
    p->scope = buf_str(&scope); /* as well */
    if (source.failed || scope.failed)
        return err_set(e, "the path is too long");
    owner_open(&p->owner, p->source);
    path_open_metrics(p, source_id);
    p->mapping = mapping_new(&o->mapping, b, source_id, p->label);
    return true;
}

void path_close(struct path *p)
{
    naming_free(p->naming);
    mapping_free(p->mapping);
    verifier_free(p->verifier);
    free(p->label);
    owner_close(&p->owner);
    free((void *)(uintptr_t)p->scope.at);
    free((void *)(uintptr_t)p->source.at); /* ours; str is for borrowing, hence const */
}

/* One request on its way to events. */
struct taking {
    const struct path *p;
    const struct http_request *r;
    const struct path_limits *most;
    struct str content_type;
    struct str body; /* without a byte order mark, if it is JSON */
    const struct event **out;
    struct buf *origins;
    bool drop; /* there are to be no events of it */
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

static const char path_no_json[] = "the body is not valid JSON";

static bool path_check_data(struct str content_type, struct str data, struct err *e)
{
    struct jscan_value value;
    if (!event_type_is_json(content_type) || jscan_check(data, &value, e))
        return true;
    return err_prefix(e, path_no_json);
}

/* Also what the body says of itself, if the path's scheme knows where. */
static bool path_read_data(const struct taking *t, struct named *out)
{
    *out = (struct named){ STR_ABSENT, STR_ABSENT };
    if (!t->p->naming || !event_type_is_json(t->content_type))
        return path_check_data(t->content_type, t->body, t->e);
    return naming_read(t->p->naming, t->body, out, t->e) || err_prefix(t->e, path_no_json);
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
    size_t traces = 0;
    char now[CLOCK_TEXT];
    *t->status = 400;
    if (!path_check_event(t, ev)) {
        event_unref(ev);
        return NULL;
    }
    bool traced = event_attribute(ev, STR("traceparent")).at || event_attribute(ev, STR("tracestate")).at;
    if (!traced && ev->extension_count + 2 <= EVENT_ATTRIBUTES)
        traces = path_trace_headers(t->r, &trace, extensions + ev->extension_count);
    bool pinned = t->p->o->ce_source == SOURCE_PIN;
    if (pinned) /* two of its producers may use the same ids */
        path_add_origin(t, "a pinned source", ev->source);
    if (ev->time.at && traces == 0 && !pinned)
        return ev;
    for (size_t i = 0; i < ev->extension_count; i++)
        extensions[i] = ev->extensions[i]; /* in the same place: their types are bits */
    struct event f = *ev;
    f.extensions = extensions;
    f.extension_count = traces + ev->extension_count;
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

static int path_batch(struct taking *t)
{
    int n = event_from_json_batch(t->body, t->out, t->most->events, t->e);
    if (n < 0)
        return path_fail(t, 400);
    for (int i = 0; i < n; i++) {
        t->out[i] = path_complete(t, t->out[i]);
        if (t->out[i])
            continue;
        err_prefix(t->e, "event batch[%d]", i);
        for (int j = 0; j < n; j++)
            event_unref(t->out[j]); /* t->out[i] is NULL */
        return -1;
    }
    return n;
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

/* "<type>.<value of the type header, or of the body's type>", or the latter alone. In the value a '/' becomes '.'; what is not
 * a letter, digit, '.', '_' or '-' becomes '_'. */
static struct str path_event_type(const struct path *p, const struct http_request *r, struct str of_body,
                                  char out[2 * TYPE_BYTES])
{
    struct str value = p->type_header ? http_header(r, p->type_header, NULL) : of_body;
    if (value.n == 0)
        return p->type;
    if (!p->type_header && !verifier_type(p->verifier))
        return value;
    size_t n = p->type.n;
    memcpy(out, p->type.at, n);
    out[n++] = '.';
    for (size_t i = 0; i < value.n && n < 2 * TYPE_BYTES; i++) {
        char c = value.at[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_'
                     || c == '-';
        out[n++] = plain ? c : c == '/' ? '.' : '_';
    }
    return (struct str){ out, n };
}

/* The sender's id of the delivery by the header that the user or the scheme names. */
static struct str path_header_id(const struct path *p, const struct http_request *r, bool *forgeable)
{
    bool named = path_is_set(p->o->id_header);
    *forgeable = named ? !verifier_vouches(p->verifier, r, p->o->id_header) : p->signs == COVER_BODY;
    return named ? http_header(r, p->o->id_header, NULL) : verifier_id(p->verifier, r);
}

/* The sender's id of the delivery, which a repeat has as well; absent when there is none. *forgeable: nobody signed it. */
static struct str path_sender_id(const struct path *p, const struct http_request *r, struct str of_body,
                                 bool *forgeable)
{
    struct str id = path_header_id(p, r, forgeable);
    if (id.n)
        return id;
    *forgeable = of_body.n == 0 && p->signs != COVER_REQUEST;
    if (of_body.n)
        return of_body;
    id = http_header(r, "Idempotency-Key", NULL); /* a quoted string by the draft, often sent bare */
    if (id.n >= 2 && id.at[0] == '"' && id.at[id.n - 1] == '"')
        id = (struct str){ id.at + 1, id.n - 2 };
    return id;
}

bool path_is_keyed(const struct path *p, const struct http_request *r)
{
    if (http_header(r, "Idempotency-Key", NULL).n == 0 || path_reading(p, r) != READING_DATA)
        return false;
    if (p->mapping && mapping_has_id(p->mapping))
        return false;
    struct named named = { STR_ABSENT, STR_ABSENT };
    if (naming_knows_id(p->naming))
        naming_read(p->naming, jscan_skip_mark(r->body), &named, NULL);
    bool forgeable;
    return named.id.n == 0 && path_header_id(p, r, &forgeable).n == 0;
}

bool path_is_named(const struct path *p, const struct http_request *r)
{
    return naming_knows_id(p->naming) && !(p->mapping && mapping_has_id(p->mapping))
           && path_reading(p, r) == READING_DATA;
}

/* What counts with the id of data, because whoever saw a request can send its body again under another id or type: the
 * body, and the type. So nothing that is resent takes the real one's place. */
static void path_add_forgeable(const struct taking *t, const struct event *ev, bool id, bool type)
{
    char digest[UUID_TEXT];
    const struct str fields[] = { STR("what is not signed"), type ? ev->type : STR(""), t->r->body };
    if (id) {
        uuid_of(fields, 3, digest);
        buf_add(t->origins, digest, PATH_ORIGIN);
    }
    if (type) /* alone, or as an earlier version had it */
        path_add_origin(t, "a type that is not signed", ev->type);
}

/* What counts with the id of a mapped event that is made of what nobody signed: all that it is. */
static void path_add_mapped(const struct taking *t, int n)
{
    for (int i = 0; i < n; i++) {
        const struct event *ev = t->out[i];
        char digest[UUID_TEXT];
        const struct str all[] = { STR("a map of what is not signed"), ev->type, ev->data, t->r->body };
        uuid_of(all, sizeof all / sizeof *all, digest);
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
        .token = t->p->o->verify.header,
        .like = *like,
        .out = t->out,
        .room = t->most->events,
    };
    struct err why = { "the body is not JSON, as `map` wants it" };
    bool json = event_type_is_json(t->content_type) || jscan_check(t->body, &(struct jscan_value){ 0 }, NULL);
    int n = json ? mapping_events(t->p->mapping, &c, &why) : -1;
    bool unsigned_headers = t->p->signs != COVER_REQUEST;
    *forgeable = (c.by_like && *forgeable) || (c.by_headers && unsigned_headers);
    if (n > 0 && (*forgeable || (c.of_headers && unsigned_headers)))
        path_add_mapped(t, n);
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

/* The events of what is no CloudEvent. */
static int path_wrap(struct taking *t)
{
    struct named named;
    if (!path_read_data(t, &named))
        return path_fail(t, 400);
    char type[2 * TYPE_BYTES], now[CLOCK_TEXT], random[UUID_TEXT];
    struct header extensions[2];
    struct trace trace;
    bool forgeable;
    clock_text(clock_wall_ms(), now);
    struct event f = {
        .id = path_sender_id(t->p, t->r, named.id, &forgeable),
        .source = t->p->source,
        .time = str_of(now),
        .extensions = extensions,
        .extension_count = path_trace_headers(t->r, &trace, extensions),
    };
    if (f.id.n == 0) {
        forgeable = false; /* it is ours */
        uuid_random(random);
        f.id = str_of(random);
    }
    if (t->p->mapping) {
        int n = path_map(t, &f, &forgeable);
        if (n || t->drop)
            return n;
    }
    f.type = path_event_type(t->p, t->r, named.type, type);
    f.datacontenttype = t->content_type.n ? t->content_type : STR("application/json");
    f.data = t->body;
    *t->out = event_new(&f, t->e);
    if (!*t->out)
        return path_fail(t, 400);
    path_add_forgeable(t, *t->out, forgeable, t->p->reader.fixed && t->p->type_header && f.type.at == type);
    return 1;
}

/* What was verified is the body as it came; what is read of JSON begins behind the byte order mark. */
static struct str path_body(const struct http_request *r, struct str content_type)
{
    bool json = content_type.n == 0 || event_type_is_json(content_type);
    return json ? jscan_skip_mark(r->body) : r->body;
}

static int path_refuse(struct taking *t, int status, const char *why)
{
    err_set(t->e, "%s", why);
    return path_fail(t, status);
}

int path_events(const struct path *p, const struct http_request *r, const struct path_limits *most,
                const struct event **out, struct buf *origins, int *status, struct err *e)
{
    struct str encoding = http_header(r, "content-encoding", NULL);
    struct taking t = { .p = p, .r = r, .most = most, .out = out, .origins = origins, .status = status, .e = e };
    buf_reset(origins);
    enum reading how;
    if (!reader_read(&p->reader, r, &how, &t.content_type, status, e))
        return -1;
    t.body = path_body(r, t.content_type);
    if (encoding.n && !str_eq_nocase(encoding, STR("identity")))
        return path_refuse(&t, 415, "the body is compressed; send it without Content-Encoding");
    if (t.body.n == 0 && how != READING_HEADERS)
        return path_refuse(&t, 400, "the body is empty");
    switch (how) {
    case READING_BATCH: return path_batch(&t);
    case READING_EVENT: return path_cloudevent(&t, false);
    case READING_HEADERS: return path_cloudevent(&t, true);
    case READING_DATA: return path_wrap(&t);
    }
    return -1;
}

bool path_allows_origin(const struct path *p, struct str origin)
{
    const struct strings *allowed = &p->o->allowed_origins;
    for (size_t i = 0; i < allowed->count; i++)
        if (str_eq_nocase(str_of(allowed->at[i]), origin))
            return true;
    return allowed->count == 0;
}

const char *path_end_name(enum path_end end)
{
    static const char *const names[PATH_ENDS] = { "stored",   "repeat",  "unverified", "refused",
                                                  "conflict", "limited", "unavailable" };
    return names[end];
}
