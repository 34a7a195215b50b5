/* SPDX-License-Identifier: MIT */
/* Reading a stretch of a topic once, without a group: a source's state, and the last records of a topic. */
#include <stdlib.h>
#include <time.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum { SILENCE_MS = 60000, ASK_MS = 5000, TOPIC_MS = 5000, LEADER_MS = 10000 };

/* ---- a stretch ---- */

struct stretch {
    struct kafka *b;
    const char *topic;
    int64_t most;     /* shared by the partitions evenly; INT64_MAX: all */
    int64_t since_ms; /* what is before need not come; 0: all */
    /* To the end of what is committed by now. Else to the end of what is stored by now: what is behind a transaction that is
     * open comes when that ends. */
    bool committed;
    bool may_lack;           /* of the latter: after a while without */
    const atomic_bool *stop; /* ends early when set; NULL: only with the broker */
    void (*each)(void *ctx, rd_kafka_message_t *m);
    void *ctx;
};

rd_kafka_resp_err_t kafka_ends(rd_kafka_t *rk, const char *topic, int32_t partition, int64_t *low, int64_t *high)
{
    int64_t until = clock_mono_ms() + LEADER_MS;
    for (;;) {
        rd_kafka_resp_err_t code = kafka_watermarks(rk, topic, partition, low, high, ASK_MS);
        bool leaderless = code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION
                          || code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
        if (!leaderless || clock_mono_ms() > until)
            return code;
        nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
    }
}

/* Where to begin in each partition; its metadata says where it ends now. Empty partitions are left out. */
static rd_kafka_topic_partition_list_t *read_plan(const struct stretch *s, rd_kafka_t *rk, int32_t partitions,
                                                  int64_t *ends, struct err *e)
{
    struct kafka_client *all = s->committed ? NULL : kafka_client_take(s->b); /* sees what is not committed, too */
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    int64_t share = s->most / partitions + (s->most % partitions != 0);
    for (int32_t p = 0; p < partitions; p++) {
        int64_t low = 0, high = 0;
        rd_kafka_resp_err_t code = kafka_ends(all ? all->rk : rk, s->topic, p, &low, &high);
        if (code) {
            rd_kafka_topic_partition_list_destroy(list);
            (void)(kafka_access_fail(s->b, code, s->topic, NULL, e)
                   || err_prefix(e, "%s/%d: cannot ask for its offsets", s->topic, p));
            list = NULL;
            break;
        }
        ends[p] = high;
        int64_t begin = high - low > share ? high - share : low;
        if (high > begin && share > 0)
            rd_kafka_topic_partition_list_add(list, s->topic, p)->offset = begin;
        else
            ends[p] = -1;
    }
    if (all)
        kafka_client_give(all);
    return list;
}

struct read_look {
    const struct stretch *s;
    rd_kafka_t *rk;
    int32_t partition;
};

/* The first record at that offset or behind it (kafka_look_fn). */
static bool read_look(void *ctx, int64_t offset, int64_t *found, int64_t *stored_ms)
{
    const struct read_look *l = ctx;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, l->s->topic, l->partition)->offset = offset;
    rd_kafka_assign(l->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    int64_t until = clock_mono_ms() + ASK_MS;
    bool known = false, failed = false;
    while (!known && !failed && clock_mono_ms() < until) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(l->rk, 100);
        if (!m)
            continue;
        failed = m->err && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF && m->rkt;
        known = m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF || (!m->err && m->offset >= offset);
        *found = INT64_MAX;
        if (known && !m->err) {
            struct record *r = kafka_record(m);
            *found = r->offset;
            *stored_ms = r->stored_ms;
            record_free(r);
        }
        rd_kafka_message_destroy(m);
    }
    return known;
}

/* Begins later where what is before was stored too early: by their timestamps all before `at` are older, but those that have
 * the time of their event may have been stored since. When that cannot be found out, all of it is read. */
static void read_begin_at(const struct stretch *s, rd_kafka_t *rk, rd_kafka_topic_partition_t *p, int64_t at)
{
    struct read_look look = { s, rk, p->partition };
    int64_t begin;
    if (at > p->offset && kafka_time_search(p->offset, at, s->since_ms, read_look, &look, &begin))
        p->offset = begin;
}

/* Begins later where the cluster knows that what is before was stored too early; partitions without anything else are left
 * out. When it does not say, all of it is read. */
