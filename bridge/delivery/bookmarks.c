/* SPDX-License-Identifier: MIT */
/* What a sink remembers by name, sorted by name. */
#include "bridge/delivery/bookmarks.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/buf.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/thread.h"

enum {
    UNKNOWN_MS = 1000,
    AGAIN_MS = 1000,
    SETTLE_MS = 1000, /* so long after it made a secret it looks whether another daemon's took its place */
    NOTICES = 32,
};

#define NAME_KEY "n" /* keys of the state: this and a name; the secret */

struct mark {
    struct str key, value; /* copies; value absent: it is forgotten */
    unsigned storing;      /* how many outcomes are to come */
    uint64_t changed;      /* when it was, in changes of this sink */
};

struct marks {
    struct mark *at;
    size_t count, cap, bytes;
};

struct bookmarks_view;
struct request {
    struct request *next;
    struct str key, before, value; /* copies */
    struct bookmarks_view *of;     /* who hears of it; NULL: the secret */
    struct bookmark_done done;
};

struct requests {
    struct request *first, **end;
};

/* What one thread of the sink has of them. */
struct bookmarks_view {
    struct bookmarks base;
    struct sink_bookmarks *of;
    struct bookmarks_view *next;
    int wake_fd;
    struct requests done; /* with an outcome */
    struct buf recalled;
};

struct sink_bookmarks {
    struct broker *broker;
    char *scope;
    struct mailbox stored; /* tags: addresses of what is flying */
    pthread_t thread;
    /* Guards what follows; with changed. It is held while the broker is handed a change, so that those of two threads come
     * to it in the order in which they count. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct bookmarks_view *views;
    bool shared, loaded, reading, doubted, threaded;
    int64_t loaded_ms;
    int64_t made_ms; /* when this one made the secret; 0: it did not, or has seen since that all have that one */
    bool looks;      /* at that */
    struct requests early, flying; /* before there is a copy; being stored */
    struct marks marks;
    uint64_t changes, changes_then; /* then: when the reading under way was asked for */
    bool wanted, ended, fresh;      /* a reading is wanted; no more of them; `read` is a new one */
    bool said;                      /* that it cannot be read */
    struct marks read;
};

/* There is something to ask again for. */
static void bookmarks_wake(const struct sink_bookmarks *b)
{
    for (const struct bookmarks_view *v = b->views; v; v = v->next)
        wake_up(v->wake_fd);
}

/* ---- marks ---- */

static struct str bookmarks_keep(struct str s)
{
    return s.at ? (struct str){ str_dup(s), s.n } : s;
}

static void bookmarks_drop(struct str s)
{
    free((char *)(uintptr_t)s.at);
}

