/* SPDX-License-Identifier: MIT */
/* The webhook sink: posts events to its receivers, signed by Standard Webhooks, many at a time. */
#include <stdlib.h>
#include "bridge/lib/descriptors.h"
#include "bridge/lib/mem.h"
#include "connectors/webhook/probe.h"
#include "connectors/webhook/show.h"
#include "connectors/webhook/tries.h"

METRIC_HISTOGRAM(aqueduct_webhook_seconds, "Time of one attempt to deliver a webhook.", "sink");

enum { TRANSFER_DESCRIPTORS = 3 /* a connection, and two while a name is looked up */ };

struct webhook {
    struct webhook_base shared;
    int64_t connections;

    struct multi multi;
    struct direct direct;
    struct gzip *gzip;
    struct token *tokens;        /* of its receivers */
    int64_t wanted;              /* by its receivers, at the same time */
    struct transfer **transfers; /* made as they are needed, at most webhook_most() */
    size_t transfer_count;
    struct transfer *idle;
    struct tries tries;
    struct message *queue; /* ring: sent by the core, no idle transfer yet */
    size_t queue_head, queue_count, queue_cap;
    struct webhook_endpoint *collecting; /* those with events that wait for their batch */
    bool batches_next;                   /* a transfer that becomes idle is theirs first: the queue had the last one */
    struct metric *seconds;
};

static const struct option_value webhook_guards[] = {
    { GUARD_METADATA, "metadata" },
    { GUARD_PRIVATE, "private" },
    { GUARD_OFF, "off" },
    { 0 },
};

static const struct option webhook_options[] = {
    OPTION(struct webhook, connections, .fallback = "1024", .min = 1, .max = 16384,
           .doc = "Most requests at the same time to all of its receivers together."),
    { .key = "guard",
      .type = OPT_ENUM,
      .offset = offsetof(struct webhook, shared.guard),
      .fallback = "metadata",
      .values = webhook_guards,
      .doc =
          "Addresses that it never connects to, whatever name they have: link-local ones, where clouds keep metadata, multicast and the like (metadata), this machine and private networks as well (private), or none (off)." },
    { .key = "allow",
      .type = OPT_STRINGS,
      .offset = offsetof(struct webhook, shared.allow),
      .max = 1000,
      .doc =
          "Exceptions from guard: addresses, networks (10.0.0.0/8) and names of hosts, which then may be at any address." },
    { .key = "proxy",
      .type = OPT_SECRET,
      .offset = offsetof(struct webhook, shared.proxy),
      .doc =
          "URL of a proxy that leads to all receivers: http, https or socks5h, with user name and password if it wants them. It resolves the names, so guard sees only addresses that stand in a url." },
    { 0 }
};

/* How many transfers its receivers can ask for. */
static int64_t webhook_most(const struct webhook *w)
{
    return w->wanted < w->connections ? w->wanted : w->connections;
}

/* NULL: as many as there may be are in use. */
static struct transfer *webhook_take_idle(struct webhook *w)
{
    struct transfer *t = w->idle;
    if (t) {
        w->idle = t->next;
        return t;
    }
    if ((int64_t)w->transfer_count >= webhook_most(w))
        return NULL;
    w->transfers = mem_grow(w->transfers, w->transfer_count + 1, sizeof *w->transfers);
    return w->transfers[w->transfer_count++] = mem_alloc(sizeof *t);
}

static void webhook_put_idle(struct webhook *w, struct transfer *t)
{
    transfer_trim(t);
    parcel_free(t->batch);
    t->batch = NULL;
    t->next = w->idle;
    w->idle = t;
}

