/* SPDX-License-Identifier: MIT */
/* Checks the options of a path, and tells what follows from them. */
#include "connectors/http/path_check.h"
#include "bridge/event/template.h"
#include "bridge/lib/uri.h"
#include "connectors/http/attributes.h"
#include "connectors/http/called.h"
#include "connectors/http/mapping_check.h"
#include "connectors/http/pattern.h"
#include "connectors/http/reading.h"
#include "connectors/http/slip.h"

enum { NAME_BYTES = 64 };

static bool path_check_name(const struct path_options *o, struct err *e)
{
    if (!path_is_set(o->path) || o->path[0] != '/')
        return err_set(e, "path must begin with /");
    if (!pattern_check(o->path, e))
        return false;
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

static bool path_check_answer(const struct answer_options *a, struct err *e)
{
    if (a->status == 203)
        return err_set(e, "answer.status: is 200, 201, 202 or 204");
    if (a->status == 204 && path_is_set(a->body))
        return err_set(e, "answer.body: an answer 204 has none");
    for (const char *c = path_is_set(a->content_type) ? a->content_type : ""; *c; c++)
        if (*c < ' ' || *c > '~')
            return err_set(e, "answer.content_type: is no media type, such as text/plain");
    return true;
}

/* A source that expressions follow is checked without them. */
static bool path_check_source(const struct path_options *o, struct err *e)
{
    struct buf source = buf_new(2 * EVENT_ATTRIBUTE_BYTES);
    called_add_source(o, "x", &source);
    bool set = path_is_set(o->source), good = uri_is_reference(buf_str(&source));
    buf_free(&source);
    if (!good && set)
        return err_set(e, "source is not a URI reference (RFC 3986), such as /shop or https://shop.example.com/");
    return good
           || err_set(e, "path has characters that no URI has, and the CloudEvents source is made of it: set source");
}

bool path_check(const struct path_options *o, struct err *e)
{
    if (!path_check_name(o, e) || !path_check_called(o, e) || !path_check_headers(o, e)
        || !path_check_answer(&o->answer, e) || !limits_check_path(&o->limits, e))
        return false;
    if (path_is_set(o->type) && strlen(o->type) > PATH_TYPE_BYTES)
        return err_set(e, "type is longer than %d bytes", PATH_TYPE_BYTES);
    if (path_is_set(o->source) && strlen(o->source) > EVENT_ATTRIBUTE_BYTES)
        return err_set(e, "source is longer than %d bytes", EVENT_ATTRIBUTE_BYTES);
    if (!slip_check(o, e) || !path_check_source(o, e))
        return false;
    struct verifier *v = verifier_new(&o->verify, e);
    bool ok = v && reader_check(o, e) && mapping_check(&o->mapping, e) && attributes_check(o, e);
    verifier_free(v);
    return ok;
}

struct str path_type(const struct path_options *o, const struct verifier *v)
{
    const char *of_scheme = verifier_type(v), *text = attributes_type_text(o);
    if (text && !template_has_expressions(str_of(text)))
        return str_of(text);
    return of_scheme ? str_of(of_scheme) : STR("webhook.received");
}

const char *path_type_header(const struct path_options *o, const struct verifier *v)
{
    const char *text = attributes_type_text(o);
    if (text && template_has_expressions(str_of(text)))
        return NULL;
    return path_is_set(o->type_header) ? o->type_header : verifier_type_header(v);
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
        struct buf b = buf_new(4 * PATH_TYPE_BYTES);
        if (attributes_outline(o, &b))
            each(ctx, buf_c(&b));
        buf_reset(&b);
        bool of_body = attributes_wants_type(o, v);
        buf_add_str(&b, type);
        each(ctx, buf_c(&b));
        if (of_body && !verifier_type(v))
            each(ctx, "{type}");
        else if (path_type_header(o, v) || of_body) {
            buf_add_c(&b, path_type_header(o, v) ? ".{header}" : ".{type}");
            each(ctx, buf_c(&b));
        }
        buf_free(&b);
    }
    verifier_free(v);
}

void path_content(const struct path_options *o, void (*each)(void *ctx, const char *type), void *ctx)
{
    mapping_types(&o->mapping, true, each, ctx);
}

bool path_check_pair(const struct path_options *a, const struct path_options *b, struct err *e)
{
    if (strcmp(a->path, b->path) == 0)
        return err_set(e, "path: %.100s is there twice", b->path);
    return !(pattern_is(a->path) && pattern_is(b->path) && pattern_overlaps(a->path, b->path))
           || err_set(e, "path: %.100s and %.100s fit the same requests", a->path, b->path);
}
