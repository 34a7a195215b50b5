/* SPDX-License-Identifier: MIT */
/* Renders a request's attributes. */
#include "connectors/http/attributes.h"
#include <stdlib.h>
#include "bridge/event/template.h"
#include "bridge/event/trace.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/metrics.h"
#include "bridge/map/value.h"
#include "bridge/lib/form.h"
#include "connectors/http/pattern.h"

METRIC_COUNTER(aqueduct_http_attributes_left_out_total,
               "Attributes left out of events because what the request says cannot be one.", "source", "path");

METRIC_COUNTER(
    aqueduct_http_ids_missing_total,
    "Bodies without the id that `id` or `id_header` asks for: each got one at random, so a repeat is another event.",
    "source", "path");

enum {
    TYPE_BYTES = 512,
    SPARE = 3, /* traceparent, tracestate, partitionkey */
    LOOSE_BYTES = 1 << 20,
    SCHEME_BYTES = 1024, /* of an id or a type in a body that no option asks for */
};
enum attributes_group { GROUP_HEADERS, GROUP_QUERY, GROUP_PATH };
enum attributes_slot { SLOT_ID, SLOT_TIME, SLOT_TYPE, SLOT_SOURCE, SLOT_SUBJECT, SLOT_EXTENSIONS };

static const char *const attributes_groups[] = { "headers", "query", "path", NULL };
static const struct template_world attributes_world = {
    .data = "body",
    .groups = attributes_groups,
    .wanted = "a path in the body (body.id), a JSON pointer (/id), headers.x-name, query.name or path.name",
};

struct attribute {
    const char *name;
    enum attributes_slot slot;
    const struct template *t;
};

struct attributes {
    const struct path_options *o;
    const struct verifier *verifier;
    struct template_set *set;
    const struct template *body_id, *scheme_id, *scheme_types[SIGNATURE_TYPES]; /* NULL: of no use */
    struct attribute *at;
    size_t count;
    struct header *kept; /* name of the attribute, name of the header */
    size_t kept_count;
    struct metric *left_out, *unnamed; /* unnamed: NULL: no id is asked for */
    const char *source_id, *label;
    bool unnamed_said;
    /* of the request */
    const struct http_request *r;
    bool asked_loose, gave_id, named;
    struct buf one, text, loose, query, id, type;
    char value[PATTERN_VALUE];
};

/* ---- checked and compiled ---- */

static bool attributes_is_set(const char *s)
{
    return s && *s;
}

static const struct mapping_preset *attributes_preset(const struct path_options *o)
{
    return o->mapping.preset.content;
}

/* A template; a text without expressions is none. */
static const char *attributes_template(const char *text)
{
    return text && template_has_expressions(str_of(text)) ? text : NULL;
}

const char *attributes_type_text(const struct path_options *o)
{
    const struct mapping_preset *preset = attributes_preset(o);
    return attributes_is_set(o->type) ? o->type : preset && attributes_is_set(preset->type) ? preset->type : NULL;
}

bool attributes_wants_type(const struct path_options *o, const struct verifier *v)
{
    const struct signature_style *style = verifier_style(v);
    return style && style->type_pointers[0] && !attributes_type_text(o) && !attributes_is_set(o->type_header);
}

/* The text of the slot, of the path or of its preset. */
static const char *attributes_text(const struct path_options *o, enum attributes_slot slot)
{
    const struct mapping_preset *preset = attributes_preset(o);
    switch (slot) {
    case SLOT_ID: return attributes_template(mapping_rules_of(&o->mapping)->id);
    case SLOT_TIME: return attributes_template(mapping_rules_of(&o->mapping)->time);
    case SLOT_TYPE: return attributes_template(attributes_type_text(o));
    case SLOT_SOURCE: return attributes_template(o->source);
    case SLOT_SUBJECT: return attributes_is_set(o->subject) || !preset ? o->subject : preset->subject;
    case SLOT_EXTENSIONS: break;
    }
    return NULL;
}

/* Does the header prove who the sender is? */
static bool attributes_is_secret(const struct path_options *o, const char *header)
{
    struct str name = str_of(header);
    return str_eq_nocase(name, STR("authorization")) || str_eq_nocase(name, STR("cookie"))
           || verify_reads_header(&o->verify, name);
}

