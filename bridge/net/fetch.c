/* SPDX-License-Identifier: MIT */
/* Fetches documents by libcurl, so that another thread can end it. */
#include "bridge/net/fetch.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/lib/mem.h"

enum { FETCH_TIMEOUT_MS = 10000, FETCH_WAIT_MS = 1000, FETCH_ASK_MS = 200 };

struct fetch {
    const struct transport *way;
    const struct address_rules *rules;
    const struct address_rules *guard; /* of the one at hand; NULL: its host may be at any address */
    CURLM *multi;
    atomic_bool stopped;
    const char *blocked; /* what kind of address the one at hand would have gone to; NULL: none */
    char why[CURL_ERROR_SIZE];
};

struct fetch *fetch_new(const struct transport *way, const struct address_rules *rules)
{
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    struct fetch *f = mem_alloc(sizeof *f);
    *f = (struct fetch){ .way = way, .rules = rules, .multi = curl_multi_init() };
    CHECK(f->multi);
    return f;
}

void fetch_free(struct fetch *f)
{
    if (!f)
        return;
    curl_multi_cleanup(f->multi);
    free(f);
    curl_global_cleanup();
}

/* One part of it; curl_free() it. NULL: it is no URL, or has none. */
static char *fetch_part(const char *url, CURLUPart part)
{
    char *text = NULL;
    CURLU *u = curl_url();
    CHECK(u);
    if (curl_url_set(u, CURLUPART_URL, url, CURLU_DISALLOW_USER) == CURLUE_OK)
        curl_url_get(u, part, &text, 0);
    curl_url_cleanup(u);
    return text;
}

char *fetch_host(const char *url)
{
    char *host = fetch_part(url, CURLUPART_HOST), *copy = str_dup(host ? str_of(host) : STR("?"));
    curl_free(host);
    return copy;
}

bool fetch_check_url(const char *url, bool plain, const struct address_rules *rules, struct err *e)
{
    char *scheme = fetch_part(url, CURLUPART_SCHEME), *host = fetch_part(url, CURLUPART_HOST);
    const char *what = host ? address_blocked_host(rules, str_of(host)) : NULL;
    bool http = scheme && strcmp(scheme, "http") == 0, https = scheme && strcmp(scheme, "https") == 0;
    bool ok = false;
    if (!host || !(http || https))
        err_set(e, "is no URL that begins with https://, without user name and password");
    else if (http && !plain)
        err_set(e, "begins with http://: whoever stands between could answer in its place; use https://");
    else if (what)
        err_set(e, "%.64s is a blocked address (%s)", host, what);
    else
        ok = true;
    curl_free(scheme);
    curl_free(host);
    return ok;
}

/* ---- one of them ---- */

static curl_socket_t fetch_on_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct fetch *f = ctx;
    (void)purpose;
    f->blocked = f->guard ? address_blocked(f->guard, &a->addr) : NULL;
    return f->blocked ? CURL_SOCKET_BAD : socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static size_t fetch_on_body(char *bytes, size_t size, size_t n, void *ctx)
{
    struct buf *out = ctx;
    buf_add(out, bytes, size * n);
    return out->failed ? 0 : size * n;
}

static CURL *fetch_set_up(struct fetch *f, const char *url, struct buf *out)
{
    CURL *c = curl_easy_init();
    CHECK(c);
    transport_set_up(f->way, c);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)FETCH_TIMEOUT_MS);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, fetch_on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, out);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, fetch_on_open);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, f);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, f->why);
    curl_easy_setopt(c, CURLOPT_FORBID_REUSE, 1L);
    return c;
}

/* Until it has ended, or is to be left. */
static CURLcode fetch_run(struct fetch *f)
{
    int running = 1, left;
    while (running && !atomic_load(&f->stopped)) {
        curl_multi_perform(f->multi, &running);
        if (running)
            curl_multi_poll(f->multi, NULL, 0, FETCH_WAIT_MS, NULL);
    }
    const CURLMsg *m = curl_multi_info_read(f->multi, &left);
    return m ? m->data.result : CURLE_ABORTED_BY_CALLBACK;
}

/* By its Cache-Control. */
static int64_t fetch_max_age(CURL *c)
{
    struct curl_header *h;
    uint64_t seconds;
    int64_t found = -1;
    if (curl_easy_header(c, "Cache-Control", 0, CURLH_HEADER, -1, &h) != CURLHE_OK)
        return -1;
    struct str rest = str_of(h->value), one, name = STR("max-age=");
    while (str_cut(&rest, ',', &one)) {
        one = str_trim(one);
        if (str_eq_nocase(one, STR("no-cache")) || str_eq_nocase(one, STR("no-store")))
            return 0;
        if (str_starts_nocase(one, name) && str_to_u64(str_from(one, name.n), &seconds) && seconds <= INT32_MAX)
            found = (int64_t)seconds;
    }
    return found;
}

static bool fetch_judge(const struct fetch *f, CURL *c, CURLcode code, const struct buf *out, struct err *e)
{
    long status = 0;
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    if (f->blocked)
        return err_set(e, "its address is blocked (%s)", f->blocked);
    if (out->failed)
        return err_set(e, "the answer is larger than %zu bytes", out->max);
    if (code != CURLE_OK)
        return err_set(e, "%s", *f->why ? f->why : curl_easy_strerror(code));
    return status == 200 || err_set(e, "it answered with status %ld", status);
}

