/* SPDX-License-Identifier: MIT */
/* Compiles templates: expressions to where their values come from, structures to trees (template_render.c renders them). */
#include "bridge/event/template.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/event/private.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

enum {
    BARE = 1,    /* begins a string that stands for an expression outside of strings */
    NUMBER = 20, /* most characters of a number */
    CUT_MOST = 1 << 24,
    SHOWN = 60,
};

/* While compiling: where in the structure we stand. */
struct template_where {
    const struct template_where *up;
    const char *key; /* NULL: the element `index` */
    size_t index;
    int depth;
    bool bare; /* the structure was a text: only what is marked BARE is an expression alone */
};

static void template_free_piece(struct template_piece *p)
{
    free(p->text);
    free(p->attribute);
    free(p->fallback);
    *p = (struct template_piece){ 0 };
}

static void template_free(struct template *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->piece_count; i++)
        template_free_piece(&t->pieces[i]);
    for (size_t i = 0; i < t->count; i++)
        template_free(t->below[i]);
    free(t->name);
    free(t->literal);
    free(t->pieces);
    free(t->below);
    free(t);
}

struct template_set *template_set_new(void)
{
    struct template_set *set = mem_alloc(sizeof *set);
    set->pointers = jpointers_new();
    return set;
}

struct template_set *template_set_new_of(const struct template_world *world)
{
    struct template_set *set = template_set_new();
    set->world = world;
    return set;
}

void template_set_free(struct template_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->count; i++)
        template_free(set->at[i]);
    jpointers_free(set->pointers);
    buf_free(&set->whole);
    buf_free(&set->text);
    buf_free(&set->shaped);
    free(set->at);
    free(set);
}

static void template_add_path(struct buf *out, const struct template_where *at)
{
    if (!at || (!at->up && !at->key))
        return;
    template_add_path(out, at->up);
    if (at->key)
        buf_printf(out, "%s%s", out->n > 0 ? "." : "", at->key);
    else
        buf_printf(out, "[%zu]", at->index);
}

/* Puts before the error where in the structure it is; returns NULL. */
static struct template *template_refuse(const struct template_where *at, struct err *e)
{
    struct buf path = buf_new(256);
    template_add_path(&path, at);
    if (path.n > 0)
        err_prefix(e, "%.*s", STR_ARG(buf_str(&path)));
    buf_free(&path);
    return NULL;
}

/* ---- expressions ---- */

/* What is left of an expression. */
struct template_reader {
    const char *at, *end;
};

static bool template_is_at(const struct template_reader *r, struct str text)
{
    return str_starts((struct str){ r->at, (size_t)(r->end - r->at) }, text);
}

static void template_skip_blank(struct template_reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
        r->at++;
}

/* A string with its quotes, or what comes up to a blank, a bar or the end of the expression. */
static struct str template_word(struct template_reader *r)
{
    const char *first = r->at;
    if (r->at < r->end && *r->at == '"') {
        for (r->at++; r->at < r->end && *r->at != '"'; r->at++)
            r->at += *r->at == '\\' && r->end - r->at > 1;
        r->at += r->at < r->end;
    } else
        while (r->at < r->end && !strchr(" \t\r\n|", *r->at)
               && !(*first == '/' ? template_is_at(r, STR("}}")) : *r->at == '}'))
            r->at++;
    return (struct str){ first, (size_t)(r->at - first) };
}

/* data.a.0.b as a JSON pointer. */
static bool template_path(struct str path, struct buf *pointer, struct err *e)
{
    struct str rest = path, name;
    str_cut(&rest, '.', &name); /* data */
    while (str_cut(&rest, '.', &name)) {
        if (name.n == 0)
            return err_set(e, "an empty name on the way");
        buf_add_char(pointer, '/');
        for (size_t i = 0; i < name.n; i++)
            buf_add_c(pointer, name.at[i] == '~'   ? "~0"
                               : name.at[i] == '/' ? "~1"
                                                   : (const char[]){ name.at[i], '\0' });
    }
    return !pointer->failed || err_set(e, "longer than %d bytes", JPOINTER_BYTES);
}

static bool template_pointer(struct template_set *set, struct template_piece *p, struct str pointer, struct err *e)
{
    int place = jpointers_add(set->pointers, pointer, e);
    if (place < 0)
        return false;
    if (jpointers_count(set->pointers) > TEMPLATE_PLACES)
        return err_set(e, "more than %d places of the data are looked at", TEMPLATE_PLACES);
    p->source = SOURCE_DATA;
    p->place = (size_t)place;
    return true;
}

