/* SPDX-License-Identifier: MIT */
/* Birth, life and end of an event; its form as the headers of a record. */
#include "bridge/event/event.h"
#include <stdatomic.h>
#include <stdlib.h>
#include "bridge/event/draft.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"

enum { NAME_BYTES = 20, SHOWN_BYTES = 64 };

/* The one allocation: this, the array of extensions, all bytes. */
struct block {
    atomic_size_t references;
    struct event ev;
};

/* The attributes that are members of struct event, by their names in a record's headers. */
static const struct attribute {
    const char *header;
    size_t offset;
    bool required, in_headers;
} attributes[] = {
    { "ce_id", offsetof(struct event, id), true, true },
    { "ce_source", offsetof(struct event, source), true, true },
    { "ce_type", offsetof(struct event, type), true, true },
    { "ce_subject", offsetof(struct event, subject), false, true },
    { "ce_time", offsetof(struct event, time), false, true },
    { "ce_dataschema", offsetof(struct event, dataschema), false, true },
    { "ce_datacontenttype", offsetof(struct event, datacontenttype), false, false }, /* there it is the content-type */
};
enum { ATTRIBUTES = sizeof attributes / sizeof *attributes };
static const char prefix[] = "ce_", version_header[] = "ce_specversion", content_type_header[] = "content-type";
enum { PREFIX = sizeof prefix - 1 };

static const char *name_of(const struct attribute *a)
{
    return a->header + PREFIX;
}

static struct str *slot(struct event *ev, const struct attribute *a)
{
    return (struct str *)(void *)((char *)ev + a->offset);
}

static struct str value_of(const struct event *ev, const struct attribute *a)
{
    return *(const struct str *)(const void *)((const char *)ev + a->offset);
}

static const struct attribute *attribute_named(struct str name)
{
    for (size_t i = 0; i < ATTRIBUTES; i++)
        if (str_eq(name, str_of(name_of(&attributes[i]))))
            return &attributes[i];
    return NULL;
}

/* Is the well-formed sequence of 2 to 4 bytes at p a C1 control or a noncharacter? */
static bool is_banned(const unsigned char *p, size_t n)
{
    if (n == 2)
        return p[0] == 0xc2 && p[1] < 0xa0; /* U+0080 to U+009F */
    if (n == 3)
        return p[0] == 0xef
               && ((p[1] == 0xb7 && p[2] >= 0x90 && p[2] <= 0xaf) || /* U+FDD0 to U+FDEF */
                   (p[1] == 0xbf && p[2] >= 0xbe));                  /* U+FFFE, U+FFFF */
    return (p[1] & 0x0f) == 0x0f && p[2] == 0xbf && p[3] >= 0xbe;    /* U+1FFFE, U+1FFFF, U+2FFFE ... */
}

/* Is it a CloudEvents String: UTF-8 without controls and noncharacters (section 3.1 "Type System")? */
static bool is_string(struct str s)
{
    const uint64_t ones = 0x0101010101010101u;
    while (s.n > 0) {
        uint64_t eight;
        unsigned char c = (unsigned char)s.at[0];
        size_t length = 1;
        if (s.n >= sizeof eight) {
            memcpy(&eight, s.at, sizeof eight);
            /* Beyond ASCII, below 0x20, or 0x7f: the byte's high bit is or becomes set. */
            if (!((eight | (eight - ones * 0x20) | (eight + ones)) & ones * 0x80)) {
                s = str_from(s, sizeof eight);
                continue;
            }
        }
        if (c < 0x20 || c == 0x7f)
            return false;
        if (c >= 0x80) {
            length = str_utf8_length(s);
            if (length == 0 || is_banned((const unsigned char *)s.at, length))
                return false;
        }
        s = str_from(s, length);
    }
    return true;
}

static bool check_value(const char *name, size_t name_n, struct str value, struct err *e)
{
    if (value.n > EVENT_ATTRIBUTE_BYTES)
        return err_set(e, "event attribute %.*s: %zu bytes, the most is %d", (int)name_n, name, value.n,
                       EVENT_ATTRIBUTE_BYTES);
    if (!is_string(value))
        return err_set(e, "event attribute %.*s: a control character, a noncharacter or bytes that are not UTF-8",
                       (int)name_n, name);
    return true;
}

static bool is_ascii(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.at[i] >= 0x80)
            return false;
    return true;
}

