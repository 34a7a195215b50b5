/* SPDX-License-Identifier: MIT */
/* Compiles and renders the form of requests. */
#include "connectors/webhook/shape.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

const struct option_value shape_bodies[] = {
    { BODY_STANDARD, "standard" },
    { BODY_STRUCTURED, "structured" },
    { BODY_BINARY, "binary" },
    { BODY_DATA, "data" },
    { 0 },
};

/* ---- what a user may say ---- */

static bool shape_is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
           || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool shape_is_text(const char *value)
{
    for (const char *c = value; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return false;
    return true;
}

bool shape_content_type_ok(const char *type, struct err *e)
{
    size_t major = 0, minor;
    while (shape_is_token_char(type[major]))
        major++;
    const char *rest = type[major] == '/' ? type + major + 1 : "";
    for (minor = 0; shape_is_token_char(rest[minor]);)
        minor++;
    rest += minor;
    if (major == 0 || minor == 0 || (*rest && *rest != ';' && *rest != ' ') || strlen(type) > 256
        || !shape_is_text(type))
        return err_set(e, "content_type: \"%.64s\" is not a media type such as application/json", type);
    return true;
}

bool shape_header_ok(const char *name, const char *value, struct err *e)
{
    static const char *const ours[] = { "host",        "content-length", "transfer-encoding",
                                        "connection",  "expect",         "te",
                                        "trailer",     "upgrade",        "keep-alive",
                                        "traceparent", "tracestate",     NULL };
    struct str n = str_of(name);
    if (n.n == 0 || n.n > 128)
        return err_set(e, "headers: a name has 1 to 128 characters");
    for (size_t i = 0; i < n.n; i++)
        if (!shape_is_token_char(name[i]))
            return err_set(e, "headers: \"%s\" is not the name of a header", name);
    if (str_eq_nocase(n, STR("content-type")))
        return err_set(e, "headers: %s is set by the bridge (see content_type)", name);
    for (size_t i = 0; ours[i]; i++)
        if (str_eq_nocase(n, str_of(ours[i])))
            return err_set(e, "headers: %s is set by the bridge", name);
    if (str_starts_nocase(n, STR("webhook-")) || str_starts_nocase(n, STR("ce-"))
        || str_starts_nocase(n, STR("proxy-")))
        return err_set(e, "headers: %s is set by the bridge", name);
    if (!*value || strlen(value) > 4096)
        return err_set(e, "headers: the value of %s must have 1 to 4096 characters", name);
    if (!shape_is_text(value))
        return err_set(e, "headers: the value of %s has a control character", name);
    return true;
}

/* ---- compiling ---- */

/* How the text of a body is to be escaped: by its content type, or by what it looks like. */
static enum template_place shape_body_place(const char *content_type, struct str text, bool alone)
{
    struct str type = str_of(content_type);
    if (type.at && str_starts_nocase(type, STR("application/x-www-form-urlencoded")))
        return TEMPLATE_URL;
    if (type.at && !template_has_expressions(type))
        return event_type_is_json(type) ? TEMPLATE_JSON : TEMPLATE_TEXT;
    size_t blank = strspn(text.at, " \t\r\n");
    char first = text.at[blank], second = first ? text.at[blank + 1] : '\0';
    return alone || first == '[' || (first == '{' && second != '{') ? TEMPLATE_JSON : TEMPLATE_TEXT;
}

/* A text as body: is it nothing but one expression? */
static bool shape_is_alone(struct str text)
{
    size_t blank = strspn(text.at, " \t\r\n");
    struct str rest = str_trim(str_from(text, blank));
    const char *second = rest.n > 2 ? memmem(rest.at + 2, rest.n - 2, "{{", 2) : NULL;
    return str_starts(rest, STR("{{")) && str_ends(rest, STR("}}")) && !second;
}

static bool shape_body_text(struct shape *s, struct str text, struct err *e)
{
    enum template_place place = shape_body_place(s->content_type, text, shape_is_alone(text));
    s->text = template_of_text(s->set, text, place, e);
    if (!s->text && place == TEMPLATE_JSON && !s->content_type
        && str_starts((struct str){ e->text, 8 }, STR("not JSON"))) {
        struct err why = *e;
        err_set(e, "%s (content_type: text/plain makes it a text)", why.text);
    }
    if (!s->text)
        return err_prefix(e, "body");
    if (!s->content_type)
        s->content_type = place == TEMPLATE_JSON ? "application/json" : "text/plain; charset=utf-8";
    return true;
}

/* The option, and which body it names; free it with json_decref. */
static json_t *shape_read_body(const struct shape_options *o, enum body_mode *body, struct str *text)
{
    json_t *json = o->body->json ? json_loads(o->body->json, JSON_DECODE_ANY, NULL) : NULL;
    *text = (struct str){ json_string_value(json), json_string_length(json) };
    *body = json ? BODY_TEMPLATE : BODY_STANDARD;
    for (const struct option_value *v = shape_bodies; v->text; v++)
        if (text->at && str_eq(*text, str_of(v->text)))
            *body = (enum body_mode)v->value;
    return json;
}

bool shape_body_is_text(const struct shape_options *o)
{
    struct str text;
    enum body_mode body;
    json_t *json = shape_read_body(o, &body, &text);
    bool is = body == BODY_TEMPLATE && text.at
              && shape_body_place(o->content_type, text, shape_is_alone(text)) != TEMPLATE_JSON;
    json_decref(json);
    return is;
}

static bool shape_compile_body(struct shape *s, const struct shape_options *o, struct err *e)
{
    struct str text;
    bool good = true;
    json_t *json = shape_read_body(o, &s->body, &text);
    if (s->body == BODY_TEMPLATE && text.at)
        good = shape_body_text(s, text, e);
    else if (s->body == BODY_TEMPLATE) {
        s->text = template_of_json(s->set, "body", json, e);
        good = s->text != NULL;
        if (!s->content_type)
            s->content_type = "application/json";
    }
    json_decref(json);
    return good;
}

static bool shape_compile_type(struct shape *s, const struct shape_options *o, struct err *e)
{
    bool binary = o->body->json && strcmp(o->body->json, "\"binary\"") == 0;
    s->content_type = o->content_type;
    if (!o->content_type)
        return true;
    if (binary)
        return err_set(e, "content_type: with body: binary each request has that of its event");
    if (!template_has_expressions(str_of(o->content_type)))
        return shape_content_type_ok(o->content_type, e);
    s->type = template_of_text(s->set, str_of(o->content_type), TEMPLATE_LINE, e);
    return s->type || err_prefix(e, "content_type");
}

/* Is what stands around the expressions fit for a path? */
static bool shape_is_path(const char *path)
{
    while (*path) {
        const char *end = strncmp(path, "{{", 2) == 0 ? strstr(path, "}}") : NULL;
        if (!end && (*path <= ' ' || *path >= 0x7f || strchr("?#", *path)))
            return false;
        path = end ? end + 2 : path + 1;
    }
    return true;
}

static bool shape_compile_path(struct shape *s, const struct shape_options *o, struct err *e)
{
    if (!o->path)
        return true;
    if (o->path[0] != '/')
        return err_set(e, "path: begins with / (it stands behind that of the url)");
    if (!shape_is_path(o->path))
        return err_set(e, "path: a blank, ?, # or what is no ASCII must be percent-encoded");
    s->path = template_of_text(s->set, str_of(o->path), TEMPLATE_URL, e);
    return s->path || err_prefix(e, "path");
}

static bool shape_compile_parameter(struct shape *s, const struct map_entry *q, struct err *e)
{
    const struct template *t = template_of_text(s->set, str_of(q->value), TEMPLATE_QUERY, e);
    s->query[s->query_count++] = (struct shape_part){ .name = q->key, .value = t };
    return t || err_prefix(e, "query: %.64s", q->key);
}

static bool shape_compile_header(struct shape *s, const struct map_entry *h, struct err *e)
{
    struct shape_part part = { .name = h->key, .plain = h->value };
    if (!shape_header_ok(h->key, h->value, e))
        return false;
    if (template_has_expressions(str_of(h->value))) {
        part.value = template_of_text(s->set, str_of(h->value), TEMPLATE_LINE, e);
        if (!part.value)
            return err_prefix(e, "headers: %s", h->key);
    }
    s->headers[s->header_count++] = part;
    return true;
}

static bool (*const shape_parts[])(struct shape *s, const struct shape_options *o, struct err *e) = {
    shape_compile_type,
    shape_compile_body,
    shape_compile_path,
};
enum { PARTS = sizeof shape_parts / sizeof *shape_parts };

/* Compiles all; gives what is wrong to each(), and goes on, or stops with *e when that is NULL. */
static bool shape_compile(struct shape *s, const struct shape_options *o, struct err *e, fault_fn *each, void *ctx)
{
    size_t count = PARTS + o->query->count + o->headers->count;
    *s = (struct shape){ .set = template_set_new() };
    s->query = mem_grow(NULL, o->query->count + 1, sizeof *s->query);
    s->headers = mem_grow(NULL, o->headers->count + 1, sizeof *s->headers);
    for (size_t i = 0; i < count; i++) {
        size_t of_query = i - PARTS, of_headers = of_query - o->query->count;
        bool good = i < PARTS                    ? shape_parts[i](s, o, e)
                    : of_query < o->query->count ? shape_compile_parameter(s, &o->query->at[of_query], e)
                                                 : shape_compile_header(s, &o->headers->at[of_headers], e);
        if (!good && !each)
            return false;
        if (!good)
            each(ctx, "", e->text);
    }
    return true;
}

bool shape_open(struct shape *s, const struct shape_options *o, struct err *e)
{
    if (!shape_compile(s, o, e, NULL, NULL)) {
        shape_close(s);
        return false;
    }
    s->uses_event = s->type || s->text || shape_has_url(s);
    for (size_t i = 0; i < s->header_count; i++)
        s->uses_event = s->uses_event || s->headers[i].value;
    return true;
}

void shape_faults(const struct shape_options *o, fault_fn *each, void *ctx)
{
    struct err e;
    struct shape probe;
    shape_compile(&probe, o, &e, each, ctx);
    shape_close(&probe);
}

void shape_close(struct shape *s)
{
    template_set_free(s->set);
    free(s->headers);
    free(s->query);
    *s = (struct shape){ 0 };
}

/* ---- a request ---- */

void shape_see(struct shape *s, const struct event *ev, struct str webhook_id)
{
    template_see(s->set, ev, webhook_id);
}

bool shape_has_url(const struct shape *s)
{
    return s->path || s->query_count > 0;
}

/* Leads the path nowhere else: no step of it is empty, . or .. (libcurl would take those as what they mean). */
static bool shape_check_path(struct str path, struct err *e)
{
    struct str rest = str_from(path, 1), step;
    for (size_t i = 0; i < path.n; i++)
        if (path.at[i] <= ' ' || path.at[i] >= 0x7f || strchr("?#", path.at[i]))
            return err_set(e, "path: \"%.100s\" has a character that is none of a path", path.at);
    while (str_cut(&rest, '/', &step))
        if ((step.n == 0 && rest.at) || str_eq(step, STR(".")) || str_eq(step, STR("..")))
            return err_set(e, "path: \"%.100s\" has a step that is empty, . or ..", path.at);
    return true;
}

static bool shape_add_path(struct shape *s, struct buf *out, struct err *e)
{
    size_t before = out->n;
    if (template_render(s->set, s->path, out, e) == TEMPLATE_FAILED)
        return err_prefix(e, "path");
    if (!buf_c(out))
        return true; /* the caller finds that it failed */
    return out->n == before || shape_check_path((struct str){ out->at + before, out->n - before }, e);
}

static bool shape_add_parameters(struct shape *s, bool first, struct buf *out, struct err *e)
{
    for (size_t i = 0; i < s->query_count; i++) {
        size_t before = out->n;
        buf_add_char(out, first ? '?' : '&');
        template_add_encoded(out, str_of(s->query[i].name));
        buf_add_char(out, '=');
        enum template_result r = template_render(s->set, s->query[i].value, out, e);
        if (r == TEMPLATE_FAILED)
            return err_prefix(e, "query: %.64s", s->query[i].name);
        if (r == TEMPLATE_OMITTED)
            out->n = before;
        else
            first = false;
    }
    return true;
}

bool shape_add_url(struct shape *s, struct str url, struct buf *out, struct err *e)
{
    const char *query = memchr(url.at, '?', url.n), *end = query ? query : url.at + url.n;
    if (s->path && end > url.at && end[-1] == '/')
        end--;
    buf_add(out, url.at, (size_t)(end - url.at));
    if (s->path && !shape_add_path(s, out, e))
        return false;
    if (query)
        buf_add(out, query, (size_t)(url.at + url.n - query));
    if (!shape_add_parameters(s, !query, out, e))
        return false;
    return !out->failed || err_set(e, "path and query: the URL is longer than %zu bytes", out->max);
}

bool shape_add_body(struct shape *s, struct buf *out, struct err *e)
{
    switch (template_render(s->set, s->text, out, e)) {
    case TEMPLATE_RENDERED: return true;
    case TEMPLATE_OMITTED: return true; /* an empty body, then */
    case TEMPLATE_FAILED: break;
    }
    return err_prefix(e, "body");
}

bool shape_add_type(struct shape *s, const char *own, struct buf *out, struct err *e)
{
    if (!s->type) {
        buf_add_c(out, s->content_type ? s->content_type : own);
        return true;
    }
    enum template_result r = template_render(s->set, s->type, out, e);
    if (r == TEMPLATE_OMITTED)
        buf_add_c(out, own);
    return r != TEMPLATE_FAILED || err_prefix(e, "content_type");
}

bool shape_add_header(struct shape *s, size_t i, struct buf *out, bool *omitted, struct err *e)
{
    const struct shape_part *h = &s->headers[i];
    *omitted = false;
    if (!h->value) {
        buf_add_c(out, h->plain);
        return true;
    }
    enum template_result r = template_render(s->set, h->value, out, e);
    *omitted = r == TEMPLATE_OMITTED;
    return r != TEMPLATE_FAILED || err_prefix(e, "headers: %s", h->name);
}