static bool template_is_attribute(struct str name)
{
    size_t n = 0;
    while (n < name.n && ((name.at[n] >= 'a' && name.at[n] <= 'z') || (name.at[n] >= '0' && name.at[n] <= '9')))
        n++;
    return n == name.n && n > 0 && n <= EVENT_NAME_BYTES;
}

/* A named text of something that is no event. */
static bool template_part(const struct template_set *set, struct template_piece *p, struct str word, struct err *e)
{
    struct str name = word, group;
    str_cut(&name, '.', &group);
    for (size_t i = 0; name.n > 0 && set->world->groups[i]; i++)
        if (str_eq(group, str_of(set->world->groups[i]))) {
            p->source = SOURCE_PART;
            p->group = i;
            p->attribute = str_dup(name);
            return true;
        }
    return err_set(e, "not %s", set->world->wanted);
}

/* Is it what the data is called, or a path in it? */
static bool template_is_data(const struct template_set *set, struct str word)
{
    struct str name = str_of(set->world ? set->world->data : "data");
    return str_starts(word, name) && (word.n == name.n || word.at[name.n] == '.');
}

/* Where the value comes from. */
static bool template_operand(struct template_set *set, struct template_piece *p, struct str word, struct err *e)
{
    struct jscan_value value;
    if (word.n > 0 && word.at[0] == '"') {
        p->fallback = str_dup(word);
        return jscan_check(word, &value, e);
    }
    if (word.n > 0 && word.at[0] == '/')
        return template_pointer(set, p, word, e);
    if (template_is_data(set, word)) {
        struct buf pointer = buf_new(JPOINTER_BYTES);
        bool good = template_path(word, &pointer, e) && template_pointer(set, p, buf_str(&pointer), e);
        buf_free(&pointer);
        return good;
    }
    if (set->world)
        return template_part(set, p, word, e);
    if (str_eq(word, STR("event")))
        p->source = SOURCE_EVENT;
    else if (str_eq(word, STR("webhook.id")))
        p->source = SOURCE_WEBHOOK_ID;
    else if (template_is_attribute(word)) {
        p->source = SOURCE_ATTRIBUTE;
        p->attribute = str_dup(word);
    } else if (word.n > 0 && word.n < SHOWN && memchr(word.at, '.', word.n))
        return err_set(e, "what is in the data begins with data: {{data.%.*s}}", STR_ARG(word));
    else
        return err_set(e, "not an attribute (subject), a path (data.output.text), a JSON pointer (/output/text), event "
                          "or webhook.id");
    return true;
}

/* What follows a bar. */
static bool template_stage(struct template_piece *p, struct template_reader *r, struct err *e)
{
    struct jscan_value value;
    uint64_t cut;
    struct str word = template_word(r);
    if (str_eq(word, STR("omit")))
        p->omit = true;
    else if (str_eq(word, STR("html")))
        p->html = true;
    else if (str_eq(word, STR("cut"))) {
        template_skip_blank(r);
        if (!str_to_u64(template_word(r), &cut) || cut == 0 || cut > CUT_MOST)
            return err_set(e, "behind cut stands a number of characters, for example cut 2000");
        p->cut = (int64_t)cut;
    } else if (word.n > 0 && jscan_check(word, &value, NULL) && value.type != JSCAN_ARRAY
               && value.type != JSCAN_OBJECT) {
        if (p->fallback)
            return err_set(e, "it has another value already");
        p->fallback = str_dup(word);
    } else
        return err_set(e,
                       "behind | stands another value (\"text\", a number, true, false, null), omit, html or cut 2000");
    return true;
}

/* Reads an expression, whose braces r stands at, and what it says into p; r is then behind it. */
static bool template_expression(struct template_set *set, struct template_piece *p, struct template_reader *r,
                                struct err *e)
{
    const char *first = r->at;
    *p = (struct template_piece){ .expression = true };
    r->at += 2;
    template_skip_blank(r);
    bool good = template_operand(set, p, template_word(r), e);
    template_skip_blank(r);
    while (good && r->at < r->end && *r->at == '|') {
        r->at++;
        template_skip_blank(r);
        good = template_stage(p, r, e);
        template_skip_blank(r);
    }
    if (good && p->omit && p->fallback)
        good = err_set(e, "omit and another value exclude each other");
    if (good && !template_is_at(r, STR("}}")))
        good = err_set(e, "}} is missing");
    size_t n = (size_t)(r->at - first);
    if (!good) {
        template_free_piece(p);
        return err_prefix(e, "%.*s%s", (int)(n < SHOWN ? n : SHOWN), first, n > SHOWN ? "..." : "");
    }
    r->at += 2;
    p->n = n + 2;
    p->text = str_dup((struct str){ first, p->n });
    return true;
}

