/* SPDX-License-Identifier: MIT */
/* Fills structs from a mapping of the tree by option rows; everything wrong with it becomes a problem. */
#include <inttypes.h>
#include <stdlib.h>
#include "bridge/config/preset.h"
#include "bridge/config/private.h"
#include "bridge/lib/expand.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

static void fill_value(struct fill *f, const struct option *row, const struct node *n, void *field,
                       const struct where *at);

enum { NAMES = 256 };

/* ---- lists and mappings of scalars ---- */

/* Is it what a variable says and no YAML, where a text will not do? */
static bool fill_is_no_yaml(struct fill *f, const struct node *n, const struct where *at)
{
    if (n->no_yaml)
        problem_at(f->out, n, at, "%s", n->no_yaml);
    return n->no_yaml;
}

/* Is n a list of as many elements as the row allows? Null counts as an empty one. */
static bool fill_is_list(struct fill *f, const struct option *row, const struct node *n, const struct where *at)
{
    if (n->broken || fill_is_no_yaml(f, n, at))
        return false;
    if (n->kind != NODE_LIST && !node_is_null(n)) {
        problem_at(f->out, n, at, "must be a list ([a, b]), not %s", node_kind_name(n));
        return false;
    }
    char range[RANGE_TEXT];
    int64_t count = (int64_t)n->count;
    if (count >= row->min && (value_open_range(row) || count <= row->max))
        return true;
    problem_at(f->out, n, at, "has %" PRId64 " entries: must be %s", count, value_range(row, range));
    return false;
}

/* Is it a mapping, and no secret of a variable that looks like one? */
static bool fill_is_group(const struct option *rows, const struct node *n)
{
    bool known = !n->text.at;
    for (const struct option *row = rows; row->key; row++)
        known = known || node_get(n, row->key);
    return n->kind == NODE_MAPPING && known;
}

/* Fills a list of `size` bytes an element, each by a row of `type`; struct strings, secrets, durations and list are
 * all alike. */
static void fill_list(struct fill *f, const struct option *row, enum option_type type, size_t size,
                      const struct node *n, struct list *field, const struct where *at)
{
    if (!fill_is_list(f, row, n, at))
        return;
    struct option element = { .key = row->key, .type = type, .values = row->values, .of = row->of };
    field->at = arena_alloc(f->arena, n->count * size);
    field->count = n->count;
    for (size_t i = 0; i < n->count; i++) {
        struct where inside = { .up = at, .index = i };
        if (type == OPT_SECRET && row->of)
            element.type = fill_is_group(row->of, n->at[i].value) ? OPT_GROUP : OPT_SECRET;
        fill_value(f, &element, n->at[i].value, (char *)field->at + i * size, &inside);
    }
}

bool fill_is_mapping(struct fill *f, const struct node *n, const struct where *at)
{
    if (n->broken || fill_is_no_yaml(f, n, at))
        return false;
    if (n->kind == NODE_MAPPING || node_is_null(n))
        return true;
    problem_at(f->out, n, at, "must be a mapping (key: value), not %s", node_kind_name(n));
    return false;
}

static void fill_map(struct fill *f, const struct node *n, struct map *field, const struct where *at)
{
    if (!fill_is_mapping(f, n, at))
        return;
    field->at = arena_alloc(f->arena, n->count * sizeof *field->at);
    for (size_t i = 0; i < n->count; i++) {
        struct where inside = { .up = at, .key = n->at[i].key->written };
        if (!scalar_check(f, n->at[i].value, &inside) || !scalar_check_secret(f, n->at[i].value, &inside))
            continue;
        const struct node *value = n->at[i].value;
        struct str rest = value->written, path;
        bool of_file = expand_next_file(&rest, &path);
        field->at[field->count++] = (struct map_entry){ arena_text(f->arena, n->at[i].key->text),
                                                        arena_text(f->arena, value->text),
                                                        of_file ? arena_text(f->arena, value->written) : NULL };
    }
}

/* ---- filters ---- */

json_t *fill_json(const struct node *n)
{
    switch (n->kind) {
    case NODE_SCALAR: return node_is_null(n) ? json_null() : json_stringn(n->text.at, n->text.n); /* NULL: not UTF-8 */
    case NODE_LIST: {
        json_t *list = json_array();
        for (size_t i = 0; i < n->count; i++)
            json_array_append_new(list, fill_json(n->at[i].value));
        return list;
    }
    case NODE_MAPPING: {
        json_t *object = json_object();
        for (size_t i = 0; i < n->count; i++)
            json_object_set_new(object, n->at[i].key->text.at, fill_json(n->at[i].value));
        return object;
    }
    }
    return NULL;
}