bool fetch_get(struct fetch *f, const char *url, struct buf *out, int64_t *max_age_s, struct err *e)
{
    char *host = fetch_host(url);
    f->guard = address_allows_host(f->rules, str_of(host)) ? NULL : f->rules;
    f->blocked = NULL;
    *f->why = '\0';
    CURL *c = fetch_set_up(f, url, out);
    CHECK(curl_multi_add_handle(f->multi, c) == CURLM_OK);
    CURLcode code = fetch_run(f);
    bool ok = fetch_judge(f, c, code, out, e) || err_prefix(e, "%.100s", host);
    *max_age_s = ok ? fetch_max_age(c) : -1;
    curl_multi_remove_handle(f->multi, c);
    curl_easy_cleanup(c);
    free(host);
    return ok;
}

/* ---- an answer without end ---- */

struct fetch_following {
    struct fetch_stream *stream;
    CURL *curl;
    int64_t heard_ms; /* when something came last */
    bool enough;
};

static size_t fetch_on_stream(char *bytes, size_t size, size_t n, void *ctx)
{
    struct fetch_following *w = ctx;
    struct fetch_stream *s = w->stream;
    w->heard_ms = clock_mono_ms();
    curl_easy_getinfo(w->curl, CURLINFO_RESPONSE_CODE, &s->status);
    if (s->status == 200)
        w->enough = !s->on_bytes(s->ctx, (struct str){ bytes, size * n });
    else if (s->refused)
        buf_add(s->refused, bytes, size * n);
    return w->enough ? 0 : size * n;
}

static struct curl_slist *fetch_headers(const struct fetch_stream *s)
{
    struct curl_slist *list = NULL;
    for (size_t i = 0; i < s->header_count; i++) {
        struct buf line = buf_new(64 * 1024);
        buf_printf(&line, "%.*s: %.*s", STR_ARG(s->headers[i].name), STR_ARG(s->headers[i].value));
        if (buf_c(&line))
            list = curl_slist_append(list, line.at);
        buf_free(&line);
    }
    return list;
}

/* Until it has ended or is enough. */
static CURLcode fetch_run_stream(struct fetch *f, struct fetch_following *w)
{
    int running = 1, left;
    while (running && !w->enough && !atomic_load(&f->stopped)) {
        curl_multi_perform(f->multi, &running);
        if (running)
            curl_multi_poll(f->multi, NULL, 0, FETCH_ASK_MS, NULL);
        w->enough = w->enough || !w->stream->go_on(w->stream->ctx);
        if (running && clock_mono_ms() - w->heard_ms > w->stream->silence_ms)
            return CURLE_OPERATION_TIMEDOUT;
    }
    const CURLMsg *m = curl_multi_info_read(f->multi, &left);
    return m ? m->data.result : CURLE_ABORTED_BY_CALLBACK;
}

bool fetch_follow(struct fetch *f, struct fetch_stream *s, struct err *e)
{
    struct fetch_following w = { .stream = s, .heard_ms = clock_mono_ms() };
    struct curl_slist *headers = fetch_headers(s);
    curl_off_t after = -1;
    f->guard = NULL;
    f->blocked = NULL;
    *f->why = '\0';
    s->status = 0;
    CURL *c = w.curl = fetch_set_up(f, s->url, NULL);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, 0L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)FETCH_TIMEOUT_MS);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, fetch_on_stream);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &w);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    if (s->post.at) {
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)s->post.n);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, s->post.at);
    }
    CHECK(curl_multi_add_handle(f->multi, c) == CURLM_OK);
    CURLcode code = fetch_run_stream(f, &w);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &s->status);
    curl_easy_getinfo(c, CURLINFO_RETRY_AFTER, &after);
    s->retry_after_s = after > 0 ? (int64_t)after : -1;
    curl_multi_remove_handle(f->multi, c);
    curl_easy_cleanup(c);
    curl_slist_free_all(headers);
    if (w.enough)
        return true;
    if (code == CURLE_OPERATION_TIMEDOUT && !*f->why)
        return err_set(e, "nothing came for %d s", (int)(s->silence_ms / 1000));
    if (code != CURLE_OK)
        return err_set(e, "%s", *f->why ? f->why : curl_easy_strerror(code));
    return s->status == 200 || err_set(e, "it answered with status %ld", s->status);
}

/* ---- a question ---- */

struct fetch_asking {
    const struct fetch_question *question;
    struct buf *answer;
    int64_t until_ms;
};

static bool fetch_on_answer(void *ctx, struct str bytes)
{
    struct fetch_asking *a = ctx;
    buf_add_str(a->answer, bytes);
    return !a->answer->failed;
}

static bool fetch_is_waited_for(void *ctx)
{
    const struct fetch_asking *a = ctx;
    return clock_mono_ms() < a->until_ms && (!a->question->go_on || a->question->go_on(a->question->ctx));
}

bool fetch_post(struct fetch *f, const struct fetch_question *q, struct buf *answer, long *status, struct err *e)
{
    struct fetch_asking a = { q, answer, clock_mono_ms() + q->limit_ms };
    struct fetch_stream s = { .url = q->url,
                              .post = q->body,
                              .headers = q->headers,
                              .header_count = q->header_count,
                              .on_bytes = fetch_on_answer,
                              .go_on = fetch_is_waited_for,
                              .ctx = &a,
                              .silence_ms = q->limit_ms,
                              .refused = answer };
    bool ok = fetch_follow(f, &s, e);
    *status = s.status;
    if (ok && answer->failed)
        return err_set(e, "the answer is larger than %zu bytes", answer->max);
    if (ok && (s.status != 200 || !fetch_is_waited_for(&a)))
        return err_set(e, "it did not answer in %d s", (int)(q->limit_ms / 1000));
    return ok;
}

void fetch_stop(struct fetch *f)
{
    atomic_store(&f->stopped, true);
    curl_multi_wakeup(f->multi);
}