/* Keeps a message until a transfer is idle. */
static void webhook_enqueue(struct webhook *w, const struct message *m)
{
    if (w->queue_count == w->queue_cap) {
        size_t cap = w->queue_cap ? 2 * w->queue_cap : 64;
        struct message *ring = mem_grow(NULL, cap, sizeof *ring);
        for (size_t i = 0; i < w->queue_count; i++)
            ring[i] = w->queue[(w->queue_head + i) % w->queue_cap];
        free(w->queue);
        w->queue = ring;
        w->queue_cap = cap;
        w->queue_head = 0;
    }
    w->queue[(w->queue_head + w->queue_count++) % w->queue_cap] = *m;
}

/* ---- batches ---- */

static void webhook_collect(struct webhook *w, struct webhook_endpoint *to, const struct message *m)
{
    batches_add(&to->batches, m);
    if (to->collecting)
        return;
    to->collecting = true;
    to->next_collecting = w->collecting;
    w->collecting = to;
}

/* Sends the present part of its batch. */
static void webhook_start_part(struct webhook *w, struct transfer *t)
{
    struct message first = t->batch->events[t->batch->first].message;
    tries_begin(&w->tries, t, &first);
}

/* Sends the receiver's batches that are due, as many as it may have; when it wants to be asked again: clock_mono_ms.
 * *began: there was one. */
static int64_t webhook_start_due(struct webhook *w, struct webhook_endpoint *to, int64_t now_ms, bool *began)
{
    for (int64_t due; (due = batches_due(&to->batches)) != INT64_MAX;) {
        struct transfer *t;
        if (to->flying >= to->at_once)
            return INT64_MAX; /* an answer comes before there is something to do */
        if (due > now_ms && !w->shared.base.draining)
            return due;
        if (!(t = webhook_take_idle(w)))
            return INT64_MAX;
        t->batch = batches_take(&to->batches);
        *began = true;
        w->batches_next = false;
        webhook_start_part(w, t);
    }
    return INT64_MAX;
}

/* The same of all receivers. Who got a transfer comes behind the others: there may be too few of them. */
static int64_t webhook_start_batches(struct webhook *w)
{
    int64_t now = w->collecting ? clock_mono_ms() : 0, next = INT64_MAX;
    struct webhook_endpoint *served = NULL, **served_tail = &served, **at = &w->collecting;
    for (struct webhook_endpoint *to; (to = *at);) {
        bool began = false;
        int64_t due = webhook_start_due(w, to, now, &began);
        next = due < next ? due : next;
        to->collecting = batches_due(&to->batches) != INT64_MAX;
        if (to->collecting && !began) {
            at = &to->next_collecting;
            continue;
        }
        *at = to->next_collecting;
        to->next_collecting = NULL;
        if (to->collecting) {
            *served_tail = to;
            served_tail = &to->next_collecting;
        }
    }
    *at = served;
    return next;
}

static void webhook_forget_collecting(struct webhook *w, struct webhook_endpoint *gone)
{
    struct webhook_endpoint **at = &w->collecting;
    while (*at && *at != gone)
        at = &(*at)->next_collecting;
    if (*at)
        *at = gone->next_collecting;
    gone->collecting = false;
}

/* ---- attempts ---- */

static void webhook_send(struct sink *s, const struct message *m)
{
    struct webhook *w = (struct webhook *)s;
    struct webhook_endpoint *to = endpoint_of(&w->shared, m);
    if (endpoint_batches(to)) {
        webhook_collect(w, to, m);
        return;
    }
    struct transfer *t = w->queue_count ? NULL : webhook_take_idle(w);
    if (t)
        tries_begin(&w->tries, t, m);
    else
        webhook_enqueue(w, m);
}

static void webhook_start_queued(struct webhook *w)
{
    for (struct transfer *t; w->queue_count && (t = webhook_take_idle(w));) {
        struct message m = w->queue[w->queue_head];
        w->queue_head = (w->queue_head + 1) % w->queue_cap;
        w->queue_count--;
        w->batches_next = true;
        tries_begin(&w->tries, t, &m);
    }
}