static void read_later(const struct stretch *s, rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int64_t *ends)
{
    struct kafka_client *all = kafka_client_take(s->b);
    rd_kafka_topic_partition_list_t *found = rd_kafka_topic_partition_list_copy(list);
    for (int i = 0; i < found->cnt; i++)
        found->elems[i].offset = s->since_ms;
    bool fine = rd_kafka_offsets_for_times(all->rk, found, ASK_MS) == RD_KAFKA_RESP_ERR_NO_ERROR;
    kafka_client_give(all);
    for (int i = list->cnt; fine && i-- > 0;) {
        const rd_kafka_topic_partition_t *f = &found->elems[i];
        if (f->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            read_begin_at(s, rk, &list->elems[i], f->offset == RD_KAFKA_OFFSET_END ? ends[f->partition] : f->offset);
        if (list->elems[i].offset < ends[f->partition])
            continue;
        ends[f->partition] = -1;
        rd_kafka_topic_partition_list_del_by_idx(list, i);
    }
    rd_kafka_topic_partition_list_destroy(found);
}

/* Takes one record, or the news that a partition has no more; closes a partition that has reached its end. */
static bool read_message(const struct stretch *s, rd_kafka_message_t *m, int64_t *ends, int *open, struct err *e)
{
    bool ended = m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
    if (!m->rkt || m->partition < 0)
        return true; /* errors of the client as a whole mend themselves, or time runs out */
    if (m->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
        kafka_access_denied(s->b, KAFKA_READ, s->topic);
        return kafka_access_ready(s->b, e);
    }
    if (m->err && !ended)
        return err_set(e, "%s/%d@%lld: %s", s->topic, m->partition, (long long)m->offset, rd_kafka_message_errstr(m));
    kafka_access_granted(s->b, KAFKA_READ, s->topic);
    int64_t *end = &ends[m->partition];
    if (!ended && *end >= 0 && m->offset < *end)
        s->each(s->ctx, m);
    if (*end >= 0 && (ended ? m->offset : m->offset + 1) >= *end) {
        *end = -1;
        --*open;
    }
    return true;
}

static bool read_is_over(const struct stretch *s)
{
    return atomic_load(&s->b->stop) || (s->stop && atomic_load(s->stop));
}

/* Nothing came for long. Was that for a transaction that does not end? */
static bool read_in_vain(const struct stretch *s, bool ended, struct err *e)
{
    if (!ended)
        return err_set(e, "topic %s: reading it back, nothing came for %d s", s->topic, SILENCE_MS / 1000);
    err_set(
        e,
        "topic %s: somebody's transaction is open there for more than %d s, and what was stored behind it cannot be read "
        "before it ends",
        s->topic, SILENCE_MS / 1000);
    if (s->may_lack)
        LOG(WARN, "a topic is read back without its end", LOG_C("reason", e->text));
    return s->may_lack;
}

/* Reads until every partition has reached its end, however long that takes, as long as something comes. */
static bool read_all(const struct stretch *s, rd_kafka_t *rk, int open, int64_t *ends, struct err *e)
{
    int64_t until = clock_mono_ms() + SILENCE_MS;
    bool fine = true, ended = false;
    while (open > 0 && fine) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 100);
        int64_t now = clock_mono_ms();
        if (m && !m->err)
            until = now + SILENCE_MS;
        if (m)
            ended = m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF || (ended && m->err);
        if (m && now <= until)
            fine = read_message(s, m, ends, &open, e);
        if (m)
            rd_kafka_message_destroy(m);
        if (read_is_over(s))
            return err_set(e, "topic %s: stopped while it was read back", s->topic);
        if (now > until)
            return read_in_vain(s, ended, e);
    }
    return fine;
}

static bool read_stretch(const struct stretch *s, struct err *e)
{
    int32_t partitions = kafka_topic_wait(s->b, s->topic, (struct duration){ TOPIC_MS }, e);
    if (partitions == 0)
        return false;
    rd_kafka_t *rk = kafka_client_reader(s->b->config, s->b, e);
    if (!rk)
        return false;
    int64_t *ends = mem_alloc((size_t)partitions * sizeof *ends);
    rd_kafka_topic_partition_list_t *list = read_plan(s, rk, partitions, ends, e);
    bool fine = list != NULL;
    if (fine && list->cnt > 0 && s->since_ms)
        read_later(s, rk, list, ends);
    if (fine && list->cnt > 0) {
        rd_kafka_assign(rk, list);
        fine = read_all(s, rk, list->cnt, ends, e);
    }
    if (list)
        rd_kafka_topic_partition_list_destroy(list);
    kafka_client_reader_end(rk, s->b);
    free(ends);
    return fine;
}

