/* SPDX-License-Identifier: MIT */
/* The keys are thing, NUL, version in 20 digits, NUL, word. */
#include "bridge/delivery/ballot.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/buf.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/thread.h"

enum { BALLOT_DIGITS = 20, BALLOT_KEY = 512, BALLOT_WAIT_MS = 60000, BALLOT_LOOK_MS = 200 };

/* ---- keys ---- */

static struct str ballot_key(const struct vote *v, char room[BALLOT_KEY])
{
    int n = snprintf(room, BALLOT_KEY, "%.*s%c%020" PRId64 "%c%s", STR_ARG(v->thing), '\0', v->version, '\0', v->word);
    CHECK(n > 0 && n < BALLOT_KEY);
    return (struct str){ room, (size_t)n };
}

/* Of a key that this made; thing stays borrowed. */
static bool ballot_parse(struct str key, struct vote *v)
{
    struct str digits, word = key;
    uint64_t version;
    if (!str_cut(&word, '\0', &v->thing) || !word.at || !str_cut(&word, '\0', &digits) || !word.at)
        return false;
    if (digits.n != BALLOT_DIGITS || !str_to_u64(digits, &version) || version < 1 || version > INT64_MAX
        || word.n != BALLOT_WORD - 1 || memchr(word.at, '\0', word.n))
        return false;
    v->version = (int64_t)version;
    snprintf(v->word, sizeof v->word, "%.*s", STR_ARG(word));
    return true;
}

bool ballot_is_about(const struct record *r)
{
    struct str key = r->key, scope = str_of(BALLOT_SCOPE);
    return key.n > scope.n && str_starts(key, scope) && key.at[scope.n] == '\0';
}

/* ---- reading ---- */

struct ballot_things {
    struct vote *at; /* in the order of their names; they own thing and value */
    size_t count, bytes;
    struct vote *old; /* what no longer counts; they own thing */
    size_t old_count;
};

static void ballot_drop(struct vote *v)
{
    free((char *)(uintptr_t)v->thing.at);
    free((char *)(uintptr_t)v->value.at);
}