static bool attributes_check_header(const struct path_options *o, const char *header, struct err *e)
{
    if (!verify_check_name(header, e))
        return err_prefix(e, "%.60s", header);
    return !attributes_is_secret(o, header)
           || err_set(e, "%.60s: proves who the sender is, so that it stands in no event", header);
}

struct attributes_checking {
    const struct path_options *o;
    struct err *e;
    bool good;
};

static void attributes_check_part(void *ctx, size_t group, const char *name)
{
    struct attributes_checking *c = ctx;
    if (!c->good)
        return;
    switch ((enum attributes_group)group) {
    case GROUP_HEADERS: c->good = attributes_check_header(c->o, name, c->e); return;
    case GROUP_QUERY:
        if (verify_reads_query(&c->o->verify, str_of(name)))
            c->good = err_set(c->e, "query.%.60s: proves who the sender is, so that it stands in no event", name);
        return;
    case GROUP_PATH: break;
    }
    if (!pattern_has(c->o->path, name))
        c->good = err_set(c->e, "path.%.60s: the path has no {%.60s}", name, name);
}

static bool attributes_add(struct attributes *a, const char *name, enum attributes_slot slot, const char *text,
                           struct err *e)
{
    enum template_place place = slot == SLOT_TYPE ? TEMPLATE_TYPE : slot == SLOT_SOURCE ? TEMPLATE_URL : TEMPLATE_TEXT;
    struct attributes_checking c = { a->o, e, true };
    if (!attributes_is_set(text))
        return true;
    const struct template *t = template_of_text(a->set, str_of(text), place, e);
    if (t)
        template_parts(t, attributes_check_part, &c);
    if (!t || !c.good)
        return err_prefix(e, "%.60s", name);
    a->at = mem_grow(a->at, a->count + 1, sizeof *a->at);
    a->at[a->count++] = (struct attribute){ name, slot, t };
    return true;
}

/* Can an extension attribute have the name? */
static bool attributes_check_name(const char *name, struct err *e)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");
    if (n == 0 || n > EVENT_NAME_BYTES || name[n])
        return err_set(e, "attributes: %.60s: a name has 1 to %d characters a to z and 0 to 9", name, EVENT_NAME_BYTES);
    struct event none;
    bool taken = event_member(&none, str_of(name)) || strcmp(name, "data") == 0 || strcmp(name, "specversion") == 0;
    if (taken)
        return err_set(e, "attributes: %s: is not one of your own; id, time, type, source and subject have options",
                       name);
    return event_is_content(str_of(name))
           || err_set(e, "attributes: %s: is the name of a trace, or of a header that is kept", name);
}

static bool attributes_add_extensions(struct attributes *a, struct err *e)
{
    const struct map *m = &a->o->attributes;
    for (size_t i = 0; i < m->count; i++) {
        if (!attributes_check_name(m->at[i].key, e))
            return false;
        if (!attributes_is_set(m->at[i].value))
            return err_set(e, "attributes: %s: is empty", m->at[i].key);
        if (!attributes_add(a, m->at[i].key, SLOT_EXTENSIONS, m->at[i].value, e))
            return err_prefix(e, "attributes");
    }
    return true;
}

/* httpxrequestid of x-request-id; free() it. */
static char *attributes_kept_name(const char *header)
{
    struct buf name = buf_new(EVENT_NAME_BYTES + 1);
    buf_add_c(&name, EVENT_KEPT_PREFIX);
    for (const char *c = header; *c; c++) {
        char lower = (char)(*c | 0x20);
        if (*c >= '0' && *c <= '9')
            buf_add_char(&name, *c);
        else if (lower >= 'a' && lower <= 'z')
            buf_add_char(&name, lower);
    }
    char *copy = str_dup(buf_str(&name));
    buf_free(&name);
    return copy;
}

