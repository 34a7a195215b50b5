/* SPDX-License-Identifier: MIT */
/* Keeps an issuer's keys. */
#include "bridge/verify/issuer.h"
#include <pthread.h>
#include <stdlib.h>
#include "bridge/lib/json.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/metrics.h"
#include "bridge/lib/thread.h"

METRIC_COUNTER(aqueduct_jwt_key_fetches_total, "Times that the keys of an issuer of tokens were fetched.", "host",
               "outcome");
METRIC_GAUGE(aqueduct_jwt_keys, "Keys of an issuer of tokens that verify.", "host");

enum {
    ISSUER_PAUSE_MS = 1000,       /* between a fetch that failed and the next; twice as long each time */
    ISSUER_PAUSE_MOST_MS = 60000, /* but no longer */
    ISSUER_ASK_MS = 30000,        /* between two fetches that tokens with unknown keys ask for */
};

struct issuer {
    struct issuer_options o;
    char *host;
    struct fetch *fetch;
    struct metric *fetched, *failed, *count;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct jwks *keys; /* NULL: none yet */
    bool stopping, fetching, asked;
    int64_t askable_ms; /* clock_mono_ms: no asking before */
    struct err failure; /* of the last fetch; "": it went well */
};

/* What an OpenID configuration says where the keys are, free() it; NULL with *e. It must be this issuer's own (OpenID
 * Connect Discovery 1.0, 4.3). */
static char *issuer_read_configuration(const struct issuer *i, struct str text, struct err *e)
{
    json_t *json = json_loadb(text.at, text.n, JSON_REJECT_DUPLICATES, NULL);
    const char *url = json_text(json, "jwks_uri");
    char *found = NULL;
    if (strcmp(json_text(json, "issuer"), i->o.openid) != 0)
        err_set(e, "its OpenID configuration is none, or names another issuer");
    else if (!fetch_check_url(url, i->o.plain, i->o.rules, e))
        err_prefix(e, "jwks_uri of its OpenID configuration");
    else
        found = str_dup(str_of(url));
    json_decref(json);
    return found;
}

static char *issuer_discover(struct issuer *i, struct err *e)
{
    size_t n = strlen(i->o.openid);
    while (n > 0 && i->o.openid[n - 1] == '/')
        n--;
    struct buf url = buf_new(JWKS_BYTES), body = buf_new(JWKS_BYTES);
    int64_t max_age_s;
    buf_add(&url, i->o.openid, n);
    buf_add_c(&url, "/.well-known/openid-configuration");
    char *found = NULL;
    if (fetch_get(i->fetch, buf_c(&url), &body, &max_age_s, e)) {
        found = issuer_read_configuration(i, buf_str(&body), e);
        if (!found)
            err_prefix(e, "%.100s", i->host);
    }
    buf_free(&url);
    buf_free(&body);
    return found;
}

/* One fetch; the keys' one reference, or NULL with *e. */
static struct jwks *issuer_fetch(struct issuer *i, int64_t *max_age_s, struct err *e)
{
    struct buf body = buf_new(JWKS_BYTES);
    struct jwks *keys = jwks_new();
    char *found = i->o.url ? NULL : issuer_discover(i, e);
    const char *url = i->o.url ? i->o.url : found;
    bool ok = url && fetch_get(i->fetch, url, &body, max_age_s, e)
              && (jwks_add_json(keys, buf_str(&body), false, e) || err_prefix(e, "%.100s", i->host));
    buf_free(&body);
    free(found);
    if (ok)
        return keys;
    jwks_unref(keys);
    return NULL;
}

/* Logs when it changes whether the keys can be fetched. */
static void issuer_log(const struct issuer *i, const struct err *before, const struct err *now, bool has_keys)
{
    if (*now->text && !*before->text)
        LOG(WARN, has_keys ? "keys of tokens could not be renewed" : "keys of tokens could not be fetched",
            LOG_C("host", i->host), LOG_C("reason", now->text));
    else if (!*now->text && *before->text)
        LOG(INFO, "keys of tokens are fetched again", LOG_C("host", i->host));
}

static bool issuer_is_stopping(struct issuer *i)
{
    pthread_mutex_lock(&i->lock);
    bool stopping = i->stopping;
    pthread_mutex_unlock(&i->lock);
    return stopping;
}

