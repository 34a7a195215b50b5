/* SPDX-License-Identifier: MIT */
/* Token buckets of addresses, paths and keys. */
#include "connectors/http/limits.h"
#include <pthread.h>
#include <stdlib.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"
#include "connectors/http/limit_table.h"

METRIC_COUNTER(aqueduct_http_limited_total,
               "Requests refused with 429 because of a limit: address, path, key, or failures (of verification).",
               "source", "path", "limit");
METRIC_COUNTER(aqueduct_http_limits_shared_total,
               "Requests counted in a bucket that several addresses share, because limits.addresses is full.",
               "source");

enum {
    LIMITS_KEYS = 10000,
    LIMITS_SECONDS = 2, /* of the rate, as the burst */
};

/* ---- options ---- */

#define LIMIT_ROWS(T)                                                                                                  \
    OPTION(T, rate, .fallback = "0", .max = 1000000, .doc = "Most requests in a second, on average. 0: no limit."),    \
        OPTION(T, burst, .max = 1000000,                                                                               \
               .doc = "Most requests at once; default: as many as `rate` lets through in two seconds."),               \
        OPTION(T, bytes, .max = (int64_t)1 << 40,                                                                      \
               .doc = "Most bytes of bodies in a second, on average, two seconds' worth at once; a longer body is "    \
                      "taken, and what follows waits. 0: no limit.")

static const struct option limit_rows[] = { LIMIT_ROWS(struct limit_options), { 0 } };
static const struct option limit_failure_rows[] = {
    OPTION(struct limit_options, rate, .fallback = "10", .max = 1000000,
           .doc = "Most requests in a second that fail, on average. 0: no limit."),
    OPTION(struct limit_options, burst, .fallback = "100", .max = 1000000, .doc = "Most of them at once."),
    { 0 },
};

#define LIMITS_OF_KEY                                                                                                     \
    "What each key of `verify` may send to one path: a secret, or those of one `name` together. Refused before anything " \
    "is stored."
#define LIMITS_OF_PATH                                                                                                  \
    "What a path lets through of verified requests, from all senders. Refused before the body is read when it is used " \
    "up."

const struct option limits_rows[] = {
    OPTION_GROUP(struct limits_options, per_address, limit_rows,
                 .doc = "What one address (of IPv6: one /64) may send to all paths together. Refused before the body "
                        "is read."),
    OPTION_GROUP(struct limits_options, per_key, limit_rows,
                 .doc = LIMITS_OF_KEY " Of paths that do not say otherwise."),
    OPTION_GROUP(struct limits_options, per_path, limit_rows,
                 .doc = LIMITS_OF_PATH " Of paths that do not say otherwise."),
    OPTION_GROUP(struct limits_options, failures, limit_failure_rows,
                 .doc = "How many requests of one address may fail to be verified; beyond, those that fail get 429 in "
                        "place of 401. One with a right key is served all the same, so that nobody locks out others "
                        "behind the same address."),
    OPTION(struct limits_options, addresses, .fallback = "10000", .min = 1, .max = 10000000,
           .doc =
               "Most addresses that are counted on their own at the same time (some 60 bytes each, while they send); "
               "further ones share buckets with each other until a place is free."),
    { 0 },
};

const struct option limits_path_rows[] = {
    OPTION_GROUP(struct limits_path_options, per_address, limit_rows,
                 .doc = "What one address may send to this path, on top of the source's own limit."),
    OPTION_GROUP(struct limits_path_options, per_key, limit_rows, .doc = LIMITS_OF_KEY),
    OPTION_GROUP(struct limits_path_options, per_path, limit_rows, .doc = LIMITS_OF_PATH),
    { 0 },
};

bool limit_is_asked(const struct limit_options *o)
{
    return o->rate > 0 || o->bytes.n > 0;
}

static bool limits_check_one(const struct limit_options *o, const char *name, struct err *e)
{
    return o->rate > 0 || o->burst == 0
           || err_set(e, "limits.%s.burst: makes no sense without a rate: set that, too, or leave this away", name);
}

bool limits_check(const struct limits_options *o, struct err *e)
{
    return limits_check_one(&o->per_address, "per_address", e) && limits_check_one(&o->per_key, "per_key", e)
           && limits_check_one(&o->per_path, "per_path", e);
}

bool limits_check_path(const struct limits_path_options *o, struct err *e)
{
    return limits_check_one(&o->per_address, "per_address", e) && limits_check_one(&o->per_key, "per_key", e)
           && limits_check_one(&o->per_path, "per_path", e);
}

/* ---- limits ---- */

struct limit { /* of requests, and of their bytes */
    struct bucket_size requests, bytes;
};

struct limits_path {
    struct limit per_address, per_key, per_path;
    int64_t full_us[LIMIT_COUNTS];
    struct metric *limited[LIMITED_KINDS];
};

struct limits {
    pthread_mutex_t lock; /* guards the tables, and the buckets of paths */
    struct limits_options o;
    char *source_id;
    struct siphash_key key;
    struct limit per_address, failures;
    struct limit_table addresses, keys;
    struct limits_path *paths;
    size_t path_count;
    struct limits_path elsewhere; /* LIMITS_NO_PATH */
};

