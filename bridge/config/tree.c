/* SPDX-License-Identifier: MIT */
/* YAML text to a tree in which every node knows its file, line and column; aliases, merge keys and several files
 * resolved. */
#include <ctype.h>
#include <stdlib.h>
#include <yaml.h>
#include "bridge/config/private.h"
#include "bridge/lib/expand.h"

struct reader {
    struct arena *arena;
    yaml_document_t *doc;
    const char *file;
    struct problems *out;
    size_t visited;
    bool failed; /* too deep or too many: give up */
    bool part;   /* what cannot be expanded is told by node.why only */
};

bool node_is_null(const struct node *n)
{
    return n->kind == NODE_SCALAR && n->plain
           && (n->text.n == 0 || str_eq(n->text, STR("~")) || str_eq(n->text, STR("null")));
}

const char *node_kind_name(const struct node *n)
{
    switch (n->kind) {
    case NODE_SCALAR: return node_is_null(n) ? "nothing" : "one value";
    case NODE_LIST: return "a list";
    case NODE_MAPPING: return "a mapping";
    }
    return "";
}

static struct entry *tree_find(const struct node *mapping, struct str key)
{
    for (size_t i = 0; mapping && mapping->kind == NODE_MAPPING && i < mapping->count; i++)
        if (str_eq(mapping->at[i].key->text, key))
            return &mapping->at[i];
    return NULL;
}

struct node *node_get(const struct node *mapping, const char *key)
{
    const struct entry *found = tree_find(mapping, str_of(key));
    return found ? found->value : NULL;
}

static void tree_append(struct arena *a, struct node *to, struct node *key, struct node *value)
{
    if (to->count == to->cap) {
        to->cap = to->cap ? to->cap * 2 : 8;
        struct entry *bigger = arena_alloc(a, to->cap * sizeof *bigger);
        if (to->count)
            memcpy(bigger, to->at, to->count * sizeof *bigger);
        to->at = bigger;
    }
    to->at[to->count++] = (struct entry){ key, value };
}

/* ---- one document ---- */

static void tree_expand(struct reader *r, struct node *n)
{
    if (n->text.n < 2 || !memmem(n->text.at, n->text.n, "${", 2))
        return;
    struct buf b = buf_new(CONFIG_FILE_BYTES);
    struct err e, exposed = { "" };
    if (expand_text(n->written, &b, &exposed, &e)) {
        n->text = (struct str){ arena_text(r->arena, buf_str(&b)), b.n };
        n->exposed = exposed.text[0] ? arena_text(r->arena, str_of(exposed.text)) : NULL;
    } else {
        n->broken = true;
        if (r->part)
            n->why = arena_text(r->arena, str_of(e.text));
        else
            problem_add(r->out, n->file, n->line, n->column, "%s", e.text);
    }
    if (b.at)
        explicit_bzero(b.at, b.n);
    buf_free(&b);
}

static void tree_scalar(struct reader *r, struct node *n, const yaml_node_t *y)
{
    struct str s = { (const char *)y->data.scalar.value, y->data.scalar.length };
    n->plain = y->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    n->written = n->text = (struct str){ arena_text(r->arena, s), s.n };
    tree_expand(r, n);
    if (!n->broken && n->text.n && memchr(n->text.at, '\0', n->text.n)) {
        problem_add(r->out, n->file, n->line, n->column, "contains a NUL character");
        n->broken = true;
    }
}

static void tree_give_up(struct reader *r, const struct node *n, const char *fmt, int limit)
{
    if (!r->failed)
        problem_add(r->out, n->file, n->line, n->column, fmt, limit);
    r->failed = true;
}

static struct node *tree_convert(struct reader *r, int index, int depth);

static bool tree_is_merge_key(const struct node *key)
{
    return key->plain && str_eq(key->written, STR("<<"));
}

/* The value of `<<`: a mapping or a list of them; keys that are there already win. */
static void tree_merge_key(struct reader *r, struct node *into, const struct node *from)
{
    if (from->kind == NODE_LIST) {
        for (size_t i = 0; i < from->count && !r->failed; i++)
            tree_merge_key(r, into, from->at[i].value);
        return;
    }
    if (from->kind != NODE_MAPPING) {
        problem_add(r->out, from->file, from->line, from->column, "<< merges a mapping, usually an alias (<<: *name)");
        return;
    }
    for (size_t i = 0; i < from->count; i++)
        if (!tree_find(into, from->at[i].key->text))
            tree_append(r->arena, into, from->at[i].key, from->at[i].value);
    if (into->count > CONFIG_KEYS)
        tree_give_up(r, into, "has more than %d keys", CONFIG_KEYS);
}

