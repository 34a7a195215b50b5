/* SPDX-License-Identifier: MIT */
/* Content types against what a path takes. */
#include "connectors/http/reading.h"
#include <string.h>
#include "bridge/lib/form.h"
#include "bridge/lib/jscan.h"
#include "bridge/event/event.h"

enum { SHOWN_BYTES = 100 };

static bool reading_is_set(const char *s)
{
    return s && *s;
}

/* Without its parameters. */
static struct str reading_media(struct str content_type)
{
    struct str media = STR(""); /* nothing is left of an empty one */
    str_cut(&content_type, ';', &media);
    return str_trim(media);
}

static bool reading_is_cloudevents(struct str content_type)
{
    return str_starts_nocase(content_type, STR("application/cloudevents"));
}

/* JSON is UTF-8, so parameters say nothing. */
static bool reading_is_json(struct str content_type)
{
    struct str media = reading_media(content_type), json = STR("+json");
    return media.n > json.n && str_eq_nocase(str_from(media, media.n - json.n), json);
}

/* Does the scheme say nothing of headers? */
static bool reading_is_fixed(const struct path_options *o)
{
    return verify_covers(&o->verify) != COVER_REQUEST;
}

static bool reading_check_media(const char *text, struct err *e)
{
    static const char token[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$&^_.+-";
    size_t n = strspn(text, token), m = text[n] == '/' ? strspn(text + n + 1, token) : 0;
    if (n == 0 || m == 0 || (text[n + 1 + m] && text[n + 1 + m] != ';'))
        return err_set(e, "content_type: is no media type, such as application/json");
    if (reading_is_cloudevents(str_of(text)))
        return err_set(e, "content_type: is that of CloudEvents: cloudevents: structured takes them");
    return true;
}

/* What is about data, where nothing but CloudEvents is taken. */
static bool reading_check_data(const struct path_options *o, struct err *e)
{
    const struct {
        const char *key, *value;
    } options[] = {
        { "content_type", o->content_type },
        { "type", o->type },
        { "type_header", o->type_header },
        { "id_header", o->id_header },
        { "preset", o->mapping.preset.name },
        { "map", o->mapping.rules.map.count ? "map" : NULL },
        { "id", o->mapping.rules.id },
        { "time", o->mapping.rules.time },
        { "subject", o->subject },
        { "attributes", o->attributes.count ? "attributes" : NULL },
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (reading_is_set(options[i].value))
            return err_set(e,
                           "%s: makes no sense here: scheme %s does not sign the content type, so with "
                           "cloudevents: structured nothing but CloudEvents is taken",
                           options[i].key, verify_name(&o->verify));
    return true;
}

/* Where the body alone says what it is, only what cannot be the other may be taken for a form. */
static bool reading_check_form(const struct path_options *o, struct err *e)
{
    bool form = reading_is_set(o->content_type) && form_is(str_of(o->content_type));
    if (o->form == FORMS_KEEP || o->form == FORMS_BY_SCHEME || !reading_is_fixed(o) || !reading_is_set(o->content_type))
        return true;
    if (o->form == FORMS_JSON && !form)
        return err_set(e, "form: json reads each body as a form where the content type is not signed, so content_type "
                          "can be no other");
    if (o->form == FORMS_PAYLOAD && !event_type_is_json(str_of(o->content_type)) && !form)
        return err_set(e, "form: payload takes JSON, and forms with JSON in payload; content_type can be no other");
    return true;
}

bool reader_is_sure(const struct path_options *o, struct err *e)
{
    bool silent = o->form == FORMS_JSON && reading_is_fixed(o) && !reading_is_set(o->content_type)
                  && !form_is(str_of(verify_media(&o->verify)));
    return !silent
           || err_set(
               e,
               "form: json takes forms alone where the content type is not signed (scheme %s): JSON gets 415; say "
               "content_type: application/x-www-form-urlencoded if that is meant, else leave it away",
               verify_name(&o->verify));
}

bool reader_check(const struct path_options *o, struct err *e)
{
    bool fixed = reading_is_fixed(o);
    if (!reading_check_form(o, e))
        return false;
    if (reading_is_set(o->content_type) && !reading_check_media(o->content_type, e))
        return false;
    if (fixed && o->cloudevents == CLOUDEVENTS_STRUCTURED && !reading_check_data(o, e))
        return false;
    bool none = o->cloudevents == CLOUDEVENTS_NONE || (fixed && o->cloudevents == CLOUDEVENTS_BY_SCHEME);
    if (none && (o->ce_source == SOURCE_PIN || o->ce_source == SOURCE_ANY))
        return err_set(e, "ce_source: makes no sense here: the path takes no CloudEvents (cloudevents: structured%s)",
                       fixed ? "" : " or all");
    if (!fixed || o->cloudevents != CLOUDEVENTS_ALL)
        return true;
    return err_set(e,
                   "cloudevents: all takes attributes from headers, which scheme %s does not sign: whoever saw one "
                   "request could forge them (structured or none)",
                   verify_name(&o->verify));
}

void reader_open(struct reader *d, const struct path_options *o)
{
    bool fixed = reading_is_fixed(o), unasked = o->cloudevents == CLOUDEVENTS_BY_SCHEME;
    *d = (struct reader){ .takes = o->cloudevents, .fixed = fixed, .unasked = unasked };
    if (unasked)
        d->takes = fixed ? CLOUDEVENTS_NONE : CLOUDEVENTS_ALL;
    d->scheme = verify_name(&o->verify);
    bool typed = reading_is_set(o->content_type);
    d->form = o->form != FORMS_BY_SCHEME                              ? o->form
              : !typed && verify_decides(&o->verify) == VERIFY_GITHUB ? FORMS_PAYLOAD
                                                                      : FORMS_KEEP;
    if (typed && !(d->form == FORMS_PAYLOAD && form_is(str_of(o->content_type))))
        d->content_type = str_of(o->content_type);
    else if (fixed)
        d->content_type = d->form == FORMS_JSON ? STR("application/x-www-form-urlencoded")
                                                : str_of(verify_media(&o->verify));
}

/* Data whose content type the configuration says: the request's must be the same, or none. */
static bool reading_check_type(const struct reader *d, struct str type, struct err *e)
{
    struct str media = reading_media(type), wanted = reading_media(d->content_type);
    bool form = d->form == FORMS_PAYLOAD || d->form == FORMS_JSON;
    if (type.n == 0 || str_eq_nocase(media, wanted) || (form && form_is(type)))
        return true;
    if (media.n > SHOWN_BYTES)
        media.n = SHOWN_BYTES;
    if (!d->fixed)
        return err_set(e, "this path takes %.*s (content_type), not %.*s", STR_ARG(wanted), STR_ARG(media));
    if (reading_is_cloudevents(type))
        return err_set(e, "this path takes no CloudEvents: the content type is not signed, so that the path's "
                          "configuration says how a body is read (cloudevents: structured)");
    return err_set(e,
                   "this path takes %.*s, not %.*s: the content type is not signed, so that the path's configuration "
                   "says it (content_type)",
                   STR_ARG(wanted), STR_ARG(media));
}

/* A CloudEvent in JSON, or a batch; where nothing else is taken, that is what it must be. */
static bool reading_structured(const struct reader *d, struct str type, enum reading *how, struct err *e)
{
    *how = str_starts_nocase(type, STR("application/cloudevents-batch")) ? READING_BATCH : READING_EVENT;
    if (reading_is_cloudevents(type) && reading_is_json(type))
        return true;
    return err_set(e, "CloudEvents are taken as application/cloudevents+json or application/cloudevents-batch+json%s",
                   d->fixed ? ", and nothing else is taken here: the content type is not signed, so that the path's "
                              "configuration says how a body is read"
                            : "");
}

/* Attributes in headers. */
static bool reading_headers(const struct reader *d, enum reading *how, struct err *e)
{
    *how = READING_HEADERS;
    if (d->takes == CLOUDEVENTS_ALL)
        return true;
    return err_set(e, "the attributes in ce- headers are not signed; send the CloudEvent as "
                      "application/cloudevents+json, to a path that takes it (cloudevents: structured)");
}

bool reader_read(const struct reader *d, const struct http_request *r, enum reading *how, struct str *content_type,
                 int *status, struct err *e)
{
    size_t types = 0, versions = 0;
    struct str type = http_header(r, "content-type", &types);
    http_header(r, "ce-specversion", &versions);
    *status = 400;
    if (types > 1)
        return err_set(e, "there is more than one Content-Type");
    *status = 415;
    *content_type = type;
    bool cloudevents = reading_is_cloudevents(type);
    if (versions > 0 && !cloudevents && (d->takes != CLOUDEVENTS_NONE || (d->fixed && d->unasked)))
        return reading_headers(d, how, e);
    if (d->takes != CLOUDEVENTS_NONE && (d->fixed || cloudevents))
        return reading_structured(d, type, how, e);
    *how = READING_DATA;
    if (!d->content_type.n)
        return true;
    *content_type = d->fixed || !form_is(type) ? d->content_type : type;
    return reading_check_type(d, type, e);
}

enum reading reader_reading(const struct reader *d, const struct http_request *r)
{
    enum reading how = 0;
    struct str content_type;
    int status;
    return reader_read(d, r, &how, &content_type, &status, NULL) ? how : 0;
}

/* Where the content type is nobody's word, the body says whether it is such a form: no JSON begins like that. */
static bool reading_has_payload(const struct reader *d, struct str content_type, struct str body)
{
    return d->form == FORMS_PAYLOAD && (d->fixed ? str_starts(body, STR("payload=")) : form_is(content_type));
}

/* Is it JSON that is called a form, as by `curl -d`? A form writes these brackets as %7B and %5B. */
static bool reading_is_misnamed(const struct reader *d, struct str content_type, struct str body)
{
    struct str text = str_trim(jscan_skip_mark(body));
    return !d->fixed && form_is(content_type) && text.n && strchr("{[", *text.at)
           && jscan_check(text, &(struct jscan_value){ 0 }, NULL);
}

bool reader_unform(const struct reader *d, struct str *content_type, struct str *body, struct buf *out, struct err *e)
{
    if (reading_is_misnamed(d, *content_type, *body)) {
        *content_type = STR("application/json");
        return true;
    }
    if (reading_has_payload(d, *content_type, *body)) {
        out->max = body->n + 1;
        if (!form_find(out, *body, "payload"))
            return true; /* another form */
    } else if (d->form == FORMS_JSON && form_is(*content_type)) {
        out->max = EVENT_DATA_BYTES;
        if (!form_to_json(out, *body, e))
            return false;
    } else
        return true;
    *content_type = STR("application/json");
    *body = buf_str(out);
    return true;
}

bool reader_unpacks(const struct reader *d, struct str content_type)
{
    return !d->fixed || event_type_is_json(content_type);
}
