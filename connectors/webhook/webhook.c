/* SPDX-License-Identifier: MIT */
/* The webhook sink: posts events to one URL, signed by Standard Webhooks, many at a time. */
#include <errno.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include "bridge/auth/secret.h"
#include "bridge/lib/descriptors.h"
#include "bridge/lib/mem.h"
#include "connectors/webhook/answer.h"
#include "connectors/webhook/multi.h"
#include "connectors/webhook/request.h"

METRIC_HISTOGRAM(aqueduct_webhook_seconds, "Time of one attempt to deliver a webhook.", "sink");
METRIC_COUNTER(aqueduct_webhook_responses_total, "Attempts by the class of the answer's status; none: no answer.",
               "sink", "class");

enum {
    BODY_READ = 16 * 1024,    /* most bytes of an answer's body that are read */
    TRANSFER_DESCRIPTORS = 3, /* a connection, and two while a name is looked up */
    CLASSES = 6,              /* of answers: none, 1xx .. 5xx (whatever is above counts as 5xx) */
    CONNECTION_LIFE_S = 600,  /* a connection is not reused for longer: name and certificate are checked again */
};

/* One attempt. It is idle, in flight, or ended (its result waits to be taken). */
struct transfer {
    CURL *easy; /* made when first used */
    struct webhook *sink;
    struct transfer *next; /* in the sink's idle or ended list */
    bool in_flight;
    struct request request;
    struct result result;
    char excerpt[2 * ANSWER_EXCERPT]; /* of the answer's body */
    size_t excerpt_n, body_n;
};

struct webhook {
    struct sink base;
    char *url;
    struct secrets secrets;
    bool unsigned_;
    enum body_mode body;
    struct duration timeout, connect_timeout;
    int64_t concurrency;
    struct map headers;
    char *ca_file;

    struct request_template template;
    CURLU *target; /* url, parsed once */
    struct multi multi;
    struct transfer *transfers; /* `concurrency` of them */
    struct transfer *idle;
    struct transfer *ended, **ended_tail;
    struct message *queue; /* ring: sent by the core, no idle transfer yet */
    size_t queue_head, queue_count, queue_cap;
    struct metric *seconds, *answers[CLASSES];
};

static const struct option_value webhook_bodies[] = {
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
        struct webhook, body, .fallback = "structured", .values = webhook_bodies,
        .doc =
            "The request as CloudEvents: one JSON (structured), or attributes as headers and the data as it is (binary)."),
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

static size_t webhook_on_body(char *bytes, size_t one, size_t n, void *ctx)
{
    (void)one;
    struct transfer *t = ctx;
    size_t room = sizeof t->excerpt - t->excerpt_n;
    size_t keep = n < room ? n : room;
    memcpy(t->excerpt + t->excerpt_n, bytes, keep);
    t->excerpt_n += keep;
    t->body_n += n;
    return t->body_n > BODY_READ ? 0 : n; /* 0 ends the transfer */
}

/* Makes the easy handle with the options that every attempt has; libcurl-security(3) is the checklist. */
static void webhook_set_up(struct transfer *t)
{
    struct webhook *w = t->sink;
    CURL *c = t->easy = curl_easy_init();
    CHECK(c);
    curl_easy_setopt(c, CURLOPT_PRIVATE, t);
    curl_easy_setopt(c, CURLOPT_CURLU, w->target);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
    if (w->ca_file)
        curl_easy_setopt(c, CURLOPT_CAINFO, w->ca_file);
    curl_easy_setopt(c, CURLOPT_MAXLIFETIME_CONN, (long)CONNECTION_LIFE_S);
    curl_easy_setopt(c, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)w->timeout.ms);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)w->connect_timeout.ms);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "Aqueduct/" AQUEDUCT_VERSION);
    curl_easy_setopt(c, CURLOPT_POST, 1L);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, webhook_on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    multi_adopt(&w->multi, c);
}

/* Queues the result of an attempt for webhook_work. */
static void webhook_end(struct webhook *w, struct transfer *t)
{
    t->in_flight = false;
    t->next = NULL;
    *w->ended_tail = t;
    w->ended_tail = &t->next;
}

