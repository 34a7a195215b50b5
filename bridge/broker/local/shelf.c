/* SPDX-License-Identifier: MIT */
/* What was just read of a partition, so that one reading serves all of its readers.
 *
 *   [ batch: records 100 to 355 ] [ 356 to 611 ] - - - - - - - - - - [ 2100 to 2355 ]
 *        ^ a reader at 200 takes references      ^ a reader at 612 reads on, up to 2100 at most, and what it reads
 *                                                  becomes a batch
 *
 * Who comes to a place where somebody is reading on waits for that. A batch goes when all readers have passed it, or when
 * there are too many: first the one that is farthest ahead of the next reader to come. */
#include <stdlib.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/mem.h"

enum {
    BATCHES = 16,            /* of one partition */
    BATCHES_BYTES = 16 << 20 /* of all partitions together */
};

struct batch {
    struct batch *next;
    int64_t first, end;
    size_t bytes;
    struct record *at[];
};

void local_shelf_open(struct shelf *s)
{
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->read, NULL);
}

/* Gives back a list of batches, without the lock. */
static void shelf_free(struct local *l, struct batch *b)
{
    for (struct batch *next; b; b = next) {
        next = b->next;
        for (int64_t i = 0; i < b->end - b->first; i++)
            record_free(b->at[i]);
        atomic_fetch_sub(&l->shelved, b->bytes);
        free(b);
    }
}

/* With the lock held, as all that follows: moves a batch into a list of those that go. */
static void shelf_drop(struct shelf *s, struct batch **place, struct batch **gone)
{
    struct batch *b = *place;
    CHECK(b);
    *place = b->next;
    s->batches--;
    b->next = *gone;
    *gone = b;
}

/* Drops what all readers have passed; without readers, everything. */
static void shelf_tidy(struct shelf *s, struct batch **gone)
{
    int64_t last = INT64_MAX;
    for (const struct shelf_reader *r = s->readers; r; r = r->next)
        last = r->at < last ? r->at : last;
    while (s->first && s->first->end <= last)
        shelf_drop(s, &s->first, gone);
}

/* How far the batch is ahead of the next reader that comes to it. */
static int64_t shelf_distance(const struct shelf *s, const struct batch *b)
{
    int64_t least = INT64_MAX;
    for (const struct shelf_reader *r = s->readers; r; r = r->next) {
        int64_t distance = r->at >= b->end ? INT64_MAX : r->at >= b->first ? 0 : b->first - r->at;
        least = distance < least ? distance : least;
    }
    return least;
}

static void shelf_drop_farthest(struct shelf *s, struct batch **gone)
{
    struct batch **farthest = &s->first;
    int64_t most = -1;
    for (struct batch **place = &s->first; *place; place = &(*place)->next) {
        int64_t distance = shelf_distance(s, *place);
        if (distance > most)
            farthest = place;
        most = distance > most ? distance : most;
    }
    shelf_drop(s, farthest, gone);
}

/* ---- readers come and go ---- */

void local_shelf_join(struct shelf *s, struct shelf_reader *r, int64_t at)
{
    pthread_mutex_lock(&s->lock);
    r->at = at;
    r->next = s->readers;
    s->readers = r;
    pthread_mutex_unlock(&s->lock);
}

void local_shelf_part(struct local *l, struct shelf *s, struct shelf_reader *r)
{
    struct batch *gone = NULL;
    pthread_mutex_lock(&s->lock);
    struct shelf_reader **at = &s->readers;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    shelf_tidy(s, &gone);
    pthread_mutex_unlock(&s->lock);
    shelf_free(l, gone);
}

void local_shelf_close(struct shelf *s)
{
    CHECK(!s->readers && !s->first);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->read);
}

/* ---- taking ---- */

/* References to records from `next` on, as far as they stand here; *end: where the first batch ahead begins. */
static size_t shelf_find(const struct shelf *s, int64_t next, int64_t until, int64_t *end, struct record **out,
                         size_t room)
{
    size_t n = 0;
    *end = INT64_MAX;
    for (const struct batch *b = s->first; b; b = b->next) {
        if (next < b->first) {
            *end = b->first;
            break;
        }
        for (; next < b->end && next < until && n < room; next++)
            out[n++] = record_ref(b->at[next - b->first]);
    }
    return n;
}

static struct shelf_reading *shelf_reading_at(struct shelf *s, int64_t at)
{
    for (size_t i = 0; i < SHELF_READINGS; i++)
        if (s->readings[i].at == at && s->readings[i].busy)
            return &s->readings[i];
    return NULL;
}

/* Begins a reading at this place; false when there are too many. */
static bool shelf_begin(struct shelf *s, int64_t at)
{
    for (size_t i = 0; i < SHELF_READINGS; i++)
        if (!s->readings[i].busy) {
            s->readings[i] = (struct shelf_reading){ .busy = true, .at = at };
            return true;
        }
    return false;
}

size_t local_shelf_take(struct local *l, struct shelf *s, struct shelf_reader *r, int64_t next, int64_t until,
                        struct record **out, size_t room, int64_t *end, bool *reads_on)
{
    struct batch *gone = NULL;
    pthread_mutex_lock(&s->lock);
    size_t n = shelf_find(s, next, until, end, out, room);
    while (!n && shelf_reading_at(s, next)) {
        pthread_cond_wait(&s->read, &s->lock);
        n = shelf_find(s, next, until, end, out, room);
    }
    *reads_on = !n && shelf_begin(s, next);
    r->at = next + (int64_t)n;
    shelf_tidy(s, &gone);
    pthread_mutex_unlock(&s->lock);
    shelf_free(l, gone);
    return n;
}

/* ---- putting ---- */

static struct batch *shelf_batch(struct record *const *records, size_t count)
{
    struct batch *b = mem_alloc(sizeof *b + count * sizeof(struct record *));
    b->first = count ? records[0]->offset : 0;
    b->end = b->first + (int64_t)count;
    memcpy(b->at, records, count * sizeof(struct record *));
    for (size_t i = 0; i < count; i++)
        b->bytes += sizeof(struct record) + records[i]->value.n + records[i]->header_count * sizeof(struct header);
    return b;
}

/* Puts the batch at its place; false when it is empty, or some of it is there already. */
static bool shelf_insert(struct shelf *s, struct batch *b)
{
    struct batch **place = &s->first;
    while (*place && (*place)->end <= b->first)
        place = &(*place)->next;
    if (b->first == b->end || (*place && (*place)->first < b->end))
        return false;
    b->next = *place;
    *place = b;
    s->batches++;
    return true;
}

void local_shelf_put(struct local *l, struct shelf *s, struct shelf_reader *r, int64_t from, int64_t next,
                     struct record *const *records, size_t count)
{
    struct batch *b = shelf_batch(records, count), *gone = NULL;
    bool too_much = atomic_fetch_add(&l->shelved, b->bytes) + b->bytes > BATCHES_BYTES;
    pthread_mutex_lock(&s->lock);
    shelf_reading_at(s, from)->busy = false;
    r->at = next;
    if (!shelf_insert(s, b))
        gone = b;
    shelf_tidy(s, &gone);
    while (s->batches > BATCHES || (too_much && s->first && !gone))
        shelf_drop_farthest(s, &gone);
    pthread_cond_broadcast(&s->read);
    pthread_mutex_unlock(&s->lock);
    shelf_free(l, gone);
}