/* The receivers want so many requests more at the same time. */
static void webhook_want(struct webhook *w, int64_t more)
{
    int64_t before = webhook_most(w);
    w->wanted += more;
    descriptors_reserve(TRANSFER_DESCRIPTORS * (webhook_most(w) - before));
    w->direct.most = w->wanted > 0 ? (size_t)webhook_most(w) : 1;
    if (w->wanted > 0)
        curl_multi_setopt(w->multi.curl, CURLMOPT_MAXCONNECTS, (long)webhook_most(w));
}

/* Takes in the end of an attempt, if it is one. */
static void webhook_judge(struct webhook *w, struct transfer *t, CURLcode code)
{
    if (!tries_judge(&w->tries, t, code))
        return;
    struct webhook_endpoint *to = endpoint_of(&w->shared, &t->message);
    size_t limit = to->at_once;
    if (t->result.verdict != VERDICT_UNTRIED)
        metric_observe_us(w->seconds, t->us);
    endpoint_ended(to, t->number, &t->result, t->us);
    if (to->at_once != limit)
        webhook_want(w, (int64_t)to->at_once - (int64_t)limit);
    if (t->batch && parcel_split(t->batch, &t->result, t->gone)) {
        endpoint_count_split(to);
        webhook_start_part(w, t);
    } else
        tries_end(&w->tries, t);
}

/* Hands ended attempts to the core; their transfers are idle again, but for one whose batch has another part. */
static size_t webhook_take_results(struct webhook *w, struct result *out, size_t room)
{
    size_t n = 0;
    struct tries *y = &w->tries;
    while (n < room && y->ended) {
        struct transfer *t = y->ended;
        if (t->batch)
            n += parcel_results(t->batch, &t->result, out + n, room - n);
        else
            out[n++] = t->result;
        if (t->batch && !parcel_is_told(t->batch))
            break;
        y->ended = t->next;
        if (!y->ended)
            y->ended_tail = &y->ended;
        if (t->batch && parcel_goes_on(t->batch))
            webhook_start_part(w, t);
        else
            webhook_put_idle(w, t);
    }
    return n;
}

static size_t webhook_work(struct sink *s, int wake_fd, struct duration wait, struct result *out, size_t room)
{
    struct webhook *w = (struct webhook *)s;
    int64_t until = clock_mono_ms() + wait.ms;
    for (;;) {
        int64_t batch_ms = webhook_start_batches(w);
        int64_t now_us = clock_mono_us(), left = w->tries.ended ? 0 : until - now_us / 1000;
        if (batch_ms != INT64_MAX && batch_ms - now_us / 1000 < left)
            left = batch_ms - now_us / 1000;
        int64_t due_us = direct_expire(&w->direct, now_us);
        if (due_us != INT64_MAX && (due_us - now_us) / 1000 < left)
            left = (due_us - now_us) / 1000 + 1;
        bool woken = multi_run(&w->multi, wake_fd, (struct duration){ left > 0 ? left : 0 });
        CURLcode code = CURLE_OK;
        for (CURL *easy; (easy = multi_done(&w->multi, &code));) {
            struct transfer *t = NULL;
            curl_easy_getinfo(easy, CURLINFO_PRIVATE, &t);
            webhook_judge(w, t, code);
        }
        for (struct direct_request *r; (r = direct_done(&w->direct));)
            webhook_judge(w, r->ctx, CURLE_OK);
        size_t n = webhook_take_results(w, out, room);
        if (w->batches_next)
            webhook_start_batches(w);
        webhook_start_queued(w);
        if (n || woken || clock_mono_ms() >= until)
            return n;
    }
}

/* ---- receivers ---- */

static bool webhook_open_endpoint(struct sink *s, struct endpoint *ep, struct err *e)
{
    struct webhook *w = (struct webhook *)s;
    struct webhook_endpoint *to = (struct webhook_endpoint *)ep;
    struct grant grant;
    if (!endpoint_open(s, to, &w->multi, e))
        return false;
    target_set_direct(&to->target, &w->direct);
    to->target.gzip = to->gzip ? &w->gzip : NULL;
    to->token = endpoint_grant(to, &grant) ? token_take(&w->tokens, &grant, &to->target, &w->shared.rules) : NULL;
    webhook_want(w, (int64_t)to->at_once);
    if (endpoint_batches(to) && s->limit < (size_t)(w->connections * to->batch.count))
        s->limit = (size_t)(w->connections * to->batch.count); /* its transfers bound the requests */
    return true;
}