/* ---- texts ---- */

bool template_has_expressions(struct str text)
{
    return text.n > 1 && memmem(text.at, text.n, "{{", 2);
}

static struct template_piece *template_add_piece(struct template_set *set, struct template *t, struct err *e)
{
    if (++set->parts > TEMPLATE_PARTS) {
        err_set(e, "more than %d parts", TEMPLATE_PARTS);
        return NULL;
    }
    t->pieces = mem_grow(t->pieces, t->piece_count + 1, sizeof *t->pieces);
    struct template_piece *p = &t->pieces[t->piece_count++];
    *p = (struct template_piece){ 0 };
    return p;
}

static bool template_add_pieces(struct template_set *set, struct template *t, struct str text, struct err *e)
{
    struct template_reader r = { text.at, text.at + text.n };
    while (r.at < r.end) {
        struct template_piece *p = template_add_piece(set, t, e);
        if (!p)
            return false;
        if (template_is_at(&r, STR("{{"))) {
            struct template_piece read;
            if (!template_expression(set, &read, &r, e))
                return false;
            *p = read;
            continue;
        }
        const char *next = memmem(r.at, (size_t)(r.end - r.at), "{{", 2);
        p->n = (size_t)((next ? next : r.end) - r.at);
        p->text = str_dup((struct str){ r.at, p->n });
        r.at += p->n;
    }
    return true;
}

/* ---- structures ---- */

static struct template *template_node(struct template_set *set, enum template_kind kind,
                                      const struct template_where *at, struct err *e)
{
    if (++set->parts > TEMPLATE_PARTS) {
        err_set(e, "more than %d parts", TEMPLATE_PARTS);
        return template_refuse(at, e);
    }
    struct template *t = mem_alloc(sizeof *t);
    t->kind = kind;
    return t;
}

static struct template *template_literal(struct template_set *set, const json_t *json, const struct template_where *at,
                                         struct err *e)
{
    struct template *t = template_node(set, KIND_LITERAL, at, e);
    if (t) {
        t->literal = json_short(json, JSON_ENCODE_ANY | JSON_COMPACT);
        CHECK(t->literal);
    }
    return t;
}

static struct template *template_string(struct template_set *set, const json_t *json, const struct template_where *at,
                                        struct err *e)
{
    struct str text = { json_string_value(json), json_string_length(json) };
    bool bare = at->bare && text.n > 0 && text.at[0] == BARE;
    if (!template_has_expressions(text))
        return template_literal(set, json, at, e);
    struct template *t = template_node(set, KIND_STRING, at, e);
    if (!t)
        return NULL;
    if (!template_add_pieces(set, t, bare ? str_from(text, 1) : text, e)) {
        template_free(t);
        return template_refuse(at, e);
    }
    if (bare || (!at->bare && t->piece_count == 1 && t->pieces[0].expression))
        t->kind = KIND_VALUE;
    return t;
}

static struct template *template_any(struct template_set *set, const json_t *json, const struct template_where *at,
                                     struct err *e);

/* Puts what was made of an element or member into t, or gives t up as well. */
static struct template *template_adopt(struct template *t, struct template *child)
{
    if (!child) {
        template_free(t);
        return NULL;
    }
    t->below = mem_grow(t->below, t->count + 1, sizeof *t->below);
    t->below[t->count++] = child;
    return t;
}

static struct template *template_list(struct template_set *set, const json_t *json, const struct template_where *at,
                                      struct err *e)
{
    struct template *t = template_node(set, KIND_LIST, at, e);
    for (size_t i = 0; t && i < json_array_size(json); i++) {
        struct template_where here = { .up = at, .index = i, .depth = at->depth + 1, .bare = at->bare };
        t = template_adopt(t, template_any(set, json_array_get(json, i), &here, e));
    }
    return t;
}

static struct template *template_member(struct template_set *set, const char *name, const json_t *json,
                                        const struct template_where *up, struct err *e)
{
    struct template_where here = { .up = up, .key = name, .depth = up->depth + 1, .bare = up->bare };
    if (template_has_expressions(str_of(name)) || (here.bare && name[0] == BARE)) {
        err_set(e, "an expression stands for a value, not for a name");
        return template_refuse(&here, e);
    }
    struct template *t = template_any(set, json, &here, e);
    if (!t)
        return NULL;
    struct buf quoted = buf_new(6 * strlen(name) + 4);
    jscan_add_string(&quoted, str_of(name));
    buf_add_char(&quoted, ':');
    t->name = str_dup(buf_str(&quoted));
    buf_free(&quoted);
    return t;
}

