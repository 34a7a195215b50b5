/* SPDX-License-Identifier: MIT */
/* The webhook sink: posts events to one URL, signed by Standard Webhooks, many at a time. */
#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include "bridge/auth/secret.h"
#include "bridge/lib/descriptors.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "connectors/webhook/transfer.h"

METRIC_HISTOGRAM(aqueduct_webhook_seconds, "Time of one attempt to deliver a webhook.", "sink");
METRIC_COUNTER(aqueduct_webhook_responses_total, "Attempts by the class of the answer's status; none: no answer.",
               "sink", "class");

enum {
    TRANSFER_DESCRIPTORS = 3, /* a connection, and two while a name is looked up */
    CLASSES = 6,              /* of answers: none, 1xx .. 5xx (whatever is above counts as 5xx) */
};

struct webhook {
    struct sink base;
    char *url;
    struct secrets secrets;
    bool unsigned_;
    enum body_mode body;
    char *content_type;
    struct duration timeout, connect_timeout;
    int64_t concurrency;
    struct map headers;
    char *ca_file;

    struct request_template template;
    struct transfer_target target;
    struct transfer *transfers; /* `concurrency` of them */
    struct transfer *idle;
    struct transfer *ended, **ended_tail;
    struct message *queue; /* ring: sent by the core, no idle transfer yet */
    size_t queue_head, queue_count, queue_cap;
    struct metric *seconds, *answers[CLASSES];
};

static const struct option_value webhook_bodies[] = {
    { BODY_STANDARD, "standard" },
    { BODY_STRUCTURED, "structured" },
    { BODY_BINARY, "binary" },
    { 0 },
};

static const struct option webhook_options[] = {
    OPTION(struct webhook, url, .required = true,
           .doc = "Where events are posted: http or https, without user name and password."),
    OPTION(
        struct webhook, secrets,
        .doc =
            "Keys that sign (Standard Webhooks v1): whsec_ and base64, or at least 24 characters that are used as they are; all of them sign, the first one first."),
    { .key = "unsigned",
      .type = OPT_BOOL,
      .offset = offsetof(struct webhook, unsigned_),
      .fallback = "false",
      .doc = "Sends without a signature; needed to have no secrets." },
    OPTION(
        struct webhook, body, .fallback = "standard", .values = webhook_bodies,
        .doc =
            "The Standard Webhooks payload: one JSON with type, timestamp, data, id, source, subject and extensions (standard); the whole CloudEvent as one JSON (structured), or its attributes as headers and the data as it is (binary)."),
    OPTION(
        struct webhook, content_type,
        .doc =
            "Content-Type of the requests; default: application/json with body standard, application/cloudevents+json with structured. With binary it is always the event's own."),
    OPTION(struct webhook, timeout, .fallback = "10s", .min = 1, .max = 600000,
           .doc = "Longest time for one attempt, connecting included."),
    OPTION(struct webhook, connect_timeout, .fallback = "5s", .min = 1, .max = 600000,
           .doc = "Longest time to connect, TLS included."),
    OPTION(struct webhook, concurrency, .fallback = "64", .min = 1, .max = 1024,
           .doc = "Most requests at the same time."),
    OPTION(struct webhook, headers, .doc = "More headers for each request, such as Authorization."),
    OPTION(struct webhook, ca_file,
           .doc = "PEM file of the authorities that https receivers are checked against, instead of the system's."),
    { 0 }
};

static struct str webhook_event_id(const struct transfer *t)
{
    return t->message.event->id;
}

/* Queues the result of an attempt for webhook_work. */
static void webhook_end(struct webhook *w, struct transfer *t)
{
    static const char *const verdicts[] = { [VERDICT_DELIVERED] = "delivered",
                                            [VERDICT_RETRY] = "retry",
                                            [VERDICT_REJECT] = "reject",
                                            [VERDICT_UNTRIED] = "untried" };
    if (log_shows(LOG_DEBUG))
        LOG(DEBUG, "answered", LOG_C("sink", w->base.id), LOG_STR("event", webhook_event_id(t)),
            LOG_INT("attempt", t->message.attempt), LOG_C("verdict", verdicts[t->result.verdict]),
            LOG_INT("status", t->result.status), LOG_INT("ms", t->us / 1000), LOG_C("reason", t->result.why));
    t->next = NULL;
    *w->ended_tail = t;
    w->ended_tail = &t->next;
}

static void webhook_log_sent(const struct webhook *w, const struct transfer *t)
{
    char room[REQUEST_ID + 1];
    if (!log_shows(LOG_DEBUG))
        return;
    LOG(DEBUG, "sent", LOG_C("sink", w->base.id), LOG_STR("event", webhook_event_id(t)),
        LOG_STR("source", t->message.event->source), LOG_INT("attempt", t->message.attempt),
        LOG_STR("webhook_id", request_id(&t->message, room)), LOG_INT("bytes", t->request.body.n));
}