/* Begins an attempt; one whose request cannot be built ends at once. */
static void webhook_start(struct webhook *w, struct transfer *t, const struct message *m)
{
    t->result = (struct result){ .tag = m->tag };
    t->excerpt_n = t->body_n = 0;
    struct err e;
    if (!request_build(&t->request, &w->template, m->event, clock_wall_ms(), &e)) {
        t->result.verdict = VERDICT_REJECT;
        t->result.reason = REASON_CONFIGURATION;
        why_copy(t->result.why, e.text);
        webhook_end(w, t);
        return;
    }
    if (!t->easy)
        webhook_set_up(t);
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->request.body.n);
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, t->request.body.at);
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->request.lines);
    t->in_flight = true;
    multi_start(&w->multi, t->easy);
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

/* Turns what libcurl says of an ended transfer into a result. */
static void webhook_judge(struct webhook *w, struct transfer *t, CURLcode code)
{
    long status = 0;
    curl_off_t us = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(t->easy, CURLINFO_TOTAL_TIME_T, &us);
    struct answer a = { .code = code,
                        .status = (int)status,
                        .cut = t->body_n > BODY_READ,
                        .body = { t->excerpt, t->excerpt_n },
                        .timeout = w->timeout };
    struct curl_header *h;
    if (status / 100 != 2 && curl_easy_header(t->easy, "Retry-After", 0, CURLH_HEADER, -1, &h) == CURLHE_OK)
        a.retry_after = str_of(h->value);
    if (code != CURLE_OK) {
        curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &a.os_errno);
        curl_easy_getinfo(t->easy, CURLINFO_SSL_VERIFYRESULT, &a.tls_verify);
    }
    answer_judge(&a, &t->result);
    int class = a.status / 100;
    metric_add(w->answers[class >= CLASSES ? CLASSES - 1 : class], 1);
    metric_observe_us(w->seconds, us);
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
        bool woken = multi_run(&w->multi, wake_fd, (struct duration){ left > 0 ? left : 0 });
        CURLcode code = CURLE_OK;
        for (CURL *easy; (easy = multi_done(&w->multi, &code));) {
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
    w->target = curl_url();
    CHECK(w->target);
    CURLUcode code = curl_url_set(w->target, CURLUPART_URL, w->url, CURLU_DISALLOW_USER);
    char *scheme = NULL;
    if (code == CURLUE_USER_NOT_ALLOWED)
        return err_set(e, "url: must not hold a user name or password (use headers: {Authorization: ...})");
    if (code == CURLUE_OK)
        code = curl_url_get(w->target, CURLUPART_SCHEME, &scheme, 0);
    bool known = code == CURLUE_OK && (!strcmp(scheme, "http") || !strcmp(scheme, "https"));
    curl_free(scheme);
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
    bool ok = webhook_check_url(w, e) && webhook_load_keys(w, e) && webhook_check_ca_file(w, e);
    for (size_t i = 0; ok && i < w->headers.count; i++)
        ok = request_header_ok(w->headers.at[i].key, w->headers.at[i].value, e);
    return ok;
}

static void webhook_free_options(struct webhook *w)
{
    curl_url_cleanup(w->target);
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
    for (int64_t i = 0; w->transfers && i < w->concurrency; i++) {
        struct transfer *t = &w->transfers[i];
        if (t->in_flight)
            curl_multi_remove_handle(w->multi.curl, t->easy);
        if (t->easy)
            curl_easy_cleanup(t->easy);
        request_free(&t->request);
    }
    multi_close(&w->multi);
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
    if (!webhook_load_options(w, e) || !multi_open(&w->multi, e)) {
        webhook_close(s);
        return false;
    }
    curl_multi_setopt(w->multi.curl, CURLMOPT_MAXCONNECTS, (long)w->concurrency);
    w->template.body = w->body;
    w->template.headers = &w->headers;
    w->ended_tail = &w->ended;
    descriptors_reserve(TRANSFER_DESCRIPTORS * w->concurrency);
    w->transfers = mem_alloc((size_t)w->concurrency * sizeof *w->transfers);
    for (int64_t i = w->concurrency - 1; i >= 0; i--) {
        w->transfers[i].sink = w;
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