static bool attributes_add_kept(struct attributes *a, struct err *e)
{
    const struct strings *headers = &a->o->keep_headers;
    a->kept = mem_alloc((headers->count + 1) * sizeof *a->kept);
    for (size_t i = 0; i < headers->count; i++) {
        const char *header = headers->at[i];
        if (!attributes_check_header(a->o, header, e))
            return err_prefix(e, "keep_headers");
        if (strlen(header) > EVENT_NAME_BYTES - strlen(EVENT_KEPT_PREFIX))
            return err_set(e, "keep_headers: %.60s...: is too long for an attribute's name", header);
        struct str name = str_of(attributes_kept_name(header));
        a->kept[a->kept_count++] = (struct header){ name, str_of(header) };
        for (size_t k = 0; k < i; k++)
            if (str_eq(a->kept[k].name, name))
                return err_set(e, "keep_headers: %s and %s are both the attribute %s", headers->at[k], header, name.at);
    }
    if (a->kept_count + a->o->attributes.count > EVENT_ATTRIBUTES - SPARE)
        return err_set(e, "attributes: with keep_headers there are more than %d", EVENT_ATTRIBUTES - SPARE);
    return true;
}

/* The body's own id is looked for where nothing else was said about ids. */
static bool attributes_wants_body_id(const struct path_options *o)
{
    return !attributes_is_set(mapping_rules_of(&o->mapping)->id);
}

static bool attributes_compile(struct attributes *a, struct err *e)
{
    static const char *const names[] = { "id", "time", "type", "source", "subject" };
    for (enum attributes_slot i = SLOT_ID; i < SLOT_EXTENSIONS; i++)
        if (!attributes_add(a, names[i], i, attributes_text(a->o, i), e))
            return false;
    if (!attributes_add_extensions(a, e) || !attributes_add_kept(a, e))
        return false;
    if (attributes_wants_body_id(a->o))
        a->body_id = template_of_text(a->set, STR("{{body.event_id}}"), TEMPLATE_JSON, e);
    return true;
}

static struct attributes *attributes_make(const struct path_options *o, struct err *e)
{
    struct attributes *a = mem_alloc(sizeof *a);
    a->o = o;
    a->set = template_set_new_of(&attributes_world);
    a->one = buf_new(EVENT_ATTRIBUTE_BYTES);
    a->text = buf_new((size_t)EVENT_ATTRIBUTES * 2 * EVENT_ATTRIBUTE_BYTES);
    a->loose = buf_new(LOOSE_BYTES);
    a->query = buf_new(SIZE_MAX / 2); /* of a request, whose head is bounded */
    a->id = buf_new(SCHEME_BYTES);
    a->type = buf_new(SCHEME_BYTES);
    if (attributes_compile(a, e))
        return a;
    attributes_free(a);
    return NULL;
}

/* A source of expressions begins with one of the path's own, which no expression changes. */
static bool attributes_check_source(const struct path_options *o, struct err *e)
{
    const char *expression = o->source ? strstr(o->source, "{{") : NULL;
    if (!expression || (expression > o->source + 1 && expression[-1] == '/'))
        return true;
    return err_set(e, "source: begins with a source of the path's own and a /, such as /shop/{{body.tenant}}");
}

bool attributes_check(const struct path_options *o, struct err *e)
{
    if (!attributes_check_source(o, e))
        return false;
    if (attributes_template(o->type) && attributes_is_set(o->type_header))
        return err_set(e, "type_header: makes no sense beside a type of expressions: {{headers.%.60s}} gives it",
                       o->type_header);
    struct attributes *a = attributes_make(o, e);
    attributes_free(a);
    return a != NULL;
}

/* A text at a place in the body. */
static const struct template *attributes_pointer(struct attributes *a, const char *pointer)
{
    struct err e;
    char *text = pointer ? str_join("{{", pointer, "}}") : NULL;
    const struct template *t = text ? template_of_text(a->set, str_of(text), TEMPLATE_JSON, &e) : NULL;
    CHECK(t || !pointer);
    free(text);
    return t;
}

static void attributes_add_scheme(struct attributes *a)
{
    const struct signature_style *style = verifier_style(a->verifier);
    if (!style)
        return;
    if (!attributes_is_set(a->o->id_header))
        a->scheme_id = attributes_pointer(a, style->id_pointer);
    for (size_t i = 0; attributes_wants_type(a->o, a->verifier) && i < SIGNATURE_TYPES; i++)
        a->scheme_types[i] = attributes_pointer(a, style->type_pointers[i]);
}