static struct template *template_members(struct template_set *set, const json_t *json, const struct template_where *at,
                                         struct err *e)
{
    struct template *t = template_node(set, KIND_MEMBERS, at, e);
    for (void *i = json_object_iter((json_t *)json); i && t; i = json_object_iter_next((json_t *)json, i))
        t = template_adopt(t, template_member(set, json_object_iter_key(i), json_object_iter_value(i), at, e));
    return t;
}

static struct template *template_any(struct template_set *set, const json_t *json, const struct template_where *at,
                                     struct err *e)
{
    if (at->depth > TEMPLATE_DEPTH) {
        err_set(e, "nested deeper than %d", TEMPLATE_DEPTH);
        return template_refuse(at, e);
    }
    switch (json_typeof(json)) {
    case JSON_OBJECT: return template_members(set, json, at, e);
    case JSON_ARRAY: return template_list(set, json, at, e);
    case JSON_STRING: return template_string(set, json, at, e);
    case JSON_INTEGER:
    case JSON_REAL:
    case JSON_TRUE:
    case JSON_FALSE:
    case JSON_NULL: break;
    }
    return template_literal(set, json, at, e);
}

/* ---- a text that is JSON ---- */

/* Writes an expression of the text, at which r stands, as a string or as a part of one; r is then behind it. */
static bool template_quote(struct template_set *set, struct template_reader *r, bool in_string, struct buf *out,
                           struct err *e)
{
    struct template_piece p;
    if (!template_expression(set, &p, r, e))
        return false;
    if (!in_string)
        buf_add_c(out, "\"\\u0001");
    jscan_add_escaped(out, (struct str){ p.text, p.n });
    if (!in_string)
        buf_add_char(out, '"');
    template_free_piece(&p);
    return true;
}

/* The text as a structure: an expression outside of a string becomes a string that begins with BARE. */
static json_t *template_parse(struct template_set *set, struct str text, struct err *e)
{
    struct template_reader r = { text.at, text.at + text.n };
    struct buf out = buf_new(6 * text.n + 64);
    bool in_string = false, good = true;
    json_error_t where;
    json_t *json = NULL;
    while (good && r.at < r.end) {
        if (template_is_at(&r, STR("{{"))) {
            good = template_quote(set, &r, in_string, &out, e);
            continue;
        }
        in_string = in_string != (*r.at == '"');
        if (in_string && *r.at == '\\' && r.end - r.at > 1)
            buf_add_char(&out, *r.at++);
        buf_add_char(&out, *r.at++);
    }
    if (good) {
        json = json_loadb(buf_str(&out).at, out.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);
        if (!json)
            err_set(e, "not JSON with values for its expressions: line %d: %s", where.line, where.text);
    }
    buf_free(&out);
    return json;
}

static const struct template *template_keep(struct template_set *set, struct template *t)
{
    if (!t)
        return NULL;
    set->at = mem_grow(set->at, set->count + 1, sizeof *set->at);
    return set->at[set->count++] = t;
}

const struct template *template_of_json(struct template_set *set, const char *name, const json_t *json, struct err *e)
{
    return template_keep(set, template_any(set, json, &(struct template_where){ .key = name }, e));
}

const struct template *template_of_text(struct template_set *set, struct str text, enum template_place place,
                                        struct err *e)
{
    if (place == TEMPLATE_JSON) {
        json_t *json = template_parse(set, text, e);
        struct template *t = json ? template_any(set, json, &(struct template_where){ .bare = true }, e) : NULL;
        json_decref(json);
        return template_keep(set, t);
    }
    struct template *t = template_node(set, KIND_TEXT, NULL, e);
    if (!t)
        return NULL;
    t->place = place;
    if (template_add_pieces(set, t, text, e))
        return template_keep(set, t);
    template_free(t);
    return NULL;
}

void template_add_outline(struct buf *out, const struct template *t)
{
    for (size_t i = 0; i < t->piece_count; i++)
        if (t->pieces[i].expression)
            buf_add_c(out, "{x}");
        else
            buf_add(out, t->pieces[i].text, t->pieces[i].n);
}

void template_parts(const struct template *t, void (*each)(void *ctx, size_t group, const char *name), void *ctx)
{
    for (size_t i = 0; i < t->piece_count; i++)
        if (t->pieces[i].source == SOURCE_PART)
            each(ctx, t->pieces[i].group, t->pieces[i].attribute);
}