/* Begins an attempt; one whose request cannot be built ends at once. */
static void webhook_start(struct webhook *w, struct transfer *t, const struct message *m)
{
    struct err e;
    t->message = *m;
    t->result = (struct result){ .tag = m->tag };
    if (!request_build(&t->request, &w->template, m, clock_wall_ms(), &e)) {
        t->result.verdict = VERDICT_REJECT;
        t->result.reason = REASON_CONFIGURATION;
        why_copy(t->result.why, e.text);
        webhook_end(w, t);
        return;
    }
    webhook_log_sent(w, t);
    transfer_start(t);
}

static struct transfer *webhook_take_idle(struct webhook *w)
{
    struct transfer *t = w->idle;
    if (t)
        w->idle = t->next;
    return t;
}

static void webhook_put_idle(struct webhook *w, struct transfer *t)
{
    request_trim(&t->request);
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

static void webhook_send(struct sink *s, const struct message *m)
{
    struct webhook *w = (struct webhook *)s;
    struct transfer *t = w->queue_count ? NULL : webhook_take_idle(w);
    if (t)
        webhook_start(w, t, m);
    else
        webhook_enqueue(w, m);
}

static void webhook_start_queued(struct webhook *w)
{
    while (w->queue_count && w->idle) {
        struct message m = w->queue[w->queue_head];
        w->queue_head = (w->queue_head + 1) % w->queue_cap;
        w->queue_count--;
        webhook_start(w, webhook_take_idle(w), &m);
    }
}

/* Takes in the end of an attempt, if it is one. */
static void webhook_judge(struct webhook *w, struct transfer *t, CURLcode code)
{
    if (!transfer_end(t, code))
        return;
    int class = t->result.status / 100;
    if (t->result.verdict != VERDICT_UNTRIED) {
        metric_add(w->answers[class >= CLASSES ? CLASSES - 1 : class], 1);
        metric_observe_us(w->seconds, t->us);
    }
    webhook_end(w, t);
}

/* Hands ended attempts to the core; their transfers are idle again. */
static size_t webhook_take_results(struct webhook *w, struct result *out, size_t room)
{
    size_t n = 0;
    while (n < room && w->ended) {
        struct transfer *t = w->ended;
        w->ended = t->next;
        out[n++] = t->result;
        webhook_put_idle(w, t);
    }
    if (!w->ended)
        w->ended_tail = &w->ended;
    return n;
}

static size_t webhook_work(struct sink *s, int wake_fd, struct duration wait, struct result *out, size_t room)
{
    struct webhook *w = (struct webhook *)s;
    int64_t until = clock_mono_ms() + wait.ms;
    for (;;) {
        int64_t left = w->ended ? 0 : until - clock_mono_ms();
        bool woken = multi_run(&w->target.multi, wake_fd, (struct duration){ left > 0 ? left : 0 });
        CURLcode code = CURLE_OK;
        for (CURL *easy; (easy = multi_done(&w->target.multi, &code));) {
            struct transfer *t = NULL;
            curl_easy_getinfo(easy, CURLINFO_PRIVATE, &t);
            webhook_judge(w, t, code);
        }
        size_t n = webhook_take_results(w, out, room);
        webhook_start_queued(w);
        if (n || woken || clock_mono_ms() >= until)
            return n;
    }
}

/* Parses the URL into w->target. The error must not hold the URL: it may contain a token. */
static bool webhook_check_url(struct webhook *w, struct err *e)
{
    struct transfer_target *to = &w->target;
    to->url = curl_url();
    CHECK(to->url);
    CURLUcode code = curl_url_set(to->url, CURLUPART_URL, w->url, CURLU_DISALLOW_USER);
    char *scheme = NULL;
    if (code == CURLUE_USER_NOT_ALLOWED)
        return err_set(e, "url: must not hold a user name or password (use headers: {Authorization: ...})");
    if (code == CURLUE_OK)
        code = curl_url_get(to->url, CURLUPART_SCHEME, &scheme, 0);
    to->tls = code == CURLUE_OK && strcmp(scheme, "https") == 0;
    bool known = to->tls || (code == CURLUE_OK && strcmp(scheme, "http") == 0);
    curl_free(scheme);
    if (code == CURLUE_OK)
        code = curl_url_get(to->url, CURLUPART_HOST, &to->host, 0);
    if (code != CURLUE_OK && code != CURLUE_UNSUPPORTED_SCHEME)
        return err_set(e, "url: %s", curl_url_strerror(code));
    if (!known)
        return err_set(e, "url: must begin with http:// or https://");
    return true;
}

/* Fills the template's keys. */
static bool webhook_load_keys(struct webhook *w, struct err *e)
{
    if (w->secrets.count == 0 && !w->unsigned_)
        return err_set(e, "secrets: at least one is needed (or `unsigned: true`)");
    if (w->secrets.count > 0 && w->unsigned_)
        return err_set(e, "unsigned: true and secrets exclude each other");
    w->template.keys = mem_grow(NULL, w->secrets.count + 1, sizeof *w->template.keys);
    for (size_t i = 0; i < w->secrets.count; i++) {
        struct hmac *key = secret_hmac(str_of(w->secrets.at[i].text), e);
        if (!key)
            return err_prefix(e, "secrets[%zu]", i);
        w->template.keys[w->template.key_count++] = key;
    }
    return true;
}

static bool webhook_check_content_type(const struct webhook *w, struct err *e)
{
    if (!w->content_type)
        return true;
    if (w->body == BODY_BINARY)
        return err_set(e, "content_type: with body: binary each request has that of its event");
    return request_content_type_ok(w->content_type, e);
}

static bool webhook_check_ca_file(const struct webhook *w, struct err *e)
{
    if (!w->ca_file)
        return true;
    X509_STORE *store = X509_STORE_new();
    CHECK(store);
    bool ok = X509_STORE_load_file(store, w->ca_file) == 1;
    X509_STORE_free(store);
    return ok || err_set(e, "ca_file: %s cannot be read as PEM certificates", w->ca_file);
}

/* Checks all options, and keeps what was parsed: webhook_free_options. */
static bool webhook_load_options(struct webhook *w, struct err *e)
{
    bool ok = webhook_check_url(w, e) && webhook_load_keys(w, e) && webhook_check_content_type(w, e)
              && webhook_check_ca_file(w, e);
    for (size_t i = 0; ok && i < w->headers.count; i++)
        ok = request_header_ok(w->headers.at[i].key, w->headers.at[i].value, e);
    return ok;
}

static void webhook_free_options(struct webhook *w)
{
    curl_url_cleanup(w->target.url);
    curl_free(w->target.host);
    for (size_t i = 0; i < w->template.key_count; i++)
        hmac_free(w->template.keys[i]);
    free(w->template.keys);
}

static bool webhook_check(const struct sink *s, struct err *e)
{
    struct webhook probe = *(const struct webhook *)s; /* nothing of it is open yet */
    bool ok = webhook_load_options(&probe, e);
    webhook_free_options(&probe);
    return ok;
}

static void webhook_close(struct sink *s)
{
    struct webhook *w = (struct webhook *)s;
    for (int64_t i = 0; w->transfers && i < w->concurrency; i++)
        transfer_free(&w->transfers[i]);
    multi_close(&w->target.multi);
    webhook_free_options(w);
    free(w->queue);
    curl_global_cleanup();
    if (w->transfers)
        descriptors_reserve(-TRANSFER_DESCRIPTORS * w->concurrency);
    free(w->transfers);
}

static void webhook_open_metrics(struct webhook *w)
{
    static const char *const classes[CLASSES] = { "none", "1xx", "2xx", "3xx", "4xx", "5xx" };
    w->seconds = metric_get(&aqueduct_webhook_seconds, LABELS(w->base.id));
    for (size_t i = 0; i < CLASSES; i++)
        w->answers[i] = metric_get(&aqueduct_webhook_responses_total, LABELS(w->base.id, classes[i]));
}

static bool webhook_open(struct sink *s, struct err *e)
{
    struct webhook *w = (struct webhook *)s;
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    if (!webhook_load_options(w, e) || !multi_open(&w->target.multi, e)) {
        webhook_close(s);
        return false;
    }
    curl_multi_setopt(w->target.multi.curl, CURLMOPT_MAXCONNECTS, (long)w->concurrency);
    w->target.timeout = w->timeout;
    w->target.connect_timeout = w->connect_timeout;
    w->target.ca_file = w->ca_file;
    w->template.body = w->body;
    w->template.content_type = w->content_type;
    w->template.headers = &w->headers;
    w->ended_tail = &w->ended;
    descriptors_reserve(TRANSFER_DESCRIPTORS * w->concurrency);
    w->transfers = mem_alloc((size_t)w->concurrency * sizeof *w->transfers);
    for (int64_t i = w->concurrency - 1; i >= 0; i--) {
        w->transfers[i].target = &w->target;
        webhook_put_idle(w, &w->transfers[i]);
    }
    webhook_open_metrics(w);
    return true;
}

extern const struct sink_ops webhook_sink;
const struct sink_ops webhook_sink = {
    .type = "webhook",
    .doc = "Posts events to a URL, signed by the Standard Webhooks scheme.",
    .size = sizeof(struct webhook),
    .options = webhook_options,
    .check = webhook_check,
    .open = webhook_open,
    .send = webhook_send,
    .work = webhook_work,
    .close = webhook_close,
};
