/* SPDX-License-Identifier: MIT */
/* Fills structs from a mapping of the tree by option rows; everything wrong with it becomes a problem. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include "bridge/config/preset.h"
#include "bridge/config/private.h"
#include "bridge/lib/mem.h"

static void fill_value(struct fill *f, const struct option *row, const struct node *n, void *field,
                       const struct where *at);

/* ---- hints ---- */

enum { NAMES = 256 };

const char *fill_hint(struct str word, const char *const *names, char out[HINT_TEXT])
{
    const char *near = str_nearest(word, names);
    out[0] = '\0';
    if (near)
        snprintf(out, HINT_TEXT, " (did you mean %s?)", near);
    return out;
}

/* ---- one scalar ---- */

static const char *kind_name(const struct node *n)
{
    switch (n->kind) {
    case NODE_SCALAR: return node_is_null(n) ? "nothing" : "one value";
    case NODE_LIST: return "a list";
    case NODE_MAPPING: return "a mapping";
    }
    return "";
}

/* A scalar that says something, or a problem. */
static bool is_scalar(struct fill *f, const struct node *n, const struct where *at)
{
    if (n->broken)
        return false;
    if (n->kind != NODE_SCALAR)
        problem_at(f->out, n, at, "must be one value, not %s", kind_name(n));
    else if (node_is_null(n))
        problem_at(f->out, n, at, "has no value (leave the key out, or write \"\" for an empty text)");
    else
        return true;
    return false;
}

/* Is the number within the row's range? */
static bool in_range(struct fill *f, const struct option *row, const struct node *n, double value,
                     const struct where *at)
{
    char range[RANGE_TEXT];
    if (value >= (double)row->min && (value_open_range(row) || value <= (double)row->max))
        return true;
    problem_at(f->out, n, at, "%.*s is out of range: must be %s", SHOWN(n->written), value_range(row, range));
    return false;
}

static void fill_bool(struct fill *f, const struct node *n, bool *field, const struct where *at)
{
    static const char *const yes[] = { "yes", "on", "y", "1", "true", NULL }, *const no[] = { "no", "off",   "n",
                                                                                              "0",  "false", NULL };
    if (str_eq(n->text, STR("true")) || str_eq(n->text, STR("false"))) {
        *field = str_eq(n->text, STR("true"));
        return;
    }
    const char *hint = "true or false";
    for (size_t i = 0; yes[i]; i++)
        if (str_eq_nocase(n->text, str_of(yes[i])))
            hint = "true";
    for (size_t i = 0; no[i]; i++)
        if (str_eq_nocase(n->text, str_of(no[i])))
            hint = "false";
    problem_at(f->out, n, at, "\"%.*s\" is not a boolean: write %s", SHOWN(n->written), hint);
}

static void fill_int(struct fill *f, const struct option *row, const struct node *n, int64_t *field,
                     const struct where *at)
{
    int64_t value;
    if (!str_to_i64(n->text, &value))
        problem_at(f->out, n, at, "\"%.*s\" is not a whole number", SHOWN(n->written));
    else if (in_range(f, row, n, (double)value, at))
        *field = value;
}

static void fill_real(struct fill *f, const struct option *row, const struct node *n, double *field,
                      const struct where *at)
{
    char *end;
    double value = strtod(n->text.at, &end);
    bool decimal = n->text.n && strspn(n->text.at, "+-.0123456789eE") == n->text.n; /* no hex, inf, nan or spaces */
    if (!decimal || end != n->text.at + n->text.n || !isfinite(value))
        problem_at(f->out, n, at, "\"%.*s\" is not a number", SHOWN(n->written));
    else if (in_range(f, row, n, value, at))
        *field = value;
}

static void fill_duration(struct fill *f, const struct option *row, const struct node *n, struct duration *field,
                          const struct where *at)
{
    int64_t ms;
    if (!value_duration(n->text, &ms))
        problem_at(f->out, n, at, "\"%.*s\" is not a duration (examples: 250ms 30s 5m 2h 7d)", SHOWN(n->written));
    else if (in_range(f, row, n, (double)ms, at))
        field->ms = ms;
}

static void fill_bytes(struct fill *f, const struct option *row, const struct node *n, struct bytes *field,
                       const struct where *at)
{
    int64_t bytes;
    if (!value_bytes(n->text, &bytes))
        problem_at(f->out, n, at, "\"%.*s\" is not a size (examples: 500B 64KiB 1MiB 2GiB)", SHOWN(n->written));
    else if (in_range(f, row, n, (double)bytes, at))
        field->n = bytes;
}

