/* SPDX-License-Identifier: MIT */
/* What a connector says about its options, put at the place in the file that it names. */
#include <stdio.h>
#include "bridge/config/private.h"

typedef void fault_problem_fn(struct problems *out, const struct node *n, const struct where *at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static const struct node *fault_element(const struct node *list, size_t i)
{
    return list && list->kind == NODE_LIST && i < list->count ? list->at[i].value : NULL;
}

/* The node at a place such as capture[2].types, or the last one above it that is written. A key may have dots. */
static const struct node *fault_node_at(const struct node *n, struct str place)
{
    while (place.n) {
        uint64_t index;
        char key[128];
        snprintf(key, sizeof key, "%.*s", (int)(place.n < sizeof key ? place.n : 0), place.at);
        if (node_get(n, key))
            return node_get(n, key);
        size_t length = 0;
        bool element = place.at[0] == '[';
        while (length < place.n && !(length && strchr(".[", place.at[length])))
            length++;
        snprintf(key, sizeof key, "%.*s", (int)length, place.at);
        const struct node *next = !element                                                  ? node_get(n, key)
                                  : str_to_u64((struct str){ key + 1, length - 2 }, &index) ? fault_element(n, index)
                                                                                            : NULL;
        if (!next)
            break;
        n = next;
        place = str_from(place, length + (length < place.n && place.at[length] == '.'));
    }
    return n;
}

/* Of "map[1]: type: ..." at map[1].type. */
static void fault_put_at_key(struct problems *out, fault_problem_fn *put, const struct node *n, const struct where *at,
                             const char *text)
{
    size_t word = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");
    const char *colon = strstr(text, ": ");
    char key[64];
    snprintf(key, sizeof key, "%.*s", (int)(word < sizeof key ? word : 0), text);
    const struct node *value = colon && strchr(":[.", text[word]) ? node_get(n, key) : NULL;
    if (value && text[word] != ':') { /* a place below it: body.blocks[0].text */
        size_t from = word + (text[word] == '.');
        value = fault_node_at(value, (struct str){ text + from, (size_t)(colon - text) - from });
    }
    if (value)
        fault_put_at_key(out, put, value, &(struct where){ at, { text, (size_t)(colon - text) }, 0 }, colon + 2);
    else
        put(out, n, at, "%s", text);
}

void fault_say_at_key(struct problems *out, const struct node *n, const struct where *at, const char *text)
{
    fault_put_at_key(out, problem_at, n, at, text);
}

static void fault_put(struct faults *f, fault_problem_fn *put, const char *place, const char *why)
{
    struct where inside = { f->at, str_of(place), 0 };
    fault_put_at_key(f->out, put, fault_node_at(f->n, str_of(place)), *place ? &inside : f->at, why);
    f->count++;
}

void fault_say(void *ctx, const char *place, const char *why)
{
    fault_put(ctx, problem_at, place, why);
}

void fault_warn(void *ctx, const char *place, const char *why)
{
    fault_put(ctx, problem_warn, place, why);
}