static bool check_attributes(const struct event *f, struct err *e)
{
    for (size_t i = 0; i < ATTRIBUTES; i++) {
        const char *name = name_of(&attributes[i]);
        struct str value = value_of(f, &attributes[i]);
        if (!value.at && attributes[i].required)
            return err_set(e, "event attribute %s is missing", name);
        if (value.at && value.n == 0)
            return err_set(e, "event attribute %s is empty", name);
        if (!check_value(name, strlen(name), value, e))
            return false;
    }
    struct str shown = f->time.n > SHOWN_BYTES ? (struct str){ f->time.at, SHOWN_BYTES } : f->time;
    if (f->time.at && !clock_parse(f->time, &(int64_t){ 0 }))
        return err_set(e, "event attribute time: \"%.*s\" is not an RFC 3339 date and time", STR_ARG(shown));
    if (!is_ascii(f->datacontenttype))
        return err_set(e, "event attribute datacontenttype: not a media type");
    return true;
}

static bool check_name(struct str name, struct err *e)
{
    bool ok = name.n >= 1 && name.n <= NAME_BYTES && !str_eq(name, STR("data")) && !str_eq(name, STR("specversion"));
    for (size_t i = 0; ok && i < name.n; i++)
        ok = (name.at[i] >= 'a' && name.at[i] <= 'z') || (name.at[i] >= '0' && name.at[i] <= '9');
    if (ok)
        return true;
    if (name.n > SHOWN_BYTES)
        name.n = SHOWN_BYTES;
    return err_set(e, "event attribute \"%.*s\": a name has 1 to %d characters a to z and 0 to 9", STR_ARG(name),
                   NAME_BYTES);
}

static bool check_extensions(const struct event *f, struct err *e)
{
    if (f->extension_count > EVENT_ATTRIBUTES)
        return err_set(e, "event: %zu extension attributes, the most is %d", f->extension_count, EVENT_ATTRIBUTES);
    for (size_t i = 0; i < f->extension_count; i++) {
        struct str name = f->extensions[i].name;
        if (!check_name(name, e) || !check_value(name.at, name.n, f->extensions[i].value, e))
            return false;
        bool twice = attribute_named(name) != NULL;
        for (size_t j = 0; j < i; j++)
            twice = twice || str_eq(name, f->extensions[j].name);
        if (twice)
            return err_set(e, "event attribute %.*s stands twice", STR_ARG(name));
    }
    return true;
}

static size_t total_bytes(const struct event *f)
{
    size_t n = f->data.n;
    for (size_t i = 0; i < ATTRIBUTES; i++)
        n += value_of(f, &attributes[i]).n;
    for (size_t i = 0; i < f->extension_count; i++)
        n += PREFIX + f->extensions[i].name.n + f->extensions[i].value.n;
    return n;
}

/* Copies s to *to and moves *to behind it; absent stays absent. */
static struct str put(char **to, struct str s)
{
    struct str copy = { s.at ? *to : NULL, s.n };
    if (s.n > 0)
        memcpy(*to, s.at, s.n);
    *to += s.n;
    return copy;
}

const struct event *event_new(const struct event *f, struct err *e)
{
    if (!check_attributes(f, e) || !check_extensions(f, e))
        return NULL;
    if (f->data.n > EVENT_DATA_BYTES) {
        err_set(e, "event data: %zu bytes, the most is %d", f->data.n, EVENT_DATA_BYTES);
        return NULL;
    }
    size_t extensions = f->extension_count * sizeof(struct header);
    struct block *b = mem_grow(NULL, sizeof *b + extensions + total_bytes(f), 1);
    struct header *headers = (struct header *)(b + 1);
    char *to = (char *)headers + extensions;
    atomic_init(&b->references, 1);
    b->ev = (struct event){ .extensions = headers, .extension_count = f->extension_count };
    for (size_t i = 0; i < ATTRIBUTES; i++)
        *slot(&b->ev, &attributes[i]) = put(&to, value_of(f, &attributes[i]));
    for (size_t i = 0; i < f->extension_count; i++) {
        put(&to, STR(prefix)); /* so that a record's header name stands here, too */
        headers[i].name = put(&to, f->extensions[i].name);
        struct str value = f->extensions[i].value;
        headers[i].value = put(&to, value.at ? value : STR(""));
    }
    b->ev.data = put(&to, f->data);
    return &b->ev;
}

static struct block *block_of(const struct event *ev)
{
    return (struct block *)(void *)((char *)ev - offsetof(struct block, ev));
}

const struct event *event_ref(const struct event *ev)
{
    atomic_fetch_add_explicit(&block_of(ev)->references, 1, memory_order_relaxed);
    return ev;
}

void event_unref(const struct event *ev)
{
    if (ev && atomic_fetch_sub_explicit(&block_of(ev)->references, 1, memory_order_acq_rel) == 1)
        free(block_of(ev));
}

