/* SPDX-License-Identifier: MIT */
/* JSON pointers as a tree of their tokens, walked beside the text. */
#include "bridge/lib/jpointer.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

enum { INDEX_DIGITS = 18, ESCAPED = 6 /* most bytes of one byte of a name, as written */ };

/* A place in a text: the end of a token. */
struct jpointer_node {
    int number;
    bool is_index;                /* the token may be that of an element, */
    uint64_t index;               /* this one */
    struct jpointer_node **below; /* by length of the token, then by its bytes: indices stand in order */
    size_t count;
    struct str token;
    char bytes[]; /* of the token */
};

struct jpointers {
    struct jpointer_node *root;
    size_t count; /* of nodes */
};

static struct jpointer_node *jpointer_node(struct jpointers *ps, struct str token)
{
    struct jpointer_node *node = mem_alloc(sizeof *node + token.n);
    node->number = (int)ps->count++;
    if (token.n)
        memcpy(node->bytes, token.at, token.n);
    node->token = (struct str){ node->bytes, token.n };
    bool leading_zero = token.n > 1 && token.at[0] == '0';
    node->is_index = token.n <= INDEX_DIGITS && !leading_zero && str_to_u64(token, &node->index);
    return node;
}

static void jpointer_free_node(struct jpointer_node *node)
{
    for (size_t i = 0; i < node->count; i++)
        jpointer_free_node(node->below[i]);
    free(node->below);
    free(node);
}

struct jpointers *jpointers_new(void)
{
    struct jpointers *ps = mem_alloc(sizeof *ps);
    ps->root = jpointer_node(ps, STR_ABSENT);
    return ps;
}

void jpointers_free(struct jpointers *ps)
{
    if (ps)
        jpointer_free_node(ps->root);
    free(ps);
}

size_t jpointers_count(const struct jpointers *ps)
{
    return ps->count;
}

/* ---- compiling ---- */