/* Is nothing below it broken? */
static bool fill_is_sound(const struct node *n)
{
    bool sound = !n->broken;
    for (size_t i = 0; i < n->count; i++)
        sound = sound && fill_is_sound(n->at[i].value);
    return sound;
}

static void fill_free_filter(void *filter)
{
    filter_free(filter);
}

static void fill_filter(struct fill *f, const struct node *n, struct filter **field, const struct where *at)
{
    if (!fill_is_sound(n) || fill_is_no_yaml(f, n, at))
        return;
    struct err e = { 0 };
    json_t *json = fill_json(n);
    *field = json ? filter_new(json, &e) : NULL;
    json_decref(json);
    if (*field)
        arena_keep(f->arena, *field, fill_free_filter);
    else
        problem_at(f->out, n, at, "%s", e.text[0] ? e.text : "is not UTF-8");
}

/* ---- trees ---- */

/* A scalar that is written without quotes may be more than text. */
static json_t *fill_plain(struct str text)
{
    if (str_eq(text, STR("true")) || str_eq(text, STR("false")) || (text.n && strchr("-0123456789", text.at[0]))) {
        json_t *json = json_loadb(text.at, text.n, JSON_DECODE_ANY, NULL);
        if (json)
            return json;
    }
    return json_stringn(text.at, text.n);
}