/* Which of the row's names the text is: its index, 0 when the row takes any, -1 with a problem. */
static int fill_choice(struct fill *f, const struct option *row, const struct node *n, const struct where *at)
{
    char hint[HINT_TEXT];
    struct value_names names;
    if (!value_names(row, &names))
        return 0;
    for (int i = 0; names.at[i]; i++)
        if (str_eq(n->text, str_of(names.at[i])))
            return i;
    struct buf b = buf_new(1024);
    for (size_t i = 0; names.at[i]; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", names.at[i]);
    problem_at(f->out, n, at, "\"%.*s\" is not one of %.*s%s", SHOWN(n->written), STR_ARG(buf_str(&b)),
               fill_hint(n->text, names.at, hint));
    buf_free(&b);
    return -1;
}

static void fill_text(struct fill *f, const struct option *row, const struct node *n, char **field,
                      const struct where *at)
{
    if (fill_choice(f, row, n, at) >= 0)
        *field = arena_text(f->arena, n->text);
}

static void fill_enum(struct fill *f, const struct option *row, const struct node *n, void *field,
                      const struct where *at)
{
    CHECK(row->values);
    int i = fill_choice(f, row, n, at);
    if (i >= 0)
        memcpy(field, &row->values[i].value, sizeof row->values[i].value);
}

static void fill_secret(struct fill *f, const struct node *n, struct secret *field, const struct where *at)
{
    if (n->text.n == 0)
        problem_at(f->out, n, at, "is empty: a secret must have at least one character");
    else
        field->text = arena_text(f->arena, n->text);
}

/* ---- lists and mappings of scalars ---- */

/* Is n a list of as many elements as the row allows? Null counts as an empty one. */
static bool is_list(struct fill *f, const struct option *row, const struct node *n, const struct where *at)
{
    if (n->broken)
        return false;
    if (n->kind != NODE_LIST && !node_is_null(n)) {
        problem_at(f->out, n, at, "must be a list ([a, b]), not %s", kind_name(n));
        return false;
    }
    char range[RANGE_TEXT];
    int64_t count = (int64_t)n->count;
    if (count >= row->min && (value_open_range(row) || count <= row->max))
        return true;
    problem_at(f->out, n, at, "has %" PRId64 " entries: must be %s", count, value_range(row, range));
    return false;
}

/* Fills a list of `size` bytes an element, each by a row of `type`; struct strings, secrets, durations and list are
 * all alike. */
static void fill_list(struct fill *f, const struct option *row, enum option_type type, size_t size,
                      const struct node *n, struct list *field, const struct where *at)
{
    if (!is_list(f, row, n, at))
        return;
    struct option element = { .key = row->key, .type = type, .choices = row->choices, .of = row->of };
    field->at = arena_alloc(f->arena, n->count * size);
    field->count = n->count;
    for (size_t i = 0; i < n->count; i++) {
        struct where inside = { .up = at, .index = i };
        fill_value(f, &element, n->at[i].value, (char *)field->at + i * size, &inside);
    }
}

bool fill_is_mapping(struct fill *f, const struct node *n, const struct where *at)
{
    if (n->broken)
        return false;
    if (n->kind == NODE_MAPPING || node_is_null(n))
        return true;
    problem_at(f->out, n, at, "must be a mapping (key: value), not %s", kind_name(n));
    return false;
}

static void fill_map(struct fill *f, const struct node *n, struct map *field, const struct where *at)
{
    if (!fill_is_mapping(f, n, at))
        return;
    field->at = arena_alloc(f->arena, n->count * sizeof *field->at);
    for (size_t i = 0; i < n->count; i++) {
        struct where inside = { .up = at, .key = n->at[i].key->written };
        if (!is_scalar(f, n->at[i].value, &inside))
            continue;
        field->at[field->count++] = (struct map_entry){ arena_text(f->arena, n->at[i].key->text),
                                                        arena_text(f->arena, n->at[i].value->text) };
    }
}

/* ---- filters ---- */

static json_t *to_json(const struct node *n)
{
    switch (n->kind) {
    case NODE_SCALAR: return node_is_null(n) ? json_null() : json_stringn(n->text.at, n->text.n); /* NULL: not UTF-8 */
    case NODE_LIST: {
        json_t *list = json_array();
        for (size_t i = 0; i < n->count; i++)
            json_array_append_new(list, to_json(n->at[i].value));
        return list;
    }
    case NODE_MAPPING: {
        json_t *object = json_object();
        for (size_t i = 0; i < n->count; i++)
            json_object_set_new(object, n->at[i].key->text.at, to_json(n->at[i].value));
        return object;
    }
    }
    return NULL;
}

static bool is_whole(const struct node *n)
{
    bool whole = !n->broken;
    for (size_t i = 0; i < n->count; i++)
        whole = whole && is_whole(n->at[i].value);
    return whole;
}

static void free_filter(void *filter)
{
    filter_free(filter);
}

static void fill_filter(struct fill *f, const struct node *n, struct filter **field, const struct where *at)
{
    if (!is_whole(n))
        return;
    struct err e = { 0 };
    json_t *json = to_json(n);
    *field = json ? filter_new(json, &e) : NULL;
    json_decref(json);
    if (*field)
        arena_keep(f->arena, *field, free_filter);
    else
        problem_at(f->out, n, at, "%s", e.text[0] ? e.text : "is not UTF-8");
}

/* ---- presets ---- */

/* Fills the struct from the text of a preset; of all that is wrong with it, the first problem is said at `n`. */
static void fill_preset_content(struct fill *f, const struct option *row, const char *file, struct str text,
                                void *content, const struct node *n, const struct where *at)
{
    struct arena tree = { 0 };
    struct problems problems = { 0 };
    struct fill inner = { f->arena, &problems };
    const struct node *root = tree_load(&tree, file, text, &problems);
    if (root && fill_is_mapping(&inner, root, NULL))
        fill_mapping(&inner, root, &(struct part){ row->of, content }, 1, NULL, NULL);
    problems_sort(&problems, &file, 1);
    if (problems.count)
        problem_at(f->out, n, at, "%s:%d:%d: %s", problems.at[0].file, problems.at[0].line, problems.at[0].column,
                   problems.at[0].text);
    problems_free(&problems);
    arena_free(&tree);
}

static void fill_preset(struct fill *f, const struct option *row, const struct node *n, struct preset *field,
                        const struct where *at)
{
    struct err e;
    char file[PRESET_FILE];
    struct buf text = buf_new(PRESET_BYTES + 1);
    field->name = arena_text(f->arena, n->text);
    if (!n->text.n)
        return;
    field->content = arena_alloc(f->arena, row->of_size);
    if (preset_find(field->name, &text, file, &e))
        fill_preset_content(f, row, file, buf_str(&text), field->content, n, at);
    else
        problem_at(f->out, n, at, "%s", e.text);
    buf_free(&text);
}

/* ---- rows ---- */

static void fill_value(struct fill *f, const struct option *row, const struct node *n, void *field,
                       const struct where *at)
{
    switch (row->type) {
    case OPT_STRINGS: fill_list(f, row, OPT_STR, sizeof(char *), n, field, at); return;
    case OPT_SECRETS: fill_list(f, row, OPT_SECRET, sizeof(struct secret), n, field, at); return;
    case OPT_DURATIONS: fill_list(f, row, OPT_DURATION, sizeof(struct duration), n, field, at); return;
    case OPT_LIST: fill_list(f, row, OPT_GROUP, row->of_size, n, field, at); return;
    case OPT_MAP: fill_map(f, n, field, at); return;
    case OPT_FILTER: fill_filter(f, n, field, at); return;
    case OPT_GROUP:
        if (fill_is_mapping(f, n, at))
            fill_mapping(f, n, &(struct part){ row->of, field }, 1, NULL, at);
        return;
    case OPT_BOOL:
    case OPT_INT:
    case OPT_REAL:
    case OPT_STR:
    case OPT_SECRET:
    case OPT_ENUM:
    case OPT_DURATION:
    case OPT_BYTES:
    case OPT_PRESET: break;
    }
    if (!is_scalar(f, n, at))
        return;
    switch (row->type) {
    case OPT_BOOL: fill_bool(f, n, field, at); return;
    case OPT_INT: fill_int(f, row, n, field, at); return;
    case OPT_REAL: fill_real(f, row, n, field, at); return;
    case OPT_STR: fill_text(f, row, n, field, at); return;
    case OPT_SECRET: fill_secret(f, n, field, at); return;
    case OPT_ENUM: fill_enum(f, row, n, field, at); return;
    case OPT_DURATION: fill_duration(f, row, n, field, at); return;
    case OPT_BYTES: fill_bytes(f, row, n, field, at); return;
    case OPT_PRESET: fill_preset(f, row, n, field, at); return;
    case OPT_STRINGS:
    case OPT_SECRETS:
    case OPT_DURATIONS:
    case OPT_MAP:
    case OPT_FILTER:
    case OPT_LIST:
    case OPT_GROUP: return;
    }
}

/* A default goes through the same code as a value; one that does not fit is a mistake in the table. */
static void fill_fallback(struct fill *f, const struct option *row, void *field)
{
    if (row->type == OPT_GROUP) {
        fill_mapping(f, NULL, &(struct part){ row->of, field }, 1, NULL, NULL);
        return;
    }
    if (!row->fallback)
        return;
    struct arena scratch = { 0 };
    struct problems none = { 0 };
    struct fill inner = { f->arena, &none };
    struct str text = str_of(row->fallback);
    struct node scalar = { .kind = NODE_SCALAR, .file = "", .written = text, .text = text };
    bool nested = text.n && (text.at[0] == '[' || text.at[0] == '{') && row->type != OPT_STR;
    const struct node *n = nested ? tree_load(&scratch, "", text, &none) : &scalar;
    if (n)
        fill_value(&inner, row, n, field, NULL);
    CHECK(none.count == 0);
    arena_free(&scratch);
}

static const struct option *find_row(const struct part *parts, size_t count, struct str key)
{
    for (size_t i = 0; i < count; i++)
        for (const struct option *row = parts[i].rows; row->key; row++)
            if (str_eq(key, str_of(row->key)))
                return row;
    return NULL;
}

static bool is_other(const char *const *others, struct str key)
{
    for (; others && *others; others++)
        if (str_eq(key, str_of(*others)))
            return true;
    return false;
}

static void unknown_key(struct fill *f, const struct part *parts, size_t count, const char *const *others,
                        const struct node *key, const struct where *at)
{
    const char *names[NAMES];
    char hint[HINT_TEXT];
    size_t known = 0;
    for (; others && *others && known < NAMES - 1; others++)
        names[known++] = *others;
    for (size_t i = 0; i < count; i++)
        for (const struct option *row = parts[i].rows; row->key && known < NAMES - 1; row++)
            names[known++] = row->key;
    names[known] = NULL;
    problem_at(f->out, key, at, "unknown key \"%.*s\"%s", SHOWN(key->written), fill_hint(key->text, names, hint));
}

static void fill_row(struct fill *f, const struct option *row, const struct node *n, void *obj, const struct where *at)
{
    void *field = (char *)obj + row->offset;
    struct node *value = n ? node_get(n, row->key) : NULL;
    struct where inside = { .up = at, .key = str_of(row->key) };
    if (value) {
        fill_value(f, row, value, field, &inside);
        return;
    }
    if (row->required && n)
        problem_at(f->out, n, &inside, "is missing%s%s", row->doc ? ": " : "", row->doc ? row->doc : "");
    fill_fallback(f, row, field);
}

void fill_mapping(struct fill *f, const struct node *n, const struct part *parts, size_t count,
                  const char *const *others, const struct where *at)
{
    for (size_t i = 0; n && i < n->count; i++) {
        const struct node *key = n->at[i].key;
        if (!find_row(parts, count, key->text) && !is_other(others, key->text))
            unknown_key(f, parts, count, others, key, at);
    }
    for (size_t i = 0; i < count; i++)
        for (const struct option *row = parts[i].rows; row->key; row++)
            fill_row(f, row, n, parts[i].obj, at);
}

const struct option *option_find(const struct option *rows, const char *key, enum option_type type)
{
    for (const struct option *row = rows; row->key; row++)
        if (row->type == type && strcmp(row->key, key) == 0)
            return row;
    return NULL;
}

bool config_fill(const char *file, struct str yaml, const struct option *rows, void *obj, struct config *c,
                 struct problems *out)
{
    static struct arena until_exit;
    struct arena tree = { 0 };
    struct fill f = { c ? c->arena : &until_exit, out };
    struct node *n = tree_load(&tree, file, yaml, out);
    if (n && fill_is_mapping(&f, n, NULL))
        fill_mapping(&f, n, &(struct part){ rows, obj }, 1, NULL, NULL);
    arena_free(&tree);
    problems_sort(out, &file, 1);
    return out->count == 0;
}
