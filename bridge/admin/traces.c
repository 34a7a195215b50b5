/* SPDX-License-Identifier: MIT */
/* The thread that sends spans. */
#include "bridge/admin/traces.h"
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include "bridge/event/span.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/thread.h"
#include "bridge/net/transport.h"

METRIC_COUNTER(aqueduct_spans_exported_total, "Spans that the collector of traces took.", NULL);
METRIC_COUNTER(aqueduct_spans_failed_total, "Spans that are lost: it refused them, or all attempts failed.", NULL);

enum {
    GATHER_MS = 1000,      /* so long spans are gathered */
    REQUEST_MS = 10000,    /* a request may take */
    TRIES = 6,             /* of one batch */
    AGAIN_FIRST_MS = 1000, /* after the first failure, then twice as long */
    AGAIN_MOST_MS = 30000, /* also when the collector asks for more */
    LAST_MS = 2000,        /* for the rest, at the end */
    ANSWER_BYTES = 64 << 10,
    GZIP_WINDOW = 31,
};

struct traces {
    char *service;
    struct transport way;
    CURL *curl;
    struct curl_slist *headers;
    struct buf answer;
    struct log_limit log_limit;
    bool away; /* it did not take a batch, and that is logged */
    struct metric *exported, *failed;
    atomic_llong stop_by_ms; /* 0: it is not to stop */
    pthread_mutex_t lock;    /* of the pauses, which the stop ends */
    pthread_cond_t stop;
    pthread_t thread;
};

/* ---- a request ---- */