static struct limit limit_of(const struct limit_options *o)
{
    double burst = o->burst ? (double)o->burst : o->rate * (double)LIMITS_SECONDS;
    double bytes = (double)o->bytes.n;
    return (struct limit){ .requests = { o->rate, burst < 1 ? 1 : burst },
                           .bytes = { bytes, bytes * (double)LIMITS_SECONDS } };
}

static bool limit_is_set(const struct limit *l)
{
    return l->requests.rate > 0 || l->bytes.rate > 0;
}

static void limits_count(const struct limits *l, struct limits_path *p, const char *label)
{
    for (int i = LIMITED_NOT + 1; i < LIMITED_KINDS; i++)
        p->limited[i] = metric_get(&aqueduct_http_limited_total,
                                   LABELS(l->source_id, label, limited_name((enum limited)i)));
}

struct limits *limits_new(const struct limits_options *o, const char *source_id)
{
    struct limits *l = mem_alloc(sizeof *l);
    l->o = *o;
    l->source_id = str_dup(str_of(source_id));
    l->per_address = limit_of(&o->per_address);
    l->failures = limit_of(&o->failures);
    struct metric *shared = metric_get(&aqueduct_http_limits_shared_total, LABELS(source_id));
    limit_table_open(&l->addresses, (size_t)o->addresses, shared);
    limit_table_open(&l->keys, LIMITS_KEYS, shared);
    crypto_random(&l->key, sizeof l->key);
    pthread_mutex_init(&l->lock, NULL);
    limits_count(l, &l->elsewhere, "");
    return l;
}

void limits_free(struct limits *l)
{
    if (!l)
        return;
    limit_table_close(&l->addresses);
    limit_table_close(&l->keys);
    pthread_mutex_destroy(&l->lock);
    free(l->paths);
    free(l->source_id);
    free(l);
}

void limits_add_path(struct limits *l, const struct limits_path_options *o, const char *label)
{
    l->paths = mem_grow(l->paths, l->path_count + 1, sizeof *l->paths);
    struct limits_path *p = &l->paths[l->path_count++];
    *p = (struct limits_path){
        .per_address = limit_of(&o->per_address),
        .per_key = limit_of(limit_is_asked(&o->per_key) ? &o->per_key : &l->o.per_key),
        .per_path = limit_of(limit_is_asked(&o->per_path) ? &o->per_path : &l->o.per_path),
    };
    limits_count(l, p, label);
}

static struct limits_path *limits_path(struct limits *l, int path)
{
    return path == LIMITS_NO_PATH ? &l->elsewhere : &l->paths[path];
}

/* In the tables; path LIMITS_NO_PATH: on the source as a whole. */
static struct digest limits_name(const struct limits *l, int path, struct str name)
{
    struct siphash h = siphash_begin(&l->key);
    siphash_add_bytes(&h, &path, sizeof path);
    siphash_add(&h, name);
    return siphash_end(&h);
}

/* May one more request come? */
static int64_t limit_wait(const struct limit *limit, const int64_t *full_us, int64_t now_us)
{
    int64_t requests = bucket_wait(full_us[LIMIT_REQUESTS], &limit->requests, 1, now_us);
    int64_t bytes = bucket_wait(full_us[LIMIT_BYTES], &limit->bytes, 0, now_us);
    return requests > bytes ? requests : bytes;
}

static void limit_take(const struct limit *limit, int64_t *full_us, double requests, double bytes, int64_t now_us)
{
    full_us[LIMIT_REQUESTS] = bucket_take(full_us[LIMIT_REQUESTS], &limit->requests, requests, now_us);
    full_us[LIMIT_BYTES] = bucket_take(full_us[LIMIT_BYTES], &limit->bytes, bytes, now_us);
}

/* The place of an address, for a limit that there is; NULL: it is not limited. A unix socket is nobody's address. */
static int64_t *limits_of_address(struct limits *l, const struct limit *limit, int path, struct str network)
{
    if (!limit_is_set(limit) || str_eq(network, STR("unix")))
        return NULL;
    struct digest name = limits_name(l, path, network);
    return limit_table_place(&l->addresses, &name, clock_mono_us())->full_us;
}

static struct limited_by limits_refuse(struct limits *l, int path, enum limited what, int64_t wait_us)
{
    metric_add(limits_path(l, path)->limited[what], 1);
    return (struct limited_by){ what, wait_us };
}

/* Takes one request of an address's bucket. Returns how long it has to wait, if there is none. */
static int64_t limits_take_address(struct limits *l, const struct limit *limit, int path, struct str network)
{
    int64_t *full_us = limits_of_address(l, limit, path, network);
    if (!full_us)
        return 0;
    int64_t now = clock_mono_us(), wait = limit_wait(limit, full_us, now);
    if (wait == 0)
        limit_take(limit, full_us, 1, 0, now);
    return wait;
}