static void tree_pair(struct reader *r, struct node *n, struct node *key, struct node *value)
{
    if (key->kind != NODE_SCALAR) {
        problem_add(r->out, key->file, key->line, key->column,
                    "a key must be plain text (a value that begins with { stands in quotes: \"{{body.id}}\")");
        return;
    }
    const struct entry *before = tree_find(n, key->text);
    if (before) {
        problem_add(r->out, key->file, key->line, key->column, "duplicate key \"%.*s\", first at line %d",
                    SHOWN(key->written), before->key->line);
        return;
    }
    tree_append(r->arena, n, key, value);
}

static void tree_mapping(struct reader *r, struct node *n, const yaml_node_t *y, int depth)
{
    const yaml_node_pair_t *start = y->data.mapping.pairs.start, *top = y->data.mapping.pairs.top;
    struct node merges = { .kind = NODE_LIST }; /* last, so that the mapping's own keys win wherever << stands */
    if (top - start > CONFIG_KEYS) {
        tree_give_up(r, n, "has more than %d keys", CONFIG_KEYS);
        return;
    }
    for (const yaml_node_pair_t *p = start; p < top && !r->failed; p++) {
        struct node *key = tree_convert(r, p->key, depth + 1), *value = tree_convert(r, p->value, depth + 1);
        if (tree_is_merge_key(key))
            tree_append(r->arena, &merges, NULL, value);
        else
            tree_pair(r, n, key, value);
    }
    tree_merge_key(r, n, &merges);
}

static void tree_list(struct reader *r, struct node *n, const yaml_node_t *y, int depth)
{
    for (const yaml_node_item_t *i = y->data.sequence.items.start; i < y->data.sequence.items.top && !r->failed; i++)
        tree_append(r->arena, n, NULL, tree_convert(r, *i, depth + 1));
}

/* Aliases share an anchor's node in the document; here each becomes a copy, so CONFIG_NODES is what bounds them. */
static struct node *tree_convert(struct reader *r, int index, int depth)
{
    const yaml_node_t *y = yaml_document_get_node(r->doc, index);
    struct node *n = arena_alloc(r->arena, sizeof *n);
    *n = (struct node){ .kind = NODE_SCALAR,
                        .file = r->file,
                        .line = (int)y->start_mark.line + 1,
                        .column = (int)y->start_mark.column + 1 };
    if (++r->visited > CONFIG_NODES)
        tree_give_up(r, n, "grows to more than %d values once aliases are followed", CONFIG_NODES);
    if (depth > CONFIG_DEPTH)
        tree_give_up(r, n, "nests deeper than %d levels", CONFIG_DEPTH);
    if (r->failed)
        return n;
    if (y->tag && !str_starts(str_of((const char *)y->tag), STR("tag:yaml.org,2002:")))
        problem_add(r->out, n->file, n->line, n->column, "tag %s is not supported", (const char *)y->tag);
    if (y->type == YAML_SCALAR_NODE)
        tree_scalar(r, n, y);
    if (y->type == YAML_SEQUENCE_NODE) {
        n->kind = NODE_LIST;
        tree_list(r, n, y, depth);
    }
    if (y->type == YAML_MAPPING_NODE) {
        n->kind = NODE_MAPPING;
        tree_mapping(r, n, y, depth);
    }
    return n;
}

/* ---- one file ---- */

static struct str tree_line_of(struct str text, size_t line)
{
    struct str rest = text, piece = STR_ABSENT;
    for (size_t i = 0; i <= line; i++)
        if (!str_cut(&rest, '\n', &piece))
            return STR("");
    return piece;
}

static bool tree_is_tabbed(struct str line)
{
    size_t i = 0;
    while (i < line.n && line.at[i] == ' ')
        i++;
    return i < line.n && line.at[i] == '\t';
}