/* The request's JSON around the spans. */
static void traces_wrap(const struct traces *t, struct str spans, struct buf *out)
{
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    buf_add_c(
        out,
        "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":");
    jscan_add_string(out, str_of(t->service));
    buf_add_c(out, "}},{\"key\":\"host.name\",\"value\":{\"stringValue\":");
    jscan_add_string(out, str_of(host));
    buf_add_c(out, "}}]},\"scopeSpans\":[{\"scope\":{\"name\":\"aqueduct\"},\"spans\":[");
    buf_add_str(out, spans);
    buf_add_c(out, "]}]}]}");
}

static void traces_gzip(struct str in, struct buf *out)
{
    z_stream z = { 0 };
    CHECK(deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    size_t room = deflateBound(&z, in.n);
    z.next_in = (Bytef *)(uintptr_t)in.at;
    z.avail_in = (uInt)in.n;
    z.next_out = (Bytef *)buf_room(out, room);
    z.avail_out = (uInt)room;
    CHECK(z.next_out && deflate(&z, Z_FINISH) == Z_STREAM_END);
    out->n += z.total_out;
    deflateEnd(&z);
}

static size_t traces_on_answer(char *bytes, size_t size, size_t n, void *ctx)
{
    struct traces *t = ctx;
    buf_add(&t->answer, bytes, size * n); /* what is longer is left out */
    return size * n;
}

/* Has the deadline of the stop passed? */
static int traces_on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct traces *t = ctx;
    (void)a, (void)b, (void)c, (void)d;
    int64_t by = atomic_load(&t->stop_by_ms);
    return by && clock_mono_ms() > by;
}

/* How many of them the collector says that it refused. */
static int64_t traces_rejected(struct traces *t)
{
    json_t *answer = json_loadb(t->answer.at ? t->answer.at : "", t->answer.n, 0, NULL);
    const json_t *rejected = json_object_get(json_object_get(answer, "partialSuccess"), "rejectedSpans");
    int64_t n = json_is_string(rejected) ? strtoll(json_string_value(rejected), NULL, 10)
                                         : json_integer_value(rejected);
    json_decref(answer);
    return n > 0 ? n : 0;
}

enum sent { SENT_TAKEN = 1, SENT_AGAIN, SENT_REFUSED };

static enum sent traces_send(struct traces *t, struct str body, int64_t *after_ms, struct err *e)
{
    long status = 0;
    curl_off_t after = 0;
    char why[CURL_ERROR_SIZE] = "";
    buf_reset(&t->answer);
    curl_easy_setopt(t->curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(t->curl, CURLOPT_POSTFIELDS, body.at);
    curl_easy_setopt(t->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    CURLcode code = curl_easy_perform(t->curl);
    curl_easy_setopt(t->curl, CURLOPT_ERRORBUFFER, NULL);
    if (code != CURLE_OK) {
        err_set(e, "%s", *why ? why : curl_easy_strerror(code));
        return SENT_AGAIN;
    }
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(t->curl, CURLINFO_RETRY_AFTER, &after);
    *after_ms = after > 0 ? (int64_t)after * 1000 : 0;
    if (status / 100 == 2)
        return SENT_TAKEN;
    err_set(e, "status %ld", status);
    return status == 429 || (status >= 502 && status <= 504) ? SENT_AGAIN : SENT_REFUSED;
}

/* ---- the thread ---- */

/* False: it is to stop. */
static bool traces_rest(struct traces *t, int64_t ms)
{
    struct timespec until = thread_until((struct duration){ ms });
    pthread_mutex_lock(&t->lock);
    while (!atomic_load(&t->stop_by_ms) && thread_wait(&t->stop, &t->lock, until))
        ;
    pthread_mutex_unlock(&t->lock);
    return !atomic_load(&t->stop_by_ms);
}

/* A collector that takes nothing is told of at its first refusal, and again only after it was there. */
static void traces_heard(struct traces *t, enum sent is, const struct err *e)
{
    if (is == SENT_AGAIN && !t->away)
        LOG(WARN, "the collector of traces takes no spans: they wait, and are sent again", LOG_C("reason", e->text));
    t->away = is == SENT_AGAIN;
}

static void traces_deliver(struct traces *t, struct str body, int64_t count)
{
    struct err e = { "" };
    int64_t wait = AGAIN_FIRST_MS, after = 0, left_out;
    enum sent is = SENT_AGAIN;
    for (int i = 0; is == SENT_AGAIN && i < TRIES; i++) {
        int64_t pause = after > wait ? after : wait;
        if (i && !traces_rest(t, pause < AGAIN_MOST_MS ? pause : AGAIN_MOST_MS))
            break;
        wait *= i ? 2 : 1;
        is = traces_send(t, body, &after, &e);
        traces_heard(t, is, &e);
    }
    int64_t lost = is == SENT_TAKEN ? traces_rejected(t) : count;
    lost = lost < count ? lost : count;
    metric_add(t->exported, count - lost);
    metric_add(t->failed, lost);
    if (lost && log_limit_pass(&t->log_limit, &left_out))
        LOG(WARN, "the collector of traces did not take all spans", LOG_INT("spans", lost),
            LOG_C("reason", is == SENT_TAKEN ? "it refused some" : e.text));
}

static void *traces_run(void *arg)
{
    struct traces *t = arg;
    bool last = false;
    while (!last) {
        struct buf spans = { 0 }, json = buf_new(SIZE_MAX / 2), body = buf_new(SIZE_MAX / 2);
        last = !traces_rest(t, GATHER_MS);
        size_t count = span_take(&spans);
        if (count) {
            traces_wrap(t, buf_str(&spans), &json);
            traces_gzip(buf_str(&json), &body);
            traces_deliver(t, buf_str(&body), (int64_t)count);
        }
        buf_free(&spans);
        buf_free(&json);
        buf_free(&body);
    }
    return NULL;
}

/* ---- start and end ---- */

struct transport traces_way(const struct traces_config *c)
{
    return (struct transport){ .tls = strncmp(c->endpoint, "https:", 6) == 0,
                               .ca_file = c->ca_file,
                               .cert_file = c->cert_file,
                               .key_file = c->key_file,
                               .tls_min = TLS_MIN_1_2,
                               .http = HTTP_1_1 };
}

static void traces_set_up(struct traces *t, const struct traces_config *c)
{
    struct buf line = buf_new(SIZE_MAX / 2);
    t->headers = curl_slist_append(NULL, "Content-Type: application/json");
    t->headers = curl_slist_append(t->headers, "Content-Encoding: gzip");
    t->headers = curl_slist_append(t->headers, "Expect:");
    for (size_t i = 0; i < c->headers.count; i++) {
        buf_reset(&line);
        buf_printf(&line, "%s: %s", c->headers.at[i].key, c->headers.at[i].value);
        t->headers = curl_slist_append(t->headers, buf_c(&line));
    }
    buf_free(&line);
    t->curl = curl_easy_init();
    CHECK(t->curl && t->headers);
    transport_set_up(&t->way, t->curl);
    curl_easy_setopt(t->curl, CURLOPT_URL, c->endpoint);
    curl_easy_setopt(t->curl, CURLOPT_POST, 1L);
    curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(t->curl, CURLOPT_TIMEOUT_MS, (long)REQUEST_MS);
    curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, traces_on_answer);
    curl_easy_setopt(t->curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(t->curl, CURLOPT_XFERINFOFUNCTION, traces_on_progress);
    curl_easy_setopt(t->curl, CURLOPT_XFERINFODATA, t);
}

static bool traces_is_header(const char *name, const char *value)
{
    for (const char *c = value; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return false;
    return *name && name[strspn(name, "-_.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")] == '\0';
}

bool traces_new(const struct traces_config *c, struct traces **out, struct err *e)
{
    *out = NULL;
    if (!c->endpoint || !*c->endpoint)
        return true;
    for (size_t i = 0; i < c->headers.count; i++)
        if (!traces_is_header(c->headers.at[i].key, c->headers.at[i].value))
            return err_set(e, "traces.headers: \"%s\" is no name of a header, or its value has control characters",
                           c->headers.at[i].key);
    struct transport way = traces_way(c);
    if (!transport_check(&way, e))
        return err_prefix(e, "traces");
    struct traces *t = mem_alloc(sizeof *t);
    *t = (struct traces){ .service = str_dup(str_of(c->service)), .way = way, .answer = buf_new(ANSWER_BYTES) };
    t->exported = metric_get(&aqueduct_spans_exported_total, NULL);
    t->failed = metric_get(&aqueduct_spans_failed_total, NULL);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->stop, NULL);
    traces_set_up(t, c);
    span_collect(c->sample);
    CHECK(pthread_create(&t->thread, NULL, traces_run, t) == 0);
    *out = t;
    return true;
}

void traces_free(struct traces *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    atomic_store(&t->stop_by_ms, clock_mono_ms() + LAST_MS);
    pthread_cond_signal(&t->stop);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    span_collect_end();
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->stop);
    curl_easy_cleanup(t->curl);
    curl_slist_free_all(t->headers);
    buf_free(&t->answer);
    free(t->service);
    free(t);
}
