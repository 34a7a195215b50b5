/* SPDX-License-Identifier: MIT */
/* Renders templates. */
#include "bridge/event/private.h"
#include "bridge/lib/mem.h"

enum { WORK_BYTES = EVENT_DATA_BYTES + (1 << 20) }; /* of one value on its way */

/* What an expression gives: text, or JSON as it is written. */
struct template_value {
    enum jscan_type type; /* JSCAN_NONE: nothing */
    bool plain;           /* of JSCAN_STRING: `raw` is the text itself */
    struct str raw;
};

static void template_begin(struct template_set *set)
{
    set->found = false;
    struct buf *const work[] = { &set->whole, &set->text, &set->shaped };
    for (size_t i = 0; i < sizeof work / sizeof *work; i++) {
        work[i]->max = WORK_BYTES;
        buf_reset(work[i]);
    }
}

void template_see(struct template_set *set, const struct event *ev, struct str webhook_id)
{
    template_begin(set);
    set->event = ev;
    set->webhook_id = webhook_id;
    set->data = ev->data;
    set->json = ev->data.at && event_type_is_json(ev->datacontenttype);
}

bool template_see_parts(struct template_set *set, struct str data, bool json, template_part_fn *part, void *ctx,
                        struct err *e)
{
    template_begin(set);
    set->data = data;
    set->json = json;
    set->part = part;
    set->ctx = ctx;
    set->found = json;
    return !json || jpointers_find(set->pointers, data, set->values, e);
}

static struct template_value template_plain(struct str text)
{
    return text.at ? (struct template_value){ JSCAN_STRING, true, text } : (struct template_value){ 0 };
}

static struct template_value template_attribute(const struct event *ev, struct str name)
{
    for (size_t i = 0; i < ev->extension_count; i++)
        if ((ev->integers | ev->booleans) >> i & 1 && str_eq(ev->extensions[i].name, name)) {
            struct str raw = ev->extensions[i].value;
            return (struct template_value){ ev->integers >> i & 1 ? JSCAN_NUMBER
                                            : raw.at[0] == 't'    ? JSCAN_TRUE
                                                                  : JSCAN_FALSE,
                                            false, raw };
        }
    return template_plain(event_attribute(ev, name));
}

static struct template_value template_data(struct template_set *set, size_t place)
{
    if (!set->found) {
        set->found = true;
        jpointers_find(set->pointers, set->json ? set->data : STR_ABSENT, set->values, NULL);
    }
    struct jscan_value v = set->values[place];
    if (place == 0 && v.type == JSCAN_NONE && str_is_utf8(set->data))
        return template_plain(set->data); /* it is text */
    return (struct template_value){ v.type, false, v.raw };
}

static struct template_value template_event(struct template_set *set)
{
    buf_reset(&set->whole);
    event_to_json(set->event, &set->whole);
    if (set->whole.failed)
        return (struct template_value){ 0 };
    return (struct template_value){ JSCAN_OBJECT, false, buf_str(&set->whole) };
}

static struct template_value template_find(struct template_set *set, const struct template_piece *p)
{
    struct template_value v = { 0 };
    switch (p->source) {
    case SOURCE_NOTHING: break;
    case SOURCE_ATTRIBUTE: v = template_attribute(set->event, str_of(p->attribute)); break;
    case SOURCE_DATA: v = template_data(set, p->place); break;
    case SOURCE_EVENT: v = template_event(set); break;
    case SOURCE_WEBHOOK_ID: v = template_plain(set->webhook_id); break;
    case SOURCE_PART: v = template_plain(set->part(set->ctx, p->group, p->attribute)); break;
    }
    if (set->world && v.type == JSCAN_STRING && v.raw.n == (v.plain ? 0 : 2))
        v.type = JSCAN_NONE;
    if (v.type > JSCAN_NULL || !p->fallback)
        return v;
    return (struct template_value){ jscan_value_of(p->fallback, p->fallback).type, false, str_of(p->fallback) };
}

/* Is there nothing to write? Null is as good as nothing where the expression says what to do then. */
static enum template_result template_lacks(const struct template_piece *p, const struct template_value *v,
                                           bool as_value, struct err *e)
{
    if (v->type > JSCAN_NULL || (v->type == JSCAN_NULL && as_value && !p->omit))
        return TEMPLATE_RENDERED;
    if (p->omit)
        return TEMPLATE_OMITTED;
    err_set(e, "%.100s: %s", p->text, v->type == JSCAN_NULL ? "it is null" : "the event has none");
    return TEMPLATE_FAILED;
}

/* ---- text ---- */

static struct str template_cut(struct str text, int64_t most)
{
    size_t n = 0;
    for (int64_t i = 0; n < text.n && i < most; i++) {
        size_t length = str_utf8_length(str_from(text, n));
        n += length ? length : 1;
    }
    return (struct str){ text.at, n };
}

static void template_add_html(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.n; i++)
        switch (text.at[i]) {
        case '&': buf_add_c(out, "&amp;"); break;
        case '<': buf_add_c(out, "&lt;"); break;
        case '>': buf_add_c(out, "&gt;"); break;
        default: buf_add_char(out, text.at[i]);
        }
}

/* The value as text, shortened and escaped as the expression says; in the set's buffers. */
static struct str template_text(struct template_set *set, const struct template_piece *p,
                                const struct template_value *v)
{
    struct str text = v->raw;
    if (v->type == JSCAN_STRING && !v->plain) {
        buf_reset(&set->text);
        jscan_unescape(&set->text, v->raw);
        text = buf_str(&set->text);
    }
    if (p->cut)
        text = template_cut(text, p->cut);
    if (!p->html)
        return text;
    buf_reset(&set->shaped);
    template_add_html(&set->shaped, text);
    return buf_str(&set->shaped);
}