static size_t ballot_place(const struct ballot_things *t, struct str thing)
{
    size_t low = 0, high = t->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (str_order(t->at[middle].thing, thing) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void ballot_add_old(struct ballot_things *t, const struct vote *v)
{
    t->old = mem_grow(t->old, t->old_count + 1, sizeof *t->old);
    t->old[t->old_count] = *v;
    t->old[t->old_count++].thing = (struct str){ str_dup(v->thing), v->thing.n };
}

static bool ballot_keep(struct ballot_things *t, const struct vote *v, struct err *e)
{
    size_t i = ballot_place(t, v->thing);
    bool known = i < t->count && str_eq(t->at[i].thing, v->thing);
    if (known && t->at[i].version >= v->version) { /* of one version the first counts, and they come in order */
        ballot_add_old(t, v);
        return true;
    }
    if (known) {
        ballot_add_old(t, &t->at[i]);
        t->bytes -= t->at[i].value.n;
        ballot_drop(&t->at[i]);
    } else {
        if (t->count == BALLOT_THINGS)
            return err_set(e, "the state has more than %d endpoints", BALLOT_THINGS);
        t->at = mem_grow(t->at, t->count + 1, sizeof *t->at);
        memmove(t->at + i + 1, t->at + i, (t->count++ - i) * sizeof *t->at);
    }
    t->at[i] = *v;
    t->at[i].thing = (struct str){ str_dup(v->thing), v->thing.n };
    t->at[i].value = (struct str){ str_dup(v->value), v->value.n };
    t->bytes += v->value.n;
    return t->bytes <= BALLOT_BYTES || err_set(e, "the state has more than %d MiB of endpoints", BALLOT_BYTES >> 20);
}

static bool ballot_take(void *ctx, struct str key, struct str value, bool ahead, struct err *e)
{
    struct vote v = { .value = value };
    return ahead || !value.at || !ballot_parse(key, &v) || ballot_keep(ctx, &v, e);
}

static void ballot_free(struct ballot_things *t)
{
    for (size_t i = 0; i < t->count; i++)
        ballot_drop(&t->at[i]);
    for (size_t i = 0; i < t->old_count; i++)
        free((char *)(uintptr_t)t->old[i].thing.at);
    free(t->at);
    free(t->old);
}

bool ballot_read(struct broker *b, void (*each)(void *ctx, const struct vote *v), void *ctx, struct err *e)
{
    struct ballot_things t = { 0 };
    bool fine = broker_state(b, BALLOT_SCOPE, ballot_take, &t, e);
    for (size_t i = 0; i < t.count && fine; i++)
        each(ctx, &t.at[i]);
    for (size_t i = 0; i < t.old_count && fine; i++)
        ballot_forget(b, &t.old[i]);
    ballot_free(&t);
    return fine;
}

/* ---- storing ---- */

struct ballot_wait {      /* shared with the broker's thread; whoever comes last frees it */
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool done, left;
    enum outcome outcome;
    char why[WHY_BYTES];
};

static void ballot_wait_free(struct ballot_wait *w)
{
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->changed);
    free(w);
}

static void ballot_stored(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    struct ballot_wait *w = ctx;
    (void)tag;
    pthread_mutex_lock(&w->lock);
    w->done = true;
    w->outcome = o;
    why_copy(w->why, why ? why : "");
    bool left = w->left;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
    if (left)
        ballot_wait_free(w);
}

/* Until it is done, or nobody waits any more. */
static void ballot_await(struct ballot_wait *w, const atomic_bool *stop)
{
    int64_t until = clock_mono_ms() + BALLOT_WAIT_MS;
    while (!w->done && clock_mono_ms() < until && !(stop && atomic_load(stop)))
        thread_wait(&w->changed, &w->lock, thread_until((struct duration){ BALLOT_LOOK_MS }));
}

static bool ballot_publish(struct broker *b, const struct vote *v, const atomic_bool *stop, struct err *e)
{
    char key[BALLOT_KEY];
    struct ballot_wait *w = mem_alloc(sizeof *w);
    struct change change = { .key = ballot_key(v, key), .value = v->value };
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    broker_publish(b, &(struct publication){ .state_of = BALLOT_SCOPE,
                                             .changes = &change,
                                             .change_count = 1,
                                             .done = ballot_stored,
                                             .ctx = w });
    pthread_mutex_lock(&w->lock);
    ballot_await(w, stop);
    bool done = w->done, stored = done && w->outcome == OUTCOME_STORED;
    w->left = true;
    if (!stored)
        err_set(e, "the broker could not store it: %s", done ? w->why : "it does not answer");
    pthread_mutex_unlock(&w->lock);
    if (done)
        ballot_wait_free(w);
    return stored;
}

static void ballot_ignore(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    (void)ctx, (void)tag, (void)o, (void)why; /* what is not forgotten now is at the next reading */
}

void ballot_forget(struct broker *b, const struct vote *v)
{
    char key[BALLOT_KEY];
    struct change change = { .key = ballot_key(v, key), .value = STR_ABSENT };
    broker_publish(b, &(struct publication){
                          .state_of = BALLOT_SCOPE, .changes = &change, .change_count = 1, .done = ballot_ignore });
}

struct ballot_count {
    const struct vote *mine;
    bool seen, won;
};

static void ballot_compare(void *ctx, const struct vote *v)
{
    struct ballot_count *c = ctx;
    if (!str_eq(v->thing, c->mine->thing))
        return;
    c->seen = true;
    c->won = v->version == c->mine->version && strcmp(v->word, c->mine->word) == 0;
}

enum ballot_end ballot_put(struct broker *b, bool shared, struct vote *v, const struct vote *before,
                           const atomic_bool *stop, struct err *e)
{
    unsigned char random[(BALLOT_WORD - 1) / 2];
    struct buf hex = buf_new(BALLOT_WORD);
    struct ballot_count count = { .mine = v, .won = true };
    crypto_random(random, sizeof random);
    hex_add(&hex, (struct str){ (const char *)random, sizeof random });
    snprintf(v->word, sizeof v->word, "%s", buf_c(&hex));
    buf_free(&hex);
    if (!ballot_publish(b, v, stop, e))
        return BALLOT_FAILED;
    if (shared
        && (!ballot_read(b, ballot_compare, &count, e) || (!count.seen && !err_set(e, "it was not found again"))))
        return BALLOT_FAILED;
    if (!count.won) {
        err_set(e, "another daemon was first");
        return BALLOT_LOST;
    }
    if (before)
        ballot_forget(b, before);
    return BALLOT_WON;
}