/* libyaml gives no line for bytes that it cannot read, only their offset. */
static void tree_say_unreadable(const yaml_parser_t *p, const char *file, struct str yaml, struct problems *out)
{
    int line = 1, column = 1;
    for (size_t i = 0; yaml.at && i < p->problem_offset && i < yaml.n; i++) {
        column = yaml.at[i] == '\n' ? 1 : column + 1;
        line += yaml.at[i] == '\n';
    }
    problem_add(out, file, line, column, "not valid YAML: %s", p->problem);
}

/* The first line up to `last` with a quote that is not closed in it, from 1; 0: there is none. Behind a # nothing counts. */
static size_t tree_find_quote(struct str yaml, size_t last)
{
    struct str rest = yaml, line;
    for (size_t n = 1; n <= last + 1 && str_cut(&rest, '\n', &line); n++) {
        char open = '\0';
        for (size_t i = 0; i < line.n; i++) {
            char c = line.at[i], before = i ? line.at[i - 1] : ' ';
            if (open == '"' && c == '\\')
                i++;
            else if (open && c == open)
                open = '\0';
            else if (!open && c == '#' && before == ' ')
                break;
            else if (!open && (c == '"' || c == '\'') && memchr(" [{,:", before, 5))
                open = c;
        }
        if (open)
            return n;
    }
    return 0;
}

/* What was probably meant, in words that follow the problem. */
static void tree_hint(const yaml_parser_t *p, struct str yaml, char out[HINT_TEXT])
{
    size_t line = tree_find_quote(yaml, p->problem_mark.line);
    out[0] = '\0';
    if (line)
        snprintf(out, HINT_TEXT, "; is a closing quote missing in line %zu?", line);
    else if (p->problem && strstr(p->problem, "',' or") && p->context_mark.line == p->problem_mark.line)
        snprintf(out, HINT_TEXT, "; a text with \": \", \", \" or a bracket in it stands in quotes");
}

static void tree_say_syntax(const yaml_parser_t *p, const char *file, struct str yaml, struct problems *out)
{
    int line = (int)p->problem_mark.line + 1, column = (int)p->problem_mark.column + 1;
    const char *problem = p->problem ? p->problem : "out of memory";
    char hint[HINT_TEXT];
    tree_hint(p, yaml, hint);
    if (p->error == YAML_READER_ERROR)
        tree_say_unreadable(p, file, yaml, out);
    else if (tree_is_tabbed(tree_line_of(yaml, p->problem_mark.line)))
        problem_add(out, file, line, column, "not valid YAML: a tab cannot indent; use spaces");
    else if (p->context && p->context_mark.line != p->problem_mark.line)
        problem_add(out, file, line, column, "not valid YAML: %s %s that begins at line %zu%s", problem, p->context,
                    p->context_mark.line + 1, hint);
    else if (p->context)
        problem_add(out, file, line, column, "not valid YAML: %s %s%s", problem, p->context, hint);
    else
        problem_add(out, file, line, column, "not valid YAML: %s%s", problem, hint);
}

/* Is there nothing behind the first document? */
static bool tree_ends_there(yaml_parser_t *p, const char *file, struct str yaml, struct problems *out)
{
    yaml_document_t next;
    if (!yaml_parser_load(p, &next)) {
        tree_say_syntax(p, file, yaml, out);
        return false;
    }
    const yaml_node_t *root = yaml_document_get_root_node(&next);
    if (root)
        problem_add(out, file, (int)next.start_mark.line + 1, (int)next.start_mark.column + 1,
                    "a second document begins here; write one document per file (several -c files merge)");
    yaml_document_delete(&next);
    return root == NULL;
}

/* Does the document say nothing? A text of no characters ("", or > with nothing indented below it) is something. */
static bool tree_is_nothing(yaml_document_t *doc)
{
    const yaml_node_t *root = yaml_document_get_root_node(doc);
    return !root
           || (root->type == YAML_SCALAR_NODE && root->data.scalar.length == 0
               && root->data.scalar.style == YAML_PLAIN_SCALAR_STYLE);
}

static struct node *tree_convert_document(struct arena *a, yaml_document_t *doc, const char *file, bool part,
                                          struct problems *out)
{
    struct reader r = { .arena = a, .doc = doc, .file = file, .out = out, .part = part };
    struct node *n = tree_convert(&r, 1, 0);
    return r.failed ? NULL : n;
}

