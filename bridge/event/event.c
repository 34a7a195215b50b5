/* SPDX-License-Identifier: MIT */
/* Birth, life and end of an event; what its attributes may be. */
#include "bridge/event/event.h"
#include <stdatomic.h>
#include <stdlib.h>
#include "bridge/event/trace.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/uri.h"

enum { SHOWN_BYTES = 64 };

/* The one allocation: this, the array of extensions, all bytes that are not borrowed. */
struct block {
    struct record_view view;
    atomic_size_t references; /* without a record */
    struct record *record;    /* that it borrows from: its references are the record's */
    size_t size;
    struct str types; /* the value of TRAIL_TYPES; absent: all are strings */
    struct event ev;
};

/* The attributes that are members of struct event. */
static const struct attribute {
    const char *name;
    size_t offset;
    bool required;
} attributes[] = {
    { "id", offsetof(struct event, id), true },
    { "source", offsetof(struct event, source), true },
    { "type", offsetof(struct event, type), true },
    { "subject", offsetof(struct event, subject), false },
    { "time", offsetof(struct event, time), false },
    { "dataschema", offsetof(struct event, dataschema), false },
    { "datacontenttype", offsetof(struct event, datacontenttype), false },
};
enum { ATTRIBUTES = sizeof attributes / sizeof *attributes, PREFIX = sizeof EVENT_HEADER_PREFIX - 1 };

static struct str *event_slot(struct event *ev, const struct attribute *a)
{
    return (struct str *)(void *)((char *)ev + a->offset);
}

static struct str event_value_of(const struct event *ev, const struct attribute *a)
{
    return *(const struct str *)(const void *)((const char *)ev + a->offset);
}

static const struct attribute *event_attribute_named(struct str name)
{
    for (size_t i = 0; i < ATTRIBUTES; i++)
        if (str_eq(name, str_of(attributes[i].name)))
            return &attributes[i];
    return NULL;
}

/* Is the well-formed sequence of 2 to 4 bytes at p a C1 control or a noncharacter? */
static bool event_is_banned(const unsigned char *p, size_t n)
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
static bool event_is_string(struct str s)
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
            if (length == 0 || event_is_banned((const unsigned char *)s.at, length))
                return false;
        }
        s = str_from(s, length);
    }
    return true;
}

bool event_is_value(struct str value)
{
    return value.n <= EVENT_ATTRIBUTE_BYTES && event_is_string(value);
}

bool event_is_content(struct str extension)
{
    return !trace_is_header(extension) && !str_starts(extension, STR(EVENT_KEPT_PREFIX));
}

static bool event_check_value(const char *name, size_t name_n, struct str value, struct err *e)
{
    if (value.n > EVENT_ATTRIBUTE_BYTES)
        return err_set(e, "event attribute %.*s: %zu bytes, the most is %d", (int)name_n, name, value.n,
                       EVENT_ATTRIBUTE_BYTES);
    if (!event_is_string(value))
        return err_set(e, "event attribute %.*s: a control character, a noncharacter or bytes that are not UTF-8",
                       (int)name_n, name);
    return true;
}

static bool event_is_ascii(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.at[i] >= 0x80)
            return false;
    return true;
}

static bool event_check_attributes(const struct event *f, struct err *e)
{
    for (size_t i = 0; i < ATTRIBUTES; i++) {
        const char *name = attributes[i].name;
        struct str value = event_value_of(f, &attributes[i]);
        if (!value.at && attributes[i].required)
            return err_set(e, "event attribute %s is missing", name);
        if (!value.at)
            continue;
        if (value.n == 0)
            return err_set(e, "event attribute %s is empty", name);
        if (!event_check_value(name, strlen(name), value, e))
            return false;
    }
    struct str shown = f->time.n > SHOWN_BYTES ? (struct str){ f->time.at, SHOWN_BYTES } : f->time;
    if (f->time.at && !clock_parse(f->time, &(int64_t){ 0 }))
        return err_set(e, "event attribute time: \"%.*s\" is not an RFC 3339 date and time", STR_ARG(shown));
    if (!event_is_ascii(f->datacontenttype))
        return err_set(e, "event attribute datacontenttype: not a media type");
    return true;
}