/* NULL: it is not UTF-8, or a problem was said. */
static json_t *fill_typed(struct fill *f, const struct node *n, const struct where *at)
{
    if (n->kind == NODE_SCALAR) {
        if (node_is_null(n))
            return json_null();
        if (!scalar_check_secret(f, n, at))
            return NULL;
        return n->plain ? fill_plain(n->text) : json_stringn(n->text.at, n->text.n);
    }
    json_t *json = n->kind == NODE_LIST ? json_array() : json_object();
    for (size_t i = 0; i < n->count; i++) {
        const struct entry *entry = &n->at[i];
        struct where inside = { .up = at, .key = entry->key ? entry->key->written : STR_ABSENT, .index = i };
        json_t *value = fill_typed(f, entry->value, &inside);
        bool added = value
                     && (entry->key ? json_object_set_new(json, entry->key->text.at, value)
                                    : json_array_append_new(json, value))
                            == 0;
        if (!added) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

static void fill_tree(struct fill *f, const struct option *row, const struct node *n, struct tree *field,
                      const struct where *at)
{
    size_t before = f->out->count;
    if (!fill_is_sound(n))
        return;
    bool word = row->values && n->kind == NODE_SCALAR && !memmem(n->text.at, n->text.n, "{{", 2);
    if (word) {
        int value;
        struct option of_values = { .key = row->key, .type = OPT_ENUM, .values = row->values };
        scalar_fill(f, &of_values, n, &value, at);
        if (f->out->count > before)
            return;
    }
    json_t *json = fill_typed(f, n, at);
    char *text = json ? json_short(json, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    if (text)
        field->json = arena_text(f->arena, str_of(text));
    else if (f->out->count == before)
        problem_at(f->out, n, at, "is not UTF-8");
    json_decref(json);
    free(text);
}

/* ---- presets ---- */

/* Fills the struct from the text of a preset; of all that is wrong with it, the first problem is said at `n`. */
static void fill_preset_content(struct fill *f, const struct option *row, const char *file, struct str text,
                                void *content, const struct node *n, const struct where *at)
{
    struct arena tree = { 0 };
    struct problems problems = { 0 };
    struct fill inner = { f->arena, &problems, NULL };
    const struct node *root = tree_load(&tree, file, text, &problems);
    if (root && fill_is_mapping(&inner, root, NULL))
        fill_mapping(&inner, root, &(struct fill_target){ row->of, content, NULL }, 1, NULL, NULL);
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
    if (!scalar_check(f, n, at))
        return;
    field->name = arena_text(f->arena, n->text);
    if (!n->text.n)
        return;
    field->content = arena_alloc(f->arena, row->of_size);
    if (preset_find(row->folder ? row->folder : PRESET_FOLDER, field->name, &text, file, &e))
        fill_preset_content(f, row, file, buf_str(&text), field->content, n, at);
    else
        problem_at(f->out, n, at, "%s", e.text);
    buf_free(&text);
}

/* ---- rows ---- */

/* A list, or a word that stands for one. */
static void fill_durations(struct fill *f, const struct option *row, const struct node *n, void *field,
                           const struct where *at)
{
    struct arena scratch = { 0 };
    struct problems none = { 0 };
    for (const struct option_word *w = row->words; w && w->text && n->kind == NODE_SCALAR; w++)
        if (str_eq(n->text, str_of(w->text))) {
            n = tree_load(&scratch, "", str_of(w->list), &none);
            CHECK(n);
        }
    fill_list(f, row, OPT_DURATION, sizeof(struct duration), n, field, at);
    arena_free(&scratch);
}

static void fill_value(struct fill *f, const struct option *row, const struct node *n, void *field,
                       const struct where *at)
{
    switch (row->type) {
    case OPT_BOOL:
    case OPT_INT:
    case OPT_REAL:
    case OPT_STR:
    case OPT_SECRET:
    case OPT_ENUM:
    case OPT_DURATION:
    case OPT_MOMENT:
    case OPT_BYTES: scalar_fill(f, row, n, field, at); return;
    case OPT_STRINGS: fill_list(f, row, OPT_STR, sizeof(char *), n, field, at); return;
    case OPT_SECRETS: fill_list(f, row, OPT_SECRET, sizeof(struct secret), n, field, at); return;
    case OPT_DURATIONS: fill_durations(f, row, n, field, at); return;
    case OPT_MAP: fill_map(f, n, field, at); return;
    case OPT_FILTER: fill_filter(f, n, field, at); return;
    case OPT_PRESET: fill_preset(f, row, n, field, at); return;
    case OPT_TREE: fill_tree(f, row, n, field, at); return;
    case OPT_DEFAULTS: scalar_fill(f, &(struct option){ .key = row->key, .type = OPT_STR }, n, field, at); return;
    case OPT_LIST: fill_list(f, row, OPT_GROUP, row->of_size, n, field, at); return;
    case OPT_GROUP:
        if (fill_is_mapping(f, n, at))
            fill_mapping(f, n, &(struct fill_target){ row->of, field, NULL }, 1, NULL, at);
    }
}

/* A default goes through the same code as a value; one that does not fit is a mistake in the table. */
static void fill_fallback(struct fill *f, const struct option *row, void *field, const struct where *at)
{
    if (row->type == OPT_GROUP) {
        fill_mapping(f, NULL, &(struct fill_target){ row->of, field, NULL }, 1, NULL, at);
        return;
    }
    if (!row->fallback)
        return;
    struct arena scratch = { 0 };
    struct problems none = { 0 };
    struct fill inner = { f->arena, &none, NULL };
    struct str text = str_of(row->fallback);
    struct node scalar = { .kind = NODE_SCALAR, .file = "", .written = text, .text = text };
    bool nested = text.n && (text.at[0] == '[' || text.at[0] == '{') && row->type != OPT_STR;
    const struct node *n = nested ? tree_load(&scratch, "", text, &none) : &scalar;
    if (n)
        fill_value(&inner, row, n, field, NULL);
    CHECK(none.count == 0);
    arena_free(&scratch);
}

static const struct option *fill_find_row(const struct fill_target *targets, size_t count, struct str key)
{
    for (size_t i = 0; i < count; i++)
        for (const struct option *row = targets[i].rows; row->key; row++)
            if (str_eq(key, str_of(row->key)))
                return row;
    return NULL;
}

static bool fill_is_other(const char *const *others, struct str key)
{
    for (; others && *others; others++)
        if (str_eq(key, str_of(*others)))
            return true;
    return false;
}

static void fill_say_unknown(struct fill *f, const struct fill_target *targets, size_t count, const char *const *others,
                             const struct node *key, const struct where *at)
{
    const char *names[NAMES];
    char hint[HINT_TEXT];
    size_t known = 0;
    for (; others && *others && known < NAMES - 1; others++)
        names[known++] = *others;
    for (size_t i = 0; i < count; i++)
        for (const struct option *row = targets[i].rows; row->key && known < NAMES - 1; row++)
            names[known++] = row->key;
    names[known] = NULL;
    problem_at(f->out, key, at, "unknown key \"%.*s\"%s", SHOWN(key->written), problem_hint(key->text, names, hint));
}

static const struct option *fill_defaults_row(const struct option *rows)
{
    while (rows->key && rows->type != OPT_DEFAULTS)
        rows++;
    return rows->key ? rows : NULL;
}

/* The file that an OPT_DEFAULTS row of the targets names, as a tree in `tree`; NULL: none is named, or a problem was said. */
static const struct node *fill_load_defaults(struct fill *f, const struct node *n, const struct fill_target *targets,
                                             size_t count, const struct where *at, struct arena *tree)
{
    const struct option *row = NULL;
    const struct node *name = NULL;
    for (size_t i = 0; i < count && !row; i++) {
        row = fill_defaults_row(targets[i].rows);
        name = row ? node_get(n, row->key) : NULL;
        if (row && !name && targets[i].defaults)
            name = node_get(targets[i].defaults, row->key);
    }
    struct err e;
    char file[PRESET_FILE];
    struct where inside = { .up = at, .key = name ? str_of(row->key) : STR_ABSENT };
    if (!name || name->kind != NODE_SCALAR || name->broken || name->text.n == 0)
        return NULL; /* what is wrong with it is said where it is filled */
    struct buf text = buf_new(PRESET_BYTES + 1);
    const struct node *root = NULL;
    if (preset_find(row->folder, arena_text(tree, name->text), &text, file, &e))
        root = tree_load(tree, arena_text(tree, str_of(file)), buf_str(&text), f->out);
    else
        problem_at(f->out, name, &inside, "%s", e.text);
    buf_free(&text);
    return root && fill_is_mapping(f, root, at) ? root : NULL;
}

/* Has each key a row, which is no OPT_DEFAULTS itself? `about` is for people. */
static void fill_check_defaults(struct fill *f, const struct node *base, const struct fill_target *targets,
                                size_t count, const struct where *at)
{
    static const char *const others[] = { "about", NULL };
    for (size_t i = 0; base && i < base->count; i++) {
        const struct node *key = base->at[i].key;
        const struct option *row = fill_find_row(targets, count, key->text);
        if (row && row->type == OPT_DEFAULTS)
            problem_at(f->out, key, at, "has no use in such a file: \"%.*s\"", SHOWN(key->written));
        else if (!row && !fill_is_other(others, key->text))
            fill_say_unknown(f, targets, count, others, key, at);
    }
}

/* `base`: of a file that holds defaults; NULL: none. */
static void fill_row(struct fill *f, const struct option *row, const struct node *n, const struct fill_target *target,
                     const struct node *base, const struct where *at)
{
    void *field = (char *)target->obj + row->offset;
    struct node *value = n ? node_get(n, row->key) : NULL;
    if (!value && target->defaults && !row->own)
        value = node_get(target->defaults, row->key);
    if (!value && base)
        value = node_get(base, row->key);
    struct where inside = { .up = at, .key = str_of(row->key) };
    view_row(f, row, value, &inside);
    if (value) {
        fill_value(f, row, value, field, &inside);
        return;
    }
    if (row->required && n)
        problem_at(f->out, n, &inside, "is missing%s%s", row->doc ? ": " : "", row->doc ? row->doc : "");
    fill_fallback(f, row, field, &inside);
}

void fill_mapping(struct fill *f, const struct node *n, const struct fill_target *targets, size_t count,
                  const char *const *others, const struct where *at)
{
    for (size_t i = 0; n && i < n->count; i++) {
        const struct node *key = n->at[i].key;
        if (!fill_find_row(targets, count, key->text) && !fill_is_other(others, key->text))
            fill_say_unknown(f, targets, count, others, key, at);
    }
    struct arena tree = { 0 };
    const struct node *base = n ? fill_load_defaults(f, n, targets, count, at, &tree) : NULL;
    fill_check_defaults(f, base, targets, count, at);
    for (size_t i = 0; i < count; i++)
        for (const struct option *row = targets[i].rows; row->key; row++)
            fill_row(f, row, n, &targets[i], base, at);
    arena_free(&tree);
}

const struct option *option_find(const struct option *rows, const char *key, enum option_type type)
{
    for (const struct option *row = rows; row->key; row++)
        if (row->type == type && strcmp(row->key, key) == 0)
            return row;
    return NULL;
}