/* libyaml builds a document of any depth, in a time that grows with its square: what is too deep is not begun. */
static bool tree_is_deep(const char *file, struct str yaml, struct problems *out)
{
    yaml_parser_t p;
    yaml_event_t ev;
    int depth = 0;
    if (!yaml_parser_initialize(&p))
        abort();
    yaml_parser_set_input_string(&p, (const unsigned char *)(yaml.at ? yaml.at : ""), yaml.n);
    for (bool more = true; more && depth <= CONFIG_DEPTH + 1 && yaml_parser_parse(&p, &ev);) {
        depth += ev.type == YAML_SEQUENCE_START_EVENT || ev.type == YAML_MAPPING_START_EVENT;
        depth -= ev.type == YAML_SEQUENCE_END_EVENT || ev.type == YAML_MAPPING_END_EVENT;
        more = ev.type != YAML_STREAM_END_EVENT;
        if (depth > CONFIG_DEPTH + 1)
            problem_add(out, file, (int)ev.start_mark.line + 1, (int)ev.start_mark.column + 1,
                        "nests deeper than %d levels", CONFIG_DEPTH);
        yaml_event_delete(&ev);
    }
    yaml_parser_delete(&p);
    return depth > CONFIG_DEPTH + 1;
}

static struct node *tree_read(struct arena *a, const char *file, struct str yaml, bool part, struct problems *out)
{
    if (yaml.n > CONFIG_FILE_BYTES) {
        problem_add(out, file, 1, 1, "is longer than %d KiB", CONFIG_FILE_BYTES >> 10);
        return NULL;
    }
    if (tree_is_deep(file, yaml, out))
        return NULL;
    yaml_parser_t parser;
    yaml_document_t doc;
    if (!yaml_parser_initialize(&parser))
        abort();
    yaml_parser_set_input_string(&parser, (const unsigned char *)(yaml.at ? yaml.at : ""), yaml.n);
    struct node *root = NULL;
    if (!yaml_parser_load(&parser, &doc)) {
        tree_say_syntax(&parser, file, yaml, out);
    } else {
        bool nothing = tree_is_nothing(&doc);
        root = nothing ? NULL : tree_convert_document(a, &doc, file, part, out);
        yaml_document_delete(&doc);
        /* Of a file whose top is a text it is enough to say that. */
        if ((nothing || (root && root->kind != NODE_SCALAR)) && !tree_ends_there(&parser, file, yaml, out))
            root = NULL;
        else if (nothing)
            problem_add(out, file, 1, 1,
                        "is empty: write sources:, routes: and sinks: (`aqueduct --help` shows an example)");
    }
    yaml_parser_delete(&parser);
    return root;
}

struct node *tree_load(struct arena *a, const char *file, struct str yaml, struct problems *out)
{
    return tree_read(a, file, yaml, false, out);
}

struct node *tree_load_part(struct arena *a, const char *file, struct str yaml, struct problems *out)
{
    return tree_read(a, file, yaml, true, out);
}

/* ---- single values ---- */

static bool tree_refers(struct str value)
{
    return value.n > 1 && memmem(value.at, value.n, "${", 2);
}

static struct str tree_shown(struct arena *a, const char *name)
{
    struct buf shown = buf_new(CONFIG_FILE_BYTES);
    buf_printf(&shown, "${%s}", name);
    struct str text = { arena_text(a, buf_str(&shown)), shown.n };
    buf_free(&shown);
    return text;
}

void tree_text(struct arena *a, struct node *n, const char *name, struct str value, bool part, struct problems *out)
{
    struct reader r = { .arena = a, .file = name, .out = out, .part = part };
    *n = (struct node){ .kind = NODE_SCALAR,
                        .file = arena_text(a, str_of(name)),
                        .text = { arena_text(a, value), value.n } };
    n->written = tree_refers(value) ? n->text : tree_shown(a, name);
    tree_expand(&r, n);
}