struct attributes *attributes_new(const struct path_options *o, const struct verifier *v, const char *source_id,
                                  const char *label)
{
    struct err e;
    struct attributes *a = attributes_make(o, &e);
    CHECK(a); /* the options were checked */
    a->verifier = v;
    attributes_add_scheme(a);
    a->source_id = source_id;
    a->label = label;
    a->left_out = metric_get(&aqueduct_http_attributes_left_out_total, LABELS(source_id, label));
    if (attributes_is_set(o->id_header) || !attributes_wants_body_id(o))
        a->unnamed = metric_get(&aqueduct_http_ids_missing_total, LABELS(source_id, label));
    return a;
}

void attributes_free(struct attributes *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->kept_count; i++)
        free((void *)(uintptr_t)a->kept[i].name.at);
    free(a->kept);
    free(a->at);
    template_set_free(a->set);
    buf_free(&a->one);
    buf_free(&a->text);
    buf_free(&a->loose);
    buf_free(&a->query);
    buf_free(&a->id);
    buf_free(&a->type);
    free(a);
}

bool attributes_outline(const struct path_options *o, struct buf *out)
{
    const char *text = attributes_text(o, SLOT_TYPE);
    struct err e;
    if (!text)
        return false;
    struct template_set *set = template_set_new_of(&attributes_world);
    const struct template *t = template_of_text(set, str_of(text), TEMPLATE_TYPE, &e);
    if (t)
        template_add_outline(out, t);
    template_set_free(set);
    return t != NULL;
}

/* ---- at work ---- */

/* A header, a parameter of the query or of the path. */
static struct str attributes_part(void *ctx, size_t group, const char *name)
{
    struct attributes *a = ctx;
    bool vouched = false;
    struct str value = STR_ABSENT;
    switch ((enum attributes_group)group) {
    case GROUP_HEADERS:
        vouched = verifier_vouches(a->verifier, a->r, name);
        value = http_header(a->r, name, NULL);
        break;
    case GROUP_QUERY:
        vouched = verify_covers(&a->o->verify) == COVER_REQUEST;
        buf_reset(&a->query);
        if (form_find(&a->query, a->r->query, name))
            value = buf_str(&a->query);
        break;
    case GROUP_PATH:
        vouched = verify_covers(&a->o->verify) == COVER_REQUEST;
        value = pattern_value(str_of(a->o->path), a->r->path, name, a->value);
        break;
    }
    a->asked_loose = a->asked_loose || !vouched;
    return value;
}

bool attributes_see(struct attributes *a, const struct http_request *r, struct str body, bool json, bool named,
                    struct err *e)
{
    a->r = r;
    a->gave_id = a->named = false;
    if (named && a->count == 0 && !a->scheme_id && !a->scheme_types[0]) /* nothing of the body is wanted */
        return !json || jscan_check(body, &(struct jscan_value){ 0 }, e);
    if (template_see_parts(a->set, body, true, attributes_part, a, json ? e : NULL))
        return true;
    return !json && template_see_parts(a->set, body, false, attributes_part, a, NULL);
}

/* In a->one; absent: there is nothing, or it cannot be an attribute. */
static struct str attributes_render(struct attributes *a, const struct attribute *x)
{
    buf_reset(&a->one);
    a->asked_loose = false;
    bool rendered = template_render(a->set, x->t, &a->one, NULL) == TEMPLATE_RENDERED;
    struct str value = buf_str(&a->one);
    int64_t ms;
    if (!rendered && !a->one.failed)
        return STR_ABSENT;
    bool good = rendered && event_is_value(value) && (x->slot != SLOT_TYPE || value.n <= TYPE_BYTES)
                && (x->slot != SLOT_TIME || value_time_of(value, &ms));
    if (!good)
        attributes_left_out(a);
    if (!good || value.n == 0)
        return STR_ABSENT;
    if (x->slot != SLOT_TIME)
        return value;
    char time[CLOCK_TEXT];
    clock_text(ms, time);
    buf_reset(&a->one);
    buf_add_c(&a->one, time);
    return buf_str(&a->one);
}

/* Where the value of an attribute is told. */
static struct str *attributes_place(const struct attribute *x, struct attributed *out)
{
    switch (x->slot) {
    case SLOT_ID: return &out->id;
    case SLOT_TIME: return &out->time;
    case SLOT_TYPE: return &out->type;
    case SLOT_SOURCE: return &out->source;
    case SLOT_SUBJECT: return &out->subject;
    case SLOT_EXTENSIONS: break;
    }
    out->extensions[out->extension_count].name = str_of(x->name);
    return &out->extensions[out->extension_count++].value;
}

