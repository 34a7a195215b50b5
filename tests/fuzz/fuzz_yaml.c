/* SPDX-License-Identifier: MIT */
/* Any bytes as a preset or section: a struct or problems, and nothing worse. */
#include <stdlib.h>
#include "bridge/config/private.h"

struct inner {
    char *name;
    struct filter *filter;
    int64_t n;
};
static const struct option inner_rows[] = {
    OPTION(struct inner, name, .required = true),
    OPTION(struct inner, filter, .doc = "."),
    OPTION(struct inner, n, .max = 9),
    { 0 },
};

enum colour { RED, GREEN };
static const struct option_value colours[] = { { RED, "red" }, { GREEN, "green" }, { 0 } };

struct thing {
    bool flag;
    double real;
    enum colour choice;
    struct secret secret;
    struct duration wait;
    struct bytes size;
    struct strings texts;
    struct secrets secrets;
    struct durations waits;
    struct map map;
    struct list list;
    struct inner group;
};
static const struct option rows[] = {
    OPTION(struct thing, flag, .doc = "."),
    OPTION(struct thing, real, .doc = "."),
    OPTION(struct thing, choice, .values = colours),
    OPTION(struct thing, secret, .doc = "."),
    OPTION(struct thing, wait, .min = 1, .max = 1000),
    OPTION(struct thing, size, .doc = "."),
    OPTION(struct thing, texts, .fallback = "[a, b]"),
    OPTION(struct thing, secrets, .doc = "."),
    OPTION(struct thing, waits, .doc = "."),
    OPTION(struct thing, map, .doc = "."),
    OPTION(struct thing, list, .of = inner_rows, .of_size = sizeof(struct inner)),
    OPTION_GROUP(struct thing, group, inner_rows, .doc = "."),
    { 0 },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena tree = { 0 }, values = { 0 };
    struct problems problems = { 0 };
    struct thing thing = { 0 };
    struct fill f = { .arena = &values, .out = &problems };
    struct str yaml = { (const char *)data, size };
    struct node *n = tree_load(&tree, "fuzz", yaml, &problems);
    struct node *again = tree_load(&tree, "fuzz", yaml, &problems);
    if (n && fill_is_mapping(&f, n, NULL)) {
        if (n->kind == NODE_MAPPING)
            tree_merge(&tree, n, again, &problems);
        fill_mapping(&f, n, &(struct fill_target){ rows, &thing, NULL }, 1, NULL, NULL);
    }
    if (!n && !problems.count)
        abort(); /* no tree, and no word about it */
    problems_sort(&problems, NULL, 0);
    problems_free(&problems);
    arena_free(&values);
    arena_free(&tree);
    return 0;
}