/* [::1]:8080, {{data.id}} and many a password begin as YAML does. */
void tree_value(struct arena *a, struct node *n, const char *name, struct str value, bool part, struct problems *out)
{
    struct problems wrong = { 0 };
    const char *file = arena_text(a, str_of(name));
    bool begins = value.n && (value.at[0] == '[' || value.at[0] == '{');
    const struct node *read = begins ? tree_read(a, file, value, part, &wrong) : NULL;
    if (read && wrong.count == 0) {
        *n = *read;
        n->written = tree_shown(a, name);
        n->text = tree_refers(value) ? STR_ABSENT : (struct str){ arena_text(a, value), value.n };
    } else {
        tree_text(a, n, name, value, part, out);
        n->no_yaml = wrong.count ? arena_text(a, str_of(wrong.at[0].text)) : NULL;
    }
    problems_free(&wrong);
}

/* A key as a variable's name has it: in capitals, and with _ for what no such name can have. */
static bool tree_is_key(struct str key, struct str word)
{
    bool is = key.n == word.n;
    for (size_t i = 0; is && i < key.n; i++) {
        int c = key.at[i] == '-' || key.at[i] == '.' ? '_' : tolower((unsigned char)key.at[i]);
        is = c == tolower((unsigned char)word.at[i])
             || tolower((unsigned char)key.at[i]) == tolower((unsigned char)word.at[i]);
    }
    return is;
}

static struct node *tree_entry(struct arena *a, struct node *list, const char *file, uint64_t index)
{
    struct node *n = NULL;
    if (index < list->count)
        return list->at[index].value;
    if (index > list->count)
        return NULL;
    n = arena_alloc(a, sizeof *n);
    *n = (struct node){ .kind = NODE_SCALAR, .file = file, .plain = true };
    tree_append(a, list, NULL, n);
    return n;
}

struct node *tree_below(struct arena *a, struct node *n, const char *file, struct str word)
{
    uint64_t index;
    bool number = str_to_u64(word, &index);
    if (n->kind == NODE_SCALAR && node_is_null(n)) { /* nothing yet: what is named makes it what it is */
        n->kind = number ? NODE_LIST : NODE_MAPPING;
        n->file = file;
    }
    if (n->kind != NODE_SCALAR)
        n->text = STR_ABSENT; /* it will be more than its variable says */
    if (n->kind == NODE_LIST)
        return number ? tree_entry(a, n, file, index) : NULL;
    if (n->kind != NODE_MAPPING || n->count >= CONFIG_KEYS)
        return NULL;
    for (size_t i = 0; i < n->count; i++)
        if (tree_is_key(n->at[i].key->text, word))
            return n->at[i].value;
    struct node *key = arena_alloc(a, sizeof *key), *value = arena_alloc(a, sizeof *value);
    char *text = arena_text(a, word);
    for (size_t i = 0; i < word.n; i++)
        text[i] = (char)tolower((unsigned char)text[i]);
    *key = (struct node){ .kind = NODE_SCALAR, .file = file, .written = { text, word.n }, .text = { text, word.n } };
    *value = (struct node){ .kind = NODE_SCALAR, .file = file, .plain = true };
    tree_append(a, n, key, value);
    return value;
}

const struct node *tree_find_why(const struct node *n)
{
    if (!n || n->why)
        return n;
    const struct node *found = NULL;
    for (size_t i = 0; i < n->count && !found; i++) {
        found = tree_find_why(n->at[i].key);
        found = found ? found : tree_find_why(n->at[i].value);
    }
    return found;
}

/* ---- several files ---- */

static void tree_merge_below(struct arena *a, struct node *into, struct node *from, const struct where *up,
                             struct problems *out)
{
    for (size_t i = 0; i < from->count; i++) {
        struct entry *theirs = &from->at[i], *ours = tree_find(into, theirs->key->text);
        struct where at = { .up = up, .key = theirs->key->written };
        if (!ours) {
            tree_append(a, into, theirs->key, theirs->value);
        } else if (ours->value->kind == NODE_MAPPING && theirs->value->kind == NODE_MAPPING) {
            tree_merge_below(a, ours->value, theirs->value, &at, out);
        } else if (ours->value->kind == NODE_LIST && theirs->value->kind == NODE_LIST) {
            for (size_t k = 0; k < theirs->value->count; k++)
                tree_append(a, ours->value, NULL, theirs->value->at[k].value);
        } else {
            problem_at(out, theirs->key, &at, "is set already at %s:%d:%d", ours->key->file, ours->key->line,
                       ours->key->column);
        }
    }
}

void tree_merge(struct arena *a, struct node *into, struct node *from, struct problems *out)
{
    tree_merge_below(a, into, from, NULL, out);
}