static bool event_check_name(struct str name, struct err *e)
{
    bool ok = name.n >= 1 && name.n <= EVENT_NAME_BYTES && !str_eq(name, STR("data"))
              && !str_eq(name, STR("specversion"));
    for (size_t i = 0; ok && i < name.n; i++)
        ok = (name.at[i] >= 'a' && name.at[i] <= 'z') || (name.at[i] >= '0' && name.at[i] <= '9');
    if (ok)
        return true;
    if (name.n > SHOWN_BYTES)
        name.n = SHOWN_BYTES;
    return err_set(e, "event attribute \"%.*s\": a name has 1 to %d characters a to z and 0 to 9", STR_ARG(name),
                   EVENT_NAME_BYTES);
}

static bool event_check_extensions(const struct event *f, struct err *e)
{
    if (f->extension_count > EVENT_ATTRIBUTES)
        return err_set(e, "event: %zu extension attributes, the most is %d", f->extension_count, EVENT_ATTRIBUTES);
    for (size_t i = 0; i < f->extension_count; i++) {
        struct str name = f->extensions[i].name;
        if (!event_check_name(name, e) || !event_check_value(name.at, name.n, f->extensions[i].value, e))
            return false;
        bool twice = event_attribute_named(name) != NULL;
        for (size_t j = 0; j < i; j++)
            twice = twice || str_eq(name, f->extensions[j].name);
        if (twice)
            return err_set(e, "event attribute %.*s stands twice", STR_ARG(name));
    }
    return true;
}

static size_t event_content_bytes(const struct event *f)
{
    size_t n = f->data.n;
    for (size_t i = 0; i < ATTRIBUTES; i++)
        n += event_value_of(f, &attributes[i]).n;
    for (size_t i = 0; i < f->extension_count; i++)
        n += PREFIX + f->extensions[i].name.n + f->extensions[i].value.n;
    return n;
}

/* "=integer,", "=boolean," or nothing for a string. */
static struct str event_type_of(const struct event *f, size_t i)
{
    uint64_t bit = (uint64_t)1 << i;
    return f->integers & bit ? STR("=integer,") : f->booleans & bit ? STR("=boolean,") : STR("");
}

static size_t event_types_bytes(const struct event *f)
{
    size_t n = 0;
    for (size_t i = 0; (f->integers | f->booleans) && i < f->extension_count; i++)
        n += event_type_of(f, i).n ? f->extensions[i].name.n + event_type_of(f, i).n : 0;
    return n;
}

/* Copies s to *to and moves *to behind it; absent stays absent. */
static struct str event_put(char **to, struct str s)
{
    struct str copy = { s.at ? *to : NULL, s.n };
    if (s.n > 0)
        memcpy(*to, s.at, s.n);
    *to += s.n;
    return copy;
}

/* Writes the text of the types, `n` bytes with a comma at the end; absent when all are strings. */
static struct str event_put_types(char **to, const struct event *f, size_t n)
{
    char *start = *to;
    for (size_t i = 0; n > 0 && i < f->extension_count; i++) {
        struct str type = event_type_of(f, i);
        if (type.n == 0)
            continue;
        event_put(to, f->extensions[i].name);
        event_put(to, type);
    }
    return n > 0 ? (struct str){ start, n - 1 } : STR_ABSENT;
}

static bool event_check(const struct event *f, struct err *e)
{
    return event_check_attributes(f, e) && event_check_extensions(f, e)
           && (f->data.n <= EVENT_DATA_BYTES
               || err_set(e, "event data: %zu bytes, the most is %d", f->data.n, EVENT_DATA_BYTES));
}

static void event_end_view(struct record_view *v)
{
    struct block *b = (struct block *)(void *)v;
    if (b->record || atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel) == 1)
        free(b);
}

const struct event *event_new(const struct event *f, struct err *e)
{
    if (!event_check(f, e))
        return NULL;
    size_t extensions = f->extension_count * sizeof(struct header);
    size_t types = event_types_bytes(f);
    size_t size = sizeof(struct block) + extensions + event_content_bytes(f) + types;
    struct block *b = mem_grow(NULL, size, 1);
    struct header *headers = (struct header *)(b + 1);
    char *to = (char *)headers + extensions;
    atomic_init(&b->references, 1);
    b->view.end = event_end_view;
    b->record = NULL;
    b->size = size;
    b->ev = (struct event){
        .extensions = headers, .extension_count = f->extension_count, .integers = f->integers, .booleans = f->booleans
    };
    for (size_t i = 0; i < ATTRIBUTES; i++)
        *event_slot(&b->ev, &attributes[i]) = event_put(&to, event_value_of(f, &attributes[i]));
    for (size_t i = 0; i < f->extension_count; i++) {
        event_put(&to, STR(EVENT_HEADER_PREFIX)); /* so that a record's header name stands here, too */
        headers[i].name = event_put(&to, f->extensions[i].name);
        struct str value = f->extensions[i].value;
        headers[i].value = event_put(&to, value.at ? value : STR(""));
    }
    b->ev.data = event_put(&to, f->data);
    b->types = event_put_types(&to, f, types);
    return &b->ev;
}