void template_add_encoded(struct buf *out, struct str text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.at[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
                     || (c && strchr("-._~", c));
        if (plain)
            buf_add_char(out, (char)c);
        else
            buf_add(out, (const char[]){ '%', digits[c >> 4], digits[c & 15] }, 3);
    }
}

void template_add_type(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.at[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_'
                     || c == '-';
        buf_add_char(out, plain ? c : c == '/' ? '.' : '_');
    }
}

/* May the text be a header's value? */
static bool template_check_line(const struct template_piece *p, struct str text, struct err *e)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.at[i] < ' ' || text.at[i] == 0x7f)
            return err_set(e, "%.100s: it has a control character, such as the end of a line", p->text);
    return true;
}

/* ---- pieces and structures ---- */

static enum template_result template_add_expression(struct template_set *set, const struct template_piece *p,
                                                    enum template_place place, struct buf *out, struct err *e)
{
    struct template_value v = template_find(set, p);
    enum template_result r = template_lacks(p, &v, false, e);
    if (r != TEMPLATE_RENDERED)
        return r;
    if (place == TEMPLATE_JSON && v.type == JSCAN_STRING && !v.plain && !p->cut && !p->html) {
        buf_add(out, v.raw.at + 1, v.raw.n - 2); /* it is escaped already */
        return r;
    }
    struct str text = template_text(set, p, &v);
    switch (place) {
    case TEMPLATE_TEXT: buf_add_str(out, text); break;
    case TEMPLATE_JSON: jscan_add_escaped(out, text); break;
    case TEMPLATE_URL:
    case TEMPLATE_QUERY: template_add_encoded(out, text); break;
    case TEMPLATE_TYPE: template_add_type(out, text); break;
    case TEMPLATE_LINE:
        if (!template_check_line(p, text, e))
            return TEMPLATE_FAILED;
        buf_add_str(out, text);
    }
    return r;
}

static enum template_result template_add_all(struct template_set *set, const struct template *t,
                                             enum template_place place, struct buf *out, struct err *e)
{
    size_t before = out->n;
    for (size_t i = 0; i < t->piece_count; i++) {
        const struct template_piece *p = &t->pieces[i];
        enum template_result r = TEMPLATE_RENDERED;
        if (p->expression)
            r = template_add_expression(set, p, place, out, e);
        else if (place == TEMPLATE_JSON)
            jscan_add_escaped(out, (struct str){ p->text, p->n });
        else if (place == TEMPLATE_QUERY)
            template_add_encoded(out, (struct str){ p->text, p->n });
        else
            buf_add(out, p->text, p->n);
        if (r == TEMPLATE_OMITTED)
            out->n = before;
        if (r != TEMPLATE_RENDERED)
            return r;
    }
    return TEMPLATE_RENDERED;
}

/* An expression alone: a JSON value. */
static enum template_result template_add_value(struct template_set *set, const struct template_piece *p,
                                               struct buf *out, struct err *e)
{
    struct template_value v = template_find(set, p);
    enum template_result r = template_lacks(p, &v, true, e);
    if (r != TEMPLATE_RENDERED)
        return r;
    if (v.type == JSCAN_STRING && (v.plain || p->cut || p->html))
        jscan_add_string(out, template_text(set, p, &v));
    else
        buf_add_str(out, v.raw);
    return r;
}

static enum template_result template_add(struct template_set *set, const struct template *t, struct buf *out,
                                         struct err *e);

/* Those of a list or of an object that are not left out. */
static enum template_result template_add_below(struct template_set *set, const struct template *t, struct buf *out,
                                               struct err *e)
{
    bool list = t->kind == KIND_LIST, some = false;
    buf_add_char(out, list ? '[' : '{');
    for (size_t i = 0; i < t->count; i++) {
        size_t before = out->n;
        if (some)
            buf_add_char(out, ',');
        if (!list)
            buf_add_c(out, t->below[i]->name);
        enum template_result r = template_add(set, t->below[i], out, e);
        if (r == TEMPLATE_FAILED)
            return r;
        if (r == TEMPLATE_OMITTED)
            out->n = before;
        else
            some = true;
    }
    buf_add_char(out, list ? ']' : '}');
    return TEMPLATE_RENDERED;
}

static enum template_result template_add(struct template_set *set, const struct template *t, struct buf *out,
                                         struct err *e)
{
    enum template_result r = TEMPLATE_RENDERED;
    size_t before = out->n;
    switch (t->kind) {
    case KIND_LITERAL: buf_add_c(out, t->literal); break;
    case KIND_VALUE: return template_add_value(set, &t->pieces[0], out, e);
    case KIND_TEXT: return template_add_all(set, t, t->place, out, e);
    case KIND_STRING:
        buf_add_char(out, '"');
        r = template_add_all(set, t, TEMPLATE_JSON, out, e);
        buf_add_char(out, '"');
        if (r == TEMPLATE_OMITTED)
            out->n = before;
        break;
    case KIND_LIST:
    case KIND_MEMBERS: return template_add_below(set, t, out, e);
    }
    return r;
}

enum template_result template_render(struct template_set *set, const struct template *t, struct buf *out, struct err *e)
{
    enum template_result r = template_add(set, t, out, e);
    bool full = out->failed || set->text.failed || set->shaped.failed || set->whole.failed;
    if (r == TEMPLATE_FAILED || !full)
        return r;
    err_set(e, "what is rendered is larger than %zu bytes", out->max);
    return TEMPLATE_FAILED;
}
