/* SPDX-License-Identifier: MIT */
/* Two structs that option rows filled, compared key by key. */
#include <stdlib.h>
#include "bridge/config/private.h"
#include "bridge/lib/mem.h"

static bool differ_text(const char *a, const char *b)
{
    return (a == NULL) != (b == NULL) || (a && strcmp(a, b) != 0);
}

static bool differ_filter(const struct filter *a, const struct filter *b)
{
    if (!a || !b)
        return a != b;
    char *left = filter_text(a), *right = filter_text(b);
    bool differs = strcmp(left, right) != 0;
    free(left);
    free(right);
    return differs;
}

/* Of a list: what comes from the same file is the same, since who has it follows the file (auth/secret_files.h). */
static bool differ_listed_secret(const struct secret *a, const struct secret *b)
{
    bool followed = a->written && b->written && strcmp(a->written, b->written) == 0;
    return (!followed && differ_text(a->text, b->text)) || differ_text(a->name, b->name) || a->until.ms != b->until.ms;
}

/* Who follows a file (bridge/broker/kafka/follow.c) has to hear of another one, though it says the same for now. */
static bool differ_secret(const struct secret *a, const struct secret *b)
{
    return differ_text(a->text, b->text) || differ_text(a->written, b->written);
}

static bool differ_secrets(const struct secrets *a, const struct secrets *b)
{
    bool differs = a->count != b->count;
    for (size_t i = 0; !differs && i < a->count; i++)
        differs = differ_listed_secret(&a->at[i], &b->at[i]);
    return differs;
}

static bool differ_entry(const struct map_entry *a, const struct map_entry *b)
{
    return differ_text(a->value, b->value) || differ_text(a->written, b->written);
}

static bool differ_map(const struct map *a, const struct map *b)
{
    bool differs = a->count != b->count;
    for (size_t i = 0; !differs && i < a->count; i++)
        differs = differ_text(a->at[i].key, b->at[i].key) || differ_entry(&a->at[i], &b->at[i]);
    return differs;
}

/* Lists of scalars: of one type, each element `size` bytes. */
static bool differ_elements(enum option_type type, size_t size, const struct list *a, const struct list *b)
{
    bool differs = a->count != b->count;
    const struct option row = { .key = "", .type = type };
    for (size_t i = 0; !differs && i < a->count; i++)
        differs = differ_field(&row, (const char *)a->at + i * size, (const char *)b->at + i * size);
    return differs;
}

static bool differ_any(const struct option *rows, const void *a, const void *b)
{
    bool differs = false;
    for (; rows->key && !differs; rows++)
        differs = differ_field(rows, (const char *)a + rows->offset, (const char *)b + rows->offset);
    return differs;
}

static bool differ_groups(const struct option *row, const struct list *a, const struct list *b)
{
    bool differs = a->count != b->count;
    for (size_t i = 0; !differs && i < a->count; i++)
        differs = differ_any(row->of, (const char *)a->at + i * row->of_size, (const char *)b->at + i * row->of_size);
    return differs;
}

static bool differ_preset(const struct option *row, const struct preset *a, const struct preset *b)
{
    if (differ_text(a->name, b->name) || !a->content || !b->content)
        return differ_text(a->name, b->name) || a->content != b->content;
    return differ_any(row->of, a->content, b->content);
}

bool differ_field(const struct option *row, const void *a, const void *b)
{
    switch (row->type) {
    case OPT_BOOL: return *(const bool *)a != *(const bool *)b;
    case OPT_REAL: return memcmp(a, b, sizeof(double)) != 0;
    case OPT_ENUM: return *(const int *)a != *(const int *)b;
    case OPT_INT:
    case OPT_DURATION:
    case OPT_MOMENT:
    case OPT_BYTES: return *(const int64_t *)a != *(const int64_t *)b; /* structs of one such field */
    case OPT_STR:
    case OPT_TREE:
    case OPT_DEFAULTS: return differ_text(*(char *const *)a, *(char *const *)b); /* structs of one such field */
    case OPT_SECRET: return differ_secret(a, b);
    case OPT_STRINGS: return differ_elements(OPT_STR, sizeof(char *), a, b);
    case OPT_SECRETS: return differ_secrets(a, b);
    case OPT_DURATIONS: return differ_elements(OPT_DURATION, sizeof(struct duration), a, b);
    case OPT_MAP: return differ_map(a, b);
    case OPT_FILTER: return differ_filter(*(struct filter *const *)a, *(struct filter *const *)b);
    case OPT_PRESET: return differ_preset(row, a, b);
    case OPT_LIST: return differ_groups(row, a, b);
    case OPT_GROUP: return differ_any(row->of, a, b);
    }
    return true;
}

static const struct map_entry *differ_find(const struct map *m, const char *key)
{
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->at[i].key, key) == 0)
            return &m->at[i];
    return NULL;
}

/* The keys of `a` that `b` does not have, or (others) not with the same value. */
static void differ_keys(const struct map *a, const struct map *b, bool others, const char *path,
                        struct differences *out)
{
    char inside[DIFFER_KEY];
    for (size_t i = 0; i < a->count; i++) {
        const struct map_entry *other = differ_find(b, a->at[i].key);
        if (other && !(others && differ_entry(&a->at[i], other)))
            continue;
        snprintf(inside, sizeof inside, "%.100s.%.150s", path, a->at[i].key);
        differ_add(out, inside);
    }
}

static void differ_map_below(const struct map *a, const struct map *b, const char *path, struct differences *out)
{
    size_t before = out->count;
    differ_keys(a, b, true, path, out);
    differ_keys(b, a, false, path, out);
    if (out->count == before) /* it is their order */
        differ_add(out, path);
}

/* Goes into what is a mapping, and into the elements of lists of such, if there are as many. */
static void differ_below(const struct option *row, const void *a, const void *b, const char *path,
                         struct differences *out)
{
    const struct list *left = a, *right = b;
    char inside[DIFFER_KEY + 24];
    if (row->type == OPT_GROUP)
        differ_rows(row->of, a, b, path, out);
    else if (row->type == OPT_MAP)
        differ_map_below(a, b, path, out);
    else if (row->type != OPT_LIST || left->count != right->count)
        differ_add(out, path);
    else
        for (size_t i = 0; i < left->count; i++) {
            snprintf(inside, sizeof inside, "%s[%zu]", path, i);
            differ_rows(row->of, (const char *)left->at + i * row->of_size, (const char *)right->at + i * row->of_size,
                        inside, out);
        }
}

void differ_rows(const struct option *rows, const void *a, const void *b, const char *path, struct differences *out)
{
    char key[DIFFER_KEY];
    for (; rows->key; rows++) {
        const void *left = (const char *)a + rows->offset, *right = (const char *)b + rows->offset;
        snprintf(key, sizeof key, "%s%s%s", path, path[0] ? "." : "", rows->key);
        if (differ_field(rows, left, right))
            differ_below(rows, left, right, key, out);
    }
}

void differ_add(struct differences *out, const char *key)
{
    if (out->count == DIFFER_MOST)
        return;
    out->keys = mem_grow(out->keys, out->count + 1, sizeof *out->keys);
    out->keys[out->count++] = str_dup(str_of(key));
}