struct str event_attribute(const struct event *ev, struct str name)
{
    const struct attribute *a = attribute_named(name);
    if (a)
        return value_of(ev, a);
    for (size_t i = 0; i < ev->extension_count; i++)
        if (str_eq(ev->extensions[i].name, name))
            return ev->extensions[i].value;
    return str_eq(name, STR("specversion")) ? STR("1.0") : STR_ABSENT;
}

int64_t event_time_ms(const struct event *ev, int64_t otherwise)
{
    int64_t ms = otherwise;
    if (ev->time.at)
        clock_parse(ev->time, &ms);
    return ms;
}

bool event_type_is_json(struct str type)
{
    struct str media, rest = type;
    if (!str_cut(&rest, ';', &media))
        return true;
    media = str_trim(media);
    struct str tail = media.n >= 5 ? str_from(media, media.n - 5) : STR("");
    return str_eq_nocase(tail, STR("/json")) || str_eq_nocase(tail, STR("+json"));
}

size_t event_to_headers(const struct event *ev, struct header *out)
{
    size_t n = 0;
    out[n++] = (struct header){ STR(version_header), STR("1.0") };
    for (size_t i = 0; i < ATTRIBUTES; i++) {
        struct str value = value_of(ev, &attributes[i]);
        if (value.at && attributes[i].in_headers)
            out[n++] = (struct header){ str_of(attributes[i].header), value };
    }
    for (size_t i = 0; i < ev->extension_count; i++) {
        struct str name = ev->extensions[i].name;
        out[n++] = (struct header){ { name.at - PREFIX, name.n + PREFIX }, ev->extensions[i].value };
    }
    if (ev->datacontenttype.at)
        out[n++] = (struct header){ STR(content_type_header), ev->datacontenttype };
    return n;
}

bool draft_set(struct draft *d, struct str name, struct str value, struct err *e)
{
    const struct attribute *a = attribute_named(name);
    bool is_version = !a && str_eq(name, STR("specversion"));
    if (is_version && !str_eq(value, STR("1.0")))
        return err_set(e, "event attribute specversion is not 1.0");
    if (is_version ? d->has_version : a && slot(&d->fields, a)->at)
        return err_set(e, "event attribute %.*s stands twice", STR_ARG(name));
    if (is_version)
        d->has_version = true;
    else if (a)
        *slot(&d->fields, a) = value;
    else if (d->fields.extension_count == EVENT_ATTRIBUTES)
        return err_set(e, "event: more than %d extension attributes", EVENT_ATTRIBUTES);
    else
        d->extensions[d->fields.extension_count++] = (struct header){ name, value };
    return true;
}

const struct event *draft_event(struct draft *d, struct err *e)
{
    if (!d->has_version) {
        err_set(e, "event attribute specversion is missing");
        return NULL;
    }
    d->fields.extensions = d->extensions;
    return event_new(&d->fields, e);
}

int event_mode(struct str content_type, struct err *e)
{
    const struct str start = STR("application/cloudevents");
    struct str media, rest = content_type;
    if (!str_cut(&rest, ';', &media))
        return 0;
    media = str_trim(media);
    if (!str_starts_nocase(media, start))
        return 0;
    if (media.n == start.n || str_eq_nocase(str_from(media, start.n), STR("+json")))
        return 1;
    if (media.n > SHOWN_BYTES)
        media.n = SHOWN_BYTES;
    err_set(e, "event: content type \"%.*s\" is not one event in JSON", STR_ARG(media));
    return -1;
}

static const struct event *from_binary_record(const struct record *r, struct err *e)
{
    struct draft d = { .fields.data = r->value };
    for (size_t i = 0; i < r->header_count; i++) {
        const struct header *h = &r->headers[i];
        if (h->value.at && str_starts(h->name, STR(prefix)) && !draft_set(&d, str_from(h->name, PREFIX), h->value, e))
            return NULL;
    }
    struct str content_type = record_header(r, content_type_header);
    if (content_type.n > 0)
        d.fields.datacontenttype = content_type;
    return draft_event(&d, e);
}

const struct event *event_from_record(const struct record *r, struct err *e)
{
    if (record_header(r, version_header).at)
        return from_binary_record(r, e);
    int mode = event_mode(record_header(r, content_type_header), e);
    if (mode > 0)
        return event_from_json(r->value, e);
    if (mode == 0)
        err_set(e, "not a CloudEvent: neither a %s header nor a content-type of application/cloudevents+json",
                version_header);
    return NULL;
}