/* What went into the value is nobody's word. */
static void attributes_add_loose(struct attributes *a, const struct attribute *x, struct str value,
                                 struct attributed *out)
{
    if (x->slot == SLOT_ID)
        out->id_is_loose = true;
    if (x->slot == SLOT_ID || x->slot == SLOT_TIME) /* a repeat may have another time */
        return;
    buf_printf(&a->loose, "%s%s%zu:", x->name, value.at ? "=" : "", value.n);
    buf_add_str(&a->loose, value);
}

void attributes_read(struct attributes *a, struct attributed *out)
{
    size_t at[SLOT_EXTENSIONS + EVENT_ATTRIBUTES]; /* of which 0 to count are written */
    out->id = out->time = out->type = out->source = out->subject = STR_ABSENT;
    out->extension_count = 0;
    out->id_is_loose = false;
    buf_reset(&a->text);
    buf_reset(&a->loose);
    for (size_t i = 0; i < a->count; i++) {
        struct str value = attributes_render(a, &a->at[i]);
        if (a->asked_loose)
            attributes_add_loose(a, &a->at[i], value, out);
        at[i] = a->text.n;
        buf_add_str(&a->text, value);
        at[i + 1] = a->text.n;
    }
    for (size_t i = 0; i < a->count; i++) /* now nothing moves any more */
        if (at[i + 1] > at[i])
            *attributes_place(&a->at[i], out) = (struct str){ a->text.at + at[i], at[i + 1] - at[i] };
    out->loose = buf_str(&a->loose);
    a->gave_id = out->id.at;
}

bool attributes_gave_id(const struct attributes *a)
{
    return a->gave_id;
}

/* A JSON string, without its escapes; absent when there is none, or it is no value of an attribute. */
static struct str attributes_string(struct attributes *a, const struct template *t, struct buf *out)
{
    buf_reset(&a->one);
    buf_reset(out);
    if (!t || template_render(a->set, t, &a->one, NULL) != TEMPLATE_RENDERED || a->one.at[0] != '"')
        return STR_ABSENT;
    jscan_unescape(out, buf_str(&a->one));
    struct str text = buf_str(out);
    return text.n > 0 && !out->failed && event_is_value(text) ? text : STR_ABSENT;
}

struct str attributes_scheme_id(struct attributes *a)
{
    struct str id = attributes_string(a, a->scheme_id, &a->id);
    a->named = id.n > 0;
    return id;
}

struct str attributes_scheme_type(struct attributes *a)
{
    struct str type = STR_ABSENT;
    for (size_t i = 0; i < SIGNATURE_TYPES && !type.n; i++)
        type = attributes_string(a, a->scheme_types[i], &a->type);
    return type;
}

struct str attributes_body_id(struct attributes *a)
{
    return attributes_string(a, a->body_id, &a->id);
}

bool attributes_named(const struct attributes *a)
{
    return a->named;
}

void attributes_keep(struct attributes *a, const struct http_request *r, const struct event *ev, struct header *out,
                     size_t *count)
{
    for (size_t i = 0; i < a->kept_count && *count < EVENT_ATTRIBUTES; i++) {
        struct str value = http_header(r, a->kept[i].value.at, NULL);
        if (!value.at || (ev && event_attribute(ev, a->kept[i].name).at))
            continue;
        if (event_is_value(value))
            out[(*count)++] = (struct header){ a->kept[i].name, value };
        else
            attributes_left_out(a);
    }
}

void attributes_left_out(struct attributes *a)
{
    metric_add(a->left_out, 1);
}

void attributes_unnamed(struct attributes *a)
{
    if (!a->unnamed)
        return;
    metric_add(a->unnamed, 1);
    if (!a->unnamed_said)
        LOG(WARN, "bodies come without their id", LOG_C("source", a->source_id), LOG_C("path", a->label),
            LOG_C("reason", "where id or id_header says there is none: each event gets one at random, and a repeat is "
                            "another event"));
    a->unnamed_said = true;
}