static void webhook_close_endpoint(struct sink *s, struct endpoint *ep)
{
    struct webhook *w = (struct webhook *)s;
    struct webhook_endpoint *to = (struct webhook_endpoint *)ep;
    size_t kept = 0;
    for (size_t i = 0; i < w->queue_count; i++) {
        struct message m = w->queue[(w->queue_head + i) % w->queue_cap];
        if (endpoint_of(&w->shared, &m) != to)
            w->queue[(w->queue_head + kept++) % w->queue_cap] = m;
    }
    w->queue_count = kept;
    for (struct transfer *t, *next = tries_forget(&w->tries, to); (t = next);) {
        next = t->next;
        webhook_put_idle(w, t);
    }
    webhook_forget_collecting(w, to);
    for (size_t i = 0; i < w->transfer_count; i++) {
        struct transfer *t = w->transfers[i];
        if (t->target != &to->target && t->target != &to->consent.target)
            continue;
        t->asks = false;
        if (t->in_flight) {
            transfer_stop(t);
            webhook_put_idle(w, t);
        }
        transfer_forget(t);
    }
    direct_forget(&to->target.connections);
    webhook_want(w, -(int64_t)to->at_once);
    token_release(to->token);
    endpoint_close(to);
}

/* ---- life ---- */

static void webhook_close(struct sink *s)
{
    struct webhook *w = (struct webhook *)s;
    for (size_t i = 0; i < w->transfer_count; i++) {
        transfer_free(w->transfers[i]);
        parcel_free(w->transfers[i]->batch);
    }
    direct_close(&w->direct);
    multi_close(&w->multi);
    for (size_t i = 0; i < w->transfer_count; i++) /* not before: kept connections tell them of their end */
        free(w->transfers[i]);
    free(w->transfers);
    token_free(w->tokens);
    free(w->queue);
    gzip_free(w->gzip);
    curl_global_cleanup();
}

static bool webhook_check(const struct sink *s, struct err *e)
{
    const struct webhook_base *w = (const struct webhook_base *)s;
    return address_check_allow(&w->allow, e) && transport_check_proxy(w->proxy.text, e);
}

static bool webhook_open(struct sink *s, struct err *e)
{
    struct webhook *w = (struct webhook *)s;
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    w->shared.rules = (struct address_rules){ w->shared.guard, &w->shared.allow };
    if (!multi_open(&w->multi, e)) {
        webhook_close(s);
        return false;
    }
    w->shared.base.limit = (size_t)w->connections;
    direct_open(&w->direct, &w->multi);
    tries_open(&w->tries, &w->shared);
    w->seconds = metric_get(&aqueduct_webhook_seconds, LABELS(s->id));
    return true;
}

static const struct endpoint_ops webhook_endpoints = {
    .size = sizeof(struct webhook_endpoint),
    .options = endpoint_rows,
    .check = endpoint_check,
    .faults = endpoint_faults,
    .review = endpoint_review,
    .probe = probe_endpoint,
    .show = show_request,
    .open = webhook_open_endpoint,
    .close = webhook_close_endpoint,
};

extern const struct sink_ops webhook_sink;
const struct sink_ops webhook_sink = {
    .type = "webhook",
    .doc = "Posts events to one URL or many, signed by the Standard Webhooks scheme.",
    .size = sizeof(struct webhook),
    .options = webhook_options,
    .endpoints = &webhook_endpoints,
    .check = webhook_check,
    .open = webhook_open,
    .send = webhook_send,
    .work = webhook_work,
    .close = webhook_close,
};
