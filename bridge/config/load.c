/* SPDX-License-Identifier: MIT */
/* From files to struct config: read, merge, fill, check. */
#include <errno.h>
#include <stdlib.h>
#include "bridge/config/private.h"
#include "bridge/lib/file.h"
#include "bridge/lib/mem.h"

static struct node *load_file(struct arena *tree, const char *path, struct problems *out)
{
    struct buf text = buf_new(CONFIG_FILE_BYTES + 1);
    struct node *n = NULL;
    if (file_read(path, CONFIG_FILE_BYTES, &text))
        n = tree_load(tree, path, buf_str(&text), out);
    else if (errno == EFBIG)
        problem_add(out, path, 1, 1, "is longer than %d KiB", CONFIG_FILE_BYTES >> 10);
    else
        problem_add(out, path, 0, 0, "cannot be read: %s", strerror(errno));
    if (n && n->kind != NODE_MAPPING) {
        problem_add(out, path, n->line, n->column, "must be a mapping of sections (sources:, routes:, sinks:, ...)");
        n = NULL;
    }
    buf_free(&text);
    return n;
}

/* The tree of all files together; NULL when one of them gives none. */
static struct node *load_files(struct arena *tree, const char *const *files, size_t count, struct problems *out)
{
    struct node *root = NULL;
    bool ok = count > 0;
    if (!ok)
        problem_add(out, NULL, 0, 0,
                    "no configuration file: name one with -c FILE or AQUEDUCT_CONFIG, or write ./bridge.yaml");
    for (size_t i = 0; i < count; i++) {
        struct node *n = load_file(tree, files[i], out);
        ok = ok && n;
        if (n && root)
            tree_merge(tree, root, n, out);
        else if (n)
            root = n;
    }
    return ok ? root : NULL;
}

struct config *config_load(const struct connectors *connectors, const char *const *files, size_t count,
                           struct problems *out)
{
    struct arena tree = { 0 };
    struct config *c = mem_alloc(sizeof *c);
    c->arena = mem_alloc(sizeof(struct arena));
    struct node *root = load_files(&tree, files, count, out);
    if (root)
        sections_fill(connectors, c, root, out);
    if (root && out->count == 0) /* what the sections say about each other can be judged only when each is right */
        config_check(c, root, out);
    arena_free(&tree);
    problems_sort(out, files, count);
    if (out->count == 0)
        return c;
    config_free(c);
    return NULL;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    arena_free(c->arena);
    free(c->arena);
    free(c);
}
