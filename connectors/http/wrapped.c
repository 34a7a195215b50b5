/* SPDX-License-Identifier: MIT */
/* What is no CloudEvent becomes an event: its id, type and other attributes, and how much of them somebody signed. */
#include "connectors/http/wrapped.h"
#include "bridge/event/template.h"
#include "bridge/event/trace.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/jscan.h"
#include "connectors/http/path_check.h"
#include "connectors/http/taking.h"
#include "connectors/http/unpack.h"

enum { TYPE_BYTES = 2 * PATH_TYPE_BYTES };

/* That of a template, or "<type>.<value of the type header, or of the body's type>", or the latter alone. In the value a '/'
 * becomes '.'; what is not a letter, digit, '.', '_' or '-' becomes '_'. *header: it is of that. */
static struct str wrapped_event_type(const struct taking *t, struct buf *out, bool *header)
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
static struct str wrapped_header_id(const struct path *p, const struct http_request *r, bool *forgeable)
{
    bool named = path_is_set(p->o->id_header);
    *forgeable = named ? !verifier_vouches(p->verifier, r, p->o->id_header) : p->signs == COVER_BODY;
    return named ? http_header(r, p->o->id_header, NULL) : verifier_id(p->verifier, r);
}

/* A quoted string by the draft, often sent bare. */
static struct str wrapped_idempotency_key(const struct http_request *r)
{
    struct str id = http_header(r, "Idempotency-Key", NULL);
    bool quoted = id.n >= 2 && id.at[0] == '"' && id.at[id.n - 1] == '"';
    return quoted ? (struct str){ id.at + 1, id.n - 2 } : id;
}

/* Where nobody signed it, it counts only when the signed body has no id. */
static bool wrapped_prefers_body_id(const struct path *p)
{
    return p->signs != COVER_REQUEST;
}

/* The sender's id of the delivery, which a repeat has as well; absent when there is none. */
static struct str wrapped_sender_id(const struct taking *t, bool *forgeable)
{
    struct attributes *a = t->p->attributes;
    *forgeable = t->attributes.id_is_loose;
    if (t->attributes.id.at)
        return t->attributes.id;
    struct str id = wrapped_header_id(t->p, t->r, forgeable);
    if (id.n)
        return id;
    *forgeable = false;
    id = attributes_scheme_id(a);
    if (id.n)
        return id;
    struct str key = wrapped_idempotency_key(t->r);
    if (key.n && !wrapped_prefers_body_id(t->p))
        return key;
    *forgeable = true; /* nobody said that it is the event's: another body under it is another event */
    id = attributes_body_id(a);
    return id.n ? id : key;
}

bool wrapped_is_keyed(const struct path *p, const struct http_request *r)
{
    bool forgeable;
    if (http_header(r, "Idempotency-Key", NULL).n == 0 || reader_reading(&p->reader, r) != READING_DATA)
        return false;
    if ((p->mapping && mapping_has_id(p->mapping)) || attributes_gave_id(p->attributes))
        return false;
    if (attributes_named(p->attributes) || wrapped_header_id(p, r, &forgeable).n > 0)
        return false;
    return !wrapped_prefers_body_id(p) || attributes_body_id(p->attributes).n == 0;
}

bool wrapped_is_named(const struct path *p, const struct http_request *r)
{
    return attributes_named(p->attributes) && !(p->mapping && mapping_has_id(p->mapping))
           && reader_reading(&p->reader, r) == READING_DATA;
}

/* The sender's id, or else ours. One that no attribute can be has a digest in its place, so that a repeat is still known. */
static struct str wrapped_id(struct taking *t, char made[UUID_TEXT], bool *forgeable)
{
    struct str id = wrapped_sender_id(t, forgeable);
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
static void wrapped_add_forgeable(const struct taking *t, const struct event *ev, bool id, bool type)
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
        taking_add_origin(t, "a type that is not signed", ev->type);
}

/* What counts with the id of a mapped event that is made of what nobody signed: all that it is. */
static void wrapped_add_mapped(const struct taking *t, int n)
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
static int wrapped_map(struct taking *t, struct event *like, bool *forgeable)
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
        wrapped_add_mapped(t, n);
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
    return taking_fail(t, 422);
}

/* The event's attributes but for the type, as the path's templates and the request say; the texts they point to are the
 * caller's. */
static void wrapped_fill(struct taking *t, struct event *f, bool *forgeable, struct trace *trace, char made[UUID_TEXT],
                         char now[CLOCK_TEXT])
{
    struct attributed *a = &t->attributes;
    clock_text(clock_wall_ms(), now);
    bool below = a->source.at && owner_has(&t->p->owner, a->source);
    *f = (struct event){
        .id = wrapped_id(t, made, forgeable),
        .source = below ? a->source : t->p->source,
        .subject = a->subject,
        .time = a->time.at ? a->time : str_of(now),
        .extensions = a->extensions,
        .extension_count = taking_context(t, NULL, trace, a->extensions, a->extension_count),
    };
}

/* The data's content type, if it can be one. */
static struct str wrapped_data_type(const struct taking *t)
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
static bool wrapped_takes_text(struct taking *t, bool named)
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
static bool wrapped_see(struct taking *t)
{
    bool forgeable, json = event_type_is_json(t->content_type);
    bool named = wrapped_header_id(t->p, t->r, &forgeable).n > 0
                 || (!wrapped_prefers_body_id(t->p) && wrapped_idempotency_key(t->r).n > 0);
    return attributes_see(t->p->attributes, t->r, t->body, json, named, t->e) || wrapped_takes_text(t, named)
           || err_prefix(t->e, "the body is not valid JSON");
}

int wrapped_events(struct taking *t)
{
    struct attributes *a = t->p->attributes;
    bool forgeable, of_header;
    if (!wrapped_see(t))
        return taking_fail(t, 400);
    char now[CLOCK_TEXT], made[UUID_TEXT], type[TYPE_BYTES];
    struct buf types = buf_new(sizeof type);
    struct trace trace;
    struct event f;
    attributes_read(a, &t->attributes);
    wrapped_fill(t, &f, &forgeable, &trace, made, now);
    if (t->p->mapping) {
        int n = wrapped_map(t, &f, &forgeable);
        if (n || t->drop)
            return n;
    }
    if (t->random && f.id.at == made)
        attributes_unnamed(a);
    f.type = wrapped_event_type(t, &types, &of_header);
    f.datacontenttype = wrapped_data_type(t);
    f.data = t->body;
    *t->out = event_new(&f, t->e);
    if (*t->out)
        wrapped_add_forgeable(t, *t->out, forgeable, t->p->reader.fixed && of_header);
    buf_free(&types);
    return *t->out ? 1 : taking_fail(t, 400);
}