/* Takes over what a fetch brought, NULL: nothing. */
static void issuer_take(struct issuer *i, struct jwks *keys, const struct err *e)
{
    if (!keys && issuer_is_stopping(i))
        return; /* it was broken off */
    metric_add(keys ? i->fetched : i->failed, 1);
    if (keys)
        metric_set(i->count, (int64_t)jwks_count(keys));
    issuer_log(i, &i->failure, e, i->keys);
    pthread_mutex_lock(&i->lock);
    struct jwks *old = keys ? i->keys : NULL;
    if (keys)
        i->keys = keys;
    i->failure = *e;
    i->fetching = false;
    pthread_mutex_unlock(&i->lock);
    jwks_unref(old);
}

/* How long until the next one, when nobody asks. */
static struct duration issuer_pause(const struct issuer *i, bool ok, int64_t max_age_s, struct duration *pause)
{
    if (!ok) {
        pause->ms = pause->ms ? 2 * pause->ms : ISSUER_PAUSE_MS;
        pause->ms = pause->ms < ISSUER_PAUSE_MOST_MS ? pause->ms : ISSUER_PAUSE_MOST_MS;
        return *pause;
    }
    pause->ms = 0;
    int64_t ms = max_age_s >= 0 && max_age_s * 1000 < i->o.refresh.ms ? max_age_s * 1000 : i->o.refresh.ms;
    return (struct duration){ ms > ISSUER_REFRESH_LEAST_MS ? ms : ISSUER_REFRESH_LEAST_MS };
}

/* True: it is time for the next one; false: the end. */
static bool issuer_wait(struct issuer *i, struct duration pause)
{
    struct timespec until = thread_until(pause);
    pthread_mutex_lock(&i->lock);
    while (!i->stopping && !i->asked && thread_wait(&i->changed, &i->lock, until))
        ;
    i->asked = false;
    i->fetching = true;
    bool goes_on = !i->stopping;
    pthread_mutex_unlock(&i->lock);
    return goes_on;
}

static void *issuer_run(void *arg)
{
    struct issuer *i = arg;
    struct duration pause = { 0 }, next = { 0 };
    while (issuer_wait(i, next)) {
        struct err e = { "" };
        int64_t max_age_s = -1;
        struct jwks *keys = issuer_fetch(i, &max_age_s, &e);
        next = issuer_pause(i, keys, max_age_s, &pause);
        issuer_take(i, keys, &e);
    }
    return NULL;
}

struct issuer *issuer_start(const struct issuer_options *o)
{
    struct issuer *i = mem_alloc(sizeof *i);
    *i = (struct issuer){ .o = *o, .host = fetch_host(o->url ? o->url : o->openid), .fetching = true };
    i->fetch = fetch_new(o->way, o->rules);
    i->fetched = metric_get(&aqueduct_jwt_key_fetches_total, LABELS(i->host, "fetched"));
    i->failed = metric_get(&aqueduct_jwt_key_fetches_total, LABELS(i->host, "failed"));
    i->count = metric_get(&aqueduct_jwt_keys, LABELS(i->host));
    pthread_mutex_init(&i->lock, NULL);
    pthread_cond_init(&i->changed, NULL);
    CHECK(pthread_create(&i->thread, NULL, issuer_run, i) == 0);
    return i;
}

void issuer_stop(struct issuer *i)
{
    if (!i)
        return;
    pthread_mutex_lock(&i->lock);
    i->stopping = true;
    pthread_cond_signal(&i->changed);
    pthread_mutex_unlock(&i->lock);
    fetch_stop(i->fetch);
    pthread_join(i->thread, NULL);
    fetch_free(i->fetch);
    jwks_unref(i->keys);
    pthread_mutex_destroy(&i->lock);
    pthread_cond_destroy(&i->changed);
    free(i->host);
    free(i);
}

struct jwks *issuer_keys(struct issuer *i)
{
    pthread_mutex_lock(&i->lock);
    struct jwks *keys = i->keys ? jwks_ref(i->keys) : NULL;
    pthread_mutex_unlock(&i->lock);
    return keys;
}

bool issuer_ask(struct issuer *i)
{
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&i->lock);
    if (!i->fetching && !i->asked && now >= i->askable_ms) {
        i->askable_ms = now + ISSUER_ASK_MS;
        i->asked = true;
        pthread_cond_signal(&i->changed);
    }
    bool coming = i->fetching || i->asked;
    pthread_mutex_unlock(&i->lock);
    return coming;
}

bool issuer_ready(struct issuer *i, struct err *why)
{
    pthread_mutex_lock(&i->lock);
    bool ready = i->keys;
    if (!ready && *i->failure.text)
        err_set(why, "the keys of tokens could not be fetched yet: %s", i->failure.text);
    else if (!ready)
        err_set(why, "the keys of tokens are still being fetched from %.100s", i->host);
    pthread_mutex_unlock(&i->lock);
    return ready;
}
