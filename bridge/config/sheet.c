/* SPDX-License-Identifier: MIT */
/* Files by rows. */
#include "bridge/config/sheet.h"
#include <errno.h>
#include <stdlib.h>
#include "bridge/config/private.h"
#include "bridge/lib/file.h"
#include "bridge/lib/mem.h"

struct sheet {
    struct arena tree, values;
    struct node *root;
    void *object;
};

struct sheet *sheet_load(const char *file, const struct option *rows, size_t size, struct problems *out)
{
    struct buf text = buf_new(CONFIG_FILE_BYTES + 1);
    struct sheet *r = mem_alloc(sizeof *r);
    size_t before = problems_errors(out);
    r->object = arena_alloc(&r->values, size);
    if (file_read(file, CONFIG_FILE_BYTES, &text))
        r->root = tree_load(&r->tree, arena_text(&r->tree, str_of(file)), buf_str(&text), out);
    else
        problem_add(out, file, 0, 0, "cannot be read: %s", strerror(errno));
    struct fill f = { &r->values, out, NULL };
    if (r->root && fill_is_mapping(&f, r->root, NULL))
        fill_mapping(&f, r->root, &(struct fill_target){ rows, r->object, NULL }, 1, NULL, NULL);
    buf_free(&text);
    if (r->root && problems_errors(out) == before)
        return r;
    sheet_free(r);
    return NULL;
}

void sheet_free(struct sheet *r)
{
    if (!r)
        return;
    arena_free(&r->values);
    arena_free(&r->tree);
    free(r);
}

const void *sheet_object(const struct sheet *r)
{
    return r->object;
}

/* The next step of a path: a key, or the number of an element in *index. False: it is at its end. */
static bool sheet_step(struct str *path, struct str *key, size_t *index)
{
    int64_t n = 0;
    *key = STR_ABSENT;
    if (path->n == 0)
        return false;
    if (path->at[0] == '[') {
        struct str rest = str_from(*path, 1), number;
        str_cut(&rest, ']', &number);
        *index = str_to_i64(number, &n) ? (size_t)n : SIZE_MAX;
        *path = rest.at ? rest : STR("");
        return true;
    }
    struct str rest = path->at[0] == '.' ? str_from(*path, 1) : *path;
    size_t end = 0;
    while (end < rest.n && rest.at[end] != '.' && rest.at[end] != '[')
        end++;
    *key = (struct str){ rest.at, end };
    *path = str_from(rest, end);
    return true;
}

/* The last node on the path that is there; *whole: that is the path's own. */
static const struct node *sheet_find(const struct sheet *r, const char *text, bool *whole)
{
    const struct node *n = r->root;
    struct str path = str_of(text), key;
    size_t index = 0;
    *whole = true;
    while (sheet_step(&path, &key, &index)) {
        const struct node *next = NULL;
        for (size_t i = 0; i < n->count && !next; i++)
            if (key.at ? n->at[i].key && str_eq(n->at[i].key->text, key) : n->kind == NODE_LIST && i == index)
                next = n->at[i].value;
        if (!next) {
            *whole = false;
            return n;
        }
        n = next;
    }
    return n;
}

void sheet_place(const struct sheet *r, const char *path, int *line, int *column)
{
    bool whole;
    const struct node *n = sheet_find(r, path, &whole);
    *line = n->line;
    *column = n->column;
}

bool sheet_have(const struct sheet *r, const char *path)
{
    bool whole;
    sheet_find(r, path, &whole);
    return whole;
}