const struct event *event_borrow(const struct event *f, struct record *r, struct err *e)
{
    if (!event_check(f, e))
        return NULL;
    size_t extensions = f->extension_count * sizeof(struct header), types = event_types_bytes(f);
    struct block *b = mem_grow(NULL, sizeof(struct block) + extensions + types, 1);
    struct header *headers = (struct header *)(b + 1);
    char *to = (char *)headers + extensions;
    b->view.end = event_end_view;
    b->record = r;
    b->size = sizeof(struct block) + extensions + types + event_content_bytes(f);
    b->ev = *f;
    b->ev.extensions = headers;
    for (size_t i = 0; i < f->extension_count; i++) {
        struct str value = f->extensions[i].value;
        headers[i] = (struct header){ f->extensions[i].name, value.at ? value : STR("") };
    }
    b->types = event_put_types(&to, f, types);
    return &b->ev;
}

static struct block *event_block_of(const struct event *ev)
{
    return (struct block *)(void *)((char *)ev - offsetof(struct block, ev));
}

struct str event_types(const struct event *ev)
{
    return event_block_of(ev)->types;
}

size_t event_bytes(const struct event *ev)
{
    return event_block_of(ev)->size;
}

const struct event *event_ref(const struct event *ev)
{
    struct block *b = event_block_of(ev);
    if (b->record)
        record_ref(b->record);
    else
        atomic_fetch_add_explicit(&b->references, 1, memory_order_relaxed);
    return ev;
}

void event_unref(const struct event *ev)
{
    struct block *b = ev ? event_block_of(ev) : NULL;
    if (b && b->record)
        record_free(b->record);
    else if (b && atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel) == 1)
        free(b);
}

const struct event *event_of_share(struct record_share *share, const struct event *offered)
{
    struct record_view *none = NULL, *v = atomic_load_explicit(&share->view, memory_order_acquire);
    if (!v && offered) {
        v = &event_block_of(offered)->view;
        if (!atomic_compare_exchange_strong_explicit(&share->view, &none, v, memory_order_acq_rel,
                                                     memory_order_acquire)) {
            v->end(v); /* somebody else was faster */
            v = none;
        }
    } else if (offered) {
        event_end_view(&event_block_of(offered)->view);
    }
    return v ? event_ref(&((struct block *)(void *)v)->ev) : NULL;
}

struct str *event_member(struct event *fields, struct str name)
{
    const struct attribute *a = event_attribute_named(name);
    return a ? event_slot(fields, a) : NULL;
}

struct str event_attribute(const struct event *ev, struct str name)
{
    const struct attribute *a = event_attribute_named(name);
    if (a)
        return event_value_of(ev, a);
    for (size_t i = 0; i < ev->extension_count; i++)
        if (str_eq(ev->extensions[i].name, name))
            return ev->extensions[i].value;
    return str_eq(name, STR("specversion")) ? STR("1.0") : STR_ABSENT;
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

bool event_check_uris(const struct event *ev, struct err *e)
{
    const struct str source = { ev->source.at, ev->source.n < SHOWN_BYTES ? ev->source.n : SHOWN_BYTES };
    const struct str schema = { ev->dataschema.at, ev->dataschema.n < SHOWN_BYTES ? ev->dataschema.n : SHOWN_BYTES };
    if (!uri_is_reference(ev->source))
        return err_set(e, "event attribute source: \"%.*s\" is not a URI reference (RFC 3986)", STR_ARG(source));
    if (ev->dataschema.at && !uri_is_absolute(ev->dataschema))
        return err_set(e, "event attribute dataschema: \"%.*s\" is not a URI (RFC 3986)", STR_ARG(schema));
    return true;
}

const char *event_is_reserved(const struct event *ev)
{
    if (str_eq(ev->type, STR(EVENT_RESUME_TYPE)))
        return "type: \"" EVENT_RESUME_TYPE
               "\" is the bridge's own, which listeners take for its word; use another one";
    for (size_t i = 0; i < ev->extension_count; i++)
        if (str_eq(ev->extensions[i].name, STR(EVENT_CURSOR_NAME)))
            return EVENT_CURSOR_NAME
                ": this attribute is the bridge's own, which listeners take for their position; leave it out";
    return NULL;
}