/* Where the token stands below the node, or where it would; *there says which. */
static size_t jpointer_place(const struct jpointer_node *node, struct str token, bool *there)
{
    size_t low = 0, high = node->count;
    *there = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct str other = node->below[middle]->token;
        int order = other.n != token.n ? (other.n < token.n ? -1 : 1)
                    : token.n          ? memcmp(other.at, token.at, token.n)
                                       : 0;
        if (order == 0) {
            *there = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The node of that token below this one, which is made when there is none. */
static struct jpointer_node *jpointer_below(struct jpointers *ps, struct jpointer_node *node, struct str token)
{
    bool there;
    size_t at = jpointer_place(node, token, &there);
    if (there)
        return node->below[at];
    node->below = mem_grow(node->below, node->count + 1, sizeof(struct jpointer_node *));
    memmove(node->below + at + 1, node->below + at, (node->count - at) * sizeof(struct jpointer_node *));
    node->count++;
    return node->below[at] = jpointer_node(ps, token);
}

/* Is the whole of it well-formed? */
static bool jpointer_check(struct str pointer, struct err *e)
{
    size_t tokens = 0;
    if (pointer.n > JPOINTER_BYTES)
        return err_set(e, "a JSON pointer of more than %d bytes", JPOINTER_BYTES);
    if (pointer.n > 0 && pointer.at[0] != '/')
        return err_set(e, "a JSON pointer begins with /");
    if (!str_is_utf8(pointer))
        return err_set(e, "a JSON pointer that is not UTF-8");
    for (size_t i = 0; i < pointer.n; i++) {
        tokens += pointer.at[i] == '/';
        char next = i + 1 < pointer.n ? pointer.at[i + 1] : '\0';
        if (pointer.at[i] == '~' && next != '0' && next != '1')
            return err_set(e, "in a JSON pointer only ~0 (for ~) and ~1 (for /) follow a ~");
    }
    return tokens <= JPOINTER_TOKENS || err_set(e, "a JSON pointer of more than %d steps", JPOINTER_TOKENS);
}

int jpointers_add(struct jpointers *ps, struct str pointer, struct err *e)
{
    char plain[JPOINTER_BYTES];
    struct jpointer_node *node = ps->root;
    if (!jpointer_check(pointer, e))
        return -1;
    for (size_t i = 0; i < pointer.n;) {
        size_t n = 0;
        for (i++; i < pointer.n && pointer.at[i] != '/'; i++) {
            bool escape = pointer.at[i] == '~';
            i += escape;
            plain[n++] = !escape ? pointer.at[i] : pointer.at[i] == '1' ? '/' : '~';
        }
        node = jpointer_below(ps, node, (struct str){ plain, n });
    }
    return node->number;
}

/* ---- finding ---- */

struct jpointer_walk {
    struct jscan scan;
    struct jscan_value *values;
};

/* Forgets what was found at the node and below it: another member has the same name. */
static void jpointer_forget(struct jscan_value *values, const struct jpointer_node *node)
{
    if (values[node->number].type == JSCAN_NONE)
        return; /* and so nothing below it */
    values[node->number] = (struct jscan_value){ 0 };
    for (size_t i = 0; i < node->count; i++)
        jpointer_forget(values, node->below[i]);
}

/* The node of a member's name, as written, or NULL. */
static const struct jpointer_node *jpointer_of_name(const struct jpointer_node *node, struct str raw)
{
    bool there;
    struct buf plain = buf_new(raw.n);
    struct str name = raw;
    if (raw.n > ESCAPED * JPOINTER_BYTES)
        return NULL;
    if (memchr(raw.at, '\\', raw.n)) {
        jscan_unescape(&plain, (struct str){ raw.at - 1, raw.n + 2 });
        name = buf_str(&plain);
    }
    size_t at = jpointer_place(node, name, &there);
    buf_free(&plain);
    return there ? node->below[at] : NULL;
}

static const char *jpointer_value(struct jpointer_walk *w, const char *p, int depth, const struct jpointer_node *node);

static const char *jpointer_members(struct jpointer_walk *w, const char *at, int depth,
                                    const struct jpointer_node *node)
{
    struct str name;
    enum jscan_step step;
    while ((step = jscan_to_member(&w->scan, &at, &name)) == JSCAN_ITEM) {
        const struct jpointer_node *below = jpointer_of_name(node, name);
        if (below)
            jpointer_forget(w->values, below);
        const char *end = below ? jpointer_value(w, at, depth, below) : jscan_any(&w->scan, at, depth);
        if (jscan_past(&w->scan, &at, end, '}') == JSCAN_BAD)
            return NULL;
    }
    return step == JSCAN_END ? at : NULL;
}

static const char *jpointer_elements(struct jpointer_walk *w, const char *at, int depth,
                                     const struct jpointer_node *node)
{
    size_t next = 0; /* below the node: the first index that may still come */
    enum jscan_step step;
    for (uint64_t index = 0; (step = jscan_to_element(&w->scan, &at)) == JSCAN_ITEM; index++) {
        while (next < node->count && !(node->below[next]->is_index && node->below[next]->index >= index))
            next++;
        bool wanted = next < node->count && node->below[next]->index == index;
        const char *end = wanted ? jpointer_value(w, at, depth, node->below[next]) : jscan_any(&w->scan, at, depth);
        if (jscan_past(&w->scan, &at, end, ']') == JSCAN_BAD)
            return NULL;
    }
    return step == JSCAN_END ? at : NULL;
}

/* Checks the value at p as jscan_any does, and keeps what the node and those below it ask for. */
static const char *jpointer_value(struct jpointer_walk *w, const char *p, int depth, const struct jpointer_node *node)
{
    char c = p < w->scan.end ? *p : '\0';
    const char *end;
    if (node->count == 0 || depth == 0 || (c != '{' && c != '['))
        end = jscan_any(&w->scan, p, depth);
    else
        end = c == '{' ? jpointer_members(w, p, depth - 1, node) : jpointer_elements(w, p, depth - 1, node);
    if (end)
        w->values[node->number] = jscan_value_of(p, end);
    return end;
}

bool jpointers_find(const struct jpointers *ps, struct str text, struct jscan_value *values, struct err *e)
{
    struct jpointer_walk w = { .values = values };
    memset(values, 0, ps->count * sizeof *values);
    const char *p = jscan_begin(&w.scan, text, e);
    if (p && jscan_finish(&w.scan, jpointer_value(&w, p, JSCAN_DEPTH, ps->root), e))
        return true;
    memset(values, 0, ps->count * sizeof *values);
    return false;
}