/* ---- the tail ---- */

struct tail {
    int64_t since_ms;
    void (*each)(void *, const struct record *);
    void *ctx;
};

static void read_tail_record(void *ctx, rd_kafka_message_t *m)
{
    struct tail *t = ctx;
    struct record *r = kafka_record(m);
    if (t->since_ms == 0 || r->timestamp_ms >= t->since_ms)
        t->each(t->ctx, r);
    record_free(r);
}

bool kafka_tail(struct broker *base, const char *topic, const struct tail_options *o,
                void (*each)(void *, const struct record *), void *ctx, struct err *e)
{
    struct tail t = { o->since_ms, each, ctx };
    return read_stretch(&(struct stretch){ .b = (struct kafka *)base,
                                           .topic = topic,
                                           .most = o->most,
                                           .since_ms = o->since_ms,
                                           .may_lack = true,
                                           .each = read_tail_record,
                                           .ctx = &t },
                        e);
}

/* ---- the state ---- */

struct pair {       /* one record of the state topic: the last of its key counts */
    struct str key; /* behind the source's id and the NUL: kind, then the change's key */
    struct str value;
    int64_t offset;
    char *bytes;
};

struct pairs {
    struct str source;
    struct pair *at;
    size_t count, cap, squeeze; /* squeeze: drop what is outdated at this count */
    char kind;                  /* of that alone; 0: of all */
};

static int read_by_key(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    size_t n = x->key.n < y->key.n ? x->key.n : y->key.n;
    int order = n ? memcmp(x->key.at, y->key.at, n) : 0;
    if (order == 0)
        order = (x->key.n > y->key.n) - (x->key.n < y->key.n);
    return order ? order : (x->offset > y->offset) - (x->offset < y->offset);
}

/* Sorts by key and keeps the last of each. */
static void read_squeeze(struct pairs *p)
{
    size_t kept = 0;
    if (p->count)
        qsort(p->at, p->count, sizeof *p->at, read_by_key);
    for (size_t i = 0; i < p->count; i++)
        if (i + 1 < p->count && str_eq(p->at[i].key, p->at[i + 1].key))
            free(p->at[i].bytes);
        else
            p->at[kept++] = p->at[i];
    p->count = kept;
    p->squeeze = kept * 2 + 1024;
}

static void read_pair(void *ctx, rd_kafka_message_t *m)
{
    struct pairs *p = ctx;
    size_t head = p->source.n + 1;
    if (m->key_len <= head || memcmp(m->key, p->source.at, p->source.n) != 0
        || ((const char *)m->key)[p->source.n] != '\0' || (p->kind && ((const char *)m->key)[head] != p->kind))
        return;
    if (p->count == p->cap)
        p->at = mem_grow(p->at, p->cap = p->cap ? p->cap * 2 : 64, sizeof *p->at);
    struct pair *at = &p->at[p->count++];
    size_t n = m->key_len - head;
    at->bytes = mem_alloc(n + m->len);
    memcpy(at->bytes, (const char *)m->key + head, n);
    if (m->len)
        memcpy(at->bytes + n, m->payload, m->len);
    at->key = (struct str){ at->bytes, n };
    at->value = m->payload ? (struct str){ at->bytes + n, m->len } : STR_ABSENT;
    at->offset = m->offset;
    if (p->count >= p->squeeze)
        read_squeeze(p);
}

