/* SPDX-License-Identifier: MIT */
/* Collects what a decoder finds of an event, and tells from a Content-Type which decoder is the right one. */
#include "bridge/event/draft.h"
#include "bridge/event/trace.h"

bool draft_is_integer(struct str text)
{
    int64_t value;
    struct str digits = str_starts(text, STR("-")) ? str_from(text, 1) : text;
    if (str_starts(digits, STR("0")) && digits.n > 1)
        return false;
    return str_to_i64(text, &value) && value >= INT32_MIN && value <= INT32_MAX;
}

void draft_set_type(struct draft *d, struct str name, bool integer)
{
    for (size_t i = 0; i < d->fields.extension_count; i++) {
        struct str value = d->extensions[i].value;
        if (!str_eq(d->extensions[i].name, name))
            continue;
        if (integer && draft_is_integer(value))
            d->fields.integers |= (uint64_t)1 << i;
        if (!integer && (str_eq(value, STR("true")) || str_eq(value, STR("false"))))
            d->fields.booleans |= (uint64_t)1 << i;
    }
}

/* "count=integer,flag=boolean" */
void draft_set_types(struct draft *d, struct str types)
{
    struct str one, name;
    while (str_cut(&types, ',', &one)) {
        str_cut(&one, '=', &name);
        if (str_eq(one, STR("integer")) || str_eq(one, STR("boolean")))
            draft_set_type(d, name, one.at[0] == 'i');
    }
}

bool draft_set(struct draft *d, struct str name, struct str value, struct err *e)
{
    struct str *member = event_member(&d->fields, name);
    bool is_version = !member && str_eq(name, STR("specversion"));
    if (!member && !is_version && trace_is_header(name) && !event_is_value(value))
        return true;
    if (is_version && !str_eq(value, STR("1.0")))
        return err_set(e, "event attribute specversion is not 1.0");
    if (is_version ? d->has_version : member && member->at)
        return err_set(e, "event attribute %.*s stands twice", STR_ARG(name));
    if (is_version)
        d->has_version = true;
    else if (member)
        *member = value;
    else if (d->fields.extension_count == EVENT_ATTRIBUTES)
        return err_set(e, "event: more than %d extension attributes", EVENT_ATTRIBUTES);
    else
        d->extensions[d->fields.extension_count++] = (struct header){ name, value };
    return true;
}

const struct event *draft_event(struct draft *d, struct record *from, struct err *e)
{
    if (!d->has_version) {
        err_set(e, "event attribute specversion is missing");
        return NULL;
    }
    d->fields.extensions = d->extensions;
    return from ? event_borrow(&d->fields, from, e) : event_new(&d->fields, e);
}

enum draft_mode draft_mode(struct str content_type, struct err *e)
{
    enum { SHOWN_BYTES = 64 };
    const struct str start = STR("application/cloudevents");
    struct str media, rest = content_type;
    if (!str_cut(&rest, ';', &media))
        return DRAFT_BINARY;
    media = str_trim(media);
    if (!str_starts_nocase(media, start))
        return DRAFT_BINARY;
    if (media.n == start.n || str_eq_nocase(str_from(media, start.n), STR("+json")))
        return DRAFT_JSON;
    if (media.n > SHOWN_BYTES)
        media.n = SHOWN_BYTES;
    err_set(e, "event: content type \"%.*s\" is not one event in JSON", STR_ARG(media));
    return DRAFT_UNKNOWN;
}
