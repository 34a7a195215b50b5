/* SPDX-License-Identifier: MIT */
/* A table of names. */
#include "tests/support/live_names.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"
#include "tests/support/live_log.h"

static struct {
    char *name, *value;
} names[NAMES];
static struct bookmark_done outcomes[NAMES];
static size_t outcome_count;
bool names_held;
enum bookmark_outcome names_outcome_now;
int names_stored;

static int name_at(struct str name)
{
    for (int i = 0; i < NAMES; i++)
        if (names[i].name && str_eq(str_of(names[i].name), name))
            return i;
    return -1;
}

void names_set(struct str name, struct str value)
{
    int i = name_at(name);
    for (int k = 0; i < 0 && k < NAMES; k++)
        i = names[k].name ? i : k;
    free(names[i].name);
    free(names[i].value);
    names[i].name = value.at ? str_dup(name) : NULL;
    names[i].value = value.at ? str_dup(value) : NULL;
}

static bool on_recall(struct bookmarks *b, struct str name, struct str *out)
{
    (void)b;
    int i = name_at(name);
    *out = i < 0 ? STR_ABSENT : str_of(names[i].value);
    return true;
}

static void on_remember(struct bookmarks *b, struct str name, struct str before, struct str value, uint64_t tag)
{
    struct str now;
    on_recall(b, name, &now);
    struct bookmark_done *done = &outcomes[outcome_count++];
    *done = (struct bookmark_done){ .tag = tag, .outcome = names_outcome_now };
    snprintf(done->why, sizeof done->why, "why");
    if (names_outcome_now == BOOKMARK_STORED && (now.at == NULL) == (before.at == NULL) && str_eq(now, before)) {
        names_set(name, value);
        names_stored++;
    } else if (names_outcome_now == BOOKMARK_STORED) {
        done->outcome = BOOKMARK_CHANGED;
    }
}

static size_t on_done(struct bookmarks *b, struct bookmark_done *out, size_t room)
{
    size_t n = names_held ? 0 : outcome_count;
    (void)b;
    assert_true(n <= room);
    memcpy(out, outcomes, n * sizeof *out);
    outcome_count -= n;
    return n;
}

static bool on_each(struct bookmarks *b, void (*one)(void *ctx, struct str name, struct str value), void *ctx)
{
    (void)b;
    for (int i = 0; i < NAMES; i++)
        if (names[i].name)
            one(ctx, str_of(names[i].name), str_of(names[i].value));
    return true;
}

static bool on_secret(struct bookmarks *b, unsigned char out[BOOKMARKS_SECRET])
{
    (void)b;
    memset(out, 's', BOOKMARKS_SECRET);
    return true;
}

static const struct bookmarks_ops bookmarks_ops = {
    .remember = on_remember, .done = on_done, .recall = on_recall, .each = on_each, .secret = on_secret
};
static struct bookmarks bookmarks = { .ops = &bookmarks_ops };

void names_open(const char *more)
{
    log_open();
    live_bookmarks = &bookmarks;
    names_outcome_now = BOOKMARK_STORED;
    outcome_count = 0;
    names_stored = 0;
    names_held = false;
    live_open(more);
}

int names_close(void **state)
{
    for (int i = 0; i < NAMES; i++)
        if (names[i].name)
            names_set(str_of(names[i].name), STR_ABSENT);
    return log_close(state);
}