/* Is the intent newer than the pair of the same key? Else the change that it announced has come. */
static bool read_intent_holds(const struct pairs *p, const struct pair *intent)
{
    char *key = mem_alloc(intent->key.n);
    memcpy(key, intent->key.at, intent->key.n);
    key[0] = STATE_PAIR;
    struct pair want = { .key = { key, intent->key.n }, .offset = INT64_MAX };
    size_t low = 0, high = p->count;
    while (low < high) { /* the first that is not before `want`; its neighbour below has the key, if any has */
        size_t middle = low + (high - low) / 2;
        if (read_by_key(&p->at[middle], &want) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    bool outdated = low > 0 && str_eq(p->at[low - 1].key, want.key) && p->at[low - 1].offset > intent->offset;
    free(key);
    return !outdated;
}

static int read_by_offset(const void *a, const void *b)
{
    const struct pair *const *x = a, *const *y = b;
    return ((*x)->offset > (*y)->offset) - ((*x)->offset < (*y)->offset);
}

/* What is told of that kind, oldest first; their number in *count. free() it. */
static const struct pair **read_in_order(const struct pairs *p, char kind, size_t *count)
{
    const struct pair **order = mem_alloc((p->count + 1) * sizeof *order);
    *count = 0;
    for (size_t i = 0; i < p->count; i++)
        if (p->at[i].key.at[0] == kind && p->at[i].value.at)
            order[(*count)++] = &p->at[i];
    qsort(order, *count, sizeof *order, read_by_offset);
    return order;
}

static bool read_tell(const struct pairs *p, char kind,
                      bool (*each)(void *, struct str, struct str, bool, struct err *), void *ctx, struct err *e)
{
    bool fine = true;
    size_t count;
    const struct pair **order = read_in_order(p, kind, &count);
    for (size_t i = 0; i < count && fine; i++) {
        const struct pair *pair = order[i];
        struct str key = { pair->key.at + 1, pair->key.n - 1 }, value = pair->value;
        if (kind == STATE_INTENT) {
            if (value.n == 0 || !read_intent_holds(p, pair))
                continue;
            value = value.at[0] == INTENT_FORGET ? STR_ABSENT : (struct str){ value.at + 1, value.n - 1 };
        }
        fine = each(ctx, key, value, kind == STATE_INTENT, e);
    }
    free(order);
    return fine;
}

static void read_pairs_free(struct pairs *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->at[i].bytes); /* NOLINT(clang-analyzer-unix.Malloc): read_squeeze moved what it did not free */
    free(p->at);
}

bool kafka_state_claim(struct kafka *b, const char *source, bool settled, const atomic_bool *stop, struct buf *out,
                       struct err *e)
{
    struct pairs p = { .source = str_of(source), .squeeze = 1024, .kind = STATE_CLAIM };
    bool fine = read_stretch(&(struct stretch){ .b = b,
                                                .topic = b->state_topic,
                                                .most = INT64_MAX,
                                                .committed = !settled,
                                                .stop = stop,
                                                .each = read_pair,
                                                .ctx = &p },
                             e);
    read_squeeze(&p);
    if (p.count)
        buf_add_str(out, p.at[0].value);
    read_pairs_free(&p);
    return fine;
}

static void read_note(void *ctx, const char *topic)
{
    (void)topic;
    *(bool *)ctx = true;
}

static bool read_has(const struct pairs *p, const char *key)
{
    bool has = false;
    for (size_t i = 0; i < p->count; i++)
        has = has || (p->at[i].value.at && str_eq(str_from(p->at[i].key, 1), str_of(key)));
    return has;
}

bool kafka_is_settled(struct broker *base, struct err *e)
{
    struct kafka *b = (struct kafka *)base;
    struct err none;
    bool there = false;
    struct pairs p = { .source = STR(STATE_MOVE), .squeeze = 1024, .kind = STATE_PAIR };
    const struct stretch s = {
        .b = b, .topic = b->state_topic, .most = INT64_MAX, .committed = true, .each = read_pair, .ctx = &p
    };
    bool known = kafka_topics(base, b->state_topic, read_note, &there, &none) && there && read_stretch(&s, &none);
    read_squeeze(&p);
    bool open = known && read_has(&p, STATE_IDENTITY) && !read_has(&p, STATE_FINISHED);
    read_pairs_free(&p);
    return !open
           || err_set(
               e,
               "a local log is on its way to this cluster, and not whole there yet: `aqueduct move` with the same "
               "configurations brings the rest; a daemon that starts before would deliver what was delivered. To "
               "give the move up, delete the topics that it made, %s too",
               b->state_topic);
}

bool kafka_state(struct broker *base, const char *source,
                 bool (*each)(void *, struct str, struct str, bool, struct err *), void *ctx, struct err *e)
{
    struct kafka *b = (struct kafka *)base;
    struct pairs p = { .source = str_of(source), .squeeze = 1024 };
    bool fine = read_stretch(&(struct stretch){ .b = b,
                                                .topic = b->state_topic,
                                                .most = INT64_MAX,
                                                .each = read_pair,
                                                .ctx = &p },
                             e);
    read_squeeze(&p);
    fine = fine && read_tell(&p, STATE_PAIR, each, ctx, e) && read_tell(&p, STATE_INTENT, each, ctx, e);
    read_pairs_free(&p);
    return fine;
}