/* The place of the key, or where it would be. */
static size_t marks_place(const struct marks *m, struct str key)
{
    size_t low = 0, high = m->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (str_order(m->at[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct mark *marks_find(const struct marks *m, struct str key)
{
    size_t i = marks_place(m, key);
    return i < m->count && str_eq(m->at[i].key, key) ? &m->at[i] : NULL;
}

static struct mark *marks_set(struct marks *m, struct str key, struct str value)
{
    size_t i = marks_place(m, key);
    if (i == m->count || !str_eq(m->at[i].key, key)) {
        if (m->count == m->cap)
            m->at = mem_grow(m->at, m->cap = m->cap ? m->cap * 2 : 16, sizeof *m->at);
        memmove(m->at + i + 1, m->at + i, (m->count++ - i) * sizeof *m->at);
        m->at[i] = (struct mark){ .key = bookmarks_keep(key) };
        m->bytes += key.n;
    }
    m->bytes = m->bytes - m->at[i].value.n + value.n;
    bookmarks_drop(m->at[i].value);
    m->at[i].value = bookmarks_keep(value);
    return &m->at[i];
}

static void marks_remove(struct marks *m, struct mark *gone)
{
    size_t i = (size_t)(gone - m->at);
    m->bytes -= gone->key.n + gone->value.n;
    bookmarks_drop(gone->key);
    bookmarks_drop(gone->value);
    memmove(m->at + i, m->at + i + 1, (--m->count - i) * sizeof *m->at);
}

static void marks_free(struct marks *m)
{
    for (size_t i = 0; i < m->count; i++) {
        bookmarks_drop(m->at[i].key);
        bookmarks_drop(m->at[i].value);
    }
    free(m->at);
    *m = (struct marks){ 0 };
}

/* ---- the thread: reads ---- */

static bool bookmarks_take_pair(void *ctx, struct str key, struct str value, bool ahead, struct err *e)
{
    (void)e;
    if (!ahead && key.n && value.at)
        marks_set(ctx, key, value);
    return true;
}

/* With the lock held, which is given back while the broker reads. */
static void bookmarks_read(struct sink_bookmarks *b)
{
    struct marks read = { 0 };
    struct err e = { "" };
    pthread_mutex_unlock(&b->lock);
    bool fine = broker_state(b->broker, b->scope, bookmarks_take_pair, &read, &e);
    pthread_mutex_lock(&b->lock);
    if (!fine) {
        marks_free(&read);
        if (!b->said)
            LOG(WARN, "what a sink remembers cannot be read; trying again", LOG_C("state", b->scope),
                LOG_C("reason", e.text));
        b->said = true;
        if (!b->ended)
            thread_wait(&b->changed, &b->lock, thread_until((struct duration){ AGAIN_MS }));
        return;
    }
    marks_free(&b->read);
    b->read = read;
    b->said = false;
    b->wanted = false;
    b->fresh = true;
    bookmarks_wake(b);
}

static void *bookmarks_run(void *arg)
{
    struct sink_bookmarks *b = arg;
    pthread_mutex_lock(&b->lock);
    while (!b->ended)
        if (b->wanted)
            bookmarks_read(b);
        else
            pthread_cond_wait(&b->changed, &b->lock);
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

/* ---- the sink's threads; the lock is held ---- */

/* Wants a copy, or a new one. */
static void bookmarks_want(struct sink_bookmarks *b)
{
    if (b->reading)
        return;
    b->reading = true;
    b->changes_then = b->changes;
    if (!b->threaded)
        CHECK(pthread_create(&b->thread, NULL, bookmarks_run, b) == 0);
    b->threaded = true;
    b->wanted = true;
    pthread_cond_signal(&b->changed);
}

static void requests_add(struct requests *r, struct request *q)
{
    q->next = NULL;
    r->end = r->first ? r->end : &r->first;
    *r->end = q;
    r->end = &q->next;
}

static struct request *requests_take(struct requests *r)
{
    struct request *q = r->first;
    if (q)
        r->first = q->next;
    return q;
}

static void request_free(struct request *q)
{
    bookmarks_drop(q->key);
    bookmarks_drop(q->before);
    bookmarks_drop(q->value);
    free(q);
}

static void bookmarks_tell(struct sink_bookmarks *b, struct request *q, enum bookmark_outcome o, const char *why)
{
    q->done.outcome = o;
    why_copy(q->done.why, why);
    if (q->of)
        requests_add(&q->of->done, q);
    else
        request_free(q);
    bookmarks_wake(b);
}

static void bookmarks_stored(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    struct sink_bookmarks *b = ctx;
    mailbox_put(&b->stored, tag, (int32_t)o, why);
}

static const char *bookmarks_refusal(const struct sink_bookmarks *b, const struct request *q, const struct mark *mark)
{
    if (q->key.n <= 1 || q->key.n > 1 + BOOKMARK_NAME_MAX)
        return "a name has 1 to 128 bytes";
    if (q->value.n > BOOKMARK_BYTES)
        return "the value has more than 4 KiB";
    if (q->value.at && !mark && b->marks.count >= BOOKMARKS_MOST)
        return "10,000 names are remembered already";
    if (b->marks.bytes - (mark ? mark->value.n : 0) + q->value.n > BOOKMARKS_BYTES)
        return "16 MiB are remembered already";
    return NULL;
}

/* Publishes it if it may be. */
static void bookmarks_begin(struct sink_bookmarks *b, struct request *q)
{
    struct mark *mark = marks_find(&b->marks, q->key);
    struct str now = mark ? mark->value : STR_ABSENT;
    const char *refusal = bookmarks_refusal(b, q, mark);
    bool same = now.at && q->before.at ? str_eq(now, q->before) : !now.at && !q->before.at;
    if (refusal || !same) {
        bookmarks_tell(b, q, refusal ? BOOKMARK_REFUSED : BOOKMARK_CHANGED, refusal ? refusal : "it was changed");
        return;
    }
    mark = marks_set(&b->marks, q->key, q->value);
    mark->storing++;
    mark->changed = ++b->changes;
    requests_add(&b->flying, q);
    struct change change = { .key = q->key, .value = q->value };
    broker_publish(b->broker, &(struct publication){ .state_of = b->scope,
                                                     .changes = &change,
                                                     .change_count = 1,
                                                     .done = bookmarks_stored,
                                                     .ctx = b,
                                                     .tag = (uint64_t)(uintptr_t)q });
}

static void bookmarks_end(struct sink_bookmarks *b, const struct notice *n)
{
    struct request **place = &b->flying.first;
    while ((uint64_t)(uintptr_t)*place != n->tag)
        place = &(*place)->next;
    struct request *q = *place;
    *place = q->next;
    if (!q->next)
        b->flying.end = place;
    struct mark *mark = marks_find(&b->marks, q->key);
    CHECK(mark && mark->storing > 0);
    mark->changed = ++b->changes;
    bool stored = n->code == OUTCOME_STORED;
    if (--mark->storing == 0 && !mark->value.at && !b->reading)
        marks_remove(&b->marks, mark);
    if (!stored) { /* it may be there or not, whatever a reading that began before says */
        b->loaded = false;
        b->doubted = b->reading;
    }
    bookmarks_tell(b, q, stored ? BOOKMARK_STORED : BOOKMARK_FAILED, n->why);
}

/* A new copy: what was changed since it was asked for, or is being stored, stays. */
static void bookmarks_merge(struct sink_bookmarks *b, struct marks *read)
{
    for (size_t i = 0; i < b->marks.count; i++) {
        const struct mark *mark = &b->marks.at[i];
        if (!mark->storing && mark->changed <= b->changes_then)
            continue;
        struct mark *kept = marks_set(read, mark->key, mark->value);
        kept->storing = mark->storing;
        kept->changed = mark->changed;
    }
    marks_free(&b->marks);
    b->marks = *read;
    b->reading = false;
    b->loaded = !b->doubted;
    b->doubted = false;
    b->loaded_ms = clock_mono_ms();
}

/* What came from other threads. */
static void bookmarks_serve(struct sink_bookmarks *b)
{
    struct notice notices[NOTICES];
    for (size_t n; (n = mailbox_take(&b->stored, notices, NOTICES)) > 0;)
        for (size_t i = 0; i < n; i++)
            bookmarks_end(b, &notices[i]);
    struct marks read = b->read;
    if (b->fresh) {
        b->read = (struct marks){ 0 };
        b->fresh = false;
        bookmarks_merge(b, &read);
    }
    if (!b->loaded && (b->early.first || b->marks.count))
        bookmarks_want(b);
    for (struct request *q; b->loaded && (q = requests_take(&b->early));)
        bookmarks_begin(b, q);
}

/* ---- the sink's threads ---- */

/* With the lock, and all that came from other threads. */
static struct sink_bookmarks *bookmarks_enter(struct bookmarks *base)
{
    struct sink_bookmarks *b = ((struct bookmarks_view *)base)->of;
    pthread_mutex_lock(&b->lock);
    bookmarks_serve(b);
    return b;
}

static bool bookmarks_leave(struct sink_bookmarks *b, bool known)
{
    if (!known)
        bookmarks_want(b);
    pthread_mutex_unlock(&b->lock);
    return known;
}

static void bookmarks_remember(struct bookmarks *base, struct str name, struct str before, struct str value,
                               uint64_t tag)
{
    struct request *q = mem_alloc(sizeof *q);
    char *key = mem_alloc(name.n + 1);
    key[0] = NAME_KEY[0];
    memcpy(key + 1, name.at ? name.at : "", name.n);
    *q = (struct request){ .key = { key, name.n + 1 },
                           .before = bookmarks_keep(before),
                           .value = bookmarks_keep(value),
                           .of = (struct bookmarks_view *)base,
                           .done.tag = tag };
    struct sink_bookmarks *b = bookmarks_enter(base);
    requests_add(&b->early, q);
    bookmarks_serve(b);
    pthread_mutex_unlock(&b->lock);
}

static size_t bookmarks_done(struct bookmarks *base, struct bookmark_done *out, size_t room)
{
    struct sink_bookmarks *b = bookmarks_enter(base);
    struct bookmarks_view *v = (struct bookmarks_view *)base;
    size_t n = 0;
    for (struct request *q; n < room && (q = requests_take(&v->done)); request_free(q))
        out[n++] = q->done;
    pthread_mutex_unlock(&b->lock);
    return n;
}

static bool bookmarks_recall(struct bookmarks *base, struct str name, struct str *out)
{
    struct bookmarks_view *v = (struct bookmarks_view *)base;
    char key[1 + BOOKMARK_NAME_MAX] = NAME_KEY;
    *out = STR_ABSENT;
    if (name.n == 0 || name.n > BOOKMARK_NAME_MAX)
        return true;
    memcpy(key + 1, name.at, name.n);
    struct sink_bookmarks *b = bookmarks_enter(base);
    const struct mark *mark = marks_find(&b->marks, (struct str){ key, name.n + 1 });
    int64_t age = clock_mono_ms() - b->loaded_ms;
    bool stale = b->shared && age > (mark ? BOOKMARKS_FRESH_MS : UNKNOWN_MS);
    buf_reset(&v->recalled);
    if (mark && mark->value.at) {
        buf_add_str(&v->recalled, mark->value);
        *out = v->recalled.n ? buf_str(&v->recalled) : STR("");
    }
    return bookmarks_leave(b, b->loaded && !stale);
}

/* Makes the secret, which nobody else has made. */
static void bookmarks_make_secret(struct sink_bookmarks *b)
{
    unsigned char fresh[BOOKMARKS_SECRET];
    crypto_random(fresh, sizeof fresh);
    struct request *q = mem_alloc(sizeof *q);
    *q = (struct request){ .key = bookmarks_keep(str_of(BOOKMARKS_SECRET_KEY)),
                           .value = bookmarks_keep((struct str){ (const char *)fresh, sizeof fresh }) };
    b->made_ms = b->shared ? clock_mono_ms() : 0;
    bookmarks_begin(b, q);
}

/* Two that begin at the same moment each make a secret; the later one is in the state then, and counts. */
static bool bookmarks_is_sure(struct sink_bookmarks *b)
{
    if (!b->made_ms)
        return true;
    if (b->reading || clock_mono_ms() - b->made_ms < SETTLE_MS)
        return false;
    if (b->looks) /* it has looked */
        b->made_ms = 0;
    else
        bookmarks_want(b);
    b->looks = !b->looks;
    return !b->made_ms;
}

static bool bookmarks_secret(struct bookmarks *base, unsigned char out[BOOKMARKS_SECRET])
{
    struct sink_bookmarks *b = bookmarks_enter(base);
    const struct mark *mark = marks_find(&b->marks, str_of(BOOKMARKS_SECRET_KEY));
    bool loaded = b->loaded, known = loaded && mark && mark->storing == 0;
    if (known && mark->value.n == BOOKMARKS_SECRET)
        memcpy(out, mark->value.at, BOOKMARKS_SECRET);
    if (loaded && !mark)
        bookmarks_make_secret(b);
    known = known && bookmarks_is_sure(b);
    bookmarks_leave(b, loaded);
    return known;
}

static bool bookmarks_each(struct bookmarks *base, void (*one)(void *ctx, struct str name, struct str value), void *ctx)
{
    struct sink_bookmarks *b = bookmarks_enter(base);
    bool known = b->loaded && !(b->shared && clock_mono_ms() - b->loaded_ms > UNKNOWN_MS);
    for (size_t i = 0; known && i < b->marks.count; i++)
        if (str_starts(b->marks.at[i].key, STR(NAME_KEY)) && b->marks.at[i].value.at)
            one(ctx, str_from(b->marks.at[i].key, sizeof NAME_KEY - 1), b->marks.at[i].value);
    return bookmarks_leave(b, known);
}

static const struct bookmarks_ops bookmarks_ops = { .remember = bookmarks_remember,
                                                    .done = bookmarks_done,
                                                    .recall = bookmarks_recall,
                                                    .each = bookmarks_each,
                                                    .secret = bookmarks_secret };

/* ---- life ---- */

static struct bookmarks *bookmarks_view(struct sink_bookmarks *b, int wake_fd)
{
    struct bookmarks_view *v = mem_alloc(sizeof *v);
    pthread_mutex_lock(&b->lock);
    *v = (struct bookmarks_view){
        .base.ops = &bookmarks_ops, .of = b, .next = b->views, .wake_fd = wake_fd, .recalled = buf_new(BOOKMARK_BYTES)
    };
    b->views = v;
    pthread_mutex_unlock(&b->lock);
    return &v->base;
}

struct bookmarks *bookmarks_new(struct broker *broker, const char *sink, bool shared, int wake_fd)
{
    struct sink_bookmarks *b = mem_alloc(sizeof *b);
    *b = (struct sink_bookmarks){ .broker = broker, .scope = str_join(BOOKMARKS_SCOPE, sink, ""), .shared = shared };
    mailbox_open(&b->stored, wake_fd);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->changed, NULL);
    return bookmarks_view(b, wake_fd);
}

struct bookmarks *bookmarks_copy(struct bookmarks *base, int wake_fd)
{
    return bookmarks_view(((struct bookmarks_view *)base)->of, wake_fd);
}

void bookmarks_close(struct bookmarks *base)
{
    struct sink_bookmarks *b = base ? ((struct bookmarks_view *)base)->of : NULL;
    if (!b || !b->threaded)
        return;
    pthread_mutex_lock(&b->lock);
    b->ended = true;
    pthread_cond_signal(&b->changed);
    pthread_mutex_unlock(&b->lock);
    pthread_join(b->thread, NULL);
    b->threaded = false;
}

static void requests_free(struct requests *r)
{
    for (struct request *q; (q = requests_take(r));)
        request_free(q);
}

/* The last one has gone. */
static void bookmarks_free_all(struct sink_bookmarks *b)
{
    requests_free(&b->early);
    requests_free(&b->flying);
    marks_free(&b->marks);
    marks_free(&b->read);
    mailbox_close(&b->stored);
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->changed);
    free(b->scope);
    free(b);
}

void bookmarks_free(struct bookmarks *base)
{
    struct bookmarks_view *v = (struct bookmarks_view *)base, **at;
    if (!v)
        return;
    struct sink_bookmarks *b = v->of;
    bookmarks_close(base);
    requests_free(&v->done);
    buf_free(&v->recalled);
    for (at = &b->views; *at != v;)
        at = &(*at)->next;
    *at = v->next;
    if (!b->views)
        bookmarks_free_all(b);
    free(v);
}