/* The lock is held, as by all below that are static. */
static struct limited_by limits_arrived(struct limits *l, struct limits_path *p, int path, struct str network)
{
    int64_t wait = limits_take_address(l, &l->per_address, LIMITS_NO_PATH, network);
    if (wait == 0 && path != LIMITS_NO_PATH)
        wait = limits_take_address(l, &p->per_address, path, network);
    if (wait)
        return limits_refuse(l, path, LIMITED_ADDRESS, wait);
    if (limit_is_set(&p->per_path) && (wait = limit_wait(&p->per_path, p->full_us, clock_mono_us())))
        return limits_refuse(l, path, LIMITED_PATH, wait);
    return (struct limited_by){ LIMITED_NOT, 0 };
}

struct limited_by limits_arrive(struct limits *l, int path, struct str network)
{
    struct limits_path *p = limits_path(l, path);
    if (!limit_is_set(&l->per_address) && !limit_is_set(&p->per_address) && !limit_is_set(&p->per_path))
        return (struct limited_by){ LIMITED_NOT, 0 };
    pthread_mutex_lock(&l->lock);
    struct limited_by by = limits_arrived(l, p, path, network);
    pthread_mutex_unlock(&l->lock);
    return by;
}

static int64_t limits_take_failure(struct limits *l, struct str network)
{
    int64_t now = clock_mono_us(), *full_us = limits_of_address(l, &l->failures, LIMITS_NO_PATH, network);
    int64_t wait = full_us ? bucket_wait(full_us[LIMIT_FAILED], &l->failures.requests, 1, now) : 0;
    if (full_us && wait == 0)
        full_us[LIMIT_FAILED] = bucket_take(full_us[LIMIT_FAILED], &l->failures.requests, 1, now);
    return wait;
}

struct limited_by limits_failed(struct limits *l, int path, struct str network)
{
    pthread_mutex_lock(&l->lock);
    int64_t wait = limits_take_failure(l, network);
    pthread_mutex_unlock(&l->lock);
    return wait ? limits_refuse(l, path, LIMITED_FAILURES, wait) : (struct limited_by){ LIMITED_NOT, 0 };
}

static void limits_spend_bytes(struct limits *l, int path, struct str network, size_t bytes)
{
    const struct limit *all = &l->per_address, *here = &limits_path(l, path)->per_address;
    int64_t *full_us = NULL;
    if (all->bytes.rate > 0 && (full_us = limits_of_address(l, all, LIMITS_NO_PATH, network)))
        limit_take(all, full_us, 0, (double)bytes, clock_mono_us());
    if (here->bytes.rate > 0 && (full_us = limits_of_address(l, here, path, network)))
        limit_take(here, full_us, 0, (double)bytes, clock_mono_us());
}

void limits_spend(struct limits *l, int path, struct str network, size_t bytes)
{
    pthread_mutex_lock(&l->lock);
    limits_spend_bytes(l, path, network, bytes);
    pthread_mutex_unlock(&l->lock);
}

static struct limited_by limits_take_verified(struct limits *l, struct limits_path *p, int path, struct str key,
                                              size_t bytes)
{
    bool by_path = limit_is_set(&p->per_path), by_key = limit_is_set(&p->per_key) && key.at;
    int64_t now = by_path || by_key ? clock_mono_us() : 0, *full_us = NULL, wait;
    if (by_path && (wait = limit_wait(&p->per_path, p->full_us, now)))
        return limits_refuse(l, path, LIMITED_PATH, wait);
    if (by_key) {
        struct digest name = limits_name(l, path, key);
        full_us = limit_table_place(&l->keys, &name, now)->full_us;
        if ((wait = limit_wait(&p->per_key, full_us, now)))
            return limits_refuse(l, path, LIMITED_KEY, wait);
        limit_take(&p->per_key, full_us, 1, (double)bytes, now);
    }
    if (by_path)
        limit_take(&p->per_path, p->full_us, 1, (double)bytes, now);
    return (struct limited_by){ LIMITED_NOT, 0 };
}

struct limited_by limits_verified(struct limits *l, int path, struct str network, struct str key, size_t bytes)
{
    struct limits_path *p = limits_path(l, path);
    if (!limit_is_set(&l->per_address) && !limit_is_set(&p->per_address) && !limit_is_set(&p->per_path)
        && !limit_is_set(&p->per_key))
        return (struct limited_by){ LIMITED_NOT, 0 };
    pthread_mutex_lock(&l->lock);
    limits_spend_bytes(l, path, network, bytes);
    struct limited_by by = limits_take_verified(l, p, path, key, bytes);
    pthread_mutex_unlock(&l->lock);
    return by;
}

const char *limited_name(enum limited l)
{
    static const char *const names[LIMITED_KINDS] = { "", "address", "path", "key", "failures" };
    return names[l];
}

const char *limited_text(enum limited l)
{
    static const char *const texts[LIMITED_KINDS] = {
        [LIMITED_NOT] = "",
        [LIMITED_ADDRESS] = "too many requests from this address; send it again later",
        [LIMITED_PATH] = "too many requests at this path; send it again later",
        [LIMITED_KEY] = "too many requests with this key; send it again later",
        [LIMITED_FAILURES] = "too many requests from this address that could not be verified; check the key first",
    };
    return texts[l];
}
